//! The Rust client of a NESSSI server.
//!
//! A *client* calls named methods over HTTPS XML-RPC with a grid credential, or as a guest, and reads
//! the files of a sandbox over plain HTTP.
//!
//! ```no_run
//! # async fn example() -> Result<(), nesssi_client::Error> {
//! use nesssi_client::{Client, Value};
//!
//! let client = Client::builder("https://localhost:8443/clarens/").build()?;
//! let session = client.call("sleepyServices.sleepyAdd", vec![Value::Int(3), Value::Int(5)]).await?;
//! let status = client.call("job.status", vec![session]).await?;
//! # drop(status);
//! # Ok(())
//! # }
//! ```
//!
//! A call is sent once. It is sent again only where the connection ended before a byte of it was
//! written, so a call that starts a job does not start two.

#![forbid(unsafe_code)]

mod client;
mod connection;
mod credential;
mod error;
mod files;
mod tls;
mod trust;
mod url;

pub use client::{Answer, Builder, Client};
pub use credential::{Credential, CredentialSearch};
pub use error::{Error, SetupError, TransportError};
pub use files::{Entry, File, Listing};
pub use nesssi_rpc::{DateTime, Fault, FaultCode, Value};
