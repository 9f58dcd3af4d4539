//! The server's own services, against a whole server: jobs of the caller's own words, waiting, output.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use nesssi_testkit::{Credential, Fault, Value, World, wait_until};

use crate::dialects::{JSON, SOAP_12, post, soap_11, soap_12};

const OPEN: (&str, &str) = ("job", "submit_levels = [\"strong\", \"anonymous\"]");

fn open() -> World {
    World::builder().key(OPEN.0, OPEN.1).start()
}

fn words(words: &[&str]) -> Value {
    Value::Array(words.iter().map(|word| Value::from(*word)).collect())
}

fn submit(world: &World, who: Option<&Credential>, command: &[&str]) -> String {
    world.session(who, "job.submit", vec![words(command), Value::Int(5)])
}

fn fault(answer: Result<Value, Fault>) -> String {
    let fault = answer.unwrap_err();
    format!("{}: {}", fault.code.number(), fault.text)
}

fn truth(status: &Value, name: &str) -> bool {
    status.member(name) == Some(&Value::Bool(true))
}

#[test]
fn a_caller_submits_words_of_his_own_where_his_level_may() {
    let world = open();
    let alice = Some(&world.alice);
    let session = submit(&world, alice, &["/bin/echo", "a b", "$HOME; *"]);
    let status = world.ended(alice, &session);
    assert_eq!(status["state"], Value::from("done"), "{status:?}");
    assert_eq!((&status["service"], &status["method"]), (&"job".into(), &"job.submit".into()));
    assert_eq!(world.file(&session, "stdout").1, "a b $HOME; *\n");
    let asked = || vec![words(&["/bin/true"]), Value::Int(5)];
    let refused = fault(world.call(Some(&world.wendy), "job.submit", asked()));
    assert!(refused.starts_with("403: job.submit is not open to level weak"), "{refused}");
    assert!(world.call(None, "job.submit", asked()).is_ok());
    let limited = world.grid.proxy(&world.alice, nesssi_testkit::ProxyPolicy::Limited);
    let refused = fault(world.call(Some(&limited), "job.submit", asked()));
    assert!(refused.starts_with("403: "), "{refused}");
    let check = |params: Vec<Value>, expected: &str| {
        let refused = fault(world.call(alice, "job.submit", params));
        assert!(refused.starts_with(expected), "{refused}");
    };
    check(vec!["/bin/true".into(), Value::Int(5)], "-32602: ");
    check(vec![words(&[]), Value::Int(5)], "-32602: the command is empty");
    check(vec![words(&["/bin/true"]), Value::Int(0)], "-32602: ");
    check(vec![words(&["/bin/true"]), Value::Int(216_001)], "413: ");
    check(vec![words(&["/bin/true"]), Value::Int(5), "0".repeat(32).into()], "404: ");
    check(vec![words(&["/bin/true"]), Value::Int(5), session.into()], "409: ");
}

#[test]
fn nobody_submits_where_nothing_is_said_of_it() {
    let world = World::builder().start();
    for who in [Some(&world.alice), Some(&world.wendy), None] {
        let params = vec![words(&["/bin/true"]), Value::Int(5)];
        let refused = fault(world.call(who, "job.submit", params));
        assert!(refused.starts_with("403: job.submit is not open to level"), "{refused}");
    }
}

#[test]
fn the_list_is_narrowed_by_its_filter_and_holds_nobody_elses() {
    let world = open();
    let alice = Some(&world.alice);
    let first = submit(&world, alice, &["/bin/true"]);
    let second = submit(&world, alice, &["/bin/false"]);
    let _ = (world.ended(alice, &first), world.ended(alice, &second));
    let listed = |filter: Value| -> Vec<String> {
        let Value::Array(all) = world.call(alice, "job.list", vec![filter]).unwrap() else {
            panic!("no list")
        };
        let id = |one: &Value| one.member("session").unwrap().as_str().unwrap().to_owned();
        all.iter().map(id).collect()
    };
    let by = |name: &str, value: Value| listed(Value::record([(name, value)]));
    assert_eq!(by("state", "failed".into()), std::slice::from_ref(&second));
    assert_eq!(by("limit", Value::Int(1)), std::slice::from_ref(&second));
    assert_eq!(by("state", words(&["done", "failed"])), [second, first]);
    assert_eq!(by("service", "job".into()).len(), 2);
    assert_eq!(by("service", "other".into()).len(), 0);
    let far = nesssi_testkit::Value::from("2999-01-01T00:00:00Z");
    assert_eq!(by("since", far).len(), 0);
    assert_eq!(by("since", "2006-01-01T00:00:00Z".into()).len(), 2);
    assert_eq!(world.call(Some(&world.bob), "job.list", vec![]), Ok(Value::Array(vec![])));
    let refused = fault(world.call(None, "job.list", vec![Value::record([])]));
    assert!(refused.starts_with("401: "), "{refused}");
}

#[test]
fn a_wait_ends_with_the_job_or_with_its_time() {
    let world = open();
    let alice = Some(&world.alice);
    let wait = |session: &str, seconds: Value| {
        let began = Instant::now();
        let answer = world.call(alice, "job.wait", vec![session.into(), seconds]);
        (answer, began.elapsed())
    };
    let session = submit(&world, alice, &["/bin/sleep", "3"]);
    let (status, took) = wait(&session, Value::Double(0.5));
    let status = status.unwrap();
    assert!(!truth(&status, "ended") && !truth(&status, "retry"), "{status:?}");
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(3), "{took:?}");
    let (status, _) = wait(&session, Value::Int(0));
    assert!(!truth(&status.unwrap(), "ended"));
    let (status, took) = wait(&session, Value::Int(100_000));
    let status = status.unwrap();
    assert!(truth(&status, "ended") && !truth(&status, "retry"), "{status:?}");
    assert_eq!(status.member("state"), Some(&"done".into()));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let (status, took) = wait(&session, Value::Int(60));
    assert!(truth(&status.unwrap(), "ended") && took < Duration::from_secs(5));
    // Whoever holds the id may wait.
    assert!(world.call(None, "job.wait", vec![session.into(), Value::Int(1)]).is_ok());
    assert!(fault(wait(&"0".repeat(32), Value::Int(1)).0).starts_with("404: "));
    for wrong in [Value::Int(-1), Value::Double(-0.1), "1".into()] {
        let refused = fault(wait(&"0".repeat(32), wrong).0);
        assert!(refused.starts_with("-32602: "), "{refused}");
    }
}

#[test]
fn one_wait_more_than_a_caller_may_have_is_refused() {
    let world = World::builder()
        .key(OPEN.0, OPEN.1)
        .key("bounds", "waiters_per_caller_max = 2")
        .key("bounds", "waiters_max = 3")
        .start();
    let session = submit(&world, Some(&world.alice), &["/bin/sleep", "60"]);
    let session = session.as_str();
    let wait = |who: Option<&Credential>, seconds: i64| {
        world.call(who, "job.wait", vec![session.into(), Value::Int(seconds)])
    };
    // One that looks whether there is room takes it for a moment.
    let settle = |who: Option<&Credential>| wait_until("room", 20, || wait(who, 30).ok());
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..2).map(|_| scope.spawn(|| settle(Some(&world.alice)))).collect();
        wait_until("her third is refused", 20, || {
            wait(Some(&world.alice), 0).unwrap();
            let refused = wait(Some(&world.alice), 1);
            refused.is_err().then(|| assert!(fault(refused).starts_with("429: 2 calls of this")))
        });
        let third = scope.spawn(|| settle(Some(&world.bob)));
        wait_until("the fourth of all is refused", 20, || {
            let refused = wait(None, 1);
            refused.is_err().then(|| assert!(fault(refused).starts_with("429: 3 calls wait")))
        });
        world.call(Some(&world.alice), "job.cancel", vec![session.into()]).unwrap();
        for one in waiting.into_iter().chain([third]) {
            assert!(truth(&one.join().unwrap(), "ended"));
        }
    });
}

#[test]
fn who_waits_while_the_gatekeeper_is_replaced_is_told_to_ask_again() {
    let world = open();
    let session = submit(&world, Some(&world.alice), &["/bin/sleep", "20"]);
    let session = session.as_str();
    let wait = |seconds: i64| {
        world.call(None, "job.wait", vec![session.into(), Value::Int(seconds)]).unwrap()
    };
    std::thread::scope(|scope| {
        let began = Instant::now();
        let waiting = scope.spawn(|| wait(60));
        assert!(!truth(&wait(1), "ended"));
        let restarted = Command::new(world.program("nesssi"))
            .args(["restart", "--config"])
            .arg(&world.config)
            .output()
            .unwrap();
        assert!(restarted.status.success(), "{restarted:?}");
        let told = waiting.join().unwrap();
        assert!(truth(&told, "retry") && !truth(&told, "ended"), "{told:?}");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    });
    let told = wait(60);
    assert!(truth(&told, "ended") && !truth(&told, "retry"), "{told:?}");
}

#[test]
fn the_end_of_a_file_is_read_while_the_job_writes_and_after() {
    let world = open();
    let code = "import sys, time\nprint('x' * 5000, flush=True)\nsys.stderr.write('oh')\n\
                sys.stderr.flush()\nopen('go', 'w').close()\ntime.sleep(2)\nprint('last')";
    let session = submit(&world, Some(&world.alice), &["/usr/bin/python3", "-c", code]);
    let tail = |params: &[Value]| {
        let mut all = vec![Value::from(session.as_str())];
        all.extend_from_slice(params);
        // Whoever holds the id may read.
        world.call(None, "job.tail", all)
    };
    let data = |answer: &Value| match answer.member("data") {
        Some(Value::Binary(bytes)) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{other:?}"),
    };
    wait_until("it has written", 20, || (world.file(&session, "go").0 == 200).then_some(()));
    let told = tail(&[]).unwrap();
    assert!(!truth(&told, "ended"), "{told:?}");
    assert_eq!((data(&told).len(), told.member("size")), (4096, Some(&Value::Int(5001))));
    assert_eq!(told.member("offset"), Some(&Value::Int(5001 - 4096)));
    assert_eq!(data(&tail(&["stderr".into()]).unwrap()), "oh");
    let _ = world.ended(None, &session);
    let told = tail(&["stdout".into(), Value::Int(5)]).unwrap();
    assert!(truth(&told, "ended"));
    assert_eq!((data(&told).as_str(), told.member("path")), ("last\n", Some(&"stdout".into())));
    assert_eq!(data(&tail(&["stdout".into(), Value::Int(0)]).unwrap()), "");
    assert_eq!(data(&tail(&["stdout".into(), Value::Int(1 << 20)]).unwrap()).len(), 5006);
    let check = |params: &[Value], expected: &str| {
        let refused = fault(tail(params));
        assert!(refused.starts_with(expected), "{refused}");
    };
    check(&["stdout".into(), Value::Int((1 << 20) + 1)], "413: ");
    for path in ["none", "../x", "/etc/passwd", ".nesssi", "a/../../b"] {
        check(&[path.into()], "404: ");
    }
    check(&["".into()], "-32602: a directory");
    let refused = fault(world.call(None, "job.tail", vec!["0".repeat(32).into()]));
    assert!(refused.starts_with("404: "), "{refused}");
}

#[test]
fn a_request_holds_as_many_calls_as_the_configuration_says() {
    let world = World::builder().key("bounds", "calls_max = 3").start();
    let told = world.call(None, "system.limits", vec![]).unwrap();
    assert_eq!(told.member("bounds").unwrap().member("calls_max"), Some(&Value::Int(3)));
    for count in [2, 3, 4] {
        let call = Value::record([("methodName", "system.time".into())]);
        let several = Value::Array(vec![call; count]);
        let answer = world.call(None, "system.multicall", vec![several]);
        let calls = vec![r#"{"jsonrpc":"2.0","method":"system.time","id":1}"#; count];
        let batch = post(&world, None, JSON, &format!("[{}]", calls.join(",")));
        if count <= 3 {
            assert!(answer.is_ok(), "{answer:?}");
            assert_eq!(batch.text.matches("unix").count(), count, "{}", batch.text);
        } else {
            assert!(fault(answer).starts_with("413: 4 calls in one request, the limit is 3"));
            assert!(batch.text.contains("413"), "{}", batch.text);
        }
    }
}

/// One call without parameters, or with texts, in every dialect: content type and body.
fn in_every_dialect(method: &str, params: &[&str]) -> Vec<(&'static str, String)> {
    let (service, name) = method.rsplit_once('.').unwrap();
    let (mut xml, mut soap) = (String::new(), String::new());
    for (at, param) in params.iter().enumerate() {
        write!(xml, "<param><value>{param}</value></param>").unwrap();
        write!(soap, "<p{at}>{param}</p{at}>").unwrap();
    }
    let json = json_array(params);
    let call = format!("<w:{name} xmlns:w=\"urn:nesssi:{service}\">{soap}</w:{name}>");
    let xml =
        format!("<methodCall><methodName>{method}</methodName><params>{xml}</params></methodCall>");
    vec![
        ("text/xml", xml),
        (JSON, format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{json},"id":1}}"#)),
        ("text/json", format!(r#"{{"method":"{method}","params":{json},"id":1}}"#)),
        ("text/xml", soap_11(&call)),
        (SOAP_12, soap_12(&call)),
    ]
}

/// An array of texts without characters that JSON would have escaped.
fn json_array(texts: &[&str]) -> String {
    format!("[{}]", texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(","))
}

#[test]
fn the_servers_own_services_answer_in_every_dialect() {
    let world = open();
    let session = submit(&world, Some(&world.alice), &["/bin/echo", "hello"]);
    let _ = world.ended(None, &session);
    for (method, params, expected) in [
        ("system.status", &[] as &[&str], "uptime_seconds"),
        ("system.time", &[], "unix"),
        ("system.limits", &[], "wait_seconds_max"),
        ("job.status", &[session.as_str()], "done"),
        ("job.tail", &[session.as_str()], "aGVsbG8K"),
        ("job.list", &[], session.as_str()),
        ("session.list", &[], "expires"),
        ("session.new", &[], ""),
        ("service.health", &[], ""),
        ("service.help", &["session"], "session.destroy"),
    ] {
        for (kind, body) in in_every_dialect(method, params) {
            let answer = post(&world, Some(&world.alice), kind, &body);
            assert!(
                answer.status == 200 && answer.text.contains(expected),
                "{body}\n{}",
                answer.text
            );
        }
    }
    let waits = r#"{"jsonrpc":"2.0","method":"job.wait","params":["SESSION",5],"id":1}"#;
    let answer = post(&world, None, JSON, &waits.replace("SESSION", &session));
    assert!(answer.text.contains(r#""ended":true"#), "{}", answer.text);
}

#[test]
fn sessions_are_made_kept_and_ended_by_their_owner() {
    let world =
        World::builder().key(OPEN.0, OPEN.1).level("strong", "retention_seconds = 86400").start();
    let alice = Some(&world.alice);
    let session = world.session(alice, "session.new", vec![Value::Int(5)]);
    assert_eq!(world.state(None, &session), "prepared");
    let id = || Value::from(session.as_str());
    let listed = |who| match world.call(who, "session.list", vec![]).unwrap() {
        Value::Array(listed) => listed,
        other => panic!("{other:?}"),
    };
    assert_eq!(listed(alice)[0].member("session"), Some(&id()));
    assert_eq!(listed(Some(&world.bob)).len(), 0);
    let refused = fault(world.call(None, "session.list", vec![]));
    assert!(refused.starts_with("401: "), "{refused}");
    let until = world.call(alice, "session.extend", vec![id(), Value::Int(86_400)]).unwrap();
    assert!(matches!(until, Value::DateTime(_)), "{until:?}");
    assert_eq!(listed(alice)[0].member("expires"), Some(&until));
    let limited = world.grid.proxy(&world.alice, nesssi_testkit::ProxyPolicy::Limited);
    let check = |who: Option<&Credential>, method: &str, more: &[Value], expected: &str| {
        let mut params = vec![id()];
        params.extend_from_slice(more);
        let refused = fault(world.call(who, method, params));
        assert!(refused.starts_with(expected), "{method}: {refused}");
    };
    check(alice, "session.extend", &[Value::Int(86_401)], "413: ");
    check(alice, "session.extend", &[Value::Int(-1)], "-32602: ");
    for who in [Some(&world.bob), None] {
        check(who, "session.extend", &[Value::Int(1)], "404: ");
        check(who, "session.destroy", &[], "404: ");
    }
    check(Some(&limited), "session.extend", &[Value::Int(1)], "403: ");
    check(Some(&limited), "session.destroy", &[], "403: ");
    let refused = fault(world.call(Some(&limited), "session.new", vec![]));
    assert!(refused.starts_with("403: "), "{refused}");
    let refused = fault(world.call(alice, "session.new", vec![Value::Int(216_001)]));
    assert!(refused.starts_with("413: "), "{refused}");

    let run = vec![words(&["/bin/sleep", "60"]), Value::Int(5), id()];
    assert_eq!(world.call(alice, "job.submit", run), Ok(id()));
    check(alice, "session.destroy", &[], "409: ");
    world.call(alice, "job.cancel", vec![id()]).unwrap();
    let _ = world.ended(alice, &session);
    assert_eq!(world.file(&session, "").0, 200);
    assert_eq!(world.call(alice, "session.destroy", vec![id()]), Ok(Value::Bool(true)));
    assert_eq!(world.file(&session, "").0, 404);
    check(alice, "job.status", &[], "404: ");
    let sandbox = world.path().join("sandboxes").join(&world.accounts.strong).join(&session);
    wait_until("its files are gone", 20, || (!sandbox.exists()).then_some(()));
    assert_eq!(listed(alice).len(), 0);

    // Of an anonymous session the id is enough.
    let session = world.session(None, "session.new", vec![]);
    let ended = world.call(Some(&world.bob), "session.destroy", vec![session.into()]);
    assert_eq!(ended, Ok(Value::Bool(true)));
}

const SHELL: [&str; 3] = [
    "enabled = true",
    "levels = [\"strong\"]",
    "commands = [[\"/bin/echo\", \"--\", \"*\"], [\"/bin/sleep\", \"*\"], [\"/usr/bin/id\", \"-un\"], \
     [\"/usr/bin/head\", \"-c\", \"*\", \"/dev/zero\"], [\"/bin/cat\", \"*\"]]",
];

fn with_shell() -> nesssi_testkit::WorldBuilder {
    SHELL.into_iter().fold(World::builder(), |world, line| world.key("shell", line))
}

#[test]
fn a_listed_command_runs_word_for_word_and_nothing_else_does() {
    let world = with_shell().start();
    let alice = Some(&world.alice);
    let run = |command: Value| world.call(alice, "shell.cmd", vec![command]);
    let told = run(words(&["/usr/bin/id", "-un"])).unwrap();
    let account = format!("{}\n", world.accounts.strong);
    assert_eq!(told.member("stdout"), Some(&account.as_str().into()));
    assert_eq!(told.member("state"), Some(&"done".into()));
    assert_eq!(told.member("exit_code"), Some(&Value::Int(0)));
    assert_eq!(told.member("cut"), Some(&Value::Bool(false)));
    let session = told.member("session").unwrap().as_str().unwrap().to_owned();
    assert_eq!(world.file(&session, "stdout").1, account);
    assert_eq!(run("/usr/bin/id -un".into()).unwrap().member("stdout"), told.member("stdout"));

    // What a shell would read as something, arrives as it was sent.
    for odd in ["$(id); `id` | id > x & \"'\\*", "a\nb", "", "ü€", "*"] {
        let told = run(words(&["/bin/echo", "--", odd])).unwrap();
        let expected = format!("-- {odd}\n");
        assert_eq!(told.member("stdout"), Some(&expected.as_str().into()), "{odd:?}");
    }
    let told = run(words(&["/bin/cat", "/no/such"])).unwrap();
    assert_eq!(
        (told.member("exit_code"), told.member("state")),
        (Some(&Value::Int(1)), Some(&"failed".into()))
    );
    assert!(told.member("stderr").unwrap().as_str().unwrap().contains("/no/such"), "{told:?}");

    let long = "x".repeat(4096);
    assert!(run(words(&["/bin/echo", "--", &long])).is_ok());
    let (over, huge) = ("x".repeat(4097), "x".repeat(128 * 1024));
    for other in [
        words(&[]),
        words(&["/bin/sh", "-c", "id"]),
        words(&["/bin/echo"]),
        words(&["/bin/echo", "--", "-n"]),
        words(&["/bin/echo", "--", "a", "b"]),
        words(&["/bin/echo", "--", &over]),
        words(&["/bin/echo", "--", &huge]),
        words(&["/usr/bin/id", "-un; id"]),
        words(&["id", "-un"]),
        words(&["/usr/bin/../bin/id", "-un"]),
        "/usr/bin/id -un; id".into(),
        "/usr/bin/id '-un'".into(),
        "/usr/bin/id -un\nid".into(),
        "".into(),
    ] {
        let refused = fault(run(other.clone()));
        assert!(refused.starts_with("403: this command is none of those"), "{other:?}: {refused}");
    }
    assert!(fault(run(Value::Int(1))).starts_with("-32602: "));
    assert!(fault(run(Value::Array(vec![Value::Int(1)]))).starts_with("-32602: "));
    let info = world.call(alice, "shell.cmd_info", vec![]).unwrap();
    assert_eq!(info.member("account"), Some(&world.accounts.strong.as_str().into()));
    assert!(matches!(info.member("commands"), Some(Value::Array(all)) if all.len() == 5));
    for (kind, body) in in_every_dialect("shell.cmd", &["/usr/bin/id -un"]) {
        let answer = post(&world, alice, kind, &body);
        assert!(answer.text.contains(&world.accounts.strong), "{body}\n{}", answer.text);
    }
}

#[test]
fn the_output_of_a_command_is_bounded_and_a_long_one_goes_on() {
    let world = with_shell().level("strong", "call_wall_seconds = 2").start();
    let alice = Some(&world.alice);
    let run = |command: &[&str]| world.call(alice, "shell.cmd", vec![words(command)]).unwrap();
    for (bytes, cut) in [(65_535, false), (65_536, false), (65_537, true)] {
        let told = run(&["/usr/bin/head", "-c", &bytes.to_string(), "/dev/zero"]);
        let Some(Value::Binary(zeros)) = told.member("stdout") else { panic!("{told:?}") };
        assert_eq!((zeros.len(), truth(&told, "cut")), (bytes.min(65_536), cut));
    }
    let began = Instant::now();
    let told = run(&["/bin/sleep", "20"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(told.member("state"), Some(&"running".into()));
    assert_eq!(told.member("exit_code"), None);
    let session = told.member("session").unwrap().clone();
    assert_eq!(world.call(alice, "job.cancel", vec![session]), Ok("cancelled".into()));
}

#[test]
fn no_command_runs_where_it_is_off_or_for_whom_it_is_not() {
    let world = World::builder().start();
    let id = || vec![words(&["/usr/bin/id", "-un"])];
    for (method, params) in [("shell.cmd", id()), ("shell.cmd_info", vec![])] {
        let refused = fault(world.call(Some(&world.alice), method, params));
        assert_eq!(refused, "403: shell.cmd is not offered by this server");
    }
    drop(world);
    let world = with_shell().start();
    let limited = world.grid.proxy(&world.alice, nesssi_testkit::ProxyPolicy::Limited);
    for who in [Some(&world.wendy), None, Some(&limited)] {
        let refused = fault(world.call(who, "shell.cmd", id()));
        assert!(refused.starts_with("403: "), "{refused}");
    }
    let refused = fault(world.call(Some(&world.wendy), "shell.cmd_info", vec![]));
    assert_eq!(refused, "403: shell.cmd is not open to level weak here");
}

#[test]
fn a_listed_program_that_is_an_interpreter_by_another_name_is_told() {
    let place = nesssi_testkit::Place::new();
    let program = place.path().join("list-files");
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    let commands = format!(
        "commands = [[\"/bin/echo\", \"*\"], [{:?}, \"*\"]]",
        program.display().to_string()
    );
    let mut world = World::builder().key(OPEN.0, OPEN.1);
    for line in [SHELL[0], SHELL[1], &commands] {
        world = world.key("shell", line);
    }
    let world = world.build();
    let check = || {
        let mut command = Command::new(world.program("nesssid"));
        let output = command.args(["--check", "--config"]).arg(&world.config).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };
    let text = check();
    assert!(
        text.contains("list-files is /") && text.contains("makes a command of its arguments"),
        "{text}"
    );
    assert!(
        text.contains("shell.cmd: callers of strong may run as their account: /bin/echo *"),
        "{text}"
    );
    assert!(
        text.contains("job.submit: callers of strong, anonymous may run any command"),
        "{text}"
    );
    let meant = std::fs::read_to_string(&world.config).unwrap();
    let meant = meant.replace("enabled = true", "enabled = true\ninterpreters = true");
    std::fs::write(&world.config, meant).unwrap();
    let text = check();
    assert!(!text.contains("list-files is /"), "{text}");
}
