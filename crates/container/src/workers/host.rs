//! The container as the host of its workers: how one is started, and what it may ask for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nesssi_config::Config;
use nesssi_privsep::messages::{LeafOwner, Refusal};
use nesssi_rpc::{Fault, FaultCode, Value};
use nesssi_service::protocol::{Command, Request};
use nesssi_session::SessionId;

use super::{Answered, End, Host, LivingWorker, Meter, Started, random};
use crate::Inner;
use crate::grants::CallerGrant;
use crate::jobs::Submission;
use crate::link::{AskError, Jobmanager, Leaf, Monitor, WorkerStart, lock};
use crate::registry::{self, Service};

/// How often a leaf is looked at until it is empty, and the pause between.
const LEAF_LOOKS_MAX: u32 = 100;
const LEAF_PAUSE_MS: u64 = 50;

/// Where a worker finds the version of its service's modules.
const MODULES_DESCRIPTOR: u32 = 4;

/// Which of a leaf's descriptors is `cpu.stat`.
const LEAF_CPU_STAT: usize = 1;

impl Host for Inner {
    async fn start(&self, who: &mut CallerGrant, service: &Arc<Service>) -> Result<Started, Fault> {
        let anonymous = who.subject.is_none();
        let request_id = who.request_id.clone();
        let judged = who.grant.id;
        let jobmanager = self.grants.start_channel(who).await?;
        if who.grant.id != judged {
            self.services.callers.forget_all();
        }
        let mut started = self.start_worker(&jobmanager, who, service).await;
        if let Err(AskError::Refused(Refusal::StaleGrant {})) = started {
            // The rules have changed in between: he is judged once more.
            let jobmanager = self.grants.start_channel(who).await?;
            self.services.callers.forget_all();
            started = self.start_worker(&jobmanager, who, service).await;
        }
        started.map_err(|error| self.start_fault(&error, anonymous, &request_id, service))
    }

    async fn answer(&self, who: CallerGrant, service: Arc<Service>, request: Request) -> Answered {
        let mut session = None;
        let reply = self.do_ask(&who, &service, request, &mut session).await;
        Answered { reply, session }
    }

    fn charge(&self, who: &CallerGrant, cpu_usec: u64) {
        self.jobs.charge_call(who, cpu_usec);
    }

    fn note(&self, service: &str, text: &str) {
        let written = open_log(&self.config, service)
            .and_then(|(mut log, _)| writeln!(log, "nesssi: {text}"));
        if let Err(error) = written {
            tracing::warn!(service, %error, "the service's log cannot be written");
        }
    }
}

impl Inner {
    async fn start_worker(
        &self,
        jobmanager: &Jobmanager,
        who: &CallerGrant,
        service: &Service,
    ) -> Result<Started, AskError> {
        let worker = next_worker();
        let leaf_name = format!("w{worker:016x}");
        let leaf = self.worker_leaf(who, &leaf_name).await?;
        let meter_file = leaf
            .as_ref()
            .and_then(|leaf| leaf.descriptors.get(LEAF_CPU_STAT))
            .and_then(|stat| stat.try_clone().ok());
        let leaf_name = leaf.is_some().then_some(leaf_name);
        let log = open_log(&self.config, service.name.as_str())
            .inspect_err(|error| {
                tracing::warn!(service = %service.name, %error, "the service's log cannot be opened");
            })
            .ok()
            .map(|(log, _)| log);
        let start = self.worker_start(jobmanager, worker, service);
        let started = jobmanager.start_worker(start, leaf, log.as_ref().map(File::as_fd)).await;
        let (socket, pid) = match started {
            Ok(started) => started,
            Err(error) => {
                end_leaf(&self.monitor, leaf_name).await;
                return Err(error);
            }
        };
        let gone = self.services.living.enter(worker, jobmanager, who);
        let meter = meter_file.map_or(Meter::Process(pid), Meter::Leaf);
        let end = self.ending_of(worker, jobmanager.clone(), leaf_name);
        Ok(Started { socket, meter, gone, end })
    }

    async fn worker_leaf(&self, who: &CallerGrant, name: &str) -> Result<Option<Leaf>, AskError> {
        if !self.welcome.leaves {
            return Ok(None);
        }
        self.monitor.leaf_make(LeafOwner::Grant { grant: who.grant.id }, name).await
    }

    fn worker_start(&self, jobmanager: &Jobmanager, worker: u64, service: &Service) -> WorkerStart {
        let mut argv = match &service.manifest.command {
            Some(command) => command.clone(),
            None => self.config.services.worker_argv(),
        };
        argv.push("serve".to_owned());
        argv.push(service.name.as_str().to_owned());
        argv.push(service.folder.clone());
        let modules = service.access.as_ref().and_then(|behind| behind.modules.clone());
        argv.extend(modules.as_ref().map(|_| MODULES_DESCRIPTOR.to_string()));
        let environment =
            registry::environment(&self.config, jobmanager.facts(), service.name.as_str());
        WorkerStart { worker, argv, environment, directory: service.folder.clone(), modules }
    }

    /// Kills the worker with its descendants, removes its leaf, and forgets it.
    fn ending_of(&self, worker: u64, jobmanager: Jobmanager, leaf: Option<String>) -> End {
        let monitor = self.monitor.clone();
        let living = self.services.living.clone();
        End::new(move || async move {
            if let Err(error) = jobmanager.kill_worker(worker).await {
                // It may have ended by itself, or its jobmanager with it; the leaf ends the rest.
                tracing::debug!(worker, %error, "a worker was not killed");
            }
            end_leaf(&monitor, leaf).await;
            living.leave(worker);
        })
    }

    fn start_fault(
        &self,
        error: &AskError,
        anonymous: bool,
        request_id: &str,
        service: &Service,
    ) -> Fault {
        match error {
            AskError::Failed { errno, text } => {
                tracing::warn!(service = %service.name, errno, text, "a worker could not start");
                self.note(service.name.as_str(), &format!("a worker could not start: {text}"));
                Fault::new(
                    FaultCode::Unavailable,
                    format!("the service {} could not be started", service.name),
                )
            }
            AskError::Refused(_) | AskError::Link(_) | AskError::Unfit => {
                self.grants.fault(error, anonymous, request_id)
            }
        }
    }

    async fn do_ask(
        &self,
        who: &CallerGrant,
        service: &Service,
        request: Request,
        made: &mut Option<SessionId>,
    ) -> Result<Value, Fault> {
        let name = service.name.as_str();
        match request {
            Request::SystemUser { seconds } => {
                Ok(self.jobs.account_for(who, seconds).await?.into())
            }
            Request::SessionInfo { method, seconds } => {
                let (session, path) = self.jobs.prepare(who, name, &method, seconds).await?;
                let pair = vec![session.reveal().into(), path.into()];
                *made = Some(session);
                Ok(Value::Array(pair))
            }
            Request::Sandbox { session } => Ok(self.jobs.sandbox_path(&session)?.into()),
            Request::Status { session } | Request::Monitor { session } => {
                Ok(self.jobs.status_text(&session).await?.into())
            }
            Request::StatusValue { session } => self.jobs.status_value(&session),
            Request::Url { session } => Ok(self.jobs.url(&session)?.into()),
            Request::RunJob { method, seconds, session, command, batch } => {
                let command = match command {
                    Command::Argv(words) => nesssi_job::Command::Argv(words),
                    Command::Shell(text) => nesssi_job::Command::Shell(text),
                };
                let shell_allowed = service.manifest.shell_commands;
                let batch = batch.or_else(|| service.batch.clone());
                let service = name.to_owned();
                let submission =
                    Submission { service, method, seconds, session, command, shell_allowed, batch };
                let session = self.jobs.submit(who, submission).await?;
                let told = session.reveal().into();
                *made = Some(session);
                Ok(told)
            }
        }
    }
}

impl super::Living {
    fn enter(&self, worker: u64, jobmanager: &Jobmanager, who: &CallerGrant) -> Arc<AtomicBool> {
        let gone = Arc::new(AtomicBool::new(false));
        let known = LivingWorker {
            account: who.grant.account.clone(),
            jobmanager: jobmanager.pid(),
            gone: Arc::clone(&gone),
        };
        lock(&self.workers).insert(worker, known);
        gone
    }

    fn leave(&self, worker: u64) {
        lock(&self.workers).remove(&worker);
    }
}

/// Kills all in a leaf, until it is empty and removed.
async fn end_leaf(monitor: &Monitor, name: Option<String>) {
    let Some(name) = name else { return };
    for _ in 0..LEAF_LOOKS_MAX {
        match monitor.leaf_kill(&name).await {
            Ok(Some(facts)) if facts.populated => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, leaf = name, "a worker's leaf could not be removed");
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(LEAF_PAUSE_MS)).await;
    }
    tracing::warn!(leaf = name, "a worker's leaf does not become empty");
}

/// A name that no other gatekeeper's worker has: two serve while one replaces the other.
fn next_worker() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let first = FIRST.get_or_init(|| u64::from_le_bytes(random()));
    first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The log that a service's developers read, `<log_directory>/services/<name>.log`, and its path.
///
/// # Errors
/// The system's.
pub(crate) fn open_log(config: &Config, service: &str) -> io::Result<(File, PathBuf)> {
    let directory = config.server.log_directory.join("services");
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(no_follow);
    let path = directory.join(format!("{service}.log"));
    let log = match options.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(&directory)?;
            options.open(&path)?
        }
        opened => opened?,
    };
    Ok((log, path))
}
