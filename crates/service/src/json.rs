//! Values as JSON, with tagged objects for what JSON lacks.
//!
//! Nil, truth values, numbers, strings, arrays and structs are JSON's own. Bytes are
//! `{"$nesssi":"binary","base64":"..."}`, a date is
//! `{"$nesssi":"datetime","iso":"20061122T12:00:00"}`, and a struct that has itself a member
//! `$nesssi` is wrapped: `{"$nesssi":"struct","members":{...}}`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nesssi_rpc::{DateTime, Value};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};

/// How deep arrays and structs may nest in a value. Wrapped structs take two levels of JSON each,
/// and serde_json itself stops at 128.
pub const VALUE_DEPTH_MAX: usize = 64;

/// The member that marks a tagged object.
const TAG: &str = "$nesssi";

/// The JSON text makes no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or a number out of range.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// Nested deeper than [`VALUE_DEPTH_MAX`].
    #[error("a value is nested deeper than {VALUE_DEPTH_MAX} levels")]
    Depth,
    /// A string holds a character that XML 1.0 cannot carry.
    #[error("a string holds a control character that cannot be sent; send bytes instead")]
    Text,
    /// An object with the member `$nesssi` is none of the known ones.
    #[error("an object with the member \"$nesssi\" is not one of the tagged objects")]
    Tag,
}

/// Reads one value from a JSON text.
///
/// # Errors
/// [`JsonError`] where the text makes no value.
pub fn from_str(text: &str) -> Result<Value, JsonError> {
    let met = Met::default();
    let mut source = serde_json::Deserializer::from_str(text);
    let read = Seed(&met).deserialize(&mut source).and_then(|value| {
        source.end()?;
        Ok(value)
    });
    let value = read.map_err(|error| met.error(&error))?;
    let value = if met.tag.get() { untag(value)? } else { value };
    if is_within(&value, VALUE_DEPTH_MAX) { Ok(value) } else { Err(JsonError::Depth) }
}

/// The JSON text of a value.
///
/// # Errors
/// [`JsonError::Depth`].
pub fn to_string(value: &Value) -> Result<String, JsonError> {
    serde_json::to_string(&Json(value)).map_err(|_| JsonError::Depth)
}

/// A value that serializes as this module's JSON; fails only where it is nested too deep.
#[derive(Debug, Clone, Copy)]
pub struct Json<'a>(pub &'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Node { value: self.0, left: VALUE_DEPTH_MAX }.serialize(to)
    }
}

/// A value inside of a value, with the levels still allowed under it.
struct Node<'a> {
    value: &'a Value,
    left: usize,
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Nil => to.serialize_unit(),
            Value::Bool(truth) => to.serialize_bool(*truth),
            Value::Int(number) => to.serialize_i64(*number),
            Value::Double(number) => to.serialize_f64(*number),
            Value::String(text) => to.serialize_str(text),
            Value::DateTime(time) => tagged(to, "datetime", "iso", &time.to_string()),
            Value::Binary(bytes) => tagged(to, "binary", "base64", &STANDARD.encode(bytes)),
            Value::Array(items) => {
                let left = deeper::<S>(self.left)?;
                let mut out = to.serialize_seq(Some(items.len()))?;
                for value in items {
                    out.serialize_element(&Node { value, left })?;
                }
                out.end()
            }
            Value::Struct(members) => {
                let members = Members { members, left: deeper::<S>(self.left)? };
                if members.members.contains_key(TAG) {
                    tagged(to, "struct", "members", &members)
                } else {
                    members.serialize(to)
                }
            }
        }
    }
}

struct Members<'a> {
    members: &'a BTreeMap<String, Value>,
    left: usize,
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut out = to.serialize_map(Some(self.members.len()))?;
        for (name, value) in self.members {
            out.serialize_entry(name, &Node { value, left: self.left })?;
        }
        out.end()
    }
}

fn deeper<S: Serializer>(left: usize) -> Result<usize, S::Error> {
    left.checked_sub(1).ok_or_else(|| S::Error::custom(JsonError::Depth))
}

fn tagged<S: Serializer, T: Serialize + ?Sized>(
    to: S,
    kind: &str,
    member: &str,
    value: &T,
) -> Result<S::Ok, S::Error> {
    let mut out = to.serialize_map(Some(2))?;
    out.serialize_entry(TAG, kind)?;
    out.serialize_entry(member, value)?;
    out.end()
}

/// What was met while reading, beside the value.
#[derive(Default)]
struct Met {
    tag: Cell<bool>,
    text: Cell<bool>,
}

impl Met {
    fn error(&self, error: &serde_json::Error) -> JsonError {
        if self.text.get() {
            return JsonError::Text;
        }
        let said = error.to_string();
        if said.starts_with("recursion limit") { JsonError::Depth } else { JsonError::Syntax(said) }
    }

    fn check<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        if is_xml_text(text) {
            return Ok(());
        }
        self.text.set(true);
        Err(E::custom(JsonError::Text))
    }
}

/// Whether XML 1.0 can carry every character of `text`.
#[must_use]
pub fn is_xml_text(text: &str) -> bool {
    let bad_control = |b: u8| b < 0x20 && b != b'\t' && b != b'\n' && b != b'\r';
    !text.bytes().any(bad_control) && (text.is_ascii() || !text.contains(['\u{FFFE}', '\u{FFFF}']))
}

#[derive(Clone, Copy)]
struct Seed<'a>(&'a Met);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }
    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }
    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(|_| E::custom("integer out of range"))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Double(number))
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }
    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        self.0.check(&text)?;
        Ok(Value::String(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = from.next_key::<String>()? {
            self.0.check(&name)?;
            if name == TAG {
                self.0.tag.set(true);
            }
            members.insert(name, from.next_value_seed(self)?);
        }
        Ok(Value::Struct(members))
    }
}

/// Turns every tagged object into what it stands for.
fn untag(value: Value) -> Result<Value, JsonError> {
    match value {
        Value::Array(items) => {
            items.into_iter().map(untag).collect::<Result<_, _>>().map(Value::Array)
        }
        Value::Struct(members) if members.contains_key(TAG) => untag_object(members),
        Value::Struct(members) => untag_members(members),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Double(_)
        | Value::String(_)
        | Value::DateTime(_)
        | Value::Binary(_) => Ok(value),
    }
}

fn untag_members(members: BTreeMap<String, Value>) -> Result<Value, JsonError> {
    members
        .into_iter()
        .map(|(name, value)| Ok((name, untag(value)?)))
        .collect::<Result<_, _>>()
        .map(Value::Struct)
}

fn untag_object(mut members: BTreeMap<String, Value>) -> Result<Value, JsonError> {
    let kind = members.remove(TAG);
    let (Some(kind), Some((name, content)), true) =
        (kind.as_ref().and_then(Value::as_str), members.pop_first(), members.is_empty())
    else {
        return Err(JsonError::Tag);
    };
    match (kind, name.as_str(), content) {
        ("binary", "base64", Value::String(text)) => {
            STANDARD.decode(text).map(Value::Binary).map_err(|_| JsonError::Tag)
        }
        ("datetime", "iso", Value::String(text)) => {
            DateTime::parse(&text).map(Value::DateTime).map_err(|_| JsonError::Tag)
        }
        ("struct", "members", Value::Struct(members)) => untag_members(members),
        _ => Err(JsonError::Tag),
    }
}

fn is_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_within(item, levels - 1)),
        Value::Struct(members) => {
            levels > 0 && members.values().all(|item| is_within(item, levels - 1))
        }
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Double(_)
        | Value::String(_)
        | Value::DateTime(_)
        | Value::Binary(_) => true,
    }
}

#[cfg(test)]
pub(crate) mod tests;
