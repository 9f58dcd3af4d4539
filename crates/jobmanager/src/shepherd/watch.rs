//! The shepherd's own life: start the payload, watch it, end what is left, write the record.

use std::ffi::OsString;
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::time::{Duration, Instant};

use nesssi_job::{EndReason, EndRecord};
use nesssi_privsep::messages::ShepherdId;
use nesssi_privsep::signals::{Signal, SignalFd};
use nesssi_privsep::{Child, Command, Spawn, SpawnError, door};
use nesssi_session::{PrivateDir, Reserve, Sandbox, SandboxError, StartLock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, WaitOptions};

use super::{EXIT_NOT_STARTED, EXIT_RECORDED, EXIT_UNRECORDED, Order, Report};
use crate::clock;
use crate::leaf::Leaf;
use crate::proctree::{self, Process};
use crate::sweep;

/// First and last interval between two looks at what the job has used.
const LOOK_FIRST: Duration = Duration::from_millis(50);
const LOOK_LAST: Duration = Duration::from_millis(250);

/// A look at `/proc` may take a fiftieth of the shepherd's time.
const LOOK_COST_FACTOR: u32 = 50;

/// Between two sums of the sandbox's bytes.
const BYTES_LOOK: Duration = Duration::from_secs(5);

/// What a cancelled job has to put its things in order.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// How long the monitor may take to let the payload into its leaf.
const DOOR_WAIT: Duration = Duration::from_secs(10);

/// How long processes that this account may not kill are waited for.
const FOREIGN_WAIT: Duration = Duration::from_secs(30);

/// Tries to write the record, and the pause between: fewer if the jobmanager has it already.
const RECORD_TRIES: u32 = 120;
const RECORD_TRIES_TOLD: u32 = 3;
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// Everything between the fork and the exit.
pub(super) fn shepherd(
    order: &Order,
    sandbox: &Sandbox,
    leaf: Option<&(OwnedFd, Leaf)>,
    report: BorrowedFd<'_>,
) -> i32 {
    match prepare(sandbox, order) {
        Ok(fold) => Watch::new(order, sandbox, leaf, fold).run(report),
        Err(refusal) => {
            refusal.send(report);
            EXIT_NOT_STARTED
        }
    }
}

/// What must be there before the payload may be started.
struct Fold {
    private: PrivateDir,
    /// Keeps others from starting it until the guard stands.
    lock: Option<StartLock>,
    /// What the guard is to say.
    mark: String,
    reserve: Reserve,
    signals: SignalFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

fn prepare(sandbox: &Sandbox, order: &Order) -> Result<Fold, Report> {
    let refused = |what: &str, errno: i32, error: &dyn std::fmt::Display| {
        Report::Refused(errno, format!("{what}: {error}"))
    };
    let system =
        |what: &'static str| move |errno: Errno| refused(what, errno.raw_os_error(), &errno);
    let disk = |what: &'static str| move |error: SandboxError| refused(what, error.errno(), &error);
    rustix::process::setsid().map_err(system("setsid"))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(system("PR_SET_CHILD_SUBREAPER"))?;
    rustix::thread::set_name(super::NAME).map_err(system("PR_SET_NAME"))?;
    let signals = SignalFd::new(&[
        Signal::TERM,
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
    ])
    .map_err(|error| refused("signalfd", error.raw_os_error().unwrap_or(0), &error))?;
    let private = PrivateDir::open(sandbox).map_err(disk("private directory"))?;
    let own = Process::own().ok_or_else(|| refused("/proc", 0, &"does not show this process"))?;
    let identity = ShepherdId {
        pid: std::process::id(),
        start_ticks: own.start_ticks,
        boot_id: order.boot_id.clone(),
    };
    let Some(lock) = private.lock_start().map_err(disk("start lock"))? else {
        return Err(Report::Interrupted("another start of it is under way".into()));
    };
    if private.is_guarded() || private.was_submitted() {
        return Err(Report::Guarded);
    }
    // A start that was cut off has left it: the lock is free, and no guard stands.
    private.clear_reserve().map_err(disk("room for the record"))?;
    let reserve = private.reserve_record().map_err(disk("room for the record"))?;
    let stdout = sandbox.create_output("stdout", order.umask).map_err(disk("stdout"))?;
    let stderr = sandbox.create_output("stderr", order.umask).map_err(disk("stderr"))?;
    leave_the_others(&private).map_err(system("standard descriptors"))?;
    let mark = super::mark(&identity);
    Ok(Fold { private, lock: Some(lock), mark, reserve, signals, stdout, stderr })
}

/// Lets go of the monitor's standard error, which this process outlives.
fn leave_the_others(private: &PrivateDir) -> Result<(), Errno> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    match private.create_log() {
        Ok(log) => rustix::stdio::dup2_stderr(&log),
        Err(_) => rustix::stdio::dup2_stderr(&null),
    }
}

/// What became of a start.
enum Start {
    /// The payload runs.
    Begun(Child),
    /// Its guard stands, and its program could not be run.
    Failed(String),
    /// It has certainly not run; whether it may be tried again is in the report.
    Not(Report),
}

/// How far the payload's process came before its program.
#[derive(Clone, Copy)]
enum Threshold {
    /// The guard is its own.
    Guarded,
    /// The guard was another's.
    Taken,
    /// It was not let into its leaf.
    Door,
    /// Something else failed, with this error number.
    Refused(i32),
}

impl Threshold {
    fn bytes(self) -> [u8; 5] {
        let (kind, errno) = match self {
            Self::Guarded => (1, 0),
            Self::Taken => (2, 0),
            Self::Door => (3, 0),
            Self::Refused(errno) => (4, errno),
        };
        let [a, b, c, d] = i32::to_le_bytes(errno);
        [kind, a, b, c, d]
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let [kind, errno @ ..] = <[u8; 5]>::try_from(bytes).ok()?;
        match kind {
            1 => Some(Self::Guarded),
            2 => Some(Self::Taken),
            3 => Some(Self::Door),
            4 => Some(Self::Refused(i32::from_le_bytes(errno))),
            _ => None,
        }
    }
}

/// The last steps before the payload's program, in its own process: it dies with its shepherd, is in
/// its leaf, and has set the guard.
fn cross(
    door: Option<BorrowedFd<'_>>,
    shepherd: rustix::process::Pid,
    files_max: rustix::process::Rlimit,
    private: &PrivateDir,
    mark: &str,
) -> Result<(), (Threshold, String)> {
    let system = |errno: Errno| (Threshold::Refused(errno.raw_os_error()), errno.to_string());
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(system)?;
    if rustix::process::getppid() != Some(shepherd) {
        return Err((Threshold::Door, "its shepherd has ended".into()));
    }
    rustix::process::setrlimit(Resource::Nofile, files_max).map_err(system)?;
    if let Some(door) = door {
        door::enter(door, DOOR_WAIT).map_err(|error| (Threshold::Door, error.to_string()))?;
    }
    match private.set_guard(mark) {
        Ok(true) => Ok(()),
        Ok(false) => Err((Threshold::Taken, "its guard stands".into())),
        Err(error) => Err((Threshold::Refused(error.errno()), format!("start guard: {error}"))),
    }
}

struct Watch<'a> {
    order: &'a Order,
    sandbox: &'a Sandbox,
    door: Option<BorrowedFd<'a>>,
    leaf: Option<&'a Leaf>,
    fold: Fold,
    started: Instant,
    started_ms: u64,
    payload: i32,
    /// Whether the last reaping has left nobody to look at.
    childless: bool,
    exit_code: Option<i32>,
    signal: Option<i32>,
    cpu_usec: u64,
    text: String,
}

impl<'a> Watch<'a> {
    fn new(
        order: &'a Order,
        sandbox: &'a Sandbox,
        leaf: Option<&'a (OwnedFd, Leaf)>,
        fold: Fold,
    ) -> Self {
        Self {
            order,
            sandbox,
            door: leaf.map(|(door, _)| door.as_fd()),
            leaf: leaf.map(|(_, leaf)| leaf),
            fold,
            started: Instant::now(),
            started_ms: clock::now_ms(),
            payload: 0,
            childless: false,
            exit_code: None,
            signal: None,
            cpu_usec: 0,
            text: String::new(),
        }
    }

    fn run(mut self, report: BorrowedFd<'_>) -> i32 {
        let reason = match self.start_payload() {
            Start::Begun(child) => {
                let pid = child.pid().as_raw_pid();
                self.payload = pid;
                let head = Process::read(pid).map(|process| (pid, process.start_ticks));
                Report::Started(head).send(report);
                self.watch(&child)
            }
            Start::Failed(text) => {
                Report::Started(None).send(report);
                self.text = text;
                EndReason::StartFailed
            }
            Start::Not(refusal) => {
                refusal.send(report);
                return EXIT_NOT_STARTED;
            }
        };
        if reason == EndReason::Cancelled {
            self.ask_to_end();
        }
        self.end_all();
        let record = self.record(reason);
        self.publish(&record.to_text(), report)
    }

    /// Starts the payload. Its guard is set at the last moment, by the process that is to be it: one
    /// that did not come so far has certainly not run, and another may be started in its place.
    fn start_payload(&mut self) -> Start {
        let (mut reader, writer) = match std::io::pipe() {
            Ok(pipe) => pipe,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                return Start::Not(Report::Refused(errno, format!("pipe: {error}")));
            }
        };
        let spawned = self.spawn_payload(writer.as_fd());
        drop(writer);
        // Free for others from here on: the payload's process holds no copy any more.
        self.fold.lock = None;
        let mut said = Vec::new();
        // What cannot be read was not said.
        reader.read_to_end(&mut said).unwrap_or_default();
        match (Threshold::parse(&said), spawned) {
            (Some(Threshold::Guarded), Ok(child)) => Start::Begun(child),
            (Some(Threshold::Guarded), Err(error)) => Start::Failed(words(&error)),
            (Some(Threshold::Taken), _) => Start::Not(Report::Guarded),
            (Some(Threshold::Refused(errno)), Err(error)) => {
                Start::Not(Report::Refused(errno, words(&error)))
            }
            (Some(Threshold::Door), Err(error)) => Start::Not(Report::Interrupted(words(&error))),
            (None, Err(error)) => {
                let errno = match &error {
                    SpawnError::System { source, .. } => source.raw_os_error().unwrap_or(0),
                    SpawnError::Nul | SpawnError::Child(_) => 0,
                };
                Start::Not(Report::Refused(errno, words(&error)))
            }
            (Some(Threshold::Refused(_) | Threshold::Door) | None, Ok(child)) => {
                // Somebody has killed it on its way; it is no zombie for long.
                child.wait().map(drop).unwrap_or_default();
                Start::Not(Report::Interrupted("it was ended before it began".into()))
            }
        }
    }

    fn spawn_payload(&self, threshold: BorrowedFd<'_>) -> Result<Child, SpawnError> {
        let order = self.order;
        let mut words = order.argv.iter().cloned().map(OsString::from_vec);
        let command = Command::new(words.next().unwrap_or_default())
            .args(words)
            .envs(order.environment.iter().cloned())
            .env("NESSSI_TAG", order.tag.as_str());
        let (door, files_max) = (self.door, order.files_max);
        let (private, mark) = (&self.fold.private, &self.fold.mark);
        let own = rustix::process::getpid();
        let mut spawn = Spawn::new(command)
            .descriptor(1, self.fold.stdout.as_fd())
            .descriptor(2, self.fold.stderr.as_fd())
            .directory(self.sandbox.as_fd())
            .umask(order.umask)
            .new_session()
            .death_signal(Signal::KILL)
            .before(move || {
                let (said, text) = match cross(door, own, files_max, private, mark) {
                    Ok(()) => (Threshold::Guarded, None),
                    Err((said, text)) => (said, Some(text)),
                };
                rustix::io::write(threshold, &said.bytes()).map_err(|errno| errno.to_string())?;
                text.map_or(Ok(()), Err)
            });
        if self.leaf.is_none() {
            // A second stop for each process by itself, should this one be too slow.
            spawn = spawn.limit(Resource::Cpu, order.cpu_seconds_max.saturating_add(1));
        }
        spawn.spawn()
    }

    /// Looks until there is a reason to end.
    fn watch(&mut self, payload: &Child) -> EndReason {
        let mut interval = LOOK_FIRST;
        let mut bytes_next = Instant::now() + BYTES_LOOK;
        // Many jobs are over before the first look, and cost none.
        self.sleep(payload, interval);
        loop {
            self.reap();
            if self.exit_code.is_some() || self.signal.is_some() {
                return self.ended_itself();
            }
            if self.is_cancelled() {
                return EndReason::Cancelled;
            }
            let before = Instant::now();
            self.measure();
            let cost = before.elapsed() * LOOK_COST_FACTOR;
            if self.is_over_cpu() {
                return EndReason::OverCpu;
            }
            let wall = Duration::from_secs(self.order.wall_seconds_max);
            let wall_left = wall.saturating_sub(self.started.elapsed());
            if wall_left.is_zero() {
                return EndReason::OverWall;
            }
            if self.order.sandbox_bytes_max > 0 && Instant::now() >= bytes_next {
                bytes_next = Instant::now() + BYTES_LOOK;
                if self.is_over_bytes() {
                    return EndReason::OverBytes;
                }
            }
            self.sleep(payload, interval.max(cost).min(wall_left));
            let close = self.cpu_usec / 9 * 10 > self.cpu_usec_max();
            interval = if close { LOOK_FIRST } else { (interval * 5 / 4).min(LOOK_LAST) };
        }
    }

    fn sleep(&self, payload: &Child, time: Duration) {
        let mut polled =
            [PollFd::new(payload, PollFlags::IN), PollFd::new(&self.fold.signals, PollFlags::IN)];
        let timeout = Timespec::try_from(time).ok();
        // An interrupted sleep is a short one.
        poll(&mut polled, timeout.as_ref()).unwrap_or_default();
    }

    /// Waits for all that have died; answers whether children are left.
    fn reap(&mut self) -> bool {
        self.childless = loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_pid() == self.payload => {
                    self.exit_code = status.exit_status();
                    self.signal = status.terminating_signal();
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        !self.childless
    }

    /// How to call an end of the payload itself: the system's own CPU limit is ours, too.
    fn ended_itself(&mut self) -> EndReason {
        self.measure();
        let stopped = matches!(
            self.signal.and_then(Signal::from_named_raw),
            Some(Signal::KILL | Signal::XCPU)
        );
        if stopped && self.is_over_cpu() { EndReason::OverCpu } else { EndReason::Exited }
    }

    fn is_cancelled(&self) -> bool {
        let mut cancelled = false;
        while let Ok(Some(signal)) = self.fold.signals.next() {
            cancelled |= signal == Signal::TERM.as_raw();
        }
        cancelled
    }

    fn measure(&mut self) {
        let now = match self.leaf {
            Some(leaf) => leaf.cpu_usec().unwrap_or(0),
            None => {
                let waited = Process::own().map_or(0, |own| own.children_usec);
                let left = if self.childless { Vec::new() } else { waited_for_or_not() };
                waited + left.iter().map(|process| process.cpu_usec).sum::<u64>()
            }
        };
        self.cpu_usec = self.cpu_usec.max(now);
    }

    fn cpu_usec_max(&self) -> u64 {
        self.order.cpu_seconds_max.saturating_mul(1_000_000)
    }

    fn is_over_cpu(&self) -> bool {
        self.cpu_usec >= self.cpu_usec_max()
    }

    fn is_over_bytes(&self) -> bool {
        let max = self.order.sandbox_bytes_max;
        self.sandbox.used_bytes(max.saturating_add(1)).is_ok_and(|used| used > max)
    }

    /// Terminates, and waits a little for all to end by themselves.
    fn ask_to_end(&mut self) {
        for process in descendants() {
            // One that is gone, or not ours, is met again when all are killed.
            process.signal(Signal::TERM).unwrap_or_default();
        }
        let until = Instant::now() + CANCEL_GRACE;
        while Instant::now() < until && self.reap() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills whatever is left, until nothing is: no process in the leaf, no child of this process.
    /// As the subreaper it is every orphan's parent, so no child means no descendant.
    fn end_all(&mut self) {
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let left = self.reap();
            let emptied = self.leaf.is_none_or(Leaf::is_empty);
            if !left && emptied {
                return self.measure();
            }
            if let Some(Err(error)) = self.leaf.map(Leaf::kill) {
                self.text = format!("cgroup.kill: {error}");
            }
            if self.leaf.is_none() || emptied {
                let strikes = sweep::kill_all(&sweep::freeze(descendants));
                if strikes.killed == 0 && strikes.foreign > 0 && began.elapsed() > FOREIGN_WAIT {
                    self.text = format!("{} processes of other users are left", strikes.foreign);
                    return self.measure();
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    fn record(&self, reason: EndReason) -> EndRecord {
        EndRecord {
            reason,
            exit_code: self.exit_code,
            signal: self.signal,
            cpu_usec: self.cpu_usec,
            wall_usec: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            started_ms: self.started_ms,
            ended_ms: clock::now_ms(),
            cpu_seconds_max: self.order.cpu_seconds_max,
            wall_seconds_max: self.order.wall_seconds_max,
            sandbox_bytes_max: self.order.sandbox_bytes_max,
            text: self.text.clone(),
        }
    }

    /// Writes the record into the room set aside for it. Where that is gone (the job may remove
    /// what is in its sandbox), it is tried again elsewhere; the jobmanager is told in any case.
    fn publish(&self, text: &str, report: BorrowedFd<'_>) -> i32 {
        let mut written = self.fold.private.publish_record(&self.fold.reserve, text);
        let told = Report::Record(text.to_owned()).send(report);
        for _ in 1..if told { RECORD_TRIES_TOLD } else { RECORD_TRIES } {
            if written.is_ok() {
                return EXIT_RECORDED;
            }
            std::thread::sleep(RECORD_PAUSE);
            written = PrivateDir::open(self.sandbox).and_then(|dir| dir.write_record(text));
        }
        EXIT_UNRECORDED
    }
}

/// What failed, without where: whoever reads it knows of no child.
fn words(error: &SpawnError) -> String {
    let text = error.to_string();
    text.trim_start_matches("in the child: ").to_owned()
}

/// The living descendants of this process.
fn descendants() -> Vec<Process> {
    let mut found = waited_for_or_not();
    found.retain(|process| !process.dead);
    found
}

/// All descendants of this process, with the dead that their parents have not waited for.
fn waited_for_or_not() -> Vec<Process> {
    let Some(own) = Process::own() else { return Vec::new() };
    proctree::descendants(&proctree::all(), &[own.pid])
}
