//! Python services: found, listed, broken, restarted, and misbehaving.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nesssi_testkit::{Value, World, wait_until};

fn listed(world: &World, name: &str) -> std::collections::BTreeMap<String, Value> {
    let Value::Array(services) = world.call(Some(&world.alice), "service.list", vec![]).unwrap()
    else {
        panic!("service.list answers an array")
    };
    for service in services {
        if let Value::Struct(members) = service
            && members.get("name") == Some(&Value::from(name))
        {
            return members;
        }
    }
    panic!("{name} is not listed")
}

fn methods(world: &World) -> Vec<String> {
    match world.call(None, "system.listMethods", vec![]).unwrap() {
        Value::Array(items) => items.iter().map(|i| i.as_str().unwrap().to_owned()).collect(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn restart(world: &World, words: &[&str]) -> (bool, String) {
    let output = Command::new(world.program("nesssi"))
        .args(words)
        .arg("--config")
        .arg(&world.config)
        .env_clear()
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn answering(text: &str) -> String {
    format!(
        "def f(req, method_name, args):\n    '''Says {text}.'''\n    return '{text}'\nmethods_list = {{'f': f}}\n"
    )
}

#[test]
fn nested_linked_and_broken_services() {
    let mut world = World::builder().build();
    world.service("apple.xray.juliet", &answering("juliet"), None);
    let elsewhere = world.path().join("developer");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("__init__.py"), answering("linked")).unwrap();
    fs::write(elsewhere.join(".clarens_access"), "allow = [\"/\"]\nanonymous = true\n").unwrap();
    world.link_service("linked", &elsewhere);
    world.service("wrong", "def f(:\n", None);
    world.service("closed", &answering("x"), None);
    fs::remove_file(world.path().join("services/closed/.clarens_access")).unwrap();
    world.service("odd", &answering("x"), Some("allow = 3\n"));
    world.service("hangs", "import time\ntime.sleep(600)\n", None);
    world.start_server();
    assert_eq!(world.call(None, "apple.xray.juliet.f", vec![]).unwrap(), Value::from("juliet"));
    assert_eq!(world.call(None, "linked.f", vec![]).unwrap(), Value::from("linked"));
    for (name, word) in [
        ("wrong", "SyntaxError"),
        ("closed", ".clarens_access"),
        ("odd", ".clarens_access"),
        ("hangs", ""),
    ] {
        let service = listed(&world, name);
        assert_eq!(service["state"], Value::from("broken"), "{name}");
        let reason = service["reason"].as_str().unwrap().to_owned();
        assert!(!reason.is_empty() && reason.contains(word), "{name}: {reason}");
        let fault = world.call(Some(&world.alice), &format!("{name}.f"), vec![]).unwrap_err();
        assert!([503, -32601].contains(&fault.code.number()), "{name}: {fault}");
    }
    assert_eq!(listed(&world, "linked")["state"], Value::from("ok"));
}

#[test]
fn help_and_signatures_come_from_docstrings_and_annotations() {
    let mut world = World::builder().build();
    let code = "def f(req, method_name, args):\n    '''Adds two numbers.'''\n    return 1\nmethods_list = {'f': f}\n";
    world.service("doc", code, None);
    world.start_server();
    assert!(methods(&world).contains(&"doc.f".to_owned()));
    assert!(methods(&world).contains(&"doc.monitor".to_owned()));
    let help = world.call(None, "system.methodHelp", vec!["doc.f".into()]).unwrap();
    assert!(help.as_str().unwrap().contains("Adds two numbers."), "{help:?}");
    let signature =
        world.call(None, "system.methodSignature", vec!["system.methodHelp".into()]).unwrap();
    assert!(matches!(signature, Value::Array(_)), "{signature:?}");
    let signature = world.call(None, "system.methodSignature", vec!["echo.echo".into()]).unwrap();
    assert_eq!(signature, Value::from("undef"), "it takes any parameters");
}

#[test]
fn what_a_method_answers_and_raises_reaches_the_caller_and_tracebacks_do_not() {
    let mut world = World::builder().build();
    let code = r#"
import os, sys, datetime
from nesssi import Fault
def answer(req, method_name, args):
    print("noise on stdout")
    sys.stderr.write("noise on stderr\n")
    os.system("echo noise of a child")
    return {"list": [1, 2.5, True, None, "text"], "bytes": b"\x00\xff", "args": args}
def fault(req, method_name, args):
    raise Fault(17, "the service's own words")
def runtime(req, method_name, args):
    raise RuntimeError(18, "the old way")
def bug(req, method_name, args):
    secret_path = "/var/secret"
    raise KeyError(secret_path)
def who(req, method_name, args):
    return [req.clarens_dn, req.level, req.cpu_limit, req.protocol]
methods_list = {"answer": answer, "fault": fault, "runtime": runtime, "bug": bug, "who": who}
"#;
    world.service("s", code, None);
    world.start_server();
    let params = vec![Value::Binary(vec![0, 255]), Value::from("é")];
    let answer = world.call(None, "s.answer", params.clone()).unwrap();
    let list =
        vec![Value::Int(1), Value::Double(2.5), Value::Bool(true), Value::Nil, Value::from("text")];
    let expected = Value::record([
        ("list", Value::Array(list)),
        ("bytes", Value::Binary(vec![0, 255])),
        ("args", Value::Array(params)),
    ]);
    assert_eq!(answer, expected);
    let fault = world.call(None, "s.fault", vec![]).unwrap_err();
    assert_eq!((fault.code.number(), fault.text.as_str()), (17, "the service's own words"));
    let fault = world.call(None, "s.runtime", vec![]).unwrap_err();
    assert_eq!((fault.code.number(), fault.text.as_str()), (18, "the old way"));
    let fault = world.call(None, "s.bug", vec![]).unwrap_err();
    assert_eq!(fault.code.number(), -32603);
    assert!(fault.text.contains("incident") && !fault.text.contains("secret"), "{fault}");
    let incident = fault.text.rsplit(' ').next().unwrap().to_owned();
    let log = fs::read_to_string(world.path().join("log/services/s.log")).unwrap();
    assert!(
        log.contains(&incident) && log.contains("KeyError") && log.contains("noise on stdout"),
        "{log}"
    );
    let who = world.call(Some(&world.wendy), "s.who", vec![]).unwrap();
    let expected = vec![
        Value::from(world.wendy.dn.as_str()),
        Value::from("weak"),
        Value::Int(3600),
        Value::from("xmlrpc"),
    ];
    assert_eq!(who, Value::Array(expected));
}

#[test]
fn a_service_that_hangs_burns_exits_or_forks_harms_nobody_else() {
    let mut world =
        World::builder().level("anonymous", "call_wall_seconds = 3\ncall_cpu_seconds = 1").build();
    let code = r#"
import os, time
def hang(req, method_name, args): time.sleep(600)
def burn(req, method_name, args):
    while True: pass
def leave(req, method_name, args): os._exit(3)
def fork(req, method_name, args):
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
    time.sleep(600)
def fine(req, method_name, args): return os.getpid()
methods_list = {"hang": hang, "burn": burn, "leave": leave, "fork": fork, "fine": fine}
"#;
    world.service("bad", code, None);
    world.start_server();
    for (method, seconds_max) in [("bad.hang", 10), ("bad.burn", 10), ("bad.fork", 10)] {
        let began = Instant::now();
        let fault = world.call(None, method, vec![]).unwrap_err();
        assert_eq!(fault.code.number(), 413, "{method}: {fault}");
        assert!(began.elapsed() < Duration::from_secs(seconds_max), "{method}");
    }
    let fault = world.call(None, "bad.leave", vec![]).unwrap_err();
    assert!([503, -32603].contains(&fault.code.number()), "{fault}");
    wait_until("the service answers again", 30, || {
        world.call(Some(&world.wendy), "bad.fine", vec![]).ok()
    });
    let folder = world.path().join("services/bad");
    wait_until("nothing is left of the forks", 10, || {
        let left = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            // Workers that idle are in the folder too; what forked and slept is a session leader.
            let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            cwd == folder
        });
        (left.count() <= 2).then_some(())
    });
}

#[test]
fn a_restart_takes_up_new_code_while_running_calls_finish_on_the_old() {
    let mut world = World::builder().build();
    let slow = |word: &str| {
        format!(
            "import time\ndef f(req, method_name, args):\n    time.sleep(args[0])\n    return '{word}'\nmethods_list = {{'f': f}}\n"
        )
    };
    world.service("s", &slow("old"), None);
    world.start_server();
    assert_eq!(world.call(None, "s.f", vec![Value::Int(0)]).unwrap(), Value::from("old"));
    std::thread::scope(|scope| {
        let world = &world;
        let running = scope.spawn(move || world.call(None, "s.f", vec![Value::Int(4)]));
        std::thread::sleep(Duration::from_millis(500));
        world.service("s", &slow("new"), None);
        let (good, text) = restart(world, &["service", "restart", "s"]);
        assert!(good, "{text}");
        assert_eq!(world.call(None, "s.f", vec![Value::Int(0)]).unwrap(), Value::from("new"));
        assert!(!running.is_finished(), "the old call was under way all the time");
        assert_eq!(running.join().unwrap().unwrap(), Value::from("old"));
    });
    world.service("s", "def f(:\n", None);
    let (good, text) = restart(&world, &["service", "restart", "s"]);
    assert!(!good && text.contains("SyntaxError"), "{text}");
    assert_eq!(world.call(None, "s.f", vec![Value::Int(0)]).unwrap(), Value::from("new"));
    let (good, text) = restart(&world, &["service", "restart", "nobody"]);
    assert!(!good && text.contains("nobody"), "{text}");
}

#[test]
fn the_gatekeeper_is_replaced_by_restart_and_a_service_made_by_new_works() {
    let mut world = World::builder().build();
    let made = Command::new(world.program("nesssi"))
        .args(["service", "new", "fresh", "--directory"])
        .arg(world.path().join("services"))
        .env_clear()
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    world.start_server();
    let before = world
        .call(Some(&world.alice), "fresh.add", vec![Value::Int(0), Value::Int(3), Value::Int(5)])
        .unwrap();
    let (good, text) = restart(&world, &["restart"]);
    assert!(good, "{text}");
    wait_until("the server answers", 20, || world.call(None, "echo.echo", vec![]).ok());
    let status = world.ended(Some(&world.alice), before.as_str().unwrap());
    assert_eq!(status["state"], Value::from("done"), "{status:?}");
    let (_, text) = world.file(before.as_str().unwrap(), "stdout");
    assert_eq!(text.trim(), "8.0");
}

#[test]
fn services_logs_are_for_the_developers_group() {
    use std::os::unix::fs::MetadataExt;
    // The group of an account that the World has: any group does.
    let gid = |name: &str| -> u32 {
        let out = Command::new("/usr/bin/id").args(["-g", name]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
    };
    let account = nesssi_testkit::Accounts::ensure().services;
    let group = Command::new("/usr/bin/id").args(["-gn", &account]).output().unwrap();
    let group = String::from_utf8(group.stdout).unwrap().trim().to_owned();
    let mut world = World::builder().key("server", &format!("control_group = \"{group}\"")).build();
    world.service(
        "s",
        "def f(req, method_name, args):\n    print('noise')\nmethods_list = {'f': f}\n",
        None,
    );
    world.start_server();
    world.call(None, "s.f", vec![]).unwrap();
    let log = world.path().join("log/services/s.log");
    wait_until("the log is written", 10, || {
        fs::read_to_string(&log).ok().filter(|t| t.contains("noise"))
    });
    let facts = fs::metadata(&log).unwrap();
    assert_eq!((facts.gid(), facts.mode() & 0o777), (gid(&account), 0o640));
    let folder = fs::metadata(log.parent().unwrap()).unwrap();
    assert_eq!((folder.gid(), folder.mode() & 0o7777), (gid(&account), 0o2750));
}

/// What the call names counts more than what the method names, that more than the service, and in `service.toml` more than in
/// the code. A name that the server does not know is told with those that it does.
#[test]
fn a_job_s_batch_system_is_the_call_s_the_service_s_or_the_default() {
    let mut world = World::builder().build();
    let code = |head: &str| {
        format!(
            "from nesssi import run_job\n{head}\n\
             def plain(req, method_name, args):\n    return run_job(req, method_name, [1], ['/bin/true'])\n\
             def named(req, method_name, args):\n\
             \x20   return run_job(req, method_name, [1], ['/bin/true'], batch=args[0])\n\
             methods_list = {{'plain': plain, 'named': named}}\n"
        )
    };
    world.service("silent", &code(""), None);
    world.service("says", &code("batch = 'nowhere'"), None);
    world.service("overruled", &code("batch = 'nowhere'"), None);
    let job = "signature = [\"string\"]\njob = [\"/bin/true\"]\ncpu_seconds = 1\n";
    let manifest = format!(
        "batch = \"local\"\n[[method]]\nname = \"own\"\n{job}[[method]]\nname = \"other\"\n{job}batch = \"elsewhere\"\n"
    );
    fs::write(world.path().join("services/overruled/service.toml"), manifest).unwrap();
    world.start_server();
    let call = |method: &str, batch: Option<&str>| {
        world.call(Some(&world.alice), method, batch.into_iter().map(Value::from).collect())
    };
    for (method, batch) in [
        ("silent.plain", None),
        ("silent.named", Some("local")),
        ("says.named", Some("local")),
        ("overruled.plain", None),
        ("overruled.own", None),
    ] {
        let session = call(method, batch).unwrap();
        assert_eq!(session.as_str().map(str::len), Some(32), "{method}");
    }
    for (method, batch) in [
        ("silent.named", Some("nowhere")),
        ("says.plain", None),
        ("overruled.named", Some("nowhere")),
        ("overruled.other", None),
    ] {
        let fault = call(method, batch).unwrap_err().to_string();
        assert!(fault.contains("no such batch system"), "{method}: {fault}");
        assert!(fault.contains("-32602") && fault.contains("\"local\""), "{method}: {fault}");
    }
}
