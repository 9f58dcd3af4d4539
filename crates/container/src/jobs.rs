//! Jobs: admission, slots and queue, start, watching, end, cancel, expiry, and taking up after a restart.
//!
//! A *job* is one request's work; a *session* is the 32 hex digits that its sandbox is found by.
//! The order of things is what makes a job neither lost nor started twice: the monitor seals the
//! session, the journal has session, seal and intent on disk, and only then a jobmanager hears of
//! it. What happened to a job whose start was interrupted is asked of its guard and its record
//! (`settle`), never guessed.
//!
//! Every step that changes something runs in a task of its own ([`Core::step`]): a caller who hangs
//! up in the middle leaves nothing half done.

mod access;
mod batch;
mod budget;
mod cancel;
mod expiry;
mod finish;
mod groups;
mod health;
mod keeping;
mod owned;
mod queue;
mod settle;
mod show;
mod start;
mod submit;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nesssi_config::Config;
use nesssi_dn::SubjectDn;
use nesssi_journal::{Change, Journal, JournalError};
use nesssi_policy::{LevelName, Today, VoChange};
use nesssi_privsep::messages::Seal;
use nesssi_privsep::wire::{Field, Reader, Writer};
use nesssi_rpc::{Fault, FaultCode, Value};
use nesssi_session::SessionId;
use tokio::sync::{broadcast, oneshot, watch as signal};

use crate::StartError;
use crate::answers::{self, Answers};
use crate::audit::Audit;
use crate::clock::now_ms;
use crate::edits::Edits;
use crate::ending::InFlight;
use crate::events::{JobEvent, Taken, Telling};
use crate::grants::{CallerGrant, Grants};
use crate::groups::Groups;
use crate::link::{AskError, Channels, Jobmanager, Monitor};
pub(crate) use table::Owner;
use table::{Number, Table};

pub(crate) use access::AccessChange;
pub(crate) use groups::{Asker, fault as group_fault};
pub(crate) use keeping::Holder;
pub(crate) use owned::Owned;
pub(crate) use show::{PREPARED, SESSIONS_MAX, Wanted};
pub use submit::Submission;

/// How long a `prepared` session waits for its job, in seconds.
pub(crate) const PREPARED_SECONDS_MAX: u64 = 3600;

/// The batch system that is this machine itself.
const LOCAL: &str = nesssi_config::LOCAL_BATCH;

/// The journal's file in the gatekeeper's own directory.
pub(crate) const JOURNAL_FILE: &str = "gatekeeper/journal.sqlite";

/// What jobs need of the rest of the container.
#[derive(Debug)]
pub(crate) struct Needs {
    pub(crate) config: Arc<Config>,
    pub(crate) boot_id: String,
    pub(crate) leaves: bool,
    pub(crate) monitor: Monitor,
    pub(crate) channels: Channels,
    pub(crate) grants: Grants,
    pub(crate) audit: Audit,
    pub(crate) groups: Groups,
    pub(crate) edits: Edits,
}

/// The sessions and jobs. Clones are the same.
#[derive(Debug, Clone)]
pub struct Jobs {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    needs: Needs,
    journal: Journal,
    answers: Answers,
    table: Telling<Table>,
    slots_max: u32,
    steps: InFlight,
    /// Becomes true when polling is given up.
    stop: signal::Sender<bool>,
    /// How many jobs are settled at once.
    settlers: tokio::sync::Semaphore,
    /// The batch systems beside the local one.
    batch: batch::Systems,
    /// How many jobs whose submission is in doubt are looked after at once.
    doubters: Arc<tokio::sync::Semaphore>,
    /// Wakes those who have asked for a job's end, where a batch system has refused it.
    refusals: tokio::sync::Notify,
    /// Up to which number sessions are known from a backup alone; 0 if none are.
    restored_up_to: Number,
}

/// How many interrupted jobs are looked after at once after a restart.
const SETTLERS_MAX: usize = 32;

impl Jobs {
    /// Opens the journal, takes the lease, and begins to take up what is there.
    pub(crate) async fn start(needs: Needs) -> Result<Self, StartError> {
        let path = needs.config.server.state_directory.join(JOURNAL_FILE);
        let opened = tokio::task::spawn_blocking(move || -> Result<_, StartError> {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|error| StartError::Io {
                    what: folder.display().to_string(),
                    error,
                })?;
            }
            let mut reading = settle::Reading::default();
            let (journal, loaded) =
                Journal::open_each(&path, |session, job| reading.take(session, job))?;
            Ok((journal, loaded, reading))
        });
        let (journal, loaded, reading) = opened.await.unwrap_or(Err(JournalError::Busy.into()))?;
        tracing::info!(lease = loaded.lease, sessions = reading.len(), "journal is open");
        loaded.vo.iter().for_each(|change| needs.groups.apply(change));
        needs.edits.take_up(loaded.access, loaded.next_access).await;
        let slots_max = slots(needs.config.batch.local.slots);
        let mut table = Table::with_next_number(loaded.next_number);
        table.budgets.take_up(loaded.used, now_ms());
        let kept_seconds = needs.config.bounds.answers_kept_seconds;
        let batch = batch::Systems::new(&needs.config.batch);
        let core = Arc::new(Core {
            answers: Answers::new(journal.clone(), loaded.answers, kept_seconds),
            table: Telling::new(table),
            needs,
            journal,
            slots_max,
            steps: InFlight::default(),
            stop: signal::Sender::new(false),
            settlers: tokio::sync::Semaphore::new(SETTLERS_MAX),
            batch,
            doubters: Arc::new(tokio::sync::Semaphore::new(SETTLERS_MAX)),
            refusals: tokio::sync::Notify::new(),
            restored_up_to: loaded.restored_up_to,
        });
        settle::take_up(&core, reading).await;
        batch::start(&core);
        core.repeat(watch::EVERY, watch::read_leaves);
        core.repeat(watch::EVERY, watch::read_trees);
        core.repeat(budget::WRITE_EVERY, budget::write);
        core.repeat(expiry::EVERY, expiry::expire);
        core.repeat(expiry::FORGET_EVERY, expiry::forget);
        core.repeat(answers::SWEEP_EVERY, |core| async move { core.answers.sweep().await });
        Ok(Self { core })
    }

    /// The answers that are kept in the same journal.
    pub(crate) fn answers(&self) -> &Answers {
        &self.core.answers
    }

    /// The account that a request of `seconds` CPU seconds would run as; the day's budget is not asked.
    ///
    /// # Errors
    /// 413 over the level's limit.
    #[allow(clippy::unused_async, reason = "the room may ask the monitor here one day")]
    pub async fn account_for(&self, who: &CallerGrant, seconds: f64) -> Result<String, Fault> {
        submit::admit_size(who, seconds)?;
        Ok(who.grant.account.clone())
    }

    /// What is used up of a caller's day, and how many jobs of his have not ended.
    pub(crate) fn today(
        &self,
        subject: Option<&SubjectDn>,
        address: IpAddr,
        level: &LevelName,
    ) -> (Today, u32) {
        let owner = Owner::of(subject, address);
        let table = self.core.table();
        (table.today(&owner, level, now_ms()), table.active_of(&owner))
    }

    /// Charges a caller for a call into a service.
    pub(crate) fn charge_call(&self, who: &CallerGrant, cpu_usec: u64) {
        let owner = Owner::of(who.subject.as_ref(), who.address);
        budget::charge_call(&self.core, &owner, &who.grant.level, cpu_usec);
    }

    /// Changes the VO groups, if `by` may.
    ///
    /// # Errors
    /// 403 for who may not; 404, 409, 413 and -32602 where the change does not fit; 503.
    pub(crate) async fn change_groups(&self, by: Asker, change: VoChange) -> Result<(), Fault> {
        let core = Arc::clone(&self.core);
        self.core.step(async move { groups::change(&core, by, change).await }).await
    }

    /// Adds or removes an access edit for an administrator; its number.
    ///
    /// # Errors
    /// 404, 409, 413 and -32602 where it does not fit; 503.
    pub(crate) async fn change_access(
        &self,
        by: Asker,
        change: AccessChange,
    ) -> Result<u64, Fault> {
        let core = Arc::clone(&self.core);
        self.core.step(async move { access::change(&core, by, change).await }).await
    }

    /// Makes a session with a sandbox and no job yet; its id, and the sandbox's absolute path.
    ///
    /// # Errors
    /// 403 for a limited proxy, 413 over the level's limit or the day's, 429 with too many prepared
    /// sessions, 502 and 503 from below.
    pub async fn prepare(
        &self,
        who: &CallerGrant,
        service: &str,
        method: &str,
        seconds: f64,
    ) -> Result<(SessionId, String), Fault> {
        let (core, who) = (Arc::clone(&self.core), who.clone());
        let (service, method) = (service.to_owned(), method.to_owned());
        self.core
            .step(async move { submit::prepare(&core, who, &service, &method, seconds).await })
            .await
    }

    /// Admits a job, makes it durable, and starts it or puts it into the queue.
    ///
    /// # Errors
    /// 400-like faults of a bad command, 403 for a limited proxy, 404 and 409 of a session that is not
    /// his or has a job, 413 over the level's limit or the day's, 429 with too many jobs, 502 from the
    /// account, 503 when full.
    pub async fn submit(
        &self,
        who: &CallerGrant,
        submission: Submission,
    ) -> Result<SessionId, Fault> {
        let (core, who) = (Arc::clone(&self.core), who.clone());
        self.core.step(async move { submit::submit(&core, who, submission).await }).await
    }

    /// What is known of a session: an in-memory read.
    ///
    /// # Errors
    /// 404.
    pub fn status_value(&self, session: &str) -> Result<Value, Fault> {
        show::value(&self.core, session)
    }

    /// The same as text, with a line for each file of the sandbox.
    ///
    /// # Errors
    /// 404.
    pub async fn status_text(&self, session: &str) -> Result<String, Fault> {
        show::text(&self.core, session).await
    }

    /// Where the session's files are read over HTTP.
    ///
    /// # Errors
    /// 404.
    pub fn url(&self, session: &str) -> Result<String, Fault> {
        let id = self.core.known(session)?.0;
        Ok(self.url_of(&id))
    }

    /// The same for a session that is known.
    #[must_use]
    pub fn url_of(&self, session: &SessionId) -> String {
        show::url(&self.core, session)
    }

    /// The absolute path of the session's sandbox, for its own service.
    ///
    /// # Errors
    /// 404.
    pub fn sandbox_path(&self, session: &str) -> Result<String, Fault> {
        let (id, account) = {
            let (id, number) = self.core.known(session)?;
            let table = self.core.table();
            let entry = table.get(number).ok_or_else(Fault::no_such_session)?;
            (id, entry.account.clone())
        };
        let root = &self.core.needs.config.sandboxes.root;
        Ok(root.join(account).join(id.reveal()).display().to_string())
    }

    /// Ends a job: `cancelled` once it is confirmed gone, `asked` while it is not, `refused` where its
    /// batch system does not end it, or the state in which it had ended before.
    ///
    /// # Errors
    /// 404 alike for an unknown session and another's, 409 for one without a job, 503.
    pub async fn cancel(
        &self,
        subject: Option<&SubjectDn>,
        session: &str,
    ) -> Result<String, Fault> {
        let (core, subject) = (Arc::clone(&self.core), subject.cloned());
        let session = session.to_owned();
        self.core.step(async move { cancel::cancel(&core, subject.as_ref(), &session).await }).await
    }

    /// The caller's own sessions that `wanted` takes, the newest first; an anonymous caller has no
    /// list.
    ///
    /// # Errors
    /// 401 for an anonymous caller.
    pub(crate) fn list(
        &self,
        subject: Option<&SubjectDn>,
        wanted: &Wanted,
    ) -> Result<Value, Fault> {
        show::list(&self.core, subject, wanted)
    }

    /// The caller's own sessions, the newest first.
    pub(crate) fn sessions(&self, subject: &SubjectDn) -> Value {
        show::sessions(&self.core, subject)
    }

    /// Keeps a session for so many seconds from now, unless it is kept longer already; until when it
    /// is kept, in milliseconds.
    ///
    /// # Errors
    /// 404 alike for an unknown session and another's; 413 over what its level keeps; 503.
    pub(crate) async fn extend(
        &self,
        by: Holder,
        session: &str,
        seconds: f64,
    ) -> Result<u64, Fault> {
        let (core, session) = (Arc::clone(&self.core), session.to_owned());
        self.core.step(async move { keeping::extend(&core, &by, &session, seconds).await }).await
    }

    /// Ends a session: nobody finds it any more, and its sandbox is removed.
    ///
    /// # Errors
    /// 404 alike for an unknown session and another's, 409 while its job has not ended, 503 where its
    /// sandbox could not be removed yet.
    pub(crate) async fn destroy(&self, by: Holder, session: &str) -> Result<(), Fault> {
        let (core, session) = (Arc::clone(&self.core), session.to_owned());
        self.core.step(async move { keeping::destroy(&core, &by, &session).await }).await
    }

    /// A jobmanager says that a job has ended.
    pub(crate) fn ended(&self, account: &str, session: &str, record: String) {
        finish::heard(&self.core, account, session, record);
    }

    /// A jobmanager is gone: its jobs' shepherds are found again by the next one.
    pub(crate) fn jobmanager_gone(&self, account: &str) {
        settle::account(&self.core, account);
        batch::watch_again(&self.core, account);
    }

    /// A jobmanager says that the record of a batch job is there.
    pub(crate) fn record_seen(&self, account: &str, session: &str) {
        batch::record_seen(&self.core, account, session);
    }

    /// A channel on which a session's files may be read, and the session.
    pub(crate) async fn tend(&self, session: &str) -> Result<Tended, Fault> {
        let (id, number) = self.core.known(session)?;
        let (seal, account) = {
            let table = self.core.table();
            let entry = table.get(number).ok_or_else(Fault::no_such_session)?;
            (entry.seal.open(), entry.account.clone())
        };
        match self.core.needs.channels.tend(id.reveal(), &seal).await {
            Ok(jobmanager) => Ok(Tended { jobmanager, id, number, account }),
            Err(error) => {
                tracing::info!(session = %id, %error, "a session cannot be tended");
                Err(Fault::new(FaultCode::Unavailable, "the session's files cannot be had now"))
            }
        }
    }

    /// The number of the session of this text.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn number_of(&self, session: &str) -> Result<Number, Fault> {
        Ok(self.core.known(session)?.1)
    }

    /// Whether the session's job has ended, or the session is gone.
    pub(crate) fn has_ended(&self, number: Number) -> bool {
        let table = self.core.table();
        table.get(number).is_none_or(|entry| entry.expired || entry.has_ended())
    }

    /// Waits until the session's job has ended; at once if it has, and never while there is none.
    /// `false` is that the session itself is gone.
    pub(crate) async fn job_ended(&self, number: Number) -> bool {
        self.core.job_ended(number).await
    }

    /// Every change of a job's state from now on, each as it comes. Who reads too slowly loses the
    /// oldest, and hears how many ([`crate::EVENTS_KEPT_MAX`]).
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.core.table.events().subscribe()
    }

    /// How many jobs there are in what state, and how many of the slots they take.
    pub(crate) fn counts(&self) -> Counts {
        let table = self.core.table();
        Counts {
            running: table.running.len(),
            waiting: table.waiting,
            slots: self.core.slots_max,
            slots_used: table.slots_used,
        }
    }

    /// How each batch system but the local one is.
    pub(crate) fn batch_value(&self) -> Value {
        health::value(&self.core.batch.health(&self.core))
    }

    /// One line for those who run the server.
    #[must_use]
    pub fn health(&self) -> String {
        let Counts { running, waiting, slots, slots_used } = self.counts();
        let others = health::line(&self.core.batch.health(&self.core));
        format!(
            "jobs: {running} running or starting, {waiting} waiting, {slots_used} of {slots} slots \
             used{others}"
        )
    }

    /// Ends the steps under way and the polling, and closes the journal: a successor may begin.
    pub async fn give_up(&self) {
        self.core.stop.send_replace(true);
        self.core.steps.close().await;
        budget::write(Arc::clone(&self.core)).await;
        let journal = self.core.journal.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || journal.close()).await {
            tracing::error!(%error, "the journal's writer did not end well");
        }
    }
}

/// The jobs of a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// Starting or running.
    pub(crate) running: usize,
    /// Waiting for a slot.
    pub(crate) waiting: u32,
    pub(crate) slots: u32,
    pub(crate) slots_used: u32,
}

/// A session whose files may be read.
#[derive(Debug)]
pub(crate) struct Tended {
    pub(crate) jobmanager: Jobmanager,
    pub(crate) id: SessionId,
    pub(crate) number: Number,
    pub(crate) account: String,
}

impl Core {
    fn table(&self) -> Taken<'_, Table> {
        self.table.take()
    }

    /// The session of this text, unless its time is over.
    fn known(&self, session: &str) -> Result<(SessionId, Number), Fault> {
        let id = SessionId::parse(session).map_err(|_| Fault::no_such_session())?;
        let number = self.table().find(&id).map(|entry| entry.number);
        Ok((id, number.ok_or_else(Fault::no_such_session)?))
    }

    /// Writes to the journal, and waits until it is durable.
    async fn write(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        self.begin_write(changes).await.unwrap_or(Err(JournalError::Busy))
    }

    /// Begins to write: later writes come behind this one.
    fn begin_write(&self, changes: Vec<Change>) -> oneshot::Receiver<Result<(), JournalError>> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |outcome| {
            if sender.send(outcome).is_err() {
                tracing::debug!("nobody waits for a write any more");
            }
        });
        self.journal.write(changes, done);
        receiver
    }

    /// Runs a step to its end, whether or not anybody waits for it. Draining waits for it.
    async fn step<T: Send + 'static>(
        &self,
        step: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        let Some(under_way) = self.steps.enter() else { return Err(restarting()) };
        let task = tokio::spawn(async move {
            let outcome = step.await;
            drop(under_way);
            outcome
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a step of a job failed");
            Err(Fault::new(FaultCode::Internal, "internal error"))
        })
    }

    /// Begins a step that nobody waits for but draining. Once that has begun, it is left to the
    /// successor, who finds it in the journal.
    fn step_aside(&self, step: impl Future<Output = ()> + Send + 'static) {
        if let Some(under_way) = self.steps.enter() {
            tokio::spawn(async move {
                step.await;
                drop(under_way);
            });
        }
    }

    /// Runs what may take without end, until polling is given up.
    fn until_stopped(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        tokio::spawn(async move {
            // One who has given up already begins nothing.
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => {}
                () = work => {}
            }
        });
    }

    /// Waits until polling was given up, and so long after it.
    async fn stopped_for(&self, patience: Duration) {
        let mut stop = self.stop.subscribe();
        // Without an end to wait for, the process has none.
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(patience).await;
    }

    /// Does something again and again, until polling is given up.
    fn repeat<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        every: Duration,
        work: impl Fn(Arc<Self>) -> F + Send + Sync + 'static,
    ) {
        let core = Arc::clone(self);
        self.until_stopped(async move {
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                work(Arc::clone(&core)).await;
            }
        });
    }

    async fn job_ended(&self, number: Number) -> bool {
        loop {
            let ended = {
                let mut table = self.table();
                match table.get(number) {
                    None => return false,
                    Some(entry) if entry.expired => return false,
                    Some(entry) if entry.has_ended() => return true,
                    Some(_) => table.end_of(number),
                }
            };
            let mut woken = std::pin::pin!(ended.notified());
            // Registered first, then looked again: an end between the two is not missed.
            woken.as_mut().enable();
            let is_over =
                self.table().get(number).is_none_or(|entry| entry.expired || entry.has_ended());
            if !is_over {
                woken.await;
            }
        }
    }
}

/// A seal as the journal keeps it.
fn seal_bytes(seal: &Seal) -> Vec<u8> {
    let mut out = Writer::default();
    seal.put(&mut out);
    out.finish()
}

fn seal_of(bytes: &[u8]) -> Option<Seal> {
    let mut from = Reader::new(bytes);
    let seal = Seal::take(&mut from).ok()?;
    from.finish().ok()?;
    Some(seal)
}

fn restarting() -> Fault {
    Fault::new(FaultCode::Unavailable, "the server is being restarted: try again")
}

fn journal_fault(error: &JournalError) -> Fault {
    tracing::error!(%error, "the journal did not take a change");
    Fault::new(FaultCode::Unavailable, "the server cannot record the job now: try again later")
}

/// A change of `what`, which an administrator asked for, is not in the journal.
fn not_recorded(error: &JournalError, what: &str) -> Fault {
    tracing::error!(%error, "the journal did not take a change of {what}");
    match error {
        JournalError::Unfit(_) => Fault::new(FaultCode::Internal, "internal error"),
        _ => Fault::new(FaultCode::Unavailable, "the server cannot record it now: try again"),
    }
}

fn slots(configured: u32) -> u32 {
    match configured {
        0 => std::thread::available_parallelism()
            .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        slots => slots,
    }
}

/// Whether the account says that a sandbox is not there.
fn is_absent(error: &AskError) -> bool {
    let absent = rustix::io::Errno::NOENT.raw_os_error();
    matches!(error, AskError::Failed { errno, .. } if *errno == absent)
}
