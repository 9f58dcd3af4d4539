//! Files of the configuration: opened so that nothing makes the monitor wait, held against owner and
//! mode, read with a bound.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};

/// Others than the owner may write.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITE: u32 = 0o020;
/// What a private key's mode may not have: a group may read it (`ssl-cert`), and that is all.
const KEY_TOO_OPEN: u32 = 0o037;

/// Changes within so many seconds may have one time.
const SETTLED_SECONDS: u64 = 2;

/// What identifies the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of what is at a path now; `None` is nothing.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        rustix::fs::stat(path).ok().map(|facts| Self::from_stat(&facts))
    }

    /// Whether the last change is so long ago that another after it would show: times of files go
    /// by the clock's ticks.
    #[must_use]
    pub fn is_old(&self) -> bool {
        let seconds = crate::clock::unix_milliseconds() / 1000;
        seconds.abs_diff(self.changed.0) >= SETTLED_SECONDS
    }

    #[allow(clippy::unnecessary_cast, reason = "the widths differ between architectures")]
    fn from_stat(facts: &Stat) -> Self {
        Self {
            device: facts.st_dev as u64,
            inode: facts.st_ino as u64,
            size: facts.st_size as i64,
            modified: (facts.st_mtime as i64, facts.st_mtime_nsec as i64),
            changed: (facts.st_ctime as i64, facts.st_ctime_nsec as i64),
        }
    }
}

/// Reads a file that decides who may do what.
///
/// # Errors
/// The system's; `PermissionDenied` where others could change it; `FileTooLarge`;
/// `Interrupted` where it changed while it was read.
pub fn read_trusted(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let before = check(&file, GROUP_WRITE)?;
    let mut file = std::fs::File::from(file);
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.by_ref().take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let text = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    if Stamp::from_stat(&fstat(&file)?) != Stamp::from_stat(&before) {
        let text = "it was changed while it was read (replace it by rename)";
        return Err(io::Error::new(io::ErrorKind::Interrupted, text));
    }
    Ok(bytes)
}

/// Opens the server's certificate.
///
/// # Errors
/// As [`read_trusted`].
pub fn open_certificate(path: &Path) -> io::Result<OwnedFd> {
    let file = open(path)?;
    check(&file, GROUP_WRITE)?;
    Ok(file)
}

/// Opens the server's private key.
///
/// # Errors
/// As [`read_trusted`], and where others could read it.
pub fn open_private_key(path: &Path) -> io::Result<OwnedFd> {
    let file = open(path)?;
    if check(&file, GROUP_WRITE)?.st_mode & KEY_TOO_OPEN != 0 {
        let text = "others can read this private key (mode must be 0600, or 0640)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(file)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Checks a program that this process is to start: a file that nobody else can change. It need not be readable.
///
/// # Errors
/// As [`read_trusted`].
pub fn check_program(path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    check(&file, GROUP_WRITE).map(|_| ())
}

/// Checks an open directory that decides who may do what: as a file of that kind.
///
/// # Errors
/// The system's; `PermissionDenied` where others could change it.
pub fn check_directory(directory: &OwnedFd) -> io::Result<()> {
    let facts = fstat(directory)?;
    check_hands(&facts, GROUP_WRITE)
}

/// A regular file of root's or the invoking user's that nobody else can change. Without root a
/// group may write it: it is often the user's own.
fn check(file: &OwnedFd, group_write: u32) -> io::Result<Stat> {
    let facts = fstat(file)?;
    if !FileType::from_raw_mode(facts.st_mode).is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    check_hands(&facts, group_write)?;
    Ok(facts)
}

fn check_hands(facts: &Stat, group_write: u32) -> io::Result<()> {
    let mine = rustix::process::geteuid();
    let denied = |text: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    if facts.st_uid != 0 && facts.st_uid != mine.as_raw() {
        return denied(format!("it belongs to uid {}, who could change it", facts.st_uid));
    }
    let too_open = if mine.is_root() { OTHERS_WRITE | group_write } else { OTHERS_WRITE };
    if facts.st_mode & too_open != 0 {
        return denied("others than its owner may write in it".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
