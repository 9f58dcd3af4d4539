use nesssi_dn::{Attribute, AttributeType, Rdn};
use proptest::prelude::*;

use super::*;

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

/// The accounts of `name` in a gridmap of these lines; empty if it has none.
fn check(lines: &str, name: &str, accounts: &str) {
    check_bytes(lines.as_bytes(), name, accounts);
}

fn check_bytes(lines: &[u8], name: &str, accounts: &str) {
    let (gridmap, _) = Gridmap::parse_bytes(lines).unwrap();
    let found = gridmap.lookup(&dn(name)).map(|entry| entry.accounts.as_slice());
    let found: Vec<_> = found.unwrap_or_default().iter().map(AccountName::as_str).collect();
    assert_eq!(found.join(" "), accounts, "{name}");
}

fn check_errors(lines: &[u8], expected: &[&str]) {
    let errors = Gridmap::parse_bytes(lines).unwrap_err();
    let errors: Vec<_> = errors.iter().map(GridmapError::to_string).collect();
    assert_eq!(errors, expected);
}

#[test]
fn the_example_has_every_form_once() {
    let (gridmap, warnings) = Gridmap::parse(include_str!("../../../../gridmap.example")).unwrap();
    assert_eq!(warnings, []);
    let listing: String = gridmap
        .entries()
        .iter()
        .map(|entry| format!("{}: {}", entry.line, entry.to_line()))
        .collect();
    insta::assert_snapshot!(listing);
}

#[test]
fn lines() {
    check("\"/O=G/CN=a b\" joe", "/O=G/CN=a b", "joe");
    check("  \t\"/O=G/CN=a\"\tjoe\n", "/O=G/CN=a", "joe");
    check("/O=G/CN=a joe\n", "/O=G/CN=a", "joe");
    check("\"/CN=a\" jdoe , john_doe,doeJohn ,, x \n", "/CN=a", "jdoe john_doe doeJohn x");
    check("# \"/CN=a\" joe\n\n   # more\n\t\n", "/CN=a", "");
    check("\"/CN=a\" one\n\"/CN=a\" two", "/CN=a", "one");
    check("\"/CN=say \\\"hi\\\"\" joe", "/CN=say \"hi\"", "joe");
    check("", "/CN=a", "");
}

#[test]
fn matching() {
    check("\"/o=g/cn=A\" joe", "/O=G/CN=a", "joe");
    check("\"/UID=x/Email=y/E=z\" joe", "/UserID=X/EMAIL=Y/EmailAddress=Z", "joe");
    check("\"/CN=Ren\\xc3\\xa9\" joe", "/CN=René", "joe");
    check("\"/CN=René\" joe", "/CN=Ren\\xC3\\xA9", "joe");
    check_bytes(b"\"/CN=Ren\xe9\" joe", "/CN=Ren\\xE9", "joe");
    check("\"/CN=host/foo.org\" joe", "/CN=host\\/foo.org", "joe");
    check("\"/CN=Joe\" joe", "/CN=Joe Evil", "");
    check("\"/CN=Joe\" joe", "/CN=Joe/CN=proxy", "");
    check("\"/CN=Joe/CN=1\" joe", "/CN=Joe", "");
}

#[test]
fn an_ambiguous_name_needs_a_line_that_means_it() {
    let one_value = dn("/O=G/CN=x\\/OU=y");
    assert!(one_value.is_ambiguous());
    let find = |line: &str| Gridmap::parse(line).unwrap().0.lookup(&one_value).is_some();
    assert!(!find("\"/O=G/CN=x/OU=y\" joe"));
    assert!(find("\"/O=G/CN=x\\/OU=y\" joe"));
    assert!(find("\"/O=G/CN=x\\x2fOU=y\" joe"));
    check("\"/O=G/CN=x\\/OU=y\" joe", "/O=G/CN=x/OU=y", "");
}

#[test]
fn mistakes_have_line_and_column() {
    check_errors(b"\"/CN=a\"\n", &["line 1, column 8: no account for this DN"]);
    check_errors(b"/CN=a", &["line 1, column 6: no account for this DN"]);
    check_errors(b"\n  \"/CN=a joe\n", &["line 2, column 3: the quote is never closed"]);
    check_errors(b"\"/CN=a\\\" joe\n", &["line 1, column 1: the quote is never closed"]);
    check_errors(
        b"\"/CN=a\" joe\r\n",
        &["line 1, column 12: carriage return: save the file with Unix line ends"],
    );
    check_errors(b"\"/CN=a\x01\" joe\n", &["line 1, column 7: control byte 0x01"]);
    check_errors(b"\"/CN=a\" j\0oe\n", &["line 1, column 10: control byte 0x00"]);
    check_errors(
        b"\"/CN=a\" joe # his\n",
        &["line 1, column 13: a comment begins its line: '#' may not stand among the accounts"],
    );
    check_errors(
        b"\"/CN=a\" root\n",
        &["line 1, column 9: account \"root\": nobody is mapped to root"],
    );
    check_errors(
        b"\"/CN=a\" joe,0\n",
        &["line 1, column 13: account \"0\": a name of digits alone could be taken for a uid"],
    );
    check_errors(
        b"\"/CN=a\" .pool\n",
        &["line 1, column 9: pool accounts are not supported (\".pool\")"],
    );
    check_errors(
        b"\"/CN=a\" al/ice\n",
        &["line 1, column 11: account \"al/ice\": '/' may not stand here in a name"],
    );
    check_errors(
        b"\"/CN=a\"joe\n",
        &["line 1, column 8: a blank is missing between the DN and the accounts"],
    );
    check_errors(b"\"CN=a\" joe\n", &["line 1, column 2: a name begins with '/'"]);
    check_errors(b"\"\" joe\n", &["line 1, column 2: the name is empty"]);
    check_errors(b"\"/\" joe\n", &["line 1, column 2: the name is empty"]);
    check_errors(b"\"/CN=a\\x4\" joe\n", &["line 1, column 7: unfinished escape"]);
    check_errors(
        "\"/CN=é/path=1\" joe\n".as_bytes(),
        &["line 1, column 8: unknown attribute type \"path\" (if it belongs to the value before \
           it, write '\\/' or '\\+' for the '/' or '+')"],
    );
}

#[test]
fn all_mistakes_are_told_and_one_refuses_the_file() {
    check_errors(
        b"\"/CN=a\" joe\n/CN=b\n\"/CN=c\" root\n",
        &[
            "line 2, column 6: no account for this DN",
            "line 3, column 9: account \"root\": nobody is mapped to root",
        ],
    );
    let many = "/CN=b\n".repeat(ERRORS_MAX + 5);
    assert_eq!(Gridmap::parse(&many).unwrap_err().len(), ERRORS_MAX);
    let large = " ".repeat(GRIDMAP_BYTES_MAX);
    assert!(Gridmap::parse(&large).is_ok());
    assert!(Gridmap::parse(&(large + " ")).is_err());
}

#[test]
fn a_name_that_comes_again_is_a_warning() {
    let (_, warnings) = Gridmap::parse("/CN=a one\n\n/cn=A two\n").unwrap();
    let warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(warnings, ["line 3: /CN=A has line 1 already, which wins"]);
}

fn any_entry() -> impl Strategy<Value = (SubjectDn, Vec<AccountName>)> {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        "[a-zA-Z /+=\\\\\",]{0,10}".prop_map(String::into_bytes),
    ];
    let word = prop::sample::select(vec!["CN", "O", "UID", "emailAddress", "1.2.3"]);
    let rdn = (word, value).prop_map(|(word, value)| {
        let kind = AttributeType::from_word(word).unwrap();
        Rdn::new(vec![Attribute::new(kind, value).unwrap()]).unwrap()
    });
    let name =
        prop::collection::vec(rdn, 1..4).prop_map(|rdns| SubjectDn::from_rdns(rdns).unwrap());
    let account = "[a-z_][a-z0-9_.-]{0,8}".prop_filter_map("root", |a| AccountName::parse(&a).ok());
    (name, prop::collection::vec(account, 1..4))
}

proptest! {
    #[test]
    fn round_trip(entries in prop::collection::vec(any_entry(), 0..5)) {
        let mut gridmap = Gridmap::default();
        for (subject, accounts) in entries {
            let line = gridmap.entries().len() + 1;
            let _ = gridmap.add(GridmapEntry { subject, accounts, line });
        }
        let (again, warnings) = Gridmap::parse(&gridmap.to_text()).unwrap();
        prop_assert_eq!(warnings, vec![]);
        prop_assert_eq!(again.entries(), gridmap.entries());
    }

    #[test]
    fn no_bytes_make_it_fall(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok((gridmap, _)) = Gridmap::parse_bytes(&bytes) {
            prop_assert!(gridmap.entries().iter().all(|entry| !entry.accounts.is_empty()));
        }
    }
}
