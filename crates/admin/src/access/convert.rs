//! From the original's form to TOML.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nesssi_policy::{ACCESS_BYTES_MAX, Access};

use super::python::{Comments, comments};
use crate::cli::{Failure, say, tell};
use crate::files;

/// Prints the file in TOML, or puts the TOML in its place.
///
/// # Errors
/// What kept it from being written.
pub(super) fn run(file: &Path, write: bool) -> Result<ExitCode, Failure> {
    let shown = file.display();
    let Some((access, _)) = super::read(file) else { return Ok(ExitCode::FAILURE) };
    if !access.is_old_form() {
        tell(&format!("{shown}: it is TOML already: nothing is changed"));
        return Ok(ExitCode::SUCCESS);
    }
    let text = files::read_text(file, ACCESS_BYTES_MAX)?;
    let (toml, lost) = converted(&text, &access);
    if !lost.is_empty() {
        let lines: Vec<String> = lost.iter().map(ToString::to_string).collect();
        tell(&format!(
            "{shown}: warning: comments of these lines are left out: {}",
            lines.join(", ")
        ));
    }
    if !write {
        say(toml.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let old = replace(file, &toml)?;
    say(&format!("{shown} is TOML now; what it was is {}", old.display()));
    Ok(ExitCode::SUCCESS)
}

/// The TOML of an old file, and the lines of comments that are not in it.
pub(super) fn converted(text: &str, access: &Access) -> (String, Vec<usize>) {
    let Comments { head, further } = comments(text);
    let head: String = head.iter().map(|line| format!("{line}\n")).collect();
    let gap = if head.is_empty() { "" } else { "\n" };
    (format!("{head}{gap}{}", access.to_toml().trim_start_matches('\n')), further)
}

/// Puts a text in a file's place in one step, with the same owner and mode, and keeps what it was.
fn replace(file: &Path, text: &str) -> Result<PathBuf, Failure> {
    let file = file.canonicalize()?;
    let old = with_ending(&file, ".old");
    let new = with_ending(&file, &format!(".new-{}", std::process::id()));
    // A link is made only where there is nothing.
    fs::hard_link(&file, &old).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!("{}: it is there already", old.display()),
        _ => format!("{}: {error}", old.display()),
    })?;
    let written =
        write_like(&new, text, &fs::metadata(&old)?).and_then(|()| fs::rename(&new, &file));
    if let Err(error) = written {
        // The file is what it was; what was begun is taken away again as far as that goes.
        for begun in [&new, &old] {
            fs::remove_file(begun).unwrap_or_default();
        }
        return Err(format!("{}: {error}", file.display()).into());
    }
    Ok(old)
}

fn write_like(path: &Path, text: &str, facts: &fs::Metadata) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (facts.uid(), facts.gid()) {
        std::os::unix::fs::fchown(&file, Some(facts.uid()), Some(facts.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(facts.mode() & 0o7777))?;
    file.sync_all()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests;
