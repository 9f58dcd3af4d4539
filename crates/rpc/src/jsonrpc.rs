//! JSON-RPC in and out: 2.0 with batches and notifications
//! (<https://www.jsonrpc.org/specification>), and the shape of 1.0
//! (<https://www.jsonrpc.org/specification_v1>) that the clients of Clarens send.
//!
//! # Which version
//!
//! A request with `"jsonrpc": "2.0"` is of version 2.0, one without that member (or with `"1.0"`) of
//! 1.0; each is answered in its own. A *notification* is a call that nobody waits for: in 2.0 one
//! without `id`, in 1.0 one whose `id` is null. It is carried out and never answered, not even with a
//! fault. What is no call at all is answered, with its `id` where there is one.
//!
//! # Values
//!
//! Nil, booleans, numbers, strings, arrays and structs are JSON's own. A number without point and
//! exponent is an int and must fit 64 bits; any other is a double and must be finite. A string may
//! hold what every dialect can carry, so no control characters. What JSON lacks is a *tagged object*:
//!
//! | value | JSON |
//! |---|---|
//! | base64 | `{"$nesssi": "binary", "base64": "..."}` |
//! | dateTime | `{"$nesssi": "datetime", "iso": "20061122T12:00:00"}` |
//! | a struct with a member `$nesssi` of its own | `{"$nesssi": "struct", "members": {...}}` |
//!
//! In the last of them the tag stands before the members. Where a string is sent for bytes or a date,
//! it arrives as a string.
//!
//! Reading keeps its own stack of what is open: no recursion, every count bounded by [`Bounds`],
//! a member's name twice is refused. Parameters are an array, in 2.0 an object of them by name too
//! ([`NamedCall`](crate::NamedCall)).
//!
//! [`Bounds`]: crate::Bounds

mod read;
mod reply;
mod request;
#[cfg(test)]
mod tests;
mod write;

pub use reply::{Response, decode_replies, decode_reply};
pub use request::{Asked, Item, Request, Shape, decode_request};
pub use write::{encode_answer, encode_batch, encode_call, encode_refusal};

use crate::{Dialect, Value};

/// The member that marks a tagged object.
const TAG: &str = "$nesssi";

/// A version of JSON-RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 1.0.
    V1,
    /// 2.0.
    V2,
}

impl Version {
    /// The dialect that this is.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        match self {
            Self::V1 => Dialect::JsonRpc1,
            Self::V2 => Dialect::JsonRpc2,
        }
    }
}

/// What a caller named a call by, and finds its answer by: any scalar of JSON but a truth value.
#[derive(Debug, Clone, PartialEq)]
pub enum Id {
    /// `null`: of 2.0 calls it should not be, and of answers to what had none that could be read.
    Null,
    /// An integer.
    Int(i64),
    /// Another number; finite.
    Double(f64),
    /// A string.
    String(String),
}

impl Id {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Nil => Some(Self::Null),
            Value::Int(number) => Some(Self::Int(number)),
            Value::Double(number) => Some(Self::Double(number)),
            Value::String(text) => Some(Self::String(text)),
            Value::Bool(_)
            | Value::DateTime(_)
            | Value::Binary(_)
            | Value::Array(_)
            | Value::Struct(_) => None,
        }
    }
}

/// What is needed to answer a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// The version to answer in.
    pub version: Version,
    /// The call's id.
    pub id: Id,
}
