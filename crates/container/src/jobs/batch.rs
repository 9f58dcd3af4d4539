//! Batch systems beside the local one: jobs are given to them, found again in them, and end by what
//! they and the sandbox say.
//!
//! A job's way: *intent* in the journal, a turn in its account's line ([`submit`]), a command that its
//! account's process runs, a *batch id* in the journal, and from then on it is *placed*. What becomes
//! of placed jobs one task for each batch system finds out, for everybody ([`poll`]). Where a command's
//! answer was lost or made no sense, nobody guesses: [`mod@reconcile`] asks the sandbox's submission lock and
//! guard, and a listing that was begun after that.
//!
//! A job is known by its batch id *and* its name, which holds its tag, *and* its account. What has the
//! id alone is another's job.

mod ask;
mod conclude;
mod end;
mod poll;
mod reconcile;
mod submit;
mod system;
mod weigh;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use nesssi_config::{Batch, LOCAL_BATCH};
use nesssi_job::batch::{BatchEnd, Words};
use nesssi_rpc::Fault;

use super::Core;
use super::health::BatchHealth;
use super::table::Number;
pub(super) use reconcile::begin as reconcile;
pub(super) use submit::{answered, enter};
use system::System;

/// What is known of a job in its batch system.
#[derive(Debug)]
pub(crate) struct Placed {
    /// Since when it is known to be there: a listing that was begun before says nothing of it.
    since: Instant,
    /// Why the batch system does not end it, in its words.
    pub(crate) refused: Option<Words>,
    /// How it said that the job has ended, and since when it says so.
    told: Option<(Told, Instant)>,
    /// In how many complete listings on end it was not, and since when.
    missed: Option<(u32, Instant)>,
    /// CPU and wall seconds, as the batch system measured them.
    cpu_seconds: Option<u64>,
    wall_seconds: Option<u64>,
    /// When it was asked to end the job, last.
    cancel_sent: Option<Instant>,
    /// How often it is still looked for at once, since its record was seen.
    looks: u32,
    /// Somebody is finding out how it ended.
    concluding: bool,
}

impl Default for Placed {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            refused: None,
            told: None,
            missed: None,
            cpu_seconds: None,
            wall_seconds: None,
            cancel_sent: None,
            looks: 0,
            concluding: false,
        }
    }
}

impl Placed {
    /// Somebody asks for its end, perhaps not for the first time: the batch system is told again.
    pub(super) fn ask_again(&mut self) {
        self.refused = None;
        self.cancel_sent = None;
    }
}

/// How a batch system says that a job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    end: BatchEnd,
    words: String,
}

/// All batch systems but the local one.
#[derive(Debug, Default)]
pub(super) struct Systems {
    all: Vec<Arc<System>>,
}

impl Systems {
    pub(super) fn new(config: &Batch) -> Self {
        Self { all: config.systems.iter().map(|one| Arc::new(System::new(one.clone()))).collect() }
    }

    fn get(&self, name: &str) -> Option<&Arc<System>> {
        self.all.iter().find(|system| system.conf.name == name)
    }

    /// # Errors
    /// -32602 where there is none of that name.
    pub(super) fn check(&self, name: &str) -> Result<(), Fault> {
        if name == LOCAL_BATCH || self.get(name).is_some() {
            return Ok(());
        }
        let others = self.all.iter().map(|system| format!(", {:?}", system.conf.name));
        let text = format!(
            "no such batch system: this server has {LOCAL_BATCH:?}{}",
            others.collect::<String>()
        );
        Err(Fault::invalid_params(text))
    }

    /// How each is, by name.
    pub(super) fn health(&self, core: &Core) -> BTreeMap<String, BatchHealth> {
        self.all.iter().map(|one| (one.conf.name.clone(), one.health(core))).collect()
    }
}

/// Begins to poll, and to reconcile.
pub(super) fn start(core: &Arc<Core>) {
    for system in &core.batch.all {
        let (poller, polled) = (Arc::clone(core), Arc::clone(system));
        core.until_stopped(async move { poll::run(poller, polled).await });
        let (reconciler, of) = (Arc::clone(core), Arc::clone(system));
        core.until_stopped(async move { reconcile::run(reconciler, of).await });
    }
}

/// The batch system of a job.
fn system_of(core: &Core, number: Number) -> Option<Arc<System>> {
    let batch = core.table().get(number)?.job.as_ref()?.batch.clone();
    core.batch.get(&batch).cloned()
}

/// Somebody has asked for a job's end: it is looked for at once, and ended where it is found.
pub(super) fn end_soon(core: &Core, number: Number) {
    if let Some(system) = system_of(core, number) {
        system.look_soon(number);
    }
}

/// A jobmanager says that a job's record is there: whether it has ended, its batch system is asked at
/// once.
pub(super) fn record_seen(core: &Core, account: &str, session: &str) {
    let Ok(id) = nesssi_session::SessionId::parse(session) else { return };
    let found = {
        let mut table = core.table();
        let Some(number) = table.find(&id).map(|entry| entry.number) else { return };
        let Some(entry) = table.get_mut(number) else { return };
        if entry.account != account {
            tracing::warn!(account, session = %id, "an account speaks of another's job");
            return;
        }
        let Some(job) = entry.job.as_mut() else { return };
        let Some(placed) = job.placed.as_deref_mut() else { return };
        placed.looks = poll::LOOKS_MAX;
        core.batch.get(&job.batch).map(|system| (Arc::clone(system), number))
    };
    if let Some((system, number)) = found {
        system.look_soon(number);
    }
}

/// An account's process was replaced: the next one is to tell of the records that come.
pub(super) fn watch_again(core: &Arc<Core>, account: &str) {
    for system in &core.batch.all {
        let numbers: Vec<Number> = {
            let table = core.table();
            let Some(jobs) = table.batch.get(&system.conf.name) else { continue };
            let of_account =
                |number: &&Number| table.get(**number).is_some_and(|one| one.account == account);
            jobs.placed.iter().filter(of_account).copied().collect()
        };
        watch_all(core, numbers);
    }
}

/// Has records watched for, one job after the other.
fn watch_all(core: &Arc<Core>, numbers: Vec<Number>) {
    if numbers.is_empty() {
        return;
    }
    let watcher = Arc::clone(core);
    core.until_stopped(async move {
        for number in numbers {
            watch(&watcher, number).await;
        }
    });
}

/// Has a job's record watched for. Where that cannot be, the poller sees the job's end later.
async fn watch(core: &Arc<Core>, number: Number) {
    let Some((id, seal, account)) = core
        .table()
        .get(number)
        .map(|entry| (entry.id.clone(), entry.seal.open(), entry.account.clone()))
    else {
        return;
    };
    let watched = async {
        let jobmanager = core.needs.channels.tend(id.reveal(), &seal).await?;
        jobmanager.watch_record(id.reveal()).await
    };
    match watched.await {
        Ok(crate::link::RecordWatch::Seen(_)) => record_seen(core, &account, id.reveal()),
        Ok(crate::link::RecordWatch::Awaited) => {}
        Err(error) => tracing::debug!(session = %id, %error, "a job's record is not watched for"),
    }
}

/// Takes up after a restart what batch systems had, and what they were to have.
pub(super) fn take_up(core: &Arc<Core>, numbers: &[Number]) {
    let mut placed = Vec::new();
    for number in numbers {
        let has_id = core.table().job_mut(*number).is_some_and(|job| job.placed.is_some());
        if has_id {
            placed.push(*number);
        } else {
            reconcile(core, *number, "not yet confirmed since the restart");
        }
    }
    watch_all(core, placed);
}

/// Why a session's sandbox is not to be removed yet: its batch system may still run its job, which was
/// given up as lost.
pub(super) async fn may_remove(core: &Core, number: Number) -> Result<(), &'static str> {
    ask::is_gone(core, number).await
}
