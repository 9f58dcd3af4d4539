//! The command `nesssi`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::server::{FAILING, RESUMED, RUNNING, SESSION, Server};

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
pub(crate) fn command(program: &Path, home: &Path) -> Command {
    #[allow(clippy::disallowed_methods, reason = "the next line empties the environment")]
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin");
    command
}

/// Whether a tool is there; without it what needs it is skipped, loudly, or fails where all tools are to be there.
fn have(tool: &Path) -> bool {
    let all = std::env::var_os("NESSSI_TOOLS").is_some_and(|word| word == "1");
    let tool_is_there = tool.exists();
    assert!(tool_is_there || !all, "{} is not installed", tool.display());
    if !tool_is_there {
        eprintln!("SKIPPED: needs {}", tool.display());
    }
    tool_is_there
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
    check(&server, &["call", "file.read", "/x.xml", "0", "-1"], "<methodResponse/>");
    check_wrong(
        &server,
        &["call", "file.read", "/absent", "0", "-1"],
        1,
        "fault 404: no such file",
    );
    check_wrong(&server, &["call", "--tag", "one", "system.multicall"], 2, "has no tag");
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
    check(&server, &["status", SESSION], "cpu_seconds: 1.5\nstate: done\n");
    check(
        &server,
        &["status", SESSION, "--json"],
        "{\n  \"cpu_seconds\": 1.5,\n  \"state\": \"done\"\n}\n",
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
    if !have(script) {
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
    for verb in [
        "call",
        "help",
        "services",
        "submit",
        "jobs",
        "status",
        "wait",
        "tail",
        "ls",
        "cat",
        "get",
        "put",
        "cancel",
        "extend",
        "destroy",
        "whoami",
        "may",
        "vo",
        "proxy",
        "completions",
        "man",
        "service",
        "restart",
        "health",
        "demo",
    ] {
        assert!(ran.output.contains(&format!("\n  {verb} ")), "{verb}: {}", ran.output);
    }
    for code in 0..=5 {
        assert!(ran.output.contains(&format!("\n  {code}  ")), "{code}: {}", ran.output);
    }
}

#[test]
fn the_end_of_a_job_is_the_end_of_the_command() {
    let server = Server::start();
    let status = "cpu_seconds: 1.5\nstate: done\n";
    check(&server, &["wait", SESSION], status);
    check_wrong_but_told(&server, &["wait", RUNNING, "--seconds", "0"], 5, "it is running\n");
    check_wrong_but_told(
        &server,
        &["submit", "--wait", "--", "/bin/false", "--guest"],
        4,
        "job failed, exit code 7\n",
    );
    check(&server, &["submit", "--cpu-seconds", "2", "/bin/true"], &format!("{FAILING}\n"));
    let waited = nesssi(&server, &["--guest", "call", "--wait", "test.session"]);
    assert_eq!((waited.code, waited.output.as_str()), (0, status));
    assert_eq!(waited.errors, format!("session: {SESSION}\n"));
    check_wrong(&server, &["wait", "ffffffffffffffffffffffffffffffff"], 1, "fault 404");
    let none = nesssi(&server, &["--guest", "call", "--wait", "echo.echo", "x"]);
    assert_eq!(none.code, 2);
    assert!(none.errors.contains("no session to wait for"), "{none:?}");
}

/// A run as a guest whose job went wrong: its status is told nevertheless.
#[track_caller]
fn check_wrong_but_told(server: &Server, words: &[&str], code: i32, errors: &str) {
    let ran = nesssi(server, &[&["--guest"], words].concat());
    assert_eq!(ran.code, code, "{words:?}: {ran:?}");
    assert!(ran.errors.ends_with(errors), "{words:?}: {}", ran.errors);
    assert!(ran.output.contains("state: "), "{ran:?}");
}

#[test]
fn sessions_are_listed_kept_and_removed() {
    let server = Server::start();
    let jobs = nesssi(&server, &["--guest", "jobs", "--state", "done", "--limit", "3"]);
    assert_eq!(jobs.output, format!("{SESSION}  done        2006-11-22T12:00:00Z  sleepy.\n"));
    let json = nesssi(&server, &["--guest", "jobs", "--json", "--state", "done"]);
    assert!(json.output.contains("\"filter\": [\n      {\n        \"state\": ["), "{json:?}");
    check_wrong(&server, &["jobs", "--state", "gone"], 2, "over_limit or lost");
    let since = nesssi(&server, &["--guest", "jobs", "--json", "--since", "2026-03-01"]);
    assert!(
        since.output.contains("\"since\": {\n          \"$nesssi\": \"datetime\""),
        "{since:?}"
    );
    assert!(since.output.contains("\"iso\": \"20260301T00:00:00\""), "{since:?}");
    check_wrong(&server, &["jobs", "--since", "yesterday"], 2, "how long ago");
    check(&server, &["extend", SESSION, "60"], "kept until 2030-01-01T00:00:00Z\n");
    check(&server, &["extend", SESSION, "60", "--json"], "\"2030-01-01T00:00:00Z\"\n");
    check(&server, &["destroy", SESSION], "");
    check_wrong(&server, &["destroy", FAILING], 1, "fault 404");
}

#[test]
fn files_go_both_ways() {
    let server = Server::start();
    let folder = server.folder().join("here");
    fs::create_dir(&folder).unwrap();
    let here = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    check(&server, &["get", SESSION, "resumed", "-o", &here("")], "");
    assert_eq!(fs::read_to_string(here("resumed")).unwrap(), RESUMED);
    let told = nesssi(&server, &["--guest", "--json", "get", SESSION, "stdout", "-o", &here("s")]);
    assert!(told.output.contains("\"bytes\": 10"), "{told:?}");
    let evil = nesssi(&server, &["--guest", "get", SESSION, "evil", "-o", &here("evil")]);
    assert_eq!(evil.code, 1);
    assert!(evil.errors.contains("/etc/passwd: a name with a slash"), "{evil:?}");
    check(&server, &["put", &here("resumed"), &format!("{SESSION}/in/")], "");
    assert_eq!(server.put(), [(format!("{SESSION}/in/resumed"), RESUMED.into())]);
    check(&server, &["tail", SESSION, "stdout"], "3 + 5 = 8\n");
}

#[test]
fn a_pipe_that_is_closed_is_no_fault() {
    let server = Server::start();
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_nesssi")), server.folder());
    command.env("NESSSI_URL", &server.url).env("NESSSI_CA", server.file("ca.pem"));
    command.args(["--guest", "cat", SESSION, "big"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    std::io::Read::read_exact(&mut child.stdout.take().unwrap(), &mut first).unwrap();
    assert_eq!((child.wait().unwrap().code(), &first), (Some(0), b"xxxxxxxxxx"));
}

#[test]
fn completions_and_man_pages_are_written() {
    let server = Server::start();
    for shell in ["bash", "zsh", "fish"] {
        let script = nesssi(&server, &["completions", shell]);
        assert_eq!(script.code, 0);
        assert!(script.output.contains("proxy"), "{shell}");
        if shell == "bash" {
            let file = server.folder().join("nesssi.bash");
            fs::write(&file, &script.output).unwrap();
            let parsed =
                command(Path::new("/bin/bash"), server.folder()).arg("-n").arg(file).status();
            assert!(parsed.unwrap().success());
        }
    }
    let folder = server.folder().join("share/man/man1");
    check(&server, &["man", folder.to_str().unwrap()], "");
    for page in ["nesssi.1", "nesssi-call.1", "nesssi-proxy-init.1"] {
        let text = fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
        let groff = Path::new("/usr/bin/groff");
        if have(groff) {
            let mut groff = command(groff, server.folder());
            let made =
                groff.args(["-man", "-Tutf8", "-ww"]).arg(folder.join(page)).output().unwrap();
            assert!(made.status.success() && made.stderr.is_empty(), "{page}: {made:?}");
        }
    }
}

#[test]
fn proxies_are_made_of_a_key_with_a_passphrase_shown_and_removed() {
    let server = Server::start();
    let file = |name: &str| server.file(name).to_str().unwrap().to_owned();
    let proxy = file("x509up");
    let with = |words: &[&str]| -> Ran {
        let mut command = command(Path::new(env!("CARGO_BIN_EXE_nesssi")), server.folder());
        command.env("X509_USER_PROXY", &proxy).args(words).output().unwrap().into()
    };
    assert_eq!(with(&["proxy", "info", "--exists"]).code, 1);
    let none = with(&["proxy", "info"]);
    assert_eq!(none.code, 1);
    assert!(none.errors.contains("no proxy: "), "{none:?}");
    let (user, key) = (file("user.pem"), file("user.key"));
    let made = with(&["proxy", "init", "--cert", &user, "--key", &key, "--bits", "p256"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(
        made.output.contains("timeleft  11:59:59") || made.output.contains("12:00:00"),
        "{made:?}"
    );
    assert_eq!(fs::metadata(&proxy).unwrap().permissions().mode() & 0o777, 0o600);
    let info = with(&["proxy", "info", "--json"]);
    assert!(info.output.contains("\"type\": \"RFC 3820 proxy\""), "{info:?}");
    assert_eq!(with(&["proxy", "info", "--exists", "--valid", "11"]).code, 0);
    assert_eq!(with(&["proxy", "info", "--exists", "--valid", "13"]).code, 1);
    assert_eq!(with(&["proxy", "destroy"]).code, 0);
    assert!(!Path::new(&proxy).exists());
    assert_eq!(with(&["proxy", "destroy"]).code, 1);
    // A key with a passphrase, and nobody at a terminal.
    let locked = file("locked.key");
    let mut openssl = command(Path::new("/usr/bin/openssl"), server.folder());
    openssl.args(["pkey", "-in", &key, "-aes256", "-passout", "pass:secret", "-out", &locked]);
    assert!(openssl.output().unwrap().status.success());
    fs::write(server.file("word"), "secret\n").unwrap();
    let words =
        ["proxy", "init", "--cert", &user, "--key", &locked, "--limited", "--passphrase-file"];
    let made = with(&[&words[..], &[&file("word")]].concat());
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.output.contains("RFC 3820 limited proxy"), "{made:?}");
    fs::write(server.file("word"), "wrong\n").unwrap();
    let wrong = with(&[&words[..], &[&file("word")]].concat());
    assert_eq!(wrong.code, 2);
    assert!(wrong.errors.contains("the passphrase is wrong"), "{wrong:?}");
}
