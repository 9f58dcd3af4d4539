//! From Rust to a value.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{DATE_TIME, TypedError};
use crate::{DateTime, Value};

/// Makes a [`Value`] of whatever is serialized.
pub(super) struct Writer;

fn int(number: impl TryInto<i64>) -> Result<Value, TypedError> {
    number.try_into().map(Value::Int).map_err(|_| TypedError::new("an integer beyond 64 bits"))
}

/// What a variant is: nothing, or its name around its content.
fn named(variant: Option<&'static str>, content: Value) -> Value {
    match variant {
        None => content,
        Some(name) => Value::record([(name, content)]),
    }
}

impl Serializer for Writer {
    type Ok = Value;
    type Error = TypedError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Members;
    type SerializeStruct = Members;
    type SerializeStructVariant = Members;

    fn serialize_bool(self, truth: bool) -> Result<Value, TypedError> {
        Ok(Value::Bool(truth))
    }

    fn serialize_i8(self, number: i8) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_i16(self, number: i16) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_i32(self, number: i32) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_i64(self, number: i64) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_i128(self, number: i128) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_u8(self, number: u8) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_u16(self, number: u16) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_u32(self, number: u32) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_u64(self, number: u64) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_u128(self, number: u128) -> Result<Value, TypedError> {
        int(number)
    }

    fn serialize_f32(self, number: f32) -> Result<Value, TypedError> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<Value, TypedError> {
        if number.is_finite() {
            Ok(Value::Double(number))
        } else {
            Err(TypedError::new("a double is finite on the wire"))
        }
    }

    fn serialize_char(self, character: char) -> Result<Value, TypedError> {
        Ok(Value::String(character.into()))
    }

    fn serialize_str(self, text: &str) -> Result<Value, TypedError> {
        Ok(Value::from(text))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, TypedError> {
        Ok(Value::Binary(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Value, TypedError> {
        Ok(Value::Nil)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, inner: &T) -> Result<Value, TypedError> {
        inner.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, TypedError> {
        Ok(Value::Nil)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, TypedError> {
        Ok(Value::Nil)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, TypedError> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        inner: &T,
    ) -> Result<Value, TypedError> {
        match (inner.serialize(self)?, name) {
            (Value::String(text), DATE_TIME) => {
                DateTime::parse(&text).map(Value::DateTime).map_err(TypedError::new)
            }
            (other, _) => Ok(other),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        inner: &T,
    ) -> Result<Value, TypedError> {
        let content = inner.serialize(self).map_err(|error| error.within(variant))?;
        Ok(named(Some(variant), content))
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Items, TypedError> {
        Ok(Items { items: Vec::new(), variant: None })
    }

    fn serialize_tuple(self, _length: usize) -> Result<Items, TypedError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Items, TypedError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Items, TypedError> {
        Ok(Items { items: Vec::new(), variant: Some(variant) })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Members, TypedError> {
        Ok(Members { members: BTreeMap::new(), name: None, variant: None })
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Members, TypedError> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Members, TypedError> {
        Ok(Members { members: BTreeMap::new(), name: None, variant: Some(variant) })
    }
}

/// An array in the making.
pub(super) struct Items {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), TypedError> {
        let place = || format!("[{}]", self.items.len());
        let item = item.serialize(Writer).map_err(|error| error.within(&place()))?;
        self.items.push(item);
        Ok(())
    }

    fn made(self) -> Value {
        named(self.variant, Value::Array(self.items))
    }
}

/// A struct in the making.
pub(super) struct Members {
    members: BTreeMap<String, Value>,
    /// The name whose value is to come.
    name: Option<String>,
    variant: Option<&'static str>,
}

impl Members {
    fn put<T: Serialize + ?Sized>(&mut self, name: String, value: &T) -> Result<(), TypedError> {
        let value = value.serialize(Writer).map_err(|error| error.within(&name))?;
        self.members.insert(name, value);
        Ok(())
    }

    fn made(self) -> Value {
        named(self.variant, Value::Struct(self.members))
    }
}

impl SerializeSeq for Items {
    type Ok = Value;
    type Error = TypedError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), TypedError> {
        self.push(item)
    }

    fn end(self) -> Result<Value, TypedError> {
        Ok(self.made())
    }
}

impl SerializeTuple for Items {
    type Ok = Value;
    type Error = TypedError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), TypedError> {
        self.push(item)
    }

    fn end(self) -> Result<Value, TypedError> {
        Ok(self.made())
    }
}

impl SerializeTupleStruct for Items {
    type Ok = Value;
    type Error = TypedError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), TypedError> {
        self.push(item)
    }

    fn end(self) -> Result<Value, TypedError> {
        Ok(self.made())
    }
}

impl SerializeTupleVariant for Items {
    type Ok = Value;
    type Error = TypedError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), TypedError> {
        self.push(item)
    }

    fn end(self) -> Result<Value, TypedError> {
        Ok(self.made())
    }
}

impl SerializeMap for Members {
    type Ok = Value;
    type Error = TypedError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), TypedError> {
        self.name = Some(match key.serialize(Writer)? {
            Value::String(text) => text,
            Value::Int(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            other => {
                let kind = other.type_name();
                return Err(TypedError::new(format!(
                    "the name of a member cannot be of type {kind}"
                )));
            }
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TypedError> {
        let name = self.name.take().ok_or_else(|| TypedError::new("a value without a name"))?;
        self.put(name, value)
    }

    fn end(self) -> Result<Value, TypedError> {
        Ok(self.made())
    }
}

impl SerializeStruct for Members {
    type Ok = Value;
    type Error = TypedError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), TypedError> {
        self.put(name.to_owned(), value)
    }

    fn end(self) -> Result<Value, TypedError> {
        Ok(self.made())
    }
}

impl SerializeStructVariant for Members {
    type Ok = Value;
    type Error = TypedError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), TypedError> {
        self.put(name.to_owned(), value)
    }

    fn end(self) -> Result<Value, TypedError> {
        Ok(self.made())
    }
}
