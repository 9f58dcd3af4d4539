//! Starting processes with exactly the descriptors, the environment and the identity meant.
//!
//! [`Spawn`] starts a program; [`fork`] makes a copy of this process that goes on in Rust (a
//! shepherd, a name-service look-up). Everything that is not named is closed in the child.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitIdOptions, pidfd_open, pidfd_send_signal,
};

use crate::account::Account;
use crate::become_user::become_user;
use crate::command::Command;
use crate::sys;

/// A child process, held by pidfd: its pid cannot be used again while this lives and has not been waited for.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl Ending {
    /// The exit code, or 128 + signal, as shells say it.
    #[must_use]
    pub fn status(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => 128 + signal,
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl Child {
    /// A child of this process that somebody else forked.
    ///
    /// # Errors
    /// The system's: `ESRCH` if there is no such process.
    pub fn from_pid(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid, pidfd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its pid as messages carry it.
    #[must_use]
    pub fn pid_number(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Sends it a signal. One that has ended is no error.
    ///
    /// # Errors
    /// The system's.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reaps it if it has ended.
    ///
    /// # Errors
    /// The system's: `ECHILD` if it was reaped before.
    pub fn try_wait(&self) -> io::Result<Option<Ending>> {
        self.wait_with(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Waits until it has ended, and reaps it.
    ///
    /// # Errors
    /// The system's: `ECHILD` if it was reaped before.
    pub fn wait(&self) -> io::Result<Ending> {
        loop {
            if let Some(ending) = self.wait_with(WaitIdOptions::EXITED)? {
                return Ok(ending);
            }
        }
    }

    fn wait_with(&self, options: WaitIdOptions) -> io::Result<Option<Ending>> {
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(rustix::process::WaitId::PidFd(self.pidfd.as_fd()), options)
        })?;
        Ok(status.and_then(|status| {
            status
                .exit_status()
                .map(Ending::Exited)
                .or_else(|| status.terminating_signal().map(Ending::Signalled))
        }))
    }
}

impl AsFd for Child {
    /// The pidfd: readable when the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Makes a copy of this process that keeps standard input, output and error and the descriptors of
/// `keep` (under their numbers) and has every other closed; it runs `work` and ends with its code.
///
/// For single-threaded processes: another thread may hold a lock that the copy then never gets.
/// `work` must not own a descriptor that is not kept, since it would be closed twice.
///
/// # Errors
/// The system's.
pub fn fork(keep: &[BorrowedFd<'_>], work: impl FnOnce() -> i32) -> Result<Child, SpawnError> {
    let mut kept: Vec<RawFd> = vec![0, 1, 2];
    kept.extend(keep.iter().map(AsRawFd::as_raw_fd));
    let pid = sys::fork(|| match close_all_but(&mut kept) {
        Ok(()) => work(),
        Err(_) => EXIT_BEFORE_EXEC,
    })
    .map_err(|source| SpawnError::System { what: "fork", source })?;
    Child::from_pid(pid).map_err(|source| SpawnError::System { what: "pidfd_open", source })
}

/// How long a child may take until its program begins: exec may wait for a disk.
const EXEC_SECONDS_MAX: i64 = 30;

/// Exit code of a child that failed before its program began.
pub const EXIT_BEFORE_EXEC: i32 = 127;

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// An argument or variable holds a NUL byte.
    #[error("an argument or environment variable holds a NUL byte")]
    Nul,
    /// A system call failed in this process.
    #[error("{what}: {source}")]
    System {
        /// The call.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A step failed in the child.
    #[error("in the child: {0}")]
    Child(String),
}

/// A step of one's own before exec.
type Before<'a> = Box<dyn FnOnce() -> Result<(), String> + 'a>;

/// A program to be started, and all that its process is to be.
///
/// In the child, in this order: signals reset, session, death signal, limits, umask, directory, [`Spawn::before`],
/// descriptors, identity, exec. Descriptors 0 and 1 are `/dev/null` unless given, 2 is inherited unless given,
/// any other is closed unless given.
pub struct Spawn<'a> {
    command: Command,
    layout: Vec<(RawFd, BorrowedFd<'a>)>,
    account: Option<&'a Account>,
    directory: Option<BorrowedFd<'a>>,
    umask: Option<u32>,
    new_session: bool,
    no_new_privileges: bool,
    death_signal: Option<Signal>,
    parent: Option<Pid>,
    limits: Vec<(Resource, u64)>,
    before: Option<Before<'a>>,
}

impl std::fmt::Debug for Spawn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spawn").field("command", &self.command).finish_non_exhaustive()
    }
}

impl<'a> Spawn<'a> {
    /// The command as this user, in this directory, with no descriptor but the standard three.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self {
            command,
            layout: Vec::new(),
            account: None,
            directory: None,
            umask: None,
            new_session: false,
            no_new_privileges: false,
            death_signal: None,
            parent: None,
            limits: Vec::new(),
            before: None,
        }
    }

    /// Gives the child a descriptor under this number.
    #[must_use]
    pub fn descriptor(mut self, number: RawFd, descriptor: BorrowedFd<'a>) -> Self {
        self.layout.retain(|(other, _)| *other != number);
        self.layout.push((number, descriptor));
        self
    }

    /// Runs it as an account, with the drop proved before exec.
    #[must_use]
    pub fn account(mut self, account: &'a Account) -> Self {
        self.account = Some(account);
        self
    }

    /// Its working directory, by handle.
    #[must_use]
    pub fn directory(mut self, directory: BorrowedFd<'a>) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Its umask.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = Some(umask);
        self
    }

    /// Makes it the leader of a session (and process group) of its own.
    #[must_use]
    pub fn new_session(mut self) -> Self {
        self.new_session = true;
        self
    }

    /// No program that it starts gains privileges (set-user-ID has no effect). Not for jobs: batch commands may need it.
    #[must_use]
    pub fn no_new_privileges(mut self) -> Self {
        self.no_new_privileges = true;
        self
    }

    /// The signal that it gets when its parent dies.
    #[must_use]
    pub fn death_signal(mut self, signal: Signal) -> Self {
        self.death_signal = Some(signal);
        self
    }

    /// It begins only while this process is its parent: one that has died before the death signal was
    /// set sends none.
    #[must_use]
    pub fn child_of(mut self, parent: Pid) -> Self {
        self.parent = Some(parent);
        self
    }

    /// A resource limit, soft and hard.
    #[must_use]
    pub fn limit(mut self, resource: Resource, value: u64) -> Self {
        self.limits.push((resource, value));
        self
    }

    /// A step of one's own in the child, while it still has this process's descriptors: entering a leaf.
    #[must_use]
    pub fn before(mut self, step: impl FnOnce() -> Result<(), String> + 'a) -> Self {
        self.before = Some(Box::new(step));
        self
    }

    /// Starts it, and returns once its program runs.
    ///
    /// # Errors
    /// [`SpawnError`], what failed in the child included; nothing is left running then.
    pub fn spawn(self) -> Result<Child, SpawnError> {
        let pipe = |source: io::Error| SpawnError::System { what: "pipe", source };
        let (mut reader, writer) = std::io::pipe().map_err(pipe)?;
        let pid = sys::fork(|| {
            let mut writer = writer.as_fd();
            let text = match self.run(Some(&mut writer)) {
                SpawnError::Child(text) => text,
                error => error.to_string(),
            };
            // Nobody to tell if the parent is gone.
            rustix::io::write(writer, text.as_bytes()).unwrap_or_default();
            EXIT_BEFORE_EXEC
        })
        .map_err(|source| SpawnError::System { what: "fork", source })?;
        drop(writer);
        let child = Child::from_pid(pid)
            .map_err(|source| SpawnError::System { what: "pidfd_open", source })?;
        let mut text = String::new();
        if !wait_for_exec(&reader) {
            child
                .signal(Signal::KILL)
                .map_err(|source| SpawnError::System { what: "pidfd_send_signal", source })?;
            text = format!("its program did not begin within {EXEC_SECONDS_MAX} s");
        } else if reader.read_to_string(&mut text).is_ok() && text.is_empty() {
            return Ok(child);
        }
        child.wait().map_err(|source| SpawnError::System { what: "waitid", source })?;
        Err(SpawnError::Child(text))
    }

    /// Becomes the program in this process, which is a forked child. Returns only if that failed.
    #[must_use]
    pub fn exec(self) -> SpawnError {
        self.run(None)
    }

    /// As [`Spawn::exec`], with one more descriptor that stays open up to exec, for telling what
    /// failed. It is answered beside the error, under the number it has then.
    #[must_use]
    pub fn exec_keeping(self, mut report: BorrowedFd<'_>) -> (SpawnError, BorrowedFd<'_>) {
        let error = self.run(Some(&mut report));
        (error, report)
    }

    /// `report` is a descriptor that stays open up to exec; it is moved out of the layout's way.
    fn run(self, report: Option<&mut BorrowedFd<'_>>) -> SpawnError {
        match self.prepare(report) {
            Ok((path, argv, environment)) => {
                let source = sys::exec(&path, &argv, &environment);
                SpawnError::Child(format!("exec {}: {source}", path.to_string_lossy()))
            }
            Err(error) => error,
        }
    }

    fn prepare(
        self,
        report: Option<&mut BorrowedFd<'_>>,
    ) -> Result<(std::ffi::CString, Vec<std::ffi::CString>, Vec<std::ffi::CString>), SpawnError>
    {
        let parts = self.command.for_exec().map_err(|_| SpawnError::Nul)?;
        step("resetting signals", sys::reset_signals())?;
        if self.new_session {
            step("setsid", rustix::process::setsid())?;
        }
        for (resource, value) in self.limits {
            let limit = Rlimit { current: Some(value), maximum: Some(value) };
            step("setrlimit", rustix::process::setrlimit(resource, limit))?;
        }
        if let Some(umask) = self.umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask & 0o777));
        }
        if let Some(before) = self.before {
            before().map_err(SpawnError::Child)?;
        }
        if let Some(account) = self.account {
            become_user(account).map_err(|error| SpawnError::Child(error.to_string()))?;
        }
        if let Some(directory) = self.directory {
            step("changing to its directory", rustix::process::fchdir(directory))?;
        }
        // After the change of user, which clears it.
        if let Some(signal) = self.death_signal {
            step(
                "prctl(PR_SET_PDEATHSIG)",
                rustix::process::set_parent_process_death_signal(Some(signal)),
            )?;
        }
        if self.parent.is_some_and(|parent| rustix::process::getppid() != Some(parent)) {
            return Err(SpawnError::Child("its parent has ended".into()));
        }
        if self.no_new_privileges {
            step("prctl(PR_SET_NO_NEW_PRIVS)", rustix::thread::set_no_new_privs(true))?;
        }
        step("laying out descriptors", lay_out(self.layout, report))?;
        Ok(parts)
    }
}

/// Whether the child has begun its program, or said why not.
fn wait_for_exec(reader: &io::PipeReader) -> bool {
    let mut polled = [PollFd::new(reader, PollFlags::IN)];
    let timeout = Timespec { tv_sec: EXEC_SECONDS_MAX, tv_nsec: 0 };
    // An interrupted wait begins anew: signals are few.
    !matches!(rustix::io::retry_on_intr(|| poll(&mut polled, Some(&timeout))), Ok(0))
}

fn step<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, SpawnError> {
    result.map_err(|error| SpawnError::Child(format!("{what}: {error}")))
}

/// Puts each descriptor under its number and closes all others. Runs in a child.
fn lay_out(
    mut layout: Vec<(RawFd, BorrowedFd<'_>)>,
    report: Option<&mut BorrowedFd<'_>>,
) -> io::Result<()> {
    if [0, 1].iter().any(|standard| !layout.iter().any(|(number, _)| number == standard)) {
        let null = rustix::fs::open(
            "/dev/null",
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )?;
        // The number dies with this process, not with the handle.
        let null = sys::leak(null);
        for standard in [0, 1] {
            if !layout.iter().any(|(number, _)| *number == standard) {
                layout.push((standard, null));
            }
        }
    }
    let top = layout.iter().map(|(number, _)| *number).max().unwrap_or(2).max(2);
    let report_number = top + 1;
    // Copies above every number that is to be set, so that none is overwritten before it was used.
    let mut copies = Vec::with_capacity(layout.len());
    for (number, descriptor) in &layout {
        let copy = rustix::io::fcntl_dupfd_cloexec(descriptor, top + 2)?;
        copies.push((*number, sys::leak(copy)));
    }
    let mut kept = vec![0, 1, 2];
    if let Some(report) = report {
        let moved = sys::leak(rustix::io::fcntl_dupfd_cloexec(*report, top + 2)?);
        *report = sys::dup_onto(moved, report_number, true)?;
        kept.push(report_number);
    }
    for (number, copy) in copies {
        sys::dup_onto(copy, number, false)?;
        kept.push(number);
    }
    close_all_but(&mut kept)
}

/// Closes every descriptor that is not named. Runs in a child.
fn close_all_but(kept: &mut Vec<RawFd>) -> io::Result<()> {
    kept.sort_unstable();
    kept.dedup();
    let mut next = 0_u32;
    for number in kept.iter().filter_map(|number| u32::try_from(*number).ok()) {
        if let Some(last) = number.checked_sub(1) {
            sys::close_range(next, last)?;
        }
        next = number + 1;
    }
    sys::close_range(next, u32::MAX)
}

#[cfg(test)]
mod tests;
