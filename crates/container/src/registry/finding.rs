//! Finding: the first scan of the tree of services, beside serving.
//!
//! A server answers from its first moment; its services appear one by one, as they are found. Who
//! asks for one that is not there yet waits a little. A scan that fails is tried again, for ever.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use nesssi_rpc::{Fault, FaultCode, MethodName};
use nesssi_service::{ServiceName, ServiceState};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::versions::Versions;
use super::{
    Look, Registry, ScanFound, Service, Services, discover, last_good, list_of, lists, read,
};
use crate::Inner;
use crate::call::no_such_method;
use crate::link::{AccessFound, AskError, lock};

/// How long a call waits for its service to be found, and a list for all services.
const WAIT_MAX: Duration = Duration::from_millis(if cfg!(test) { 500 } else { 5_000 });

/// How many scans fail before nobody waits for the next any more.
const TRIES_WAITED_FOR: u32 = 3;

/// The pause after a scan that failed, doubled each time.
const AGAIN_MIN: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });

/// The longest such pause.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// How far the first scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// It runs, and is worth waiting for.
    #[default]
    Running,
    /// It has failed again and again, or was given up: more may come, but nobody waits for it.
    Late,
    /// What is not known now does not exist.
    Done,
}

/// The first scan.
#[derive(Debug, Default)]
pub(super) struct Finding {
    phase: watch::Sender<Phase>,
    /// Services that were restarted meanwhile: what the scan says of them is older.
    restarted: Mutex<HashSet<ServiceName>>,
    task: OnceLock<AbortHandle>,
}

impl Finding {
    /// Wakes those who wait, to look again.
    pub(super) fn tell(&self) {
        self.phase.send_modify(|_| {});
    }

    /// From now on the scan changes nothing about this service.
    pub(super) fn leave_alone(&self, name: &ServiceName) {
        let mut restarted = lock(&self.restarted);
        if *self.phase.borrow() != Phase::Done {
            restarted.insert(name.clone());
        }
    }

    fn done(&self) {
        let mut restarted = lock(&self.restarted);
        self.phase.send_replace(Phase::Done);
        restarted.clear();
    }
}

impl Services {
    /// The service that a method belongs to, waited for while services are still being found.
    ///
    /// # Errors
    /// -32601 where there is none; 503 where it may still be found.
    pub(crate) async fn find(&self, method: &MethodName) -> Result<Arc<Service>, Fault> {
        if let Some(service) = self.known(method) {
            return Ok(service);
        }
        self.wait_until(|registry| registry.find(method).is_some()).await;
        // Asked before it is looked for: what is found last is there before all is said to be.
        let all_found = self.are_all_found();
        self.known(method).ok_or_else(|| {
            if all_found {
                no_such_method(method)
            } else {
                Fault::new(FaultCode::Unavailable, "services are still being found: try again")
            }
        })
    }

    fn known(&self, method: &MethodName) -> Option<Arc<Service>> {
        self.current().find(method).map(|(service, _)| Arc::clone(service))
    }

    /// Waits for the end of the first scan, but not for long.
    pub(crate) async fn all_found(&self) {
        if !self.are_all_found() {
            self.wait_until(|_| false).await;
        }
    }

    pub(super) fn are_all_found(&self) -> bool {
        *self.finding.phase.borrow() == Phase::Done
    }

    /// Ends the first scan, the looking at access lists, and the waiting for them.
    pub(crate) fn give_up_finding(&self) {
        if let Some(task) = self.finding.task.get() {
            task.abort();
        }
        self.finding.phase.send_if_modified(|phase| {
            let running = *phase == Phase::Running;
            if running {
                *phase = Phase::Late;
            }
            running
        });
    }

    async fn wait_until(&self, is_enough: impl Fn(&Registry) -> bool) {
        let mut phase = self.finding.phase.subscribe();
        let enough =
            phase.wait_for(|phase| *phase != Phase::Running || is_enough(&self.current.load()));
        if tokio::time::timeout(WAIT_MAX, enough).await.is_err() {
            tracing::debug!("a caller has waited for the services long enough");
        }
    }

    /// Takes in what the first scan found, unless something better is known.
    fn take_in(&self, service: Service, list: &AccessFound) {
        let restarted = lock(&self.finding.restarted);
        let known = self.current().get(service.name.as_str()).cloned();
        // One that is sound was found by a try before.
        if restarted.contains(&service.name) || known.is_some_and(|known| known.is_ok()) {
            return;
        }
        if let ServiceState::Broken(why) = &service.state {
            tracing::warn!(service = %service.name, %why, "a service is broken");
        }
        self.lists.take(list);
        self.swap(&Arc::new(service));
    }
}

/// Begins to find the services, and leaves that to itself. Once.
pub(crate) fn begin(inner: &Arc<Inner>) {
    if inner.welcome.root && inner.config.services.account.is_none() {
        tracing::warn!("[services] account is not set: there are no services");
        inner.services.finding.done();
        return;
    }
    let finder = Arc::clone(inner);
    let task = tokio::spawn(async move {
        find_all(&finder).await;
        lists::keep_looking(finder).await;
    });
    if inner.services.finding.task.set(task.abort_handle()).is_err() {
        tracing::error!("the services are being found twice");
    }
}

/// The access lists come first: where a service is known, so is what the folders around it deny.
async fn find_once(inner: &Inner) -> Result<(), AskError> {
    lists::look(inner).await?;
    let looked = discover(inner, &Look::at(""), |found| take(inner, &found)).await?;
    if looked.whole {
        let services = inner.services.current();
        let names = services.iter().map(|service| service.name.to_string()).collect();
        Versions::of(&inner.config).keep_only(&names);
    }
    Ok(())
}

async fn find_all(inner: &Inner) {
    let services = &inner.services;
    let mut again = AGAIN_MIN;
    let mut tries = 0_u32;
    while let Err(error) = find_once(inner).await {
        tries = tries.saturating_add(1);
        tracing::error!(%error, tries, "the services could not be discovered: trying again");
        if tries == TRIES_WAITED_FOR {
            services.finding.phase.send_replace(Phase::Late);
        }
        tokio::time::sleep(again).await;
        again = (again * 2).min(AGAIN_MAX);
    }
    services.finding.done();
    tracing::info!(services = services.current().iter().count(), "the services are found");
}

fn take(inner: &Inner, found: &ScanFound) {
    match read(inner, found, 1) {
        Ok(service) => {
            let broken = match &service.state {
                ServiceState::Broken(why) => Some(why.clone()),
                ServiceState::Ok => None,
            };
            match broken.and_then(|why| Some((last_good(inner, found)?, why))) {
                Some((last, why)) => {
                    tracing::warn!(service = %last.name, %why, "a service is broken, its last good version goes on");
                    inner.services.set_outdone(&last.name, Some(why));
                    inner.services.take_in(last, &list_of(found));
                }
                None => inner.services.take_in(service, &list_of(found)),
            }
        }
        Err(error) => tracing::warn!(folder = found.name, %error, "a folder is no service"),
    }
}
