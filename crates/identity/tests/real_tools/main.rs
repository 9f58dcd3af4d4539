//! Credentials that the tools of the grid make, and other people's TLS stacks that offer them.
//!
//! What a site has is made by these programs and not by us; so they are run here, on a CA of the
//! test's own. Where one is not installed the test says so and is skipped, but with `NESSSI_TOOLS=1`
//! it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on must stop; it runs programs and asks for the time"
)]

mod grid;
mod handshakes;
mod proxies;
