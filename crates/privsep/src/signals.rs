//! Signals as something to poll: blocked, and read from a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

pub use rustix::process::Signal;

use crate::sys;

/// Bytes of one `signalfd_siginfo`; its first four are the signal's number.
const SIGINFO_BYTES: usize = 128;

/// A non-blocking descriptor on which chosen signals arrive instead of interrupting.
#[derive(Debug)]
pub struct SignalFd {
    descriptor: OwnedFd,
}

impl SignalFd {
    /// Blocks the signals in this thread and opens a descriptor for them. Programs started by
    /// [`crate::spawn`] have them unblocked again.
    ///
    /// # Errors
    /// The system's.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        let numbers: Vec<i32> = signals.iter().map(|signal| signal.as_raw()).collect();
        Ok(Self { descriptor: sys::signal_descriptor(&numbers)? })
    }

    /// The number of the next signal that has come, if one has.
    ///
    /// # Errors
    /// The system's.
    pub fn next(&self) -> io::Result<Option<i32>> {
        let mut info = [0_u8; SIGINFO_BYTES];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.descriptor, &mut info)) {
            Ok(_) => {
                let [a, b, c, d, ..] = info;
                Ok(i32::try_from(u32::from_ne_bytes([a, b, c, d])).ok())
            }
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests;
