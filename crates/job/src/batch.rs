//! A dialect is how one batch system is spoken to: commands in, answers out, as pure functions.
//!
//! # How it is used
//!
//! The jobmanager, as the account, holds one [`Dialect`] made by [`dialect`] from the configuration's
//! [`Programs`]:
//!
//! ```text
//! Submission::new(Asked { .. })?                    the sandbox's path as the nodes see it
//! dialect.submit(&submission)? -> CommandLine       run it: argv, environment, standard input, directory /, deadline
//! dialect.submitted(&output)   -> Ok(BatchId)       durable, then the answer
//!                               | Err(NotSubmitted) certain: the job has failed; else look for its name in a listing
//! dialect.cancel(&id, &tag)    -> CommandLine, dialect.cancelled(&output) -> CancelAnswer
//! ```
//!
//! The poller asks for everybody at once, and reads only what is NESSSI's:
//!
//! ```text
//! for line in dialect.list(Listed::All) {           run it; deadline; at most LISTING_BYTES_MAX of output
//!     match dialect.listed(&output) {
//!         Ok(listing) => listing.find(&id, &dialect.job_name(&tag), account)
//!         Err(NotUnderstood) => the next line
//!         Err(Down | Failed | TooLong) => back off: nothing is known
//! ```
//!
//! A job that is not in the listing of all is asked for by its id ([`Listed::These`]): OpenPBS tells of ended
//! jobs only so (in text: its JSON tells of several ids the first alone). One that is not in that, where `listing.unread` is 0, is forgotten; [`Dialect::account`] may
//! still know it. While it runs, [`Dialect::usage`] tells what it uses, where accounting runs. Reconciliation
//! reads the guard first (`.nesssi/started/batch`: [`winner`]), then `listing.named(name, account)`: every
//! one of these but the winner is a duplicate, to be cancelled. The record (`.nesssi/record`) is an
//! [`EndRecord`](crate::EndRecord), and testimony; `.nesssi/why` is the reason that the watcher wrote before
//! it killed, should the script have died before the record. [`NotStarted`] reads the script's own exit
//! codes. A command's own lock goes in as an inherited descriptor; `qsub -f` leaves no process behind that
//! would keep it.
//!
//! # Who can see what
//!
//! The script goes in on standard input, a pipe that the account itself has made, so no file and no argument
//! holds it. What others see is the argument vector (`ps`, `Submit_arguments` of `qstat -f`, `SubmitLine` of
//! `sacct`), the name, `/dev/null` twice, the directory `/` (`WorkDir`, `PBS_O_WORKDIR`) and `NESSSI_JOB`: tag
//! and size, and no part of sandbox or session. `scontrol show job` has no `Command` for a script from
//! standard input, and `/dev/stdin` for one through the wrappers.
//!
//! The batch systems keep the script where only they and the account read it: Slurm in its
//! `StateSaveLocation` and, on the node, in a directory of the job under `SlurmdSpoolDir` (`scontrol write
//! batch_script` says `Invalid user id` to anybody else); PBS in `server_priv/jobs` and `mom_priv/jobs`,
//! `*.SC`. Within the script values reach programs by the shell's own `cd`, `export` and redirection, so `ps`
//! shows awk's text and relative names (a test reads every process's arguments), and of the payload what its
//! caller put into its arguments.
//!
//! A second account has looked at a running job on a real Slurm 22.05 with accounting and a real OpenPBS
//! 23.06.06 and found no session: `scontrol -dd show job` and `write batch_script`, `squeue -o %all`, `-O` and
//! `--json`, `sacct -o all`, `--json` and `-B`, `qstat -f`, `qstat -x -f -F json`, `tracejob`, `pbsnodes -a`,
//! all of `ps`, and every file of spools and logs that it may read (`tests/real.rs`, for any site).
//!
//! # Whom to believe
//!
//! Names and variables are whatever their owners like, and PBS's text shows them with their newlines: another's job
//! may hold a block that reads as one of ours, or as any other's under our job's name. So in text the state of a job
//! that is told twice, by whatever names, is [`BatchState::Unknown`], which leads to nothing; a block of an id that
//! nobody has is one of a job that is not there once it is asked for by its id. The JSON of PBS and of Slurm has
//! no such place, and is asked for first.
//!
//! # Values
//!
//! Arguments are letters, digits and `._+-:=,/|%` ([`Word`], numbers, our own text). All else stands in the
//! script as quoted words of printable ASCII, on lines that do not begin with `#`: there is no byte, newline
//! included, by which an argument could become a directive, and `sbatch`, which refuses DOS line ends, meets
//! none.
//!
//! # Limits
//!
//! The watcher (`look.awk`) looks at all processes that descend from the script, are of its session or process
//! group, have the tag in their environment or the job's brand, a limit of file locks that no system heeds and
//! no process is rid of but by lowering it: `env -i setsid`, forked twice, is found. It sleeps at most half of
//! the time in which every CPU that the job may use could together reach the limit, from 1 to 10 seconds, and
//! looks every 0.2 seconds when it is near at the pace seen. A look costs some 25 ms of CPU where 150 processes
//! are. At a limit it writes the reason and kills, as the local shepherd does.
//!
//! The worst overshoot of CPU time is what the job's CPUs do in one second and one look. On a real Slurm and a real
//! OpenPBS, on two CPUs with a load of 12, the record's figure for 1, 2 and 4 busy processes was at most 0.19, 0.22
//! and 0.44 seconds over 6: children, in sessions of their own, forked twice, without environment, deaf to TERM, and
//! short ones by the thousand. A process that was never seen between birth and death counts where its parent waits
//! for it, or where Slurm's control group (version 2) tells. A job may end its own watcher, which is of the same
//! account, or lower its brand. Then each process by itself has `ulimit -t`, and PBS stops all of them by `cput`, a
//! twentieth and 5 seconds above what was admitted (below that they would come before the watcher: PBS gives `cput`
//! to each process as its own limit, the kernel that counts by the tick is early, and a child that was stopped looks
//! like one that has ended); the record says `over_cpu` of a job that came nearer to that than to its own limit.
//! Control groups and the poller are what holds a hostile one.
//!
//! The sandbox's bytes are those of `du -skx`, which runs beside the looks 5 seconds after its last answer, a
//! twentieth of the time at most: a limit is met 12 seconds and one `du` late at the worst (11 seen).
//!
//! A cancel reaches the script as TERM, in Slurm and PBS alike. It asks all members to end, and kills what is left
//! after two seconds, before the batch system kills the script (Slurm's `KillWait` 30 seconds, PBS's `kill_delay`
//! 10): so the record says `cancelled`, and processes that the batch system does not follow are gone as well.
//! Where the script is killed without a word, its watcher, in a session of its own, ends the rest within a second
//! and a look, and leaves no record. A TERM in the last ten seconds of the wall time is taken for the batch
//! system's own; where it comes earlier, as after a long prologue, and nobody has asked, the batch system's
//! [`BatchEnd::OverWall`] counts beside a record that says `cancelled`. Job arrays are refused in answers, and by the script.

mod answers;
mod directive;
mod id;
pub mod names;
mod openpbs;
mod pbs;
mod quote;
mod script;
mod slurm;
mod submission;
mod torque;
mod words;

use std::collections::BTreeMap;

use crate::Tag;

pub use answers::{
    ANSWER_BYTES_MAX, BatchEnd, BatchState, CancelAnswer, Exit, LISTING_BYTES_MAX, Listing,
    NoListing, NotSubmitted, Output, Refusal, SIGHTINGS_MAX, Sighting,
};
pub use directive::{DIRECTIVE_WORD_BYTES_MAX, DIRECTIVES_MAX, Directive, DirectiveError, Word};
pub use id::{BATCH_ID_BYTES_MAX, BatchId, BatchIdError};
pub use openpbs::OpenPbs;
pub use script::NotStarted;
pub use slurm::Slurm;
pub use submission::{
    Asked, CPUS_MAX, ENVIRONMENT_BYTES_MAX, ENVIRONMENT_VARIABLES_MAX, Environment, PrivatePath,
    SANDBOX_PATH_BYTES_MAX, Submission, SubmissionError,
};
pub use torque::{Maker, Torque};
pub use words::{WORDS_BYTES_MAX, Words};

/// Begins the names of NESSSI's jobs, where names may be long.
pub const JOB_NAME_PREFIX: &str = "nesssi-";

/// Most ids that one listing asks for; for more, all are asked.
pub const LISTED_IDS_MAX: usize = 1000;

/// Which dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DialectName {
    /// OpenPBS and PBS Professional.
    OpenPbs,
    /// TORQUE.
    Torque,
    /// Slurm through its wrappers for TORQUE's commands.
    TorqueOnSlurm,
    /// Slurm.
    Slurm,
}

impl DialectName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OpenPbs, Self::Torque, Self::TorqueOnSlurm, Self::Slurm];

    /// Its name in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenPbs => "openpbs",
            Self::Torque => "torque",
            Self::TorqueOnSlurm => "torque-on-slurm",
            Self::Slurm => "slurm",
        }
    }

    /// The reverse of [`as_str`](Self::as_str).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// Absolute path of a program, of letters, digits and `/._+-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(String);

/// A path that is none of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a batch system's command is an absolute path of letters, digits and / . _ + -, without .."
)]
pub struct ProgramError;

impl Program {
    /// Reads a path.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn parse(path: &str) -> Result<Self, ProgramError> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte);
        let fits = path.starts_with('/') && !path.ends_with('/') && path.len() <= 1024;
        let climbs = path.split('/').any(|part| part == "..");
        if fits && !climbs && path.bytes().all(letter) {
            Ok(Self(path.to_owned()))
        } else {
            Err(ProgramError)
        }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The commands of a batch system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// `qsub`, `sbatch`.
    pub submit: Program,
    /// `qstat`, `squeue`.
    pub status: Program,
    /// `qdel`, `scancel`.
    pub cancel: Program,
    /// `sacct`, where accounting runs.
    pub account: Option<Program>,
    /// `sstat`, where accounting runs.
    pub usage: Option<Program>,
}

/// A command to be run as the account: nothing inherited but a lock, in the directory `/`, with a deadline.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// Program and arguments. Others may see them.
    pub argv: Vec<String>,
    /// The whole environment.
    pub environment: &'static [(&'static str, &'static str)],
    /// Standard input: a job script, which is private, or nothing.
    pub stdin: Vec<u8>,
}

/// What commands run with: their messages in English, and a path for wrappers that are scripts.
const ENVIRONMENT: &[(&str, &str)] = &[("LC_ALL", "C"), ("PATH", "/usr/bin:/bin")];

impl CommandLine {
    fn new(program: &Program, arguments: &[&str]) -> Self {
        let argv =
            std::iter::once(program.as_str()).chain(arguments.iter().copied()).map(str::to_owned);
        Self { argv: argv.collect(), environment: ENVIRONMENT, stdin: Vec::new() }
    }

    fn add(&mut self, arguments: &[&str]) {
        self.argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    fn add_ids(&mut self, ids: &[BatchId]) {
        self.argv.extend(ids.iter().map(|id| id.as_str().to_owned()));
    }
}

impl std::fmt::Debug for CommandLine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.stdin.len();
        out.debug_struct("CommandLine")
            .field("argv", &self.argv)
            .field("stdin_bytes", &bytes)
            .finish()
    }
}

/// What is to be listed.
#[derive(Debug, Clone, Copy)]
pub enum Listed<'a> {
    /// All jobs of the batch system.
    All,
    /// These, at most [`LISTED_IDS_MAX`] and at least one.
    These(&'a [BatchId]),
}

/// One batch system. None of it does anything but to put text together and to take it apart.
pub trait Dialect: std::fmt::Debug + Send + Sync {
    /// Which one.
    fn name(&self) -> DialectName;

    /// The name that the batch system has for the job of a tag.
    fn job_name(&self, tag: &Tag) -> String;

    /// The command that submits a job, with its script on standard input.
    ///
    /// # Errors
    /// A directive that the batch system has no word for.
    fn submit(&self, submission: &Submission) -> Result<CommandLine, DirectiveError>;

    /// What it answered.
    ///
    /// # Errors
    /// [`NotSubmitted`].
    fn submitted(&self, output: &Output<'_>) -> Result<BatchId, NotSubmitted>;

    /// The commands that list jobs: the next where the answer of one is not understood.
    fn list(&self, listed: Listed<'_>) -> Vec<CommandLine>;

    /// What one of them answered.
    ///
    /// # Errors
    /// [`NoListing`]; nothing is known then of any job.
    fn listed(&self, output: &Output<'_>) -> Result<Listing, NoListing>;

    /// The command that ends a job.
    fn cancel(&self, id: &BatchId, tag: &Tag) -> CommandLine;

    /// What it answered.
    fn cancelled(&self, output: &Output<'_>) -> CancelAnswer;

    /// The command that tells of ended jobs from the accounts, where there is one.
    fn account(&self, _ids: &[BatchId]) -> Option<CommandLine> {
        None
    }

    /// What it answered.
    ///
    /// # Errors
    /// [`NoListing`].
    fn accounted(&self, output: &Output<'_>) -> Result<Listing, NoListing> {
        Err(NoListing::NoAccounts(output.words()))
    }

    /// The command that tells what running jobs use, where there is one.
    fn usage(&self, _ids: &[BatchId]) -> Option<CommandLine> {
        None
    }

    /// CPU seconds of each job.
    ///
    /// # Errors
    /// [`NoListing`].
    fn used(&self, output: &Output<'_>) -> Result<BTreeMap<BatchId, u64>, NoListing> {
        Err(NoListing::NoAccounts(output.words()))
    }
}

/// The dialect of that name.
#[must_use]
pub fn dialect(name: DialectName, programs: Programs) -> Box<dyn Dialect> {
    match name {
        DialectName::OpenPbs => Box::new(OpenPbs::new(programs)),
        DialectName::Torque => Box::new(Torque::new(programs, Maker::Torque)),
        DialectName::TorqueOnSlurm => Box::new(Torque::new(programs, Maker::SlurmWrappers)),
        DialectName::Slurm => Box::new(Slurm::new(programs, true)),
    }
}

/// The command by which dialects are told apart: its answer goes to [`recognise`].
#[must_use]
pub fn probe(submit: &Program) -> CommandLine {
    CommandLine::new(submit, &["--version"])
}

/// Whose `qsub` or `sbatch` answered [`probe`] like this.
#[must_use]
pub fn recognise(output: &Output<'_>) -> Option<DialectName> {
    let text = output.text();
    let begins = |word: &str| text.lines().any(|line| line.trim_start().starts_with(word));
    if begins("pbs_version") {
        Some(DialectName::OpenPbs)
    } else if begins("slurm") {
        Some(DialectName::Slurm)
    } else if text.contains("unknown option: version") {
        Some(DialectName::TorqueOnSlurm)
    } else if begins("version:") {
        Some(DialectName::Torque)
    } else {
        None
    }
}

/// The batch id that a guard holds, `.nesssi/started/batch`: the job that has started the payload. `None` for anything else,
/// also for a job that ran without a batch system.
#[must_use]
pub fn winner(guard: &[u8]) -> Option<BatchId> {
    BatchId::parse(std::str::from_utf8(guard).ok()?.strip_suffix('\n')?).ok()
}

fn long_name(tag: &Tag) -> String {
    format!("{JOB_NAME_PREFIX}{tag}")
}

#[cfg(test)]
mod tests;
