//! Running programs: an argument vector, an environment from empty, never a shell.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::Failure;

/// A command with nothing in its environment but a search path and a language.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the wrapper: the environment is cleared here"
)]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

/// Runs a tool of the system to its end.
///
/// # Errors
/// If it cannot be started or fails, with what it said.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = command(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program} {}: {}", arguments.join(" "), said.trim()).into())
    }
}

/// The program of that name beside this one.
///
/// # Errors
/// If this process does not know where it lies.
pub(super) fn beside(name: &str) -> Result<PathBuf, Failure> {
    let me = std::env::current_exe()?;
    Ok(me.parent().unwrap_or_else(|| Path::new("/")).join(name))
}
