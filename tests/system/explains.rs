//! `nesssi explain` says offline exactly what a call then gets; `nesssi access` reads and writes the files
//! that decide.

use std::fs;
use std::process::{Command, Output};

use nesssi_testkit::{Credential, Value, World};

/// A service whose method declares what it is told to, burns nothing, and says as whom it ran.
const DECLARES: &str = "
from nesssi import run_job

def burn(req, method_name, args):
    session = run_job(req, method_name, [args[0]], ['/bin/true'])
    return [session, req.account, req.level]

methods_list = {'burn': burn, 'other': burn}
";

/// The CPU seconds around each limit of the World's levels, and what is no size.
const SECONDS: [i64; 9] = [-1, 0, 1, 900, 901, 3600, 3601, 216_000, 216_001];

/// `nesssi` with these words, by this World's configuration and servers.
fn nesssi(world: &World, words: &[&str]) -> Output {
    let mut command = Command::new(world.program("nesssi"));
    command.args(words).env_clear().env("NESSSI_CONFIG", &world.config);
    command.env("NESSSI_URL", &world.url).env("NESSSI_CA", world.grid.trust_directory());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// As somebody with a certificate.
fn nesssi_as(world: &World, who: &Credential, words: &[&str]) -> Output {
    let (certificate, key) = (who.certificate.to_str().unwrap(), who.key.to_str().unwrap());
    nesssi(world, &[words, &["--cert", certificate, "--key", key]].concat())
}

/// What `explain` foretells: `account level`, or `code text`.
fn foretold(world: &World, who: &[&str], service: &str, method: &str, seconds: &str) -> String {
    let words = ["--service", service, "--method", method, "--seconds", seconds];
    let out = nesssi(world, &[&["explain"], who, &words].concat());
    let (code, said) = (out.status.code(), text(&out.stdout));
    let last = |prefix: &str| {
        let line = said.lines().rev().find(|line| line.starts_with(prefix));
        line.unwrap_or_else(|| panic!("no {prefix:?} in {said}{}", text(&out.stderr))).to_owned()
    };
    match code {
        Some(0) => {
            let line = last("granted: account ");
            let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
            assert_eq!((words[3], words[5]), ("level", seconds), "{line}");
            format!("{} {}", words[2], words[4])
        }
        Some(1) => {
            let line = last("refused: fault ");
            line["refused: fault ".len()..].replacen(", ", " ", 1)
        }
        other => panic!("{other:?}: {said}{}", text(&out.stderr)),
    }
}

/// What the call gets: `account level`, or `code text`.
fn got(world: &World, who: Option<&Credential>, method: &str, seconds: i64) -> String {
    match world.call(who, method, vec![Value::Int(seconds)]) {
        Ok(Value::Array(answer)) => {
            format!("{} {}", answer[1].as_str().unwrap(), answer[2].as_str().unwrap())
        }
        Ok(other) => panic!("{method}: {other:?}"),
        Err(fault) => format!("{} {}", fault.code.number(), fault.text),
    }
}

fn generous() -> World {
    let mut builder = World::builder()
        .key("policy", "vo_administrators = [\"/O=NESSSI Test/CN=Alice\"]")
        .key("batch.local", "slots = 8");
    for level in ["strong", "weak", "anonymous"] {
        builder = builder
            .level(level, "jobs_at_once = 100000")
            .level(level, "cpu_seconds_per_day = 1000000000000");
    }
    builder.build()
}

#[test]
fn explain_says_offline_what_a_call_then_gets_for_each_caller_service_and_size() {
    let mut world = generous();
    let services = [
        ("everybody", "allow = [\"/\"]\nanonymous = true\n"),
        ("certified", "allow = [\"/O=NESSSI Test\"]\n"),
        ("alices", "allow = [\"/O=NESSSI Test/CN=alice\"]\n[method.other]\nallow = [\"/\"]\n"),
        ("notwendy", "order = \"deny,allow\"\ndeny = [\"/O=NESSSI Test/CN=Wendy\"]\n"),
        ("weakonly", "allow = [\"/\"]\nanonymous = true\nlevels = [\"weak\"]\n"),
        ("over", "allow = [\"/\"]\nend = 2020-01-01T00:00:00Z\n"),
        ("members", "allow_groups = [\"sky.survey\"]\n"),
        ("strangers", "order = \"deny,allow\"\ndeny_groups = [\"sky\"]\n"),
        (
            "lowers",
            "allow = [\"/\"]\nanonymous = true\n[[lower]]\nsubjects = [\"/O=NESSSI Test/*\"]\n\
             level = \"weak\"\n[method.other]\n[[method.other.lower]]\nsubjects = [\"/O=*/CN=*\"]\n\
             level = \"anonymous\"\n",
        ),
        ("physics.sky", "anonymous = true\n"),
        ("stronglevel", "allow = [\"/\"]\nanonymous = true\n"),
        ("changed", "allow = [\"/\"]\nanonymous = true\n"),
    ];
    for (name, access) in services {
        world.service(name, DECLARES, Some(access));
    }
    let write = |path: &str, text: &str| fs::write(world.path().join(path), text).unwrap();
    write("services/physics/.clarens_access", "allow = [\"/O=NESSSI Test/CN=Wendy\"]\n");
    write("services/stronglevel/service.toml", "levels = [\"strong\"]\n");
    write("services/changed/service.toml", &format!("approved = \"{}\"\n", "0".repeat(64)));
    world.start_server();
    for words in [
        &["vo", "create", "sky"][..],
        &["vo", "create", "sky.survey"],
        &["vo", "add", "sky", "CN=Wendy,O=NESSSI Test"],
    ] {
        let out = nesssi_as(&world, &world.alice, words);
        assert!(out.status.success(), "{words:?}: {}", text(&out.stderr));
    }
    let callers = [
        (vec!["--dn", &world.alice.dn], Some(&world.alice)),
        (vec!["--cert", world.wendy.certificate.to_str().unwrap()], Some(&world.wendy)),
        (vec!["--guest"], None),
    ];
    let mut kinds = std::collections::BTreeSet::new();
    for (service, _) in services {
        for method in ["burn", "other"] {
            for (who, credential) in &callers {
                for seconds in SECONDS {
                    let said = foretold(&world, who, service, method, &seconds.to_string());
                    let got = got(&world, *credential, &format!("{service}.{method}"), seconds);
                    assert_eq!(said, got, "{who:?} {service}.{method} {seconds}");
                    kinds.insert(got.split(' ').next().unwrap().to_owned());
                }
            }
        }
    }
    for code in ["-32602", "401", "403", "413"] {
        assert!(kinds.remove(code), "the matrix has no {code}: {kinds:?}");
    }
    assert!(!kinds.is_empty(), "nothing is granted");
}

#[test]
fn explain_knows_the_account_that_is_asked_for_and_refused_credentials() {
    let world = World::builder().build();
    let (first, second) = (&world.accounts.strong, &world.accounts.other);
    let line = format!("\"{}\" {first},{second}\n", world.alice.dn);
    fs::write(world.path().join("gridmap"), line).unwrap();
    let mut world = world;
    world.service("s", DECLARES, None);
    world.start_server();
    let (first, second) = (&world.accounts.strong, &world.accounts.other);
    for account in [first.as_str(), second.as_str(), "daemon", "nosuch"] {
        let who = ["--dn", &world.alice.dn, "--account", account];
        let said = foretold(&world, &who, "s", "burn", "1");
        let out = nesssi_as(&world, &world.alice, &["call", "s.burn", "1", "--account", account]);
        if out.status.success() {
            assert_eq!(said, format!("{account} strong"));
            assert!(text(&out.stdout).contains(&format!("{account:?}")), "{}", text(&out.stdout));
        } else {
            let fault = said.replacen(' ', ": ", 1);
            let told = text(&out.stderr);
            // Started without root, a server adds that to each such refusal.
            let told = told.split(" (this server runs without root").next().unwrap().trim();
            assert_eq!(told, format!("fault {fault}"), "{account}");
        }
    }
    let expired = world.grid.expired("Alice");
    let words = ["explain", "--cert", expired.certificate.to_str().unwrap(), "--service", "s"];
    let out = nesssi(&world, &words);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
    let fault = world.call(Some(&expired), "s.burn", vec![Value::Int(1)]).unwrap_err();
    let without_time = |text: &str| text.split(" (at ").next().unwrap().trim().to_owned();
    assert_eq!(
        without_time(&text(&out.stdout)),
        format!("refused: fault 403, {}", without_time(&fault.text))
    );
}

#[test]
fn whoami_and_may_ask_the_server_for_oneself() {
    let world = World::builder().with_shipped_services().start();
    let out = nesssi_as(&world, &world.wendy, &["whoami"]);
    let told = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    for line in [
        format!("dn  {}", world.wendy.dn),
        "level  weak".into(),
        "proxy  none".into(),
        "limits: cpu_seconds  3600".into(),
    ] {
        let squeezed = told.lines().any(|known| {
            let (name, value) = line.split_once("  ").unwrap();
            known.split_once("  ").is_some_and(|(n, v)| n == name && v.trim() == value)
        });
        assert!(squeezed, "{line:?} is not in:\n{told}");
    }
    for (seconds, code) in [("3600", 0), ("3601", 1)] {
        let words = ["may", "sleepy.burn", "--seconds", seconds];
        let out = nesssi_as(&world, &world.wendy, &words);
        assert_eq!(out.status.code(), Some(code), "{}", text(&out.stderr));
        let told = text(&out.stdout) + &text(&out.stderr);
        assert!(told.contains("access list") && told.contains("weak"), "{told}");
    }
    let refused = nesssi_as(&world, &world.wendy, &["vo", "create", "sky"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).starts_with("fault 403: "), "{}", text(&refused.stderr));
}

#[test]
fn edits_by_command_hold_at_once_offline_too_and_after_a_restart() {
    let alice = "/O=NESSSI Test/CN=Alice";
    let mut world =
        World::builder().key("policy", &format!("access_administrators = [{alice:?}]")).build();
    let wendys = "allow = [\"/O=NESSSI Test/CN=Wendy\"]\ndeny = [\"/O=NESSSI Test/CN=Bob\"]\n";
    world.service("wendys", DECLARES, Some(wendys));
    world.start_server();
    let by = |world: &World, who: &Credential, words: &[&str]| {
        let out = nesssi_as(world, who, &[&["access"], words].concat());
        format!("{}{}", text(&out.stdout), text(&out.stderr))
    };
    // A call and what is foretold of it, for each.
    let check = |world: &World, expected: [&str; 3]| {
        for (who, expected) in [&world.alice, &world.bob, &world.wendy].into_iter().zip(expected) {
            let call = got(world, Some(who), "wendys.burn", 1);
            let told = foretold(world, &["--dn", &who.dn], "wendys", "burn", "1");
            assert_eq!(call, told, "{}", who.dn);
            assert!(call.starts_with(expected), "{}: {call}", who.dn);
        }
    };
    let accounts = &world.accounts;
    let (alices, weak) = (accounts.strong.clone(), accounts.weak.clone());
    check(&world, ["403 the access list", "403 the access list", &weak]);
    let refused = by(&world, &world.wendy, &["deny", "wendys", "/"]);
    assert!(refused.starts_with("fault 403: "), "{refused}");
    assert_eq!(by(&world, &world.alice, &["allow", "wendys", "/O=NESSSI Test"]), "1\n");
    check(&world, [&alices, "403 the access list", &weak]);
    let wendy = world.wendy.dn.clone();
    let deny =
        ["deny", "wendys", wendy.as_str(), "--method", "burn", "--end", "2999-01-01T00:00:00Z"];
    assert_eq!(by(&world, &world.alice, &deny), "2\n");
    check(&world, [&alices, "403 the access list", "403 an administrator"]);
    let rules = by(&world, &world.alice, &["rules", "wendys"]);
    let second = format!("deny {wendy} at wendys.burn, until 29990101T00:00:00 (by {alice})");
    assert!(rules.contains(&second) && rules.lines().count() == 2, "{rules}");

    world.stop_server();
    let offline = foretold(&world, &["--dn", &wendy], "wendys", "burn", "1");
    assert!(offline.starts_with("403 an administrator"), "{offline}");
    world.start_server();
    check(&world, [&alices, "403 the access list", "403 an administrator"]);
    for number in ["1", "2"] {
        assert_eq!(by(&world, &world.alice, &["remove", number]), "");
    }
    check(&world, ["403 the access list", "403 the access list", &weak]);
    let gone = by(&world, &world.alice, &["remove", "2"]);
    assert_eq!(gone, "fault 404: there is no edit 2\n");
    assert_eq!(by(&world, &world.alice, &["deny", "job", &wendy, "--method", "cancel"]), "3\n");
    let session = Value::from("0".repeat(32));
    let fault = world.call(Some(&world.wendy), "job.cancel", vec![session]).unwrap_err();
    assert_eq!(fault.code.number(), 403);
}

#[test]
fn access_files_are_checked_and_those_of_the_original_are_written_anew() {
    let mut world = World::builder().build();
    let old = "# from the days of Clarens\naccess = [\n  ('', (0, ['/O=NESSSI Test/CN=Alice'], None, None, None)),\n]\n";
    world.service("old", DECLARES, Some(old));
    world.service("wrong", DECLARES, Some("allow = [\"Alice\"]\norder = \"allow\"\n"));
    world.service("odd", DECLARES, Some("allow = [\"/\"]\nlevels = [\"strng\"]\n"));
    let file = |name: &str| {
        let path = world.path().join("services").join(name).join(".clarens_access");
        path.to_str().unwrap().to_owned()
    };
    let out = nesssi(&world, &["access", "check", &file("wrong"), &file("odd")]);
    assert_eq!(out.status.code(), Some(1));
    let told = text(&out.stderr);
    for (name, line, word) in [("wrong", 1, "Alice"), ("wrong", 2, "order"), ("odd", 2, "strng")] {
        let at = format!("{}:{line}: ", file(name));
        assert!(told.lines().any(|told| told.starts_with(&at) && told.contains(word)), "{told}");
    }
    let checked = nesssi(&world, &["access", "check", &file("old")]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(text(&checked.stderr).contains("nesssi access convert"));
    let words = text(&checked.stdout);
    assert!(words.contains("admits /O=NESSSI Test/CN=Alice, and of certificates no other"));
    let printed = nesssi(&world, &["access", "convert", &file("old")]);
    assert_eq!(fs::read_to_string(file("old")).unwrap(), old, "it is only printed");
    assert!(nesssi(&world, &["access", "convert", "--write", &file("old")]).status.success());
    assert_eq!(fs::read_to_string(file("old")).unwrap(), text(&printed.stdout));
    assert_eq!(fs::read_to_string(file("old") + ".old").unwrap(), old);
    assert_eq!(text(&nesssi(&world, &["access", "check", &file("old")]).stdout), words);
    // A second old file finds the first one's name taken.
    fs::write(file("old"), old).unwrap();
    let again = nesssi(&world, &["access", "convert", "--write", &file("old")]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(fs::read_to_string(file("old")).unwrap(), old, "nothing is done");
    fs::write(file("old"), &printed.stdout).unwrap();
    world.start_server();
    let (alice, wendy) = (Some(&world.alice), Some(&world.wendy));
    assert!(world.call(alice, "old.burn", vec![Value::Int(1)]).is_ok());
    let fault = world.call(wendy, "old.burn", vec![Value::Int(1)]).unwrap_err();
    assert_eq!(fault.code.number(), 403);
}

#[test]
fn a_gridmap_is_checked_by_line_and_column() {
    let world = World::builder().build();
    let path = world.path().join("gridmap");
    let file = path.to_str().unwrap();
    let out = nesssi(&world, &["gridmap", "check", file]);
    assert_eq!(text(&out.stdout), "2 subject DNs, 0 of them to accounts of a pool\n");
    fs::write(&path, "\"/O=Grid/CN=Ann\" ann\n\"/O=Grid/CN=Bob bob\n").unwrap();
    let out = nesssi(&world, &["gridmap", "check", file]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(text(&out.stderr), format!("{file}:2:1: the quote is never closed\n"));
}
