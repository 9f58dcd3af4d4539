//! `nesssi.toml`, as written and as meant.
//!
//! [`parse`] reads the text and gives either a [`Config`] with every default filled in and every
//! path absolute, or every [`Mistake`] with its file and line. It opens nothing and looks nothing
//! up: whether a file or an account exists is found out by whoever uses it.
#![forbid(unsafe_code)]

mod batch;
mod front;
mod keys;
mod levels;
mod meant;
mod sections;
mod shell;
mod trees;

use std::fmt;

pub use batch::{
    AskedFor, BATCH_CPUS_MAX, BATCH_DIRECTIVES_MAX, BATCH_MEMORY_MIB_MAX, BATCH_SYSTEMS_MAX, Batch,
    BatchSystem, DIALECTS, LOCAL_BATCH, LocalBatch,
};
pub use front::{CertificateForm, Front, FrontHeader, FrontWay};
pub use keys::KEYS;
pub use levels::default_limits;
pub use meant::{
    AccessLogTo, Bounds, Config, JobKeys, Missing, PolicyKeys, Sandboxes, Server, Services,
};
pub use shell::{SHELL_COMMANDS_MAX, SHELL_WORD_BYTES_MAX, SHELL_WORDS_MAX, Shell};
pub use trees::{TREES_MAX, Tree};

/// Where the configuration is looked for when nobody says.
pub const DEFAULT_PATH: &str = "/etc/nesssi/nesssi.toml";

/// A mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named to [`parse`].
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// Reads a configuration. `path` is the file's, for messages; relative paths in it resolve against
/// that file's directory.
///
/// # Errors
/// Every mistake, in the order of lines.
pub fn parse(text: &str, path: &str) -> Result<Config, Vec<Mistake>> {
    sections::read(text, path)
}

#[cfg(test)]
mod tests;
