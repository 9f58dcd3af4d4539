//! Sandboxes: made, opened, listed, changed.

use std::os::fd::OwnedFd;

use nesssi_privsep::messages::{Entry, FromJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_session::{Facts, Listing, Opened, SandboxError, SandboxPath, SessionId};

use crate::manager::Manager;
use crate::requests::{Answer, Failure, plain};

/// Most names of one listing.
const ENTRIES_MAX: u32 = 20_000;

/// Most bytes that the names of one answer take, so that the record holds them.
pub(crate) const LISTING_BYTES_MAX: usize = 128 * 1024;

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
        Ok(Some(opened(self.account.sandbox(session)?.open(&path)?)))
    }

    pub(crate) fn stat(&self, session: &SessionId, path: &[u8]) -> Answer {
        let path = SandboxPath::parse(path)?;
        plain(stated(self.account.sandbox(session)?.stat(&path)?))
    }

    pub(crate) fn make_directory(
        &mut self,
        session: &SessionId,
        path: &[u8],
        umask_default: u32,
    ) -> Answer {
        let umask = self.umask(umask_default);
        let path = SandboxPath::parse(path)?;
        self.account.sandbox(session)?.make_directory(&path, umask)?;
        plain(FromJobmanager::Made {})
    }

    pub(crate) fn rename(&self, session: &SessionId, from: &[u8], to: &[u8]) -> Answer {
        let (from, to) = (SandboxPath::parse(from)?, SandboxPath::parse(to)?);
        self.account.sandbox(session)?.rename(&from, &to)?;
        plain(FromJobmanager::Renamed {})
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

pub(crate) fn opened(opened: Opened) -> (FromJobmanager, Vec<OwnedFd>) {
    let message = FromJobmanager::Opened {
        directory: opened.directory,
        size: opened.size,
        modified: opened.modified,
        modified_nanos: opened.modified_nanos,
        inode: opened.inode,
    };
    (message, vec![opened.descriptor])
}

pub(crate) fn stated(facts: Facts) -> FromJobmanager {
    let Facts { directory, size, modified, modified_nanos, inode } = facts;
    FromJobmanager::Stated { directory, size, modified, modified_nanos, inode }
}

pub(crate) fn bounded(entries_max: u32) -> usize {
    usize::try_from(entries_max.min(ENTRIES_MAX)).unwrap_or(0)
}

/// As many of the names as one record holds.
pub(crate) fn listing(found: Listing) -> FromJobmanager {
    let mut cut = found.cut;
    let mut bytes = 0;
    let mut entries = Vec::new();
    for entry in found.entries {
        bytes += entry_bytes(&entry);
        if bytes > LISTING_BYTES_MAX {
            cut = true;
            break;
        }
        entries.push(on_the_wire(entry));
    }
    FromJobmanager::Listing { entries, cut }
}

/// What a name takes in a record.
pub(crate) fn entry_bytes(entry: &nesssi_session::Entry) -> usize {
    entry.name.len() + ENTRY_BYTES
}

pub(crate) fn on_the_wire(entry: nesssi_session::Entry) -> Entry {
    Entry {
        name: Blob(entry.name),
        directory: entry.directory,
        size: entry.size,
        modified: entry.modified,
    }
}
