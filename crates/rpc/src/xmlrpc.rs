//! XML-RPC in and out, <http://xmlrpc.com/spec.md>.
//!
//! Reading is a state machine over quick-xml's events with an explicit stack: no recursion, no DTD,
//! no entity beyond the five and character references, every count bounded by [`Bounds`]. The first
//! thing wrong in a body is what is reported, with its line and column (both from 1, columns in
//! characters).
//!
//! What is read beyond the specification: `<i8>`, `<int>` and `<i4>` of 64 bits, `<nil/>`; Apache's `<ex:nil/>`, `<ex:i1>`, `<ex:i2>`,
//! `<ex:i8>`, `<ex:biginteger>` of 64 bits, `<ex:float>`, `<ex:bigdecimal>` as the nearest double, and
//! `<ex:dateTime>` (<http://ws.apache.org/xmlrpc/types.html>; its serialized objects are refused); white
//! space around a number; doubles with an exponent; the dates of [`DateTime::parse`]; the encodings
//! of [`Encoding`]. What is written is UTF-8 and inside the specification but for `<nil/>`, and `<i8>`
//! for an integer that 32 bits cannot hold; [`Forms::Apache`] writes those two as Apache does.
//!
//! [`DateTime::parse`]: crate::DateTime::parse
//! [`Encoding`]: crate::Encoding

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use crate::Call;
pub use crate::{Bounds, DEPTH_CEILING};
pub use decode::{decode_call, decode_reply, decode_request};
pub use encode::{encode_call, encode_reply, encode_reply_in};

/// A call, and how its caller is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is called.
    pub call: Call,
    /// What to write the reply in: a caller who wrote one of Apache's types reads them.
    pub forms: Forms,
}

/// How nil and long integers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forms {
    /// `<nil/>`, `<i8>`.
    Plain,
    /// `<ex:nil/>`, `<ex:i8>`, in Apache's namespace.
    Apache,
}

/// Attributes of one element. XML-RPC has none; namespaces and types that some clients add are few.
pub const ATTRIBUTES_MAX: usize = 64;
