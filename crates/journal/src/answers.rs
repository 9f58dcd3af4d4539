//! Answers kept for calls that are sent again: one row for each call with a client tag, from before it
//! is carried out.

use nesssi_session::SessionId;
use rusqlite::{Connection, params};

use crate::JournalError;
use crate::store::{damaged, signed, unsigned};

/// Whose a row is, is one of `subject` and `address`. `reply` is there once the call is done;
/// `reply_bytes` says how long it was, also where it was too long to keep.
pub(crate) const SCHEMA: &str = "
CREATE TABLE answers (
    number INTEGER PRIMARY KEY,
    subject BLOB, address TEXT CHECK ((subject IS NULL) <> (address IS NULL)),
    method TEXT NOT NULL, tag TEXT NOT NULL,
    params BLOB NOT NULL, granted INTEGER NOT NULL,
    called_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
    session TEXT, reply BLOB, reply_bytes INTEGER
) STRICT;
CREATE INDEX answers_tag ON answers (tag, method);
";

/// Who called: the only one whom the answer is given again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AnswerOwner {
    /// A subject, as `dn::SubjectDn::to_bytes` writes it.
    Subject(Vec<u8>),
    /// An anonymous caller, by his address.
    Address(String),
}

/// A call that was begun. Times are milliseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRow {
    /// The journal's number for it; given by the writer.
    pub number: u64,
    /// Whose it is.
    pub owner: AnswerOwner,
    /// The method's full name.
    pub method: String,
    /// The tag that the client gave to it.
    pub tag: String,
    /// SHA-256 of its parameters.
    pub params: [u8; 32],
    /// Whether a level had taken the caller.
    pub granted: bool,
    /// When it was begun.
    pub called_ms: u64,
    /// When it may be forgotten.
    pub expires_ms: u64,
    /// The session that it made last.
    pub session: Option<SessionId>,
    /// What it came to; `None` while nobody knows.
    pub kept: Option<KeptReply>,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeptReply {
    /// The reply, in the container's encoding.
    Whole(Vec<u8>),
    /// It had so many bytes, and was not kept.
    TooLong(u64),
}

/// Puts a call in the place of any before it of the same owner, method and tag.
pub(crate) fn begin(connection: &Connection, row: &AnswerRow) -> Result<(), JournalError> {
    let (subject, address) = match &row.owner {
        AnswerOwner::Subject(subject) => (Some(subject), None),
        AnswerOwner::Address(address) => (None, Some(address)),
    };
    connection
        .prepare_cached(
            "DELETE FROM answers
            WHERE tag = ?1 AND method = ?2 AND subject IS ?3 AND address IS ?4",
        )?
        .execute(params![row.tag, row.method, subject, address])?;
    let (reply, reply_bytes) = row.kept.as_ref().map(columns).unwrap_or_default();
    connection
        .prepare_cached(
            "INSERT INTO answers VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            signed(row.number),
            subject,
            address,
            row.method,
            row.tag,
            row.params,
            row.granted,
            signed(row.called_ms),
            signed(row.expires_ms),
            row.session.as_ref().map(SessionId::reveal),
            reply,
            reply_bytes,
        ])?;
    Ok(())
}

/// The call has made a session.
pub(crate) fn made(
    connection: &Connection,
    number: u64,
    session: &SessionId,
) -> Result<(), JournalError> {
    one(connection
        .prepare_cached("UPDATE answers SET session = ?2 WHERE number = ?1")?
        .execute(params![signed(number), session.reveal()])?)
}

/// The call is answered.
pub(crate) fn keep(
    connection: &Connection,
    number: u64,
    kept: &KeptReply,
    expires_ms: u64,
) -> Result<(), JournalError> {
    let (reply, reply_bytes) = columns(kept);
    one(connection
        .prepare_cached(
            "UPDATE answers SET reply = ?2, reply_bytes = ?3, expires_ms = ?4 WHERE number = ?1",
        )?
        .execute(params![signed(number), reply, reply_bytes, signed(expires_ms)])?)
}

pub(crate) fn forget(connection: &Connection, number: u64) -> Result<(), JournalError> {
    connection
        .prepare_cached("DELETE FROM answers WHERE number = ?1")?
        .execute([signed(number)])?;
    Ok(())
}

/// All of them, in the order they were begun.
pub(crate) fn load(connection: &Connection) -> Result<Vec<AnswerRow>, JournalError> {
    let mut statement = connection.prepare(
        "SELECT number, subject, address, method, tag, params, granted, called_ms, expires_ms,
            session, reply, reply_bytes
        FROM answers ORDER BY number",
    )?;
    let mut rows = statement.query([])?;
    let mut answers = Vec::new();
    while let Some(row) = rows.next()? {
        let owner = match (row.get(1)?, row.get(2)?) {
            (Some(subject), None) => AnswerOwner::Subject(subject),
            (None, Some(address)) => AnswerOwner::Address(address),
            _ => return Err(damaged("an answer's owner")),
        };
        let session: Option<String> = row.get(9)?;
        let session = session.map(|id| SessionId::parse(&id)).transpose();
        let kept = match (row.get(10)?, row.get::<_, Option<i64>>(11)?) {
            (Some(reply), _) => Some(KeptReply::Whole(reply)),
            (None, Some(bytes)) => Some(KeptReply::TooLong(unsigned(bytes))),
            (None, None) => None,
        };
        answers.push(AnswerRow {
            number: unsigned(row.get(0)?),
            owner,
            method: row.get(3)?,
            tag: row.get(4)?,
            params: row.get(5)?,
            granted: row.get(6)?,
            called_ms: unsigned(row.get(7)?),
            expires_ms: unsigned(row.get(8)?),
            session: session.map_err(|_| damaged("an answer's session"))?,
            kept,
        });
    }
    Ok(answers)
}

fn columns(kept: &KeptReply) -> (Option<&[u8]>, Option<i64>) {
    match kept {
        KeptReply::Whole(reply) => {
            (Some(reply), Some(i64::try_from(reply.len()).unwrap_or(i64::MAX)))
        }
        KeptReply::TooLong(bytes) => (None, Some(signed(*bytes))),
    }
}

fn one(changed: usize) -> Result<(), JournalError> {
    if changed == 1 { Ok(()) } else { Err(JournalError::Unfit("no such answer".to_owned())) }
}

#[cfg(test)]
mod tests;
