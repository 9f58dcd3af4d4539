//! The command `nesssi` against a whole server, and its proxies against the grid's own tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nesssi_testkit::{Place, World, skipped, wait_until};
use serde_json::Value as Json;

use crate::python_client::proxy_of_grid_proxy_init;

/// A World in which everybody may submit commands.
fn world() -> World {
    let levels = "submit_levels = [\"strong\", \"weak\", \"anonymous\"]";
    World::builder().key("job", levels).with_shipped_services().start()
}

fn nesssi(world: &World, words: &[&str]) -> Command {
    let mut command = Command::new(world.program("nesssi"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", world.path());
    command.env("NESSSI_URL", &world.url).env("NESSSI_CA", world.grid.trust_directory());
    command.env("X509_USER_PROXY", world.path().join("x509up")).args(words);
    command
}

fn as_guest(world: &World, words: &[&str]) -> (i32, String, String) {
    told(&nesssi(world, &[&["--guest"], words].concat()).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_command_is_submitted_waited_for_and_its_files_fetched() {
    let world = world();
    let input = world.path().join("input");
    fs::write(&input, "seven\n").unwrap();
    let words = ["submit", "--put", input.to_str().unwrap(), "--", "/bin/cat", "input"];
    let (code, output, errors) = as_guest(&world, &words);
    assert_eq!(code, 0, "{errors}");
    let session = output.trim();
    let (code, status, errors) = as_guest(&world, &["wait", session, "--json"]);
    assert_eq!(code, 0, "{errors}");
    assert!(status.contains("\"state\": \"done\""), "{status}");
    assert_eq!(as_guest(&world, &["cat", session, "stdout"]).1, "seven\n");
    assert_eq!(as_guest(&world, &["tail", "-n", "4", session]).1, "ven\n");
    assert!(as_guest(&world, &["ls", session]).1.contains("  input\n"));
    let to = world.path().join("fetched");
    let (code, _, errors) = as_guest(&world, &["get", session, "-o", to.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(fs::read_to_string(to.join("stdout")).unwrap(), "seven\n");
    assert_eq!(as_guest(&world, &["extend", session, "60"]).0, 0);
    assert_eq!(as_guest(&world, &["destroy", session]).0, 0);
    assert_eq!(as_guest(&world, &["status", session]).0, 1);
}

#[test]
fn what_cannot_be_submitted_leaves_no_session() {
    let world = world();
    let (cert, key) = (&world.alice.certificate, &world.alice.key);
    let who = ["--cert", cert.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let alice = |words: &[&str]| told(&nesssi(&world, &[&who, words].concat()).output().unwrap());
    let hidden = world.path().join(".input");
    fs::write(&hidden, "seven\n").unwrap();
    let words = ["submit", "--put", hidden.to_str().unwrap(), "--", "/bin/cat", "input"];
    let (code, output, errors) = alice(&words);
    assert_eq!((code, output.as_str()), (1, ""), "{errors}");
    assert_eq!(alice(&["jobs"]).1, "", "the session that was prepared is gone");
    let session = alice(&["submit", "--", "/bin/true"]).1;
    let called = alice(&["call", "sleepy.sleepyAdd", "0", "1", "2"]).1;
    let jobs = alice(&["jobs"]).1;
    let line = |session: &str| jobs.lines().find(|line| line.starts_with(session.trim())).unwrap();
    assert!(line(&session).ends_with("Z  job.submit"), "{jobs}");
    assert!(line(&called).ends_with("Z  sleepy.sleepyAdd"), "{jobs}");
}

#[test]
fn the_exit_code_is_the_jobs() {
    let world = world();
    let (code, status, errors) =
        as_guest(&world, &["submit", "--wait", "--", "/bin/sh", "-c", "exit 7"]);
    assert_eq!(code, 4, "{errors}");
    assert!(errors.contains("job failed") && errors.ends_with("exit code 7\n"), "{errors}");
    assert!(status.contains("exit_code: 7"), "{status}");
    let asleep = as_guest(&world, &["submit", "--", "/bin/sleep", "60"]).1;
    assert_eq!(as_guest(&world, &["wait", asleep.trim(), "--seconds", "0"]).0, 5);
    assert_eq!(as_guest(&world, &["cancel", asleep.trim()]).1, "cancelled\n");
    assert_eq!(as_guest(&world, &["wait", asleep.trim()]).0, 4);
    assert_eq!(as_guest(&world, &["submit", "--cpu-seconds", "1e6", "/bin/true"]).0, 1);
    assert_eq!(as_guest(&world, &["jobs"]).0, 1, "a guest has no list");
    let (code, help, errors) = as_guest(&world, &["help", "echo.echo"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(
        help,
        "echo.echo(...)\n    Answers its parameters as a list, to try a connection and to \
        measure it. Example: echo.echo(\"hello\", 3) is [\"hello\", 3].\n"
    );
    let help = as_guest(&world, &["help", "job.wait"]).1;
    assert!(help.starts_with("job.wait(session: string, seconds: double) -> struct\n"), "{help}");
    let help = as_guest(&world, &["help", "sleepy.sleepyAdd"]).1;
    assert!(
        help.starts_with("sleepy.sleepyAdd(seconds: double, n1: double, n2: double) -> "),
        "{help}"
    );
    assert_eq!(as_guest(&world, &["help", "no.such"]).0, 1);
    assert!(as_guest(&world, &["services"]).1.contains("ok"));
}

#[test]
fn a_tail_outlives_the_gatekeeper() {
    let world = world();
    let line = "for n in 1 2 3 4 5 6; do echo $n; sleep 0.5; done";
    let session = as_guest(&world, &["submit", "--", "/bin/sh", "-c", line]).1;
    let mut follow = nesssi(&world, &["--guest", "tail", "-f", session.trim()]);
    let follow = follow.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut restart = Command::new(world.program("nesssi"));
    restart.env_clear().args(["restart", "--config"]).arg(&world.config);
    let restarted = restart.output().unwrap();
    assert!(restarted.status.success(), "{restarted:?}");
    let (code, output, _) = told(&follow.wait_with_output().unwrap());
    assert_eq!((code, output.as_str()), (0, "1\n2\n3\n4\n5\n6\n"));
}

fn tool(path: &str, proxy: &Path, trust: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(path);
    command.env("X509_USER_PROXY", proxy).env("X509_CERT_DIR", trust).args(words);
    told(&command.output().unwrap())
}

#[test]
fn the_grids_own_tools_and_the_server_take_our_proxies() {
    for tool in ["/usr/bin/grid-proxy-info", "/usr/bin/openssl"] {
        if !Path::new(tool).exists() {
            return skipped(&format!("needs {tool}"));
        }
    }
    let world = world();
    let (proxy, trust) = (world.path().join("x509up"), world.grid.trust_directory());
    let (cert, key) = (&world.alice.certificate, &world.alice.key);
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let ca = fs::read_dir(&trust).unwrap().map(|entry| entry.unwrap().path());
    let ca = ca.into_iter().find(|path| fs::read_to_string(path).unwrap().contains("BEGIN CERT"));
    let ca = ca.unwrap();
    let whoami = || told(&nesssi(&world, &["whoami", "--json"]).output().unwrap());
    for (more, kind) in [(&["--bits", "p256"][..], "full"), (&["--limited"], "limited")] {
        let init = ["proxy", "init", "--hours", "3", "--cert", cert, "--key", key];
        let (code, _, errors) =
            told(&nesssi(&world, &[&init[..], more].concat()).output().unwrap());
        assert_eq!(code, 0, "{errors}");
        let (code, info, errors) = tool("/usr/bin/grid-proxy-info", &proxy, &trust, &[]);
        assert_eq!(code, 0, "{info}{errors}");
        assert!(info.contains(&format!("identity : {}", world.alice.dn)), "{info}");
        assert!(info.contains("RFC 3820 compliant"), "{info}");
        let words = ["verify", "-allow_proxy_certs", "-CAfile", ca.to_str().unwrap(), "-untrusted"];
        let path = proxy.to_str().unwrap();
        let verified =
            tool("/usr/bin/openssl", &proxy, &trust, &[&words[..], &[path, path]].concat());
        assert_eq!(verified.0, 0, "{verified:?}");
        let voms = Path::new("/usr/bin/voms-proxy-info");
        if voms.exists() {
            let told = tool(voms.to_str().unwrap(), &proxy, &trust, &["-identity"]);
            assert_eq!(told.1.trim(), world.alice.dn, "{told:?}");
        }
        let (code, who, errors) = whoami();
        assert_eq!(code, 0, "{errors}");
        assert!(who.contains(&format!("\"dn\": \"{}\"", world.alice.dn)), "{who}");
        assert!(who.contains(&format!("\"proxy\": \"{kind}\"")), "{who}");
    }
    assert_eq!(told(&nesssi(&world, &["proxy", "destroy"]).output().unwrap()).0, 0);
    assert!(!proxy.exists());
}

#[test]
fn a_proxy_of_grid_proxy_init_is_shown_and_taken() {
    let mut world = World::builder().build();
    let place = Place::new();
    let Some(proxy) = proxy_of_grid_proxy_init(&world, place.path()) else { return };
    world.start_server();
    let run = |proxy: &Path, words: &[&str]| {
        told(&nesssi(&world, words).env("X509_USER_PROXY", proxy).output().unwrap())
    };
    let (code, info, errors) = run(&proxy, &["proxy", "info"]);
    assert_eq!(code, 0, "{errors}");
    for row in
        ["identity  /O=RSA Grid/CN=Rosa", "type      RFC 3820 proxy", "strength  RSA 2048 bits"]
    {
        assert!(info.lines().any(|line| line == row), "{row}\n{info}");
    }
    assert_eq!(run(&proxy, &["proxy", "info", "--exists", "--valid", "11"]).0, 0);
    assert_eq!(run(&proxy, &["proxy", "info", "--exists", "--valid", "13"]).0, 1);
    let whoami = |proxy: &Path| {
        let (code, who, errors) = run(proxy, &["whoami", "--json"]);
        assert_eq!(code, 0, "{errors}");
        let who: Json = serde_json::from_str(&who).unwrap();
        (who["dn"].as_str().unwrap().to_owned(), who["proxy"].as_str().unwrap().to_owned())
    };
    let rosa = |kind: &str| ("/O=RSA Grid/CN=Rosa".to_owned(), kind.to_owned());
    assert_eq!(whoami(&proxy), rosa("full"));
    // One of ours below theirs.
    let below = place.path().join("below");
    let words = ["proxy", "init", "--limited", "--cert", proxy.to_str().unwrap(), "--out"];
    let (code, _, errors) = run(&proxy, &[&words[..], &[below.to_str().unwrap()]].concat());
    assert_eq!(code, 0, "{errors}");
    assert_eq!(whoami(&below), rosa("limited"));
    let (_, info, _) = run(&place.path().join("old"), &["proxy", "info"]);
    assert!(info.contains("type      legacy limited proxy\n"), "{info}");
    assert!(info.contains("identity  /O=RSA Grid/CN=Rosa\n"), "{info}");
}

#[test]
fn exit_codes_of_proxies_are_for_scripts() {
    let world = World::builder().build();
    let run = |words: &[&str]| {
        let (code, output, errors) = told(&nesssi(&world, words).output().unwrap());
        (code, format!("{output}{errors}"))
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (cert, key) = (text(&world.alice.certificate), text(&world.alice.key));
    let old = world.grid.expired("Alice");
    let (old_cert, old_key) = (text(&old.certificate), text(&old.key));
    let init = ["proxy", "init", "--bits", "p256"];
    for (words, code, said) in [
        (&["proxy", "info"][..], 1, "no proxy: "),
        (&["proxy", "info", "--exists"], 1, ""),
        (&["proxy", "destroy"], 1, "No such file"),
        (&["proxy", "info", "--valid", "soon"], 2, "soon"),
        (&init, 2, "no certificate found"),
        (&[&init[..], &["--cert", &old_cert, "--key", &old_key]].concat(), 2, "expired"),
        (&[&init[..], &["--cert", &cert, "--key", &key, "--hours", "2"]].concat(), 0, "timeleft"),
        (&["proxy", "info"], 0, "RFC 3820 proxy"),
        (&["proxy", "info", "--exists"], 0, ""),
        (&["proxy", "info", "--exists", "--valid", "1"], 0, ""),
        (&["proxy", "info", "--valid", "3"], 1, "not valid for that long"),
        (&["proxy", "info", "--exists", "--valid", "3"], 1, ""),
        (&["proxy", "info", "--file", &cert], 1, "it is no proxy"),
        (&["proxy", "destroy"], 0, ""),
        (&["proxy", "info", "--exists"], 1, ""),
    ] {
        let (came, all) = run(words);
        assert_eq!(came, code, "{words:?}: {all}");
        assert!(all.contains(said) && (!said.is_empty() || all.is_empty()), "{words:?}: {all}");
    }
}

#[test]
fn json_is_one_value_of_a_known_shape() {
    let world = world();
    let (cert, key) = (&world.alice.certificate, &world.alice.key);
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let run = |words: &[&str]| {
        let all = [&["--json", "--cert", cert, "--key", key], words].concat();
        let (code, output, errors) = told(&nesssi(&world, &all).output().unwrap());
        assert_eq!(code, 0, "{words:?}: {errors}");
        serde_json::from_str::<Json>(&output).unwrap_or_else(|e| panic!("{words:?}: {e}: {output}"))
    };
    #[track_caller]
    fn has(value: &Json, names: &[&str]) {
        for name in names {
            assert!(value.get(name).is_some(), "{name} is not in {value}");
        }
    }
    assert_eq!(run(&["call", "echo.echo", "1", "x"]), serde_json::json!([1, "x"]));
    has(&run(&["whoami"]), &["dn", "level", "account", "limits"]);
    has(&run(&["may", "sleepy.burn"]), &["outcome", "steps"]);
    has(&run(&["services"])[0], &["name", "state", "purpose"]);
    assert!(run(&["help"]).as_array().unwrap().contains(&"echo.echo".into()));
    assert!(run(&["help", "sleepy"]).is_string());
    let help = run(&["help", "job.wait"]);
    assert_eq!(help["method"], "job.wait");
    assert_eq!(help["signatures"], serde_json::json!([["struct", "string", "double"]]));
    let session = run(&["submit", "--", "/bin/sh", "-c", "echo 8; mkdir d; echo x > d/x"]);
    let session = session.as_str().unwrap();
    for words in [&["wait", session][..], &["status", session]] {
        let status = run(words);
        assert_eq!(status["state"], "done");
        has(&status, &["cpu_seconds", "cpu_limit", "exit_code", "created", "url"]);
    }
    has(&run(&["submit", "--wait", "/bin/true"]), &["state", "exit_code"]);
    has(&run(&["call", "--wait", "sleepy.sleepyAdd", "0", "3", "5"]), &["state", "exit_code"]);
    let jobs = run(&["jobs", "--since", "1h", "--service", "sleepy"]);
    assert_eq!(jobs.as_array().unwrap().len(), 1, "{jobs}");
    has(&jobs[0], &["session", "state", "service", "method", "created"]);
    assert_eq!(run(&["jobs", "--since", "2100-01-01"]), serde_json::json!([]));
    let listing = run(&["ls", session]);
    assert_eq!(listing["cut"], false);
    has(&listing["entries"][0], &["name", "directory", "size", "modified"]);
    let (one, all) = (world.path().join("one"), world.path().join("all"));
    let (one, all) = (one.to_str().unwrap(), all.to_str().unwrap());
    let got = run(&["get", session, "stdout", "-o", one]);
    assert_eq!(got, serde_json::json!({"file": one, "bytes": 2, "resumed_from": 0}));
    let got = run(&["get", session, "-o", all]);
    has(&got, &["directory", "files", "kept", "bytes", "refused"]);
    assert_eq!(
        run(&["put", one, &format!("{session}/d/")]),
        serde_json::json!({"path": "d/one", "bytes": 2})
    );
    let until = run(&["extend", session, "60"]);
    assert!(
        until.as_str().unwrap().len() == 20 && until.as_str().unwrap().ends_with('Z'),
        "{until}"
    );
    assert_eq!(run(&["cancel", session]), "done");
    assert_eq!(run(&["destroy", session]), true);
    let proxy = run(&["proxy", "init", "--bits", "p256"]);
    let names = ["subject", "issuer", "identity", "type", "strength", "path", "timeleft"];
    has(&proxy, &[&names[..], &["not_after", "proxy"]].concat());
    let again = run(&["proxy", "info"]);
    assert_eq!((&again["subject"], &again["proxy"]), (&proxy["subject"], &true.into()));
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let world = world();
    let line = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done";
    let session = as_guest(&world, &["submit", "--", "/bin/sh", "-c", line]).1;
    let session = session.trim();
    assert_eq!(as_guest(&world, &["wait", session]).0, 0);
    let whole: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    // A file that was written a moment ago has no version to rely on yet.
    let version = wait_until("the file has a strong entity tag", 30, || {
        let (head, _) = world.http(&format!("HEAD /sandboxes/{session}/stdout"), &[]);
        let value = |line: &str| Some(line.to_lowercase().strip_prefix("etag: ")?.to_owned());
        head.lines().find_map(value).filter(|tag| tag.starts_with('"'))
    });
    let to = world.path().join("numbers");
    let get = |part: &str, version: &str| {
        fs::write(to.with_extension("nesssi-part"), part).unwrap();
        fs::write(to.with_extension("nesssi-part-version"), version).unwrap();
        let words = ["--json", "get", session, "stdout", "-o", to.to_str().unwrap()];
        let (code, told, errors) = as_guest(&world, &words);
        assert_eq!(code, 0, "{errors}");
        assert!(fs::read_to_string(&to).unwrap() == whole, "from {part:?} of {version}");
        assert!(!to.with_extension("nesssi-part").exists());
        let told: Json = serde_json::from_str(&told).unwrap();
        assert_eq!(told["bytes"], whole.len());
        told["resumed_from"].as_u64().unwrap()
    };
    assert_eq!(get(&whole[..50_000], &version), 50_000);
    // What an attempt left of another version is not built upon.
    assert_eq!(get("nonsense", "\"another\""), 0);
}
