//! What a service written in Rust uses.
//!
//! A *service* is a program that answers calls, one after the other, for one account and level. It
//! names its methods, which are plain functions of a [`Request`] and a tuple of parameters; their
//! types are the types of those tuples, and what a caller sends is held against them before a function
//! is called.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use nesssi_sdk::{Failure, Request, Service};
//!
//! fn add(_req: &Request<'_>, (a, b): (i64, i64)) -> Result<i64, Failure> {
//!     a.checked_add(b).ok_or_else(|| Failure::fault(400, "the sum has more than 64 bits"))
//! }
//!
//! fn count(req: &Request<'_>, (text,): (String,)) -> Result<String, Failure> {
//!     // A job as the caller's account; an argument is never read by a shell.
//!     Ok(req.run_job(10.0, None, ["/usr/bin/expr", "length", &text])?)
//! }
//!
//! fn main() -> ExitCode {
//!     Service::new("Adds and counts.")
//!         .contact("alice@example.org")
//!         .method("add", ["a", "b"], "add(a, b): their sum.", add)
//!         .method("count", ["text"], "count(text): a job that counts its characters.", count)
//!         .run()
//! }
//! ```
//!
//! The folder of the service holds `.clarens_access` and a `service.toml` whose `command` names the
//! program; `docs/services.md` has the rest.

#![forbid(unsafe_code)]

mod failure;
mod link;
mod method;
mod request;
mod service;
mod values;

pub use failure::Failure;
pub use method::{Handler, Params};
pub use nesssi_rpc::{DateTime, Fault, FaultCode, Value};
pub use request::{Prepared, Request};
pub use service::Service;
pub use values::{Bytes, FromValue, IntoValue, Typed};
