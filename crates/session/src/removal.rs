//! Removal of a whole tree by directory handles alone.
//!
//! Whoever swaps a directory for a link while we are at it gains nothing: a directory is entered
//! by a handle that was opened without following, and a name is unlinked where it stands. A tree
//! of any depth is removed with a bounded number of handles: what lies too deep is moved up first.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::sandbox::SandboxError;
use crate::served::{kind, open_beneath, open_raw, own_name};

/// Most names that [`Left`] tells.
pub const LEFT_MAX: usize = 16;

/// Directories open at once.
const DEPTH_MAX: usize = 32;

/// Walks that moved nothing up and yet left something, since someone may be writing still.
const ROUNDS_MAX: usize = 4;

/// Walks altogether: a tree of a million levels is gone by then.
const PASSES_MAX: usize = 32 * 1024;

/// Most names that a sum of bytes looks at.
const SUM_NAMES_MAX: usize = 1_000_000;

/// Deepest directory that a sum of bytes enters.
const SUM_DEPTH_MAX: usize = 64;

/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// What could not be removed: names and reasons, at most [`LEFT_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Left {
    /// The names, relative to the sandbox, empty for the sandbox itself, and why.
    pub names: Vec<(String, Errno)>,
}

impl fmt::Display for Left {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("could not be removed:")?;
        for (name, errno) in &self.names {
            write!(out, " {:?} ({errno})", if name.is_empty() { "." } else { name })?;
        }
        Ok(())
    }
}

/// Removes `name` in `parent` with all in it, or what can be removed until a time.
pub(crate) fn remove_tree(
    parent: BorrowedFd<'_>,
    name: &[u8],
    until: Option<Instant>,
) -> Result<(), Left> {
    let name =
        CString::new(name).map_err(|_| Left { names: vec![(String::new(), Errno::INVAL)] })?;
    let mut rounds = 0;
    for _ in 0..PASSES_MAX {
        let mut pass = Pass { until, ..Pass::default() };
        match open_directory(parent, &name) {
            Ok(top) => pass.empty(&top, &top, "", 0),
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => pass.tell("", errno),
        }
        match rustix::fs::unlinkat(parent, &*name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(errno) if pass.left.is_empty() => pass.tell("", errno),
            Err(_) => {}
        }
        rounds += usize::from(pass.moved == 0);
        if rounds >= ROUNDS_MAX || pass.is_over() {
            return Err(Left { names: pass.left });
        }
    }
    Err(Left { names: vec![(String::new(), Errno::NOTEMPTY)] })
}

/// One walk over the whole tree.
#[derive(Default)]
struct Pass {
    left: Vec<(String, Errno)>,
    moved: u64,
    until: Option<Instant>,
}

impl Pass {
    /// Empties one directory; `path` names it for the report.
    fn empty(&mut self, top: &OwnedFd, directory: &OwnedFd, path: &str, depth: usize) {
        let names = match Dir::read_from(directory) {
            Ok(names) => names,
            Err(errno) => return self.tell(path, errno),
        };
        for found in names {
            let found = match found {
                Ok(found) => found,
                Err(errno) => return self.tell(path, errno),
            };
            let name = found.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if self.is_over() {
                return self.tell(path, Errno::TIMEDOUT);
            }
            let path = below(path, name);
            if let Err(errno) = self.remove(top, directory, name, &path, depth) {
                self.tell(&path, errno);
            }
        }
    }

    fn remove(
        &mut self,
        top: &OwnedFd,
        parent: &OwnedFd,
        name: &CStr,
        path: &str,
        depth: usize,
    ) -> Result<(), Errno> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno),
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        if depth >= DEPTH_MAX {
            return self.move_up(top, parent, name);
        }
        let directory = open_directory(parent.as_fd(), name)?;
        let (known, moved) = (self.left.len(), self.moved);
        self.empty(top, &directory, path, depth + 1);
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // What keeps it has been told, or the next pass will find it.
            Err(_) if self.left.len() > known || self.moved > moved => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Moves a directory that lies too deep to the top, for the next pass.
    fn move_up(&mut self, top: &OwnedFd, parent: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        loop {
            let new = format!(".removed.{}", self.moved);
            self.moved += 1;
            let flags = RenameFlags::NOREPLACE;
            let renamed = match rustix::fs::renameat_with(parent, name, top, &*new, flags) {
                // Not every file system can: what a plain rename may replace is an empty directory, which goes anyway.
                Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(parent, name, top, &*new),
                other => other,
            };
            match renamed {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                other => return other,
            }
        }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn tell(&mut self, path: &str, errno: Errno) {
        if self.left.len() < LEFT_MAX {
            self.left.push((path.to_owned(), errno));
        }
    }
}

/// Opens a directory itself, never what a link of its name points to, and gives its owner the
/// rights to empty it.
fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    let handle = open_raw(parent, path, OFlags::PATH | OFlags::DIRECTORY)?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&handle)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        // Who is not its owner may still be able to empty it: the next call will say.
        rustix::fs::chmod(own_name(&handle), mode | Mode::RWXU).unwrap_or_default();
    }
    open_raw(parent, path, OFlags::RDONLY | OFlags::DIRECTORY)
}

fn below(path: &str, name: &CStr) -> String {
    let name = name.to_string_lossy();
    if path.is_empty() { name.into_owned() } else { format!("{path}/{name}") }
}

/// Bytes on the disk of all that is in a directory; stops once there are `bytes_enough`.
pub(crate) fn used_bytes(
    directory: BorrowedFd<'_>,
    bytes_enough: u64,
) -> Result<u64, SandboxError> {
    let top = open_beneath(directory, Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut sum = Sum { bytes: 0, names: 0, enough: bytes_enough, seen: HashSet::new() };
    sum.add(&top, 0)?;
    Ok(sum.bytes)
}

struct Sum {
    bytes: u64,
    names: usize,
    enough: u64,
    seen: HashSet<u64>,
}

impl Sum {
    fn add(&mut self, directory: &OwnedFd, depth: usize) -> Result<(), SandboxError> {
        let device = rustix::fs::fstat(directory)?.st_dev;
        for found in Dir::read_from(directory)? {
            let found = found?;
            let name = found.file_name();
            self.names += 1;
            if self.bytes >= self.enough || self.names > SUM_NAMES_MAX {
                return Ok(());
            }
            if name == c"." || name == c".." {
                continue;
            }
            let Ok(facts) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if facts.st_dev != device || (facts.st_nlink > 1 && !self.is_first(&facts)) {
                continue;
            }
            let blocks = u64::try_from(facts.st_blocks).unwrap_or(0);
            self.bytes = self.bytes.saturating_add(blocks.saturating_mul(BLOCK_BYTES));
            if kind(&facts) == FileType::Directory && depth < SUM_DEPTH_MAX {
                let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                if let Ok(deeper) = open_beneath(directory.as_fd(), path, flags) {
                    // One directory that cannot be read does not hide the others.
                    self.add(&deeper, depth + 1).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// A file with several names counts once.
    fn is_first(&mut self, facts: &rustix::fs::Stat) -> bool {
        kind(facts) == FileType::Directory || self.seen.insert(facts.st_ino)
    }
}

#[cfg(test)]
mod tests;
