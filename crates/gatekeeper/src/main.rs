//! NAME
//!
//! nesssi-gatekeeper - the network process of NESSSI
//!
//! DESCRIPTION
//!
//! Started by `nesssid`, with the channel to it on descriptor 3. It takes the open listeners, the
//! server's certificate and key and the configuration from there, answers calls over HTTPS and
//! serves sandbox files over HTTP, and ends when it is told to or when the channel closes.
//! `nesssi-gatekeeper --check [FILE]` says what in a configuration would keep it from serving.
//!
//! SECURITY
//!
//! Runs as a user of its own, without privilege; everything that needs one is asked of the monitor.
//! It alone reads what strangers send, and it holds the server's private key.
//!
//! DIAGNOSTICS
//!
//! Log lines on standard error; `access.log` in the log directory. Exit code 0 after a drain, 1 if
//! it could not serve or a check found a problem, 2 for words it does not know.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    nesssi_gatekeeper::start_log();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match words.as_slice() {
        [] => match nesssi_gatekeeper::serve() {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => tracing::error!(%error, "cannot serve"),
        },
        [word] if word == "--check" => return check(Path::new(nesssi_config::DEFAULT_PATH)),
        [word, path] if word == "--check" => return check(Path::new(path)),
        _ => {
            tracing::error!("usage: nesssi-gatekeeper [--check [FILE]]");
            return ExitCode::from(2);
        }
    }
    ExitCode::FAILURE
}

fn check(path: &Path) -> ExitCode {
    let report = nesssi_gatekeeper::check(path);
    for note in &report.notes {
        let _read = writeln!(std::io::stderr(), "note: {note}");
    }
    for problem in &report.problems {
        // If nobody reads it, the exit code still says it.
        let _read = writeln!(std::io::stderr(), "{problem}");
    }
    if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
