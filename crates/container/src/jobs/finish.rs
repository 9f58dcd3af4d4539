//! The end of a job: its leaf is emptied and removed, what it used is charged, the journal is
//! written, and the slot goes to the next one.

use std::sync::Arc;
use std::time::Duration;

use nesssi_job::{EndReason, EndRecord, JobState};
use nesssi_journal::{Change, JobEnd, JournalError};
use nesssi_session::SessionId;

use super::budget::Charge;
use super::table::{Entry, Job, Number, Phase};
use super::{Core, start};
use crate::clock::now_ms;

/// How often a leaf is killed before it is left to the backstop's cleaning.
const LEAF_KILLS_MAX: u32 = 100;

/// How long between two kills of the same leaf.
const LEAF_KILL_EVERY: Duration = Duration::from_millis(20);

/// How long between two tries to write an end that the journal did not take.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

/// A jobmanager says that a job has ended. It may say so twice, and of its own account's jobs only.
pub(super) fn heard(core: &Arc<Core>, account: &str, session: &str, record: String) {
    let Ok(id) = SessionId::parse(session) else { return };
    let number = {
        let mut table = core.table();
        let Some(number) = table.find(&id).map(|entry| entry.number) else { return };
        let Some(entry) = table.get_mut(number) else { return };
        if entry.account != account {
            tracing::warn!(account, session = %id, "an account speaks of another's job");
            return;
        }
        match entry.job.as_mut() {
            Some(job) if job.phase == Phase::Starting => {
                job.early_end = Some(record);
                return;
            }
            Some(job) if job.phase == Phase::Running && job.is_local() => number,
            _ => return,
        }
    };
    end(core, number, record);
}

/// A running job has ended; `record` is its shepherd's testimony, empty if there is none.
pub(super) fn end(core: &Arc<Core>, number: Number, record: String) {
    {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        if matches!(job.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        job.phase = Phase::Ending;
    }
    let ending = Arc::clone(core);
    core.step_aside(async move { end_now(&ending, number, &record).await });
}

async fn end_now(core: &Arc<Core>, number: Number, record: &str) {
    let leaf = {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        job.leaf.then(|| job.leaf_name())
    };
    let measured = match leaf {
        Some(name) => empty_leaf(core, &name).await,
        None => 0,
    };
    let testimony = EndRecord::parse(record).ok();
    let how = {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        judge(job, testimony.as_ref(), measured)
    };
    close(core, number, how).await;
}

/// Kills what is left in a leaf until nothing is, and the leaf is gone; its CPU microseconds.
pub(super) async fn empty_leaf(core: &Core, name: &str) -> u64 {
    let mut cpu_usec = 0;
    for _ in 0..LEAF_KILLS_MAX {
        match core.needs.monitor.leaf_kill(name).await {
            Ok(None) => return cpu_usec,
            Ok(Some(facts)) => {
                cpu_usec = cpu_usec.max(facts.cpu_usec);
                if !facts.populated {
                    return cpu_usec;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a job's leaf could not be emptied");
                return cpu_usec;
            }
        }
        tokio::time::sleep(LEAF_KILL_EVERY).await;
    }
    tracing::error!(leaf = name, "a leaf does not become empty");
    cpu_usec
}

/// Removes a leaf that nobody needs.
pub(super) fn remove_leaf_later(core: &Arc<Core>, name: String) {
    let remover = Arc::clone(core);
    core.step_aside(async move {
        empty_leaf(&remover, &name).await;
    });
}

/// What the job's end is, by its shepherd's testimony and by what was measured and done here.
fn judge(job: &Job, testimony: Option<&EndRecord>, leaf_usec: u64) -> JobEnd {
    let now = now_ms();
    let by_bulk_read = job.measured.map_or(0, |(cpu_usec, _)| cpu_usec);
    // Where there is no leaf, both figures are sums over the same tree, and the last one counts.
    let measured = match testimony {
        Some(_) if !job.leaf => 0,
        _ => leaf_usec.max(by_bulk_read),
    };
    let wall_here = now.saturating_sub(job.started_ms.unwrap_or(now)).saturating_mul(1000);
    let (state, reason) = state_and_reason(job, testimony);
    JobEnd {
        state,
        exit_code: testimony.and_then(|record| record.exit_code),
        signal: testimony.and_then(|record| record.signal),
        cpu_usec: testimony.map_or(0, |record| record.cpu_usec).max(measured),
        wall_usec: testimony.map_or(wall_here, |record| record.wall_usec),
        ended_ms: now,
        reason,
    }
}

fn state_and_reason(job: &Job, testimony: Option<&EndRecord>) -> (JobState, String) {
    let by_itself = testimony
        .is_some_and(|record| record.reason == EndReason::Exited && record.exit_code.is_some());
    if let Some(over) = &job.over
        && !by_itself
    {
        return (JobState::OverLimit, over.clone());
    }
    // Killed through its leaf on request, its shepherd may have seen a signal, or nothing more.
    let killed_on_request = job.cancel_asked_ms.is_some() && !by_itself;
    let state = match JobState::from_end(testimony) {
        JobState::Failed | JobState::Lost if killed_on_request => JobState::Cancelled,
        state => state,
    };
    let Some(record) = testimony else {
        let why = if state == JobState::Cancelled {
            "cancelled"
        } else {
            job.lost.as_deref().unwrap_or("its shepherd ended without a record")
        };
        return (state, why.to_owned());
    };
    (state, reason(job, record, state))
}

pub(super) fn reason(job: &Job, record: &EndRecord, state: JobState) -> String {
    if state == JobState::Cancelled {
        return "cancelled".to_owned();
    }
    match record.reason {
        EndReason::Exited => match (record.exit_code, record.signal) {
            (Some(0), _) => String::new(),
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended".to_owned(),
        },
        EndReason::Cancelled => "cancelled".to_owned(),
        EndReason::OverCpu => format!("used its {} CPU seconds", job.cpu_seconds_max),
        EndReason::OverWall => format!("used its {} wall seconds", job.wall_seconds_max),
        EndReason::OverBytes => "wrote more than its sandbox may hold".to_owned(),
        EndReason::StartFailed if record.text.is_empty() => "could not be started".to_owned(),
        EndReason::StartFailed => format!("could not be started: {}", record.text),
        EndReason::Lost => "its shepherd cannot say how it ended".to_owned(),
    }
}

/// Writes the end down, and lets go of all that the job held. The one place where a job ends.
pub(super) async fn close(core: &Arc<Core>, number: Number, end: JobEnd) {
    let (expires_ms, stray_leaf, charge) = {
        let mut table = core.table();
        let Some(entry) = table.get_mut(number) else { return };
        let retention_ms = entry.limits.retention_seconds.saturating_mul(1000);
        let charge = Charge::of(&entry.owner(), &entry.level, end.cpu_usec, end.ended_ms);
        let Some(job) = entry.job.as_mut() else { return };
        if job.phase == Phase::Ended {
            return;
        }
        let stray = (job.leaf && job.phase == Phase::Starting).then(|| job.leaf_name());
        job.phase = Phase::Ending;
        (end.ended_ms.saturating_add(retention_ms), stray, charge)
    };
    if let Some(name) = stray_leaf {
        remove_leaf_later(core, name);
    }
    let mut changes = vec![Change::Ended { session: number, end: end.clone(), expires_ms }];
    changes.extend(charge.changes());
    match core.write(changes.clone()).await {
        Ok(()) => {}
        Err(error @ JournalError::Unfit(_)) => {
            tracing::error!(%error, "the journal has another end of a job");
        }
        Err(error) => {
            tracing::error!(%error, "the journal did not take the end of a job: trying again");
            write_until_taken(core, changes);
        }
    }
    let_go(core, number, end, expires_ms, &charge);
    start::pump(core);
}

fn audit_end(core: &Core, number: Number, end: &JobEnd) {
    let of = |entry: &Entry| (entry.id.clone(), entry.account.clone(), entry.level.clone());
    let Some((id, account, level)) = core.table().get(number).map(of) else { return };
    core.needs
        .audit
        .line("job_ended")
        .text("session", id.short())
        .text("account", account)
        .text("level", level)
        .text("state", end.state)
        .count("cpu_usec", end.cpu_usec)
        .count("wall_usec", end.wall_usec)
        .text("reason", &end.reason)
        .write();
}

/// The record in the sandbox stays, so a restart in between finds the same end.
fn write_until_taken(core: &Arc<Core>, changes: Vec<Change>) {
    let writer = Arc::clone(core);
    core.until_stopped(async move {
        loop {
            tokio::time::sleep(WRITE_AGAIN).await;
            match writer.write(changes.clone()).await {
                Ok(()) | Err(JournalError::Unfit(_) | JournalError::LeaseLost) => return,
                Err(error) => tracing::error!(%error, "the journal still takes no end of a job"),
            }
        }
    });
}

fn let_go(core: &Core, number: Number, end: JobEnd, expires_ms: u64, charge: &Charge) {
    audit_end(core, number, &end);
    let mut table = core.table();
    let Some(entry) = table.get_mut(number) else { return };
    let (owner, level, id) = (entry.owner(), entry.level.clone(), entry.id.clone());
    let Some(job) = entry.job.as_mut() else { return };
    tracing::info!(session = %id, state = %end.state, reason = end.reason, cpu_usec = end.cpu_usec, "a job has ended");
    let cpu_seconds = job.cpu_seconds_max;
    let was_waiting = !job.has_slot;
    job.phase = Phase::Ended;
    job.end = Some(end);
    job.note = None;
    job.admitted = None;
    job.answer = None;
    job.placed = None;
    let other = (!job.is_local()).then(|| job.batch.clone());
    if let Some(batch) = other {
        table.unplace(&batch, number);
    } else if std::mem::take(&mut job.has_slot) {
        table.slots_used = table.slots_used.saturating_sub(1);
    } else if was_waiting {
        table.waiting = table.waiting.saturating_sub(1);
    }
    table.running.remove(&number);
    table.queue.remove(&owner, &number);
    // At once with the reservation that it takes the place of.
    table.uncount_active(&owner, &level, cpu_seconds);
    table.budgets.add(charge);
    table.expire_at(number, expires_ms);
}
