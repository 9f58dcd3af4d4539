//! A batch system that stands in for a real one: what its commands say, as jobmanagers pass it on. Jobs
//! in it do what a test tells them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use nesssi_privsep::messages::{BatchEndFacts, FromJobmanager, SightingFacts, ToJobmanager};

use super::standin::{Box_, Standin};

/// One job in it.
#[derive(Debug, Clone)]
pub(super) struct BatchJob {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) session: String,
    pub(super) state: &'static str,
    pub(super) end: Option<(&'static str, i32)>,
    pub(super) cpu_seconds: Option<u64>,
    pub(super) wall_seconds: Option<u64>,
    pub(super) comment: String,
}

/// What a submission is to come to; without a word, it goes well.
#[derive(Debug, Clone)]
pub(super) enum Submit {
    /// After so many milliseconds.
    After(u64),
    /// The batch system refuses.
    Refused(&'static str, &'static str),
    /// It takes the job, and what it says makes no sense.
    Garbage,
    /// It does not take the job, and what it says makes no sense.
    Nothing,
    /// The jobmanager dies; whether the batch system has the job then, and for how many milliseconds the
    /// command runs on.
    Dies { taken: bool, lock_ms: u64 },
}

#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub(super) last_id: u64,
    pub(super) jobs: BTreeMap<String, BatchJob>,
    /// What ended jobs were, for the accounts.
    pub(super) accounts: BTreeMap<String, BatchJob>,
    /// What it answers instead of anything.
    pub(super) down: Option<&'static str>,
    pub(super) unread: u64,
    pub(super) next: VecDeque<Submit>,
    /// Every command, by its first word.
    pub(super) commands: Vec<String>,
    /// Sessions of which a submit command runs.
    locks: BTreeSet<String>,
    watched: BTreeSet<String>,
    /// What a cancel answers instead of ending the job.
    pub(super) cancel: Option<(&'static str, &'static str)>,
    /// How many submissions there are at one time, now and at most.
    submitting: u32,
    pub(super) submitting_most: u32,
    /// How often a payload was started in each session.
    pub(super) payloads: BTreeMap<String, u32>,
    /// What submissions were told, in order.
    pub(super) told: Vec<ToJobmanager>,
    /// CPU seconds that `UsageBatch` answers.
    pub(super) usage: BTreeMap<String, u64>,
}

impl Standin {
    /// Answers what concerns batch systems; `None` is the jobmanager's death.
    pub(super) fn batch_answer(
        &self,
        account: &str,
        asked: ToJobmanager,
    ) -> Option<Vec<FromJobmanager>> {
        match asked {
            ToJobmanager::SubmitBatch { .. } => {
                self.submit_batch(account, asked).map(|one| vec![one])
            }
            ToJobmanager::CancelBatch { id, tag, .. } => Some(vec![self.cancel_batch(&id, &tag)]),
            ToJobmanager::ListBatch { ids, accounts, .. } => Some(self.list_batch(&ids, accounts)),
            ToJobmanager::UsageBatch { ids, .. } => {
                let mut state = self.state();
                state.cluster.commands.push("usage".to_owned());
                let of = |id: &String| Some((id.clone(), *state.cluster.usage.get(id)?));
                let used = ids.iter().filter_map(of).collect();
                Some(vec![FromJobmanager::BatchUsage { used }])
            }
            ToJobmanager::ReadGuard { session } => Some(vec![self.read_guard(&session)]),
            ToJobmanager::WatchRecord { session } => {
                let mut state = self.state();
                let record = state.sandboxes.get(&session).and_then(|one| one.record.clone());
                Some(vec![match record {
                    Some(record) => FromJobmanager::RecordSeen { session, record },
                    None => {
                        state.cluster.watched.insert(session);
                        FromJobmanager::RecordAwaited {}
                    }
                }])
            }
            other => panic!("not expected: {other:?}"),
        }
    }

    fn submit_batch(&self, account: &str, asked: ToJobmanager) -> Option<FromJobmanager> {
        let ToJobmanager::SubmitBatch { session, tag, environment, argv, .. } = &asked else {
            panic!("{asked:?}")
        };
        let (session, tag) = (session.clone(), tag.clone());
        assert!(environment.iter().all(|(_, value)| !value.contains(&session)));
        assert!(!argv.is_empty());
        let how = {
            let mut state = self.state();
            state.asked.push("submit_batch".to_owned());
            let sandbox = state.sandboxes.get(&session).cloned().unwrap_or_default();
            if sandbox.guarded || state.cluster.locks.contains(&session) {
                let errno = rustix::io::Errno::ALREADY.raw_os_error();
                return Some(FromJobmanager::Failed { errno, text: "by the guard".to_owned() });
            }
            let copy = super::standin::copy(&state.journal);
            state.copies.push(copy);
            state.cluster.commands.push("submit".to_owned());
            state.cluster.told.push(asked);
            state.cluster.submitting += 1;
            state.cluster.submitting_most =
                state.cluster.submitting_most.max(state.cluster.submitting);
            state.cluster.locks.insert(session.clone());
            state.cluster.next.pop_front()
        };
        let no = |refusal: &str, certain, words: &str| FromJobmanager::NotSubmitted {
            refusal: refusal.to_owned(),
            certain,
            words: words.to_owned(),
        };
        if let Some(Submit::After(ms)) = how {
            std::thread::sleep(Duration::from_millis(ms));
        }
        let mut state = self.state();
        state.cluster.submitting -= 1;
        let down = state.cluster.down;
        let mut take = || {
            state.cluster.last_id += 1;
            let id = state.cluster.last_id.to_string();
            let job = BatchJob {
                name: format!("nesssi-{tag}"),
                owner: account.to_owned(),
                session: session.clone(),
                state: "queued",
                end: None,
                cpu_seconds: None,
                wall_seconds: None,
                comment: "Priority".to_owned(),
            };
            state.cluster.jobs.insert(id.clone(), job);
            id
        };
        let answer = match how {
            _ if down.is_some() => no("down", true, down.unwrap_or_default()),
            None | Some(Submit::After(_)) => FromJobmanager::Submitted { id: take() },
            Some(Submit::Refused(refusal, words)) => no(refusal, true, words),
            Some(Submit::Garbage) => {
                take();
                no("garbage", false, "Segmentation fault")
            }
            Some(Submit::Nothing) => no("unknown", false, "Socket timed out"),
            Some(Submit::Dies { taken, lock_ms }) => {
                drop(state);
                let standin = self.clone();
                let name = account.to_owned();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(lock_ms));
                    let mut state = standin.state();
                    if taken {
                        state.cluster.last_id += 1;
                        let id = state.cluster.last_id.to_string();
                        let job = BatchJob {
                            name: format!("nesssi-{tag}"),
                            owner: name,
                            session: session.clone(),
                            state: "queued",
                            end: None,
                            cpu_seconds: None,
                            wall_seconds: None,
                            comment: String::new(),
                        };
                        state.cluster.jobs.insert(id, job);
                    }
                    state.cluster.locks.remove(&session);
                });
                return None;
            }
        };
        state.cluster.locks.remove(&session);
        Some(answer)
    }

    fn cancel_batch(&self, id: &str, tag: &str) -> FromJobmanager {
        let mut state = self.state();
        state.cluster.commands.push(format!("cancel {id}"));
        let (answer, words) = match state.cluster.cancel {
            Some(said) => said,
            None => match state.cluster.jobs.get(id).cloned() {
                None => ("gone", "Unknown Job Id"),
                Some(job) => {
                    assert!(job.name.ends_with(tag), "another's job was to be ended");
                    drop(state);
                    let record = (job.state == "running")
                        .then(|| super::record("cancelled", None, Some(15), 1_000));
                    self.batch_end(id, record.as_deref(), None);
                    ("asked", "")
                }
            },
        };
        FromJobmanager::BatchCancelled { answer: answer.to_owned(), words: words.to_owned() }
    }

    fn list_batch(&self, ids: &[String], accounts: bool) -> Vec<FromJobmanager> {
        let mut state = self.state();
        let cluster = &mut state.cluster;
        let word = match (accounts, ids.is_empty()) {
            (true, _) => "accounts",
            (_, true) => "list",
            (_, false) => "look",
        };
        cluster.commands.push(word.to_owned());
        if let Some(words) = cluster.down {
            let (trouble, words) = ("down".to_owned(), words.to_owned());
            return vec![FromJobmanager::NotListed { trouble, words, duration_ms: 1 }];
        }
        let from = if accounts { &cluster.accounts } else { &cluster.jobs };
        // Ended jobs are told of to who asks for them, as OpenPBS does.
        let told = from.iter().filter(|(id, job)| match word {
            "list" => job.state != "ended",
            _ => ids.contains(id),
        });
        let sightings = told.map(|(id, job)| SightingFacts {
            id: id.clone(),
            name: job.name.clone(),
            owner: job.owner.clone(),
            state: job.state.to_owned(),
            end: job.end.map(|(kind, number)| BatchEndFacts { kind: kind.to_owned(), number }),
            cpu_seconds: job.cpu_seconds,
            wall_seconds: job.wall_seconds,
            comment: job.comment.clone(),
        });
        let sightings = sightings.collect();
        vec![
            FromJobmanager::Sightings { sightings },
            FromJobmanager::ListDone { unread: cluster.unread, duration_ms: 1 },
        ]
    }

    fn read_guard(&self, session: &str) -> FromJobmanager {
        let state = self.state();
        let Some(Box_ { guarded, record, winner, why, .. }) = state.sandboxes.get(session).cloned()
        else {
            let errno = rustix::io::Errno::NOENT.raw_os_error();
            return FromJobmanager::Failed { errno, text: "no sandbox".to_owned() };
        };
        FromJobmanager::Guard {
            submitting: state.cluster.locks.contains(session),
            guarded,
            winner,
            record: record.unwrap_or_default(),
            why,
        }
    }

    /// The batch id of a session's job; of the last one, where there are several.
    pub(super) fn batch_id(&self, session: &str) -> Option<String> {
        let state = self.state();
        let jobs = state.cluster.jobs.iter().rev();
        jobs.filter(|(_, job)| job.session == session).map(|(id, _)| id.clone()).next()
    }

    /// The batch system starts a job: its script sets the guard, or finds it and ends.
    pub(super) fn batch_run(&self, id: &str) {
        let mut state = self.state();
        let state = &mut *state;
        let job = state.cluster.jobs.get_mut(id).unwrap();
        let sandbox = state.sandboxes.entry(job.session.clone()).or_default();
        if sandbox.guarded {
            (job.state, job.end) = ("ended", Some(("exited", 91)));
            return;
        }
        job.state = "running";
        sandbox.guarded = true;
        sandbox.winner = Some(id.to_owned());
        *state.cluster.payloads.entry(job.session.clone()).or_default() += 1;
    }

    /// A job ends, with a record or without; the batch system remembers it where `end` says how.
    pub(super) fn batch_end(
        &self,
        id: &str,
        record: Option<&str>,
        end: Option<(&'static str, i32)>,
    ) {
        let mut state = self.state();
        let state = &mut *state;
        let job = state.cluster.jobs.get_mut(id).unwrap();
        let session = job.session.clone();
        match end {
            Some(end) => (job.state, job.end) = ("ended", Some(end)),
            None => drop(state.cluster.jobs.remove(id)),
        }
        if let Some(record) = record {
            state.leave(session, record);
        }
    }

    /// A record is written in the sandbox of a job that goes on.
    pub(super) fn forge(&self, session: &str, record: &str) {
        self.state().leave(session.to_owned(), record);
    }

    pub(super) fn commands(&self, word: &str) -> usize {
        let state = self.state();
        let first = |command: &&String| command.split(' ').next() == Some(word);
        state.cluster.commands.iter().filter(first).count()
    }
}

impl super::standin::State {
    /// A record is there, and whoever watches for it hears of it.
    fn leave(&mut self, session: String, record: &str) {
        self.sandboxes.entry(session.clone()).or_default().record = Some(record.to_owned());
        if self.cluster.watched.remove(&session) {
            let seen = FromJobmanager::RecordSeen { session, record: record.to_owned() };
            for (_, channel) in &self.jobmanagers {
                channel.send(0, &seen, &[]).unwrap_or_default();
            }
        }
    }
}
