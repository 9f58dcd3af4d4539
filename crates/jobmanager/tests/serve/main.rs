//! A real jobmanager, driven over its channels.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    reason = "no one links tests"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the helpers of tests are tests: they say what is wrong by panicking"
)]

mod batch;
mod files;
mod jobs;
mod leaf;
mod sandboxes;
mod scan;
mod workers;
mod world;
