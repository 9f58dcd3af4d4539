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
//! A call that may change something carries a [`Tag`], by which the server carries it out once however
//! often it comes. So where a connection is lost, or the server is busy or being replaced, the call is
//! sent again, a few times and at growing intervals: a job is started once, and its session comes back.

#![forbid(unsafe_code)]

mod client;
mod clock;
mod connection;
mod credential;
mod error;
mod files;
mod proxy;
mod session;
mod tag;
mod tail;
mod tls;
mod transfer;
mod trust;
mod url;

pub use client::{Answer, Builder, CallOptions, Client};
pub use credential::{AskPassphrase, Credential, CredentialSearch};
pub use error::{Error, SetupError, TransportError};
pub use files::{Entry, File, Listing};
pub use nesssi_rpc::{DateTime, Fault, FaultCode, Value, typed};
pub use proxy::{Proxy, ProxyInfo, ProxyKey, ProxyOptions, destroy_proxy};
pub use session::{JobFilter, Session, State, Status, session_id};
pub use tag::Tag;
pub use tail::Tail;
pub use transfer::{Downloaded, Fetched, OnProgress, Progress};

/// The examples of the page are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/clients.md")]
struct Page;
