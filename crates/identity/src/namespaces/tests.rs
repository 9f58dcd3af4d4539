use proptest::prelude::*;

use super::*;

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

const CA: &str = "/C=CH/O=Grid/CN=Grid CA";

fn judge(content: &str, subject: &str) -> Verdict {
    Namespaces::parse(content.as_bytes()).unwrap().judge(&dn(CA), &dn(subject))
}

#[track_caller]
fn check(expression: &str, subject: &str, permitted: bool) {
    let content = format!("TO Issuer \"{CA}\" PERMIT Subject \"{expression}\"");
    let expected = if permitted { Verdict::Permitted } else { Verdict::NotPermitted };
    assert_eq!(judge(&content, subject), expected, "{expression} {subject}");
}

#[test]
fn expressions() {
    check("/O=Grid/.*", "/O=Grid/CN=Alice", true);
    check("/O=Grid/.*", "/o=GRID/cn=alice", true);
    check("/O=Grid/.*", "/C=CH/O=Grid/CN=Alice", false);
    check("/O=Grid/CN=Al", "/O=Grid/CN=Alice", false);
    check("/O=Grid|/O=Other", "/O=Grid/CN=Alice", false);
    check("/O=(Grid|Other)/CN=[A-Z]+", "/O=Other/CN=Alice", true);
    check("/O=Grid/Email=.*", "/O=Grid/emailAddress=a@b", true);
    check("/O=Grid/userid=.*", "/O=Grid/UID=a", true);
    check(r"/O=Grid/CN=\w+", "/O=Grid/CN=Alice", true);
    check(r"/O=Grid/CN=\W+", "/O=Grid/CN=Alice", false);
    check("/O=Gr\u{e9}/.*", r"/O=Gr\xC3\xA9/CN=a", true);
    check("/O=Grid/.*", r"/O=Grid/CN=a\x0Ab", true);
    check("/O=Grid/OU=Good/.*", r"/O=Grid\/OU=Good/CN=x", false);
}

#[test]
fn issuers_and_denials() {
    let content = "#NAMESPACES-VERSION: 1.0\n\
        # a comment\n\
        TO Issuer \"/c=ch/O=GRID/CN=grid ca\" \\\n  PERMIT Subject \"/O=A/.*\" # more\n\n\
        to issuer self permit subject \"/O=B/.*\"\n\
        TO Issuer SELF DENY Subject \"/O=A/CN=Mallory\"\n\
        TO Issuer \"/O=Other\" PERMIT Subject \".*\"\n";
    assert_eq!(judge(content, "/O=A/CN=Alice"), Verdict::Permitted);
    assert_eq!(judge(content, "/O=A/CN=mallory"), Verdict::NotPermitted);
    assert_eq!(judge(content, "/O=B/CN=Bob"), Verdict::Permitted);
    assert_eq!(judge(content, "/O=C/CN=Carol"), Verdict::NotPermitted);
    let others = "TO Issuer \"/O=Other\" PERMIT Subject \".*\"";
    assert_eq!(judge(others, "/O=A/CN=Alice"), Verdict::NotNamed);
    let unreadable = "TO Issuer \"Other\" PERMIT Subject \".*\"";
    assert_eq!(judge(unreadable, "/O=A/CN=Alice"), Verdict::NotNamed);
}

#[test]
fn a_denial_reaches_names_that_are_ambiguous_in_text() {
    let content = "TO Issuer SELF PERMIT Subject \"/O=Grid/.*\"\n\
        TO Issuer SELF DENY Subject \"/O=Grid/OU=Gr\u{e9}/.*\"\n\
        TO Issuer SELF DENY Subject \"/O=Grid/CN=old/.*\"\n";
    assert_eq!(judge(content, r"/O=Grid/OU=Gr\xC3\xA9/CN=a"), Verdict::NotPermitted);
    assert_eq!(judge(content, r"/O=Grid/OU=Gr\xC3\xA9/CN=a\/CN=b"), Verdict::NotPermitted);
    assert_eq!(judge(content, r"/O=Grid/CN=old\/CN=b"), Verdict::NotPermitted);
    assert_eq!(judge(content, r"/O=Grid/CN=a\/CN=b"), Verdict::Permitted);
}

#[test]
fn mistakes_with_their_lines() {
    let check = |content: &str, expected: &str| {
        let error = Namespaces::parse(content.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{content}");
    };
    check("", "line 1: there is no entry in it");
    check("#NAMESPACES-VERSION: 2.0\n", "line 1: version \"2.0\" is not 1.0");
    check("# x\nFROM Issuer", "line 2: expected TO, not \"FROM\"");
    check("TO Issuer other", "line 1: expected SELF, not \"other\"");
    check("TO Issuer \"/O=a", "line 1: '\"' is not closed");
    check(
        "\n\nTO Issuer SELF \\\nALLOW Subject \"a\"",
        "line 3: expected PERMIT or DENY, not \"ALLOW\"",
    );
    check("TO Issuer SELF PERMIT Subject a", "line 1: expected an expression in '\"'");
    check("TO Issuer SELF PERMIT Subject \"\"", "line 1: an empty expression");
    check(
        "TO Issuer SELF PERMIT Subject \"a\" \"b\"",
        "line 1: nothing may follow the expression, not \"\\\"b\\\"\"",
    );
    check(
        "TO Issuer SELF PERMIT Subject \"a)|(b\"",
        "line 1: the expression: error: unopened group",
    );
    check(
        "TO Issuer SELF PERMIT Subject \"(a{1000}){1000}\"",
        "line 1: the expression: Compiled regex exceeds size limit of 262144 bytes.",
    );
    let deep = format!("TO Issuer SELF PERMIT Subject \"{}a{}\"", "(".repeat(99), ")".repeat(99));
    assert!(Namespaces::parse(deep.as_bytes()).is_err());
    let error = Namespaces::parse(b"# x\n\xff").unwrap_err();
    assert_eq!(error.to_string(), "line 2: it is not UTF-8");
}

#[test]
fn sizes() {
    let entry = "TO Issuer SELF PERMIT Subject \"/O=a/.*\"\n";
    assert!(Namespaces::parse(entry.repeat(ENTRIES_MAX).as_bytes()).is_ok());
    let error = Namespaces::parse(entry.repeat(ENTRIES_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "line 1001: more than 1000 entries");
    let padded = |bytes: usize| format!("{entry}{}", " ".repeat(bytes - entry.len()));
    assert!(Namespaces::parse(padded(POLICY_BYTES_MAX).as_bytes()).is_ok());
    assert!(Namespaces::parse(padded(POLICY_BYTES_MAX + 1).as_bytes()).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_fall(words in prop::collection::vec(
        prop_oneof![
            Just(b"TO Issuer SELF ".to_vec()), Just(b"TO Issuer \"/O=a\" ".to_vec()),
            Just(b"PERMIT Subject ".to_vec()), Just(b"DENY Subject ".to_vec()),
            Just(b"\"/O=a/.*\"".to_vec()), Just(b"\\\n".to_vec()), Just(b"\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..12),
        ], 0..12))
    {
        if let Ok(namespaces) = Namespaces::parse(&words.concat()) {
            // Of a name that is written nowhere.
            let verdict = namespaces.judge(&dn("/O=Nowhere"), &dn("/O=Grid/CN=Alice"));
            prop_assert_ne!(verdict, Verdict::Permitted);
        }
    }

    #[test]
    fn an_expression_of_plain_text_matches_itself_alone(
        name in "[a-z]{1,8}", other in "[a-z]{1,8}")
    {
        let content = format!("TO Issuer SELF PERMIT Subject \"/O={name}\"");
        let permitted = judge(&content, &format!("/O={other}")) == Verdict::Permitted;
        prop_assert_eq!(permitted, name == other);
    }
}
