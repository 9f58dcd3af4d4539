//! The throwaway workers that say what a service offers.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nesssi_privsep::Child;
use nesssi_service::Manifest;
use nesssi_service::folder::PYTHON_FILE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::Rlimit;

use super::{DESCRIPTION_BYTES_MAX, Found, Looked, Order};
use crate::proctree::Process;
use crate::sweep::{self, Family};
use crate::workers::{Given, MODULES_DESCRIPTOR, WorkerSpec, command};

/// Longest line that is read.
const LINE_BYTES_MAX: usize = 1 << 20;

/// The variable by which the processes of a throwaway worker are known.
const MARKER: &str = "NESSSI_WORKER";

/// How a service is asked.
pub(super) struct Question<'a> {
    pub(super) order: &'a Order,
    pub(super) files_max: Rlimit,
    pub(super) manifest: &'a Manifest,
    pub(super) number: usize,
}

/// A service that has been asked.
pub(super) struct Describing {
    found: Found,
    child: Child,
    family: Family,
    socket: OwnedFd,
    line: Vec<u8>,
    until: Instant,
}

/// Starts the throwaway worker of a service.
pub(super) fn ask(question: &Question<'_>, mut found: Found) -> Looked {
    let Question { manifest, .. } = question;
    let has_code = || Path::new(&found.folder).join(PYTHON_FILE).exists();
    let has_program = manifest.command.is_some() && !manifest.methods.is_empty();
    if has_program || (manifest.is_all_jobs() && !has_code()) {
        // Its manifest describes it.
        return Looked::Done(Box::new(found));
    }
    match start(question, &found, None) {
        Ok((child, socket, family)) => {
            let until = Instant::now() + question.order.describe_max;
            let line = Vec::new();
            Looked::Asked(Box::new(Describing { found, child, family, socket, line, until }))
        }
        Err(problem) => {
            found.add_problem(problem);
            Looked::Done(Box::new(found))
        }
    }
}

/// Starts a worker in the mode that the order asks for, or in another.
fn start(
    question: &Question<'_>,
    found: &Found,
    mode: Option<&str>,
) -> Result<(Child, OwnedFd, Family), String> {
    let mut argv = match &question.manifest.command {
        Some(command) => command.iter().cloned().chain(["describe".to_owned()]).collect(),
        None => question.order.describe_argv.clone(),
    };
    if let (Some(mode), Some(word)) = (mode, argv.last_mut()) {
        mode.clone_into(word);
    }
    argv.extend([found.name.clone(), found.folder.clone()]);
    argv.extend(found.modules.as_ref().map(|_| MODULES_DESCRIPTOR.to_string()));
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .map_err(|errno| format!("socketpair: {errno}"))?;
    rustix::io::ioctl_fionbio(&ours, true).map_err(|errno| errno.to_string())?;
    nesssi_privsep::channel::refuse_descriptors(&ours).map_err(|error| error.to_string())?;
    let name = format!("scan-{}-{}", std::process::id(), question.number);
    let command = command(argv, question.order.environment.clone())
        .map_err(|failure| failure.text)?
        .env(MARKER, name.as_str());
    let spec = WorkerSpec { directory: &found.folder, umask: 0o077, files_max: question.files_max };
    let given = Given { socket: &theirs, modules: found.modules.as_ref(), log: None };
    let child = spec.spawn(command, &given, None).map_err(|failure| failure.text)?;
    let pid = child.pid().as_raw_pid();
    let head = Process::read(pid).map(|process| (pid, process.start_ticks));
    Ok((child, ours, Family { head, marker: format!("{MARKER}={name}") }))
}

/// Starts a worker as one for callers, and sees whether it lives for the order's trial once it is ready.
///
/// # Errors
/// What became of it, in words.
pub(super) fn try_serving(question: &Question<'_>, found: &Found) -> Result<(), String> {
    let (child, socket, family) = start(question, found, Some("serve"))?;
    let tried = is_ready(&socket, question.order.describe_max)
        .and_then(|()| still_lives(&child, question.order.trial));
    sweep::end_now(&family);
    child.try_wait().unwrap_or_default();
    tried
}

/// Waits for the first line of a worker, which says that it is ready.
fn is_ready(socket: &OwnedFd, patience: Duration) -> Result<(), String> {
    let until = Instant::now() + patience;
    let mut line = Vec::new();
    while !line.contains(&b'\n') {
        let left = until.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(socket, PollFlags::IN)];
        poll(&mut polled, Timespec::try_from(left).ok().as_ref()).unwrap_or_default();
        let mut part = [0_u8; 16 * 1024];
        match rustix::io::read(socket, &mut part) {
            Ok(0) => return Err("its worker ends before it is ready".to_owned()),
            Ok(count) => line.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < until => {}
            Err(Errno::AGAIN | Errno::INTR) => {
                return Err("its worker is not ready in time".to_owned());
            }
            Err(errno) => return Err(format!("its worker's socket failed: {errno}")),
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(format!("its worker says in over {LINE_BYTES_MAX} bytes that it is ready"));
        }
    }
    let said: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
    match said.get("method").and_then(|method| method.as_str()) {
        Some("ready") => Ok(()),
        Some("broken") => {
            let error = said.get("params").and_then(|params| params.get("error"));
            let error = error.and_then(|error| error.as_str()).unwrap_or("it does not say why");
            Err(format!("its worker does not serve: {error}"))
        }
        _ => Err("its worker does not say that it is ready".to_owned()),
    }
}

fn still_lives(child: &Child, trial: Duration) -> Result<(), String> {
    let mut polled = [PollFd::new(child, PollFlags::IN)];
    poll(&mut polled, Timespec::try_from(trial).ok().as_ref()).unwrap_or_default();
    match child.try_wait() {
        Ok(Some(ending)) => Err(format!("its worker ends right after its start: {ending}")),
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Waits until one of them has answered, ended or run out of time; takes those out.
pub(super) fn wait(asked: &mut Vec<Describing>) -> Vec<Found> {
    let now = Instant::now();
    let first = asked.iter().map(|describing| describing.until).min().unwrap_or(now);
    let timeout = Timespec::try_from(first.saturating_duration_since(now)).ok();
    let mut polled: Vec<PollFd<'_>> = asked
        .iter()
        .map(|describing| PollFd::from_borrowed_fd(describing.socket.as_fd(), PollFlags::IN))
        .collect();
    // An interrupted wait is a short one.
    poll(&mut polled, timeout.as_ref()).unwrap_or_default();
    let mut done = Vec::new();
    let mut at = 0;
    while let Some(describing) = asked.get_mut(at) {
        match describing.read() {
            None => at += 1,
            Some(outcome) => done.push(asked.swap_remove(at).finish(outcome)),
        }
    }
    done
}

/// How a throwaway worker came to its end.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Line,
    Closed,
    TooLate,
    TooLong,
    Failed(Errno),
}

impl Describing {
    fn read(&mut self) -> Option<Outcome> {
        let mut part = [0_u8; 16 * 1024];
        loop {
            match rustix::io::read(&self.socket, &mut part) {
                Ok(0) => return Some(Outcome::Closed),
                Ok(count) => {
                    let read = part.get(..count).unwrap_or_default();
                    self.line.extend_from_slice(read);
                    if read.contains(&b'\n') {
                        return Some(Outcome::Line);
                    }
                    if self.line.len() > LINE_BYTES_MAX {
                        return Some(Outcome::TooLong);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if Instant::now() >= self.until => return Some(Outcome::TooLate),
                Err(Errno::AGAIN) => return None,
                Err(errno) => return Some(Outcome::Failed(errno)),
            }
        }
    }

    /// Ends the worker with its descendants, and makes of its answer what can be made.
    fn finish(mut self, outcome: Outcome) -> Found {
        let closed = matches!(outcome, Outcome::Closed);
        let ending = if closed { self.ending() } else { None };
        sweep::end_now(&self.family);
        // It is dead, or will be reaped by the system when this helper ends.
        if ending.is_none() {
            self.child.try_wait().unwrap_or_default();
        }
        let answer = match outcome {
            Outcome::Line => Ok(()),
            Outcome::Closed if !self.line.is_empty() => Ok(()),
            Outcome::Closed => Err(match ending {
                Some(ending) => format!("ended without describing itself: {ending}"),
                None => "closed its socket without describing itself".to_owned(),
            }),
            Outcome::TooLate => Err("did not describe itself in time".to_owned()),
            Outcome::TooLong => Err(format!("describes itself in over {LINE_BYTES_MAX} bytes")),
            Outcome::Failed(errno) => Err(format!("its socket failed: {errno}")),
        };
        match answer.and_then(|()| description(&self.line)) {
            Ok((text, problem)) => {
                self.found.description = Some(text);
                problem.into_iter().for_each(|problem| self.found.add_problem(problem));
            }
            Err(problem) => self.found.add_problem(problem),
        }
        self.found
    }

    /// How it ended, if it does so soon.
    fn ending(&self) -> Option<nesssi_privsep::Ending> {
        const SOON: Duration = Duration::from_millis(500);
        let mut polled = [PollFd::new(&self.child, PollFlags::IN)];
        poll(&mut polled, Timespec::try_from(SOON).ok().as_ref()).unwrap_or_default();
        self.child.try_wait().unwrap_or_default()
    }
}

/// The first line as compact JSON, and the error that it tells, if it tells one.
fn description(bytes: &[u8]) -> Result<(String, Option<String>), String> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let value: serde_json::Value = serde_json::from_slice(line)
        .map_err(|error| format!("describes itself in what is no JSON: {error}"))?;
    if !value.is_object() {
        return Err("describes itself in what is no JSON object".to_owned());
    }
    let error = value.get("error").and_then(|error| error.as_str()).map(str::to_owned);
    let text = value.to_string();
    if text.len() > DESCRIPTION_BYTES_MAX {
        return Err(format!("describes itself in over {DESCRIPTION_BYTES_MAX} bytes"));
    }
    Ok((text, error))
}
