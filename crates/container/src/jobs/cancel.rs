//! Cancelling: a queued job at once, a running one by its shepherd or its batch system; `cancelled` is
//! said only when nothing of it is left.

use std::sync::Arc;
use std::time::Duration;

use nesssi_dn::SubjectDn;
use nesssi_job::JobState;
use nesssi_rpc::{Fault, FaultCode};

use super::table::{Number, Phase};
use super::{Core, batch, finish, start};
use crate::clock::now_ms;

/// How long an answer waits for the job to be gone: a shepherd's grace and the backstop's kill.
const CONFIRM_MAX: Duration = Duration::from_millis(if cfg!(test) { 500 } else { 8_000 });

/// The answer while the job is not confirmed gone.
const ASKED: &str = "asked";

/// The answer where its batch system does not end it: its words are in the status.
const REFUSED: &str = "refused";

pub(super) async fn cancel(
    core: &Arc<Core>,
    subject: Option<&SubjectDn>,
    session: &str,
) -> Result<String, Fault> {
    let (id, number) = core.known(session)?;
    let begun = begin(core, subject, number)?;
    if !matches!(begun, Begun::Ended(_)) {
        let line = core.needs.audit.line("cancel_asked").text("session", id.short());
        line.maybe("subject", subject).write();
    }
    match begun {
        Begun::Ended(state) => return Ok(state.as_str().to_owned()),
        Begun::NeverRan => {
            let end = start::never_ran(JobState::Cancelled, "cancelled before it was started");
            finish::close(core, number, end).await;
        }
        Begun::Send => send(core, number),
        Begun::SendBatch => batch::end_soon(core, number),
        Begun::Wait => {}
    }
    let confirmed = async {
        tokio::select! {
            biased;
            _ = core.job_ended(number) => None,
            () = refused(core, number) => Some(REFUSED),
        }
    };
    match tokio::time::timeout(CONFIRM_MAX, confirmed).await {
        Ok(None) => {}
        Ok(Some(answer)) => return Ok(answer.to_owned()),
        Err(_elapsed) => return Ok(ASKED.to_owned()),
    }
    let table = core.table();
    let end = table.get(number).and_then(|entry| entry.job.as_ref()?.end.as_ref());
    Ok(end.map_or(ASKED, |end| end.state.as_str()).to_owned())
}

/// Waits until its batch system has refused to end it.
async fn refused(core: &Core, number: Number) {
    loop {
        let mut woken = std::pin::pin!(core.refusals.notified());
        // Registered first, then looked: a refusal between the two is not missed.
        woken.as_mut().enable();
        let is_refused = core.table().job_mut(number).is_some_and(|job| {
            job.placed.as_deref().is_some_and(|placed| placed.refused.is_some())
        });
        if is_refused {
            return;
        }
        woken.await;
    }
}

enum Begun {
    /// It had ended before.
    Ended(JobState),
    /// It was in the queue, and is not any more.
    NeverRan,
    /// Its shepherd is to be told.
    Send,
    /// Its batch system is to be told.
    SendBatch,
    /// It is on its way already, or will be told when it has started.
    Wait,
}

fn begin(core: &Core, subject: Option<&SubjectDn>, number: Number) -> Result<Begun, Fault> {
    let mut table = core.table();
    let entry = table.get_mut(number).ok_or_else(Fault::no_such_session)?;
    // For an anonymous session the id alone is enough; else the answer is that of an unknown one.
    if entry.subject.is_some() && entry.subject.as_ref() != subject {
        return Err(Fault::no_such_session());
    }
    let owner = entry.owner();
    let Some(job) = entry.job.as_mut() else {
        return Err(Fault::new(FaultCode::Conflict, "the session has no job"));
    };
    match job.phase {
        Phase::Ended => Ok(Begun::Ended(job.state())),
        Phase::Ending => Ok(Begun::Wait),
        Phase::Queued if !job.settling => {
            job.phase = Phase::Ending;
            table.queue.remove(&owner, &number);
            Ok(Begun::NeverRan)
        }
        Phase::Queued | Phase::Starting => {
            job.cancel_asked_ms.get_or_insert(now_ms());
            Ok(Begun::Wait)
        }
        Phase::Waiting | Phase::Running if !job.is_local() => {
            job.cancel_asked_ms.get_or_insert(now_ms());
            if let Some(placed) = job.placed.as_deref_mut() {
                placed.ask_again();
            }
            Ok(Begun::SendBatch)
        }
        Phase::Waiting | Phase::Running => {
            // Asked again, it is told again: the first word may have been lost.
            job.cancel_asked_ms.get_or_insert(now_ms());
            Ok(Begun::Send)
        }
    }
}

/// Tells a running job's shepherd, through its jobmanager.
pub(super) fn send(core: &Arc<Core>, number: Number) {
    let sender = Arc::clone(core);
    core.step_aside(async move {
        let Some((id, seal)) =
            sender.table().get(number).map(|entry| (entry.id.clone(), entry.seal.open()))
        else {
            return;
        };
        let told = async {
            let jobmanager = sender.needs.channels.tend(id.reveal(), &seal).await?;
            jobmanager.cancel(id.reveal()).await
        };
        if let Err(error) = told.await {
            // The backstop ends it through its leaf; without one, asking again does.
            tracing::warn!(session = %id, %error, "a job could not be told to end");
        }
    });
}
