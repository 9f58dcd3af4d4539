//! Programs that accounts run because the configuration names them: whoever could change one would act as all of them.
//!
//! So each is held against owner and mode, with everything on the way to it, before an account is told of it.

use std::path::Path;

use nesssi_config::{BatchSystem, Config};

use crate::paths::{self, PathProblem};

/// What of a batch system's commands may not be run, one text each with its key: none means that it can be used.
#[must_use]
pub fn problems_of(system: &BatchSystem) -> Vec<String> {
    let wrong = |(key, path): (&'static str, &std::path::PathBuf)| {
        let problem = paths::check_program(path).err()?;
        Some(told(&format!("[batch.{}] {key}", system.name), path, &problem))
    };
    system.programs().into_iter().filter_map(wrong).collect()
}

/// What is wrong with the interpreter and the worker of services in Python.
#[must_use]
pub fn problems_of_python(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let python = &config.services.python;
    // Without root it is often the user's own, with a group of his own.
    let check = |path: &Path| {
        if rustix::process::geteuid().is_root() { paths::check_program(path) } else { Ok(()) }
    };
    if let Err(problem) = check(python) {
        problems.push(told("[services] python", python, &problem));
    }
    // As a name in it, so that the package's own directory is looked at.
    let package = config.services.python_path.join("nesssi");
    if let Err(problem) = paths::check_above(&package.join("any")) {
        problems.push(told("[services] python_path", &package, &problem));
    }
    problems
}

/// The key, the path as it was written, and where on the way something is wrong, if it is not that path.
fn told(key: &str, path: &Path, problem: &PathProblem) -> String {
    let (path, problem) = (path.display().to_string(), problem.to_string());
    if problem.starts_with(&format!("{path}: ")) {
        format!("{key}: {problem}")
    } else {
        format!("{key}: {path}: {problem}")
    }
}

#[cfg(test)]
mod tests;
