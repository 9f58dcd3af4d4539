//! Sessions that are kept longer, and those that are ended.

use nesssi_dn::SubjectDn;
use nesssi_job::JobState;
use nesssi_policy::Limits;
use nesssi_rpc::Value;

use super::standin::{record, subject};
use super::{LIMITS, Machine, ask_in, fault_text, number, wait};
use crate::clock::now_ms;
use crate::jobs::Holder;

fn by(subject: Option<SubjectDn>) -> Holder {
    Holder { subject, request_id: "r".to_owned() }
}

fn alice() -> Holder {
    by(Some(subject("Alice")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_kept_longer_and_never_shorter_and_that_is_durable() {
    let machine = Machine::with(Limits { retention_seconds: 7200, ..LIMITS });
    let gatekeeper = machine.gatekeeper().await;
    let (session, _) = gatekeeper.prepare(&gatekeeper.alice().await).await;
    let extend = async |holder: Holder, seconds: f64| {
        gatekeeper.jobs.extend(holder, &session, seconds).await
    };
    let hour = extend(alice(), 1.0).await.unwrap();
    assert!(hour.abs_diff(now_ms() + 3_600_000) < 60_000, "{hour}");
    let two = extend(alice(), 7200.0).await.unwrap();
    assert!(two.abs_diff(now_ms() + 7_200_000) < 60_000, "{two}");
    assert_eq!(extend(alice(), 0.0).await, Ok(two));
    assert_eq!(extend(alice(), 7199.0).await, Ok(two));
    assert_eq!(
        fault_text(extend(alice(), 7200.001).await),
        "413: asked for 7200 seconds, the limit of level strong is 7200"
    );
    for stranger in [by(Some(subject("Bob"))), by(None)] {
        assert_eq!(number(extend(stranger, 1.0).await), 404);
    }
    assert_eq!(number(gatekeeper.jobs.extend(alice(), "x", 1.0).await), 404);
    let sessions = gatekeeper.jobs.sessions(&subject("Alice"));
    let Value::Array(listed) = &sessions else { panic!() };
    assert_eq!(listed[0].member("session"), Some(&session.as_str().into()));
    assert!(matches!(listed[0].member("expires"), Some(Value::DateTime(_))));

    // While its job runs nobody knows when it ends; it is kept as long again from then.
    gatekeeper.jobs.submit(&gatekeeper.alice().await, ask_in(&session)).await.unwrap();
    assert!(extend(alice(), 1.0).await.unwrap() >= two);
    let Value::Array(listed) = gatekeeper.jobs.sessions(&subject("Alice")) else { panic!() };
    assert_eq!(listed[0].member("expires"), None);
    let (other, _) = gatekeeper.prepare(&gatekeeper.alice().await).await;
    let until = gatekeeper.jobs.extend(alice(), &other, 7000.0).await.unwrap();
    gatekeeper.crash();
    let second = machine.gatekeeper().await;
    assert_eq!(second.jobs.extend(alice(), &other, 1.0).await, Ok(until));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_ended_by_whose_it_is_and_not_while_its_job_runs() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    let who = gatekeeper.alice().await;
    let (session, _) = gatekeeper.prepare(&who).await;
    let destroy = async |holder: Holder| gatekeeper.jobs.destroy(holder, &session).await;
    for stranger in [by(Some(subject("Bob"))), by(None)] {
        assert_eq!(number(destroy(stranger).await), 404);
    }
    gatekeeper.jobs.submit(&who, ask_in(&session)).await.unwrap();
    assert_eq!(
        fault_text(destroy(alice()).await),
        "409: the session's job has not ended: cancel it first"
    );
    machine.standin.end(&session, &record("exited", Some(0), None, 0));
    gatekeeper.until_state(&session, JobState::Done).await;
    destroy(alice()).await.unwrap();
    assert!(!machine.standin.state().sandboxes.contains_key(&session));
    assert_eq!(number(destroy(alice()).await), 404);
    assert_eq!(gatekeeper.jobs.sessions(&subject("Alice")), Value::Array(vec![]));

    // Of an anonymous session the id is enough.
    let guest = gatekeeper.caller(None, "192.0.2.1").await;
    let (session, _) = gatekeeper.prepare(&guest).await;
    gatekeeper.jobs.destroy(by(Some(subject("Bob"))), &session).await.unwrap();
    gatekeeper.jobs.core.needs.audit.flush().await;
    let text = std::fs::read_to_string(machine.folder.path().join("audit.jsonl")).unwrap();
    for event in ["session_prepared", "session_destroyed", "session_removed"] {
        assert!(text.contains(event), "{event}: {text}");
    }
    assert!(!text.contains(&session), "a session's id stands in no log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_removed_is_said_is_found_by_nobody_and_tried_again() {
    let machine = Machine::new();
    let gatekeeper = machine.gatekeeper().await;
    let (session, _) = gatekeeper.prepare(&gatekeeper.alice().await).await;
    machine.standin.state().remove_errno = rustix::io::Errno::ACCESS.raw_os_error();
    let told = fault_text(gatekeeper.jobs.destroy(alice(), &session).await);
    assert!(told.starts_with("503: the session is over, but not everything"), "{told}");
    assert_eq!(number(gatekeeper.jobs.status_value(&session)), 404);
    machine.standin.state().remove_errno = 0;
    wait(|| !machine.standin.state().sandboxes.contains_key(&session), "it is removed").await;
}
