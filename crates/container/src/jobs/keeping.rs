//! How long a session is kept: longer, where its owner asks for it, or no longer.

use std::sync::Arc;
use std::time::Duration;

use nesssi_dn::SubjectDn;
use nesssi_journal::Change;
use nesssi_rpc::{Fault, FaultCode};
use tokio::sync::oneshot;

use super::table::{Entry, Number, Phase, Table};
use super::{Core, expiry, journal_fault};
use crate::clock::now_ms;

/// How long whoever ends a session waits for its sandbox to be gone: a large one takes longer, and is
/// removed all the same.
const REMOVAL_PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 500 } else { 10_000 });

/// Who asks, for the audit; `None` is anonymous.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) subject: Option<SubjectDn>,
    pub(crate) request_id: String,
}

pub(super) async fn extend(
    core: &Core,
    by: &Holder,
    session: &str,
    seconds: f64,
) -> Result<u64, Fault> {
    let (id, number) = core.known(session)?;
    let durable = {
        let mut table = core.table();
        let entry = own(&mut table, by, number)?;
        let now = now_ms();
        let most = entry.limits.retention_seconds;
        let until = now.saturating_add(milliseconds(seconds, most, entry)?);
        if !is_over(entry) {
            // It is kept for as long from its job's end, which is not before now.
            return Ok(now.saturating_add(most.saturating_mul(1000)));
        }
        if until <= entry.expires_ms {
            return Ok(entry.expires_ms);
        }
        table.expire_at(number, until);
        // Under the lock, so that a job's end is written behind it.
        (core.begin_write(vec![Change::Kept { session: number, expires_ms: until }]), until)
    };
    let (durable, until) = durable;
    if let Ok(Err(error)) = durable.await {
        // It stands in memory: only a restart would forget it.
        return Err(journal_fault(&error));
    }
    audit(core, by, "session_extended", id.short());
    Ok(until)
}

pub(super) async fn destroy(core: &Arc<Core>, by: &Holder, session: &str) -> Result<(), Fault> {
    let (id, number) = core.known(session)?;
    let conflict = |text: &str| Err(Fault::new(FaultCode::Conflict, text));
    let (durable, before_ms) = {
        let mut table = core.table();
        let entry = own(&mut table, by, number)?;
        if entry.claimed {
            return conflict("a job is just being given to the session");
        }
        if !is_over(entry) {
            return conflict("the session's job has not ended: cancel it first");
        }
        let before_ms = table.hide(number);
        // A restart in between finds its time over, and removes it.
        let kept = Change::Kept { session: number, expires_ms: now_ms() };
        (core.begin_write(vec![kept]), before_ms)
    };
    if let Ok(Err(error)) = durable.await {
        core.table().unhide(number, before_ms);
        return Err(journal_fault(&error));
    }
    audit(core, by, "session_destroyed", id.short());
    let (sender, removed) = oneshot::channel();
    let remover = Arc::clone(core);
    core.step_aside(async move {
        let outcome = expiry::remove_hidden(&remover, number).await;
        // Whoever asked may have waited long enough.
        let _heard_or_not = sender.send(outcome);
    });
    match tokio::time::timeout(REMOVAL_PATIENCE, removed).await {
        Ok(Ok(Err(trouble))) => {
            let text = format!("the session is over, but {trouble}: that is tried again");
            Err(Fault::new(FaultCode::Unavailable, text))
        }
        _ => Ok(()),
    }
}

/// The session, if it is his; for an anonymous one the id alone is enough.
fn own<'t>(table: &'t mut Table, by: &Holder, number: Number) -> Result<&'t mut Entry, Fault> {
    let entry = table.get_mut(number).filter(|entry| !entry.expired);
    let entry = entry.ok_or_else(Fault::no_such_session)?;
    if entry.subject.is_some() && entry.subject != by.subject {
        return Err(Fault::no_such_session());
    }
    Ok(entry)
}

/// Whether it has no job that has not ended.
fn is_over(entry: &Entry) -> bool {
    entry.job.as_ref().is_none_or(|job| job.phase == Phase::Ended)
}

/// # Errors
/// 413 over what the session's level keeps.
fn milliseconds(seconds: f64, most: u64, entry: &Entry) -> Result<u64, Fault> {
    let asked = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    if asked > Duration::from_secs(most) {
        let text = format!(
            "asked for {} seconds, the limit of level {} is {most}",
            asked.as_secs(),
            entry.level
        );
        return Err(Fault::new(FaultCode::OverLimit, text));
    }
    Ok(u64::try_from(asked.as_millis()).unwrap_or(u64::MAX))
}

fn audit(core: &Core, by: &Holder, event: &'static str, session: &str) {
    let line = core.needs.audit.line(event).text("request", &by.request_id);
    line.text("session", session).maybe("subject", by.subject.as_ref()).write();
}
