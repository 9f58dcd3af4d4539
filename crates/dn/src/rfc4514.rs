//! The form of RFC 4514, in and out: `CN=Alice,OU=People,O=Grid`, the innermost RDN first.
//!
//! Written is printable ASCII: `"`, `+`, `,`, `;`, `<`, `>` and `\` have a `\` before them, so have a
//! blank at either end of a value and a `#` at its start; every other byte is `\HH`. A type without
//! a name is its OID, and its value is `#` and the BER of a string in hexadecimal (section 2.4).
//!
//! Read are those of RFC 2253 and of common tools too: blanks around `,`, `+` and `=`, `;` for `,`,
//! `"quoted values"`, OpenSSL's and Java's names of types, `OID.` before an OID. What the RFC wants
//! escaped is refused where it stands bare: it could be meant as something else.

use std::fmt::Write as _;

use crate::oneline::check_limits;
use crate::{Attribute, AttributeType, DnError, Rdn, SubjectDn, ber};

/// Characters that must have a `\` before them wherever they stand in a value.
const SPECIAL: &[u8] = b"\"+,;<>\\";

pub(crate) fn print(rdns: &[Rdn]) -> String {
    let mut out = String::new();
    for rdn in rdns.iter().rev() {
        let mut joint = if out.is_empty() { "" } else { "," };
        for attribute in rdn.attributes() {
            out.push_str(joint);
            out.push_str(attribute.kind().as_str());
            out.push('=');
            print_value(attribute, &mut out);
            joint = "+";
        }
    }
    out
}

fn print_value(attribute: &Attribute, out: &mut String) {
    let value = attribute.value();
    if attribute.kind().is_oid() {
        out.push('#');
        // Writing to a String cannot fail.
        ber::write_text(value)
            .iter()
            .for_each(|byte| write!(out, "{byte:02X}").unwrap_or_default());
        return;
    }
    for (at, &byte) in value.iter().enumerate() {
        let at_start = at == 0 && (byte == b' ' || byte == b'#');
        let at_end = at + 1 == value.len() && byte == b' ';
        match byte {
            0x20..=0x7e if at_start || at_end || SPECIAL.contains(&byte) => {
                out.push('\\');
                out.push(char::from(byte));
            }
            0x20..=0x7e => out.push(char::from(byte)),
            _ => write!(out, "\\{byte:02X}").unwrap_or_default(),
        }
    }
}

pub(crate) fn parse(text: &str) -> Result<SubjectDn, DnError> {
    let mut reader = Reader { text: text.as_bytes(), at: 0, joint: None };
    reader.skip_blanks();
    if reader.peek().is_none() {
        return Err(DnError::Empty);
    }
    let mut rdns = Vec::new();
    let mut attributes = Vec::new();
    loop {
        let kind = reader.kind()?;
        let value = reader.value()?;
        attributes.push(Attribute::new(kind, value)?);
        reader.joint = reader.peek().map(char::from);
        reader.at += 1;
        check_limits(rdns.len() + 1, attributes.len())?;
        if reader.joint != Some('+') {
            rdns.push(Rdn::new(std::mem::take(&mut attributes))?);
        }
        if reader.joint.is_none() {
            break;
        }
    }
    rdns.reverse();
    SubjectDn::from_rdns(rdns)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    joint: Option<char>, // what the attribute that is being read follows
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    /// A type with its `=` and the blanks around both.
    fn kind(&mut self) -> Result<AttributeType, DnError> {
        self.skip_blanks();
        let (at, joint) = (self.at, self.joint);
        while self.peek().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
            self.at += 1;
        }
        let word = String::from_utf8_lossy(self.text.get(at..self.at).unwrap_or_default());
        let word = word.into_owned();
        self.skip_blanks();
        if word.is_empty() || self.peek() != Some(b'=') {
            return Err(DnError::NoType { at, joint });
        }
        self.at += 1;
        self.skip_blanks();
        AttributeType::from_rfc4514_word(&word).ok_or(DnError::UnknownType {
            name: word,
            at,
            joint,
        })
    }

    /// A value with the blanks behind it, up to a joint or the end.
    fn value(&mut self) -> Result<Vec<u8>, DnError> {
        let value = match self.peek() {
            Some(b'#') => self.hexadecimal()?,
            Some(b'"') => self.quoted()?,
            _ => return self.string(),
        };
        self.skip_blanks();
        match self.peek() {
            None | Some(b',' | b';' | b'+') => Ok(value),
            Some(byte) => Err(DnError::Bare { character: char::from(byte), at: self.at }),
        }
    }

    fn string(&mut self) -> Result<Vec<u8>, DnError> {
        let mut value = Vec::new();
        let mut kept = 0; // blanks behind this length are dropped unless more follows
        while let Some(byte) = self.peek() {
            match byte {
                b',' | b';' | b'+' => break,
                b'\\' => {
                    value.push(self.escape()?);
                    kept = value.len();
                }
                b'"' | b'<' | b'>' => {
                    return Err(DnError::Bare { character: char::from(byte), at: self.at });
                }
                _ => {
                    value.push(self.plain(byte)?);
                    kept = if byte == b' ' { kept } else { value.len() };
                }
            }
        }
        value.truncate(kept);
        Ok(value)
    }

    fn quoted(&mut self) -> Result<Vec<u8>, DnError> {
        let start = self.at;
        let mut value = Vec::new();
        self.at += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return Ok(value);
                }
                b'\\' => value.push(self.escape()?),
                _ => value.push(self.plain(byte)?),
            }
        }
        Err(DnError::OpenQuote { at: start })
    }

    fn plain(&mut self, byte: u8) -> Result<u8, DnError> {
        if byte.is_ascii_control() {
            return Err(DnError::ControlByte { byte, at: self.at });
        }
        self.at += 1;
        Ok(byte)
    }

    /// `\HH` is that byte; `\` and a character that may need it is that character.
    fn escape(&mut self) -> Result<u8, DnError> {
        let at = self.at;
        let byte = self.text.get(at + 1).copied().ok_or(DnError::BadEscape { at })?;
        if SPECIAL.contains(&byte) || b" #=".contains(&byte) {
            self.at += 2;
            return Ok(byte);
        }
        self.at += 1;
        self.hex_byte().ok_or(DnError::BadEscape { at })
    }

    fn hexadecimal(&mut self) -> Result<Vec<u8>, DnError> {
        let at = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        while self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
            bytes.push(self.hex_byte().ok_or(DnError::BadHexValue { at })?);
        }
        ber::read_text(&bytes).ok_or(DnError::BadHexValue { at })
    }

    fn hex_byte(&mut self) -> Option<u8> {
        let digit = |at: usize| char::from(*self.text.get(at)?).to_digit(16);
        let byte = u8::try_from(digit(self.at)? * 16 + digit(self.at + 1)?).ok()?;
        self.at += 2;
        Some(byte)
    }
}
