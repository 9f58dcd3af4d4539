//! Submitting: a job whose intent is durable gets its turn in its account's line, is judged by the
//! rules of now, and is given to its batch system. What is not certain afterwards is reconciled.

use std::sync::Arc;
use std::time::Duration;

use nesssi_job::batch::{Refusal, Words, names};
use nesssi_job::{JobState, render_local};
use nesssi_journal::Change;
use nesssi_privsep::messages::{AccountFacts, Refusal as NotGranted, Seal};
use nesssi_rpc::{Fault, FaultCode};
use nesssi_session::SessionId;
use tokio::sync::oneshot;

use super::system::System;
use super::{Placed, reconcile, system_of, watch};
use crate::clock::now_ms;
use crate::grants::why;
use crate::jobs::start::{self, JOB_PATH};
use crate::jobs::table::{Job, Number, Phase};
use crate::jobs::{Core, finish};
use crate::link::{AskError, BatchStart, Jobmanager, LinkError, SubmitOutcome, lock};

/// How long a call waits for the batch id: what takes longer goes on without it.
pub(super) const SUBMIT_WAIT_MAX: Duration =
    Duration::from_millis(if cfg!(test) { 400 } else { 10_000 });

/// How long a gatekeeper that gives up waits for the submit commands under way. What they answer later,
/// its successor finds out.
pub(crate) const STOPPED_AFTER: Duration =
    Duration::from_millis(if cfg!(test) { 300 } else { 5_000 });

/// How long a job waits before it is submitted again, where nothing was run.
const AGAIN_AFTER: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 5_000 });

/// What a jobmanager answers that has as many commands as it may.
const BUSY: [i32; 2] =
    [rustix::io::Errno::AGAIN.raw_os_error(), rustix::io::Errno::BUSY.raw_os_error()];

/// What it answers where the guard stands, or an earlier submission is under way.
const ALREADY: i32 = rustix::io::Errno::ALREADY.raw_os_error();

/// What it answers of a batch system that the monitor has not told it of, since a command of it may not be run.
const UNUSABLE: i32 = rustix::io::Errno::NODEV.raw_os_error();

/// Makes the sandbox of a job whose intent is durable, and puts the job into its account's line; the
/// call may wait for what comes of it.
///
/// # Errors
/// 502 where the sandbox could not be made; the job has failed.
pub(crate) async fn enter(
    core: &Arc<Core>,
    number: Number,
    jobmanager: &Jobmanager,
) -> Result<oneshot::Receiver<Result<(), Fault>>, Fault> {
    let id = core.table().get(number).map(|entry| entry.id.clone());
    let id = id.ok_or_else(Fault::no_such_session)?;
    let prepared = jobmanager.prepare(id.reveal(), core.needs.config.sandboxes.umask).await;
    if let Err(AskError::Failed { errno, text }) = &prepared {
        tracing::warn!(errno, text, "a sandbox could not be made");
        let why = format!("its sandbox could not be made: {}", why(*errno));
        start::failed(core, number, &why).await;
        return Err(Fault::new(FaultCode::BatchRefused, why));
    }
    let (sender, answer) = oneshot::channel();
    if let Some(job) = core.table().job_mut(number) {
        job.answer = Some(sender);
        job.note = Some("being submitted".to_owned());
    }
    wait_in_line(core, number);
    Ok(answer)
}

/// Waits for what a submission comes to, for so long as a call may.
///
/// # Errors
/// The batch system's refusal.
pub(crate) async fn answered(answer: oneshot::Receiver<Result<(), Fault>>) -> Result<(), Fault> {
    match tokio::time::timeout(SUBMIT_WAIT_MAX, answer).await {
        Ok(Ok(outcome)) => outcome,
        // It goes on; its status says how.
        Ok(Err(_)) | Err(_) => Ok(()),
    }
}

/// Puts a job that waits to be submitted into its account's line.
pub(crate) fn wait_in_line(core: &Arc<Core>, number: Number) {
    let Some(system) = system_of(core, number) else { return };
    let account = {
        let table = core.table();
        let Some(entry) = table.get(number) else { return };
        // A cancel may have been quicker.
        if entry.job.as_ref().is_none_or(|job| job.phase != Phase::Queued) {
            return;
        }
        let account = entry.account.clone();
        lock(&system.lines).entry(account.clone()).or_default().waiting.push(entry.owner(), number);
        account
    };
    pump(core, &system, &account);
}

/// Begins as many of an account's submissions as may be under way at one time.
fn pump(core: &Arc<Core>, system: &Arc<System>, account: &str) {
    loop {
        if *core.stop.borrow() {
            return;
        }
        let number = {
            let mut lines = lock(&system.lines);
            let Some(line) = lines.get_mut(account) else { return };
            if line.under_way >= system.conf.commands_at_once {
                return;
            }
            let Some(number) = line.waiting.pop() else {
                if line.under_way == 0 {
                    lines.remove(account);
                }
                return;
            };
            line.under_way += 1;
            number
        };
        let turn = Turn {
            core: Arc::clone(core),
            system: Arc::clone(system),
            account: account.to_owned(),
        };
        core.step_aside(async move {
            launch(&turn.core, &turn.system, number).await;
            drop(turn);
        });
    }
}

/// A place among the account's submissions; dropping it lets the next one begin.
struct Turn {
    core: Arc<Core>,
    system: Arc<System>,
    account: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = lock(&self.system.lines).get_mut(&self.account) {
            line.under_way = line.under_way.saturating_sub(1);
        }
        pump(&self.core, &self.system, &self.account);
    }
}

/// What a try came to.
enum Tried {
    /// The batch system has it.
    Submitted(String),
    /// It certainly has not.
    Refused(Refusal, String),
    /// It may have.
    Unsure(&'static str),
    /// Nothing was asked of it: to be tried again.
    Later(&'static str),
    /// Nothing is to be asked of it any more.
    Never(String),
    /// Somebody has asked for its end meanwhile, and nothing was asked of it.
    Cancelled,
    /// The answer comes after this gatekeeper's end.
    Left,
}

async fn launch(core: &Arc<Core>, system: &Arc<System>, number: Number) {
    let is_cancelled = {
        let mut table = core.table();
        let waits = |job: &&mut Job| job.phase == Phase::Queued && !job.settling;
        let Some(job) = table.job_mut(number).filter(waits) else { return };
        let is_cancelled = job.cancel_asked_ms.is_some();
        if !is_cancelled {
            job.phase = Phase::Starting;
        }
        is_cancelled
    };
    if is_cancelled {
        return cancel_unplaced(core, number).await;
    }
    match try_submit(core, system, number).await {
        Tried::Submitted(id) => submitted(core, system, number, id, "job_submitted").await,
        Tried::Refused(refusal, words) => refused(core, system, number, refusal, words).await,
        Tried::Unsure(why) => reconcile::begin(core, number, why),
        Tried::Later(why) => later(core, number, why),
        Tried::Never(why) => give_up(core, number, &why).await,
        Tried::Cancelled => {
            back(core, number, "it is being ended");
            cancel_unplaced(core, number).await;
        }
        Tried::Left => {}
    }
}

/// A job that is not to be submitted any more.
pub(super) async fn give_up(core: &Arc<Core>, number: Number, why: &str) {
    fail(core, number, Fault::new(FaultCode::BatchRefused, why)).await;
}

/// A job has failed, and the call that waits hears why.
async fn fail(core: &Arc<Core>, number: Number, fault: Fault) {
    let call = core.table().job_mut(number).and_then(|job| job.answer.take());
    start::failed(core, number, &fault.text).await;
    if let Some(call) = call {
        tell(call, Err(fault));
    }
}

fn tell(call: oneshot::Sender<Result<(), Fault>>, outcome: Result<(), Fault>) {
    if call.send(outcome).is_err() {
        tracing::debug!("a call did not wait for its job's batch id");
    }
}

/// A job that was to be ended before it was submitted.
pub(super) async fn cancel_unplaced(core: &Arc<Core>, number: Number) {
    let cancelled = {
        let mut table = core.table();
        let Some(job) = table.job_mut(number) else { return };
        let cancelled = job.phase == Phase::Queued && !job.settling;
        if cancelled {
            job.phase = Phase::Ending;
        }
        cancelled
    };
    if cancelled {
        let end = start::never_ran(JobState::Cancelled, "cancelled before it was submitted");
        finish::close(core, number, end).await;
    }
}

/// A job that was being submitted waits again.
fn back(core: &Core, number: Number, why: &str) {
    if let Some(job) = core.table().job_mut(number).filter(|job| job.phase == Phase::Starting) {
        job.phase = Phase::Queued;
        job.note = Some(why.to_owned());
    }
}

/// Puts a job into its line again after a while.
fn later(core: &Arc<Core>, number: Number, why: &str) {
    tracing::info!(why, "a job cannot be submitted now");
    back(core, number, why);
    let again = Arc::clone(core);
    core.until_stopped(async move {
        tokio::time::sleep(AGAIN_AFTER).await;
        wait_in_line(&again, number);
    });
}

/// Tells the call that waits, if one does.
fn answer(core: &Core, number: Number, outcome: Result<(), Fault>) {
    let call = core.table().job_mut(number).and_then(|job| job.answer.take());
    if let Some(call) = call {
        tell(call, outcome);
    }
}

fn is_awaited(core: &Core, number: Number) -> bool {
    let mut table = core.table();
    let call = table.job_mut(number).and_then(|job| job.answer.as_ref());
    call.is_some_and(|call| !call.is_closed())
}

async fn refused(
    core: &Arc<Core>,
    system: &System,
    number: Number,
    refusal: Refusal,
    words: String,
) {
    let is_down = refusal == Refusal::Down;
    // Whom nobody told so is submitted when the batch system is there again.
    if is_down && !is_awaited(core, number) {
        later(core, number, "its batch system is down");
        return;
    }
    let kind = names::of_refusal(refusal).replace('_', " ");
    let name = system.name();
    let (code, text) = if is_down {
        (FaultCode::Unavailable, format!("the batch system {name} is down: {words}"))
    } else {
        let text = format!("the batch system {name} refused the job ({kind}): {words}");
        (FaultCode::BatchRefused, text)
    };
    fail(core, number, Fault::new(code, text)).await;
}

/// What a try needs to know of the job.
struct Known {
    id: SessionId,
    seal: Seal,
    account: String,
}

async fn try_submit(core: &Arc<Core>, system: &System, number: Number) -> Tried {
    let (claims, address, known) = {
        let table = core.table();
        let Some(entry) = table.get(number) else { return Tried::Never("it is gone".to_owned()) };
        let (id, seal, account) = (entry.id.clone(), entry.seal.open(), entry.account.clone());
        (start::claims_of(core, entry), entry.address, Known { id, seal, account })
    };
    let mut who = match start::judged(core, claims, address).await {
        Ok(who) => who,
        Err(error) => return not_granted(&error),
    };
    let mut jobmanager = match core.needs.grants.try_start(&mut who).await {
        Ok(jobmanager) => jobmanager,
        Err(error) => return not_granted(&error),
    };
    for once_more in [true, false] {
        if who.grant.account != known.account || known.seal.account != known.account {
            return Tried::Never("its owner is mapped to another account now".to_owned());
        }
        match give(core, system, number, &known, &jobmanager).await {
            Given::Stale if once_more => {
                jobmanager = match core.needs.grants.try_start(&mut who).await {
                    Ok(jobmanager) => jobmanager,
                    Err(error) => return not_granted(&error),
                };
            }
            Given::Stale => break,
            Given::Tried(tried) => return tried,
        }
    }
    Tried::Later("the rules change just now")
}

#[allow(clippy::needless_pass_by_value, reason = "it reads as the other outcomes")]
fn not_granted(error: &AskError) -> Tried {
    tracing::info!(%error, "the account of a job that is to be submitted cannot be had");
    if error.is_passing() {
        Tried::Later("its account cannot be had now")
    } else {
        Tried::Never("its owner may not start jobs any more".to_owned())
    }
}

enum Given {
    Tried(Tried),
    /// The rules have changed under it.
    Stale,
}

/// Makes the sandbox, and has the job submitted by its account's process.
async fn give(
    core: &Arc<Core>,
    system: &System,
    number: Number,
    known: &Known,
    jobmanager: &Jobmanager,
) -> Given {
    let umask = core.needs.config.sandboxes.umask;
    match jobmanager.prepare(known.id.reveal(), umask).await {
        Ok(_) => {}
        Err(AskError::Refused(NotGranted::StaleGrant {})) => return Given::Stale,
        Err(AskError::Failed { errno, .. }) => {
            let why = format!("its sandbox could not be made: {}", why(errno));
            return Given::Tried(Tried::Never(why));
        }
        Err(error) => {
            tracing::info!(%error, "a job's sandbox could not be made yet");
            return Given::Tried(Tried::Later("its account cannot be had now"));
        }
    }
    let Some(start) = batch_start(core, system, number, jobmanager.facts()) else {
        return Given::Tried(Tried::Cancelled);
    };
    let asked = jobmanager.submit_batch(start, system.patience());
    let outcome = tokio::select! {
        outcome = asked => outcome,
        () = core.stopped_for(STOPPED_AFTER) => return Given::Tried(Tried::Left),
    };
    Given::Tried(match outcome {
        Ok(SubmitOutcome::Submitted(id)) => Tried::Submitted(id),
        Ok(SubmitOutcome::NotSubmitted { refusal, certain: true, words }) => {
            Tried::Refused(refusal, words)
        }
        Ok(SubmitOutcome::NotSubmitted { refusal, words, .. }) => {
            tracing::warn!(session = %known.id, ?refusal, words, "a submission's answer is not certain");
            if let Some(job) = core.table().job_mut(number) {
                job.comment = Words::of(words.as_bytes());
            }
            Tried::Unsure("what its submission came to is being found out")
        }
        Err(AskError::Refused(NotGranted::StaleGrant {})) => return Given::Stale,
        Err(AskError::Failed { errno: ALREADY, .. }) => {
            Tried::Unsure("an earlier submission of it is being looked for")
        }
        Err(AskError::Failed { errno, .. }) if BUSY.contains(&errno) => {
            Tried::Later("its account runs as many commands as it may")
        }
        Err(AskError::Failed { errno: UNUSABLE, .. }) => {
            let name = system.name();
            tracing::error!(
                batch = name,
                "a batch system is unusable: the monitor's log says which of its commands is wrong"
            );
            Tried::Refused(Refusal::Down, "this server cannot use its commands".to_owned())
        }
        Err(AskError::Failed { errno, text }) => {
            tracing::warn!(session = %known.id, errno, text, "a job could not be submitted");
            Tried::Never(format!("it could not be submitted: {}", why(errno)))
        }
        Err(AskError::Link(LinkError::TooLong)) => {
            Tried::Never("its command is too long to be submitted".to_owned())
        }
        Err(error) => {
            tracing::warn!(session = %known.id, %error, "a submission was interrupted");
            Tried::Unsure("its submission was interrupted")
        }
    })
}

/// What the jobmanager is told. `None` where the job is gone or was cancelled meanwhile.
fn batch_start(
    core: &Core,
    system: &System,
    number: Number,
    facts: &AccountFacts,
) -> Option<BatchStart> {
    let mut table = core.table();
    let entry = table.get_mut(number)?;
    let asked = system.conf.asked_for(entry.level.as_str(), &entry.service);
    let session = entry.id.reveal().to_owned();
    let job = entry.job.as_mut().filter(|job| job.phase == Phase::Starting)?;
    if job.cancel_asked_ms.is_some() {
        return None;
    }
    job.starts += 1;
    job.cpus = asked.cpus;
    let admitted = job.admitted.as_ref()?;
    Some(BatchStart {
        session,
        tag: job.tag.as_str().to_owned(),
        batch: system.name().to_owned(),
        argv: render_local(admitted),
        environment: environment(facts),
        cpu_seconds_max: admitted.cpu_seconds_max(),
        wall_seconds_max: admitted.wall_seconds_max(),
        sandbox_bytes_max: admitted.sandbox_bytes_max(),
        cpus: asked.cpus,
        memory_bytes: asked.memory_mib.map(|mib| mib.saturating_mul(1 << 20)),
        directives: asked.directives,
        umask_default: core.needs.config.sandboxes.umask,
    })
}

/// The whole environment of a batch job, beside what its batch system and its script tell it.
fn environment(facts: &AccountFacts) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        pair("HOME", &facts.home),
        pair("USER", &facts.name),
        pair("LOGNAME", &facts.name),
        pair("SHELL", "/bin/sh"),
        pair("PATH", JOB_PATH),
        pair("LANG", "C.UTF-8"),
    ]
}

/// A batch system has a job, by this id: makes it durable, then says so. Also of a job that was found
/// there, and of one whose guard names another id than was known.
pub(super) async fn submitted(
    core: &Arc<Core>,
    system: &Arc<System>,
    number: Number,
    batch_id: String,
    event: &'static str,
) {
    let submitted_ms = now_ms();
    let (durable, id, account) = {
        let mut table = core.table();
        let Some(entry) = table.get_mut(number) else { return };
        let (id, account) = (entry.id.clone(), entry.account.clone());
        let Some(job) = entry.job.as_mut() else { return };
        if matches!(job.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        if matches!(job.phase, Phase::Queued | Phase::Starting) {
            job.phase = Phase::Waiting;
        }
        job.admitted = None;
        job.settling = false;
        job.note = None;
        job.batch_id = Some(batch_id.clone());
        job.submitted_ms.get_or_insert(submitted_ms);
        // The guard that names another id may be forged: what was measured under the one before stays.
        let before = job.placed.take().map(|before| *before).unwrap_or_default();
        let Placed { refused, cpu_seconds, wall_seconds, .. } = before;
        let placed = Placed { refused, cpu_seconds, wall_seconds, ..Placed::default() };
        job.placed = Some(Box::new(placed));
        table.place(system.name(), number);
        let change =
            Change::Submitted { session: number, batch_id: batch_id.clone(), submitted_ms };
        // Under the lock, so that what comes next of this job is written behind it.
        (core.begin_write(vec![change]), id, account)
    };
    if let Ok(Err(error)) = durable.await {
        // After a restart its guard and its name lead to it.
        tracing::error!(%error, "the journal did not take a job's batch id");
    }
    core.needs
        .audit
        .line(event)
        .text("session", id.short())
        .text("account", account)
        .text("batch", system.name())
        .text("batch_id", &batch_id)
        .write();
    answer(core, number, Ok(()));
    system.look_fresh();
    let asked = core.table().job_mut(number).is_some_and(|job| job.cancel_asked_ms.is_some());
    if asked {
        system.look_soon(number);
    }
    let watcher = Arc::clone(core);
    core.until_stopped(async move { watch(&watcher, number).await });
}
