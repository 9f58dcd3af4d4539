//! The developers' cycle: edit, check, restart, read the log. By an ordinary account whose one right is to be in
//! the control socket's group, and refused to one that is not.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nesssi_testkit::{Developers, Value, World, is_root, skipped, wait_until};

const OPEN: &str = "allow = [\"/\"]\nanonymous = true\n";

/// A World with a service `adder` that lies in a developer's home directory.
struct Bench {
    world: World,
    developers: Developers,
    folder: PathBuf,
}

fn answering(text: &str) -> String {
    format!(
        "def f(req, method_name, args: tuple[()]) -> str:\n    '''f(): says {text}.'''\n    return '{text}'\nmethods_list = {{'f': f}}\n"
    )
}

impl Bench {
    /// Nothing without root: there are no other accounts then.
    fn new() -> Option<Self> {
        if !is_root() {
            skipped("needs root: without it there is no other account");
            return None;
        }
        let developers = Developers::ensure();
        let group = format!("control_group = \"{}\"", developers.group);
        let world = World::builder().key("server", &group).build();
        let folder = world.path().join("home/adder");
        fs::create_dir_all(&folder).unwrap();
        let bench = Self { world, developers, folder };
        bench.write("__init__.py", &answering("one"));
        bench.write(".clarens_access", OPEN);
        give(&bench.folder, &bench.developers.member);
        bench.world.link_service("adder", &bench.folder);
        Some(bench)
    }

    fn started() -> Option<Self> {
        let mut bench = Self::new()?;
        bench.world.start_server();
        Some(bench)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).unwrap();
        give(&self.folder.join(file), &self.developers.member);
    }

    fn command(&self, account: &str, words: &[&str]) -> Command {
        let mut command = Developers::command(account, &self.world.program("nesssi"));
        command.args(words).env("NESSSI_CONFIG", &self.world.config);
        command
    }

    /// What a command says to the developer: exit code, standard output, standard error.
    fn says(&self, words: &[&str]) -> (i32, String, String) {
        told(self.command(&self.developers.member, words).output().unwrap())
    }

    fn stranger(&self, words: &[&str]) -> (i32, String, String) {
        told(self.command(&self.developers.stranger, words).output().unwrap())
    }

    fn call(&self, method: &str) -> Value {
        self.world.call(None, method, vec![]).unwrap()
    }
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn give(path: &Path, account: &str) {
    let id = |flag: &str| -> u32 {
        let out = Command::new("/usr/bin/id").args([flag, account]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
    };
    chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A command that goes on, ended when it is dropped.
struct Running {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// The next line that holds `word`; those before it are let go.
    #[track_caller]
    fn line(&self, word: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.lines.recv_timeout(std::time::Duration::from_secs(20)) {
                Ok(line) if line.contains(word) => return line,
                Ok(line) => before.push(line),
                Err(_) => panic!("no line with {word:?} came, but {before:?}"),
            }
        }
    }

    /// Ctrl-C; answers the exit code.
    fn interrupt(&mut self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        wait_until("it ends", 10, || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_check_by_name_is_the_servers_and_tells_all_that_is_wrong_in_one_run() {
    let Some(bench) = Bench::started() else { return };
    let (code, out, err) = bench.says(&["service", "check", "adder"]);
    assert_eq!(code, 0, "{out}{err}");
    let services = &bench.world.accounts.services;
    assert!(out.contains(&format!("looked at by {services} (the services account")), "{out}");
    for line in ["adder: no problem", "adder.f() -> string    __init__.py:1", "anonymous: anyone"] {
        assert!(out.contains(line), "{line}: {out}");
    }
    bench.write("__init__.py", "import helper\n\nmethods_list = {}\n");
    bench.write("helper.py", "def f(:\n    pass\n");
    bench.write("other.py", "print 'an old one'\n");
    bench.write(".clarens_access", "allow = [\"/\"]\nlevels = [\"golden\"]\nnonsense = 1\n");
    bench.write("service.toml", "concurrency = 'many'\nlevels = [\"iron\"]\n");
    let (code, out, _) = bench.says(&["service", "check", "adder", "--json"]);
    assert_eq!(code, 1, "{out}");
    let report = json(&out);
    assert_eq!((&report["good"], &report["account"]), (&false.into(), &services.as_str().into()));
    let problems = report["problems"].as_array().unwrap();
    let is_there = |severity: &str, file: &str, line: u64| {
        problems.iter().any(|one| {
            (one["severity"].as_str(), one["file"].as_str(), one["line"].as_u64())
                == (Some(severity), Some(file), Some(line))
        })
    };
    for (severity, file, line) in [
        ("error", "helper.py", 1),
        ("warning", "other.py", 1),
        ("error", ".clarens_access", 3),
        ("error", "service.toml", 1),
    ] {
        assert!(is_there(severity, file, line), "{severity} {file}:{line} in {problems:?}");
    }
    let last = report["traceback"].as_array().unwrap().last().unwrap();
    assert!(last.as_str().unwrap().starts_with("SyntaxError"), "{last}");
    assert_eq!(bench.call("adder.f"), Value::from("one"), "what runs is not touched");
    let (code, _, err) = bench.says(&["service", "check", "nobody"]);
    assert!(code == 1 && err.contains("there is no service nobody"), "{err}");
}

#[test]
fn a_folder_is_checked_by_whoever_runs_it_and_without_a_server() {
    let Some(bench) = Bench::new() else { return };
    let folder = bench.folder.to_str().unwrap();
    let (code, out, err) = bench.says(&["service", "check", folder, "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let report = json(&out);
    assert_eq!(report["account"], bench.developers.member.as_str());
    assert_eq!((&report["name"], &report["server"]), (&"adder".into(), &serde_json::Value::Null));
    assert_eq!(report["methods"][0]["callers"][2]["anyone"], true, "{out}");
    // Who is in no group may check what is his own as well.
    assert_eq!(bench.stranger(&["service", "check", folder]).0, 0);
    fs::remove_file(bench.folder.join(".clarens_access")).unwrap();
    bench.write("__init__.py", "import time\ntime.sleep(600)\n");
    let quick = bench.world.path().join("quick.toml");
    let text = fs::read_to_string(&bench.world.config).unwrap();
    let text = text.replace("[services]\n", "[services]\ndescribe_seconds_max = 1\n");
    fs::write(&quick, text).unwrap();
    let words = ["service", "check", folder, "--config", quick.to_str().unwrap()];
    let (code, out, _) = bench.says(&words);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("error: did not describe itself in time"), "{out}");
    assert!(out.contains(".clarens_access: error: there is none"), "{out}");
    let nobody = Developers::command("root", &bench.world.program("nesssi"))
        .args(["service", "check", folder])
        .output()
        .unwrap();
    let (code, _, err) = told(nobody);
    assert!(code == 1 && err.contains("root runs nobody's"), "{err}");
}

#[test]
fn the_log_is_read_and_followed_by_the_group_and_by_nobody_else() {
    let Some(bench) = Bench::new() else { return };
    bench.write(
        "__init__.py",
        "n = 0\ndef f(req, method_name, args):\n    global n\n    n += 1\n    print(f'line {n}')\nmethods_list = {'f': f}\n",
    );
    let mut bench = bench_started(bench);
    for _ in 0..3 {
        bench.call("adder.f");
    }
    let (code, out, err) = bench.says(&["service", "logs", "adder", "-n", "2"]);
    assert_eq!((code, out.as_str()), (0, "line 2\nline 3\n"), "{err}");
    let words = ["service", "logs", "adder", "-f", "-n", "1"];
    let mut follow = Running::start(bench.command(&bench.developers.member, &words));
    follow.line("line 3");
    bench.call("adder.f");
    follow.line("line 4");
    let log = bench.world.path().join("log/services/adder.log");
    fs::rename(&log, log.with_extension("log.1")).unwrap();
    bench.call("adder.f");
    follow.line("line 5");
    let (code, text, _) = bench.says(&["service", "restart", "adder"]);
    assert_eq!(code, 0, "{text}");
    bench.call("adder.f");
    follow.line("line 1");
    fs::write(&log, "a line that is longer than what comes behind it\n").unwrap();
    follow.line("longer");
    fs::File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
    bench.call("adder.f");
    follow.line("line 2");
    assert_eq!(follow.interrupt(), Some(0));
    let (code, _, err) = bench.says(&["service", "logs", "nobody"]);
    assert!(code == 1 && err.contains("there is no service nobody"), "{err}");
    for words in [
        &["service", "logs", "adder"][..],
        &["service", "check", "adder"],
        &["service", "restart", "adder"],
    ] {
        let (code, out, err) = bench.stranger(words);
        assert!(code == 1 && out.is_empty(), "{words:?}: {out}");
        assert!(err.contains("put you into the socket's group"), "{words:?}: {err}");
    }
    let read =
        Developers::command(&bench.developers.stranger, Path::new("/bin/cat")).arg(&log).output();
    assert!(!read.unwrap().status.success(), "the file is closed to strangers too");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o640);
    let audit = fs::read_to_string(bench.world.path().join("state/monitor/audit.jsonl")).unwrap();
    assert!(audit.contains("ServiceLog(\\\"adder\\\")"), "who asked is on record: {audit}");
    bench.world.stop_server();
}

fn bench_started(mut bench: Bench) -> Bench {
    bench.world.start_server();
    bench
}

/// A method in one module that tells a word of another and what a data file holds.
const TELLS: &str = r#"from . import helper
import os

def f(req, method_name, args):
    """Says it."""
    data = os.path.join(os.path.dirname(__file__), "data")
    return helper.word + open(data).read()

methods_list = {"f": f}
"#;

/// Ends its process soon, if that is a worker for callers.
const DIES: &str = r#"import os, threading
if b"serve" in open("/proc/self/cmdline", "rb").read().split(b"\0"):
    threading.Timer(0.05, os._exit, [3]).start()
"#;

/// What `service.health` says of `adder`: state and reason.
fn health(bench: &Bench) -> (String, String) {
    let answer = bench.world.call(None, "service.health", vec!["adder".into()]).unwrap();
    let Value::Struct(facts) = answer else { panic!("{answer:?}") };
    let text = |name: &str| facts[name].as_str().unwrap().to_owned();
    (text("state"), text("reason"))
}

#[test]
fn a_service_that_breaks_keeps_its_last_good_version_for_every_caller_and_over_a_restart() {
    let Some(bench) = Bench::new() else { return };
    bench.write("__init__.py", TELLS);
    bench.write("helper.py", "word = 'one'\n");
    bench.write("data", " of old");
    let mut bench = bench_started(bench);
    let World { alice, bob, wendy, .. } = &bench.world;
    let (alice, bob, wendy) = (alice.clone(), bob.clone(), wendy.clone());
    let call = |bench: &Bench, who| bench.world.call(who, "adder.f", vec![]).unwrap();
    assert_eq!(call(&bench, None), Value::from("one of old"));
    // Half of an edit, and no restart yet: a worker for another account runs what was taken up.
    bench.write("helper.py", "word = 'tw\n");
    bench.write("data", " of new");
    assert_eq!(call(&bench, Some(&wendy)), Value::from("one of new"), "data is read where it lies");
    let (code, out, err) = bench.says(&["service", "restart", "adder"]);
    assert!(code == 1 && out.is_empty(), "{out}");
    assert!(err.contains("its last good version goes on") && err.contains("SyntaxError"), "{err}");
    assert!(err.contains("helper.py, line 1"), "{err}");
    assert_eq!(call(&bench, Some(&alice)), Value::from("one of new"));
    let reason = "SyntaxError in its code: its last good version answers".to_owned();
    let says = ("unhealthy".to_owned(), reason);
    assert_eq!(health(&bench), says);
    let (_, out, _) = bench.says(&["service", "check", "adder"]);
    assert!(out.contains("helper.py:1: error: the import fails: SyntaxError"), "{out}");
    assert!(out.contains("on the server it is unhealthy: its last good version answers"), "{out}");
    let (_, log, _) = bench.says(&["service", "logs", "adder"]);
    assert!(log.contains("nesssi: its restart failed: adder is broken"), "{log}");
    let (code, text, _) = bench.says(&["restart"]);
    assert_eq!(code, 0, "{text}");
    wait_until("the new one answers", 20, || bench.world.call(None, "adder.f", vec![]).ok());
    assert_eq!(call(&bench, Some(&bob)), Value::from("one of new"));
    bench.world.stop_server();
    bench.world.start_server();
    assert_eq!(call(&bench, Some(&bob)), Value::from("one of new"));
    assert_eq!(health(&bench), says);
    bench.write("helper.py", "word = 'two'\n");
    assert_eq!(bench.says(&["service", "restart", "adder"]).0, 0);
    assert_eq!(call(&bench, Some(&bob)), Value::from("two of new"));
    assert_eq!(health(&bench).0, "ok");
    // What is taken away is gone, and does not come back from what was kept.
    fs::remove_file(bench.world.path().join("services/adder")).unwrap();
    assert_eq!(bench.says(&["service", "restart", "adder"]).0, 0);
    bench.write("helper.py", "word = 'thr\n");
    bench.world.link_service("adder", &bench.folder);
    let (code, _, err) = bench.says(&["service", "restart", "adder"]);
    assert!(code == 1 && !err.contains("last good"), "one that never was good is broken: {err}");
    assert_eq!(health(&bench).0, "broken");
}

#[test]
fn a_service_whose_workers_die_at_once_is_broken_when_it_is_restarted() {
    let Some(bench) = Bench::started() else { return };
    assert_eq!(bench.call("adder.f"), Value::from("one"));
    bench.write("__init__.py", &format!("{DIES}{}", answering("two")));
    let (code, _, err) = bench.says(&["service", "restart", "adder"]);
    assert!(code == 1 && err.contains("ends right after its start: exit code 3"), "{err}");
    let (code, out, _) = bench.says(&["service", "check", "adder"]);
    assert!(code == 1 && out.contains("error: its worker ends right after its start"), "{out}");
    let wendy = Some(&bench.world.wendy);
    assert_eq!(bench.world.call(wendy, "adder.f", vec![]).unwrap(), Value::from("one"));
    assert_eq!(health(&bench).0, "unhealthy");
}

#[test]
fn a_watched_service_takes_up_each_good_edit_and_no_broken_one() {
    let Some(bench) = Bench::started() else { return };
    let member = &bench.developers.member;
    for words in [&["service", "watch", "adder"][..], &["service", "restart", "adder", "--watch"]] {
        let mut watch = Running::start(bench.command(member, words));
        watch.line("watching");
        watch.line("adder runs its new code");
        bench.write("__init__.py", "def f(:\n");
        watch.line("__init__.py:1: error: the import fails: SyntaxError");
        watch.line("not restarted, what ran before goes on");
        let wendy = Some(&bench.world.wendy);
        assert_eq!(bench.world.call(wendy, "adder.f", vec![]).unwrap(), Value::from("one"));
        bench.write("__init__.py", &answering("mended"));
        watch.line("adder runs its new code");
        assert_eq!(bench.call("adder.f"), Value::from("mended"));
        bench.write("__init__.py", &answering("one"));
        watch.line("adder runs its new code");
        assert_eq!(bench.call("adder.f"), Value::from("one"));
        assert_eq!(watch.interrupt(), Some(0));
    }
    let (code, _, err) = bench.stranger(&["service", "watch", "adder"]);
    assert!(code == 1 && err.contains("put you into the socket's group"), "{err}");
}

#[test]
fn man_pages_and_completions_have_every_verb_of_service_with_its_flags() {
    let world = World::builder().build();
    let nesssi = |words: &[&str]| {
        let output =
            Command::new(world.program("nesssi")).args(words).env_clear().output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let pages = world.path().join("man");
    nesssi(&["man", pages.to_str().unwrap()]);
    let completions = nesssi(&["completions", "bash"]);
    let help = nesssi(&["service", "--help"]);
    let verbs = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs = verbs.take_while(|line| !line.is_empty());
    let verbs = verbs.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let verbs: Vec<&str> = verbs.filter(|verb| !verb.is_empty() && *verb != "help").collect();
    assert!(verbs.contains(&"watch") && verbs.len() >= 6, "{verbs:?}");
    for verb in verbs {
        let page = fs::read_to_string(pages.join(format!("nesssi-service-{verb}.1"))).unwrap();
        assert!(
            completions.contains(&format!("nesssi__service__{verb}"))
                || completions.contains(&format!("nesssi__subcmd__service__subcmd__{verb}")),
            "{verb}"
        );
        let help = nesssi(&["service", verb, "--help"]);
        let flags = help.lines().filter_map(|line| line.trim_start().split("--").nth(1));
        let flags = flags.filter_map(|rest| rest.split([' ', ',']).next());
        for flag in flags.filter(|flag| !["help", "version", ""].contains(flag)) {
            let is_there = page.contains(&format!("\\-\\-{}", flag.replace('-', "\\-")));
            assert!(is_there, "--{flag} of {verb} is not in\n{page}");
        }
    }
}

#[test]
fn what_is_approved_is_what_runs_though_the_folder_changes_afterwards() {
    let Some(bench) = Bench::started() else { return };
    // The file counts, its line `approved` does not.
    bench.write("service.toml", "");
    let (_, out, _) = bench.says(&["service", "check", "adder", "--json"]);
    let digest = json(&out)["digest"].as_str().unwrap().to_owned();
    bench.write("service.toml", &format!("approved = \"{digest}\"\n"));
    assert_eq!(bench.says(&["service", "restart", "adder"]).0, 0);
    // Nobody takes this up: the first worker of an account of its own starts only now.
    bench.write("__init__.py", &answering("not approved"));
    let call = |who| bench.world.call(Some(who), "adder.f", vec![]);
    assert_eq!(call(&bench.world.alice).unwrap(), Value::from("one"));
    let (_, out, _) = bench.says(&["service", "check", "adder"]);
    assert!(out.contains("service.toml: warning: the code is not the approved one"), "{out}");
    assert_eq!(bench.says(&["service", "restart", "adder"]).0, 0);
    let fault = call(&bench.world.bob).unwrap_err();
    assert_eq!(fault.code.number(), 403, "{fault}");
    assert_eq!(
        call(&bench.world.wendy).unwrap(),
        Value::from("not approved"),
        "a level without accounts of its own"
    );
}
