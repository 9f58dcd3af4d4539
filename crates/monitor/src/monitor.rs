//! The monitor at work: one thread, one `poll`, and what it does about each thing that is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nesssi_privsep::door::Doorkeeper;
use nesssi_privsep::messages::{FromMonitor, Refusal, Seal, ToJobmanagerControl, ToMonitor};
use nesssi_privsep::signals::{Signal, SignalFd};
use nesssi_privsep::wire::Blob;
use nesssi_privsep::{Channel, ChannelError, Child, Ending};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions};

use crate::accounts::{Accounts, Jobmanager, Slot, WAITING_MAX, Waiting, Wish};
use crate::backoff::Backoff;
use crate::control::{CONNECTIONS_MAX, Code, Connection, Verb};
use crate::gatekeeper::{Gatekeeper, GatekeeperId, Phase};
use crate::grants::Grants;
use crate::leaves::{LeafName, Leaves};
use crate::link::Link;
use crate::log;
use crate::lookup::{LOOKUP_SECONDS_MAX, Lookup, Outcome, Purpose, Surroundings};
use crate::requests::{Asker, other_uid};
use crate::rules::News;
use crate::setup::{self, Setup};

/// Grants remembered.
const GRANTS_MAX: usize = 16_384;
/// How often files are looked at, and deadlines held.
const TICK: Duration = Duration::from_secs(1);
/// Records taken from one gatekeeper before the others have their turn.
const RECORDS_PER_TURN_MAX: usize = 64;
/// How long a gatekeeper may take to give up the lease.
const RELEASE_SECONDS_MAX: u64 = 10;
/// How long a connection to the control socket may take to say what it wants.
const REQUEST_SECONDS_MAX: u64 = 5;
/// How long a verb may take.
const VERB_SECONDS_MAX: u64 = 60;
/// A jobmanager that lived so long and then does not listen has ended as it should.
const WELL: Duration = Duration::from_secs(5);
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
                self.sweep_leaves();
                self.reap();
            }
            self.hold_deadlines(now);
        }
        if let Ok(leaves) = &self.leaves {
            // Jobs that go on keep it.
            leaves.close().unwrap_or_default();
        }
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
        let wanted = self.stopping.is_none() && !self.gatekeepers.iter().any(Gatekeeper::holds);
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
        self.stopping = Some(Stopping::Gatekeepers);
        for gatekeeper in &mut self.gatekeepers {
            gatekeeper.drain(seconds_max, Duration::from_secs(u64::from(seconds_max)), now);
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

    /// Reaps every child that has ended, those that were somebody else's before included.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let exited = status.exit_status().map(Ending::Exited);
            let ended = exited.or_else(|| status.terminating_signal().map(Ending::Signalled));
            if let Some(ending) = ended {
                self.child_ended(pid, ending);
            }
        }
    }

    fn child_ended(&mut self, pid: Pid, ending: Ending) {
        if let Some(at) = self.gatekeepers.iter().position(|g| g.child.pid() == pid) {
            let gatekeeper = self.gatekeepers.swap_remove(at);
            self.gatekeeper_ended(gatekeeper, ending);
        } else if let Some(name) = self.accounts.by_jobmanager(pid) {
            self.jobmanager_ended(&name, ending);
        } else {
            self.dying.retain(|child| child.pid() != pid);
        }
    }

    // ---- gatekeepers ----

    pub(crate) fn gatekeeper(&mut self, id: GatekeeperId) -> Option<&mut Gatekeeper> {
        self.gatekeepers.iter_mut().find(|gatekeeper| gatekeeper.id == id)
    }

    /// Starts a gatekeeper if there is none that holds the lease.
    fn keep_gatekeeper(&mut self, now: Instant) {
        let held = self.gatekeepers.iter().any(Gatekeeper::holds);
        if self.stopping.is_some() || held || now < self.not_before {
            return;
        }
        if let Err(text) = self.start_gatekeeper() {
            let wait = self.backoff.ended(Duration::ZERO);
            self.not_before = now + wait;
            log::error("cannot start the gatekeeper")
                .with("because", text)
                .with("next_try_ms", wait.as_millis())
                .write();
        }
    }

    fn start_gatekeeper(&mut self) -> Result<(), String> {
        let descriptors = self.gatekeeper_descriptors()?;
        let id = GatekeeperId(self.next_number());
        let welcome = FromMonitor::Welcome {
            config_text: self.setup.rules.config_text().to_owned(),
            config_path: self.setup.config_path.display().to_string(),
            root: self.setup.who.root,
            leaves: self.leaves.is_ok(),
            user: self.setup.who.invoker.name().to_owned(),
            boot_id: self.setup.boot_id.clone(),
            generation: self.setup.rules.generation(),
        };
        let gatekeeper = Gatekeeper::start(
            id,
            &self.setup.libexec.join("nesssi-gatekeeper"),
            &self.setup.who.gatekeeper,
            &self.setup.environment,
            &welcome,
            descriptors,
        )
        .map_err(|error| error.to_string())?;
        log::info("started the gatekeeper").with("pid", gatekeeper.child.pid_number()).write();
        self.gatekeepers.push(gatekeeper);
        Ok(())
    }

    /// The listeners, and certificate and key opened anew: they may have been renewed.
    fn gatekeeper_descriptors(&self) -> Result<Vec<OwnedFd>, String> {
        let clone = |listener: &std::net::TcpListener| {
            listener.as_fd().try_clone_to_owned().map_err(|error| error.to_string())
        };
        let certificate =
            setup::open_certificate(&self.setup.config).map_err(|error| error.to_string())?;
        let key = setup::open_private_key(&self.setup.config).map_err(|error| error.to_string())?;
        Ok(vec![clone(&self.setup.https)?, clone(&self.setup.http)?, certificate, key])
    }

    fn read_gatekeeper(&mut self, id: GatekeeperId, read: bool) {
        let Some(gatekeeper) = self.gatekeeper(id) else { return };
        if let Err(error) = gatekeeper.link.flush() {
            gatekeeper.lost(&format!("it does not take its answers: {error}"), Instant::now());
            return;
        }
        if !read {
            return;
        }
        for _ in 0..RECORDS_PER_TURN_MAX {
            let Some(gatekeeper) = self.gatekeeper(id) else { return };
            if gatekeeper.deaf {
                return;
            }
            match gatekeeper.link.receive::<ToMonitor>() {
                Ok(Some(received)) => {
                    let asker = Asker { gatekeeper: id, request: received.id };
                    self.handle(asker, &received.message);
                }
                Ok(None) => return,
                Err(ChannelError::Closed) => {
                    gatekeeper.lost("its channel is closed", Instant::now());
                    return;
                }
                Err(error) => {
                    gatekeeper.kill(&format!("it sends what is no request: {error}"));
                    return;
                }
            }
        }
    }

    /// Sends an answer. A gatekeeper that does not read its answers is of no use.
    pub(crate) fn answer(&mut self, asker: Asker, answer: &FromMonitor, descriptors: Vec<OwnedFd>) {
        let Some(gatekeeper) = self.gatekeeper(asker.gatekeeper) else { return };
        if let Err(error) = gatekeeper.link.send(asker.request, answer, descriptors) {
            gatekeeper.kill(&format!("it does not take its answers: {error}"));
        }
    }

    pub(crate) fn gatekeeper_serves(&mut self, id: GatekeeperId) {
        let Some(gatekeeper) = self.gatekeeper(id) else { return };
        gatekeeper.phase = Phase::Serving;
        let pid = gatekeeper.child.pid_number();
        let took = gatekeeper.started.elapsed().as_millis();
        log::info("the gatekeeper serves").with("pid", pid).with("after_ms", took).write();
        let waiting: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.gatekeeper.is_none())
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in waiting {
            self.finish(
                ticket,
                Code::Done,
                &format!("the gatekeeper was replaced, pid {pid} serves"),
            );
        }
    }

    pub(crate) fn gatekeeper_released(&mut self, id: GatekeeperId) {
        if let Some(gatekeeper) = self.gatekeeper(id) {
            gatekeeper.phase = Phase::Released;
            gatekeeper.release_by = None;
            log::info("the gatekeeper drains").with("pid", gatekeeper.child.pid_number()).write();
        }
        self.not_before = Instant::now();
    }

    fn replace_gatekeeper(&mut self, now: Instant) {
        let seconds_max = self.setup.config.server.drain_seconds_max;
        for gatekeeper in &mut self.gatekeepers {
            gatekeeper.drain(seconds_max, Duration::from_secs(RELEASE_SECONDS_MAX), now);
        }
        // If none runs, the wait for the next is over.
        self.backoff.reset();
        self.not_before = now;
    }

    fn gatekeeper_ended(&mut self, gatekeeper: Gatekeeper, ending: Ending) {
        let lived = gatekeeper.started.elapsed();
        let planned = matches!(gatekeeper.phase, Phase::Draining | Phase::Released);
        let pid = gatekeeper.child.pid_number();
        if planned {
            log::info("the gatekeeper has ended").with("pid", pid).with("by", ending).write();
        } else {
            let wait = self.backoff.ended(lived);
            self.not_before = Instant::now() + wait;
            log::error("the gatekeeper has ended")
                .with("pid", pid)
                .with("by", ending)
                .with("next_ms", wait.as_millis())
                .write();
        }
        self.doomed.extend(gatekeeper.worker_leaves);
        self.sweep_leaves();
        for (_, slot) in self.accounts.iter_mut() {
            slot.waiting.retain(|waiting| waiting.gatekeeper != gatekeeper.id);
        }
        let lost: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.gatekeeper == Some(gatekeeper.id))
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in lost {
            self.finish(ticket, Code::Failed, "the gatekeeper has ended meanwhile");
        }
    }

    // ---- accounts ----

    /// Answers a wish for a channel: at once, or after a look-up that all who wait for the account share.
    pub(crate) fn want(&mut self, account: &str, waiting: Waiting) {
        let now = Instant::now();
        let asker = Asker { gatekeeper: waiting.gatekeeper, request: waiting.request };
        let busy = |text: &str| Refusal::Busy { text: text.to_owned() };
        let Some(slot) = self.accounts.slot(account, now) else {
            return self.refuse(asker, "channel", busy("too many accounts"));
        };
        if slot.ready_for(&waiting.wish, now) {
            return self.serve(account, &waiting);
        }
        if slot.waiting.len() >= WAITING_MAX {
            return self.refuse(asker, "channel", busy("too many wait for this account"));
        }
        if slot.jobmanager.is_none() && slot.not_before.is_some_and(|at| at > now) {
            return self.refuse(asker, "channel", busy("the account's jobmanager keeps ending"));
        }
        slot.waiting.push(waiting);
        self.look_up(account);
    }

    /// Begins the look-up that those who wait for an account need, unless one is under way.
    fn look_up(&mut self, account: &str) {
        let surroundings = Surroundings {
            root: self.setup.who.root,
            invoker: &self.setup.who.invoker,
            rules: self.setup.who.account_rules(self.setup.rules.uid_min()),
            sandboxes: self.setup.sandboxes.as_fd(),
            sandboxes_path: self.setup.config.sandboxes.root.clone(),
            program: self.setup.libexec.join("nesssi-jobmanager"),
            environment: &self.setup.environment,
        };
        let Some(slot) = self.accounts.get_mut(account) else { return };
        if slot.lookup.is_some() || slot.waiting.is_empty() {
            return;
        }
        let purpose = if slot.jobmanager.is_some() {
            Purpose::Check
        } else if slot.waiting.iter().any(|waiting| !waiting.wish.starts()) {
            Purpose::Tend
        } else {
            Purpose::Start
        };
        let wait = Duration::from_secs(LOOKUP_SECONDS_MAX);
        match Lookup::begin(account, purpose, &surroundings, wait) {
            Ok(lookup) => slot.lookup = Some(lookup),
            Err(error) => {
                let text = error.to_string();
                self.refuse_waiting(account, |_| Some(Refusal::System { text: text.clone() }));
            }
        }
    }

    fn advance_lookup(&mut self, account: &str) {
        let now = Instant::now();
        let Some(slot) = self.accounts.get_mut(account) else { return };
        let Some(lookup) = slot.lookup.take() else { return };
        let purpose = lookup.purpose();
        let (outcome, leftover) = match lookup.advance(now) {
            Ok(ended) => ended,
            Err(still) => {
                slot.lookup = Some(*still);
                return;
            }
        };
        bury(&mut self.dying, leftover);
        match outcome {
            Outcome::Started(found, child, control) => self.started(account, found, child, control),
            Outcome::Checked(found) => self.checked(account, found),
            Outcome::Unfit(text) => {
                log::warn("account refused")
                    .with("account", account)
                    .with("because", &text)
                    .write();
                if let Some(slot) = self.accounts.get_mut(account) {
                    slot.checked = None;
                }
                self.refuse_waiting(account, |waiting| {
                    // Those who tend were not asked whether any standing will do: they are asked again.
                    let again = purpose == Purpose::Start && !waiting.wish.starts();
                    (!again).then(|| Refusal::BadAccount { text: text.clone() })
                });
                self.look_up(account);
            }
            Outcome::Failed(text) => {
                log::error("look-up failed")
                    .with("account", account)
                    .with("because", &text)
                    .write();
                self.refuse_waiting(account, |_| Some(Refusal::System { text: text.clone() }));
            }
        }
    }

    fn started(
        &mut self,
        account: &str,
        found: crate::lookup::Found,
        child: Child,
        control: Channel,
    ) {
        log::info("started a jobmanager")
            .with("account", account)
            .with("uid", found.uid)
            .with("pid", child.pid_number())
            .write();
        let now = Instant::now();
        // It may have ended, and been reaped, before this was heard.
        let ended = match child.try_wait() {
            Ok(None) => None,
            Ok(Some(ending)) => Some(ending),
            Err(_) => Some(Ending::Exited(1)),
        };
        match (Link::new(control), self.accounts.get_mut(account)) {
            (Ok(control), Some(slot)) => {
                slot.jobmanager = Some(Jobmanager { child, control, started: now });
                slot.found = Some(found);
                slot.checked = Some(now);
            }
            // Without its channel it ends by itself.
            _ => bury(&mut self.dying, Some(child)),
        }
        if let Some(ending) = ended {
            self.jobmanager_ended(account, ending);
        }
        self.serve_waiting(account);
    }

    /// A running jobmanager's account was looked up again.
    fn checked(&mut self, account: &str, found: crate::lookup::Found) {
        let now = Instant::now();
        let Some(slot) = self.accounts.get_mut(account) else { return };
        let same = slot.found.as_ref().is_some_and(|before| {
            (before.uid, before.gid, &before.groups) == (found.uid, found.gid, &found.groups)
        });
        if same {
            slot.found = Some(found);
            slot.checked = Some(now);
            return self.serve_waiting(account);
        }
        log::warn("an account has changed: replacing its jobmanager")
            .with("account", account)
            .write();
        bury(&mut self.dying, slot.jobmanager.take().map(|jobmanager| jobmanager.child));
        slot.checked = None;
        self.look_up(account);
    }

    fn serve_waiting(&mut self, account: &str) {
        let Some(slot) = self.accounts.get_mut(account) else { return };
        for waiting in std::mem::take(&mut slot.waiting) {
            self.serve(account, &waiting);
        }
    }

    fn refuse_waiting(&mut self, account: &str, refusal: impl Fn(&Waiting) -> Option<Refusal>) {
        let Some(slot) = self.accounts.get_mut(account) else { return };
        for waiting in std::mem::take(&mut slot.waiting) {
            match refusal(&waiting) {
                Some(refusal) => {
                    let asker = Asker { gatekeeper: waiting.gatekeeper, request: waiting.request };
                    self.refuse(asker, "channel", refusal);
                }
                None => {
                    if let Some(slot) = self.accounts.get_mut(account) {
                        slot.waiting.push(waiting);
                    }
                }
            }
        }
    }

    /// Hands over a channel to a jobmanager that runs, or says why not.
    fn serve(&mut self, account: &str, waiting: &Waiting) {
        let asker = Asker { gatekeeper: waiting.gatekeeper, request: waiting.request };
        let Some(slot) = self.accounts.get_mut(account) else { return };
        if let Err(refusal) = fits(slot, account, &waiting.wish) {
            return self.refuse(asker, "channel", refusal);
        }
        if let Wish::Start { grant } = waiting.wish {
            let generation = self.setup.rules.generation();
            let uid = slot.found.as_ref().map(|found| found.uid);
            match self.grants.current(grant, generation) {
                Some(grant) => grant.started = uid,
                None => return self.refuse(asker, "channel", Refusal::StaleGrant {}),
            }
        }
        let facts = slot.facts(account, &self.setup.config.sandboxes.root);
        let (Some(jobmanager), Some(facts)) = (&mut slot.jobmanager, facts) else {
            let refusal = Refusal::System { text: "the jobmanager has ended meanwhile".into() };
            return self.refuse(asker, "channel", refusal);
        };
        let handed = Channel::pair().and_then(|(ours, theirs)| {
            let message = ToJobmanagerControl::Serve { kind: waiting.wish.kind() };
            jobmanager.control.send(0, &message, vec![theirs.into_fd()])?;
            Ok(ours)
        });
        let pid = jobmanager.child.pid_number();
        match handed {
            Ok(channel) => {
                let answer = FromMonitor::Jobmanager { account: facts, pid };
                self.answer(asker, &answer, vec![channel.into_fd()]);
            }
            Err(error) => self.not_handed(account, waiting, &error),
        }
    }

    /// A jobmanager does not take a channel: it is ending. If it was well, the next one serves.
    fn not_handed(&mut self, account: &str, waiting: &Waiting, error: &ChannelError) {
        let asker = Asker { gatekeeper: waiting.gatekeeper, request: waiting.request };
        let Some(slot) = self.accounts.get_mut(account) else { return };
        let Some(jobmanager) = slot.jobmanager.take() else { return };
        slot.checked = None;
        let lived = jobmanager.started.elapsed();
        bury(&mut self.dying, Some(jobmanager.child));
        if matches!(error, ChannelError::Closed) && lived >= WELL {
            slot.waiting.push(waiting.clone());
            return self.look_up(account);
        }
        slot.not_before = Some(Instant::now() + slot.backoff.ended(lived));
        let text = format!("the account's jobmanager does not listen: {error}");
        self.refuse(asker, "channel", Refusal::System { text });
    }

    fn flush_jobmanager(&mut self, account: &str) {
        let Some(slot) = self.accounts.get_mut(account) else { return };
        if slot.jobmanager.as_mut().is_some_and(|j| j.control.flush().is_err()) {
            // Its end is seen by its pidfd.
            bury(&mut self.dying, slot.jobmanager.take().map(|jobmanager| jobmanager.child));
        }
    }

    fn jobmanager_ended(&mut self, account: &str, ending: Ending) {
        let Some(slot) = self.accounts.get_mut(account) else { return };
        let Some(jobmanager) = slot.jobmanager.take() else { return };
        slot.checked = None;
        if ending == Ending::Exited(0) {
            slot.backoff.reset();
            slot.not_before = None;
            log::info("a jobmanager has ended").with("account", account).write();
        } else {
            let wait = slot.backoff.ended(jobmanager.started.elapsed());
            slot.not_before = Some(Instant::now() + wait);
            log::error("a jobmanager has ended")
                .with("account", account)
                .with("by", ending)
                .with("next_ms", wait.as_millis())
                .write();
        }
    }

    // ---- rules ----

    fn look_at_rules(&mut self) {
        for news in self.setup.rules.look() {
            match news {
                News::Generation { generation, because } => {
                    log::info("new generation of the rules")
                        .with("generation", generation)
                        .with("because", because)
                        .write();
                    self.push_generation(generation);
                }
                News::Accounts => self.accounts.doubt_all(),
                News::Warning(text) => log::warn(text).write(),
                News::Error(text) => {
                    log::error(text).with("then", "the last good one stays").write()
                }
            }
        }
    }

    fn push_generation(&mut self, generation: u64) {
        self.grants.clear();
        for gatekeeper in &mut self.gatekeepers {
            let message = FromMonitor::Generation { generation };
            if !gatekeeper.deaf && gatekeeper.link.send(0, &message, Vec::new()).is_err() {
                gatekeeper.kill("it does not take the new generation");
            }
        }
    }

    // ---- leaves ----

    /// Leaves that an earlier monitor left: workers are ended, jobs go on.
    fn take_stock_of_leaves(&mut self) {
        match &self.leaves {
            Ok(leaves) => {
                log::info("leaves").with("at", leaves.path().display()).write();
                let names = leaves.list().unwrap_or_default();
                self.leaf_count = names.len();
                self.doomed.extend(names.into_iter().filter(LeafName::is_worker));
            }
            Err(text) => log::info("no leaves").with("because", text).write(),
        }
    }

    fn sweep_leaves(&mut self) {
        for name in std::mem::take(&mut self.doomed) {
            match self.kill_leaf(&name) {
                Ok(Some(facts)) if facts.populated => {
                    self.doomed.insert(name);
                }
                Ok(_) => {}
                Err(error) => {
                    log::error("cannot kill a leaf")
                        .with("leaf", name.as_str())
                        .with("because", error)
                        .write();
                }
            }
        }
    }

    /// Somebody stands at a leaf's door.
    fn open_door(&mut self, id: u32) {
        let Some(at) = self.doors.iter().position(|door| door.id == id) else { return };
        let Some(door) = self.doors.get(at) else { return };
        let visitor = match door.keeper.visitor() {
            Ok(None) => return,
            Ok(Some(visitor)) => Some(visitor),
            Err(_) => None,
        };
        // One use.
        let door = self.doors.swap_remove(at);
        let (Some(visitor), Ok(leaves)) = (visitor, &self.leaves) else { return };
        let placed = place(leaves, &door, visitor);
        if let Err(text) = &placed {
            log::warn("refused at a leaf's door")
                .with("leaf", door.leaf.as_str())
                .with("pid", visitor.pid)
                .with("uid", visitor.uid)
                .with("because", text)
                .write();
        }
        door.keeper.answer(placed.is_ok()).unwrap_or_default();
    }

    // ---- the control socket ----

    fn accept_control(&mut self) {
        match self.setup.control.accept() {
            Ok(Some(connection))
                if self.connections.len() + self.pending.len() < CONNECTIONS_MAX =>
            {
                self.connections.push(connection);
            }
            Ok(Some(connection)) => connection.answer(Code::Refused, "too many connections"),
            Ok(None) => {}
            Err(error) => log::warn("control socket").with("because", error).write(),
        }
    }

    fn read_control(&mut self, index: usize) {
        let Some(connection) = self.connections.get(index) else { return };
        let request = match connection.request() {
            Ok(None) => return,
            Ok(Some(request)) => Some(request),
            Err(_) => None,
        };
        let connection = self.connections.remove(index);
        match request {
            Some(Ok(verb)) => {
                log::info("control")
                    .with("verb", format!("{verb:?}"))
                    .with("uid", connection.uid)
                    .write();
                self.obey(connection, verb);
            }
            Some(Err(error)) => {
                log::warn("control").with("refused", error).with("uid", connection.uid).write();
                connection.answer(Code::Refused, &error.to_string());
            }
            None => {}
        }
    }

    fn obey(&mut self, connection: Connection, verb: Verb) {
        if self.stopping.is_some() {
            return connection.answer(Code::Refused, "nesssid is ending");
        }
        let now = Instant::now();
        let preface = if verb == Verb::Status { self.status() } else { String::new() };
        let ticket = self.next_number();
        let until = now + Duration::from_secs(VERB_SECONDS_MAX);
        let message = match verb {
            Verb::Restart => {
                if self.pending.values().any(|pending| pending.gatekeeper.is_none()) {
                    let text = "the gatekeeper is being replaced already";
                    return connection.answer(Code::Refused, text);
                }
                let pending = Pending { connection, until, gatekeeper: None, preface };
                self.pending.insert(ticket, pending);
                return self.replace_gatekeeper(now);
            }
            Verb::RestartService(name) => FromMonitor::RestartService { ticket, name },
            Verb::Status => FromMonitor::Status { ticket },
        };
        let serving = self.gatekeepers.iter_mut().find(|g| g.phase == Phase::Serving && !g.deaf);
        let Some(gatekeeper) = serving else {
            return match message {
                FromMonitor::Status { .. } => connection.answer(Code::Done, &preface),
                _ => connection.answer(Code::Refused, "no gatekeeper serves just now"),
            };
        };
        if gatekeeper.link.send(0, &message, Vec::new()).is_err() {
            return connection.answer(Code::Failed, "the gatekeeper does not listen");
        }
        let gatekeeper = Some(gatekeeper.id);
        self.pending.insert(ticket, Pending { connection, until, gatekeeper, preface });
    }

    pub(crate) fn control_answered(
        &mut self,
        gatekeeper: GatekeeperId,
        ticket: u32,
        ok: bool,
        text: &str,
    ) {
        if self.pending.get(&ticket).is_some_and(|p| p.gatekeeper == Some(gatekeeper)) {
            self.finish(ticket, if ok { Code::Done } else { Code::Failed }, text);
        }
    }

    fn finish(&mut self, ticket: u32, code: Code, text: &str) {
        if let Some(pending) = self.pending.remove(&ticket) {
            pending.connection.answer(code, &format!("{}{text}", pending.preface));
        }
    }

    /// How things are, as the monitor sees them.
    fn status(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let running = self.accounts.iter().filter(|(_, slot)| slot.jobmanager.is_some()).count();
        // Writing to a String does not fail.
        writeln!(
            text,
            "monitor: pid {}, generation {}, {} grants, {running} jobmanagers, {} leaves",
            rustix::process::getpid().as_raw_pid(),
            self.setup.rules.generation(),
            self.grants.len(),
            match &self.leaves {
                Ok(_) => self.leaf_count.to_string(),
                Err(text) => format!("no ({text})"),
            },
        )
        .unwrap_or_default();
        for gatekeeper in &self.gatekeepers {
            writeln!(
                text,
                "gatekeeper: pid {}, {:?}, for {} s",
                gatekeeper.child.pid_number(),
                gatekeeper.phase,
                gatekeeper.started.elapsed().as_secs()
            )
            .unwrap_or_default();
        }
        text
    }
}

/// A child that has nothing more to do is kept until it is reaped, unless it has been.
fn bury(dying: &mut Vec<Child>, child: Option<Child>) {
    dying.extend(child.filter(|child| matches!(child.try_wait(), Ok(None))));
}

fn in_and_room(link: &Link) -> PollFlags {
    if link.wants_room() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
}

/// Whether an account as it was found serves a wish.
fn fits(slot: &Slot, account: &str, wish: &Wish) -> Result<(), Refusal> {
    let Some(found) = &slot.found else {
        return Err(Refusal::System { text: "nothing is known of the account".into() });
    };
    match wish {
        Wish::Tend { uid } if *uid != found.uid => Err(other_uid(&Seal {
            account: account.to_owned(),
            uid: *uid,
            level: String::new(),
            limits: Blob::default(),
            mac: Blob::default(),
        })),
        Wish::Tend { .. } => Ok(()),
        Wish::Start { .. } | Wish::Discover => match &found.standing {
            None => Ok(()),
            Some(text) => Err(Refusal::BadAccount { text: text.clone() }),
        },
    }
}

/// Puts the visitor into the leaf if he is whom it was made for. His pidfd makes sure that it is still he:
/// a pid that is used again in between is not placed.
fn place(
    leaves: &Leaves,
    door: &Door,
    visitor: nesssi_privsep::door::Visitor,
) -> Result<(), String> {
    if visitor.uid != door.uid {
        return Err(format!("the leaf is for uid {}", door.uid));
    }
    let process = Child::from_pid(visitor.pid).map_err(|error| error.to_string())?;
    let uid_now = uid_of(visitor.pid).ok_or("it has ended meanwhile")?;
    if uid_now != door.uid {
        return Err(format!("its pid is uid {uid_now}'s now"));
    }
    leaves.place(&door.leaf, visitor.pid).map_err(|error| error.to_string())?;
    let mut polled = [PollFd::new(&process, PollFlags::IN)];
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&none)) {
        Ok(0) => Ok(()),
        _ => Err("it has ended meanwhile".into()),
    }
}

/// The real uid of a process.
fn uid_of(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}
