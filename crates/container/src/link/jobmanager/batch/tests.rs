//! Tests of what a jobmanager says of batch systems, taken apart.

use nesssi_job::batch::Words;
use nesssi_privsep::Channel;
use nesssi_privsep::messages::{AccountFacts, Refusal as MonitorRefusal};

use super::*;
use crate::link::Unasked;

const PATIENCE: Duration = Duration::from_secs(20);

/// A jobmanager that gives each request the next of these answers.
fn answering(
    answers: Vec<Vec<FromJobmanager>>,
) -> (Jobmanager, tokio::sync::mpsc::Receiver<Unasked>) {
    let (ours, theirs) = Channel::pair().unwrap();
    let facts = AccountFacts {
        name: "alice".into(),
        uid: 1,
        gid: 1,
        home: String::new(),
        sandboxes: String::new(),
    };
    std::thread::spawn(move || {
        for all in answers {
            let id = theirs.receive::<ToJobmanager>().unwrap().id;
            for answer in all {
                let unasked = matches!(answer, FromJobmanager::RecordSeen { .. });
                theirs.send(if unasked { 0 } else { id }, &answer, &[]).unwrap();
            }
        }
        // Open until the other side has heard all.
        drop(theirs.receive::<ToJobmanager>());
    });
    Jobmanager::new(ours.into_fd(), facts, 1).unwrap()
}

fn start() -> BatchStart {
    BatchStart {
        session: "0".repeat(32),
        tag: "0".repeat(16),
        batch: "site".into(),
        argv: vec![b"true".to_vec()],
        environment: Vec::new(),
        cpu_seconds_max: 1,
        wall_seconds_max: 1,
        sandbox_bytes_max: 0,
        cpus: 1,
        memory_bytes: None,
        directives: Vec::new(),
        umask_default: 0o077,
    }
}

fn sighting(id: &str) -> SightingFacts {
    SightingFacts {
        id: id.into(),
        name: "nesssi-0123456789abcdef".into(),
        owner: "alice".into(),
        state: "running".into(),
        end: None,
        cpu_seconds: None,
        wall_seconds: Some(1),
        comment: String::new(),
    }
}

#[tokio::test]
async fn a_submission_ends_in_an_id_a_refusal_or_a_failure() {
    let not = |refusal: &str| FromJobmanager::NotSubmitted {
        refusal: refusal.into(),
        certain: false,
        words: "no".into(),
    };
    let (jobmanager, _events) = answering(vec![
        vec![FromJobmanager::Submitted { id: "7".into() }],
        vec![not("garbage")],
        vec![not("whatever")],
        vec![FromJobmanager::Failed { errno: 114, text: "a job was started".into() }],
        vec![FromJobmanager::Stale {}],
        vec![FromJobmanager::Cancelling {}],
    ]);
    let submitted = jobmanager.submit_batch(start(), PATIENCE).await;
    assert_eq!(submitted, Ok(SubmitOutcome::Submitted("7".into())));
    let refusal = Refusal::Garbage;
    let not = SubmitOutcome::NotSubmitted { refusal, certain: false, words: "no".into() };
    assert_eq!(jobmanager.submit_batch(start(), PATIENCE).await, Ok(not));
    assert_eq!(jobmanager.submit_batch(start(), PATIENCE).await, Err(AskError::Unfit));
    let failed = jobmanager.submit_batch(start(), PATIENCE).await;
    assert!(matches!(failed, Err(AskError::Failed { errno: 114, .. })));
    assert!(!jobmanager.is_stale());
    let stale = jobmanager.submit_batch(start(), PATIENCE).await;
    assert_eq!(stale, Err(AskError::Refused(MonitorRefusal::StaleGrant {})));
    assert!(jobmanager.is_stale());
    assert_eq!(jobmanager.submit_batch(start(), PATIENCE).await, Err(AskError::Unfit));
}

#[tokio::test]
async fn a_listing_is_told_in_pieces_and_ends() {
    let (jobmanager, _events) = answering(vec![
        vec![
            FromJobmanager::Sightings { sightings: vec![sighting("1"), sighting("2")] },
            FromJobmanager::Sightings { sightings: vec![sighting("3")] },
            FromJobmanager::ListDone { unread: 2, duration_ms: 30 },
        ],
        vec![FromJobmanager::NotListed {
            trouble: "down".into(),
            words: "away".into(),
            duration_ms: 5,
        }],
        // It dies half-way.
        vec![
            FromJobmanager::Sightings { sightings: vec![sighting("1")] },
            FromJobmanager::Failed { errno: 0, text: "signal 9".into() },
        ],
        vec![FromJobmanager::Sightings { sightings: vec![sighting("1")] }],
    ]);
    let list = |silence| jobmanager.list_batch("site", Vec::new(), false, silence);
    let listing = list(PATIENCE).await.unwrap().unwrap();
    assert_eq!((listing.sightings.len(), listing.unread), (3, 2));
    assert_eq!(listing.duration, Duration::from_millis(30));
    let not = list(PATIENCE).await.unwrap().unwrap_err();
    assert_eq!(not.trouble, NoListing::Down(Words::of(b"away")));
    assert!(matches!(list(PATIENCE).await, Err(AskError::Failed { .. })));
    let silent = list(Duration::from_millis(50)).await;
    assert_eq!(silent, Err(AskError::Link(LinkError::TimedOut)));
}

#[tokio::test]
async fn what_a_cancel_and_a_use_brought_is_typed() {
    let cancelled = |answer: &str| {
        vec![FromJobmanager::BatchCancelled { answer: answer.into(), words: "w".into() }]
    };
    let not = FromJobmanager::NotListed {
        trouble: "no_accounts".into(),
        words: String::new(),
        duration_ms: 0,
    };
    let (jobmanager, _events) = answering(vec![
        cancelled("gone"),
        cancelled("Gone"),
        vec![FromJobmanager::BatchUsage { used: vec![("7".into(), 3)] }],
        vec![not],
    ]);
    let cancel = || jobmanager.cancel_batch("site", "7", "0123456789abcdef", PATIENCE);
    assert_eq!(cancel().await, Ok(CancelAnswer::Gone(Words::of(b"w"))));
    assert_eq!(cancel().await, Err(AskError::Unfit));
    let usage = || jobmanager.usage_batch("site", vec!["7".into()], PATIENCE);
    assert_eq!(usage().await, Ok(Ok(vec![("7".to_owned(), 3)])));
    let trouble = usage().await.unwrap().unwrap_err().trouble;
    assert_eq!(trouble, NoListing::NoAccounts(Words::default()));
}

#[tokio::test]
async fn guards_and_records_are_told_at_once_and_unasked() {
    let guard = FromJobmanager::Guard {
        submitting: true,
        guarded: true,
        winner: Some("7".into()),
        record: String::new(),
        why: "over_cpu".into(),
    };
    let seen = FromJobmanager::RecordSeen { session: "5".repeat(32), record: "r".into() };
    let (jobmanager, mut events) =
        answering(vec![vec![guard], vec![FromJobmanager::RecordAwaited {}, seen]]);
    let found = jobmanager.read_guard("5").await.unwrap();
    assert!(found.submitting && found.guarded);
    assert_eq!((found.record, found.why.as_deref()), (None, Some("over_cpu")));
    assert_eq!(jobmanager.watch_record("5").await, Ok(RecordWatch::Awaited));
    let unasked = Unasked::RecordSeen { session: "5".repeat(32), record: "r".into() };
    assert_eq!(events.recv().await, Some(unasked));
}
