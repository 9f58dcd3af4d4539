//! Settling: finding out what became of jobs that nobody watched for a while.
//!
//! After a restart, after a jobmanager's death and after an interrupted start, the same question is
//! asked of the job's own account: is there a record, does its shepherd live, does its guard stand?
//! Until it is answered the job stays in its state and says so in `as_of`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use nesssi_dn::SubjectDn;
use nesssi_job::batch::Words;
use nesssi_job::{AdmittedJob, Ceiling, JobSpec, JobState};
use nesssi_journal::{JobRow, SessionRow, Shepherd};
use nesssi_policy::LevelName;
use nesssi_privsep::messages::{Seal, ShepherdId};
use nesssi_session::SessionId;

use super::table::{Entry, Job, Number, Phase, Sealed, Table, leaf_name};
use super::{Core, LOCAL, batch, cancel, finish, is_absent, seal_of, start};
use crate::link::{AskError, JobFound, Jobmanager};

/// The first wait after a failed try, doubled each time.
const AGAIN_MIN: Duration = Duration::from_millis(200);

/// The longest wait between two tries.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// What a jobmanager answers that is asked for the record of a job that runs.
const BUSY: i32 = rustix::io::Errno::BUSY.raw_os_error();

/// How often the start of a job is begun before it is given up.
const STARTS_MAX: u32 = 3;

/// Takes in what the journal holds, and begins to settle what had not ended.
pub(super) async fn take_up(core: &Arc<Core>, reading: Reading) {
    let mut open = Vec::new();
    {
        let mut table = core.table();
        for entry in reading.entries {
            open.extend(insert(&mut table, entry));
        }
        table.is_taken_up();
    }
    if core.needs.leaves {
        remove_strays(core).await;
    }
    let (local, others): (Vec<Number>, Vec<Number>) = {
        let table = core.table();
        let is_local = |number: &Number| {
            table.get(*number).and_then(|one| one.job.as_ref()).is_none_or(Job::is_local)
        };
        open.into_iter().partition(is_local)
    };
    for number in local {
        one(core, number, "not yet confirmed since the restart");
    }
    batch::take_up(core, &others);
}

/// What is read from the journal at a start, as it is kept from then on. What many sessions have alike
/// is there once.
#[derive(Default)]
#[allow(
    clippy::vec_box,
    reason = "an entry is moved into the table as it lies: not copied, and none is there twice"
)]
pub(super) struct Reading {
    entries: Vec<Box<Entry>>,
    names: HashMap<Vec<u8>, SubjectDn>,
    levels: HashMap<String, LevelName>,
}

impl Reading {
    /// How many sessions there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes one.
    pub(super) fn take(&mut self, row: SessionRow, job: Option<JobRow>) {
        let id = row.id.clone();
        match self.entry(row, job) {
            Some(entry) => self.entries.push(Box::new(entry)),
            None => tracing::error!(session = %id, "a session in the journal makes no sense"),
        }
    }

    fn name(&mut self, bytes: Option<Vec<u8>>) -> Option<Option<SubjectDn>> {
        let Some(bytes) = bytes else { return Some(None) };
        if let Some(known) = self.names.get(&bytes) {
            return Some(Some(known.clone()));
        }
        let name = SubjectDn::from_bytes(&bytes).ok()?;
        self.names.insert(bytes, name.clone());
        Some(Some(name))
    }

    fn level(&mut self, text: &str) -> Option<LevelName> {
        if let Some(known) = self.levels.get(text) {
            return Some(known.clone());
        }
        let level = LevelName::parse(text).ok()?;
        self.levels.insert(text.to_owned(), level.clone());
        Some(level)
    }

    fn entry(&mut self, row: SessionRow, job: Option<JobRow>) -> Option<Entry> {
        Some(Entry {
            number: row.number,
            id: row.id,
            subject: self.name(row.subject)?,
            issuer: self.name(row.issuer)?,
            address: row.address.parse().ok()?,
            proxy: None,
            account: row.account,
            level: self.level(&row.level)?,
            limits: row.limits,
            service: row.service,
            method: row.method,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            seal: Sealed::new(&seal_of(&row.seal)?),
            trouble: row.trouble,
            removals: 0,
            expired: false,
            claimed: false,
            job: match job {
                Some(job) => Some(job_of(job)?),
                None => None,
            },
        })
    }
}

/// Takes one in; its number, if its job has to be settled.
fn insert(table: &mut Table, entry: Box<Entry>) -> Option<Number> {
    let number = entry.number;
    let phase = entry.job.as_ref().map(|job| job.phase);
    let other = entry.job.as_ref().filter(|job| !job.is_local()).map(|job| job.batch.clone());
    let cpu_seconds = entry.job.as_ref().map_or(0, |job| job.cpu_seconds_max);
    let (owner, level) = (entry.owner(), entry.level.clone());
    table.insert_boxed(entry);
    match (phase, other) {
        (None | Some(Phase::Ended), _) => return None,
        (Some(phase), Some(batch)) => {
            table.count_unplaced(&batch);
            if phase != Phase::Queued {
                table.place(&batch, number);
            }
            if phase == Phase::Running {
                table.begin(&batch, number);
            }
        }
        (Some(Phase::Queued | Phase::Waiting), None) => table.waiting += 1,
        (Some(Phase::Starting | Phase::Running | Phase::Ending), None) => {
            table.slots_used += 1;
            table.running.insert(number);
        }
    }
    table.count_active(&owner, &level, cpu_seconds);
    Some(number)
}

fn job_of(row: JobRow) -> Option<Job> {
    let phase = match (&row.end, row.state) {
        (Some(_), _) => Phase::Ended,
        (None, JobState::Queued) if row.batch_id.is_some() => Phase::Waiting,
        (None, JobState::Queued) => Phase::Queued,
        (None, _) => Phase::Running,
    };
    let admitted = match row.command {
        Some(command) if phase == Phase::Queued => {
            let spec = JobSpec {
                command,
                cpu_seconds_asked: row.cpu_seconds_max,
                // It was judged when it was admitted; this is the same job.
                shell_allowed: true,
            };
            let ceiling = Ceiling {
                cpu_seconds: row.cpu_seconds_max,
                wall_seconds: row.wall_seconds_max,
                sandbox_bytes: row.sandbox_bytes_max,
            };
            Some(AdmittedJob::admit(spec, ceiling).ok()?)
        }
        _ => None,
    };
    let is_local = row.batch == LOCAL;
    let is_placed = row.batch_id.is_some() && phase != Phase::Ended;
    Some(Job {
        tag: row.tag,
        phase,
        admitted,
        batch: row.batch,
        cpu_seconds_max: row.cpu_seconds_max,
        wall_seconds_max: row.wall_seconds_max,
        leaf: row.leaf,
        // Of one that has ended nobody asks for it.
        shepherd: row.shepherd.filter(|_| phase != Phase::Ended),
        batch_id: row.batch_id,
        cpus: row.cpus,
        submitted_ms: row.submitted_ms,
        queued_ms: row.queued_ms,
        started_ms: row.started_ms,
        end: row.end,
        seen_ms: None,
        comment: Words::default(),
        measured: None,
        empty_reads: 0,
        cancel_asked_ms: None,
        over: None,
        has_slot: phase == Phase::Running && is_local,
        settling: false,
        note: None,
        lost: None,
        starts: 0,
        early_end: None,
        placed: is_placed.then(Box::default),
        answer: None,
    })
}

/// Removes the leaves of jobs that the journal does not know, or knows as ended.
async fn remove_strays(core: &Arc<Core>) {
    let names = match core.needs.monitor.leaf_list().await {
        Ok(names) => names,
        Err(error) => {
            tracing::warn!(%error, "the leaves could not be listed");
            return;
        }
    };
    let known: HashSet<String> = {
        let table = core.table();
        let jobs = table.entries().filter_map(|entry| entry.job.as_ref());
        jobs.filter(|job| job.phase != Phase::Ended).map(|job| leaf_name(&job.tag)).collect()
    };
    for name in names {
        if name.starts_with('j') && !known.contains(&name) {
            finish::remove_leaf_later(core, name);
        }
    }
}

/// Looks after all jobs of an account whose jobmanager is gone.
pub(super) fn account(core: &Arc<Core>, account: &str) {
    let running: Vec<Number> = {
        let table = core.table();
        let of_account = |number: &Number| {
            let entry = table.get(*number)?;
            let runs = entry.job.as_ref().is_some_and(|job| job.phase == Phase::Running);
            (runs && entry.account == account).then_some(*number)
        };
        table.running.iter().filter_map(of_account).collect()
    };
    for number in running {
        one(core, number, "its account's process was replaced");
    }
}

/// Looks after one job, until it is known how it is.
pub(super) fn one(core: &Arc<Core>, number: Number, note: &str) {
    {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        if job.settling {
            return;
        }
        job.settling = true;
        job.note = Some(note.to_owned());
    }
    let settler = Arc::clone(core);
    core.until_stopped(async move {
        let mut again = AGAIN_MIN;
        loop {
            match try_settle(&settler, number).await {
                Ok(()) => break,
                Err(why) => say(&settler, number, why),
            }
            tokio::time::sleep(again).await;
            again = (again * 2).min(AGAIN_MAX);
        }
    });
}

fn say(core: &Core, number: Number, why: &str) {
    if let Some(job) = core.table().job_mut(number) {
        job.note = Some(why.to_owned());
    }
}

/// What is known of a job before its account is asked.
struct Known {
    id: SessionId,
    seal: Seal,
    tag: String,
    phase: Phase,
    shepherd: Option<Shepherd>,
    leaf: Option<String>,
    starts: u32,
    /// It is known from a backup alone, which may be older than its end.
    is_restored: bool,
}

/// One try; an error is why it is to be tried again.
async fn try_settle(core: &Arc<Core>, number: Number) -> Result<(), &'static str> {
    let Ok(_permit) = core.settlers.acquire().await else { return Ok(()) };
    let Some(known) = known(core, number) else { return Ok(()) };
    let jobmanager = match core.needs.channels.tend(known.id.reveal(), &known.seal).await {
        Ok(jobmanager) => jobmanager,
        Err(error) => {
            tracing::info!(session = %known.id, %error, "a job cannot be looked after now");
            return Err(match error {
                AskError::Refused(_) => "its account may not be used now",
                AskError::Failed { .. } | AskError::Link(_) | AskError::Unfit => {
                    "its account cannot be had now"
                }
            });
        }
    };
    let found = match ask(core, &jobmanager, &known).await {
        Ok(found) => found,
        Err(error) => {
            tracing::info!(session = %known.id, %error, "a job's account does not say how it is");
            return Err("its account does not answer");
        }
    };
    conclude(core, number, known, found).await
}

fn known(core: &Core, number: Number) -> Option<Known> {
    let table = core.table();
    let entry = table.get(number)?;
    let job = entry.job.as_ref()?;
    if matches!(job.phase, Phase::Ending | Phase::Ended) {
        return None;
    }
    Some(Known {
        id: entry.id.clone(),
        seal: entry.seal.open(),
        tag: job.tag.as_str().to_owned(),
        phase: job.phase,
        shepherd: job.shepherd.clone(),
        leaf: job.leaf.then(|| job.leaf_name()),
        starts: job.starts,
        is_restored: number <= core.restored_up_to,
    })
}

async fn ask(core: &Core, from: &Jobmanager, known: &Known) -> Result<JobFound, AskError> {
    let session = known.id.reveal();
    let of_this_boot = |shepherd: &&Shepherd| shepherd.boot_id == core.needs.boot_id;
    let found = match &known.shepherd {
        Some(shepherd) if of_this_boot(&shepherd) => {
            let shepherd = ShepherdId {
                pid: shepherd.pid,
                start_ticks: shepherd.start_ticks,
                boot_id: shepherd.boot_id.clone(),
            };
            from.adopt(session, &known.tag, shepherd).await
        }
        Some(_) => from.read_record(session).await,
        None => match from.read_record(session).await {
            // It was started, and its shepherd is not in the journal: the guard may name it.
            Ok(JobFound::Gone { guarded: true }) => {
                from.adopt(session, &known.tag, unknown_shepherd(core)).await
            }
            // The jobmanager that started it still watches it.
            Err(AskError::Failed { errno, .. }) if errno == BUSY => {
                from.adopt(session, &known.tag, unknown_shepherd(core)).await
            }
            other => other,
        },
    };
    match found {
        // Its sandbox may have been removed after its end: it may have run.
        Err(error) if is_absent(&error) && known.is_restored => {
            Ok(JobFound::Gone { guarded: true })
        }
        Err(error) if is_absent(&error) => Ok(JobFound::Gone { guarded: false }),
        other => other,
    }
}

/// Asks the jobmanager to take the shepherd from the guard.
fn unknown_shepherd(core: &Core) -> ShepherdId {
    ShepherdId { pid: 0, start_ticks: 0, boot_id: core.needs.boot_id.clone() }
}

async fn conclude(
    core: &Arc<Core>,
    number: Number,
    known: Known,
    found: JobFound,
) -> Result<(), &'static str> {
    let never_started = matches!(found, JobFound::Gone { guarded: false })
        && known.shepherd.is_none()
        && known.phase != Phase::Running;
    settled(core, number);
    match found {
        JobFound::Adopted(_) if known.phase == Phase::Running => {
            let asked =
                core.table().job_mut(number).is_some_and(|job| job.cancel_asked_ms.is_some());
            if asked {
                cancel::send(core, number);
            }
        }
        JobFound::Adopted(shepherd) => {
            core.table().take_slot(number);
            start::started(core, number, shepherd).await;
        }
        JobFound::Ended(record) => over(core, number, &known, record),
        JobFound::Gone { .. } if never_started => again(core, number, known).await,
        JobFound::Gone { .. } => over(core, number, &known, String::new()),
    }
    Ok(())
}

fn settled(core: &Core, number: Number) {
    if let Some(job) = core.table().job_mut(number) {
        job.settling = false;
        job.note = None;
    }
}

fn over(core: &Arc<Core>, number: Number, known: &Known, record: String) {
    {
        let mut table = core.table();
        table.take_slot(number);
        let Some(job) = table.job_mut(number) else { return };
        if known.shepherd.as_ref().is_some_and(|shepherd| shepherd.boot_id != core.needs.boot_id) {
            job.lost = Some("the machine was restarted while it ran".to_owned());
        } else if known.is_restored {
            job.lost = Some("the journal was restored, and nothing says how it ended".to_owned());
        }
    }
    finish::end(core, number, record);
}

/// It was certainly not started: it goes (back) into the queue, or is given up.
async fn again(core: &Arc<Core>, number: Number, known: Known) {
    if let Some(name) = known.leaf {
        finish::empty_leaf(core, &name).await;
    }
    if known.starts >= STARTS_MAX {
        start::failed(core, number, "its account's process ended whenever it was to be started")
            .await;
        return;
    }
    match known.phase {
        Phase::Starting => start::put_back(core, number, "its start was interrupted").await,
        _ => start::queue_or_cancel(core, number).await,
    }
}
