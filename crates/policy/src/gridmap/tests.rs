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
    let found: Vec<_> = found.unwrap_or_default().iter().map(Assigned::to_string).collect();
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
    check("\"/CN=a\" .atlas", "/CN=a", ".atlas");
    check("/CN=a al,.atlas", "/CN=a", "al .atlas");
    check("\"/CN=a\" , joe", "/CN=a", "joe");
    check("/CN=a\\x20b joe", "/CN=a b", "joe");
    check("\"/CN=a \" joe", "/CN=a ", "joe");
    check("\"/CN=a \" joe", "/CN=a", "");
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
        b"\"/CN=a\" .\n",
        &["line 1, column 10: pool \".\": a name has 1 to 32 characters"],
    );
    check_errors(
        b"\"/CN=a\" .../x\n",
        &["line 1, column 10: pool \".../x\": '.' may not stand here in a name"],
    );
    check_errors(
        "\u{feff}\"/CN=a\" joe\n".as_bytes(),
        &["line 1, column 1: byte order mark: save the file as UTF-8 without one"],
    );
    check_errors(
        b"\"/CN=a\" al/ice\n",
        &["line 1, column 11: account \"al/ice\": '/' may not stand here in a name"],
    );
    check_errors(
        b"\"/CN=a\"joe\n",
        &["line 1, column 8: a blank is missing between the DN and the accounts"],
    );
    check_errors(b"\"CN=a\" joe\n", &["line 1, column 2: a name begins with '/': write \"/CN=a\""]);
    check_errors(b"\"\" joe\n", &["line 1, column 2: the name is empty"]);
    check_errors(b"\"/\" joe\n", &["line 1, column 2: the name is empty"]);
    check_errors(b"\"/CN=a\\x4\" joe\n", &["line 1, column 7: unfinished escape"]);
    check_errors(
        "\"/CN=é/path=1\" joe\n".as_bytes(),
        &["line 1, column 8: unknown attribute type \"path\" (if it belongs to the value before \
           it, write '\\/' for '/')"],
    );
}

#[test]
fn a_name_in_the_other_form_is_told_how_to_be_written() {
    check_errors(
        b"\"CN=Say \\\"x\\\", O=Example\\, Inc\" joe\n",
        &["line 1, column 2: a name begins with '/': write \
           \"/O=Example, Inc/CN=Say \\\"x\\\"\""],
    );
    check_errors(
        b"CN=Alice Adams,O=Grid joe\n",
        &[
            "line 1, column 1: a name begins with '/': write it in quotes, the outermost RDN first, \
           as in \"/O=Grid/CN=Alice\"",
        ],
    );
    check_errors(b"alice \"/CN=Alice\"\n", &["line 1, column 1: a name begins with '/'"]);
}

#[test]
fn so_many_accounts_and_no_more() {
    let line = |count: usize| {
        let accounts: Vec<_> = (0..count).map(|number| format!("a{number}")).collect();
        format!("/CN=a {}", accounts.join(","))
    };
    assert!(Gridmap::parse(&line(ACCOUNTS_MAX - 1)).is_ok());
    assert!(Gridmap::parse(&line(ACCOUNTS_MAX)).is_ok());
    let errors = Gridmap::parse(&line(ACCOUNTS_MAX + 1)).unwrap_err();
    assert_eq!(errors[0].text, "more than 100 accounts");
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

fn check_warnings(lines: &str, expected: &[&str]) {
    let (_, warnings) = Gridmap::parse(lines).unwrap();
    let warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(warnings, expected);
}

#[test]
fn what_nobody_can_reach_is_a_warning() {
    check_warnings(
        "/CN=a one\n\n/cn=A two\n",
        &["line 3: never reached: /CN=A has line 1 already, which wins"],
    );
    check_warnings(
        "\"/CN=\\x41+UID=b/E=c\" one\n/USERID=B+CN=a/Email=C two\n",
        &["line 2: never reached: /CN=a+UID=B/emailAddress=C has line 1 already, which wins"],
    );
    check_warnings("/CN=a one,two,one\n", &["line 1: one stands twice in this line"]);
    check_warnings(
        "/CN=a one,.pool\n/CN=b .pool,one\n",
        &["line 1: never reached: .pool is a pool and not the first account of its line"],
    );
    let proxy = "never reached: the holder of a proxy is known by the name before the CN of the \
                 proxy";
    check_warnings(
        "/CN=a/CN=proxy one\n\"/CN=a/CN=limited proxy\" one\n/CN=proxy one\n/CN=a/CN=123 one\n",
        &[&format!("line 1: {proxy}"), &format!("line 2: {proxy}")],
    );
    let (_, warnings) = Gridmap::parse(&"/CN=a one\n".repeat(ERRORS_MAX + 5)).unwrap();
    assert_eq!(warnings.len(), ERRORS_MAX);
}

#[test]
fn pools_that_share_accounts_are_a_warning() {
    check_warnings(
        "/CN=a .atlas2\n/CN=b .atlas\n/CN=c .atlas\n/CN=d .cms1\n/CN=e .atlas2x\n/CN=f .a\n",
        &[
            "line 1: accounts of .atlas2 may be leased to those who have .atlas (line 2): atlas2 and \
           digits behind it is atlas and digits too",
        ],
    );
    check_warnings(
        "/CN=a .p12\n/CN=b al,.p\n/CN=c .p1\n",
        &[
            "line 1: accounts of .p12 may be leased to those who have .p1 (line 3): p12 and digits \
         behind it is p1 and digits too",
            "line 2: never reached: .p is a pool and not the first account of its line",
        ],
    );
}

fn any_entry() -> impl Strategy<Value = (SubjectDn, Vec<Assigned>)> {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        "[a-zA-Z /+=\\\\\",]{0,10}".prop_map(String::into_bytes),
    ];
    let word = prop::sample::select(vec!["CN", "O", "UID", "emailAddress", "1.2.3"]);
    let one = (word, value).prop_map(|(word, value)| {
        Attribute::new(AttributeType::from_word(word).unwrap(), value).unwrap()
    });
    let rdn = prop::collection::vec(one, 1..3).prop_map(|all| Rdn::new(all).unwrap());
    let name =
        prop::collection::vec(rdn, 1..4).prop_map(|rdns| SubjectDn::from_rdns(rdns).unwrap());
    let word = || "[a-z_][a-z0-9_.-]{0,8}".prop_filter("root", |word| word != "root");
    let account = |word: String| Assigned::Account(AccountName::parse(&word).unwrap());
    let pool = |word: String| Assigned::Pool(PoolName::parse(&word).unwrap());
    let first = prop_oneof![word().prop_map(account), word().prop_map(pool)];
    let others = prop::collection::btree_set(word().prop_map(account), 0..3);
    let accounts = (first, others).prop_map(|(first, others)| {
        let others: Vec<_> = others.into_iter().filter(|other| *other != first).collect();
        [vec![first], others].concat()
    });
    (name, accounts)
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
