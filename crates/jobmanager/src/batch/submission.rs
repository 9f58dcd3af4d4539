//! Submissions: a job given to a batch system, under the session's lock.

use nesssi_job::batch::{Asked, Directive, Environment, PrivatePath, Refusal, Submission, names};
use nesssi_job::{AdmittedJob, Ceiling, Command, JobSpec, Tag};
use nesssi_privsep::messages::{FromJobmanager, ToJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_session::{PrivateDir, SessionId, SubmissionLock};
use rustix::io::Errno;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::{Purpose, System, What, Work};
use crate::clock;
use crate::commands::Done;
use crate::jobs::already;
use crate::manager::Manager;
use crate::requests::{Answer, Failure, plain};

/// A job that may be submitted.
#[derive(Debug)]
pub(super) struct Submit {
    pub(super) session: SessionId,
    tag: Tag,
    submission: Submission,
    lock: SubmissionLock,
}

/// What stands in a submission's lock: whose it is, and when the time of its command is over.
fn mark(tag: &Tag, until_ms: u64) -> String {
    format!("{tag} {until_ms}\n")
}

/// When the time of a mark's command is over, milliseconds since 1970 UTC. Any job of the account can have written it.
pub(super) fn marked(mark: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(mark).ok()?.strip_suffix('\n')?;
    let (_tag, until_ms) = text.split_once(' ')?;
    until_ms.parse().ok()
}

impl Manager {
    pub(crate) fn submit_batch(
        &mut self,
        peer: u32,
        request: u32,
        message: ToJobmanager,
    ) -> Answer {
        let ToJobmanager::SubmitBatch { session, tag, batch, umask_default, .. } = &message else {
            return Err(Failure::new(Errno::INVAL, "not a SubmitBatch"));
        };
        let invalid = |text: String| Failure::new(Errno::INVAL, text);
        let session = SessionId::parse(session)?;
        let tag = Tag::parse(tag).map_err(|error| invalid(error.to_string()))?;
        let (batch, umask) = (batch.clone(), self.umask(*umask_default));
        let system = self.batch.find(&batch)?;
        self.batch.check_room(system)?;
        let private = PrivateDir::open(&self.account.sandbox(&session)?)?;
        let is_started = || private.is_guarded() || private.is_starting();
        if self.jobs.contains_key(&session) || is_started() {
            return Err(already());
        }
        let sandbox = self.sandboxes.join(session.reveal());
        let submission = match asked(message, &tag, sandbox.as_os_str().as_bytes(), umask) {
            Ok(submission) => submission,
            Err(words) => return plain(refused(Refusal::Syntax, &words)),
        };
        let lock = private.lock_submission()?.ok_or_else(already)?;
        // Looked at again: a shepherd takes its lock first, too, and then looks for this one.
        if is_started() {
            return Err(already());
        }
        lock.mark(&format!("{tag}\n"))?;
        let submit = Submit { session, tag, submission, lock };
        self.wait_for_turn(peer, request, &batch, Work::Submit(Box::new(submit)))
    }

    pub(super) fn submit(
        &mut self,
        system: usize,
        peer: u32,
        request: u32,
        submit: Submit,
    ) -> Answer {
        // The rules may have changed while it waited.
        if self.is_demoted(peer) {
            return plain(FromJobmanager::Stale {});
        }
        let Submit { session, tag, submission, lock } = submit;
        let line = match self.spoken(system, |dialect| dialect.submit(&submission))? {
            Ok(line) => line,
            Err(error) => return plain(refused(Refusal::Syntax, &error.to_string())),
        };
        drop(submission);
        let seconds = |system: &System| system.argument.command_seconds_max;
        let time_max = self.batch.systems.get(system).map_or(Duration::ZERO, seconds);
        let time_max_ms = u64::try_from(time_max.as_millis()).unwrap_or(u64::MAX);
        lock.mark(&mark(&tag, clock::now_ms().saturating_add(time_max_ms)))?;
        let running = self.command(system, line, Some(lock.as_fd()))?;
        let purpose = Purpose::Submit(peer, request, session, lock);
        self.batch.add(system, What::Command(running, purpose));
        Ok(None)
    }

    /// What a submission's command has come to.
    pub(super) fn submitted(&self, system: usize, done: &Done) -> FromJobmanager {
        let finished = match done {
            Done::Run(finished) => finished,
            Done::NotRun(failure) => return failure.clone().message(),
        };
        match self.spoken(system, |dialect| dialect.submitted(&finished.output())) {
            Ok(Ok(id)) => FromJobmanager::Submitted { id: id.as_str().to_owned() },
            Ok(Err(not)) => FromJobmanager::NotSubmitted {
                refusal: names::of_refusal(not.refusal).to_owned(),
                certain: not.certain,
                words: not.words.as_str().to_owned(),
            },
            Err(failure) => failure.message(),
        }
    }
}

/// Refused before a command was run.
fn refused(refusal: Refusal, words: &str) -> FromJobmanager {
    let refusal = names::of_refusal(refusal).to_owned();
    FromJobmanager::NotSubmitted { refusal, certain: true, words: words.to_owned() }
}

/// The submission that a message asks for; else which rule it breaks.
fn asked(
    message: ToJobmanager,
    tag: &Tag,
    sandbox: &[u8],
    umask: u32,
) -> Result<Submission, String> {
    let ToJobmanager::SubmitBatch {
        argv,
        environment,
        cpu_seconds_max,
        wall_seconds_max,
        sandbox_bytes_max,
        cpus,
        memory_bytes,
        directives,
        ..
    } = message
    else {
        return Err("not a SubmitBatch".into());
    };
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let spec = JobSpec {
        command: Command::Argv(argv.into_iter().map(|Blob(argument)| argument).collect()),
        cpu_seconds_asked: cpu_seconds_max,
        shell_allowed: false,
    };
    let ceiling = Ceiling {
        cpu_seconds: cpu_seconds_max,
        wall_seconds: wall_seconds_max,
        sandbox_bytes: sandbox_bytes_max,
    };
    let directive = |text: &String| {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        Directive::parse(key, value).map_err(|error| words(&error))
    };
    let variables = environment.into_iter().map(|(name, value)| (name, value.into_bytes()));
    let asked = Asked {
        tag: tag.clone(),
        job: AdmittedJob::admit(spec, ceiling).map_err(|error| words(&error))?,
        cpus,
        memory_bytes: Some(memory_bytes).filter(|bytes| *bytes > 0),
        directives: directives.iter().map(directive).collect::<Result<_, _>>()?,
        environment: Environment::new(variables.collect()).map_err(|error| words(&error))?,
        sandbox: PrivatePath::parse(sandbox).map_err(|error| words(&error))?,
        umask,
    };
    Submission::new(asked).map_err(|error| words(&error))
}

#[cfg(test)]
mod tests;
