//! Service workers: kept warm at desks, called one call at a time, retired, throttled, ended.
//!
//! A *desk* is where the workers of one service generation, account and level sit: at most
//! `concurrency` of them, and a bounded number of calls that wait for one. All of a warm call
//! happens in the caller's task: no other task, no lock held while waiting.
//!
//! A worker is not trusted. It is judged by the token of the call that it serves, a line that keeps
//! to no protocol ends it, and its CPU and wall seconds are measured from outside.

mod conversation;
mod host;
mod meter;
mod worker;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nesssi_config::Config;
use nesssi_rpc::{Dialect, Fault, FaultCode, MethodName, Reply, Value};
use nesssi_service::protocol::Request;
use nesssi_service::{Manifest, Token};
use nesssi_session::SessionId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Inner;
use crate::grants::CallerGrant;
use crate::link::lock;
use crate::registry::{Behind, Service};
use conversation::{Conversation, Kept};
pub(crate) use host::open_log;
pub(crate) use meter::Meter;
pub(crate) use worker::{End, Worker};

/// How many calls wait at one desk; one more is answered 503.
const WAITING_CALLS_MAX: usize = 64;

/// A worker that ends by itself sooner than this after its start has died fast.
const FAST_DEATH_SECONDS_MAX: u64 = 5;

/// How many fast deaths in a row are borne before starting pauses, the first pause, and the longest.
const FAST_DEATHS_MAX: u32 = 3;
const PAUSE_SECONDS_MIN: u64 = 1;
const PAUSE_SECONDS_MAX: u64 = 60;

/// How often desks look for workers that have sat too long.
const SWEEP_SECONDS_MAX: u64 = 15;

/// What the container does for its workers, and what a test does in its place.
pub(crate) trait Host: Send + Sync + 'static {
    /// Starts a worker of `service` for a caller.
    fn start(
        &self,
        who: &mut CallerGrant,
        service: &Arc<Service>,
    ) -> impl Future<Output = Result<Started, Fault>> + Send;

    /// Does what a worker asks for while it serves `who`'s call of `method`.
    fn answer(
        &self,
        who: CallerGrant,
        service: Arc<Service>,
        request: Request,
    ) -> impl Future<Output = Answered> + Send;

    /// Charges a caller for what his call has used.
    fn charge(&self, who: &CallerGrant, cpu_usec: u64);

    /// Writes a line for the service's developers.
    fn note(&self, service: &str, text: &str);
}

/// What an ask came to.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    /// The session that it made.
    pub(crate) session: Option<SessionId>,
}

/// A worker that was just started.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its socket.
    pub(crate) socket: std::os::fd::OwnedFd,
    /// What it has used.
    pub(crate) meter: Meter,
    /// Set when it is known to have ended.
    pub(crate) gone: Arc<AtomicBool>,
    /// Ends it with all its descendants.
    pub(crate) end: End,
}

/// One call into a service.
#[derive(Debug)]
pub(crate) struct ServiceCall<'a> {
    pub(crate) method: &'a MethodName,
    pub(crate) params: &'a [Value],
    pub(crate) dialect: Dialect,
}

/// What a call into a service came to.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) reply: Reply,
    /// The session that it made.
    pub(crate) session: Option<SessionId>,
    /// CPU microseconds used; of a short call estimated as its wall time.
    pub(crate) cpu_usec: u64,
    /// Whether it was refused before anything was carried out: no worker had it, or the one that had
    /// passed on what the container refused it.
    pub(crate) refused: bool,
}

impl Called {
    fn refused(fault: Fault) -> Self {
        Self { reply: Err(fault), session: None, cpu_usec: 0, refused: true }
    }
}

/// How the desks of one service are kept.
#[derive(Debug, Clone)]
pub(crate) struct DeskSettings {
    pub(crate) concurrency: u32,
    /// Workers of all desks together.
    pub(crate) workers_max: usize,
    pub(crate) calls_max: u64,
    pub(crate) idle: Duration,
    pub(crate) ready: Duration,
}

impl DeskSettings {
    pub(crate) fn of(config: &Config, manifest: &Manifest) -> Self {
        let services = &config.services;
        Self {
            concurrency: manifest.concurrency.min(services.workers_max_per_service).max(1),
            workers_max: usize::try_from(services.workers_max_per_service.max(1)).unwrap_or(1),
            calls_max: services.worker_calls_max.max(1),
            idle: Duration::from_secs(services.worker_idle_seconds_max),
            ready: Duration::from_secs(services.describe_seconds_max.into()),
        }
    }
}

/// All desks of one generation of one service.
#[derive(Debug)]
pub(crate) struct Desks {
    settings: DeskSettings,
    table: Mutex<DeskTable>,
    seats: Seats,
}

/// Counts the workers of one service: each holds a clone of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seats(Arc<()>);

impl Seats {
    fn taken(&self) -> usize {
        // One is the service's own.
        Arc::strong_count(&self.0).saturating_sub(1)
    }
}

#[derive(Debug, Default)]
struct DeskTable {
    closed: bool,
    /// By account; a handful of levels each.
    desks: HashMap<String, Vec<(String, Arc<Desk>)>>,
}

impl Desks {
    pub(crate) fn new(settings: DeskSettings) -> Self {
        Self { settings, table: Mutex::default(), seats: Seats::default() }
    }

    /// Ends all idle workers, and those at work when they are done.
    pub(crate) async fn close(&self) {
        let desks: Vec<Arc<Desk>> = {
            let mut table = lock(&self.table);
            table.closed = true;
            table.desks.values().flatten().map(|(_, desk)| Arc::clone(desk)).collect()
        };
        let mut ends = tokio::task::JoinSet::new();
        for desk in desks {
            for worker in desk.close() {
                ends.spawn(worker.retire());
            }
        }
        ends.join_all().await;
    }

    /// Whether workers of some desk end too fast to be started again at once.
    pub(crate) fn is_throttled(&self) -> bool {
        let table = lock(&self.table);
        table.desks.values().flatten().any(|(_, desk)| lock(&desk.state).throttle.pause().is_some())
    }

    /// How many workers there are, and how many have ended by themselves.
    pub(crate) fn workers_and_deaths(&self) -> (usize, u32) {
        let table = lock(&self.table);
        let desks = table.desks.values().flatten();
        let deaths = desks.map(|(_, desk)| lock(&desk.state).throttle.deaths);
        (self.seats.taken(), deaths.fold(0, u32::saturating_add))
    }

    /// A seat for one more worker; if all are taken, that of one that rests at another desk.
    fn seat(&self) -> Result<Seats, Fault> {
        if self.seats.taken() < self.settings.workers_max {
            return Ok(self.seats.clone());
        }
        let desks: Vec<Arc<Desk>> = {
            let table = lock(&self.table);
            table.desks.values().flatten().map(|(_, desk)| Arc::clone(desk)).collect()
        };
        let resting = desks.iter().find_map(|desk| lock(&desk.state).idle.pop());
        tokio::spawn(resting.ok_or_else(busy)?.retire());
        // The one that leaves keeps its seat until it has: for that long there is one more.
        Ok(self.seats.clone())
    }

    fn desk(&self, account: &str, level: &str) -> Arc<Desk> {
        let mut table = lock(&self.table);
        let known = table.desks.get(account).and_then(|levels| {
            levels.iter().find(|(known, _)| known == level).map(|(_, desk)| Arc::clone(desk))
        });
        known.unwrap_or_else(|| {
            let desk = Desk::new(&self.settings, table.closed);
            let levels = table.desks.entry(account.to_owned()).or_default();
            levels.push((level.to_owned(), Arc::clone(&desk)));
            desk
        })
    }
}

/// The desk of one account and level.
#[derive(Debug)]
pub(crate) struct Desk {
    settings: DeskSettings,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    state: Mutex<DeskState>,
}

#[derive(Debug, Default)]
struct DeskState {
    idle: Vec<Worker>,
    closed: bool,
    throttle: Throttle,
}

/// Who dies fast again and again is not started again at once.
#[derive(Debug, Default)]
struct Throttle {
    /// All that have ended by themselves.
    deaths: u32,
    fast_deaths: u32,
    until: Option<Instant>,
}

impl Throttle {
    fn died(&mut self, age: Duration) {
        self.deaths = self.deaths.saturating_add(1);
        if age.as_secs() >= FAST_DEATH_SECONDS_MAX {
            return;
        }
        self.fast_deaths = self.fast_deaths.saturating_add(1);
        if let Some(beyond) = self.fast_deaths.checked_sub(FAST_DEATHS_MAX) {
            let pause = PAUSE_SECONDS_MIN.checked_shl(beyond.min(16)).unwrap_or(u64::MAX);
            let pause = Duration::from_secs(pause.min(PAUSE_SECONDS_MAX));
            self.until = Some(Instant::now() + pause);
        }
    }

    fn answered(&mut self) {
        self.fast_deaths = 0;
        self.until = None;
    }

    /// What is left of the pause.
    fn pause(&self) -> Option<Duration> {
        self.until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

impl Desk {
    fn new(settings: &DeskSettings, closed: bool) -> Arc<Self> {
        let turns = usize::try_from(settings.concurrency).unwrap_or(1);
        let desk = Arc::new(Self {
            settings: settings.clone(),
            turns: Arc::new(Semaphore::new(turns)),
            waiting: AtomicUsize::new(0),
            state: Mutex::new(DeskState { closed, ..DeskState::default() }),
        });
        tokio::spawn(sweep(Arc::downgrade(&desk), settings.idle));
        desk
    }

    fn close(&self) -> Vec<Worker> {
        let mut state = lock(&self.state);
        state.closed = true;
        std::mem::take(&mut state.idle)
    }

    /// A worker's turn, after those who came before.
    async fn turn(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_CALLS_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(busy());
        }
        let _waiting = Waits(&self.waiting);
        let turn = tokio::time::timeout(patience, Arc::clone(&self.turns).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(busy)
    }

    /// The worker that rested last, if there is one that lives.
    fn take_idle(&self) -> Option<Worker> {
        loop {
            let mut worker = lock(&self.state).idle.pop()?;
            if worker.is_fit() {
                return Some(worker);
            }
            self.lost(worker);
        }
    }

    /// A worker that ended, or spoke, unasked.
    fn lost(&self, worker: Worker) {
        let age = worker.age();
        lock(&self.state).throttle.died(age);
        drop(worker);
    }

    /// Puts a worker back that has answered, unless its time has come.
    fn put_back(&self, mut worker: Worker) {
        worker.rest();
        let mut state = lock(&self.state);
        if !state.throttle.is_calm() {
            state.throttle.answered();
        }
        if !state.closed && worker.calls() < self.settings.calls_max {
            state.idle.push(worker);
            return;
        }
        drop(state);
        tokio::spawn(worker.retire());
    }

    fn sweep(&self) -> Vec<Worker> {
        let idle = self.settings.idle;
        let mut state = lock(&self.state);
        state.idle.extract_if(.., |worker| worker.has_rested(idle) || worker.is_gone()).collect()
    }
}

impl Throttle {
    fn is_calm(&self) -> bool {
        self.fast_deaths == 0
    }
}

/// Counts a waiting call out, also when its caller goes away.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn busy() -> Fault {
    Fault::new(FaultCode::Unavailable, "all workers of this service are busy: try again")
}

async fn sweep(desk: std::sync::Weak<Desk>, idle: Duration) {
    let pause = (idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(SWEEP_SECONDS_MAX));
    loop {
        tokio::time::sleep(pause).await;
        let Some(desk) = desk.upgrade() else { return };
        for worker in desk.sweep() {
            tokio::spawn(worker.retire());
        }
    }
}

/// Calls a method of a service. The caller may have been permitted; here nobody is judged.
pub(crate) async fn call<H: Host>(
    host: &Arc<H>,
    service: &Arc<Service>,
    mut who: CallerGrant,
    call: ServiceCall<'_>,
) -> Called {
    let Some(behind) = &service.access else {
        return Called::refused(broken(service));
    };
    let desk = behind.desks.desk(&who.grant.account, who.grant.level.as_str());
    let patience = Duration::from_secs(who.grant.limits.call_wall_seconds.into());
    let turn = match desk.turn(patience).await {
        Ok(turn) => turn,
        Err(fault) => return Called::refused(fault),
    };
    let worker = match seated(host, service, behind, &desk, &mut who).await {
        Ok(worker) => worker,
        Err(fault) => return Called::refused(fault),
    };
    let kept = Kept { host: Arc::clone(host), service: Arc::clone(service), desk, turn, who };
    match Conversation::begin(kept, worker, &call, token()) {
        Ok(conversation) => conversation.run().await,
        Err(fault) => Called::refused(fault),
    }
}

/// The fault for every call of a service that is broken. The reason is in `service.list`.
pub(crate) fn broken(service: &Service) -> Fault {
    Fault::new(
        FaultCode::Unavailable,
        format!("the service {} is broken; service.list says why", service.name),
    )
}

/// A worker that is ready: a warm one, or a new one.
async fn seated<H: Host>(
    host: &Arc<H>,
    service: &Arc<Service>,
    behind: &Behind,
    desk: &Arc<Desk>,
    who: &mut CallerGrant,
) -> Result<Worker, Fault> {
    if let Some(worker) = desk.take_idle() {
        return Ok(worker);
    }
    if let Some(left) = lock(&desk.state).throttle.pause() {
        return Err(Fault::new(
            FaultCode::Unavailable,
            format!(
                "the service {} is unhealthy: its worker ends too fast; try again in {} s",
                service.name,
                left.as_secs() + 1
            ),
        ));
    }
    let seat = behind.desks.seat()?;
    let (account, level) = (who.grant.account.clone(), who.grant.level.clone());
    let started = host.start(who, service).await?;
    let worker = Worker::new(started, seat)?;
    if who.grant.account != account || who.grant.level != level {
        // Judged anew meanwhile: this worker is another account's and may not sit here.
        return Err(Fault::new(FaultCode::Unavailable, "the rules have changed: try again"));
    }
    match worker.become_ready(desk.settings.ready).await {
        Ok(worker) => Ok(worker),
        Err(reason) => {
            lock(&desk.state).throttle.died(Duration::ZERO);
            host.note(service.name.as_str(), &format!("a worker could not start: {reason}"));
            tracing::warn!(service = %service.name, reason, "a worker could not start");
            Err(Fault::new(
                FaultCode::Unavailable,
                format!("the service {} could not be started", service.name),
            ))
        }
    }
}

fn token() -> Token {
    Token::from_random(random())
}

/// Random bytes; the kernel's generator does not fail once it is seeded.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // Never a guessable token: without randomness nothing may go on.
        tracing::error!(%error, "the system gives no random bytes");
        std::process::abort();
    }
    bytes
}

/// 8 hexadecimal digits by which a caller and a developer speak of the same mishap.
pub(crate) fn incident() -> String {
    format!("{:08x}", u32::from_le_bytes(random()))
}

/// Every worker that lives, to hear of its end.
/// Clones share the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Living {
    workers: Arc<Mutex<HashMap<u64, LivingWorker>>>,
}

#[derive(Debug)]
struct LivingWorker {
    account: String,
    jobmanager: u32,
    gone: Arc<AtomicBool>,
}

impl Living {
    pub(crate) fn count(&self) -> usize {
        lock(&self.workers).len()
    }
}

/// A jobmanager says that a worker has ended.
pub(crate) fn ended(inner: &Inner, account: &str, worker: u64, status: i32) {
    let living = lock(&inner.services.living.workers);
    // One account's jobmanager has nothing to say about another's workers.
    if let Some(known) = living.get(&worker).filter(|known| known.account == account) {
        known.gone.store(true, Ordering::Relaxed);
        tracing::debug!(worker, account, status, "a worker has ended");
    }
}

/// A jobmanager is gone, and its workers with it.
pub(crate) fn jobmanager_gone(inner: &Inner, account: &str, pid: u32) {
    for known in lock(&inner.services.living.workers).values() {
        if known.account == account && known.jobmanager == pid {
            known.gone.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
