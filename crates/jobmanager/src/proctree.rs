//! The processes of this machine as `/proc` shows them, and who descends from whom.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::io::Read as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Microseconds of one clock tick. Linux gives user space 100 ticks a second on every machine.
const TICK_USEC: u64 = 10_000;

/// Longest environment that is searched for a marker.
const ENVIRONMENT_BYTES_MAX: u64 = 1 << 20;

/// One process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Whether it is dead and only waits for its parent.
    pub(crate) dead: bool,
    /// CPU of itself and of the children it has waited for.
    pub(crate) cpu_usec: u64,
    /// CPU of the children it has waited for alone.
    pub(crate) children_usec: u64,
    /// When it started, in clock ticks after boot.
    pub(crate) start_ticks: u64,
}

impl Process {
    /// The process of that pid, if there is one.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// This very process.
    pub(crate) fn own() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        let pid = stat.split(' ').next()?.parse().ok()?;
        // The name stands in parentheses and may hold any, so the last one ends it.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<i64>().ok();
        let ticks = |index: usize| u64::try_from(number(index)?).ok();
        let waited = ticks(13)? + ticks(14)?;
        Some(Self {
            pid,
            dead: matches!(fields.first(), Some(&"Z" | &"X" | &"x")),
            parent: i32::try_from(number(1)?).ok()?,
            session: i32::try_from(number(3)?).ok()?,
            cpu_usec: (ticks(11)? + ticks(12)? + waited) * TICK_USEC,
            children_usec: waited * TICK_USEC,
            start_ticks: ticks(19)?,
        })
    }

    /// Sends a signal to this very process, never to one that has its pid by now.
    ///
    /// # Errors
    /// `EPERM` if it is somebody else's; one that is gone is no error.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Errno> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(()),
            other => other?,
        };
        if Self::read(self.pid).is_none_or(|now| now.start_ticks != self.start_ticks) {
            return Ok(());
        }
        match pidfd_send_signal(&pidfd, signal) {
            Err(Errno::SRCH) => Ok(()),
            other => other,
        }
    }

    /// Whether the system shows it under this name, and as wholly this account's.
    pub(crate) fn is_own_named(&self, name: &CStr) -> bool {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", self.pid)) else {
            return false;
        };
        let line = |word: &str| status.lines().find_map(|line| line.strip_prefix(word));
        let own = rustix::process::geteuid().as_raw().to_string();
        let is_own = |uids: &str| uids.split_ascii_whitespace().all(|uid| uid == own);
        line("Name:\t").map(str::as_bytes) == Some(name.to_bytes())
            && line("Uid:\t").is_some_and(is_own)
    }

    /// Whether it has this file open, as far as this account may see.
    pub(crate) fn has_open(&self, file: &Path) -> bool {
        let Ok(open) = std::fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        open.filter_map(Result::ok)
            .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|path| path == file))
    }

    /// Whether its environment, as it was started with, has this `NAME=value`.
    pub(crate) fn has_marker(&self, marker: &str) -> bool {
        let mut environment = Vec::new();
        std::fs::File::open(format!("/proc/{}/environ", self.pid))
            .and_then(|file| file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut environment))
            .is_ok_and(|_| {
                environment.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
            })
    }
}

/// Every process there is.
pub(crate) fn all() -> Vec<Process> {
    let Ok(names) = std::fs::read_dir("/proc") else { return Vec::new() };
    names
        .filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::read)
        .collect()
}

/// All that descend from `roots`, the roots themselves left out.
pub(crate) fn descendants(all: &[Process], roots: &[i32]) -> Vec<Process> {
    let mut known: HashSet<i32> = roots.iter().copied().collect();
    let mut found = Vec::new();
    loop {
        let before = found.len();
        for process in all {
            if known.contains(&process.parent) && known.insert(process.pid) {
                found.push(*process);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// CPU microseconds of each root's tree: what it has waited for, and all that descend from it. The
/// roots were read before `all`, so that nothing is counted both as living and as waited for.
pub(crate) fn tree_usec(roots: &[Process], all: &[Process]) -> Vec<u64> {
    let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let sum = |root: &Process| {
        let mut usec = root.children_usec;
        let mut waiting = vec![root.pid];
        while let Some(parent) = waiting.pop() {
            // Taken out: each process counts once, whatever changed while it was looked at.
            for child in children.remove(&parent).unwrap_or_default() {
                usec += child.cpu_usec;
                waiting.push(child.pid);
            }
        }
        usec
    };
    roots.iter().map(sum).collect()
}

#[cfg(test)]
mod tests;
