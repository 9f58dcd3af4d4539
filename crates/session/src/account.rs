//! An account's directory holds the sandboxes of its sessions.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::removal::{self, Left};
use crate::sandbox::{Sandbox, SandboxError};
use crate::served::open_beneath;
use crate::{PrivateDir, SessionId};

/// The bits of a mode that are for others than the owner.
const OTHERS: u32 = 0o077;

/// Why an account has no directory for its sandboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountDirError {
    /// No directory can be called so.
    #[error("the account's name is no name of a directory")]
    Name,
    /// It is not there, and this account may not make it.
    #[error(
        "the account has no directory, and cannot make it ({0}): make it on the file server, or let \
         accounts make theirs (mode 1733)"
    )]
    Missing(Errno),
    /// It is somebody else's.
    #[error("it belongs to uid {uid}")]
    Anothers {
        /// Whose.
        uid: u32,
    },
    /// Others may look into it, or more.
    #[error("its mode is {mode:04o}, and must be 0700")]
    Open {
        /// Its mode.
        mode: u32,
    },
    /// The system's own error.
    #[error("{0}")]
    System(Errno),
}

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

    /// Opens the account's own directory in the root of sandboxes, or makes it where it is not there and the root lets
    /// this process. Nobody else's is taken, and none that others can look into.
    ///
    /// # Errors
    /// [`AccountDirError`].
    pub fn within(root: BorrowedFd<'_>, account: &str) -> Result<Self, AccountDirError> {
        if matches!(account, "" | "." | "..") || account.contains('/') {
            return Err(AccountDirError::Name);
        }
        // As a place first: whose it is, and who may look into it, is told of what cannot be read, too.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(root, account, flags, Mode::empty());
        let place = match open() {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(root, account, Mode::RWXU) {
                    // Another of this account was faster.
                    Ok(()) | Err(Errno::EXIST) => open(),
                    Err(errno) => return Err(AccountDirError::Missing(errno)),
                }
            }
            answer => answer,
        };
        let place = place.map_err(AccountDirError::System)?;
        let facts = rustix::fs::fstat(&place).map_err(AccountDirError::System)?;
        if facts.st_uid != rustix::process::geteuid().as_raw() {
            return Err(AccountDirError::Anothers { uid: facts.st_uid });
        }
        if facts.st_mode & OTHERS != 0 {
            return Err(AccountDirError::Open { mode: facts.st_mode & 0o7777 });
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&place, ".", flags, Mode::empty());
        directory.map(Self::from_fd).map_err(AccountDirError::System)
    }

    /// Whether [`within`](Self::within) would succeed, with nothing made.
    ///
    /// # Errors
    /// [`AccountDirError`].
    pub fn check_within(root: BorrowedFd<'_>, account: &str) -> Result<(), AccountDirError> {
        let there = rustix::fs::statat(root, account, AtFlags::SYMLINK_NOFOLLOW);
        if there.err() == Some(Errno::NOENT) {
            let wanted = Access::WRITE_OK | Access::EXEC_OK;
            return rustix::fs::accessat(root, ".", wanted, AtFlags::EACCESS)
                .map_err(AccountDirError::Missing);
        }
        Self::within(root, account).map(|_| ())
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

#[cfg(test)]
mod tests;
