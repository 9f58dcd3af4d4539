//! The one loop: poll, answer, take note of ends.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nesssi_privsep::messages::{FromJobmanager, ToJobmanagerControl};
use nesssi_privsep::{Channel, ChannelError};
use nesssi_session::{AccountDir, AccountDirError, SessionId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::arguments::OwnDirectory;
use crate::batch::Batch;
use crate::follow::Follows;
use crate::helpers::Helpers;
use crate::jobs::Job;
use crate::peers::Peers;
use crate::records::Records;
use crate::requests::{permits, starts};
use crate::trees::Trees;
use crate::usage::Usage;
use crate::workers::Workers;
use crate::writes::Writes;
use crate::{clock, log, umask};

/// Requests of one peer answered before the others have their turn.
const TURN_REQUESTS_MAX: usize = 16;

/// What a jobmanager lacks to begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A descriptor that the monitor should have left open.
    #[error("inherited descriptor: {0}")]
    Descriptor(io::Error),
    /// A system call.
    #[error("{what}: {errno}")]
    System {
        /// Which.
        what: &'static str,
        /// Why.
        errno: Errno,
    },
    /// There is no `/proc` of Linux.
    #[error("/proc does not show this process")]
    NoProc,
    /// The account's directory of sandboxes.
    #[error("directory of sandboxes {path}: {source}")]
    OwnDirectory {
        /// Which.
        path: String,
        /// Why not.
        source: AccountDirError,
    },
    /// The monitor's channel.
    #[error("monitor's channel: {0}")]
    Channel(#[from] ChannelError),
    /// Of a look: the worker came to no end.
    #[error("nothing was found")]
    Nothing,
    /// Of a look: there is too much to tell.
    #[error(transparent)]
    Findings(nesssi_service::FindingsError),
    /// Of a look: nobody takes what was found.
    #[error("standard output: {0}")]
    Output(io::Error),
}

impl StartError {
    pub(crate) fn own_directory(path: &Path, source: AccountDirError) -> Self {
        Self::OwnDirectory { path: path.display().to_string(), source }
    }
}

/// Whether the system has what a jobmanager needs; and the account its directory, where it is to open that itself.
pub(crate) fn check(own: Option<&OwnDirectory>) -> Result<(), StartError> {
    let system = |what| move |errno| StartError::System { what, errno };
    crate::proctree::Process::own().ok_or(StartError::NoProc)?;
    let root = rustix::fs::open("/", OFlags::PATH, Mode::empty()).map_err(system("/"))?;
    let (flags, resolve) = (OFlags::PATH, rustix::fs::ResolveFlags::BENEATH);
    rustix::fs::openat2(&root, ".", flags, Mode::empty(), resolve).map_err(system("openat2"))?;
    let process = rustix::process::getpid();
    rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty())
        .map_err(system("pidfd_open"))?;
    let Some(OwnDirectory { account, root }) = own else { return Ok(()) };
    let told = |source| StartError::own_directory(&root.join(account), source);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())
        .map_err(|errno| told(AccountDirError::System(errno)))?;
    AccountDir::check_within(root.as_fd(), account).map_err(told)
}

/// Takes from this process what it need not have: a core image, others' looks, a place to hold on to.
pub(crate) fn harden() -> Result<(), StartError> {
    let system = |what| move |errno| StartError::System { what, errno };
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(system("PR_SET_DUMPABLE"))?;
    rustix::process::chdir("/").map_err(system("chdir"))?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    Ok(())
}

/// What is to be looked at after a poll.
#[derive(Debug, Clone)]
enum Token {
    Control,
    Peer(u32),
    Inotify,
    JobReport(SessionId),
    Shepherd(SessionId),
    Worker(u32),
    Helper(u32),
    Command(u64),
    Records,
}

/// A jobmanager.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) sandboxes: PathBuf,
    pub(crate) account: AccountDir,
    pub(crate) boot_id: String,
    pub(crate) files_max: Rlimit,
    pub(crate) peers: Peers,
    pub(crate) jobs: HashMap<SessionId, Job>,
    pub(crate) workers: Workers,
    pub(crate) helpers: Helpers,
    pub(crate) follows: Follows,
    pub(crate) usage: Usage,
    pub(crate) writes: Writes,
    pub(crate) trees: Trees,
    pub(crate) batch: Batch,
    pub(crate) records: Records,
    control: Channel,
    umask: Option<Option<u32>>,
}

impl Manager {
    pub(crate) fn new(
        name: String,
        sandboxes: PathBuf,
        trees: Trees,
        batch: Batch,
        control: Channel,
        account: AccountDir,
    ) -> Result<Self, StartError> {
        control.set_nonblocking()?;
        let files_max = rustix::process::getrlimit(Resource::Nofile);
        let raised = Rlimit { current: files_max.maximum, maximum: files_max.maximum };
        rustix::process::setrlimit(Resource::Nofile, raised)
            .map_err(|errno| StartError::System { what: "RLIMIT_NOFILE", errno })?;
        Ok(Self {
            name,
            sandboxes,
            account,
            boot_id: clock::boot_id(),
            files_max,
            peers: Peers::default(),
            jobs: HashMap::new(),
            workers: Workers::default(),
            helpers: Helpers::default(),
            follows: Follows::default(),
            usage: Usage::default(),
            writes: Writes::default(),
            trees,
            batch,
            records: Records::default(),
            control,
            umask: None,
        })
    }

    /// Serves until the monitor's channel ends.
    pub(crate) fn serve(mut self) {
        loop {
            for token in self.wait() {
                match token {
                    Token::Control if !self.control() => return self.writes.discard_all(),
                    Token::Control => {}
                    Token::Peer(peer) => self.peer(peer),
                    Token::Inotify => self.follows.read(),
                    Token::JobReport(session) => self.job_reports(&session),
                    Token::Shepherd(session) => self.shepherd_ended(&session),
                    Token::Worker(pid) => self.worker_ended(pid),
                    Token::Helper(pid) => self.helper_ended(pid),
                    Token::Command(number) => self.command_ready(number),
                    Token::Records => self.records_changed(),
                }
            }
            self.sweep_commands();
            self.look_for_records();
            self.sweep_jobs();
            self.sweep_workers();
            self.writes.sweep(Instant::now());
            for (peer, watch) in self.follows.due() {
                self.send(peer, 0, &FromJobmanager::Grew { watch }, Vec::new());
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self) -> Vec<Token> {
        let mut watched = vec![(Token::Control, self.control.as_fd(), PollFlags::IN)];
        for (number, handle, read, write) in self.peers.polled() {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, read);
            flags.set(PollFlags::OUT, write);
            watched.push((Token::Peer(number), handle, flags));
        }
        let readable = |token, handle| (token, handle, PollFlags::IN);
        watched.extend(self.follows.polled().map(|handle| readable(Token::Inotify, handle)));
        for (session, job) in &self.jobs {
            let report = job.report().map(|h| readable(Token::JobReport(session.clone()), h));
            let shepherd = job.polled().map(|h| readable(Token::Shepherd(session.clone()), h));
            watched.extend(report.into_iter().chain(shepherd));
        }
        watched.extend(self.workers.polled().map(|(pid, h)| readable(Token::Worker(pid), h)));
        watched.extend(self.helpers.polled().map(|(pid, h)| readable(Token::Helper(pid), h)));
        let commands = self.batch.polled();
        watched.extend(commands.map(|(number, h)| readable(Token::Command(number), h)));
        watched.extend(self.records.polled().map(|handle| readable(Token::Records, handle)));
        let mut polled: Vec<PollFd<'_>> = watched
            .iter()
            .map(|(_, handle, flags)| PollFd::from_borrowed_fd(*handle, *flags))
            .collect();
        let timeout = self.next().and_then(|next| {
            Timespec::try_from(next.saturating_duration_since(Instant::now())).ok()
        });
        if poll(&mut polled, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        let tokens = watched.into_iter().map(|(token, _, _)| token);
        tokens.zip(&polled).filter(|(_, polled)| ready(polled)).map(|(token, _)| token).collect()
    }

    /// When something is due without a handle being ready.
    fn next(&self) -> Option<Instant> {
        let jobs = self.jobs.values().filter_map(Job::next).min();
        let files = [self.follows.next(), self.writes.next(), self.records.next()];
        [jobs, self.workers.next(), self.batch.next()].into_iter().chain(files).flatten().min()
    }

    /// Does what the monitor says; answers whether it is still there.
    fn control(&mut self) -> bool {
        loop {
            match self.control.receive::<ToJobmanagerControl>() {
                Ok(received) => self.obey(received.message, received.descriptors),
                Err(ChannelError::WouldBlock) => return true,
                Err(ChannelError::Closed) => return false,
                Err(error) => {
                    self.log(&format!("monitor's channel: {error}"));
                    return false;
                }
            }
        }
    }

    fn obey(&mut self, order: ToJobmanagerControl, descriptors: Vec<OwnedFd>) {
        match order {
            ToJobmanagerControl::Serve { kind, gatekeeper } => {
                let Ok([channel]) = <[OwnedFd; 1]>::try_from(descriptors) else { return };
                if let Err(error) = self.peers.add(Channel::from_fd(channel), kind, gatekeeper) {
                    self.log(&format!("gatekeeper's channel: {error}"));
                }
            }
            ToJobmanagerControl::Demote {} => self.peers.demote_all(),
        }
    }

    fn peer(&mut self, peer: u32) {
        if self.peers.flush(peer).is_err() {
            return self.drop_peer(peer);
        }
        for _ in 0..TURN_REQUESTS_MAX {
            let received = match self.peers.receive(peer) {
                Ok(Some(received)) => received,
                Ok(None) => return,
                Err(ChannelError::Closed) => return self.drop_peer(peer),
                Err(error) => {
                    self.log(&format!("gatekeeper's channel: {error}"));
                    return self.drop_peer(peer);
                }
            };
            let id = received.id;
            let Some(kind) = self.peers.kind(peer) else { return };
            if !permits(kind, &received.message) {
                let text = "this channel may not ask that".to_owned();
                let errno = Errno::PERM.raw_os_error();
                self.send(peer, id, &FromJobmanager::Failed { errno, text }, Vec::new());
                continue;
            }
            if starts(&received.message) && self.is_demoted(peer) {
                self.send(peer, id, &FromJobmanager::Stale {}, Vec::new());
                continue;
            }
            match self.answer(peer, id, received.message, received.descriptors) {
                Ok(Some((message, descriptors))) => self.send(peer, id, &message, descriptors),
                Ok(None) => {}
                Err(failure) => self.send(peer, id, &failure.message(), Vec::new()),
            }
        }
    }

    /// Whether a channel starts nothing just now. What the monitor said before the gatekeeper asked is heard first.
    pub(crate) fn is_demoted(&mut self, peer: u32) -> bool {
        // That the monitor is gone is seen by the next poll.
        self.control();
        self.peers.is_demoted(peer)
    }

    /// Sends, or drops a peer that cannot be sent to.
    pub(crate) fn send(
        &mut self,
        peer: u32,
        id: u32,
        message: &FromJobmanager,
        descriptors: Vec<OwnedFd>,
    ) {
        if let Err(error) = self.peers.send(peer, id, message, descriptors) {
            if !matches!(error, ChannelError::Closed) {
                self.log(&format!("gatekeeper's channel: {error}"));
            }
            self.drop_peer(peer);
        }
    }

    fn drop_peer(&mut self, peer: u32) {
        self.peers.remove(peer);
        self.follows.remove_peer(peer);
        self.drop_watcher(peer);
        self.drop_workers_of(peer);
        self.drop_helpers_of(peer);
        self.writes.remove_peer(peer);
        self.drop_commands_of(peer);
        self.records.remove_peer(peer);
    }

    /// The account's umask; `default` where the system says nothing.
    pub(crate) fn umask(&mut self, default: u32) -> u32 {
        self.umask.get_or_insert_with(umask::of_this_account).unwrap_or(default & 0o777)
    }

    pub(crate) fn log(&self, text: &str) {
        log::line(&self.name, text);
    }
}
