//! A sandbox is a session's directory: the files of one job.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::SandboxPath;

/// Most names of a directory that are looked at, served or not.
const NAMES_MAX: usize = 100_000;

/// Deepest directory that a recursive listing enters.
const DEPTH_MAX: usize = 32;

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
            Self::Refused => Errno::ACCESS.raw_os_error(),
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

/// Something in a sandbox, open for reading.
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

    /// Opens a regular file or a directory for reading.
    ///
    /// # Errors
    /// [`SandboxError::Refused`] for anything else, unopened.
    pub fn open(&self, path: &SandboxPath) -> Result<Opened, SandboxError> {
        open_served(self.as_fd(), path.as_path(), self.owner)
    }

    /// The served names of a directory, at most `entries_max`.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn list(&self, path: &SandboxPath, entries_max: usize) -> Result<Listing, SandboxError> {
        let opened = self.open(path)?;
        if !opened.directory {
            return Err(SandboxError::Absent);
        }
        let mut listing = Listing::default();
        self.each(&opened.descriptor, &mut |_, entry| {
            listing.cut = listing.entries.len() >= entries_max;
            if !listing.cut {
                listing.entries.push(entry);
            }
            !listing.cut
        })?;
        listing.entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listing)
    }

    /// Every served regular file of the sandbox, recursively, at most `entries_max`.
    ///
    /// # Errors
    /// The system's; a directory that vanishes or is forbidden is passed over.
    pub fn files(&self, entries_max: usize) -> Result<Listing, SandboxError> {
        let mut listing = Listing::default();
        let mut waiting = vec![(Vec::new(), 0)];
        let mut names = 0;
        while let Some((prefix, depth)) = waiting.pop() {
            let Some(directory) = self.reopen(&prefix) else { continue };
            let mut deeper = Vec::new();
            let walked = self.each(&directory, &mut |_, mut entry| {
                names += 1;
                entry.name = joined(&prefix, &entry.name);
                listing.cut |= listing.entries.len() >= entries_max || names > NAMES_MAX;
                if entry.directory && depth < DEPTH_MAX {
                    deeper.push((entry.name, depth + 1));
                } else if !entry.directory && !listing.cut {
                    listing.entries.push(entry);
                }
                !listing.cut
            });
            if listing.cut {
                break;
            }
            if walked.is_ok() {
                waiting.append(&mut deeper);
            }
        }
        listing.entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listing)
    }

    /// Bytes on the disk of all that is in the sandbox, hidden or not. Stops at `bytes_enough`.
    ///
    /// # Errors
    /// The system's, if the sandbox itself cannot be read.
    pub fn used_bytes(&self, bytes_enough: u64) -> Result<u64, SandboxError> {
        crate::removal::used_bytes(self.as_fd(), bytes_enough)
    }

    /// Makes a new file for a job's output, which must not be there in any form.
    ///
    /// # Errors
    /// [`SandboxError::Exists`] if anything stands there.
    pub fn create_output(&self, name: &str, umask: u32) -> Result<OwnedFd, SandboxError> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        let mode = Mode::from_raw_mode(0o666 & !umask);
        let file = rustix::fs::openat(self, name, flags, mode)?;
        // The umask of this process is stricter than the account's may be.
        rustix::fs::fchmod(&file, mode)?;
        Ok(file)
    }

    /// Opens the directory that a walk has found, or nothing if it is no such directory any more.
    fn reopen(&self, path: &[u8]) -> Option<OwnedFd> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = if path.is_empty() { b"." } else { path };
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        open_beneath(self.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY).ok()
    }

    /// Hands each served name of a directory to `take`, until it says `false`.
    fn each(
        &self,
        directory: &OwnedFd,
        take: &mut dyn FnMut(&CStr, Entry) -> bool,
    ) -> Result<(), SandboxError> {
        let device = rustix::fs::fstat(directory)?.st_dev;
        for found in Dir::read_from(directory)?.take(NAMES_MAX) {
            let found = found?;
            let name = found.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            // It may have vanished since, or be in a directory that may be read and not entered.
            let Ok(facts) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if !is_served(&facts, self.owner) || facts.st_dev != device {
                continue;
            }
            let entry = Entry {
                name: name.to_bytes().to_vec(),
                directory: kind(&facts) == FileType::Directory,
                size: u64::try_from(facts.st_size).unwrap_or(0),
                modified: facts.st_mtime,
            };
            if !take(name, entry) {
                break;
            }
        }
        Ok(())
    }
}

impl AsFd for Sandbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Opens a path that stays beneath `directory` all the way, through no link and onto no other file system.
pub(crate) fn open_beneath(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
) -> Result<OwnedFd, SandboxError> {
    Ok(open_raw(directory, path, flags)?)
}

/// [`open_beneath`] with the system's own error.
pub(crate) fn open_raw(
    directory: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // EAGAIN: a rename somewhere made the kernel unsure whether the path stayed beneath.
    for _ in 0..64 {
        match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a regular file or a directory for reading. What it is is learned before it is opened, so
/// that a FIFO or a device is never so much as touched.
pub(crate) fn open_served(
    directory: BorrowedFd<'_>,
    path: &Path,
    owner: u32,
) -> Result<Opened, SandboxError> {
    let handle = open_beneath(directory, path, OFlags::PATH)?;
    let facts = rustix::fs::fstat(&handle)?;
    if !is_served(&facts, owner) {
        return Err(SandboxError::Refused);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::openat(CWD, own_name(&handle), flags, Mode::empty())?;
    let facts = rustix::fs::fstat(&descriptor)?;
    Ok(Opened {
        directory: kind(&facts) == FileType::Directory,
        size: u64::try_from(facts.st_size).unwrap_or(0),
        modified: facts.st_mtime,
        modified_nanos: u32::try_from(facts.st_mtime_nsec).unwrap_or(0),
        inode: facts.st_ino,
        descriptor,
    })
}

/// The name by which this process reaches again what it has a handle of.
pub(crate) fn own_name(handle: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

pub(crate) fn kind(facts: &Stat) -> FileType {
    FileType::from_raw_mode(facts.st_mode)
}

/// Regular files and directories are served; not a second name of a file that is another account's.
fn is_served(facts: &Stat, owner: u32) -> bool {
    match kind(facts) {
        FileType::Directory => true,
        FileType::RegularFile => facts.st_nlink <= 1 || facts.st_uid == owner,
        _ => false,
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

fn joined(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    if prefix.is_empty() {
        return name.to_vec();
    }
    let mut path = prefix.to_vec();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests;
