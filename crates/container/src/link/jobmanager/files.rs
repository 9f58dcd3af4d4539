//! Files of sandboxes changed and found, and trees read, over a channel to a jobmanager.
//!
//! What changes a sandbox, and all that is asked of trees, takes a channel to start; the rest, and removal, one of either kind.

use std::os::fd::OwnedFd;
use std::time::Duration;

use nesssi_privsep::Received;
use nesssi_privsep::messages::{Entry, FindEnd, FromJobmanager, ToJobmanager};
use nesssi_privsep::wire::Blob;

use super::{Jobmanager, Opened, REMOVE_SECONDS_MAX, listing, opened, unfailed};
use crate::link::{AskError, LinkError};

/// How long a find may say nothing; the jobmanager's own bound on the time of one is shorter.
const FIND_SILENCE_SECONDS_MAX: u64 = 120;

/// How long it may take until a file that is written is on the disk and has its place.
const COMMIT_SECONDS_MAX: u64 = 600;

/// What a file or directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// Whether it is a directory, else a regular file.
    pub directory: bool,
    /// Bytes.
    pub size: u64,
    /// Modification time, seconds since 1970 UTC.
    pub modified: i64,
    /// And its nanoseconds.
    pub modified_nanos: u32,
    /// Inode.
    pub inode: u64,
}

/// What a find has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Paths from the sandbox or tree, sorted.
    pub entries: Vec<Entry>,
    /// Whether that is all, and if not why.
    pub end: FindEnd,
}

/// A file that was written and has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its bytes.
    pub size: u64,
    /// Modification time, seconds since 1970 UTC.
    pub modified: i64,
    /// Whether another file stood there.
    pub replaced: bool,
}

/// A file being written beside its place. Dropped, it is discarded.
#[derive(Debug)]
pub struct Writing {
    /// Where to write. Whoever takes it out closes it before the commit.
    pub file: Option<OwnedFd>,
    jobmanager: Jobmanager,
    /// Until it was committed or discarded.
    ticket: Option<u64>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let jobmanager = self.jobmanager.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let discard = ToJobmanager::DiscardWrite { ticket };
                if let Err(error) = jobmanager.link.ask(&discard, &[]).await {
                    tracing::debug!(%error, "a file being written ended with its jobmanager");
                }
            });
        }
    }
}

impl Jobmanager {
    /// What a file or directory of a sandbox is.
    ///
    /// # Errors
    /// [`AskError::Failed`].
    pub async fn stat(&self, session: &str, path: &[u8]) -> Result<Stated, AskError> {
        let message =
            ToJobmanager::Stat { session: session.to_owned(), path: Blob(path.to_owned()) };
        stated(self.link.ask(&message, &[]).await?)
    }

    /// The served names below a directory of a sandbox, at any depth, that match a pattern.
    ///
    /// # Errors
    /// [`AskError::Failed`], `EINVAL` for what is no pattern.
    pub async fn find(
        &self,
        session: &str,
        path: &[u8],
        pattern: &[u8],
        entries_max: u32,
    ) -> Result<Found, AskError> {
        let message = ToJobmanager::Find {
            session: session.to_owned(),
            path: Blob(path.to_owned()),
            pattern: Blob(pattern.to_owned()),
            entries_max,
        };
        self.found(&message, entries_max).await
    }

    /// Makes a directory in a sandbox.
    ///
    /// # Errors
    /// [`AskError::Failed`], `EEXIST` where something stands there; `StaleGrant` as in [`Jobmanager::prepare`].
    pub async fn make_directory(
        &self,
        session: &str,
        path: &[u8],
        umask_default: u32,
    ) -> Result<(), AskError> {
        let message = ToJobmanager::MakeDirectory {
            session: session.to_owned(),
            path: Blob(path.to_owned()),
            umask_default,
        };
        match unfailed(self.fresh(self.link.ask(&message, &[]).await?)?)?.message {
            FromJobmanager::Made {} => Ok(()),
            _ => Err(AskError::Unfit),
        }
    }

    /// Begins to write a file of a sandbox. When it is committed it may have `bytes_max`, and the whole sandbox
    /// `sandbox_bytes_max` (0 is no limit). The writer counts too: until then the file has what was written.
    ///
    /// # Errors
    /// [`AskError::Failed`], `EAGAIN` where too many are being written; `StaleGrant` as in [`Jobmanager::prepare`].
    pub async fn begin_write(
        &self,
        session: &str,
        path: &[u8],
        bytes_max: u64,
        sandbox_bytes_max: u64,
        umask_default: u32,
    ) -> Result<Writing, AskError> {
        let message = ToJobmanager::BeginWrite {
            session: session.to_owned(),
            path: Blob(path.to_owned()),
            bytes_max,
            sandbox_bytes_max,
            umask_default,
        };
        let mut answer = unfailed(self.fresh(self.link.ask(&message, &[]).await?)?)?;
        match answer.message {
            FromJobmanager::WriteBegun { ticket } => {
                let jobmanager = self.clone();
                let file = answer.descriptors.pop();
                let writing = Writing { file, jobmanager, ticket: Some(ticket) };
                if writing.file.is_some() { Ok(writing) } else { Err(AskError::Unfit) }
            }
            _ => Err(AskError::Unfit),
        }
    }

    /// Makes a written file durable and gives it its place. What was begun by a grant may end without one.
    ///
    /// # Errors
    /// [`AskError::Failed`], and the file is discarded: `EEXIST` where something stands there that is not to be
    /// replaced, `EFBIG` where it is too long, `EDQUOT` where the sandbox would be too full.
    pub async fn commit_write(
        &self,
        mut writing: Writing,
        replace: bool,
    ) -> Result<Written, AskError> {
        let ticket = writing.ticket.ok_or(AskError::Unfit)?;
        drop(writing.file.take());
        let message = ToJobmanager::CommitWrite { ticket, replace };
        let patience = Duration::from_secs(COMMIT_SECONDS_MAX);
        let answer = self.link.send(&message, &[]).await?.within(patience).wait().await?;
        writing.ticket = None;
        match unfailed(answer)?.message {
            FromJobmanager::Written { size, modified, replaced } => {
                Ok(Written { size, modified, replaced })
            }
            _ => Err(AskError::Unfit),
        }
    }

    /// Discards a file that is being written, and waits until it is gone.
    ///
    /// # Errors
    /// [`AskError::Failed`].
    pub async fn discard_write(&self, mut writing: Writing) -> Result<(), AskError> {
        let ticket = writing.ticket.take().ok_or(AskError::Unfit)?;
        drop(writing.file.take());
        let message = ToJobmanager::DiscardWrite { ticket };
        match unfailed(self.link.ask(&message, &[]).await?)?.message {
            FromJobmanager::Discarded {} => Ok(()),
            _ => Err(AskError::Unfit),
        }
    }

    /// Gives a file or directory of a sandbox another name in it, and replaces nothing.
    ///
    /// # Errors
    /// [`AskError::Failed`], `EEXIST` where something has that name; `StaleGrant` as in [`Jobmanager::prepare`].
    pub async fn rename(&self, session: &str, from: &[u8], to: &[u8]) -> Result<(), AskError> {
        let message = ToJobmanager::Rename {
            session: session.to_owned(),
            from: Blob(from.to_owned()),
            to: Blob(to.to_owned()),
        };
        match unfailed(self.fresh(self.link.ask(&message, &[]).await?)?)?.message {
            FromJobmanager::Renamed {} => Ok(()),
            _ => Err(AskError::Unfit),
        }
    }

    /// Removes a file or a directory of a sandbox.
    ///
    /// # Errors
    /// [`AskError::Failed`], `ENOTEMPTY` for a directory that is not empty where `recursive` does not say that
    /// it need not be.
    pub async fn remove_path(
        &self,
        session: &str,
        path: &[u8],
        recursive: bool,
    ) -> Result<(), AskError> {
        let message = ToJobmanager::RemovePath {
            session: session.to_owned(),
            path: Blob(path.to_owned()),
            recursive,
        };
        let patience = Duration::from_secs(REMOVE_SECONDS_MAX);
        let answer = self.link.send(&message, &[]).await?.within(patience).wait().await?;
        match unfailed(answer)?.message {
            FromJobmanager::Removed {} => Ok(()),
            _ => Err(AskError::Unfit),
        }
    }

    /// Opens a file or directory of a tree.
    ///
    /// # Errors
    /// [`AskError::Failed`]; `StaleGrant` as in [`Jobmanager::prepare`].
    pub async fn tree_open(&self, tree: &str, path: &[u8]) -> Result<Opened, AskError> {
        let message = ToJobmanager::TreeOpen { tree: tree.to_owned(), path: Blob(path.to_owned()) };
        opened(self.fresh(self.link.ask(&message, &[]).await?)?)
    }

    /// Names in a directory of a tree, and whether there were more.
    ///
    /// # Errors
    /// As [`Jobmanager::tree_open`].
    pub async fn tree_list(
        &self,
        tree: &str,
        path: &[u8],
        entries_max: u32,
    ) -> Result<(Vec<Entry>, bool), AskError> {
        let message = ToJobmanager::TreeList {
            tree: tree.to_owned(),
            path: Blob(path.to_owned()),
            entries_max,
        };
        listing(self.fresh(self.link.ask(&message, &[]).await?)?)
    }

    /// What a file or directory of a tree is.
    ///
    /// # Errors
    /// As [`Jobmanager::tree_open`].
    pub async fn tree_stat(&self, tree: &str, path: &[u8]) -> Result<Stated, AskError> {
        let message = ToJobmanager::TreeStat { tree: tree.to_owned(), path: Blob(path.to_owned()) };
        stated(self.fresh(self.link.ask(&message, &[]).await?)?)
    }

    /// The served names below a directory of a tree, at any depth, that match a pattern.
    ///
    /// # Errors
    /// As [`Jobmanager::tree_open`] and [`Jobmanager::find`].
    pub async fn tree_find(
        &self,
        tree: &str,
        path: &[u8],
        pattern: &[u8],
        entries_max: u32,
    ) -> Result<Found, AskError> {
        let message = ToJobmanager::TreeFind {
            tree: tree.to_owned(),
            path: Blob(path.to_owned()),
            pattern: Blob(pattern.to_owned()),
            entries_max,
        };
        self.found(&message, entries_max).await
    }

    async fn found(&self, message: &ToJobmanager, entries_max: u32) -> Result<Found, AskError> {
        let mut answers = self.link.ask_many(message).await?;
        let silence_max = Duration::from_secs(FIND_SILENCE_SECONDS_MAX);
        let entries_max = usize::try_from(entries_max).unwrap_or(usize::MAX);
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let answer = tokio::time::timeout(silence_max, answers.next()).await;
            let answer = answer.map_err(|_elapsed| AskError::Link(LinkError::TimedOut))?;
            let answer = self.fresh(answer.ok_or(AskError::Link(LinkError::Closed))?)?;
            match unfailed(answer)?.message {
                FromJobmanager::Found { entries: some } => entries.extend(some),
                FromJobmanager::FindDone { end } => {
                    entries.sort_by(|one, other| one.name.0.cmp(&other.name.0));
                    return Ok(Found { entries, end });
                }
                _ => return Err(AskError::Unfit),
            }
            // A jobmanager is not trusted to count.
            if entries.len() > entries_max {
                return Err(AskError::Unfit);
            }
        }
    }
}

fn stated(answer: Received<FromJobmanager>) -> Result<Stated, AskError> {
    match unfailed(answer)?.message {
        FromJobmanager::Stated { directory, size, modified, modified_nanos, inode } => {
            Ok(Stated { directory, size, modified, modified_nanos, inode })
        }
        _ => Err(AskError::Unfit),
    }
}

#[cfg(test)]
mod tests;
