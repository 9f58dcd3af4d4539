//! Weighing: what a listing says is held against what is known of each job.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nesssi_job::batch::{BatchId, BatchState, Sighting};
use nesssi_journal::Change;

use super::ask::{digits_of, is_live, is_named, is_same};
use super::system::{SECOND, System};
use super::{Placed, Told};
use crate::clock::now_ms;
use crate::jobs::Core;
use crate::jobs::table::{Entry, Job, Number, Phase};

/// How far over its CPU limit a job may be before it is ended from here: longer than its own watcher
/// takes, and than the batch system's own limits.
const CPU_GRACE_SECONDS: u64 = 30;

/// How far over its wall limit: batch systems count in minutes.
const WALL_GRACE_SECONDS: u64 = 180;

/// How long until a job that was to be ended and is still there is to be ended again.
const CANCEL_AGAIN: Duration = SECOND.saturating_mul(30);

/// How many jobs are weighed at one time, while nobody else looks into the table.
const AT_ONE_TIME: usize = 2000;

/// A part of the time that a job has been so, or has left, is how long it is left alone.
const PART: u64 = 10;

/// How old a job's end must be for a sighting of it to be taken for something left over, in
/// milliseconds.
const LEFT_OVER_MS: u64 = if cfg!(test) { 200 } else { 60_000 };

/// A listing, sorted by the jobs that it speaks of.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) begun: Instant,
    pub(super) begun_ms: u64,
    /// Whether what it does not speak of is not there.
    pub(super) complete: bool,
    pub(super) of: HashMap<Number, Vec<Sighting>>,
    /// Ids and owners of jobs that have not ended and are not known by their names, by the digits of the ids.
    strangers: HashMap<String, Vec<(BatchId, String)>>,
}

impl Look {
    /// What of a listing is of jobs of this batch system, by name and account.
    pub(super) fn sort(
        core: &Core,
        system: &System,
        begun: (Instant, u64),
        sightings: Vec<Sighting>,
        unread: u64,
    ) -> Self {
        let mut of: HashMap<Number, Vec<Sighting>> = HashMap::new();
        let mut strangers: HashMap<String, Vec<(BatchId, String)>> = HashMap::new();
        let mut left = sightings.into_iter().peekable();
        while left.peek().is_some() {
            let table = core.table();
            for sighting in left.by_ref().take(AT_ONE_TIME) {
                let entry = digits_of(&sighting.name).and_then(|digits| table.of_tag(digits));
                let entry = entry.filter(|entry| is_of(system, entry, &sighting));
                let is_known = entry.is_some_and(|entry| is_id_of(entry, &sighting));
                if !is_known && !matches!(sighting.state, BatchState::Ended(_)) {
                    let digits = digits_of_id(sighting.id.as_str()).to_owned();
                    let stranger = (sighting.id.clone(), sighting.owner.clone());
                    strangers.entry(digits).or_default().push(stranger);
                }
                if let Some(entry) = entry {
                    of.entry(entry.number).or_default().push(sighting);
                }
            }
        }
        Self { begun: begun.0, begun_ms: begun.1, complete: unread == 0, of, strangers }
    }

    /// Whether an account has a job of this id that goes on under another name: its owner can rename it, and
    /// it has not ended for that.
    fn goes_on_renamed(&self, batch_id: &str, account: &str) -> bool {
        let strangers = self.strangers.get(digits_of_id(batch_id));
        let is_it =
            |(id, owner): &(BatchId, String)| owner == account && is_same(id.as_str(), batch_id);
        strangers.is_some_and(|strangers| strangers.iter().any(is_it))
    }
}

fn digits_of_id(id: &str) -> &str {
    id.split('.').next().unwrap_or_default()
}

fn is_id_of(entry: &Entry, sighting: &Sighting) -> bool {
    let batch_id = entry.job.as_ref().and_then(|job| job.batch_id.as_deref());
    batch_id.is_some_and(|batch_id| is_same(sighting.id.as_str(), batch_id))
}

fn is_of(system: &System, entry: &Entry, sighting: &Sighting) -> bool {
    let of_account = sighting.owner.is_empty() || sighting.owner == entry.account;
    let job = entry.job.as_ref().filter(|job| job.batch == system.name());
    of_account && job.is_some_and(|job| is_named(&sighting.name, &job.tag))
}

/// What follows from a listing.
#[derive(Debug, Default)]
pub(super) struct Weighed {
    /// Jobs that it does not speak of.
    pub(super) absent: Vec<Number>,
    /// Jobs that have ended, as it says.
    pub(super) ended: Vec<Number>,
    /// Jobs that are to be ended, and are there.
    pub(super) to_end: Vec<Number>,
    /// Jobs that are there a second time, by another id.
    pub(super) twice: Vec<(Number, String)>,
    /// Jobs that are to be looked for again at once.
    pub(super) again: Vec<Number>,
    /// Jobs that run, and of which the listing does not say what they have used.
    pub(super) unmeasured: Vec<Number>,
    /// How long the batch system may be left alone.
    pub(super) interval: Option<Duration>,
}

/// Holds a listing against these jobs.
pub(super) fn weigh(core: &Core, system: &System, numbers: &[Number], look: &Look) -> Weighed {
    let mut weighed = Weighed::default();
    let now_ms = now_ms();
    for some in numbers.chunks(AT_ONE_TIME) {
        let mut began = Vec::new();
        let mut table = core.table();
        for number in some {
            let Some(entry) = table.get_mut(*number) else { continue };
            let Some(job) = entry.job.as_mut() else { continue };
            let before = job.phase;
            one(job, &entry.account, *number, look, now_ms, &mut weighed);
            if job.phase != before {
                let started_ms = job.started_ms.unwrap_or(now_ms);
                began.push(Change::Running { session: *number, started_ms });
            }
            let wish = wish(job, now_ms, system);
            weighed.interval = Some(weighed.interval.map_or(wish, |least| least.min(wish)));
        }
        if !began.is_empty() {
            for change in &began {
                if let Change::Running { session, .. } = change {
                    table.begin(system.name(), *session);
                }
            }
            // Nobody waits for it: what is lost of it is seen again in the next listing.
            drop(core.begin_write(began));
        }
    }
    weighed
}

fn one(job: &mut Job, account: &str, number: Number, look: &Look, now_ms: u64, out: &mut Weighed) {
    if !matches!(job.phase, Phase::Waiting | Phase::Running) {
        return;
    }
    let Some(batch_id) = job.batch_id.as_deref() else { return };
    let Some(placed) = job.placed.as_deref_mut().filter(|placed| placed.since <= look.begun) else {
        return;
    };
    let all = look.of.get(&number).map(Vec::as_slice).unwrap_or_default();
    let (own, others): (Vec<&Sighting>, Vec<&Sighting>) =
        all.iter().partition(|one| is_same(one.id.as_str(), batch_id));
    let twice = others.iter().filter(|one| is_live(one.state));
    out.twice.extend(twice.map(|one| (number, one.id.as_str().to_owned())));
    let Some(first) = own.first() else {
        if look.goes_on_renamed(batch_id, account) {
            placed.missed = None;
            job.note = Some("it goes on in its batch system under another name".to_owned());
        } else {
            out.absent.push(number);
        }
        return;
    };
    // One that is told twice, and not alike, is in a state that is not known.
    let alike = own.iter().all(|other| other.state == first.state);
    let state = if alike { first.state } else { BatchState::Unknown };
    placed.missed = None;
    figures(placed, first);
    job.seen_ms = Some(look.begun_ms);
    job.comment = placed.refused.clone().unwrap_or_else(|| first.comment.clone());
    if let Some(cpu_seconds) = placed.cpu_seconds {
        job.measured = Some((cpu_seconds.saturating_mul(1_000_000), look.begun_ms));
    }
    job.note = None;
    match state {
        BatchState::Ended(end) => {
            let words = first.comment.to_string();
            placed.told.get_or_insert_with(|| (Told { end, words }, Instant::now()));
            out.ended.push(number);
            return;
        }
        BatchState::Running | BatchState::Exiting => {
            if job.phase == Phase::Waiting {
                let wall_ms = first.wall_seconds.unwrap_or(0).saturating_mul(1000);
                let not_before = job.submitted_ms.unwrap_or(0);
                job.started_ms = Some(look.begun_ms.saturating_sub(wall_ms).max(not_before));
                job.phase = Phase::Running;
            }
            if state == BatchState::Running && first.cpu_seconds.is_none() {
                out.unmeasured.push(number);
            }
        }
        BatchState::Queued | BatchState::Held | BatchState::Unknown => {}
    }
    if state == BatchState::Exiting || placed.looks > 0 {
        placed.looks = placed.looks.saturating_sub(1);
        out.again.push(number);
    }
    if is_live(state) {
        hold(job, state, now_ms);
        if is_to_be_ended(job) {
            out.to_end.push(number);
        }
    }
}

/// Figures grow: an older answer may come later.
pub(super) fn figures(placed: &mut Placed, sighting: &Sighting) {
    placed.cpu_seconds = placed.cpu_seconds.max(sighting.cpu_seconds);
    placed.wall_seconds = placed.wall_seconds.max(sighting.wall_seconds);
}

/// Holds a job to its limits, by what the batch system says that it has used.
pub(super) fn hold(job: &mut Job, state: BatchState, now_ms: u64) {
    if state != BatchState::Running || job.over.is_some() {
        return;
    }
    let Some(placed) = job.placed.as_deref() else { return };
    let cpu_seconds = placed.cpu_seconds.unwrap_or(0);
    let since_ms = now_ms.saturating_sub(job.started_ms.unwrap_or(now_ms));
    let wall_seconds = placed.wall_seconds.unwrap_or(since_ms / 1000);
    if cpu_seconds > job.cpu_seconds_max.saturating_add(CPU_GRACE_SECONDS) {
        job.over = Some(format!("used its {} CPU seconds", job.cpu_seconds_max));
    } else if wall_seconds > job.wall_seconds_max.saturating_add(WALL_GRACE_SECONDS) {
        job.over = Some(format!("used its {} wall seconds", job.wall_seconds_max));
    }
}

/// Whether its batch system is to be told now to end it; if so, it is taken to be told.
pub(super) fn is_to_be_ended(job: &mut Job) -> bool {
    let wanted = job.cancel_asked_ms.is_some() || job.over.is_some();
    let Some(placed) = job.placed.as_deref_mut().filter(|_| wanted) else { return false };
    if placed.cancel_sent.is_some_and(|sent| sent.elapsed() < CANCEL_AGAIN) {
        return false;
    }
    placed.cancel_sent = Some(Instant::now());
    true
}

/// How long the batch system may be left alone as far as this job is concerned.
fn wish(job: &Job, now_ms: u64, system: &System) -> Duration {
    let (least, most) =
        (SECOND * system.conf.poll_seconds_min, SECOND * system.conf.poll_seconds_max);
    let Some(placed) = job.placed.as_deref() else { return most };
    let is_urgent = job.cancel_asked_ms.is_some()
        || job.over.is_some()
        || placed.missed.is_some()
        || placed.told.is_some();
    if is_urgent {
        return least;
    }
    let since = |ms: Option<u64>| now_ms.saturating_sub(ms.unwrap_or(now_ms));
    let part_ms = match job.phase {
        Phase::Running => {
            let run = since(job.started_ms);
            run.min(job.wall_seconds_max.saturating_mul(1000).saturating_sub(run))
        }
        Phase::Waiting => since(job.submitted_ms),
        Phase::Queued | Phase::Starting | Phase::Ending | Phase::Ended => return most,
    };
    Duration::from_millis(part_ms / PART).clamp(least, most.max(least))
}

/// Jobs that have ended here a while ago, and are still there: by number and batch id.
pub(super) fn left_over(core: &Core, look: &Look, count_max: usize) -> Vec<(Number, String)> {
    let table = core.table();
    let mut left = Vec::new();
    for (number, sightings) in &look.of {
        let job = table.get(*number).and_then(|entry| entry.job.as_ref());
        let ended_ms = job.and_then(|job| job.end.as_ref()).map(|end| end.ended_ms);
        if ended_ms.is_some_and(|ended_ms| ended_ms.saturating_add(LEFT_OVER_MS) < look.begun_ms) {
            let live = sightings.iter().filter(|one| is_live(one.state));
            left.extend(live.map(|one| (*number, one.id.as_str().to_owned())));
        }
        if left.len() >= count_max {
            break;
        }
    }
    left
}
