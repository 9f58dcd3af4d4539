//! The values that parameters and results are made of.

use std::collections::BTreeMap;
use std::fmt;

#[cfg(test)]
mod tests;

/// One value of a call or a reply: the union of what the dialects can carry.
///
/// Structs keep their members sorted by name, so two equal structs have one spelling.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `<nil/>`, JSON `null`.
    Nil,
    /// `<boolean>`.
    Bool(bool),
    /// `<int>`, `<i4>`, `<i8>`: every integer is 64 bits here.
    Int(i64),
    /// `<double>`: always finite.
    Double(f64),
    /// `<string>`: Unicode text of any characters that XML 1.0 allows.
    String(String),
    /// `<dateTime.iso8601>`.
    DateTime(DateTime),
    /// `<base64>`.
    Binary(Vec<u8>),
    /// `<array>`.
    Array(Vec<Value>),
    /// `<struct>`.
    Struct(BTreeMap<String, Value>),
}

impl Value {
    /// The XML-RPC name of this value's type, for signatures and messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::DateTime(_) => "dateTime.iso8601",
            Self::Binary(_) => "base64",
            Self::Array(_) => "array",
            Self::Struct(_) => "struct",
        }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if this is an integer.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The number, if this is a double or an integer.
    ///
    /// Clients of dynamic languages send `2` where `2.0` is meant.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Double(number) => Some(*number),
            #[allow(
                clippy::cast_precision_loss,
                reason = "beyond 2^53 the nearest double is what is meant"
            )]
            Self::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// The items, if this is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The member called `name`, if this is a struct that has one.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Struct(members) => members.get(name),
            _ => None,
        }
    }

    /// A struct from name-value pairs; a later pair of the same name wins.
    #[must_use]
    pub fn record<const N: usize>(members: [(&str, Value); N]) -> Self {
        Self::Struct(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::Array(items)
    }
}

/// A date and time of day to the second, of no stated zone (XML-RPC gives none).
///
/// Parsed from `YYYYMMDDTHH:MM:SS` and printed in the same form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// 0 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31, and a day that the month has.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

/// The text is no date that this room accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a date of the form YYYYMMDDTHH:MM:SS")]
pub struct DateTimeError;

impl DateTime {
    /// Reads `YYYYMMDDTHH:MM:SS`; `YYYY-MM-DD` before the `T`, and a trailing `Z`, are taken too.
    ///
    /// # Errors
    /// [`DateTimeError`] where the text has another shape or names a day that does not exist.
    pub fn parse(text: &str) -> Result<Self, DateTimeError> {
        let text = text.strip_suffix('Z').unwrap_or(text);
        let (date, time) = text.split_once('T').ok_or(DateTimeError)?;
        let date = digits_of(date, "dddddddd").or_else(|_| digits_of(date, "dddd-dd-dd"))?;
        let time = digits_of(time, "dd:dd:dd")?;
        let parsed = Self {
            year: number(&date, 0, 4)?,
            month: small(&date, 4)?,
            day: small(&date, 6)?,
            hour: small(&time, 0)?,
            minute: small(&time, 2)?,
            second: small(&time, 4)?,
        };
        if parsed.exists() { Ok(parsed) } else { Err(DateTimeError) }
    }

    fn exists(self) -> bool {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days = match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return false,
        };
        (1..=days).contains(&self.day) && self.hour < 24 && self.minute < 60 && self.second <= 60
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(out, "{year:04}{month:02}{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// The digits of `text`, if it looks like `shape`: a digit for each `d`, all else as it stands.
fn digits_of(text: &str, shape: &str) -> Result<String, DateTimeError> {
    let fits = |(byte, wanted): (u8, u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    };
    if text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits) {
        Ok(text.chars().filter(char::is_ascii_digit).collect())
    } else {
        Err(DateTimeError)
    }
}

fn number(digits: &str, from: usize, count: usize) -> Result<u16, DateTimeError> {
    digits.get(from..from + count).and_then(|part| part.parse().ok()).ok_or(DateTimeError)
}

fn small(digits: &str, from: usize) -> Result<u8, DateTimeError> {
    digits.get(from..from + 2).and_then(|part| part.parse().ok()).ok_or(DateTimeError)
}
