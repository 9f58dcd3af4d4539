//! SOAP 1.1 (<https://www.w3.org/TR/2000/NOTE-SOAP-20000508/>) and SOAP 1.2
//! (<https://www.w3.org/TR/soap12-part1/>) in and out.
//!
//! An *envelope* carries one call or one reply in its Body. [`Request::read`] finds out which method
//! a body means, [`Request::into_call`] reads the parameters once the method's signatures are known,
//! [`encode_reply`] answers in the caller's version and style, [`Refusal::encode`] where there is no
//! call to answer. [`encode_call`] and [`decode_reply`] are the client's side of the same.
//!
//! # Which method
//!
//! The name of the body's element decides, and a SOAPAction that says otherwise is a fault. The
//! namespace of a service is `urn:nesssi:` and its name, the local name is the method's
//! ([`escape_name`] where it is no XML name). Taken too, as old clients send them: a dotted full name
//! (`echo.echo`) in any namespace or none, and a method's own name without a namespace of ours at a
//! service's own address.
//!
//! # Styles
//!
//! A request is *literal* (document/literal, wrapped: the one that [`crate::wsdl`] describes) unless
//! an `encodingStyle` says that it is *encoded* (SOAP 1.1, section 5; SOAP 1.2 part 2, section 3).
//! Parameters are found by their names in a signature or `arg0`, `arg1`, ..., and otherwise by their
//! order. An optional parameter left out before one that is there is nil.
//!
//! # Values
//!
//! | value | type written | types read |
//! |---|---|---|
//! | nil | `xsi:nil="true"` | and `xsi:null` of 1999 |
//! | boolean | `xsd:boolean` | `true`, `false`, `1`, `0` |
//! | int | `xsd:long` | every integer type, in its own range, within 64 bits signed |
//! | double | `xsd:double` | `float`, `decimal`; finite ones |
//! | string | `xsd:string` | every text type; unknown simple types |
//! | dateTime | `xsd:dateTime` without a zone | with one: brought to UTC; parts of a second are cut off |
//! | base64 | `xsd:base64Binary` | `hexBinary` |
//! | array | `{urn:nesssi-types:1}Array`, encoded: `Array` of the encoding | both, in both versions' attributes; Apache's `Vector` |
//! | struct | `{http://xml.apache.org/xml-soap}Map` | `Map`, `Struct` of the encoding, and plain elements named like members |
//!
//! An `Array` holds elements called `item`, a `Map` holds `item`s with a `key` and a `value`: so any
//! text can be a member's name, and clients that generate code from a WSDL have a type for it. PHP,
//! Perl and Java know `Map` of old. A member or an item says its type in `xsi:type`; what stands where
//! a signature says a simple type need not.
//!
//! What has no `xsi:type`: where a signature says a type, that is what is read. Elsewhere an element
//! with text is a string, and one with elements a struct. In the literal style it is a `Map` if its
//! elements are all `item`s of a `key` and a `value`, and an array if there are several of one name or a
//! single `item`; in the encoded style those say what they are. A type that a client guessed gives way to the one in the signature where nothing is lost: a string of
//! digits that was sent as `xsd:int` arrives as a string where a string is asked for.
//!
//! The prefixes `xsd` and `xs` in the value of an `xsi:type` need no declaration, since Node's `soap` lets
//! its users write them without one.
//!
//! Refused, each with its own words: DTDs and processing instructions, arrays in parts or of more than
//! one dimension (send arrays of arrays), NaN and the infinities, headers that must be understood,
//! references that lead out of the message or in a circle. Nothing in a message is ever fetched.

mod document;
mod encode;
mod names;
mod reply;
mod request;
mod scalar;
mod signature;
#[cfg(test)]
mod tests;
mod text;
mod value;

pub use encode::{encode_answer, encode_call, encode_reply};
pub use names::{escape_name, unescape_name};
pub use reply::decode_reply;
pub use request::{Endpoint, Reason, Refusal, ReplyForm, Request};
pub use signature::{Param, Signature, Type};

pub(crate) use signature::Merged;
pub(crate) use text::escaped;

use crate::{Dialect, FaultCode};

/// The namespace of SOAP 1.1's envelope.
pub(crate) const ENVELOPE_11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// The namespace of SOAP 1.2's envelope.
pub(crate) const ENVELOPE_12: &str = "http://www.w3.org/2003/05/soap-envelope";
const ENCODING_11: &str = "http://schemas.xmlsoap.org/soap/encoding/";
const ENCODING_12: &str = "http://www.w3.org/2003/05/soap-encoding";
const RPC_12: &str = "http://www.w3.org/2003/05/soap-rpc";
/// The namespace of XML Schema's types.
pub(crate) const SCHEMA: &str = "http://www.w3.org/2001/XMLSchema";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// The namespace of `Map`.
pub(crate) const APACHE: &str = "http://xml.apache.org/xml-soap";
/// The namespace of `Array` and `fault`.
pub(crate) const TYPES: &str = "urn:nesssi-types:1";
/// What a service's namespace begins with; its name follows.
const SERVICE_PREFIX: &str = "urn:nesssi:";

/// The namespace of the methods of `service`.
#[must_use]
pub fn service_namespace(service: &str) -> String {
    format!("{SERVICE_PREFIX}{service}")
}

/// The SOAPAction of a method: the namespace of its service, `#`, and its own name as an element's.
#[must_use]
pub fn soap_action(service: &str, method: &str) -> String {
    format!("{SERVICE_PREFIX}{service}#{}", escape_name(method))
}

/// A version of SOAP; the namespace of the envelope says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// SOAP 1.1.
    Soap11,
    /// SOAP 1.2.
    Soap12,
}

impl Version {
    /// The content type of its messages over HTTP.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Soap11 => "text/xml; charset=utf-8",
            Self::Soap12 => "application/soap+xml; charset=utf-8",
        }
    }

    /// How services see it.
    #[must_use]
    pub fn dialect(self) -> Dialect {
        match self {
            Self::Soap11 => Dialect::Soap11,
            Self::Soap12 => Dialect::Soap12,
        }
    }

    /// The HTTP status that a fault of `code` is answered with.
    ///
    /// 500 in SOAP 1.1 (section 6.2); 400 for a sender's and 500 for a receiver's in SOAP 1.2 (part 2,
    /// table 20).
    #[must_use]
    pub fn fault_status(self, code: FaultCode) -> u16 {
        if self == Self::Soap12 && blames_sender(code) { 400 } else { 500 }
    }

    fn envelope(self) -> &'static str {
        match self {
            Self::Soap11 => ENVELOPE_11,
            Self::Soap12 => ENVELOPE_12,
        }
    }

    fn encoding(self) -> &'static str {
        match self {
            Self::Soap11 => ENCODING_11,
            Self::Soap12 => ENCODING_12,
        }
    }
}

/// How values stand in a Body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Style {
    /// As a schema describes them: document/literal, wrapped.
    Literal,
    /// As the version's own encoding has them: rpc/encoded. Every value says its type.
    Encoded,
}

/// Whether a fault of `code` is the sender's doing; a service's own codes of 400 to 499 are.
fn blames_sender(code: FaultCode) -> bool {
    match code {
        FaultCode::Parse
        | FaultCode::InvalidRequest
        | FaultCode::NoSuchMethod
        | FaultCode::InvalidParams
        | FaultCode::NoCredential
        | FaultCode::Refused
        | FaultCode::NotFound
        | FaultCode::Conflict
        | FaultCode::OverLimit
        | FaultCode::TooMany => true,
        FaultCode::Internal | FaultCode::BatchRefused | FaultCode::Unavailable => false,
        FaultCode::Service(number) => (400..500).contains(&number),
    }
}
