//! Replies and parameters as bytes, for whoever keeps them: ours alone, no dialect.
//!
//! A value is one byte that says its type and then: nothing for nil, one byte for a boolean, 8 bytes
//! for an integer and for a double (its bits), 7 for a date (the year's two first), and for everything
//! else a length of 4 bytes with what it counts: the bytes of a text or of binary data, the values of
//! an array, the members of a struct (each a text and a value, sorted by name). All numbers have their
//! greatest byte first. A reply is `+` and a value, or `-`, the code (8 bytes) and a text.
//!
//! Equal values have equal bytes. As *parameters* so have values that mean the same in every dialect:
//! there a double without a fraction is the integer, since one client writes `2` where another
//! writes `2.0`.

use std::collections::BTreeMap;

use crate::{DEPTH_CEILING, DateTime, Fault, FaultCode, Reply, Value};

#[cfg(test)]
mod tests;

/// Doubles up to this have exact integers: 2 to the 53rd.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A reply as bytes.
#[must_use]
pub fn reply_bytes(reply: &Reply) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    match reply {
        Ok(value) => {
            put(b"+");
            write(value, Exactness::Exact, &mut put);
        }
        Err(fault) => {
            put(b"-");
            put(&fault.code.number().to_be_bytes());
            write_text(fault.text.as_bytes(), &mut put);
        }
    }
    out
}

/// The reply that has these bytes; `None` where none has.
#[must_use]
pub fn reply_of_bytes(bytes: &[u8]) -> Option<Reply> {
    let mut from = Bytes(bytes);
    let [kind] = from.take::<1>()?;
    let reply = match kind {
        b'+' => Ok(read(&mut from)?),
        b'-' => {
            let code = FaultCode::from_number(i64::from_be_bytes(from.take()?));
            Err(Fault { code, text: from.text()? })
        }
        _ => return None,
    };
    from.0.is_empty().then_some(reply)
}

/// Gives the bytes of parameters to `put`, piece by piece: those of an array of them.
pub fn write_params(params: &[Value], mut put: impl FnMut(&[u8])) {
    write_items(params, Exactness::Meaning, &mut put);
}

/// Whether a double without a fraction is told from the integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exactness {
    Exact,
    Meaning,
}

fn write(value: &Value, exactness: Exactness, put: &mut impl FnMut(&[u8])) {
    match value {
        Value::Nil => put(b"n"),
        Value::Bool(truth) => put(&[b'b', u8::from(*truth)]),
        Value::Int(number) => write_int(*number, put),
        Value::Double(number) => match integer(*number) {
            Some(number) if exactness == Exactness::Meaning => write_int(number, put),
            _ => {
                put(b"d");
                put(&number.to_bits().to_be_bytes());
            }
        },
        Value::String(text) => {
            put(b"s");
            write_text(text.as_bytes(), put);
        }
        Value::DateTime(date) => {
            let DateTime { year, month, day, hour, minute, second } = date;
            let [century, year] = year.to_be_bytes();
            put(&[b't', century, year, *month, *day, *hour, *minute, *second]);
        }
        Value::Binary(bytes) => {
            put(b"x");
            write_text(bytes, put);
        }
        Value::Array(items) => write_items(items, exactness, put),
        Value::Struct(members) => {
            put(b"m");
            write_length(members.len(), put);
            for (name, value) in members {
                write_text(name.as_bytes(), put);
                write(value, exactness, put);
            }
        }
    }
}

fn write_items(items: &[Value], exactness: Exactness, put: &mut impl FnMut(&[u8])) {
    put(b"a");
    write_length(items.len(), put);
    items.iter().for_each(|item| write(item, exactness, put));
}

fn write_int(number: i64, put: &mut impl FnMut(&[u8])) {
    put(b"i");
    put(&number.to_be_bytes());
}

fn write_text(bytes: &[u8], put: &mut impl FnMut(&[u8])) {
    write_length(bytes.len(), put);
    put(bytes);
}

/// Bodies are far shorter than what 4 bytes count; a longer one would be told from no other.
fn write_length(length: usize, put: &mut impl FnMut(&[u8])) {
    put(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn integer(number: f64) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "it has no fraction and is small enough")]
    let whole = || number as i64;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then(whole)
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.take()?)).ok()
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.counted()?.to_vec()).ok()
    }
}

/// An array or a struct that is being read, and how many values it still lacks.
struct Open {
    left: usize,
    held: Held,
}

enum Held {
    Items(Vec<Value>),
    Members { members: BTreeMap<String, Value>, name: String },
}

/// Reads one value, without recursion.
fn read(from: &mut Bytes<'_>) -> Option<Value> {
    let mut open: Vec<Open> = Vec::new();
    loop {
        let mut value = match begin(from)? {
            Begun::Whole(value) => value,
            Begun::Open(inner) => {
                if open.len() >= DEPTH_CEILING {
                    return None;
                }
                open.push(inner);
                continue;
            }
        };
        // What it completes is a value in its turn.
        loop {
            let Some(mut outer) = open.pop() else { return Some(value) };
            outer.left -= 1;
            match &mut outer.held {
                Held::Items(items) => items.push(value),
                Held::Members { members, name } => {
                    members.insert(std::mem::take(name), value);
                    if outer.left > 0 {
                        *name = from.text()?;
                    }
                }
            }
            if outer.left > 0 {
                open.push(outer);
                break;
            }
            value = match outer.held {
                Held::Items(items) => Value::Array(items),
                Held::Members { members, .. } => Value::Struct(members),
            };
        }
    }
}

enum Begun {
    Whole(Value),
    Open(Open),
}

fn begin(from: &mut Bytes<'_>) -> Option<Begun> {
    let [kind] = from.take::<1>()?;
    Some(Begun::Whole(match kind {
        b'n' => Value::Nil,
        b'b' => match from.take::<1>()? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return None,
        },
        b'i' => Value::Int(i64::from_be_bytes(from.take()?)),
        b'd' => Value::Double(f64::from_bits(u64::from_be_bytes(from.take()?))),
        b's' => Value::String(from.text()?),
        b't' => {
            let [century, year, month, day, hour, minute, second] = from.take()?;
            let year = u16::from_be_bytes([century, year]);
            Value::DateTime(DateTime { year, month, day, hour, minute, second })
        }
        b'x' => Value::Binary(from.counted()?.to_vec()),
        b'a' => match from.length()? {
            0 => Value::Array(Vec::new()),
            left => return Some(Begun::Open(Open { left, held: Held::Items(Vec::new()) })),
        },
        b'm' => match from.length()? {
            0 => Value::Struct(BTreeMap::new()),
            left => {
                let (members, name) = (BTreeMap::new(), from.text()?);
                return Some(Begun::Open(Open { left, held: Held::Members { members, name } }));
            }
        },
        _ => return None,
    }))
}
