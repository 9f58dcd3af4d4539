//! The SQLite file: its schema, its lease, and how rows and changes become statements.

use std::path::Path;

use nesssi_job::{Command, JobState, Tag};
use nesssi_policy::{AccessEdit, Limits, VoChange};
use nesssi_session::SessionId;
use rusqlite::types::FromSql;
use rusqlite::{Connection, Row, TransactionBehavior, named_params, params};

use crate::{AnswerRow, Change, JobEnd, JobRow, JournalError, SessionRow, SessionState, Shepherd};
use crate::{access, answers, backup, migrate, used, vo};

/// The version of the schema, in the file's `user_version`. Raised with every change of it.
pub const SCHEMA_VERSION: i64 = 4;

/// How long a statement waits for another process's transaction, in milliseconds: an old
/// gatekeeper's last commit, or a backup.
pub(crate) const BUSY_MS_MAX: u64 = 5_000;

/// The name of the batch system that gives no batch ids: the machine itself.
const LOCAL: &str = "local";

/// The tables of sessions and jobs. Those of [`vo`], [`access`], [`used`] and [`answers`] stand
/// there.
const SCHEMA: &str = "
CREATE TABLE lease (one INTEGER PRIMARY KEY CHECK (one = 1), holder INTEGER NOT NULL) STRICT;
INSERT INTO lease VALUES (1, 0);
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    subject BLOB, issuer BLOB, address TEXT NOT NULL,
    account TEXT NOT NULL, level TEXT NOT NULL, limits BLOB NOT NULL,
    service TEXT NOT NULL, method TEXT NOT NULL,
    created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
    seal BLOB NOT NULL, state TEXT NOT NULL, trouble TEXT
) STRICT;
CREATE INDEX sessions_removed ON sessions (expires_ms) WHERE state = 'removed';
CREATE TABLE jobs (
    session INTEGER PRIMARY KEY REFERENCES sessions (number) ON DELETE CASCADE,
    tag TEXT NOT NULL UNIQUE, batch TEXT NOT NULL, state TEXT NOT NULL,
    command_kind TEXT, command BLOB,
    cpu_seconds_max INTEGER NOT NULL, wall_seconds_max INTEGER NOT NULL,
    sandbox_bytes_max INTEGER NOT NULL, leaf INTEGER NOT NULL,
    shepherd_pid INTEGER, shepherd_ticks INTEGER, shepherd_boot TEXT,
    queued_ms INTEGER NOT NULL, started_ms INTEGER, ended_ms INTEGER,
    exit_code INTEGER, signal INTEGER, cpu_usec INTEGER, wall_usec INTEGER, reason TEXT,
    batch_id TEXT, cpus INTEGER NOT NULL DEFAULT 1, submitted_ms INTEGER
) STRICT;
";

/// What was in the journal when it was opened.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Sessions that are not removed, in the order they were made, each with its job.
    pub sessions: Vec<(SessionRow, Option<JobRow>)>,
    /// Up to which number the sessions were in a copy that was restored; 0 if none was. What it says of
    /// them may be old.
    pub restored_up_to: u64,
    /// Changes that, applied in this order to an empty tree, give the VO groups.
    pub vo: Vec<VoChange>,
    /// The access edits, in the order of their numbers.
    pub access: Vec<AccessEdit>,
    /// The number for the next access edit.
    pub next_access: u64,
    /// What was used: owner, day (since 1970, UTC) and CPU microseconds.
    pub used: Vec<(String, u32, u64)>,
    /// Calls with a client tag, in the order they were begun.
    pub answers: Vec<AnswerRow>,
    /// The number for the next session.
    pub next_number: u64,
    /// The number of this process's lease.
    pub lease: u64,
}

/// The open file.
pub(crate) struct Store {
    connection: Connection,
    lease: i64,
}

impl Store {
    /// Opens the file, or makes it unless there `was` one; checks it and takes the lease.
    pub(crate) fn open(path: &Path, was: bool) -> Result<Self, JournalError> {
        let gone = || {
            let mark = path.with_extension(crate::MADE);
            JournalError::Gone(mark.file_name().unwrap_or_default().display().to_string())
        };
        if was && !path.exists() {
            return Err(gone());
        }
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let is_new = version == 0 && is_empty(&connection)?;
        let is_known = version == SCHEMA_VERSION || migrate::is_known(version);
        if !is_known && !is_new {
            return Err(JournalError::Version { found: version });
        }
        if is_new && was {
            return Err(gone());
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let mut store = Self { connection, lease: 0 };
        if is_new {
            store.create()?;
        }
        store.check()?;
        if migrate::is_known(version) {
            migrate::to_current(&mut store.connection, version)?;
        }
        store.take_lease()?;
        Ok(store)
    }

    fn create(&mut self) -> Result<(), JournalError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute_batch(vo::SCHEMA)?;
        transaction.execute_batch(used::SCHEMA)?;
        transaction.execute_batch(answers::SCHEMA)?;
        transaction.execute_batch(access::SCHEMA)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        Ok(transaction.commit()?)
    }

    /// SQLite's own quick check of every page.
    fn check(&self) -> Result<(), JournalError> {
        let verdict: String =
            self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict == "ok" { Ok(()) } else { Err(JournalError::Damaged(verdict)) }
    }

    fn take_lease(&mut self) -> Result<(), JournalError> {
        self.lease = self.connection.query_row(
            "UPDATE lease SET holder = holder + 1 RETURNING holder",
            [],
            |row| row.get(0),
        )?;
        Ok(())
    }

    /// Everything that is not removed.
    pub(crate) fn load(
        &mut self,
        each: impl FnMut(SessionRow, Option<JobRow>),
    ) -> Result<Loaded, JournalError> {
        let next: i64 = self.connection.query_row(
            "SELECT coalesce(max(number), 0) + 1 FROM sessions",
            [],
            |row| row.get(0),
        )?;
        each_session(&self.connection, each)?;
        let sessions = Vec::new();
        let (next_number, lease) = (unsigned(next), unsigned(self.lease));
        let restored_up_to = backup::restored_up_to(&self.connection)?;
        let (vo, used) = (vo::load(&self.connection)?, used::load(&self.connection)?);
        let answers = answers::load(&self.connection)?;
        let access = access::load(&self.connection)?;
        let next_access = access::next_number(&self.connection)?;
        Ok(Loaded {
            sessions,
            restored_up_to,
            vo,
            access,
            next_access,
            used,
            answers,
            next_number,
            lease,
        })
    }

    /// Applies writes in one transaction. The outer error is that of the whole transaction; the
    /// inner ones are each write's own, and a write that fails leaves no trace.
    pub(crate) fn commit<'a>(
        &mut self,
        writes: impl Iterator<Item = &'a [Change]>,
    ) -> Result<Vec<Result<(), JournalError>>, JournalError> {
        let mut transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let holder: i64 =
            transaction.query_row("SELECT holder FROM lease", [], |row| row.get(0))?;
        if holder != self.lease {
            return Err(JournalError::LeaseLost);
        }
        let mut outcomes = Vec::new();
        for changes in writes {
            let mut savepoint = transaction.savepoint()?;
            let outcome = changes.iter().try_for_each(|change| apply(&savepoint, change));
            match outcome {
                // These say that the whole transaction cannot be trusted.
                Err(error @ (JournalError::Full | JournalError::Damaged(_))) => return Err(error),
                Err(_) => savepoint.rollback()?,
                Ok(()) => {}
            }
            savepoint.commit()?;
            outcomes.push(outcome);
        }
        transaction.commit()?;
        Ok(outcomes)
    }
}

/// Hands over every session that is not removed, with its job.
pub(crate) fn each_session(
    connection: &Connection,
    mut each: impl FnMut(SessionRow, Option<JobRow>),
) -> Result<(), JournalError> {
    let mut statement = connection.prepare(
        "SELECT s.number, s.id, s.subject, s.issuer, s.address, s.account, s.level, s.limits,
                s.service, s.method, s.created_ms, s.expires_ms, s.seal, s.state,
                s.trouble, j.tag, j.batch, j.state, j.command_kind, j.command, j.cpu_seconds_max,
                j.wall_seconds_max, j.sandbox_bytes_max, j.leaf, j.shepherd_pid, j.shepherd_ticks,
                j.shepherd_boot, j.batch_id, j.cpus, j.submitted_ms, j.queued_ms, j.started_ms,
                j.ended_ms, j.exit_code, j.signal, j.cpu_usec, j.wall_usec, j.reason
            FROM sessions s LEFT JOIN jobs j ON j.session = s.number
            WHERE s.state <> 'removed' ORDER BY s.number",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut columns = Columns { row, next: 0 };
        let session = read_session(&mut columns)?;
        let job = read_job(&mut columns, session.number)?;
        each(session, job);
    }
    Ok(())
}

fn is_empty(connection: &Connection) -> Result<bool, JournalError> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0)
}

fn apply(connection: &Connection, change: &Change) -> Result<(), JournalError> {
    match change {
        Change::AddSession(row) => add_session(connection, row),
        Change::AddJob(row) => add_job(connection, row),
        Change::Started { session, leaf, shepherd, started_ms } => one(connection
            .prepare_cached(
                "UPDATE jobs SET state = 'running', leaf = ?2, shepherd_pid = ?3,
                        shepherd_ticks = ?4, shepherd_boot = ?5, started_ms = ?6
                    WHERE session = ?1 AND ended_ms IS NULL AND batch_id IS NULL",
            )?
            .execute(params![
                signed(*session),
                leaf,
                shepherd.pid,
                signed(shepherd.start_ticks),
                shepherd.boot_id,
                signed(*started_ms),
            ])?),
        Change::Submitted { session, batch_id, submitted_ms } => {
            submitted(connection, *session, batch_id, *submitted_ms)
        }
        Change::Running { session, started_ms } => one(connection
            .prepare_cached(
                "UPDATE jobs SET state = 'running', started_ms = ?2
                    WHERE session = ?1 AND ended_ms IS NULL AND batch_id IS NOT NULL",
            )?
            .execute(params![signed(*session), signed(*started_ms)])?),
        Change::Ended { session, end, expires_ms } => {
            ended(connection, *session, end)?;
            one(connection
                .prepare_cached("UPDATE sessions SET expires_ms = ?2 WHERE number = ?1")?
                .execute(params![signed(*session), signed(*expires_ms)])?)
        }
        Change::Kept { session, expires_ms } => one(connection
            .prepare_cached("UPDATE sessions SET expires_ms = ?2 WHERE number = ?1")?
            .execute(params![signed(*session), signed(*expires_ms)])?),
        Change::Trouble { session, text } => one(connection
            .prepare_cached("UPDATE sessions SET trouble = ?2 WHERE number = ?1")?
            .execute(params![signed(*session), text])?),
        Change::Removed { session } => one(connection
            .prepare_cached(
                "UPDATE sessions SET state = 'removed', trouble = NULL WHERE number = ?1",
            )?
            .execute(params![signed(*session)])?),
        Change::ForgetRemoved { before_ms } => {
            // The greatest number stays, so that numbers are never given twice.
            connection
                .prepare_cached(
                    "DELETE FROM sessions WHERE state = 'removed' AND expires_ms < ?1
                    AND number < (SELECT max(number) FROM sessions)",
                )?
                .execute([signed(*before_ms)])?;
            Ok(())
        }
        Change::AddAccessEdit(edit) => access::add(connection, edit),
        Change::RemoveAccessEdit { number } => access::remove(connection, *number),
        Change::Vo { change, by, at_ms } => vo::apply(connection, change, by, signed(*at_ms)),
        Change::Used { owner, day, cpu_usec } => {
            used::add(connection, owner, *day, signed(*cpu_usec))
        }
        Change::ForgetUsed { before_day } => used::forget(connection, *before_day),
        Change::BeginAnswer(row) => answers::begin(connection, row),
        Change::AnswerMade { answer, session } => answers::made(connection, *answer, session),
        Change::KeepAnswer { answer, kept, expires_ms } => {
            answers::keep(connection, *answer, kept, *expires_ms)
        }
        Change::ForgetAnswer { answer } => answers::forget(connection, *answer),
    }
}

fn add_session(connection: &Connection, row: &SessionRow) -> Result<(), JournalError> {
    connection
        .prepare_cached(
            "INSERT INTO sessions VALUES (:number, :id, :subject, :issuer, :address, :account,
                :level, :limits, :service, :method, :created, :expires, :seal, :state, :trouble)",
        )?
        .execute(named_params! {
            ":number": signed(row.number),
            ":id": row.id.reveal(),
            ":subject": row.subject,
            ":issuer": row.issuer,
            ":address": row.address,
            ":account": row.account,
            ":level": row.level,
            ":limits": row.limits.to_bytes().as_slice(),
            ":service": row.service,
            ":method": row.method,
            ":created": signed(row.created_ms),
            ":expires": signed(row.expires_ms),
            ":seal": row.seal,
            ":state": row.state.as_str(),
            ":trouble": row.trouble,
        })?;
    Ok(())
}

fn add_job(connection: &Connection, row: &JobRow) -> Result<(), JournalError> {
    one(connection
        .prepare_cached(
            "UPDATE sessions SET state = 'admitted' WHERE number = ?1 AND state = 'prepared'",
        )?
        .execute([signed(row.session)])?)?;
    let (kind, command) = row.command.as_ref().map(write_command).unzip();
    connection
        .prepare_cached(
            "INSERT INTO jobs (session, tag, batch, state, command_kind, command, cpu_seconds_max,
                wall_seconds_max, sandbox_bytes_max, leaf, queued_ms, cpus)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute(params![
            signed(row.session),
            row.tag.as_str(),
            row.batch,
            row.state.as_str(),
            kind,
            command,
            signed(row.cpu_seconds_max),
            signed(row.wall_seconds_max),
            signed(row.sandbox_bytes_max),
            row.leaf,
            signed(row.queued_ms),
            row.cpus,
        ])?;
    Ok(())
}

/// The same id changes nothing; another one is that of the job that has started the payload, as its guard says.
fn submitted(
    connection: &Connection,
    session: u64,
    batch_id: &str,
    submitted_ms: u64,
) -> Result<(), JournalError> {
    one(connection
        .prepare_cached(
            "UPDATE jobs SET batch_id = ?2, submitted_ms = coalesce(submitted_ms, ?3)
            WHERE session = ?1 AND ended_ms IS NULL AND batch <> ?4
                AND (batch_id IS NOT NULL OR state = 'queued')",
        )?
        .execute(params![signed(session), batch_id, signed(submitted_ms), LOCAL])?)
}

fn ended(connection: &Connection, session: u64, end: &JobEnd) -> Result<(), JournalError> {
    one(connection
        .prepare_cached(
            "UPDATE jobs SET state = ?2, exit_code = ?3, signal = ?4, cpu_usec = ?5,
                wall_usec = ?6, ended_ms = ?7, reason = ?8, command_kind = NULL, command = NULL
            WHERE session = ?1 AND ended_ms IS NULL",
        )?
        .execute(params![
            signed(session),
            end.state.as_str(),
            end.exit_code,
            end.signal,
            signed(end.cpu_usec),
            signed(end.wall_usec),
            signed(end.ended_ms),
            end.reason,
        ])?)
}

/// Takes a row's columns one after the other, in the order of the query: looking each up by name
/// takes longer than all the rest of loading.
struct Columns<'a, 'r> {
    row: &'a Row<'r>,
    next: usize,
}

impl Columns<'_, '_> {
    fn take<T: FromSql>(&mut self) -> Result<T, JournalError> {
        let column = self.next;
        self.next += 1;
        Ok(self.row.get(column)?)
    }

    fn number(&mut self) -> Result<u64, JournalError> {
        Ok(unsigned(self.take()?))
    }
}

fn read_session(from: &mut Columns<'_, '_>) -> Result<SessionRow, JournalError> {
    Ok(SessionRow {
        number: from.number()?,
        id: SessionId::parse(&from.take::<String>()?).map_err(|_| damaged("a session's id"))?,
        subject: from.take()?,
        issuer: from.take()?,
        address: from.take()?,
        account: from.take()?,
        level: from.take()?,
        limits: Limits::from_bytes(&from.take::<Vec<u8>>()?)
            .ok_or_else(|| damaged("a session's limits"))?,
        service: from.take()?,
        method: from.take()?,
        created_ms: from.number()?,
        expires_ms: from.number()?,
        seal: from.take()?,
        state: SessionState::parse(&from.take::<String>()?)
            .ok_or_else(|| damaged("a session's state"))?,
        trouble: from.take()?,
    })
}

/// `session` is the number of the session in the same row.
fn read_job(from: &mut Columns<'_, '_>, session: u64) -> Result<Option<JobRow>, JournalError> {
    let Some(tag) = from.take::<Option<String>>()? else { return Ok(None) };
    let batch = from.take()?;
    let state: JobState = from.take::<String>()?.parse().map_err(|_| damaged("a job's state"))?;
    let (kind, command): (Option<String>, Option<Vec<u8>>) = (from.take()?, from.take()?);
    let command = match kind {
        Some(kind) => Some(read_command(&kind, command.unwrap_or_default())?),
        None => None,
    };
    Ok(Some(JobRow {
        session,
        tag: Tag::parse(&tag).map_err(|_| damaged("a job's tag"))?,
        batch,
        state,
        command,
        cpu_seconds_max: from.number()?,
        wall_seconds_max: from.number()?,
        sandbox_bytes_max: from.number()?,
        leaf: from.take()?,
        shepherd: read_shepherd(from)?,
        batch_id: from.take()?,
        cpus: from.take()?,
        submitted_ms: from.take::<Option<i64>>()?.map(unsigned),
        queued_ms: from.number()?,
        started_ms: from.take::<Option<i64>>()?.map(unsigned),
        end: read_end(from, state)?,
    }))
}

fn read_shepherd(from: &mut Columns<'_, '_>) -> Result<Option<Shepherd>, JournalError> {
    let (pid, ticks, boot): (Option<u32>, Option<i64>, Option<String>) =
        (from.take()?, from.take()?, from.take()?);
    let Some(pid) = pid else { return Ok(None) };
    let whole = ticks.zip(boot).ok_or_else(|| damaged("a job's shepherd"))?;
    Ok(Some(Shepherd { pid, start_ticks: unsigned(whole.0), boot_id: whole.1 }))
}

fn read_end(from: &mut Columns<'_, '_>, state: JobState) -> Result<Option<JobEnd>, JournalError> {
    let Some(ended_ms) = from.take::<Option<i64>>()? else { return Ok(None) };
    Ok(Some(JobEnd {
        state,
        ended_ms: unsigned(ended_ms),
        exit_code: from.take()?,
        signal: from.take()?,
        cpu_usec: from.number()?,
        wall_usec: from.number()?,
        reason: from.take()?,
    }))
}

/// A command as two columns: its kind, and its bytes. An argument holds no NUL, so each ends in one.
fn write_command(command: &Command) -> (&'static str, Vec<u8>) {
    match command {
        Command::Shell(text) => ("shell", text.clone().into_bytes()),
        Command::Argv(argv) => {
            let mut bytes = Vec::new();
            for argument in argv {
                bytes.extend_from_slice(argument);
                bytes.push(0);
            }
            ("argv", bytes)
        }
    }
}

fn read_command(kind: &str, bytes: Vec<u8>) -> Result<Command, JournalError> {
    match kind {
        "shell" => {
            Ok(Command::Shell(String::from_utf8(bytes).map_err(|_| damaged("a job's command"))?))
        }
        "argv" => {
            let whole = bytes.strip_suffix(&[0]).ok_or_else(|| damaged("a job's command"))?;
            Ok(Command::Argv(whole.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()))
        }
        _ => Err(damaged("a job's command")),
    }
}

/// Exactly one row was changed.
fn one(changed: usize) -> Result<(), JournalError> {
    if changed == 1 {
        Ok(())
    } else {
        Err(JournalError::Unfit("no such session, or its job stands elsewhere".to_owned()))
    }
}

pub(crate) fn damaged(what: &str) -> JournalError {
    JournalError::Damaged(format!("{what} cannot be read"))
}

/// SQLite has signed numbers alone. Ours are times and sizes, far below the half of u64 that is cut.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Lets a test ask the file itself.
#[cfg(test)]
pub(crate) fn count(path: &Path, table: &str) -> i64 {
    let connection = Connection::open(path).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}
