//! Jobs: started with a shepherd, adopted with one, cancelled through it, reported when both are gone.

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nesssi_job::{Command, EndRecord, RECORD_BYTES_MAX, Tag};
use nesssi_privsep::messages::{FromJobmanager, ShepherdId, ToJobmanager};
use nesssi_privsep::{Child, Ending};
use nesssi_session::{PrivateDir, SessionId};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::leaf::Leaf;
use crate::manager::Manager;
use crate::proctree::Process;
use crate::requests::{Answer, Failure, plain};
use crate::shepherd::{self, Order, Report};
use crate::sweep::{Family, Sweep};

/// How long a shepherd may take to report that it has started its job, or not: longer than it
/// waits for the monitor. A job that stops its shepherd before that is no job.
const START_WAIT: Duration = Duration::from_secs(20);

/// A job whose shepherd this process holds.
#[derive(Debug)]
pub(crate) struct Job {
    /// Those to be told of its end.
    watchers: BTreeSet<u32>,
    shepherd: Child,
    identity: ShepherdId,
    /// Whether the shepherd is a child of this process, so that its exit code is known.
    own: bool,
    report: Option<OwnedFd>,
    leaf: Option<Leaf>,
    family: Family,
    /// When the shepherd is killed if it has not reported.
    report_by: Instant,
    phase: Phase,
}

/// The answer to one who starts a second job in a session: the first is to be adopted.
pub(crate) fn already() -> Failure {
    Failure::new(Errno::ALREADY, "a job was started in this session")
}

/// The answer to one whose start was cut off before the payload ran, by the death of one of ours: it
/// may be tried again.
fn interrupted(text: impl Into<String>) -> Failure {
    Failure::new(Errno::CANCELED, text)
}

#[derive(Debug)]
enum Phase {
    /// The shepherd has not reported yet; peer and request to be answered.
    Starting(u32, u32),
    Running,
    /// Nothing was started; the shepherd is about to end.
    Refused,
    /// The shepherd is gone; the record to be told once nothing is left. None if nobody was told of a start.
    Ending(Sweep, Option<String>),
}

impl Job {
    /// The shepherd's handle, unless it is gone.
    pub(crate) fn polled(&self) -> Option<BorrowedFd<'_>> {
        (!matches!(self.phase, Phase::Ending(..))).then(|| self.shepherd.as_fd())
    }

    /// The report's handle, while one is waited for.
    pub(crate) fn report(&self) -> Option<BorrowedFd<'_>> {
        match self.phase {
            Phase::Starting(..) => self.report.as_ref().map(|report| report.as_fd()),
            Phase::Running | Phase::Refused | Phase::Ending(..) => None,
        }
    }

    /// Its shepherd as it is now, while that watches.
    pub(crate) fn shepherd_process(&self) -> Option<Process> {
        let watches = matches!(self.phase, Phase::Running);
        let process = Process::read(self.shepherd.pid().as_raw_pid()).filter(|_| watches)?;
        (process.start_ticks == self.identity.start_ticks).then_some(process)
    }

    /// When its sweep wants the next step.
    pub(crate) fn next(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Ending(sweep, _) => Some(sweep.next()),
            Phase::Starting(..) => Some(self.report_by),
            Phase::Running | Phase::Refused => None,
        }
    }
}

impl Manager {
    pub(crate) fn start_job(
        &mut self,
        peer: u32,
        id: u32,
        request: ToJobmanager,
        descriptors: Vec<OwnedFd>,
    ) -> Answer {
        let ToJobmanager::StartJob {
            session,
            tag,
            argv,
            environment,
            cpu_seconds_max,
            wall_seconds_max,
            sandbox_bytes_max,
            umask_default,
        } = request
        else {
            return Err(Failure::new(Errno::INVAL, "not a StartJob"));
        };
        let session = SessionId::parse(&session)?;
        let invalid = |text: String| Failure::new(Errno::INVAL, text);
        let tag = Tag::parse(&tag).map_err(|error| invalid(error.to_string()))?;
        let argv = argv.into_iter().map(|argument| argument.0).collect();
        let command = Command::Argv(argv);
        command.check().map_err(|error| invalid(error.to_string()))?;
        let Command::Argv(argv) = command else { return Err(invalid("no arguments".into())) };
        match self.jobs.get(&session).map(|job| &job.phase) {
            None => {}
            Some(Phase::Refused | Phase::Ending(_, None)) => {
                return Err(interrupted("the start before is not over yet"));
            }
            Some(Phase::Starting(..) | Phase::Running | Phase::Ending(_, Some(_))) => {
                return Err(already());
            }
        }
        let leaf =
            Leaf::take(descriptors).ok_or_else(|| invalid("wrong number of descriptors".into()))?;
        let sandbox = self.account.sandbox(&session)?;
        // A batch system may have the job, or be about to get it.
        if PrivateDir::open(&sandbox)?.was_submitted() {
            return Err(already());
        }
        let order = Order {
            tag,
            argv,
            environment,
            cpu_seconds_max,
            wall_seconds_max,
            sandbox_bytes_max,
            umask: self.umask(umask_default),
            files_max: self.files_max,
            boot_id: self.boot_id.clone(),
        };
        let (shepherd, report) = shepherd::start(&order, &sandbox, leaf.as_ref())?;
        let identity = self.identify(&shepherd);
        let job = Job {
            watchers: BTreeSet::from([peer]),
            shepherd,
            identity,
            own: true,
            report: Some(report),
            leaf: leaf.map(|(_, leaf)| leaf),
            family: Family { head: None, marker: shepherd::marker(&order.tag) },
            report_by: Instant::now() + START_WAIT,
            phase: Phase::Starting(peer, id),
        };
        self.jobs.insert(session, job);
        Ok(None)
    }

    fn identify(&self, shepherd: &Child) -> ShepherdId {
        let process = Process::read(shepherd.pid().as_raw_pid());
        ShepherdId {
            pid: shepherd.pid_number(),
            start_ticks: process.map_or(0, |process| process.start_ticks),
            boot_id: self.boot_id.clone(),
        }
    }

    /// A shepherd has something to say while it starts.
    pub(crate) fn job_reports(&mut self, session: &SessionId) {
        let Some(job) = self.jobs.get_mut(session) else { return };
        let Phase::Starting(peer, id) = job.phase else { return };
        let Some(report) = job.report.as_ref().and_then(Report::receive) else { return };
        let answer = match report {
            Report::Started(head) => {
                job.family.head = head;
                job.phase = Phase::Running;
                FromJobmanager::Started { shepherd: job.identity.clone() }
            }
            Report::Guarded => {
                job.phase = Phase::Refused;
                already().message()
            }
            Report::Refused(errno, text) => {
                job.phase = Phase::Refused;
                Failure { errno, text }.message()
            }
            Report::Interrupted(text) => {
                job.phase = Phase::Refused;
                interrupted(text).message()
            }
            Report::Record(_) => return,
        };
        self.send(peer, id, &answer, Vec::new());
    }

    /// A shepherd is gone.
    pub(crate) fn shepherd_ended(&mut self, session: &SessionId) {
        // What it said last may wait behind its end.
        self.job_reports(session);
        let on_disk = self.record_of(session);
        let Some(job) = self.jobs.get_mut(session) else { return };
        let orderly = match job.shepherd_ending() {
            Some(orderly) => orderly,
            None => return,
        };
        // What the shepherd told is its own word. Beside one that was killed, a record on the disk
        // is the job's invention.
        let record = job.told_record().or(on_disk.filter(|_| orderly || !job.own));
        let identity = job.identity.clone();
        match std::mem::replace(&mut job.phase, Phase::Refused) {
            Phase::Refused => drop(self.jobs.remove(session)),
            Phase::Running if orderly => self.report_end(session, &record.unwrap_or_default()),
            Phase::Running => self.end_rest(session, Some(record.unwrap_or_default())),
            Phase::Starting(peer, id) if self.is_guarded(session) => {
                // It was killed before it could say so: the payload may have run.
                let shepherd = identity;
                self.send(peer, id, &FromJobmanager::Started { shepherd }, Vec::new());
                self.end_rest(session, Some(record.unwrap_or_default()));
            }
            Phase::Starting(peer, id) => {
                let failure = interrupted("the shepherd died before it began");
                self.send(peer, id, &failure.message(), Vec::new());
                self.end_rest(session, None);
            }
            // Its end was noted before, and its handle is polled no more.
            Phase::Ending(sweep, record) => self.end_again(session, sweep, record),
        }
    }

    fn end_again(&mut self, session: &SessionId, sweep: Sweep, record: Option<String>) {
        if let Some(job) = self.jobs.get_mut(session) {
            job.phase = Phase::Ending(sweep, record);
        }
    }

    /// Ends what a shepherd has left, then tells.
    fn end_rest(&mut self, session: &SessionId, record: Option<String>) {
        if let Some(job) = self.jobs.get_mut(session) {
            job.phase = Phase::Ending(Sweep::new(job.family.clone(), job.leaf.take()), record);
        }
        self.sweep_jobs();
    }

    fn report_end(&mut self, session: &SessionId, record: &str) {
        let Some(job) = self.jobs.remove(session) else { return };
        let (session, record) = (session.reveal().to_owned(), record.to_owned());
        let message = FromJobmanager::Ended { session, record };
        for peer in job.watchers {
            self.send(peer, 0, &message, Vec::new());
        }
    }

    /// One step of every sweep; reports those jobs of which nothing is left.
    pub(crate) fn sweep_jobs(&mut self) {
        let now = Instant::now();
        let mut ended = Vec::new();
        for (session, job) in &mut self.jobs {
            if matches!(job.phase, Phase::Starting(..)) && job.report_by <= now {
                job.report_by = now + START_WAIT;
                // Its end is met like any other.
                job.shepherd.signal(Signal::KILL).unwrap_or_default();
            }
            if let Phase::Ending(sweep, record) = &mut job.phase
                && sweep.next() <= now
                && sweep.step()
            {
                ended.push((session.clone(), record.take()));
            }
        }
        for (session, record) in ended {
            match record {
                Some(record) => self.report_end(&session, &record),
                None => drop(self.jobs.remove(&session)),
            }
        }
    }

    pub(crate) fn adopt(
        &mut self,
        peer: u32,
        session: SessionId,
        tag: &str,
        identity: &ShepherdId,
    ) -> Answer {
        let tag = Tag::parse(tag).map_err(|error| Failure::new(Errno::INVAL, error.to_string()))?;
        if let Some(job) = self.jobs.get_mut(&session) {
            if !job.will_tell() {
                return Err(Failure::new(Errno::BUSY, "its start is not over yet"));
            }
            job.watchers.insert(peer);
            return plain(FromJobmanager::Adopted { shepherd: job.identity.clone() });
        }
        self.is_settled(&session)?;
        let family = Family { head: None, marker: shepherd::marker(&tag) };
        let held = match identity.pid {
            0 => self.hold_marked(&session),
            _ => self.hold(identity).map(|shepherd| (shepherd, identity.clone())),
        };
        if let Some((shepherd, identity)) = held {
            let job = Job {
                watchers: BTreeSet::from([peer]),
                shepherd,
                identity: identity.clone(),
                own: false,
                report: None,
                leaf: None,
                family,
                report_by: Instant::now(),
                phase: Phase::Running,
            };
            self.jobs.insert(session, job);
            return plain(FromJobmanager::Adopted { shepherd: identity });
        }
        if identity.boot_id == self.boot_id {
            // Its tree may have outlived it, if it was killed while nobody looked.
            crate::sweep::end_now(&family);
        }
        self.read_record(&session)
    }

    /// The shepherd that the session's guard names. Any job of the account may have written there,
    /// so the process must be a shepherd by all that can be seen of it, and no other job's.
    fn hold_marked(&self, session: &SessionId) -> Option<(Child, ShepherdId)> {
        let mark = self.private_of(session)?.read_mark(shepherd::MARK_BYTES_MAX).ok()??;
        let identity = shepherd::marked(&mark)?;
        let held = self.hold(&identity)?;
        let process = Process::read(held.pid().as_raw_pid())?;
        let fits = process.session == process.pid && process.is_own_named(shepherd::NAME);
        let is_anothers = self.jobs.values().any(|job| job.identity == identity);
        (fits && !is_anothers).then_some((held, identity))
    }

    /// The living process that is exactly that shepherd.
    fn hold(&self, identity: &ShepherdId) -> Option<Child> {
        if identity.boot_id != self.boot_id || self.boot_id.is_empty() {
            return None;
        }
        let pid = i32::try_from(identity.pid).ok()?;
        let held = Child::from_pid(pid).ok()?;
        let process = Process::read(pid)?;
        (process.start_ticks == identity.start_ticks && !process.dead).then_some(held)
    }

    pub(crate) fn cancel(&mut self, session: &SessionId) -> Answer {
        let Some(job) = self.jobs.get(session) else {
            self.check_not_submitting(session)?;
            return Err(Failure::new(Errno::SRCH, "no job of this session is known"));
        };
        // A job may have stopped its shepherd, which then goes on to the end.
        let term = job.shepherd.signal(Signal::TERM);
        term.and_then(|()| job.shepherd.signal(Signal::CONT)).map_err(|error| Failure {
            errno: error.raw_os_error().unwrap_or(0),
            text: "pidfd_send_signal".into(),
        })?;
        plain(FromJobmanager::Cancelling {})
    }

    pub(crate) fn read_record(&self, session: &SessionId) -> Answer {
        if self.jobs.contains_key(session) {
            return Err(Failure::new(Errno::BUSY, "its job has not ended"));
        }
        self.is_settled(session)?;
        // Whether it is there at all tells one that was removed from one that was never started.
        self.account.sandbox(session)?;
        if let Some(record) = self.record_of(session) {
            let session = session.reveal().to_owned();
            return plain(FromJobmanager::Ended { session, record });
        }
        plain(FromJobmanager::Gone { guarded: self.is_guarded(session) })
    }

    /// Only when no start is under way does it mean something that no guard stands.
    fn is_settled(&self, session: &SessionId) -> Result<(), Failure> {
        match self.private_of(session) {
            Some(private) if private.is_starting() => {
                Err(Failure::new(Errno::BUSY, "its start is under way"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the start guard stands in the session's sandbox.
    fn is_guarded(&self, session: &SessionId) -> bool {
        self.private_of(session).is_some_and(|private| private.is_guarded())
    }

    pub(crate) fn private_of(&self, session: &SessionId) -> Option<PrivateDir> {
        PrivateDir::open(&self.account.sandbox(session).ok()?).ok()
    }

    /// What the sandbox says of the job's end, if it can be read as a record.
    pub(crate) fn record_of(&self, session: &SessionId) -> Option<String> {
        let bytes = self.private_of(session)?.read_record(RECORD_BYTES_MAX).ok()??;
        String::from_utf8(bytes).ok().filter(|text| EndRecord::parse(text).is_ok())
    }

    /// Nobody is told any more who is gone.
    pub(crate) fn drop_watcher(&mut self, peer: u32) {
        for job in self.jobs.values_mut() {
            job.watchers.remove(&peer);
        }
    }
}

impl Job {
    /// Whether its end will be told to those who watch: it was started.
    fn will_tell(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Ending(_, Some(_)))
    }

    /// Whether it ended with its work done; `None` if it has not ended. Of another's child the exit
    /// code is not known.
    fn shepherd_ending(&self) -> Option<bool> {
        if !self.own {
            return Some(false);
        }
        match self.shepherd.try_wait() {
            Ok(Some(Ending::Exited(code))) => Some(shepherd::is_orderly(code)),
            Ok(Some(Ending::Signalled(_))) | Err(_) => Some(false),
            Ok(None) => None,
        }
    }

    /// The record as the shepherd has told it, should the disk not have it.
    fn told_record(&self) -> Option<String> {
        let report = self.report.as_ref()?;
        while let Some(told) = Report::receive(report) {
            if let Report::Record(text) = told {
                return EndRecord::parse(&text).is_ok().then_some(text);
            }
        }
        None
    }
}
