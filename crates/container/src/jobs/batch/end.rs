//! How a batch job has ended, and what it is charged: the larger of its record and what its batch
//! system measured, and where neither says anything its wall time on all its CPUs.

use std::sync::Arc;

use nesssi_job::batch::{BatchEnd, NotStarted};
use nesssi_job::{EndReason, EndRecord, JobState};
use nesssi_journal::JobEnd;

use super::{Placed, Told};
use crate::clock::now_ms;
use crate::jobs::table::{Job, Number, Phase};
use crate::jobs::{Core, finish, start};

/// What testifies to an end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The job's own record.
    pub(super) record: Option<&'a EndRecord>,
    /// What its watcher wrote before it ended the job.
    pub(super) why: Option<&'a str>,
    /// What its batch system says.
    pub(super) told: Option<&'a Told>,
}

/// Ends a job that was started.
pub(super) async fn with(core: &Arc<Core>, number: Number, facts: &Facts<'_>) {
    let end = {
        let mut table = core.table();
        let Some(job) = ending(table.job_mut(number)) else { return };
        judge(job, facts, now_ms())
    };
    finish::close(core, number, end).await;
}

/// Whether a job that ended so has had its payload started: its script ends with a code of its own
/// where it has not.
pub(super) fn has_run(told: &Told) -> bool {
    match told.end {
        BatchEnd::Exited(code) => {
            matches!(NotStarted::of(code), None | Some(NotStarted::AlreadyStarted))
        }
        BatchEnd::Signalled(_) | BatchEnd::OverCpu | BatchEnd::OverWall => true,
        BatchEnd::OverMemory | BatchEnd::OverLimit => true,
        BatchEnd::Cancelled | BatchEnd::StartFailed | BatchEnd::NodeFailed | BatchEnd::Unsaid => {
            false
        }
    }
}

/// Ends a job that its batch system has ended, and that has not begun.
pub(super) async fn unstarted(core: &Arc<Core>, number: Number, told: &Told) {
    let (state, reason) = {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        why_unstarted(job, told)
    };
    never_ran(core, number, state, &reason).await;
}

/// Ends a job that has not begun.
pub(super) async fn never_ran(core: &Arc<Core>, number: Number, state: JobState, reason: &str) {
    if ending(core.table().job_mut(number)).is_none() {
        return;
    }
    finish::close(core, number, start::never_ran(state, reason)).await;
}

/// Gives a job up: nobody can say how it ended.
pub(super) async fn lost(core: &Arc<Core>, number: Number, reason: String) {
    let end = {
        let mut table = core.table();
        let Some(job) = ending(table.job_mut(number)) else { return };
        let facts = Facts { record: None, why: None, told: None };
        JobEnd { state: JobState::Lost, reason, ..judge(job, &facts, now_ms()) }
    };
    finish::close(core, number, end).await;
}

/// The job, if it has not ended; it ends from now on.
fn ending(job: Option<&mut Job>) -> Option<&mut Job> {
    let job = job.filter(|job| !matches!(job.phase, Phase::Ending | Phase::Ended))?;
    job.phase = Phase::Ending;
    Some(job)
}

fn judge(job: &Job, facts: &Facts<'_>, now_ms: u64) -> JobEnd {
    let placed = job.placed.as_deref();
    let record = facts.record;
    let wall_here = now_ms.saturating_sub(job.started_ms.unwrap_or(now_ms)).saturating_mul(1000);
    let wall_there = placed.and_then(|placed| placed.wall_seconds);
    let wall_usec = larger(record.map(|record| record.wall_usec), wall_there).unwrap_or(wall_here);
    let measured = measured(placed, record);
    let (state, mut reason) = state_and_reason(job, facts);
    let cpu_usec = measured.unwrap_or_else(|| wall_usec.saturating_mul(job.cpus.into()));
    if measured.is_none() {
        let join = if reason.is_empty() { "" } else { "; " };
        reason = format!("{reason}{join}charged as wall time");
    }
    JobEnd {
        state,
        exit_code: record.map_or_else(|| exit_code(facts.told), |record| record.exit_code),
        signal: record.map_or_else(|| signal(facts.told), |record| record.signal),
        cpu_usec,
        wall_usec,
        ended_ms: now_ms,
        reason,
    }
}

/// The larger of microseconds and of whole seconds, which are rounded up.
fn larger(usec: Option<u64>, seconds: Option<u64>) -> Option<u64> {
    match (usec, seconds) {
        (Some(usec), Some(seconds)) if usec.div_ceil(USEC) >= seconds => Some(usec),
        (usec, None) => usec,
        (_, Some(seconds)) => Some(seconds.saturating_mul(USEC)),
    }
}

/// Microseconds of a second.
const USEC: u64 = 1_000_000;

/// CPU microseconds that somebody has measured.
fn measured(placed: Option<&Placed>, record: Option<&EndRecord>) -> Option<u64> {
    larger(record.map(|record| record.cpu_usec), placed.and_then(|placed| placed.cpu_seconds))
}

fn exit_code(told: Option<&Told>) -> Option<i32> {
    match told?.end {
        BatchEnd::Exited(code) => Some(code),
        _ => None,
    }
}

fn signal(told: Option<&Told>) -> Option<i32> {
    match told?.end {
        BatchEnd::Signalled(signal) => Some(signal),
        _ => None,
    }
}

fn state_and_reason(job: &Job, facts: &Facts<'_>) -> (JobState, String) {
    let record = facts.record;
    // Any job of the account could have written the record: that it used too much is not its to say.
    if let Some(told) = facts.told.filter(|told| is_over(told.end)) {
        return over(words(job, told));
    }
    let by_itself =
        record.is_some_and(|one| one.reason == EndReason::Exited && one.exit_code.is_some());
    if let (Some(record), true) = (record, by_itself) {
        return (JobState::from_end(Some(record)), finish::reason(job, record, JobState::Done));
    }
    // What was done to it is known best by whoever did it: the watcher, this server, the batch system.
    match facts.why {
        Some("over_cpu") => return over(format!("used its {} CPU seconds", job.cpu_seconds_max)),
        Some("over_wall") => {
            return over(format!("used its {} wall seconds", job.wall_seconds_max));
        }
        _ => {}
    }
    if let Some(over_here) = &job.over {
        return over(over_here.clone());
    }
    if let Some(record) = record
        && JobState::from_end(Some(record)) == JobState::OverLimit
    {
        return over(finish::reason(job, record, JobState::OverLimit));
    }
    if job.cancel_asked_ms.is_some() {
        return (JobState::Cancelled, "cancelled".to_owned());
    }
    if let Some(record) = record {
        let state = JobState::from_end(Some(record));
        let reason = match (record.reason, facts.told) {
            (EndReason::Cancelled | EndReason::Lost, Some(told)) => words(job, told),
            _ => finish::reason(job, record, state),
        };
        let node_failed = facts.told.is_some_and(|told| told.end == BatchEnd::NodeFailed);
        return (if node_failed { JobState::Failed } else { state }, reason);
    }
    match facts.told {
        Some(told) => (state_told(told.end), words(job, told)),
        None => (JobState::Lost, "it is gone, and has left no record".to_owned()),
    }
}

fn over(reason: String) -> (JobState, String) {
    (JobState::OverLimit, reason)
}

fn is_over(end: BatchEnd) -> bool {
    matches!(
        end,
        BatchEnd::OverCpu | BatchEnd::OverWall | BatchEnd::OverMemory | BatchEnd::OverLimit
    )
}

/// The state of a job that was started and has left no record.
fn state_told(end: BatchEnd) -> JobState {
    match end {
        // The script's own code for a payload that was started before: it was interrupted.
        BatchEnd::Exited(code) if NotStarted::of(code) == Some(NotStarted::AlreadyStarted) => {
            JobState::Lost
        }
        BatchEnd::Exited(0) => JobState::Done,
        BatchEnd::Exited(_) | BatchEnd::Signalled(_) => JobState::Failed,
        BatchEnd::StartFailed | BatchEnd::NodeFailed => JobState::Failed,
        BatchEnd::OverCpu | BatchEnd::OverWall => JobState::OverLimit,
        BatchEnd::OverMemory | BatchEnd::OverLimit => JobState::OverLimit,
        BatchEnd::Cancelled => JobState::Cancelled,
        BatchEnd::Unsaid => JobState::Lost,
    }
}

/// What the batch system says, as a reason.
fn words(job: &Job, told: &Told) -> String {
    let reason = match told.end {
        BatchEnd::Exited(code) => format!("exit code {code}"),
        BatchEnd::Signalled(signal) => format!("ended by signal {signal}"),
        BatchEnd::OverCpu => format!("used its {} CPU seconds", job.cpu_seconds_max),
        BatchEnd::OverWall => format!("used its {} wall seconds", job.wall_seconds_max),
        BatchEnd::OverMemory => "used its memory".to_owned(),
        BatchEnd::OverLimit => "used more than it may".to_owned(),
        BatchEnd::Cancelled => "cancelled in the batch system".to_owned(),
        BatchEnd::StartFailed => "the batch system could not start it".to_owned(),
        BatchEnd::NodeFailed => "its node failed".to_owned(),
        BatchEnd::Unsaid => "it has ended, and nobody says how".to_owned(),
    };
    if told.words.is_empty() { reason } else { format!("{reason}: {}", told.words) }
}

fn why_unstarted(job: &Job, told: &Told) -> (JobState, String) {
    if job.cancel_asked_ms.is_some() {
        return (JobState::Cancelled, "cancelled before it was started".to_owned());
    }
    let not_started = match told.end {
        BatchEnd::Exited(code) => NotStarted::of(code),
        _ => None,
    };
    let why = match not_started {
        Some(NotStarted::NoSandbox) => "the node does not have its sandbox",
        Some(NotStarted::NoGuard) => "its sandbox is full or read-only on the node",
        Some(NotStarted::NoAwk) => "the node has no awk",
        Some(NotStarted::Array) => "it was made an array of jobs, which is not allowed",
        Some(NotStarted::NoOutput) => "its output could not be made",
        Some(NotStarted::AlreadyStarted) | None => match told.end {
            BatchEnd::Cancelled => return (JobState::Cancelled, words(job, told)),
            end if is_over(end) => return (JobState::OverLimit, words(job, told)),
            _ => return (JobState::Failed, format!("it was not started: {}", words(job, told))),
        },
    };
    (JobState::Failed, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::larger;

    #[test]
    fn whole_seconds_are_rounded_up() {
        for (usec, seconds, expected) in [
            (None, None, None),
            (Some(7), None, Some(7)),
            (None, Some(2), Some(2_000_000)),
            (Some(10_000), Some(0), Some(10_000)),
            (Some(10_000), Some(1), Some(10_000)),
            (Some(10_000), Some(2), Some(2_000_000)),
            (Some(1_000_000), Some(1), Some(1_000_000)),
            (Some(1_000_001), Some(2), Some(1_000_001)),
        ] {
            assert_eq!(larger(usec, seconds), expected, "{usec:?} {seconds:?}");
        }
    }
}
