//! The dotted names of services.

use std::fmt;

/// Longest service name, in bytes: a method's name still fits behind it.
pub const SERVICE_NAME_BYTES_MAX: usize = 120;

/// Names that the container itself answers; no folder may take them.
pub const RESERVED_NAMES: [&str; 6] = ["system", "echo", "job", "session", "service", "vo"];

/// A service's dotted name: parts that are identifiers (`[A-Za-z_][A-Za-z0-9_]*`), joined by `.`.
///
/// A name of this type is no path, no reserved name, and safe in a log or a message to a stranger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

/// The text is no name of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceNameError {
    /// Not identifiers joined by dots, or too long.
    #[error(
        "a service name is dot-separated parts of letters, digits and '_' that do not begin with a digit, at most {SERVICE_NAME_BYTES_MAX} bytes long"
    )]
    Spelling,
    /// One of [`RESERVED_NAMES`].
    #[error("the name is taken by the container itself")]
    Reserved,
}

impl ServiceName {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// [`ServiceNameError`] for a name that no folder may have.
    pub fn parse(text: &str) -> Result<Self, ServiceNameError> {
        if text.len() > SERVICE_NAME_BYTES_MAX || !text.split('.').all(is_identifier) {
            return Err(ServiceNameError::Spelling);
        }
        if RESERVED_NAMES.contains(&text) {
            return Err(ServiceNameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `part` is a name that Python would take, in ASCII.
pub(crate) fn is_identifier(part: &str) -> bool {
    let mut bytes = part.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for ServiceName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
