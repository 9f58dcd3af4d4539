//! From a value to Rust.

use std::collections::btree_map;
use std::vec;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{DATE_TIME, TypedError, VALUE};
use crate::Value;

/// Gives a [`Value`] to whatever is deserialized.
pub(super) struct Reader(pub(super) Value);

impl Reader {
    /// What a message calls the value.
    fn unexpected(value: &Value) -> Unexpected<'_> {
        match value {
            Value::Nil => Unexpected::Unit,
            Value::Bool(truth) => Unexpected::Bool(*truth),
            Value::Int(number) => Unexpected::Signed(*number),
            Value::Double(number) => Unexpected::Float(*number),
            Value::String(_) => Unexpected::Other("a string"),
            Value::DateTime(_) => Unexpected::Other("a dateTime"),
            Value::Binary(_) => Unexpected::Other("a base64"),
            Value::Array(_) => Unexpected::Seq,
            Value::Struct(_) => Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for Reader {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        match self.0 {
            Value::Nil => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(truth),
            Value::Int(number) => visitor.visit_i64(number),
            Value::Double(number) => visitor.visit_f64(number),
            Value::String(text) => visitor.visit_string(text),
            Value::DateTime(when) => visitor.visit_string(when.to_iso()),
            Value::Binary(bytes) => visitor.visit_byte_buf(bytes),
            Value::Array(items) => {
                let mut items = Items { items: items.into_iter(), place: 0 };
                let made = visitor.visit_seq(&mut items)?;
                match items.items.len() {
                    0 => Ok(made),
                    left => Err(TypedError::new(format!("{left} items more than are wanted"))),
                }
            }
            Value::Struct(members) => {
                visitor.visit_map(Members { members: members.into_iter(), value: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        match self.0 {
            Value::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Bytes are a sequence too, for who did not ask for [`Bytes`](super::Bytes).
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        match self.0 {
            Value::Binary(bytes) => visitor
                .visit_seq(serde::de::value::SeqDeserializer::<_, TypedError>::new(
                    bytes.into_iter(),
                )),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        match (name, &self.0) {
            (VALUE, _) => visitor.visit_newtype_struct(Whole(self.0)),
            (DATE_TIME, Value::DateTime(_)) => visitor.visit_newtype_struct(self),
            (DATE_TIME, other) => Err(TypedError::invalid_type(Self::unexpected(other), &visitor)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        let (name, content) = match self.0 {
            Value::String(name) => (name, None),
            Value::Struct(members) if members.len() == 1 => {
                let mut members = members.into_iter();
                let (name, content) =
                    members.next().ok_or_else(|| TypedError::new("a variant without a name"))?;
                (name, Some(content))
            }
            other => {
                let expected = &"the name of a variant, or a struct of that one member";
                return Err(TypedError::invalid_type(Self::unexpected(&other), expected));
            }
        };
        visitor.visit_enum(Variant { name, content })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct map struct identifier
    }
}

/// Gives a date as such, to one who asked for a value as it is.
struct Whole(Value);

impl<'de> Deserializer<'de> for Whole {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        match self.0 {
            Value::DateTime(_) => {
                let only = [(DATE_TIME.to_owned(), self.0)].into_iter().collect();
                let Value::Struct(members) = Value::Struct(only) else {
                    return visitor.visit_unit();
                };
                visitor.visit_map(Members { members: members.into_iter(), value: None })
            }
            other => Reader(other).deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct Items {
    items: vec::IntoIter<Value>,
    place: usize,
}

impl<'de> SeqAccess<'de> for &mut Items {
    type Error = TypedError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TypedError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let place = self.place;
        self.place += 1;
        let made = seed.deserialize(Reader(item));
        made.map(Some).map_err(|error| error.within(&format!("[{place}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Members {
    members: btree_map::IntoIter<String, Value>,
    /// The value whose name was asked for.
    value: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Members {
    type Error = TypedError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TypedError> {
        let Some((name, value)) = self.members.next() else { return Ok(None) };
        self.value = Some((name.clone(), value));
        seed.deserialize(Name(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, TypedError> {
        let (name, value) =
            self.value.take().ok_or_else(|| TypedError::new("a value without a name"))?;
        seed.deserialize(Reader(value)).map_err(|error| error.within(&name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.members.len())
    }
}

/// A member's name; where a map's keys are numbers or booleans, it is read as one.
struct Name(String);

macro_rules! parsed {
    ($($method:ident $visit:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => visitor.visit_string(self.0),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for Name {
    type Error = TypedError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        visitor.visit_enum(Variant { name: self.0, content: None })
    }

    parsed! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8 deserialize_i16 visit_i16
        deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u8 visit_u8 deserialize_u16 visit_u16
        deserialize_u32 visit_u32 deserialize_u64 visit_u64
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier ignored_any
    }
}

struct Variant {
    name: String,
    content: Option<Value>,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = TypedError;
    type Variant = Content;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Content), TypedError> {
        let name: StringDeserializer<TypedError> = self.name.clone().into_deserializer();
        Ok((seed.deserialize(name)?, Content { name: self.name, content: self.content }))
    }
}

struct Content {
    name: String,
    content: Option<Value>,
}

impl Content {
    fn read<T>(self, read: impl FnOnce(Reader) -> Result<T, TypedError>) -> Result<T, TypedError> {
        let content = self
            .content
            .ok_or_else(|| TypedError::new("this variant has content, and there is none"));
        content.and_then(|value| read(Reader(value))).map_err(|error| error.within(&self.name))
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = TypedError;

    fn unit_variant(self) -> Result<(), TypedError> {
        match self.content {
            None | Some(Value::Nil) => Ok(()),
            Some(_) => Err(TypedError::new("this variant has no content").within(&self.name)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, TypedError> {
        self.read(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        self.read(|content| content.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        self.read(|content| content.deserialize_any(visitor))
    }
}
