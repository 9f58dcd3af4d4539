//! A tag is the random name by which a batch system knows a job; it says nothing of the session.

use std::fmt;

/// Hexadecimal digits of a tag.
pub const TAG_DIGITS: usize = 16;

/// Text that is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag is {TAG_DIGITS} lowercase hexadecimal digits")]
pub struct TagError;

/// [`TAG_DIGITS`] lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

impl Tag {
    /// The tag of eight bytes, which the caller takes from the system's random source.
    #[must_use]
    pub fn from_bytes(random: [u8; TAG_DIGITS / 2]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads a tag.
    ///
    /// # Errors
    /// [`TagError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits && text.len() == TAG_DIGITS { Ok(Self(text.to_owned())) } else { Err(TagError) }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
