//! The command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// What the process was asked to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Which of its two lives.
    pub mode: Mode,
}

/// The two lives of the binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Say whether the system has what is needed.
    Check,
    /// Be an account's jobmanager.
    Serve {
        /// The account's name, for the log.
        account: String,
        /// Absolute path of the account's directory of sandboxes, as jobs see it.
        sandboxes: PathBuf,
        /// The trees that may be read, by name.
        trees: Vec<(String, PathBuf)>,
    },
}

/// A command line that nobody meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Not one of the two forms.
    #[error(
        "usage: nesssi-jobmanager --check | \
         --account NAME --sandboxes DIRECTORY [--tree NAME=DIRECTORY]..."
    )]
    Usage,
    /// A directory is relative.
    #[error("--sandboxes and --tree need absolute paths")]
    NotAbsolute,
}

impl Arguments {
    /// Reads the command line, the program's own name left out.
    ///
    /// # Errors
    /// [`ArgumentsError`].
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, ArgumentsError> {
        let mut words = words.into_iter();
        let (mut account, mut sandboxes, mut check) = (None, None, false);
        let mut trees = Vec::new();
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--check") => check = true,
                Some("--account") => {
                    account = words.next().and_then(|word| word.into_string().ok())
                }
                Some("--sandboxes") => sandboxes = words.next().map(PathBuf::from),
                Some("--tree") => {
                    let tree = words.next().and_then(|word| named(&word));
                    trees.push(tree.ok_or(ArgumentsError::Usage)?);
                }
                _ => return Err(ArgumentsError::Usage),
            }
        }
        match (check, account, sandboxes) {
            (true, _, _) => Ok(Self { mode: Mode::Check }),
            (false, Some(account), Some(sandboxes))
                if sandboxes.is_absolute() && trees.iter().all(|(_, path)| path.is_absolute()) =>
            {
                Ok(Self { mode: Mode::Serve { account, sandboxes, trees } })
            }
            (false, Some(_), Some(_)) => Err(ArgumentsError::NotAbsolute),
            _ => Err(ArgumentsError::Usage),
        }
    }
}

/// A name and a path with `=` between: a name has none.
fn named(word: &OsStr) -> Option<(String, PathBuf)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, path) = bytes.split_at_checked(at)?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    Some((name.to_owned(), PathBuf::from(OsStr::from_bytes(path.get(1..)?))))
}

#[cfg(test)]
mod tests;
