use super::*;

fn parse(words: &[&str]) -> Result<Mode, ArgumentsError> {
    Arguments::parse(words.iter().map(OsString::from)).map(|arguments| arguments.mode)
}

#[test]
fn both_forms_are_read() {
    assert_eq!(parse(&["--check"]), Ok(Mode::Check));
    let serve =
        |trees| Mode::Serve { account: "alice".into(), sandboxes: "/srv/alice".into(), trees };
    let words = ["--account", "alice", "--sandboxes", "/srv/alice"];
    assert_eq!(parse(&words), Ok(serve(Vec::new())));
    let words = [&words[..], &["--tree", "data=/srv/a=b", "--tree", "x=/"]].concat();
    let trees = vec![("data".into(), "/srv/a=b".into()), ("x".into(), "/".into())];
    assert_eq!(parse(&words), Ok(serve(trees)));
}

#[test]
fn anything_else_is_refused() {
    for words in [&[][..], &["--account"], &["--account", "a"], &["x"], &["--sandboxes", "/a"]] {
        assert_eq!(parse(words), Err(ArgumentsError::Usage), "{words:?}");
    }
    assert_eq!(parse(&["--account", "a", "--sandboxes", "b"]), Err(ArgumentsError::NotAbsolute));
    let whole = ["--account", "a", "--sandboxes", "/b"];
    for tree in [&["--tree"][..], &["--tree", "data"], &["--tree", "=/x"], &["--tree", ""]] {
        assert_eq!(parse(&[&whole[..], tree].concat()), Err(ArgumentsError::Usage), "{tree:?}");
    }
    for tree in ["data=x", "data="] {
        let words = [&whole[..], &["--tree", tree]].concat();
        assert_eq!(parse(&words), Err(ArgumentsError::NotAbsolute), "{tree}");
    }
}
