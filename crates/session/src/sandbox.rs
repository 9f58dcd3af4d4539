//! A sandbox is a session's directory: the files of one job.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::served::{SecondNames, Served};
use crate::{FindBounds, FindEnd, Glob, SandboxPath};

/// Why nothing was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// No such session, file or directory.
    #[error("not there")]
    Absent,
    /// Something stands there that is never served: a link, a FIFO, a device, a socket, a file of
    /// another account under a second name, another file system.
    #[error("what stands there is not served")]
    Refused,
    /// A sandbox, file or guard of that name is there already.
    #[error("is there already")]
    Exists,
    /// A file is longer than asked for.
    #[error("is too long")]
    TooLong,
    /// The system's own error.
    #[error("{0}")]
    System(Errno),
}

impl SandboxError {
    /// The system's error number, for a channel; 0 if there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Absent => Errno::NOENT.raw_os_error(),
            // As the system says of a link; what the account may not read is another matter.
            Self::Refused => Errno::LOOP.raw_os_error(),
            Self::Exists => Errno::EXIST.raw_os_error(),
            Self::TooLong => Errno::FBIG.raw_os_error(),
            Self::System(errno) => errno.raw_os_error(),
        }
    }
}

impl From<Errno> for SandboxError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Absent,
            // A link on the way, a way out of the sandbox, another file system.
            Errno::LOOP | Errno::XDEV => Self::Refused,
            Errno::EXIST => Self::Exists,
            other => Self::System(other),
        }
    }
}

/// Something in a sandbox or a tree, open for reading.
#[derive(Debug)]
pub struct Opened {
    /// The handle; reads never wait.
    pub descriptor: OwnedFd,
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

/// What a file or directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
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

/// One name of a directory that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, or in a recursive listing the path from the sandbox.
    pub name: Vec<u8>,
    /// Whether it is a directory, else a regular file.
    pub directory: bool,
    /// Bytes.
    pub size: u64,
    /// Modification time, seconds since 1970 UTC.
    pub modified: i64,
}

/// Names, sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The names.
    pub entries: Vec<Entry>,
    /// Whether there were more than asked for.
    pub cut: bool,
}

/// An open handle of a sandbox that is the account's.
#[derive(Debug)]
pub struct Sandbox {
    directory: OwnedFd,
    owner: u32,
}

impl Sandbox {
    pub(crate) fn new(directory: OwnedFd, owner: u32) -> Self {
        Self { directory, owner }
    }

    /// The account's uid.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// What is served of it.
    fn served(&self) -> Served<'_> {
        Served { top: self.as_fd(), second_names: SecondNames::Of(self.owner) }
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
    /// As [`Sandbox::open`].
    pub fn stat(&self, path: &SandboxPath) -> Result<Facts, SandboxError> {
        self.served().stat(path)
    }

    /// The served names of a directory, at most `entries_max`.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn list(&self, path: &SandboxPath, entries_max: usize) -> Result<Listing, SandboxError> {
        self.served().list(path, entries_max)
    }

    /// Every served regular file of the sandbox, recursively, at most `entries_max`.
    ///
    /// # Errors
    /// The system's; a directory that vanishes or is forbidden is passed over.
    pub fn files(&self, entries_max: usize) -> Result<Listing, SandboxError> {
        self.served().files(entries_max)
    }

    /// Hands what is below a directory, at any depth, and matches a pattern to `take`, in no order, until it
    /// says `false`.
    ///
    /// # Errors
    /// As [`Sandbox::open`], of the directory itself; one below that vanishes or is forbidden is passed over.
    pub fn find(
        &self,
        path: &SandboxPath,
        pattern: &Glob,
        bounds: FindBounds,
        take: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<FindEnd, SandboxError> {
        self.served().find(path, pattern, bounds, take)
    }

    /// Bytes on the disk of all that is in the sandbox, hidden or not. Stops at `bytes_enough`.
    ///
    /// # Errors
    /// The system's, if the sandbox itself cannot be read.
    pub fn used_bytes(&self, bytes_enough: u64) -> Result<u64, SandboxError> {
        crate::removal::used_bytes(self.as_fd(), bytes_enough)
    }

    /// Makes a new file for a job's output. An empty one that a start which was cut off has left is
    /// replaced.
    ///
    /// # Errors
    /// [`SandboxError::Exists`] if anything else stands there.
    pub fn create_output(&self, name: &str, umask: u32) -> Result<OwnedFd, SandboxError> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let mode = Mode::from_raw_mode(0o666 & !umask);
        let file = match rustix::fs::openat(self, name, flags, mode) {
            Err(Errno::EXIST) if self.is_left_empty(name) => {
                rustix::fs::unlinkat(self, name, AtFlags::empty())?;
                rustix::fs::openat(self, name, flags, mode)?
            }
            other => other?,
        };
        // The umask of this process is stricter than the account's may be.
        rustix::fs::fchmod(&file, mode)?;
        Ok(file)
    }

    /// Whether an empty regular file of the account stands there.
    fn is_left_empty(&self, name: &str) -> bool {
        rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|facts| {
            FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile
                && facts.st_size == 0
                && facts.st_uid == self.owner()
        })
    }
}

impl AsFd for Sandbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Reads a whole file that is not over `bytes_max`.
pub(crate) fn read_all(file: &OwnedFd, bytes_max: usize) -> Result<Vec<u8>, SandboxError> {
    let mut all = Vec::new();
    let mut part = [0_u8; 8192];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut part))?;
        let Some(read) = part.get(..count).filter(|read| !read.is_empty()) else {
            return Ok(all);
        };
        all.extend_from_slice(read);
        if all.len() > bytes_max {
            return Err(SandboxError::TooLong);
        }
    }
}

pub(crate) fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), SandboxError> {
    while !bytes.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
