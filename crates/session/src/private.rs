//! The private directory of a sandbox (`.nesssi`, never served) holds the job's guard and its record.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::sandbox::{Sandbox, SandboxError, read_all, write_all};
use crate::served::{SecondNames, open_beneath, open_served, own_name};

const NAME: &str = ".nesssi";
const GUARD: &str = "started";
/// In the guard: who has set it.
const MARK: &str = "shepherd";
const RECORD: &str = "record";
const RECORD_NEW: &str = "record.new";
const LOG: &str = "shepherd.log";
/// In the guard: the batch id of the job script that has set it.
const WINNER: &str = "batch";
/// Locked while a command runs that submits the job to a batch system.
const SUBMISSION: &str = "submit";
/// The reason that a job script's watcher wrote before it ended the job.
const WHY: &str = "why";

/// Longest batch id with its newline, and more than the longest reason.
const SAID_BYTES_MAX: usize = 256;
/// Locked by whoever is about to start the payload, until its guard stands.
const LOCK: &str = "starting";

/// Bytes set aside for the record before the job starts, so that a full disk cannot lose it.
const RESERVE_BYTES: u64 = 4096;

/// Counts the guards that this process has begun to make: each has a name of its own until it stands.
static GUARDS_MADE: AtomicU32 = AtomicU32::new(0);

/// An open handle of a sandbox's private directory.
#[derive(Debug)]
pub struct PrivateDir {
    directory: OwnedFd,
    owner: u32,
}

/// The lock of a session's submission. It is held as long as anybody has a descriptor of it open: the command that was
/// started with one too, whoever else dies.
#[derive(Debug)]
pub struct SubmissionLock {
    file: OwnedFd,
}

impl AsFd for SubmissionLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl SubmissionLock {
    /// Writes who holds it, in place of what stands there. Room on the disk is found out about so, too.
    ///
    /// # Errors
    /// The system's.
    pub fn mark(&self, text: &str) -> Result<(), SandboxError> {
        rustix::fs::ftruncate(&self.file, 0)?;
        rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Start(0))?;
        write_all(&self.file, text.as_bytes())
    }
}

/// A place set aside on the disk for a record.
#[derive(Debug)]
pub struct Reserve {
    file: OwnedFd,
}

impl AsFd for PrivateDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The right to start the payload, held while this or a copy of it in a forked child is open. It ends
/// with its holders, however they end.
#[derive(Debug)]
pub struct StartLock {
    _file: OwnedFd,
}

impl PrivateDir {
    pub(crate) fn create(sandbox: &Sandbox) -> Result<Self, SandboxError> {
        rustix::fs::mkdirat(sandbox, NAME, Mode::RWXU)?;
        Self::open(sandbox)
    }

    /// Opens the private directory of a sandbox.
    ///
    /// # Errors
    /// [`SandboxError::Absent`] if it is not there or not the account's.
    pub fn open(sandbox: &Sandbox) -> Result<Self, SandboxError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = open_beneath(sandbox.as_fd(), Path::new(NAME), flags)?;
        let owner = sandbox.owner();
        if rustix::fs::fstat(&directory)?.st_uid != owner {
            return Err(SandboxError::Absent);
        }
        Ok(Self { directory, owner })
    }

    /// Takes the lock of the start; `None` while another start is under way.
    ///
    /// # Errors
    /// The system's.
    pub fn lock_start(&self) -> Result<Option<StartLock>, SandboxError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.directory, LOCK, flags | OFlags::CLOEXEC, mode)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(StartLock { _file: file })),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether somebody holds the lock of the start.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::openat(&self.directory, LOCK, flags, Mode::empty()) else {
            return false;
        };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::AGAIN)
    }

    /// Sets the start guard: `true` for the one who set it, `false` for everybody after.
    ///
    /// The guard appears with its `mark` in it, in one step: nobody ever sees it without. That it
    /// stands is durable; the mark names a process, and need not outlive this run of the machine.
    ///
    /// # Errors
    /// The system's.
    pub fn set_guard(&self, mark: &str) -> Result<bool, SandboxError> {
        if self.is_guarded() {
            return Ok(false);
        }
        let turn = GUARDS_MADE.fetch_add(1, Ordering::Relaxed);
        let new = format!("{GUARD}.{}.{turn}", std::process::id());
        let set = self.fill_guard(&new, mark).and_then(|()| self.place_guard(&new));
        if set == Ok(true) {
            rustix::fs::fsync(&self.directory)?;
        } else {
            self.discard_guard(&new);
        }
        set
    }

    fn fill_guard(&self, new: &str, mark: &str) -> Result<(), SandboxError> {
        match rustix::fs::mkdirat(&self.directory, new, Mode::RWXU) {
            // One of this pid that died before it was done has left it.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let guard = open_beneath(self.directory.as_fd(), Path::new(new), flags)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&guard, MARK, flags | OFlags::CLOEXEC, mode)?;
        write_all(&file, mark.as_bytes())
    }

    /// Gives the filled directory the guard's name, unless that is taken.
    fn place_guard(&self, new: &str) -> Result<bool, SandboxError> {
        let (directory, flags) = (&self.directory, RenameFlags::NOREPLACE);
        let placed = match rustix::fs::renameat_with(directory, new, directory, GUARD, flags) {
            Err(Errno::INVAL | Errno::NOSYS) => return self.make_guard(new),
            other => other,
        };
        match placed {
            Ok(()) => Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sets the guard on a file system that can only rename over what stands there: a job script's guard is empty
    /// for a moment, and a rename would take its place. Here the mark follows the guard.
    fn make_guard(&self, new: &str) -> Result<bool, SandboxError> {
        let directory = &self.directory;
        match rustix::fs::mkdirat(directory, GUARD, Mode::RWXU) {
            Err(Errno::EXIST) => return Ok(false),
            made => made?,
        }
        let (from, to) = (format!("{new}/{MARK}"), format!("{GUARD}/{MARK}"));
        rustix::fs::renameat(directory, from, directory, to)?;
        self.discard_guard(new);
        Ok(true)
    }

    /// What cannot be removed goes with the sandbox.
    fn discard_guard(&self, new: &str) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        if let Ok(guard) = open_beneath(self.directory.as_fd(), Path::new(new), flags) {
            rustix::fs::unlinkat(&guard, MARK, AtFlags::empty()).unwrap_or_default();
        }
        rustix::fs::unlinkat(&self.directory, new, AtFlags::REMOVEDIR).unwrap_or_default();
    }

    /// The guard's mark: a regular file of the account, not over `bytes_max`. `None` if there is none.
    ///
    /// # Errors
    /// [`SandboxError::Refused`] for anything else that stands there.
    pub fn read_mark(&self, bytes_max: usize) -> Result<Option<Vec<u8>>, SandboxError> {
        self.read_regular(&format!("{GUARD}/{MARK}"), bytes_max)
    }

    /// Whether the guard stands: the payload may have been started.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        rustix::fs::statat(&self.directory, GUARD, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// What a job script has written into the guard: its batch id, `job::batch::winner`. `None` if there is nothing.
    ///
    /// # Errors
    /// [`SandboxError::Refused`] for anything but a regular file of the account that is short.
    pub fn read_winner(&self) -> Result<Option<Vec<u8>>, SandboxError> {
        self.read_regular(&format!("{GUARD}/{WINNER}"), SAID_BYTES_MAX)
    }

    /// Why a job script's watcher has ended the job. `None` if it has not.
    ///
    /// # Errors
    /// As [`PrivateDir::read_winner`].
    pub fn read_why(&self) -> Result<Option<Vec<u8>>, SandboxError> {
        self.read_regular(WHY, SAID_BYTES_MAX)
    }

    /// Takes the lock of the session's submission; `None` while somebody has it.
    ///
    /// # Errors
    /// The system's; [`SandboxError::Refused`] if anything but a file of the account has its name.
    pub fn lock_submission(&self) -> Result<Option<SubmissionLock>, SandboxError> {
        let lock = self.open_submission(OFlags::RDWR | OFlags::CREATE)?;
        match rustix::fs::flock(&lock.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(lock)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes what a start that was cut off before its guard stood has left. For the holder of the lock.
    ///
    /// # Errors
    /// The system's.
    pub fn clear_reserve(&self) -> Result<(), SandboxError> {
        match rustix::fs::unlinkat(&self.directory, RECORD_NEW, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether somebody has the lock of the session's submission.
    ///
    /// # Errors
    /// As [`PrivateDir::lock_submission`].
    pub fn is_submitting(&self) -> Result<bool, SandboxError> {
        let lock = match self.open_submission(OFlags::RDONLY) {
            Err(SandboxError::Absent) => return Ok(false),
            other => other?,
        };
        match rustix::fs::flock(&lock.file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether the lock was ever taken: a batch system may have the session's job.
    #[must_use]
    pub fn was_submitted(&self) -> bool {
        rustix::fs::statat(&self.directory, SUBMISSION, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The lock's path as the system shows it to those who have it open.
    ///
    /// # Errors
    /// As [`PrivateDir::lock_submission`].
    pub fn submission_path(&self) -> Result<PathBuf, SandboxError> {
        let lock = self.open_submission(OFlags::RDONLY)?;
        let path = rustix::fs::readlink(own_name(&lock.file), Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
    }

    /// Who has taken the lock, as [`SubmissionLock::mark`] wrote it.
    ///
    /// # Errors
    /// As [`PrivateDir::read_winner`].
    pub fn read_submission(&self) -> Result<Option<Vec<u8>>, SandboxError> {
        self.read_regular(SUBMISSION, SAID_BYTES_MAX)
    }

    /// Whoever takes the lock alone opens it for writing, which a shared file system asks for.
    fn open_submission(&self, access: OFlags) -> Result<SubmissionLock, SandboxError> {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.directory, SUBMISSION, flags, mode)?;
        let facts = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile
            || facts.st_uid != self.owner
        {
            return Err(SandboxError::Refused);
        }
        Ok(SubmissionLock { file })
    }

    /// Whether a record stands there, finished or not.
    #[must_use]
    pub fn has_record(&self) -> bool {
        rustix::fs::statat(&self.directory, RECORD, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Sets the room of a record aside on the disk.
    ///
    /// # Errors
    /// The system's; `ENOSPC` says that the disk is full.
    pub fn reserve_record(&self) -> Result<Reserve, SandboxError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.directory, RECORD_NEW, flags | OFlags::CLOEXEC, mode)?;
        let grown = match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill(&file),
            other => other.map_err(SandboxError::System),
        };
        if let Err(error) = grown {
            rustix::fs::unlinkat(&self.directory, RECORD_NEW, AtFlags::empty()).unwrap_or_default();
            return Err(error);
        }
        Ok(Reserve { file })
    }

    /// Writes the record into its reserve, makes it durable and gives it its name.
    ///
    /// # Errors
    /// The system's: the record then stands under no name.
    pub fn publish_record(&self, reserve: &Reserve, text: &str) -> Result<(), SandboxError> {
        rustix::fs::seek(&reserve.file, rustix::fs::SeekFrom::Start(0))?;
        write_all(&reserve.file, text.as_bytes())?;
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        rustix::fs::ftruncate(&reserve.file, length)?;
        rustix::fs::fsync(&reserve.file)?;
        // The reserve's own name may have been tampered with: what is renamed must be what was written.
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let named = rustix::fs::statat(&self.directory, RECORD_NEW, flags)?;
        let held = rustix::fs::fstat(&reserve.file)?;
        if (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino) {
            return Err(SandboxError::Refused);
        }
        rustix::fs::renameat(&self.directory, RECORD_NEW, &self.directory, RECORD)?;
        rustix::fs::fsync(&self.directory)?;
        Ok(())
    }

    /// Writes a record where none was reserved.
    ///
    /// # Errors
    /// The system's.
    pub fn write_record(&self, text: &str) -> Result<(), SandboxError> {
        self.clear_reserve()?;
        let reserve = self.reserve_record()?;
        self.publish_record(&reserve, text)
    }

    /// The record's text: a regular file of the account, not over `bytes_max`. `None` if there is none.
    ///
    /// # Errors
    /// [`SandboxError::Refused`] for anything else that stands there.
    pub fn read_record(&self, bytes_max: usize) -> Result<Option<Vec<u8>>, SandboxError> {
        self.read_regular(RECORD, bytes_max)
    }

    fn read_regular(&self, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, SandboxError> {
        let opened = match open_regular(&self.directory, path, self.owner) {
            Err(SandboxError::Absent) => return Ok(None),
            other => other?,
        };
        read_all(&opened, bytes_max).map(Some)
    }

    /// Makes the file into which the shepherd writes what goes wrong.
    ///
    /// # Errors
    /// The system's.
    pub fn create_log(&self) -> Result<OwnedFd, SandboxError> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.directory, LOG, flags | OFlags::CLOEXEC, mode)?)
    }
}

fn fill(file: &OwnedFd) -> Result<(), SandboxError> {
    let zeros = vec![b'\n'; usize::try_from(RESERVE_BYTES).unwrap_or_default()];
    write_all(file, &zeros)
}

/// Opens a regular file of the account for reading, and nothing else.
fn open_regular(directory: &OwnedFd, name: &str, owner: u32) -> Result<OwnedFd, SandboxError> {
    let opened = open_served(directory.as_fd(), Path::new(name), SecondNames::Of(owner))?;
    let facts = rustix::fs::fstat(&opened.descriptor)?;
    if opened.directory || facts.st_uid != owner {
        return Err(SandboxError::Refused);
    }
    Ok(opened.descriptor)
}

#[cfg(test)]
mod tests;
