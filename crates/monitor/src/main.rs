//! NAME
//!
//! nesssid - the monitor of NESSSI
//!
//! DESCRIPTION
//!
//! `nesssid [--config FILE]` serves; `--check` says everything that would keep it from serving, and binds
//! nothing. It starts `nesssi-gatekeeper` and, for each account in use, `nesssi-jobmanager`, replaces those that
//! end, and answers what they ask. SIGTERM and SIGINT drain and end it; SIGHUP replaces the gatekeeper.
//!
//! SECURITY
//!
//! Runs as root, or as an ordinary user who is then the only account there is. One thread, no network
//! protocol, no plugin. Children have an empty environment and only the descriptors meant for them.
//!
//! DIAGNOSTICS
//!
//! Log lines on standard error, its own and its children's. Exit code 0: ended as told. 1: could not
//! start, or `--check` found a problem. 2: called wrongly.

use std::io::Write;
use std::process::ExitCode;

use nesssi_monitor::options::{Options, USAGE};
use nesssi_monitor::{check, log, monitor::Monitor, setup::Setup};

fn main() -> ExitCode {
    match Options::parse(std::env::args_os().skip(1)) {
        Ok(Options::Run { config }) => run(&config),
        Ok(Options::Check { config }) => tell(&check::report(&config)),
        Ok(Options::Version) => say(concat!("nesssid ", env!("CARGO_PKG_VERSION")), 0),
        Ok(Options::Help) => say(USAGE, 0),
        Err(error) => say(&error.to_string(), 2),
    }
}

fn run(config: &std::path::Path) -> ExitCode {
    let setup = match Setup::prepare(config) {
        Ok(setup) => setup,
        Err(problems) => {
            problems.iter().for_each(|problem| log::error(problem).write());
            return ExitCode::FAILURE;
        }
    };
    setup.faults.iter().for_each(|fault| log::error(fault).write());
    setup.warnings.iter().for_each(|warning| log::warn(warning).write());
    let ended = Monitor::new(setup).and_then(Monitor::run);
    ended
        .inspect_err(|error| log::error(error).write())
        .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn tell(report: &check::Report) -> ExitCode {
    if !report.notes.is_empty() {
        say(&report.notes.join("\n"), 0);
    }
    let problems = &report.problems;
    if problems.is_empty() { say("no problem found", 0) } else { say(&problems.join("\n"), 1) }
}

fn say(text: &str, code: u8) -> ExitCode {
    writeln!(std::io::stderr(), "{text}").unwrap_or_default();
    ExitCode::from(code)
}
