use super::{METHOD_NAME_BYTES_MAX, MethodName};

#[test]
fn method_names_are_split_at_their_last_dot() {
    let split = |text| {
        let name = MethodName::parse(text).unwrap();
        let (service, method) = name.split();
        (service.to_owned(), method.to_owned())
    };
    assert_eq!(split("apple.xray.juliet.init"), ("apple.xray.juliet".into(), "init".into()));
    assert_eq!(split("ping"), (String::new(), "ping".into()));
}

#[test]
fn odd_method_names_are_refused() {
    for text in ["", ".", "a.", ".a", "a..b", "a b", "a/b", "a\n", "\u{e4}", "a.b;ls", "../a"] {
        assert!(MethodName::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn method_names_are_bounded() {
    assert!(MethodName::parse(&"a".repeat(METHOD_NAME_BYTES_MAX - 1)).is_ok());
    assert!(MethodName::parse(&"a".repeat(METHOD_NAME_BYTES_MAX)).is_ok());
    assert!(MethodName::parse(&"a".repeat(METHOD_NAME_BYTES_MAX + 1)).is_err());
}
