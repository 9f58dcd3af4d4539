//! An account's directory holds the sandboxes of its sessions.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::removal::{self, Left};
use crate::sandbox::{Sandbox, SandboxError};
use crate::served::open_beneath;
use crate::{PrivateDir, SessionId};

/// An open handle of `<root>/<account>`, used by a process that is the account.
#[derive(Debug)]
pub struct AccountDir {
    directory: OwnedFd,
    owner: u32,
}

impl AccountDir {
    /// Takes a handle that was inherited. The account is the one that this process runs as.
    #[must_use]
    pub fn from_fd(directory: OwnedFd) -> Self {
        Self { directory, owner: rustix::process::geteuid().as_raw() }
    }

    /// Opens the directory by its path, which no user can change.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> Result<Self, SandboxError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self::from_fd(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Makes the sandbox of a new session with the modes that `umask` leaves, and its private directory.
    ///
    /// # Errors
    /// [`SandboxError::Exists`] if there is one.
    pub fn create(&self, session: &SessionId, umask: u32) -> Result<Sandbox, SandboxError> {
        let name = session.reveal();
        rustix::fs::mkdirat(&self.directory, name, Mode::RWXU).map_err(|errno| match errno {
            rustix::io::Errno::EXIST => SandboxError::Exists,
            other => SandboxError::System(other),
        })?;
        let made = self.furnish(session, umask);
        if made.is_err() {
            // Nothing is left of a sandbox that could not be made whole; the first error is told.
            drop(self.remove(session));
        }
        made
    }

    /// Opens the sandbox of a session.
    ///
    /// # Errors
    /// [`SandboxError::Absent`] if there is none that is the account's.
    pub fn sandbox(&self, session: &SessionId) -> Result<Sandbox, SandboxError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = open_beneath(self.directory.as_fd(), Path::new(session.reveal()), flags)?;
        let facts = rustix::fs::fstat(&directory)?;
        if facts.st_uid != self.owner {
            return Err(SandboxError::Absent);
        }
        Ok(Sandbox::new(directory, self.owner))
    }

    /// Removes the sandbox of a session with all in it. One that is not there is removed already.
    ///
    /// # Errors
    /// [`Left`]: what could not be removed.
    pub fn remove(&self, session: &SessionId) -> Result<(), Left> {
        removal::remove_tree(self.directory.as_fd(), session.reveal().as_bytes(), None)
    }

    fn furnish(&self, session: &SessionId, umask: u32) -> Result<Sandbox, SandboxError> {
        let sandbox = self.sandbox(session)?;
        PrivateDir::create(&sandbox)?;
        let mode = Mode::from_raw_mode((0o777 & !umask) | 0o700);
        rustix::fs::fchmod(&sandbox, mode)?;
        Ok(sandbox)
    }

    /// Whether anything stands under the session's name.
    #[must_use]
    pub fn holds(&self, session: &SessionId) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(&self.directory, session.reveal(), flags).is_ok()
    }
}

impl AsFd for AccountDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}
