mod batch;
mod cluster;
mod events;
mod keeping;
mod showing;
mod standin;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nesssi_dn::SubjectDn;
use nesssi_job::{Command, JobState};
use nesssi_journal::Journal;
use nesssi_policy::{Limits, VoChange};
use nesssi_rpc::{Fault, Value};

use self::standin::{BOOT_ID, Standin, record, subject};
use super::{Jobs, Needs, Submission, Wanted};
use crate::audit::Audit;
use crate::edits::Edits;
use crate::grants::{CallerGrant, Grants, JudgedBy, address_prefix};
use crate::groups::Groups;
use crate::link::{Channels, JobmanagerEvent, Monitor};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

const LIMITS: Limits = Limits {
    cpu_seconds: 60,
    wall_seconds: 600,
    jobs_at_once: 4,
    calls_per_minute: 60,
    call_wall_seconds: 60,
    call_cpu_seconds: 10,
    sandbox_bytes: 0,
    retention_seconds: 86_400,
    cpu_seconds_per_day: u64::MAX,
};

/// A machine: what survives the death of a gatekeeper.
struct Machine {
    folder: tempfile::TempDir,
    standin: Standin,
    slots: u32,
    leaves: bool,
    /// The sections of other batch systems.
    batch: String,
}

/// One gatekeeper's life.
struct Gatekeeper {
    jobs: Jobs,
    grants: Grants,
    groups: Groups,
}

impl Machine {
    fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let standin = Standin::new(limits, folder.path().join("state/gatekeeper/journal.sqlite"));
        Self { folder, standin, slots: 8, leaves: true, batch: String::new() }
    }

    async fn gatekeeper(&self) -> Gatekeeper {
        let text = format!(
            "[server]\nstate_directory = \"state\"\nsandbox_url = \"http://files.example:8080\"\n\
             [sandboxes]\nroot = \"/sandboxes\"\n\
             [batch.local]\nslots = {}\nqueue_max = 3\n{}",
            self.slots, self.batch
        );
        let path = self.folder.path().join("nesssi.toml");
        let config = nesssi_config::parse(&text, path.to_str().unwrap()).unwrap();
        let channel = self.standin.monitor(self.leaves);
        let (monitor, welcome, _) = Monitor::over(channel).await.unwrap();
        let (channels, mut events) = Channels::new(monitor.clone());
        let grants = Grants::new(monitor.clone(), channels.clone(), true, 1, &config);
        let groups = Groups::new(&config);
        let audit = Audit::open(&self.folder.path().join("audit.jsonl")).unwrap();
        let needs = Needs {
            config: Arc::new(config),
            boot_id: welcome.boot_id,
            leaves: welcome.leaves,
            monitor,
            channels,
            grants: grants.clone(),
            audit,
            groups: groups.clone(),
            edits: Edits::default(),
        };
        let jobs = Jobs::start(needs).await.unwrap();
        let hearing = jobs.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    JobmanagerEvent::JobEnded { account, session, record } => {
                        hearing.ended(&account, &session, record);
                    }
                    JobmanagerEvent::Closed { account, .. } => hearing.jobmanager_gone(&account),
                    JobmanagerEvent::RecordSeen { account, session, .. } => {
                        hearing.record_seen(&account, &session);
                    }
                    JobmanagerEvent::WorkerEnded { .. } => {}
                }
            }
        });
        Gatekeeper { jobs, grants, groups }
    }
}

impl Gatekeeper {
    async fn caller(&self, subject: Option<SubjectDn>, address: &str) -> CallerGrant {
        let address: IpAddr = address.parse().unwrap();
        let claim = JudgedBy {
            subject,
            issuer: None,
            proxy: None,
            account: None,
            lowered: None,
            address: address_prefix(address),
        };
        self.judged(claim, address).await
    }

    async fn judged(&self, claim: JudgedBy, address: IpAddr) -> CallerGrant {
        let grant = self.grants.of(&claim, address).await.unwrap();
        CallerGrant::new(claim, address, grant, "test".to_owned())
    }

    async fn alice(&self) -> CallerGrant {
        self.caller(Some(subject("Alice")), "127.0.0.1").await
    }

    async fn submit(&self, who: &CallerGrant) -> Result<String, Fault> {
        let session = self.jobs.submit(who, ask(1.0)).await?;
        Ok(session.reveal().to_owned())
    }

    async fn prepare(&self, who: &CallerGrant) -> (String, String) {
        let (session, path) = self.jobs.prepare(who, "s", "m", 1.0).await.unwrap();
        (session.reveal().to_owned(), path)
    }

    fn state(&self, session: &str) -> String {
        self.member(session, "state").as_str().unwrap().to_owned()
    }

    fn member(&self, session: &str, name: &str) -> Value {
        let Value::Struct(members) = self.jobs.status_value(session).unwrap() else { panic!() };
        members.get(name).cloned().unwrap_or(Value::Nil)
    }

    async fn until_state(&self, session: &str, state: JobState) {
        let since = Instant::now();
        while self.state(session) != state.as_str() {
            let now = self.jobs.status_value(session).unwrap();
            assert!(since.elapsed() < PATIENCE, "{state} was waited for in vain: {now:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The end of a gatekeeper by `kill -9`, as far as others can see.
    fn crash(self) {
        self.jobs.core.stop.send_replace(true);
        self.jobs.core.steps.close_for_test();
    }
}

fn ask(seconds: f64) -> Submission {
    Submission {
        service: "sleepy".to_owned(),
        method: "sleepyAdd".to_owned(),
        seconds,
        session: None,
        command: Command::Argv(vec![b"/bin/true".to_vec()]),
        shell_allowed: false,
        batch: None,
    }
}

fn ask_in(session: &str) -> Submission {
    Submission { session: Some(session.to_owned()), ..ask(1.0) }
}

async fn wait(mut is_so: impl FnMut() -> bool, what: &str) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn fault_text<T: std::fmt::Debug>(outcome: Result<T, Fault>) -> String {
    let fault = outcome.unwrap_err();
    format!("{}: {}", fault.code.number(), fault.text)
}

fn number<T>(outcome: Result<T, Fault>) -> i64 {
    outcome.err().map_or(0, |fault| fault.code.number())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_durable_before_it_is_started_and_ends_with_its_figures() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
    assert_eq!(gatekeeper.state(&session), "running");

    // What a crash at the very moment of the start would have left.
    let copy = machine.standin.state().copies.pop().unwrap();
    let (_journal, loaded) = Journal::open(&copy.path().join("journal.sqlite")).unwrap();
    let (row, job) = loaded.sessions.into_iter().next().unwrap();
    let job = job.unwrap();
    assert_eq!(row.id.reveal(), session);
    assert_eq!((job.state, job.command), (JobState::Queued, Some(ask(1.0).command)));

    let order = machine.standin.state().asked.clone();
    assert_eq!(order, ["judge", "start", "admit", "leaf_make", "prepare", "start_job"]);

    let leaf = format!("j{}", job.tag);
    machine.standin.state().leaves.get_mut(&leaf).unwrap().cpu_usec = 700_000;
    // The record says less than the leaf: the larger is charged.
    machine.standin.end(&session, &record("exited", Some(3), None, 500_000));
    gatekeeper.until_state(&session, JobState::Failed).await;
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(0.7));
    assert_eq!(gatekeeper.member(&session, "wall_seconds"), Value::Double(2.0));
    assert_eq!(gatekeeper.member(&session, "exit_code"), Value::Int(3));
    assert_eq!(gatekeeper.member(&session, "reason"), "exit code 3".into());
    assert!(machine.standin.state().leaves.is_empty());

    let text = gatekeeper.jobs.status_text(&session).await.unwrap();
    let url = format!("http://files.example:8080/sandboxes/{session}/");
    assert!(text.starts_with("state: failed\ncpu: 0.7 s of 1 s\n"), "{text}");
    assert!(text.ends_with(&format!("\n\na b.txt 12 {url}a%20b.txt\n")), "{text}");
    assert_eq!(gatekeeper.jobs.url(&session).unwrap(), url);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_is_judged_with_who_asks() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    assert_eq!(gatekeeper.jobs.account_for(&alice, 59.5).await.unwrap(), "alice");
    let check = async |submission: Submission, code: i64, text: &str| {
        let fault = gatekeeper.jobs.submit(&alice, submission).await.unwrap_err();
        assert_eq!((fault.code.number(), fault.text.as_str()), (code, text));
    };
    check(ask(60.5), 413, "asked for 61 CPU seconds, the limit of level strong is 60").await;
    let fault = gatekeeper.jobs.prepare(&alice, "s", "m", 61.0).await.unwrap_err();
    assert_eq!(fault.code.number(), 413);
    check(
        Submission { command: Command::Argv(Vec::new()), ..ask(1.0) },
        -32602,
        "the command is empty",
    )
    .await;
    let shell = Submission { command: Command::Shell("true".to_owned()), ..ask(1.0) };
    let text = "this service may not run shell text: pass a list of arguments";
    check(shell.clone(), 403, text).await;
    let pbs = Submission { batch: Some("pbs".to_owned()), ..ask(1.0) };
    check(pbs, -32602, "no such batch system: this server has \"local\"").await;
    // Nothing of all that reached a jobmanager; what is allowed does.
    assert_eq!(machine.standin.count("start_job"), 0);
    gatekeeper.jobs.submit(&alice, ask(60.0)).await.unwrap();
    gatekeeper.jobs.submit(&alice, Submission { shell_allowed: true, ..shell }).await.unwrap();
    assert_eq!(machine.standin.count("start_job"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_at_once_are_counted_by_subject_and_by_address_prefix() {
    let mut machine = Machine::with(Limits { jobs_at_once: 2, ..LIMITS });
    machine.slots = 100;
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let first = gatekeeper.submit(&alice).await.unwrap();
    gatekeeper.submit(&alice).await.unwrap();
    assert_eq!(number(gatekeeper.submit(&alice).await), 429);
    let bob = gatekeeper.caller(Some(subject("Bob")), "127.0.0.1").await;
    gatekeeper.submit(&bob).await.unwrap();
    machine.standin.end(&first, &record("exited", Some(0), None, 0));
    gatekeeper.until_state(&first, JobState::Done).await;
    gatekeeper.submit(&alice).await.unwrap();

    // Two addresses of one prefix share; all prefixes together have eight times as many.
    for last in [1, 2] {
        let guest = gatekeeper.caller(None, &format!("192.0.2.{last}")).await;
        gatekeeper.submit(&guest).await.unwrap();
    }
    let guest = gatekeeper.caller(None, "192.0.2.3").await;
    assert_eq!(number(gatekeeper.submit(&guest).await), 429);
    for net in 1..=14 {
        let guest = gatekeeper.caller(None, &format!("198.51.{net}.1")).await;
        gatekeeper.submit(&guest).await.unwrap();
    }
    let guest = gatekeeper.caller(None, "203.0.113.1").await;
    let fault = gatekeeper.submit(&guest).await.unwrap_err();
    assert_eq!(fault.text, "level anonymous allows all its callers together 16 jobs at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_are_given_in_turns_and_the_queue_is_bounded() {
    let mut machine = Machine::new();
    machine.slots = 1;
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let bob = gatekeeper.caller(Some(subject("Bob")), "127.0.0.1").await;
    let one = gatekeeper.submit(&alice).await.unwrap();
    let two = gatekeeper.submit(&alice).await.unwrap();
    let three = gatekeeper.submit(&alice).await.unwrap();
    let bobs = gatekeeper.submit(&bob).await.unwrap();
    assert_eq!(number(gatekeeper.submit(&bob).await), 503);
    assert_eq!(gatekeeper.state(&two), "queued");
    assert_eq!(machine.standin.count("start_job"), 1);
    // A job that waits has its sandbox.
    assert_eq!(machine.standin.state().sandboxes.len(), 4);

    for (ends, next) in [(&one, &two), (&two, &bobs), (&bobs, &three)] {
        machine.standin.end(ends, &record("exited", Some(0), None, 0));
        gatekeeper.until_state(next, JobState::Running).await;
        assert_eq!(gatekeeper.state(ends), "done");
    }
    machine.standin.end(&three, &record("exited", Some(0), None, 0));
    gatekeeper.until_state(&three, JobState::Done).await;
    let health = gatekeeper.jobs.health();
    assert_eq!(health, "jobs: 0 running or starting, 0 waiting, 0 of 1 slots used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_is_gone_before_it_is_said() {
    let mut machine = Machine::new();
    machine.slots = 1;
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let dn = alice.subject.as_ref();
    let running = gatekeeper.submit(&alice).await.unwrap();
    let queued = gatekeeper.submit(&alice).await.unwrap();

    assert_eq!(gatekeeper.jobs.cancel(dn, &queued).await.unwrap(), "cancelled");
    assert_eq!(gatekeeper.state(&queued), "cancelled");
    assert_eq!(machine.standin.count("cancel"), 0);

    machine.standin.state().stubborn = true;
    assert_eq!(gatekeeper.jobs.cancel(dn, &running).await.unwrap(), "asked");
    assert_eq!(gatekeeper.state(&running), "running");
    assert_eq!(gatekeeper.member(&running, "reason"), "asked to end".into());

    machine.standin.state().stubborn = false;
    assert_eq!(gatekeeper.jobs.cancel(dn, &running).await.unwrap(), "cancelled");
    assert_eq!(gatekeeper.jobs.cancel(dn, &running).await.unwrap(), "cancelled");
    // The queued one was never started, and its slot is not lost.
    assert_eq!(machine.standin.count("start_job"), 1);
    let next = gatekeeper.submit(&alice).await.unwrap();
    assert_eq!(gatekeeper.state(&next), "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anothers_session_is_answered_as_an_unknown_one() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    let jobs = &gatekeeper.jobs;
    let alice = gatekeeper.alice().await;
    let bob = gatekeeper.caller(Some(subject("Bob")), "127.0.0.1").await;
    let guest = gatekeeper.caller(None, "127.0.0.1").await;
    let (prepared, path) = gatekeeper.prepare(&alice).await;
    assert_eq!(path, format!("/sandboxes/alice/{prepared}"));
    assert_eq!(jobs.sandbox_path(&prepared).unwrap(), path);
    let running = gatekeeper.submit(&alice).await.unwrap();
    let unknown = "0".repeat(32);
    for who in [&bob, &guest] {
        for session in [running.as_str(), &prepared, &unknown, "no session", ""] {
            let cancel = jobs.cancel(who.subject.as_ref(), session).await.unwrap_err();
            assert_eq!(cancel, Fault::no_such_session(), "{session}");
            let submit = jobs.submit(who, ask_in(session)).await.unwrap_err();
            assert_eq!(submit, Fault::no_such_session(), "{session}");
        }
    }
    assert_eq!(jobs.status_value(&unknown).unwrap_err(), Fault::no_such_session());
    assert_eq!(jobs.status_text("x").await.unwrap_err(), Fault::no_such_session());
    // Whoever holds the id may look.
    assert_eq!(gatekeeper.state(&prepared), "prepared");

    jobs.submit(&alice, ask_in(&prepared)).await.unwrap();
    assert_eq!(number(jobs.submit(&alice, ask_in(&prepared)).await), 409);

    // An anonymous session: the id alone.
    let guests = gatekeeper.submit(&guest).await.unwrap();
    assert_eq!(jobs.cancel(bob.subject.as_ref(), &guests).await.unwrap(), "cancelled");
    assert_eq!(number(jobs.list(None, &Wanted::default())), 401);
    let Value::Array(of_alice) = jobs.list(alice.subject.as_ref(), &Wanted::default()).unwrap()
    else {
        panic!()
    };
    assert_eq!(of_alice.len(), 2);
    assert_eq!(
        jobs.list(bob.subject.as_ref(), &Wanted::default()).unwrap(),
        Value::Array(Vec::new())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_expire_and_what_cannot_be_removed_is_listed() {
    let machine = Machine::with(Limits { retention_seconds: 0, ..LIMITS });
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let (prepared, _) = gatekeeper.prepare(&alice).await;
    machine.standin.state().remove_errno = 1;
    let session = gatekeeper.submit(&alice).await.unwrap();
    machine.standin.end(&session, &record("exited", Some(0), None, 0));
    wait(|| gatekeeper.jobs.url(&session).is_err(), "the session is hidden").await;
    let listed = || {
        let Value::Array(list) =
            gatekeeper.jobs.list(alice.subject.as_ref(), &Wanted::default()).unwrap()
        else {
            panic!()
        };
        list
    };
    let why = Value::from("not everything in the sandbox could be removed");
    let is_listed = || {
        listed().iter().any(|session| match session {
            Value::Struct(members) => members.get("not_removed") == Some(&why),
            _ => false,
        })
    };
    wait(is_listed, "it is listed with the reason").await;
    machine.standin.state().remove_errno = 0;
    wait(|| listed().len() == 1, "it is removed at last").await;
    assert!(machine.standin.count("remove") >= 2);
    assert!(!machine.standin.state().sandboxes.contains_key(&session));

    // The prepared one has its hour, and then goes too.
    assert_eq!(gatekeeper.state(&prepared), "prepared");
    let number = gatekeeper.jobs.core.known(&prepared).unwrap().1;
    gatekeeper.jobs.core.table().expire_at(number, 1);
    wait(|| machine.standin.state().sandboxes.is_empty(), "the unused sandbox is gone").await;
    drop(gatekeeper);
    assert_eq!(machine.gatekeeper().await.jobs.core.table().entries().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gatekeepers_death_loses_no_job() {
    let machine = Machine::new();
    let first = machine.gatekeeper().await;
    let alice = first.alice().await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(first.submit(&alice).await.unwrap());
    }
    let [lives, ended, died, other_boot] = <[String; 4]>::try_from(sessions).unwrap();
    first.crash();
    machine.standin.kill_jobmanager("alice");
    machine.standin.end(&ended, &record("exited", Some(0), None, 900_000));
    machine.standin.state().sandboxes.get_mut(&died).unwrap().shepherd = None;
    // Not the kernel that the journal's shepherd ran under.
    reboot(&machine, &other_boot);

    let second = machine.gatekeeper().await;
    second.until_state(&ended, JobState::Done).await;
    assert_eq!(second.member(&ended, "cpu_seconds"), Value::Double(0.9));
    second.until_state(&died, JobState::Lost).await;
    assert_eq!(second.member(&died, "reason"), "its shepherd ended without a record".into());
    second.until_state(&other_boot, JobState::Lost).await;
    let why = "the machine was restarted while it ran";
    assert_eq!(second.member(&other_boot, "reason"), why.into());
    wait(|| !as_of(&second, &lives).contains("restart"), "the living one is confirmed").await;
    assert_eq!(second.state(&lives), "running");
    assert_eq!(machine.standin.state().leaves.len(), 1);
    assert_eq!(machine.standin.count("start_job"), 4);
    machine.standin.end(&lives, &record("exited", Some(0), None, 0));
    second.until_state(&lives, JobState::Done).await;
    let health = second.jobs.health();
    assert!(health.starts_with("jobs: 0 running or starting, 0 waiting, 0 of"), "{health}");
}

fn as_of(gatekeeper: &Gatekeeper, session: &str) -> String {
    gatekeeper.member(session, "as_of").as_str().unwrap().to_owned()
}

/// Writes another boot id into the journal, with the lease that a gatekeeper would take.
fn reboot(machine: &Machine, session: &str) {
    use nesssi_journal::{Change, Shepherd};
    let path: PathBuf = machine.folder.path().join("state/gatekeeper/journal.sqlite");
    let (journal, loaded) = Journal::open(&path).unwrap();
    let row = loaded.sessions.iter().find(|(row, _)| row.id.reveal() == session).unwrap();
    let shepherd = Shepherd { pid: 1, start_ticks: 1, boot_id: format!("not {BOOT_ID}") };
    let started_ms = crate::clock::now_ms();
    let started = Change::Started { session: row.0.number, leaf: true, shepherd, started_ms };
    journal.write_and_wait(vec![started]).unwrap();
    journal.close();
    machine.standin.state().sandboxes.get_mut(session).unwrap().shepherd = None;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_jobs_are_started_after_a_restart_and_only_once() {
    let mut machine = Machine::new();
    machine.slots = 1;
    let first = machine.gatekeeper().await;
    let alice = first.alice().await;
    let running = first.submit(&alice).await.unwrap();
    let queued = first.submit(&alice).await.unwrap();
    first.crash();
    machine.standin.kill_jobmanager("alice");
    machine.standin.end(&running, &record("exited", Some(0), None, 0));

    let second = machine.gatekeeper().await;
    second.until_state(&queued, JobState::Running).await;
    machine.standin.end(&queued, &record("exited", Some(0), None, 0));
    second.until_state(&queued, JobState::Done).await;
    assert!(machine.standin.state().sandboxes.values().all(|sandbox| sandbox.starts == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_between_the_start_and_its_record_finds_the_job_running() {
    let machine = Machine::new();
    let first = machine.gatekeeper().await;
    let session = first.submit(&first.alice().await).await.unwrap();
    first.jobs.give_up().await;
    // The disk as it was when the jobmanager was asked to start it.
    let journal = machine.standin.state().journal.clone();
    let copy = machine.standin.state().copies.remove(0);
    std::fs::remove_dir_all(journal.parent().unwrap()).unwrap();
    std::fs::create_dir(journal.parent().unwrap()).unwrap();
    for name in ["journal.sqlite", "journal.sqlite-wal"] {
        std::fs::copy(copy.path().join(name), journal.with_file_name(name)).unwrap();
    }
    // Neither the jobmanager that started it lives: only its guard names its shepherd.
    machine.standin.kill_jobmanager("alice");
    let second = machine.gatekeeper().await;
    second.until_state(&session, JobState::Running).await;
    let shepherd = machine.standin.state().sandboxes[&session].shepherd.clone().unwrap();
    assert_eq!(machine.standin.state().adopted, [0]);
    second.jobs.give_up().await;

    // The name was journaled: the third one asks for it.
    machine.standin.kill_jobmanager("alice");
    let third = machine.gatekeeper().await;
    wait(|| machine.standin.count("adopt") == 2, "adopted once more").await;
    assert_eq!(machine.standin.state().adopted, [0, shepherd.pid]);
    assert_eq!(third.state(&session), "running");
    machine.standin.end(&session, &record("exited", Some(0), None, 0));
    third.until_state(&session, JobState::Done).await;
    assert_eq!(machine.standin.state().sandboxes[&session].starts, 1);
}

/// A backup knows a job as waiting that has run since. Its sandbox says so, or is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_journal_starts_nothing_that_may_have_run() {
    for is_gone in [false, true] {
        let machine = Machine::new();
        let first = machine.gatekeeper().await;
        let session = first.submit(&first.alice().await).await.unwrap();
        machine.standin.end(&session, &record("exited", Some(0), None, 0));
        first.until_state(&session, JobState::Done).await;
        first.crash();
        machine.standin.kill_jobmanager("alice");
        let journal = machine.standin.state().journal.clone();
        let left = machine.standin.state().copies.remove(0);
        let backup = left.path().join("backup");
        let holds = nesssi_journal::back_up(&left.path().join("journal.sqlite"), &backup).unwrap();
        assert_eq!((holds.sessions, holds.open_jobs), (1, 1));
        nesssi_journal::mark_restored(&backup, Some(&journal)).unwrap();
        std::fs::remove_dir_all(journal.parent().unwrap()).unwrap();
        std::fs::create_dir(journal.parent().unwrap()).unwrap();
        std::fs::copy(&backup, &journal).unwrap();
        if is_gone {
            machine.standin.state().sandboxes.remove(&session);
        }
        let second = machine.gatekeeper().await;
        let state = if is_gone { JobState::Lost } else { JobState::Done };
        second.until_state(&session, state).await;
        assert_eq!(machine.standin.count("start_job"), 1);
        // A job of after the restore is one like any other.
        let next = second.submit(&second.alice().await).await.unwrap();
        second.until_state(&next, JobState::Running).await;
        assert_eq!(machine.standin.count("start_job"), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_was_overtaken_by_an_earlier_one_adopts_that() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    machine.standin.state().overtaken = true;
    let session = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
    gatekeeper.until_state(&session, JobState::Running).await;
    machine.standin.end(&session, &record("exited", Some(0), None, 0));
    gatekeeper.until_state(&session, JobState::Done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_cannot_be_had_is_said_and_tried_again() {
    let machine = Machine::new();
    let first = machine.gatekeeper().await;
    let session = first.submit(&first.alice().await).await.unwrap();
    first.crash();
    machine.standin.kill_jobmanager("alice");
    machine.standin.state().tend_refused = true;
    let second = machine.gatekeeper().await;
    wait(|| as_of(&second, &session).ends_with("(its account may not be used now)"), "said").await;
    assert_eq!(second.state(&session), "running");
    machine.standin.state().tend_refused = false;
    wait(|| as_of(&second, &session).ends_with('Z'), "confirmed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_start_is_neither_lost_nor_doubled() {
    for started_before_death in [false, true] {
        let machine = Machine::new();
        let gatekeeper = machine.gatekeeper().await;
        {
            let mut state = machine.standin.state();
            state.die_at_start = 1;
            state.start_before_death = started_before_death;
        }
        let session = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
        gatekeeper.until_state(&session, JobState::Running).await;
        assert_eq!(machine.standin.state().sandboxes[&session].starts, 1);
        machine.standin.end(&session, &record("exited", Some(0), None, 0));
        gatekeeper.until_state(&session, JobState::Done).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_is_cut_off_before_the_payload_has_run_is_begun_anew() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    machine.standin.state().cut_off = 2;
    let session = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
    gatekeeper.until_state(&session, JobState::Running).await;
    assert_eq!(machine.standin.count("start_job"), 3);
    machine.standin.end(&session, &record("exited", Some(0), None, 0));
    gatekeeper.until_state(&session, JobState::Done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_always_kills_its_jobmanager_is_given_up() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    machine.standin.state().die_at_start = 100;
    let session = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
    gatekeeper.until_state(&session, JobState::Failed).await;
    assert_eq!(machine.standin.count("start_job"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jobmanagers_death_leaves_its_jobs_watched() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let session = gatekeeper.submit(&alice).await.unwrap();
    machine.standin.kill_jobmanager("alice");
    wait(|| machine.standin.count("adopt") == 1, "its shepherd is adopted").await;
    machine.standin.end(&session, &record("exited", Some(0), None, 0));
    gatekeeper.until_state(&session, JobState::Done).await;
    // And the next job goes to the next jobmanager.
    gatekeeper.submit(&alice).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backstop_ends_what_its_shepherd_does_not() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
    let set = |cpu_usec| {
        for leaf in machine.standin.state().leaves.values_mut() {
            leaf.cpu_usec = cpu_usec;
        }
    };
    set(2_900_000);
    wait(|| gatekeeper.member(&session, "cpu_seconds") == Value::Double(2.9), "measured").await;
    assert_eq!(gatekeeper.state(&session), "running");
    set(3_100_000);
    gatekeeper.until_state(&session, JobState::OverLimit).await;
    assert_eq!(gatekeeper.member(&session, "reason"), "used its 1 CPU seconds".into());
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(3.1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_grant_is_judged_again_and_another_accounts_word_is_not_heard() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    machine.standin.state().stale_grants.insert(alice.grant.id);
    let session = gatekeeper.submit(&alice).await.unwrap();
    assert_eq!(machine.standin.count("judge"), 2);
    gatekeeper.jobs.ended("mallory", &session, record("exited", Some(0), None, 0));
    tokio::task::yield_now().await;
    assert_eq!(gatekeeper.state(&session), "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_job_whose_owner_was_mapped_elsewhere_is_not_started() {
    let mut machine = Machine::new();
    machine.slots = 1;
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let running = gatekeeper.submit(&alice).await.unwrap();
    let queued = gatekeeper.submit(&alice).await.unwrap();
    {
        let mut state = machine.standin.state();
        state.account = "alice2".to_owned();
        state.generation = 2;
        state.stale_grants.insert(alice.grant.id);
    }
    gatekeeper.grants.forget_all(2, None);
    machine.standin.end(&running, &record("exited", Some(0), None, 0));
    gatekeeper.until_state(&queued, JobState::Failed).await;
    assert_eq!(machine.standin.count("start_job"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_sandboxes_is_told_and_holds_no_room() {
    let mut machine = Machine::with(Limits { jobs_at_once: 1, ..LIMITS });
    machine.slots = 1;
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    machine.standin.state().prepare_errno = rustix::io::Errno::NOSPC.raw_os_error();
    for _ in 0..3 {
        let fault = gatekeeper.submit(&alice).await.unwrap_err();
        assert_eq!(fault.code.number(), 502);
        assert_eq!(fault.text, "the local batch system refused: no space is left on the device");
    }
    machine.standin.state().prepare_errno = 0;
    gatekeeper.submit(&alice).await.unwrap();
    let leaves = || machine.standin.state().leaves.len();
    wait(|| leaves() == 1, "the leaves of the failed ones are gone").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_leaves_jobs_run_and_end_too() {
    let mut machine = Machine::new();
    machine.leaves = false;
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Nil);
    // Its account's process says what it uses; one request for all jobs of the account.
    let other = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
    machine.standin.state().usage.insert(session.clone(), 800_000);
    let measured = || gatekeeper.member(&session, "cpu_seconds");
    wait(|| measured() == Value::Double(0.8), "measured").await;
    assert_eq!(gatekeeper.member(&other, "cpu_seconds"), Value::Nil);
    assert_eq!(machine.standin.state().usage_asked.last().unwrap(), &[session.clone(), other]);
    // Nothing follows from it; what its shepherd says at the end is the last word.
    machine.standin.state().usage.insert(session.clone(), 9_900_000);
    wait(|| measured() == Value::Double(9.9), "measured again").await;
    assert_eq!(gatekeeper.state(&session), "running");
    machine.standin.end(&session, &record("over_cpu", None, Some(9), 1_200_000));
    gatekeeper.until_state(&session, JobState::OverLimit).await;
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(1.2));
    assert_eq!(machine.standin.count("leaf_kill"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gatekeeper_that_gave_up_takes_nothing_and_its_successor_has_all() {
    let machine = Machine::new();
    let first = machine.gatekeeper().await;
    let alice = first.alice().await;
    let session = first.submit(&alice).await.unwrap();
    first.jobs.give_up().await;
    assert_eq!(number(first.submit(&alice).await), 503);
    let second = machine.gatekeeper().await;
    machine.standin.end(&session, &record("exited", Some(0), None, 0));
    second.until_state(&session, JobState::Done).await;
    assert_eq!(first.state(&session), "running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_a_job_is_audited() {
    let machine = Machine::with(Limits { retention_seconds: 0, ..LIMITS });
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let session = gatekeeper.submit(&alice).await.unwrap();
    let bob = subject("Bob");
    gatekeeper.jobs.cancel(Some(&bob), &session).await.unwrap_err();
    let state = gatekeeper.jobs.cancel(alice.subject.as_ref(), &session).await.unwrap();
    assert_eq!(state, "cancelled");
    wait(|| !machine.standin.state().sandboxes.contains_key(&session), "it is removed").await;
    let table = || gatekeeper.jobs.core.table().entries().count();
    wait(|| table() == 0, "it is forgotten").await;
    let audit = &gatekeeper.jobs.core.needs.audit;
    let path = machine.folder.path().join("audit.jsonl");
    let mut lines = Vec::new();
    // The line about the removal comes a moment after it.
    for _ in 0..100 {
        audit.flush().await;
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&session), "a session's id stands in no log");
        lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if lines.len() == 4 {
            break;
        }
    }
    let events: Vec<&str> =
        lines.iter().map(|line: &serde_json::Value| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["job_admitted", "cancel_asked", "job_ended", "session_removed"]);
    assert!(lines.iter().all(|line| line["session"] == session[..8]), "{lines:?}");
    let [admitted, asked, ended, _] = &lines[..] else { panic!("{lines:?}") };
    for line in [admitted, asked] {
        assert_eq!(line["subject"], subject("Alice").to_string());
    }
    assert_eq!((&admitted["account"], &admitted["level"]), (&"alice".into(), &"strong".into()));
    assert_eq!(admitted["cpu_seconds_max"], 1);
    assert_eq!(admitted["wall_seconds_max"], LIMITS.wall_seconds);
    assert_eq!((&ended["state"], &ended["reason"]), (&"cancelled".into(), &"cancelled".into()));
    assert!(ended["cpu_usec"].is_u64(), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_s_cpu_seconds_are_reserved_charged_and_remembered() {
    let machine = Machine::with(Limits { cpu_seconds_per_day: 20, ..LIMITS });
    let gatekeeper = machine.gatekeeper().await;
    let who = gatekeeper.alice().await;
    let session = gatekeeper.jobs.submit(&who, ask(15.0)).await.unwrap();
    let session = session.reveal().to_owned();
    let over = |left: u32| {
        format!(
            "413: asked for 6 CPU seconds, level strong allows 20 a day: {left} are left until 2"
        )
    };
    // What runs is reserved in full.
    let told = fault_text(gatekeeper.jobs.submit(&who, ask(6.0)).await);
    assert!(told.starts_with(&over(5)), "{told}");
    let told = fault_text(gatekeeper.jobs.prepare(&who, "s", "m", 6.0).await);
    assert!(told.starts_with(&over(5)), "{told}");
    assert_eq!(gatekeeper.jobs.account_for(&who, 6.0).await.unwrap(), "alice");
    // What it has used is charged, the rest is free again.
    machine.standin.end(&session, &record("exited", Some(0), None, 12_500_000));
    gatekeeper.until_state(&session, JobState::Done).await;
    let told = fault_text(gatekeeper.jobs.submit(&who, ask(8.0)).await);
    assert!(told.contains("7 are left"), "{told}");
    gatekeeper.jobs.charge_call(&who, 1_000_000);
    let level = who.grant.level.clone();
    let used = |gatekeeper: &Gatekeeper| {
        let (today, jobs) = gatekeeper.jobs.today(who.subject.as_ref(), who.address, &level);
        (today.own.cpu_usec, today.own.reserved_seconds, jobs)
    };
    assert_eq!(used(&gatekeeper), (13_500_000, 0, 0));
    gatekeeper.jobs.give_up().await;
    drop(gatekeeper);

    // Another gatekeeper knows what was used, and what is reserved.
    let gatekeeper = machine.gatekeeper().await;
    assert_eq!(used(&gatekeeper), (13_500_000, 0, 0));
    let who = gatekeeper.alice().await;
    gatekeeper.jobs.submit(&who, ask(6.0)).await.unwrap();
    assert_eq!(used(&gatekeeper), (13_500_000, 6, 1));
    gatekeeper.crash();
    let gatekeeper = machine.gatekeeper().await;
    assert_eq!(used(&gatekeeper), (13_500_000, 6, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anonymous_callers_have_a_budget_each_and_one_together() {
    let machine = Machine::with(Limits { cpu_seconds_per_day: 10, jobs_at_once: 100, ..LIMITS });
    let gatekeeper = machine.gatekeeper().await;
    let of = async |net: u32| gatekeeper.caller(None, &format!("198.51.{net}.1")).await;
    for net in 0..8 {
        gatekeeper.jobs.charge_call(&of(net).await, 9_000_000);
    }
    let told = fault_text(gatekeeper.jobs.submit(&of(3).await, ask(2.0)).await);
    assert!(told.contains("level anonymous allows 10 a day: 1 are left"), "{told}");
    let told = fault_text(gatekeeper.jobs.submit(&of(100).await, ask(9.0)).await);
    let all = "level anonymous allows all its anonymous callers together 80 a day: 8 are left";
    assert!(told.contains(all), "{told}");
    gatekeeper.jobs.submit(&of(100).await, ask(8.0)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_proxy_submits_and_prepares_nothing() {
    let machine = Machine::new();
    machine.standin.state().reads_only = true;
    let gatekeeper = machine.gatekeeper().await;
    let who = gatekeeper.alice().await;
    let expected = "403: a limited proxy may read, and start nothing";
    assert_eq!(fault_text(gatekeeper.jobs.submit(&who, ask(1.0)).await), expected);
    assert_eq!(fault_text(gatekeeper.jobs.prepare(&who, "s", "m", 1.0).await), expected);
    assert_eq!(machine.standin.state().asked, ["judge"], "nobody was bothered with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queued_job_is_judged_for_the_account_and_level_it_was_admitted_with() {
    let mut machine = Machine::new();
    machine.slots = 1;
    let gatekeeper = machine.gatekeeper().await;
    let who = gatekeeper.alice().await;
    let first = gatekeeper.submit(&who).await.unwrap();
    let second = gatekeeper.submit(&who).await.unwrap();
    machine.standin.state().claims.clear();
    machine.standin.end(&first, &record("exited", Some(0), None, 0));
    gatekeeper.until_state(&second, JobState::Running).await;
    let claims = machine.standin.state().claims.clone();
    assert_eq!(claims, [(Some("alice".to_owned()), Some("strong".to_owned()))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vo_groups_are_durable_before_they_are_in_force() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    gatekeeper.groups.set_roots(&[subject("Boss")]);
    let by = || super::Asker { subject: subject("Boss"), request_id: "r".to_owned() };
    let group = "atlas".to_owned();
    let changes = [
        VoChange::Create { group: group.clone() },
        VoChange::AddMember { group: group.clone(), subject: subject("Alice") },
    ];
    for change in changes.clone() {
        gatekeeper.jobs.change_groups(by(), change).await.unwrap();
    }
    // At once: each finds the tree as the others have left it.
    let many = (0..20).map(|n| {
        let (jobs, by) = (gatekeeper.jobs.clone(), by());
        let change = VoChange::Create { group: format!("g{}", n % 10) };
        tokio::spawn(async move { number(jobs.change_groups(by, change).await) })
    });
    let mut outcomes = Vec::new();
    for one in many.collect::<Vec<_>>() {
        outcomes.push(one.await.unwrap());
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, [[0; 10], [409; 10]].concat());
    gatekeeper.crash();
    let gatekeeper = machine.gatekeeper().await;
    let tree = gatekeeper.groups.now();
    assert_eq!(tree.groups().count(), 11);
    assert_eq!(tree.members("atlas").unwrap(), [&subject("Alice")]);
}
