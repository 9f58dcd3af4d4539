//! Rust's types as the protocol's, both ways.

use std::collections::BTreeMap;

use nesssi_rpc::{DateTime, Value};

/// Bytes: `base64` on the wire. (`Vec<u8>` would be an array of numbers.)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bytes(pub Vec<u8>);

/// A type that the protocol has a word for.
pub trait Typed {
    /// The word for it in a signature.
    const TYPE: &'static str;
}

/// A type that a parameter may have.
pub trait FromValue: Typed + Sized {
    /// What stands for a parameter that was left out; `None` is that it must be there.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }

    /// The value as this type.
    ///
    /// # Errors
    /// What is wrong with it, in words that name no parameter.
    fn from_value(value: Value) -> Result<Self, String>;
}

/// A type that a method may answer.
pub trait IntoValue: Typed {
    /// This as a value.
    ///
    /// # Errors
    /// What no value can be made of: a number that is not finite, or does not fit 64 bits.
    fn into_value(self) -> Result<Value, String>;
}

fn mismatch<T>(expected: &str, given: &Value) -> Result<T, String> {
    Err(format!("{expected} is expected, {} was given", given.type_name()))
}

impl Typed for Value {
    const TYPE: &'static str = "any";
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, String> {
        Ok(value)
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Result<Value, String> {
        Ok(self)
    }
}

impl Typed for f64 {
    const TYPE: &'static str = "double";
}

impl FromValue for f64 {
    /// Clients of dynamic languages send `2` where `2.0` is meant.
    fn from_value(value: Value) -> Result<Self, String> {
        value.as_number().map_or_else(|| mismatch(Self::TYPE, &value), Ok)
    }
}

impl IntoValue for f64 {
    fn into_value(self) -> Result<Value, String> {
        if self.is_finite() { Ok(self.into()) } else { Err(format!("{self} is no finite number")) }
    }
}

macro_rules! plain {
    ($($type:ty, $word:literal, $variant:ident;)*) => {$(
        impl Typed for $type {
            const TYPE: &'static str = $word;
        }

        impl FromValue for $type {
            fn from_value(value: Value) -> Result<Self, String> {
                match value {
                    Value::$variant(inner) => Ok(inner.into()),
                    other => mismatch(Self::TYPE, &other),
                }
            }
        }

        impl IntoValue for $type {
            fn into_value(self) -> Result<Value, String> {
                Ok(Value::$variant(self.into()))
            }
        }
    )*};
}

plain! {
    bool, "boolean", Bool;
    i64, "int", Int;
    String, "string", String;
    DateTime, "dateTime.iso8601", DateTime;
    Bytes, "base64", Binary;
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<Bytes> for Vec<u8> {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

/// Narrower integers: `int` on the wire, and held against their own bounds.
macro_rules! narrow {
    ($($type:ty)*) => {$(
        impl Typed for $type {
            const TYPE: &'static str = "int";
        }

        impl FromValue for $type {
            fn from_value(value: Value) -> Result<Self, String> {
                let number = i64::from_value(value)?;
                Self::try_from(number)
                    .map_err(|_| format!("{number} is not from {} to {}", Self::MIN, Self::MAX))
            }
        }

        impl IntoValue for $type {
            fn into_value(self) -> Result<Value, String> {
                i64::try_from(self).map(Value::Int).map_err(|_| format!("{self} does not fit 64 bits"))
            }
        }
    )*};
}

narrow!(i8 i16 i32 u8 u16 u32 u64 usize);

impl Typed for &str {
    const TYPE: &'static str = "string";
}

impl IntoValue for &str {
    fn into_value(self) -> Result<Value, String> {
        Ok(self.into())
    }
}

impl Typed for () {
    const TYPE: &'static str = "nil";
}

impl IntoValue for () {
    fn into_value(self) -> Result<Value, String> {
        Ok(Value::Nil)
    }
}

impl<T: Typed> Typed for Option<T> {
    const TYPE: &'static str = T::TYPE;
}

/// The last parameters of a method may be left out: they are `None` then, and so is nil.
impl<T: FromValue> FromValue for Option<T> {
    fn absent() -> Option<Self> {
        Some(None)
    }

    fn from_value(value: Value) -> Result<Self, String> {
        if value == Value::Nil { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Result<Value, String> {
        self.map_or(Ok(Value::Nil), IntoValue::into_value)
    }
}

impl<T: Typed> Typed for Vec<T> {
    const TYPE: &'static str = "array";
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, String> {
        let Value::Array(items) = value else { return mismatch(Self::TYPE, &value) };
        let item = |(at, item)| {
            T::from_value(item).map_err(|text| format!("item {at} of the array: {text}"))
        };
        items.into_iter().enumerate().map(item).collect()
    }
}

impl<T: IntoValue> IntoValue for Vec<T> {
    fn into_value(self) -> Result<Value, String> {
        self.into_iter().map(T::into_value).collect::<Result<_, _>>().map(Value::Array)
    }
}

impl<T: Typed> Typed for BTreeMap<String, T> {
    const TYPE: &'static str = "struct";
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    fn from_value(value: Value) -> Result<Self, String> {
        let Value::Struct(members) = value else { return mismatch(Self::TYPE, &value) };
        let member = |(name, member)| match T::from_value(member) {
            Ok(member) => Ok((name, member)),
            Err(text) => Err(format!("member {name:?} of the struct: {text}")),
        };
        members.into_iter().map(member).collect()
    }
}

impl<T: IntoValue> IntoValue for BTreeMap<String, T> {
    fn into_value(self) -> Result<Value, String> {
        let member = |(name, member): (String, T)| Ok((name, member.into_value()?));
        self.into_iter().map(member).collect::<Result<_, _>>().map(Value::Struct)
    }
}

#[cfg(test)]
mod tests;
