//! A batch id is the name that a batch system gives to a job.

use std::fmt;

/// Longest batch id.
pub const BATCH_ID_BYTES_MAX: usize = 255;

/// Text that is no batch id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchIdError {
    /// It names an array of jobs, which NESSSI neither starts nor follows.
    #[error("the batch id is that of a job array")]
    Array,
    /// Anything else.
    #[error(
        "a batch id is a number, with a server's name behind a dot where the batch system has one"
    )]
    Malformed,
}

/// Digits, and for PBS `.server`: fit to be an argument of any command, by its letters alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(String);

impl BatchId {
    /// Reads a batch id of any dialect.
    ///
    /// # Errors
    /// [`BatchIdError`].
    pub fn parse(text: &str) -> Result<Self, BatchIdError> {
        let (number, server) = match text.split_once('.') {
            Some((number, server)) => (number, Some(server)),
            None => (text, None),
        };
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(number) || text.len() > BATCH_ID_BYTES_MAX || number.len() > 19 {
            let (head, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
            let array = digits(head) && (rest.starts_with('[') || rest.starts_with('_'));
            return Err(if array { BatchIdError::Array } else { BatchIdError::Malformed });
        }
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        match server {
            None => Ok(Self(text.to_owned())),
            Some(name)
                if name.starts_with(|first: char| first.is_ascii_alphanumeric())
                    && name.bytes().all(letter) =>
            {
                Ok(Self(text.to_owned()))
            }
            Some(_) => Err(BatchIdError::Malformed),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has a server's name, as those of PBS have.
    pub(super) fn has_server(&self) -> bool {
        self.0.contains('.')
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
