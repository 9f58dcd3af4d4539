//! The simple types of XML Schema part 2, as texts.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::signature::Type;
use super::text::bad_value;
use crate::chars::{is_space, trim};
use crate::telling::quoted;
use crate::xml::Problem;
use crate::{DateTime, Value};

/// Standard base64, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    /// An integer between these two, both included.
    Integer(&'static str, i64, i64),
    Double,
    Boolean,
    DateTime,
    Base64,
    Hex,
}

impl Scalar {
    /// How the schema's type `name` is read. The encodings have the same names.
    pub(super) fn of_schema(name: &str) -> Option<Self> {
        const MAX: i64 = i64::MAX;
        let integer = |name, min, max| Some(Self::Integer(name, min, max));
        match name {
            "string" | "normalizedString" | "token" | "language" | "Name" | "NCName"
            | "NMTOKEN" | "ID" | "IDREF" | "ENTITY" | "NMTOKENS" | "IDREFS" | "ENTITIES"
            | "QName" | "NOTATION" | "anyURI" | "uriReference" | "date" | "time" | "duration"
            | "gYear" | "gYearMonth" | "gMonth" | "gMonthDay" | "gDay" | "timeDuration"
            | "anySimpleType" => Some(Self::Text),
            "int" => integer("int", i64::from(i32::MIN), i64::from(i32::MAX)),
            "long" => integer("long", i64::MIN, MAX),
            "integer" => integer("integer", i64::MIN, MAX),
            "short" => integer("short", -32_768, 32_767),
            "byte" => integer("byte", -128, 127),
            "unsignedInt" => integer("unsignedInt", 0, 4_294_967_295),
            "unsignedShort" => integer("unsignedShort", 0, 65_535),
            "unsignedByte" => integer("unsignedByte", 0, 255),
            "unsignedLong" => integer("unsignedLong", 0, MAX),
            "nonNegativeInteger" => integer("nonNegativeInteger", 0, MAX),
            "positiveInteger" => integer("positiveInteger", 1, MAX),
            "nonPositiveInteger" => integer("nonPositiveInteger", i64::MIN, 0),
            "negativeInteger" => integer("negativeInteger", i64::MIN, -1),
            "double" | "float" | "decimal" => Some(Self::Double),
            "boolean" => Some(Self::Boolean),
            "dateTime" | "timeInstant" => Some(Self::DateTime),
            "base64Binary" | "base64" => Some(Self::Base64),
            "hexBinary" => Some(Self::Hex),
            _ => None,
        }
    }

    /// How a value of the declared type `kind` is read, if that is a simple one.
    pub(super) fn of_declared(kind: Type) -> Option<Self> {
        match kind {
            Type::Boolean => Some(Self::Boolean),
            Type::Int => Self::of_schema("long"),
            Type::Double => Some(Self::Double),
            Type::String => Some(Self::Text),
            Type::DateTime => Some(Self::DateTime),
            Type::Base64 => Some(Self::Base64),
            Type::Any | Type::Nil | Type::Array | Type::Struct => None,
        }
    }

    /// How a text is read that says it is of this type, where the signature says `declared`.
    ///
    /// A dynamic language guesses types: its guess gives way where nothing is lost.
    pub(super) fn yielding_to(self, declared: Type) -> Self {
        match (self, declared) {
            (Self::Integer(..) | Self::Double | Self::Boolean, Type::String) => Self::Text,
            (Self::Integer(..), Type::Double) => Self::Double,
            (Self::Integer(..), Type::Boolean) => Self::Boolean,
            (Self::Text, Type::DateTime) => Self::DateTime,
            _ => self,
        }
    }

    /// Reads `text`.
    pub(super) fn read(self, text: &str) -> Result<Value, Problem> {
        let trimmed = trim(text);
        let wrong = |what: &str| bad_value(format!("{} {what}", quoted(trimmed)));
        match self {
            Self::Text => Ok(Value::String(text.to_owned())),
            Self::Integer(name, min, max) => trimmed
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .map(Value::Int)
                .ok_or_else(|| wrong(&format!("is no {name} that 64 bits with a sign hold"))),
            Self::Double => {
                read_double(trimmed).map(Value::Double).ok_or_else(|| wrong("is no finite double"))
            }
            Self::Boolean => match trimmed {
                "true" | "1" => Ok(Value::Bool(true)),
                "false" | "0" => Ok(Value::Bool(false)),
                _ => Err(wrong("is neither true nor false")),
            },
            Self::DateTime => DateTime::parse(trimmed)
                .map(Value::DateTime)
                .map_err(|_| wrong("is no dateTime of a year from 0000 to 9999")),
            Self::Base64 => read_base64(text)
                .map(Value::Binary)
                .ok_or_else(|| bad_value("the text is not base64")),
            Self::Hex => read_hex(trimmed)
                .map(Value::Binary)
                .ok_or_else(|| bad_value("the text is not hexadecimal")),
        }
    }
}

fn read_base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok().or_else(|| {
        let dense: Vec<u8> = text.bytes().filter(|byte| !is_space(*byte)).collect();
        BASE64.decode(dense).ok()
    })
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? * 16 + digit(*low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// An optional sign, digits with at most one point, an optional exponent; finite.
fn read_double(text: &str) -> Option<f64> {
    let shaped =
        text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let number: f64 = if shaped { text.parse().ok()? } else { return None };
    number.is_finite().then_some(number)
}
