use std::os::fd::AsFd as _;
use std::time::Duration;

use nesssi_policy::{LIMITS_BYTES, LevelName, Limits};
use nesssi_privsep::Channel;
use nesssi_privsep::messages::{
    AccountFacts, FromJobmanager, FromMonitor, Refusal, ToJobmanager, ToMonitor,
};

use super::{AskError, Channels, Link, LinkError, Monitor};

type TestLink = Link<ToMonitor, FromMonitor>;

fn generation(generation: u64) -> FromMonitor {
    FromMonitor::Generation { generation, config_text: None }
}

#[tokio::test]
async fn answers_find_their_askers_in_any_order() {
    let (ours, theirs) = Channel::pair().unwrap();
    let (link, _events) = TestLink::new(ours.into_fd()).unwrap();
    let first = link.send(&ToMonitor::LeafList {}, &[]).await.unwrap();
    let second = link.send(&ToMonitor::Discover {}, &[]).await.unwrap();
    let ids =
        [theirs.receive::<ToMonitor>().unwrap().id, theirs.receive::<ToMonitor>().unwrap().id];
    theirs.send(ids[1], &generation(2), &[]).unwrap();
    theirs.send(ids[0], &generation(1), &[]).unwrap();
    assert_eq!(first.wait().await.unwrap().message, generation(1));
    assert_eq!(second.wait().await.unwrap().message, generation(2));
}

#[tokio::test]
async fn a_closed_link_fails_all_that_wait_and_all_that_come() {
    let (ours, theirs) = Channel::pair().unwrap();
    let (link, mut events) = TestLink::new(ours.into_fd()).unwrap();
    let waiting = link.send(&ToMonitor::LeafList {}, &[]).await.unwrap();
    theirs.send(0, &generation(7), &[]).unwrap();
    drop(theirs);
    // What was said before the end is heard.
    assert_eq!(events.recv().await.unwrap().message, generation(7));
    assert_eq!(waiting.wait().await.unwrap_err(), LinkError::Closed);
    assert!(events.recv().await.is_none());
    assert!(link.is_closed());
    assert_eq!(link.ask(&ToMonitor::Discover {}, &[]).await.unwrap_err(), LinkError::Closed);
}

#[tokio::test]
async fn a_record_that_is_none_closes_the_link() {
    let (ours, theirs) = Channel::pair().unwrap();
    let (link, mut events) = TestLink::new(ours.into_fd()).unwrap();
    theirs.send_bytes(b"\x01rubbish", &[]).unwrap();
    assert!(events.recv().await.is_none());
    assert!(link.is_closed());
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for_without_end() {
    let (ours, theirs) = Channel::pair().unwrap();
    let (link, _events) = TestLink::new(ours.into_fd()).unwrap();
    let asked = link.send(&ToMonitor::LeafList {}, &[]).await.unwrap();
    let waited = asked.within(Duration::from_millis(10)).wait().await;
    assert_eq!(waited.unwrap_err(), LinkError::TimedOut);
    // The late answer is dropped, and the link goes on.
    let id = theirs.receive::<ToMonitor>().unwrap().id;
    theirs.send(id, &generation(1), &[]).unwrap();
    let next = link.send(&ToMonitor::Discover {}, &[]).await.unwrap();
    let id = theirs.receive::<ToMonitor>().unwrap().id;
    theirs.send(id, &generation(2), &[]).unwrap();
    assert_eq!(next.wait().await.unwrap().message, generation(2));
}

#[tokio::test]
async fn the_last_handles_end_closes_the_channel() {
    let (ours, theirs) = Channel::pair().unwrap();
    let (link, _events) = TestLink::new(ours.into_fd()).unwrap();
    let other = link.clone();
    drop(link);
    other.tell(&ToMonitor::Ready {}).await.unwrap();
    drop(other);
    let heard = tokio::task::spawn_blocking(move || {
        let first = theirs.receive::<ToMonitor>().unwrap().message;
        (first, theirs.receive::<ToMonitor>().is_err())
    });
    assert_eq!(heard.await.unwrap(), (ToMonitor::Ready {}, true));
}

#[tokio::test]
async fn writers_wait_for_room() {
    let (ours, theirs) = Channel::pair().unwrap();
    let (link, _events) = TestLink::new(ours.into_fd()).unwrap();
    let writer = tokio::spawn(async move {
        for generation in 0..2000 {
            link.tell(&ToMonitor::Start { grant: generation }).await.unwrap();
        }
    });
    let reader = tokio::task::spawn_blocking(move || {
        for generation in 0..2000 {
            let heard = theirs.receive::<ToMonitor>().unwrap().message;
            assert_eq!(heard, ToMonitor::Start { grant: generation });
        }
    });
    writer.await.unwrap();
    reader.await.unwrap();
}

fn grant(id: u64) -> crate::grants::Grant {
    crate::grants::Grant {
        id,
        account: "alice".to_owned(),
        level: LevelName::parse("strong").unwrap(),
        limits: Limits::from_bytes(&[1; LIMITS_BYTES]).unwrap(),
        generation: id,
        reads_only: false,
        rule: String::new(),
    }
}

/// The monitor and a jobmanager who has taken the first channel back, until he is handed another.
fn taken_back(monitor: Channel) -> [Channel; 3] {
    let started = |grant: u64| {
        let asked = monitor.receive::<ToMonitor>().unwrap();
        assert_eq!(asked.message, ToMonitor::Start { grant });
        asked.id
    };
    let hand_over = |id: u32| {
        let (near, far) = Channel::pair().unwrap();
        let account = AccountFacts {
            name: "alice".to_owned(),
            uid: 1000,
            gid: 1000,
            home: String::new(),
            sandboxes: String::new(),
        };
        let answer = FromMonitor::Jobmanager { account, pid: 7 };
        monitor.send(id, &answer, &[near.as_fd()]).unwrap();
        far
    };
    let jobmanager = hand_over(started(1));
    let asked = jobmanager.receive::<ToJobmanager>().unwrap();
    jobmanager.send(asked.id, &FromJobmanager::Stale {}, &[]).unwrap();
    let refusal = Refusal::StaleGrant {};
    monitor.send(started(1), &FromMonitor::Refused { refusal }, &[]).unwrap();
    let other = hand_over(started(2));
    let asked = jobmanager.receive::<ToJobmanager>().unwrap();
    let path = "/there".to_owned();
    jobmanager.send(asked.id, &FromJobmanager::Prepared { path }, &[]).unwrap();
    [monitor, jobmanager, other]
}

#[tokio::test]
async fn a_channel_that_was_taken_back_is_renewed_by_a_grant_of_now() {
    let (ours, theirs) = Channel::pair().unwrap();
    let welcome = FromMonitor::Welcome {
        config_text: String::new(),
        config_path: String::new(),
        root: false,
        leaves: false,
        user: String::new(),
        boot_id: String::new(),
        generation: 1,
    };
    theirs.send(0, &welcome, &[]).unwrap();
    let (monitor, ..) = Monitor::over(ours).await.unwrap();
    let others = std::thread::spawn(move || taken_back(theirs));
    let (channels, _events) = Channels::new(monitor);
    let stale = AskError::Refused(Refusal::StaleGrant {});

    let first = channels.start(&grant(1)).await.unwrap();
    assert_eq!(first.prepare("session", 0).await.unwrap_err(), stale);
    // The grant that was good is not taken for good any more: the monitor is asked.
    assert_eq!(channels.start(&grant(1)).await.unwrap_err(), stale);
    // What the first channel has under way stays there, and it starts again.
    let renewed = channels.start(&grant(2)).await.unwrap();
    assert_eq!(renewed.prepare("session", 0).await.unwrap(), "/there");
    // Nobody need be asked any more.
    let _open = others.join().unwrap();
    channels.start(&grant(2)).await.unwrap();
}
