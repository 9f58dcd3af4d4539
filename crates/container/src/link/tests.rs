use std::time::Duration;

use nesssi_privsep::Channel;
use nesssi_privsep::messages::{FromMonitor, ToMonitor};

use super::{Link, LinkError};

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
