//! What a call is, whatever dialect carries it.
//!
//! A *call* is a method name and positional parameters; a *reply* is one value or one fault. This
//! room turns the bytes of a dialect into a [`Call`] and a [`Reply`] into bytes. It does no I/O and
//! is the only room that knows XML.

#![forbid(unsafe_code)]

mod bounds;
mod call;
mod chars;
mod choice;
mod encoding;
mod fault;
pub mod jsonrpc;
pub mod kept;
pub mod multicall;
mod named;
mod params;
#[cfg(test)]
mod samples;
pub mod soap;
mod tag;
mod telling;
pub mod typed;
mod value;
pub mod wsdl;
mod xml;
pub mod xmlrpc;

pub use bounds::{Bounds, DEPTH_CEILING};
pub use call::{Call, Dialect, METHOD_NAME_BYTES_MAX, MethodName, MethodNameError, Reply};
pub use choice::{Format, MediaType, Mismatch, choose};
pub use encoding::Encoding;
pub use fault::{Fault, FaultCode};
pub use named::NamedCall;
pub use params::check_params;
pub use tag::{CLIENT_TAG_BYTES_MAX, CLIENT_TAG_MEMBER, ClientTag, ClientTagError};
pub use value::{DateTime, DateTimeError, Value};
