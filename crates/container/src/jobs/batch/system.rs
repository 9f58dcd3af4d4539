//! One batch system: its accounts' lines, what its poller is asked to look at, and how it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nesssi_config::BatchSystem;
use nesssi_job::batch::Words;
use tokio::sync::Notify;

use super::reconcile::Doubts;
use crate::jobs::Core;
use crate::jobs::health::{Answering, BatchHealth};
use crate::jobs::queue::FairQueue;
use crate::jobs::table::{Number, Owner};
use crate::link::lock;

/// A configured second; tests have less patience.
pub(super) const SECOND: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// A batch system.
#[derive(Debug)]
pub(super) struct System {
    pub(super) conf: BatchSystem,
    pub(super) lines: Mutex<HashMap<String, Line>>,
    pub(super) asked: Mutex<Asked>,
    pub(super) doubts: Mutex<Doubts>,
    /// Wakes the poller.
    pub(super) wake: Notify,
    /// Wakes the reconciler.
    pub(super) doubt: Notify,
    pub(super) health: Mutex<Health>,
}

/// An account's submissions: some under way, the others in turns.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) under_way: u32,
    pub(super) waiting: FairQueue<Owner, Number>,
}

/// What the poller is asked for, beside its rounds.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Jobs to be looked for at once.
    pub(super) soon: BTreeSet<Number>,
    /// Something was submitted since the last listing.
    pub(super) fresh: bool,
    /// Whoever is in doubt waits for a listing that was begun after this.
    pub(super) all_after: Option<Instant>,
}

/// What the poller knows of its batch system.
#[derive(Debug)]
pub(super) struct Health {
    pub(super) answering: Answering,
    pub(super) words: Words,
    /// When the last listing that was answered was begun, in milliseconds.
    pub(super) as_of_ms: Option<u64>,
    pub(super) interval: Duration,
}

impl System {
    pub(super) fn new(conf: BatchSystem) -> Self {
        let interval = SECOND * conf.poll_seconds_min;
        Self {
            conf,
            lines: Mutex::default(),
            asked: Mutex::default(),
            doubts: Mutex::default(),
            wake: Notify::new(),
            doubt: Notify::new(),
            health: Mutex::new(Health {
                answering: Answering::Ok,
                words: Words::default(),
                as_of_ms: None,
                interval,
            }),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.conf.name
    }

    /// How long a command's answer may take: its deadline, the wait for a place among the account's
    /// commands, and the way.
    pub(super) fn patience(&self) -> Duration {
        Duration::from_secs(u64::from(self.conf.command_seconds_max) * 3 + 10)
    }

    /// Has a job looked for at once.
    pub(super) fn look_soon(&self, number: Number) {
        lock(&self.asked).soon.insert(number);
        self.wake.notify_one();
    }

    /// Something was submitted: the next listing comes soon.
    pub(super) fn look_fresh(&self) {
        if !std::mem::replace(&mut lock(&self.asked).fresh, true) {
            self.wake.notify_one();
        }
    }

    /// Has all jobs listed after a moment.
    pub(super) fn look_after(&self, moment: Instant) {
        let mut asked = lock(&self.asked);
        asked.all_after = asked.all_after.max(Some(moment));
        drop(asked);
        self.wake.notify_one();
    }

    /// How it is, for those who ask.
    pub(super) fn health(&self, core: &Core) -> BatchHealth {
        let (waiting, running) = {
            let table = core.table();
            let jobs = table.batch.get(self.name());
            let unplaced = jobs.map_or(0, |jobs| jobs.unplaced);
            let placed = jobs.map_or(0, |jobs| jobs.placed.len());
            let running = jobs.map_or(0, |jobs| jobs.begun.len());
            let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            (unplaced.saturating_add(count(placed.saturating_sub(running))), count(running))
        };
        let health = lock(&self.health);
        let seconds = health.interval.as_millis().div_ceil(SECOND.as_millis());
        BatchHealth {
            dialect: self.conf.dialect.clone().unwrap_or_default(),
            answering: health.answering,
            as_of_ms: health.as_of_ms,
            words: health.words.clone(),
            waiting,
            running,
            interval_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
        }
    }
}

/// Numbers by the account whose jobs they are.
pub(super) fn by_account(
    core: &Core,
    numbers: impl IntoIterator<Item = Number>,
) -> BTreeMap<String, Vec<Number>> {
    let table = core.table();
    let mut accounts: BTreeMap<String, Vec<Number>> = BTreeMap::new();
    for number in numbers {
        if let Some(entry) = table.get(number) {
            accounts.entry(entry.account.clone()).or_default().push(number);
        }
    }
    accounts
}
