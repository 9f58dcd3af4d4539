//! What callers read of a jobmanager's errors over files.

use nesssi_privsep::messages::Refusal;
use nesssi_rpc::{Fault, FaultCode};
use rustix::io::Errno;

use super::no_such_file;
use crate::link::AskError;

/// Of reading a sandbox: absent, malformed and forbidden are one answer.
pub(crate) fn of_sandbox(error: &AskError) -> Fault {
    match failed(error) {
        Some(Errno::TIMEDOUT | Errno::AGAIN) | None => unavailable(),
        Some(_) => no_such_file(),
    }
}

/// Of reading a tree, which is not the caller's own: what his account may not read he is told.
pub(crate) fn of_tree(error: &AskError) -> Fault {
    match failed(error) {
        Some(Errno::ACCESS) => Fault::refused("the caller's account may not read this"),
        _ => of_sandbox(error),
    }
}

/// Of changing a sandbox.
pub(crate) fn of_change(error: &AskError) -> Fault {
    let Some(errno) = failed(error) else { return unavailable() };
    let conflict = |text| Fault::new(FaultCode::Conflict, text);
    match errno {
        Errno::EXIST => conflict("something of that name is there already"),
        Errno::NOTEMPTY => conflict("the directory is not empty"),
        Errno::ISDIR => conflict("a directory is there"),
        Errno::BUSY => conflict("it is being changed by another call"),
        Errno::INVAL => conflict("a directory cannot be moved into itself"),
        Errno::FBIG => Fault::new(FaultCode::OverLimit, "the file is longer than it may be"),
        Errno::DQUOT => Fault::new(
            FaultCode::OverLimit,
            "the sandbox would hold more than the level, or the account's disk quota, allows",
        ),
        Errno::AGAIN => {
            Fault::new(FaultCode::TooMany, "too many files of this account are being written")
        }
        Errno::NOSPC => Fault::new(FaultCode::Unavailable, "no space is left on the device"),
        Errno::ROFS => Fault::new(FaultCode::Unavailable, "the file system is read-only"),
        Errno::ACCESS | Errno::PERM => Fault::refused("the account may not change this"),
        _ => of_sandbox(error),
    }
}

/// Whether the rules have changed since the channel was given.
pub(crate) fn is_stale(error: &AskError) -> bool {
    *error == AskError::Refused(Refusal::StaleGrant {})
}

/// Whether a parameter was none.
pub(crate) fn is_invalid(error: &AskError) -> bool {
    failed(error) == Some(Errno::INVAL)
}

/// Whether something stands where nothing was to be.
pub(crate) fn is_there(error: &AskError) -> bool {
    failed(error) == Some(Errno::EXIST)
}

/// The system's error, if the account's process has said one; the log gets the rest.
fn failed(error: &AskError) -> Option<Errno> {
    match error {
        AskError::Failed { errno, text } => {
            tracing::debug!(errno, text, "a file is not to be had");
            Some(Errno::from_raw_os_error(*errno))
        }
        AskError::Refused(_) | AskError::Link(_) | AskError::Unfit => {
            tracing::info!(%error, "an account's process did not answer for files");
            None
        }
    }
}

fn unavailable() -> Fault {
    Fault::new(FaultCode::Unavailable, "the files cannot be had now: try again")
}
