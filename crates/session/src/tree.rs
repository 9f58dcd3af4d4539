//! A tree is a directory of the site that is read, and never written, by the rules of a sandbox.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};

use crate::sandbox::{Entry, Facts, Listing, Opened, SandboxError};
use crate::served::{SecondNames, Served};
use crate::{FindBounds, FindEnd, Glob, SandboxPath};

/// An open handle of a tree. What lies in it is opened as whoever this process is: what the account may not
/// read it does not get. Links in it are refused, and so are other file systems below it; a file with several names is
/// served, since the site itself put them there.
#[derive(Debug)]
pub struct Tree {
    directory: OwnedFd,
}

impl Tree {
    /// Opens a tree by the path that the site's administrator gave: what is a link in that is followed.
    ///
    /// # Errors
    /// The system's.
    pub fn open_root(path: &Path) -> Result<Self, SandboxError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { directory: rustix::fs::openat(CWD, path, flags, Mode::empty())? })
    }

    /// Whether the directory was removed since it was opened.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        rustix::fs::fstat(&self.directory).is_ok_and(|stat| stat.st_nlink == 0)
    }

    fn served(&self) -> Served<'_> {
        Served { top: self.as_fd(), second_names: SecondNames::Any }
    }

    /// Opens a regular file or a directory for reading.
    ///
    /// # Errors
    /// [`SandboxError::Refused`] for anything else, unopened.
    pub fn open(&self, path: &SandboxPath) -> Result<Opened, SandboxError> {
        self.served().open(path)
    }

    /// What a regular file or a directory is; it need not be readable.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn stat(&self, path: &SandboxPath) -> Result<Facts, SandboxError> {
        self.served().stat(path)
    }

    /// The served names of a directory, at most `entries_max`.
    ///
    /// # Errors
    /// As [`Tree::open`].
    pub fn list(&self, path: &SandboxPath, entries_max: usize) -> Result<Listing, SandboxError> {
        self.served().list(path, entries_max)
    }

    /// As [`crate::Sandbox::find`].
    ///
    /// # Errors
    /// As [`Tree::open`], of the directory itself.
    pub fn find(
        &self,
        path: &SandboxPath,
        pattern: &Glob,
        bounds: FindBounds,
        take: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<FindEnd, SandboxError> {
        self.served().find(path, pattern, bounds, take)
    }
}

impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

#[cfg(test)]
mod tests;
