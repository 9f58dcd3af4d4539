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
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::DumpableBehavior;

fn main() -> ExitCode {
    nesssi_gatekeeper::start_log();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match words.as_slice() {
        [] => serve(),
        [word] if word == "--check" => check(&PathBuf::from(nesssi_config::DEFAULT_PATH)),
        [word, path] if word == "--check" => check(&PathBuf::from(path)),
        _ => {
            tracing::error!("usage: nesssi-gatekeeper [--check [FILE]]");
            ExitCode::from(2)
        }
    }
}

fn serve() -> ExitCode {
    // It holds the server's key: nothing of the same user may trace it, and no core may hold it.
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::error!(%error, "cannot refuse to be traced");
        return ExitCode::FAILURE;
    }
    match nesssi_gatekeeper::serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot serve");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &std::path::Path) -> ExitCode {
    let problems = nesssi_gatekeeper::check(path);
    for problem in &problems {
        // If nobody reads it, the exit code still says it.
        let _read = writeln!(std::io::stderr(), "{problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
