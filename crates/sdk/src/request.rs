//! What a method knows of its call, and what it may ask for while it answers it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use nesssi_rpc::{Fault, FaultCode, Value};
use nesssi_service::Token;
use nesssi_service::protocol::{CallerFacts, Command, Request as Ask};

use crate::link::Link;

/// A call, as far as its method may know it.
///
/// Times are **CPU seconds**: sleeping and waiting cost none. Everything that is asked is judged by who
/// called, and refused with a [`Fault`]: 413 over the limit of the caller's level or what is left of his
/// day, 429 with too many jobs at once, 403 for a limited proxy, 404 for no such session, 409 for a second
/// job in one. A method may catch it, or let it be its answer with `?`.
#[derive(Debug)]
pub struct Request<'a> {
    link: &'a Link,
    token: Token,
    method: &'a str,
    facts: &'a CallerFacts<'a>,
}

/// A session without a job yet: put the job's input into the sandbox, then start it with
/// [`Request::run_job`]. One that is not used expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// 32 hexadecimal digits.
    pub session: String,
    /// The sandbox's absolute path.
    pub sandbox: String,
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        link: &'a Link,
        token: Token,
        method: &'a str,
        facts: &'a CallerFacts<'a>,
    ) -> Self {
        Self { link, token, method, facts }
    }

    /// The caller's subject DN in the Globus one-line form; empty if there is no certificate.
    #[must_use]
    pub fn clarens_dn(&self) -> &str {
        &self.facts.clarens_dn
    }

    /// The local account that this runs as.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.facts.account
    }

    /// How far the caller's credential is trusted: the name of a level.
    #[must_use]
    pub fn level(&self) -> &str {
        &self.facts.level
    }

    /// The CPU seconds that a job of this caller may ask for.
    #[must_use]
    pub fn cpu_limit(&self) -> u64 {
        self.facts.cpu_limit
    }

    /// What the caller speaks: `xmlrpc`, `jsonrpc1`, `jsonrpc2`, `soap11` or `soap12`.
    #[must_use]
    pub fn protocol(&self) -> &str {
        &self.facts.protocol
    }

    /// The name of this call in every log.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.facts.request_id
    }

    /// The full name under which the method was called.
    #[must_use]
    pub fn method(&self) -> &str {
        self.method
    }

    /// Submits a job to the service's batch system, or the server's default; its session. `words` are the program and its
    /// arguments, which no shell reads. With a `session` it runs in the one that was prepared.
    ///
    /// # Errors
    /// The container's fault.
    pub fn run_job<W: AsRef<OsStr>>(
        &self,
        cpu_seconds: f64,
        session: Option<&str>,
        words: impl IntoIterator<Item = W>,
    ) -> Result<String, Fault> {
        self.submit(cpu_seconds, session, words, None)
    }

    /// As [`Self::run_job`], on the batch system of that name.
    ///
    /// # Errors
    /// The container's fault: -32602 if it has no such batch system.
    pub fn run_job_on<W: AsRef<OsStr>>(
        &self,
        batch: &str,
        cpu_seconds: f64,
        session: Option<&str>,
        words: impl IntoIterator<Item = W>,
    ) -> Result<String, Fault> {
        self.submit(cpu_seconds, session, words, Some(batch))
    }

    /// As [`Self::run_job`], on the server's own machine: the `local` batch system, whatever the default.
    ///
    /// # Errors
    /// The container's fault.
    pub fn run_cmd<W: AsRef<OsStr>>(
        &self,
        cpu_seconds: f64,
        words: impl IntoIterator<Item = W>,
    ) -> Result<String, Fault> {
        self.submit(cpu_seconds, None, words, Some("local"))
    }

    fn submit<W: AsRef<OsStr>>(
        &self,
        seconds: f64,
        session: Option<&str>,
        words: impl IntoIterator<Item = W>,
        batch: Option<&str>,
    ) -> Result<String, Fault> {
        let words = words.into_iter().map(|word| word.as_ref().as_bytes().to_vec());
        self.text(Ask::RunJob {
            method: self.method.to_owned(),
            seconds,
            session: session.map(str::to_owned),
            command: Command::Argv(words.collect()),
            batch: batch.map(str::to_owned),
        })
    }

    /// Makes a session for a job of so many CPU seconds.
    ///
    /// # Errors
    /// The container's fault.
    pub fn prepare(&self, cpu_seconds: f64) -> Result<Prepared, Fault> {
        let method = self.method.to_owned();
        match self.ask(Ask::SessionInfo { method, seconds: cpu_seconds })? {
            Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
                Ok([Value::String(session), Value::String(sandbox)]) => {
                    Ok(Prepared { session, sandbox })
                }
                _ => Err(unfit()),
            },
            _ => Err(unfit()),
        }
    }

    /// The account that would run a job of so many CPU seconds.
    ///
    /// # Errors
    /// Fault 413 if that is too much.
    pub fn system_user(&self, cpu_seconds: f64) -> Result<String, Fault> {
        self.text(Ask::SystemUser { seconds: cpu_seconds })
    }

    /// The path of a session's sandbox.
    ///
    /// # Errors
    /// Fault 404.
    pub fn sandbox(&self, session: &str) -> Result<String, Fault> {
        self.text(Ask::Sandbox { session: session.to_owned() })
    }

    /// A session's status as text: state, CPU used and limit, a line with its URL for each file.
    ///
    /// # Errors
    /// Fault 404.
    pub fn status(&self, session: &str) -> Result<String, Fault> {
        self.text(Ask::Status { session: session.to_owned() })
    }

    /// The same as a struct, as `job.status` answers it.
    ///
    /// # Errors
    /// Fault 404.
    pub fn status_value(&self, session: &str) -> Result<Value, Fault> {
        self.ask(Ask::StatusValue { session: session.to_owned() })
    }

    /// The address under which a session's files are read with a browser.
    ///
    /// # Errors
    /// Fault 404.
    pub fn url(&self, session: &str) -> Result<String, Fault> {
        self.text(Ask::Url { session: session.to_owned() })
    }

    fn ask(&self, ask: Ask) -> Result<Value, Fault> {
        self.link.ask(&self.token, ask)
    }

    fn text(&self, ask: Ask) -> Result<String, Fault> {
        match self.ask(ask)? {
            Value::String(text) => Ok(text),
            _ => Err(unfit()),
        }
    }
}

fn unfit() -> Fault {
    Fault::new(FaultCode::Internal, "the container answered what was not asked")
}
