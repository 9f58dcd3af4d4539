//! A stand-in for OpenPBS: its commands in its dialect, jobs that really run, and faults as they are planned.
//!
//! It is one program, linked as `qsub`, `qstat` and `qdel` into a folder `bin`; its state lies beside that in
//! `state`, which it finds by where it was started from, since NESSSI gives it no environment:
//!
//! ```text
//! plan.json        what it is to do wrong; read at each call
//! jobs/N.json      what it knows of job N.pbs; removed when the job is forgotten
//! scripts/S        the job script, its owner's alone; S counts jobs, also those that were given an id again
//! new/S, delete/N  what the server is to take up
//! calls            a line for each call: milliseconds, uid, command, arguments
//! starts           a line for each start of a script: milliseconds, id, name
//! ```
//!
//! The server is a process of the same program: it runs the scripts as their owners, each in a session of its
//! own, holds them to `cput` and `walltime`, and ends what is to be deleted. It is no part of the server under
//! test, so jobs go on when that is killed; it ends, with all jobs, when its standard input does.
//!
//! Secure enough for tests alone: who calls it may change all of its state.

mod commands;
mod job;
mod listing;
mod plan;
mod server;
mod state;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use crate::{Place, binaries, wait_until};

pub use job::{StandInJob, StandInState};
pub use plan::{Fault, Manner, Plan, Starts};
use state::State;

/// What its host and so its ids are called by.
const SERVER: &str = "pbs";

/// What the program does, by the name that it was called by.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let called = words.next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    // Everything in the state may be changed by every account.
    rustix::process::umask(rustix::fs::Mode::empty());
    let state = State::beside_this_program();
    match name.as_str() {
        "pbs_server" => server::serve(&state),
        "qsub" | "qstat" | "qdel" => commands::run(&name, &arguments, &state),
        other => {
            eprintln!("{other}: it is to be called qsub, qstat, qdel or pbs_server");
            ExitCode::from(2)
        }
    }
}

/// A running stand-in. Its jobs end, and its folder goes, when it is dropped.
#[derive(Debug)]
pub struct StandInPbs {
    server: Child,
    state: State,
    place: Place,
}

impl StandInPbs {
    /// Starts one that does everything right.
    #[must_use]
    pub fn start() -> Self {
        let place = Place::new();
        let bin = place.folder("bin");
        let program = binaries().join("nesssi-standin-pbs");
        for name in ["qsub", "qstat", "qdel", "pbs_server"] {
            let link = bin.join(name);
            if fs::hard_link(&program, &link).is_err() {
                fs::copy(&program, &link).unwrap();
            }
            fs::set_permissions(&link, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let state = State::lay_out(&place.path().join("state"));
        state.write_plan(&Plan::default());
        let log = fs::File::create(place.path().join("pbs_server.log")).unwrap();
        let server = Command::new(bin.join("pbs_server"))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_until("the stand-in's server runs", 10, || state.is_served().then_some(()));
        Self { server, state, place }
    }

    /// The absolute path of `qsub`, `qstat` or `qdel`.
    #[must_use]
    pub fn bin(&self, name: &str) -> PathBuf {
        self.place.path().join("bin").join(name)
    }

    /// Lines of nesssi.toml for a batch system that is this one.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let programs = [("submit", "qsub"), ("status", "qstat"), ("cancel", "qdel")];
        let program = |(key, name): (&str, &str)| format!("{key} = {:?}", self.bin(name));
        let dialect = "dialect = \"openpbs\"".to_owned();
        std::iter::once(dialect).chain(programs.map(program)).collect()
    }

    /// Changes what it does from the next call on.
    pub fn plan(&self, change: impl FnOnce(&mut Plan)) {
        let mut plan = self.state.plan();
        change(&mut plan);
        self.state.write_plan(&plan);
    }

    /// How often a command was called.
    #[must_use]
    pub fn calls(&self, command: &str) -> usize {
        let calls = fs::read_to_string(self.state.path("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.split(' ').nth(2) == Some(command)).count()
    }

    /// Names of jobs whose script was started, once for each start.
    #[must_use]
    pub fn starts(&self) -> Vec<String> {
        let starts = fs::read_to_string(self.state.path("starts")).unwrap_or_default();
        starts.lines().filter_map(|line| line.split(' ').nth(2)).map(str::to_owned).collect()
    }

    /// All jobs that it knows, whatever its commands tell.
    #[must_use]
    pub fn jobs(&self) -> Vec<StandInJob> {
        self.state.jobs()
    }
}

impl Drop for StandInPbs {
    fn drop(&mut self) {
        // The end of its standard input is how it is told.
        drop(self.server.stdin.take());
        self.server.wait().ok();
        if std::thread::panicking() {
            let calls = fs::read_to_string(self.state.path("calls")).unwrap_or_default();
            let calls: Vec<&str> = calls.lines().collect();
            let last = &calls[calls.len().saturating_sub(30)..];
            eprintln!("--- jobs of the stand-in ---\n{:#?}", self.jobs());
            eprintln!("--- its last calls ---\n{}", last.join("\n"));
        }
    }
}
