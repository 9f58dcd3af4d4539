//! What was used of budgets: CPU time by owner and day.

use rusqlite::{Connection, params};

use crate::JournalError;
use crate::store::{damaged, unsigned};

pub(crate) const SCHEMA: &str = "
CREATE TABLE used (
    day INTEGER NOT NULL, owner TEXT NOT NULL, cpu_usec INTEGER NOT NULL,
    PRIMARY KEY (day, owner)
) STRICT, WITHOUT ROWID;
";

/// Adds to what is there. A sum beyond SQLite's numbers stays at the greatest: with a fraction it
/// would no longer be one.
pub(crate) fn add(
    connection: &Connection,
    owner: &str,
    day: u32,
    cpu_usec: i64,
) -> Result<(), JournalError> {
    connection
        .prepare_cached(
            "INSERT INTO used (day, owner, cpu_usec) VALUES (?1, ?2, ?3)
            ON CONFLICT (day, owner) DO UPDATE SET cpu_usec =
                CASE WHEN cpu_usec > 9223372036854775807 - excluded.cpu_usec
                THEN 9223372036854775807 ELSE cpu_usec + excluded.cpu_usec END",
        )?
        .execute(params![day, owner, cpu_usec])?;
    Ok(())
}

pub(crate) fn forget(connection: &Connection, before_day: u32) -> Result<(), JournalError> {
    connection.prepare_cached("DELETE FROM used WHERE day < ?1")?.execute([before_day])?;
    Ok(())
}

/// Owner, day and CPU microseconds, sorted by day and owner.
pub(crate) fn load(connection: &Connection) -> Result<Vec<(String, u32, u64)>, JournalError> {
    let mut statement =
        connection.prepare("SELECT owner, day, cpu_usec FROM used ORDER BY day, owner")?;
    let mut rows = statement.query([])?;
    let mut used = Vec::new();
    while let Some(row) = rows.next()? {
        let day = u32::try_from(row.get::<_, i64>(1)?).map_err(|_| damaged("a day"))?;
        used.push((row.get(0)?, day, unsigned(row.get(2)?)));
    }
    Ok(used)
}
