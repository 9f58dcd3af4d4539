//! Sandboxes: made, opened, listed.

use nesssi_privsep::messages::{Entry, FromJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_session::{Listing, SandboxError, SandboxPath, SessionId};

use crate::manager::Manager;
use crate::requests::{Answer, Failure, plain};

/// Most names of one listing.
const ENTRIES_MAX: u32 = 20_000;

/// Most bytes that the names of one answer take, so that the record holds them.
const LISTING_BYTES_MAX: usize = 128 * 1024;

/// What a name takes beside itself: its length, kind, size and time.
const ENTRY_BYTES: usize = 4 + 1 + 8 + 8;

impl Manager {
    pub(crate) fn prepare(&mut self, session: &SessionId, umask_default: u32) -> Answer {
        let umask = self.umask(umask_default);
        // Asked again after a restart, or for a session that was prepared before its job: the sandbox
        // that stands there is the account's own, or this fails.
        match self.account.create(session, umask) {
            Err(SandboxError::Exists) => self.account.sandbox(session)?,
            made => made?,
        };
        let path = self.sandboxes.join(session.reveal()).to_string_lossy().into_owned();
        plain(FromJobmanager::Prepared { path })
    }

    pub(crate) fn open(&self, session: &SessionId, path: &[u8]) -> Answer {
        let path = SandboxPath::parse(path)?;
        let opened = self.account.sandbox(session)?.open(&path)?;
        let message = FromJobmanager::Opened {
            directory: opened.directory,
            size: opened.size,
            modified: opened.modified,
            modified_nanos: opened.modified_nanos,
            inode: opened.inode,
        };
        Ok(Some((message, vec![opened.descriptor])))
    }

    pub(crate) fn list(&self, session: &SessionId, path: &[u8], entries_max: u32) -> Answer {
        let path = SandboxPath::parse(path)?;
        plain(listing(self.account.sandbox(session)?.list(&path, bounded(entries_max))?))
    }

    pub(crate) fn files(&self, session: &SessionId, entries_max: u32) -> Answer {
        plain(listing(self.account.sandbox(session)?.files(bounded(entries_max))?))
    }

    pub(crate) fn follow(&mut self, peer: u32, session: &SessionId, path: &[u8]) -> Answer {
        let path = SandboxPath::parse(path)?;
        let opened = self.account.sandbox(session)?.open(&path)?;
        if opened.directory {
            return Err(Failure::new(rustix::io::Errno::ISDIR, "a directory cannot be followed"));
        }
        let watch = self.follows.add(peer, &opened.descriptor)?;
        plain(FromJobmanager::Watching { watch })
    }
}

fn bounded(entries_max: u32) -> usize {
    usize::try_from(entries_max.min(ENTRIES_MAX)).unwrap_or(0)
}

/// As many of the names as one record holds.
fn listing(found: Listing) -> FromJobmanager {
    let mut cut = found.cut;
    let mut bytes = 0;
    let mut entries = Vec::new();
    for entry in found.entries {
        bytes += entry.name.len() + ENTRY_BYTES;
        if bytes > LISTING_BYTES_MAX {
            cut = true;
            break;
        }
        entries.push(Entry {
            name: Blob(entry.name),
            directory: entry.directory,
            size: entry.size,
            modified: entry.modified,
        });
    }
    FromJobmanager::Listing { entries, cut }
}
