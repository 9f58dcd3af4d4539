//! A session id is a capability: whoever holds it may read the sandbox.

use std::fmt;
use std::hash::{Hash, Hasher};

use subtle::ConstantTimeEq;
use uuid::Uuid;

/// Digits of a session id.
pub const SESSION_DIGITS: usize = 32;

/// Digits that logs may show.
const SHORT_DIGITS: usize = 8;

/// Text that is no session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session id is {SESSION_DIGITS} lowercase hexadecimal digits")]
pub struct SessionIdError;

/// 32 lowercase hexadecimal digits, compared in constant time; printed, it shows its first 8 alone.
#[derive(Clone)]
pub struct SessionId([u8; SESSION_DIGITS]);

impl SessionId {
    /// A new id: a random (version 4) UUID in simple form.
    #[must_use]
    pub fn random() -> Self {
        let mut digits = [0; SESSION_DIGITS];
        Uuid::new_v4().simple().encode_lower(&mut digits);
        Self(digits)
    }

    /// Reads an id.
    ///
    /// # Errors
    /// [`SessionIdError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, SessionIdError> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let bytes = <[u8; SESSION_DIGITS]>::try_from(text.as_bytes());
        bytes.ok().filter(|_| digits).map(Self).ok_or(SessionIdError)
    }

    /// The first 8 digits, for logs.
    #[must_use]
    pub fn short(&self) -> &str {
        self.reveal().get(..SHORT_DIGITS).unwrap_or_default()
    }

    /// All digits: for the holder, for the journal and for the directory's name; never for a log.
    #[must_use]
    pub fn reveal(&self) -> &str {
        // They are digits, which are text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SessionId {}

impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.short())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SessionId({}..)", self.short())
    }
}

#[cfg(test)]
mod tests;
