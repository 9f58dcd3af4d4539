//! JSON text into a value (RFC 8259), iteratively.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::TAG;
use crate::telling::{position, quoted};
use crate::{Bounds, DateTime, Fault, FaultCode, Value, chars};

/// Reads the one value that `body` is, tagged objects as what they stand for; `around` is how many
/// levels of JSON a message has around its values.
///
/// # Errors
/// A fault -32700 (not JSON in UTF-8), -32600 (JSON that is no value here), 413 (a bound), with
/// position.
pub(super) fn read(body: &[u8], around: usize, bounds: &Bounds) -> Result<Value, Fault> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body); // RFC 8259, section 8.1
    let fault = |text: &str, at: usize, (code, problem): Problem| {
        let (line, column) = position(text, at);
        Fault::new(code, format!("line {line}, column {column}: {problem}"))
    };
    let text = std::str::from_utf8(body).map_err(|error| {
        let (good, _) = body.split_at(error.valid_up_to());
        let good = std::str::from_utf8(good).unwrap_or_default();
        fault(good, good.len(), not_json("not UTF-8, which JSON is sent in"))
    })?;
    match chars::first_forbidden(text) {
        None => {}
        Some((at, '\0'..' ')) => return Err(fault(text, at, not_json("a control character"))),
        Some((at, character)) => return Err(fault(text, at, forbidden(character))),
    }
    let height_max = around + bounds.depth();
    let mut reader = Reader { text, at: 0, elements: 0, height_max, bounds };
    reader.document().map_err(|problem| fault(text, reader.at, problem))
}

/// A code and a text that do not yet say where.
type Problem = (FaultCode, String);

fn not_json(text: impl Into<String>) -> Problem {
    (FaultCode::Parse, text.into())
}

fn no_value(text: impl Into<String>) -> Problem {
    (FaultCode::InvalidRequest, text.into())
}

fn over_limit(text: impl Into<String>) -> Problem {
    (FaultCode::OverLimit, text.into())
}

fn forbidden(character: char) -> Problem {
    let code = u32::from(character);
    no_value(format!("the character U+{code:04X}, which no text may hold (send it as binary)"))
}

/// An array or object that is being read. `height` is the greatest of its members'.
enum Open {
    Array { items: Vec<Value>, height: usize },
    Object(Object),
}

struct Object {
    members: BTreeMap<String, Value>,
    /// Of the member whose value is being read.
    name: String,
    height: usize,
    /// What the tag was, if it was the first member.
    tag: Option<Tag>,
    /// Whether it stands as the members of a wrapped struct, where `$nesssi` is a name as any other.
    is_wrapped: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    Struct,
    Other,
}

impl Open {
    /// Whether an object that begins here is the members of a wrapped struct.
    fn wraps(&self) -> bool {
        match self {
            Self::Array { .. } => false,
            Self::Object(object) => object.tag == Some(Tag::Struct) && object.name == "members",
        }
    }
}

/// A value, and how many arrays and structs are in each other in it.
struct Measured {
    value: Value,
    height: usize,
}

impl Measured {
    fn scalar(value: Value) -> Self {
        Self { value, height: 0 }
    }
}

/// What stands where a value is expected.
enum Begun {
    Value(Value),
    /// A container that is not empty.
    Open(Open),
}

impl Object {
    fn insert(&mut self, value: Value) -> Result<(), Problem> {
        let name = std::mem::take(&mut self.name);
        if self.members.is_empty() && name == TAG {
            let is_struct = value.as_str() == Some("struct");
            self.tag = Some(if is_struct { Tag::Struct } else { Tag::Other });
        }
        match self.members.entry(name) {
            Entry::Occupied(entry) => {
                Err(no_value(format!("two members are called {}", quoted(entry.key()))))
            }
            Entry::Vacant(place) => {
                place.insert(value);
                Ok(())
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    /// The next byte; in a problem, where it was seen.
    at: usize,
    elements: usize,
    height_max: usize,
    bounds: &'a Bounds,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value, Problem> {
        let mut stack: Vec<Open> = Vec::new();
        loop {
            let mut done = match self.begin()? {
                Begun::Value(value @ (Value::Array(_) | Value::Struct(_))) => {
                    self.closed(value, 1)?
                }
                Begun::Value(value) => Measured::scalar(value),
                Begun::Open(mut open) => {
                    if let (Open::Object(object), Some(around)) = (&mut open, stack.last()) {
                        object.is_wrapped = around.wraps();
                    }
                    // A struct that is wrapped takes two levels of JSON.
                    if stack.len() > 2 * self.height_max {
                        return Err(self.too_deep());
                    }
                    stack.push(open);
                    continue;
                }
            };
            // Hands what is done to what is around it, for as long as that is done by it.
            loop {
                let Some(open) = stack.last_mut() else {
                    return match self.next_byte() {
                        None => Ok(done.value),
                        Some(_) => Err(not_json("something behind the end of the document")),
                    };
                };
                match self.give(open, done)? {
                    Given::GoesOn => break,
                    Given::Ends => {}
                }
                done = match stack.pop() {
                    Some(Open::Array { items, height }) => {
                        self.closed(Value::Array(items), height + 1)?
                    }
                    Some(Open::Object(object)) => self.object(object)?,
                    None => return Err(not_json("the document ends twice")),
                };
            }
        }
    }

    /// The next byte that is not white space, which stays.
    fn next_byte(&mut self) -> Option<u8> {
        let rest = self.rest().as_bytes();
        let blank = rest.iter().position(|byte| !chars::is_space(*byte)).unwrap_or(rest.len());
        self.at += blank;
        rest.get(blank).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn too_deep(&self) -> Problem {
        let max = self.bounds.depth();
        over_limit(format!("arrays and structs nested deeper than {max}"))
    }

    fn count_element(&mut self) -> Result<(), Problem> {
        self.elements += 1;
        let max = self.bounds.elements_max;
        if self.elements > max {
            return Err(over_limit(format!("more than {max} values and names")));
        }
        Ok(())
    }

    /// Reads a scalar or an empty container whole, of any other what is before its first value.
    fn begin(&mut self) -> Result<Begun, Problem> {
        let first = self.next_byte();
        self.count_element()?;
        Ok(Begun::Value(match first {
            Some(b'"') => Value::String(self.string("a text", self.bounds.text_bytes_max)?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'{') => {
                self.at += 1;
                if self.next_byte() != Some(b'}') {
                    let name = self.name()?;
                    return Ok(Begun::Open(Open::Object(Object {
                        members: BTreeMap::new(),
                        name,
                        height: 0,
                        tag: None,
                        is_wrapped: false,
                    })));
                }
                self.at += 1;
                Value::Struct(BTreeMap::new())
            }
            Some(b'[') => {
                self.at += 1;
                if self.next_byte() != Some(b']') {
                    return Ok(Begun::Open(Open::Array { items: Vec::new(), height: 0 }));
                }
                self.at += 1;
                Value::Array(Vec::new())
            }
            Some(_) => self.word()?,
            None => return Err(not_json("the document ends where a value is expected")),
        }))
    }

    fn word(&mut self) -> Result<Value, Problem> {
        let rest = self.rest();
        let words =
            [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Nil)];
        for (word, value) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        let end = |c: char| !c.is_alphanumeric();
        let length = rest.find(end).unwrap_or(rest.len()).max(1);
        Err(not_json(match rest.get(..length) {
            Some(found) => format!("expected a value, found {}", quoted(found)),
            None => "expected a value".to_owned(),
        }))
    }

    /// A member's name and the colon behind it.
    fn name(&mut self) -> Result<String, Problem> {
        if self.next_byte() != Some(b'"') {
            return Err(not_json("expected a member's name in double quotes"));
        }
        self.count_element()?;
        let name = self.string("a member's name", self.bounds.name_bytes_max)?;
        if self.next_byte() != Some(b':') {
            return Err(not_json(format!("expected `:` behind the name {}", quoted(&name))));
        }
        self.at += 1;
        Ok(name)
    }

    /// Puts a finished value into the innermost container, and reads what is behind it.
    fn give(&mut self, open: &mut Open, done: Measured) -> Result<Given, Problem> {
        let (height, end) = match open {
            Open::Array { items, height } => {
                items.push(done.value);
                (height, b']')
            }
            Open::Object(object) => {
                object.insert(done.value)?;
                (&mut object.height, b'}')
            }
        };
        *height = done.height.max(*height);
        match self.next_byte() {
            Some(b',') => {
                self.at += 1;
                if let Open::Object(object) = open {
                    object.name = self.name()?;
                }
                Ok(Given::GoesOn)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(Given::Ends)
            }
            Some(_) => Err(not_json(format!("expected `,` or `{}`", char::from(end)))),
            None => Err(not_json(format!("the document ends before `{}`", char::from(end)))),
        }
    }

    fn closed(&self, value: Value, height: usize) -> Result<Measured, Problem> {
        if height > self.height_max { Err(self.too_deep()) } else { Ok(Measured { value, height }) }
    }

    /// A struct, or what a tagged object stands for.
    fn object(&self, object: Object) -> Result<Measured, Problem> {
        let Object { mut members, height, tag, is_wrapped, .. } = object;
        if is_wrapped {
            return self.closed(Value::Struct(members), height + 1);
        }
        let Some(kind) = members.remove(TAG) else {
            return self.closed(Value::Struct(members), height + 1);
        };
        let (Value::String(kind), Some((name, content)), true) =
            (kind, members.pop_first(), members.is_empty())
        else {
            return Err(no_tag());
        };
        match (kind.as_str(), name.as_str(), content) {
            ("binary", "base64", Value::String(text)) => {
                let bytes = STANDARD.decode(text);
                let bytes = bytes.map_err(|_| no_value("\"base64\": the text is not base64"))?;
                Ok(Measured::scalar(Value::Binary(bytes)))
            }
            ("datetime", "iso", Value::String(text)) => {
                let when = DateTime::parse(&text)
                    .map_err(|error| no_value(format!("\"iso\": {} is {error}", quoted(&text))))?;
                Ok(Measured::scalar(Value::DateTime(when)))
            }
            // Behind its members the tag would come too late to tell how to read them.
            ("struct", "members", value @ Value::Struct(_)) if tag == Some(Tag::Struct) => {
                Ok(Measured { value, height })
            }
            _ => Err(no_tag()),
        }
    }

    /// RFC 8259, section 6.
    fn number(&mut self) -> Result<Value, Problem> {
        let bytes = self.rest().as_bytes();
        let digits = |from: usize| {
            let rest = bytes.get(from..).unwrap_or_default();
            rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
        };
        let whole_at = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(whole_at);
        if whole == 0 || (whole > 1 && bytes.get(whole_at) == Some(&b'0')) {
            return Err(not_json("a number begins with one zero, or another digit"));
        }
        let mut end = whole_at + whole;
        let mut is_double = false;
        if bytes.get(end) == Some(&b'.') {
            let fraction = digits(end + 1);
            if fraction == 0 {
                return Err(not_json("a number ends with its point"));
            }
            is_double = true;
            end += 1 + fraction;
        }
        if let Some(b'e' | b'E') = bytes.get(end) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent == 0 {
                return Err(not_json("a number without digits in its exponent"));
            }
            is_double = true;
            end += 1 + sign + exponent;
        }
        let text = self.rest().get(..end).unwrap_or_default();
        let value = if is_double {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number.map(Value::Double).ok_or_else(|| {
                no_value(format!("the number {} is beyond a double", quoted(text)))
            })?
        } else {
            text.parse()
                .map(Value::Int)
                .map_err(|_| no_value(format!("the integer {} is beyond 64 bits", quoted(text))))?
        };
        self.at += end;
        Ok(value)
    }

    /// A string at its opening quote (RFC 8259, section 7), of at most `bytes_max` bytes.
    fn string(&mut self, what: &str, bytes_max: usize) -> Result<String, Problem> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
            let Some(plain) = rest.as_bytes().iter().position(special) else {
                self.at = self.text.len();
                return Err(not_json(format!("the document ends inside of {what}")));
            };
            if plain > bytes_max.saturating_sub(out.len()) {
                return Err(over_limit(format!("{what} is longer than {bytes_max} bytes")));
            }
            out.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match rest.as_bytes().get(plain) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    if !chars::is_allowed(character) {
                        return Err(forbidden(character));
                    }
                    if character.len_utf8() > bytes_max.saturating_sub(out.len()) {
                        return Err(over_limit(format!("{what} is longer than {bytes_max} bytes")));
                    }
                    out.push(character);
                }
                _ => return Err(not_json(format!("an end of line or a tab inside of {what}"))),
            }
        }
    }

    /// The character that an escape at a backslash stands for.
    fn escape(&mut self) -> Result<char, Problem> {
        let bytes = self.rest().as_bytes();
        let character = match bytes.get(1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(not_json("a backslash that begins no escape")),
        };
        self.at += 2;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, Problem> {
        let first = self.unit()?;
        let units = match first {
            0xD800..=0xDBFF => [first, self.unit().map_err(|_| half_a_pair())?],
            _ => [first, 0],
        };
        let mut decoded = char::decode_utf16(units);
        match (decoded.next(), decoded.next(), units) {
            (Some(Ok(character)), None, _) | (Some(Ok(character)), _, [_, 0]) => Ok(character),
            _ => Err(half_a_pair()),
        }
    }

    /// One `\uXXXX`.
    fn unit(&mut self) -> Result<u16, Problem> {
        let wrong = || not_json("`\\u` without four hexadecimal digits");
        let digits = self.rest().strip_prefix("\\u").and_then(|rest| rest.get(..4));
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = u16::from_str_radix(digits.ok_or_else(wrong)?, 16).map_err(|_| wrong())?;
        self.at += 6;
        Ok(unit)
    }
}

/// Whether a container has more to come after a value.
enum Given {
    GoesOn,
    Ends,
}

fn half_a_pair() -> Problem {
    no_value("half a surrogate pair")
}

fn no_tag() -> Problem {
    no_value(format!("an object with the member \"{TAG}\" that is none of the tagged objects"))
}
