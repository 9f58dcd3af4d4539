//! The command line.

use std::ffi::OsString;
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
    },
}

/// A command line that nobody meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// Not one of the two forms.
    #[error("usage: nesssi-jobmanager --check | --account NAME --sandboxes DIRECTORY")]
    Usage,
    /// The directory is relative.
    #[error("--sandboxes needs an absolute path")]
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
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--check") => check = true,
                Some("--account") => {
                    account = words.next().and_then(|word| word.into_string().ok())
                }
                Some("--sandboxes") => sandboxes = words.next().map(PathBuf::from),
                _ => return Err(ArgumentsError::Usage),
            }
        }
        match (check, account, sandboxes) {
            (true, _, _) => Ok(Self { mode: Mode::Check }),
            (false, Some(account), Some(sandboxes)) if sandboxes.is_absolute() => {
                Ok(Self { mode: Mode::Serve { account, sandboxes } })
            }
            (false, Some(_), Some(_)) => Err(ArgumentsError::NotAbsolute),
            _ => Err(ArgumentsError::Usage),
        }
    }
}

#[cfg(test)]
mod tests;
