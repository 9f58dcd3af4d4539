//! The access edits: one row an edit. Their numbers are never used again.

use nesssi_policy::{AccessEdit, SubjectDn, Whom};
use rusqlite::{Connection, Row, params};

use crate::JournalError;
use crate::store::{damaged, signed, unsigned};

/// `whom` is a DN's bytes, a group's name, or nothing for anyone with a certificate.
pub(crate) const SCHEMA: &str = "
CREATE TABLE access_edits (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    service TEXT NOT NULL, method TEXT, allow INTEGER NOT NULL,
    whom_kind TEXT NOT NULL, whom BLOB NOT NULL,
    start_unix INTEGER, end_unix INTEGER,
    made_by BLOB NOT NULL, made_ms INTEGER NOT NULL
) STRICT;
";

const ANYONE: &str = "anyone";
const DN: &str = "dn";
const GROUP: &str = "group";

/// Adds an edit; whether somebody may, and whether it fits the others, was decided before.
pub(crate) fn add(connection: &Connection, edit: &AccessEdit) -> Result<(), JournalError> {
    let (kind, whom) = match &edit.whom {
        Whom::Anyone => (ANYONE, Vec::new()),
        Whom::Dn(dn) => (DN, dn.to_bytes()),
        Whom::Group(group) => (GROUP, group.clone().into_bytes()),
    };
    connection
        .prepare_cached(
            "INSERT INTO access_edits (number, service, method, allow, whom_kind, whom,
                start_unix, end_unix, made_by, made_ms)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute(params![
            signed(edit.number),
            edit.service,
            edit.method,
            edit.allow,
            kind,
            whom,
            edit.start_unix,
            edit.end_unix,
            edit.by.to_bytes(),
            signed(edit.at_ms),
        ])?;
    Ok(())
}

pub(crate) fn remove(connection: &Connection, number: u64) -> Result<(), JournalError> {
    let gone = connection
        .prepare_cached("DELETE FROM access_edits WHERE number = ?1")?
        .execute([signed(number)])?;
    if gone == 1 { Ok(()) } else { Err(JournalError::Unfit("no such access edit".to_owned())) }
}

/// All of them, in the order of their numbers.
pub(crate) fn load(connection: &Connection) -> Result<Vec<AccessEdit>, JournalError> {
    let mut statement = connection.prepare(
        "SELECT number, service, method, allow, whom_kind, whom, start_unix, end_unix, made_by,
            made_ms
        FROM access_edits ORDER BY number",
    )?;
    let mut rows = statement.query([])?;
    let mut edits = Vec::new();
    while let Some(row) = rows.next()? {
        edits.push(read(row)?);
    }
    Ok(edits)
}

/// The number for the next one: above all that there ever were.
pub(crate) fn next_number(connection: &Connection) -> Result<u64, JournalError> {
    let highest: i64 = connection.query_row(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'access_edits'",
        [],
        |row| row.get(0),
    )?;
    Ok(unsigned(highest).saturating_add(1))
}

fn read(row: &Row<'_>) -> Result<AccessEdit, JournalError> {
    let what = || damaged("an access edit");
    let (kind, whom): (String, Vec<u8>) = (row.get(4)?, row.get(5)?);
    let dn = |bytes: &[u8]| SubjectDn::from_bytes(bytes).map_err(|_| what());
    let whom = match kind.as_str() {
        ANYONE => Whom::Anyone,
        DN => Whom::Dn(dn(&whom)?),
        GROUP => Whom::Group(String::from_utf8(whom).map_err(|_| what())?),
        _ => return Err(what()),
    };
    Ok(AccessEdit {
        number: unsigned(row.get(0)?),
        service: row.get(1)?,
        method: row.get(2)?,
        allow: row.get(3)?,
        whom,
        start_unix: row.get(6)?,
        end_unix: row.get(7)?,
        by: dn(&row.get::<_, Vec<u8>>(8)?)?,
        at_ms: unsigned(row.get(9)?),
    })
}
