use proptest::prelude::*;

use super::*;

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

/// Read, then printed again.
fn check(before: &str, after: &str) {
    let name = dn(before);
    assert_eq!(name.to_oneline(), after);
    assert_eq!(dn(after), name);
}

fn check_error(text: &str, error: &str) {
    assert_eq!(SubjectDn::parse_oneline(text).unwrap_err().to_string(), error);
}

fn attribute(word: &str, value: &[u8]) -> Attribute {
    Attribute::new(AttributeType::from_word(word).unwrap(), value.to_vec()).unwrap()
}

fn name(rdns: &[&[(&str, &str)]]) -> SubjectDn {
    let rdn = |attributes: &&[(&str, &str)]| {
        Rdn::new(attributes.iter().map(|(word, value)| attribute(word, value.as_bytes())).collect())
            .unwrap()
    };
    SubjectDn::from_rdns(rdns.iter().map(rdn).collect()).unwrap()
}

#[test]
fn spellings() {
    check("/O=Grid/CN=Alice", "/O=Grid/CN=Alice");
    check("/o=Grid/cn=Alice", "/O=Grid/CN=Alice");
    check("/CN=host/foo.example.org", "/CN=host/foo.example.org");
    check("/CN=host\\/foo.example.org", "/CN=host/foo.example.org");
    check("/E=a@b.c/Email=d@e.f", "/emailAddress=a@b.c/emailAddress=d@e.f");
    check("/USERID=al/uid=bo", "/UID=al/UID=bo");
    check("/CN=Ren\u{e9}", "/CN=Ren\\xC3\\xA9");
    check("/CN=Ren\\xc3\\xa9", "/CN=Ren\\xC3\\xA9");
    check("/CN=say \\\"hi\\\"", "/CN=say \"hi\"");
    check("/CN=a\\\\b", "/CN=a\\\\b");
    check("/CN=a\\x00b", "/CN=a\\x00b");
    check(
        "/CN=https://esg.example.gov/idp/openid/name",
        "/CN=https://esg.example.gov/idp/openid/name",
    );
    check("/2.5.4.3=a/1.2.3.4=b", "/CN=a/1.2.3.4=b");
    check("/CN=C++ group/OU=", "/CN=C++ group/OU=");
    check("/UID=b+CN=a", "/CN=a+UID=b");
    check("/CN= a  b ", "/CN= a  b ");
    check("/CN=a,b=c, d", "/CN=a,b=c, d");
}

#[test]
fn mistakes_say_where() {
    check_error("", "the name is empty");
    check_error("/", "the name is empty");
    check_error("CN=a", "a name begins with '/'");
    check_error("/CN", "expected TYPE= at byte 1");
    check_error("//CN=a", "expected TYPE= at byte 1");
    check_error("/=a", "expected TYPE= at byte 1");
    check_error(
        "/CN=a/path=5",
        "unknown attribute type \"path\" at byte 6 (if it belongs to the value before it, write \
         '\\/' for '/')",
    );
    check_error("/CN=a\\", "unfinished escape at byte 5");
    check_error("/CN=a\\x4", "unfinished escape at byte 5");
    check_error("/CN=a\\x4g", "unfinished escape at byte 5");
    check_error("/CN=a\r", "control byte 0x0d at byte 5");
    check_error("/CN=a\tb", "control byte 0x09 at byte 5");
}

#[test]
fn limits() {
    let long = |rdns: usize| SubjectDn::parse_oneline(&"/CN=a".repeat(rdns));
    assert!(long(RDNS_MAX - 1).is_ok());
    assert!(long(RDNS_MAX).is_ok());
    assert_eq!(long(RDNS_MAX + 1), Err(DnError::TooLong("RDNS_MAX")));
    let wide =
        |count: usize| SubjectDn::parse_oneline(&format!("/CN=a{}", "+UID=b".repeat(count - 1)));
    assert!(wide(ATTRIBUTES_MAX).is_ok());
    assert_eq!(wide(ATTRIBUTES_MAX + 1), Err(DnError::TooLong("ATTRIBUTES_MAX")));
    let value = |bytes: usize| SubjectDn::parse_oneline(&format!("/CN={}", "a".repeat(bytes)));
    assert!(value(VALUE_BYTES_MAX).is_ok());
    assert_eq!(value(VALUE_BYTES_MAX + 1), Err(DnError::TooLong("VALUE_BYTES_MAX")));
    assert!(AttributeType::from_oid("1.02").is_none());
    assert!(AttributeType::from_oid("CN").is_none());
    assert!(AttributeType::from_oid(&format!("1{}", ".1".repeat(OID_BYTES_MAX))).is_none());
}

#[test]
fn a_value_that_looks_like_an_rdn_is_another_name() {
    let two = name(&[&[("CN", "x")], &[("OU", "y")]]);
    let one = name(&[&[("CN", "x/OU=y")]]);
    let odd = name(&[&[("CN", "x+UID=y")]]);
    assert_eq!(two.to_oneline(), "/CN=x/OU=y");
    assert_eq!(one.to_oneline(), "/CN=x\\/OU=y");
    assert_ne!(one.matching_key(), two.matching_key());
    assert!(one.is_ambiguous() && odd.is_ambiguous() && !two.is_ambiguous());
    assert!(!dn("/CN=host/foo.example.org").is_ambiguous());
    assert!(!dn("/CN=a=b/c").is_ambiguous());
    assert!(name(&[&[("CN", "a/path=5")]]).is_ambiguous());
    assert!(name(&[&[("CN", "a/1.2=5")]]).is_ambiguous());
    assert!(!two.is_prefix_of(&one) && !one.is_prefix_of(&two));
}

#[test]
fn matching_is_blind_to_case_and_equality_is_not() {
    let (lower, upper) = (dn("/o=grid/cn=alice/e=a@b"), dn("/O=GRID/CN=Alice/EMAILADDRESS=A@B"));
    assert_ne!(lower, upper);
    assert_eq!(lower.matching_key(), upper.matching_key());
    // Case folding may change the order in a set.
    assert_eq!(dn("/CN=a+CN=B").matching_key(), dn("/CN=A+CN=b").matching_key());
}

#[test]
fn prefixes_end_at_an_rdn() {
    let check = |prefix: &str, of: &str, is: bool| {
        assert_eq!(dn(prefix).is_prefix_of(&dn(of)), is, "{prefix} of {of}");
    };
    check("/O=Grid", "/O=Grid/CN=Joe", true);
    check("/o=grid", "/O=Grid/CN=Joe", true);
    check("/O=Grid/CN=Joe", "/O=Grid/CN=Joe", true);
    check("/O=Grid/CN=Joe", "/O=Grid/CN=Joe Evil", false);
    check("/O=Grid/CN=Joe", "/O=Grid/CN=Joe/CN=123", true);
    check("/O=Gri", "/O=Grid/CN=Joe", false);
    check("/O=Grid/CN=Joe", "/O=Grid", false);
    check("/CN=Joe", "/CN=Joe+UID=1", false);
}

#[test]
fn bytes_that_are_no_name() {
    let good = dn("/O=Grid/CN=a+UID=b").to_bytes();
    for cut in 0..good.len() {
        assert!(SubjectDn::from_bytes(&good[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(SubjectDn::from_bytes(&longer).is_err());
    // One RDN with one attribute whose type is spelt in another way.
    let other = [1, 0, 1, 0, 1, 0, b'E', 1, 0, b'x'];
    assert_eq!(SubjectDn::from_bytes(&other), Err(DnError::NotBytes("not the one form of it")));
    assert!(SubjectDn::from_bytes(&[0xff; 40]).is_err());
}

fn any_name() -> impl Strategy<Value = SubjectDn> {
    let word = prop::sample::select(vec!["CN", "O", "OU", "UID", "DC", "emailAddress", "1.2.3.4"]);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "[a-zA-Z/+=\\\\\" .0-9]{0,12}".prop_map(String::into_bytes),
        "(/|\\+)(CN|O|x|1\\.2)=[/+\\\\]{0,2}".prop_map(String::into_bytes),
    ];
    let one = (word, value).prop_map(|(word, value)| attribute(word, &value));
    let rdn = prop::collection::vec(one, 1..3).prop_map(|all| Rdn::new(all).unwrap());
    prop::collection::vec(rdn, 1..5).prop_map(|rdns| SubjectDn::from_rdns(rdns).unwrap())
}

proptest! {
    #[test]
    fn oneline_round_trip(name in any_name()) {
        let line = name.to_oneline();
        prop_assert!(line.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        prop_assert_eq!(SubjectDn::parse_oneline(&line).unwrap(), name);
    }

    #[test]
    fn bytes_round_trip(name in any_name()) {
        prop_assert_eq!(SubjectDn::from_bytes(&name.to_bytes()).unwrap(), name);
    }

    #[test]
    fn two_names_never_share_a_line(one in any_name(), other in any_name()) {
        prop_assert_eq!(one == other, one.to_oneline() == other.to_oneline());
    }

    #[test]
    fn no_text_makes_it_fall(text in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(name) = SubjectDn::parse_oneline_bytes(&text) {
            prop_assert_eq!(SubjectDn::parse_oneline(&name.to_oneline()).unwrap(), name);
        }
        if let Ok(name) = SubjectDn::from_bytes(&text) {
            prop_assert_eq!(name.to_bytes(), text);
        }
    }
}
