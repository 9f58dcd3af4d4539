use super::*;

fn parse(words: &[&str]) -> Result<Mode, ArgumentsError> {
    Arguments::parse(words.iter().map(OsString::from)).map(|arguments| arguments.mode)
}

#[test]
fn both_forms_are_read() {
    assert_eq!(parse(&["--check"]), Ok(Mode::Check(None)));
    let serve = |trees| Mode::Serve {
        account: "alice".into(),
        sandboxes: "/srv/alice".into(),
        handed: Handed::Own,
        trees,
        batch: Vec::new(),
    };
    let words = ["--account", "alice", "--sandboxes", "/srv/alice"];
    assert_eq!(parse(&words), Ok(serve(Vec::new())));
    let words = [&words[..], &["--tree", "data=/srv/a=b", "--tree", "x=/"]].concat();
    let trees = vec![("data".into(), "/srv/a=b".into()), ("x".into(), "/".into())];
    assert_eq!(parse(&words), Ok(serve(trees)));
}

#[test]
fn where_root_has_no_power_the_account_opens_its_directory_itself() {
    let words = ["--account", "alice", "--sandboxes", "/srv/alice", "--shared"];
    let mode = parse(&words);
    assert!(matches!(mode, Ok(Mode::Serve { handed: Handed::Root, .. })), "{mode:?}");
    let own = OwnDirectory { account: "alice".into(), root: "/srv".into() };
    assert_eq!(parse(&[&words[..], &["--check"]].concat()), Ok(Mode::Check(Some(own))));
    assert_eq!(parse(&[&words[..4], &["--check"]].concat()), Ok(Mode::Check(None)));
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

const WHOLE: &str = "x,submit=/s,status=/t,cancel=/c,commands_at_once=16,command_seconds_max=60";

#[test]
fn batch_systems_are_read_with_their_commands() {
    let words = ["--account", "a", "--sandboxes", "/b", "--batch", WHOLE, "--batch"];
    let more = format!("{WHOLE},account=/a,usage=/u,dialect=slurm").replacen('x', "y-2", 1);
    let mode = parse(&[&words[..], &[&more]].concat());
    let Ok(Mode::Serve { batch, .. }) = mode else { panic!("{mode:?}") };
    let program = |path: &str| Program::parse(path).unwrap();
    let x = BatchSystemArgument {
        name: "x".into(),
        dialect: None,
        programs: Programs {
            submit: program("/s"),
            status: program("/t"),
            cancel: program("/c"),
            account: None,
            usage: None,
        },
        commands_at_once: 16,
        command_seconds_max: Duration::from_secs(60),
    };
    let mut y = BatchSystemArgument { name: "y-2".into(), ..x.clone() };
    y.dialect = Some(DialectName::Slurm);
    y.programs.account = Some(program("/a"));
    y.programs.usage = Some(program("/u"));
    assert_eq!(batch, [x, y]);
}

#[test]
fn a_batch_system_that_is_not_whole_is_refused() {
    let told = |word: &str| BatchSystemArgument::parse(word).unwrap_err().to_string();
    assert_eq!(told(""), "--batch: there is no name");
    assert_eq!(told(&WHOLE[2..]), "--batch: there is no name");
    assert_eq!(told("x,submit"), "--batch: no value");
    assert_eq!(told("x,submit=/s,status=/t"), "--batch: a command is missing");
    assert_eq!(told(&WHOLE.replace("=/s", "=s")), "--batch: a command is no path of one");
    assert_eq!(told(&format!("{WHOLE},usage=/a b")), "--batch: a command is no path of one");
    assert_eq!(told(&WHOLE.replace("=16", "=0")), "--batch: a number is missing");
    assert_eq!(told(&format!("{WHOLE},dialect=auto")), "--batch: there is no such dialect");
    assert_eq!(told(&format!("{WHOLE},more=1")), "--batch: there is a key too many");
    assert_eq!(told(&format!("{WHOLE},submit=/s")), "--batch: a key stands there twice");
    assert_eq!(parse(&["--batch"]), Err(ArgumentsError::Usage));
}
