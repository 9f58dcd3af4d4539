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

/// A name in both forms, read and written.
fn check_forms(oneline: &str, rfc4514: &str) {
    let name = dn(oneline);
    assert_eq!(name.to_rfc4514(), rfc4514);
    assert_eq!(name.to_oneline(), oneline);
    assert_eq!(SubjectDn::parse_rfc4514(rfc4514).unwrap(), name);
    assert_eq!(SubjectDn::parse_any(rfc4514).unwrap(), name);
    assert_eq!(SubjectDn::parse_any(oneline).unwrap(), name);
}

/// Read from RFC 4514's form as others may write it, it is the name with this one-line form.
fn check_rfc4514(written: &str, oneline: &str) {
    assert_eq!(SubjectDn::parse_rfc4514(written).map(|name| name.to_oneline()), Ok(oneline.into()));
}

fn check_rfc4514_error(written: &str, error: &str) {
    assert_eq!(SubjectDn::parse_rfc4514(written).unwrap_err().to_string(), error);
}

#[test]
fn both_forms() {
    check_forms("/O=Grid/OU=People/CN=Alice", "CN=Alice,OU=People,O=Grid");
    check_forms("/C=US/CN=a+UID=b", "CN=a+UID=b,C=US");
    check_forms("/CN= a  b ", "CN=\\ a  b\\ ");
    check_forms("/CN= ", "CN=\\ ");
    check_forms("/CN=  ", "CN=\\ \\ ");
    check_forms("/CN=#1 #2", "CN=\\#1 #2");
    check_forms("/CN=a<b>;\"c\"", "CN=a\\<b\\>\\;\\\"c\\\"");
    check_forms("/CN=a\\\\b", "CN=a\\\\b");
    check_forms("/CN=a\\x00b", "CN=a\\00b");
    check_forms("/CN=C++ group/OU=", "OU=,CN=C\\+\\+ group");
    check_forms("/CN=x\\/OU=y", "CN=x/OU=y");
    check_forms("/1.2.3.4=bl\\xC3\\xA9/CN=a", "CN=a,1.2.3.4=#0C04626CC3A9");
    check_forms("/1.2.3.4=\\xE9", "1.2.3.4=#1401E9");
    let long = "a".repeat(300);
    check_forms(&format!("/1.2.3={long}"), &format!("1.2.3=#0C82012C{}", "61".repeat(300)));
    let long = "a".repeat(128);
    check_forms(&format!("/1.2.3={long}"), &format!("1.2.3=#0C8180{}", "61".repeat(128)));
}

#[test]
fn xrootd_1681_and_1684_a_comma_in_a_value() {
    check_forms("/C=US/O=Example, Inc/CN=Doe, Jo", "CN=Doe\\, Jo,O=Example\\, Inc,C=US");
    check_rfc4514("CN=\"Doe, Jo\", O=\"Example, Inc\", C=US", "/C=US/O=Example, Inc/CN=Doe, Jo");
    // Bare, it cannot be told from the end of the value.
    check_rfc4514_error(
        "CN=Jo,O=Example, Inc,C=US",
        "expected TYPE= at byte 17 (if it belongs to the value before it, write '\\,' for ',')",
    );
    assert_ne!(dn("/O=Example, Inc"), dn("/O=Example,Inc"));
    assert_ne!(dn("/O=a,CN=b"), dn("/CN=b/O=a"));
    assert_ne!(dn("/O=a,CN=b").to_rfc4514(), dn("/CN=b/O=a").to_rfc4514());
}

#[test]
fn nimbus_75_an_equals_sign_in_a_common_name() {
    check_forms("/O=Grid/CN=id=75 a=b", "CN=id=75 a=b,O=Grid");
    check_rfc4514("CN=id\\=75 a\\=b,O=Grid", "/O=Grid/CN=id=75 a=b");
    check_forms("/O=Grid/CN==", "CN==,O=Grid");
}

#[test]
fn cdat_1337_a_common_name_that_is_a_url() {
    let url = "https://esg.ccs.ornl.gov/esgf-idp/openid/name";
    check_forms(&format!("/O=ESGF/OU=ESGF.ORG/CN={url}"), &format!("CN={url},OU=ESGF.ORG,O=ESGF"));
    let newer = url.replace('/', "\\/");
    assert_eq!(dn(&format!("/CN={newer}")), dn(&format!("/CN={url}")));
    assert!(!dn(&format!("/CN={url}")).is_ambiguous());
    // A path that holds `x=` reads as an RDN: it must be escaped, and is.
    let query = name(&[&[("CN", "https://host/path/a=1?b=2")]]);
    assert_eq!(query.to_oneline(), "/CN=https://host/path\\/a=1?b=2");
    assert_eq!(query.to_rfc4514(), "CN=https://host/path/a=1?b=2");
    assert!(query.is_ambiguous());
}

#[test]
fn host_and_service_names() {
    check_forms(
        "/DC=org/DC=example/CN=host/a.example.org",
        "CN=host/a.example.org,DC=example,DC=org",
    );
    check_forms("/CN=ldap/a.example.org:389", "CN=ldap/a.example.org:389");
    check_forms("/CN=*.example.org", "CN=*.example.org");
}

#[test]
fn a_type_has_many_spellings_and_one_name() {
    for word in ["emailAddress", "Email", "E", "EMAIL", "1.2.840.113549.1.9.1"] {
        check(&format!("/{word}=a@b"), "/emailAddress=a@b");
        check_rfc4514(&format!("{word}=a@b"), "/emailAddress=a@b");
    }
    for word in ["UID", "USERID", "userId", "0.9.2342.19200300.100.1.1"] {
        check(&format!("/{word}=al"), "/UID=al");
        check_rfc4514(&format!("{word}=al"), "/UID=al");
    }
    // Neither is the user's id, nor the address of PKCS #9.
    assert_ne!(dn("/x500UniqueIdentifier=al"), dn("/UID=al"));
    assert_ne!(dn("/mail=a@b"), dn("/emailAddress=a@b"));
    // A surname is no serial number, whatever some tools call it.
    assert_ne!(dn("/SN=1"), dn("/serialNumber=1"));
    check_rfc4514("commonName=a,OID.2.5.4.10=b,oid.1.2.3=c", "/1.2.3=c/O=b/CN=a");
    assert!(SubjectDn::parse_oneline("/commonName=a").is_err());
    assert!(SubjectDn::parse_rfc4514("OID.CN=a").is_err());
}

#[test]
fn no_two_types_share_a_name() {
    let names = attribute::names();
    for (index, one) in names.iter().enumerate() {
        for other in names.iter().skip(index + 1) {
            assert!(!one.eq_ignore_ascii_case(other), "{one} and {other}");
        }
    }
}

#[test]
fn letters_that_look_alike_are_told_apart() {
    let (composed, decomposed) = (dn("/CN=Ren\u{e9}"), dn("/CN=Rene\u{301}"));
    assert_ne!(composed.matching_key(), decomposed.matching_key());
    assert_eq!(composed.to_oneline(), "/CN=Ren\\xC3\\xA9");
    assert_eq!(decomposed.to_oneline(), "/CN=Rene\\xCC\\x81");
    assert_eq!(decomposed.to_rfc4514(), "CN=Rene\\CC\\81");
    // Case counts nowhere but in ASCII; a Latin-1 letter is no UTF-8 one.
    assert_ne!(dn("/CN=\u{c9}").matching_key(), dn("/CN=\u{e9}").matching_key());
    assert_ne!(dn("/CN=Ren\\xE9").matching_key(), composed.matching_key());
    // Cyrillic, a letter that turns the text round, one of no width: each is seen in both forms.
    for odd in ["\u{430}", "\u{202e}a", "a\u{200b}"] {
        let name = name(&[&[("CN", odd)]]);
        assert!(name.to_oneline().contains("\\x") && name.to_rfc4514().is_ascii(), "{name}");
        assert_ne!(name.matching_key(), dn("/CN=a").matching_key());
    }
}

#[test]
fn blanks_and_nuls_count() {
    let names = ["a", " a", "a ", "a\\x00", "a\\x00b", "a\\x0a", "a\\x5cx00", "a\\x20\\x20"];
    let names: Vec<_> = names.iter().map(|value| dn(&format!("/CN={value}"))).collect();
    for (index, one) in names.iter().enumerate() {
        for other in &names[index + 1..] {
            assert_ne!(one.matching_key(), other.matching_key());
            assert_ne!(one.to_rfc4514(), other.to_rfc4514());
        }
    }
}

#[test]
fn rfc4514_as_others_write_it() {
    // Examples of RFC 4514, section 4, and of RFC 2253, section 5.
    check_rfc4514("UID=jsmith,DC=example,DC=net", "/DC=net/DC=example/UID=jsmith");
    check_rfc4514("OU=Sales+CN=J.  Smith,DC=net", "/DC=net/CN=J.  Smith+OU=Sales");
    check_rfc4514(
        "CN=James \\\"Jim\\\" Smith\\, III,DC=net",
        "/DC=net/CN=James \"Jim\" Smith, III",
    );
    check_rfc4514("CN=Before\\0dAfter,DC=net", "/DC=net/CN=Before\\x0DAfter");
    check_rfc4514("CN=Lu\\C4\\8Di\\C4\\87", "/CN=Lu\\xC4\\x8Di\\xC4\\x87");
    check_rfc4514("CN=Lučić", "/CN=Lu\\xC4\\x8Di\\xC4\\x87");
    check_rfc4514(
        "CN=L. Eagle;O=\"Sue, Grabbit and Runn\";C=GB",
        "/C=GB/O=Sue, Grabbit and Runn/CN=L. Eagle",
    );
    // Blanks as OpenSSL, Java and Windows put them.
    check_rfc4514("CN = a , O = b + OU = c", "/O=b+OU=c/CN=a");
    check_rfc4514("  cn=a  ,  o=b  ", "/O=b/CN=a");
    check_rfc4514("CN=a\\  ,O=b", "/O=b/CN=a ");
    check_rfc4514("CN=\"  a \\\" \" , O=#0C0162 , C=", "/C=/O=b/CN=  a \" ");
    check_rfc4514("CN=,O=b", "/O=b/CN=");
    check_rfc4514("CN=\"\"", "/CN=");
    check_rfc4514("CN=a \\20,O=b", "/O=b/CN=a  ");
    // One text, whatever string type has it.
    for written in
        ["0c0162", "130162", "160162", "140162", "1a0162", "1e020062", "1c0400000062", "0c810162"]
    {
        check_rfc4514(&format!("CN=#{written}"), "/CN=b");
    }
}

/// What tools printed of two certificates.
#[test]
fn what_tools_print() {
    let doe = "/C=US/O=Example, Inc/CN= Doe \"J\" <x>; #1\\\\ \\xC3\\xA9 ";
    for written in [
        // OpenSSL 3.0, -nameopt RFC2253, with -esc_msb, with sep_comma_plus_space.
        r#"CN=\ Doe \"J\" \<x\>\; #1\\ \C3\A9\ ,O=Example\, Inc,C=US"#,
        r#"CN=\ Doe \"J\" \<x\>\; #1\\ é\ ,O=Example\, Inc,C=US"#,
        r#"CN=\ Doe \"J\" \<x\>\; #1\\ é\ , O=Example\, Inc, C=US"#,
        // keytool.
        r#"CN=" Doe \"J\" <x>; #1\\ é ", O="Example, Inc", C=US"#,
    ] {
        check_rfc4514(written, doe);
    }
    let many = "/DC=org/O=a+b/c/CN=a+UID=b/emailAddress=x@y/ST=S/serialNumber=5/GN=g/SN=s/title=t\
                /dnQualifier=q/street=st";
    for written in [
        // Java's toString, RFC2253, RFC1779.
        "STREET=st, DNQ=q, T=t, SURNAME=s, GIVENNAME=g, SERIALNUMBER=5, ST=S, EMAILADDRESS=x@y, \
         CN=a + UID=b, O=\"a+b/c\", DC=org",
        "STREET=st,2.5.4.46=#130171,2.5.4.12=#0c0174,2.5.4.4=#0c0173,2.5.4.42=#0c0167,\
         2.5.4.5=#130135,ST=S,1.2.840.113549.1.9.1=#1603784079,CN=a+UID=b,O=a\\+b/c,DC=org",
        "STREET=st, OID.2.5.4.46=q, OID.2.5.4.12=t, OID.2.5.4.4=s, OID.2.5.4.42=g, OID.2.5.4.5=5, \
         ST=S, OID.1.2.840.113549.1.9.1=x@y, CN=a + OID.0.9.2342.19200300.100.1.1=b, O=\"a+b/c\", \
         OID.0.9.2342.19200300.100.1.25=org",
    ] {
        check_rfc4514(written, many);
    }
    // OpenSSL 3.0, -nameopt compat.
    check(
        "/DC=org/O=a\\+b\\/c/CN=a+UID=b/emailAddress=x@y",
        "/DC=org/O=a+b/c/CN=a+UID=b/emailAddress=x@y",
    );
}

#[test]
fn mistakes_in_rfc4514_say_where() {
    check_rfc4514_error("", "the name is empty");
    check_rfc4514_error("   ", "the name is empty");
    check_rfc4514_error("Alice", "expected TYPE= at byte 0");
    check_rfc4514_error("=a", "expected TYPE= at byte 0");
    check_rfc4514_error("/CN=a", "expected TYPE= at byte 0");
    let follows =
        |joint| format!(" (if it belongs to the value before it, write '\\{joint}' for '{joint}')");
    check_rfc4514_error("CN=a,", &format!("expected TYPE= at byte 5{}", follows(',')));
    check_rfc4514_error("CN=a;;O=b", &format!("expected TYPE= at byte 5{}", follows(';')));
    check_rfc4514_error("CN=C++,O=b", &format!("expected TYPE= at byte 5{}", follows('+')));
    check_rfc4514_error(
        "CN=a, path=5",
        &format!("unknown attribute type \"path\" at byte 6{}", follows(',')),
    );
    check_rfc4514_error("1.02=a", "unknown attribute type \"1.02\" at byte 0");
    check_rfc4514_error(
        "CN=a<b",
        "a '<' inside a value is written with a '\\' before it, at byte 4",
    );
    check_rfc4514_error(
        "CN=a \"b\"",
        "a '\"' inside a value is written with a '\\' before it, at byte 5",
    );
    check_rfc4514_error(
        "CN=\"a\" b",
        "a 'b' inside a value is written with a '\\' before it, at byte 7",
    );
    check_rfc4514_error("CN=\"a", "the quote at byte 3 is never closed");
    check_rfc4514_error("CN=\"a\\\"", "the quote at byte 3 is never closed");
    check_rfc4514_error("CN=a\\", "unfinished escape at byte 4");
    check_rfc4514_error("CN=a\\4", "unfinished escape at byte 4");
    check_rfc4514_error("CN=a\\x41", "unfinished escape at byte 4");
    check_rfc4514_error("CN=a\n", "control byte 0x0a at byte 4");
    check_rfc4514_error("CN=a\0", "control byte 0x00 at byte 4");
}

#[test]
fn hexadecimal_that_is_no_text() {
    let cases = [
        ("", "nothing"),
        ("0c", "no length"),
        ("0c02", "cut short"),
        ("0c0261", "cut short"),
        ("0c016162", "more behind it"),
        ("04024869", "an octet string, of which nobody knows the text"),
        ("020101", "an integer"),
        ("0c01ff", "no UTF-8"),
        ("1302c3a9", "no ASCII"),
        ("1402c3a9", "Teletex that could be UTF-8"),
        ("1e0162", "half a unit"),
        ("1e02d800", "half a surrogate pair"),
        ("1c0400110000", "no character"),
        ("0c8061", "a length that follows"),
        ("0c850000000001", "a length over 4 GB"),
        ("0c0", "half a byte"),
    ];
    for (hex, why) in cases {
        let error = "expected a string in hexadecimal BER behind the '#' at byte 3";
        let read = SubjectDn::parse_rfc4514(&format!("CN=#{hex}"));
        assert_eq!(read.unwrap_err().to_string(), error, "{why}");
    }
    assert_eq!(text_from_ber(0x14, b"Ren\xe9"), Some(b"Ren\xe9".to_vec()));
    assert_eq!(text_from_ber(0x1e, &[0xd8, 0x3d, 0xde, 0x00]), Some("\u{1f600}".into()));
}

#[test]
fn limits_of_rfc4514() {
    let long = |rdns: usize| SubjectDn::parse_rfc4514(&vec!["CN=a"; rdns].join(","));
    assert!(long(RDNS_MAX - 1).is_ok());
    assert!(long(RDNS_MAX).is_ok());
    assert_eq!(long(RDNS_MAX + 1), Err(DnError::TooLong("RDNS_MAX")));
    let wide = |count: usize| SubjectDn::parse_rfc4514(&vec!["CN=a"; count].join("+"));
    assert!(wide(ATTRIBUTES_MAX).is_ok());
    assert_eq!(wide(ATTRIBUTES_MAX + 1), Err(DnError::TooLong("ATTRIBUTES_MAX")));
    let value = |bytes: usize| SubjectDn::parse_rfc4514(&format!("CN={}", "a".repeat(bytes)));
    assert!(value(VALUE_BYTES_MAX).is_ok());
    assert_eq!(value(VALUE_BYTES_MAX + 1), Err(DnError::TooLong("VALUE_BYTES_MAX")));
}

fn any_name() -> impl Strategy<Value = SubjectDn> {
    let word = prop::sample::select(vec!["CN", "O", "OU", "UID", "DC", "emailAddress", "1.2.3.4"]);
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "[a-zA-Z/+=\\\\\" .0-9]{0,12}".prop_map(String::into_bytes),
        "(/|\\+)(CN|O|x|1\\.2)=[/+\\\\]{0,2}".prop_map(String::into_bytes),
        "[ #,;<>\"\\\\a]{0,4}".prop_map(String::into_bytes),
        // Few and short, so that two of them are often equal, or nearly so.
        "[aA ,/]{0,1}".prop_map(String::into_bytes),
    ];
    let one = (word, value).prop_map(|(word, value)| attribute(word, &value));
    let rdn = prop::collection::vec(one, 1..3).prop_map(|all| Rdn::new(all).unwrap());
    prop::collection::vec(rdn, 1..5).prop_map(|rdns| SubjectDn::from_rdns(rdns).unwrap())
}

/// Often the same, or the same but for little.
fn two_names() -> impl Strategy<Value = (SubjectDn, SubjectDn)> {
    (any_name(), any_name(), any::<bool>()).prop_map(|(one, other, alike)| {
        if !alike {
            return (one, other);
        }
        let upper = SubjectDn::parse_oneline(&one.to_oneline().replace('A', "a")).unwrap();
        (one, upper)
    })
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
    fn rfc4514_round_trip(name in any_name()) {
        let text = name.to_rfc4514();
        prop_assert!(text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
        prop_assert_eq!(SubjectDn::parse_rfc4514(&text).unwrap(), name.clone());
        prop_assert_eq!(SubjectDn::parse_any(&text).unwrap(), name);
    }

    #[test]
    fn two_names_never_share_a_form((one, other) in two_names()) {
        prop_assert_eq!(one == other, one.to_oneline() == other.to_oneline());
        prop_assert_eq!(one == other, one.to_rfc4514() == other.to_rfc4514());
        prop_assert_eq!(one == other, one.to_bytes() == other.to_bytes());
        let folded = one.matching_key() == other.matching_key();
        let same = one.is_prefix_of(&other) && other.is_prefix_of(&one);
        prop_assert_eq!(folded, same);
    }

    #[test]
    fn a_name_in_any_case_has_one_key(name in any_name()) {
        let shout = |attribute: &Attribute| {
            Attribute::new(attribute.kind().clone(), attribute.value().to_ascii_uppercase()).unwrap()
        };
        let loud = |rdn: &Rdn| Rdn::new(rdn.attributes().iter().map(shout).collect()).unwrap();
        let loud = SubjectDn::from_rdns(name.rdns().iter().map(loud).collect()).unwrap();
        prop_assert_eq!(loud.matching_key(), name.matching_key());
        // The one-line form may be written in either case too, but for the x of its escapes.
        let text = name.to_oneline().to_ascii_lowercase();
        prop_assert_eq!(SubjectDn::parse_oneline(&text).unwrap().matching_key(), name.matching_key());
    }

    #[test]
    fn a_name_is_its_own_pattern(name in any_name()) {
        let written = name.to_oneline().replace('*', "\\*");
        let pattern = DnPattern::parse(&written).unwrap();
        prop_assert!(pattern.matches(&name));
        prop_assert_eq!(DnPattern::parse(&pattern.to_string()).unwrap(), pattern);
    }

    #[test]
    fn text_makes_nothing_fall(text in "[CNOU=,;+#\"\\\\ /*a0.<\\x00é-]{0,24}|\\PC{0,24}") {
        for name in [SubjectDn::parse_any(&text), SubjectDn::parse_rfc4514(&text)].into_iter().flatten() {
            prop_assert_eq!(SubjectDn::parse_rfc4514(&name.to_rfc4514()).unwrap(), name.clone());
            prop_assert_eq!(SubjectDn::parse_oneline(&name.to_oneline()).unwrap(), name);
        }
        if let Ok(pattern) = DnPattern::parse(&text) {
            prop_assert_eq!(DnPattern::parse(&pattern.to_string()).unwrap(), pattern);
        }
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
