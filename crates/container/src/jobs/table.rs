//! The sessions and jobs that there are, in memory: the one thing that reads are answered from.
//!
//! All of it is under one lock that is held for look-ups and small changes only, never over a wait.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use nesssi_dn::SubjectDn;
use nesssi_identity::ProxyKind;
use nesssi_job::batch::Words;
use nesssi_job::{AdmittedJob, JobState, Tag};
use nesssi_journal::{JobEnd, SessionState, Shepherd};
use nesssi_policy::{LevelName, Limits};
use nesssi_privsep::messages::Seal;
use nesssi_privsep::wire::Blob;
use nesssi_rpc::Fault;
use nesssi_session::SessionId;
use tokio::sync::{Notify, oneshot};

use super::batch::Placed;
use super::budget::Budgets;
use super::queue::FairQueue;
use super::{LOCAL, seal_bytes, seal_of};
use crate::events::Changing;
use crate::grants::address_prefix;

/// A session's number in the journal.
pub(crate) type Number = u64;

/// By how much the end of a session is put off while a submission to it is under way.
const CLAIMED_MS: u64 = 1000;

/// Who is charged: a subject, or for the anonymous the prefix of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Subject(SubjectDn),
    Address(IpAddr),
}

impl Owner {
    pub(crate) fn of(subject: Option<&SubjectDn>, address: IpAddr) -> Self {
        match subject {
            Some(subject) => Self::Subject(subject.clone()),
            None => Self::Address(address_prefix(address)),
        }
    }
}

/// A seal as it is kept, in one piece: of a hundred thousand sessions few are tended at a time.
#[derive(Debug)]
pub(crate) struct Sealed(Box<[u8]>);

impl Sealed {
    pub(crate) fn new(seal: &Seal) -> Self {
        Self(seal_bytes(seal).into())
    }

    pub(crate) fn open(&self) -> Seal {
        // These are a seal's bytes; one that is nobody's is refused by the monitor.
        seal_of(&self.0).unwrap_or_else(|| Seal {
            account: String::new(),
            uid: u32::MAX,
            level: String::new(),
            limits: Blob(Vec::new()),
            mac: Blob(Vec::new()),
        })
    }
}

/// A session, and its job if it has one.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) number: Number,
    pub(crate) id: SessionId,
    pub(crate) subject: Option<SubjectDn>,
    pub(crate) issuer: Option<SubjectDn>,
    pub(crate) address: IpAddr,
    /// The proxy that he presented; unknown after a restart.
    pub(crate) proxy: Option<Option<ProxyKind>>,
    pub(crate) account: String,
    pub(crate) level: LevelName,
    pub(crate) limits: Limits,
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) created_ms: u64,
    pub(crate) expires_ms: u64,
    pub(crate) seal: Sealed,
    /// Why the sandbox could not be removed, if that was tried.
    pub(crate) trouble: Option<String>,
    /// How often that was tried.
    pub(crate) removals: u32,
    /// Its time is over: nobody finds it any more.
    pub(crate) expired: bool,
    /// A submission to this prepared session is under way.
    pub(crate) claimed: bool,
    pub(crate) job: Option<Job>,
}

impl Entry {
    pub(crate) fn owner(&self) -> Owner {
        Owner::of(self.subject.as_ref(), self.address)
    }

    /// Whether it had a job that has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.end.is_some())
    }

    pub(crate) fn state(&self) -> SessionState {
        if self.job.is_some() { SessionState::Admitted } else { SessionState::Prepared }
    }
}

/// Where a job stands, in finer steps than its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Admitted; in the queue, or on its way into it.
    Queued,
    /// It has a slot, and its shepherd is being started; or a command that submits it may be under way.
    Starting,
    /// A batch system has it, and has not begun it as far as we know. Local jobs never wait so.
    Waiting,
    /// Its shepherd runs, as far as we know.
    Running,
    /// It has ended; its leaf is being emptied and the journal written.
    Ending,
    /// All of that is done.
    Ended,
}

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) tag: Tag,
    pub(crate) phase: Phase,
    /// What it runs, until it is started.
    pub(crate) admitted: Option<AdmittedJob>,
    pub(crate) batch: String,
    pub(crate) cpu_seconds_max: u64,
    pub(crate) wall_seconds_max: u64,
    pub(crate) leaf: bool,
    pub(crate) shepherd: Option<Shepherd>,
    /// What its batch system calls it, once that has taken it.
    pub(crate) batch_id: Option<String>,
    /// CPUs that it was given.
    pub(crate) cpus: u32,
    /// When its batch system took it.
    pub(crate) submitted_ms: Option<u64>,
    pub(crate) queued_ms: u64,
    pub(crate) started_ms: Option<u64>,
    /// When the listing was begun by which its batch system last knew it.
    pub(crate) seen_ms: Option<u64>,
    /// What its batch system says of why it waits or is held.
    pub(crate) comment: Words,
    pub(crate) end: Option<JobEnd>,
    /// CPU microseconds by the last bulk read, and when that was.
    pub(crate) measured: Option<(u64, u64)>,
    /// In how many bulk reads on end its leaf was empty.
    pub(crate) empty_reads: u32,
    pub(crate) cancel_asked_ms: Option<u64>,
    /// Why the backstop killed it.
    pub(crate) over: Option<String>,
    /// It counts against the slots.
    pub(crate) has_slot: bool,
    /// Somebody is finding out how it is.
    pub(crate) settling: bool,
    /// Why what is known of it may be old.
    pub(crate) note: Option<String>,
    /// Why nobody can say how it ended.
    pub(crate) lost: Option<String>,
    /// How often its start was begun.
    pub(crate) starts: u32,
    /// A record that came before the answer to its start.
    pub(crate) early_end: Option<String>,
    /// What is known of it in its batch system, once that has it.
    pub(crate) placed: Option<Box<Placed>>,
    /// The call that waits for what its submission comes to.
    pub(crate) answer: Option<oneshot::Sender<Result<(), Fault>>>,
}

impl Job {
    /// Whether this machine itself runs it.
    pub(crate) fn is_local(&self) -> bool {
        self.batch == LOCAL
    }

    pub(crate) fn state(&self) -> JobState {
        match (&self.end, self.phase) {
            (Some(end), _) => end.state,
            (None, Phase::Queued | Phase::Starting | Phase::Waiting) => JobState::Queued,
            // It is ended before it ran.
            (None, Phase::Ending) if self.started_ms.is_none() => JobState::Queued,
            (None, Phase::Running | Phase::Ending | Phase::Ended) => JobState::Running,
        }
    }

    pub(crate) fn leaf_name(&self) -> String {
        leaf_name(&self.tag)
    }
}

/// The name of a job's leaf.
pub(crate) fn leaf_name(tag: &Tag) -> String {
    format!("j{tag}")
}

/// The entries by number, and which of them somebody may have changed.
#[derive(Debug, Default)]
struct Entries {
    /// Each in a place of its own: a table of entries would be as large as all of them when it grows.
    by_number: HashMap<Number, Box<Entry>>,
    /// The state of each before, `None` without a job; the first of several is the oldest.
    touched: Vec<(Number, Option<JobState>)>,
}

impl Entries {
    fn get(&self, number: &Number) -> Option<&Entry> {
        self.by_number.get(number).map(Box::as_ref)
    }

    fn get_mut(&mut self, number: &Number) -> Option<&mut Entry> {
        let entry: &mut Entry = self.by_number.get_mut(number)?;
        self.touched.push((*number, entry.job.as_ref().map(Job::state)));
        Some(entry)
    }

    fn insert(&mut self, entry: Box<Entry>) {
        self.touched.push((entry.number, None));
        self.by_number.insert(entry.number, entry);
    }
}

/// The first digits of a tag, of those that every name for it has.
fn tag_key(digits: &str) -> u64 {
    let digits = digits.get(..TAG_KEY_DIGITS).unwrap_or(digits);
    u64::from_str_radix(digits, 16).unwrap_or(u64::MAX)
}

/// How many digits of a tag stand in the shortest name that a batch system has for a job.
pub(crate) const TAG_KEY_DIGITS: usize = 14;

/// The jobs of a batch system beside the local one.
#[derive(Debug, Default)]
pub(crate) struct BatchJobs {
    /// It has these, and they have not ended.
    pub(crate) placed: BTreeSet<Number>,
    /// It has begun these of them.
    pub(crate) begun: BTreeSet<Number>,
    /// So many more are to be given to it.
    pub(crate) unplaced: u32,
}

/// All of them, and what is counted of them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    next_number: Number,
    entries: Entries,
    by_id: HashMap<SessionId, Number>,
    by_subject: HashMap<SubjectDn, BTreeSet<Number>>,
    /// Jobs that have not ended, of each owner and of each level's anonymous callers.
    active: HashMap<Owner, u32>,
    active_anonymous: HashMap<LevelName, u32>,
    /// The CPU seconds that they may be charged, in the same way.
    reserved: HashMap<Owner, u64>,
    reserved_anonymous: HashMap<LevelName, u64>,
    /// What was used of the day.
    pub(crate) budgets: Budgets,
    prepared: HashMap<Owner, u32>,
    /// Numbers of jobs that are starting or running.
    pub(crate) running: BTreeSet<Number>,
    pub(crate) queue: FairQueue<Owner, Number>,
    /// Jobs that wait for a slot, in the queue or on the way into it.
    pub(crate) waiting: u32,
    pub(crate) slots_used: u32,
    /// The jobs of each batch system beside the local one.
    pub(crate) batch: HashMap<String, BatchJobs>,
    /// Which job has which tag, by its first digits, which stand in every name that a batch system has
    /// for it. Jobs of batch systems alone.
    by_tag: HashMap<u64, Number>,
    expiry: BTreeSet<(u64, Number)>,
    ended: HashMap<Number, Arc<Notify>>,
}

impl Table {
    pub(crate) fn with_next_number(next_number: Number) -> Self {
        Self { next_number, ..Self::default() }
    }

    pub(crate) fn give_number(&mut self) -> Number {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Takes a session in. Its job, if it has one that has not ended, counts from now on.
    pub(crate) fn insert(&mut self, entry: Entry) {
        self.insert_boxed(Box::new(entry));
    }

    /// What was taken up has not changed: nobody is told of it.
    pub(crate) fn is_taken_up(&mut self) {
        self.entries.touched = Vec::new();
    }

    /// As [`Table::insert`], of one that has its place already.
    pub(crate) fn insert_boxed(&mut self, entry: Box<Entry>) {
        let number = entry.number;
        self.by_id.insert(entry.id.clone(), number);
        if let Some(subject) = &entry.subject {
            self.by_subject.entry(subject.clone()).or_default().insert(number);
        }
        match &entry.job {
            None => {
                *self.prepared.entry(entry.owner()).or_default() += 1;
                self.expiry.insert((entry.expires_ms, number));
            }
            Some(job) if job.phase == Phase::Ended => {
                self.expiry.insert((entry.expires_ms, number));
            }
            Some(_) => {}
        }
        if let Some(job) = entry.job.as_ref().filter(|job| !job.is_local()) {
            self.by_tag.insert(tag_key(job.tag.as_str()), number);
        }
        self.entries.insert(entry);
    }

    /// The session of the job that a batch system knows by a name with these digits of a tag in it.
    pub(crate) fn of_tag(&self, digits: &str) -> Option<&Entry> {
        self.entries.get(self.by_tag.get(&tag_key(digits))?)
    }

    /// One more job that is to be given to a batch system.
    pub(crate) fn count_unplaced(&mut self, batch: &str) {
        self.batch.entry(batch.to_owned()).or_default().unplaced += 1;
    }

    /// One less.
    pub(crate) fn uncount_unplaced(&mut self, batch: &str) {
        if let Some(jobs) = self.batch.get_mut(batch) {
            jobs.unplaced = jobs.unplaced.saturating_sub(1);
        }
    }

    /// A batch system has a job that was to be given to it.
    pub(crate) fn place(&mut self, batch: &str, number: Number) {
        let jobs = self.batch.entry(batch.to_owned()).or_default();
        if jobs.placed.insert(number) {
            jobs.unplaced = jobs.unplaced.saturating_sub(1);
        }
    }

    /// A batch system has begun a job.
    pub(crate) fn begin(&mut self, batch: &str, number: Number) {
        self.batch.entry(batch.to_owned()).or_default().begun.insert(number);
    }

    /// A job of a batch system has ended, or is not to be given to it after all.
    pub(crate) fn unplace(&mut self, batch: &str, number: Number) {
        let Some(jobs) = self.batch.get_mut(batch) else { return };
        jobs.begun.remove(&number);
        if !jobs.placed.remove(&number) {
            jobs.unplaced = jobs.unplaced.saturating_sub(1);
        }
    }

    /// How many jobs are to be given to a batch system.
    pub(crate) fn unplaced(&self, batch: &str) -> u32 {
        self.batch.get(batch).map_or(0, |jobs| jobs.unplaced)
    }

    pub(crate) fn get(&self, number: Number) -> Option<&Entry> {
        self.entries.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: Number) -> Option<&mut Entry> {
        self.entries.get_mut(&number)
    }

    pub(crate) fn job_mut(&mut self, number: Number) -> Option<&mut Job> {
        self.entries.get_mut(&number)?.job.as_mut()
    }

    /// The session of this id, unless its time is over.
    pub(crate) fn find(&self, id: &SessionId) -> Option<&Entry> {
        let entry = self.entries.get(self.by_id.get(id)?)?;
        (!entry.expired).then_some(entry)
    }

    pub(crate) fn of_subject(&self, subject: &SubjectDn) -> impl Iterator<Item = &Entry> {
        let numbers = self.by_subject.get(subject).into_iter().flatten().rev();
        numbers.filter_map(|number| self.entries.get(number))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.by_number.values().map(Box::as_ref)
    }

    /// How many jobs of this owner have not ended.
    pub(crate) fn active_of(&self, owner: &Owner) -> u32 {
        self.active.get(owner).copied().unwrap_or(0)
    }

    /// How many jobs of this level's anonymous callers have not ended.
    pub(crate) fn active_anonymous_of(&self, level: &LevelName) -> u32 {
        self.active_anonymous.get(level).copied().unwrap_or(0)
    }

    /// How many sessions of this owner wait for a job.
    pub(crate) fn prepared_of(&self, owner: &Owner) -> u32 {
        self.prepared.get(owner).copied().unwrap_or(0)
    }

    /// A job that waits gets a slot, and is counted as such.
    pub(crate) fn take_slot(&mut self, number: Number) -> bool {
        let Some(job) = self.entries.get_mut(&number).and_then(|entry| entry.job.as_mut()) else {
            return false;
        };
        if job.phase != Phase::Queued {
            return false;
        }
        job.phase = Phase::Starting;
        job.has_slot = true;
        self.waiting = self.waiting.saturating_sub(1);
        self.slots_used += 1;
        self.running.insert(number);
        true
    }

    /// A job that was starting gives its slot back, and waits again.
    pub(crate) fn give_slot_back(&mut self, number: Number) -> bool {
        let Some(job) = self.entries.get_mut(&number).and_then(|entry| entry.job.as_mut()) else {
            return false;
        };
        if job.phase != Phase::Starting {
            return false;
        }
        job.phase = Phase::Queued;
        if std::mem::take(&mut job.has_slot) {
            self.slots_used = self.slots_used.saturating_sub(1);
        }
        self.waiting += 1;
        self.running.remove(&number);
        true
    }

    /// The CPU seconds that jobs of this owner which have not ended may be charged.
    pub(crate) fn reserved_of(&self, owner: &Owner) -> u64 {
        self.reserved.get(owner).copied().unwrap_or(0)
    }

    /// The same of this level's anonymous callers.
    pub(crate) fn reserved_anonymous_of(&self, level: &LevelName) -> u64 {
        self.reserved_anonymous.get(level).copied().unwrap_or(0)
    }

    /// One more job that has not ended, admitted for so many CPU seconds.
    pub(crate) fn count_active(&mut self, owner: &Owner, level: &LevelName, cpu_seconds: u64) {
        *self.active.entry(owner.clone()).or_default() += 1;
        add(&mut self.reserved, owner, cpu_seconds);
        if matches!(owner, Owner::Address(_)) {
            *self.active_anonymous.entry(level.clone()).or_default() += 1;
            add(&mut self.reserved_anonymous, level, cpu_seconds);
        }
    }

    /// One less.
    pub(crate) fn uncount_active(&mut self, owner: &Owner, level: &LevelName, cpu_seconds: u64) {
        count_down(&mut self.active, owner);
        take(&mut self.reserved, owner, cpu_seconds);
        if matches!(owner, Owner::Address(_)) {
            count_down(&mut self.active_anonymous, level);
            take(&mut self.reserved_anonymous, level, cpu_seconds);
        }
    }

    /// A prepared session has got its job: it does not expire until that has ended.
    pub(crate) fn give_job(&mut self, number: Number, job: Job) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        entry.claimed = false;
        if !job.is_local() {
            self.by_tag.insert(tag_key(job.tag.as_str()), number);
        }
        entry.job = Some(job);
        let (owner, expires_ms) = (entry.owner(), entry.expires_ms);
        self.expiry.remove(&(expires_ms, number));
        count_down(&mut self.prepared, &owner);
    }

    /// Sets when a session may be removed.
    pub(crate) fn expire_at(&mut self, number: Number, expires_ms: u64) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        let before = std::mem::replace(&mut entry.expires_ms, expires_ms);
        self.expiry.remove(&(before, number));
        self.expiry.insert((expires_ms, number));
    }

    /// Hides a session, so that nobody finds it any more; when it would have ended.
    pub(crate) fn hide(&mut self, number: Number) -> u64 {
        let Some(entry) = self.entries.get_mut(&number) else { return 0 };
        entry.expired = true;
        self.expiry.remove(&(entry.expires_ms, number));
        entry.expires_ms
    }

    /// Has a hidden session found again.
    pub(crate) fn unhide(&mut self, number: Number, expires_ms: u64) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.expired = false;
        }
        self.expire_at(number, expires_ms);
    }

    /// Takes out of the list what may be removed now, at most `count` of it, and hides it.
    pub(crate) fn take_expired(&mut self, now_ms: u64, count: usize) -> Vec<Number> {
        let mut due = Vec::new();
        while due.len() < count
            && let Some(first) = self.expiry.first().copied()
            && first.0 <= now_ms
        {
            self.expiry.remove(&first);
            let Some(entry) = self.entries.get_mut(&first.1) else { continue };
            // A submission under way decides first.
            if entry.claimed {
                entry.expires_ms = now_ms + CLAIMED_MS;
                self.expiry.insert((entry.expires_ms, first.1));
                continue;
            }
            if entry.job.as_ref().is_some_and(|job| job.phase != Phase::Ended) {
                continue;
            }
            entry.expired = true;
            due.push(first.1);
        }
        due
    }

    /// The sandbox is gone: nothing is left of it here.
    pub(crate) fn remove(&mut self, number: Number) {
        let Some(entry) = self.entries.by_number.remove(&number) else { return };
        self.by_id.remove(&entry.id);
        if let Some(job) = entry.job.as_ref().filter(|job| !job.is_local()) {
            self.by_tag.remove(&tag_key(job.tag.as_str()));
        }
        self.expiry.remove(&(entry.expires_ms, number));
        if entry.state() == SessionState::Prepared {
            count_down(&mut self.prepared, &entry.owner());
        }
        if let Some(subject) = &entry.subject
            && let Some(numbers) = self.by_subject.get_mut(subject)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_subject.remove(subject);
            }
        }
        self.wake(number);
    }

    /// What wakes those who wait for the end of this session's job.
    pub(crate) fn end_of(&mut self, number: Number) -> Arc<Notify> {
        Arc::clone(self.ended.entry(number).or_default())
    }

    /// Wakes them.
    fn wake(&mut self, number: Number) {
        if let Some(ended) = self.ended.remove(&number) {
            ended.notify_waiters();
        }
    }
}

impl Changing for Table {
    fn take_changes(&mut self) -> Vec<(Number, JobState)> {
        let mut touched = std::mem::take(&mut self.entries.touched);
        // Stable: what is left of each is its oldest state.
        touched.sort_by_key(|(number, _)| *number);
        touched.dedup_by_key(|(number, _)| *number);
        let changed = touched.into_iter().filter_map(|(number, before)| {
            let state = self.get(number)?.job.as_ref()?.state();
            (before != Some(state)).then_some((number, state))
        });
        let changed: Vec<_> = changed.collect();
        for (number, state) in &changed {
            if state.is_final() {
                self.wake(*number);
            }
        }
        changed
    }
}

fn add<K: Clone + Eq + std::hash::Hash>(sums: &mut HashMap<K, u64>, key: &K, seconds: u64) {
    let sum = sums.entry(key.clone()).or_default();
    *sum = sum.saturating_add(seconds);
}

fn take<K: Eq + std::hash::Hash>(sums: &mut HashMap<K, u64>, key: &K, seconds: u64) {
    if let Some(sum) = sums.get_mut(key) {
        *sum = sum.saturating_sub(seconds);
        if *sum == 0 {
            sums.remove(key);
        }
    }
}

fn count_down<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
