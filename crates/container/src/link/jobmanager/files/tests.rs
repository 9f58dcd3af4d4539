use std::io::Write as _;
use std::os::fd::AsFd as _;

use nesssi_privsep::messages::{AccountFacts, Refusal};
use nesssi_privsep::{Channel, ChannelError};

use super::*;

/// A jobmanager, and the far end of its channel.
fn pair() -> (Jobmanager, Channel) {
    let (ours, theirs) = Channel::pair().unwrap();
    let facts = AccountFacts {
        name: "alice".to_owned(),
        uid: 1000,
        gid: 1000,
        home: String::new(),
        sandboxes: String::new(),
    };
    let (jobmanager, _events) = Jobmanager::new(ours.into_fd(), facts, 7).unwrap();
    (jobmanager, theirs)
}

/// The far end answers each request in turn, then tells what else it was asked until the channel ends.
fn answering(
    channel: Channel,
    answers: Vec<Vec<FromJobmanager>>,
) -> std::thread::JoinHandle<Vec<ToJobmanager>> {
    std::thread::spawn(move || {
        let mut heard = Vec::new();
        let mut answers = answers.into_iter();
        loop {
            let received = match channel.receive::<ToJobmanager>() {
                Ok(received) => received,
                Err(ChannelError::Closed) => return heard,
                Err(error) => panic!("{error}"),
            };
            heard.push(received.message);
            for answer in answers.next().into_iter().flatten() {
                let file = tempfile::tempfile().unwrap();
                let begun = matches!(answer, FromJobmanager::WriteBegun { ticket } if ticket < 100);
                let descriptors = if begun { vec![file.as_fd()] } else { Vec::new() };
                channel.send(received.id, &answer, &descriptors).unwrap();
            }
        }
    })
}

/// All that the far end has heard, once the channel has ended.
async fn end(far: std::thread::JoinHandle<Vec<ToJobmanager>>) -> Vec<ToJobmanager> {
    tokio::task::spawn_blocking(|| far.join().unwrap()).await.unwrap()
}

fn begin() -> ToJobmanager {
    ToJobmanager::BeginWrite {
        session: "s".to_owned(),
        path: Blob(b"f".to_vec()),
        bytes_max: 9,
        sandbox_bytes_max: 0,
        umask_default: 0o077,
    }
}

fn entry(name: &str) -> Entry {
    Entry { name: Blob(name.into()), directory: false, size: 1, modified: 2 }
}

#[tokio::test]
async fn a_write_is_committed_once_and_not_discarded_then() {
    let (jobmanager, far) = pair();
    let written = FromJobmanager::Written { size: 4, modified: 5, replaced: true };
    let far = answering(far, vec![vec![FromJobmanager::WriteBegun { ticket: 3 }], vec![written]]);
    let mut writing = jobmanager.begin_write("s", b"f", 9, 0, 0o077).await.unwrap();
    let mut file = std::fs::File::from(writing.file.take().unwrap());
    file.write_all(b"text").unwrap();
    let written = jobmanager.commit_write(writing, true).await.unwrap();
    assert_eq!(written, Written { size: 4, modified: 5, replaced: true });
    drop(jobmanager);
    let commit = ToJobmanager::CommitWrite { ticket: 3, replace: true };
    assert_eq!(end(far).await, [begin(), commit]);
}

#[tokio::test]
async fn a_write_that_nobody_ends_is_discarded() {
    let (jobmanager, far) = pair();
    let begun = |ticket| vec![FromJobmanager::WriteBegun { ticket }];
    let failed = vec![FromJobmanager::Failed { errno: 17, text: "is there".to_owned() }];
    let done = || vec![FromJobmanager::Discarded {}];
    let far = answering(far, vec![begun(1), done(), begun(2), failed, begun(3), done()]);
    let start = || jobmanager.begin_write("s", b"f", 9, 0, 0o077);
    drop(start().await.unwrap());
    // Its discarding is a task of its own.
    tokio::task::yield_now().await;
    let failed = jobmanager.commit_write(start().await.unwrap(), false).await.unwrap_err();
    assert!(matches!(failed, AskError::Failed { errno: 17, .. }));
    jobmanager.discard_write(start().await.unwrap()).await.unwrap();
    drop(jobmanager);
    let discard = |ticket| ToJobmanager::DiscardWrite { ticket };
    let commit = ToJobmanager::CommitWrite { ticket: 2, replace: false };
    let heard = end(far).await;
    assert_eq!(heard, [begin(), discard(1), begin(), commit, begin(), discard(3)]);
}

#[tokio::test]
async fn answers_that_do_not_fit_are_told_as_such() {
    let (jobmanager, far) = pair();
    // Without a descriptor; what was begun is discarded.
    let bare = vec![FromJobmanager::WriteBegun { ticket: 100 }];
    let done = vec![FromJobmanager::Discarded {}];
    let other = || vec![FromJobmanager::Removed {}];
    let answers = vec![bare, done, other(), other(), other(), other(), other()];
    let far = answering(far, answers);
    let unfit = AskError::Unfit;
    assert_eq!(jobmanager.begin_write("s", b"f", 9, 0, 0o077).await.unwrap_err(), unfit);
    tokio::task::yield_now().await;
    assert_eq!(jobmanager.stat("s", b"f").await.unwrap_err(), unfit);
    assert_eq!(jobmanager.make_directory("s", b"f", 0).await.unwrap_err(), unfit);
    assert_eq!(jobmanager.rename("s", b"f", b"g").await.unwrap_err(), unfit);
    assert_eq!(jobmanager.tree_open("data", b"f").await.unwrap_err(), unfit);
    assert_eq!(jobmanager.find("s", b"", b"*", 9).await.unwrap_err(), unfit);
    drop(jobmanager);
    let heard = end(far).await;
    assert_eq!(heard.get(1), Some(&ToJobmanager::DiscardWrite { ticket: 100 }));
}

#[tokio::test]
async fn what_is_found_comes_in_parts_and_not_beyond_what_was_asked() {
    let (jobmanager, far) = pair();
    let some = |names: &[&str]| FromJobmanager::Found {
        entries: names.iter().map(|name| entry(name)).collect(),
    };
    let whole = || FromJobmanager::FindDone { end: FindEnd::Whole {} };
    let failed = FromJobmanager::Failed { errno: 2, text: String::new() };
    let far = answering(
        far,
        vec![
            vec![some(&["c", "a"]), some(&["b"]), whole()],
            vec![some(&["a", "b", "c", "d"]), whole()],
            vec![some(&["a"]), failed],
            vec![whole()],
        ],
    );
    let find = || jobmanager.tree_find("data", b"", b"*", 3);
    let found = find().await.unwrap();
    assert_eq!(found.entries, [entry("a"), entry("b"), entry("c")]);
    assert_eq!(found.end, FindEnd::Whole {});
    assert_eq!(find().await.unwrap_err(), AskError::Unfit, "one more than was asked for");
    assert!(matches!(find().await.unwrap_err(), AskError::Failed { errno: 2, .. }));
    assert!(find().await.unwrap().entries.is_empty());
    drop(jobmanager);
    assert_eq!(end(far).await.len(), 4);
}

#[tokio::test]
async fn a_channel_taken_back_is_told_apart() {
    let (jobmanager, far) = pair();
    let stale = || vec![FromJobmanager::Stale {}];
    let far = answering(far, vec![stale(), stale(), stale()]);
    let expected = AskError::Refused(Refusal::StaleGrant {});
    assert_eq!(jobmanager.begin_write("s", b"f", 9, 0, 0).await.unwrap_err(), expected);
    assert!(jobmanager.is_stale());
    assert_eq!(jobmanager.tree_stat("data", b"").await.unwrap_err(), expected);
    assert_eq!(jobmanager.tree_find("data", b"", b"*", 9).await.unwrap_err(), expected);
    drop(jobmanager);
    assert_eq!(end(far).await.len(), 3);
}
