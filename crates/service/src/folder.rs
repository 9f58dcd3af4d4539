//! A service's folder on disk: what makes a folder one, and the digest of the code that lies in it.
//!
//! Whoever finds services and whoever explains them must agree about this, so it stands here: the one
//! part of this room that reads files.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::CodeDigest;

#[cfg(test)]
mod tests;

/// The access list of a service, or of a folder of services.
pub const ACCESS_FILE: &str = ".clarens_access";
/// What a developer says of a service beside its code.
pub const MANIFEST_FILE: &str = "service.toml";
/// What makes a folder a Python package, and mostly a service.
pub const PYTHON_FILE: &str = "__init__.py";

/// Most files of one service.
const FILES_MAX: usize = 10_000;
/// Most bytes of all files of one service.
const CODE_BYTES_MAX: u64 = 256 << 20;
/// Deepest folder inside a service.
const DEPTH_MAX: usize = 32;

/// Whether a folder has an access list, be it one that cannot be read.
#[must_use]
pub fn has_access_file(folder: &Path) -> bool {
    folder.join(ACCESS_FILE).symlink_metadata().is_ok()
}

/// Whether a folder is a service: inside of another, a Python package without an access list is a part
/// of that one.
#[must_use]
pub fn is_service(folder: &Path, in_service: bool) -> bool {
    let has = |file: &str| folder.join(file).exists();
    has(MANIFEST_FILE) || (has(PYTHON_FILE) && (!in_service || has_access_file(folder)))
}

/// The digest of all code that lies in a folder, links followed, each folder once.
///
/// # Errors
/// What cannot be read, or is too much, in words.
pub fn code_digest(folder: &Path) -> Result<[u8; 32], String> {
    read_code(folder, |_, _| ())
}

/// The digest as [`code_digest`] makes it; each file that it covers goes to `take` as it was read for it.
///
/// # Errors
/// What cannot be read, or is too much, in words.
pub fn read_code(folder: &Path, mut take: impl FnMut(&str, &[u8])) -> Result<[u8; 32], String> {
    let mut collecting = Collecting::default();
    collecting.enter(folder, "", 0)?;
    let mut files = collecting.files;
    files.sort();
    let mut digest = CodeDigest::default();
    let mut left = CODE_BYTES_MAX;
    for (name, path) in files {
        let opened = open_regular(&path).map_err(|why| format!("{name}: {why}"))?;
        let Some((file, length)) = opened else { continue };
        left = left.checked_sub(length).ok_or("the folder holds too many bytes")?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        digest.add(&name, &bytes);
        take(&name, &bytes);
    }
    Ok(digest.finish())
}

/// A regular file, open, with its length; nothing if there is no such name. A FIFO is not waited for.
///
/// # Errors
/// Why it cannot be opened, in words.
pub fn open_regular(path: &Path) -> Result<Option<(File, u64)>, String> {
    let nonblock = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(nonblock.bits()).unwrap_or(0);
    match path.metadata() {
        Ok(facts) if !facts.is_file() => return Err("is no regular file".to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(_) | Err(_) => {}
    }
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| error.to_string())?;
    let facts = file.metadata().map_err(|error| error.to_string())?;
    if facts.is_file() {
        Ok(Some((file, facts.len())))
    } else {
        Err("is no regular file".to_owned())
    }
}

/// The files of the code, by their names from the folder on.
#[derive(Debug, Default)]
struct Collecting {
    files: Vec<(String, PathBuf)>,
    /// Folders met, so that none is entered twice.
    met: HashSet<(u64, u64)>,
}

impl Collecting {
    fn enter(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), String> {
        let here = folder.metadata().map(|facts| (facts.dev(), facts.ino()));
        if depth > DEPTH_MAX || !here.is_ok_and(|here| self.met.insert(here)) {
            return Ok(());
        }
        for entry in folder.read_dir().map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !CodeDigest::is_code(&name) {
                continue;
            }
            let path = entry.path();
            let name = format!("{prefix}{name}");
            // What is neither, or has vanished, is no code.
            match path.metadata() {
                Ok(facts) if facts.is_dir() => {
                    self.enter(&path, &format!("{name}/"), depth + 1)?;
                }
                Ok(facts) if facts.is_file() => self.files.push((name, path)),
                Ok(_) | Err(_) => {}
            }
            if self.files.len() > FILES_MAX {
                return Err("the folder holds too many files".to_owned());
            }
        }
        Ok(())
    }
}
