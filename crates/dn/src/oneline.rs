//! The one-line form, in and out. The grammar is told at the top of the crate.

use std::fmt::Write as _;

use crate::SubjectDn;
use crate::{ATTRIBUTES_MAX, Attribute, AttributeType, DnError, OID_BYTES_MAX, RDNS_MAX, Rdn};

pub(crate) fn print(rdns: &[Rdn]) -> String {
    let bytes = |a: &Attribute| 2 + a.kind().as_str().len() + a.value().len();
    let mut out =
        String::with_capacity(rdns.iter().flat_map(Rdn::attributes).map(bytes).sum::<usize>());
    for rdn in rdns {
        let mut joint = '/';
        for attribute in rdn.attributes() {
            out.push(joint);
            out.push_str(attribute.kind().as_str());
            out.push('=');
            print_value(attribute.value(), &mut out);
            joint = '+';
        }
    }
    out
}

pub(crate) fn print_value(value: &[u8], out: &mut String) {
    let mut left = value;
    loop {
        let (run, others) = left.split_at_checked(plain_run(left)).unwrap_or_default();
        out.push_str(&String::from_utf8_lossy(run)); // it is ASCII
        let Some((&byte, rest)) = others.split_first() else { return };
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'/' | b'+' if starts_attribute(rest) => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..=0x7e => out.push(char::from(byte)),
            // Writing to a String cannot fail.
            _ => write!(out, "\\x{byte:02X}").unwrap_or_default(),
        }
        left = rest;
    }
}

/// How many bytes at the start of `text` mean themselves, wherever they stand.
fn plain_run(text: &[u8]) -> usize {
    let plain = |byte: u8| matches!(byte, 0x20..=0x7e) && !b"\\/+*".contains(&byte);
    text.iter().position(|&byte| !plain(byte)).unwrap_or(text.len())
}

/// Whether a `/` or `+` in `value` is followed by what reads as a type and `=`.
pub(crate) fn holds_attribute(value: &[u8]) -> bool {
    (0..value.len()).any(|at| {
        matches!(value.get(at), Some(b'/' | b'+'))
            && starts_attribute(value.get(at + 1..).unwrap_or_default())
    })
}

fn starts_attribute(text: &[u8]) -> bool {
    type_length(text).is_some()
}

/// How many bytes of `text`, which must be followed by `=`, read as a type: a letter and then
/// letters, digits or `-`; or digits and dots.
fn type_length(text: &[u8]) -> Option<usize> {
    let length = text.iter().take(OID_BYTES_MAX + 1).position(|&byte| byte == b'=')?;
    let word = text.get(..length)?;
    let (&first, rest) = word.split_first()?;
    let name = first.is_ascii_alphabetic()
        && rest.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let oid = first.is_ascii_digit()
        && word.contains(&b'.')
        && rest.iter().all(|&byte| byte.is_ascii_digit() || byte == b'.');
    (name || oid).then_some(length)
}

pub(crate) fn parse(text: &[u8]) -> Result<SubjectDn, DnError> {
    let mut reader = Reader::new(text)?;
    // Exact for nearly all names: a gridmap has many, and keeps them.
    let slashes = text.iter().filter(|&&byte| byte == b'/').count();
    let mut rdns = Vec::with_capacity(slashes.min(RDNS_MAX));
    let mut attributes = Vec::with_capacity(1);
    while let Some(read) = reader.attribute()? {
        if read.joint == b'/' && !attributes.is_empty() {
            rdns.push(Rdn::new(std::mem::replace(&mut attributes, Vec::with_capacity(1)))?);
        }
        attributes.push(Attribute::new(read.kind, read.value)?);
        check_limits(rdns.len() + 1, attributes.len())?;
    }
    rdns.push(Rdn::new(attributes)?);
    SubjectDn::from_rdns(rdns)
}

/// Ends reading as soon as there is too much.
pub(crate) fn check_limits(rdns: usize, attributes: usize) -> Result<(), DnError> {
    if rdns > RDNS_MAX {
        return Err(DnError::TooLong("RDNS_MAX"));
    }
    if attributes > ATTRIBUTES_MAX {
        return Err(DnError::TooLong("ATTRIBUTES_MAX"));
    }
    Ok(())
}

/// One attribute as it was written.
pub(crate) struct Spelled {
    /// `/` or `+`: what it follows.
    pub joint: u8,
    pub kind: AttributeType,
    pub value: Vec<u8>,
    /// Where in the value there is a `*` that no `\` is before.
    pub stars: Vec<usize>,
    /// Where in the text its end is.
    pub end: usize,
}

pub(crate) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    stars: Vec<usize>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Result<Self, DnError> {
        match text {
            b"" | b"/" => Err(DnError::Empty),
            [b'/', ..] => Ok(Self { text, at: 0, stars: Vec::new() }),
            _ => Err(DnError::NoSlash),
        }
    }

    /// The next attribute; `None` at the end.
    pub(crate) fn attribute(&mut self) -> Result<Option<Spelled>, DnError> {
        let Some(joint) = self.peek() else { return Ok(None) };
        self.at += 1;
        let kind = self.kind(joint)?;
        let value = self.value()?;
        let stars = std::mem::take(&mut self.stars);
        Ok(Some(Spelled { joint, kind, value, stars, end: self.at }))
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn left(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// A type with its `=`.
    fn kind(&mut self, joint: u8) -> Result<AttributeType, DnError> {
        let at = self.at;
        let joint = (at > 1).then_some(char::from(joint));
        let length = type_length(self.left()).ok_or(DnError::NoType { at, joint })?;
        let word = String::from_utf8_lossy(self.left().get(..length).unwrap_or_default());
        let kind = AttributeType::from_word(&word).ok_or_else(|| DnError::UnknownType {
            name: word.into_owned(),
            at,
            joint,
        })?;
        self.at += length + 1;
        Ok(kind)
    }

    /// Bytes up to the next attribute or the end.
    fn value(&mut self) -> Result<Vec<u8>, DnError> {
        let mut value = Vec::new();
        loop {
            let run = plain_run(self.left());
            value.extend_from_slice(self.left().get(..run).unwrap_or_default());
            self.at += run;
            let Some(byte) = self.peek() else { break };
            match byte {
                b'/' | b'+'
                    if starts_attribute(self.text.get(self.at + 1..).unwrap_or_default()) =>
                {
                    break;
                }
                b'\\' => value.push(self.escape()?),
                0x00..=0x1f | 0x7f => return Err(DnError::ControlByte { byte, at: self.at }),
                _ => {
                    if byte == b'*' {
                        self.stars.push(value.len());
                    }
                    value.push(byte);
                    self.at += 1;
                }
            }
        }
        Ok(value)
    }

    /// `\xHH` is that byte; `\` and any other printable character is that character.
    fn escape(&mut self) -> Result<u8, DnError> {
        let at = self.at;
        let bad = DnError::BadEscape { at };
        match self.text.get(at + 1) {
            Some(b'x') => {
                let digit =
                    |at: usize| self.text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(at + 2), digit(at + 3)) else {
                    return Err(bad);
                };
                self.at += 4;
                u8::try_from(high * 16 + low).map_err(|_| bad)
            }
            Some(&byte @ 0x20..=0x7e) => {
                self.at += 2;
                Ok(byte)
            }
            _ => Err(bad),
        }
    }
}
