use proptest::prelude::*;

use super::*;

/// A DER value.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(u8::try_from(short).unwrap()),
        _ => {
            let length: Vec<_> = length.into_iter().skip_while(|&byte| byte == 0).collect();
            out.push(0x80 | u8::try_from(length.len()).unwrap());
            out.extend(length);
        }
    }
    out.extend(content);
    out
}

/// The parts of a list; [`List::file`] puts them together without a true signature.
#[derive(Clone)]
struct List {
    version: Option<u8>,
    algorithm: Vec<u8>,
    issuer: Vec<u8>,
    times: Vec<Vec<u8>>,
    entries: Vec<Vec<u8>>,
    extensions: Vec<Vec<u8>>,
}

const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

impl List {
    fn new() -> Self {
        let value = der(0x0c, &[b"CA"]);
        let attribute = der(SEQUENCE, &[&der(OID, &[&[0x55, 4, 3]]), &value]);
        Self {
            version: Some(1),
            algorithm: der(SEQUENCE, &[&der(OID, &[ED25519])]),
            issuer: der(SEQUENCE, &[&der(0x31, &[&attribute])]),
            times: vec![utc("260101000000Z"), utc("270101000000Z")],
            entries: vec![entry(&[5], &[]), entry(&[0, 0x80], &[]), entry(&[1, 2, 3], &[])],
            extensions: vec![],
        }
    }

    fn with(extensions: &[Vec<u8>]) -> Self {
        Self { extensions: extensions.to_vec(), ..Self::new() }
    }

    fn file(&self) -> Vec<u8> {
        let version = self.version.map(|version| der(INTEGER, &[&[version]]));
        let entries = der(SEQUENCE, &[&self.entries.concat()]);
        let extensions = der(EXTENSIONS, &[&der(SEQUENCE, &[&self.extensions.concat()])]);
        let list = der(
            SEQUENCE,
            &[
                &version.unwrap_or_default(),
                &der(SEQUENCE, &[&der(OID, &[ED25519])]),
                &self.issuer,
                &self.times.concat(),
                if self.entries.is_empty() { &[] } else { &entries },
                if self.extensions.is_empty() { &[] } else { &extensions },
            ],
        );
        der(SEQUENCE, &[&list, &self.algorithm, &der(BIT_STRING, &[&[0; 65]])])
    }

    #[track_caller]
    fn check(&self, expected: &str) {
        let read = Crl::parse(&self.file());
        let told =
            read.map_or_else(|error| error.to_string(), |crl| format!("{} listed", crl.len()));
        assert_eq!(told, expected);
    }
}

fn utc(text: &str) -> Vec<u8> {
    der(UTC_TIME, &[text.as_bytes()])
}

fn entry(serial: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
    let extensions = match extensions {
        [] => Vec::new(),
        some => der(SEQUENCE, &[&some.concat()]),
    };
    der(SEQUENCE, &[&der(INTEGER, &[serial]), &utc("260601000000Z"), &extensions])
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag = if critical { der(BOOLEAN, &[&[0xff]]) } else { Vec::new() };
    der(SEQUENCE, &[&der(OID, &[oid]), &flag, &der(OCTET_STRING, &[value])])
}

#[test]
fn a_list_of_either_version() {
    List::new().check("3 listed");
    List { version: None, ..List::new() }.check("3 listed");
    List { entries: vec![], ..List::new() }.check("0 listed");
    let twice = vec![entry(&[5], &[]), entry(&[5], &[])];
    List { entries: twice, ..List::new() }.check("1 listed");
    let late = der(GENERALIZED_TIME, &[b"20500101000000Z"]);
    List { times: vec![utc("260101000000Z"), late], ..List::new() }.check("3 listed");
}

#[test]
fn serial_numbers_are_compared_without_leading_zeros() {
    let crl = Crl::parse(&List::new().file()).unwrap();
    let check = |serial: &[u8], listed: bool| assert_eq!(crl.lists(serial), listed, "{serial:?}");
    check(&[5], true);
    check(&[0, 5], true);
    check(&[0x80], true);
    check(&[0, 0x80], true);
    check(&[1, 2, 3], true);
    check(&[1, 2], false);
    check(&[6], false);
    check(&[], false);
    let zero = List { entries: vec![entry(&[0], &[])], ..List::new() };
    assert!(Crl::parse(&zero.file()).unwrap().lists(&[0]));
}

#[test]
fn what_it_says_of_itself() {
    let crl = Crl::parse(&List::new().file()).unwrap();
    assert_eq!(crl.issuer.to_oneline(), "/CN=CA");
    assert_eq!((crl.this_update, crl.next_update), (1_767_225_600, 1_798_761_600));
}

#[test]
fn pem() {
    use base64::Engine;
    let base64 = base64::prelude::BASE64_STANDARD.encode(List::new().file());
    let pem = format!("some words\n-----BEGIN X509 CRL-----\n{base64}\n-----END X509 CRL-----\n");
    assert_eq!(Crl::parse(pem.as_bytes()), Crl::parse(&List::new().file()));
    assert_eq!(Crl::parse(pem.repeat(2).as_bytes()), Err(CrlError::Several));
    assert_eq!(Crl::parse(&pem.as_bytes()[..80]), Err(CrlError::NoCrl));
    assert_eq!(Crl::parse(b""), Err(CrlError::NoCrl));
    assert_eq!(Crl::parse(pem.replace("X509 CRL", "CERTIFICATE").as_bytes()), Err(CrlError::NoCrl));
}

#[test]
fn extensions_of_the_list() {
    let check = |extensions: &[Vec<u8>], expected: &str| List::with(extensions).check(expected);
    let idp =
        |fields: &[u8]| extension(oid::ISSUING_DISTRIBUTION_POINT, true, &der(SEQUENCE, &[fields]));
    let number = extension(oid::CRL_NUMBER, false, &[2, 1, 7]);
    check(&[number.clone(), extension(oid::AUTHORITY_KEY_ID, false, &[0x30, 0])], "3 listed");
    check(&[number.clone(), number.clone()], "it has the extension 2.5.29.20 twice");
    check(&[extension(oid::DELTA_INDICATOR, true, &[2, 1, 6])], "it is a delta CRL");
    check(&[extension(oid::DELTA_INDICATOR, false, &[2, 1, 6])], "it is a delta CRL");
    check(&[extension(&[0x2a, 3], false, &[5, 0])], "3 listed");
    check(
        &[extension(&[0x2a, 3], true, &[5, 0])],
        "it has the critical extension 1.2.3, which this server does not know",
    );
    let partial = "it covers only some of its CA's certificates (issuingDistributionPoint)";
    check(&[idp(&[])], "3 listed");
    check(&[idp(&[0x81, 1, 0, 0x84, 1, 0])], "3 listed");
    check(&[idp(&[0x84, 1, 0xff])], "it is an indirect CRL");
    check(&[idp(&[0xa0, 0])], partial);
    for flag in [0x81, 0x82, 0x85] {
        check(&[idp(&[flag, 1, 0xff])], partial);
    }
    check(&[idp(&[0x83, 2, 0, 0x40])], partial);
    let loose = extension(oid::ISSUING_DISTRIBUTION_POINT, false, &[0x30, 3, 0x84, 1, 0xff]);
    check(&[loose], "it is an indirect CRL");
}

#[test]
fn extensions_of_an_entry() {
    let check = |extensions: &[Vec<u8>], expected: &str| {
        List { entries: vec![entry(&[5], extensions)], ..List::new() }.check(expected);
    };
    check(&[extension(oid::REASON_CODE, false, &[0x0a, 1, 1])], "1 listed");
    check(&[extension(oid::REASON_CODE, false, &[0x0a, 1, 6])], "1 listed"); // on hold is revoked
    check(&[extension(oid::REASON_CODE, false, &[0x0a, 1, 8])], "it is a delta CRL");
    check(&[extension(oid::CERTIFICATE_ISSUER, true, &[0x30, 0])], "it is an indirect CRL");
    check(&[extension(oid::CERTIFICATE_ISSUER, false, &[0x30, 0])], "it is an indirect CRL");
    check(
        &[extension(&[0x2a, 3], true, &[5, 0])],
        "it has the critical extension 1.2.3, which this server does not know",
    );
}

#[test]
fn what_is_not_whole() {
    let unreadable = |list: List, place: &str| list.check(&format!("it cannot be read ({place})"));
    let new = List::new;
    unreadable(List { version: Some(2), ..new() }, "version");
    unreadable(List { version: Some(0), ..new() }, "version");
    unreadable(List { times: vec![], ..new() }, "thisUpdate");
    unreadable(List { times: vec![utc("261301000000Z")], ..new() }, "thisUpdate");
    unreadable(List { issuer: vec![], ..new() }, "issuer");
    unreadable(
        List { algorithm: der(SEQUENCE, &[&der(OID, &[&[0x2b, 0x65, 0x71]])]), ..new() },
        "two signature algorithms",
    );
    // One bad entry, and not just the others are read.
    let bad = vec![entry(&[5], &[]), der(SEQUENCE, &[&der(BOOLEAN, &[&[1]])])];
    unreadable(List { entries: bad, ..new() }, "an entry's serial number");
    unreadable(List { entries: vec![der(INTEGER, &[&[1]])], ..new() }, "an entry");
    let number = extension(oid::CRL_NUMBER, false, &[2, 1, 7]);
    unreadable(
        List { version: None, extensions: vec![number.clone()], ..new() },
        "extensions in version 1",
    );
    let entries = vec![entry(&[5], &[extension(oid::REASON_CODE, false, &[0x0a, 1, 1])])];
    unreadable(List { version: None, entries, ..new() }, "extensions in version 1");
    List { times: vec![utc("260101000000Z")], ..new() }
        .check("it does not say when the next one is due (nextUpdate)");
    List { issuer: der(SEQUENCE, &[]), ..new() }
        .check("its issuer's name cannot be used: the name is empty");
    let mut longer = new().file();
    longer.push(0);
    assert_eq!(Crl::parse(&longer), Err(CrlError::Unreadable("CertificateList")));
}

#[test]
fn size() {
    let file = |bytes: usize| vec![b'#'; bytes];
    assert_eq!(Crl::parse(&file(CRL_BYTES_MAX)), Err(CrlError::NoCrl));
    assert_eq!(Crl::parse(&file(CRL_BYTES_MAX + 1)), Err(CrlError::TooLarge));
}

proptest! {
    #[test]
    fn every_serial_is_found_and_no_other(
        serials in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..40),
        other in prop::collection::vec(any::<u8>(), 1..20))
    {
        let entries = serials.iter().map(|serial| entry(serial, &[])).collect();
        let crl = Crl::parse(&List { entries, ..List::new() }.file()).unwrap();
        for serial in &serials {
            prop_assert!(crl.lists(serial));
        }
        let number = |serial: &[u8]| unsigned(serial).to_vec();
        let known = serials.iter().any(|serial| number(serial) == number(&other));
        prop_assert_eq!(crl.lists(&other), known);
    }

    #[test]
    fn no_byte_makes_it_fall(place: usize, byte: u8, cut in 0_usize..8) {
        let mut file = List::with(&[extension(oid::CRL_NUMBER, false, &[2, 1, 7])]).file();
        let place = place % file.len();
        file[place] = byte;
        let whole = file.len();
        file.truncate(whole - cut);
        let read = Crl::parse(&file);
        prop_assert!(cut == 0 || read.is_err());
    }

    #[test]
    fn no_bytes_make_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Crl::parse(&[&[SEQUENCE], &bytes[..]].concat()).is_err());
    }
}
