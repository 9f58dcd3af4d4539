use super::*;

fn text(dn: &str) -> String {
    let text = text_of(&SubjectDn::parse_oneline(dn).unwrap());
    text.iter().map(|&byte| char::from(byte)).collect()
}

#[test]
fn names_as_text() {
    let check = |dn: &str, expected: &str| assert_eq!(text(dn), expected, "{dn}");
    check("/O=Grid/CN=Alice", "/o=grid/cn=alice");
    check("/O=Grid/CN=host/foo.example.org", "/o=grid/cn=host/foo.example.org");
    check("/O=Grid/Email=a@b/USERID=x", "/o=grid/emailaddress=a@b/uid=x");
    check("/O=Grid/CN=a+UID=b", "/o=grid/cn=a+uid=b");
    check(r"/CN=Ren\xC3\xA9", "/cn=ren\u{c3}\u{a9}");
    check(r"/CN=a\\b", r"/cn=a\b");
    // In a name with a value that reads as another RDN, what joins attributes stands between them alone.
    check(r"/O=Grid/CN=a\/CN=b", r"/o=grid/cn=a\x2fcn=b");
    check(
        r"/O=Gr\xC3\xA9\\/CN=a\+OU=b/CN=host/c",
        "/o=gr\u{c3}\u{a9}\\\\/cn=a\\x2bou=b/cn=host\\x2fc",
    );
}

#[test]
fn escapes_and_spellings_of_patterns() {
    let check = |written: &str, expected: &str| {
        assert_eq!(unescape(written.as_bytes()).as_deref(), Some(expected.as_bytes()), "{written}");
    };
    check("/O=Grid/*", "/o=grid/*");
    check("/Email=A/E=b+UserID=c/CN=email=", "/emailaddress=a/emailaddress=b+uid=c/cn=email=");
    check(r"/CN=a\/b\\c\x41", r"/cn=a/b\ca");
    assert_eq!(unescape(b"a\\"), None);
    assert_eq!(unescape(b"\\x4"), None);
    assert_eq!(unescape(b"\\xg0"), None);
}

#[test]
fn only_the_last_star_is_a_wildcard() {
    let check = |pattern: &str, text: &str, expected: bool| {
        assert_eq!(globbed(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
    };
    check("/o=grid/*", "/o=grid/cn=alice", true);
    check("/o=grid/*", "/o=grid/", false); // one byte at least
    check("/o=grid/*", "/o=grid", false);
    check("/o=grid/*", "/o=gridlock/cn=a", false);
    check("/o=grid/cn=*/x", "/o=grid/cn=a/b/x", true);
    check("/o=grid/cn=*/x", "/o=grid/cn=/x", false);
    check("/o=*/cn=*", "/o=*/cn=a", true);
    check("/o=*/cn=*", "/o=grid/cn=a", false);
    check("/o=gri?/*", "/o=grid/cn=a", false);
    check("/o=grid/cn=a", "/o=grid/cn=a", true);
    check("*", "/o=grid", true);
    check("aba*aba", "ababa", false); // the two ends may not overlap
}

#[test]
fn no_pattern_takes_a_part_of_a_value_for_an_rdn() {
    let text = text(r"/O=Grid/CN=x\/OU=People");
    for pattern in ["/o=grid/*/ou=people", "*/ou=people", "/o=grid/cn=x/ou=people"] {
        assert!(!globbed(pattern.as_bytes(), text.as_bytes()), "{pattern}");
    }
    assert!(globbed(b"/o=grid/*", text.as_bytes()));
}
