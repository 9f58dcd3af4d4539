//! A job script is what runs on the node: `/bin/sh` and `awk` alone, with nothing of NESSSI installed.
//!
//! `job.sh` is its text. Values are set into it as quoted words; the rest is the same for every job.

use std::fmt::Write as _;

use crate::batch::quote::quote;
use crate::batch::submission::Submission;
use crate::{Tag, render_local};

const TEXT: &str = include_str!("job.sh");
const LOOK: &str = include_str!("look.awk");
const REPORT: &str = include_str!("report.awk");

/// Exit codes of a job script by which nothing was started. A payload may have ended with the same:
/// they mean something only where the sandbox has no guard, or for [`NotStarted::AlreadyStarted`] another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStarted {
    /// The node does not have the sandbox.
    NoSandbox,
    /// The guard stands: the payload was started by another script, or by this one before.
    AlreadyStarted,
    /// The guard could not be set: the file system is full or read-only.
    NoGuard,
    /// The script was run as a job array.
    Array,
    /// Standard output and standard error could not be made; a record says so.
    NoOutput,
    /// The node has no awk.
    NoAwk,
}

impl NotStarted {
    /// What the script's exit code says, if it is one of these.
    #[must_use]
    pub fn of(exit_code: i32) -> Option<Self> {
        match exit_code {
            90 => Some(Self::NoSandbox),
            91 => Some(Self::AlreadyStarted),
            93 => Some(Self::NoGuard),
            94 => Some(Self::Array),
            95 => Some(Self::NoOutput),
            96 => Some(Self::NoAwk),
            _ => None,
        }
    }
}

/// The script of a job. No line of it is a directive of any batch system: they stand in the arguments.
pub(super) fn render(submission: &Submission) -> Vec<u8> {
    let mut script = "#!/bin/sh\n".to_owned();
    for line in TEXT.split_inclusive('\n') {
        match line.trim_ascii() {
            "@SETTINGS@" => settings(&mut script, submission),
            "set -- @ARGV@" => arguments(&mut script, submission),
            "@EXPORTS@" => exports(&mut script, submission),
            "nesssi_look='@LOOK@'" => program(&mut script, "nesssi_look", LOOK),
            "nesssi_report='@REPORT@'" => program(&mut script, "nesssi_report", REPORT),
            _ => script.push_str(line),
        }
    }
    script.into_bytes()
}

fn settings(script: &mut String, submission: &Submission) {
    let asked = submission.asked();
    let numbers = format!(
        "nesssi_tag={}\nnesssi_brand={}\nnesssi_cpu_max={}\nnesssi_cpu_held={}\nnesssi_wall_max={}\nnesssi_bytes_max={}\nnesssi_mask={:04o}\n",
        asked.tag,
        brand(&asked.tag),
        asked.job.cpu_seconds_max(),
        submission.cpu_seconds_held(),
        asked.job.wall_seconds_max(),
        asked.job.sandbox_bytes_max(),
        asked.umask,
    );
    script.push_str(&numbers);
    script.push_str("nesssi_sandbox=");
    quote(script, asked.sandbox.reveal());
    script.push('\n');
}

/// A number that no other job has, and that every shell takes as a limit: 63 bits of the tag.
fn brand(tag: &Tag) -> u64 {
    u64::from_str_radix(tag.as_str(), 16).unwrap_or_default() & (u64::MAX >> 1)
}

fn arguments(script: &mut String, submission: &Submission) {
    script.push_str("    set --");
    for argument in render_local(&submission.asked().job) {
        script.push_str(" \\\n");
        quote(script, &argument);
    }
    script.push('\n');
}

fn exports(script: &mut String, submission: &Submission) {
    for (name, value) in submission.asked().environment.variables() {
        // Writing to a String cannot fail.
        write!(script, "    export {name}=").unwrap_or_default();
        quote(script, value);
        script.push('\n');
    }
}

/// Our own awk programs hold no single quote, which a test holds them to.
fn program(script: &mut String, name: &str, text: &str) {
    writeln!(script, "{name}='{text}'").unwrap_or_default();
}

#[cfg(test)]
mod tests;
