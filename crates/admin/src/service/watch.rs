//! `nesssi service watch`: check and restart whenever the service's folder changes.
//!
//! The folder is looked at by its files' times, sizes and numbers, twice a second: that costs next to nothing for
//! what a service is, needs no descriptor for each folder, and sees what another machine wrote on a shared file
//! system, as notifications of the kernel do not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use nesssi_service::CodeDigest;
use nesssi_service::folder::ACCESS_FILE;

use super::check::by_the_server;
use super::report::Severity;
use crate::cli::{Failure, say, tell};
use crate::control::{self, Where};

pub(crate) const HELP: &str = "\
At each change of the folder the server checks the service, as `nesssi service check NAME` does, and restarts
it if there is no error. After a broken edit what ran before goes on, and the problems are told with file and
line; a mended one is taken up. The folder must be readable by you. Ctrl-C ends it.

Exit codes: 0 ended by Ctrl-C, 1 refused, or the folder cannot be watched, 2 wrong usage.";

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long nothing may change until an edit counts as done.
const SETTLE: Duration = Duration::from_millis(250);
/// How long an edit that does not settle is waited for.
const SETTLE_MAX: Duration = Duration::from_secs(5);
/// Most files that are watched: as many as a service may have.
const FILES_MAX: usize = 10_000;
/// Deepest folder that is watched.
const DEPTH_MAX: usize = 32;

/// Which service.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    /// Its dotted name
    name: String,
    #[command(flatten)]
    place: Where,
}

/// Watches until Ctrl-C.
///
/// # Errors
/// What keeps it from beginning or going on.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(words: &Words) -> Result<ExitCode, Failure> {
    watch(&words.name, &words.place).await
}

/// As [`run`], of `service restart --watch`.
///
/// # Errors
/// As [`run`].
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn after_restart(name: &str, place: &Where) -> Result<ExitCode, Failure> {
    watch(name, place).await
}

async fn watch(name: &str, place: &Where) -> Result<ExitCode, Failure> {
    let (name, place) = (name.to_owned(), place.clone());
    let (sender, ended) = tokio::sync::oneshot::channel();
    // In a thread of its own, so that Ctrl-C ends what waits for the server too.
    thread::spawn(move || {
        // Nobody hears it when all has ended by Ctrl-C.
        sender.send(go_on(&name, &place).map_err(|error| error.to_string())).unwrap_or_default();
    });
    tokio::select! {
        heard = tokio::signal::ctrl_c() => heard?,
        why = ended => why.map_err(|_| "the watching has ended")??,
    }
    Ok(ExitCode::SUCCESS)
}

/// Never ends by itself, unless the folder cannot be watched.
fn go_on(name: &str, place: &Where) -> Result<(), Failure> {
    let folder = by_the_server(name, place)?.folder().to_owned();
    let mut seen = look(&folder)?;
    say(&format!("{name}: watching {} ({} files)", folder.display(), seen.len()));
    take_up(name, place);
    loop {
        thread::sleep(LOOK_EVERY);
        if has_changed(&folder, &seen) {
            seen = settled(&folder, seen);
            take_up(name, place);
        }
    }
}

/// Checks, and restarts if there is no error.
fn take_up(name: &str, place: &Where) {
    let report = match by_the_server(name, place) {
        Ok(report) => report,
        Err(error) => return tell(&format!("{name}: not checked: {error}")),
    };
    report.problem_lines(Severity::Warning).iter().for_each(|line| say(line));
    report.traceback().iter().for_each(|line| say(&format!("  {line}")));
    if !report.is_good() {
        return say(&format!("{name}: {}: not restarted, what ran before goes on", report.tally()));
    }
    match control::ask(place, &control::Verb::RestartService(name.to_owned())) {
        Ok(text) => say(&text),
        Err(error) => say(&format!("{name}: not restarted: {error}")),
    }
}

/// What is seen of a file: modified (seconds, nanoseconds), bytes, inode.
type Seen = (i64, i64, u64, u64);

/// Whether the folder is another than it was; one that cannot be looked at just now is not.
fn has_changed(folder: &Path, seen: &BTreeMap<PathBuf, Seen>) -> bool {
    look(folder).is_ok_and(|now| now != *seen)
}

/// The folder once nothing changes any more, or after [`SETTLE_MAX`].
fn settled(folder: &Path, mut seen: BTreeMap<PathBuf, Seen>) -> BTreeMap<PathBuf, Seen> {
    let until = Instant::now() + SETTLE_MAX;
    loop {
        let now = look(folder).unwrap_or_default();
        if now == seen || Instant::now() > until {
            return now;
        }
        seen = now;
        thread::sleep(SETTLE);
    }
}

/// Every file of the service's code, and its access list.
fn look(folder: &Path) -> Result<BTreeMap<PathBuf, Seen>, String> {
    let mut seen = BTreeMap::new();
    enter(folder, 0, &mut seen)?;
    Ok(seen)
}

fn enter(folder: &Path, depth: usize, seen: &mut BTreeMap<PathBuf, Seen>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    if depth > DEPTH_MAX {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name != ACCESS_FILE && !CodeDigest::is_code(&name) {
            continue;
        }
        // What has vanished meanwhile is not there.
        let Ok(facts) = entry.path().metadata() else { continue };
        if facts.is_dir() {
            enter(&entry.path(), depth + 1, seen)?;
        } else if facts.is_file() {
            let what = (facts.mtime(), facts.mtime_nsec(), facts.len(), facts.ino());
            seen.insert(entry.path(), what);
        }
        if seen.len() > FILES_MAX {
            return Err(format!("{}: more than {FILES_MAX} files", folder.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
