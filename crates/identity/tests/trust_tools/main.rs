//! The trust directories of real sites, and the CRLs of a real tool.
//!
//! The anchors are those of the IGTF, as Debian's packages `igtf-policy-*` install them; the CRLs come
//! from `openssl ca`. Where one is not installed the test says so and is skipped, but with
//! `NESSSI_TOOLS=1` it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on must stop; it runs programs and asks for the time"
)]

mod anchors;
mod crls;

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether all of these are there.
fn has(paths: &[&str]) -> bool {
    let Some(missing) = paths.iter().find(|path| !Path::new(path).exists()) else { return true };
    let must = std::env::var_os("NESSSI_TOOLS").is_some_and(|value| value == "1");
    assert!(!must, "{missing} is not installed");
    // Written past the test harness, which hides what a passing test prints.
    drop(writeln!(std::io::stderr(), "SKIPPED: {missing} is not installed"));
    false
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// Runs `openssl` in a folder. Gives what it prints.
fn openssl(folder: &Path, words: &[&str]) -> String {
    let output = Command::new("openssl").args(words).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
