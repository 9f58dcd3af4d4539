//! A batch system to measure with: starts one that takes jobs and runs none, prints how to use it as a line of
//! JSON, and ends it when its standard input ends.
//!
//! `nesssi-bed pbs MILLISECONDS` is the stand-in for OpenPBS, whose `qsub` takes so long; `nesssi-bed slurm` is
//! a real Slurm.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a bench that cannot go on must stop, and say where"
)]

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use nesssi_testkit::standin::Manner;
use nesssi_testkit::{Slurm, StandInPbs};
use serde_json::json;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pbs", milliseconds] => {
            let Ok(delay_ms) = milliseconds.parse() else { return usage() };
            let pbs = StandInPbs::start();
            pbs.plan(|plan| {
                plan.slots = 0;
                plan.qsub = Manner { delay_ms, ..Manner::default() };
            });
            serve(&pbs.keys(), &pbs.bin("qsub"));
        }
        ["slurm"] => {
            if let Some(why) = Slurm::missing() {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
            let slurm = Slurm::start();
            slurm.drain();
            serve(&slurm.keys(), &slurm.bin("sbatch"));
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("nesssi-bed pbs MILLISECONDS, or nesssi-bed slurm");
    ExitCode::from(2)
}

/// Prints the lines of nesssi.toml and where the program is that submits, and waits.
fn serve(keys: &[String], submit: &Path) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", json!({ "keys": keys, "submit": submit })).unwrap();
    output.flush().unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}
