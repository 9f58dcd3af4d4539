//! A command is a program with an argument vector and an environment that starts from nothing.
//!
//! `std::process::Command::new` inherits the environment and is banned elsewhere: programs are
//! started through [`Command`], which is then spawned by [`crate::spawn::Spawn`] (exact descriptors) or converted to
//! a `std::process::Command` (and from it to tokio's) whose environment is the same.

use std::ffi::{CString, NulError, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for that are named without a `/` and whose command has no `PATH`.
pub const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program, its arguments and its whole environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    program: OsString,
    argv0: Option<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Command {
    /// A program by path, or by a name that is looked for in the command's own `PATH`, with no
    /// arguments and an empty environment.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            argv0: None,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// What the program sees as its own name, instead of how it was named here.
    #[must_use]
    pub fn named(mut self, name: impl Into<OsString>) -> Self {
        self.argv0 = Some(name.into());
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets one variable; a later one of the same name replaces it.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let name = name.into();
        self.environment.retain(|(other, _)| *other != name);
        self.environment.push((name, value.into()));
        self
    }

    /// Sets more variables.
    #[must_use]
    pub fn envs<N: Into<OsString>, V: Into<OsString>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        variables.into_iter().fold(self, |command, (name, value)| command.env(name, value))
    }

    /// The same command for the standard library: environment cleared, then as set here.
    #[must_use]
    pub fn to_std(&self) -> std::process::Command {
        #[allow(
            clippy::disallowed_methods,
            reason = "the wrapper itself: it clears the environment"
        )]
        let mut command = std::process::Command::new(self.resolved());
        command.env_clear().args(&self.arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(name) = &self.argv0 {
            std::os::unix::process::CommandExt::arg0(&mut command, name);
        }
        command
    }

    /// The path to run: the program itself if it has a `/`, else the first executable file of its
    /// name in the command's `PATH`, else its bare name (which then fails to start).
    #[must_use]
    pub fn resolved(&self) -> PathBuf {
        if self.program.as_bytes().contains(&b'/') {
            return PathBuf::from(&self.program);
        }
        let path = self
            .environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .map_or(OsStr::new(PATH_DEFAULT), |(_, value)| value.as_os_str());
        find(&self.program, path).unwrap_or_else(|| PathBuf::from(&self.program))
    }

    /// What exec takes: path, argument vector, environment.
    pub(crate) fn for_exec(&self) -> Result<(CString, Vec<CString>, Vec<CString>), NulError> {
        let path = CString::new(self.resolved().as_os_str().as_bytes())?;
        let own_name = self.argv0.as_ref().unwrap_or(&self.program);
        let argv = std::iter::once(own_name)
            .chain(&self.arguments)
            .map(|argument| CString::new(argument.as_bytes()))
            .collect::<Result<_, _>>()?;
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<_, _>>()?;
        Ok((path, argv, environment))
    }
}

/// The first executable regular file of that name in a `PATH`. Relative directories are passed over.
#[must_use]
pub fn find(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|candidate| is_program(candidate))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests;
