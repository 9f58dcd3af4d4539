//! `nesssi backup` and `nesssi restore`: the journal, and the key that its sessions are sealed with.
//!
//! The journal is copied while the server runs; the seal key is the monitor's and root's, and stands in a
//! file of its own beside the copy, for root alone. A copy takes the journal's place only while no server
//! runs, and what was there is kept beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

use nesssi_config::Config;
use nesssi_journal::{Holds, Unknown};
use rustix::fs::FlockOperation;

use crate::cli::{Failure, say};

const JOURNAL: &str = "gatekeeper/journal.sqlite";
const KEY: &str = "monitor/seal.key";
const LOCK: &str = "monitor/lock";
/// What SQLite keeps beside a file that is in use, or was when its process died.
const BESIDE: [&str; 2] = ["-wal", "-shm"];
/// Bytes of a seal key.
const KEY_BYTES: usize = 32;
/// Most sessions that are named which a backup does not know.
const NAMED_MAX: usize = 1000;

const AFTER_BACKUP: &str = "\
The server may run meanwhile. FILE must not be there yet; it is made for its owner alone (0600), read
through once written, and holds DNs, session ids and the commands of jobs that wait. As root the key that
seals sessions is copied, too, to FILE.key: without it no session of the backup can be read, cancelled or
removed after a restore elsewhere. Sandboxes, logs and configuration are not in it.

Exit codes: 0 done, 1 it could not be, 2 wrong usage.";

const AFTER_RESTORE: &str = "\
The server must be stopped. FILE is read through first (every page, every row, its version); FILE.key, if it
is there, takes the place of the seal key. What was there is kept beside, under a name that ends in the time.

What the backup knows as waiting is started only if its sandbox is there and says that it never was; where
the sandbox is gone it is lost, never started. Jobs that have ended since are found by their records. Sessions
made since are unknown: they are listed here if the journal before can be read, their sandboxes stay until
somebody removes them, and their jobs that still run are ended when the server starts.

Exit codes: 0 done, 1 it could not be, 2 wrong usage.";

/// Where to.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_BACKUP)]
pub(crate) struct Backup {
    /// The configuration that names the state directory
    #[arg(long, env = "NESSSI_CONFIG", default_value = nesssi_config::DEFAULT_PATH)]
    config: PathBuf,
    /// The file to be made
    file: PathBuf,
}

/// Where from.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_RESTORE)]
pub(crate) struct Restore {
    /// The configuration that names the state directory
    #[arg(long, env = "NESSSI_CONFIG", default_value = nesssi_config::DEFAULT_PATH)]
    config: PathBuf,
    /// A file that `nesssi backup` has made
    file: PathBuf,
}

/// Copies the journal, and the seal key if this user may read it.
///
/// # Errors
/// What cannot be read, or is damaged.
pub(crate) fn back_up(words: &Backup) -> Result<(), Failure> {
    let state = config(&words.config)?.server.state_directory;
    check_folder(&words.file)?;
    let journal = state.join(JOURNAL);
    let at = |error: &dyn std::fmt::Display| format!("{}: {error}", journal.display());
    if !journal.exists() {
        return Err(at(&"there is no journal that this user can see").into());
    }
    let holds = nesssi_journal::back_up(&journal, &words.file).map_err(|error| at(&error))?;
    say(&format!("{}: {}", words.file.display(), shown(&holds)));
    let copy = key_beside(&words.file);
    match read_key(&state.join(KEY)) {
        Ok(key) => {
            write_new(&copy, &key).map_err(|error| format!("{}: {error}", copy.display()))?;
            say(&format!("{}: the seal key; whoever has it can seal sessions", copy.display()));
        }
        Err(error) => {
            say(&format!(
                "NOT in it: the seal key {} ({error}). Keep a copy of it, or run this as root: without \
                 it the sessions of this backup cannot be tended.",
                state.join(KEY).display()
            ));
        }
    }
    Ok(())
}

/// Puts a backup in the journal's place.
///
/// # Errors
/// What is wrong with the backup, or that a server runs. Nothing was changed then, unless it says so.
pub(crate) fn restore(words: &Restore) -> Result<(), Failure> {
    let state = config(&words.config)?.server.state_directory;
    check_folder(&words.file)?;
    let _lock = lock(&state.join(LOCK))?;
    let holds = nesssi_journal::look_through(&words.file)
        .map_err(|error| format!("{}: {error}", words.file.display()))?;
    let journal = state.join(JOURNAL);
    let owner = owner_of(&journal)?;
    let new = state.join("gatekeeper/journal.restoring");
    let made = copy_for(&words.file, &new, owner)
        .map_err(|error| format!("{}: {error}", new.display()).into())
        .and_then(|()| put_in_place(&words.file, &state, &new));
    if made.is_err() {
        drop(fs::remove_file(&new));
    }
    made?;
    say(&format!("{}: restored: {}", journal.display(), shown(&holds)));
    Ok(())
}

fn put_in_place(file: &Path, state: &Path, new: &Path) -> Result<(), Failure> {
    let journal = state.join(JOURNAL);
    let before = journal.exists().then_some(journal.as_path());
    nesssi_journal::mark_restored(new, before)
        .map_err(|error| format!("{}: {error}", new.display()))?;
    if let Some(before) = before {
        tell_unknown(new, before);
        let aside = aside(&journal);
        for end in [""].into_iter().chain(BESIDE) {
            let from = with_end(&journal, end);
            if from.exists() {
                rename_new(&from, &with_end(&aside, end))?;
            }
        }
        say(&format!("{}: the journal before", aside.display()));
    }
    rename_new(new, &journal)?;
    restore_key(&key_beside(file), &state.join(KEY))?;
    sync_folder(&journal)
}

/// Says which sessions the journal before knows and the backup does not.
fn tell_unknown(new: &Path, before: &Path) {
    match nesssi_journal::unknown_to(new, before, NAMED_MAX) {
        Ok(unknown) => {
            for Unknown { id, account, open_job } in &unknown {
                let job = if *open_job { ", with a job that had not ended" } else { "" };
                say(&format!("not in the backup: session {id} of {account}{job}"));
            }
            say(&format!("sessions that the backup does not know: {}", unknown.len()));
        }
        Err(error) => say(&format!(
            "the journal before cannot be read ({error}): sandboxes of sessions made since the backup \
             are not listed"
        )),
    }
}

/// The backup's key is what its sessions are sealed with.
fn restore_key(copy: &Path, key: &Path) -> Result<(), Failure> {
    let shown = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let wanted = match read_key(copy) {
        Ok(wanted) => wanted,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            say(&format!("{}: not there: the seal key stays as it is", copy.display()));
            return Ok(());
        }
        Err(error) => return Err(shown(copy, &error).into()),
    };
    match read_key(key) {
        Ok(present) if present == wanted => return Ok(()),
        Ok(_) => rename_new(key, &aside(key))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(shown(key, &error).into()),
    }
    write_new(key, &wanted).map_err(|error| shown(key, &error))?;
    let owner = fs::metadata(key.parent().unwrap_or(key))?;
    chown(key, Some(owner.uid()), Some(owner.gid())).map_err(|error| shown(key, &error))?;
    say(&format!("{}: the backup's seal key", key.display()));
    Ok(())
}

fn shown(holds: &Holds) -> String {
    let Holds { version, sessions, open_jobs, .. } = holds;
    format!(
        "{sessions} sessions, {open_jobs} jobs that had not ended, schema {version}, read through"
    )
}

fn config(path: &Path) -> Result<Config, Failure> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"))?;
    Ok(nesssi_config::parse(&text, &shown).map_err(|mistakes| {
        mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    })?)
}

/// Root writes and believes no file whose name another could give to something else. In a sticky folder nobody
/// can that of root's.
fn check_folder(file: &Path) -> Result<(), Failure> {
    const STICKY: u32 = 0o1000;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let told = |why: String| format!("{}: {why}", folder.display());
    let facts = fs::metadata(folder).map_err(|error| told(error.to_string()))?;
    if facts.uid() == 0 && facts.mode() & STICKY != 0 {
        return Ok(());
    }
    if rustix::process::geteuid().is_root() {
        crate::files::check_hands(&facts).map_err(told)?;
    }
    Ok(())
}

/// The lock that a running server holds.
fn lock(path: &Path) -> Result<File, Failure> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let options = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = options.map_err(|error| failed(&error))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| failed(&"a server runs: stop it first"))?;
    Ok(file)
}

/// Whose the journal is: as it is now, or as its folder is.
fn owner_of(journal: &Path) -> Result<(u32, u32), Failure> {
    let folder = journal.parent().unwrap_or(journal);
    let facts = fs::metadata(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok((facts.uid(), facts.gid()))
}

fn copy_for(from: &Path, to: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    match fs::remove_file(to) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut source = File::open(from)?;
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut target)?;
    rustix::fs::fchown(
        &target,
        Some(rustix::fs::Uid::from_raw(uid)),
        Some(rustix::fs::Gid::from_raw(gid)),
    )?;
    target.sync_all()
}

fn read_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let bytes = fs::read(path)?;
    <[u8; KEY_BYTES]>::try_from(bytes.as_slice())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no seal key"))
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Where nothing is yet.
fn rename_new(from: &Path, to: &Path) -> Result<(), Failure> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags)
        .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()).into())
}

fn sync_folder(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(path);
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| format!("{}: {error}", folder.display()).into())
}

fn key_beside(file: &Path) -> PathBuf {
    with_end(file, ".key")
}

/// Most names that are tried for what is kept of one second.
const ASIDE_MAX: u32 = 100;

/// Under which name something is kept: the time of now, and a number where that name is taken.
fn aside(path: &Path) -> PathBuf {
    let first = with_end(path, &format!(".before-{}", crate::clock::now_unix()));
    let later = (2..=ASIDE_MAX).map(|number| with_end(&first, &format!(".{number}")));
    // Where all are taken the rename says so, and nothing was changed.
    let free =
        |name: &PathBuf| [""].into_iter().chain(BESIDE).all(|end| !with_end(name, end).exists());
    std::iter::once(first.clone()).chain(later).find(free).unwrap_or(first)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut whole = path.as_os_str().to_owned();
    whole.push(end);
    PathBuf::from(whole)
}

#[cfg(test)]
mod tests;
