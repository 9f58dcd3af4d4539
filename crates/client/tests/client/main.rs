//! The client library and the command `nesssi` against a small server of the test's own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail as tests do; clippy knows only the test functions"
)]

mod command;
mod library;
mod server;
mod terminal;
