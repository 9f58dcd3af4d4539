//! The VO groups: one row a group, one row an entry of its lists, each with who made it and when.

use nesssi_policy::{SubjectDn, VoChange, vo_entry_key};
use rusqlite::{Connection, params};

use crate::JournalError;
use crate::store::damaged;

/// `key` is what entries are compared by, `subject` the entry as it was written.
pub(crate) const SCHEMA: &str = "
CREATE TABLE vo_groups (
    name TEXT PRIMARY KEY, made_by BLOB NOT NULL, made_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE vo_entries (
    group_name TEXT NOT NULL REFERENCES vo_groups (name) ON DELETE CASCADE,
    list TEXT NOT NULL, key BLOB NOT NULL, subject BLOB NOT NULL,
    made_by BLOB NOT NULL, made_ms INTEGER NOT NULL,
    PRIMARY KEY (group_name, list, key)
) STRICT, WITHOUT ROWID;
";

const MEMBER: &str = "member";
const ADMINISTRATOR: &str = "administrator";

/// Makes a change; whether somebody may, and whether the name is one, was decided before.
pub(crate) fn apply(
    connection: &Connection,
    change: &VoChange,
    by: &SubjectDn,
    at_ms: i64,
) -> Result<(), JournalError> {
    match change {
        VoChange::Create { group } => create(connection, group, by, at_ms),
        VoChange::Delete { group } => delete(connection, group),
        VoChange::AddMember { group, subject } => {
            add(connection, (group, MEMBER, subject), by, at_ms)
        }
        VoChange::RemoveMember { group, subject } => remove(connection, (group, MEMBER, subject)),
        VoChange::AddAdministrator { group, subject } => {
            add(connection, (group, ADMINISTRATOR, subject), by, at_ms)
        }
        VoChange::RemoveAdministrator { group, subject } => {
            remove(connection, (group, ADMINISTRATOR, subject))
        }
    }
}

/// Groups, then entries; a group's name sorts before the names of those in it.
pub(crate) fn load(connection: &Connection) -> Result<Vec<VoChange>, JournalError> {
    let mut changes = Vec::new();
    let mut statement = connection.prepare("SELECT name FROM vo_groups ORDER BY name")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        changes.push(VoChange::Create { group: row.get(0)? });
    }
    let mut statement = connection.prepare(
        "SELECT group_name, list, subject FROM vo_entries ORDER BY group_name, list, key",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (group, list): (String, String) = (row.get(0)?, row.get(1)?);
        let subject = SubjectDn::from_bytes(&row.get::<_, Vec<u8>>(2)?)
            .map_err(|_| damaged("an entry of a VO group"))?;
        changes.push(match list.as_str() {
            MEMBER => VoChange::AddMember { group, subject },
            ADMINISTRATOR => VoChange::AddAdministrator { group, subject },
            _ => return Err(damaged("a list of a VO group")),
        });
    }
    Ok(changes)
}

fn create(
    connection: &Connection,
    group: &str,
    by: &SubjectDn,
    at_ms: i64,
) -> Result<(), JournalError> {
    connection
        .prepare_cached("INSERT INTO vo_groups (name, made_by, made_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![group, by.to_bytes(), at_ms])?;
    Ok(())
}

fn delete(connection: &Connection, group: &str) -> Result<(), JournalError> {
    let gone = connection
        .prepare_cached(
            "DELETE FROM vo_groups
            WHERE name = ?1 OR substr(name, 1, length(?1) + 1) = ?1 || '.'",
        )?
        .execute([group])?;
    if gone == 0 { Err(unfit("no such VO group")) } else { Ok(()) }
}

/// A group's name, which of its lists, and the entry.
type Entry<'a> = (&'a str, &'static str, &'a SubjectDn);

fn add(
    connection: &Connection,
    (group, list, subject): Entry<'_>,
    by: &SubjectDn,
    at_ms: i64,
) -> Result<(), JournalError> {
    connection
        .prepare_cached(
            "INSERT INTO vo_entries (group_name, list, key, subject, made_by, made_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            group,
            list,
            vo_entry_key(subject),
            subject.to_bytes(),
            by.to_bytes(),
            at_ms
        ])?;
    Ok(())
}

fn remove(connection: &Connection, (group, list, subject): Entry<'_>) -> Result<(), JournalError> {
    let gone = connection
        .prepare_cached("DELETE FROM vo_entries WHERE group_name = ?1 AND list = ?2 AND key = ?3")?
        .execute(params![group, list, vo_entry_key(subject)])?;
    if gone == 1 { Ok(()) } else { Err(unfit("no such entry of a VO group")) }
}

fn unfit(what: &str) -> JournalError {
    JournalError::Unfit(what.to_owned())
}
