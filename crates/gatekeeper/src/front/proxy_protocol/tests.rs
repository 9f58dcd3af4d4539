use std::io::ErrorKind;

use super::{REST_BYTES_MAX, SIGNATURE, read};

fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

/// What is read, and what of the bytes is left for TLS.
async fn of(bytes: &[u8]) -> (Result<Option<String>, ErrorKind>, usize) {
    let mut stream = bytes;
    let found = read(&mut stream).await;
    (
        found.map(|address| address.map(|a| a.to_string())).map_err(|error| error.kind()),
        stream.len(),
    )
}

const V4: [u8; 12] = [192, 0, 2, 9, 127, 0, 0, 1, 0x9c, 0x40, 0x20, 0xfb];

fn v6(caller: [u8; 16]) -> Vec<u8> {
    [&caller[..], &[0; 16], &[0x9c, 0x40, 0x20, 0xfb]].concat()
}

#[tokio::test]
async fn addresses_of_both_kinds() {
    let found = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(of(&header(0x21, 0x11, &V4)).await, (found("192.0.2.9"), 0));
    let documented = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    assert_eq!(of(&header(0x21, 0x21, &v6(documented))).await, (found("2001:db8::7"), 0));
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 9];
    assert_eq!(of(&header(0x21, 0x21, &v6(mapped))).await, (found("192.0.2.9"), 0));
    assert_eq!(of(&header(0x20, 0, &[])).await, (Ok(None), 0));
}

#[tokio::test]
async fn what_is_added_is_passed_over_and_what_follows_is_left() {
    let mut bytes = header(0x21, 0x11, &[&V4[..], &[0x02, 0, 3, b'a', b'b', b'c']].concat());
    bytes.extend_from_slice(b"\x16\x03\x01");
    assert_eq!(of(&bytes).await, (Ok(Some("192.0.2.9".to_owned())), 3));
    for (length, fits) in
        [(REST_BYTES_MAX - 1, true), (REST_BYTES_MAX, true), (REST_BYTES_MAX + 1, false)]
    {
        let mut rest = V4.to_vec();
        rest.resize(length, 0);
        assert_eq!(of(&header(0x21, 0x11, &rest)).await.0.is_ok(), fits, "{length}");
    }
}

#[tokio::test]
async fn anything_else_is_refused() {
    let mut bad_signature = header(0x21, 0x11, &V4);
    bad_signature[0] = b'P';
    for bytes in [
        b"PROXY TCP4 192.0.2.9 127.0.0.1 40000 8443\r\n".to_vec(),
        bad_signature,
        header(0x21, 0x11, &V4[..11]),
        header(0x21, 0x21, &[0; 35]),
        header(0x21, 0x00, &V4),
        header(0x21, 0x12, &V4),
        header(0x21, 0x31, &[0; 216]),
        header(0x22, 0x11, &V4),
        header(0x11, 0x11, &V4),
    ] {
        assert_eq!(of(&bytes).await.0, Err(ErrorKind::InvalidData), "{bytes:?}");
    }
    let whole = header(0x21, 0x11, &V4);
    for length in 0..whole.len() {
        assert_eq!(of(&whole[..length]).await.0, Err(ErrorKind::UnexpectedEof), "{length}");
    }
}
