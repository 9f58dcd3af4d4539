//! A leaf is the control group of one job or worker: it says what was used, and kills whole.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Longest file of a control group that is read.
const FILE_BYTES_MAX: usize = 4096;

/// Handles of a leaf's files, which the monitor has opened.
#[derive(Debug)]
pub(crate) struct Leaf {
    cpu_stat: OwnedFd,
    kill: OwnedFd,
    events: OwnedFd,
}

impl Leaf {
    /// Door and leaf of the four descriptors that stand beside a request; none are no leaf.
    pub(crate) fn take(descriptors: Vec<OwnedFd>) -> Option<Option<(OwnedFd, Self)>> {
        if descriptors.is_empty() {
            return Some(None);
        }
        let [door, cpu_stat, kill, events] = <[OwnedFd; 4]>::try_from(descriptors).ok()?;
        Some(Some((door, Self { cpu_stat, kill, events })))
    }

    /// CPU microseconds of all that ever ran in it.
    pub(crate) fn cpu_usec(&self) -> Option<u64> {
        field(&read(&self.cpu_stat)?, "usage_usec")
    }

    /// Whether no process is in it.
    pub(crate) fn is_empty(&self) -> bool {
        // A leaf that was removed holds nobody, and reads as an error.
        read(&self.events).is_none_or(|text| field(&text, "populated") == Some(0))
    }

    /// Kills all in it, however they fork.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match rustix::io::pwrite(&self.kill, b"1", 0) {
            // Removed: see `is_empty`.
            Ok(_) | Err(rustix::io::Errno::NODEV) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The handles, to be kept across a fork.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.cpu_stat.as_fd(), self.kill.as_fd(), self.events.as_fd()]
    }
}

fn read(file: &OwnedFd) -> Option<String> {
    let mut bytes = [0_u8; FILE_BYTES_MAX];
    let count = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut bytes, 0)).ok()?;
    std::str::from_utf8(bytes.get(..count)?).ok().map(str::to_owned)
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
