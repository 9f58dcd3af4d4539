//! What is served of a directory: regular files and directories beneath its handle, by plain names.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::SandboxPath;
use crate::sandbox::{Entry, Facts, Listing, Opened, SandboxError};

/// Most names of a directory that are looked at, served or not.
const NAMES_MAX: usize = 100_000;

/// Deepest directory that [`Served::files`] enters.
const DEPTH_MAX: usize = 32;

/// What becomes of files that have more than one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecondNames {
    /// Only this account's are served: who may write here can give a name to what he may not read.
    Of(u32),
    /// All are served.
    Any,
}

/// The rules for one directory handle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served<'a> {
    /// Everything is beneath this.
    pub(crate) top: BorrowedFd<'a>,
    pub(crate) second_names: SecondNames,
}

impl Served<'_> {
    /// Opens a regular file or a directory for reading.
    pub(crate) fn open(self, path: &SandboxPath) -> Result<Opened, SandboxError> {
        open_served(self.top, path.as_path(), self.second_names)
    }

    /// What a regular file or a directory is.
    pub(crate) fn stat(self, path: &SandboxPath) -> Result<Facts, SandboxError> {
        let handle = open_beneath(self.top, path.as_path(), OFlags::PATH)?;
        let stat = rustix::fs::fstat(&handle)?;
        if is_served(&stat, self.second_names) {
            Ok(facts(&stat))
        } else {
            Err(SandboxError::Refused)
        }
    }

    /// The served names of a directory.
    pub(crate) fn list(
        self,
        path: &SandboxPath,
        entries_max: usize,
    ) -> Result<Listing, SandboxError> {
        let opened = self.open(path)?;
        if !opened.directory {
            return Err(SandboxError::Absent);
        }
        let mut listing = Listing::default();
        let whole = self.each(&opened.descriptor, &mut |entry| {
            listing.cut = listing.entries.len() >= entries_max;
            if !listing.cut {
                listing.entries.push(entry);
            }
            !listing.cut
        })?;
        listing.cut |= !whole;
        listing.entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listing)
    }

    /// Every served regular file, recursively.
    pub(crate) fn files(self, entries_max: usize) -> Result<Listing, SandboxError> {
        let mut listing = Listing::default();
        let mut waiting = vec![(SandboxPath::root(), 0)];
        let mut names = 0;
        while let Some((prefix, depth)) = waiting.pop() {
            let Some(directory) = self.reopen(&prefix) else { continue };
            let mut deeper = Vec::new();
            let walked = self.each(&directory, &mut |mut entry| {
                names += 1;
                let Some(path) = SandboxPath::below(prefix.as_bytes(), &entry.name) else {
                    return true;
                };
                listing.cut |= listing.entries.len() >= entries_max || names > NAMES_MAX;
                if entry.directory && depth < DEPTH_MAX {
                    deeper.push((path, depth + 1));
                } else if !entry.directory && !listing.cut {
                    entry.name = path.as_bytes().to_vec();
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

    /// Opens the directory that a walk has found, or nothing if it is no such directory any more.
    pub(crate) fn reopen(self, path: &SandboxPath) -> Option<OwnedFd> {
        open_beneath(self.top, path.as_path(), OFlags::RDONLY | OFlags::DIRECTORY).ok()
    }

    /// Hands each served name of a directory to `take`, until it says `false`. Answers whether none was left out
    /// because there are too many.
    pub(crate) fn each(
        self,
        directory: &OwnedFd,
        take: &mut dyn FnMut(Entry) -> bool,
    ) -> Result<bool, SandboxError> {
        let device = rustix::fs::fstat(directory)?.st_dev;
        for (number, found) in Dir::read_from(directory)?.enumerate() {
            if number >= NAMES_MAX {
                return Ok(false);
            }
            let found = found?;
            let name = found.file_name();
            if name.to_bytes().starts_with(b".") {
                continue;
            }
            // It may have vanished since, or be in a directory that may be read and not entered.
            let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if !is_served(&stat, self.second_names) || stat.st_dev != device {
                continue;
            }
            let Facts { directory, size, modified, .. } = facts(&stat);
            if !take(Entry { name: name.to_bytes().to_vec(), directory, size, modified }) {
                break;
            }
        }
        Ok(true)
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
    second_names: SecondNames,
) -> Result<Opened, SandboxError> {
    let handle = open_beneath(directory, path, OFlags::PATH)?;
    if !is_served(&rustix::fs::fstat(&handle)?, second_names) {
        return Err(SandboxError::Refused);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::openat(CWD, own_name(&handle), flags, Mode::empty())?;
    let facts = facts(&rustix::fs::fstat(&descriptor)?);
    Ok(Opened {
        directory: facts.directory,
        size: facts.size,
        modified: facts.modified,
        modified_nanos: facts.modified_nanos,
        inode: facts.inode,
        descriptor,
    })
}

/// The name by which this process reaches again what it has a handle of.
pub(crate) fn own_name(handle: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", handle.as_raw_fd())
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn facts(stat: &Stat) -> Facts {
    Facts {
        directory: kind(stat) == FileType::Directory,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: stat.st_mtime,
        modified_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        inode: stat.st_ino,
    }
}

/// What stands under a name of a directory itself, if it is served.
pub(crate) fn stat_served(
    directory: &OwnedFd,
    name: &OsStr,
    second_names: SecondNames,
) -> Result<Stat, SandboxError> {
    let stat = rustix::fs::statat(directory, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)?;
    if is_served(&stat, second_names) { Ok(stat) } else { Err(SandboxError::Refused) }
}

/// Regular files and directories are served.
fn is_served(stat: &Stat, second_names: SecondNames) -> bool {
    match kind(stat) {
        FileType::Directory => true,
        FileType::RegularFile => match second_names {
            SecondNames::Of(owner) => stat.st_nlink <= 1 || stat.st_uid == owner,
            SecondNames::Any => true,
        },
        _ => false,
    }
}
