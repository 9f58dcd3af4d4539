//! Tests of the control socket's records.

use super::*;

fn request(verb: u8, name: &[u8]) -> Vec<u8> {
    let mut bytes = vec![VERSION, verb, 0, 0];
    bytes.extend(name);
    bytes.resize(REQUEST_BYTES, 0);
    bytes
}

#[test]
fn requests_are_read() {
    assert_eq!(
        Verb::parse(&request(1, b"astro.sleepy_2")),
        Ok(Verb::RestartService("astro.sleepy_2".into()))
    );
    assert_eq!(Verb::parse(&request(2, b"")), Ok(Verb::Restart));
    assert_eq!(Verb::parse(&request(3, b"")), Ok(Verb::Status));
    assert_eq!(Verb::parse(&request(4, b"sleepy")), Ok(Verb::CheckService("sleepy".into())));
    assert_eq!(Verb::parse(&request(5, b"sleepy")), Ok(Verb::ServiceLog("sleepy".into())));
    let longest = [b'a'; NAME_BYTES];
    for verb in [1, 4, 5] {
        assert!(Verb::parse(&request(verb, &longest)).is_ok());
    }
}

#[test]
fn anything_else_is_refused() {
    assert_eq!(Verb::parse(&[]), Err(VerbError::Length));
    assert_eq!(Verb::parse(&request(2, b"")[..131]), Err(VerbError::Length));
    assert_eq!(Verb::parse(&[request(2, b""), vec![0]].concat()), Err(VerbError::Length));
    for bad in [&b""[..], b".", b"a..b", b"../x", b"a/b", b"1a", b"a-b", b"a b", b"\xff", b"a\0b"] {
        for verb in [1, 4, 5] {
            assert_eq!(Verb::parse(&request(verb, bad)), Err(VerbError::Name), "{bad:?}");
        }
    }
    assert_eq!(Verb::parse(&request(2, b"x")), Err(VerbError::Name));
    assert_eq!(Verb::parse(&request(0, b"")), Err(VerbError::Unknown(0)));
    assert_eq!(Verb::parse(&request(6, b"")), Err(VerbError::Unknown(6)));
    let mut other = request(2, b"");
    other[0] = 2;
    assert_eq!(Verb::parse(&other), Err(VerbError::Version(2)));
    other[0] = 1;
    other[3] = 1;
    assert_eq!(Verb::parse(&other), Err(VerbError::Reserved));
}

#[test]
fn answers_have_one_length_and_are_cut_at_a_character() {
    let bytes = answer(Code::Failed, "no");
    assert_eq!(&bytes[..7], &[1, 2, 2, 0, b'n', b'o', 0]);
    let bytes = answer(Code::Done, &"é".repeat(1000));
    assert_eq!(u16::from_le_bytes([bytes[2], bytes[3]]), 1024);
    let bytes = answer(Code::Done, &format!("a{}", "é".repeat(1000)));
    assert_eq!(u16::from_le_bytes([bytes[2], bytes[3]]), 1023);
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("control");
    let first = ControlSocket::open(&path, None).unwrap();
    std::mem::forget(first);
    let second = ControlSocket::open(&path, None).unwrap();
    drop(second);
    assert!(!path.exists());
    std::fs::write(&path, "mine").unwrap();
    assert!(ControlSocket::open(&path, None).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn without_a_group_it_is_the_owners_alone() {
    use std::os::unix::fs::MetadataExt;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("control");
    let socket = ControlSocket::open(&path, None).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    drop(socket);
    let own = rustix::process::getegid().as_raw();
    let _socket = ControlSocket::open(&path, Some(own)).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
}

#[test]
fn descriptors_are_refused() {
    use nesssi_privsep::{Channel, channel};
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("control");
    let socket = ControlSocket::open(&path, None).unwrap();
    if !channel::refuse_descriptors(&socket).unwrap() {
        println!("SKIPPED: needs SO_PASSRIGHTS (Linux 6.16)");
        return;
    }
    let flags = SocketFlags::CLOEXEC;
    let caller = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    rustix::net::connect(&caller, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    let caller = Channel::from_fd(caller);
    // Before and after it is accepted.
    assert!(caller.send(0, &true, &[socket.as_fd()]).is_err());
    let accepted = socket.accept().unwrap().unwrap();
    assert!(caller.send(0, &true, &[socket.as_fd()]).is_err());
    caller.send(0, &true, &[]).unwrap();
    assert!(matches!(accepted.request(), Ok(Some(Err(VerbError::Length)))));
}
