//! Copies of a journal: taken while it is in use, looked through before one is put in its place, and
//! marked so that nothing of it is started twice.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nesssi_session::SessionId;
use rusqlite::{Connection, OpenFlags, params};

use crate::reading::open_known;
use crate::store::{damaged, signed, unsigned};
use crate::{JournalError, SCHEMA_VERSION};

/// Most findings of damage that are told.
const FINDINGS_MAX: usize = 10;

/// A table that only a journal has which was restored: up to which session its copy knew.
const RESTORED: &str = "
CREATE TABLE IF NOT EXISTS restored (one INTEGER PRIMARY KEY CHECK (one = 1), up_to INTEGER NOT NULL) STRICT;
";

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    /// The version of its schema.
    pub version: i64,
    /// Sessions that were not removed.
    pub sessions: u64,
    /// Jobs that had not ended.
    pub open_jobs: u64,
    /// When its youngest session was made; 0 without one.
    pub youngest_ms: u64,
}

/// A session of one journal that another does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The session.
    pub id: SessionId,
    /// Its account.
    pub account: String,
    /// Whether it has a job that has not ended.
    pub open_job: bool,
}

/// Writes a copy of a journal, which may be in use, to a file that is made; it is looked through
/// before this returns.
///
/// # Errors
/// [`JournalError::Version`] and [`JournalError::Damaged`] of the journal; [`JournalError::Sqlite`]
/// where the file cannot be made, or is there.
pub fn back_up(journal: &Path, to: &Path) -> Result<Holds, JournalError> {
    let (connection, _) = open_known(journal)?;
    let made = |error: io::Error| JournalError::Sqlite(format!("{}: {error}", to.display()));
    // Made here and not by SQLite, so that it is nobody else's from its first byte on.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let file = file.map_err(made)?;
    let copied = copy_into(&connection, to).and_then(|()| {
        file.sync_all().map_err(made)?;
        look_through(to)
    });
    if copied.is_err() {
        // A copy that is none is not left to be taken for one.
        drop(std::fs::remove_file(to));
    }
    copied
}

fn copy_into(connection: &Connection, to: &Path) -> Result<(), JournalError> {
    let to = to.to_str().ok_or_else(|| JournalError::Sqlite("its name is no text".into()))?;
    connection.execute("VACUUM INTO ?1", [to])?;
    Ok(())
}

/// Reads every page and every row of a copy that nobody uses.
///
/// # Errors
/// [`JournalError::Version`] of one that this NESSSI cannot read, [`JournalError::Damaged`] with what
/// was found.
pub fn look_through(copy: &Path) -> Result<Holds, JournalError> {
    let (connection, version) = open_known(copy)?;
    let mut findings = Vec::new();
    {
        let mut statement =
            connection.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            findings.push(row.get::<_, String>(0)?);
        }
    }
    if findings != ["ok"] {
        return Err(JournalError::Damaged(findings.join("; ")));
    }
    let orphan: i64 = connection.query_row(
        "SELECT count(*) FROM jobs WHERE session NOT IN (SELECT number FROM sessions)",
        [],
        |row| row.get(0),
    )?;
    if orphan != 0 {
        return Err(damaged("the session of a job"));
    }
    if version == SCHEMA_VERSION {
        crate::store::each_session(&connection, |_, _| ())?;
    }
    let count = |sql: &str| -> Result<u64, JournalError> {
        Ok(unsigned(connection.query_row(sql, [], |row| row.get(0))?))
    };
    Ok(Holds {
        version,
        sessions: count("SELECT count(*) FROM sessions WHERE state <> 'removed'")?,
        open_jobs: count("SELECT count(*) FROM jobs WHERE ended_ms IS NULL")?,
        youngest_ms: count("SELECT coalesce(max(created_ms), 0) FROM sessions")?,
    })
}

/// Marks a copy that is about to take its journal's place. Jobs that it knows as waiting may have run and
/// be gone since: where a sandbox of one of its sessions is gone, nothing is started. The lease goes on
/// from where it is, and numbers of sessions that it does not know are not given again, if `beside`, the
/// journal before, can be read.
///
/// # Errors
/// As of opening it.
pub fn mark_restored(copy: &Path, beside: Option<&Path>) -> Result<(), JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(copy, flags)?;
    // One file, and nothing beside it.
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    let lease = beside.and_then(|before| {
        let (before, _) = open_known(before).ok()?;
        before.query_row("SELECT holder FROM lease", [], |row| row.get::<_, i64>(0)).ok()
    });
    let transaction = connection.transaction()?;
    transaction.execute_batch(RESTORED)?;
    transaction.execute(
        "INSERT OR REPLACE INTO restored SELECT 1, coalesce(max(number), 0) FROM sessions",
        [],
    )?;
    transaction
        .execute("UPDATE lease SET holder = max(holder, ?1) + 1", params![lease.unwrap_or(0)])?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    File::open(copy)
        .and_then(|file| file.sync_all())
        .map_err(|error| JournalError::Sqlite(error.to_string()))
}

/// Up to which session a journal was restored; 0 if it never was.
pub(crate) fn restored_up_to(connection: &Connection) -> Result<u64, JournalError> {
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'restored'",
        [],
        |row| row.get(0),
    )?;
    if tables == 0 {
        return Ok(0);
    }
    Ok(unsigned(connection.query_row("SELECT up_to FROM restored", [], |row| row.get(0))?))
}

/// The sessions of `journal`, not removed, that are not in `copy`; `count_max` at most, the youngest first.
///
/// # Errors
/// As of opening either.
pub fn unknown_to(
    copy: &Path,
    journal: &Path,
    count_max: usize,
) -> Result<Vec<Unknown>, JournalError> {
    let (copy, _) = open_known(copy)?;
    let (journal, _) = open_known(journal)?;
    let mut known = copy.prepare("SELECT 1 FROM sessions WHERE id = ?1")?;
    let mut all = journal.prepare(
        "SELECT s.id, s.account, j.session IS NOT NULL AND j.ended_ms IS NULL
            FROM sessions s LEFT JOIN jobs j ON j.session = s.number
            WHERE s.state <> 'removed' ORDER BY s.number DESC LIMIT ?1",
    )?;
    let mut found = Vec::new();
    // The removed of the copy are known to it, too; looked at are as many as there are.
    let mut rows = all.query([signed(u64::MAX >> 1)])?;
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        if found.len() < count_max && !known.exists([&id])? {
            let id = SessionId::parse(&id).map_err(|_| damaged("a session's id"))?;
            found.push(Unknown { id, account: row.get(1)?, open_job: row.get(2)? });
        }
    }
    Ok(found)
}
