//! Tags: what makes it safe to send a call again.

use std::fmt;

use http::HeaderValue;
use rustls::crypto::aws_lc_rs;

use crate::error::SetupError;

#[cfg(test)]
mod tests;

/// The longest tag that a server takes.
const TAG_BYTES_MAX: usize = 128;

/// A name that the client gives a call. A server carries out the calls of one caller to one method
/// with one tag once, and gives the first answer to all of them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// A tag that nobody guesses: 128 random bits as 32 hexadecimal digits.
    ///
    /// # Errors
    /// [`SetupError::Tls`] where the system has no random numbers.
    pub fn random() -> Result<Self, SetupError> {
        let bytes: [u8; 16] = random()?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// A tag of the caller's own: 1 to 128 printable ASCII characters without blanks. Guests need one
    /// that cannot be guessed.
    ///
    /// # Errors
    /// [`SetupError::Parameters`] for any other text.
    pub fn parse(text: &str) -> Result<Self, SetupError> {
        let length_is_good = (1..=TAG_BYTES_MAX).contains(&text.len());
        if length_is_good && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        let text = "a tag is 1 to 128 printable ASCII characters without blanks";
        Err(SetupError::Parameters(text.to_owned()))
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn header(&self) -> Result<HeaderValue, SetupError> {
        HeaderValue::from_str(&self.0).map_err(|error| SetupError::Parameters(error.to_string()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    /// A guest's tag is all that keeps his answer his: no log gets it whole.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tag({}…)", self.0.get(..4).unwrap_or_default())
    }
}

/// Random bytes of the system's.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SetupError> {
    let mut bytes = [0; N];
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| SetupError::Tls(rustls::Error::FailedToGetRandomBytes))?;
    Ok(bytes)
}

/// Whether `method` is known to change nothing, so that it may be sent again without a tag.
///
/// Of other people's services only `monitor` is: by their contract it asks how a job is doing.
pub(crate) fn only_reads(method: &str) -> bool {
    const OF_SYSTEM_NOT: [&str; 3] = ["auth", "auth2", "logout"];
    match method.split_once('.') {
        Some(("system", name)) => !OF_SYSTEM_NOT.contains(&name) && name != "multicall",
        Some(("echo", _)) => true,
        Some(("job", name)) => matches!(name, "status" | "list" | "wait" | "tail"),
        Some(("session", name)) => matches!(name, "url" | "list"),
        Some(("service", name)) => matches!(name, "list" | "health" | "help"),
        Some(("access", name)) => name == "list",
        Some(("shell", name)) => name == "cmd_info",
        Some(("vo", name)) => matches!(name, "groups" | "mine" | "members" | "administrators"),
        Some(("file", name)) => {
            matches!(name, "ls" | "stat" | "size" | "find" | "read" | "md5" | "sha256")
        }
        _ => method.ends_with(".monitor"),
    }
}

/// Whether a tag can go with `method` in the head of the request: several calls in one carry their own.
pub(crate) fn takes_tag(method: &str) -> bool {
    !only_reads(method) && method != "system.multicall"
}
