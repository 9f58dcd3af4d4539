//! Values as types of Rust and back, by serde.
//!
//! | Rust | value |
//! |---|---|
//! | `bool`; integers that 64 bits hold; finite `f32`, `f64`; `char`, `str` | boolean, int, double, string |
//! | [`Bytes`], and whatever serde calls bytes | base64; a `Vec<u8>` is written as an array, and read from either |
//! | [`DateTime`] | dateTime; a `String` reads it as ISO 8601 |
//! | `None`, `()` | nil; a member that is not there is `None` too |
//! | sequences, tuples | array |
//! | structs, and maps whose keys are texts, numbers or booleans | struct |
//! | a variant without content | its name; any other a struct of one member, its name |
//! | [`Value`] | itself |
//!
//! ```
//! use nesssi_rpc::{Value, typed};
//! #[derive(serde::Deserialize, PartialEq, Debug)]
//! struct Asked { name: String, seconds: f64, note: Option<String> }
//!
//! let value = Value::record([("name", "M31".into()), ("seconds", Value::Int(2))]);
//! let asked: Asked = typed::from_value(value).unwrap();
//! assert_eq!(asked, Asked { name: "M31".to_owned(), seconds: 2.0, note: None });
//! ```

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{DateTime, Value};

/// By this name of a newtype a date is told from a string, where the other side is ours.
const DATE_TIME: &str = "$nesssi::DateTime";
/// By this name a value is asked for as it is.
const VALUE: &str = "$nesssi::Value";

/// Why a type and a value do not fit: what, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedError {
    /// Members and places on the way to it, the innermost last: `files[2].size`.
    place: String,
    why: String,
}

impl TypedError {
    fn new(why: impl fmt::Display) -> Self {
        Self { place: String::new(), why: why.to_string() }
    }

    fn within(mut self, outer: &str) -> Self {
        let join = if self.place.is_empty() || self.place.starts_with('[') { "" } else { "." };
        self.place = format!("{outer}{join}{}", self.place);
        self
    }
}

impl fmt::Display for TypedError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => out.write_str(&self.why),
            place => write!(out, "{place}: {}", self.why),
        }
    }
}

impl std::error::Error for TypedError {}

impl serde::ser::Error for TypedError {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why)
    }
}

impl serde::de::Error for TypedError {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::new(why)
    }
}

/// The value of `typed`.
///
/// # Errors
/// [`TypedError`] for what no value can be: an integer beyond 64 bits, a number that is none, a map
/// whose keys are no texts.
pub fn to_value<T: Serialize + ?Sized>(typed: &T) -> Result<Value, TypedError> {
    typed.serialize(write::Writer)
}

/// The parameters that `typed` is: the items of a tuple or a sequence in order, none for `()`, and
/// whatever else it is as the only one.
///
/// # Errors
/// As [`to_value`].
pub fn to_params<T: Serialize + ?Sized>(typed: &T) -> Result<Vec<Value>, TypedError> {
    Ok(match to_value(typed)? {
        Value::Nil => Vec::new(),
        Value::Array(items) => items,
        one => vec![one],
    })
}

/// `value` as a type of the caller's.
///
/// # Errors
/// [`TypedError`] where it is something else, with the place.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, TypedError> {
    T::deserialize(read::Reader(value))
}

/// Bytes that are a base64 on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }

    fn visit_str<E>(self, text: &str) -> Result<Bytes, E> {
        Ok(Bytes(text.as_bytes().to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(Bytes(bytes))
    }
}

impl Serialize for DateTime {
    /// As ISO 8601 where the format is another than ours.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(DATE_TIME, &self.to_iso())
    }
}

impl<'de> Deserialize<'de> for DateTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = DateTime;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a dateTime")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<DateTime, E> {
                DateTime::parse(text).map_err(E::custom)
            }

            fn visit_newtype_struct<D>(self, inner: D) -> Result<DateTime, D::Error>
            where
                D: Deserializer<'de>,
            {
                inner.deserialize_str(self)
            }
        }
        deserializer.deserialize_newtype_struct(DATE_TIME, Of)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Double(number) => serializer.serialize_f64(*number),
            Self::String(text) => serializer.serialize_str(text),
            Self::DateTime(when) => when.serialize(serializer),
            Self::Binary(bytes) => serializer.serialize_bytes(bytes),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Struct(members) => serializer.collect_map(members),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(VALUE, ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(|_| E::custom("an integer beyond 64 bits"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Double(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Binary(bytes.to_vec()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Binary(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut record = std::collections::BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == DATE_TIME {
                return members.next_value().map(Value::DateTime);
            }
            record.insert(name, members.next_value()?);
        }
        Ok(Value::Struct(record))
    }
}
