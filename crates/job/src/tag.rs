//! A tag is the random name by which a batch system knows a job; it says nothing of the session.

use std::fmt;

/// Hexadecimal digits of a tag.
pub const TAG_DIGITS: usize = 16;

/// Text that is no tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag is {TAG_DIGITS} lowercase hexadecimal digits")]
pub struct TagError;

/// [`TAG_DIGITS`] lowercase hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag([u8; TAG_DIGITS]);

impl Tag {
    /// The tag of eight bytes, which the caller takes from the system's random source.
    #[must_use]
    pub fn from_bytes(random: [u8; TAG_DIGITS / 2]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
        let mut digits = random.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        Self(std::array::from_fn(|_| digits.next().unwrap_or(b'0')))
    }

    /// Reads a tag.
    ///
    /// # Errors
    /// [`TagError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let bytes = <[u8; TAG_DIGITS]>::try_from(text.as_bytes());
        bytes.ok().filter(|_| digits).map(Self).ok_or(TagError)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // They are digits, which are text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tag({self})")
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}
