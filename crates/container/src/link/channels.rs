//! The channels to jobmanagers that are open now: one to start and one to tend for each account.
//!
//! The monitor decides whether a channel may be had; this room only remembers those it gave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use nesssi_privsep::messages::Seal;
use tokio::sync::mpsc;

use super::{AskError, EVENTS_MAX, Jobmanager, Monitor, Unasked, lock};
use crate::grants::Grant;

/// How many grants are remembered as started; more than a busy day has, and a few bytes each.
const STARTED_GRANTS_MAX: usize = 65_536;

/// What a jobmanager said unasked, and which account it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobmanagerEvent {
    /// A job has ended.
    JobEnded {
        /// The account that says so.
        account: String,
        /// 32 hex digits.
        session: String,
        /// The record's text; empty if there is none.
        record: String,
    },
    /// The record of a batch job is there.
    RecordSeen {
        /// The account that says so.
        account: String,
        /// 32 hex digits.
        session: String,
        /// The record's text.
        record: String,
    },
    /// A worker has ended.
    WorkerEnded {
        /// The account that says so.
        account: String,
        /// The worker.
        worker: u64,
        /// Exit code, or 128 + signal.
        status: i32,
    },
    /// A channel is closed: the jobmanager with this pid is gone.
    Closed {
        /// The account.
        account: String,
        /// Its pid.
        pid: u32,
    },
}

/// The open channels. Clones share them.
#[derive(Debug, Clone)]
pub struct Channels {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    monitor: Monitor,
    table: Mutex<Table>,
    events: mpsc::Sender<JobmanagerEvent>,
}

/// An account, as a jobmanager is one: by name and uid.
type AccountKey = (String, u32);

#[derive(Debug, Default)]
struct Table {
    start: HashMap<String, Jobmanager>,
    tend: HashMap<AccountKey, Jobmanager>,
    /// Which grants the monitor has started on which jobmanager (pid).
    started: HashMap<u64, u32>,
    /// One dialler an account at a time.
    dialling: HashMap<String, Arc<tokio::sync::Mutex<()>>>,
}

impl Channels {
    /// None yet; the receiver gets what all jobmanagers say unasked.
    #[must_use]
    pub fn new(monitor: Monitor) -> (Self, mpsc::Receiver<JobmanagerEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let shared = Shared { monitor, table: Mutex::new(Table::default()), events };
        (Self { shared: Arc::new(shared) }, receiver)
    }

    /// A channel on which jobs and workers of the grant may be started.
    ///
    /// # Errors
    /// [`AskError::Refused`], `StaleGrant` among them: judge again.
    pub async fn start(&self, grant: &Grant) -> Result<Jobmanager, AskError> {
        if let Some(open) = self.started(grant) {
            return Ok(open);
        }
        let turn = self.turn(&grant.account);
        let _turn = turn.lock().await;
        if let Some(open) = self.started(grant) {
            return Ok(open);
        }
        let (fresh, unasked) = self.shared.monitor.start(grant.id).await?;
        let mut table = lock(&self.shared.table);
        if table.started.len() >= STARTED_GRANTS_MAX {
            table.started.clear();
        }
        table.started.insert(grant.id, fresh.pid());
        // A channel to the same process is kept: what it has under way is there. Where the rules have
        // changed since it was given, handing over the fresh one has renewed it.
        let account = &grant.account;
        if let Some(open) = table.start.get(account)
            && !open.is_closed()
            && open.pid() == fresh.pid()
        {
            open.renewed();
            return Ok(open.clone());
        }
        table.start.insert(account.clone(), fresh.clone());
        drop(table);
        self.hear(&fresh, unasked);
        Ok(fresh)
    }

    /// A channel on which a sealed session may be tended.
    ///
    /// # Errors
    /// [`AskError::Refused`] where the seal's account is no more what it was.
    pub async fn tend(&self, session: &str, seal: &Seal) -> Result<Jobmanager, AskError> {
        let key = (seal.account.clone(), seal.uid);
        if let Some(open) = self.tended(&key) {
            return Ok(open);
        }
        let turn = self.turn(&seal.account);
        let _turn = turn.lock().await;
        if let Some(open) = self.tended(&key) {
            return Ok(open);
        }
        let (fresh, unasked) = self.shared.monitor.tend(session, seal).await?;
        lock(&self.shared.table).tend.insert(key, fresh.clone());
        self.hear(&fresh, unasked);
        Ok(fresh)
    }

    /// The open channel to start on of an account, if there is one: to kill its workers.
    #[must_use]
    pub fn open_start(&self, account: &str) -> Option<Jobmanager> {
        lock(&self.shared.table).start.get(account).filter(|open| !open.is_closed()).cloned()
    }

    /// Any open channel to the process of a seal's account; nothing is opened for it.
    #[must_use]
    pub fn open_any(&self, seal: &Seal) -> Option<Jobmanager> {
        let key = (seal.account.clone(), seal.uid);
        let started = || self.open_start(&seal.account).filter(|open| open.facts().uid == seal.uid);
        self.tended(&key).or_else(started)
    }

    fn started(&self, grant: &Grant) -> Option<Jobmanager> {
        let table = lock(&self.shared.table);
        let usable = |open: &&Jobmanager| !open.is_closed() && !open.is_stale();
        let open = table.start.get(&grant.account).filter(usable)?;
        (table.started.get(&grant.id) == Some(&open.pid())).then(|| open.clone())
    }

    fn tended(&self, key: &AccountKey) -> Option<Jobmanager> {
        lock(&self.shared.table).tend.get(key).filter(|open| !open.is_closed()).cloned()
    }

    fn turn(&self, account: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut table = lock(&self.shared.table);
        Arc::clone(table.dialling.entry(account.to_owned()).or_default())
    }

    fn hear(&self, jobmanager: &Jobmanager, mut unasked: mpsc::Receiver<Unasked>) {
        let (account, pid) = (jobmanager.facts().name.clone(), jobmanager.pid());
        let events = self.shared.events.clone();
        tokio::spawn(async move {
            while let Some(said) = unasked.recv().await {
                let account = account.clone();
                let event = match said {
                    Unasked::JobEnded { session, record } => {
                        JobmanagerEvent::JobEnded { account, session, record }
                    }
                    Unasked::RecordSeen { session, record } => {
                        JobmanagerEvent::RecordSeen { account, session, record }
                    }
                    Unasked::WorkerEnded { worker, status } => {
                        JobmanagerEvent::WorkerEnded { account, worker, status }
                    }
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
            if events.send(JobmanagerEvent::Closed { account, pid }).await.is_err() {
                tracing::debug!("a jobmanager ended after the container");
            }
        });
    }
}
