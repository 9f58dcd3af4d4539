use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nesssi_journal::{AnswerOwner, Journal};
use nesssi_rpc::{ClientTag, Fault, FaultCode, Reply, Value, kept};
use nesssi_session::SessionId;
use proptest::prelude::*;
use tokio::task::yield_now;

use super::{ANSWER_BYTES_MAX, Answers, Ask, Came, Kept, Key, Outcome, Recording, Standing};
use crate::link::lock;

const PATIENCE: Duration = Duration::from_secs(20);

/// The answers of a process that begins now; one that wrote before is as if it were killed.
fn open(folder: &Path) -> Answers {
    let (journal, loaded) = Journal::open(&folder.join("journal.sqlite")).unwrap();
    Answers::new(journal, loaded.answers, 60)
}

fn ask(tag: &str) -> Ask {
    let owner = AnswerOwner::Subject(vec![1]);
    let tag = ClientTag::parse(tag).unwrap();
    Ask {
        key: Key { owner, method: "a.b".to_owned(), tag },
        params: super::digest(&[Value::Int(1)]),
        granted: Ok(()),
    }
}

fn came(reply: Reply, refused: bool) -> Outcome<Reply> {
    Outcome { reply: kept::reply_bytes(&reply), whole: reply, refused }
}

/// Asks, with work that is done at once. What it came to, and whether it was kept.
async fn once(answers: &Answers, ask: Ask, reply: Reply, refused: bool) -> (Reply, bool) {
    told(answers.once(ask, PATIENCE, move |_| async move { came(reply, refused) }).await)
}

fn told(came: Came<Reply>) -> (Reply, bool) {
    match came {
        Came::First(reply) => (reply, false),
        Came::Again(Kept { reply, .. }) => (reply, true),
        Came::Refused(fault) => (Err(fault), false),
    }
}

fn number(number: i64) -> Reply {
    Ok(Value::Int(number))
}

#[tokio::test]
async fn the_first_answer_is_given_again_also_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let answers = open(folder.path());
    assert_eq!(once(&answers, ask("t"), number(1), false).await, (number(1), false));
    assert_eq!(once(&answers, ask("t"), number(2), false).await, (number(1), true));
    let fault = Err(Fault::new(FaultCode::Service(7), "no"));
    assert_eq!(once(&answers, ask("f"), fault.clone(), false).await, (fault.clone(), false));
    assert_eq!(once(&answers, ask("f"), number(2), false).await, (fault.clone(), true));

    let next = open(folder.path());
    assert_eq!(once(&next, ask("t"), number(3), false).await, (number(1), true));
    assert_eq!(once(&next, ask("f"), number(3), false).await, (fault, true));
    let other = Ask { params: super::digest(&[Value::Int(2)]), ..ask("t") };
    let (refused, _) = once(&next, other, number(3), false).await;
    assert_eq!(refused.unwrap_err().code, FaultCode::Conflict);
    for key in [
        Key { owner: AnswerOwner::Subject(vec![2]), ..ask("t").key },
        Key { owner: AnswerOwner::Address("::1".to_owned()), ..ask("t").key },
        Key { method: "a.c".to_owned(), ..ask("t").key },
    ] {
        let other = Ask { key, ..ask("t") };
        assert_eq!(once(&next, other, number(4), false).await, (number(4), false));
    }
}

#[tokio::test]
async fn what_was_refused_is_forgotten_and_its_tag_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let answers = open(folder.path());
    let refused = Err(Fault::new(FaultCode::TooMany, "too many"));
    assert_eq!(once(&answers, ask("t"), refused.clone(), true).await, (refused, false));
    let other = Ask { params: [9; 32], ..ask("t") };
    assert_eq!(once(&answers, other.clone(), number(1), false).await, (number(1), false));
    assert_eq!(once(&open(folder.path()), other, number(2), false).await, (number(1), true));
}

#[tokio::test]
async fn what_made_a_session_is_kept_though_it_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let answers = open(folder.path());
    let session = SessionId::random();
    let (with, made) = (answers.clone(), session.clone());
    let first = answers.once(ask("t"), PATIENCE, move |number| async move {
        record(&with, number, &made, false).await;
        came(Err(Fault::refused("late")), true)
    });
    told(first.await).0.unwrap_err();
    for answers in [answers, open(folder.path())] {
        let again = answers.once(ask("t"), PATIENCE, |_| async { came(number(2), false) }).await;
        let Came::Again(kept) = again else { panic!("{again:?}") };
        assert_eq!(kept.reply.unwrap_err().text, "late");
        assert_eq!(kept.session, Some(session.clone()));
    }
}

/// Makes a session, as jobs do.
async fn record(answers: &Answers, number: u64, session: &SessionId, answers_session: bool) {
    let recording = Recording { number, answers_session };
    answers.write(answers.making(recording, session)).await.unwrap();
    answers.made(recording, session);
}

#[tokio::test]
async fn a_call_that_a_crash_cut_off_is_carried_out_no_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let answers = open(folder.path());
    let session = SessionId::random();
    let (sender, mut begun) = tokio::sync::mpsc::channel(8);
    for (tag, makes) in [("none", None), ("made", Some(false)), ("submit", Some(true))] {
        let (answers, session, sender) = (answers.clone(), session.clone(), sender.clone());
        tokio::spawn(async move {
            let with = answers.clone();
            let work = move |number| async move {
                if let Some(answers_session) = makes {
                    record(&with, number, &session, answers_session).await;
                }
                sender.send(()).await.unwrap();
                std::future::pending::<Outcome<Reply>>().await
            };
            told(answers.once(ask(tag), PATIENCE, work).await)
        });
    }
    for _ in 0..3 {
        begun.recv().await.unwrap();
    }

    let next = open(folder.path());
    let refused = |tag| {
        let next = next.clone();
        async move {
            let (reply, again) = once(&next, ask(tag), number(2), false).await;
            assert!(!again);
            let fault = reply.unwrap_err();
            assert_eq!(fault.code, FaultCode::Conflict);
            fault.text
        }
    };
    let text = refused("none").await;
    assert!(text.starts_with("the call is lost: the server stopped"), "{text}");
    let text = refused("made").await;
    assert!(text.contains(session.reveal()), "{text}");
    let submitted = Ok(Value::from(session.reveal()));
    assert_eq!(once(&next, ask("submit"), number(2), false).await, (submitted, true));
    let seen = |tag| {
        let Ask { key, .. } = ask(tag);
        next.last(&key.owner, Some("a.b"), &key.tag).unwrap().1
    };
    assert_eq!(seen("none").standing, Standing::Lost);
    assert_eq!(seen("made").session, Some(session));
    let other = Ask { params: [9; 32], ..ask("none") };
    let (fault, _) = once(&next, other, number(2), false).await;
    assert!(fault.unwrap_err().text.contains("other parameters"));
}

#[tokio::test]
async fn an_answer_too_long_to_keep_is_said_to_be_so() {
    // A text is its bytes, and 6 that say so.
    for (tag, more, kept) in [("below", 5, true), ("at", 6, true), ("above", 7, false)] {
        let folder = tempfile::tempdir().unwrap();
        let answers = open(folder.path());
        let text = "x".repeat(ANSWER_BYTES_MAX + more - 12);
        let long = Ok(Value::from(text));
        assert_eq!(kept::reply_bytes(&long).len(), ANSWER_BYTES_MAX + more - 6);
        assert_eq!(once(&answers, ask(tag), long.clone(), false).await, (long.clone(), false));
        for answers in [answers.clone(), open(folder.path())] {
            let (reply, again) = once(&answers, ask(tag), number(2), false).await;
            if kept {
                assert_eq!((reply, again), (long.clone(), true));
            } else {
                let fault = reply.unwrap_err();
                assert_eq!(fault.code, FaultCode::OverLimit);
                assert!(fault.text.contains("262145 bytes was too long to keep"), "{}", fault.text);
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_runs_is_waited_for_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let answers = open(folder.path());
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn({
        let answers = answers.clone();
        async move {
            let work = |_| async move {
                begin.send(()).unwrap();
                released.await.unwrap();
                came(number(1), false)
            };
            told(answers.once(ask("t"), PATIENCE, work).await)
        }
    });
    begun.await.unwrap();
    let short = Duration::from_millis(30);
    let late = answers.once(ask("t"), short, |_| async { came(number(2), false) }).await;
    let fault = told(late).0.unwrap_err();
    assert_eq!(fault.code, FaultCode::Unavailable);
    let waits = tokio::spawn({
        let answers = answers.clone();
        async move { once(&answers, ask("t"), number(2), false).await }
    });
    yield_now().await;
    // The one who asked first hangs up: it goes on.
    first.abort();
    release.send(()).unwrap();
    assert_eq!(waits.await.unwrap(), (number(1), true));
}

#[tokio::test]
async fn a_call_that_panics_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let answers = open(folder.path());
    let work = |_| async { panic!("on purpose") };
    let came: Came<Reply> = answers.once(ask("t"), PATIENCE, work).await;
    assert_eq!(told(came).0.unwrap_err().code, FaultCode::Internal);
    let (reply, _) = once(&answers, ask("t"), number(2), false).await;
    assert_eq!(reply.unwrap_err().code, FaultCode::Conflict);
}

#[tokio::test]
async fn closing_waits_for_calls_whose_callers_have_left() {
    let folder = tempfile::tempdir().unwrap();
    let answers = open(folder.path());
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let caller = tokio::spawn({
        let answers = answers.clone();
        async move {
            let work = |_| async move {
                begin.send(()).unwrap();
                released.await.unwrap();
                came(number(1), false)
            };
            told(answers.once(ask("t"), PATIENCE, work).await)
        }
    });
    begun.await.unwrap();
    caller.abort();
    let closing = tokio::spawn({
        let answers = answers.clone();
        async move { answers.close().await }
    });
    yield_now().await;
    assert!(!closing.is_finished());
    let (reply, _) = once(&answers, ask("t"), number(2), false).await;
    assert_eq!(reply.unwrap_err().code, FaultCode::Unavailable);
    release.send(()).unwrap();
    closing.await.unwrap();
    assert_eq!(once(&open(folder.path()), ask("t"), number(2), false).await, (number(1), true));
}

#[tokio::test]
async fn a_call_that_cannot_be_recorded_is_not_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let answers = open(folder.path());
    // Another process has taken the lease.
    let _next = open(folder.path());
    let carried = Arc::new(AtomicU32::new(0));
    for _ in 0..2 {
        let carried = Arc::clone(&carried);
        let work = move |_| async move {
            carried.fetch_add(1, Ordering::SeqCst);
            came(number(1), false)
        };
        let (reply, _) = told(answers.once(ask("t"), PATIENCE, work).await);
        assert_eq!(reply.unwrap_err().code, FaultCode::Unavailable);
    }
    assert_eq!(carried.load(Ordering::SeqCst), 0);
}

/// One who asks: after so many turns of the scheduler, and who hangs up after so many more.
type Asker = (u8, Option<u8>);

/// Runs askers of one call against each other; what was carried out, in its order, and how often two
/// ran at one time.
async fn run(folder: &Path, askers: Vec<Asker>, refusals: u32) -> (u32, u32, Vec<(Reply, bool)>) {
    let answers = open(folder);
    let carried = Arc::new(AtomicU32::new(0));
    let (at_once, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let told_all = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (turns, leaves) in askers {
        let (answers, carried) = (answers.clone(), Arc::clone(&carried));
        let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
        let told_all = Arc::clone(&told_all);
        let asking = tokio::spawn(async move {
            for _ in 0..turns {
                yield_now().await;
            }
            let work = move |_| async move {
                let count = carried.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..turns {
                    yield_now().await;
                }
                at_once.fetch_sub(1, Ordering::SeqCst);
                if count <= refusals {
                    return came(Err(Fault::new(FaultCode::TooMany, "later")), true);
                }
                came(number(i64::from(count)), false)
            };
            let told = told(answers.once(ask("t"), PATIENCE, work).await);
            lock(&told_all).push(told);
        });
        let abort = asking.abort_handle();
        tasks.push(asking);
        if let Some(after) = leaves {
            tasks.push(tokio::spawn(async move {
                for _ in 0..after {
                    tokio::time::sleep(Duration::from_micros(50)).await;
                }
                abort.abort();
            }));
        }
    }
    for task in tasks {
        let _left = task.await;
    }
    answers.close().await;
    let told = std::mem::take(&mut *lock(&told_all));
    (carried.load(Ordering::SeqCst), most.load(Ordering::SeqCst), told)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whoever_asks_when_and_hangs_up_it_is_carried_out_once(
        askers in prop::collection::vec((0u8..40, prop::option::weighted(0.4, 0u8..30)), 1..12),
        refusals in 0u32..3,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (carried, most, told) = runtime.block_on(run(folder.path(), askers, refusals));
        prop_assert!(most <= 1, "never two at one time");
        prop_assert!(carried <= refusals + 1, "never again after it was answered");
        for (reply, again) in told {
            match reply {
                Ok(value) => prop_assert_eq!(value, Value::Int(i64::from(refusals + 1))),
                Err(fault) => {
                    prop_assert_eq!(fault.code, FaultCode::TooMany);
                    prop_assert!(!again, "a refusal is not kept");
                }
            }
        }
        // What was answered, whether or not anybody heard it, is answered again.
        let answers = runtime.block_on(async { open(folder.path()) });
        let (reply, again) = runtime.block_on(once(&answers, ask("t"), number(99), false));
        prop_assert_eq!(again, carried == refusals + 1);
        if again {
            prop_assert_eq!(reply, number(i64::from(carried)));
        }
    }
}
