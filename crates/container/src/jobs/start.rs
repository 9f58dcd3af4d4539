//! Starting: a job with a slot gets its leaf and its shepherd; a slot that is free gets a job.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nesssi_identity::ProxyKind;
use nesssi_job::{JobState, render_local};
use nesssi_journal::{Change, JobEnd, Shepherd};
use nesssi_policy::AccountName;
use nesssi_privsep::messages::{AccountFacts, Refusal, ShepherdId};
use nesssi_rpc::{Fault, FaultCode};

use super::submit::make_leaf_for;
use super::table::{Entry, Number, Phase};
use super::{Core, finish, settle};
use crate::clock::now_ms;
use crate::grants::{CallerGrant, JudgedBy, words};
use crate::link::{AskError, JobStart, Jobmanager, Leaf};

/// How long a job at the head of the queue waits after its account could not be had.
const START_AGAIN: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 2_000 });

/// What a jobmanager answers that is asked to start a second job in a session.
const ALREADY: i32 = rustix::io::Errno::ALREADY.raw_os_error();

/// What a jobmanager answers whose start of a job was cut off before the payload ran.
const INTERRUPTED: i32 = rustix::io::Errno::CANCELED.raw_os_error();

/// What a job's processes are told of where programs are.
pub(super) const JOB_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Puts a job, counted as waiting, into the queue.
pub(super) fn into_queue(core: &Arc<Core>, number: Number) {
    {
        let mut table = core.table();
        let Some(entry) = table.get(number) else { return };
        let owner = entry.owner();
        // A cancel may have been quicker than the way into the queue.
        if entry.job.as_ref().is_none_or(|job| job.phase != Phase::Queued) {
            return;
        }
        table.queue.push(owner, number);
    }
    pump(core);
}

/// Gives free slots to jobs that wait.
pub(super) fn pump(core: &Arc<Core>) {
    loop {
        let number = {
            let mut table = core.table();
            if table.slots_used >= core.slots_max || *core.stop.borrow() {
                return;
            }
            let Some(number) = table.queue.pop() else { return };
            if !table.take_slot(number) {
                continue;
            }
            number
        };
        let launched = Arc::clone(core);
        core.step_aside(async move { launch(&launched, number).await });
    }
}

/// Starts a job from the queue: its owner is judged by the rules of now.
async fn launch(core: &Arc<Core>, number: Number) {
    match try_launch(core, number).await {
        Ok(()) => {}
        Err(NotLaunched::Later(why)) => {
            tracing::info!(why, "a queued job cannot be started now");
            put_back(core, number, why).await;
        }
        Err(NotLaunched::Never(why)) => failed(core, number, why).await,
    }
}

enum NotLaunched {
    Later(&'static str),
    Never(&'static str),
}

async fn try_launch(core: &Arc<Core>, number: Number) -> Result<(), NotLaunched> {
    let (claims, address, id, seal, account, leaf_name) = {
        let table = core.table();
        let entry = table.get(number).ok_or(NotLaunched::Never("it is gone"))?;
        let job = entry.job.as_ref().ok_or(NotLaunched::Never("it is gone"))?;
        let leaf_name = job.leaf.then(|| job.leaf_name());
        let (id, seal, account) = (entry.id.clone(), entry.seal.open(), entry.account.clone());
        (claims_of(core, entry), entry.address, id, seal, account, leaf_name)
    };
    let grants = &core.needs.grants;
    let mut who = judged(core, claims, address).await.map_err(refused)?;
    let jobmanager = grants.try_start(&mut who).await.map_err(refused)?;
    if who.grant.account != account {
        return Err(NotLaunched::Never("its owner is mapped to another account now"));
    }
    let leaf = match leaf_name {
        Some(name) => make_leaf_for(core, &id, &seal, &name).await.map_err(refused)?,
        None => None,
    };
    // What went wrong from here on has been dealt with where it happened.
    if let Err(fault) = start_on(core, number, &jobmanager, leaf).await {
        tracing::info!(session = %id, %fault, "a queued job could not be started");
    }
    Ok(())
}

/// As whom the owner of a queued job may be judged: for the account and the level that he was given,
/// which a service may have lowered him to. With which proxy he came is forgotten in a restart: then
/// one kind after the other is tried, as only the rules of some levels tell them apart.
pub(super) fn claims_of(core: &Core, entry: &Entry) -> Vec<JudgedBy> {
    let proxies = match entry.proxy {
        Some(known) => vec![known],
        None if entry.subject.is_none() => vec![None],
        None => vec![None, Some(ProxyKind::Full), Some(ProxyKind::Independent)],
    };
    let address = core.needs.grants.rules().now().address_key(entry.address);
    let account = AccountName::parse(&entry.account).ok();
    let claim = |proxy| JudgedBy {
        subject: entry.subject.clone(),
        issuer: entry.issuer.clone(),
        proxy,
        account: account.clone(),
        lowered: Some(entry.level.clone()),
        address,
    };
    proxies.into_iter().map(claim).collect()
}

pub(super) async fn judged(
    core: &Core,
    claims: Vec<JudgedBy>,
    address: IpAddr,
) -> Result<CallerGrant, AskError> {
    let mut refused = AskError::Unfit;
    for claim in claims {
        match core.needs.grants.of(&claim, address).await {
            Ok(grant) => return Ok(CallerGrant::new(claim, address, grant, "queue".to_owned())),
            Err(error @ AskError::Refused(Refusal::NoLevel { .. })) => refused = error,
            Err(error) => return Err(error),
        }
    }
    Err(refused)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn refused(error: AskError) -> NotLaunched {
    tracing::info!(%error, "a queued job's account cannot be had");
    if error.is_passing() {
        NotLaunched::Later("its account cannot be had now")
    } else {
        NotLaunched::Never("its owner may not start jobs any more")
    }
}

/// Gives the slot back and waits a little at the end of its owner's queue.
pub(super) async fn put_back(core: &Arc<Core>, number: Number, why: &str) {
    {
        let mut table = core.table();
        if !table.give_slot_back(number) {
            return;
        }
        if let Some(job) = table.job_mut(number) {
            job.note = Some(why.to_owned());
        }
    }
    pump(core);
    let later = Arc::clone(core);
    core.until_stopped(async move {
        tokio::time::sleep(START_AGAIN).await;
        queue_or_cancel(&later, number).await;
    });
}

/// Puts a waiting job into the queue, unless somebody has asked for its end meanwhile.
pub(super) async fn queue_or_cancel(core: &Arc<Core>, number: Number) {
    let cancelled = {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        let cancelled = job.phase == Phase::Queued && job.cancel_asked_ms.is_some();
        if cancelled {
            job.phase = Phase::Ending;
        }
        cancelled
    };
    if cancelled {
        let end = never_ran(JobState::Cancelled, "cancelled before it was started");
        finish::close(core, number, end).await;
    } else {
        into_queue(core, number);
    }
}

/// Starts a job that has its slot and its leaf.
///
/// A fault is the account's refusal, and the job has failed. An interrupted start is no fault: the
/// job is settled by what its guard and record say.
pub(super) async fn start_on(
    core: &Arc<Core>,
    number: Number,
    jobmanager: &Jobmanager,
    leaf: Option<Leaf>,
) -> Result<(), Fault> {
    let Some(start) = job_start(core, number, jobmanager.facts(), leaf.is_some()) else {
        return Err(Fault::no_such_session());
    };
    match jobmanager.prepare_and_start(start, leaf).await {
        Ok(shepherd) => {
            started(core, number, shepherd).await;
            Ok(())
        }
        Err(AskError::Failed { errno: ALREADY, .. }) => {
            tracing::warn!("a job had been started before this was known");
            settle::one(core, number, "it was started before");
            Ok(())
        }
        Err(AskError::Failed { errno: INTERRUPTED, text }) => {
            tracing::warn!(text, "the start of a job was cut off");
            settle::one(core, number, "its start was interrupted");
            Ok(())
        }
        Err(AskError::Failed { errno, text }) => {
            tracing::warn!(errno, text, "a job could not be started");
            let words = words(errno);
            failed(core, number, &words).await;
            Err(Fault::new(FaultCode::BatchRefused, words))
        }
        Err(error) => {
            tracing::warn!(%error, "the start of a job was interrupted");
            settle::one(core, number, "its start was interrupted");
            Ok(())
        }
    }
}

/// What the jobmanager is told. `None` if the job is gone or was cancelled meanwhile.
fn job_start(
    core: &Core,
    number: Number,
    facts: &AccountFacts,
    has_leaf: bool,
) -> Option<JobStart> {
    let mut table = core.table();
    let entry = table.get_mut(number)?;
    let session = entry.id.reveal().to_owned();
    let job = entry.job.as_mut().filter(|job| job.phase == Phase::Starting)?;
    job.leaf = has_leaf;
    job.starts += 1;
    let admitted = job.admitted.as_ref()?;
    let tag = job.tag.as_str().to_owned();
    Some(JobStart {
        session,
        environment: environment(facts, &tag),
        tag,
        argv: render_local(admitted),
        cpu_seconds_max: admitted.cpu_seconds_max(),
        wall_seconds_max: admitted.wall_seconds_max(),
        sandbox_bytes_max: admitted.sandbox_bytes_max(),
        umask_default: core.needs.config.sandboxes.umask,
    })
}

/// The whole environment of a job; the session is not in it.
fn environment(facts: &AccountFacts, tag: &str) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        pair("HOME", &facts.home),
        pair("USER", &facts.name),
        pair("LOGNAME", &facts.name),
        pair("SHELL", "/bin/sh"),
        pair("PATH", JOB_PATH),
        pair("LANG", "C.UTF-8"),
        pair("TMPDIR", "/tmp"),
        pair("NESSSI_TAG", tag),
    ]
}

/// A shepherd runs: makes it durable, and does what came meanwhile.
pub(super) async fn started(core: &Arc<Core>, number: Number, shepherd: ShepherdId) {
    let shepherd = Shepherd {
        pid: shepherd.pid,
        start_ticks: shepherd.start_ticks,
        boot_id: shepherd.boot_id,
    };
    let started_ms = now_ms();
    let (durable, early_end, cancel_asked) = {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        job.phase = Phase::Running;
        job.started_ms = Some(started_ms);
        job.shepherd = Some(shepherd.clone());
        job.admitted = None;
        job.note = None;
        let change = Change::Started { session: number, leaf: job.leaf, shepherd, started_ms };
        // Under the lock, so that the end of this job is written behind its start.
        let durable = core.begin_write(vec![change]);
        (durable, job.early_end.take(), job.cancel_asked_ms.is_some())
    };
    if let Some(record) = early_end {
        finish::end(core, number, record);
    } else if cancel_asked {
        super::cancel::send(core, number);
    }
    if let Ok(Err(error)) = durable.await {
        // The job runs all the same: after a restart its guard leads to the shepherd.
        tracing::error!(%error, "the journal did not take the start of a job");
    }
}

/// A job that never ran ends as failed.
pub(super) async fn failed(core: &Arc<Core>, number: Number, why: &str) {
    finish::close(core, number, never_ran(JobState::Failed, why)).await;
}

/// The end of a job that never ran.
pub(super) fn never_ran(state: JobState, why: &str) -> JobEnd {
    JobEnd {
        state,
        exit_code: None,
        signal: None,
        cpu_usec: 0,
        wall_usec: 0,
        ended_ms: now_ms(),
        reason: why.to_owned(),
    }
}
