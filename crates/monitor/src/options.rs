//! The command line of `nesssid`.

use std::ffi::OsString;
use std::path::PathBuf;

/// What `nesssid` is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Options {
    /// Serve.
    Run {
        /// The configuration.
        config: PathBuf,
    },
    /// Say what is wrong, and serve nothing.
    Check {
        /// The configuration.
        config: PathBuf,
    },
    /// Say which version this is.
    Version,
    /// Say how it is used.
    Help,
}

/// A command line that says nothing known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}\n{USAGE}")]
pub struct UsageError(String);

/// How it is used.
pub const USAGE: &str = "usage: nesssid [--config FILE] [--check | --version | --help]";

impl Options {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// [`UsageError`].
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut config = PathBuf::from(nesssi_config::DEFAULT_PATH);
        let mut check = false;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--config") => {
                    let file = arguments.next();
                    config = file.ok_or_else(|| UsageError("--config needs a file".into()))?.into();
                }
                Some(joined) if joined.starts_with("--config=") => {
                    config = joined.trim_start_matches("--config=").into();
                }
                Some("--check") => check = true,
                Some("--version") => return Ok(Self::Version),
                Some("--help" | "-h") => return Ok(Self::Help),
                _ => {
                    let shown = argument.to_string_lossy();
                    return Err(UsageError(format!("{shown:?} is not known")));
                }
            }
        }
        Ok(if check { Self::Check { config } } else { Self::Run { config } })
    }
}

#[cfg(test)]
mod tests;
