//! Reconciling: whether a job whose submission's answer is not known was submitted.
//!
//! First the submission lock: while a submit command runs, everything may still happen. Then the
//! guard: a batch id in it is the job's. Then a listing that was begun after that: a job of the tag's
//! name and account is the job. Only what is in none of them is submitted again, after its owner was
//! judged again; and should it be there all the same, the guard starts one of the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nesssi_job::EndRecord;
use nesssi_job::batch::{BatchId, BatchState, Sighting};
use nesssi_privsep::messages::Seal;
use nesssi_session::SessionId;

use super::system::{SECOND, System};
use super::weigh::Look;
use super::{end, submit, system_of};
use crate::jobs::table::{Job, Number, Phase};
use crate::jobs::{Core, is_absent};
use crate::link::{AskError, GuardFound, lock};

/// The first wait after a try that told nothing, doubled each time.
const AGAIN_MIN: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 200 });

/// The longest.
const AGAIN_MAX: Duration = SECOND.saturating_mul(10);

/// After how long what contradicts itself is given up: the guard stands and names nobody, or no listing
/// can be read whole.
const CONTRADICTION_MAX: Duration = SECOND.saturating_mul(300);

/// How often a job is submitted before it is given up: what kills one command may kill the next.
const STARTS_MAX: u32 = if cfg!(test) { 3 } else { 10 };

/// The wait before the third submission, doubled each time; the second one comes at once.
const START_AGAIN: Duration = SECOND;

/// How many go on at one time: their changes share the journal's commits.
const AT_ONE_TIME: usize = 256;

/// The jobs in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    of: BTreeMap<Number, Doubt>,
    due: BTreeSet<(Instant, Number)>,
}

#[derive(Debug)]
struct Doubt {
    since: Instant,
    /// When its sandbox is looked at next.
    due: Option<Instant>,
    again: Duration,
    /// When neither lock nor guard said anything: a listing that was begun after it decides.
    clear: Option<Instant>,
}

impl Doubts {
    fn look_at(&mut self, number: Number, at: Instant) {
        let Some(doubt) = self.of.get_mut(&number) else { return };
        if let Some(before) = doubt.due.replace(at) {
            self.due.remove(&(before, number));
        }
        self.due.insert((at, number));
    }

    fn taken(&mut self, due: (Instant, Number)) {
        self.due.remove(&due);
        if let Some(doubt) = self.of.get_mut(&due.1) {
            doubt.due = None;
        }
    }

    fn forget(&mut self, number: Number) {
        if let Some(due) = self.of.remove(&number).and_then(|doubt| doubt.due) {
            self.due.remove(&(due, number));
        }
    }
}

/// Begins to find out whether a job was submitted.
pub(crate) fn begin(core: &Core, number: Number, note: &str) {
    let Some(system) = system_of(core, number) else { return };
    {
        let mut table = core.table();
        let unsure = |job: &&mut Job| matches!(job.phase, Phase::Queued | Phase::Starting);
        let Some(job) = table.job_mut(number).filter(unsure) else { return };
        // In one step: a cancel that comes in between must not take it for one that was never submitted.
        job.phase = Phase::Queued;
        job.settling = true;
        job.note = Some(note.to_owned());
    }
    let now = Instant::now();
    let doubt = Doubt { since: now, due: None, again: AGAIN_MIN, clear: None };
    let mut doubts = lock(&system.doubts);
    doubts.of.entry(number).or_insert(doubt);
    doubts.look_at(number, now);
    drop(doubts);
    system.doubt.notify_one();
}

/// The task that looks after them.
pub(super) async fn run(core: Arc<Core>, system: Arc<System>) {
    loop {
        let first = lock(&system.doubts).due.first().copied();
        match first {
            None => system.doubt.notified().await,
            Some((at, _)) if at > Instant::now() => {
                tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = system.doubt.notified() => {}
                }
            }
            Some(due) => {
                lock(&system.doubts).taken(due);
                let Ok(permit) = Arc::clone(&core.doubters).acquire_owned().await else { return };
                let (one, of) = (Arc::clone(&core), Arc::clone(&system));
                core.until_stopped(async move {
                    look(&one, &of, due.1).await;
                    drop(permit);
                });
            }
        }
    }
}

/// What is known of a job in doubt.
fn known(core: &Core, number: Number) -> Option<(SessionId, Seal)> {
    let table = core.table();
    let entry = table.get(number)?;
    let job = entry.job.as_ref()?;
    (job.phase == Phase::Queued && job.settling).then(|| (entry.id.clone(), entry.seal.open()))
}

/// Asks lock and guard.
async fn look(core: &Arc<Core>, system: &Arc<System>, number: Number) {
    let Some((id, seal)) = known(core, number) else { return forget(system, number) };
    let asked = async {
        let by = core.needs.channels.tend(id.reveal(), &seal).await?;
        by.read_guard(id.reveal()).await
    };
    let guard = match asked.await {
        Ok(guard) => guard,
        // It may have run, and its sandbox have been removed since the backup.
        Err(error) if is_absent(&error) && number <= core.restored_up_to => {
            forget(system, number);
            let reason = "the journal was restored from a backup, and its sandbox is gone";
            return end::lost(core, number, reason.to_owned()).await;
        }
        // Nothing was ever made there, or it was removed: no guard can stand.
        Err(error) if is_absent(&error) => GuardFound::default(),
        Err(error) => {
            tracing::info!(session = %id, %error, "a job in doubt cannot be looked after now");
            let why = match error {
                AskError::Refused(_) => "its account may not be used now",
                AskError::Failed { .. } | AskError::Link(_) | AskError::Unfit => {
                    "its account cannot be had now"
                }
            };
            return again(core, system, number, why);
        }
    };
    if guard.submitting {
        return again(core, system, number, "a submission of it is under way");
    }
    let winner = guard.winner.as_deref().and_then(|winner| BatchId::parse(winner).ok());
    if let Some(winner) = winner {
        forget(system, number);
        return submit::submitted(core, system, number, winner.as_str().to_owned(), "job_adopted")
            .await;
    }
    let record = guard.record.as_deref().and_then(|text| EndRecord::parse(text).ok());
    if let Some(record) = &record {
        forget(system, number);
        let why = guard.why.as_deref();
        return end::with(core, number, &end::Facts { record: Some(record), why, told: None })
            .await;
    }
    if guard.guarded {
        if is_old(system, number) {
            let said = "its sandbox says that it was started, and not by which of its jobs";
            return give_up(core, system, number, said).await;
        }
        return again(core, system, number, "it was started, and is being looked for");
    }
    let now = Instant::now();
    let mut doubts = lock(&system.doubts);
    if let Some(doubt) = doubts.of.get_mut(&number) {
        doubt.clear = Some(now);
        // Should no listing come, the guard is read again.
        doubts.look_at(number, now + AGAIN_MAX.saturating_mul(6));
    }
    drop(doubts);
    system.look_after(now);
}

fn is_old(system: &System, number: Number) -> bool {
    let doubts = lock(&system.doubts);
    doubts.of.get(&number).is_some_and(|doubt| doubt.since.elapsed() >= CONTRADICTION_MAX)
}

async fn give_up(core: &Arc<Core>, system: &System, number: Number, said: &str) {
    forget(system, number);
    let reason = format!("the batch system {} does not know it; {said}", system.name());
    end::lost(core, number, reason).await;
}

fn forget(system: &System, number: Number) {
    lock(&system.doubts).forget(number);
}

/// Tries again after a while.
fn again(core: &Core, system: &System, number: Number, why: &str) {
    if let Some(job) = core.table().job_mut(number) {
        job.note = Some(why.to_owned());
    }
    let mut doubts = lock(&system.doubts);
    let Some(doubt) = doubts.of.get_mut(&number) else { return };
    let at = Instant::now() + doubt.again;
    doubt.again = (doubt.again * 2).min(AGAIN_MAX);
    doubt.clear = None;
    doubts.look_at(number, at);
    drop(doubts);
    system.doubt.notify_one();
}

/// Some of those who wait for a listing: one of each account is enough.
pub(super) fn waiting(system: &System) -> Vec<Number> {
    let doubts = lock(&system.doubts);
    doubts.of.iter().filter(|(_, doubt)| doubt.clear.is_some()).map(|(number, _)| *number).collect()
}

/// A listing has come, of all accounts or of one: those who waited for it go on, many at one time.
pub(super) fn listed(core: &Arc<Core>, system: &Arc<System>, look: &Look, account: Option<&str>) {
    let waited: Vec<Number> = {
        let doubts = lock(&system.doubts);
        let before = |doubt: &Doubt| doubt.clear.is_some_and(|clear| clear <= look.begun);
        doubts.of.iter().filter(|(_, doubt)| before(doubt)).map(|(number, _)| *number).collect()
    };
    let mut decided = Vec::new();
    for number in waited {
        let is_others = account.is_some_and(|account| {
            core.table().get(number).is_some_and(|entry| entry.account != account)
        });
        if is_others {
            continue;
        }
        match look.of.get(&number).and_then(|all| best(all)) {
            Some(id) => decided.push((number, Decided::There(id))),
            None if look.complete => decided.push((number, Decided::NotThere)),
            None if is_old(system, number) => decided.push((number, Decided::Unreadable)),
            None => again(core, system, number, "its batch system's listing cannot be read whole"),
        }
    }
    decided.iter().for_each(|(number, _)| forget(system, *number));
    if decided.is_empty() {
        return;
    }
    let (core, system) = (Arc::clone(core), Arc::clone(system));
    let going = Arc::clone(&core);
    core.until_stopped(async move {
        let mut tasks = tokio::task::JoinSet::new();
        for (number, decided) in decided {
            if tasks.len() >= AT_ONE_TIME {
                tasks.join_next().await;
            }
            let (core, system) = (Arc::clone(&going), Arc::clone(&system));
            tasks.spawn(async move { go_on(&core, &system, number, decided).await });
        }
        while tasks.join_next().await.is_some() {}
    });
}

/// What a listing says of a job in doubt.
enum Decided {
    /// It is there, by this id.
    There(String),
    NotThere,
    /// That cannot be known.
    Unreadable,
}

async fn go_on(core: &Arc<Core>, system: &Arc<System>, number: Number, decided: Decided) {
    if known(core, number).is_none() {
        return;
    }
    match decided {
        Decided::There(id) => submit::submitted(core, system, number, id, "job_adopted").await,
        Decided::NotThere => submit_again(core, system, number).await,
        Decided::Unreadable => {
            give_up(core, system, number, "and its listing could not be read whole").await;
        }
    }
}

/// The one that is nearest to having started the payload; the guard decides later.
fn best(all: &[Sighting]) -> Option<String> {
    let rank = |one: &&Sighting| match one.state {
        BatchState::Running | BatchState::Exiting => 0,
        BatchState::Queued | BatchState::Held => 1,
        BatchState::Unknown => 2,
        BatchState::Ended(_) => 3,
    };
    all.iter().min_by_key(rank).map(|one| one.id.as_str().to_owned())
}

/// No listing came.
pub(super) fn not_listed(core: &Core, system: &System) {
    let waiting = waiting(system);
    let mut table = core.table();
    for number in waiting {
        if let Some(job) = table.job_mut(number) {
            job.note = Some("its batch system does not answer".to_owned());
        }
    }
}

/// It was certainly not submitted.
async fn submit_again(core: &Arc<Core>, system: &System, number: Number) {
    let (starts, words) = {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        job.settling = false;
        job.note = Some("being submitted".to_owned());
        let starts = if job.cancel_asked_ms.is_some() { None } else { Some(job.starts) };
        (starts, job.comment.clone())
    };
    match starts {
        None => submit::cancel_unplaced(core, number).await,
        Some(starts) if starts >= STARTS_MAX => {
            let name = system.name();
            let why = if words.is_empty() {
                format!("the batch system {name} did not take it, and did not say why")
            } else {
                format!("the batch system {name} did not take it: {words}")
            };
            submit::give_up(core, number, &why).await;
        }
        Some(starts) if starts < 2 => submit::wait_in_line(core, number),
        Some(starts) => {
            let again = Arc::clone(core);
            core.until_stopped(async move {
                tokio::time::sleep(START_AGAIN.saturating_mul(1 << (starts - 2).min(5))).await;
                submit::wait_in_line(&again, number);
            });
        }
    }
}
