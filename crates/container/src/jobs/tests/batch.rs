//! Jobs of a batch system, by one that stands in for a real one.

use std::time::{Duration, Instant};

use nesssi_job::JobState;
use nesssi_policy::Limits;
use nesssi_privsep::messages::ToJobmanager;
use nesssi_rpc::{Fault, Value};

use super::cluster::{BatchJob, Submit};
use super::{
    Gatekeeper, LIMITS, Machine, PATIENCE, Submission, ask, fault_text, record, subject, wait,
};
use crate::grants::CallerGrant;

const SLURM: &str = "[batch.slurm]\n\
    submit = \"/usr/bin/sbatch\"\nstatus = \"/usr/bin/squeue\"\ncancel = \"/usr/bin/scancel\"\n\
    commands_at_once = 4\npoll_seconds_min = 1\npoll_seconds_max = 60\n\
    directives = [\"queue=batch\", \"cpus=2\"]\n";

fn machine() -> Machine {
    machine_with(LIMITS, "")
}

/// `more` are keys of the batch system.
fn machine_with(limits: Limits, more: &str) -> Machine {
    let mut machine = Machine::with(limits);
    machine.batch = format!("{SLURM}{more}");
    machine
}

fn batch_ask() -> Submission {
    Submission { batch: Some("slurm".to_owned()), ..ask(1.0) }
}

impl Gatekeeper {
    async fn give(&self, who: &CallerGrant) -> Result<String, Fault> {
        let session = self.jobs.submit(who, batch_ask()).await?;
        Ok(session.reveal().to_owned())
    }

    async fn until(&self, session: &str, member: &str, is_so: impl Fn(&Value) -> bool) {
        let since = Instant::now();
        while !is_so(&self.member(session, member)) {
            let now = self.jobs.status_value(session).unwrap();
            assert!(since.elapsed() < PATIENCE, "{member} was waited for in vain: {now:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Machine {
    /// Waits until the batch system has a session's job; its id.
    async fn placed(&self, session: &str) -> String {
        wait(|| self.standin.batch_id(session).is_some(), "the batch system has it").await;
        self.standin.batch_id(session).unwrap()
    }

    /// Every session's payload was started once at most, and none of the batch system's jobs is left.
    fn once(&self) {
        let state = self.standin.state();
        assert!(state.cluster.payloads.values().all(|starts| *starts == 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_job_is_durable_submitted_seen_to_run_and_ends_with_its_figures() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    assert_eq!(gatekeeper.state(&session), "queued");
    assert_eq!(gatekeeper.member(&session, "batch"), "slurm".into());
    // What a crash at the very moment of the submission would have left.
    let copy = machine.standin.state().copies.pop().unwrap();
    let (_journal, loaded) =
        nesssi_journal::Journal::open(&copy.path().join("journal.sqlite")).unwrap();
    let job = loaded.sessions.into_iter().next().unwrap().1.unwrap();
    assert_eq!((job.state, job.batch.as_str(), job.batch_id), (JobState::Queued, "slurm", None));
    {
        let state = machine.standin.state();
        let [ToJobmanager::SubmitBatch { tag, batch, cpus, memory_bytes, directives, .. }] =
            &state.cluster.told[..]
        else {
            panic!("{:?}", state.cluster.told)
        };
        assert_eq!(
            (tag, batch.as_str(), *cpus, *memory_bytes),
            (&job.tag.to_string(), "slurm", 2, 0)
        );
        assert_eq!(directives, &["queue=batch"]);
        assert!(!state.asked.contains(&"leaf_make".to_owned()), "{:?}", state.asked);
    }
    let id = machine.placed(&session).await;
    gatekeeper.until(&session, "comment", |comment| *comment == "Priority".into()).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
    // The record finishes it at once, once the batch system has it no more.
    machine.standin.batch_end(&id, Some(&record("exited", Some(3), None, 500_000)), None);
    gatekeeper.until_state(&session, JobState::Failed).await;
    assert_eq!(gatekeeper.member(&session, "reason"), "exit code 3".into());
    assert_eq!(gatekeeper.member(&session, "exit_code"), Value::Int(3));
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(0.5));
    assert_eq!(gatekeeper.member(&session, "wall_seconds"), Value::Double(2.0));
    let who = gatekeeper.alice().await;
    let (today, active) =
        gatekeeper.jobs.today(who.subject.as_ref(), who.address, &who.grant.level);
    assert_eq!((today.own.cpu_usec, today.own.reserved_seconds, active), (500_000, 0, 0));
    machine.once();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_typed_and_holds_no_room() {
    let machine = machine_with(Limits { jobs_at_once: 1, ..LIMITS }, "");
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    for (refusal, words) in [
        ("policy", "qsub: Unauthorized Request"),
        ("quota", "AssocMaxSubmitJobLimit"),
        ("syntax", "illegal -l"),
        ("unknown_queue", "invalid partition specified: nosuch"),
        ("unknown", "moon phase"),
    ] {
        machine.standin.state().cluster.next.push_back(Submit::Refused(refusal, words));
        let told = fault_text(gatekeeper.give(&alice).await);
        let kind = refusal.replace('_', " ");
        let expected = format!("502: the batch system slurm refused the job ({kind}): {words}");
        assert_eq!(told, expected);
    }
    machine.standin.state().cluster.down = Some("Unable to contact slurm controller");
    let told = fault_text(gatekeeper.give(&alice).await);
    assert_eq!(told, "503: the batch system slurm is down: Unable to contact slurm controller");
    machine.standin.state().cluster.down = None;
    gatekeeper.give(&alice).await.unwrap();
    let sessions = gatekeeper.jobs.list(alice.subject.as_ref(), &super::Wanted::default()).unwrap();
    let Value::Array(sessions) = sessions else { panic!() };
    assert_eq!(sessions.len(), 7);
    let nosuch = Submission { batch: Some("pbs".to_owned()), ..ask(1.0) };
    let told = fault_text(gatekeeper.jobs.submit(&alice, nosuch).await);
    assert_eq!(told, "-32602: no such batch system: this server has \"local\", \"slurm\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_submission_is_answered_with_the_session_and_goes_on() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    machine.standin.state().cluster.next.push_back(Submit::After(900));
    let since = Instant::now();
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    assert!(since.elapsed() < Duration::from_millis(850), "{:?}", since.elapsed());
    assert_eq!(gatekeeper.state(&session), "queued");
    let as_of = gatekeeper.member(&session, "as_of").as_str().unwrap().to_owned();
    assert!(as_of.contains("(being submitted)"), "{as_of}");
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_submissions_of_an_account_are_under_way_and_the_others_wait() {
    let machine = machine_with(Limits { jobs_at_once: 100, ..LIMITS }, "queue_max = 10\n");
    let gatekeeper = machine.gatekeeper().await;
    machine.standin.state().cluster.next.extend(vec![Submit::After(60); 10]);
    let alice = gatekeeper.alice().await;
    let since = Instant::now();
    let many = (0..11).map(|_| {
        let (jobs, alice) = (gatekeeper.jobs.clone(), alice.clone());
        tokio::spawn(async move { jobs.submit(&alice, batch_ask()).await })
    });
    let mut faults = Vec::new();
    for one in many.collect::<Vec<_>>() {
        faults.extend(one.await.unwrap().err());
    }
    let texts: Vec<String> = faults.iter().map(|fault| fault.text.clone()).collect();
    assert_eq!(texts, ["the queue is full: try again later"]);
    assert_eq!(machine.standin.state().cluster.submitting_most, 4);
    assert!(since.elapsed() >= Duration::from_millis(180));
    assert_eq!(machine.standin.commands("submit"), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_makes_no_sense_is_looked_for_and_adopted() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    machine.standin.state().cluster.next.push_back(Submit::Garbage);
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    assert_eq!(machine.standin.commands("submit"), 1);
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
    machine.standin.batch_end(&id, Some(&record("exited", Some(0), None, 0)), None);
    gatekeeper.until_state(&session, JobState::Done).await;
    assert_eq!(machine.standin.commands("submit"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_certainly_was_not_taken_is_submitted_again_and_given_up_in_the_end() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    machine.standin.state().cluster.next.push_back(Submit::Nothing);
    let session = gatekeeper.give(&alice).await.unwrap();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
    assert_eq!(machine.standin.commands("submit"), 2);

    machine.standin.state().cluster.next.extend(vec![Submit::Nothing; 3]);
    let told = fault_text(gatekeeper.give(&alice).await);
    assert_eq!(told, "502: the batch system slurm did not take it: Socket timed out");
    assert_eq!(machine.standin.commands("submit"), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jobmanager_that_dies_while_it_submits_loses_and_doubles_nothing() {
    for taken in [false, true] {
        let machine = machine();
        let gatekeeper = machine.gatekeeper().await;
        machine.standin.state().cluster.next.push_back(Submit::Dies { taken, lock_ms: 150 });
        let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
        let id = machine.placed(&session).await;
        machine.standin.batch_run(&id);
        gatekeeper.until_state(&session, JobState::Running).await;
        machine.standin.batch_end(&id, Some(&record("exited", Some(0), None, 0)), None);
        gatekeeper.until_state(&session, JobState::Done).await;
        assert_eq!(machine.standin.commands("submit"), if taken { 1 } else { 2 });
        machine.once();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gatekeeper_that_dies_at_any_moment_loses_and_doubles_nothing() {
    // While the command runs; it will have been taken, or not.
    for taken in [false, true] {
        let machine = machine();
        let first = machine.gatekeeper().await;
        machine.standin.state().cluster.next.push_back(Submit::Dies { taken, lock_ms: 300 });
        let (jobs, alice) = (first.jobs.clone(), first.alice().await);
        let call = tokio::spawn(async move { jobs.submit(&alice, batch_ask()).await });
        wait(|| machine.standin.commands("submit") == 1, "it is being submitted").await;
        let session = machine.standin.state().sandboxes.keys().next().unwrap().clone();
        first.crash();
        let second = machine.gatekeeper().await;
        assert_eq!(second.state(&session), "queued");
        let id = machine.placed(&session).await;
        machine.standin.batch_run(&id);
        second.until_state(&session, JobState::Running).await;
        let submissions = machine.standin.commands("submit");
        // The next one finds it by its id.
        second.crash();
        let third = machine.gatekeeper().await;
        assert_eq!(third.state(&session), "running");
        machine.standin.batch_end(&id, Some(&record("exited", Some(0), None, 7)), None);
        third.until_state(&session, JobState::Done).await;
        assert_eq!(machine.standin.commands("submit"), submissions);
        assert!(submissions <= 2);
        machine.once();
        call.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ran_and_was_forgotten_while_nobody_looked_ends_by_its_record() {
    let machine = machine();
    let first = machine.gatekeeper().await;
    let session = first.give(&first.alice().await).await.unwrap();
    let id = machine.placed(&session).await;
    first.crash();
    machine.standin.batch_run(&id);
    machine.standin.batch_end(&id, Some(&record("exited", Some(0), None, 900_000)), None);
    let second = machine.gatekeeper().await;
    second.until_state(&session, JobState::Done).await;
    assert_eq!(second.member(&session, "cpu_seconds"), Value::Double(0.9));
    assert_eq!(machine.standin.commands("submit"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_without_an_id_is_adopted_by_its_guard_too() {
    // Its answer was lost, it ran, and the batch system has forgotten it.
    let machine = machine();
    let first = machine.gatekeeper().await;
    machine.standin.state().cluster.next.push_back(Submit::Garbage);
    machine.standin.state().cluster.unread = 1;
    let session = first.give(&first.alice().await).await.unwrap();
    first.crash();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    machine.standin.batch_end(&id, Some(&record("exited", Some(0), None, 0)), None);
    let second = machine.gatekeeper().await;
    second.until_state(&session, JobState::Done).await;
    assert_eq!(machine.standin.commands("submit"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_cannot_be_read_whole_starts_nothing_again() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    {
        let mut state = machine.standin.state();
        state.cluster.next.push_back(Submit::Nothing);
        state.cluster.unread = 1;
    }
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    wait(|| machine.standin.commands("list") >= 3, "it is looked for").await;
    assert_eq!(machine.standin.commands("submit"), 1);
    gatekeeper
        .until(&session, "as_of", |as_of| as_of.as_str().unwrap().contains("read whole"))
        .await;
    machine.standin.state().cluster.unread = 0;
    machine.placed(&session).await;
    assert_eq!(machine.standin.commands("submit"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_there_twice_runs_once_and_the_other_is_removed() {
    for first_wins in [true, false] {
        let machine = machine();
        let gatekeeper = machine.gatekeeper().await;
        let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
        let id = machine.placed(&session).await;
        {
            let mut state = machine.standin.state();
            let job = state.cluster.jobs[&id].clone();
            state.cluster.jobs.insert("900".to_owned(), job);
        }
        wait(|| machine.standin.commands("list") >= 3, "both are seen").await;
        assert_eq!(machine.standin.commands("cancel"), 0, "before one has begun, neither is ended");
        let (winner, other) = if first_wins { (id.as_str(), "900") } else { ("900", id.as_str()) };
        machine.standin.batch_run(winner);
        let removed = || !machine.standin.state().cluster.jobs.contains_key(other);
        wait(removed, "the other is removed").await;
        gatekeeper.until_state(&session, JobState::Running).await;
        machine.standin.batch_end(winner, Some(&record("exited", Some(0), None, 0)), None);
        gatekeeper.until_state(&session, JobState::Done).await;
        machine.once();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_given_twice_neither_ends_nor_cancels_anothers_job() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let who = gatekeeper.alice().await;
    let session = gatekeeper.give(&who).await.unwrap();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
    {
        // The batch system has lost its memory, and gives the number to another's job.
        let mut state = machine.standin.state();
        let other = BatchJob {
            name: "nesssi-ffffffffffffffff".to_owned(),
            owner: "bob".to_owned(),
            session: String::new(),
            state: "ended",
            end: Some(("exited", 0)),
            cpu_seconds: Some(9_999),
            wall_seconds: None,
            comment: String::new(),
        };
        state.cluster.jobs.insert(id.clone(), other);
    }
    let told = gatekeeper.jobs.cancel(who.subject.as_ref(), &session).await.unwrap();
    assert!(["asked", "cancelled"].contains(&told.as_str()), "{told}");
    gatekeeper.until_state(&session, JobState::Cancelled).await;
    assert_eq!(machine.standin.commands("cancel"), 0);
    let used = gatekeeper.member(&session, "cpu_seconds");
    let Value::Double(used) = used else { panic!("{used:?}") };
    assert!(used < 60.0, "{used}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_says_what_it_came_to() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let who = gatekeeper.alice().await;
    let cancel =
        async |session: &str| gatekeeper.jobs.cancel(who.subject.as_ref(), session).await.unwrap();
    // One that waits in the batch system, and one that runs.
    let waits = gatekeeper.give(&who).await.unwrap();
    machine.placed(&waits).await;
    assert_eq!(cancel(&waits).await, "cancelled");
    assert_eq!(gatekeeper.member(&waits, "reason"), "cancelled before it was started".into());
    let runs = gatekeeper.give(&who).await.unwrap();
    let id = machine.placed(&runs).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&runs, JobState::Running).await;
    assert_eq!(cancel(&runs).await, "cancelled");
    assert_eq!(cancel(&runs).await, "cancelled");
    // One that the batch system refuses to end.
    let kept = gatekeeper.give(&who).await.unwrap();
    let id = machine.placed(&kept).await;
    machine.standin.state().cluster.cancel = Some(("refused", "scancel: Access/permission denied"));
    assert_eq!(cancel(&kept).await, "refused");
    let comment = gatekeeper.member(&kept, "comment");
    assert_eq!(comment, "scancel: Access/permission denied".into());
    // One that goes on in spite of it.
    machine.standin.state().cluster.cancel = Some(("asked", ""));
    assert_eq!(cancel(&kept).await, "asked");
    machine.standin.state().cluster.cancel = None;
    machine.standin.batch_end(&id, None, None);
    gatekeeper.until_state(&kept, JobState::Cancelled).await;
    // One that is still being submitted.
    machine.standin.state().cluster.next.push_back(Submit::After(500));
    let late = gatekeeper.give(&who).await.unwrap();
    assert_eq!(cancel(&late).await, "cancelled");
    // And another's is none.
    let other = gatekeeper.jobs.cancel(Some(&subject("Bob")), &late).await;
    assert_eq!(other.unwrap_err().code.number(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_system_that_is_down_is_left_alone_longer_and_loses_nothing() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
    machine.standin.state().cluster.down = Some("slurm_load_jobs error");
    let health = || gatekeeper.jobs.health();
    gatekeeper
        .until(&session, "as_of", |as_of| as_of.as_str().unwrap().contains("does not answer"))
        .await;
    assert!(health().contains("slurm down, 1 running, 0 waiting"), "{}", health());
    assert!(health().contains("slurm_load_jobs error"), "{}", health());
    machine.standin.batch_end(&id, Some(&record("exited", Some(0), None, 0)), None);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(gatekeeper.state(&session), "running", "nothing is known of it now");
    let asked = machine.standin.commands("list") + machine.standin.commands("look");
    assert!(asked < 30, "{asked} commands while it was down");
    machine.standin.state().cluster.down = None;
    gatekeeper.until_state(&session, JobState::Done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_is_lost_after_a_while_and_is_looked_for_before_it_is_removed() {
    let machine = machine_with(Limits { retention_seconds: 0, ..LIMITS }, "");
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
    let job = machine.standin.state().cluster.jobs.remove(&id).unwrap();
    let events = &mut gatekeeper.jobs.events();
    // It is there again by then, and its sandbox is kept until it is not.
    machine.standin.state().cluster.cancel = Some(("down", "busy"));
    let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    machine.standin.state().cluster.jobs.insert(id.clone(), job);
    assert_eq!(event.state, JobState::Lost);
    wait(|| machine.standin.commands("cancel") > 0, "it is ended where it is found").await;
    assert!(machine.standin.state().sandboxes.contains_key(&session));
    machine.standin.state().cluster.jobs.remove(&id);
    let kept = || machine.standin.state().sandboxes.contains_key(&session);
    wait(|| !kept(), "its sandbox is removed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_without_a_record_is_the_batch_systems_and_is_charged_as_wall_time() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let who = gatekeeper.alice().await;
    let ended = async |end, cpu: Option<u64>, wall: Option<u64>| {
        let session = gatekeeper.give(&who).await.unwrap();
        let id = machine.placed(&session).await;
        machine.standin.batch_run(&id);
        gatekeeper.until_state(&session, JobState::Running).await;
        {
            let mut state = machine.standin.state();
            let job = state.cluster.jobs.get_mut(&id).unwrap();
            (job.cpu_seconds, job.wall_seconds) = (cpu, wall);
        }
        machine.standin.batch_end(&id, None, Some(end));
        let not = |state: &Value| *state != "running".into();
        gatekeeper.until(&session, "state", not).await;
        let text = |name| gatekeeper.member(&session, name).as_str().unwrap().to_owned();
        (text("state"), text("reason"), gatekeeper.member(&session, "cpu_seconds"))
    };
    let state =
        |state: &str, reason: &str, cpu| (state.to_owned(), reason.to_owned(), Value::Double(cpu));
    assert_eq!(
        ended(("over_cpu", 0), Some(3), Some(5)).await,
        state("over_limit", "used its 1 CPU seconds: Priority", 3.0)
    );
    assert_eq!(
        ended(("over_wall", 0), None, Some(600)).await,
        state("over_limit", "used its 600 wall seconds: Priority; charged as wall time", 1200.0)
    );
    assert_eq!(
        ended(("node_failed", 0), Some(1), Some(5)).await,
        state("failed", "its node failed: Priority", 1.0)
    );
    assert_eq!(
        ended(("exited", 7), Some(1), None).await,
        state("failed", "exit code 7: Priority", 1.0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_uses_too_much_is_ended_and_told_apart() {
    let machine =
        machine_with(LIMITS, "usage = \"/usr/bin/sstat\"\naccount = \"/usr/bin/sacct\"\n");
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    machine.standin.state().cluster.usage.insert(id.clone(), 20);
    gatekeeper.until(&session, "cpu_seconds", |used| *used == Value::Double(20.0)).await;
    assert_eq!(gatekeeper.state(&session), "running", "its own watcher comes first");
    machine.standin.state().cluster.usage.insert(id.clone(), 40);
    gatekeeper.until_state(&session, JobState::OverLimit).await;
    assert_eq!(gatekeeper.member(&session, "reason"), "used its 1 CPU seconds".into());
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(40.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_its_script_could_not_start_says_why() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let who = gatekeeper.alice().await;
    for (end, state, reason) in [
        (("exited", 90), "failed", "the node does not have its sandbox"),
        (("cancelled", 0), "cancelled", "cancelled in the batch system: Priority"),
        (
            ("start_failed", 0),
            "failed",
            "it was not started: the batch system could not start it: Priority",
        ),
    ] {
        let session = gatekeeper.give(&who).await.unwrap();
        let id = machine.placed(&session).await;
        machine.standin.batch_end(&id, None, Some(end));
        gatekeeper.until(&session, "state", |now| *now != "queued".into()).await;
        assert_eq!(gatekeeper.state(&session), state);
        assert_eq!(gatekeeper.member(&session, "reason"), reason.into());
        assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(0.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_whose_sandbox_was_never_made_is_begun_anew() {
    let machine = machine();
    let first = machine.gatekeeper().await;
    machine.standin.state().cluster.next.push_back(Submit::Dies { taken: false, lock_ms: 300 });
    let (jobs, alice) = (first.jobs.clone(), first.alice().await);
    let call = tokio::spawn(async move { jobs.submit(&alice, batch_ask()).await });
    wait(|| machine.standin.commands("submit") == 1, "its intent is durable").await;
    first.crash();
    let session = {
        let mut state = machine.standin.state();
        state.sandboxes.pop_first().unwrap().0
    };
    let second = machine.gatekeeper().await;
    let id = machine.placed(&session).await;
    assert!(machine.standin.state().sandboxes.contains_key(&session));
    machine.standin.batch_run(&id);
    second.until_state(&session, JobState::Running).await;
    machine.once();
    call.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_is_authorised_again_after_a_restart() {
    let machine = machine();
    let first = machine.gatekeeper().await;
    machine.standin.state().cluster.next.push_back(Submit::Dies { taken: false, lock_ms: 100 });
    let (jobs, alice) = (first.jobs.clone(), first.alice().await);
    let call = tokio::spawn(async move { jobs.submit(&alice, batch_ask()).await });
    wait(|| machine.standin.commands("submit") == 1, "it is being submitted").await;
    let session = machine.standin.state().sandboxes.keys().next().unwrap().clone();
    first.crash();
    machine.standin.state().account = "alice2".to_owned();
    let second = machine.gatekeeper().await;
    second.until_state(&session, JobState::Failed).await;
    let reason = second.member(&session, "reason");
    assert_eq!(reason, "its owner is mapped to another account now".into());
    assert_eq!(machine.standin.commands("submit"), 1);
    call.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gatekeeper_gives_up_with_submissions_under_way_and_its_successor_has_them() {
    let machine = machine_with(Limits { jobs_at_once: 100, ..LIMITS }, "");
    let first = machine.gatekeeper().await;
    let alice = first.alice().await;
    // One is answered in time; the other one when its gatekeeper has gone.
    machine.standin.state().cluster.next.extend([Submit::After(500), Submit::After(1500)]);
    let one = first.give(&alice).await.unwrap();
    let other = first.give(&alice).await.unwrap();
    let since = Instant::now();
    first.jobs.give_up().await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    let second = machine.gatekeeper().await;
    for session in [one, other] {
        let id = machine.placed(&session).await;
        machine.standin.batch_run(&id);
        second.until_state(&session, JobState::Running).await;
    }
    assert_eq!(machine.standin.commands("submit"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_not_depend_on_how_many_ask() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    machine.placed(&session).await;
    let commands = async |readers: usize| {
        let before = machine.standin.state().cluster.commands.len();
        let until = Instant::now() + Duration::from_millis(400);
        while Instant::now() < until {
            for _ in 0..readers {
                gatekeeper.jobs.status_value(&session).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        machine.standin.state().cluster.commands.len() - before
    };
    let (few, many) = (commands(1).await, commands(500).await);
    assert!(many <= few + 3, "{few} commands for one reader, {many} for many");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_lists_its_own_where_it_sees_no_others() {
    let machine = machine_with(LIMITS, "own_jobs_only = true\n");
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
    machine.standin.batch_end(&id, Some(&record("exited", Some(0), None, 0)), None);
    gatekeeper.until_state(&session, JobState::Done).await;
    assert_eq!(machine.standin.count("discover"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_a_shared_file_system_shows_late_is_waited_for() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    let id = machine.placed(&session).await;
    // It ran, and its node alone sees what it wrote.
    machine.standin.batch_end(&id, None, Some(("exited", 0)));
    wait(|| machine.standin.commands("look") >= 2, "its end is seen").await;
    assert_eq!(gatekeeper.state(&session), "queued");
    {
        let mut state = machine.standin.state();
        let sandbox = state.sandboxes.get_mut(&session).unwrap();
        (sandbox.guarded, sandbox.winner) = (true, Some(id));
        sandbox.record = Some(record("exited", Some(0), None, 4_000));
    }
    gatekeeper.until_state(&session, JobState::Done).await;
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(0.004));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_its_owner_renames_does_not_end_by_the_record_that_it_forges() {
    for name in ["", "nesssi-ffffffffffffffff"] {
        let machine = machine();
        let gatekeeper = machine.gatekeeper().await;
        let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
        let id = machine.placed(&session).await;
        machine.standin.batch_run(&id);
        gatekeeper.until_state(&session, JobState::Running).await;
        name.clone_into(&mut machine.standin.state().cluster.jobs.get_mut(&id).unwrap().name);
        machine.standin.forge(&session, &record("exited", Some(0), None, 1));
        gatekeeper
            .until(&session, "as_of", |as_of| format!("{as_of:?}").contains("under another name"))
            .await;
        assert_eq!(gatekeeper.state(&session), "running");
        machine.standin.batch_end(&id, None, None);
        gatekeeper.until_state(&session, JobState::Done).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_a_job_forges_hides_nothing_that_was_measured() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    machine.standin.state().cluster.jobs.get_mut(&id).unwrap().cpu_seconds = Some(7);
    gatekeeper.until(&session, "cpu_seconds", |used| *used == Value::Double(7.0)).await;
    machine.standin.state().sandboxes.get_mut(&session).unwrap().winner = Some("999".to_owned());
    machine.standin.batch_end(&id, Some(&record("exited", Some(0), None, 1)), Some(("exited", 0)));
    gatekeeper.until_state(&session, JobState::Done).await;
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(7.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_a_job_forges_neither_ends_it_nor_hides_what_it_used() {
    let machine = machine();
    let gatekeeper = machine.gatekeeper().await;
    let session = gatekeeper.give(&gatekeeper.alice().await).await.unwrap();
    let id = machine.placed(&session).await;
    machine.standin.batch_run(&id);
    gatekeeper.until_state(&session, JobState::Running).await;
    machine.standin.forge(&session, &record("exited", Some(0), None, 1));
    let looks = machine.standin.commands("look");
    wait(|| machine.standin.commands("look") > looks + 2, "it is looked for").await;
    assert_eq!(gatekeeper.state(&session), "running");
    machine.standin.state().cluster.jobs.get_mut(&id).unwrap().cpu_seconds = Some(77);
    machine.standin.batch_end(&id, None, Some(("over_cpu", 0)));
    gatekeeper.until_state(&session, JobState::OverLimit).await;
    assert_eq!(gatekeeper.member(&session, "cpu_seconds"), Value::Double(77.0));
}
