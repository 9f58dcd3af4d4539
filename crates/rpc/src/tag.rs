//! The tag by which a client knows its own call again.

use std::fmt;

use crate::{Fault, Value};

#[cfg(test)]
mod tests;

/// Longest client tag, in bytes.
pub const CLIENT_TAG_BYTES_MAX: usize = 128;

/// The member of a call's last parameter that holds its tag, where no header does.
pub const CLIENT_TAG_MEMBER: &str = "nesssi_client_tag";

/// Characters of the alphabet of base64url that hold 128 bits, and hexadecimal digits that do.
const UNGUESSABLE_CHARS_MIN: usize = 22;
const UNGUESSABLE_HEX_MIN: usize = 32;

/// A client tag is the name that a client gives to a call, so that the same call sent again is known:
/// 1 to 128 printable characters of ASCII without blanks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientTag(Box<str>);

/// The text is no client tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client tag is 1 to 128 printable characters of ASCII without blanks")]
pub struct ClientTagError;

impl ClientTag {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// [`ClientTagError`] for an empty or overlong text, or one with other characters.
    pub fn parse(text: &str) -> Result<Self, ClientTagError> {
        let is_good = (1..=CLIENT_TAG_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_good { Ok(Self(text.into())) } else { Err(ClientTagError) }
    }

    /// The tag as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is long enough for 128 random bits: 22 characters of letters, digits, `-` and `_`, or
    /// 32 where all of them are hexadecimal digits (and dashes, as in a UUID, which do not count).
    #[must_use]
    pub fn may_be_unguessable(&self) -> bool {
        let is_hex = self.0.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if is_hex {
            let digits = self.0.bytes().filter(u8::is_ascii_hexdigit).count();
            return digits >= UNGUESSABLE_HEX_MIN;
        }
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        self.0.bytes().filter(is_plain).count() >= UNGUESSABLE_CHARS_MIN
    }

    /// Takes a tag out of a call's parameters: the member [`CLIENT_TAG_MEMBER`] of the last one, if
    /// that is a struct. A struct that is empty without it goes too.
    ///
    /// # Errors
    /// -32602 where that member is no tag.
    pub fn take(params: &mut Vec<Value>) -> Result<Option<Self>, Fault> {
        let Some(Value::Struct(members)) = params.last_mut() else { return Ok(None) };
        let Some(value) = members.remove(CLIENT_TAG_MEMBER) else { return Ok(None) };
        let is_empty = members.is_empty();
        let tag = value.as_str().and_then(|text| Self::parse(text).ok());
        let tag = tag.ok_or_else(|| {
            Fault::invalid_params(format!("{CLIENT_TAG_MEMBER}: {ClientTagError}"))
        })?;
        if is_empty {
            params.pop();
        }
        Ok(Some(tag))
    }
}

/// Who knows an anonymous caller's tag may have his answer: it stands in no log.
impl fmt::Debug for ClientTag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientTag")
    }
}
