//! What a name is.
//!
//! A *subject DN* (distinguished name) is the name that a certificate gives its holder: a sequence
//! of *RDNs* (relative distinguished names), each a set of one or more *attributes* such as
//! `CN=Alice`. Names are compared as such sequences, never as text, since text can lie: in the
//! one-line form `/O=Grid/CN=x/CN=y` a common name that holds `/CN=y` looks like two RDNs.
//!
//! The one-line form is that of Globus and OpenSSL, `/O=Grid/OU=People/CN=Alice`, made from the
//! parsed sequence so that [`SubjectDn::parse_oneline`] always gives back the same name:
//! * bytes below 0x20 and above 0x7e are written `\xHH`;
//! * `\` is written `\\`;
//! * a `/` or `+` inside a value is written bare where that cannot be mistaken (`/CN=host/foo.org`),
//!   and `\/`, `\+` where an attribute's type and `=` follow, so that it would read as the next RDN;
//! * the attributes of one RDN are joined by `+`.
//!
//! Reading takes the same, and `\/`, `\+`, `\"` anywhere, as newer OpenSSL writes them.
//!
//! The other form is that of RFC 4514, `CN=Alice,OU=People,O=Grid`: [`SubjectDn::parse_rfc4514`].
//! Letters that look alike are not the same: an accented letter and the letter with its accent
//! behind it are two names, and both forms write their bytes, so that one can see it.
#![forbid(unsafe_code)]

mod attribute;
mod ber;
mod bytes;
mod oneline;
mod pattern;
mod rfc4514;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use attribute::{Attribute, AttributeType, OID_BYTES_MAX, Rdn};
pub use ber::text_from_ber;
pub use pattern::DnPattern;

/// How many RDNs a name may have.
pub const RDNS_MAX: usize = 64;
/// How many attributes one RDN may have.
pub const ATTRIBUTES_MAX: usize = 16;
/// How long one value may be, in bytes.
pub const VALUE_BYTES_MAX: usize = 4096;

/// Why something is no name. Positions are bytes from the start of what was parsed, from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnError {
    /// A name without any RDN names nobody.
    #[error("the name is empty")]
    Empty,
    /// The one-line form begins with `/`.
    #[error("a name begins with '/'")]
    NoSlash,
    /// An RDN does not begin with a type and `=`.
    #[error("expected TYPE= at byte {at}{}", advice(*joint))]
    NoType {
        /// Where.
        at: usize,
        /// The `/`, `+`, `,` or `;` before it, if it follows another.
        joint: Option<char>,
    },
    /// A type that no certificate's name is printed with.
    #[error("unknown attribute type {name:?} at byte {at}{}", advice(*joint))]
    UnknownType {
        /// The type as it was written.
        name: String,
        /// Where.
        at: usize,
        /// The `/`, `+`, `,` or `;` before it, if it follows another.
        joint: Option<char>,
    },
    /// A `\` with nothing behind it, or with what it cannot stand before.
    #[error("unfinished escape at byte {at}")]
    BadEscape {
        /// Where.
        at: usize,
    },
    /// A bare control byte; it can only be meant as `\xHH`.
    #[error("control byte 0x{byte:02x} at byte {at}")]
    ControlByte {
        /// The byte.
        byte: u8,
        /// Where.
        at: usize,
    },
    /// What RFC 4514 wants escaped.
    #[error("a {character:?} inside a value is written with a '\\' before it, at byte {at}")]
    Bare {
        /// The character.
        character: char,
        /// Where.
        at: usize,
    },
    /// A `"` without another.
    #[error("the quote at byte {at} is never closed")]
    OpenQuote {
        /// Where.
        at: usize,
    },
    /// `#` and what is no hexadecimal BER of a text.
    #[error("expected a string in hexadecimal BER behind the '#' at byte {at}")]
    BadHexValue {
        /// Where.
        at: usize,
    },
    /// A pattern with `/*` before its end.
    #[error(
        "a '/*' that stands for any further RDNs ends the pattern, at byte {at} (if it belongs to the value before it, write '\\/*')"
    )]
    StarInside {
        /// Where.
        at: usize,
    },
    /// More RDNs, attributes or bytes than the limits of this crate allow.
    #[error("the name is over a limit: {0}")]
    TooLong(&'static str),
    /// The bytes are none that [`SubjectDn::to_bytes`] writes.
    #[error("the bytes are no name: {0}")]
    NotBytes(&'static str),
}

impl DnError {
    /// Where in the text the mistake is, if it has one place.
    #[must_use]
    pub fn at(&self) -> Option<usize> {
        match self {
            Self::NoSlash => Some(0),
            Self::NoType { at, .. }
            | Self::Bare { at, .. }
            | Self::OpenQuote { at }
            | Self::BadHexValue { at }
            | Self::StarInside { at }
            | Self::UnknownType { at, .. }
            | Self::BadEscape { at }
            | Self::ControlByte { at, .. } => Some(*at),
            Self::Empty | Self::TooLong(_) | Self::NotBytes(_) => None,
        }
    }
}

/// What to do about a joint that was meant as a part of the value.
fn advice(joint: Option<char>) -> String {
    let advice =
        |joint| format!(" (if it belongs to the value before it, write '\\{joint}' for '{joint}')");
    joint.map(advice).unwrap_or_default()
}

/// A name that is a sequence of at least one RDN, within the limits of this crate.
///
/// `==` is exact, byte for byte. The gridmap and access lists are blind to case as Globus is: they
/// compare [`SubjectDn::matching_key`]s. A clone is the same name, shared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubjectDn {
    written: Arc<Written>,
}

/// A name and its one-line form, which every call's records ask for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Written {
    rdns: Vec<Rdn>,
    oneline: String,
}

/// A name as the gridmap compares it: blind to the case of ASCII letters. Attribute types have one
/// spelling each already (`E` and `Email` are `emailAddress`, `USERID` is `UID`).
///
/// Within is the one-line form of that name with all letters in lower case, which stands for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchingKey(Box<str>);

impl SubjectDn {
    /// A name of these RDNs, the outermost first.
    ///
    /// # Errors
    /// [`DnError::Empty`] without any, [`DnError::TooLong`] over [`RDNS_MAX`].
    pub fn from_rdns(rdns: Vec<Rdn>) -> Result<Self, DnError> {
        if rdns.is_empty() {
            return Err(DnError::Empty);
        }
        if rdns.len() > RDNS_MAX {
            return Err(DnError::TooLong("RDNS_MAX"));
        }
        Ok(Self::of(rdns))
    }

    fn of(rdns: Vec<Rdn>) -> Self {
        let oneline = oneline::print(&rdns);
        Self { written: Arc::new(Written { rdns, oneline }) }
    }

    /// Reads the one-line form.
    ///
    /// # Errors
    /// [`DnError`] with the byte where reading stopped.
    pub fn parse_oneline(text: &str) -> Result<Self, DnError> {
        Self::parse_oneline_bytes(text.as_bytes())
    }

    /// Reads the one-line form where it may hold bytes that are no UTF-8, as old gridmaps do.
    ///
    /// # Errors
    /// [`DnError`] with the byte where reading stopped.
    pub fn parse_oneline_bytes(text: &[u8]) -> Result<Self, DnError> {
        oneline::parse(text)
    }

    /// Reads the form of RFC 4514, `CN=Alice,O=Grid`, and what RFC 2253 and common tools write: blanks
    /// around `,`, `+` and `=`, `;` for `,`, quoted values.
    ///
    /// # Errors
    /// [`DnError`] with the byte where reading stopped.
    pub fn parse_rfc4514(text: &str) -> Result<Self, DnError> {
        rfc4514::parse(text)
    }

    /// Reads a name in either form: the one-line form begins with `/`.
    ///
    /// `C = US, CN = Alice`, the outermost RDN first as OpenSSL's `-nameopt oneline` prints it, is
    /// neither: it is read as RFC 4514's, which is another name.
    ///
    /// # Errors
    /// [`DnError`] with the byte where reading stopped.
    pub fn parse_any(text: &str) -> Result<Self, DnError> {
        if text.starts_with('/') { Self::parse_oneline(text) } else { Self::parse_rfc4514(text) }
    }

    /// The form of RFC 4514: printable ASCII, and parsed again it is the same name.
    #[must_use]
    pub fn to_rfc4514(&self) -> String {
        rfc4514::print(self.rdns())
    }

    /// The one-line form: printable ASCII, and parsed again it is the same name.
    #[must_use]
    pub fn to_oneline(&self) -> String {
        self.written.oneline.clone()
    }

    /// The form that goes over channels between processes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes::write(self)
    }

    /// Reads what [`SubjectDn::to_bytes`] writes, and nothing else.
    ///
    /// # Errors
    /// [`DnError::NotBytes`], or a limit's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DnError> {
        bytes::read(bytes)
    }

    /// Whether `other` begins with the RDNs of this name, compared as the gridmap compares.
    ///
    /// `/O=Grid/CN=Joe` is no prefix of `/O=Grid/CN=Joe Evil`: a prefix ends where an RDN ends.
    #[must_use]
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        self.rdns().len() <= other.rdns().len()
            && self.rdns().iter().zip(other.rdns()).all(|(mine, theirs)| mine.matches(theirs))
    }

    /// Whether a value holds what reads as another attribute (`/X=` or `+X=`) once it is printed
    /// without escapes, as older tools do.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.rdns()
            .iter()
            .flat_map(Rdn::attributes)
            .any(|attribute| oneline::holds_attribute(attribute.value()))
    }

    /// The RDNs, the outermost first.
    #[must_use]
    pub fn rdns(&self) -> &[Rdn] {
        &self.written.rdns
    }

    /// What to compare where case does not count.
    #[must_use]
    pub fn matching_key(&self) -> MatchingKey {
        let is_set = |rdn: &Rdn| rdn.attributes().len() > 1;
        let mut key = if self.rdns().iter().any(is_set) {
            // In lower case a set may have another order.
            oneline::print(&self.rdns().iter().map(Rdn::folded).collect::<Vec<_>>())
        } else {
            self.written.oneline.clone()
        };
        key.make_ascii_lowercase();
        MatchingKey(key.into_boxed_str())
    }
}

impl fmt::Display for SubjectDn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.written.oneline)
    }
}

impl fmt::Debug for SubjectDn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SubjectDn").field("rdns", &self.written.rdns).finish()
    }
}

/// The one-line form stands for the whole: no two names share one.
impl Hash for SubjectDn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written.oneline.hash(state);
    }
}

#[cfg(test)]
mod tests;
