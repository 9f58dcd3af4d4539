//! A job spec is what a service asks for; an admitted job is what it gets.

use serde::{Deserialize, Serialize};

use crate::{Command, CommandError};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// What to run.
    pub command: Command,
    /// CPU seconds over all processes of the job.
    pub cpu_seconds_asked: u64,
    /// Whether the service's manifest says `shell_commands = true`.
    pub shell_allowed: bool,
}

/// The most that the caller's level gives to one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// CPU seconds.
    pub cpu_seconds: u64,
    /// Wall seconds.
    pub wall_seconds: u64,
    /// Bytes of the sandbox; 0 is no limit.
    pub sandbox_bytes: u64,
}

/// Why a job was not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// No time was asked, so that nothing could run.
    #[error("a job needs at least one CPU second")]
    NoTime,
    /// More was asked than the level gives.
    #[error("asked for {asked} CPU seconds, the limit is {limit}")]
    OverLimit {
        /// CPU seconds asked.
        asked: u64,
        /// CPU seconds the level gives.
        limit: u64,
    },
    /// Shell text from a service that may not use it.
    #[error("this service may not run shell text: pass a list of arguments")]
    ShellRefused,
    /// The command itself.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// A job whose command and size have been judged. [`AdmittedJob::admit`] is the one way to get one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedJob {
    command: Command,
    cpu_seconds_max: u64,
    wall_seconds_max: u64,
    sandbox_bytes_max: u64,
}

impl AdmittedJob {
    /// Judges what is asked by what the level gives.
    ///
    /// # Errors
    /// [`NotAdmitted`], whose text may be shown to the caller.
    pub fn admit(spec: JobSpec, ceiling: Ceiling) -> Result<Self, NotAdmitted> {
        spec.command.check()?;
        if matches!(spec.command, Command::Shell(_)) && !spec.shell_allowed {
            return Err(NotAdmitted::ShellRefused);
        }
        let asked = spec.cpu_seconds_asked;
        if asked == 0 {
            return Err(NotAdmitted::NoTime);
        }
        if asked > ceiling.cpu_seconds {
            return Err(NotAdmitted::OverLimit { asked, limit: ceiling.cpu_seconds });
        }
        Ok(Self {
            command: spec.command,
            cpu_seconds_max: asked,
            wall_seconds_max: ceiling.wall_seconds,
            sandbox_bytes_max: ceiling.sandbox_bytes,
        })
    }

    /// What it runs.
    #[must_use]
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// CPU seconds over all its processes.
    #[must_use]
    pub fn cpu_seconds_max(&self) -> u64 {
        self.cpu_seconds_max
    }

    /// Wall seconds.
    #[must_use]
    pub fn wall_seconds_max(&self) -> u64 {
        self.wall_seconds_max
    }

    /// Bytes of the sandbox; 0 is no limit.
    #[must_use]
    pub fn sandbox_bytes_max(&self) -> u64 {
        self.sandbox_bytes_max
    }
}

/// The argument vector of a job on the `local` batch system.
///
/// The one place where shell text is given to a shell, as a single argument, inside the job.
#[must_use]
pub fn render_local(job: &AdmittedJob) -> Vec<Vec<u8>> {
    match &job.command {
        Command::Argv(argv) => argv.clone(),
        Command::Shell(text) => {
            vec![b"/bin/sh".to_vec(), b"-c".to_vec(), text.clone().into_bytes()]
        }
    }
}

#[cfg(test)]
mod tests;
