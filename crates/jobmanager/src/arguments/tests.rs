use super::*;

fn parse(words: &[&str]) -> Result<Mode, ArgumentsError> {
    Arguments::parse(words.iter().map(OsString::from)).map(|arguments| arguments.mode)
}

#[test]
fn both_forms_are_read() {
    assert_eq!(parse(&["--check"]), Ok(Mode::Check));
    let serve = Mode::Serve { account: "alice".into(), sandboxes: "/srv/alice".into() };
    assert_eq!(parse(&["--account", "alice", "--sandboxes", "/srv/alice"]), Ok(serve));
}

#[test]
fn anything_else_is_refused() {
    for words in [&[][..], &["--account"], &["--account", "a"], &["x"], &["--sandboxes", "/a"]] {
        assert_eq!(parse(words), Err(ArgumentsError::Usage), "{words:?}");
    }
    assert_eq!(parse(&["--account", "a", "--sandboxes", "b"]), Err(ArgumentsError::NotAbsolute));
}
