//! A *World* is everything a whole-system test needs: a throwaway grid with its CA, accounts, a
//! configuration, and a real server on loopback. It is gone when it is dropped.
//!
//! DEV: nothing that ships depends on this room.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on must stop, and say where"
)]

mod accounts;
mod call;
mod grid;
mod place;
mod process;
mod slurm;
pub mod standin;
mod world;

pub use tokio;

pub use nesssi_client::{CallOptions, Client, Error, Fault, FaultCode, Tag, Value};

pub use accounts::{Accounts, Developers, is_root};
pub use grid::{Credential, Grid, ProxyPolicy};
pub use place::{Place, binaries, repository};
pub use process::{Server, wait_until};
pub use slurm::{Slurm, SlurmBuilder, SlurmJob};
pub use standin::StandInPbs;
pub use world::{World, WorldBuilder};

/// Says loudly that a test did not run, and why. The test returns right after.
pub fn skipped(why: &str) {
    use std::io::Write;
    // Written past the test harness, which hides what a passing test prints.
    drop(writeln!(std::io::stderr(), "SKIPPED: {why}"));
}
