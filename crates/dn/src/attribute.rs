//! Attributes and their types. A *type* says what a value is (`CN`, a common name); in a
//! certificate it is an OID, in text OpenSSL's short name.

use std::borrow::Cow;

use crate::{ATTRIBUTES_MAX, DnError, VALUE_BYTES_MAX};

/// OID and OpenSSL's short name of every type that is met in the names of certificates,
/// the commonest first.
const TYPES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.9", "street"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.16", "postalAddress"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.18", "postOfficeBox"),
    ("2.5.4.20", "telephoneNumber"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.72", "role"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.3", "mail"),
    ("0.9.2342.19200300.100.1.9", "host"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
    ("1.2.840.113549.1.9.8", "unstructuredAddress"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];

/// How long an OID may be, written with dots.
pub const OID_BYTES_MAX: usize = 64;

/// Other spellings in gridmaps, and the short name each stands for.
const ALIASES: &[(&str, &str)] =
    &[("E", "emailAddress"), ("Email", "emailAddress"), ("USERID", "UID")];

/// OpenSSL's long names and Java's words, which are met in the form of RFC 4514, and the short names.
const LONG_NAMES: &[(&str, &str)] = &[
    ("commonName", "CN"),
    ("surname", "SN"),
    ("countryName", "C"),
    ("localityName", "L"),
    ("stateOrProvinceName", "ST"),
    ("streetAddress", "street"),
    ("organizationName", "O"),
    ("organizationalUnitName", "OU"),
    ("givenName", "GN"),
    ("domainComponent", "DC"),
    ("rfc822Mailbox", "mail"),
    ("T", "title"),
    ("DNQ", "dnQualifier"),
];

/// What a value is, in its one spelling: OpenSSL's short name, or the dotted OID where there is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeType(Cow<'static, str>);

impl AttributeType {
    /// The type with this dotted OID, as certificates name it; `None` if that is no OID, or one of
    /// more than [`OID_BYTES_MAX`] bytes.
    #[must_use]
    pub fn from_oid(dotted: &str) -> Option<Self> {
        if dotted.len() > OID_BYTES_MAX || !is_dotted_oid(dotted) {
            return None;
        }
        let short = TYPES.iter().find(|(oid, _)| *oid == dotted);
        Some(Self(short.map_or_else(|| dotted.to_owned().into(), |(_, short)| (*short).into())))
    }

    /// The type that this word names in a one-line form, whatever its case: a short name, one of
    /// Globus's other spellings, or a dotted OID.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        if is_dotted_oid(word) {
            return Self::from_oid(word);
        }
        let short = TYPES.iter().find(|(_, short)| short.eq_ignore_ascii_case(word));
        let short = short.map(|(_, short)| *short).or_else(|| stands_for(ALIASES, word));
        short.map(|short| Self(short.into()))
    }

    /// The type that this word names in the form of RFC 4514: the same, OpenSSL's long names and
    /// Java's words, and `OID.` before an OID as RFC 1779 wrote it.
    pub(crate) fn from_rfc4514_word(word: &str) -> Option<Self> {
        match word.split_at_checked(4) {
            Some((head, oid)) if head.eq_ignore_ascii_case("OID.") => Self::from_oid(oid),
            _ => Self::from_word(stands_for(LONG_NAMES, word).unwrap_or(word)),
        }
    }

    /// Whether it has no name but its OID.
    pub(crate) fn is_oid(&self) -> bool {
        self.0.starts_with(|c: char| c.is_ascii_digit())
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Every word that names a type.
#[cfg(test)]
pub(crate) fn names() -> Vec<&'static str> {
    let of = |list: &[(&'static str, &'static str)]| {
        list.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let shorts = TYPES.iter().map(|(_, short)| *short).collect();
    [of(TYPES), shorts, of(ALIASES), of(LONG_NAMES)].concat()
}

fn stands_for(list: &[(&str, &'static str)], word: &str) -> Option<&'static str> {
    list.iter().find(|(other, _)| other.eq_ignore_ascii_case(word)).map(|(_, short)| *short)
}

/// Whether `word` is numbers joined by dots, two at least, without leading zeros.
fn is_dotted_oid(word: &str) -> bool {
    let number = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_digit())
            && !part.is_empty()
            && (part == "0" || !part.starts_with('0'))
    };
    word.contains('.') && word.split('.').all(number)
}

/// One type and its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    kind: AttributeType,
    value: Vec<u8>,
}

impl Attribute {
    /// An attribute. `value` is UTF-8 where the certificate's encoding says what its characters
    /// are, and the certificate's own bytes where it does not.
    ///
    /// # Errors
    /// [`DnError::TooLong`] over [`VALUE_BYTES_MAX`].
    pub fn new(kind: AttributeType, value: Vec<u8>) -> Result<Self, DnError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(DnError::TooLong("VALUE_BYTES_MAX"));
        }
        Ok(Self { kind, value })
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> &AttributeType {
        &self.kind
    }

    /// The value's bytes.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// One step of a name: a set of attributes, nearly always one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rdn {
    attributes: Vec<Attribute>, // sorted: a set has no order
}

impl Rdn {
    /// An RDN of these attributes, in whatever order.
    ///
    /// # Errors
    /// [`DnError::Empty`] without any, [`DnError::TooLong`] over [`ATTRIBUTES_MAX`].
    pub fn new(mut attributes: Vec<Attribute>) -> Result<Self, DnError> {
        if attributes.is_empty() {
            return Err(DnError::Empty);
        }
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(DnError::TooLong("ATTRIBUTES_MAX"));
        }
        attributes.sort();
        Ok(Self { attributes })
    }

    /// The attributes, sorted.
    #[must_use]
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// Whether both are the same but for the case of ASCII letters.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        match (self.attributes.as_slice(), other.attributes.as_slice()) {
            ([mine], [theirs]) => {
                mine.kind == theirs.kind && mine.value.eq_ignore_ascii_case(&theirs.value)
            }
            (mine, theirs) => mine.len() == theirs.len() && self.folded() == other.folded(),
        }
    }

    /// The same with all ASCII letters of the values in lower case, sorted anew.
    pub(crate) fn folded(&self) -> Self {
        let fold = |attribute: &Attribute| Attribute {
            kind: attribute.kind.clone(),
            value: attribute.value.to_ascii_lowercase(),
        };
        let mut attributes: Vec<_> = self.attributes.iter().map(fold).collect();
        attributes.sort();
        Self { attributes }
    }
}
