//! XML-RPC in and out, <http://xmlrpc.com/spec.md>.
//!
//! Reading is a state machine over quick-xml's events with an explicit stack: no recursion, no DTD,
//! no entity beyond the five and character references, every count bounded by [`Bounds`]. The first
//! thing wrong in a body is what is reported, with its line and column (both from 1, columns in
//! characters).
//!
//! What is read beyond the specification: `<i8>`, `<nil/>`, and Apache's spellings `<ex:i8>` and
//! `<ex:nil/>`; white space around a number; doubles with an exponent. What is written is inside the
//! specification but for `<nil/>`, and `<i8>` for an integer that 32 bits cannot hold.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use crate::{Bounds, DEPTH_CEILING};
pub use decode::{decode_call, decode_reply};
pub use encode::{encode_call, encode_reply};

/// Attributes of one element. XML-RPC has none; namespaces and types that some clients add are few.
pub const ATTRIBUTES_MAX: usize = 64;
