use super::*;
use crate::testing::forge::{self, tlv};

#[track_caller]
fn check_length(content: &[u8], expected: Option<u32>) {
    assert_eq!(to_length(content), expected, "{content:x?}");
}

#[test]
fn lengths() {
    check_length(&[0], Some(0));
    check_length(&[0x7f], Some(127));
    check_length(&[0, 0x80], Some(128));
    check_length(&[1, 0], Some(256));
    check_length(&[0x7f, 0xff, 0xff, 0xff], Some(0x7fff_ffff));
    check_length(&[0, 0xff, 0xff, 0xff, 0xff], Some(u32::MAX));
    check_length(&[1, 0, 0, 0, 0], Some(u32::MAX));
    check_length(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], Some(u32::MAX));
    check_length(&[], None);
    check_length(&[0x80], None);
    check_length(&[0, 0], None);
    check_length(&[0, 0x7f], None);
}

#[test]
fn what_globus_writes() {
    // As grid-proxy-init -rfc and -draft with -path-length 3 wrote them.
    let rfc = [0x30, 15, 2, 1, 3, 0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 21, 1];
    let draft = [0x30, 17, 0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 21, 1, 0xa1, 3, 2, 1, 3];
    for (family, der) in [(Family::Rfc, &rfc[..]), (Family::Draft, &draft[..])] {
        let read = Proxy { family, kind: ProxyKind::Full, path_length: Some(3) };
        assert_eq!(read_info(family, der), Ok(read));
    }
    assert_eq!(rfc[..], forge::info(Some(3), forge::FULL));
    assert_eq!(draft[..], forge::draft_info(Some(3), forge::FULL));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_fall(bytes: Vec<u8>) {
        for family in [Family::Rfc, Family::Draft] {
            for der in [bytes.clone(), tlv(0x30, &bytes), tlv(0x30, &tlv(0x30, &bytes))] {
                let read = read_info(family, &der);
                proptest::prop_assert!(read.is_err() || der.len() >= 12);
            }
        }
    }
}
