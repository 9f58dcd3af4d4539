//! The values that parameters and results are made of.

use std::collections::BTreeMap;
use std::fmt;

use crate::chars;

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

    /// About how many bytes of memory this value takes.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        let beside = match self {
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::DateTime(_) => 0,
            Self::String(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Array(items) => items.iter().map(Self::bytes_held).sum(),
            Self::Struct(members) => members
                .iter()
                .map(|(name, value)| size_of::<String>() + name.len() + value.bytes_held())
                .sum(),
        };
        size_of::<Self>() + beside
    }

    /// A string where `bytes` are a text that every dialect can carry, else the bytes.
    #[must_use]
    pub fn text_or_binary(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) if chars::first_forbidden(&text).is_none() => Self::String(text),
            Ok(text) => Self::Binary(text.into_bytes()),
            Err(error) => Self::Binary(error.into_bytes()),
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
/// Printed as `YYYYMMDDTHH:MM:SS`.
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
    /// Reads `YYYYMMDDTHH:MM:SS` and what clients write for it (ISO 8601, XML Schema's `dateTime`):
    /// `YYYY-MM-DD` before the `T`, `HHMMSS` behind it, then a fraction of a second, which is cut
    /// off, then `Z` or an offset of at most 14 hours (`+HH:MM`, `+HHMM`, `+HH`), by which the time
    /// is taken to UTC.
    ///
    /// # Errors
    /// [`DateTimeError`] where the text has another shape, names a day or time that does not exist,
    /// or is in UTC outside of the years 0 to 9999.
    pub fn parse(text: &str) -> Result<Self, DateTimeError> {
        let (date, time) = text.split_once('T').ok_or(DateTimeError)?;
        let date = digits_of(date, "dddddddd").or_else(|_| digits_of(date, "dddd-dd-dd"))?;
        let (time, offset_minutes) = match time.find(['Z', '+', '-']) {
            Some(at) => {
                let (time, zone) = time.split_at(at);
                (time, offset_minutes(zone)?)
            }
            None => (time, 0),
        };
        let time = without_fraction(time)?;
        let time = digits_of(time, "dd:dd:dd").or_else(|_| digits_of(time, "dddddd"))?;
        let parsed = Self {
            year: number(&date, 0, 4)?,
            month: small(&date, 4)?,
            day: small(&date, 6)?,
            hour: small(&time, 0)?,
            minute: small(&time, 2)?,
            second: small(&time, 4)?,
        };
        if parsed.exists() { parsed.less_minutes(offset_minutes) } else { Err(DateTimeError) }
    }

    /// `YYYY-MM-DDTHH:MM:SS`, as ISO 8601 and JSON write it.
    #[must_use]
    pub fn to_iso(self) -> String {
        let Self { year, month, day, hour, minute, second } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }

    fn exists(self) -> bool {
        (1..=12).contains(&self.month)
            && (1..=self.days_in_month()).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60
    }

    fn days_in_month(self) -> u8 {
        let leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match self.month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 31,
        }
    }

    /// So many minutes earlier, less than a day.
    fn less_minutes(self, minutes: i16) -> Result<Self, DateTimeError> {
        const DAY_MINUTES: i16 = 24 * 60;
        let minute_of_day = i16::from(self.hour) * 60 + i16::from(self.minute) - minutes;
        let day = match minute_of_day {
            ..0 => self.day_before()?,
            DAY_MINUTES.. => self.day_after()?,
            _ => self,
        };
        let minute_of_day = minute_of_day.rem_euclid(DAY_MINUTES);
        let part = |number: i16| u8::try_from(number).map_err(|_| DateTimeError);
        Ok(Self { hour: part(minute_of_day / 60)?, minute: part(minute_of_day % 60)?, ..day })
    }

    fn day_before(self) -> Result<Self, DateTimeError> {
        match (self.month, self.day) {
            (1, 1) => {
                let year = self.year.checked_sub(1).ok_or(DateTimeError)?;
                Ok(Self { year, month: 12, day: 31, ..self })
            }
            (month, 1) => {
                let last = Self { month: month - 1, ..self };
                Ok(Self { day: last.days_in_month(), ..last })
            }
            (_, day) => Ok(Self { day: day - 1, ..self }),
        }
    }

    fn day_after(self) -> Result<Self, DateTimeError> {
        match (self.month, self.day) {
            (12, 31) if self.year >= 9999 => Err(DateTimeError),
            (12, 31) => Ok(Self { year: self.year + 1, month: 1, day: 1, ..self }),
            (month, day) if day == self.days_in_month() => {
                Ok(Self { month: month + 1, day: 1, ..self })
            }
            (_, day) => Ok(Self { day: day + 1, ..self }),
        }
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(out, "{year:04}{month:02}{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// Minutes east of UTC: `Z`, `+HH:MM`, `+HHMM` or `+HH`.
fn offset_minutes(zone: &str) -> Result<i16, DateTimeError> {
    let (sign, digits) = match zone.as_bytes().first() {
        Some(b'Z') if zone.len() == 1 => return Ok(0),
        Some(b'+') => (1, zone.get(1..).unwrap_or_default()),
        Some(b'-') => (-1, zone.get(1..).unwrap_or_default()),
        _ => return Err(DateTimeError),
    };
    let digits = digits_of(digits, "dd:dd")
        .or_else(|_| digits_of(digits, "dddd"))
        .or_else(|_| digits_of(digits, "dd").map(|hours| hours + "00"))?;
    let (hours, minutes) = (i16::from(small(&digits, 0)?), i16::from(small(&digits, 2)?));
    let offset = hours * 60 + minutes;
    if minutes < 60 && offset <= 14 * 60 { Ok(sign * offset) } else { Err(DateTimeError) }
}

/// Cuts `.` or `,` and the digits behind it.
fn without_fraction(time: &str) -> Result<&str, DateTimeError> {
    match time.split_once(['.', ',']) {
        None => Ok(time),
        Some((whole, digits))
            if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Ok(whole)
        }
        Some(_) => Err(DateTimeError),
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
