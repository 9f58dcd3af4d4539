//! A monitor and jobmanagers that stand in for the real ones: threads that speak the real messages
//! on real socket pairs, and remember what they were asked. They outlive a gatekeeper, as shepherds do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use nesssi_dn::SubjectDn;
use nesssi_policy::Limits;
use nesssi_privsep::Channel;
use nesssi_privsep::messages::{
    AccountFacts, Entry, FromJobmanager, FromMonitor, GrantRecord, LeafFacts, Refusal, Seal,
    ShepherdId, ToJobmanager, ToMonitor,
};
use nesssi_privsep::wire::Blob;

use super::cluster::Cluster;

pub(super) const BOOT_ID: &str = "boot-1";

/// What is in one sandbox.
#[derive(Debug, Default, Clone)]
pub(super) struct Box_ {
    pub(super) tag: String,
    pub(super) guarded: bool,
    pub(super) record: Option<String>,
    pub(super) shepherd: Option<ShepherdId>,
    /// How often a payload was started.
    pub(super) starts: u32,
    /// The batch id in the guard, and what a watcher has left.
    pub(super) winner: Option<String>,
    pub(super) why: String,
}

#[derive(Debug)]
pub(super) struct State {
    /// Everything that was asked, by its first word, in order.
    pub(super) asked: Vec<String>,
    pub(super) sandboxes: BTreeMap<String, Box_>,
    pub(super) leaves: BTreeMap<String, LeafFacts>,
    pub(super) limits: Limits,
    pub(super) generation: u64,
    pub(super) reads_only: bool,
    /// The accounts and levels that were claimed.
    pub(super) claims: Vec<(Option<String>, Option<String>)>,
    pub(super) stale_grants: BTreeSet<u64>,
    grants: HashMap<u64, String>,
    started: BTreeSet<u64>,
    pub(super) tend_refused: bool,
    /// The account that subjects are mapped to.
    pub(super) account: String,
    /// The error number that `Prepare` fails with.
    pub(super) prepare_errno: i32,
    pub(super) remove_errno: i32,
    /// How many `StartJob`s end with the jobmanager's death, and whether after the start.
    pub(super) die_at_start: u32,
    /// So many starts are cut off before the payload has run.
    pub(super) cut_off: u32,
    pub(super) start_before_death: bool,
    /// Whether starts are told that an earlier one has started the job.
    pub(super) overtaken: bool,
    /// The pids that were to be adopted.
    pub(super) adopted: Vec<u32>,
    /// What jobs have used by their trees, and who was asked for it at once.
    pub(super) usage: BTreeMap<String, u64>,
    pub(super) usage_asked: Vec<Vec<String>>,
    /// Whether a cancel ends the job.
    pub(super) stubborn: bool,
    pub(super) cluster: Cluster,
    pub(super) jobmanagers: Vec<(String, Arc<Channel>)>,
    /// Sessions whose shepherd the living jobmanager started itself.
    watched: BTreeSet<String>,
    pids: HashMap<String, u32>,
    next_pid: u32,
    /// Where the journal lies: it is copied at each start, as it would be found after a crash.
    pub(super) journal: std::path::PathBuf,
    pub(super) copies: Vec<tempfile::TempDir>,
}

#[derive(Debug, Clone)]
pub(super) struct Standin {
    state: Arc<Mutex<State>>,
}

impl Standin {
    pub(super) fn new(limits: Limits, journal: std::path::PathBuf) -> Self {
        let state = State {
            asked: Vec::new(),
            sandboxes: BTreeMap::new(),
            leaves: BTreeMap::new(),
            limits,
            generation: 1,
            reads_only: false,
            claims: Vec::new(),
            stale_grants: BTreeSet::new(),
            grants: HashMap::new(),
            started: BTreeSet::new(),
            tend_refused: false,
            account: "alice".to_owned(),
            prepare_errno: 0,
            remove_errno: 0,
            die_at_start: 0,
            cut_off: 0,
            start_before_death: false,
            overtaken: false,
            adopted: Vec::new(),
            usage: BTreeMap::new(),
            usage_asked: Vec::new(),
            stubborn: false,
            cluster: Cluster::default(),
            jobmanagers: Vec::new(),
            watched: BTreeSet::new(),
            pids: HashMap::new(),
            next_pid: 1000,
            journal,
            copies: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The gatekeeper's end of a channel to this monitor, which has said its welcome.
    pub(super) fn monitor(&self, leaves: bool) -> Channel {
        let (ours, theirs) = Channel::pair().unwrap();
        let welcome = FromMonitor::Welcome {
            config_text: String::new(),
            config_path: String::new(),
            root: true,
            leaves,
            user: "tester".to_owned(),
            boot_id: BOOT_ID.to_owned(),
            generation: 1,
        };
        ours.send(0, &welcome, &[]).unwrap();
        let standin = self.clone();
        std::thread::spawn(move || {
            while let Ok(asked) = ours.receive::<ToMonitor>() {
                let (answer, descriptors) = standin.monitor_answer(asked.message, leaves);
                let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
                if ours.send(asked.id, &answer, &borrowed).is_err() {
                    return;
                }
            }
        });
        theirs
    }

    fn monitor_answer(&self, asked: ToMonitor, leaves: bool) -> (FromMonitor, Vec<OwnedFd>) {
        let mut state = self.state();
        let refused = |refusal| (FromMonitor::Refused { refusal }, Vec::new());
        match asked {
            ToMonitor::Judge { claim, .. } => {
                state.asked.push("judge".to_owned());
                state.claims.push((claim.account.clone(), claim.lowered.clone()));
                let account = match claim.subject {
                    Some(_) => state.account.clone(),
                    None => "guest".to_owned(),
                };
                let level = if claim.subject.is_some() { "strong" } else { "anonymous" };
                let id = state.grants.len() as u64 + 1;
                state.grants.insert(id, account.clone());
                let grant = GrantRecord {
                    id,
                    account,
                    level: level.to_owned(),
                    limits: Blob(state.limits.to_bytes().to_vec()),
                    generation: state.generation,
                    reads_only: state.reads_only,
                    rule: "stand-in".to_owned(),
                };
                (FromMonitor::Judged { grant }, Vec::new())
            }
            ToMonitor::Start { grant } => {
                state.asked.push("start".to_owned());
                if state.stale_grants.contains(&grant) {
                    return refused(Refusal::StaleGrant {});
                }
                state.started.insert(grant);
                let account = state.grants[&grant].clone();
                drop(state);
                self.jobmanager(&account)
            }
            ToMonitor::Tend { seal, .. } => {
                state.asked.push("tend".to_owned());
                if state.tend_refused {
                    return refused(Refusal::BadSeal { text: "by the test".to_owned() });
                }
                drop(state);
                self.jobmanager(&seal.account)
            }
            ToMonitor::Discover {} => {
                state.asked.push("discover".to_owned());
                drop(state);
                self.jobmanager("services")
            }
            ToMonitor::Admit { grant, session } => {
                state.asked.push("admit".to_owned());
                if state.stale_grants.contains(&grant) {
                    return refused(Refusal::StaleGrant {});
                }
                if !state.started.contains(&grant) {
                    return refused(Refusal::BadRequest { text: "not started".to_owned() });
                }
                let seal = Seal {
                    account: state.grants[&grant].clone(),
                    uid: 1000,
                    level: "strong".to_owned(),
                    limits: Blob(state.limits.to_bytes().to_vec()),
                    mac: Blob(session.into_bytes()),
                };
                (FromMonitor::Sealed { seal }, Vec::new())
            }
            ToMonitor::LeafMake { name, .. } if leaves => {
                state.asked.push("leaf_make".to_owned());
                state.leaves.insert(name, LeafFacts { cpu_usec: 0, populated: false });
                let (door, _) = Channel::pair().unwrap();
                (FromMonitor::Leaf {}, vec![door.into_fd()])
            }
            ToMonitor::LeafMake { .. } => {
                (FromMonitor::NoLeaf { text: "none here".to_owned() }, Vec::new())
            }
            ToMonitor::LeafRead { names } => {
                let usage = names.iter().map(|name| state.leaves.get(name).cloned()).collect();
                (FromMonitor::LeafUsage { usage }, Vec::new())
            }
            ToMonitor::LeafKill { name } => {
                state.asked.push(format!("leaf_kill {name}"));
                let facts = state.leaves.remove(&name);
                let usage = vec![facts.map(|facts| LeafFacts { populated: false, ..facts })];
                let killed = state.sandboxes.iter().find(|(_, sandbox)| {
                    format!("j{}", sandbox.tag) == name && sandbox.shepherd.is_some()
                });
                let killed = killed.map(|(session, _)| session.clone());
                drop(state);
                if let Some(session) = killed {
                    self.end(&session, &record("exited", None, Some(9), 0));
                }
                (FromMonitor::LeafUsage { usage }, Vec::new())
            }
            ToMonitor::LeafList {} => {
                let names = state.leaves.keys().cloned().collect();
                (FromMonitor::LeafNames { names }, Vec::new())
            }
            other => panic!("not expected: {other:?}"),
        }
    }

    fn jobmanager(&self, account: &str) -> (FromMonitor, Vec<OwnedFd>) {
        let (ours, theirs) = Channel::pair().unwrap();
        let ours = Arc::new(ours);
        let pid = {
            let mut state = self.state();
            let next = state.next_pid;
            let pid = *state.pids.entry(account.to_owned()).or_insert(next);
            state.next_pid += 1;
            state.jobmanagers.push((account.to_owned(), Arc::clone(&ours)));
            pid
        };
        let (standin, name) = (self.clone(), account.to_owned());
        std::thread::spawn(move || {
            while let Ok(asked) = ours.receive::<ToJobmanager>() {
                if is_of_batch(&asked.message) {
                    let (standin, name, ours) = (standin.clone(), name.clone(), Arc::clone(&ours));
                    // Its commands overlap.
                    std::thread::spawn(move || match standin.batch_answer(&name, asked.message) {
                        Some(answers) => answers.iter().for_each(|answer| {
                            ours.send(asked.id, answer, &[]).unwrap_or_default();
                        }),
                        None => standin.kill_jobmanager(&name),
                    });
                    continue;
                }
                match standin.jobmanager_answer(&name, asked.message) {
                    Some(answer) => ours.send(asked.id, &answer, &[]).unwrap_or_default(),
                    None => {
                        standin.kill_jobmanager(&name);
                        return;
                    }
                }
            }
        });
        let account = AccountFacts {
            name: account.to_owned(),
            uid: 1000,
            gid: 1000,
            home: format!("/home/{account}"),
            sandboxes: format!("/sandboxes/{account}"),
        };
        (FromMonitor::Jobmanager { account, pid }, vec![theirs.into_fd()])
    }

    /// `None` is its death.
    fn jobmanager_answer(&self, account: &str, asked: ToJobmanager) -> Option<FromJobmanager> {
        let mut guard = self.state();
        let state = &mut *guard;
        let failed = |errno| FromJobmanager::Failed { errno, text: "by the test".to_owned() };
        Some(match asked {
            ToJobmanager::Prepare { session, .. } => {
                state.asked.push("prepare".to_owned());
                if state.prepare_errno != 0 {
                    return Some(failed(state.prepare_errno));
                }
                let path = format!("/sandboxes/{account}/{session}");
                state.sandboxes.entry(session).or_default();
                FromJobmanager::Prepared { path }
            }
            ToJobmanager::StartJob { session, tag, environment, .. } => {
                state.asked.push("start_job".to_owned());
                assert!(environment.iter().all(|(_, value)| !value.contains(&session)));
                state.copies.push(copy(&state.journal));
                let dies = state.die_at_start > 0;
                state.die_at_start = state.die_at_start.saturating_sub(1);
                if dies && !state.start_before_death {
                    return None;
                }
                if state.cut_off > 0 {
                    state.cut_off -= 1;
                    return Some(failed(rustix::io::Errno::CANCELED.raw_os_error()));
                }
                let Some(sandbox) = state.sandboxes.get_mut(&session) else {
                    return Some(failed(2));
                };
                assert!(!sandbox.guarded, "started twice");
                let pid = 5000 + u32::try_from(state.copies.len()).unwrap();
                let shepherd = ShepherdId { pid, start_ticks: 1, boot_id: BOOT_ID.to_owned() };
                sandbox.guarded = true;
                sandbox.starts += 1;
                sandbox.tag = tag.clone();
                sandbox.shepherd = Some(shepherd.clone());
                if let Some(leaf) = state.leaves.get_mut(&format!("j{tag}")) {
                    leaf.populated = true;
                }
                if dies {
                    return None;
                }
                if state.overtaken {
                    return Some(failed(rustix::io::Errno::ALREADY.raw_os_error()));
                }
                state.watched.insert(session);
                FromJobmanager::Started { shepherd }
            }
            ToJobmanager::Adopt { session, shepherd, .. } => {
                state.asked.push("adopt".to_owned());
                state.adopted.push(shepherd.pid);
                let Some(sandbox) = state.sandboxes.get(&session).cloned() else {
                    return Some(failed(rustix::io::Errno::NOENT.raw_os_error()));
                };
                let lives = sandbox
                    .shepherd
                    .as_ref()
                    .is_some_and(|known| shepherd.pid == 0 || *known == shepherd);
                match sandbox.shepherd.clone().filter(|_| lives) {
                    Some(shepherd) => {
                        state.watched.insert(session);
                        FromJobmanager::Adopted { shepherd }
                    }
                    None => left(session, sandbox),
                }
            }
            ToJobmanager::ReadRecord { session } => {
                state.asked.push("read_record".to_owned());
                let Some(sandbox) = state.sandboxes.get(&session).cloned() else {
                    return Some(failed(rustix::io::Errno::NOENT.raw_os_error()));
                };
                if sandbox.shepherd.is_some() && state.watched.contains(&session) {
                    return Some(failed(rustix::io::Errno::BUSY.raw_os_error()));
                }
                left(session, sandbox)
            }
            ToJobmanager::Usage { sessions } => {
                let runs = |session: &String| {
                    state.sandboxes.get(session).is_some_and(|known| known.shepherd.is_some())
                };
                let of = |session| state.usage.get(session).copied().filter(|_| runs(session));
                let cpu_usec = sessions.iter().map(of).collect();
                state.usage_asked.push(sessions);
                FromJobmanager::Usage { cpu_usec }
            }
            ToJobmanager::CancelJob { session } => {
                state.asked.push("cancel".to_owned());
                let stubborn = state.stubborn;
                drop(guard);
                if !stubborn {
                    self.end(&session, &record("cancelled", None, Some(15), 1_000));
                }
                FromJobmanager::Cancelling {}
            }
            ToJobmanager::Files { .. } => {
                let entry = Entry {
                    name: Blob(b"a b.txt".to_vec()),
                    directory: false,
                    size: 12,
                    modified: 0,
                };
                FromJobmanager::Listing { entries: vec![entry], cut: false }
            }
            ToJobmanager::Remove { session } => {
                state.asked.push("remove".to_owned());
                if state.remove_errno != 0 {
                    return Some(failed(state.remove_errno));
                }
                state.sandboxes.remove(&session);
                FromJobmanager::Removed {}
            }
            other => panic!("not expected: {other:?}"),
        })
    }

    /// The shepherd of a session ends with a record, empty for none.
    pub(super) fn end(&self, session: &str, record: &str) {
        let ended =
            FromJobmanager::Ended { session: session.to_owned(), record: record.to_owned() };
        let mut state = self.state();
        let sandbox = state.sandboxes.get_mut(session).unwrap();
        sandbox.shepherd = None;
        sandbox.record = (!record.is_empty()).then(|| record.to_owned());
        for (_, channel) in &state.jobmanagers {
            // Those of a gatekeeper that is gone are closed.
            channel.send(0, &ended, &[]).unwrap_or_default();
        }
    }

    /// A jobmanager dies; its shepherds do not.
    pub(super) fn kill_jobmanager(&self, account: &str) {
        let mut state = self.state();
        state.pids.remove(account);
        state.watched.clear();
        state.jobmanagers.retain(|(name, channel)| {
            if name == account {
                rustix::net::shutdown(channel, rustix::net::Shutdown::Both).unwrap_or_default();
            }
            name != account
        });
    }

    pub(super) fn count(&self, word: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.split(' ').next() == Some(word)).count()
    }
}

fn is_of_batch(asked: &ToJobmanager) -> bool {
    use ToJobmanager as Ask;
    matches!(
        asked,
        Ask::SubmitBatch { .. }
            | Ask::CancelBatch { .. }
            | Ask::ListBatch { .. }
            | Ask::UsageBatch { .. }
            | Ask::ReadGuard { .. }
            | Ask::WatchRecord { .. }
    )
}

fn left(session: String, sandbox: Box_) -> FromJobmanager {
    match sandbox.record {
        Some(record) => FromJobmanager::Ended { session, record },
        None => FromJobmanager::Gone { guarded: sandbox.guarded },
    }
}

pub(super) fn copy(journal: &std::path::Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for end in ["", "-wal"] {
        let name = format!("journal.sqlite{end}");
        std::fs::copy(journal.with_file_name(&name), folder.path().join(name)).unwrap();
    }
    folder
}

pub(super) fn record(
    reason: &str,
    exit_code: Option<i32>,
    signal: Option<i32>,
    cpu_usec: u64,
) -> String {
    let exit_code = exit_code.map_or(String::new(), |code| format!("exit_code={code}\n"));
    let signal = signal.map_or(String::new(), |signal| format!("signal={signal}\n"));
    format!(
        "reason={reason}\n{exit_code}{signal}cpu_usec={cpu_usec}\nwall_usec=2000000\n\
         started_ms=1\nended_ms=2\ncpu_seconds_max=60\nwall_seconds_max=600\n\
         sandbox_bytes_max=0\nend=1\n"
    )
}

pub(super) fn subject(name: &str) -> SubjectDn {
    SubjectDn::parse_oneline(&format!("/O=Grid/CN={name}")).unwrap()
}
