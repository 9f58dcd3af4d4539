//! The container: what is between a caller's call and the processes that do the work.
//!
//! It knows no HTTP, TLS, XML or SQL. A front end (the gatekeeper) gives it a [`Caller`] and a
//! `rpc::Call` and gets an [`Answer`]; it gives it a session and a path and gets a descriptor
//! ([`Found`]) or a watch ([`Following`]). Everything that needs a user's or root's rights is asked
//! of other processes over [`link`]s.
//!
//! One request's way: `grants` judges the caller, `call` finds and permits the method, a built-in
//! or a service worker runs it, and `jobs` admits, starts, watches and ends jobs.

mod answers;
mod audit;
mod builtin;
mod call;
mod clock;
mod directives;
mod edits;
mod ending;
mod events;
mod files;
mod grants;
mod groups;
mod jobs;
pub mod link;
mod logins;
mod raw;
mod reading;
mod registry;
mod rules;
mod waiting;
mod workers;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nesssi_config::Config;
use nesssi_dn::SubjectDn;
use nesssi_identity::{Peer, Presented, ProxyKind};
use nesssi_rpc::soap::Signature;
use nesssi_rpc::{Call, ClientTag, Dialect, Fault, FaultCode, MethodName, NamedCall, Reply, Value};
use tokio::sync::watch;

pub use audit::Served;
pub use call::{CallsBudget, Offered};
pub use directives::check_directives;
pub use ending::Ending;
pub use events::{EVENTS_KEPT_MAX, JobEvent};
pub use files::{
    Change, DirectoryEntry, FileFault, Following, Found, Put, PutFault, Upload, Uploaded,
};
pub use grants::{CallerGrant, Grant};
pub use jobs::{Jobs, Submission};
pub use raw::RawFile;

use crate::edits::Edits;
use crate::ending::InFlight;
use crate::grants::Grants;
use crate::groups::Groups;
use crate::link::{Channels, JobmanagerEvent, Monitor, MonitorEvent, Welcome};

/// Who calls, from where, and how.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What the connection's credential was found to be; shared by all its calls.
    pub peer: Arc<Peer>,
    /// The certificates behind it, as they were sent.
    pub presented: Option<Arc<Presented>>,
    /// The account that this request asks for, as it was written; `None` is the caller's first.
    pub account: Option<String>,
    /// User and password of this request, as the original's clients send them.
    pub basic: Option<Basic>,
    /// The tag that he gives to his call, from the head of the request.
    pub tag: Option<ClientTag>,
    /// Where the connection comes from.
    pub address: IpAddr,
    /// The request's id, in every log line about it.
    pub request_id: String,
    /// How he spoke.
    pub dialect: Dialect,
}

/// User and password of HTTP's Basic scheme (RFC 7617): here never a person's, but the two halves of
/// a login that [`Container::call`] of `system.auth2` has made, or asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    /// The client's own token.
    pub user: String,
    /// Our secret, or the word that asks for one.
    pub password: String,
}

impl std::fmt::Debug for Basic {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Basic")
    }
}

impl Caller {
    /// A caller without a certificate and without wishes.
    #[must_use]
    pub fn plain(peer: Arc<Peer>, address: IpAddr, request_id: String, dialect: Dialect) -> Self {
        let (presented, account, basic, tag) = (None, None, None, None);
        Self { peer, presented, account, basic, tag, address, request_id, dialect }
    }

    /// The caller's subject; `None` is anonymous, or refused.
    #[must_use]
    pub fn subject(&self) -> Option<&SubjectDn> {
        match &*self.peer {
            Peer::Certified(identity) => Some(&identity.subject),
            Peer::Anonymous(_) | Peer::Refused(_) => None,
        }
    }

    /// The kind of proxy that he calls with.
    #[must_use]
    pub fn proxy(&self) -> Option<ProxyKind> {
        match &*self.peer {
            Peer::Certified(identity) => identity.proxy,
            Peer::Anonymous(_) | Peer::Refused(_) => None,
        }
    }

    /// The issuer of the caller's certificate.
    #[must_use]
    pub fn issuer(&self) -> Option<&SubjectDn> {
        match &*self.peer {
            Peer::Certified(identity) => Some(&identity.issuer),
            Peer::Anonymous(_) | Peer::Refused(_) => None,
        }
    }
}

/// Judges a chain afresh, against the trust directory in force and the time of day.
pub type Rejudge = Arc<dyn Fn(&Presented) -> Peer + Send + Sync>;

/// What the network side lends the container of what it knows of certificates.
pub struct Trusting {
    /// For callers of logins, who showed their chain on an earlier connection.
    pub rejudge: Rejudge,
    /// The server's own certificate, PEM: part of the answer to `system.auth2`.
    pub server_certificate: String,
}

impl std::fmt::Debug for Trusting {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Trusting")
    }
}

/// A certificate of the server and its key, found new by the monitor.
#[derive(Debug)]
pub struct Renewed {
    /// The certificate chain, PEM; readable from any offset.
    pub certificate: OwnedFd,
    /// Its private key, PEM.
    pub key: OwnedFd,
}

/// What a call comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The value or the fault.
    pub reply: Reply,
    /// The URL of the session that the call made, if it made one.
    pub session: Option<String>,
    /// The value is a part of a file: to be sent as it is, in place of `reply`, which says nothing
    /// then. Only a single call in XML-RPC is answered so.
    pub raw: Option<Arc<RawFile>>,
    /// Whether it was kept from when a call with the same tag was answered first.
    pub again: bool,
}

impl Answer {
    /// An answer that made no session.
    #[must_use]
    pub fn of(reply: Reply) -> Self {
        Self { reply, session: None, raw: None, again: false }
    }

    /// A part of a file.
    #[must_use]
    pub fn raw(file: RawFile) -> Self {
        Self { raw: Some(Arc::new(file)), ..Self::of(Ok(Value::Nil)) }
    }
}

/// Why the container could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be used.
    #[error("journal: {0}")]
    Journal(#[from] nesssi_journal::JournalError),
    /// The monitor refused or is gone.
    #[error("monitor: {0}")]
    Monitor(#[from] link::AskError),
    /// A file or directory of the gatekeeper's own cannot be made.
    #[error("{what}: {error}")]
    Io {
        /// What was to be made.
        what: String,
        /// The system's error.
        error: std::io::Error,
    },
}

/// The container. Clones are the same container.
#[derive(Debug, Clone)]
pub struct Container {
    inner: Arc<Inner>,
}

/// What the rooms of the container share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Arc<Config>,
    pub(crate) welcome: Welcome,
    pub(crate) monitor: Monitor,
    pub(crate) grants: Grants,
    pub(crate) jobs: Jobs,
    pub(crate) answers: answers::Answers,
    pub(crate) groups: Groups,
    pub(crate) edits: Edits,
    pub(crate) services: registry::Services,
    pub(crate) audit: audit::Audit,
    pub(crate) logins: logins::Logins,
    pub(crate) reading: reading::Pool,
    pub(crate) uploads: files::Uploads,
    /// Who makes digests of files.
    pub(crate) digesting: reading::Pool,
    /// When it began, in milliseconds.
    pub(crate) started_ms: u64,
    /// Who waits for the end of a job.
    pub(crate) waiters: waiting::Waiters,
    renewed: watch::Sender<Option<Arc<Renewed>>>,
    pub(crate) in_flight: InFlight,
    ending: ending::EndingSignal,
}

impl Inner {
    /// Whether no new calls are taken, or soon will not be.
    pub(crate) fn is_draining(&self) -> bool {
        self.ending.is_set() || self.in_flight.is_closed()
    }
}

impl Container {
    /// Opens the journal, takes up the jobs that are there, and begins to find the services.
    ///
    /// Answers as soon as calls can be accepted; what is still being reconciled says so in `as_of`,
    /// and who calls a service that is not found yet waits a little.
    ///
    /// # Errors
    /// [`StartError`] where the journal or the audit log cannot be used, or the monitor is gone.
    pub async fn start(
        config: Arc<Config>,
        welcome: Welcome,
        monitor: Monitor,
        trusting: Trusting,
    ) -> Result<Self, StartError> {
        let (channels, jobmanager_events) = Channels::new(monitor.clone());
        let grants = Grants::new(
            monitor.clone(),
            channels.clone(),
            welcome.root,
            welcome.generation,
            &config,
        );
        let groups = Groups::new(&config);
        let edits = Edits::default();
        let audit = audit::Audit::start(&config)?;
        let jobs = Jobs::start(jobs::Needs {
            config: Arc::clone(&config),
            boot_id: welcome.boot_id.clone(),
            leaves: welcome.leaves,
            monitor: monitor.clone(),
            channels,
            grants: grants.clone(),
            audit: audit.clone(),
            groups: groups.clone(),
            edits: edits.clone(),
        })
        .await?;
        let monitor_events = monitor.events();
        let inner = Arc::new(Inner {
            answers: jobs.answers().clone(),
            config,
            welcome,
            monitor,
            grants,
            jobs,
            groups,
            edits,
            services: registry::Services::default(),
            audit,
            logins: logins::Logins::new(trusting),
            reading: reading::Pool::default(),
            uploads: files::Uploads::default(),
            digesting: reading::Pool::of_digests(),
            started_ms: clock::now_ms(),
            waiters: waiting::Waiters::default(),
            renewed: watch::Sender::new(None),
            in_flight: InFlight::default(),
            ending: ending::EndingSignal::default(),
        });
        if let Some(events) = monitor_events {
            tokio::spawn(obey_monitor(Arc::clone(&inner), events));
        }
        tokio::spawn(hear_jobmanagers(Arc::clone(&inner), jobmanager_events));
        registry::begin(&inner);
        Ok(Self { inner })
    }

    /// Tells the monitor that this gatekeeper serves. Once, after the servers run.
    ///
    /// # Errors
    /// [`link::AskError`] if the monitor is gone.
    pub async fn ready(&self) -> Result<(), link::AskError> {
        let Inner { monitor, audit, .. } = &*self.inner;
        monitor.ready().await?;
        tokio::spawn(audit::tell_heads(audit.heads(), monitor.clone()));
        Ok(())
    }

    /// The server's certificates as the monitor finds them new; `None` until there is one.
    #[must_use]
    pub fn certificates(&self) -> watch::Receiver<Option<Arc<Renewed>>> {
        self.inner.renewed.subscribe()
    }

    /// The server's certificate has been renewed: PEM.
    pub fn set_server_certificate(&self, pem: String) {
        self.inner.logins.set_server_certificate(pem);
    }

    /// Records who is connected, once for each connection: a credential that was taken or refused.
    pub fn connected(&self, peer: &Peer, address: IpAddr) {
        audit::connected(&self.inner.audit, peer, address);
    }

    /// Records a file that was served, or was not, to whoever holds the session's id.
    pub fn served(&self, served: &Served<'_>) {
        audit::served(&self.inner.audit, served);
    }

    /// Answers a call. Never panics across a request, never waits without a bound.
    pub async fn call(&self, caller: &Caller, call: Call) -> Answer {
        match self.inner.in_flight.enter() {
            Some(_under_way) => call::dispatch(&self.inner, caller, call).await,
            None => Answer::of(Err(restarting())),
        }
    }

    /// Answers a call whose parameters are named.
    pub async fn call_named(&self, caller: &Caller, call: NamedCall) -> Answer {
        match self.inner.in_flight.enter() {
            Some(_under_way) => call::dispatch_named(&self.inner, caller, call).await,
            None => Answer::of(Err(restarting())),
        }
    }

    /// Counts what was sent as one call of several and is none, as a call is counted. What answers it:
    /// the `fault` that says what is wrong with it, or that there were too many.
    pub async fn miscalled(&self, caller: &Caller, fault: Fault) -> Fault {
        match self.inner.in_flight.enter() {
            Some(_under_way) => call::miscalled(&self.inner, caller, fault).await,
            None => restarting(),
        }
    }

    /// The signatures of a method, for a caller whose parameters cannot be read without them; none where
    /// they are not known, or he may not call it.
    pub async fn signatures(&self, caller: &Caller, method: &MethodName) -> Vec<Signature> {
        match self.inner.in_flight.enter() {
            Some(_under_way) => call::signatures(&self.inner, caller, method).await,
            None => Vec::new(),
        }
    }

    /// All that a caller may call, or all of one service, described. Counted and audited as a call of
    /// `system.listMethods`.
    ///
    /// # Errors
    /// The fault that such a call gets; -32601 for a service that there is not for this caller.
    pub async fn offers(&self, caller: &Caller, only: Option<&str>) -> Result<Vec<Offered>, Fault> {
        match self.inner.in_flight.enter() {
            Some(_under_way) => call::offers(&self.inner, caller, only).await,
            None => Err(restarting()),
        }
    }

    /// Opens a file or a directory of a session for reading.
    ///
    /// # Errors
    /// [`FileFault::NotFound`] alike for what is absent, malformed and forbidden.
    pub async fn open(&self, session: &str, path: &[u8]) -> Result<Found, FileFault> {
        files::open(&self.inner.jobs, session, path).await
    }

    /// Watches a file of a session.
    ///
    /// # Errors
    /// As [`Container::open`].
    pub async fn follow(&self, session: &str, path: &[u8]) -> Result<Following, FileFault> {
        files::follow(&self.inner.jobs, session, path).await
    }

    /// Begins to write a file of a session. Counted and audited as a call of `file.put`, which there is
    /// not otherwise.
    ///
    /// # Errors
    /// [`PutFault`]; the faults are those of a call.
    pub async fn begin_upload(&self, caller: &Caller, put: &Put<'_>) -> Result<Upload, PutFault> {
        match self.inner.in_flight.enter() {
            Some(_under_way) => call::begin_upload(&self.inner, caller, put).await,
            None => Err(restarting().into()),
        }
    }

    /// Waits until the monitor asks for an end, or is gone.
    pub async fn ending(&self) -> Ending {
        self.inner.ending.wait().await
    }

    /// Answers those who wait for the end of a job, and lets nobody wait any more.
    pub fn release_waiters(&self) {
        self.inner.waiters.release();
    }

    /// Takes no new call, finishes those under way, gives up polling and tells the monitor so.
    pub async fn drain(&self) {
        self.inner.services.give_up_finding();
        self.inner.waiters.release();
        self.inner.in_flight.close().await;
        // Those whose callers have left.
        self.inner.answers.close().await;
        self.inner.services.drain().await;
        self.inner.jobs.give_up().await;
        self.inner.audit.flush().await;
        let monitor = &self.inner.monitor;
        if let Err(error) = monitor.audit_head(self.inner.audit.on_disk()).await {
            tracing::warn!(%error, "could not tell the monitor where the audit log ends");
        }
        if let Err(error) = self.inner.monitor.released().await {
            tracing::warn!(%error, "could not tell the monitor that all is released");
        }
    }
}

/// Whether the journal can be taken up, as far as it can be told without its lease.
///
/// # Errors
/// [`StartError::Journal`].
pub fn check_journal(config: &Config) -> Result<(), StartError> {
    let path = config.server.state_directory.join(jobs::JOURNAL_FILE);
    Ok(nesssi_journal::check_version(&path)?)
}

pub(crate) fn restarting() -> Fault {
    Fault::new(FaultCode::Unavailable, "the server is being restarted: try again")
}

/// Does what the monitor says unasked, in order, until it is gone.
async fn obey_monitor(inner: Arc<Inner>, mut events: tokio::sync::mpsc::Receiver<MonitorEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            MonitorEvent::Generation { generation, config_text } => {
                rules_changed(&inner, generation, config_text.as_deref());
            }
            MonitorEvent::Certificate { certificate, key } => {
                inner.renewed.send_replace(Some(Arc::new(Renewed { certificate, key })));
            }
            MonitorEvent::Drain { seconds_max } => {
                inner.ending.set(Ending::Drain { seconds_max });
            }
            MonitorEvent::RestartService { ticket, name } => {
                let inner = Arc::clone(&inner);
                tokio::spawn(async move {
                    let outcome = registry::restart(&inner, &name).await;
                    control_done(&inner, ticket, outcome).await;
                });
            }
            MonitorEvent::CheckService { ticket, name, file } => {
                let inner = Arc::clone(&inner);
                tokio::spawn(async move {
                    let outcome = registry::check(&inner, &name, file).await;
                    control_done(&inner, ticket, outcome).await;
                });
            }
            MonitorEvent::ServiceLog { ticket, name } => {
                let outcome = registry::log_of(&inner, &name);
                control_done(&inner, ticket, outcome).await;
            }
            MonitorEvent::Status { ticket } => {
                let text = registry::status_text(&inner);
                let text = format!("{}\n{text}", inner.jobs.health());
                control_done(&inner, ticket, Ok(text)).await;
            }
        }
    }
    inner.ending.set(Ending::MonitorGone);
}

/// From now on callers are judged anew, and levels and administrators are those of the new
/// configuration, if there is one.
fn rules_changed(inner: &Inner, generation: u64, config_text: Option<&str>) {
    let config = config_text.and_then(|text| {
        nesssi_config::parse(text, &inner.welcome.config_path)
            .inspect_err(|mistakes| {
                let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
                tracing::error!(mistake = first, "the monitor's new configuration is not taken up");
            })
            .ok()
    });
    inner.grants.forget_all(generation, config.as_ref());
    inner.groups.set_roots(&inner.grants.rules().now().vo_administrators);
}

async fn control_done(inner: &Inner, ticket: u32, outcome: Result<String, String>) {
    let (ok, text) = match outcome {
        Ok(text) => (true, text),
        Err(text) => (false, text),
    };
    if let Err(error) = inner.monitor.control_done(ticket, ok, text).await {
        tracing::warn!(%error, "could not answer the monitor");
    }
}

/// Hands what jobmanagers say unasked to the room it concerns.
async fn hear_jobmanagers(
    inner: Arc<Inner>,
    mut events: tokio::sync::mpsc::Receiver<JobmanagerEvent>,
) {
    while let Some(event) = events.recv().await {
        match event {
            JobmanagerEvent::JobEnded { account, session, record } => {
                inner.jobs.ended(&account, &session, record);
            }
            JobmanagerEvent::RecordSeen { account, session, record: _ } => {
                inner.jobs.record_seen(&account, &session);
            }
            JobmanagerEvent::WorkerEnded { account, worker, status } => {
                workers::ended(&inner, &account, worker, status);
            }
            JobmanagerEvent::Closed { account, pid } => {
                inner.jobs.jobmanager_gone(&account);
                workers::jobmanager_gone(&inner, &account, pid);
            }
        }
    }
}
