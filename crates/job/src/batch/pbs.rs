//! What OpenPBS and the TORQUE family have in common: listings, and the words of their refusals.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::batch::answers::{
    BatchEnd, BatchState, CancelAnswer, Exit, LISTING_BYTES_MAX, Listing, NoListing, Numbers,
    Output, Sighting, clock_seconds,
};
use crate::batch::id::BatchId;
use crate::batch::words::Words;

/// Whose listing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    OpenPbs,
    Torque,
    SlurmWrappers,
}

/// Whether lower-case text says that the server cannot be had.
pub(super) fn is_down(text: &str) -> bool {
    [
        "cannot connect to server",
        "couldn't connect to cluster",
        "connection refused",
        "problem loading jobs",
        "unable to contact slurm controller",
        "unable to communicate with",
        "communication failure",
        "end of file",
        "pbs_iff: cannot",
        "server too busy",
        "connection timed out",
        "socket timed out",
        "no permission to connect",
    ]
    .iter()
    .any(|phrase| text.contains(phrase))
}

/// The answer of `qdel`.
pub(super) fn cancelled(output: &Output<'_>) -> CancelAnswer {
    let (text, words) = (output.text(), output.words());
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    match output.exit {
        Exit::Code(0) => CancelAnswer::Asked,
        Exit::Signal(_) | Exit::TimedOut => CancelAnswer::Unknown(words),
        Exit::Code(_) if is_down(&text) => CancelAnswer::Down(words),
        Exit::Code(_) if says(&["unauthorized request", "permission denied"]) => {
            CancelAnswer::Refused(words)
        }
        Exit::Code(_) if says(&["unknown job id", "job has finished", "invalid job id"]) => {
            CancelAnswer::Gone(words)
        }
        // TORQUE says this of a job that is on its way out.
        Exit::Code(_)
            if says(&[
                "invalid state for job - exiting",
                "request invalid for state of job exiting",
            ]) =>
        {
            CancelAnswer::Asked
        }
        Exit::Code(_) => CancelAnswer::Unknown(words),
    }
}

/// Reads a listing, whatever form it has.
pub(super) fn listed(output: &Output<'_>, flavour: Flavour) -> Result<Listing, NoListing> {
    if output.stdout.len() > LISTING_BYTES_MAX {
        return Err(NoListing::TooLong);
    }
    // Standard error alone: a job may be called anything.
    let alone = Output { stdout: b"", ..*output };
    let (said, words) = (alone.text(), alone.words());
    match output.exit {
        Exit::Signal(_) | Exit::TimedOut => return Err(NoListing::Failed(words)),
        Exit::Code(0) => {}
        Exit::Code(_) if is_down(&said) => return Err(NoListing::Down(words)),
        // Some ids are not known any more: what was said of the others counts. The wrappers say so without a word.
        Exit::Code(153 | 35) if said.lines().all(is_of_unknown) => {}
        Exit::Code(_) => return Err(NoListing::Failed(words)),
    }
    let text = std::str::from_utf8(output.stdout);
    match text.map(str::trim_start) {
        Ok(text) if text.starts_with('{') && flavour == Flavour::OpenPbs => from_json(text),
        Ok(_) if flavour == Flavour::OpenPbs && output.stdout.is_empty() => Ok(Listing::default()),
        _ => from_text(output.stdout, flavour),
    }
}

fn is_of_unknown(line: &str) -> bool {
    line.trim().is_empty() || line.contains("unknown job id") || line.contains("job has finished")
}

#[derive(Deserialize)]
struct JsonListing<'a> {
    #[serde(rename = "timestamp")]
    _timestamp: serde::de::IgnoredAny,
    #[serde(rename = "Jobs", borrow, default)]
    jobs: BTreeMap<String, &'a RawValue>,
}

/// What is used of a job. Values that look like numbers are numbers there.
#[derive(Deserialize)]
struct JsonJob {
    #[serde(rename = "Job_Name")]
    name: Value,
    #[serde(rename = "Job_Owner", default)]
    owner: Value,
    job_state: String,
    #[serde(default)]
    comment: Value,
    #[serde(rename = "Exit_status", default)]
    exit_status: Option<i64>,
    #[serde(default)]
    substate: Option<i64>,
    #[serde(default)]
    resources_used: Used,
}

#[derive(Deserialize, Default)]
struct Used {
    #[serde(default)]
    cput: Value,
    #[serde(default)]
    walltime: Value,
}

fn from_json(text: &str) -> Result<Listing, NoListing> {
    let not_understood = |error: serde_json::Error| {
        NoListing::NotUnderstood(Words::of(error.to_string().as_bytes()))
    };
    let read: JsonListing<'_> = serde_json::from_str(text).map_err(not_understood)?;
    let mut listing = Listing::default();
    for (id, raw) in read.jobs {
        let Ok(job) = serde_json::from_str::<JsonJob>(raw.get()) else {
            listing.unread += 1;
            continue;
        };
        let fields = Fields {
            id: &id,
            name: said(&job.name),
            owner: said(&job.owner),
            state: &job.job_state,
            comment: said(&job.comment),
            exit_status: job.exit_status,
            substate: job.substate,
            cput: said(&job.resources_used.cput),
            walltime: said(&job.resources_used.walltime),
        };
        fields.note(&mut listing, Flavour::OpenPbs);
    }
    Ok(listing)
}

fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What is used of a job, as it was said.
#[derive(Default)]
struct Fields<'a> {
    id: &'a str,
    name: String,
    owner: String,
    state: &'a str,
    comment: String,
    exit_status: Option<i64>,
    substate: Option<i64>,
    cput: String,
    walltime: String,
}

impl Fields<'_> {
    fn note(self, listing: &mut Listing, flavour: Flavour) {
        let Ok(id) = BatchId::parse(self.id) else {
            // An array is nobody's of ours.
            listing.unread += usize::from(!self.id.contains('['));
            return;
        };
        let end = match flavour {
            Flavour::OpenPbs => self.openpbs_end(),
            Flavour::Torque => self.exit_status.map_or(BatchEnd::Unsaid, torque_end),
            Flavour::SlurmWrappers => BatchEnd::Unsaid,
        };
        let state = match self.state {
            "Q" | "W" | "T" => BatchState::Queued,
            "H" => BatchState::Held,
            // The wrappers say it of all that they have no letter for, ended by memory or not.
            "U" if flavour == Flavour::SlurmWrappers => BatchState::Unknown,
            "R" | "S" | "U" | "B" => BatchState::Running,
            "E" => BatchState::Exiting,
            "F" | "C" | "X" => BatchState::Ended(end),
            // Moved to another server, which is not asked.
            _ => BatchState::Unknown,
        };
        let owner = self.owner.split('@').next().unwrap_or_default().to_owned();
        listing.note(Sighting {
            id,
            name: self.name,
            owner,
            state,
            cpu_seconds: clock_seconds(&self.cput),
            wall_seconds: clock_seconds(&self.walltime),
            comment: Words::of(self.comment.as_bytes()),
        });
    }

    /// Substate 91 is "terminated"; a job that was deleted before it ran has no exit status.
    fn openpbs_end(&self) -> BatchEnd {
        match (self.exit_status, self.substate) {
            (Some(-29), _) => BatchEnd::OverWall,
            (Some(-28), _) => BatchEnd::OverCpu,
            (Some(-26 | -27), _) => BatchEnd::OverMemory,
            (_, Some(91)) => BatchEnd::Cancelled,
            (Some(254), _) => BatchEnd::StartFailed,
            (Some(status), _) => pbs_status(status),
            (None, _) => BatchEnd::Unsaid,
        }
    }
}

/// TORQUE says -10 of any limit, and ends by the signal TERM, 271, what is cancelled or over its wall time.
fn torque_end(status: i64) -> BatchEnd {
    match status {
        -10 => BatchEnd::OverLimit,
        other => pbs_status(other),
    }
}

/// 256 and more is a signal; below 0 the batch system could not run it.
fn pbs_status(status: i64) -> BatchEnd {
    match i32::try_from(status) {
        Ok(code @ 0..=255) => BatchEnd::Exited(code),
        Ok(code @ 257..=384) => BatchEnd::Signalled(code - 256),
        Ok(i32::MIN..=-1) => BatchEnd::StartFailed,
        _ => BatchEnd::Unsaid,
    }
}

/// `Job Id: ID`, then `name = value` lines that begin with blanks; one that begins with a tab in OpenPBS goes on
/// with the value before it.
fn from_text(bytes: &[u8], flavour: Flavour) -> Result<Listing, NoListing> {
    let text = String::from_utf8_lossy(bytes);
    let mut listing = Listing::default();
    let mut blocks = Vec::new();
    for line in unfolded(&text, flavour) {
        if let Some(id) = line.strip_prefix("Job Id:") {
            blocks.push((id.trim().to_owned(), BTreeMap::new()));
        } else if line.trim().is_empty() {
            continue;
        } else if let Some((_, fields)) = blocks.last_mut() {
            if let Some((key, value)) = line.split_once(" = ") {
                // The first counts: what a job says of itself stands behind what the server says.
                fields.entry(key.trim().to_owned()).or_insert_with(|| value.to_owned());
            }
        } else {
            return Err(NoListing::NotUnderstood(Words::of(line.as_bytes())));
        }
    }
    let mut numbers = Numbers::default();
    for (id, fields) in blocks {
        numbers.note(&id);
        let field =
            |key: &str| fields.get(key).map(|value| value.trim().to_owned()).unwrap_or_default();
        if field("Job_Name").is_empty() || field("job_state").is_empty() {
            listing.unread += 1;
            continue;
        }
        let number = |key: &str| field(key).parse().ok();
        let state = field("job_state");
        let fields = Fields {
            id: &id,
            name: field("Job_Name"),
            owner: field("Job_Owner"),
            state: &state,
            comment: field("comment"),
            exit_status: number("Exit_status").or(number("exit_status")),
            substate: number("substate"),
            cput: field("resources_used.cput"),
            walltime: field("resources_used.walltime"),
        };
        fields.note(&mut listing, flavour);
    }
    listing.doubt(&numbers);
    Ok(listing)
}

/// Lines whose folds are undone. The wrappers fold none, and begin all with a tab.
fn unfolded(text: &str, flavour: Flavour) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix('\t'), lines.last_mut()) {
            (Some(rest), Some(last)) if flavour != Flavour::SlurmWrappers => last.push_str(rest),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}
