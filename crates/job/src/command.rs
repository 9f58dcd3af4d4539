//! A command is what a job runs: an argument vector, or an old service's shell text.

use serde::{Deserialize, Serialize};

/// Longest single argument, as Linux has it (`MAX_ARG_STRLEN`), its NUL not counted.
pub const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;

/// Longest command altogether. A record between processes holds it with room for the environment.
pub const ARGUMENTS_BYTES_MAX: usize = 136 * 1024;

/// Most arguments, the program included.
pub const ARGUMENTS_MAX: usize = 4096;

/// What a job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Program and arguments, given to the system as they are.
    Argv(Vec<Vec<u8>>),
    /// Text for `/bin/sh -c`: old services alone, where the manifest says `shell_commands = true`.
    Shell(String),
}

/// A command that the system could not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no program.
    #[error("the command is empty")]
    Empty,
    /// An argument holds a NUL byte.
    #[error("an argument of the command holds a NUL byte")]
    Nul,
    /// One argument is over [`ARGUMENT_BYTES_MAX`].
    #[error("an argument of the command is longer than {ARGUMENT_BYTES_MAX} bytes")]
    ArgumentTooLong,
    /// All together are over [`ARGUMENTS_BYTES_MAX`].
    #[error("the command is longer than {ARGUMENTS_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`ARGUMENTS_MAX`].
    #[error("the command has more than {ARGUMENTS_MAX} arguments")]
    TooMany,
}

impl Command {
    /// Whether the system can take this command.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), CommandError> {
        match self {
            Self::Shell(text) => check_all(std::iter::once(text.as_bytes())),
            Self::Argv(argv) if argv.len() > ARGUMENTS_MAX => Err(CommandError::TooMany),
            Self::Argv(argv) => check_all(argv.iter().map(Vec::as_slice)),
        }
    }
}

fn check_all<'a>(arguments: impl Iterator<Item = &'a [u8]>) -> Result<(), CommandError> {
    let mut total = 0;
    let mut program = None;
    for argument in arguments {
        program = program.or(Some(argument));
        if argument.contains(&0) {
            return Err(CommandError::Nul);
        }
        if argument.len() > ARGUMENT_BYTES_MAX {
            return Err(CommandError::ArgumentTooLong);
        }
        total += argument.len() + 1;
    }
    match program {
        None | Some([]) => Err(CommandError::Empty),
        Some(_) if total > ARGUMENTS_BYTES_MAX => Err(CommandError::TooLong),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
