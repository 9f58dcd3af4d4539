//! A gatekeeper as the monitor sees it: a child, a link, and how far it has come.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nesssi_privsep::messages::FromMonitor;
use nesssi_privsep::{Account, Channel, ChannelError, Child, Command, Spawn, SpawnError, spawn};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::leaves::LeafName;
use crate::link::Link;
use crate::log;
use crate::requests::{REQUESTS, Rate};

/// How far a gatekeeper has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is to follow one that serves, and makes ready what needs no lease.
    Spare,
    /// It reads the journal and discovers services.
    Starting,
    /// It has said `Ready`.
    Serving,
    /// It was told to drain, and holds the lease still.
    Draining,
    /// It has given up the lease: a successor may start.
    Released,
}

/// Names one gatekeeper among those that the monitor has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatekeeperId(pub u32);

/// One gatekeeper.
#[derive(Debug)]
pub struct Gatekeeper {
    /// Its name here.
    pub id: GatekeeperId,
    /// The process.
    pub child: Child,
    /// The channel.
    pub link: Link,
    /// How far it has come.
    pub phase: Phase,
    /// Since when.
    pub started: Instant,
    /// When it is killed if it has not ended: it drains, or has been killed for what it sent.
    pub kill_at: Option<Instant>,
    /// When it is killed if it has not given up the lease.
    pub release_by: Option<Instant>,
    /// How often it has asked for what.
    pub rates: [Rate; REQUESTS],
    /// How many leaves it has asked about.
    pub names_read: Rate,
    /// The workers' leaves that it has had made: they end with it.
    pub worker_leaves: BTreeSet<LeafName>,
    /// Nothing is read from it any more, nor sent.
    pub deaf: bool,
    /// Why it was killed, if it was.
    pub killed: Option<String>,
    /// Its request for the lease, until that is answered.
    pub prepared: Option<u32>,
    /// Why it cannot serve, as it says.
    pub unfit: Option<String>,
}

impl Gatekeeper {
    /// Starts one, as its user, with nothing but the channel. It is greeted by `welcome` and its four descriptors.
    ///
    /// # Errors
    /// [`StartError`].
    #[allow(clippy::too_many_arguments, reason = "each is one thing that a gatekeeper is given")]
    pub fn start(
        id: GatekeeperId,
        program: &Path,
        account: &Account,
        environment: &[(String, String)],
        files: Rlimit,
        welcome: &FromMonitor,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, StartError> {
        let (ours, theirs) = Channel::pair()?;
        let command = Command::new(program)
            .named("nesssi-gatekeeper")
            .envs(environment.iter().map(|(name, value)| (name, value)));
        let monitor = rustix::process::getpid();
        // Exec may wait for a disk, so the monitor does not wait for exec.
        let child = spawn::fork(&[theirs.as_fd()], || {
            // As it was before the monitor raised its own.
            setrlimit(Resource::Nofile, files).unwrap_or_default();
            let error = Spawn::new(command.clone())
                .account(account)
                .no_new_privileges()
                .new_session()
                .death_signal(Signal::KILL)
                .child_of(monitor)
                .descriptor(3, theirs.as_fd())
                .exec();
            log::error("the gatekeeper cannot start").with("because", error).write();
            spawn::EXIT_BEFORE_EXEC
        })?;
        let mut link = Link::new(ours)?;
        link.send(0, welcome, descriptors)?;
        let started = Instant::now();
        Ok(Self {
            id,
            child,
            link,
            phase: Phase::Starting,
            started,
            kill_at: None,
            release_by: None,
            rates: std::array::from_fn(|_| Rate::new(started)),
            names_read: Rate::new(started),
            worker_leaves: BTreeSet::new(),
            deaf: false,
            killed: None,
            prepared: None,
            unfit: None,
        })
    }

    /// Whether it holds the lease, or is about to: no other may start beside it.
    #[must_use]
    pub fn holds(&self) -> bool {
        !matches!(self.phase, Phase::Spare | Phase::Released)
    }

    /// Tells it to drain.
    pub fn drain(&mut self, seconds_max: u32, release: Duration, now: Instant) {
        if matches!(self.phase, Phase::Draining | Phase::Released) {
            return;
        }
        self.phase = Phase::Draining;
        self.kill_at = Some(now + Duration::from_secs(u64::from(seconds_max)));
        self.release_by = Some(now + release);
        if self.link.send(0, &FromMonitor::Drain { seconds_max }, Vec::new()).is_err() {
            self.kill("it does not take the order to drain");
        }
    }

    /// Its channel is of no use any more. It has a second to end by itself, since it may just be doing so.
    pub fn lost(&mut self, because: &str, now: Instant) {
        if !self.deaf {
            self.deaf = true;
            log::info("lost the channel to the gatekeeper")
                .with("pid", self.child.pid_number())
                .with("because", because)
                .write();
            self.kill_at = Some(now + Duration::from_secs(1));
        }
    }

    /// Kills it, for a reason that is logged. That it has ended is seen by its pidfd.
    pub fn kill(&mut self, because: &str) {
        self.deaf = true;
        self.kill_at = None;
        self.release_by = None;
        if self.killed.is_some() {
            return;
        }
        self.killed = Some(because.to_owned());
        log::warn("killing the gatekeeper")
            .with("pid", self.child.pid_number())
            .with("because", because)
            .write();
        if let Err(error) = self.child.signal(Signal::KILL) {
            log::error("cannot kill the gatekeeper").with("because", error).write();
        }
    }
}

/// Why a gatekeeper was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No channel.
    #[error("{0}")]
    Channel(#[from] ChannelError),
    /// No process.
    #[error("{0}")]
    Spawn(#[from] SpawnError),
}
