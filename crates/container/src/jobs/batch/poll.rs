//! The poller: one task for each batch system asks about everybody's jobs at once, at a rate that
//! follows what they do. No client's question makes it ask.
//!
//! A round lists all jobs. What is not in it is asked for by its id, then from the accounts, then the
//! sandbox is looked at (`conclude`). Between rounds single jobs are looked for at once where somebody
//! has said that something has happened: a record was seen, or an end was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nesssi_job::batch::{LISTED_IDS_MAX, Words};

use super::ask::{Listed, Trouble, account_of, list};
use super::system::{SECOND, System, by_account};
use super::weigh::{self, Look, Weighed};
use super::{conclude, reconcile};
use crate::clock::now_ms;
use crate::jobs::Core;
use crate::jobs::health::Answering;
use crate::jobs::table::{Number, Phase};
use crate::link::{AskError, Jobmanager, lock};

/// How often jobs may be looked for between rounds.
const LOOK_EVERY: Duration = SECOND;

/// How often on end a job is looked for at once after its record was seen: it may be a forgery.
pub(super) const LOOKS_MAX: u32 = 30;

/// A command's own time is at most one part in so many of the time between two.
const PARTS: u32 = 10;

/// The longest wait for a batch system that does not answer: five minutes.
const DOWN_MAX: Duration = SECOND.saturating_mul(300);

/// How many commands a round may add to its listing: for jobs by their ids, and from the accounts.
const MORE_COMMANDS_MAX: usize = 8;

/// Of how many accounts commands run at one time.
const ACCOUNTS_AT_ONCE: usize = 16;

/// How many jobs that are left over are ended after one listing.
const LEFT_OVER_MAX: usize = 16;

/// What the task remembers between two listings.
#[derive(Debug, Default)]
struct Pace {
    all_begun: Option<Instant>,
    these_begun: Option<Instant>,
    failures: u32,
    took: Duration,
    /// The channel that lists everybody's jobs.
    lister: Option<Jobmanager>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    All,
    These,
}

pub(super) async fn run(core: Arc<Core>, system: Arc<System>) {
    let mut pace = Pace::default();
    loop {
        let Some((at, what)) = pace.next(&core, &system) else {
            system.wake.notified().await;
            continue;
        };
        if at > Instant::now() {
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => {}
                () = system.wake.notified() => {}
            }
            continue;
        }
        match what {
            What::All => pace.all(&core, &system).await,
            What::These => pace.these(&core, &system).await,
        }
    }
}

impl Pace {
    /// What comes next, and when; nothing while there is nothing to be known.
    fn next(&self, core: &Core, system: &System) -> Option<(Instant, What)> {
        let has_placed = {
            let table = core.table();
            table.batch.get(system.name()).is_some_and(|jobs| !jobs.placed.is_empty())
        };
        let asked = lock(&system.asked);
        let now = Instant::now();
        let due = |begun: Option<Instant>, every| begun.map_or(now, |begun| begun + every);
        let is_urgent = asked.fresh || asked.all_after.is_some();
        let all = (has_placed || asked.all_after.is_some())
            .then(|| (due(self.all_begun, self.every(system, is_urgent)), What::All));
        let these = (!asked.soon.is_empty() && self.failures == 0)
            .then(|| (due(self.these_begun, LOOK_EVERY.max(self.took * 2)), What::These));
        match (all, these) {
            (Some(all), Some(these)) => Some(if these.0 < all.0 { these } else { all }),
            (all, these) => all.or(these),
        }
    }

    fn every(&self, system: &System, is_urgent: bool) -> Duration {
        let least = SECOND * system.conf.poll_seconds_min;
        let wished = if is_urgent { least } else { lock(&system.health).interval };
        let doubled = least.saturating_mul(1 << self.failures.min(16));
        let backed_off = if self.failures > 0 { doubled.min(DOWN_MAX) } else { Duration::ZERO };
        self.at_least(wished.max(backed_off))
    }

    fn at_least(&self, every: Duration) -> Duration {
        every.max(self.took.saturating_mul(PARTS))
    }

    /// A round.
    async fn all(&mut self, core: &Arc<Core>, system: &Arc<System>) {
        let begun = (Instant::now(), now_ms());
        self.all_begun = Some(begun.0);
        let (fresh, soon) = {
            let mut asked = lock(&system.asked);
            (std::mem::take(&mut asked.fresh), std::mem::take(&mut asked.soon))
        };
        let numbers = placed(core, system);
        let parties = self.parties(core, system, &numbers).await;
        let answers = ask_all(system, parties).await;
        // With the way here, which is long for long listings.
        self.took = begun.0.elapsed();
        let mut trouble = None;
        let mut interval: Option<Duration> = None;
        let mut heard = false;
        for (account, answer) in answers {
            let of_account = |number: &Number| {
                account.as_ref().is_none_or(|account| {
                    core.table().get(*number).is_some_and(|entry| entry.account == *account)
                })
            };
            match answer {
                Ok(listed) => {
                    heard = true;
                    let own: Vec<Number> = numbers.iter().copied().filter(of_account).collect();
                    let look = Look::sort(core, system, begun, listed.sightings, listed.unread);
                    let wish = self.apply(core, system, &own, &look, What::All).await;
                    interval = [interval, wish].into_iter().flatten().min();
                    reconcile::listed(core, system, &look, account.as_deref());
                }
                Err(error) => trouble = Some(error.words),
            }
        }
        if !heard {
            // What was asked for is asked for again.
            let mut asked = lock(&system.asked);
            asked.fresh |= fresh;
            asked.soon.extend(soon);
        }
        self.tell(system, heard, trouble, interval, begun.1);
        if heard {
            let mut asked = lock(&system.asked);
            if asked.all_after.is_some_and(|after| after <= begun.0) {
                asked.all_after = None;
            }
        } else {
            reconcile::not_listed(core, system);
            unheard(core, &numbers);
        }
    }

    /// Notes how the batch system is.
    fn tell(
        &mut self,
        system: &System,
        heard: bool,
        trouble: Option<String>,
        interval: Option<Duration>,
        begun_ms: u64,
    ) {
        let least = SECOND * system.conf.poll_seconds_min;
        let most = SECOND * system.conf.poll_seconds_max;
        self.failures = if heard { 0 } else { self.failures.saturating_add(1) };
        let mut health = lock(&system.health);
        let before = health.answering;
        if heard {
            health.as_of_ms = Some(begun_ms);
            health.interval = self.at_least(interval.unwrap_or(most));
            let is_slow = health.interval > most.max(least) || trouble.is_some();
            health.answering = if is_slow { Answering::Slow } else { Answering::Ok };
        } else {
            health.interval = least.saturating_mul(1 << self.failures.min(16)).min(DOWN_MAX);
            health.answering = Answering::Down;
        }
        health.words = Words::of(trouble.unwrap_or_default().as_bytes());
        if health.answering != before {
            let (batch, words) = (system.name(), health.words.as_str());
            tracing::warn!(
                batch,
                answering = health.answering.as_str(),
                words,
                "a batch system answers otherwise than before"
            );
        }
    }

    /// Looks for single jobs.
    async fn these(&mut self, core: &Arc<Core>, system: &Arc<System>) {
        let begun = (Instant::now(), now_ms());
        self.these_begun = Some(begun.0);
        let numbers: Vec<Number> = {
            let mut asked = lock(&system.asked);
            let some: Vec<Number> = asked.soon.iter().copied().take(LISTED_IDS_MAX).collect();
            some.iter().for_each(|number| {
                asked.soon.remove(number);
            });
            some
        };
        let numbers: Vec<Number> =
            numbers.into_iter().filter(|number| batch_id(core, *number).is_some()).collect();
        if numbers.is_empty() {
            return;
        }
        match self.by_id(core, system, &numbers).await {
            Ok((listed, numbers)) => {
                self.took = begun.0.elapsed();
                let look = Look::sort(core, system, begun, listed.sightings, listed.unread);
                self.apply(core, system, &numbers, &look, What::These).await;
            }
            Err(trouble) => {
                self.took = begun.0.elapsed();
                self.tell(system, false, Some(trouble.words), None, begun.1);
                self.all_begun = Some(begun.0);
                lock(&system.asked).soon.extend(numbers);
            }
        }
    }

    /// Does what follows from a listing; how long the batch system may be left alone.
    async fn apply(
        &mut self,
        core: &Arc<Core>,
        system: &Arc<System>,
        numbers: &[Number],
        look: &Look,
        what: What,
    ) -> Option<Duration> {
        let mut weighed = weigh::weigh(core, system, numbers, look);
        let interval = weighed.interval;
        if what == What::All {
            for (number, batch_id) in weigh::left_over(core, look, LEFT_OVER_MAX) {
                conclude::remove(core, system, number, batch_id, "left_over_removed");
            }
            for (number, batch_id) in std::mem::take(&mut weighed.twice) {
                conclude::twice(core, system, number, batch_id);
            }
            usage(core, system, std::mem::take(&mut weighed.unmeasured)).await;
        }
        let absent = std::mem::take(&mut weighed.absent);
        let mut gone = Vec::new();
        let mut complete = look.complete;
        if what == What::All && !absent.is_empty() {
            let most = LISTED_IDS_MAX * MORE_COMMANDS_MAX;
            for some in
                absent.get(..absent.len().min(most)).unwrap_or_default().chunks(LISTED_IDS_MAX)
            {
                let begun = (Instant::now(), now_ms());
                let Ok((listed, some)) = self.by_id(core, system, some).await else { break };
                let look = Look::sort(core, system, begun, listed.sightings, listed.unread);
                complete &= look.complete;
                let more = weigh::weigh(core, system, &some, &look);
                gone.extend(more.absent);
                weighed.ended.extend(more.ended);
                weighed.to_end.extend(more.to_end);
                weighed.again.extend(more.again);
            }
        } else {
            gone = absent;
        }
        follow(core, system, weighed, gone, complete).await;
        interval
    }

    /// Asks for jobs by their ids; of which it was told. Where accounts ask for themselves, one that
    /// cannot keeps nothing from the others.
    ///
    /// # Errors
    /// Why nothing was told of any.
    async fn by_id(
        &mut self,
        core: &Core,
        system: &System,
        numbers: &[Number],
    ) -> Result<(Listed, Vec<Number>), Trouble> {
        let mut groups: Vec<Vec<Number>> = vec![numbers.to_vec()];
        if system.conf.own_jobs_only {
            groups = by_account(core, numbers.iter().copied()).into_values().collect();
        }
        let mut all = Listed { sightings: Vec::new(), unread: 0 };
        let (mut told, mut trouble) = (Vec::new(), None);
        for numbers in groups {
            let by = match numbers.first() {
                Some(first) if system.conf.own_jobs_only => account_of(core, *first).await,
                _ => self.lister(core, &numbers).await,
            };
            let ids = numbers.iter().filter_map(|number| batch_id(core, *number)).collect();
            let listed = match by {
                Ok(by) => list(system, &by, ids, false).await,
                Err(error) => Err(unasked(&error)),
            };
            match listed {
                Ok(listed) => {
                    all.sightings.extend(listed.sightings);
                    all.unread += listed.unread;
                    told.extend(numbers);
                }
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            Some(trouble) if told.is_empty() => Err(trouble),
            _ => Ok((all, told)),
        }
    }

    /// Who lists all jobs: one for everybody, or each account for its own.
    async fn parties(
        &mut self,
        core: &Core,
        system: &System,
        numbers: &[Number],
    ) -> Vec<(Option<String>, Result<Jobmanager, Trouble>)> {
        let doubtful = reconcile::waiting(system);
        if !system.conf.own_jobs_only {
            let both: Vec<Number> = numbers.iter().copied().take(1).chain(doubtful).collect();
            let by = self.lister(core, &both).await;
            return vec![(None, by.map_err(|error| unasked(&error)))];
        }
        let accounts = by_account(core, numbers.iter().copied().chain(doubtful));
        let mut parties = Vec::new();
        for (account, own) in accounts {
            let Some(first) = own.first() else { continue };
            let by = account_of(core, *first).await;
            parties.push((Some(account), by.map_err(|error| unasked(&error))));
        }
        parties
    }

    /// The channel that lists everybody's jobs: the services account's, or where there is none that of
    /// an account with a job.
    async fn lister(&mut self, core: &Core, numbers: &[Number]) -> Result<Jobmanager, AskError> {
        if let Some(open) = self.lister.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let error = match core.needs.monitor.discover().await {
            Ok(fresh) => {
                self.lister = Some(fresh.clone());
                return Ok(fresh);
            }
            Err(error) => error,
        };
        match numbers.first() {
            Some(number) => account_of(core, *number).await,
            None => Err(error),
        }
    }
}

fn unasked(error: &AskError) -> Trouble {
    tracing::warn!(%error, "a batch system could not be asked");
    let words = "the account that asks it cannot be had now".to_owned();
    Trouble { words }
}

fn placed(core: &Core, system: &System) -> Vec<Number> {
    let table = core.table();
    let jobs = table.batch.get(system.name());
    jobs.map(|jobs| jobs.placed.iter().copied().collect()).unwrap_or_default()
}

fn batch_id(core: &Core, number: Number) -> Option<String> {
    let table = core.table();
    let job = table.get(number)?.job.as_ref()?;
    job.batch_id.clone().filter(|_| matches!(job.phase, Phase::Waiting | Phase::Running))
}

/// Has each list, so many at one time.
async fn ask_all(
    system: &Arc<System>,
    parties: Vec<(Option<String>, Result<Jobmanager, Trouble>)>,
) -> Vec<(Option<String>, Result<Listed, Trouble>)> {
    let mut answers = Vec::new();
    let mut parties = parties.into_iter().peekable();
    while parties.peek().is_some() {
        let mut asked = tokio::task::JoinSet::new();
        for (account, by) in parties.by_ref().take(ACCOUNTS_AT_ONCE) {
            match by {
                Ok(by) => {
                    let system = Arc::clone(system);
                    asked.spawn(
                        async move { (account, list(&system, &by, Vec::new(), false).await) },
                    );
                }
                Err(trouble) => answers.push((account, Err(trouble))),
            }
        }
        while let Some(answer) = asked.join_next().await {
            answers.extend(answer);
        }
    }
    answers
}

/// Says of jobs that nothing new is known of them.
fn unheard(core: &Core, numbers: &[Number]) {
    let mut table = core.table();
    for number in numbers {
        let job = table.job_mut(*number);
        if let Some(job) = job.filter(|job| matches!(job.phase, Phase::Waiting | Phase::Running)) {
            job.note = Some("its batch system does not answer".to_owned());
        }
    }
}

/// Ends what is to be ended, asks the accounts, and finds out how jobs have ended.
async fn follow(
    core: &Arc<Core>,
    system: &Arc<System>,
    weighed: Weighed,
    gone: Vec<Number>,
    complete: bool,
) {
    for number in weighed.again {
        lock(&system.asked).soon.insert(number);
    }
    for number in weighed.to_end {
        conclude::send_cancel(core, system, number);
    }
    let over: Vec<Number> = weighed.ended.iter().chain(&gone).copied().collect();
    accounts(core, system, &over).await;
    for number in over {
        conclude::begin(core, system, number, complete);
    }
}

/// Asks the accounts, where there are any, how jobs have ended and what they have used.
async fn accounts(core: &Arc<Core>, system: &Arc<System>, numbers: &[Number]) {
    if system.conf.account.is_none() || numbers.is_empty() {
        return;
    }
    for (by, numbers) in commands(core, system, numbers).await {
        let begun = (Instant::now(), now_ms());
        let ids = numbers.iter().filter_map(|number| batch_id(core, *number)).collect();
        match list(system, &by, ids, true).await {
            Ok(listed) => {
                let look = Look::sort(core, system, begun, listed.sightings, listed.unread);
                conclude::accounted(core, &numbers, &look);
            }
            Err(trouble) => {
                tracing::info!(
                    batch = system.name(),
                    words = trouble.words,
                    "the accounts were not told"
                );
            }
        }
    }
}

/// Asks what running jobs have used, those first of which it was not known for longest.
async fn usage(core: &Arc<Core>, system: &Arc<System>, mut numbers: Vec<Number>) {
    if system.conf.usage.is_none() || numbers.is_empty() {
        return;
    }
    {
        let table = core.table();
        numbers.sort_by_cached_key(|number| {
            let job = table.get(*number).and_then(|entry| entry.job.as_ref());
            job.and_then(|job| job.measured).map_or(0, |(_, at_ms)| at_ms)
        });
    }
    for (by, numbers) in commands(core, system, &numbers).await {
        let of: BTreeMap<String, Number> =
            numbers.iter().filter_map(|number| Some((batch_id(core, *number)?, *number))).collect();
        let begun_ms = now_ms();
        let ids = of.keys().cloned().collect();
        match by.usage_batch(system.name(), ids, system.patience()).await {
            Ok(Ok(used)) => {
                let mut table = core.table();
                for (id, seconds) in used {
                    let job = of.get(&id).and_then(|number| table.job_mut(*number));
                    if let Some(job) = job {
                        conclude::measured(job, seconds, begun_ms);
                    }
                }
            }
            Ok(Err(not_listed)) => {
                tracing::info!(batch = system.name(), trouble = %not_listed.trouble, "what jobs use is not told");
            }
            Err(error) => {
                tracing::info!(batch = system.name(), %error, "what jobs use is not told")
            }
        }
    }
}

/// Commands of accounts for their own jobs: so many at most.
async fn commands(
    core: &Arc<Core>,
    system: &System,
    numbers: &[Number],
) -> Vec<(Jobmanager, Vec<Number>)> {
    let mut commands = Vec::new();
    for own in by_account(core, numbers.iter().copied()).into_values() {
        for some in own.chunks(LISTED_IDS_MAX) {
            let Some(first) = some.first().filter(|_| commands.len() < MORE_COMMANDS_MAX) else {
                return commands;
            };
            match account_of(core, *first).await {
                Ok(by) => commands.push((by, some.to_vec())),
                Err(error) => {
                    tracing::info!(batch = system.name(), %error, "an account cannot ask")
                }
            }
        }
    }
    commands
}
