use super::*;

#[test]
fn accounts() {
    let check =
        |text: &str, good: bool| assert_eq!(AccountName::parse(text).is_ok(), good, "{text:?}");
    for good in ["a", "alice", "_svc", "nesssi-demo-1", "j.doe", "Alice", "0day", &"a".repeat(32)] {
        check(good, true);
    }
    for bad in [
        "",
        ".pool",
        "-a",
        "..",
        "a/b",
        "a b",
        "a\r",
        "a\0",
        "ä",
        "root",
        "0",
        "1000",
        &"a".repeat(33),
    ] {
        check(bad, false);
    }
    assert_eq!(AccountName::parse("root"), Err(NameError::Root));
    assert_eq!(AccountName::parse("1000"), Err(NameError::Numeric));
    assert_eq!(AccountName::parse("ab/c"), Err(NameError::Character { character: '/', at: 2 }));
}

#[test]
fn pools() {
    for good in ["atlas", "cms-prod", "a1"] {
        assert_eq!(PoolName::parse(good).unwrap().to_string(), format!(".{good}"));
    }
    for bad in ["", ".", ".atlas", "..", "../x", "root", "001", "a b", &"a".repeat(33)] {
        assert!(PoolName::parse(bad).is_err(), "{bad}");
    }
    let account = Assigned::Account(AccountName::parse("alice").unwrap());
    assert_eq!(account.to_string(), "alice");
}

#[test]
fn levels() {
    for good in ["strong", "a", "level-2", "a_b"] {
        assert!(LevelName::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "Strong", "2", "a b", "a.b", &"a".repeat(33)] {
        assert!(LevelName::parse(bad).is_err(), "{bad}");
    }
}
