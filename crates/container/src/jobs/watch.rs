//! The backstop: once a second, one bulk read of all leaves. It gives running jobs' CPU figures, and
//! ends what its shepherd should have ended and did not. Of jobs without a leaf their account's
//! process gives the figures, and nothing follows from them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nesssi_privsep::messages::{LeafFacts, Seal};

use super::table::{Job, Number, Phase};
use super::{Core, finish, settle};
use crate::clock::now_ms;
use crate::link::Jobmanager;

/// How often the leaves are read.
pub(super) const EVERY: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 1000 });

/// How many leaves one request names: the answer and the request fit a record.
const LEAVES_PER_READ: usize = 4096;

/// How far a job may be over its CPU limit before the backstop ends it, in microseconds: longer
/// than a shepherd's own look takes.
const CPU_GRACE_USEC: u64 = 2_000_000;

/// How far over its wall limit, in milliseconds.
const WALL_GRACE_MS: u64 = 10_000;

/// How long a cancelled job may go on before it is killed through its leaf, in milliseconds: longer
/// than a shepherd's own two seconds of grace.
const CANCEL_GRACE_MS: u64 = 5_000;

/// After how many empty reads on end a job is looked after.
const EMPTY_READS_MAX: u32 = 10;

/// One round.
pub(super) async fn read_leaves(core: Arc<Core>) {
    let leaves: Vec<(Number, String)> = {
        let table = core.table();
        let with_leaf = table.running.iter().filter_map(|number| {
            let job = table.get(*number)?.job.as_ref()?;
            (job.leaf && job.phase == Phase::Running).then(|| (*number, job.leaf_name()))
        });
        with_leaf.collect()
    };
    for group in leaves.chunks(LEAVES_PER_READ) {
        let names = group.iter().map(|(_, name)| name.clone()).collect();
        match core.needs.monitor.leaf_read(names).await {
            Ok(usage) => {
                for ((number, name), facts) in group.iter().zip(usage) {
                    hold(&core, *number, name, facts.as_ref());
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the leaves could not be read");
                return;
            }
        }
    }
}

/// How many jobs one request to a jobmanager names.
const TREES_PER_READ: usize = 2048;

/// How long a jobmanager may take to say what its jobs have used: its jobs go without a figure.
const TREES_PATIENCE: Duration = Duration::from_secs(2);

/// Jobs of one account, by number and session.
type Trees = Vec<(Number, String)>;

/// One round for the jobs that have no leaf: each account's process is asked at the same time, so
/// that one that does not answer holds up no other for long.
pub(super) async fn read_trees(core: Arc<Core>) {
    let mut accounts: HashMap<(String, u32), (Seal, Trees)> = HashMap::new();
    {
        let table = core.table();
        for entry in table.running.iter().filter_map(|number| table.get(*number)) {
            let watched = |job: &Job| !job.leaf && job.phase == Phase::Running;
            if entry.job.as_ref().is_some_and(watched) {
                let seal = entry.seal.open();
                let key = (seal.account.clone(), seal.uid);
                let (_, jobs) = accounts.entry(key).or_insert((seal, Vec::new()));
                jobs.push((entry.number, entry.id.reveal().to_owned()));
            }
        }
    }
    let mut asked = tokio::task::JoinSet::new();
    for (seal, jobs) in accounts.into_values() {
        // Where no channel is open, settling opens one.
        if let Some(jobmanager) = core.needs.channels.open_any(&seal) {
            let core = Arc::clone(&core);
            asked.spawn(tokio::time::timeout(TREES_PATIENCE, async move {
                read_account(&core, &jobmanager, &jobs).await;
            }));
        }
    }
    while asked.join_next().await.is_some() {}
}

async fn read_account(core: &Core, jobmanager: &Jobmanager, jobs: &[(Number, String)]) {
    for group in jobs.chunks(TREES_PER_READ) {
        let sessions = group.iter().map(|(_, session)| session.clone()).collect();
        match jobmanager.usage(sessions, TREES_PATIENCE).await {
            Ok(usage) => {
                let now_ms = now_ms();
                let mut table = core.table();
                for ((number, _), cpu_usec) in group.iter().zip(usage) {
                    let job = table.job_mut(*number).filter(|job| job.phase == Phase::Running);
                    if let (Some(job), Some(cpu_usec)) = (job, cpu_usec) {
                        job.measured = Some((cpu_usec, now_ms));
                    }
                }
            }
            Err(error) => {
                let account = &jobmanager.facts().name;
                tracing::debug!(account, %error, "an account's jobs could not be measured");
                return;
            }
        }
    }
}

enum Verdict {
    Fine,
    Kill,
    LookAfter,
}

fn hold(core: &Arc<Core>, number: Number, name: &str, facts: Option<&LeafFacts>) {
    let verdict = {
        let mut table = core.table();
        match table.job_mut(number) {
            Some(job) if job.phase == Phase::Running => look(job, facts, now_ms()),
            _ => Verdict::Fine,
        }
    };
    match verdict {
        Verdict::Fine => {}
        // Killed and removed; the shepherd sees it, and its jobmanager says so.
        Verdict::Kill => finish::remove_leaf_later(core, name.to_owned()),
        Verdict::LookAfter => settle::one(core, number, "its processes are gone"),
    }
}

fn look(job: &mut Job, facts: Option<&LeafFacts>, now_ms: u64) -> Verdict {
    let Some(facts) = facts.filter(|facts| facts.populated) else {
        if let Some(facts) = facts {
            job.measured = Some((facts.cpu_usec, now_ms));
        }
        job.empty_reads += 1;
        let due = job.empty_reads >= EMPTY_READS_MAX;
        if due {
            job.empty_reads = 0;
        }
        return if due { Verdict::LookAfter } else { Verdict::Fine };
    };
    job.measured = Some((facts.cpu_usec, now_ms));
    job.empty_reads = 0;
    let cpu_usec_max = job.cpu_seconds_max.saturating_mul(1_000_000).saturating_add(CPU_GRACE_USEC);
    let wall_ms = now_ms.saturating_sub(job.started_ms.unwrap_or(now_ms));
    let wall_ms_max = job.wall_seconds_max.saturating_mul(1000).saturating_add(WALL_GRACE_MS);
    if facts.cpu_usec > cpu_usec_max {
        job.over = Some(format!("used its {} CPU seconds", job.cpu_seconds_max));
        Verdict::Kill
    } else if wall_ms > wall_ms_max {
        job.over = Some(format!("used its {} wall seconds", job.wall_seconds_max));
        Verdict::Kill
    } else if job.cancel_asked_ms.is_some_and(|asked| now_ms > asked + CANCEL_GRACE_MS) {
        Verdict::Kill
    } else {
        Verdict::Fine
    }
}
