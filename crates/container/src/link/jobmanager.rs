//! The gatekeeper's side of a channel to a jobmanager.

mod batch;
mod files;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nesssi_privsep::Received;
use nesssi_privsep::messages::{
    AccountFacts, Entry, FromJobmanager, Refusal, ShepherdId, ToJobmanager,
};
use nesssi_privsep::wire::Blob;
use tokio::sync::{Notify, mpsc};

use super::{AskError, EVENTS_MAX, Leaf, Link, LinkError, lock};

pub use batch::{BatchListing, BatchStart, GuardFound, NotListed, RecordWatch, SubmitOutcome};
pub use files::{Found, Stated, Writing, Written};

/// How long the removal of a sandbox may take before it is tried again later.
const REMOVE_SECONDS_MAX: u64 = 300;

/// What a jobmanager says unasked, but for the growth of files, which wakes its [`Watch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unasked {
    /// A job has ended.
    JobEnded {
        /// 32 hex digits.
        session: String,
        /// The record's text; empty if there is none.
        record: String,
    },
    /// The record of a batch job is there.
    RecordSeen {
        /// 32 hex digits.
        session: String,
        /// The record's text.
        record: String,
    },
    /// A worker has ended.
    WorkerEnded {
        /// The worker.
        worker: u64,
        /// Exit code, or 128 + signal.
        status: i32,
    },
}

/// An open file or directory of a sandbox.
#[derive(Debug)]
pub struct Opened {
    /// The descriptor, opened as the account.
    pub file: OwnedFd,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes when it was opened.
    pub size: u64,
    /// Modification time, seconds since 1970 UTC.
    pub modified: i64,
    /// And its nanoseconds.
    pub modified_nanos: u32,
    /// Inode.
    pub inode: u64,
}

/// One folder of services, as the jobmanager found it.
#[derive(Debug, Clone)]
pub struct ScanFound {
    /// Dotted name.
    pub name: String,
    /// Absolute path of the folder.
    pub folder: String,
    /// Text of `.clarens_access`.
    pub access: Option<String>,
    /// Text of `service.toml`.
    pub manifest: Option<String>,
    /// What `describe` answered.
    pub description: Option<String>,
    /// Why it is broken.
    pub problem: Option<String>,
    /// SHA-256 over names and contents of the folder's code.
    pub digest: Vec<u8>,
    /// The version of its modules.
    pub modules: Option<Arc<File>>,
    /// Why there is none, though the service is of Python.
    pub in_place: Option<String>,
}

/// What starting a job needs.
#[derive(Debug)]
pub struct JobStart {
    /// 32 hex digits.
    pub session: String,
    /// The tag.
    pub tag: String,
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// CPU seconds over the whole process tree.
    pub cpu_seconds_max: u64,
    /// Wall seconds.
    pub wall_seconds_max: u64,
    /// Bytes that the sandbox may hold; 0 is no limit.
    pub sandbox_bytes_max: u64,
    /// The umask where the system gives none.
    pub umask_default: u32,
}

/// What starting a worker needs.
#[derive(Debug, Clone)]
pub struct WorkerStart {
    /// The gatekeeper's name for it.
    pub worker: u64,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Working directory.
    pub directory: String,
    /// The version of the service's modules.
    pub modules: Option<Arc<File>>,
}

/// What a jobmanager knows of a job that it did not just start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobFound {
    /// Its shepherd lives, is this, and is watched from now on.
    Adopted(ShepherdId),
    /// It has ended; the record's text, empty if there is none.
    Ended(String),
    /// No shepherd, no record.
    Gone {
        /// Whether the payload may have run.
        guarded: bool,
    },
}

/// A jobmanager over one channel. Clones speak on the same channel.
#[derive(Debug, Clone)]
pub struct Jobmanager {
    link: Link<ToJobmanager, FromJobmanager>,
    facts: Arc<AccountFacts>,
    pid: u32,
    watches: Watches,
    /// It has said that the rules have changed since it was given: to be renewed by a grant of now.
    stale: Arc<AtomicBool>,
}

type Watches = Arc<Mutex<HashMap<u64, Arc<Notify>>>>;

impl Jobmanager {
    /// Takes over a channel that the monitor gave.
    pub(crate) fn new(
        channel: OwnedFd,
        facts: AccountFacts,
        pid: u32,
    ) -> Result<(Self, mpsc::Receiver<Unasked>), LinkError> {
        let (link, unasked) = Link::new(channel)?;
        let watches = Watches::default();
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(sort_events(unasked, sender, Arc::clone(&watches)));
        Ok((Self { link, facts: Arc::new(facts), pid, watches, stale: Arc::default() }, events))
    }

    /// The account that it is.
    #[must_use]
    pub fn facts(&self) -> &AccountFacts {
        &self.facts
    }

    /// Its pid, to tell one from its successor.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Whether nothing is started on it until it is renewed.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::SeqCst)
    }

    /// The monitor has renewed it.
    pub(crate) fn renewed(&self) {
        self.stale.store(false, Ordering::SeqCst);
    }

    /// An answer to what is asked of a channel to start alone.
    fn fresh(
        &self,
        answer: Received<FromJobmanager>,
    ) -> Result<Received<FromJobmanager>, AskError> {
        if answer.message == (FromJobmanager::Stale {}) {
            self.stale.store(true, Ordering::SeqCst);
            return Err(AskError::Refused(Refusal::StaleGrant {}));
        }
        Ok(answer)
    }

    /// Makes the sandbox of a session; its absolute path.
    ///
    /// # Errors
    /// [`AskError::Failed`]; `StaleGrant` where the rules have just changed: ask for the channel again.
    pub async fn prepare(&self, session: &str, umask_default: u32) -> Result<String, AskError> {
        let message = ToJobmanager::Prepare { session: session.to_owned(), umask_default };
        prepared(self.fresh(self.link.ask(&message, &[]).await?)?)
    }

    /// Makes the sandbox and starts the job in one breath: the start is sent before the sandbox's
    /// answer is there, since requests of one task are done in order.
    ///
    /// # Errors
    /// [`AskError::Failed`] of whichever failed first; `StaleGrant` as in [`Jobmanager::prepare`].
    pub async fn prepare_and_start(
        &self,
        start: JobStart,
        leaf: Option<Leaf>,
    ) -> Result<ShepherdId, AskError> {
        let prepare = ToJobmanager::Prepare {
            session: start.session.clone(),
            umask_default: start.umask_default,
        };
        let sandbox = self.link.send(&prepare, &[]).await?;
        let started = self.send_start(start, leaf).await?;
        prepared(self.fresh(sandbox.wait().await?)?)?;
        match unfailed(self.fresh(started.wait().await?)?)?.message {
            FromJobmanager::Started { shepherd } => Ok(shepherd),
            _ => Err(AskError::Unfit),
        }
    }

    async fn send_start(
        &self,
        start: JobStart,
        leaf: Option<Leaf>,
    ) -> Result<super::AnswerTo<FromJobmanager>, LinkError> {
        let message = ToJobmanager::StartJob {
            session: start.session,
            tag: start.tag,
            argv: start.argv.into_iter().map(Blob).collect(),
            environment: start.environment,
            cpu_seconds_max: start.cpu_seconds_max,
            wall_seconds_max: start.wall_seconds_max,
            sandbox_bytes_max: start.sandbox_bytes_max,
            umask_default: start.umask_default,
        };
        self.link.send(&message, &borrowed(leaf.as_ref())).await
    }

    /// Finds a job again and watches it.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn adopt(
        &self,
        session: &str,
        tag: &str,
        shepherd: ShepherdId,
    ) -> Result<JobFound, AskError> {
        let message =
            ToJobmanager::Adopt { session: session.to_owned(), tag: tag.to_owned(), shepherd };
        job_found(self.link.ask(&message, &[]).await?)
    }

    /// The record that a job's shepherd left.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn read_record(&self, session: &str) -> Result<JobFound, AskError> {
        let message = ToJobmanager::ReadRecord { session: session.to_owned() };
        job_found(self.link.ask(&message, &[]).await?)
    }

    /// CPU microseconds of running jobs by their process trees, one item for each; `None` is no
    /// running job.
    ///
    /// # Errors
    /// [`AskError::Unfit`] where the answer has another length.
    pub async fn usage(
        &self,
        sessions: Vec<String>,
        patience: Duration,
    ) -> Result<Vec<Option<u64>>, AskError> {
        let count = sessions.len();
        let asked = self.link.send(&ToJobmanager::Usage { sessions }, &[]).await?;
        match unfailed(asked.within(patience).wait().await?)?.message {
            FromJobmanager::Usage { cpu_usec } if cpu_usec.len() == count => Ok(cpu_usec),
            _ => Err(AskError::Unfit),
        }
    }

    /// Begins to end a job.
    ///
    /// # Errors
    /// [`AskError::Failed`].
    pub async fn cancel(&self, session: &str) -> Result<(), AskError> {
        let message = ToJobmanager::CancelJob { session: session.to_owned() };
        match unfailed(self.link.ask(&message, &[]).await?)?.message {
            FromJobmanager::Cancelling {} | FromJobmanager::Ended { .. } => Ok(()),
            _ => Err(AskError::Unfit),
        }
    }

    /// Opens a file or directory.
    ///
    /// # Errors
    /// [`AskError::Failed`].
    pub async fn open(&self, session: &str, path: &[u8]) -> Result<Opened, AskError> {
        let message =
            ToJobmanager::Open { session: session.to_owned(), path: Blob(path.to_owned()) };
        opened(self.link.ask(&message, &[]).await?)
    }

    /// Names in a directory, and whether there were more.
    ///
    /// # Errors
    /// [`AskError::Failed`].
    pub async fn list(
        &self,
        session: &str,
        path: &[u8],
        entries_max: u32,
    ) -> Result<(Vec<Entry>, bool), AskError> {
        let message = ToJobmanager::List {
            session: session.to_owned(),
            path: Blob(path.to_owned()),
            entries_max,
        };
        listing(self.link.ask(&message, &[]).await?)
    }

    /// Every served file of a sandbox, recursively, and whether there were more.
    ///
    /// # Errors
    /// [`AskError::Failed`].
    pub async fn files(
        &self,
        session: &str,
        entries_max: u32,
        patience: Duration,
    ) -> Result<(Vec<Entry>, bool), AskError> {
        let message = ToJobmanager::Files { session: session.to_owned(), entries_max };
        listing(self.link.send(&message, &[]).await?.within(patience).wait().await?)
    }

    /// Watches a file for growth.
    ///
    /// # Errors
    /// [`AskError::Failed`].
    pub async fn follow(&self, session: &str, path: &[u8]) -> Result<Watch, AskError> {
        let message =
            ToJobmanager::Follow { session: session.to_owned(), path: Blob(path.to_owned()) };
        match unfailed(self.link.ask(&message, &[]).await?)?.message {
            FromJobmanager::Watching { watch } => {
                let grew = Arc::new(Notify::new());
                lock(&self.watches).insert(watch, Arc::clone(&grew));
                Ok(Watch { jobmanager: self.clone(), watch, grew })
            }
            _ => Err(AskError::Unfit),
        }
    }

    /// Removes a sandbox with all in it.
    ///
    /// # Errors
    /// [`AskError::Failed`] with what could not be removed.
    pub async fn remove(&self, session: &str) -> Result<(), AskError> {
        let message = ToJobmanager::Remove { session: session.to_owned() };
        let patience = Duration::from_secs(REMOVE_SECONDS_MAX);
        let answer = self.link.send(&message, &[]).await?.within(patience).wait().await?;
        match unfailed(answer)?.message {
            FromJobmanager::Removed {} => Ok(()),
            _ => Err(AskError::Unfit),
        }
    }

    /// Starts a service worker; its socket and pid. `log` is where its output goes.
    ///
    /// # Errors
    /// [`AskError::Failed`]; `StaleGrant` as in [`Jobmanager::prepare`].
    pub async fn start_worker(
        &self,
        start: WorkerStart,
        leaf: Option<Leaf>,
        log: Option<BorrowedFd<'_>>,
    ) -> Result<(OwnedFd, u32), AskError> {
        let message = ToJobmanager::StartWorker {
            worker: start.worker,
            argv: start.argv,
            environment: start.environment,
            directory: start.directory,
            has_log: log.is_some(),
            has_modules: start.modules.is_some(),
        };
        let mut descriptors = borrowed(leaf.as_ref());
        descriptors.extend(start.modules.as_ref().map(|modules| modules.as_fd()));
        descriptors.extend(log);
        let answer = self.fresh(self.link.ask(&message, &descriptors).await?)?;
        let mut answer = unfailed(answer)?;
        match answer.message {
            FromJobmanager::WorkerStarted { pid } => {
                Ok((answer.descriptors.pop().ok_or(AskError::Unfit)?, pid))
            }
            _ => Err(AskError::Unfit),
        }
    }

    /// Kills a worker with its descendants.
    ///
    /// # Errors
    /// [`AskError::Failed`].
    pub async fn kill_worker(&self, worker: u64) -> Result<i32, AskError> {
        let message = ToJobmanager::KillWorker { worker };
        match unfailed(self.link.ask(&message, &[]).await?)?.message {
            FromJobmanager::WorkerEnded { status, .. } => Ok(status),
            _ => Err(AskError::Unfit),
        }
    }

    /// Walks the tree of services, and answers what could not be walked; each service goes to `take`
    /// as it is found.
    ///
    /// `scan` is a [`ToJobmanager::Scan`].
    ///
    /// # Errors
    /// [`AskError::Failed`]; [`LinkError::TimedOut`] when nothing is said for longer than
    /// `silence_max`.
    pub async fn scan(
        &self,
        scan: &ToJobmanager,
        silence_max: Duration,
        mut take: impl FnMut(ScanFound),
    ) -> Result<Vec<String>, AskError> {
        let mut answers = self.link.ask_many(scan).await?;
        loop {
            let answer = tokio::time::timeout(silence_max, answers.next()).await;
            let answer = answer.map_err(|_elapsed| AskError::Link(LinkError::TimedOut))?;
            let answer = unfailed(answer.ok_or(AskError::Link(LinkError::Closed))?)?;
            let modules = answer.descriptors.into_iter().next();
            match answer.message {
                FromJobmanager::ServiceFound {
                    name,
                    folder,
                    access,
                    manifest,
                    description,
                    problem,
                    digest,
                    has_modules,
                    in_place,
                } => take(ScanFound {
                    name,
                    folder,
                    access,
                    manifest,
                    description,
                    problem,
                    digest: digest.0,
                    modules: modules.filter(|_| has_modules).map(|file| Arc::new(file.into())),
                    in_place,
                }),
                FromJobmanager::DiscoverDone { problems } => return Ok(problems),
                _ => return Err(AskError::Unfit),
            }
        }
    }
}

/// The access list of a folder in the tree of services, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessFound {
    /// Dotted name of the folder.
    pub name: String,
    /// The file's text; `None` if there is no file, or it could not be read.
    pub access: Option<String>,
    /// Why the folder or the file could not be read.
    pub problem: Option<String>,
}

impl Jobmanager {
    /// Reads the access lists in the tree of services below `root`; with them what could not be walked.
    ///
    /// # Errors
    /// As [`Jobmanager::scan`].
    pub async fn scan_access(
        &self,
        root: String,
        silence_max: Duration,
    ) -> Result<(Vec<AccessFound>, Vec<String>), AskError> {
        let mut answers = self.link.ask_many(&ToJobmanager::ScanAccess { root }).await?;
        let mut lists = Vec::new();
        loop {
            let answer = tokio::time::timeout(silence_max, answers.next()).await;
            let answer = answer.map_err(|_elapsed| AskError::Link(LinkError::TimedOut))?;
            match unfailed(answer.ok_or(AskError::Link(LinkError::Closed))?)?.message {
                FromJobmanager::AccessFound { name, access, problem } => {
                    lists.push(AccessFound { name, access, problem });
                }
                FromJobmanager::DiscoverDone { problems } => return Ok((lists, problems)),
                _ => return Err(AskError::Unfit),
            }
        }
    }
}

/// A file that is watched for growth; dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    jobmanager: Jobmanager,
    watch: u64,
    grew: Arc<Notify>,
}

impl Watch {
    /// Waits until the file has changed since the last time; `false` when the jobmanager is gone.
    pub async fn grew(&self) -> bool {
        if self.jobmanager.is_closed() {
            return false;
        }
        self.grew.notified().await;
        !self.jobmanager.is_closed()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.jobmanager.watches).remove(&self.watch);
        let (jobmanager, watch) = (self.jobmanager.clone(), self.watch);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = jobmanager.link.tell(&ToJobmanager::Unfollow { watch }).await {
                    tracing::debug!(%error, "a watch ended with its jobmanager");
                }
            });
        }
    }
}

async fn sort_events(
    mut unasked: mpsc::Receiver<Received<FromJobmanager>>,
    events: mpsc::Sender<Unasked>,
    watches: Watches,
) {
    while let Some(received) = unasked.recv().await {
        let event = match received.message {
            FromJobmanager::Grew { watch } => {
                if let Some(grew) = lock(&watches).get(&watch) {
                    grew.notify_one();
                }
                continue;
            }
            FromJobmanager::Ended { session, record } => Unasked::JobEnded { session, record },
            FromJobmanager::RecordSeen { session, record } => {
                Unasked::RecordSeen { session, record }
            }
            FromJobmanager::WorkerEnded { worker, status } => {
                Unasked::WorkerEnded { worker, status }
            }
            _ => {
                tracing::warn!("a jobmanager said unasked what is an answer");
                continue;
            }
        };
        if events.send(event).await.is_err() {
            break;
        }
    }
    // The link is closed: whoever waits for growth looks again, and sees that.
    for grew in lock(&watches).values() {
        grew.notify_one();
    }
}

fn borrowed(leaf: Option<&Leaf>) -> Vec<BorrowedFd<'_>> {
    leaf.map(|leaf| leaf.descriptors.iter().map(AsFd::as_fd).collect()).unwrap_or_default()
}

fn unfailed(answer: Received<FromJobmanager>) -> Result<Received<FromJobmanager>, AskError> {
    match answer.message {
        FromJobmanager::Failed { errno, text } => Err(AskError::Failed { errno, text }),
        _ => Ok(answer),
    }
}

fn prepared(answer: Received<FromJobmanager>) -> Result<String, AskError> {
    match unfailed(answer)?.message {
        FromJobmanager::Prepared { path } => Ok(path),
        _ => Err(AskError::Unfit),
    }
}

fn opened(answer: Received<FromJobmanager>) -> Result<Opened, AskError> {
    let mut answer = unfailed(answer)?;
    match answer.message {
        FromJobmanager::Opened { directory, size, modified, modified_nanos, inode } => {
            let file = answer.descriptors.pop().ok_or(AskError::Unfit)?;
            Ok(Opened { file, directory, size, modified, modified_nanos, inode })
        }
        _ => Err(AskError::Unfit),
    }
}

fn listing(answer: Received<FromJobmanager>) -> Result<(Vec<Entry>, bool), AskError> {
    match unfailed(answer)?.message {
        FromJobmanager::Listing { entries, cut } => Ok((entries, cut)),
        _ => Err(AskError::Unfit),
    }
}

fn job_found(answer: Received<FromJobmanager>) -> Result<JobFound, AskError> {
    match unfailed(answer)?.message {
        FromJobmanager::Adopted { shepherd } => Ok(JobFound::Adopted(shepherd)),
        FromJobmanager::Ended { record, .. } => Ok(JobFound::Ended(record)),
        FromJobmanager::Gone { guarded } => Ok(JobFound::Gone { guarded }),
        _ => Err(AskError::Unfit),
    }
}
