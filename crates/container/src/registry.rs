//! The services there are: found by the services account, read here, swapped in one at a time.
//!
//! A restart makes a new *generation* of one service. Calls that run keep the generation they
//! began with; new calls get the new one. A generation that is broken never takes the place of one
//! that answers.

mod check;
mod finding;
mod lists;
mod versions;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use nesssi_config::Config;
use nesssi_policy::Access;
use nesssi_privsep::messages::{AccountFacts, ToJobmanager};
use nesssi_service::{BrokenReason, Description, DescriptionError, Manifest, ServiceName};

use crate::Inner;
use crate::call::Callers;
use crate::link::{AccessFound, AskError, ScanFound, lock};
use crate::workers::{DeskSettings, Desks, Host as _, Living};
use finding::Finding;
use lists::Lists;
use versions::Versions;

pub(crate) use check::{check, log_of};
pub(crate) use finding::begin;

/// The method that every service answers: its own, or the container's.
pub(crate) const MONITOR: &str = "monitor";

/// How long a scan may say nothing, on top of what one service may take to describe itself.
const SCAN_SILENCE_SECONDS_MAX: u64 = 120;

/// A service with what stands behind it here.
pub(crate) type Service = nesssi_service::Service<Behind>;

/// All of them.
pub(crate) type Registry = nesssi_service::Registry<Behind>;

/// What a sound service has here: where its workers sit. Who may call it is in [`Services::lists`],
/// since that may change without a new generation.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(crate) desks: Desks,
    /// The version that its workers run; without it they run what lies in the folder.
    pub(crate) modules: Option<Arc<File>>,
}

/// How long a worker of changed code must live to be believed.
const TRIAL_MS: u32 = 300;

/// What is said of a service that is not of Python, or has too much of it.
const RUNNING_WORKERS_ALONE: &str = " in the workers that run";

/// Why a service is broken that has no access list, or a wrong one.
const NO_ACCESS: &str = "it has no .clarens_access";
const BAD_ACCESS: &str = "mistakes in its .clarens_access";

/// The registry in force.
#[derive(Debug, Default)]
pub(crate) struct Services {
    current: ArcSwap<Registry>,
    /// Who may call what.
    pub(crate) lists: Lists,
    /// Every worker that lives, of all services and generations.
    pub(crate) living: Living,
    /// Who has called lately.
    pub(crate) callers: Callers,
    /// One restart at a time.
    restarting: tokio::sync::Mutex<()>,
    /// How far the first scan is.
    finding: Finding,
    /// The services whose last good version answers, since what lies in their folders is broken, and why it is.
    outdone: Mutex<HashMap<ServiceName, BrokenReason>>,
}

impl Services {
    /// The registry in force now. It must not be held while waiting: clone what is needed.
    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<Registry>> {
        self.current.load()
    }

    /// Ends every idle worker; those at work end with their call.
    pub(crate) async fn drain(&self) {
        let services: Vec<Arc<Service>> = self.current().iter().cloned().collect();
        for service in services {
            if let Some(behind) = &service.access {
                behind.desks.close().await;
            }
        }
    }

    /// Why what lies in a service's folder is not what answers, if that is so.
    pub(crate) fn outdone(&self, name: &ServiceName) -> Option<BrokenReason> {
        lock(&self.outdone).get(name).cloned()
    }

    /// From now on the last good version answers (or not any more).
    fn set_outdone(&self, name: &ServiceName, why: Option<BrokenReason>) {
        let mut outdone = lock(&self.outdone);
        match why {
            Some(why) => outdone.insert(name.clone(), why),
            None => outdone.remove(name),
        };
    }

    /// Puts a service into the registry, and gives back the one it replaces.
    fn swap(&self, service: &Arc<Service>) -> Option<Arc<Service>> {
        let before = self.current.rcu(|registry| {
            let mut registry = Registry::clone(registry);
            registry.insert(Arc::clone(service));
            registry
        });
        self.finding.tell();
        before.get(service.name.as_str()).cloned()
    }

    fn remove(&self, name: &str) -> Option<Arc<Service>> {
        let before = self.current.rcu(|registry| {
            let mut registry = Registry::clone(registry);
            registry.remove(name);
            registry
        });
        before.get(name).cloned()
    }
}

/// Reads one service again: the answer to a developer's `service restart NAME`, in words.
///
/// # Errors
/// The words for a restart that changed nothing.
pub(crate) async fn restart(inner: &Arc<Inner>, name: &str) -> Result<String, String> {
    let outcome = try_restart(inner, name).await;
    let (done, text) = match &outcome {
        Ok(text) => ("done", text),
        Err(text) => ("failed", text),
    };
    if outcome.is_err() && inner.services.current().get(name).is_some() {
        inner.note(name, &format!("its restart failed: {text}"));
    }
    inner.audit.line("service_restart").text("service", name).text("outcome", done).write();
    tracing::info!(service = name, outcome = done, "{text}");
    outcome
}

async fn try_restart(inner: &Arc<Inner>, name: &str) -> Result<String, String> {
    let name = ServiceName::parse(name).map_err(|error| error.to_string())?;
    let services = &inner.services;
    let _one_at_a_time = services.restarting.lock().await;
    let mut found = None;
    let look = Look { trial_ms: TRIAL_MS, ..Look::at(name.as_str()) };
    discover(inner, &look, |one| {
        if one.name == name.as_str() {
            found = Some(one);
        }
    })
    .await
    .map_err(|error| format!("{name} could not be read: {error}"))?;
    services.finding.leave_alone(&name);
    let known = services.current().get(name.as_str()).cloned();
    let Some(found) = found else {
        services.lists.forget(name.as_str());
        services.set_outdone(&name, None);
        Versions::of(&inner.config).forget(name.as_str());
        return match services.remove(name.as_str()) {
            Some(gone) => {
                retire(gone);
                Ok(format!("{name} is gone: there is no folder of that name any more"))
            }
            None => Err(format!("there is no service {name}")),
        };
    };
    let generation = known.as_ref().map_or(1, |known| known.generation + 1);
    let fresh = read(inner, &found, generation).map_err(|error| error.to_string())?;
    services.lists.take(&list_of(&found));
    match (&fresh.state, known.filter(|known| known.is_ok())) {
        (nesssi_service::ServiceState::Broken(why), Some(known)) => {
            services.set_outdone(&name, Some(why.clone()));
            let is_kept = known.access.as_ref().is_some_and(|behind| behind.modules.is_some());
            let how_long = if is_kept { "" } else { RUNNING_WORKERS_ALONE };
            Err(format!("{name} is broken, its last good version goes on{how_long}: {why}"))
        }
        (nesssi_service::ServiceState::Broken(why), None) => {
            services.set_outdone(&name, None);
            let text = format!("{name} is broken: {why}");
            services.swap(&Arc::new(fresh));
            Err(text)
        }
        (nesssi_service::ServiceState::Ok, _) => {
            services.set_outdone(&name, None);
            let fresh = Arc::new(fresh);
            let methods = fresh.methods.len();
            if let Some(old) = services.swap(&fresh) {
                retire(old);
            }
            let s = if methods == 1 { "" } else { "s" };
            Ok(format!("{name} runs its new code, {methods} method{s}"))
        }
    }
}

/// Ends the idle workers of a generation that is no longer called.
fn retire(old: Arc<Service>) {
    tokio::spawn(async move {
        if let Some(behind) = &old.access {
            behind.desks.close().await;
        }
    });
}

/// How the services are, for the control socket.
pub(crate) fn status_text(inner: &Inner) -> String {
    let services = inner.services.current();
    let all = services.iter().count();
    let broken: Vec<String> = services
        .iter()
        .filter(|service| !service.is_ok())
        .map(|service| service.name.to_string())
        .collect();
    let told = if broken.is_empty() { String::new() } else { format!(": {}", broken.join(", ")) };
    format!(
        "services: {all}{}, broken: {}{told}\nworkers: {}",
        if inner.services.are_all_found() { "" } else { " (still being found)" },
        broken.len(),
        inner.services.living.count()
    )
}

/// What a scan is to look at, and how.
#[derive(Debug, Clone, Copy)]
struct Look<'a> {
    /// Only this service; empty is all.
    only: &'a str,
    /// The worker's mode.
    mode: &'a str,
    /// Whether code is asked that would not be taken up anyway.
    thorough: bool,
    /// How long a worker must live before it is believed; 0 tries none.
    trial_ms: u32,
}

impl<'a> Look<'a> {
    fn at(only: &'a str) -> Self {
        Self { only, mode: "describe", thorough: false, trial_ms: 0 }
    }
}

/// Has the services account read the services; each goes to `take` as it is found.
async fn discover(
    inner: &Inner,
    look: &Look<'_>,
    take: impl FnMut(ScanFound),
) -> Result<Looked, AskError> {
    let config = &inner.config;
    let jobmanager = inner.monitor.discover().await?;
    let mut describe_argv = config.services.worker_argv();
    describe_argv.push(look.mode.to_owned());
    let describe_ms_max = config.services.describe_seconds_max.saturating_mul(1000);
    let scan = ToJobmanager::Scan {
        root: text_of(&config.services.directory),
        describe_argv,
        environment: environment(config, jobmanager.facts(), look.only),
        only: look.only.to_owned(),
        describe_ms_max,
        thorough: look.thorough,
        trial_ms: look.trial_ms,
    };
    let silence_max = Duration::from_secs(SCAN_SILENCE_SECONDS_MAX)
        + Duration::from_millis(describe_ms_max.into());
    let problems = jobmanager.scan(&scan, silence_max, take).await?;
    for problem in &problems {
        tracing::warn!(problem, root = inner.welcome.root, "in the tree of services");
    }
    Ok(Looked { account: jobmanager.facts().name.clone(), whole: problems.is_empty() })
}

/// How a scan went.
#[derive(Debug)]
struct Looked {
    /// The account that looked.
    account: String,
    /// Whether all of the tree could be walked.
    whole: bool,
}

/// Turns what was found in a folder into a service, sound or broken.
///
/// # Errors
/// Where the folder's name is no service's name.
fn read(
    inner: &Inner,
    found: &ScanFound,
    generation: u64,
) -> Result<Service, nesssi_service::ServiceNameError> {
    let rules = inner.grants.rules().now();
    read_by(&inner.config, &|level| rules.has_level(level), found, generation)
}

fn read_by(
    config: &Config,
    is_level: &dyn Fn(&str) -> bool,
    found: &ScanFound,
    generation: u64,
) -> Result<Service, nesssi_service::ServiceNameError> {
    let name = ServiceName::parse(&found.name)?;
    let folder = found.folder.clone();
    let digest = hex(&found.digest);
    match parts(found) {
        Ok((manifest, description, access)) => {
            warn_about(is_level, &name, &manifest, &description, &access);
            let settings = DeskSettings::of(config, &manifest);
            let modules = Versions::of(config).keep(&name, found);
            if let Some(why) = &found.in_place {
                tracing::warn!(service = %name, why, "its workers run what lies in its folder");
            }
            let behind = Behind { desks: Desks::new(settings), modules };
            let sound = Service::sound(name, folder, generation, manifest, description, behind);
            Ok(Service { digest, ..sound })
        }
        Err(why) => Ok(Service { digest, ..Service::broken(name, folder, generation, why) }),
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A service whose folder is broken, by the version of it that was good last; nothing where there is none, or where it
/// is broken for its access list.
fn last_good(inner: &Inner, found: &ScanFound) -> Option<Service> {
    access_of(found).ok()?;
    let name = ServiceName::parse(&found.name).ok()?;
    let kept = Versions::of(&inner.config).kept(&name, &found.folder)?;
    let manifest = kept.facts.manifest.as_deref().map(Manifest::parse);
    let manifest = manifest.unwrap_or_else(|| Ok(Manifest::default())).ok()?;
    let description = Description::parse(&kept.facts.description).ok()?;
    let desks = Desks::new(DeskSettings::of(&inner.config, &manifest));
    let behind = Behind { desks, modules: kept.modules };
    let sound = Service::sound(name, kept.facts.folder, 1, manifest, description, behind);
    Some(Service { digest: kept.facts.digest, ..sound })
}

/// The access list in what was found.
fn list_of(found: &ScanFound) -> AccessFound {
    let about_list = |text: &&String| {
        found.access.is_none()
            && (text.starts_with(UNREADABLE) || text.starts_with(".clarens_access:"))
    };
    let problem = found.problem.as_ref().filter(about_list).cloned();
    AccessFound { name: found.name.clone(), access: found.access.clone(), problem }
}

/// How a scan's words for a folder that it could not look into begin.
const UNREADABLE: &str = "its folder cannot be read";

/// The folder's files as meant, or every reason why not: the first names the kind.
fn parts(found: &ScanFound) -> Result<(Manifest, Description, Access), BrokenReason> {
    // Of a folder that could not be looked into nothing is known but that.
    if let Some(why) = found.problem.as_deref().and_then(|text| text.strip_prefix(UNREADABLE)) {
        return Err(BrokenReason::new(UNREADABLE, why.trim_start_matches(": ")));
    }
    let mut reasons = Vec::new();
    let manifest = manifest_of(found).map_err(|why| reasons.push(why)).ok();
    let access = access_of(found).map_err(|why| reasons.push(why)).ok();
    if let Some(problem) = &found.problem {
        reasons.push(BrokenReason::in_code(problem));
    }
    let described = manifest.as_ref().is_some_and(|manifest| !manifest.methods.is_empty());
    let description = description_of(found, described).map_err(|why| reasons.push(why)).ok();
    match (manifest, description, access, reasons.is_empty()) {
        (Some(manifest), Some(description), Some(access), true) => {
            Ok((manifest, description, access))
        }
        _ => Err(joined(reasons)),
    }
}

fn joined(reasons: Vec<BrokenReason>) -> BrokenReason {
    let mut detail: Vec<String> = reasons.iter().map(|why| why.detail.clone()).collect();
    detail.dedup();
    let kind = reasons.into_iter().next().map(|why| why.kind).unwrap_or_default();
    BrokenReason::new(kind, detail.join("; "))
}

fn manifest_of(found: &ScanFound) -> Result<Manifest, BrokenReason> {
    let Some(text) = &found.manifest else { return Ok(Manifest::default()) };
    Manifest::parse(text).map_err(|mistakes| {
        // In the words of the scan, which reads it too: what both say is told once.
        let lines = mistakes.iter().map(|m| format!("service.toml:{}: {}", m.line, m.text));
        let lines: Vec<String> = lines.collect();
        BrokenReason::new("mistakes in its service.toml", lines.join("; "))
    })
}

fn access_of(found: &ScanFound) -> Result<Access, BrokenReason> {
    let Some(text) = &found.access else {
        return Err(BrokenReason::new(NO_ACCESS, "no .clarens_access, which says who may call it"));
    };
    Access::parse(text).map_err(|mistakes| {
        let lines: Vec<String> =
            mistakes.iter().map(|mistake| format!(".clarens_access, {mistake}")).collect();
        BrokenReason::new(BAD_ACCESS, lines.join("; "))
    })
}

fn description_of(found: &ScanFound, described: bool) -> Result<Description, BrokenReason> {
    match &found.description {
        Some(text) => Description::parse(text).map_err(|error| match error {
            DescriptionError::Broken(text) => BrokenReason::in_code(&text),
            DescriptionError::Malformed(_) => {
                BrokenReason::new("its description is malformed", error.to_string())
            }
        }),
        // A manifest with methods describes them itself; with a problem that is the reason.
        None if described || found.problem.is_some() => Ok(Description::default()),
        None => Err(BrokenReason::new("it describes no methods", "it describes no methods")),
    }
}

fn warn_about(
    is_level: &dyn Fn(&str) -> bool,
    name: &ServiceName,
    manifest: &Manifest,
    description: &Description,
    access: &Access,
) {
    for level in manifest.levels.iter().filter(|level| !is_level(level)) {
        tracing::warn!(service = %name, level, "service.toml names a level that is not configured");
    }
    for (level, line) in access.levels().filter(|(level, _)| !is_level(level.as_str())) {
        tracing::warn!(service = %name, %level, line, ".clarens_access names a level that is not configured");
    }
    let known = |method: &str| {
        method == MONITOR
            || manifest.methods.iter().chain(&description.methods).any(|m| m.name == method)
    };
    for method in access.methods().filter(|method| !known(method)) {
        tracing::warn!(service = %name, method, ".clarens_access names a method that does not exist");
    }
}

/// The whole environment of a worker of `service` (none for discovery) under an account.
pub(crate) fn environment(
    config: &Config,
    account: &AccountFacts,
    service: &str,
) -> Vec<(String, String)> {
    let command = std::env::current_exe().ok();
    let nesssi = command.as_deref().and_then(Path::parent).unwrap_or(Path::new("")).join("nesssi");
    let logs = config.server.log_directory.join("services");
    let error_log = if service.is_empty() { logs } else { logs.join(format!("{service}.log")) };
    let pairs = [
        ("CLARENS", text_of(&config.services.directory)),
        ("CLARENS_SANDBOXES", text_of(&config.sandboxes.root)),
        ("CLARENS_ERROR", text_of(&error_log)),
        ("CLARENS_RESTART", format!("{} restart", nesssi.display())),
        ("HOME", account.home.clone()),
        ("USER", account.name.clone()),
        ("LOGNAME", account.name.clone()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
