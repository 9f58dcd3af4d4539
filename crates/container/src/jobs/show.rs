//! What callers see of sessions and jobs: read from memory, so that a question costs nobody a
//! process or a disk, and each answer says of when it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use nesssi_dn::SubjectDn;
use nesssi_privsep::messages;
use nesssi_rpc::{Fault, FaultCode, Value};
use nesssi_session::SessionId;

use super::Core;
use super::table::{Entry, Job, Phase};
use crate::clock::{date_time, iso, now_ms};

/// How many files a status text lists.
const FILES_MAX: u32 = 1000;

/// How long the list of files may take before a status goes without it.
const FILES_PATIENCE: Duration = Duration::from_secs(5);

/// How many sessions a list has.
pub(crate) const SESSIONS_MAX: usize = 10_000;

/// The state of a session without a job.
pub(crate) const PREPARED: &str = "prepared";

/// What is known of a session at a moment.
struct Seen {
    state: &'static str,
    cpu: Option<f64>,
    wall: f64,
    as_of: String,
    reason: String,
}

pub(super) fn value(core: &Core, session: &str) -> Result<Value, Fault> {
    let (_, number) = core.known(session)?;
    let table = core.table();
    let entry = table.get(number).ok_or_else(Fault::no_such_session)?;
    Ok(Value::Struct(members(core, entry, now_ms())))
}

/// Which sessions a list has.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// In one of these states; empty is any.
    pub(crate) states: Vec<String>,
    /// Made by this service.
    pub(crate) service: Option<String>,
    /// Made then or later, in milliseconds.
    pub(crate) since_ms: u64,
    /// So many at most.
    pub(crate) count_max: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { states: Vec::new(), service: None, since_ms: 0, count_max: SESSIONS_MAX }
    }
}

impl Wanted {
    fn takes(&self, entry: &Entry) -> bool {
        let state = entry.job.as_ref().map_or(PREPARED, |job| job.state().as_str());
        entry.created_ms >= self.since_ms
            && self.service.as_ref().is_none_or(|service| *service == entry.service)
            && (self.states.is_empty() || self.states.iter().any(|one| one == state))
    }
}

pub(super) fn list(
    core: &Core,
    subject: Option<&SubjectDn>,
    wanted: &Wanted,
) -> Result<Value, Fault> {
    let Some(subject) = subject else {
        let text = "a list needs a certificate: an anonymous caller has the ids he was given";
        return Err(Fault::new(FaultCode::NoCredential, text));
    };
    let (table, now_ms) = (core.table(), now_ms());
    let sessions = table.of_subject(subject).filter(|entry| wanted.takes(entry));
    let sessions = sessions.take(wanted.count_max.min(SESSIONS_MAX)).map(|entry| {
        let mut members = members(core, entry, now_ms);
        members.insert("session".to_owned(), entry.id.reveal().into());
        Value::Struct(members)
    });
    Ok(Value::Array(sessions.collect()))
}

/// The sessions of a subject, with what is known of how long each is kept.
pub(super) fn sessions(core: &Core, subject: &SubjectDn) -> Value {
    let table = core.table();
    let own = table.of_subject(subject).filter(|entry| !entry.expired).take(SESSIONS_MAX);
    Value::Array(own.map(|entry| Value::Struct(session(core, entry))).collect())
}

fn session(core: &Core, entry: &Entry) -> BTreeMap<String, Value> {
    let state = entry.job.as_ref().map_or(PREPARED, |job| job.state().as_str());
    let date = |ms| Value::DateTime(date_time(ms));
    let members = [
        ("session", entry.id.reveal().into()),
        ("state", state.into()),
        ("service", entry.service.as_str().into()),
        ("method", entry.method.as_str().into()),
        ("level", entry.level.as_str().into()),
        ("created", date(entry.created_ms)),
        ("url", url(core, &entry.id).into()),
    ];
    let mut members: BTreeMap<String, Value> =
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    // Of a job that has not ended nobody knows when its session will.
    if entry.job.is_none() || entry.has_ended() {
        members.insert("expires".to_owned(), date(entry.expires_ms));
    }
    members
}

pub(super) async fn text(core: &Core, session: &str) -> Result<String, Fault> {
    let (id, number) = core.known(session)?;
    let (mut text, seal) = {
        let table = core.table();
        let entry = table.get(number).ok_or_else(Fault::no_such_session)?;
        (head(entry, now_ms()), entry.seal.open())
    };
    text.push('\n');
    let files = async {
        let jobmanager = core.needs.channels.tend(id.reveal(), &seal).await?;
        jobmanager.files(id.reveal(), FILES_MAX, FILES_PATIENCE).await
    };
    match tokio::time::timeout(FILES_PATIENCE, files).await {
        Ok(Ok((files, cut))) => {
            let base = url(core, &id);
            for file in files.iter().filter(|file| !file.directory) {
                text.push_str(&file_line(file, &base));
            }
            if cut {
                text.push_str("(there are more files)\n");
            }
        }
        Ok(Err(error)) => {
            tracing::info!(session = %id, %error, "the files of a session cannot be listed");
            text.push_str("(the files cannot be listed now)\n");
        }
        Err(_elapsed) => text.push_str("(the files cannot be listed now)\n"),
    }
    Ok(text)
}

pub(super) fn url(core: &Core, session: &SessionId) -> String {
    let base = core.needs.config.server.sandbox_url.trim_end_matches('/');
    format!("{base}/sandboxes/{}/", session.reveal())
}

fn members(core: &Core, entry: &Entry, now_ms: u64) -> BTreeMap<String, Value> {
    let seen = see(entry, now_ms);
    let mut members = BTreeMap::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("state", seen.state.into());
    put("as_of", seen.as_of.into());
    put("reason", seen.reason.into());
    put("url", url(core, &entry.id).into());
    put("created", iso(entry.created_ms).into());
    put("service", entry.service.as_str().into());
    put("method", entry.method.as_str().into());
    put("level", entry.level.as_str().into());
    put("wall_seconds", Value::Double(seen.wall));
    if let Some(cpu) = seen.cpu {
        put("cpu_seconds", Value::Double(cpu));
    }
    if let Some(trouble) = &entry.trouble {
        put("not_removed", trouble.as_str().into());
    }
    if let Some(job) = &entry.job {
        put("cpu_limit", whole(job.cpu_seconds_max));
        put("wall_limit", whole(job.wall_seconds_max));
        put("batch", job.batch.as_str().into());
        if let Some(comment) = comment(job) {
            put("comment", comment.into());
        }
        if let Some(end) = &job.end {
            put("expires", iso(entry.expires_ms).into());
            if let Some(code) = end.exit_code {
                put("exit_code", Value::Int(i64::from(code)));
            }
        }
    }
    members
}

fn head(entry: &Entry, now_ms: u64) -> String {
    let seen = see(entry, now_ms);
    let mut lines = vec![format!("state: {}", seen.state)];
    if let Some(job) = &entry.job {
        lines.push(match seen.cpu {
            Some(cpu) => format!("cpu: {cpu:.1} s of {} s", job.cpu_seconds_max),
            None => format!("cpu: not measured yet, of {} s", job.cpu_seconds_max),
        });
        lines.push(format!("wall: {:.1} s of {} s", seen.wall, job.wall_seconds_max));
        lines.push(format!("batch: {}", job.batch));
        if let Some(comment) = comment(job) {
            lines.push(format!("comment: {comment}"));
        }
        if let Some(code) = job.end.as_ref().and_then(|end| end.exit_code) {
            lines.push(format!("exit_code: {code}"));
        }
    }
    if !seen.reason.is_empty() {
        lines.push(format!("reason: {}", seen.reason));
    }
    lines.push(format!("as_of: {}", seen.as_of));
    lines.join("\n") + "\n"
}

fn see(entry: &Entry, now_ms: u64) -> Seen {
    let Some(job) = &entry.job else {
        return Seen {
            state: PREPARED,
            cpu: Some(0.0),
            wall: 0.0,
            as_of: iso(now_ms),
            reason: String::new(),
        };
    };
    let (cpu, wall, as_of_ms) = figures(job, now_ms);
    let as_of = match &job.note {
        Some(note) => format!("{} ({note})", iso(as_of_ms)),
        None => iso(as_of_ms),
    };
    let reason = match (&job.end, job.cancel_asked_ms) {
        (Some(end), _) => end.reason.clone(),
        (None, Some(_)) => "asked to end".to_owned(),
        (None, None) => String::new(),
    };
    Seen { state: job.state().as_str(), cpu, wall, as_of, reason }
}

/// Why it waits or is held, in its batch system's words.
fn comment(job: &Job) -> Option<&str> {
    (job.end.is_none() && !job.comment.is_empty()).then(|| job.comment.as_str())
}

/// When the batch system last knew a job that it has; `None` of a job that it has not, or not now.
fn last_seen_ms(job: &Job) -> Option<u64> {
    let has = job.batch_id.is_some() && job.end.is_none();
    job.seen_ms.or(job.submitted_ms).filter(|_| has)
}

/// CPU seconds, wall seconds, and of when they are.
fn figures(job: &Job, now_ms: u64) -> (Option<f64>, f64, u64) {
    if let Some(end) = &job.end {
        return (Some(seconds(end.cpu_usec, 1e6)), seconds(end.wall_usec, 1e6), end.ended_ms);
    }
    let seen_ms = last_seen_ms(job);
    let Some(started_ms) = job.started_ms.filter(|_| job.phase != Phase::Queued) else {
        return (Some(0.0), 0.0, seen_ms.unwrap_or(now_ms));
    };
    // That it still runs is known of then, and no longer.
    let wall = seconds(seen_ms.unwrap_or(now_ms).saturating_sub(started_ms), 1e3);
    match job.measured {
        Some((cpu_usec, measured_ms)) => {
            (Some(seconds(cpu_usec, 1e6)), wall, seen_ms.unwrap_or(measured_ms))
        }
        None => (None, wall, seen_ms.unwrap_or(now_ms)),
    }
}

#[allow(clippy::cast_precision_loss, reason = "microseconds of a job are far below 2^53")]
fn seconds(count: u64, per_second: f64) -> f64 {
    count as f64 / per_second
}

fn whole(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn file_line(file: &messages::Entry, base: &str) -> String {
    let name = String::from_utf8_lossy(&file.name.0);
    let shown: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{shown} {} {base}{}\n", file.size, encoded(&file.name.0))
}

/// A path as it stands in a URL.
fn encoded(path: &[u8]) -> String {
    let mut out = String::new();
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(*byte));
            }
            // Writing to a String cannot fail.
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn paths_in_urls() {
        assert_eq!(encoded(b"out/a b.txt"), "out/a%20b.txt");
        assert_eq!(encoded("ü%?#".as_bytes()), "%C3%BC%25%3F%23");
    }
}
