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
#![forbid(unsafe_code)]

mod attribute;
mod bytes;
mod oneline;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use attribute::{Attribute, AttributeType, OID_BYTES_MAX, Rdn};

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
    #[error("expected TYPE= at byte {at}")]
    NoType {
        /// Where.
        at: usize,
    },
    /// A type that no certificate's name is printed with.
    #[error(
        "unknown attribute type {name:?} at byte {at} (if it belongs to the value before it, write '\\/' or '\\+' for the '/' or '+')"
    )]
    UnknownType {
        /// The type as it was written.
        name: String,
        /// Where.
        at: usize,
    },
    /// A `\` with nothing behind it, or a `\x` without two hexadecimal digits.
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
            Self::NoType { at }
            | Self::UnknownType { at, .. }
            | Self::BadEscape { at }
            | Self::ControlByte { at, .. } => Some(*at),
            Self::Empty | Self::TooLong(_) | Self::NotBytes(_) => None,
        }
    }
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MatchingKey(SubjectDn);

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
            && self
                .rdns()
                .iter()
                .zip(other.rdns())
                .all(|(mine, theirs)| mine.matching() == theirs.matching())
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
        MatchingKey(Self::of(self.rdns().iter().map(Rdn::matching).collect()))
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
