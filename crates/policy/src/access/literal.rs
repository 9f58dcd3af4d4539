//! Python literals, read and never run: the syntax of the original's access lists.
//!
//! A file is assignments of literals to the three names that such a list has. A literal is `None`,
//! `True`, `False`, a number, a text, one of the two constants of order, or a list or tuple of literals.
//! Lines may go on inside brackets, comments stand anywhere, texts side by side are one. Whatever
//! else Python knows is refused with its line.

use super::AccessError;
use crate::written::Lined;

/// How deep lists may lie in each other; an access list needs four.
const DEPTH_MAX: usize = 16;
/// The only names that are assigned or used.
const ORDERS: [(&str, i64); 2] = [("ORDER_ALLOW_DENY", 0), ("ORDER_DENY_ALLOW", 1)];
const ACCESS: &str = "access";

/// A literal; a tuple is a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    None,
    Truth(bool),
    Integer(i64),
    Float(f64),
    /// A text's bytes: in Python 2, which the original was written in, texts are that.
    Text(Vec<u8>),
    List(Vec<Lined<Literal>>),
}

impl Literal {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Truth(_) => "True or False",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
        }
    }
}

/// A whole file.
#[derive(Debug)]
pub(super) struct Literals {
    /// What is assigned to `access`.
    pub(super) access: Lined<Literal>,
}

/// Whether a text that is not TOML was meant to be Python.
pub(super) fn is_meant(text: &str) -> bool {
    let word = |line: &str| {
        let line = line.trim_start();
        ["import ", "from ", "def ", "class ", "ORDER_"].iter().any(|word| line.starts_with(word))
            || line
                .strip_prefix(ACCESS)
                .is_some_and(|rest| rest.trim_start().starts_with(['=', '+']))
    };
    text.lines().any(word)
}

/// Reads a file.
///
/// # Errors
/// The first thing in it that is no literal, or that there is no `access`.
pub(super) fn parse(text: &str) -> Result<Literals, AccessError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).as_bytes();
    let mut reader = Reader { text, at: 0, line: 1, depth: 0 };
    let mut access = None;
    while reader.next_statement()? {
        let line = reader.line;
        if reader.at_text() {
            // A text alone is Python's way of a comment.
            reader.value()?;
        } else {
            let (name, value) = reader.assignment()?;
            if name != ACCESS {
                check_order(&name, &value)?;
            } else if access.replace(value).is_some() {
                return fail(line, "`access` is assigned a second time");
            }
        }
        reader.end_of_statement()?;
    }
    match access {
        Some(access) => Ok(Literals { access }),
        None => fail(1, "there is no `access = [...]`"),
    }
}

fn fail<T>(line: usize, text: impl Into<String>) -> Result<T, AccessError> {
    Err(AccessError { line, text: text.into() })
}

fn check_order(name: &str, value: &Lined<Literal>) -> Result<(), AccessError> {
    match ORDERS.iter().find(|(known, _)| *known == name) {
        None => fail(
            value.line,
            format!("`{name}` may not be assigned: only `access` and the two constants of order"),
        ),
        Some((_, number)) if value.value == Literal::Integer(*number) => Ok(()),
        Some((_, number)) => fail(value.line, format!("`{name}` is {number}")),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.peek_at(0)
    }

    fn peek_at(&self, offset: usize) -> Option<u8> {
        self.text.get(self.at + offset).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    fn take_if(&mut self, wanted: u8) -> bool {
        let is = self.peek() == Some(wanted);
        if is {
            self.take();
        }
        is
    }

    /// The bytes from here on that `keep` takes.
    fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let from = self.at;
        while self.peek().is_some_and(&keep) {
            self.take();
        }
        self.text.get(from..self.at).unwrap_or_default()
    }

    /// A word of letters, digits and `_`, if one is here.
    fn word(&mut self) -> String {
        String::from_utf8_lossy(self.take_while(is_word)).into_owned()
    }

    /// Skips what says nothing: inside brackets the ends of lines too.
    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\x0c' => {}
                b'\n' if self.depth > 0 => {}
                b'\r' if self.depth > 0 && self.peek_at(1) == Some(b'\n') => {}
                b'\\' if self.peek_at(1) == Some(b'\n') => {
                    self.take();
                }
                b'#' => {
                    self.take_while(|byte| byte != b'\n');
                    continue;
                }
                _ => return,
            }
            self.take();
        }
    }

    /// Goes to the next statement, which begins its line; `false` at the end of the file.
    fn next_statement(&mut self) -> Result<bool, AccessError> {
        loop {
            let from = self.at;
            self.skip_blanks();
            match self.peek() {
                None => return Ok(false),
                Some(b'\n') => {
                    self.take();
                }
                Some(b'\r') if self.peek_at(1) == Some(b'\n') => {
                    self.take();
                }
                Some(_) if self.at > from => return fail(self.line, "the line is indented"),
                Some(_) => return Ok(true),
            }
        }
    }

    fn end_of_statement(&mut self) -> Result<(), AccessError> {
        self.skip_blanks();
        match (self.peek(), self.peek_at(1)) {
            (None | Some(b'\n'), _) | (Some(b'\r'), Some(b'\n')) => Ok(()),
            _ => self.unexpected(),
        }
    }

    fn unexpected<T>(&self) -> Result<T, AccessError> {
        let rest = String::from_utf8_lossy(self.text.get(self.at..).unwrap_or_default());
        let what = match rest.chars().next() {
            Some('\n' | '\r') => "the end of the line".to_owned(),
            Some(character) => format!("{character:?}"),
            None => "the end of the file".to_owned(),
        };
        fail(
            self.line,
            format!("{what} may not stand here: the file is read as literals, never run"),
        )
    }

    fn assignment(&mut self) -> Result<(String, Lined<Literal>), AccessError> {
        if !self.peek().is_some_and(is_word) {
            return self.unexpected();
        }
        let (line, name) = (self.line, self.word());
        self.skip_blanks();
        if self.peek() != Some(b'=') || self.peek_at(1) == Some(b'=') {
            let text = format!(
                "`{name}` may not stand here: the file is read as literals, never run, and has \
                 `access = [...]` alone"
            );
            return fail(line, text);
        }
        self.take();
        Ok((name, self.value()?))
    }

    fn value(&mut self) -> Result<Lined<Literal>, AccessError> {
        self.skip_blanks();
        let line = self.line;
        let value = match self.peek() {
            Some(b'[') => self.bracket(b']')?,
            Some(b'(') => self.bracket(b')')?,
            Some(b'0'..=b'9' | b'-' | b'.') => self.number()?,
            _ if self.at_text() => self.texts()?,
            Some(byte) if is_word(byte) => self.name()?,
            _ => return self.unexpected(),
        };
        Ok(Lined { line, value })
    }

    /// A list or tuple; brackets around one value without a comma are that value.
    fn bracket(&mut self, close: u8) -> Result<Literal, AccessError> {
        if self.depth == DEPTH_MAX {
            return fail(self.line, format!("lists lie more than {DEPTH_MAX} deep"));
        }
        let line = self.line;
        self.depth += 1;
        self.take();
        let (mut items, mut comma) = (Vec::new(), close == b']');
        loop {
            self.skip_blanks();
            if self.take_if(close) {
                break;
            }
            if self.peek().is_none() {
                return fail(line, "the bracket is never closed");
            }
            items.push(self.value()?);
            self.skip_blanks();
            if self.take_if(b',') {
                comma = true;
            } else if self.peek().is_some_and(|byte| byte != close) {
                return self.unexpected();
            }
        }
        self.depth -= 1;
        match items.pop() {
            Some(only) if items.is_empty() && !comma => Ok(only.value),
            last => {
                items.extend(last);
                Ok(Literal::List(items))
            }
        }
    }

    fn name(&mut self) -> Result<Literal, AccessError> {
        let (line, name) = (self.line, self.word());
        match name.as_str() {
            "None" => Ok(Literal::None),
            "True" => Ok(Literal::Truth(true)),
            "False" => Ok(Literal::Truth(false)),
            _ => match ORDERS.iter().find(|(known, _)| *known == name) {
                Some((_, number)) => Ok(Literal::Integer(*number)),
                None => fail(line, format!("`{name}` is no literal: the file is never run")),
            },
        }
    }

    fn number(&mut self) -> Result<Literal, AccessError> {
        let line = self.line;
        let sign = if self.take_if(b'-') { "-" } else { "" };
        let mut digits = String::new();
        while let Some(byte) = self.peek() {
            // The sign of an exponent is part of it.
            let exponent = matches!(byte, b'+' | b'-') && digits.ends_with(['e', 'E']);
            if !is_word(byte) && byte != b'.' && !exponent {
                break;
            }
            digits.push(char::from(byte));
            self.take();
        }
        match number(sign, &digits) {
            Some(number) => Ok(number),
            None => fail(line, format!("`{sign}{digits}` is no number that is read here")),
        }
    }

    /// Whether a text begins here, with or without a prefix.
    fn at_text(&self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        letters <= 2 && matches!(rest.get(letters), Some(b'\'' | b'"'))
    }

    fn texts(&mut self) -> Result<Literal, AccessError> {
        let mut all = Vec::new();
        while self.at_text() {
            all.extend(self.text()?);
            self.skip_blanks();
        }
        Ok(Literal::Text(all))
    }

    fn text(&mut self) -> Result<Vec<u8>, AccessError> {
        let (line, prefix) = (self.line, self.word());
        let (raw, unicode) = match prefix.as_str() {
            "" => (false, false),
            "r" | "R" => (true, false),
            "u" | "U" => (false, true),
            _ => return fail(line, format!("a text with `{prefix}` before it is not read here")),
        };
        let Some(quote) = self.take() else { return self.unexpected() };
        let triple = self.peek() == Some(quote) && self.peek_at(1) == Some(quote);
        if triple {
            self.take();
            self.take();
        }
        let mut out = Vec::new();
        loop {
            match self.take() {
                Some(b'\n') if !triple => return fail(line, "the text is not closed on its line"),
                None => return fail(line, "the text is never closed"),
                Some(byte) if byte == quote => {
                    if !triple {
                        return Ok(out);
                    }
                    if self.peek() == Some(quote) && self.peek_at(1) == Some(quote) {
                        self.take();
                        self.take();
                        return Ok(out);
                    }
                    out.push(byte);
                }
                Some(b'\\') if raw => {
                    out.push(b'\\');
                    // Even here a quote behind it does not end the text.
                    match self.peek() {
                        Some(b'\n') | None => {}
                        Some(next) => {
                            out.push(next);
                            self.take();
                        }
                    }
                }
                Some(b'\\') => self.escape(unicode, &mut out)?,
                Some(byte) => out.push(byte),
            }
        }
    }

    /// What stands behind a `\`. An escape that Python does not know is the two characters.
    fn escape(&mut self, unicode: bool, out: &mut Vec<u8>) -> Result<(), AccessError> {
        let line = self.line;
        let Some(byte) = self.take() else { return fail(line, "the text is never closed") };
        let number = match byte {
            b'\n' => return Ok(()),
            b'\\' | b'\'' | b'"' => {
                out.push(byte);
                return Ok(());
            }
            b'n' => 0x0a,
            b'r' => 0x0d,
            b't' => 0x09,
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'v' => 0x0b,
            b'0'..=b'7' => {
                let rest = self.digits(2, 8);
                rest.iter().fold(u32::from(byte - b'0'), |sum, digit| sum * 8 + digit)
            }
            b'x' => self.whole(2)?,
            b'u' if unicode => self.whole(4)?,
            b'U' if unicode => self.whole(8)?,
            b'u' | b'U' | b'N' => {
                let text =
                    format!("`\\{}` is not read here: write the character", char::from(byte));
                return fail(line, text);
            }
            _ => {
                out.extend([b'\\', byte]);
                return Ok(());
            }
        };
        push_number(number, unicode, out)
            .ok_or_else(|| AccessError { line, text: format!("there is no character {number:#x}") })
    }

    /// The values of up to `count` digits.
    fn digits(&mut self, count: usize, radix: u32) -> Vec<u32> {
        let mut digits = Vec::new();
        while digits.len() < count
            && let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(radix))
        {
            digits.push(digit);
            self.take();
        }
        digits
    }

    /// A number of exactly `count` hexadecimal digits.
    fn whole(&mut self, count: usize) -> Result<u32, AccessError> {
        let digits = self.digits(count, 16);
        if digits.len() < count {
            return fail(self.line, format!("the escape has not {count} hexadecimal digits"));
        }
        Ok(digits.iter().fold(0, |sum: u32, digit| sum.wrapping_mul(16).wrapping_add(*digit)))
    }
}

/// In a text of bytes a number is a byte, in one of characters a character.
fn push_number(number: u32, unicode: bool, out: &mut Vec<u8>) -> Option<()> {
    if unicode {
        let mut bytes = [0; 4];
        out.extend(char::from_u32(number)?.encode_utf8(&mut bytes).bytes());
    } else {
        out.push(u8::try_from(number).ok()?);
    }
    Some(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A number as Python 2 and 3 both write it; a whole one may end in `L`.
fn number(sign: &str, digits: &str) -> Option<Literal> {
    let whole = digits.strip_suffix(['L', 'l']).unwrap_or(digits);
    if !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit()) {
        // What begins with 0 is octal in Python 2, and nothing in Python 3.
        let octal = whole.len() > 1 && whole.starts_with('0');
        return (!octal).then(|| format!("{sign}{whole}").parse().ok().map(Literal::Integer))?;
    }
    let plain = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    let float = digits.bytes().all(plain) && digits.bytes().any(|byte| byte.is_ascii_digit());
    let value: f64 = if float { format!("{sign}{digits}").parse().ok()? } else { return None };
    value.is_finite().then_some(Literal::Float(value))
}

#[cfg(test)]
mod tests;
