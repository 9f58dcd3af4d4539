//! The encodings that bodies come in, and how one is told from another.
//!
//! A byte-order mark, the content type's `charset` and the XML declaration may each say what the
//! bytes are (RFC 7303, section 3; XML 1.0, section 4.3.3 and appendix F). What they say must agree:
//! where two differ, one reader would see another document than the next. Without any the body is
//! UTF-8. Nothing is ever guessed from the letters.

use std::borrow::Cow;

use crate::telling::{position, quoted};
use crate::{Fault, FaultCode, chars};

#[cfg(test)]
mod tests;

/// How the characters of a body became bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8, with or without a byte-order mark.
    Utf8,
    /// US-ASCII: bytes under 128 alone.
    Ascii,
    /// ISO-8859-1: each byte is the character of that number.
    Latin1,
    /// UTF-16 of the byte order that its mark says; without a mark it is not read.
    Utf16,
    /// UTF-16, the lesser byte first.
    Utf16Le,
    /// UTF-16, the greater byte first.
    Utf16Be,
}

impl Encoding {
    /// The encoding called `label`, in any case (the names are IANA's).
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        const LABELS: &[(&str, Encoding)] = &[
            ("utf-8", Encoding::Utf8),
            ("utf8", Encoding::Utf8),
            ("us-ascii", Encoding::Ascii),
            ("ascii", Encoding::Ascii),
            ("iso-8859-1", Encoding::Latin1),
            ("iso8859-1", Encoding::Latin1),
            ("iso_8859-1", Encoding::Latin1),
            ("latin1", Encoding::Latin1),
            ("latin-1", Encoding::Latin1),
            ("utf-16", Encoding::Utf16),
            ("utf16", Encoding::Utf16),
            ("utf-16le", Encoding::Utf16Le),
            ("utf-16be", Encoding::Utf16Be),
        ];
        let known = LABELS.iter().find(|(known, _)| known.eq_ignore_ascii_case(label));
        known.map(|(_, encoding)| *encoding)
    }

    /// IANA's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Ascii => "US-ASCII",
            Self::Latin1 => "ISO-8859-1",
            Self::Utf16 => "UTF-16",
            Self::Utf16Le => "UTF-16LE",
            Self::Utf16Be => "UTF-16BE",
        }
    }

    /// Whether a text read as `self` may also be called `other`: ASCII is a part of the others, and
    /// UTF-16 is of either order.
    fn agrees_with(self, other: Self) -> bool {
        self == other
            || matches!(
                (self, other),
                (Self::Utf8 | Self::Latin1, Self::Ascii)
                    | (Self::Ascii, Self::Utf8 | Self::Latin1)
                    | (Self::Utf16Le | Self::Utf16Be, Self::Utf16)
            )
    }

    /// Checks what an XML declaration says against what the document was read as.
    ///
    /// # Errors
    /// What is wrong with it, for a fault.
    pub(crate) fn check_declared(self, label: &str) -> Result<(), String> {
        match Self::from_label(label) {
            None => Err(not_read(label)),
            Some(declared) if self.agrees_with(declared) => Ok(()),
            Some(declared) => Err(contradiction("the XML declaration", declared, self)),
        }
    }
}

/// The names of all that is read, for faults.
const READ_HERE: &str = "UTF-8, US-ASCII, ISO-8859-1 or UTF-16";

fn not_read(label: &str) -> String {
    format!("the encoding {} is not read here: send {READ_HERE}", quoted(label))
}

fn contradiction(who: &str, said: Encoding, is: Encoding) -> String {
    format!("{who} says {}, and the document is {}", said.name(), is.name())
}

/// The body of an XML document as text without its byte-order mark, of characters that XML carries,
/// and what it was read as. `charset` is what the content type said.
///
/// UTF-8 is not copied. Of the others the text takes at most twice the bytes of the body.
///
/// # Errors
/// A fault -32700 where the bytes are not what is said of them, two of the sayings differ, or a
/// character is none of XML's.
pub(crate) fn readable(
    body: &[u8],
    charset: Option<Encoding>,
) -> Result<(Cow<'_, str>, Encoding), Fault> {
    let (encoding, body) = detect(body, charset).map_err(|text| parse(&text))?;
    let text = decode(encoding, body)?;
    match chars::first_forbidden(&text) {
        None => Ok((text, encoding)),
        Some((offset, character)) => {
            let code = u32::from(character);
            Err(at(&text, offset, &format!("the character U+{code:04X}, which XML forbids")))
        }
    }
}

/// The beginning of a body, of at most about `bytes_max` bytes, as text for a first look: what does
/// not decode is cut off or U+FFFD.
pub(crate) fn peek(
    body: &[u8],
    charset: Option<Encoding>,
    bytes_max: usize,
) -> Result<Cow<'_, str>, Fault> {
    let (encoding, body) = detect(body, charset).map_err(|text| parse(&text))?;
    let head = body.get(..bytes_max).unwrap_or(body);
    Ok(match encoding {
        Encoding::Utf8 | Encoding::Ascii => match std::str::from_utf8(head) {
            Ok(text) => Cow::Borrowed(text),
            Err(error) => {
                let (good, _) = head.split_at(error.valid_up_to());
                Cow::Borrowed(std::str::from_utf8(good).unwrap_or_default())
            }
        },
        Encoding::Latin1 => Cow::Owned(head.iter().copied().map(char::from).collect()),
        Encoding::Utf16 | Encoding::Utf16Le | Encoding::Utf16Be => {
            let units = char::decode_utf16(units(encoding, head));
            Cow::Owned(units.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
    })
}

fn parse(text: &str) -> Fault {
    Fault::new(FaultCode::Parse, text)
}

fn at(text: &str, offset: usize, problem: &str) -> Fault {
    let (line, column) = position(text, offset);
    parse(&format!("line {line}, column {column}: {problem}"))
}

/// What `body` is, and where it begins behind its mark.
fn detect(body: &[u8], charset: Option<Encoding>) -> Result<(Encoding, &[u8]), String> {
    let marks: [(&[u8], Encoding); 3] = [
        (b"\xEF\xBB\xBF", Encoding::Utf8),
        (b"\xFF\xFE", Encoding::Utf16Le),
        (b"\xFE\xFF", Encoding::Utf16Be),
    ];
    for (mark, marked) in marks {
        let Some(behind) = body.strip_prefix(mark) else { continue };
        return match charset {
            Some(said)
                if said != marked && !(marked.agrees_with(said) && marked != Encoding::Utf8) =>
            {
                Err(contradiction("the content type", said, marked))
            }
            _ => Ok((marked, behind)),
        };
    }
    match charset {
        Some(Encoding::Utf16) => Err("UTF-16 without a byte-order mark".to_owned()),
        Some(said) => Ok((said, body)),
        None if matches!(body, [0, _, ..] | [_, 0, ..]) => {
            Err("UTF-16 without a byte-order mark, or an encoding that is not read here".to_owned())
        }
        None => match declared(body) {
            None => Ok((Encoding::Utf8, body)),
            Some(label) => match Encoding::from_label(label) {
                None => Err(not_read(label)),
                Some(said @ (Encoding::Utf16 | Encoding::Utf16Le | Encoding::Utf16Be)) => {
                    Err(contradiction("the XML declaration", said, Encoding::Utf8))
                }
                Some(said) => Ok((said, body)),
            },
        },
    }
}

/// Bytes in which an XML declaration is looked for; a longer one that names an encoding other than
/// UTF-8 is found to be a contradiction when it is read.
const DECLARATION_BYTES_MAX: usize = 512;

/// What stands before the name of the encoding.
const ENCODING: &[u8] = b"encoding";

/// What the declaration of a document in bytes like ASCII's calls its encoding.
///
/// Only a first look: whoever reads the document checks the declaration.
fn declared(body: &[u8]) -> Option<&str> {
    let head = body.get(..DECLARATION_BYTES_MAX).unwrap_or(body);
    let inside = head.strip_prefix(b"<?xml")?;
    let end = inside.iter().position(|byte| *byte == b'?')?;
    let inside = inside.get(..end)?;
    let from = inside.windows(ENCODING.len()).position(|word| word == ENCODING)?;
    let behind = std::str::from_utf8(inside.get(from + ENCODING.len()..)?).ok()?;
    let value = chars::trim(chars::trim(behind).strip_prefix('=')?);
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value.get(1..)?.split(quote).next()
}

fn decode(encoding: Encoding, body: &[u8]) -> Result<Cow<'_, str>, Fault> {
    match encoding {
        Encoding::Utf8 => {
            let problem = "not UTF-8, and nothing declares another encoding";
            std::str::from_utf8(body).map(Cow::Borrowed).map_err(|error| {
                let (good, _) = body.split_at(error.valid_up_to());
                let good = std::str::from_utf8(good).unwrap_or_default();
                at(good, good.len(), problem)
            })
        }
        Encoding::Ascii => {
            let good = body.iter().position(|byte| !byte.is_ascii()).unwrap_or(body.len());
            let text = body.get(..good).and_then(|good| std::str::from_utf8(good).ok());
            let text = text.unwrap_or_default();
            if good == body.len() {
                Ok(Cow::Borrowed(text))
            } else {
                Err(at(text, text.len(), "not US-ASCII, which is what is declared"))
            }
        }
        Encoding::Latin1 => {
            let mut text = String::with_capacity(body.len());
            text.extend(body.iter().copied().map(char::from));
            Ok(Cow::Owned(text))
        }
        Encoding::Utf16 | Encoding::Utf16Le | Encoding::Utf16Be => {
            let mut text = String::with_capacity(body.len() / 2);
            for unit in char::decode_utf16(units(encoding, body)) {
                match unit {
                    Ok(character) => text.push(character),
                    Err(_) => return Err(at(&text, text.len(), "half a surrogate pair")),
                }
            }
            if body.len().is_multiple_of(2) {
                Ok(Cow::Owned(text))
            } else {
                Err(at(&text, text.len(), "half a character of UTF-16"))
            }
        }
    }
}

/// The 16-bit units of `body`; an odd byte at its end is left out.
fn units(encoding: Encoding, body: &[u8]) -> impl Iterator<Item = u16> {
    let (pairs, _) = body.as_chunks::<2>();
    pairs.iter().map(move |pair| match encoding {
        Encoding::Utf16Le => u16::from_le_bytes(*pair),
        _ => u16::from_be_bytes(*pair),
    })
}
