//! A call and its reply.

use std::fmt;

use crate::{Fault, Value};

#[cfg(test)]
mod tests;

/// Longest method name, in bytes: long enough for any tree of services, short enough for a log line.
pub const METHOD_NAME_BYTES_MAX: usize = 255;

/// A method's full dotted name: non-empty parts of letters, digits, `_`, `-`, joined by `.`.
///
/// A name of this type is safe in a log, a path-less look-up and a message to a stranger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodName(String);

/// The text is no method name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a method name is dot-separated parts of letters, digits, '_' and '-', at most 255 bytes long"
)]
pub struct MethodNameError;

impl MethodName {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// [`MethodNameError`] for an empty, overlong or oddly spelt name.
    pub fn parse(text: &str) -> Result<Self, MethodNameError> {
        let part_is_good = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if text.len() <= METHOD_NAME_BYTES_MAX && text.split('.').all(part_is_good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MethodNameError)
        }
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The service and the method in it: what stands before and after the last dot.
    #[must_use]
    pub fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('.').unwrap_or(("", &self.0))
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How a caller spoke, and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// XML-RPC, <http://xmlrpc.com/spec.md>.
    XmlRpc,
    /// JSON-RPC as its first version shaped it, <https://www.jsonrpc.org/specification_v1>.
    JsonRpc1,
    /// JSON-RPC 2.0, <https://www.jsonrpc.org/specification>.
    JsonRpc2,
    /// SOAP 1.1, <https://www.w3.org/TR/2000/NOTE-SOAP-20000508/>.
    Soap11,
    /// SOAP 1.2, <https://www.w3.org/TR/soap12-part1/>.
    Soap12,
}

impl Dialect {
    /// The word that services see in `req.protocol`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::XmlRpc => "xmlrpc",
            Self::JsonRpc1 => "jsonrpc1",
            Self::JsonRpc2 => "jsonrpc2",
            Self::Soap11 => "soap11",
            Self::Soap12 => "soap12",
        }
    }
}

/// A method and its positional parameters, as a caller sent them.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The full dotted name.
    pub method: MethodName,
    /// The parameters in order.
    pub params: Vec<Value>,
}

/// What a call comes to.
pub type Reply = Result<Value, Fault>;
