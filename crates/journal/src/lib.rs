//! The journal is the durable record of sessions, jobs, VO groups, access edits, what was used of budgets, and
//! answers kept for calls that are sent again, in one SQLite file.
//!
//! Whoever restarts reads it once ([`Journal::open`]), and from then on keeps in memory what it
//! needs and writes only. Writes go to one thread, which puts all that wait into one transaction
//! (group commit): a writer hears that his change is durable after the commit, and pays a share of
//! one `fsync`, not a whole one.
//!
//! A numbered *lease* says which process writes: opening takes the next number, and the writes of
//! an older holder are refused, so two gatekeepers never write against each other.

mod access;
mod answers;
mod backup;
pub mod chain;
mod migrate;
mod reading;
mod rows;
mod store;
mod used;
mod vo;
mod writer;

use std::path::Path;

pub use answers::{AnswerOwner, AnswerRow, KeptReply};
pub use backup::{Holds, Unknown, back_up, look_through, mark_restored, unknown_to};
pub use reading::{check_version, read_access, read_vo};
pub use rows::{Change, JobEnd, JobRow, SessionRow, SessionState, Shepherd};
pub use store::{Loaded, SCHEMA_VERSION};
pub use writer::{Done, Journal, WRITES_WAITING_MAX};

/// Why the journal cannot be used, or did not take a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The file was written by another version of NESSSI, and not by an earlier one that is known.
    #[error(
        "schema version {found} is not {SCHEMA_VERSION}: it was written by another version of NESSSI; \
         start that one, or restore a backup of this one's (nesssi restore FILE)"
    )]
    Version {
        /// The version in the file.
        found: i64,
    },
    /// The file is damaged.
    #[error(
        "the file is damaged: {0}; nothing was changed in it: restore a backup (nesssi restore FILE)"
    )]
    Damaged(String),
    /// There was a journal, and now there is none.
    #[error(
        "the file is gone or empty, and there was one: restore a backup, or remove {0} beside it to begin anew"
    )]
    Gone(String),
    /// Another process has taken the lease since.
    #[error("another process holds the lease now")]
    LeaseLost,
    /// The change speaks of a session or job that is not there, or makes one that is.
    #[error("the change does not fit what is recorded: {0}")]
    Unfit(String),
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// Too many changes wait, or the journal is closed.
    #[error("the journal takes no change now")]
    Busy,
    /// SQLite's own error.
    #[error("{0}")]
    Sqlite(String),
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ConstraintViolation) => Self::Unfit(error.to_string()),
            _ => Self::Sqlite(error.to_string()),
        }
    }
}

impl Journal {
    /// Opens the journal, or makes it, and takes the lease. Reads everything that is not removed.
    ///
    /// # Errors
    /// [`JournalError::Version`], [`JournalError::Damaged`] and [`JournalError::Gone`] leave the file as it is.
    pub fn open(path: &Path) -> Result<(Self, Loaded), JournalError> {
        let mut sessions = Vec::new();
        let (journal, loaded) = Self::open_each(path, |row, job| sessions.push((row, job)))?;
        Ok((journal, Loaded { sessions, ..loaded }))
    }

    /// As [`Journal::open`], with each session handed to `each` instead of being put into
    /// [`Loaded::sessions`]: there may be many.
    ///
    /// # Errors
    /// As of [`Journal::open`]; `each` may have been called by then.
    pub fn open_each(
        path: &Path,
        each: impl FnMut(SessionRow, Option<JobRow>),
    ) -> Result<(Self, Loaded), JournalError> {
        let mark = path.with_extension(MADE);
        let mut store = store::Store::open(path, mark.exists())?;
        let loaded = store.load(each)?;
        let journal = Self::over(store)?;
        std::fs::write(&mark, "").map_err(|error| JournalError::Sqlite(error.to_string()))?;
        Ok((journal, loaded))
    }
}

/// What the file is named that stands beside a journal once there is one: so that a journal which is
/// gone, or was emptied, is not taken for one that is yet to be made.
const MADE: &str = "made";

#[cfg(test)]
mod tests;
