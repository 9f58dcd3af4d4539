use x509_parser::prelude::X509Certificate;

use super::*;
use crate::testing::root;

/// What `openssl x509 -hash` and `-subject_hash_old` say of names with every string type is compared in
/// `tests/trust_tools.rs`; these were taken from there.
#[test]
fn known_hashes() {
    let der = root("Root", crate::testing::unchanged).der;
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(both(certificate.subject()), ["7e81520a".to_owned(), "d75cacd5".to_owned()]);
}

#[test]
fn strings_are_folded() {
    assert_eq!(folded("  A \t\r\n Bc\u{b}D "), b"a bc d");
    assert_eq!(folded(" "), b"");
    assert_eq!(folded("RENÉ"), "renÉ".as_bytes()); // ASCII alone
}

#[test]
fn lengths_in_der() {
    let header = |length| wrapped(Tag::Set, &vec![0; length])[..].to_vec();
    assert_eq!(header(127)[..2], [0x31, 127]);
    assert_eq!(header(128)[..3], [0x31, 0x81, 128]);
    assert_eq!(header(256)[..4], [0x31, 0x82, 1, 0]);
}
