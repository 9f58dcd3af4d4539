//! What a sandbox says of a batch job: whether it is being submitted, was started, has ended, and why.

use nesssi_job::batch::winner;
use nesssi_privsep::messages::FromJobmanager;
use nesssi_session::{PrivateDir, SandboxError, SessionId};
use rustix::io::Errno;

use super::submission::marked;
use crate::clock;
use crate::manager::Manager;
use crate::proctree::{self, Process};
use crate::requests::{Answer, Failure, plain};
use crate::sweep::kill_all;

/// Reasons that a job script's watcher gives; anything else is nobody's word.
const REASONS: [&str; 2] = ["over_cpu", "over_wall"];

impl Manager {
    pub(crate) fn read_guard(&self, session: &SessionId) -> Answer {
        let private = PrivateDir::open(&self.account.sandbox(session)?)?;
        let submitting = match private.is_submitting() {
            // Only what the batch system has begun could have put anything else in the lock's place.
            Err(SandboxError::Refused) => false,
            other => other?,
        };
        if submitting && !self.batch.is_submitting(session) {
            self.end_overdue(&private);
        }
        // The guard before the record: whoever has left a record had set it.
        let guarded = private.is_guarded();
        let said =
            |text: Result<Option<Vec<u8>>, SandboxError>| text.ok().flatten().unwrap_or_default();
        let why = String::from_utf8(said(private.read_why())).unwrap_or_default();
        let why = REASONS.into_iter().find(|reason| *reason == why.trim_end());
        plain(FromJobmanager::Guard {
            submitting,
            guarded,
            winner: winner(&said(private.read_winner())).map(|id| id.as_str().to_owned()),
            record: self.record_of(session).unwrap_or_default(),
            why: why.unwrap_or_default().to_owned(),
        })
    }

    /// Refuses what cannot be done to a session while a command submits its job, whoever has started that.
    pub(crate) fn check_not_submitting(&self, session: &SessionId) -> Result<(), Failure> {
        let busy = || Failure::new(Errno::BUSY, "its job is being submitted");
        if self.batch.is_submitting(session) {
            return Err(busy());
        }
        let submitting = self
            .private_of(session)
            .is_some_and(|private| private.is_submitting().unwrap_or(false));
        if submitting { Err(busy()) } else { Ok(()) }
    }

    /// Ends a submit command that another jobmanager has left, once its time is over: what it has begun it was let
    /// finish, and one that hangs would hold the lock for ever.
    fn end_overdue(&self, private: &PrivateDir) {
        let mark = private.read_submission().ok().flatten();
        let overdue =
            mark.and_then(|mark| marked(&mark)).is_some_and(|until_ms| clock::now_ms() > until_ms);
        if overdue && let Ok(file) = private.submission_path() {
            let own = std::process::id();
            let others = proctree::all().into_iter().filter(|one| one.pid.unsigned_abs() != own);
            let holders: Vec<Process> = others.filter(|process| process.has_open(&file)).collect();
            kill_all(&holders);
        }
    }
}
