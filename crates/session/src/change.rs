//! What changes a sandbox: directories made, files written, renamed and removed.
//!
//! Each is done to a last name in a directory that was opened beneath the sandbox's handle: whoever swaps
//! names meanwhile has what he put there renamed or removed, and never what it points to.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::removal::{self, Left};
use crate::sandbox::{Sandbox, SandboxError};
use crate::served::{SecondNames, kind, open_beneath, open_served, own_name, stat_served};
use crate::{SandboxPath, sandbox};

/// Most files that are being written in one directory: each has one of so many names until it is whole.
pub const WRITES_PER_DIRECTORY_MAX: usize = 8;

/// How the names of files begin that are not whole yet.
const NEW: &str = ".nesssi-new.";

/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// A last name, and the directory that it stands in or is to stand in.
struct Place<'p> {
    directory: OwnedFd,
    name: &'p OsStr,
}

impl Sandbox {
    fn place<'p>(&self, path: &'p SandboxPath) -> Result<Place<'p>, SandboxError> {
        // The sandbox itself stands in no directory of its own.
        let (parent, name) = path.split().ok_or(SandboxError::Refused)?;
        let directory = open_beneath(self.as_fd(), parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Place { directory, name })
    }

    fn second_names(&self) -> SecondNames {
        SecondNames::Of(self.owner())
    }

    /// Makes a directory with the modes that `umask` leaves; its owner may always enter it.
    ///
    /// # Errors
    /// [`SandboxError::Exists`] if anything stands there.
    pub fn make_directory(&self, path: &SandboxPath, umask: u32) -> Result<(), SandboxError> {
        let Place { directory, name } = self.place(path)?;
        rustix::fs::mkdirat(&directory, name, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let made = open_beneath(directory.as_fd(), Path::new(name), flags)?;
        // The umask of this process is stricter than the account's may be; a group that is inherited is kept.
        let inherited = Mode::from_raw_mode(rustix::fs::fstat(&made)?.st_mode) & Mode::SGID;
        rustix::fs::fchmod(&made, Mode::from_raw_mode((0o777 & !umask) | 0o700) | inherited)?;
        Ok(())
    }

    /// Gives a file or directory another name in this sandbox, and replaces nothing.
    ///
    /// # Errors
    /// [`SandboxError::Exists`] if anything has that name.
    pub fn rename(&self, from: &SandboxPath, to: &SandboxPath) -> Result<(), SandboxError> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let stat = stat_served(&from.directory, from.name, self.second_names())?;
        rename_new(&from, &to, kind(&stat))
    }

    /// Removes a file or an empty directory.
    ///
    /// # Errors
    /// [`SandboxError::Refused`] for what is not served, and for the sandbox itself.
    pub fn remove(&self, path: &SandboxPath) -> Result<(), SandboxError> {
        let place = self.place(path)?;
        let stat = stat_served(&place.directory, place.name, self.second_names())?;
        let flags = match kind(&stat) {
            FileType::Directory => AtFlags::REMOVEDIR,
            _ => AtFlags::empty(),
        };
        Ok(rustix::fs::unlinkat(&place.directory, place.name, flags)?)
    }

    /// Removes a file, or a directory with all in it, until a time.
    ///
    /// # Errors
    /// [`Left`]: what could not be removed, or why nothing was.
    pub fn remove_all(&self, path: &SandboxPath, until: Instant) -> Result<(), Left> {
        let place = self.place(path)?;
        let stat = stat_served(&place.directory, place.name, self.second_names())?;
        if kind(&stat) == FileType::Directory {
            return removal::remove_tree(
                place.directory.as_fd(),
                place.name.as_bytes(),
                Some(until),
            );
        }
        rustix::fs::unlinkat(&place.directory, place.name, AtFlags::empty())
            .map_err(|errno| Left::from(SandboxError::from(errno)))
    }

    /// Begins to write a file beside the place that it is to have, where a served file may stand.
    ///
    /// # Errors
    /// [`SandboxError::Refused`] if something else stands there; `EISDIR` for a directory, `EBUSY` where
    /// [`WRITES_PER_DIRECTORY_MAX`] are being written.
    pub fn begin_write(&self, path: &SandboxPath, umask: u32) -> Result<Writing, SandboxError> {
        let Place { directory, name } = self.place(path)?;
        match stat_served(&directory, name, self.second_names()) {
            Err(SandboxError::Absent) => {}
            standing => refuse_directory(&standing?)?,
        }
        let mode = Mode::from_raw_mode(0o666 & !umask);
        for number in 0..WRITES_PER_DIRECTORY_MAX {
            let temporary = format!("{NEW}{number}");
            if let Some(file) = self.create_temporary(&directory, &temporary)? {
                let path = path.clone();
                return Ok(Writing { file, directory, temporary, path, mode });
            }
        }
        Err(SandboxError::System(Errno::BUSY))
    }

    /// Makes a file under a name of those for what is not whole yet; `None` if that is in use.
    fn create_temporary(
        &self,
        directory: &OwnedFd,
        temporary: &str,
    ) -> Result<Option<OwnedFd>, SandboxError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        let create = || rustix::fs::openat(directory, temporary, flags, Mode::RUSR | Mode::WUSR);
        let file = match create() {
            Err(Errno::EXIST) if self.reclaim(directory, temporary) => create(),
            other => other,
        };
        let file = match file {
            Err(Errno::EXIST) => return Ok(None),
            other => other?,
        };
        // Who holds the lock is at work: one that was left behind can be told by it. Another may have had
        // it, and have taken the name back, in between.
        let locked = lock(&file) != Err(Errno::AGAIN);
        Ok((locked && stands_there(directory, temporary, &file)).then_some(file))
    }

    /// Removes a file that was left behind by a process that has ended; answers whether it did.
    fn reclaim(&self, directory: &OwnedFd, temporary: &str) -> bool {
        let path = Path::new(temporary);
        let Ok(left) = open_served(directory.as_fd(), path, self.second_names()) else {
            return false;
        };
        !left.directory
            && lock(&left.descriptor).is_ok()
            && stands_there(directory, temporary, &left.descriptor)
            && rustix::fs::unlinkat(directory, temporary, AtFlags::empty()).is_ok()
    }
}

/// A file being written under a name that is not served. Nothing happens to it when this is dropped: see
/// [`Writing::leftover`].
#[derive(Debug)]
pub struct Writing {
    file: OwnedFd,
    directory: OwnedFd,
    temporary: String,
    path: SandboxPath,
    mode: Mode,
}

/// A file that has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its bytes.
    pub size: u64,
    /// Modification time, seconds since 1970 UTC.
    pub modified: i64,
    /// Whether another file stood there.
    pub replaced: bool,
}

impl Writing {
    /// Where to write.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The directory, which the file's handle does not keep.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Its bytes until now.
    ///
    /// # Errors
    /// The system's.
    pub fn size(&self) -> Result<u64, SandboxError> {
        Ok(sandbox_size(&rustix::fs::fstat(&self.file)?))
    }

    /// What is to be removed if the file does not get its place. It can be held while the file is executed, as
    /// this can not.
    ///
    /// # Errors
    /// The system's.
    pub fn leftover(&self) -> Result<Leftover, SandboxError> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, own_name(&self.file), flags, Mode::empty())?;
        let directory = self.directory.try_clone().map_err(|_| Errno::MFILE)?;
        Ok(Leftover { file, directory, temporary: self.temporary.clone() })
    }

    /// Makes the file durable and gives it its place in `sandbox`, which is the one that it was begun in.
    ///
    /// # Errors
    /// [`SandboxError::Exists`] if anything stands there that is not to be replaced, [`SandboxError::TooLong`]
    /// over `bytes_max`, `EDQUOT` if the sandbox would have over `sandbox_bytes_max` (0 is no limit). The file still
    /// stands under its first name then.
    pub fn commit(
        &self,
        sandbox: &Sandbox,
        replace: bool,
        bytes_max: u64,
        sandbox_bytes_max: u64,
    ) -> Result<Written, SandboxError> {
        let place = sandbox.place(&self.path)?;
        if !is_same(&place.directory, &self.directory)? {
            // Its directory has gone elsewhere, and another has its name.
            return Err(SandboxError::Absent);
        }
        if self.size()? > bytes_max {
            return Err(SandboxError::TooLong);
        }
        rustix::fs::fchmod(&self.file, self.mode)?;
        rustix::fs::fsync(&self.file)?;
        if sandbox_bytes_max > 0 {
            self.check_room(sandbox, &place, sandbox_bytes_max)?;
        }
        if !stands_there(&place.directory, &self.temporary, &self.file) {
            return Err(SandboxError::Refused);
        }
        let replaced = self.place_file(sandbox, &place, replace)?;
        // It is durable as a file; of its name too, where the directory may be read.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        if let Ok(directory) = open_beneath(place.directory.as_fd(), Path::new("."), flags) {
            rustix::fs::fsync(&directory)?;
        }
        // Whoever has the file open still keeps no job from locking it.
        rustix::fs::flock(&self.file, FlockOperation::Unlock).unwrap_or_default();
        let stat = rustix::fs::fstat(&self.file)?;
        Ok(Written { size: sandbox_size(&stat), modified: stat.st_mtime, replaced })
    }

    /// Gives the file its name; answers whether another had it.
    fn place_file(
        &self,
        sandbox: &Sandbox,
        place: &Place<'_>,
        replace: bool,
    ) -> Result<bool, SandboxError> {
        let temporary = Place {
            directory: place.directory.try_clone().map_err(|_| Errno::MFILE)?,
            name: OsStr::new(&self.temporary),
        };
        match rename_new(&temporary, place, FileType::RegularFile) {
            Err(SandboxError::Exists) if replace => {}
            other => return other.map(|()| false),
        }
        let standing = stat_served(&place.directory, place.name, sandbox.second_names());
        match standing {
            // It has gone meanwhile.
            Err(SandboxError::Absent) => {}
            standing => refuse_directory(&standing?)?,
        }
        rustix::fs::renameat(&place.directory, temporary.name, &place.directory, place.name)?;
        Ok(true)
    }

    /// Whether the sandbox holds so much, what is replaced left out.
    fn check_room(
        &self,
        sandbox: &Sandbox,
        place: &Place<'_>,
        bytes_max: u64,
    ) -> Result<(), SandboxError> {
        let standing = stat_served(&place.directory, place.name, sandbox.second_names());
        let blocks = standing.map_or(0, |stat| u64::try_from(stat.st_blocks).unwrap_or(0));
        let bytes_max = bytes_max.saturating_add(blocks.saturating_mul(BLOCK_BYTES));
        if sandbox.used_bytes(bytes_max.saturating_add(1))? > bytes_max {
            return Err(SandboxError::System(Errno::DQUOT));
        }
        Ok(())
    }
}

/// What may be left of a file that was being written.
#[derive(Debug)]
pub struct Leftover {
    file: OwnedFd,
    directory: OwnedFd,
    temporary: String,
}

impl Leftover {
    /// Removes the file, if it did not get its place.
    pub fn discard(self) {
        if stands_there(&self.directory, &self.temporary, &self.file) {
            // What stays behind is reclaimed by the next who writes here, or goes with the sandbox.
            rustix::fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty())
                .unwrap_or_default();
        }
    }

    /// The file as it is now.
    ///
    /// # Errors
    /// The system's.
    pub fn facts(&self) -> Result<sandbox::Facts, SandboxError> {
        Ok(crate::served::facts(&rustix::fs::fstat(&self.file)?))
    }
}

impl From<SandboxError> for Left {
    fn from(error: SandboxError) -> Self {
        let errno = Errno::from_raw_os_error(error.errno());
        Self { names: vec![(String::new(), errno)] }
    }
}

/// Moves what is of a kind to a name that nothing has.
fn rename_new(from: &Place<'_>, to: &Place<'_>, kind: FileType) -> Result<(), SandboxError> {
    let flags = RenameFlags::NOREPLACE;
    let renamed =
        rustix::fs::renameat_with(&from.directory, from.name, &to.directory, to.name, flags);
    match renamed {
        Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => rename_by_hand(from, to, kind),
        other => Ok(other?),
    }
}

/// [`rename_new`] on a file system that cannot do it in one step: a link is refused where a name stands, and so is an
/// own directory that is not empty. `EINVAL` has other reasons too, which are found again here.
fn rename_by_hand(from: &Place<'_>, to: &Place<'_>, kind: FileType) -> Result<(), SandboxError> {
    if kind != FileType::Directory {
        let flags = AtFlags::empty();
        rustix::fs::linkat(&from.directory, from.name, &to.directory, to.name, flags)?;
        return Ok(rustix::fs::unlinkat(&from.directory, from.name, flags)?);
    }
    match rustix::fs::statat(&to.directory, to.name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        other => return Err(other.map_or_else(SandboxError::from, |_| SandboxError::Exists)),
    }
    Ok(rustix::fs::renameat(&from.directory, from.name, &to.directory, to.name)?)
}

fn refuse_directory(standing: &Stat) -> Result<(), SandboxError> {
    match kind(standing) {
        FileType::Directory => Err(SandboxError::System(Errno::ISDIR)),
        _ => Ok(()),
    }
}

fn lock(file: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Whether a name is that of an open file.
fn stands_there(directory: &OwnedFd, name: &str, file: &OwnedFd) -> bool {
    let named = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let (Ok(named), Ok(held)) = (named, rustix::fs::fstat(file)) else { return false };
    (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)
}

fn is_same(one: &OwnedFd, other: &OwnedFd) -> Result<bool, SandboxError> {
    let (one, other) = (rustix::fs::fstat(one)?, rustix::fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn sandbox_size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[cfg(test)]
mod tests;
