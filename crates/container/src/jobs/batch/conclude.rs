//! Concluding: how a job has ended is told by its batch system, its sandbox's guard and its record
//! together. And what follows from jobs that are there too often, or too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nesssi_job::batch::{BatchId, BatchState, CancelAnswer};
use nesssi_job::{EndRecord, JobState, Tag};
use nesssi_privsep::messages::Seal;
use nesssi_session::SessionId;

use super::ask::{account_of, is_same};
use super::system::{SECOND, System};
use super::weigh::{self, Look};
use super::{Told, end, poll, submit};
use crate::jobs::table::{Job, Number, Phase};
use crate::jobs::{Core, is_absent};
use crate::link::GuardFound;

/// How long the record of a job that has ended may take to be seen: a shared file system is slow.
const RECORD_WAIT: Duration = SECOND.saturating_mul(30);

/// How long the guard of a job that has run may take to be seen: a client of a shared file system
/// remembers for a minute that something was not there.
const GUARD_WAIT: Duration = SECOND.saturating_mul(75);

/// After how long a job that nobody knows is given up.
const LOST_AFTER: Duration = SECOND.saturating_mul(120);

/// In how many complete listings on end it must be missing for that.
const MISSED_MAX: u32 = 3;

/// What is known of a job before its sandbox is looked at.
struct Known {
    id: SessionId,
    seal: Seal,
    batch_id: String,
    told: Option<(Told, Instant)>,
    missed: Option<(u32, Instant)>,
    is_to_end: bool,
    /// It was seen to run.
    has_run: bool,
}

/// Finds out how a job has ended, if it has; `complete` is whether what was not listed is not there.
pub(super) fn begin(core: &Arc<Core>, system: &Arc<System>, number: Number, complete: bool) {
    let known = {
        let mut table = core.table();
        let Some(entry) = table.get_mut(number) else { return };
        let (id, seal) = (entry.id.clone(), entry.seal.open());
        let Some(job) = entry.job.as_mut() else { return };
        if !matches!(job.phase, Phase::Waiting | Phase::Running) {
            return;
        }
        let is_to_end = job.cancel_asked_ms.is_some() || job.over.is_some();
        let has_run = job.phase == Phase::Running;
        let Some(batch_id) = job.batch_id.clone() else { return };
        let Some(placed) = job.placed.as_deref_mut().filter(|placed| !placed.concluding) else {
            return;
        };
        if placed.told.is_none() && complete {
            let (count, since) = placed.missed.unwrap_or((0, Instant::now()));
            placed.missed = Some((count.saturating_add(1), since));
        }
        placed.concluding = true;
        let (told, missed) = (placed.told.clone(), placed.missed);
        Known { id, seal, batch_id, told, missed, is_to_end, has_run }
    };
    let (core, system) = (Arc::clone(core), Arc::clone(system));
    let concluding = Arc::clone(&core);
    core.until_stopped(async move {
        let Ok(_permit) = concluding.settlers.acquire().await else { return };
        conclude(&concluding, &system, number, &known).await;
        let mut table = concluding.table();
        if let Some(placed) = table.job_mut(number).and_then(|job| job.placed.as_deref_mut()) {
            placed.concluding = false;
        }
    });
}

async fn conclude(core: &Arc<Core>, system: &Arc<System>, number: Number, known: &Known) {
    let read = async {
        let by = core.needs.channels.tend(known.id.reveal(), &known.seal).await?;
        by.read_guard(known.id.reveal()).await
    };
    let guard = match read.await {
        Ok(guard) => guard,
        Err(error) if is_absent(&error) => GuardFound::default(),
        Err(error) => {
            tracing::info!(session = %known.id, %error, "a job's sandbox cannot be looked at");
            return say(core, number, "its account cannot be had now");
        }
    };
    if guard.submitting {
        return say(core, number, "a submission of it is under way");
    }
    if let Some(winner) = other_winner(&guard, &known.batch_id) {
        tracing::warn!(session = %known.id, winner, "another batch job has started a session's payload");
        return submit::submitted(core, system, number, winner, "job_adopted").await;
    }
    let record = guard.record.as_deref().and_then(|text| EndRecord::parse(text).ok());
    let why = guard.why.as_deref();
    let told = known.told.as_ref();
    if record.is_some() {
        let told = told.map(|(told, _)| told);
        return end::with(core, number, &end::Facts { record: record.as_ref(), why, told }).await;
    }
    match (told, guard.guarded) {
        (Some((told, since)), false) => {
            let has_run = known.has_run || end::has_run(told);
            if has_run && since.elapsed() < GUARD_WAIT {
                return look_later(core, system, number);
            }
            end::unstarted(core, number, told).await;
        }
        (Some((told, since)), true) if since.elapsed() >= RECORD_WAIT => {
            end::with(core, number, &end::Facts { record: None, why, told: Some(told) }).await;
        }
        (Some(_), true) => look_later(core, system, number),
        (None, guarded) => unknown(core, system, number, known, guarded, why).await,
    }
}

/// The batch id of the guard, where it is another's than the job is known by.
fn other_winner(guard: &GuardFound, batch_id: &str) -> Option<String> {
    let winner = BatchId::parse(guard.winner.as_deref()?).ok()?;
    (!is_same(winner.as_str(), batch_id)).then(|| winner.as_str().to_owned())
}

/// A job that neither the batch system nor its accounts know, and that has left no record.
async fn unknown(
    core: &Arc<Core>,
    system: &Arc<System>,
    number: Number,
    known: &Known,
    guarded: bool,
    why: Option<&str>,
) {
    let Some((count, since)) = known.missed else {
        return say(core, number, "its batch system's listing cannot be read whole");
    };
    if known.is_to_end && !guarded && !known.has_run {
        return end::never_ran(
            core,
            number,
            JobState::Cancelled,
            "cancelled before it was started",
        )
        .await;
    }
    if known.is_to_end && count >= 2 && since.elapsed() >= RECORD_WAIT {
        return end::with(core, number, &end::Facts { record: None, why, told: None }).await;
    }
    if count >= MISSED_MAX && since.elapsed() >= LOST_AFTER {
        let left =
            if guarded { "it was started, and has left no record" } else { "it was not started" };
        let reason = format!(
            "the batch system {} does not know it any more; in its sandbox {left}",
            system.name()
        );
        return end::lost(core, number, reason).await;
    }
    say(core, number, "its batch system does not know it");
    look_later(core, system, number);
}

fn say(core: &Core, number: Number, why: &str) {
    if let Some(job) = core.table().job_mut(number) {
        job.note = Some(why.to_owned());
    }
}

/// Looks again soon, a bounded number of times; the rounds go on in any case.
fn look_later(core: &Core, system: &System, number: Number) {
    let again = {
        let mut table = core.table();
        let placed = table.job_mut(number).and_then(|job| job.placed.as_deref_mut());
        placed.is_some_and(|placed| {
            let again = placed.looks > 0;
            placed.looks = placed.looks.saturating_sub(1);
            again
        })
    };
    if again {
        system.look_soon(number);
    } else {
        system.look_fresh();
    }
}

/// Takes in what the accounts say.
pub(super) fn accounted(core: &Core, numbers: &[Number], look: &Look) {
    let mut table = core.table();
    for number in numbers {
        let Some(job) = table.job_mut(*number) else { continue };
        let (Some(batch_id), Some(placed)) = (job.batch_id.as_deref(), job.placed.as_deref_mut())
        else {
            continue;
        };
        for sighting in look.of.get(number).map(Vec::as_slice).unwrap_or_default() {
            if !is_same(sighting.id.as_str(), batch_id) {
                continue;
            }
            weigh::figures(placed, sighting);
            if let BatchState::Ended(end) = sighting.state {
                let words = sighting.comment.to_string();
                placed.told.get_or_insert_with(|| (Told { end, words }, Instant::now()));
            }
        }
    }
}

/// What a running job has used, as the batch system measures it.
pub(super) fn measured(job: &mut Job, cpu_seconds: u64, at_ms: u64) {
    if !matches!(job.phase, Phase::Running) {
        return;
    }
    if let Some(placed) = job.placed.as_deref_mut() {
        placed.cpu_seconds = placed.cpu_seconds.max(Some(cpu_seconds));
    }
    job.measured = Some((cpu_seconds.saturating_mul(1_000_000), at_ms));
    weigh::hold(job, BatchState::Running, at_ms);
}

/// Has the batch system told to end a job that it was just seen to have.
pub(super) fn send_cancel(core: &Arc<Core>, system: &Arc<System>, number: Number) {
    let known = {
        let table = core.table();
        let job = table.get(number).and_then(|entry| entry.job.as_ref());
        job.and_then(|job| Some((job.batch_id.clone()?, job.tag.clone())))
    };
    let Some((batch_id, tag)) = known else { return };
    let (sender, system) = (Arc::clone(core), Arc::clone(system));
    core.until_stopped(async move {
        let answer = cancel(&sender, &system, number, &batch_id, &tag).await;
        {
            let mut table = sender.table();
            let Some(job) = table.job_mut(number) else { return };
            let Some(placed) = job.placed.as_deref_mut() else { return };
            placed.looks = poll::LOOKS_MAX;
            placed.refused = match answer {
                Some(CancelAnswer::Refused(words) | CancelAnswer::Unknown(words)) => Some(words),
                _ => None,
            };
            if let Some(words) = &placed.refused {
                job.comment = words.clone();
            }
        }
        sender.refusals.notify_waiters();
        system.look_soon(number);
    });
}

async fn cancel(
    core: &Core,
    system: &System,
    number: Number,
    batch_id: &str,
    tag: &Tag,
) -> Option<CancelAnswer> {
    let told = async {
        let by = account_of(core, number).await?;
        by.cancel_batch(system.name(), batch_id, tag.as_str(), system.patience()).await
    };
    match told.await {
        Ok(answer) => {
            tracing::info!(batch = system.name(), batch_id, ?answer, "a batch job was told to end");
            Some(answer)
        }
        Err(error) => {
            tracing::warn!(batch = system.name(), batch_id, %error, "a batch job could not be told to end");
            None
        }
    }
}

/// A job is there twice. The guard says which of the two has started the payload, and the other one is
/// removed; before there is a winner both wait, since either may be about to start.
pub(super) fn twice(core: &Arc<Core>, system: &Arc<System>, number: Number, other: String) {
    let known = {
        let table = core.table();
        let entry = table.get(number);
        let job = entry.and_then(|entry| entry.job.as_ref());
        let ids = entry.map(|entry| (entry.id.clone(), entry.seal.open()));
        ids.zip(job.and_then(|job| Some((job.batch_id.clone()?, job.cancel_asked_ms.is_some()))))
    };
    let Some(((id, seal), (batch_id, is_to_end))) = known else { return };
    if is_to_end {
        remove(core, system, number, other, "duplicate_removed");
        return;
    }
    let (core, system) = (Arc::clone(core), Arc::clone(system));
    let looking = Arc::clone(&core);
    core.until_stopped(async move {
        let Ok(_permit) = looking.settlers.acquire().await else { return };
        let read = async {
            let by = looking.needs.channels.tend(id.reveal(), &seal).await?;
            by.read_guard(id.reveal()).await
        };
        let Ok(guard) = read.await else { return };
        let Some(winner) = guard.winner.as_deref() else { return };
        if is_same(winner, &batch_id) {
            remove(&looking, &system, number, other, "duplicate_removed");
        } else if is_same(winner, &other) {
            submit::submitted(&looking, &system, number, other, "job_adopted").await;
            remove(&looking, &system, number, batch_id, "duplicate_removed");
        }
    });
}

/// Ends a batch job that was just seen, and that no session needs.
pub(super) fn remove(
    core: &Arc<Core>,
    system: &Arc<System>,
    number: Number,
    batch_id: String,
    event: &'static str,
) {
    let known = {
        let table = core.table();
        let entry = table.get(number);
        entry.and_then(|entry| Some((entry.id.clone(), entry.job.as_ref()?.tag.clone())))
    };
    let Some((id, tag)) = known else { return };
    let (core, system) = (Arc::clone(core), Arc::clone(system));
    let remover = Arc::clone(&core);
    core.until_stopped(async move {
        let answer = cancel(&remover, &system, number, &batch_id, &tag).await;
        let line = remover.needs.audit.line(event).text("session", id.short());
        let line = line.text("batch", system.name()).text("batch_id", &batch_id);
        line.text(
            "answer",
            answer.map_or("none", |answer| nesssi_job::batch::names::of_cancel(&answer).0),
        )
        .write();
    });
}
