//! Directives of the configuration, held against the dialects that are to put them into words.

use nesssi_config::{BatchSystem, Config, Mistake};
use nesssi_job::batch::{
    Asked, DialectName, Directive, Environment, PrivatePath, Program, Programs, Submission, dialect,
};
use nesssi_job::{AdmittedJob, Ceiling, Command, JobSpec, Tag};

/// The directives of batch systems that are none, or for which the dialect that is configured has no word; each with
/// its line. Jobs with such a one would be refused.
#[must_use]
pub fn check_directives(config: &Config) -> Vec<Mistake> {
    config.check_directives(|system, key, value| {
        let directive = Directive::parse(key, value).map_err(|error| error.to_string())?;
        match system.dialect.as_deref().and_then(DialectName::parse) {
            Some(name) => try_out(system, name, directive),
            None => Ok(()),
        }
    })
}

/// Whether a job with this directive could be submitted.
fn try_out(system: &BatchSystem, name: DialectName, directive: Directive) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let program = |path: &std::path::Path| {
        Program::parse(&path.to_string_lossy()).map_err(|error| text(&error))
    };
    let programs = Programs {
        submit: program(&system.submit)?,
        status: program(&system.status)?,
        cancel: program(&system.cancel)?,
        account: None,
        usage: None,
    };
    let spec = JobSpec {
        command: Command::Argv(vec![b"/bin/true".to_vec()]),
        cpu_seconds_asked: 1,
        shell_allowed: false,
    };
    let ceiling = Ceiling { cpu_seconds: 1, wall_seconds: 1, sandbox_bytes: 0 };
    let asked = Asked {
        tag: Tag::from_bytes(Default::default()),
        job: AdmittedJob::admit(spec, ceiling).map_err(|error| text(&error))?,
        cpus: 1,
        memory_bytes: None,
        directives: vec![directive],
        environment: Environment::default(),
        sandbox: PrivatePath::parse(b"/").map_err(|error| text(&error))?,
        umask: 0o077,
    };
    let submission = Submission::new(asked).map_err(|error| text(&error))?;
    dialect(name, programs).submit(&submission).map(drop).map_err(|error| text(&error))
}

#[cfg(test)]
mod tests;
