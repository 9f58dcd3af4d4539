//! From the schema of an earlier version to the present one, in one transaction.

use nesssi_policy::LIMITS_BYTES;
use rusqlite::{Connection, TransactionBehavior, params};

use crate::store::SCHEMA_VERSION;
use crate::{JournalError, access, answers, used, vo};

/// How long a session's limits were in version 1: without the CPU seconds of a day.
const LIMITS_BYTES_1: i64 = 48;

/// Whether the schema of this version can be brought up to date.
pub(crate) fn is_known(version: i64) -> bool {
    (1..SCHEMA_VERSION).contains(&version)
}

/// Brings a file of a known version up to date, or leaves it as it is.
pub(crate) fn to_current(connection: &mut Connection, version: i64) -> Result<(), JournalError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have done it since the version was read.
    let now: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if now == version {
        if version < 2 {
            from_1(&transaction)?;
        }
        if version < 3 {
            from_2(&transaction)?;
        }
        if version < 4 {
            from_3(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    Ok(transaction.commit()?)
}

/// Version 2 has VO groups and what was used, and limits end in the CPU seconds of a day. Sessions
/// of before have no such limit. Their seals are over limits of their own, and hold.
fn from_1(connection: &Connection) -> Result<(), JournalError> {
    connection.execute_batch(vo::SCHEMA)?;
    connection.execute_batch(used::SCHEMA)?;
    let rows: Vec<(i64, Vec<u8>)> = connection
        .prepare("SELECT number, limits FROM sessions WHERE length(limits) = ?1")?
        .query_map([LIMITS_BYTES_1], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut update = connection.prepare("UPDATE sessions SET limits = ?2 WHERE number = ?1")?;
    for (number, mut limits) in rows {
        limits.resize(LIMITS_BYTES, 0xff);
        update.execute(params![number, limits])?;
    }
    Ok(())
}

/// Version 3 has answers kept for calls that are sent again, and access edits.
fn from_2(connection: &Connection) -> Result<(), JournalError> {
    connection.execute_batch(answers::SCHEMA)?;
    Ok(connection.execute_batch(access::SCHEMA)?)
}

/// Version 4 has what a batch system calls a job, when it took it, and its CPUs. All jobs of before
/// are of the local batch system and have one.
fn from_3(connection: &Connection) -> Result<(), JournalError> {
    Ok(connection.execute_batch(
        "ALTER TABLE jobs ADD COLUMN batch_id TEXT;
        ALTER TABLE jobs ADD COLUMN cpus INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE jobs ADD COLUMN submitted_ms INTEGER;",
    )?)
}
