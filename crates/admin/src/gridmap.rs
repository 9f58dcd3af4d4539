//! `nesssi gridmap check`: what the server would say of a gridmap.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nesssi_policy::{Assigned, GRIDMAP_BYTES_MAX, Gridmap};

use crate::cli::{say, tell};
use crate::files;

const CHECK_HELP: &str = "\
Each mistake is told as FILE:LINE:COLUMN: TEXT, each line or account that nobody can reach as
FILE:LINE: warning: TEXT. One mistake refuses the whole file: the server would keep the last good one.

Exit codes: 0 no mistake (there may be warnings), 1 mistakes, 2 wrong usage.";

/// What is done with a gridmap.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Check a gridmap before the server reads it
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The file, such as /etc/grid-security/grid-mapfile
        file: PathBuf,
    },
}

/// Does it, and exits as its help says.
pub(crate) fn run(verb: &Verb) -> ExitCode {
    let Verb::Check { file } = verb;
    if check(file) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(file: &Path) -> bool {
    let shown = file.display();
    let bytes = match files::read_trusted(file, GRIDMAP_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(why) => {
            tell(&format!("{shown}: {why}"));
            return false;
        }
    };
    match Gridmap::parse_bytes(&bytes) {
        Ok((gridmap, warnings)) => {
            for warning in warnings {
                tell(&format!("{shown}:{}: warning: {}", warning.line, warning.text));
            }
            say(&summary(&gridmap));
            true
        }
        Err(mistakes) => {
            for mistake in mistakes {
                tell(&format!("{shown}:{}:{}: {}", mistake.line, mistake.column, mistake.text));
            }
            false
        }
    }
}

fn summary(gridmap: &Gridmap) -> String {
    let entries = gridmap.entries();
    let is_pool = |assigned: &Assigned| matches!(assigned, Assigned::Pool(_));
    let pools = entries.iter().filter(|entry| entry.accounts.first().is_some_and(is_pool)).count();
    format!("{} subject DNs, {pools} of them to accounts of a pool", entries.len())
}
