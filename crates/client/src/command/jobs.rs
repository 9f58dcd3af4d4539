//! `submit`, `jobs`, `status`, `wait`, `cancel`, `extend`, `destroy`: a session's job.

use std::path::{Path, PathBuf};

use clap::Args;
use nesssi_client::{Client, DateTime, JobFilter, Session, State, Status, Value, session_id};

use super::show::Screen;
use super::terminal::{self, Line};
use super::{Failure, files, times};

/// What `submit` takes.
#[derive(Debug, Args)]
pub(super) struct Submit {
    /// Wait until the job has ended, and exit as it did
    #[arg(long)]
    wait: bool,
    /// CPU seconds that the job may use
    #[arg(long, value_name = "N", default_value_t = 60.0)]
    cpu_seconds: f64,
    /// Put this file into the sandbox first, under its own name
    #[arg(long, value_name = "FILE")]
    put: Vec<PathBuf>,
    /// The program and its arguments, as they are
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Which jobs `jobs` lists.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// Only in this state; may be given several times
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    state: Vec<State>,
    /// Only of this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only made since then: a time in UTC such as 2026-03-01 or 2026-03-01T12:00:00Z, or as long ago as
    /// 90s, 20m, 2h, 3d or 1w
    #[arg(long, value_name = "TIME", value_parser = times::since)]
    since: Option<DateTime>,
    /// At most so many, the newest
    #[arg(long, value_name = "N")]
    limit: Option<i64>,
}

fn parse_state(text: &str) -> Result<State, String> {
    let state: Result<State, _> = nesssi_client::typed::from_value(Value::from(text));
    match state {
        Ok(State::Unknown) | Err(_) => {
            Err("prepared, queued, running, done, failed, cancelled, over_limit or lost".to_owned())
        }
        Ok(state) => Ok(state),
    }
}

/// Runs a command on the server, with files of one's own beside it.
pub(super) async fn submit(client: &Client, asked: Submit, screen: &Screen) -> Result<(), Failure> {
    let Submit { wait, cpu_seconds, put, command } = asked;
    let session = if put.is_empty() {
        client.submit(&command, cpu_seconds).await?
    } else {
        let named: Result<Vec<_>, _> = put.iter().map(|file| name_of(file)).collect();
        let named = named?;
        let session = client.prepare(Some(cpu_seconds)).await?;
        if let Err(failure) = fill(&session, &put, &named, &command, cpu_seconds).await {
            // It is of no use to anybody; where a job runs in it after all, it stays.
            session.destroy().await.ok();
            return Err(failure);
        }
        session
    };
    if !wait {
        return Ok(screen.value(&Value::from(session.id()))?);
    }
    // Whoever is interrupted now has to know which session it was.
    screen.complain(&format!("session: {}", session.id()));
    finish(&session, None, screen).await
}

/// Puts the files into a prepared session, and gives it its job.
async fn fill(
    session: &Session,
    files: &[PathBuf],
    names: &[String],
    command: &[String],
    cpu_seconds: f64,
) -> Result<(), Failure> {
    for (file, name) in files.iter().zip(names) {
        files::put_one(session, file, name).await?;
    }
    Ok(session.submit(command, cpu_seconds).await?)
}

/// The name that a file has in the sandbox.
pub(super) fn name_of(file: &Path) -> Result<String, Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    let wrong =
        || Failure::Usage(format!("{}: no name that a file can have there", file.display()));
    name.map(str::to_owned).ok_or_else(wrong)
}

/// Waits for the session that a call has answered.
pub(super) async fn wait_for_answer(
    client: &Client,
    value: &Value,
    screen: &Screen,
) -> Result<(), Failure> {
    let Some(id) = session_id(value) else {
        screen.value(value)?;
        return Err(Failure::Usage("the call answered no session to wait for".to_owned()));
    };
    screen.complain(&format!("session: {id}"));
    finish(&client.session(id), None, screen).await
}

/// Waits for the end of a job, shows its status, and fails as it did.
pub(super) async fn finish(
    session: &Session,
    seconds: Option<u64>,
    screen: &Screen,
) -> Result<(), Failure> {
    let status = {
        let mut line = Line::of_process(false);
        session.wait(seconds, |status| line.say(&summary(status))).await?
    };
    // The status anew: it says all that there is to say, in the form of `status`.
    let value = client_value(session).await?;
    screen.members(&value)?;
    ended(&status)
}

async fn client_value(session: &Session) -> Result<Value, Failure> {
    Ok(session.status_value().await?)
}

/// Whether the job went well.
fn ended(status: &Status) -> Result<(), Failure> {
    match status.state {
        State::Done => Ok(()),
        state if !state.has_ended() => Err(Failure::NotEnded(state)),
        state => {
            let said = status.reason.contains("exit code");
            let code = status.exit_code.filter(|_| !said);
            let code = code.map(|code| format!(", exit code {code}"));
            let why = Some(&status.reason).filter(|reason| !reason.is_empty());
            let why = why.map(|reason| format!(": {reason}")).unwrap_or_default();
            Err(Failure::Job(format!("job {state}{}{why}", code.unwrap_or_default())))
        }
    }
}

fn summary(status: &Status) -> String {
    let cpu = match (status.cpu_seconds, status.cpu_limit) {
        (Some(used), Some(limit)) => format!("  CPU {used:.1} of {limit:.0} s"),
        (Some(used), None) => format!("  CPU {used:.1} s"),
        (None, _) => String::new(),
    };
    let wall = status.wall_seconds.map(|wall| format!("  wall {wall:.0} s")).unwrap_or_default();
    format!("{}{cpu}{wall}{}", status.state, place(status))
}

/// Where a job is, and why it waits there; nothing for one of the server's own machine.
fn place(status: &Status) -> String {
    let Status { batch, comment, .. } = status;
    match (batch.as_str(), comment.as_str()) {
        ("" | "local", "") => String::new(),
        (batch, "") => format!("  {batch}"),
        (batch, comment) => format!("  {batch}: {comment}"),
    }
}

/// Lists the caller's jobs.
pub(super) async fn list(client: &Client, asked: Filter, screen: &Screen) -> Result<(), Failure> {
    let Filter { state, service, since, limit } = asked;
    let filter = JobFilter { state, service, since, limit };
    let value = client.jobs_value(&filter).await?;
    let jobs: Vec<Status> = nesssi_client::typed::from_value(value.clone())
        .map_err(|error| Failure::Usage(format!("job.list answered something else: {error}")))?;
    let colours = terminal::has_colours();
    let row = |job: &Status| {
        let session = job.session.as_deref().unwrap_or_default();
        // Services tell their methods with or without the service's name.
        let own = job.method.strip_prefix(&job.service).and_then(|rest| rest.strip_prefix('.'));
        let from = format!("{}.{}{}", job.service, own.unwrap_or(&job.method), place(job));
        let state = terminal::state(job.state, colours);
        (session.to_owned(), state, job.created.clone(), from)
    };
    screen.rows(&jobs.iter().map(row).collect::<Vec<_>>(), &value)?;
    Ok(())
}

/// Keeps a session for longer.
pub(super) async fn extend(
    session: &Session,
    seconds: i64,
    screen: &Screen,
) -> Result<(), Failure> {
    let until = format!("{}Z", session.extend(seconds).await?.to_iso());
    let text = if screen.is_json() { until } else { format!("kept until {until}") };
    Ok(screen.value(&Value::String(text))?)
}

#[cfg(test)]
mod tests;
