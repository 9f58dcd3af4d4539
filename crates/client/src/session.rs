//! A session: a job, its status and its files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nesssi_rpc::{DateTime, Value, typed};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::client::{CallOptions, Client, unreadable};
use crate::connection::Pauses;
use crate::error::{Error, TransportError};
use crate::files::{File, Got, Listing, Part, Place};

/// The longest that one call waits; `wait` calls as often as it takes.
const POLL_SECONDS_MAX: u64 = 60;
/// What a call that waits may take beyond its waiting.
const POLL_GRACE_SECONDS: u64 = 30;
/// The longest that a server may be away while somebody waits or follows.
pub(crate) const OUTAGE_SECONDS_MAX: u64 = 300;

/// The state of a session's job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A sandbox, and no job yet.
    Prepared,
    /// Waiting for a place.
    Queued,
    /// Running.
    Running,
    /// Ended with exit code 0.
    Done,
    /// Ended otherwise.
    Failed,
    /// Ended by its owner.
    Cancelled,
    /// Ended by a limit.
    OverLimit,
    /// Nobody knows how it ended.
    Lost,
    /// A state that this client does not know.
    #[serde(other)]
    Unknown,
}

impl State {
    /// Whether the job has ended, well or not.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled | Self::OverLimit | Self::Lost)
    }

    /// As the server writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::OverLimit => "over_limit",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// What is known of a job, as `job.status` answers it. Times are ISO 8601 in UTC.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Status {
    /// The state.
    pub state: State,
    /// The session, where the answer is of several.
    #[serde(default)]
    pub session: Option<String>,
    /// Of when this is.
    #[serde(default)]
    pub as_of: String,
    /// Why it is in this state, where that needs a word.
    #[serde(default)]
    pub reason: String,
    /// The batch system that has it; empty before it has a job.
    #[serde(default)]
    pub batch: String,
    /// Why it waits or is held, where its batch system says so.
    #[serde(default)]
    pub comment: String,
    /// The address of the sandbox.
    #[serde(default)]
    pub url: String,
    /// When the session was made.
    #[serde(default)]
    pub created: String,
    /// Until when it is kept, where that is known.
    #[serde(default)]
    pub expires: Option<String>,
    /// The service that made it.
    #[serde(default)]
    pub service: String,
    /// The method that made it.
    #[serde(default)]
    pub method: String,
    /// The level of its caller.
    #[serde(default)]
    pub level: String,
    /// CPU seconds used, if they have been measured.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// CPU seconds that it may use.
    #[serde(default)]
    pub cpu_limit: Option<f64>,
    /// Wall seconds since it was started.
    #[serde(default)]
    pub wall_seconds: Option<f64>,
    /// The exit code, if it has ended with one.
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// What else the server says.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Which of the caller's jobs [`Client::jobs`] lists; the default is all that the server lists.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct JobFilter {
    /// Only in one of these states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<State>,
    /// Only of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Only made since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime>,
    /// At most so many, the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

impl JobFilter {
    fn params(&self) -> Result<Vec<Value>, typed::TypedError> {
        let filter = typed::to_value(self)?;
        let empty = matches!(&filter, Value::Struct(members) if members.is_empty());
        Ok(if empty { Vec::new() } else { vec![filter] })
    }
}

/// A session of a server. Cloning is cheap.
#[derive(Clone)]
pub struct Session {
    client: Client,
    id: Arc<str>,
    place: Arc<OnceCell<Place>>,
}

impl fmt::Debug for Session {
    /// The id is a capability: no log gets it whole.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Session({}…)", self.id.get(..8).unwrap_or(&self.id))
    }
}

impl Client {
    /// The session with this id. Nothing is asked of the server yet.
    #[must_use]
    pub fn session(&self, id: &str) -> Session {
        Session { client: self.clone(), id: Arc::from(id), place: Arc::default() }
    }

    /// Runs a command where the server lets callers do that (`job.submit`).
    ///
    /// # Errors
    /// As [`Client::call`]: 403 where it does not, 413 over a limit.
    pub async fn submit(&self, command: &[String], cpu_seconds: f64) -> Result<Session, Error> {
        let answer = self.call("job.submit", vec![words(command), Value::Double(cpu_seconds)]);
        self.made("job.submit", &Box::pin(answer).await?)
    }

    /// Makes a session without a job, to put files into (`session.new`).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn prepare(&self, cpu_seconds: Option<f64>) -> Result<Session, Error> {
        let params = cpu_seconds.map(Value::Double).into_iter().collect();
        self.made("session.new", &Box::pin(self.call("session.new", params)).await?)
    }

    /// Calls a method that answers a session.
    ///
    /// # Errors
    /// As [`Client::call`]; [`TransportError::Answer`] where the answer is no session.
    pub async fn start(&self, method: &str, params: Vec<Value>) -> Result<Session, Error> {
        self.made(method, &Box::pin(self.call(method, params)).await?)
    }

    fn made(&self, method: &str, value: &Value) -> Result<Session, Error> {
        match session_id(value) {
            Some(id) => Ok(self.session(id)),
            None => {
                let why = format!("{method} answered no session, but a {}", value.type_name());
                Err(unreadable(self.address(), &why).into())
            }
        }
    }

    /// The caller's own jobs, the newest first.
    ///
    /// # Errors
    /// As [`Client::call`]; 401 for guests.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Status>, Error> {
        let value = Box::pin(self.jobs_value(filter)).await?;
        self.typed("job.list", value)
    }

    /// As [`Self::jobs`], as it came.
    ///
    /// # Errors
    /// As [`Self::jobs`].
    pub async fn jobs_value(&self, filter: &JobFilter) -> Result<Value, Error> {
        let params = filter.params();
        let params = params.map_err(|e| crate::SetupError::Parameters(e.to_string()))?;
        self.call("job.list", params).await
    }

    /// What the directory `path` of a session's sandbox holds; the empty path is the sandbox.
    ///
    /// # Errors
    /// A fault 404 where there is no such directory, otherwise as [`Client::call`].
    pub async fn list(&self, session: &str, path: &str) -> Result<Listing, Error> {
        self.session(session).files(path).await
    }

    /// Opens the file `path` of a session's sandbox; `follow` goes on until the job has ended.
    ///
    /// # Errors
    /// A fault 404 where there is no such file, otherwise as [`Client::call`].
    pub async fn open(&self, session: &str, path: &str, follow: bool) -> Result<File, Error> {
        let part = if follow { Part::Follow(0) } else { Part::Whole };
        self.session(session).open_part(path, &part).await
    }

    /// The address of a session's sandbox, ending in `/`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn session_url(&self, session: &str) -> Result<String, Error> {
        self.session(session).url().await
    }
}

/// The session id that a value is, or that is in it: services answer the id, `getSessionInfo` the id
/// and the place.
#[must_use]
pub fn session_id(value: &Value) -> Option<&str> {
    let text = match value {
        Value::Array(items) => items.first()?.as_str()?,
        Value::Struct(_) => value.member("session")?.as_str()?,
        other => other.as_str()?,
    };
    let is_id =
        text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then_some(text)
}

fn words(command: &[String]) -> Value {
    Value::Array(command.iter().map(|word| Value::from(word.as_str())).collect())
}

impl Session {
    /// The 32 hexadecimal digits. Whoever knows them can read the sandbox.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// How the job is doing.
    ///
    /// # Errors
    /// As [`Client::call`]; 404 for no such session.
    pub async fn status(&self) -> Result<Status, Error> {
        let value = self.status_value().await?;
        self.client.typed("job.status", value)
    }

    /// As [`Self::status`], as it came.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn status_value(&self) -> Result<Value, Error> {
        self.ask("job.status", []).await
    }

    /// Gives a session that was prepared its job.
    ///
    /// # Errors
    /// As [`Client::submit`]; 409 for a session that has one.
    pub async fn submit(&self, command: &[String], cpu_seconds: f64) -> Result<(), Error> {
        let params = vec![words(command), Value::Double(cpu_seconds), Value::from(self.id())];
        Box::pin(self.client.call("job.submit", params)).await.map(drop)
    }

    /// Waits until the job has ended, for `seconds` at most; `seen` gets each status on the way. A
    /// server that is replaced meanwhile, or away for less than 5 minutes, does not matter.
    ///
    /// Whether the job has ended says the status that is answered.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn wait(
        &self,
        seconds: Option<u64>,
        mut seen: impl FnMut(&Status),
    ) -> Result<Status, Error> {
        let began = Instant::now();
        let mut outage = Outage::default();
        loop {
            let left = seconds.map(|most| most.saturating_sub(began.elapsed().as_secs()));
            let poll = left.unwrap_or(POLL_SECONDS_MAX).min(POLL_SECONDS_MAX);
            let status = match self.wait_once(poll).await {
                Ok(status) => status,
                Err(error) => {
                    outage.pause_or(error).await?;
                    continue;
                }
            };
            seen(&status);
            if status.state.has_ended() || left == Some(0) {
                return Ok(status);
            }
            if told_to_retry(&status) {
                outage.pause().await;
            } else {
                outage = Outage::default();
            }
        }
    }

    async fn wait_once(&self, seconds: u64) -> Result<Status, Error> {
        let wanted = Value::Double(f64::from(u32::try_from(seconds).unwrap_or(u32::MAX)));
        let seconds_max = Some(seconds.saturating_add(POLL_GRACE_SECONDS));
        let params = vec![Value::from(self.id()), wanted];
        let options = CallOptions { seconds_max, tag: None };
        let answer = Box::pin(self.client.ask_with("job.wait", params, options)).await?;
        self.client.typed("job.wait", answer.value)
    }

    /// Ends the job: `cancelled` once nothing of it is left, `asked` while something is, `refused` where
    /// its batch system does not end it, or how it had ended before.
    ///
    /// # Errors
    /// As [`Client::call`]; 404 for another's session.
    pub async fn cancel(&self) -> Result<String, Error> {
        let value = self.ask("job.cancel", []).await?;
        self.client.typed("job.cancel", value)
    }

    /// Keeps the session for so many seconds from now, and answers until when that is.
    ///
    /// # Errors
    /// As [`Client::call`]; 404 for another's session.
    pub async fn extend(&self, seconds: i64) -> Result<DateTime, Error> {
        let value = self.ask("session.extend", [Value::Int(seconds)]).await?;
        self.client.typed("session.extend", value)
    }

    /// Removes the session with its files.
    ///
    /// # Errors
    /// As [`Client::call`]; 404 for another's session, 409 while its job runs.
    pub async fn destroy(&self) -> Result<(), Error> {
        self.ask("session.destroy", []).await.map(drop)
    }

    /// The address of the sandbox, ending in `/`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn url(&self) -> Result<String, Error> {
        let value = self.ask("session.url", []).await?;
        self.client.typed("session.url", value)
    }

    /// What the directory `path` of the sandbox holds; the empty path is the sandbox.
    ///
    /// # Errors
    /// A fault 404 where there is no such directory, otherwise as [`Client::call`].
    pub async fn files(&self, path: &str) -> Result<Listing, Error> {
        self.place().await?.list(path).await
    }

    /// Opens the file `path` of the sandbox.
    ///
    /// # Errors
    /// A fault 404 where there is no such file, otherwise as [`Client::call`].
    pub async fn open(&self, path: &str) -> Result<File, Error> {
        self.open_part(path, &Part::Whole).await
    }

    pub(crate) async fn open_part(&self, path: &str, part: &Part) -> Result<File, Error> {
        match self.place().await?.open(path, part).await? {
            Got::File(file) => Ok(file),
            Got::Beyond(_) => Err(unreadable(self.client.address(), "a part of nothing").into()),
        }
    }

    pub(crate) async fn place(&self) -> Result<&Place, Error> {
        let find = || async {
            let url = Box::pin(self.url()).await?;
            Place::new(&self.client, &url)
        };
        self.place.get_or_try_init(find).await
    }

    async fn ask<const N: usize>(&self, method: &str, more: [Value; N]) -> Result<Value, Error> {
        let params = [Value::from(self.id())].into_iter().chain(more).collect();
        Box::pin(self.client.call(method, params)).await
    }
}

/// Whether a server that is being replaced asks to be asked again.
fn told_to_retry(status: &Status) -> bool {
    status.other.get("retry") == Some(&Value::Bool(true))
}

/// A time in which the server is away.
#[derive(Debug)]
pub(crate) struct Outage {
    since: Option<Instant>,
    pauses: Pauses,
}

impl Default for Outage {
    fn default() -> Self {
        Self { since: None, pauses: Pauses::new() }
    }
}

impl Outage {
    /// Pauses if `error` may pass and the outage has not been too long; else gives it back.
    pub(crate) async fn pause_or(&mut self, error: Error) -> Result<(), Error> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let late = matches!(error, Error::Transport(TransportError::Deadline { .. }));
        let passing = error.is_passing(true) || late;
        if !passing || since.elapsed() > Duration::from_secs(OUTAGE_SECONDS_MAX) {
            return Err(error);
        }
        self.pause().await;
        Ok(())
    }

    pub(crate) async fn pause(&mut self) {
        self.pauses.next().await;
    }
}
