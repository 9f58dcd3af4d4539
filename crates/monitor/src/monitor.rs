//! The monitor at work: one thread, one `poll`, and what it does about each thing that is ready.

mod doors;
mod gatekeepers;
mod jobmanagers;
mod verbs;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nesssi_privsep::door::Doorkeeper;
use nesssi_privsep::messages::FromMonitor;
use nesssi_privsep::signals::{Signal, SignalFd};
use nesssi_privsep::{Child, Ending};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Resource, Rlimit, WaitOptions, getrlimit, setrlimit};

use crate::accounts::Accounts;
use crate::backoff::Backoff;
use crate::control::{Code, Connection};
use crate::gatekeeper::{Gatekeeper, GatekeeperId, Phase};
use crate::grants::Grants;
use crate::leaves::{LeafName, Leaves};
use crate::link::Link;
use crate::log;
use crate::lookup::Lookup;
use crate::renewal::Renewal;
use crate::rules::News;
use crate::setup::{self, Setup};

/// Grants remembered.
const GRANTS_MAX: usize = 16_384;
/// How often files are looked at, and deadlines held.
const TICK: Duration = Duration::from_secs(1);
/// How long a connection to the control socket may take to say what it wants.
const REQUEST_SECONDS_MAX: u64 = 5;
/// How long jobmanagers may take to end when NESSSI does.
const JOBMANAGER_EXIT_SECONDS_MAX: u64 = 3;

/// A leaf's door that nobody has come through yet.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) id: u32,
    pub(crate) keeper: Doorkeeper,
    pub(crate) leaf: LeafName,
    pub(crate) uid: u32,
    pub(crate) until: Instant,
}

/// A connection to the control socket whose verb is under way.
#[derive(Debug)]
struct Pending {
    connection: Connection,
    until: Instant,
    /// Who is to say `ControlDone`; `None` where a gatekeeper's replacement is waited for.
    gatekeeper: Option<GatekeeperId>,
    /// What the answer begins with.
    preface: String,
    /// What goes with the answer if all goes well: the gatekeeper writes in it, and nobody here reads it.
    file: Option<OwnedFd>,
}

/// The monitor.
#[derive(Debug)]
pub struct Monitor {
    pub(crate) setup: Setup,
    pub(crate) grants: Grants,
    pub(crate) accounts: Accounts,
    /// The leaves, or why there are none.
    pub(crate) leaves: Result<Leaves, String>,
    pub(crate) leaf_count: usize,
    pub(crate) doors: Vec<Door>,
    /// Leaves whose processes are being killed.
    doomed: BTreeSet<LeafName>,
    gatekeepers: Vec<Gatekeeper>,
    backoff: Backoff,
    /// No gatekeeper is started before.
    not_before: Instant,
    /// Children that have nothing more to do, until they are reaped.
    dying: Vec<Child>,
    signals: SignalFd,
    connections: Vec<Connection>,
    pending: BTreeMap<u32, Pending>,
    number: u32,
    next_tick: Instant,
    stopping: Option<Stopping>,
    certificate: Renewal,
    /// The limit of open files that this process was started with: its children's too.
    pub(crate) files_before: Rlimit,
}

/// NESSSI is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    /// Gatekeepers finish what is under way.
    Gatekeepers,
    /// Jobmanagers were told to end, and are killed then.
    Jobmanagers(Instant),
}

/// Why the monitor ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A system call that it cannot do without.
    #[error("{what}: {source}")]
    System {
        /// Which.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// What is ready.
#[derive(Debug, Clone)]
enum Ready {
    Signal,
    Control,
    Connection(usize),
    Gatekeeper { id: GatekeeperId, read: bool },
    Child,
    Lookup(String),
    Jobmanager(String),
    Door(u32),
}

impl Monitor {
    /// Takes up what was set up. Signals come by descriptor from here on.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn new(setup: Setup) -> Result<Self, RunError> {
        let system = |what| move |source| RunError::System { what, source };
        let signals =
            SignalFd::new(&[Signal::TERM, Signal::INT, Signal::HUP]).map_err(system("signalfd"))?;
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .map_err(|error| system("prctl(PR_SET_DUMPABLE)")(error.into()))?;
        let mut first = [0_u8; 4];
        getrandom::fill(&mut first)
            .map_err(|error| system("getrandom")(std::io::Error::other(error)))?;
        // Numbers of an earlier monitor's grants are not met again soon.
        let first = u64::from(u32::from_le_bytes(first)) << 31;
        let leaves = if setup.who.root {
            Leaves::open(&setup.config.server.state_directory).map_err(|error| error.to_string())
        } else {
            Err("not started as root".to_owned())
        };
        let files_before = raise_files().map_err(|e| system("setrlimit")(e.into()))?;
        let server = &setup.config.server;
        let certificate = Renewal::new([server.certificate.clone(), server.private_key.clone()]);
        let now = Instant::now();
        let mut monitor = Self {
            setup,
            grants: Grants::new(GRANTS_MAX, first),
            accounts: Accounts::default(),
            leaves,
            leaf_count: 0,
            doors: Vec::new(),
            doomed: BTreeSet::new(),
            gatekeepers: Vec::new(),
            backoff: Backoff::default(),
            not_before: now,
            dying: Vec::new(),
            signals,
            connections: Vec::new(),
            pending: BTreeMap::new(),
            number: 0,
            next_tick: now + TICK,
            stopping: None,
            certificate,
            files_before,
        };
        monitor.take_stock_of_leaves();
        Ok(monitor)
    }

    /// Works until it is told to end and everything has ended.
    ///
    /// # Errors
    /// [`RunError`], when it cannot even wait.
    pub fn run(mut self) -> Result<(), RunError> {
        log::info("nesssid started")
            .with("https", self.setup.config.server.listen_https)
            .with("http", self.setup.config.server.listen_http)
            .with("root", self.setup.who.root)
            .with("user", self.setup.who.invoker.name())
            .write();
        let own = rustix::process::getpid().as_raw_pid().unsigned_abs();
        self.setup.audit.line("monitor_started").number("pid", own).write();
        while !self.has_ended() {
            let now = Instant::now();
            self.keep_gatekeeper(now);
            for ready in self.wait(now)? {
                self.attend(ready);
            }
            let now = Instant::now();
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                self.look_at_rules();
                self.look_at_certificate();
                self.sweep_leaves();
                self.reap();
                self.setup.audit.flush();
            }
            self.hold_deadlines(now);
        }
        if let Ok(leaves) = &self.leaves {
            // Jobs that go on keep it.
            leaves.close().unwrap_or_default();
        }
        self.setup.audit.tell_head();
        self.setup.audit.line("monitor_ended").number("pid", own).write();
        self.setup.audit.flush();
        self.setup.rules.sync();
        log::info("nesssid ended").write();
        Ok(())
    }

    /// Waits for something, for a tick at most.
    fn wait(&mut self, now: Instant) -> Result<Vec<Ready>, RunError> {
        let until = self.next_deadline().min(self.next_tick);
        let timeout = Timespec::try_from(until.saturating_duration_since(now))
            .unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let (mut polled, what) = self.interests();
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(RunError::System { what: "poll", source: error.into() });
            }
        }
        let ready = polled.iter().zip(what).filter(|(polled, _)| !polled.revents().is_empty());
        Ok(ready
            .map(|(polled, what)| match what {
                Ready::Gatekeeper { id, .. } => {
                    let only_room = polled.revents() == PollFlags::OUT;
                    Ready::Gatekeeper { id, read: !only_room }
                }
                other => other,
            })
            .collect())
    }

    fn interests(&self) -> (Vec<PollFd<'_>>, Vec<Ready>) {
        let mut what = vec![Ready::Signal, Ready::Control];
        let mut polled = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.setup.control, PollFlags::IN),
        ];
        for (index, connection) in self.connections.iter().enumerate() {
            polled.push(PollFd::new(connection, PollFlags::IN));
            what.push(Ready::Connection(index));
        }
        for gatekeeper in &self.gatekeepers {
            polled.push(PollFd::new(&gatekeeper.child, PollFlags::IN));
            what.push(Ready::Child);
            if gatekeeper.deaf {
                continue;
            }
            polled.push(PollFd::new(&gatekeeper.link, in_and_room(&gatekeeper.link)));
            what.push(Ready::Gatekeeper { id: gatekeeper.id, read: true });
        }
        for (name, slot) in self.accounts.iter() {
            if let Some(lookup) = &slot.lookup {
                polled.push(PollFd::new(lookup, PollFlags::IN));
                what.push(Ready::Lookup(name.to_owned()));
            }
            if let Some(jobmanager) = &slot.jobmanager {
                polled.push(PollFd::new(&jobmanager.child, PollFlags::IN));
                what.push(Ready::Child);
                if jobmanager.control.wants_room() {
                    polled.push(PollFd::new(&jobmanager.control, PollFlags::OUT));
                    what.push(Ready::Jobmanager(name.to_owned()));
                }
            }
        }
        for child in &self.dying {
            polled.push(PollFd::new(child, PollFlags::IN));
            what.push(Ready::Child);
        }
        for door in &self.doors {
            polled.push(PollFd::new(&door.keeper, PollFlags::IN));
            what.push(Ready::Door(door.id));
        }
        (polled, what)
    }

    fn attend(&mut self, ready: Ready) {
        match ready {
            Ready::Signal => self.take_signals(),
            Ready::Control => self.accept_control(),
            Ready::Connection(index) => self.read_control(index),
            Ready::Gatekeeper { id, read } => self.read_gatekeeper(id, read),
            Ready::Child => self.reap(),
            Ready::Lookup(name) => self.advance_lookup(&name),
            Ready::Jobmanager(name) => self.flush_jobmanager(&name),
            Ready::Door(id) => self.open_door(id),
        }
    }

    pub(crate) fn next_number(&mut self) -> u32 {
        self.number = self.number.wrapping_add(1).max(1);
        self.number
    }

    fn next_deadline(&self) -> Instant {
        let gatekeepers = self.gatekeepers.iter().flat_map(|g| [g.kill_at, g.release_by]);
        let lookups = self.accounts.iter().map(|(_, slot)| slot.lookup.as_ref().map(Lookup::until));
        let wanted = self.stopping.is_none() && self.wants_gatekeeper();
        let start = wanted.then_some(self.not_before);
        let jobmanagers = match self.stopping {
            Some(Stopping::Jobmanagers(until)) => Some(until),
            _ => None,
        };
        gatekeepers
            .chain(lookups)
            .chain([start, jobmanagers])
            .flatten()
            .min()
            .unwrap_or(self.next_tick)
    }

    fn hold_deadlines(&mut self, now: Instant) {
        for gatekeeper in &mut self.gatekeepers {
            if gatekeeper.kill_at.is_some_and(|at| at <= now) {
                gatekeeper.kill("it has not ended in time");
            } else if gatekeeper.release_by.is_some_and(|at| at <= now) {
                gatekeeper.kill("it has not given up the lease in time");
            }
        }
        let late: Vec<String> = self
            .accounts
            .iter()
            .filter(|(_, slot)| slot.lookup.as_ref().is_some_and(|lookup| lookup.until() <= now))
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in late {
            self.advance_lookup(&name);
        }
        self.doors.retain(|door| door.until > now);
        let wait = Duration::from_secs(REQUEST_SECONDS_MAX);
        self.connections.retain(|connection| connection.since + wait > now);
        let over: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, p)| p.until <= now)
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in over {
            self.finish(ticket, Code::Failed, "it has taken too long");
        }
        self.go_on_stopping(now);
    }

    // ---- signals and the end ----

    fn take_signals(&mut self) {
        while let Ok(Some(number)) = self.signals.next() {
            if number == Signal::HUP.as_raw() {
                log::info("SIGHUP: replacing the gatekeeper").write();
                self.setup.audit.line("gatekeeper_replaced").text("by", "SIGHUP").write();
                self.look_at_rules();
                self.replace_gatekeeper(Instant::now());
            } else {
                self.stop(Instant::now());
            }
        }
    }

    /// Begins to end; asked a second time, hurries.
    fn stop(&mut self, now: Instant) {
        if self.stopping.is_some() {
            for gatekeeper in &mut self.gatekeepers {
                gatekeeper.kill("told to end a second time");
            }
            return;
        }
        let seconds_max = self.setup.config.server.drain_seconds_max;
        log::info("draining").with("seconds_max", seconds_max).write();
        self.setup.audit.line("draining").write();
        self.setup.audit.flush();
        self.stopping = Some(Stopping::Gatekeepers);
        for gatekeeper in &mut self.gatekeepers {
            if gatekeeper.phase == Phase::Spare {
                gatekeeper.kill("nesssid is ending");
            } else {
                gatekeeper.drain(seconds_max, Duration::from_secs(u64::from(seconds_max)), now);
            }
        }
    }

    fn go_on_stopping(&mut self, now: Instant) {
        match self.stopping {
            Some(Stopping::Gatekeepers) if self.gatekeepers.is_empty() => {
                let until = now + Duration::from_secs(JOBMANAGER_EXIT_SECONDS_MAX);
                self.stopping = Some(Stopping::Jobmanagers(until));
                // A jobmanager ends when its control channel does. Its shepherds go on.
                for (_, slot) in self.accounts.iter_mut() {
                    slot.waiting.clear();
                    bury(
                        &mut self.dying,
                        slot.jobmanager.take().map(|jobmanager| jobmanager.child),
                    );
                    bury(&mut self.dying, slot.lookup.take().map(Lookup::give_up));
                }
            }
            Some(Stopping::Jobmanagers(until)) if until <= now => {
                for child in &self.dying {
                    log::warn("killing a child that does not end")
                        .with("pid", child.pid_number())
                        .write();
                    child.signal(Signal::KILL).unwrap_or_default();
                }
                self.stopping = Some(Stopping::Jobmanagers(
                    now + Duration::from_secs(JOBMANAGER_EXIT_SECONDS_MAX),
                ));
            }
            _ => {}
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.stopping, Some(Stopping::Jobmanagers(_))) && self.dying.is_empty()
    }

    // ---- children ----

    /// Reaps every child that has ended, those that were somebody else's before included. One that was
    /// stopped goes on: a job can stop the jobmanager of its account, and nobody else would notice.
    fn reap(&mut self) {
        let mut stopped = BTreeSet::new();
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        while let Ok(Some((pid, status))) = rustix::process::wait(options) {
            if status.stopped() {
                stopped.insert(pid.as_raw_pid());
                continue;
            }
            let exited = status.exit_status().map(Ending::Exited);
            let ended = exited.or_else(|| status.terminating_signal().map(Ending::Signalled));
            if let Some(ending) = ended {
                stopped.remove(&pid.as_raw_pid());
                self.child_ended(pid, ending);
            }
        }
        // Only now: whoever stops it again and again does not keep this loop going. They have not been
        // reaped, so their pids are still theirs.
        for pid in stopped.into_iter().filter_map(Pid::from_raw) {
            log::warn("a child was stopped: it goes on").with("pid", pid.as_raw_pid()).write();
            rustix::process::kill_process(pid, Signal::CONT).unwrap_or_default();
        }
    }

    fn child_ended(&mut self, pid: Pid, ending: Ending) {
        if let Some(id) = self.gatekeepers.iter().find(|g| g.child.pid() == pid).map(|g| g.id) {
            // What it said last may wait behind its end.
            self.hear_last_words(id);
            let Some(at) = self.gatekeepers.iter().position(|g| g.id == id) else { return };
            let gatekeeper = self.gatekeepers.swap_remove(at);
            self.gatekeeper_ended(gatekeeper, ending);
        } else if let Some(name) = self.accounts.by_jobmanager(pid) {
            self.jobmanager_ended(&name, ending);
        } else {
            self.dying.retain(|child| child.pid() != pid);
        }
    }

    // ---- rules ----

    fn look_at_rules(&mut self) {
        let (mut risen, mut config) = (false, false);
        for news in self.setup.rules.look() {
            match news {
                News::Generation { generation, because } => {
                    log::info("new generation of the rules")
                        .with("generation", generation)
                        .with("because", because)
                        .write();
                    self.setup
                        .audit
                        .line("generation")
                        .number("generation", generation)
                        .text("because", because)
                        .write();
                    risen = true;
                }
                News::Config => {
                    log::info("the configuration has changed").write();
                    self.setup.audit.line("configuration").write();
                    config = true;
                }
                News::Accounts => self.accounts.doubt_all(),
                News::Warning(text) => log::warn(text).write(),
                News::Error(text) => {
                    log::error(text).with("then", "the last good one stays").write()
                }
            }
        }
        if risen || config {
            self.push_generation(config);
        }
        if risen {
            self.grants.clear();
            self.demote_channels();
        }
    }

    /// Tells the gatekeepers which generation it is; `config` with the configuration's text.
    fn push_generation(&mut self, config: bool) {
        let generation = self.setup.rules.generation();
        let config_text = config.then(|| self.setup.rules.config_text().to_owned());
        let message = FromMonitor::Generation { generation, config_text };
        for gatekeeper in &mut self.gatekeepers {
            if !gatekeeper.deaf && gatekeeper.link.send(0, &message, Vec::new()).is_err() {
                gatekeeper.kill("it does not take the new generation");
            }
        }
    }

    /// A renewed certificate goes to the gatekeepers, each with descriptors of its own. Whether it fits its key they find out.
    fn look_at_certificate(&mut self) {
        if !self.certificate.is_due() {
            return;
        }
        for gatekeeper in self.gatekeepers.iter_mut().filter(|gatekeeper| !gatekeeper.deaf) {
            let opened = setup::open_certificate(&self.setup.config)
                .and_then(|one| Ok(vec![one, setup::open_private_key(&self.setup.config)?]));
            let descriptors = match opened {
                Ok(descriptors) => descriptors,
                Err(problem) => {
                    log::error(problem).with("then", "the last good one stays").write();
                    return;
                }
            };
            if gatekeeper.link.send(0, &FromMonitor::Certificate {}, descriptors).is_err() {
                gatekeeper.kill("it does not take the new certificate");
            }
        }
        log::info("the server's certificate or key has changed").write();
        self.setup.audit.line("certificate").write();
    }
}

/// Every channel, child and leaf is a descriptor: as many as the system allows. Answers what it was.
fn raise_files() -> rustix::io::Result<Rlimit> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    setrlimit(Resource::Nofile, raised)?;
    Ok(before)
}

/// A child that has nothing more to do is kept until it is reaped, unless it has been.
fn bury(dying: &mut Vec<Child>, child: Option<Child>) {
    dying.extend(child.filter(|child| matches!(child.try_wait(), Ok(None))));
}

fn in_and_room(link: &Link) -> PollFlags {
    if link.wants_room() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
}
