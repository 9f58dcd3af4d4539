//! Admission: what is asked is held against what the caller's level gives, and is made durable.

use std::sync::Arc;

use nesssi_job::batch::Words;
use nesssi_job::{AdmittedJob, Ceiling, Command, JobSpec, JobState, NotAdmitted, Tag};
use nesssi_journal::{Change, JobRow, SessionRow, SessionState};
use nesssi_policy::Terms;
use nesssi_privsep::messages::{LeafOwner, Refusal, Seal};
use nesssi_rpc::{Fault, FaultCode};
use nesssi_session::SessionId;

use super::table::{Entry, Job, Number, Owner, Phase, Sealed, leaf_name};
use super::{Core, LOCAL, PREPARED_SECONDS_MAX, batch, journal_fault, seal_bytes, start};
use crate::clock::now_ms;
use crate::grants::{CallerGrant, Grant, fault_of};
use crate::link::{AskError, Jobmanager, Leaf};

/// How many times one owner's jobs at once all anonymous callers of a level may have together.
const ANONYMOUS_TOTAL_TIMES: u32 = 8;

/// How many prepared sessions one owner may have waiting for their job.
const PREPARED_PER_OWNER_MAX: u32 = 64;

/// A request for a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The service that asks.
    pub service: String,
    /// Its method.
    pub method: String,
    /// CPU seconds asked; rounded up.
    pub seconds: f64,
    /// A prepared session to run in; `None` makes one.
    pub session: Option<String>,
    /// What to run.
    pub command: Command,
    /// Whether the service's manifest allows shell text.
    pub shell_allowed: bool,
    /// The batch system; `None` is the configured default.
    pub batch: Option<String>,
}

fn terms(who: &CallerGrant) -> Terms<'_> {
    let Grant { level, limits, reads_only, .. } = &*who.grant;
    Terms { level, limits, reads_only: *reads_only }
}

/// CPU seconds as the level admits them.
pub(super) fn admit_size(who: &CallerGrant, seconds: f64) -> Result<u64, Fault> {
    nesssi_policy::admit_size(seconds, &terms(who)).map_err(fault_of)
}

/// CPU seconds as level and day admit them.
fn admit_seconds(core: &Core, who: &CallerGrant, seconds: f64) -> Result<u64, Fault> {
    let owner = Owner::of(who.subject.as_ref(), who.address);
    let today = core.table().today(&owner, &who.grant.level, now_ms());
    nesssi_policy::admit_job(seconds, &terms(who), &today).map_err(fault_of)
}

fn admit_job(
    core: &Core,
    who: &CallerGrant,
    submission: &Submission,
) -> Result<AdmittedJob, Fault> {
    let limits = &who.grant.limits;
    let spec = JobSpec {
        command: submission.command.clone(),
        cpu_seconds_asked: admit_seconds(core, who, submission.seconds)?,
        shell_allowed: submission.shell_allowed,
    };
    let ceiling = Ceiling {
        cpu_seconds: limits.cpu_seconds,
        wall_seconds: limits.wall_seconds,
        sandbox_bytes: limits.sandbox_bytes,
    };
    AdmittedJob::admit(spec, ceiling).map_err(|error| {
        let code = match &error {
            NotAdmitted::OverLimit { .. } => FaultCode::OverLimit,
            NotAdmitted::ShellRefused => FaultCode::Refused,
            NotAdmitted::NoTime | NotAdmitted::Command(_) => FaultCode::InvalidParams,
        };
        Fault::new(code, error.to_string())
    })
}

/// What one owner and the machine have room for, taken until it is given back or kept.
struct Room<'a> {
    core: &'a Arc<Core>,
    who: &'a CallerGrant,
    owner: Owner,
    /// The CPU seconds that are reserved of the day.
    cpu_seconds: u64,
    batch: &'a str,
    has_slot: bool,
    kept: bool,
}

impl<'a> Room<'a> {
    fn take(
        core: &'a Arc<Core>,
        who: &'a CallerGrant,
        seconds: f64,
        batch: &'a str,
    ) -> Result<Self, Fault> {
        let owner = Owner::of(who.subject.as_ref(), who.address);
        let (limits, level) = (&who.grant.limits, &who.grant.level);
        let mut table = core.table();
        let today = table.today(&owner, level, now_ms());
        let cpu_seconds =
            nesssi_policy::admit_job(seconds, &terms(who), &today).map_err(fault_of)?;
        let active = table.active_of(&owner);
        if active >= limits.jobs_at_once {
            let text = format!(
                "level {level} allows {} jobs at once, and {active} are queued or running: one more \
                 when one of them has ended",
                limits.jobs_at_once
            );
            return Err(Fault::new(FaultCode::TooMany, text));
        }
        let total = limits.jobs_at_once.saturating_mul(ANONYMOUS_TOTAL_TIMES);
        if who.subject.is_none() && table.active_anonymous_of(level) >= total {
            return Err(Fault::new(
                FaultCode::TooMany,
                format!("level {level} allows all its callers together {total} jobs at once"),
            ));
        }
        let is_local = batch == LOCAL;
        let full = || Fault::new(FaultCode::Unavailable, "the queue is full: try again later");
        let has_slot = is_local && table.waiting == 0 && table.slots_used < core.slots_max;
        if has_slot {
            table.slots_used += 1;
        } else if is_local {
            if table.waiting >= core.needs.config.batch.local.queue_max {
                return Err(full());
            }
            table.waiting += 1;
        } else {
            let queue_max = core.needs.config.batch.system(batch).map_or(0, |one| one.queue_max);
            if table.unplaced(batch) >= queue_max {
                return Err(full());
            }
            table.count_unplaced(batch);
        }
        table.count_active(&owner, level, cpu_seconds);
        drop(table);
        Ok(Self { core, who, owner, cpu_seconds, batch, has_slot, kept: false })
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let mut table = self.core.table();
        table.uncount_active(&self.owner, &self.who.grant.level, self.cpu_seconds);
        if self.has_slot {
            table.slots_used = table.slots_used.saturating_sub(1);
        } else if self.batch == LOCAL {
            table.waiting = table.waiting.saturating_sub(1);
        } else {
            table.uncount_unplaced(self.batch);
        }
        drop(table);
        start::pump(self.core);
    }
}

/// A prepared session that a submission has put its hand on.
struct Claim<'a> {
    core: &'a Arc<Core>,
    number: Number,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.core.table().get_mut(self.number) {
            entry.claimed = false;
        }
    }
}

/// The session that a job is to run in.
struct Place {
    number: Number,
    id: SessionId,
    seal: Seal,
    /// The row, if the session is new.
    row: Option<Box<SessionRow>>,
}

pub(super) async fn submit(
    core: &Arc<Core>,
    mut who: CallerGrant,
    submission: Submission,
) -> Result<SessionId, Fault> {
    let batch = submission.batch.as_deref().unwrap_or(&core.needs.config.batch.default).to_owned();
    core.batch.check(&batch)?;
    admit_job(core, &who, &submission)?;
    let claim = match &submission.session {
        Some(session) => Some(claim(core, &who, session)?),
        None => None,
    };
    let jobmanager = core.needs.grants.start_channel(&mut who).await?;
    let place = match &claim {
        Some(claim) => old_place(core, &who, claim)?,
        None => new_place(core, &mut who, &submission.service, &submission.method).await?,
    };
    // Judged afresh: the grant may be another than the call began with.
    let admitted = admit_job(core, &who, &submission)?;
    let mut room = Room::take(core, &who, submission.seconds, &batch)?;
    let job = new_job(core, admitted, &batch, room.has_slot)?;
    let id = place.id.clone();
    let recorded = record(core, &who, place, job, room.has_slot).await?;
    room.kept = true;
    let has_slot = room.has_slot;
    drop(room);
    let number = recorded.number;
    drop(claim);
    match recorded.start {
        Some(_) if batch != LOCAL => {
            let answer = batch::enter(core, number, &jobmanager).await?;
            batch::answered(answer).await?;
        }
        Some(leaf) if has_slot => start::start_on(core, number, &jobmanager, leaf).await?,
        Some(_) => enqueue(core, number, &jobmanager).await?,
        None => {}
    }
    Ok(id)
}

pub(super) async fn prepare(
    core: &Arc<Core>,
    mut who: CallerGrant,
    service: &str,
    method: &str,
    seconds: f64,
) -> Result<(SessionId, String), Fault> {
    admit_seconds(core, &who, seconds)?;
    let owner = Owner::of(who.subject.as_ref(), who.address);
    if core.table().prepared_of(&owner) >= PREPARED_PER_OWNER_MAX {
        let text = format!("{PREPARED_PER_OWNER_MAX} sessions are prepared and not used");
        return Err(Fault::new(FaultCode::TooMany, text));
    }
    let jobmanager = core.needs.grants.start_channel(&mut who).await?;
    let place = new_place(core, &mut who, service, method).await?;
    admit_seconds(core, &who, seconds)?;
    let Some(row) = place.row else { return Err(Fault::no_such_session()) };
    let (id, number) = (place.id.clone(), place.number);
    let entry = entry_of(&who, &row, &place.seal, None);
    let mut changes = vec![Change::AddSession(row)];
    changes.extend(answer_made(core, &who, &id));
    core.write(changes).await.map_err(|error| journal_fault(&error))?;
    tell_answer(core, &who, &id);
    core.table().insert(entry);
    let umask = core.needs.config.sandboxes.umask;
    let mut prepared = jobmanager.prepare(id.reveal(), umask).await;
    if let Err(AskError::Refused(Refusal::StaleGrant {})) = prepared {
        // The rules have changed in between: he is judged once more.
        let account = who.grant.account.clone();
        let jobmanager = core.needs.grants.start_channel(&mut who).await?;
        if who.grant.account == account {
            prepared = jobmanager.prepare(id.reveal(), umask).await;
        }
    }
    match prepared {
        Ok(path) => {
            let line = core.needs.audit.line("session_prepared");
            line.text("request", &who.request_id)
                .text("session", id.short())
                .maybe("subject", who.subject.as_ref())
                .text("address", who.address)
                .text("account", &who.grant.account)
                .text("level", &who.grant.level)
                .write();
            Ok((id, path))
        }
        Err(error) => {
            // Nobody has the id: it may go at once.
            core.table().expire_at(number, 0);
            Err(core.needs.grants.fault(&error, who.subject.is_none(), &who.request_id))
        }
    }
}

/// Makes session, seal and intent durable, with the leaf made meanwhile, and takes the job in.
async fn record(
    core: &Arc<Core>,
    who: &CallerGrant,
    place: Place,
    job: Job,
    make_leaf: bool,
) -> Result<Recorded, Fault> {
    let number = place.number;
    let job_row = Box::new(job_row(number, &job));
    let mut changes = Vec::with_capacity(2);
    let entry = match place.row {
        Some(row) => {
            let entry = entry_of(who, &row, &place.seal, None);
            changes.push(Change::AddSession(row));
            Some(entry)
        }
        None => None,
    };
    changes.push(Change::AddJob(job_row));
    changes.extend(answer_made(core, who, &place.id));
    let wants_leaf = make_leaf && job.leaf;
    let leaf_of = job.tag.clone();
    let durable = core.write(changes);
    let leaf = async {
        if wants_leaf {
            make_leaf_for(core, &place.id, &place.seal, &leaf_name(&leaf_of)).await
        } else {
            Ok(None)
        }
    };
    let (durable, leaf) = tokio::join!(durable, leaf);
    if let Err(error) = durable {
        if wants_leaf {
            super::finish::remove_leaf_later(core, leaf_name(&leaf_of));
        }
        return Err(journal_fault(&error));
    }
    tell_answer(core, who, &place.id);
    audit_admission(core, who, &place.id, &job);
    {
        let mut table = core.table();
        if job.phase == Phase::Starting {
            table.running.insert(number);
        }
        match entry {
            Some(mut entry) => {
                entry.job = Some(job);
                table.insert(entry);
            }
            None => table.give_job(number, job),
        }
    }
    match leaf {
        Ok(leaf) => Ok(Recorded { number, start: Some(leaf) }),
        Err(AskError::Link(error)) => {
            // The monitor is going, or has gone: the job is accepted, and starts under the next.
            tracing::warn!(%error, "the start of a job was cut off");
            start::put_back(core, number, "its start was interrupted").await;
            Ok(Recorded { number, start: None })
        }
        Err(error) => {
            start::failed(core, number, "the machine has no room for its processes").await;
            Err(core.needs.grants.fault(&error, who.subject.is_none(), &who.request_id))
        }
    }
}

/// That the call which the caller has given a tag to made this session.
fn answer_made(core: &Core, who: &CallerGrant, session: &SessionId) -> Vec<Change> {
    who.answer.map(|answer| core.answers.making(answer, session)).unwrap_or_default()
}

/// The same, now that it is durable.
fn tell_answer(core: &Core, who: &CallerGrant, session: &SessionId) {
    if let Some(answer) = who.answer {
        core.answers.made(answer, session);
    }
}

fn audit_admission(core: &Core, who: &CallerGrant, id: &SessionId, job: &Job) {
    core.needs
        .audit
        .line("job_admitted")
        .text("request", &who.request_id)
        .text("session", id.short())
        .maybe("subject", who.subject.as_ref())
        .text("address", who.address)
        .text("account", &who.grant.account)
        .text("level", &who.grant.level)
        .count("cpu_seconds_max", job.cpu_seconds_max)
        .count("wall_seconds_max", job.wall_seconds_max)
        .write();
}

struct Recorded {
    number: Number,
    /// The leaf to be started in, if there are leaves; `None` if it waits again.
    start: Option<Option<Leaf>>,
}

pub(super) async fn make_leaf_for(
    core: &Core,
    id: &SessionId,
    seal: &Seal,
    name: &str,
) -> Result<Option<Leaf>, AskError> {
    let owner = LeafOwner::Session { session: id.reveal().to_owned(), seal: seal.clone() };
    core.needs.monitor.leaf_make(owner, name).await
}

/// A job that waits has a sandbox already, so that its address can be read.
async fn enqueue(core: &Arc<Core>, number: Number, jobmanager: &Jobmanager) -> Result<(), Fault> {
    let id = core.table().get(number).map(|entry| entry.id.clone());
    let id = id.ok_or_else(Fault::no_such_session)?;
    let prepared = jobmanager.prepare(id.reveal(), core.needs.config.sandboxes.umask).await;
    if let Err(error @ AskError::Failed { .. }) = prepared {
        start::failed(core, number, "its sandbox could not be made").await;
        return Err(core.needs.grants.fault(&error, false, ""));
    }
    start::into_queue(core, number);
    Ok(())
}

/// Finds the prepared session, if it is this caller's, and keeps others from it.
fn claim<'a>(core: &'a Arc<Core>, who: &CallerGrant, session: &str) -> Result<Claim<'a>, Fault> {
    let (_, number) = core.known(session)?;
    let mut table = core.table();
    let entry = table.get_mut(number).ok_or_else(Fault::no_such_session)?;
    if entry.subject.is_some() && entry.subject != who.subject {
        return Err(Fault::no_such_session());
    }
    if entry.job.is_some() || entry.claimed {
        return Err(Fault::new(FaultCode::Conflict, "the session has a job already"));
    }
    entry.claimed = true;
    Ok(Claim { core, number })
}

fn old_place(core: &Core, who: &CallerGrant, claim: &Claim<'_>) -> Result<Place, Fault> {
    let table = core.table();
    let entry = table.get(claim.number).ok_or_else(Fault::no_such_session)?;
    if entry.account != who.grant.account {
        let text = "the session was prepared for another account";
        return Err(Fault::new(FaultCode::Conflict, text));
    }
    let (id, seal) = (entry.id.clone(), entry.seal.open());
    Ok(Place { number: claim.number, id, seal, row: None })
}

/// A new session, sealed by the monitor. A stale grant is judged once more.
async fn new_place(
    core: &Core,
    who: &mut CallerGrant,
    service: &str,
    method: &str,
) -> Result<Place, Fault> {
    let id = SessionId::random();
    let mut sealed = core.needs.monitor.admit(who.grant.id, id.reveal()).await;
    if let Err(AskError::Refused(Refusal::StaleGrant {})) = sealed {
        let before = who.grant.account.clone();
        let again = core.needs.grants.judge_again(who).await;
        if let Err(error) = again {
            return Err(core.needs.grants.fault(&error, who.subject.is_none(), &who.request_id));
        }
        core.needs.grants.start_channel(who).await?;
        if who.grant.account != before {
            return Err(Fault::new(FaultCode::Conflict, "the rules have just changed: try again"));
        }
        sealed = core.needs.monitor.admit(who.grant.id, id.reveal()).await;
    }
    let seal = sealed
        .map_err(|error| core.needs.grants.fault(&error, who.subject.is_none(), &who.request_id))?;
    let now = now_ms();
    let number = core.table().give_number();
    let row = Box::new(SessionRow {
        number,
        id: id.clone(),
        subject: who.subject.as_ref().map(nesssi_dn::SubjectDn::to_bytes),
        issuer: who.issuer.as_ref().map(nesssi_dn::SubjectDn::to_bytes),
        address: who.address.to_string(),
        account: who.grant.account.clone(),
        level: who.grant.level.as_str().to_owned(),
        limits: who.grant.limits.clone(),
        service: service.to_owned(),
        method: method.to_owned(),
        created_ms: now,
        expires_ms: now + PREPARED_SECONDS_MAX * 1000,
        seal: seal_bytes(&seal),
        state: SessionState::Prepared,
        trouble: None,
    });
    Ok(Place { number, id, seal, row: Some(row) })
}

fn entry_of(who: &CallerGrant, row: &SessionRow, seal: &Seal, job: Option<Job>) -> Entry {
    Entry {
        number: row.number,
        id: row.id.clone(),
        subject: who.subject.clone(),
        issuer: who.issuer.clone(),
        address: who.address,
        proxy: Some(who.claim.proxy),
        account: row.account.clone(),
        level: who.grant.level.clone(),
        limits: row.limits.clone(),
        service: row.service.clone(),
        method: row.method.clone(),
        created_ms: row.created_ms,
        expires_ms: row.expires_ms,
        seal: Sealed::new(seal),
        trouble: None,
        removals: 0,
        expired: false,
        claimed: false,
        job,
    }
}

fn new_job(core: &Core, admitted: AdmittedJob, batch: &str, has_slot: bool) -> Result<Job, Fault> {
    Ok(Job {
        tag: new_tag()?,
        phase: if has_slot { Phase::Starting } else { Phase::Queued },
        batch: batch.to_owned(),
        cpu_seconds_max: admitted.cpu_seconds_max(),
        wall_seconds_max: admitted.wall_seconds_max(),
        admitted: Some(admitted),
        leaf: core.needs.leaves && batch == LOCAL,
        shepherd: None,
        batch_id: None,
        cpus: 1,
        submitted_ms: None,
        queued_ms: now_ms(),
        started_ms: None,
        end: None,
        seen_ms: None,
        comment: Words::default(),
        measured: None,
        empty_reads: 0,
        cancel_asked_ms: None,
        over: None,
        has_slot,
        settling: false,
        note: None,
        lost: None,
        starts: 0,
        early_end: None,
        placed: None,
        answer: None,
    })
}

fn new_tag() -> Result<Tag, Fault> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "no random bytes");
        Fault::new(FaultCode::Internal, "internal error")
    })?;
    Ok(Tag::from_bytes(random))
}

fn job_row(session: Number, job: &Job) -> JobRow {
    JobRow {
        session,
        tag: job.tag.clone(),
        batch: job.batch.clone(),
        state: JobState::Queued,
        command: job.admitted.as_ref().map(|admitted| admitted.command().clone()),
        cpu_seconds_max: job.cpu_seconds_max,
        wall_seconds_max: job.wall_seconds_max,
        sandbox_bytes_max: job.admitted.as_ref().map_or(0, AdmittedJob::sandbox_bytes_max),
        leaf: job.leaf,
        shepherd: None,
        batch_id: job.batch_id.clone(),
        cpus: job.cpus,
        submitted_ms: job.submitted_ms,
        queued_ms: job.queued_ms,
        started_ms: None,
        end: None,
    }
}
