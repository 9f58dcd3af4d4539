//! Files of sandboxes and trees: the jobmanager opens, watches and changes them as the account, this room
//! finds whose they are.
//!
//! A sandbox is read by whoever holds the session's id, and changed by its owner; a tree is read by
//! whom its access list lets in, as his account, and never changed.

pub(crate) mod change;
pub(crate) mod digest;
mod faults;
pub(crate) mod path;
pub(crate) mod source;
mod upload;

use std::os::fd::OwnedFd;

use nesssi_rpc::{Fault, FaultCode};
use nesssi_session::SandboxPath;

use crate::Jobs;
use crate::jobs::Tended;
use crate::link::{AskError, Watch};

pub(crate) use upload::Uploads;
pub use upload::{Put, PutFault, Upload, Uploaded};

/// How many names a directory page shows.
const PAGE_ENTRIES_MAX: u32 = 2000;

/// How many names a call answers.
pub(crate) const ENTRIES_MAX: u32 = 10_000;

/// What is found at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file, opened as the account.
    File {
        /// The descriptor; to be read by offset.
        file: OwnedFd,
        /// Bytes when it was opened.
        size: u64,
        /// Modification time, seconds since 1970 UTC.
        modified: i64,
        /// And its nanoseconds.
        modified_nanos: u32,
        /// Inode.
        inode: u64,
        /// The account, for a pool of its own.
        account: String,
    },
    /// A directory.
    Directory {
        /// Its names, sorted.
        entries: Vec<DirectoryEntry>,
        /// Whether there are more.
        cut: bool,
    },
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name's bytes: a user may name a file anything.
    pub name: Vec<u8>,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes.
    pub size: u64,
    /// Modification time, seconds since 1970 UTC.
    pub modified: i64,
}

/// Why there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// Absent, malformed or forbidden: one answer for all.
    #[error("no such session or file")]
    NotFound,
    /// The account's process cannot be had now.
    #[error("the session's files cannot be had now")]
    Unavailable,
}

/// What has happened to a followed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has changed: look at its size.
    Grew,
    /// The session's job has ended: read to the end, and no further.
    JobEnded,
    /// Nobody watches any more, or the session is gone.
    Closed,
}

/// A file that is followed; dropping it ends the watch.
#[derive(Debug)]
pub struct Following {
    jobs: Jobs,
    watch: Watch,
    number: u64,
    job_ended: bool,
}

impl Following {
    /// Waits for the next change. [`Change::JobEnded`] is said once.
    pub async fn changed(&mut self) -> Change {
        if self.job_ended {
            return if self.watch.grew().await { Change::Grew } else { Change::Closed };
        }
        tokio::select! {
            grew = self.watch.grew() => if grew { Change::Grew } else { Change::Closed },
            ended = self.jobs.job_ended(self.number) => {
                self.job_ended = true;
                if ended { Change::JobEnded } else { Change::Closed }
            }
        }
    }
}

pub(crate) async fn open(jobs: &Jobs, session: &str, path: &[u8]) -> Result<Found, FileFault> {
    let path = parse(path)?;
    let Tended { jobmanager, id, account, .. } = tend(jobs, session).await?;
    let opened = jobmanager.open(id.reveal(), path.as_bytes()).await.map_err(fault)?;
    if opened.directory {
        let (entries, cut) =
            jobmanager.list(id.reveal(), path.as_bytes(), PAGE_ENTRIES_MAX).await.map_err(fault)?;
        let entries = entries.into_iter().map(|entry| DirectoryEntry {
            name: entry.name.0,
            directory: entry.directory,
            size: entry.size,
            modified: entry.modified,
        });
        return Ok(Found::Directory { entries: entries.collect(), cut });
    }
    Ok(Found::File {
        file: opened.file,
        size: opened.size,
        modified: opened.modified,
        modified_nanos: opened.modified_nanos,
        inode: opened.inode,
        account,
    })
}

pub(crate) async fn follow(
    jobs: &Jobs,
    session: &str,
    path: &[u8],
) -> Result<Following, FileFault> {
    let path = parse(path)?;
    let Tended { jobmanager, id, number, .. } = tend(jobs, session).await?;
    let watch = jobmanager.follow(id.reveal(), path.as_bytes()).await.map_err(fault)?;
    Ok(Following { jobs: jobs.clone(), watch, number, job_ended: false })
}

/// One answer for what is absent, malformed, hidden, another's or forbidden.
pub(crate) fn no_such_file() -> Fault {
    Fault::new(FaultCode::NotFound, "no such session or file")
}

fn parse(path: &[u8]) -> Result<SandboxPath, FileFault> {
    // A directory's URL ends in a slash.
    let path = path.strip_suffix(b"/").unwrap_or(path);
    SandboxPath::parse(path).map_err(|_| FileFault::NotFound)
}

async fn tend(jobs: &Jobs, session: &str) -> Result<Tended, FileFault> {
    jobs.tend(session).await.map_err(|fault| match fault.code {
        FaultCode::NotFound => FileFault::NotFound,
        _ => FileFault::Unavailable,
    })
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn fault(error: AskError) -> FileFault {
    match error {
        AskError::Failed { errno, ref text } => {
            tracing::debug!(errno, text, "a file is not served");
            FileFault::NotFound
        }
        AskError::Refused(_) | AskError::Link(_) | AskError::Unfit => FileFault::Unavailable,
    }
}
