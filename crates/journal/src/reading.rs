//! Reading beside whoever writes: without the lease, and without changing anything.

use std::path::{Path, PathBuf};

use nesssi_policy::{AccessEdit, VoChange};
use rusqlite::{Connection, OpenFlags};

use crate::store::{BUSY_MS_MAX, SCHEMA_VERSION};
use crate::{JournalError, access, migrate, vo};

/// The VO groups in a journal, as [`crate::Loaded::vo`] has them. The journal may be in use.
///
/// # Errors
/// [`JournalError::Sqlite`] where there is no file or it may not be read, [`JournalError::Version`]
/// and [`JournalError::Damaged`] as for opening it.
pub fn read_vo(path: &Path) -> Result<Vec<VoChange>, JournalError> {
    let (connection, version) = open_known(path)?;
    // From before there were groups.
    if version < 2 { Ok(Vec::new()) } else { vo::load(&connection) }
}

/// The access edits in a journal, as [`crate::Loaded::access`] has them. The journal may be in use.
///
/// # Errors
/// As of [`read_vo`].
pub fn read_access(path: &Path) -> Result<Vec<AccessEdit>, JournalError> {
    let (connection, version) = open_known(path)?;
    // From before there were edits.
    if version < 3 { Ok(Vec::new()) } else { access::load(&connection) }
}

/// Whether the journal, if there is one, is of a version that can be opened. It may be in use.
///
/// # Errors
/// [`JournalError::Version`] and [`JournalError::Damaged`] as for opening it.
pub fn check_version(path: &Path) -> Result<(), JournalError> {
    match std::fs::metadata(path) {
        // One that is empty is made anew.
        Ok(facts) if facts.len() > 0 => open_known(path).map(drop),
        _ => Ok(()),
    }
}

/// The file, and the version of its schema.
pub(crate) fn open_known(path: &Path) -> Result<(Connection, i64), JournalError> {
    let connection = open(path)?;
    connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != SCHEMA_VERSION && !migrate::is_known(version) {
        return Err(JournalError::Version { found: version });
    }
    Ok((connection, version))
}

/// A writer that ended in order has left no write-ahead log, and then nothing is made beside the
/// file: it is read as one that does not change.
fn open(path: &Path) -> Result<Connection, JournalError> {
    let path = real_folder(path);
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let at_rest = if Path::new(&log).exists() { "" } else { "&immutable=1" };
    let uri = format!("file:{}?mode=ro{at_rest}", escaped(&path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Ok(Connection::open_with_flags(uri, flags)?)
}

/// SQLite follows no link at all when it is to follow none at the end: those on the way are followed
/// here.
fn real_folder(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// A path as SQLite's URIs want it.
fn escaped(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .map(|&byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02x}") })
        .collect()
}

#[cfg(test)]
mod tests;
