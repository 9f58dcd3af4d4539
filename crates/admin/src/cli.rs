//! The words of the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{access, audit, backup, control, demo, explain, gridmap, service};

#[derive(Debug, Parser)]
#[command(
    name = "nesssi-admin",
    bin_name = "nesssi",
    version,
    about = "Develop services for, and administer, a NESSSI"
)]
struct Words {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make, check, list and restart services, and read their logs
    #[command(subcommand)]
    Service(ServiceVerb),
    /// Replace the gatekeeper; jobs and the listening ports stay
    Restart(control::Where),
    /// Whether the server is well
    Health(control::Where),
    /// What a call would get, and by which rules: offline, by this site's files
    Explain(explain::Words),
    /// Check a service's access file, or write one of the original in TOML
    #[command(subcommand)]
    Access(access::Verb),
    /// Check a gridmap
    #[command(subcommand)]
    Gridmap(gridmap::Verb),
    /// Check the audit log
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Copy the journal, while the server runs or not
    Backup(backup::Backup),
    /// Put a backup in the journal's place; the server must be stopped
    Restore(backup::Restore),
    /// Show the whole on this machine, with a throwaway grid
    Demo(demo::Options),
}

#[derive(Debug, Subcommand)]
enum ServiceVerb {
    /// Make the folder of a new Python service
    New {
        /// Its name: letters, digits and `_`; the folder is made in the working directory
        name: String,
        /// The folder to make it in
        #[arg(long, default_value = ".")]
        directory: PathBuf,
    },
    /// Import a service in a throwaway worker, and tell its methods, who may call them, and every problem
    #[command(after_help = service::check::HELP)]
    Check(service::check::Words),
    /// What the server offers, and what is broken
    List(service::Server),
    /// Print the end of a service's log, and follow it
    #[command(after_help = service::logs::HELP)]
    Logs(service::logs::Words),
    /// Take up a service's changed code; running calls finish on the old
    Restart {
        /// Its dotted name
        name: String,
        /// Then go on as `service watch` does
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        place: control::Where,
    },
    /// Check and restart a service whenever its folder changes
    #[command(after_help = service::watch::HELP)]
    Watch(service::watch::Words),
}

/// Anything that ends a command early, in words for the one who typed it.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Reads the command line and does what it says; answers how to exit.
///
/// # Errors
/// What went wrong, for the terminal.
pub(crate) fn run() -> Result<ExitCode, Failure> {
    match Words::parse().verb {
        Verb::Service(ServiceVerb::New { name, directory }) => service::new(&directory, &name)?,
        Verb::Service(ServiceVerb::List(server)) => service::list(&server)?,
        Verb::Service(ServiceVerb::Check(words)) => return service::check::run(&words),
        Verb::Service(ServiceVerb::Logs(words)) => return service::logs::run(&words),
        Verb::Service(ServiceVerb::Watch(words)) => return service::watch::run(&words),
        Verb::Service(ServiceVerb::Restart { name, watch: true, place }) => {
            return service::watch::after_restart(&name, &place);
        }
        Verb::Service(ServiceVerb::Restart { name, watch: false, place }) => {
            say(&control::ask(&place, &control::Verb::RestartService(name))?);
        }
        Verb::Restart(place) => say(&control::ask(&place, &control::Verb::Restart)?),
        Verb::Health(place) => say(&control::ask(&place, &control::Verb::Status)?),
        Verb::Explain(words) => return explain::run(&words),
        Verb::Access(verb) => return access::run(&verb),
        Verb::Gridmap(verb) => return Ok(gridmap::run(&verb)),
        Verb::Audit(verb) => audit::run(&verb)?,
        Verb::Backup(words) => backup::back_up(&words)?,
        Verb::Restore(words) => backup::restore(&words)?,
        Verb::Demo(options) => demo::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a line; what a terminal would obey is shown as text.
#[allow(clippy::print_stdout, reason = "a command's answer goes to standard output")]
pub(crate) fn say(line: &str) {
    println!("{}", safe(line));
}

/// Prints a line on standard error, as [`say`] does on standard output.
pub(crate) fn tell(line: &str) {
    eprintln!("{}", safe(line));
}

/// What a terminal would obey, as text.
pub(crate) fn safe(line: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    line.chars().map(shown).collect()
}
