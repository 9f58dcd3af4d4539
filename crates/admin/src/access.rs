//! `nesssi access`: what an access file says, and one of the original in TOML.

mod convert;
mod python;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nesssi_config::Config;
use nesssi_policy::{ACCESS_BYTES_MAX, Access, LevelName, VoTree};

use crate::cli::{Failure, say, tell};
use crate::{files, site};

/// Longest access file that the server takes for a service.
const SERVED_BYTES_MAX: usize = 24 * 1024;

const CHECK_HELP: &str = "\
Each mistake is told as FILE:LINE: TEXT, each oddity as FILE:LINE: warning: TEXT, on standard error;
what a file without mistakes says follows in words on standard output. Levels and VO groups that it
names are held against the configuration and the journal of this machine, where those can be read.

Exit codes: 0 no mistake (there may be warnings), 1 mistakes, 2 wrong usage.";

const CONVERT_HELP: &str = "\
Reads an access file of the original (Python literals; nothing of it is run) and prints the same rules
in TOML. Comments before the first rule are kept; those further in are not, and that is told.

With --write the file is replaced in one step, and what it was stays beside it with .old behind its
name. An .old that is there already is never written over: then nothing is done.

Exit codes: 0 done, 1 mistakes in the file or not written, 2 wrong usage.";

/// What is done with access files.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Check access files, and say in words who may call what
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The files, such as services/sleepy/.clarens_access
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The configuration whose levels and VO groups there are
        #[arg(long, env = "NESSSI_CONFIG", value_name = "FILE")]
        #[arg(default_value = "/etc/nesssi/nesssi.toml")]
        config: PathBuf,
    },
    /// Print an access file of the original in TOML
    #[command(after_help = CONVERT_HELP)]
    Convert {
        /// The file
        file: PathBuf,
        /// Put the TOML in its place
        #[arg(long)]
        write: bool,
    },
}

/// Does it, and exits as its help says.
///
/// # Errors
/// What kept a file from being written.
pub(crate) fn run(verb: &Verb) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Check { files, config } => Ok(check(files, config)),
        Verb::Convert { file, write } => convert::run(file, *write),
    }
}

fn check(files: &[PathBuf], config: &Path) -> ExitCode {
    let known = Known::of(config);
    let good = files.iter().filter(|file| check_one(file, &known)).count();
    if good == files.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check_one(path: &Path, known: &Known) -> bool {
    let Some((access, length)) = read(path) else { return false };
    let shown = path.display();
    let mut warnings = access.remarks();
    warnings.extend(known.doubts(&access));
    warnings.sort_by_key(|warning| warning.line);
    for warning in warnings {
        tell(&format!("{shown}:{}: warning: {}", warning.line, warning.text));
    }
    for unknown in known.unknown(&access) {
        tell(&format!("{shown}: warning: {unknown}"));
    }
    if length > SERVED_BYTES_MAX {
        let text = format!("a service's access file has at most {SERVED_BYTES_MAX} bytes");
        tell(&format!("{shown}:1: {text}, not {length}"));
        return false;
    }
    say(&format!("{shown}"));
    access.in_words().iter().for_each(|line| say(&format!("  {line}")));
    true
}

/// An access file and its length in bytes; nothing where it has mistakes, which are told.
fn read(path: &Path) -> Option<(Access, usize)> {
    let shown = path.display();
    let text = files::read_text(path, ACCESS_BYTES_MAX);
    let text = text.map_err(|why| tell(&format!("{shown}: {why}"))).ok()?;
    match Access::parse(&text) {
        Ok(access) => Some((access, text.len())),
        Err(mistakes) => {
            for mistake in mistakes {
                tell(&format!("{shown}:{}: {}", mistake.line, mistake.text));
            }
            None
        }
    }
}

/// What of this machine an access file may name.
struct Known {
    config: Result<Config, String>,
    groups: Result<VoTree, String>,
}

impl Known {
    fn of(config: &Path) -> Self {
        let config = site::config(config).map_err(|mistakes| mistakes.join("; "));
        let groups = config.as_ref().map_err(Clone::clone).and_then(site::groups);
        Self { config, groups }
    }

    /// Levels and groups that there are not.
    fn doubts(&self, access: &Access) -> Vec<nesssi_policy::Warning> {
        let mut doubts = Vec::new();
        if let Ok(config) = &self.config {
            let there = |name: &LevelName| config.levels.iter().any(|level| level.name == *name);
            let missing = access.levels().filter(|(name, _)| !there(name));
            doubts.extend(missing.map(|(name, line)| nesssi_policy::Warning {
                line,
                text: format!("there is no level {name}"),
            }));
        }
        if let Ok(groups) = &self.groups {
            let there = |name: &str| groups.groups().any(|known| known == name);
            let missing = access.groups().filter(|(name, _)| !there(name));
            doubts.extend(missing.map(|(name, line)| nesssi_policy::Warning {
                line,
                text: format!("there is no VO group {name}: the list names nobody by it"),
            }));
        }
        doubts
    }

    /// What it names and nobody could look up.
    fn unknown(&self, access: &Access) -> Vec<String> {
        let mut told = Vec::new();
        if let (Err(why), Some(_)) = (&self.config, access.levels().next()) {
            told.push(format!("whether there are the levels that it names is not known: {why}"));
        }
        if let (Err(why), Some(_)) = (&self.groups, access.groups().next()) {
            told.push(format!("whether there are the VO groups that it names is not known: {why}"));
        }
        told
    }
}
