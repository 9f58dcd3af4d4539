//! What every dialect in XML asks of a document, and quick-xml leaves to its caller: no DOCTYPE, a
//! declaration only at the start, references to characters that there are.

use std::io::BufRead as _;

use quick_xml::Reader;
use quick_xml::events::{BytesDecl, Event};

use crate::telling::{printable, quoted};
use crate::{Encoding, FaultCode, chars};

/// Characters of the XML reader's own messages, which repeat tags too.
const MESSAGE_CHARS_MAX: usize = 200;

/// A code and a text that do not yet say where.
pub(crate) type Problem = (FaultCode, String);

pub(crate) fn ill_formed(text: impl Into<String>) -> Problem {
    (FaultCode::Parse, text.into())
}

pub(crate) fn no_call(text: impl Into<String>) -> Problem {
    (FaultCode::InvalidRequest, text.into())
}

pub(crate) fn over_limit(text: impl Into<String>) -> Problem {
    (FaultCode::OverLimit, text.into())
}

/// Longest text of an element that is read at one go, in bytes; the reader finds the end of a longer one
/// faster.
const LEAF_TEXT_BYTES_MAX: usize = 128;
/// Longest tag of such an element, in bytes.
const LEAF_TAG_BYTES_MAX: usize = 128;

/// The events of a document, one after the other.
pub(crate) struct Events<'b> {
    body: &'b str,
    reader: Reader<&'b [u8]>,
    /// Whether the last event was text, behind which the reader awaits markup.
    behind_text: bool,
}

/// A whole element with nothing in it but a short text without references: most of what large messages
/// hold.
pub(crate) struct Leaf<K> {
    /// The byte that it begins at.
    pub(crate) at: usize,
    /// What is known of its tag.
    pub(crate) known: K,
    /// The byte that its text begins at.
    pub(crate) text_at: usize,
    /// Bytes of its text.
    pub(crate) text_bytes: usize,
}

impl<'b> Events<'b> {
    pub(crate) fn of(body: &'b str) -> Self {
        let mut reader = Reader::from_str(body);
        reader.config_mut().check_comments = true;
        Self { body, reader, behind_text: false }
    }

    /// Takes the next element at one go, with the blanks before it, if it is a [`Leaf`] inside of another
    /// element and its start tag one that has been read before: `known` tells those, with the bytes of
    /// their names. Nothing is taken otherwise.
    ///
    /// What comes of it is what the events would have said.
    pub(crate) fn leaf<K>(
        &mut self,
        known: impl FnOnce(&'b str) -> Option<(K, usize)>,
    ) -> Option<Leaf<K>> {
        if self.behind_text {
            return None;
        }
        let begins = byte_offset(self.reader.buffer_position());
        let ahead = self.body.get(begins..)?;
        let markup = chars::trim_start(ahead);
        let inside = markup.strip_prefix('<')?;
        if inside.starts_with(['/', '!', '?']) {
            return None;
        }
        let (tag, behind) = split_at_byte(inside, LEAF_TAG_BYTES_MAX, |byte| byte == b'>')?;
        let (known, name_bytes) = known(tag)?;
        let text_from = behind.strip_prefix('>')?;
        let ends = |byte| matches!(byte, b'<' | b'&' | b'>' | b'\r');
        let (text, behind) = split_at_byte(text_from, LEAF_TEXT_BYTES_MAX, ends)?;
        let behind = behind.strip_prefix("</")?.strip_prefix(tag.get(..name_bytes)?)?;
        let behind = behind.strip_prefix('>')?;
        self.reader.stream().consume(ahead.len() - behind.len());
        let at = begins + (ahead.len() - markup.len());
        let text_at = begins + (ahead.len() - text_from.len());
        Some(Leaf { at, known, text_at, text_bytes: text.len() })
    }

    /// The next event and the byte that it begins at; a problem comes with the byte where it was
    /// seen.
    pub(crate) fn next(&mut self) -> Result<(usize, Event<'b>), (usize, Problem)> {
        let at = byte_offset(self.reader.buffer_position());
        let ahead = self.body.get(at..).unwrap_or_default();
        check_bang(ahead).map_err(|problem| (at, problem))?;
        match self.reader.read_event() {
            Ok(event) => {
                self.behind_text = matches!(event, Event::Text(_));
                Ok((at, event))
            }
            Err(error) => {
                let seen = byte_offset(self.reader.error_position()).max(at);
                Err((seen, ill_formed(printable(&error.to_string(), MESSAGE_CHARS_MAX))))
            }
        }
    }
}

/// What stands before the first byte that `is_end`, and the rest; `None` if that is further away than
/// `bytes_max`.
fn split_at_byte(
    text: &str,
    bytes_max: usize,
    is_end: impl Fn(u8) -> bool,
) -> Option<(&str, &str)> {
    let at = text.bytes().take(bytes_max + 1).position(is_end)?;
    text.split_at_checked(at)
}

fn byte_offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// Looks at markup that begins with `<!` before anything reads it: a DOCTYPE goes no further.
fn check_bang(ahead: &str) -> Result<(), Problem> {
    let Some(bang) = ahead.strip_prefix("<!") else {
        return Ok(());
    };
    if let Some(comment) = bang.strip_prefix("--") {
        let cut_short = comment.starts_with('>') || comment.starts_with("->");
        return if cut_short { Err(ill_formed("`<!-->` is no comment")) } else { Ok(()) };
    }
    if bang.starts_with("[CDATA[") {
        return Ok(());
    }
    if bang.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("DOCTYPE")) {
        return Err(doctype());
    }
    Err(ill_formed("`<!` that begins neither a comment nor CDATA"))
}

/// A DOCTYPE, which no dialect takes.
pub(crate) fn doctype() -> Problem {
    ill_formed("a document type declaration (DOCTYPE) is not accepted")
}

/// Holds the XML declaration that begins at the byte `at` against how the body was read.
pub(crate) fn check_declaration(
    declaration: &BytesDecl<'_>,
    at: usize,
    read_as: Encoding,
) -> Result<(), Problem> {
    if at != 0 {
        return Err(ill_formed("an XML declaration after the start of the document"));
    }
    let version = declaration
        .version()
        .map_err(|error| ill_formed(printable(&error.to_string(), MESSAGE_CHARS_MAX)))?;
    let minor = version.strip_prefix("1.").unwrap_or_default();
    if minor.is_empty() || !minor.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ill_formed(format!("the XML version {} is not known", quoted(&version))));
    }
    let encoding = declaration
        .encoding()
        .transpose()
        .map_err(|_| ill_formed("the XML declaration is not well formed"))?;
    match encoding {
        Some(name) => read_as.check_declared(&name).map_err(ill_formed),
        None => Ok(()),
    }
}

/// What `&name;` stands for: one of the five entities, or a character by number.
pub(crate) fn resolve(name: &str) -> Result<char, Problem> {
    let number = match name {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "apos" => return Ok('\''),
        "quot" => return Ok('"'),
        _ => name.strip_prefix('#'),
    };
    let Some(number) = number else {
        return Err(ill_formed(format!("the entity {} is not known", quoted(name))));
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let good = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    let code = if good { u32::from_str_radix(digits, radix).ok() } else { None };
    match code.and_then(char::from_u32) {
        Some(character) if chars::is_allowed(character) => Ok(character),
        _ => {
            let text = format!("{} refers to no character of XML", quoted(&format!("&{name};")));
            Err(ill_formed(text))
        }
    }
}
