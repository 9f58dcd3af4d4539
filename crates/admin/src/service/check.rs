//! `nesssi service check`: a service imported in a throwaway worker, and all that is wrong with it.
//!
//! A name is checked by the running server, as the account that discovers services there; a folder by whoever
//! runs the command, as himself, and no server is needed. Either way the same program looks
//! (`nesssi-jobmanager`) and the same code here judges.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use nesssi_config::Config;
use nesssi_policy::{From, Level};
use nesssi_service::{Findings, LevelFacts};

use super::report::{Judged, Report, print};
use crate::cli::{Failure, tell};
use crate::control::{self, Where};
use crate::demo::tools;
use crate::site;

pub(crate) const HELP: &str = "\
NAME is a service of the running server: its services account looks, and what the server knows of the
service is told too. FOLDER has a `/` in it (./adder): you look at it as yourself, and no server is
asked. In both cases the code is imported in a throwaway worker with a deadline, nothing that runs is
touched, and every problem is told in one run, with file and line:

  error    the service or one of its methods does not answer
  warning  it answers, and something is not as it seems
  hint     what its callers would like to have

Exit codes: 0 no error, 1 an error or not checked, 2 wrong usage.";

/// What is checked.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    /// The service's dotted name, or a folder with a `/` in its path
    #[arg(value_name = "NAME|FOLDER")]
    target: String,
    /// The name that the service in a folder is to have, if not the folder's
    #[arg(long = "as", value_name = "NAME")]
    named: Option<String>,
    /// Print one JSON object in place of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Where,
}

/// Checks, prints, and says by the exit code whether there is an error.
///
/// # Errors
/// Why nothing was checked.
pub(crate) fn run(words: &Words) -> Result<ExitCode, Failure> {
    let report = if is_folder(&words.target) {
        let folder = std::fs::canonicalize(&words.target)
            .map_err(|error| format!("{}: {error}", words.target))?;
        by_oneself(&folder, words.named.as_deref(), words.place.config())?
    } else if words.named.is_some() {
        return Err("--as is for a folder: a service of the server has its name".into());
    } else {
        by_the_server(&words.target, &words.place)?
    };
    print(&report, words.json)?;
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_folder(target: &str) -> bool {
    target.contains('/') || target == "." || target == ".."
}

/// What the server finds of a service that lies in its services directory.
///
/// # Errors
/// The control socket's.
pub(super) fn by_the_server(name: &str, place: &Where) -> Result<Report, Failure> {
    let bytes = control::ask_file(place, &control::Verb::CheckService(name.to_owned()))?;
    let findings = Findings::from_json(&bytes)?;
    let server = findings.server.clone().unwrap_or_default();
    let judged = Judged { by_server: true, levels: server.levels, batch: server.batch };
    Ok(Report::of(&findings, &judged))
}

/// What the invoking user finds in a folder.
fn by_oneself(folder: &Path, named: Option<&str>, config: &Path) -> Result<Report, Failure> {
    if rustix::process::geteuid().is_root() {
        return Err("a folder's code runs as you, and root runs nobody's: check it by its name, \
                    or as the account that keeps it"
            .into());
    }
    let config = config_or_defaults(config)?;
    let last = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = named.unwrap_or(last);
    let mut worker = config.services.worker_argv();
    worker.push("check".to_owned());
    let looked = tools::command(jobmanager(&config)?)
        .envs(environment(&config))
        .arg("--look")
        .arg(folder)
        .args(["--service", name, "--seconds"])
        .arg(config.services.describe_seconds_max.to_string())
        .arg("--")
        .args(worker)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("nesssi-jobmanager: {error}"))?;
    if !looked.status.success() {
        return Err(format!("nesssi-jobmanager could not look: {}", looked.status).into());
    }
    let findings = Findings::from_json(&looked.stdout)?;
    let levels = config.levels.iter().map(level_facts).collect();
    let batch = config.batch.names().into_iter().map(str::to_owned).collect();
    Ok(Report::of(&findings, &Judged { by_server: false, levels, batch }))
}

/// The configuration of this machine; where there is none, as one that says nothing.
fn config_or_defaults(path: &Path) -> Result<Config, Failure> {
    if path.try_exists().is_ok_and(|is_there| is_there) {
        return site::config(path).map_err(|mistakes| mistakes.join("\n").into());
    }
    let shown = path.display();
    tell(&format!("{shown} is not there: levels, Python and its path are the defaults"));
    nesssi_config::parse("", &shown.to_string()).map_err(|mistakes| {
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into()
    })
}

fn level_facts(level: &Level) -> LevelFacts {
    LevelFacts {
        name: level.name.to_string(),
        certified: level.from != From::Anonymous,
        own_accounts: level.from == From::Gridmap,
    }
}

fn jobmanager(config: &Config) -> Result<PathBuf, Failure> {
    const NAME: &str = "nesssi-jobmanager";
    if let Some(directory) = &config.server.libexec_directory {
        return Ok(directory.join(NAME));
    }
    let own = std::env::current_exe()?;
    Ok(own.with_file_name(NAME))
}

/// As discovery gives it to its throwaway workers.
fn environment(config: &Config) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut all = vec![
        ("CLARENS", text(&config.services.directory)),
        ("CLARENS_SANDBOXES", text(&config.sandboxes.root)),
        ("CLARENS_ERROR", text(&config.server.log_directory.join("services"))),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
    ];
    let own = ["HOME", "USER", "LOGNAME"];
    all.extend(own.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))));
    all
}

#[cfg(test)]
mod tests;
