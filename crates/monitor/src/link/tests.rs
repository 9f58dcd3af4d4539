//! Tests of links.

use super::*;

#[test]
fn a_peer_that_does_not_read_never_makes_the_monitor_wait() {
    let (ours, theirs) = Channel::pair().unwrap();
    let mut link = Link::new(ours).unwrap();
    let text = "x".repeat(50_000);
    let sent = (0..100).map(|id| link.send(id, &text, Vec::new()).unwrap()).count();
    assert_eq!(sent, 100);
    assert!(link.wants_room());
    for id in 0..100 {
        let received = theirs.receive::<String>().unwrap();
        assert_eq!((received.id, received.message.len()), (id, 50_000));
        link.flush().unwrap();
    }
    assert!(!link.wants_room());
}

#[test]
fn what_is_kept_is_bounded() {
    let (ours, _theirs) = Channel::pair().unwrap();
    let mut link = Link::new(ours).unwrap();
    let sent = (0..100_000).take_while(|id| link.send(*id, &true, Vec::new()).is_ok()).count();
    assert!((OUTBOX_RECORDS_MAX..50_000).contains(&sent), "{sent}");
}

#[test]
fn descriptors_travel_with_their_record_and_are_closed_here() {
    let (ours, theirs) = Channel::pair().unwrap();
    let mut link = Link::new(ours).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    link.send(1, &true, vec![writer.into()]).unwrap();
    let received = theirs.receive::<bool>().unwrap();
    assert_eq!(received.descriptors.len(), 1);
    drop(received);
    // No writer is left, so the pipe is at its end.
    assert_eq!(std::io::read_to_string(reader).unwrap(), "");
}

#[test]
fn a_peer_that_is_gone_is_told_apart() {
    let (ours, theirs) = Channel::pair().unwrap();
    let mut link = Link::new(ours).unwrap();
    assert!(link.receive::<bool>().unwrap().is_none());
    drop(theirs);
    assert!(matches!(link.receive::<bool>(), Err(ChannelError::Closed)));
    assert!(matches!(link.send(1, &true, Vec::new()), Err(ChannelError::Closed)));
}
