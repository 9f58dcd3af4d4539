//! A leaf is a cgroup (version 2) for the processes of one job or one service worker.
//!
//! All that a leaf needs is in every cgroup v2, without a controller: `cpu.stat` counts what all ran in
//! it have used, `cgroup.kill` kills all at once, however they forked, `cgroup.events` says when none is left. The
//! directory and `cgroup.procs` stay root's: processes enter through the monitor alone, and cannot leave.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nesssi_privsep::messages::LeafFacts;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use sha2::{Digest, Sha256};

/// Longest name of a leaf.
pub const NAME_BYTES_MAX: usize = 32;
/// Longest file of a cgroup that is read.
const FILE_BYTES_MAX: usize = 4096;

/// The name of a leaf: `j` (job) or `w` (worker), then a-z, 0-9 and `-`; 32 characters at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafName(String);

impl LeafName {
    /// Reads a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let good =
            text.len() <= NAME_BYTES_MAX && text.starts_with(['j', 'w']) && text.bytes().all(fits);
        good.then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a service worker's, who does not outlive the gatekeeper that it serves.
    #[must_use]
    pub fn is_worker(&self) -> bool {
        self.0.starts_with('w')
    }
}

/// The cgroup that holds this instance's leaves.
#[derive(Debug)]
pub struct Leaves {
    directory: OwnedFd,
    path: PathBuf,
}

/// What a jobmanager is handed of a new leaf.
#[derive(Debug)]
pub struct LeafHandles {
    /// `cpu.stat`, for reading.
    pub cpu_stat: OwnedFd,
    /// `cgroup.kill`, for writing.
    pub kill: OwnedFd,
    /// `cgroup.events`, for reading and polling.
    pub events: OwnedFd,
}

impl Leaves {
    /// Finds cgroup v2 and makes this instance's cgroup in it. An instance is told from another by its
    /// state directory.
    ///
    /// # Errors
    /// Why there are no leaves on this machine.
    pub fn open(state_directory: &std::path::Path) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let root = find_cgroup2(&mounts)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "cgroup v2 is not mounted"))?;
        let digest = Sha256::digest(state_directory.as_os_str().as_encoded_bytes());
        let instance: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let path = root.join(format!("nesssi-{instance}"));
        match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let leaves = Self { directory: rustix::fs::open(&path, flags, Mode::empty())?, path };
        // `cgroup.kill` came with Linux 5.14.
        leaves.file("cgroup.kill", OFlags::WRONLY)?;
        Ok(leaves)
    }

    /// Where it is, for the log.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Removes this instance's cgroup, if no leaf is left in it.
    ///
    /// # Errors
    /// The system's: `ResourceBusy` while jobs go on.
    pub fn close(&self) -> io::Result<()> {
        fs::remove_dir(&self.path)
    }

    /// Makes a leaf.
    ///
    /// # Errors
    /// `AlreadyExists`, and the system's.
    pub fn make(&self, name: &LeafName) -> io::Result<LeafHandles> {
        mkdirat(&self.directory, name.as_str(), Mode::from_raw_mode(0o755))?;
        let handles = || {
            Ok(LeafHandles {
                cpu_stat: self.leaf_file(name, "cpu.stat", OFlags::RDONLY)?,
                kill: self.leaf_file(name, "cgroup.kill", OFlags::WRONLY)?,
                events: self.leaf_file(name, "cgroup.events", OFlags::RDONLY)?,
            })
        };
        handles().inspect_err(|_| {
            self.remove(name).unwrap_or_default();
        })
    }

    /// Puts a process into a leaf.
    ///
    /// # Errors
    /// The system's.
    pub fn place(&self, name: &LeafName, pid: i32) -> io::Result<()> {
        let file = self.leaf_file(name, "cgroup.procs", OFlags::WRONLY)?;
        rustix::io::write(file, pid.to_string().as_bytes())?;
        Ok(())
    }

    /// What a leaf has used and holds; `None` is no such leaf.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, name: &LeafName) -> io::Result<Option<LeafFacts>> {
        let stat = match self.leaf_file(name, "cpu.stat", OFlags::RDONLY) {
            Ok(file) => read_text(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let events = read_text(&self.leaf_file(name, "cgroup.events", OFlags::RDONLY)?)?;
        Ok(Some(LeafFacts {
            cpu_usec: key_value(&stat, "usage_usec").unwrap_or(0),
            populated: key_value(&events, "populated") != Some(0),
        }))
    }

    /// Kills all in a leaf, and removes it once it is empty. Answers what it held before it was removed.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&self, name: &LeafName) -> io::Result<Option<LeafFacts>> {
        let before = self.read(name)?;
        if before.as_ref().is_some_and(|facts| facts.populated) {
            rustix::io::write(self.leaf_file(name, "cgroup.kill", OFlags::WRONLY)?, b"1")?;
        }
        let facts = self.read(name)?;
        if facts.as_ref().is_some_and(|facts| !facts.populated) {
            match self.remove(name) {
                // A last process is not yet reaped away: the next asking finds it gone.
                Err(error) if error.raw_os_error() == Some(libc_ebusy()) => {
                    return Ok(facts.map(|facts| LeafFacts { populated: true, ..facts }));
                }
                answer => answer?,
            }
        }
        Ok(facts)
    }

    /// Every leaf there is.
    ///
    /// # Errors
    /// The system's.
    pub fn list(&self) -> io::Result<Vec<LeafName>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            let entry = entry?;
            if entry.file_type() == rustix::fs::FileType::Directory {
                names.extend(entry.file_name().to_str().ok().and_then(LeafName::parse));
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &LeafName) -> io::Result<()> {
        Ok(unlinkat(&self.directory, name.as_str(), AtFlags::REMOVEDIR)?)
    }

    fn leaf_file(&self, name: &LeafName, file: &str, flags: OFlags) -> io::Result<OwnedFd> {
        self.file(&format!("{}/{file}", name.as_str()), flags)
    }

    fn file(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.directory, path, flags, Mode::empty())?)
    }
}

fn libc_ebusy() -> i32 {
    rustix::io::Errno::BUSY.raw_os_error()
}

fn read_text(file: &OwnedFd) -> io::Result<String> {
    let mut bytes = vec![0; FILE_BYTES_MAX];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut bytes))?;
    bytes.truncate(count);
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The number of a line `key number`.
fn key_value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The mount point of cgroup v2 in the text of `/proc/self/mountinfo` (proc(5)).
fn find_cgroup2(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        if after.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        let (_root, point) = (fields.next()?, fields.next()?);
        Some(PathBuf::from(unescape(point)))
    })
}

/// mountinfo writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                out.push(char::from(code));
                out.push_str(rest);
            }
            _ => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
