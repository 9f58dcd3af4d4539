use x509_parser::prelude::FromDer;

use super::*;

/// The name of one CN whose value has this tag and content, or why it cannot be used.
fn check(tag: u8, content: &[u8], expected: Result<&str, &str>) {
    let value = [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let attribute = der(0x30, &[&[0x06, 3, 0x55, 0x04, 0x03], value.as_slice()].concat());
    let name = der(0x30, &der(0x31, &attribute));
    let (_, name) = X509Name::from_der(&name).unwrap();
    let told = to_dn(&name).map(|dn| dn.to_oneline()).map_err(|error| error.to_string());
    assert_eq!(told, expected.map(str::to_owned).map_err(str::to_owned), "tag {tag:#x}");
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

const NO_TEXT: Result<&str, &str> = Err("it has a value that is no text");

#[test]
fn every_string_type_is_one_spelling_of_its_text() {
    check(0x0c, "é".as_bytes(), Ok("/CN=\\xC3\\xA9"));
    check(0x1e, &[0, 0xe9], Ok("/CN=\\xC3\\xA9"));
    check(0x1c, &[0, 0, 0, 0xe9], Ok("/CN=\\xC3\\xA9"));
    for tag in [0x0c, 0x13, 0x14, 0x16, 0x1a] {
        check(tag, b"Alice", Ok("/CN=Alice"));
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    // A T61String of these bytes is "Ã©" to one reader, and "é" to another.
    check(0x14, "é".as_bytes(), NO_TEXT);
    check(0x14, &[0xe9], Ok("/CN=\\xE9"));
    check(0x16, "é".as_bytes(), NO_TEXT);
    check(0x0c, &[0xe9], NO_TEXT);
    check(0x1e, &[0xe9], NO_TEXT);
    check(0x04, b"octets", NO_TEXT);
    // [12], which is UTF8String's number in another class.
    check(0x8c, b"Alice", NO_TEXT);
}
