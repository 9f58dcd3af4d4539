//! The command `nesssi`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::server::{SESSION, Server};

/// What a run came to, as text.
#[derive(Debug, PartialEq)]
struct Ran {
    code: i32,
    output: String,
    errors: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The command in an environment that holds nothing but a home without credentials.
fn command(program: &Path, home: &Path) -> Command {
    #[allow(clippy::disallowed_methods, reason = "the next line empties the environment")]
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin");
    command
}

fn nesssi(server: &Server, words: &[&str]) -> Ran {
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_nesssi")), server.folder());
    command.env("NESSSI_URL", &server.url).env("NESSSI_CA", server.file("ca.pem"));
    command.args(words).output().unwrap().into()
}

/// A run as a guest that goes well.
#[track_caller]
fn check(server: &Server, words: &[&str], output: &str) {
    let ran = nesssi(server, &[&["--guest"], words].concat());
    assert_eq!(ran, Ran { code: 0, output: output.to_owned(), errors: String::new() }, "{words:?}");
}

/// A run as a guest that goes wrong, with a part of what is said on standard error.
#[track_caller]
fn check_wrong(server: &Server, words: &[&str], code: i32, errors: &str) {
    let ran = nesssi(server, &[&["--guest"], words].concat());
    assert_eq!(ran.code, code, "{words:?}: {ran:?}");
    assert!(ran.errors.contains(errors), "{words:?}: {}", ran.errors);
    assert_eq!(ran.output, "", "{words:?}");
}

#[test]
fn calls_print_their_result() {
    let server = Server::start();
    check(
        &server,
        &["call", "echo.echo", "3", "-5", "2.5", "true", "M31", "s:3"],
        "[\n  3,\n  -5,\n  2.5,\n  true,\n  \"M31\",\n  \"3\"\n]\n",
    );
    check(
        &server,
        &["call", "echo.echo", "--json-args", "[1]", "{\"a\":null}"],
        "[\n  [\n    1\n  ],\n  {\n    \"a\": null\n  }\n]\n",
    );
    check(&server, &["call", "echo.echo", "--", "--guest"], "[\n  \"--guest\"\n]\n");
    check(&server, &["call", "test.certified", "--json"], "false\n");
}

#[test]
fn a_call_that_makes_a_session_says_where_its_sandbox_is() {
    let server = Server::start();
    let ran = nesssi(&server, &["--guest", "call", "test.session"]);
    assert_eq!(ran.output, format!("{SESSION}\n"));
    assert_eq!(ran.errors, format!("sandbox: {}/sandboxes/{SESSION}/\n", server.files_url));
}

#[test]
fn sessions_are_looked_after() {
    let server = Server::start();
    check(&server, &["status", SESSION], "cpu_seconds: 1.5\nstate: running\n");
    check(
        &server,
        &["status", SESSION, "--json"],
        "{\n  \"cpu_seconds\": 1.5,\n  \"state\": \"running\"\n}\n",
    );
    check(&server, &["cancel", SESSION], "cancelled\n");
    check(&server, &["cat", SESSION, "stdout"], "3 + 5 = 8\n");
    check(&server, &["cat", "--follow", SESSION, "stdout"], "3 + 5 = 8\nend\n");
    check(&server, &["ls", SESSION, "sub"], "");
    let ran = nesssi(&server, &["--guest", "ls", SESSION]);
    assert_eq!(
        (ran.code, ran.output.as_str()),
        (
            0,
            "           0  2006-11-22T12:00:00Z  sub/\n          10  2006-11-22T12:00:01Z  stdout\n"
        )
    );
    assert_eq!(ran.errors, "there are more entries than the server lists\n");
}

#[test]
fn into_a_pipe_bytes_go_as_they_came() {
    let server = Server::start();
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_nesssi")), server.folder());
    command.args(["--guest", "--url", &server.url, "cat", SESSION, "a b", "--ca"]);
    let output = command.arg(server.file("ca.pem")).output().unwrap();
    assert_eq!(output.stdout, b"\xff\x00\x1b[2J");
}

#[test]
fn on_a_terminal_nothing_that_it_would_obey_is_printed() {
    let script = Path::new("/usr/bin/script");
    if !script.exists() {
        eprintln!("SKIPPED: needs /usr/bin/script, which makes a terminal");
        return;
    }
    let server = Server::start();
    let on_terminal = |words: &str| -> Ran {
        let ca = server.file("ca.pem");
        let line = format!(
            "'{}' --guest --url {} --ca '{}' {words}",
            env!("CARGO_BIN_EXE_nesssi"),
            server.url,
            ca.display()
        );
        let mut command = command(script, server.folder());
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).output().unwrap().into()
    };
    let file = on_terminal(&format!("cat {SESSION} 'a b'"));
    assert_eq!((file.code, file.output.as_str()), (0, "\\xff\\u{0}\\u{1b}[2J"));
    let result = on_terminal("call test.escape");
    assert_eq!((result.code, result.output.as_str()), (0, "\\u{9b}2J\r\n"));
    let fault = on_terminal("call test.escape_in_fault");
    assert_eq!((fault.code, fault.output.as_str()), (1, "fault 7: \\u{9b}2J\r\n"));
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let server = Server::start();
    let fault = "fault 413: asked for 999999 CPU seconds, the limit of level weak is 3600\n";
    check_wrong(&server, &["call", "test.limit"], 1, fault);
    check_wrong(&server, &["status", "nobody"], 1, "fault 404: no such session\n");
    check_wrong(&server, &["cat", SESSION, "absent"], 1, "fault 404: no such session or file\n");
    check_wrong(&server, &[], 2, "Usage:");
    check_wrong(&server, &["dance"], 2, "dance");
    check_wrong(&server, &["call"], 2, "METHOD");
    check_wrong(&server, &["call", "a b"], 2, "a method name is");
    check_wrong(
        &server,
        &["call", "echo.echo", "99999999999999999999"],
        2,
        "s:99999999999999999999",
    );
    check_wrong(&server, &["call", "echo.echo", "--json-args", "[1"], 2, "[1: ");
    check_wrong(&server, &["cat", SESSION, "../x"], 2, "relative");
    check_wrong(&server, &["--url", "localhost", "call", "echo.echo"], 2, "https://");
    check_wrong(&server, &["--ca", "/nowhere", "call", "echo.echo"], 2, "/nowhere: ");
    check_wrong(
        &server,
        &["--url", "https://localhost:1/", "call", "echo.echo"],
        3,
        "cannot connect to localhost:1: ",
    );
    check_wrong(&server, &["call", "test.html"], 3, "answered 502 Bad Gateway");
    check_wrong(&server, &["call", "test.garbage"], 3, "cannot be read: ");
    check_wrong(&server, &["--timeout", "1", "call", "test.never"], 3, "no answer within 1 s");
}

#[test]
fn the_credential_is_found_or_its_lack_is_told() {
    let server = Server::start();
    let user = |name: &str| server.file(name).to_str().unwrap().to_owned();
    let ran = nesssi(
        &server,
        &["call", "test.certified", "--cert", &user("user.pem"), "--key", &user("user.key")],
    );
    assert_eq!((ran.code, ran.output.as_str()), (0, "true\n"), "{ran:?}");

    let globus = server.folder().join(".globus");
    fs::create_dir(&globus).unwrap();
    fs::copy(server.file("user.pem"), globus.join("usercert.pem")).unwrap();
    fs::copy(server.file("user.key"), globus.join("userkey.pem")).unwrap();
    fs::set_permissions(globus.join("userkey.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_nesssi")), server.folder());
    command.env("X509_USER_PROXY", server.file("absent"));
    command.args(["--url", &server.url, "call", "test.certified", "--ca"]);
    let ran: Ran = command.arg(server.file("ca.pem")).output().unwrap().into();
    assert_eq!(ran.code, 2);
    assert!(ran.errors.contains("absent: No such file"), "{}", ran.errors);
}

#[test]
fn administration_is_run_beside_it_in_a_clean_environment() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = folder.path().join("nesssi");
    fs::hard_link(env!("CARGO_BIN_EXE_nesssi"), &program).unwrap();
    let run = |words: &[&str]| -> Ran {
        let mut command = command(&program, folder.path());
        command.env("TERM", "dumb").env("SECRET", "x").env("LD_PRELOAD", "");
        command.args(words).output().unwrap().into()
    };
    let missing = run(&["restart"]);
    assert_eq!(missing.code, 2);
    assert!(
        missing.errors.contains("cannot run") && missing.errors.contains("nesssi-admin"),
        "{missing:?}"
    );

    let admin = folder.path().join("nesssi-admin");
    let script = "#!/bin/sh\nfor word in \"$@\"; do echo \"<$word>\"; done\n/usr/bin/env | /usr/bin/sort\nexit 7\n";
    fs::write(&admin, script).unwrap();
    fs::set_permissions(&admin, fs::Permissions::from_mode(0o755)).unwrap();
    for words in [
        &["service", "restart", "a b; c", "--json"][..],
        &["restart", "--help"],
        &["health"],
        &["demo", "--once"],
    ] {
        let ran = run(words);
        let echoed: String = words.iter().map(|word| format!("<{word}>\n")).collect();
        assert_eq!(ran.code, 7, "{ran:?}");
        let environment = ran.output.strip_prefix(&echoed).unwrap_or_else(|| panic!("{ran:?}"));
        let names: Vec<&str> =
            environment.lines().filter_map(|line| line.split('=').next()).collect();
        // A shell adds the last three by itself.
        let shells_own = ["OLDPWD", "PWD", "SHLVL", "_"];
        let names: Vec<&str> =
            names.into_iter().filter(|name| !shells_own.contains(name)).collect();
        assert_eq!(names, ["HOME", "PATH", "TERM"]);
    }
    let late = run(&["--guest", "service", "list"]);
    assert_eq!(late.code, 2);
    assert!(late.errors.contains("comes first"), "{late:?}");
}

#[test]
fn help_names_every_verb() {
    let server = Server::start();
    let ran = nesssi(&server, &["--help"]);
    assert_eq!(ran.code, 0);
    for verb in ["call", "status", "ls", "cat", "cancel", "service", "restart", "health", "demo"] {
        assert!(ran.output.contains(&format!("\n  {verb} ")), "{verb}: {}", ran.output);
    }
}
