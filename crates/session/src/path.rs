//! A sandbox path names something inside a sandbox.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Longest path.
pub const PATH_BYTES_MAX: usize = 4000;

/// Most names in a path.
pub const PATH_PARTS_MAX: usize = 64;

/// Longest name, as Linux has it.
const PART_BYTES_MAX: usize = 255;

/// A path that names nothing that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SandboxPathError {
    /// Over [`PATH_BYTES_MAX`] or [`PATH_PARTS_MAX`], or a name over 255 bytes.
    #[error("the path is too long")]
    TooLong,
    /// A name is empty: two slashes, or one at either end.
    #[error("the path has an empty name")]
    Empty,
    /// A name begins with a dot (so `.` and `..` too).
    #[error("the path has a name that begins with a dot")]
    Hidden,
    /// A NUL byte.
    #[error("the path has a NUL byte")]
    Nul,
}

/// A relative path of plain names: none empty, none beginning with a dot, bounded. Empty is the sandbox itself.
/// Bytes, since a user may name a file anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SandboxPath(Vec<u8>);

impl SandboxPath {
    /// The sandbox itself.
    #[must_use]
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Reads a path: names with `/` between.
    ///
    /// # Errors
    /// [`SandboxPathError`], the first rule that it breaks.
    pub fn parse(path: impl AsRef<[u8]>) -> Result<Self, SandboxPathError> {
        let path = path.as_ref();
        if path.is_empty() {
            return Ok(Self::root());
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(SandboxPathError::TooLong);
        }
        for (index, part) in path.split(|byte| *byte == b'/').enumerate() {
            check_part(part)?;
            if index >= PATH_PARTS_MAX {
                return Err(SandboxPathError::TooLong);
            }
        }
        Ok(Self(path.to_owned()))
    }

    /// Whether this is the sandbox itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, empty for the sandbox itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directory that it lies in, as the system is given it, and its last name; `None` for the sandbox itself.
    pub(crate) fn split(&self) -> Option<(&Path, &OsStr)> {
        let path = Path::new(OsStr::from_bytes(&self.0));
        let name = path.file_name()?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Some((parent.unwrap_or(Path::new(".")), name))
    }

    /// What lies in a directory under a name, unless no path says so.
    pub(crate) fn below(directory: &[u8], name: &[u8]) -> Option<Self> {
        let path =
            if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() };
        Self::parse(path).ok()
    }

    /// What the system is given, relative to the sandbox.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(if self.0.is_empty() { b"." } else { &self.0 }))
    }
}

fn check_part(part: &[u8]) -> Result<(), SandboxPathError> {
    if part.is_empty() {
        Err(SandboxPathError::Empty)
    } else if part.starts_with(b".") {
        Err(SandboxPathError::Hidden)
    } else if part.contains(&0) {
        Err(SandboxPathError::Nul)
    } else if part.len() > PART_BYTES_MAX {
        Err(SandboxPathError::TooLong)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
