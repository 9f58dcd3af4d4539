//! A submission is an admitted job with all that a batch system must be told of it.

use crate::batch::directive::{self, Directive, DirectiveError};
use crate::{AdmittedJob, Command, Tag};

/// Longest path of a sandbox.
pub const SANDBOX_PATH_BYTES_MAX: usize = 4095;

/// Longest environment, names and values.
pub const ENVIRONMENT_BYTES_MAX: usize = 128 * 1024;

/// Most variables.
pub const ENVIRONMENT_VARIABLES_MAX: usize = 1024;

/// Most CPUs of one job.
pub const CPUS_MAX: u32 = 65_536;

/// Names whose value a shell sets or uses itself, so that a job could not be given them.
const SHELLS_OWN: [&str; 19] = [
    "_",
    "BASHOPTS",
    "BASH_ARGV0",
    "BASH_VERSINFO",
    "BASHPID",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "OPTARG",
    "OPTIND",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SRANDOM",
    "UID",
];

/// What cannot be submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// A directive.
    #[error(transparent)]
    Directive(#[from] DirectiveError),
    /// The sandbox is no absolute path without `..`, is too long, or has a NUL.
    #[error("the sandbox's path cannot be used")]
    Sandbox,
    /// A variable's name is no identifier, is one of the shell's or of NESSSI's own, or is given twice.
    #[error("the environment has a variable that cannot be set")]
    VariableName,
    /// A variable's value has a NUL.
    #[error("a variable's value holds a NUL byte")]
    VariableValue,
    /// Over [`ENVIRONMENT_BYTES_MAX`] or [`ENVIRONMENT_VARIABLES_MAX`].
    #[error("the environment is too large")]
    Environment,
    /// None, or more than [`CPUS_MAX`].
    #[error("a job has 1 to {CPUS_MAX} CPUs")]
    Cpus,
    /// More memory than can be said, or none.
    #[error("a job's memory is 1 byte to 1 EiB")]
    Memory,
    /// No time, or more than ten years.
    #[error("a batch job's times are 1 second to ten years")]
    Time,
    /// A program whose name begins with `-`: not every `/bin/sh` could be told to run it.
    #[error("the program's name begins with -")]
    Program,
    /// A umask over 0777.
    #[error("the umask is over 0777")]
    Umask,
}

/// Identifiers with their bytes, none of which the shell keeps for itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment(Vec<(String, Vec<u8>)>);

impl Environment {
    /// Checks names and values.
    ///
    /// # Errors
    /// [`SubmissionError`]'s on variables.
    pub fn new(variables: Vec<(String, Vec<u8>)>) -> Result<Self, SubmissionError> {
        let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if variables.len() > ENVIRONMENT_VARIABLES_MAX || bytes > ENVIRONMENT_BYTES_MAX {
            return Err(SubmissionError::Environment);
        }
        let mut names = std::collections::HashSet::new();
        for (name, value) in &variables {
            if !is_variable(name) || !names.insert(name.as_str()) {
                return Err(SubmissionError::VariableName);
            }
            if value.contains(&0) {
                return Err(SubmissionError::VariableValue);
            }
        }
        Ok(Self(variables))
    }

    pub(super) fn variables(&self) -> &[(String, Vec<u8>)] {
        &self.0
    }
}

fn is_variable(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = name.bytes().next().is_some_and(|byte| letter(byte) && !byte.is_ascii_digit());
    let lower = name.to_ascii_lowercase();
    first
        && name.bytes().all(letter)
        && !SHELLS_OWN.contains(&name)
        && lower != "nesssi_tag"
        && !name.starts_with("nesssi_")
}

/// An absolute path without `..` and NUL. Its bytes are private: a sandbox's path holds the session id.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivatePath(Vec<u8>);

impl PrivatePath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`SubmissionError::Sandbox`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SubmissionError> {
        let climbs = bytes.split(|byte| *byte == b'/').any(|part| part == b"..");
        let fits = bytes.len() <= SANDBOX_PATH_BYTES_MAX && !bytes.contains(&0);
        if bytes.first() == Some(&b'/') && fits && !climbs {
            Ok(Self(bytes.to_vec()))
        } else {
            Err(SubmissionError::Sandbox)
        }
    }

    pub(super) fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for PrivatePath {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PrivatePath(..)")
    }
}

/// What is asked of a submission, before it is checked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The name by which the batch system knows the job.
    pub tag: Tag,
    /// What was admitted.
    pub job: AdmittedJob,
    /// CPUs on one node.
    pub cpus: u32,
    /// Memory in bytes; `None` leaves it to the site.
    pub memory_bytes: Option<u64>,
    /// The site's, the level's and the service's.
    pub directives: Vec<Directive>,
    /// The payload's whole environment, but for what the batch system tells its jobs and `NESSSI_TAG`.
    pub environment: Environment,
    /// The sandbox, as the nodes see it.
    pub sandbox: PrivatePath,
    /// The account's umask.
    pub umask: u32,
}

/// A job that any dialect can render. [`Submission::new`] is the one way to get one.
#[derive(Debug, Clone)]
pub struct Submission(Asked);

/// Ten years.
const SECONDS_MAX: u64 = 3650 * 86_400;

impl Submission {
    /// Checks what is asked.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(asked: Asked) -> Result<Self, SubmissionError> {
        directive::check(&asked.directives)?;
        if asked.cpus == 0 || asked.cpus > CPUS_MAX {
            return Err(SubmissionError::Cpus);
        }
        if asked.memory_bytes.is_some_and(|bytes| bytes == 0 || bytes > 1 << 60) {
            return Err(SubmissionError::Memory);
        }
        let times = [asked.job.cpu_seconds_max(), asked.job.wall_seconds_max()];
        if times.iter().any(|seconds| *seconds == 0 || *seconds > SECONDS_MAX) {
            return Err(SubmissionError::Time);
        }
        if let Command::Argv(argv) = asked.job.command()
            && argv.first().is_some_and(|program| program.first() == Some(&b'-'))
        {
            return Err(SubmissionError::Program);
        }
        if asked.umask > 0o777 {
            return Err(SubmissionError::Umask);
        }
        Ok(Self(asked))
    }

    pub(super) fn asked(&self) -> &Asked {
        &self.0
    }

    /// CPU seconds at which the batch system and the kernel stop what the watcher has not: a twentieth and 5
    /// seconds more than admitted. Both stop single processes, too, which then look like some that have ended by
    /// themselves, and the kernel that counts by the tick is early.
    pub(super) fn cpu_seconds_held(&self) -> u64 {
        let seconds = self.0.job.cpu_seconds_max();
        seconds.saturating_add(seconds / 20).saturating_add(5)
    }

    /// Memory in mebibytes, rounded up.
    pub(super) fn memory_mib(&self) -> Option<u64> {
        self.0.memory_bytes.map(|bytes| bytes.div_ceil(1 << 20))
    }
}
