//! What is shown of jobs, by every way to ask.

use nesssi_job::batch::Words;

use super::*;
use crate::jobs::table::{Job, Phase};

/// A moment, and its text.
const SEEN: (u64, &str) = (1_164_196_800_999, "2006-11-22T12:00:00Z");

fn set(gatekeeper: &Gatekeeper, session: &str, change: impl FnOnce(&mut Job)) {
    let number = gatekeeper.jobs.number_of(session).unwrap();
    change(gatekeeper.jobs.core.table().job_mut(number).unwrap());
}

/// The session's members in a list and by its own status, if they are the same.
fn shown(gatekeeper: &Gatekeeper, session: &str) -> std::collections::BTreeMap<String, Value> {
    let alice = subject("Alice");
    let Value::Array(listed) = gatekeeper.jobs.list(Some(&alice), &Wanted::default()).unwrap()
    else {
        panic!()
    };
    let is_it = |one: &Value| match one {
        Value::Struct(members) => members["session"] == session.into(),
        _ => false,
    };
    let Some(Value::Struct(mut listed)) = listed.into_iter().find(is_it) else { panic!() };
    listed.remove("session");
    let Value::Struct(own) = gatekeeper.jobs.status_value(session).unwrap() else { panic!() };
    let Value::Array(sessions) = gatekeeper.jobs.sessions(&alice) else { panic!() };
    let Some(Value::Struct(kept)) = sessions.into_iter().find(is_it) else { panic!() };
    assert_eq!(kept["state"], own["state"]);
    assert_eq!(listed.keys().collect::<Vec<_>>(), own.keys().collect::<Vec<_>>());
    for (name, value) in &own {
        // Time goes on between two questions.
        if !["as_of", "wall_seconds"].contains(&name.as_str()) {
            assert_eq!(listed[name], *value, "{name}");
        }
    }
    own
}

/// Every way in which a job may stand, as far as it is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_and_a_status_never_differ_however_a_job_stands() {
    let gatekeeper = Machine::new().gatekeeper().await;
    let session = gatekeeper.submit(&gatekeeper.alice().await).await.unwrap();
    let phases = [
        Phase::Queued,
        Phase::Starting,
        Phase::Waiting,
        Phase::Running,
        Phase::Ending,
        Phase::Ended,
    ];
    let ends = std::iter::once(None).chain(JobState::ALL.into_iter().map(Some));
    let mut shown_as = std::collections::BTreeSet::new();
    for (phase, end) in
        phases.into_iter().flat_map(|phase| ends.clone().map(move |end| (phase, end)))
    {
        if end.is_some() != (phase == Phase::Ended) || end.is_some_and(|end| !end.is_final()) {
            continue;
        }
        // Bits for what may be known or not.
        for known in 0..64_u32 {
            let is = |bit: u32| known & (1 << bit) != 0;
            set(&gatekeeper, &session, |job| {
                job.phase = phase;
                job.batch = if is(0) { "pbs" } else { "local" }.to_owned();
                job.batch_id = is(0).then(|| "12.head".to_owned());
                job.started_ms = is(1).then_some(SEEN.0);
                job.seen_ms = is(2).then_some(SEEN.0 + 2000);
                job.measured = is(3).then_some((2_500_000, SEEN.0));
                job.comment = if is(4) { Words::of(b"held") } else { Words::default() };
                job.note = is(4).then(|| "it does not answer".to_owned());
                job.cancel_asked_ms = is(5).then_some(SEEN.0);
                job.end = end.map(|state| {
                    let end = crate::jobs::start::never_ran(state, "because");
                    nesssi_journal::JobEnd { exit_code: is(1).then_some(3), ..end }
                });
            });
            let members = shown(&gatekeeper, &session);
            shown_as.insert(members["state"].as_str().unwrap().to_owned());
        }
    }
    let all: std::collections::BTreeSet<String> =
        JobState::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(shown_as, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_says_what_a_status_says_and_of_when_it_is() {
    let machine = Machine { slots: 1, ..Machine::new() };
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let (prepared, _) = gatekeeper.prepare(&alice).await;
    let runs = gatekeeper.submit(&alice).await.unwrap();
    let waits = gatekeeper.submit(&alice).await.unwrap();
    assert_eq!(shown(&gatekeeper, &prepared)["state"], "prepared".into());
    let now = || crate::clock::iso(crate::clock::now_ms());
    for (session, state) in [(&runs, "running"), (&waits, "queued")] {
        let before = now();
        let members = shown(&gatekeeper, session);
        assert_eq!((&members["state"], &members["batch"]), (&state.into(), &"local".into()));
        assert!(!members.contains_key("comment"));
        let as_of = members["as_of"].as_str().unwrap();
        assert!((before.as_str()..=now().as_str()).contains(&as_of), "{as_of}");
    }

    // As if it waited in a batch system, which last said so some time ago.
    set(&gatekeeper, &waits, |job| {
        job.batch = "pbs".to_owned();
        job.batch_id = Some("12.head".to_owned());
        job.submitted_ms = Some(SEEN.0);
    });
    assert_eq!(shown(&gatekeeper, &waits)["as_of"], SEEN.1.into());
    set(&gatekeeper, &waits, |job| {
        job.seen_ms = Some(SEEN.0 + 1000);
        job.comment = Words::of(b"Not Running: \x1b[2Jno free\tnodes\n");
        job.note = Some("pbs does not answer".to_owned());
    });
    let members = shown(&gatekeeper, &waits);
    assert_eq!(members["as_of"], "2006-11-22T12:00:01Z (pbs does not answer)".into());
    assert_eq!(members["comment"], "Not Running: [2Jno free nodes".into());
    assert!(!members.values().any(|value| *value == "12.head".into()), "its id is nobody else's");
    let text = gatekeeper.jobs.status_text(&waits).await.unwrap();
    assert!(text.contains("\nbatch: pbs\ncomment: Not Running: [2Jno free nodes\n"), "{text}");

    // It runs: for how long, is known as of then.
    set(&gatekeeper, &waits, |job| {
        job.phase = Phase::Running;
        job.started_ms = Some(SEEN.0);
        job.comment = Words::default();
        job.note = None;
        job.seen_ms = Some(SEEN.0 + 90_000);
        job.measured = Some((2_500_000, SEEN.0));
    });
    let members = shown(&gatekeeper, &waits);
    assert_eq!(members["as_of"], "2006-11-22T12:01:30Z".into());
    assert_eq!(members["wall_seconds"], Value::Double(90.0));
    assert_eq!(members["cpu_seconds"], Value::Double(2.5));
    assert!(!members.contains_key("comment"));
}
