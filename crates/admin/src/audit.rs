//! `nesssi audit verify`: whether the audit log is as it was written.
//!
//! The gatekeeper writes its chain and could write it anew; the monitor keeps in a directory of its
//! own where that chain stood, now and again, and a chain of its own acts. Here both are walked from
//! their first line, and held against all that was kept.

mod files;

use std::fmt;
use std::path::{Path, PathBuf};

use nesssi_journal::chain::{self, Head, KeptHeads, Sound, Walk};

use crate::cli::{Failure, say};
use files::{Lines, Part};

const AFTER_HELP: &str = "\
Every line is numbered and tells the hash of the line before it; where the chain stood is kept in the
monitor's directory, which the gatekeeper cannot write. An edit, a deletion, an insertion, another order
and a cut end are each told with file and line. Lines written since the head was kept last are counted
as not yet covered: only what follows will vouch for them.

Files that were rotated are found beside audit.jsonl, by whatever suffix; compressed ones must be
unpacked. To read the monitor's directory takes root.

Exit codes: 0 all is as it was written, 1 something is not, 2 wrong usage.";

/// What is done with the audit log.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Whether all its lines are there, in order and unchanged
    Verify(Words),
}

/// Which files.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Words {
    /// The configuration that names the state directory
    #[arg(long, env = "NESSSI_CONFIG", default_value = nesssi_config::DEFAULT_PATH)]
    config: PathBuf,
    /// The state directory, or a copy of it
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    state: Option<PathBuf>,
    /// The first line of the gatekeeper's that is still kept, where older files were removed
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    from: u64,
    /// The same of the monitor's
    #[arg(long, value_name = "LINE", default_value_t = 1)]
    monitor_from: u64,
    /// The gatekeeper's files, where they are elsewhere
    files: Vec<PathBuf>,
}

/// Does what `verb` says.
///
/// # Errors
/// What cannot be read, or how much is wrong.
pub(crate) fn run(verb: &Verb) -> Result<(), Failure> {
    let Verb::Verify(words) = verb;
    let state = match &words.state {
        Some(state) => state.clone(),
        None => state_directory(&words.config)?,
    };
    let findings = verify(&state, words);
    for finding in &findings {
        say(&finding.to_string());
    }
    match findings.iter().filter(|finding| finding.is_wrong).count() {
        0 => Ok(()),
        1 => Err("the audit log is not as it was written: 1 finding".into()),
        count => Err(format!("the audit log is not as it was written: {count} findings").into()),
    }
}

fn state_directory(config: &Path) -> Result<PathBuf, Failure> {
    let shown = config.display().to_string();
    let text = std::fs::read_to_string(config).map_err(|error| format!("{shown}: {error}"))?;
    let parsed = nesssi_config::parse(&text, &shown).map_err(|mistakes| {
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?;
    Ok(parsed.server.state_directory)
}

/// One thing that was found, good or not.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    place: String,
    text: String,
    is_wrong: bool,
}

impl Finding {
    fn wrong(place: impl fmt::Display, text: impl fmt::Display) -> Self {
        Self { place: place.to_string(), text: text.to_string(), is_wrong: true }
    }

    fn note(place: impl fmt::Display, text: impl fmt::Display) -> Self {
        Self { is_wrong: false, ..Self::wrong(place, text) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, text, is_wrong } = self;
        write!(out, "{}{place}: {text}", if *is_wrong { "WRONG " } else { "" })
    }
}

/// All findings. What vouches is read before what it vouches for: a server may be writing both.
fn verify(state: &Path, words: &Words) -> Vec<Finding> {
    let mut findings = Vec::new();
    let kept_path = state.join("monitor/audit.head");
    let kept = match read_kept(&kept_path) {
        Ok(kept) => kept,
        Err(why) => {
            findings.push(Finding::wrong(kept_path.display(), why));
            KeptHeads::default()
        }
    };
    let own = Chain {
        name: "the monitor's",
        parts: listed(&state.join("monitor"), &mut findings),
        first: words.monitor_from,
        kept: kept.own.into_iter().collect(),
        at_byte: None,
    };
    let mut heads = own.walk(&mut findings);
    heads.extend(kept.gatekeeper.map(|(head, _)| head));
    let parts = if words.files.is_empty() {
        listed(&state.join("gatekeeper"), &mut findings)
    } else {
        files::given(&words.files, &mut findings)
    };
    let gatekeepers = Chain {
        name: "the gatekeeper's",
        parts,
        first: words.from,
        kept: heads,
        at_byte: kept.gatekeeper.map(|(head, bytes)| (head.lines, bytes)),
    };
    gatekeepers.walk(&mut findings);
    findings
}

fn listed(directory: &Path, findings: &mut Vec<Finding>) -> Vec<Part> {
    files::listed(directory, findings).unwrap_or_else(|error| {
        findings.push(Finding::wrong(directory.display(), error));
        Vec::new()
    })
}

fn read_kept(path: &Path) -> Result<KeptHeads, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{error}: nothing vouches for where the chains end"))?;
    KeptHeads::parse(&text)
}

/// One chain: its files in their order, and what was kept of it.
struct Chain {
    name: &'static str,
    parts: Vec<Part>,
    first: u64,
    kept: Vec<Head>,
    /// At which byte of its file this line ends, its newline included.
    at_byte: Option<(u64, u64)>,
}

impl Chain {
    /// Walks along it; answers the heads that its own lines tell of the other chain.
    fn walk(self, findings: &mut Vec<Finding>) -> Vec<Head> {
        let mut walk = Walk::new(self.first, &self.kept);
        let mut told = Vec::new();
        for part in &self.parts {
            self.walk_file(part, &mut walk, &mut told, findings);
        }
        let place =
            self.parts.last().map_or(self.name.to_owned(), |part| part.path.display().to_string());
        if let Err(broken) = walk.end() {
            findings.push(Finding::wrong(place, broken));
        }
        let (lines, covered) = (walk.head().lines, walk.covered());
        let open = lines.saturating_sub(covered);
        let text = match open {
            0 => format!("{lines} lines, all vouched for"),
            _ => format!("{lines} lines, {covered} vouched for, {open} not yet covered"),
        };
        findings.push(Finding::note(self.name, text));
        told
    }

    fn walk_file(
        &self,
        part: &Part,
        walk: &mut Walk,
        told: &mut Vec<Head>,
        findings: &mut Vec<Finding>,
    ) {
        let path = part.path.display();
        let mut lines = match Lines::open(&part.path) {
            Ok(lines) => lines,
            Err(error) => return findings.push(Finding::wrong(path, error)),
        };
        loop {
            let (line, ended) = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => return,
                Err(error) => return findings.push(Finding::wrong(path, error)),
            };
            told.extend(chain::head_told(line));
            let found = walk.line(line, ended);
            let place = format!("{path}:{}", lines.number());
            let number = walk.head().lines;
            match found {
                Ok(Sound::Whole) if ended => {}
                Ok(Sound::Whole | Sound::Torn) if !ended => {
                    findings.push(Finding::note(
                        place,
                        "the last line has no newline: torn, or being written",
                    ));
                }
                Ok(_) => findings.push(Finding::note(place, "torn by a crash, and chained over")),
                Err(broken) => findings.push(Finding::wrong(&place, broken)),
            }
            if let Some((_, due)) = self.at_byte.filter(|(kept, _)| *kept == number)
                && due != lines.bytes()
            {
                let place = format!("{path}:{}", lines.number());
                let text =
                    format!("line {number} ends at byte {}, and ended at {due}", lines.bytes());
                findings.push(Finding::wrong(place, text));
            }
        }
    }
}

#[cfg(test)]
mod tests;
