//! A version: the text of a service's Python modules as they were when the service was taken up.
//!
//! Workers are given it as an open file, so that all of them run the same code whatever lies in the folder by
//! then. It is one line of JSON whose `files` are pairs of a name and a number of bytes, and after it those bytes;
//! a line of JSON with what is known of it may stand before (`python/nesssi/modules.py` is the reader).

use serde::{Deserialize, Serialize};

/// Most bytes of all modules of one service.
pub const MODULES_BYTES_MAX: usize = 8 << 20;
/// Most modules of one service.
pub const MODULES_MAX: usize = 2000;
/// Most bytes of the list of their names.
const HEAD_BYTES_MAX: usize = 512 << 10;
/// Most bytes of what is known of a version.
const FACTS_BYTES_MAX: usize = 256 << 10;
/// Most bytes of a version as it is kept.
pub const VERSION_BYTES_MAX: usize = FACTS_BYTES_MAX + HEAD_BYTES_MAX + MODULES_BYTES_MAX;

/// Gathers modules.
#[derive(Debug, Default)]
pub struct Modules {
    files: Vec<(String, usize)>,
    bytes: Vec<u8>,
}

#[derive(Serialize)]
struct Head<'a> {
    files: &'a [(String, usize)],
}

/// What is known of a version that is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionFacts {
    /// The service's dotted name.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// The text of its `service.toml` then.
    pub manifest: Option<String>,
    /// How it described itself then.
    pub description: String,
    /// SHA-256 of the folder's code then, as 64 hexadecimal digits.
    pub digest: String,
    /// SHA-256 of the modules as they are kept, likewise.
    pub modules: String,
}

impl Modules {
    /// Whether a file of this name is a module.
    #[must_use]
    pub fn is_module(name: &str) -> bool {
        name.ends_with(".py")
    }

    /// Adds a module.
    ///
    /// # Errors
    /// Which bound there is no room under, in words.
    pub fn add(&mut self, name: &str, text: &[u8]) -> Result<(), String> {
        if self.files.len() >= MODULES_MAX {
            return Err(format!("it has more than {MODULES_MAX} modules"));
        }
        if self.bytes.len().saturating_add(text.len()) > MODULES_BYTES_MAX {
            return Err(format!("its modules have more than {MODULES_BYTES_MAX} bytes"));
        }
        self.files.push((name.to_owned(), text.len()));
        self.bytes.extend_from_slice(text);
        Ok(())
    }

    /// The version's bytes.
    ///
    /// # Errors
    /// As [`Modules::add`], of the names.
    pub fn finish(self) -> Result<Vec<u8>, String> {
        let head = serde_json::to_vec(&Head { files: &self.files });
        let mut version = head.map_err(|error| error.to_string())?;
        if version.len() >= HEAD_BYTES_MAX {
            return Err(format!("the names of its modules have more than {HEAD_BYTES_MAX} bytes"));
        }
        version.push(b'\n');
        version.extend_from_slice(&self.bytes);
        Ok(version)
    }
}

impl VersionFacts {
    /// The line that stands before the modules.
    ///
    /// # Errors
    /// Where there is too much, in words.
    pub fn to_line(&self) -> Result<Vec<u8>, String> {
        let mut line = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        line.push(b'\n');
        if line.len() > FACTS_BYTES_MAX {
            return Err(format!("what it says of itself has more than {FACTS_BYTES_MAX} bytes"));
        }
        Ok(line)
    }

    /// Reads a version that was kept: what is known of it, and its modules.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(version: &[u8]) -> Result<(Self, &[u8]), String> {
        let end = version.iter().take(FACTS_BYTES_MAX).position(|byte| *byte == b'\n');
        let (line, modules) = version.split_at(end.ok_or("it has no first line")? + 1);
        let facts = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        Ok((facts, modules))
    }
}

#[cfg(test)]
mod tests;
