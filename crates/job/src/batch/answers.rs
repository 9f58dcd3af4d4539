//! Answers are what the batch systems' commands say, typed.

use std::collections::{BTreeMap, HashSet};

use crate::batch::id::BatchId;
use crate::batch::words::Words;
use crate::{Tag, batch::JOB_NAME_PREFIX};

/// Longest answer of a submission or a cancel that is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest listing that is read: some 20,000 jobs of `squeue --json`, 400,000 of its text.
pub const LISTING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most jobs of NESSSI's in one listing.
pub const SIGHTINGS_MAX: usize = 200_000;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It was killed at its deadline.
    TimedOut,
}

/// What a command said.
#[derive(Debug, Clone, Copy)]
pub struct Output<'a> {
    /// How it ended.
    pub exit: Exit,
    /// Standard output.
    pub stdout: &'a [u8],
    /// Standard error.
    pub stderr: &'a [u8],
}

impl Output<'_> {
    /// The words of both, standard error first.
    pub(super) fn words(&self) -> Words {
        Words::of(&[self.stderr, b" ", self.stdout].concat())
    }

    /// Both as text to look for words in.
    pub(super) fn text(&self) -> String {
        let bytes = |bytes: &[u8]| {
            let end = bytes.len().min(ANSWER_BYTES_MAX);
            String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_lowercase()
        };
        format!("{}\n{}", bytes(self.stderr), bytes(self.stdout))
    }
}

/// Why a batch system did not take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The site's rules: a limit of queue or server, no right to a queue.
    Policy,
    /// Too many jobs, or the account's share is used up.
    Quota,
    /// What was asked is not understood: a fault of configuration or of NESSSI.
    Syntax,
    /// There is no such queue.
    UnknownQueue,
    /// The batch system is down, or cannot be reached.
    Down,
    /// It said that it went well, and gave no batch id that could be one; or it gave an array's.
    Garbage,
    /// Anything else.
    Unknown,
}

/// A submission that brought no batch id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the batch system did not take the job: {words}")]
pub struct NotSubmitted {
    /// Why.
    pub refusal: Refusal,
    /// Whether it is certain that no job was made. Otherwise the job is looked for by its tag before
    /// anything else is done.
    pub certain: bool,
    /// What it said.
    pub words: Words,
}

/// How a job ended, as the batch system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchEnd {
    /// With an exit code.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// It used its CPU time.
    OverCpu,
    /// It used its wall time.
    OverWall,
    /// It used its memory.
    OverMemory,
    /// It used more than it might; of what, is not said.
    OverLimit,
    /// It was cancelled.
    Cancelled,
    /// It never started: its script could not be run.
    StartFailed,
    /// Its node failed, or it lost its place there.
    NodeFailed,
    /// It ended, and how is not said.
    Unsaid,
}

/// What a batch system says that a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// It waits.
    Queued,
    /// It waits until somebody lets it go.
    Held,
    /// It runs, or is stopped for a while.
    Running,
    /// It has ended, and is being cleared away.
    Exiting,
    /// It has ended.
    Ended(BatchEnd),
    /// A state that is not known here.
    Unknown,
}

/// One job of NESSSI's as a batch system shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Its id, which a batch system may give again after a crash.
    pub id: BatchId,
    /// Its name: [`Dialect::job_name`](crate::batch::Dialect::job_name) of its tag. Anybody may give that name to his own job.
    pub name: String,
    /// The Unix account that submitted it, empty if that is not said.
    pub owner: String,
    /// What it does.
    pub state: BatchState,
    /// CPU seconds used, where that is said.
    pub cpu_seconds: Option<u64>,
    /// Wall seconds used, where that is said.
    pub wall_seconds: Option<u64>,
    /// Why it waits or how it went, in the batch system's words.
    pub comment: Words,
}

/// What a listing says: NESSSI's own jobs, whoever's else are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    sightings: BTreeMap<String, Vec<Sighting>>,
    count: usize,
    /// Jobs that have not ended, and whose name is none of NESSSI's; they have none here.
    others: Vec<Sighting>,
    /// Entries that could not be read, or for which there was no room. Where there are any, a job
    /// that is not in the listing may still be there.
    pub unread: usize,
}

/// The numbers of the jobs of a listing that is text, whosever they are.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    once: HashSet<u64>,
    twice: HashSet<u64>,
}

impl Numbers {
    /// Notes the number of a batch id.
    pub(super) fn note(&mut self, id: &str) {
        let digits = id.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        if let Ok(number) = digits.parse()
            && !self.once.insert(number)
        {
            self.twice.insert(number);
        }
    }
}

impl Listing {
    /// Takes what was told twice for not known. Names and variables are whatever their owners like, and text may
    /// show them as they are, with their newlines: a job may speak of another's as the batch system would.
    pub(super) fn doubt(&mut self, numbers: &Numbers) {
        for sighting in self.sightings.values_mut().flatten() {
            let digits = sighting.id.as_str().split('.').next().unwrap_or_default();
            if digits.parse().is_ok_and(|number| numbers.twice.contains(&number)) {
                sighting.state = BatchState::Unknown;
            }
        }
    }

    /// Notes a job; of one whose name is none of NESSSI's, that it is there.
    pub(super) fn note(&mut self, sighting: Sighting) {
        if !is_ours(&sighting.name) {
            if !matches!(sighting.state, BatchState::Ended(_)) && self.others.len() < SIGHTINGS_MAX
            {
                let (name, comment) = (String::new(), Words::default());
                self.others.push(Sighting { name, comment, ..sighting });
            }
            return;
        }
        if self.count == SIGHTINGS_MAX {
            self.unread += 1;
            return;
        }
        self.count += 1;
        self.sightings.entry(sighting.name.clone()).or_default().push(sighting);
    }

    /// The jobs of that name that the account submitted: more than one if a submission was repeated. Those
    /// of other accounts are not the tag's, whatever they are called.
    pub fn named<'a>(
        &'a self,
        name: &str,
        owner: &'a str,
    ) -> impl Iterator<Item = &'a Sighting> + use<'a> {
        let all = self.sightings.get(name).map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(move |one| one.owner.is_empty() || one.owner == owner)
    }

    /// The job of that id, name and account. One that is told twice, and not alike, is in a state that is not known.
    #[must_use]
    pub fn find(&self, id: &BatchId, name: &str, owner: &str) -> Option<Sighting> {
        let mut found = self.named(name, owner).filter(|one| one.id == *id);
        let first = found.next()?.clone();
        if found.all(|other| other.state == first.state) {
            Some(first)
        } else {
            Some(Sighting { state: BatchState::Unknown, ..first })
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Sighting> {
        self.sightings.values().flatten()
    }

    /// The jobs of these numbers that have not ended, and whose name is none of NESSSI's: they may be others' by
    /// now, or their owners have renamed them. They have no name here.
    pub fn renamed<'a>(
        &'a self,
        ids: &'a [BatchId],
    ) -> impl Iterator<Item = &'a Sighting> + use<'a> {
        fn number(id: &BatchId) -> &str {
            id.as_str().split('.').next().unwrap_or_default()
        }
        let numbers: HashSet<&str> = ids.iter().map(number).collect();
        self.others.iter().filter(move |one| numbers.contains(number(&one.id)))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Whether a job of that name may be NESSSI's.
fn is_ours(name: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match name.strip_prefix(JOB_NAME_PREFIX) {
        Some(tag) => Tag::parse(tag).is_ok(),
        None => name.len() == 15 && name.strip_prefix('n').is_some_and(hex),
    }
}

/// A listing that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoListing {
    /// The batch system is down, or cannot be reached.
    #[error("the batch system cannot be asked: {0}")]
    Down(Words),
    /// It keeps no accounts.
    #[error("the batch system keeps no accounts: {0}")]
    NoAccounts(Words),
    /// Over [`LISTING_BYTES_MAX`].
    #[error("the listing is longer than {LISTING_BYTES_MAX} bytes")]
    TooLong,
    /// The answer is in no form that is known: the next way to ask may be tried.
    #[error("the listing cannot be read: {0}")]
    NotUnderstood(Words),
    /// The command failed otherwise.
    #[error("the batch system does not list its jobs: {0}")]
    Failed(Words),
}

/// What a cancel brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelAnswer {
    /// The batch system has taken it. Whether the job is gone, a later listing says.
    Asked,
    /// It does not know the job, or the job has ended.
    Gone(Words),
    /// It refuses: the job is another's.
    Refused(Words),
    /// It is down, or cannot be reached.
    Down(Words),
    /// It said something else.
    Unknown(Words),
}

/// `[[DD-]HH:]MM:SS`, with or without a fraction, in whole seconds, rounded up.
pub(super) fn clock_seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let (days, clock) = whole.split_once('-').unwrap_or(("0", whole));
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if !text.is_empty() && text.len() < 10 => text.parse::<u64>().ok(),
        _ => None,
    };
    let parts: Vec<u64> = clock.split(':').map(number).collect::<Option<_>>()?;
    if parts.len() < 2 || parts.len() > 3 {
        return None;
    }
    let seconds = parts.iter().fold(0, |sum, part| sum * 60 + part);
    let up = u64::from(fraction.bytes().any(|byte| byte != b'0'));
    Some(number(days)? * 86_400 + seconds + up)
}

/// `HH:MM:SS`, which every batch system takes.
pub(super) fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// One whole line with a batch id, and nothing beside it: without its end it may be half of one.
pub(super) fn one_id(
    output: &Output<'_>,
    fits: impl Fn(&BatchId) -> bool,
) -> Result<BatchId, NotSubmitted> {
    let garbage =
        || NotSubmitted { refusal: Refusal::Garbage, certain: false, words: output.words() };
    let short = Some(output.stdout).filter(|stdout| stdout.len() <= ANSWER_BYTES_MAX);
    let text = short.and_then(|stdout| std::str::from_utf8(stdout).ok()).ok_or_else(garbage)?;
    let line = text.strip_suffix('\n').ok_or_else(garbage)?;
    let id = BatchId::parse(line).map_err(|_| garbage())?;
    if fits(&id) { Ok(id) } else { Err(garbage()) }
}

/// The refusal for the first group of which one phrase stands in the text.
pub(super) fn refusal(text: &str, table: &[(Refusal, &[&str])]) -> Option<Refusal> {
    let says = |phrases: &&[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    table.iter().find(|(_, phrases)| says(phrases)).map(|(refusal, _)| *refusal)
}

#[cfg(test)]
mod tests;
