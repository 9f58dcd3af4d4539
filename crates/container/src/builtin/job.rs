//! `job.*`: giving a job, what becomes of it, its output, waiting for its end, ending it, and the
//! caller's own list.

use std::sync::Arc;
use std::time::Duration;

use nesssi_job::{Command, JobState};
use nesssi_policy::LevelName;
use nesssi_rpc::{DateTime, Fault, FaultCode, Reply, Value};

use super::{Builtin, Context, Later, Run, between, exactly, seconds, text, whole};
use crate::Answer;
use crate::clock::ms_of;
use crate::files::{self, FileFault, Found};
use crate::jobs::{Owner, PREPARED, SESSIONS_MAX, Submission, Wanted};
use crate::raw::RawFile;
use crate::reading::read_whole;
use crate::waiting::{self, Waited};

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "job.status",
        help: "What is known of a session's job, as a struct: status(session). `state` is \
               prepared, queued, running, done, failed, cancelled, over_limit or lost; \
               `cpu_seconds` of `cpu_limit`, `wall_seconds`, `exit_code`, `reason`, `url`, \
               `batch`, `comment` (why it waits or is held, where its batch system says so), and \
               `as_of`: of when the answer is. Example: job.status(session)[\"state\"].",
        signatures: &[&["struct", "string"]],
        parameters: &["session"],
        run: Run::Now(status),
    },
    Builtin {
        name: "job.cancel",
        help: "Ends a job: cancel(session), for who submitted it. Answers `cancelled` once \
               nothing of it is left, `asked` while something is, `refused` where its batch system \
               does not end it (its words are the `comment` of job.status), or the state in which \
               it had ended before. Example: job.cancel(session).",
        signatures: &[&["string", "string"]],
        parameters: &["session"],
        run: Run::Later(cancel),
    },
    Builtin {
        name: "job.list",
        help: "The caller's own sessions, the newest first, each as job.status answers it with \
               its `session`: list() or list(filter), a struct of any of `state` (a string or an \
               array of them), `service`, `since` (a date in UTC) and `limit`. Needs a \
               certificate. Example: job.list({\"state\": \"running\", \"limit\": 10}).",
        signatures: &[&["array"], &["array", "struct"]],
        parameters: &["filter"],
        run: Run::Now(list),
    },
    Builtin {
        name: "job.submit",
        help: "Runs a command as a job of the caller's own account: submit(command, cpu_seconds), \
               or submit(command, cpu_seconds, session) in a session that session.new has made. \
               The command is an array of strings, program and arguments; no shell reads it. \
               Answers the session. For the levels that the server's configuration names. \
               Example: job.submit([\"/bin/echo\", \"hello\"], 5).",
        signatures: &[&["string", "array", "double"], &["string", "array", "double", "string"]],
        parameters: &["command", "cpu_seconds", "session"],
        run: Run::Later(|context, params| Box::pin(submit(context, params))),
    },
    Builtin {
        name: "job.tail",
        help: "The end of a file of a session: tail(session), tail(session, path) or tail(session, \
               path, bytes): the last 4096 bytes of stdout unless path and bytes (1048576 at most) \
               say otherwise. A struct: `path`, `offset` (of the first byte), `size` (of the whole \
               file), `data`, `ended` (whether the job has). Example: job.tail(session, \
               \"stderr\")[\"data\"].",
        signatures: &[
            &["struct", "string"],
            &["struct", "string", "string"],
            &["struct", "string", "string", "int"],
        ],
        parameters: &["session", "path", "bytes"],
        run: Run::Later(|context, params| {
            Box::pin(async move { Answer::of(tail(&context, params).await) })
        }),
    },
    Builtin {
        name: "job.wait",
        help: "Waits for the end of a session's job: wait(session, seconds), 300 at most unless \
               system.limits says otherwise. Answers as job.status, with `ended` and `retry`: true \
               where the server is about to be replaced, and is to be asked again. \
               Example: job.wait(session, 60)[\"ended\"].",
        signatures: &[&["struct", "string", "double"]],
        parameters: &["session", "seconds"],
        run: Run::Later(|context, params| {
            Box::pin(async move { Answer::of(wait(&context, params).await) })
        }),
    },
];

/// What job.tail reads unless it is told.
const TAIL_PATH: &str = "stdout";
const TAIL_BYTES: i64 = 4096;

/// The most that it reads.
const TAIL_BYTES_MAX: i64 = 1024 * 1024;

fn status(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [session] = exactly(params)?;
    context.inner.jobs.status_value(&text(session, "the session")?)
}

fn list(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [filter] = between(0, params)?;
    let wanted = filter.map_or_else(|| Ok(Wanted::default()), wanted)?;
    context.inner.jobs.list(context.subject(), &wanted)
}

fn wanted(filter: Value) -> Result<Wanted, Fault> {
    let Value::Struct(members) = filter else {
        return Err(Fault::invalid_params("the filter is a struct"));
    };
    let mut wanted = Wanted::default();
    for (name, value) in members {
        match name.as_str() {
            "state" => wanted.states = states(value)?,
            "service" => wanted.service = Some(text(value, "`service`")?),
            "since" => wanted.since_ms = ms_of(since(value)?),
            "limit" => wanted.count_max = limit(&value)?,
            _ => {
                let text = "a filter has `state`, `service`, `since` and `limit`, and no other";
                return Err(Fault::invalid_params(text));
            }
        }
    }
    Ok(wanted)
}

fn states(value: Value) -> Result<Vec<String>, Fault> {
    let values = match value {
        Value::Array(values) => values,
        one => vec![one],
    };
    let state = |value| {
        let state = text(value, "a state")?;
        let known = JobState::ALL.iter().any(|one| one.as_str() == state);
        if known || state == PREPARED {
            return Ok(state);
        }
        let all = JobState::ALL.map(JobState::as_str).join(", ");
        Err(Fault::invalid_params(format!("a state is one of {PREPARED}, {all}")))
    };
    if values.is_empty() {
        return Err(Fault::invalid_params("`state` names one state at least"));
    }
    values.into_iter().map(state).collect()
}

fn since(value: Value) -> Result<DateTime, Fault> {
    match value {
        Value::DateTime(at) => Ok(at),
        Value::String(text) => DateTime::parse(&text)
            .map_err(|error| Fault::invalid_params(format!("`since`: {error}"))),
        other => {
            let text = format!("`since` must be a date, not {}", other.type_name());
            Err(Fault::invalid_params(text))
        }
    }
}

fn limit(value: &Value) -> Result<usize, Fault> {
    match value.as_int().map(usize::try_from) {
        Some(Ok(count @ 1..=SESSIONS_MAX)) => Ok(count),
        _ => Err(Fault::invalid_params(format!("`limit` is a whole number, 1 to {SESSIONS_MAX}"))),
    }
}

fn cancel(context: Context<'_>, params: Vec<Value>) -> Later<'_> {
    Box::pin(async move {
        let cancelled = async {
            context.may_change()?;
            let [session] = exactly(params)?;
            let session = text(session, "the session")?;
            context.inner.jobs.cancel(context.subject(), &session).await
        };
        Answer::of(cancelled.await.map(Value::String))
    })
}

async fn submit(context: Context<'_>, params: Vec<Value>) -> Answer {
    let submitted = async {
        context.may_change()?;
        let who = context.who()?;
        if !may_submit(&context, &who.grant.level) {
            let text = format!(
                "job.submit is not open to level {} here: a service gives jobs",
                who.grant.level
            );
            return Err(Fault::refused(text));
        }
        let submission = submission(params)?;
        context.inner.jobs.submit(&who, submission).await
    };
    match submitted.await {
        Ok(session) => Answer {
            session: Some(context.inner.jobs.url_of(&session)),
            ..Answer::of(Ok(session.reveal().into()))
        },
        Err(fault) => Answer::of(Err(fault)),
    }
}

fn may_submit(context: &Context<'_>, level: &LevelName) -> bool {
    context.inner.grants.rules().now().submit_levels.contains(level)
}

fn submission(params: Vec<Value>) -> Result<Submission, Fault> {
    let [command, cpu_seconds, session] = between(2, params)?;
    let (command, cpu_seconds) = (command.unwrap_or(Value::Nil), cpu_seconds.unwrap_or(Value::Nil));
    Ok(Submission {
        service: "job".to_owned(),
        method: "job.submit".to_owned(),
        seconds: seconds(&cpu_seconds, "the CPU seconds")?,
        session: session.map(|session| text(session, "the session")).transpose()?,
        command: Command::Argv(words(command)?),
        shell_allowed: false,
        batch: None,
    })
}

/// An argument vector.
///
/// # Errors
/// -32602 for anything else.
fn words(command: Value) -> Result<Vec<Vec<u8>>, Fault> {
    let Value::Array(words) = command else {
        let text = "the command is an array of strings, program and arguments: no shell reads it";
        return Err(Fault::invalid_params(text));
    };
    let word = |value| text(value, "a word of the command").map(String::into_bytes);
    words.into_iter().map(word).collect()
}

async fn wait(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [session, patience] = exactly(params)?;
    let session = text(session, "the session")?;
    let most = f64::from(context.inner.config.bounds.wait_seconds_max);
    let patience = seconds(&patience, "the time to wait")?.min(most);
    let owner = Owner::of(context.subject(), context.caller.address);
    let patience = Duration::from_secs_f64(patience);
    let waited = waiting::wait(context.inner, owner, &session, patience).await?;
    let mut status = context.inner.jobs.status_value(&session)?;
    if let Value::Struct(members) = &mut status {
        // It may have ended just after the time was over.
        let ended = waited == Waited::Ended || has_ended(context, &session);
        members.insert("ended".to_owned(), ended.into());
        members.insert("retry".to_owned(), (!ended && waited == Waited::Released).into());
    }
    Ok(status)
}

fn has_ended(context: &Context<'_>, session: &str) -> bool {
    let jobs = &context.inner.jobs;
    jobs.number_of(session).is_ok_and(|number| jobs.has_ended(number))
}

async fn tail(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [session, path, bytes] = between(1, params)?;
    let session = text(session.unwrap_or(Value::Nil), "the session")?;
    let is_named = path.is_some();
    let path = path.map_or_else(|| Ok(TAIL_PATH.to_owned()), |path| text(path, "the path"))?;
    let bytes = tail_bytes(bytes.as_ref())?;
    // Before the file is looked at: a job that had ended then writes no more.
    let ended = has_ended(context, &session);
    let (offset, size, data) =
        match files::open(&context.inner.jobs, &session, path.as_bytes()).await {
            Ok(Found::File { file, size, account, .. }) => {
                let offset = size.saturating_sub(bytes);
                let name = path.clone().into_bytes();
                let file = Arc::new(file);
                let raw = RawFile { file, offset, length: size - offset, account, name };
                (offset, size, read_whole(&context.inner.reading, &raw).await?)
            }
            Ok(Found::Directory { .. }) => {
                return Err(Fault::invalid_params("a directory has no end to read"));
            }
            // A job that has not begun has written nothing.
            Err(FileFault::NotFound) if !is_named && !ended => {
                context.inner.jobs.number_of(&session)?;
                (0, 0, Vec::new())
            }
            Err(FileFault::NotFound) => {
                return Err(Fault::new(FaultCode::NotFound, FileFault::NotFound.to_string()));
            }
            Err(error @ FileFault::Unavailable) => {
                return Err(Fault::new(FaultCode::Unavailable, error.to_string()));
            }
        };
    Ok(Value::record([
        ("path", path.into()),
        ("offset", whole(offset)),
        ("size", whole(size)),
        ("data", Value::Binary(data)),
        ("ended", ended.into()),
    ]))
}

fn tail_bytes(bytes: Option<&Value>) -> Result<u64, Fault> {
    let bytes = match bytes {
        None => TAIL_BYTES,
        Some(Value::Int(bytes)) => *bytes,
        Some(other) => {
            let text = format!("the bytes must be a whole number, not {}", other.type_name());
            return Err(Fault::invalid_params(text));
        }
    };
    if bytes > TAIL_BYTES_MAX {
        let text = format!("asked for {bytes} bytes, the limit is {TAIL_BYTES_MAX}");
        return Err(Fault::new(FaultCode::OverLimit, text));
    }
    u64::try_from(bytes).map_err(|_| Fault::invalid_params("the bytes must be 0 or more"))
}

#[cfg(test)]
mod tests;
