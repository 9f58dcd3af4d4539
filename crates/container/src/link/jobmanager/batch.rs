//! Batch systems over a channel to a jobmanager: commands that it runs as the account, and what the sandbox says of a batch job.

use std::time::Duration;

use nesssi_job::batch::{CancelAnswer, NoListing, Refusal, names};
use nesssi_privsep::messages::{FromJobmanager, SightingFacts, ToJobmanager};
use nesssi_privsep::wire::Blob;

use super::{Jobmanager, unfailed};
use crate::link::{AskError, LinkError};

/// What giving a job to a batch system needs.
#[derive(Debug, Clone)]
pub struct BatchStart {
    /// 32 hex digits; its sandbox was prepared.
    pub session: String,
    /// The tag.
    pub tag: String,
    /// The batch system's name in the configuration.
    pub batch: String,
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// The payload's whole environment.
    pub environment: Vec<(String, String)>,
    /// CPU seconds over the whole process tree.
    pub cpu_seconds_max: u64,
    /// Wall seconds.
    pub wall_seconds_max: u64,
    /// Bytes that the sandbox may hold; 0 is no limit.
    pub sandbox_bytes_max: u64,
    /// CPUs on one node.
    pub cpus: u32,
    /// Memory in bytes; `None` leaves it to the site.
    pub memory_bytes: Option<u64>,
    /// `key=value`, each a `job::batch::Directive`.
    pub directives: Vec<String>,
    /// The umask where the system gives none.
    pub umask_default: u32,
}

/// What a submit command that was run has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// The batch system has the job, by this id.
    Submitted(String),
    /// No batch id.
    NotSubmitted {
        /// Why.
        refusal: Refusal,
        /// Whether it is certain that there is no job. Otherwise it is to be looked for.
        certain: bool,
        /// What the batch system said.
        words: String,
    },
}

/// What a batch system told of NESSSI's jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchListing {
    /// The jobs.
    pub sightings: Vec<SightingFacts>,
    /// Entries that could not be read: where there are any, a job that is not here may still be there.
    pub unread: u64,
    /// How long the commands took.
    pub duration: Duration,
}

/// A listing that says nothing of any job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotListed {
    /// Why.
    pub trouble: NoListing,
    /// How long the commands took.
    pub duration: Duration,
}

/// What the sandbox says of a batch job. Any job of the account may have written it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuardFound {
    /// Whether a submit command of the session is under way, whoever has started it.
    pub submitting: bool,
    /// Whether the start guard stands: the payload may have been started.
    pub guarded: bool,
    /// The batch id in the guard.
    pub winner: Option<String>,
    /// The record's text, if there is one.
    pub record: Option<String>,
    /// Why the watcher ended the job, if it did: `over_cpu` or `over_wall`.
    pub why: Option<String>,
}

/// Whether a job's record is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordWatch {
    /// This is its text.
    Seen(String),
    /// Not yet: `RecordSeen` follows.
    Awaited,
}

impl Jobmanager {
    /// Gives a job to a batch system. Whoever stops to wait does not stop the command: `read_guard` tells when it has ended.
    ///
    /// # Errors
    /// [`AskError::Failed`] where nothing was run, `EALREADY` if the guard stands or a submission of the session is
    /// under way; `StaleGrant` as in [`Jobmanager::prepare`].
    pub async fn submit_batch(
        &self,
        start: BatchStart,
        patience: Duration,
    ) -> Result<SubmitOutcome, AskError> {
        let message = ToJobmanager::SubmitBatch {
            session: start.session,
            tag: start.tag,
            batch: start.batch,
            argv: start.argv.into_iter().map(Blob).collect(),
            environment: start.environment,
            cpu_seconds_max: start.cpu_seconds_max,
            wall_seconds_max: start.wall_seconds_max,
            sandbox_bytes_max: start.sandbox_bytes_max,
            cpus: start.cpus,
            memory_bytes: start.memory_bytes.unwrap_or(0),
            directives: start.directives,
            umask_default: start.umask_default,
        };
        let answer = self.link.send(&message, &[]).await?.within(patience).wait().await?;
        match unfailed(self.fresh(answer)?)?.message {
            FromJobmanager::Submitted { id } => Ok(SubmitOutcome::Submitted(id)),
            FromJobmanager::NotSubmitted { refusal, certain, words } => {
                let refusal = names::refusal(&refusal).ok_or(AskError::Unfit)?;
                Ok(SubmitOutcome::NotSubmitted { refusal, certain, words })
            }
            _ => Err(AskError::Unfit),
        }
    }

    /// Asks a batch system to end a job.
    ///
    /// # Errors
    /// [`AskError::Failed`] where nothing was run.
    pub async fn cancel_batch(
        &self,
        batch: &str,
        id: &str,
        tag: &str,
        patience: Duration,
    ) -> Result<CancelAnswer, AskError> {
        let message = ToJobmanager::CancelBatch {
            batch: batch.to_owned(),
            id: id.to_owned(),
            tag: tag.to_owned(),
        };
        let answer = self.link.send(&message, &[]).await?.within(patience).wait().await?;
        match unfailed(answer)?.message {
            FromJobmanager::BatchCancelled { answer, words } => {
                names::cancel(&answer, &words).ok_or(AskError::Unfit)
            }
            _ => Err(AskError::Unfit),
        }
    }

    /// What a batch system knows of the jobs of these ids, or of all where there is none; with `accounts` what its accounts
    /// know. `silence_max` is how long nothing may come.
    ///
    /// # Errors
    /// [`AskError::Failed`] where nothing was run.
    pub async fn list_batch(
        &self,
        batch: &str,
        ids: Vec<String>,
        accounts: bool,
        silence_max: Duration,
    ) -> Result<Result<BatchListing, NotListed>, AskError> {
        let message = ToJobmanager::ListBatch { batch: batch.to_owned(), ids, accounts };
        let mut answers = self.link.ask_many(&message).await?;
        let mut sightings = Vec::new();
        loop {
            let answer = tokio::time::timeout(silence_max, answers.next()).await;
            let answer = answer.map_err(|_elapsed| AskError::Link(LinkError::TimedOut))?;
            match unfailed(answer.ok_or(AskError::Link(LinkError::Closed))?)?.message {
                FromJobmanager::Sightings { sightings: more } => sightings.extend(more),
                FromJobmanager::ListDone { unread, duration_ms } => {
                    let duration = Duration::from_millis(duration_ms);
                    return Ok(Ok(BatchListing { sightings, unread, duration }));
                }
                FromJobmanager::NotListed { trouble, words, duration_ms } => {
                    return not_listed(&trouble, &words, duration_ms).map(Err);
                }
                _ => return Err(AskError::Unfit),
            }
        }
    }

    /// CPU seconds of running jobs, by batch id.
    ///
    /// # Errors
    /// [`AskError::Failed`] where nothing was run.
    pub async fn usage_batch(
        &self,
        batch: &str,
        ids: Vec<String>,
        patience: Duration,
    ) -> Result<Result<Vec<(String, u64)>, NotListed>, AskError> {
        let message = ToJobmanager::UsageBatch { batch: batch.to_owned(), ids };
        let answer = self.link.send(&message, &[]).await?.within(patience).wait().await?;
        match unfailed(answer)?.message {
            FromJobmanager::BatchUsage { used } => Ok(Ok(used)),
            FromJobmanager::NotListed { trouble, words, duration_ms } => {
                not_listed(&trouble, &words, duration_ms).map(Err)
            }
            _ => Err(AskError::Unfit),
        }
    }

    /// What the sandbox says of a batch job.
    ///
    /// # Errors
    /// [`AskError::Failed`], `ENOENT` where there is no sandbox.
    pub async fn read_guard(&self, session: &str) -> Result<GuardFound, AskError> {
        let message = ToJobmanager::ReadGuard { session: session.to_owned() };
        match unfailed(self.link.ask(&message, &[]).await?)?.message {
            FromJobmanager::Guard { submitting, guarded, winner, record, why } => {
                let said = |text: String| Some(text).filter(|text| !text.is_empty());
                let (record, why) = (said(record), said(why));
                Ok(GuardFound { submitting, guarded, winner, record, why })
            }
            _ => Err(AskError::Unfit),
        }
    }

    /// Has the jobmanager tell when a job's record is there, until this channel ends or the session is removed.
    ///
    /// # Errors
    /// [`AskError::Failed`], `ENOENT` where there is no sandbox.
    pub async fn watch_record(&self, session: &str) -> Result<RecordWatch, AskError> {
        let message = ToJobmanager::WatchRecord { session: session.to_owned() };
        match unfailed(self.link.ask(&message, &[]).await?)?.message {
            FromJobmanager::RecordSeen { record, .. } => Ok(RecordWatch::Seen(record)),
            FromJobmanager::RecordAwaited {} => Ok(RecordWatch::Awaited),
            _ => Err(AskError::Unfit),
        }
    }
}

fn not_listed(trouble: &str, words: &str, duration_ms: u64) -> Result<NotListed, AskError> {
    let trouble = names::trouble(trouble, words).ok_or(AskError::Unfit)?;
    Ok(NotListed { trouble, duration: Duration::from_millis(duration_ms) })
}

#[cfg(test)]
mod tests;
