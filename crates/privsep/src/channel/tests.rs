//! Tests of channels.

use super::*;
use crate::wire::Blob;

#[test]
fn records_keep_their_bounds_and_descriptors() {
    let (one, other) = Channel::pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    one.send(1, &"first".to_owned(), &[reader.as_fd(), writer.as_fd()]).unwrap();
    one.send(2, &"second".to_owned(), &[]).unwrap();
    let first = other.receive::<String>().unwrap();
    assert_eq!((first.id, first.message.as_str(), first.descriptors.len()), (1, "first", 2));
    for descriptor in &first.descriptors {
        let flags = rustix::io::fcntl_getfd(descriptor).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let second = other.receive::<String>().unwrap();
    assert_eq!((second.id, second.message.as_str(), second.descriptors.len()), (2, "second", 0));
}

#[test]
fn the_longest_record_passes_and_one_byte_more_does_not() {
    let (one, other) = Channel::pair().unwrap();
    let head = 1 + 4 + 4;
    let longest = Blob(vec![7; RECORD_BYTES_MAX - head]);
    one.send(0, &longest, &[]).unwrap();
    assert_eq!(other.receive::<Blob>().unwrap().message, longest);
    let longer = Blob(vec![7; RECORD_BYTES_MAX - head + 1]);
    assert!(matches!(one.send(0, &longer, &[]), Err(ChannelError::TooLong)));
    // A peer that does not keep to it is found out: the record was cut.
    one.send_bytes(&vec![1; RECORD_BYTES_MAX + 1], &[]).unwrap();
    assert!(matches!(other.receive::<Blob>(), Err(ChannelError::TooLong)));
}

#[test]
fn descriptors_are_bounded_on_both_sides() {
    let (one, other) = Channel::pair().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    let nine = vec![reader.as_fd(); DESCRIPTORS_MAX + 1];
    assert!(matches!(one.send(0, &true, &nine), Err(ChannelError::TooLong)));
    one.send(0, &true, &nine[..DESCRIPTORS_MAX]).unwrap();
    assert_eq!(other.receive::<bool>().unwrap().descriptors.len(), DESCRIPTORS_MAX);
}

#[test]
fn more_descriptors_than_allowed_are_refused_and_none_is_left_open() {
    let (one, other) = Channel::pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let many = vec![writer.as_fd(); DESCRIPTORS_MAX + 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX + 5))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
    let record = encode(0, &true).unwrap();
    sendmsg(&one.socket, &[IoSlice::new(&record)], &mut control, SendFlags::NOSIGNAL).unwrap();
    assert!(matches!(other.receive::<bool>(), Err(ChannelError::TooLong)));
    drop(writer);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "", "a copy is still open");
}

#[test]
fn a_channel_tells_closed_from_empty_and_garbage() {
    let (one, other) = Channel::pair().unwrap();
    other.set_nonblocking().unwrap();
    assert!(matches!(other.receive::<bool>(), Err(ChannelError::WouldBlock)));
    one.send_bytes(&[9, 0, 0, 0, 0, 1], &[]).unwrap();
    assert!(matches!(other.receive::<bool>(), Err(ChannelError::Version(9))));
    one.send_bytes(&[1, 0, 0, 0, 0, 7], &[]).unwrap();
    assert!(matches!(other.receive::<bool>(), Err(ChannelError::Wire(_))));
    drop(one);
    assert!(matches!(other.receive::<bool>(), Err(ChannelError::Closed)));
    assert!(matches!(other.send(0, &true, &[]), Err(ChannelError::Closed)));
}

/// A lingering TCP socket whose last copy lies in the record makes its reader wait as it closes.
#[test]
fn descriptors_that_are_not_wanted_are_refused_by_the_kernel() {
    let (ours, theirs) = Channel::pair().unwrap();
    if !refuse_descriptors(&ours).unwrap() {
        println!("SKIPPED: needs SO_PASSRIGHTS (Linux 6.16)");
        return;
    }
    let (reader, _writer) = std::io::pipe().unwrap();
    assert!(matches!(theirs.send(1, &true, &[reader.as_fd()]), Err(ChannelError::Io(_))));
    theirs.send(2, &true, &[]).unwrap();
    assert_eq!(ours.receive::<bool>().unwrap().id, 2);
    // The other direction is as it was.
    ours.send(3, &true, &[reader.as_fd()]).unwrap();
    assert_eq!(theirs.receive::<bool>().unwrap().descriptors.len(), 1);
}
