//! What a developer asks about one service by the control socket: what is wrong with it, and where its
//! log is.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use nesssi_service::{Findings, LevelFacts, ServerKnows, ServiceName};

use super::{Look, ScanFound, TRIAL_MS, discover, hex};
use crate::Inner;
use crate::builtin::service::state_in_full;
use crate::workers;

/// The mode in which a worker tells more than callers need.
const MODE: &str = "check";

/// Has the services account look at a service as it lies there now, and writes what it found into `file`.
/// Nothing that runs is touched.
///
/// # Errors
/// Why nothing was found, in words.
pub(crate) async fn check(inner: &Inner, name: &str, file: OwnedFd) -> Result<String, String> {
    let name = ServiceName::parse(name).map_err(|error| error.to_string())?;
    let mut found = None;
    let look = Look { only: name.as_str(), mode: MODE, thorough: true, trial_ms: TRIAL_MS };
    let looked =
        discover(inner, &look, |one| found = Some(one).filter(|one| one.name == look.only))
            .await
            .map_err(|error| format!("{name} could not be read: {error}"))?;
    let Some(found) = found else { return Err(no_folder(inner, &name)) };
    let findings =
        Findings { account: looked.account, server: Some(knows(inner, &name)), ..of(found) };
    let text = findings.to_json().map_err(|error| error.to_string())?;
    let written = File::from(file).write_all(text.as_bytes());
    written.map_err(|error| format!("what was found cannot be written: {error}"))?;
    Ok(format!("{name} was checked"))
}

/// The path of a service's log, which is there from now on.
///
/// # Errors
/// Why there is none, in words.
pub(crate) fn log_of(inner: &Inner, name: &str) -> Result<String, String> {
    let name = ServiceName::parse(name).map_err(|error| error.to_string())?;
    let services = &inner.services;
    if services.current().get(name.as_str()).is_none() {
        let more = if services.are_all_found() { "" } else { " yet: they are still being found" };
        return Err(format!("there is no service {name}{more}"));
    }
    let (_, path) = workers::open_log(&inner.config, name.as_str())
        .map_err(|error| format!("the log of {name} cannot be opened: {error}"))?;
    let text = path.to_str().ok_or("the log's path is not UTF-8")?;
    Ok(text.to_owned())
}

fn no_folder(inner: &Inner, name: &ServiceName) -> String {
    let text = format!("there is no service {name}: its folder is not in the services directory");
    match inner.services.current().get(name.as_str()) {
        Some(_) => format!("{text} any more; nesssi service restart {name} takes it off the list"),
        None => text,
    }
}

fn of(found: ScanFound) -> Findings {
    Findings {
        digest: hex(&found.digest),
        name: found.name,
        folder: found.folder,
        access: found.access,
        manifest: found.manifest,
        description: found.description,
        problem: found.problem,
        in_place: found.in_place,
        ..Findings::default()
    }
}

fn knows(inner: &Inner, name: &ServiceName) -> ServerKnows {
    let known = inner.services.current().get(name.as_str()).cloned();
    let (state, reason) =
        known.as_deref().map_or_else(Default::default, |known| state_in_full(inner, known));
    let edits = inner.edits.now().of_service(name.as_str()).count();
    ServerKnows {
        state,
        reason,
        running_digest: known
            .filter(|known| known.is_ok())
            .map_or_else(String::new, |known| known.digest.clone()),
        around: inner.services.lists.around(name),
        levels: inner.grants.rules().now().level_facts(),
        batch: inner.config.batch.names().into_iter().map(str::to_owned).collect(),
        edits: u32::try_from(edits).unwrap_or(u32::MAX),
    }
}

impl crate::rules::Known {
    fn level_facts(&self) -> Vec<LevelFacts> {
        let of = |level: &nesssi_policy::Level| LevelFacts {
            name: level.name.to_string(),
            certified: level.from != nesssi_policy::From::Anonymous,
            own_accounts: level.from == nesssi_policy::From::Gridmap,
        };
        self.levels().iter().map(of).collect()
    }
}
