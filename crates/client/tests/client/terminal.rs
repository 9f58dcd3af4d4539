//! The command `nesssi` with a person before it: on a terminal that Python's `pty` makes.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::command::command;
use crate::server::{SESSION, Server};

/// Runs the program of the arguments on a terminal, types each line of standard input once the program asks
/// and echo is off, and prints what was to be seen.
const ON_TERMINAL: &str = "\
import os, pty, sys, termios, time
answers = sys.stdin.read().splitlines()
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen, at = b'', 0
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        piece = b''
    if not piece:
        break
    seen += piece
    if answers and b': ' in seen[at:] and b'Passphrase' in seen[at:]:
        at = len(seen)
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(terminal, answers.pop(0).encode() + b'\\n')
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.stdout.buffer.write(seen)
sys.exit(code)
";

/// The exit code of a run before a person who gives these answers, and what was to be seen.
fn on_terminal(
    server: &Server,
    environment: &[(&str, &str)],
    answers: &str,
    words: &[&str],
) -> (i32, String) {
    let mut python = command(Path::new("/usr/bin/python3"), server.folder());
    python.env("NESSSI_URL", &server.url).env("NESSSI_CA", server.file("ca.pem"));
    python.env("TERM", "xterm").envs(environment.iter().copied());
    python.args(["-c", ON_TERMINAL, env!("CARGO_BIN_EXE_nesssi")]).args(words);
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&done.stderr), "");
    (done.status.code().unwrap(), String::from_utf8(done.stdout).unwrap())
}

#[test]
fn a_passphrase_is_asked_for_unseen_and_again_where_it_is_wrong() {
    let server = Server::start();
    let file = |name: &str| server.file(name).to_str().unwrap().to_owned();
    let (cert, plain, locked) = (file("user.pem"), file("user.key"), file("locked.key"));
    let mut openssl = command(Path::new("/usr/bin/openssl"), server.folder());
    openssl.args(["pkey", "-in", &plain, "-aes128", "-passout", "pass:open sesame"]);
    assert!(openssl.args(["-out", &locked]).status().unwrap().success());
    let words = ["call", "test.certified", "--cert", &cert, "--key", &locked];
    let question = format!("Passphrase for {locked}: ");

    let (code, seen) = on_terminal(&server, &[], "open sesame\n", &words);
    assert_eq!((code, seen), (0, format!("{question}\r\ntrue\r\n")));

    let (code, seen) = on_terminal(&server, &[], "wrong\n\nopen sesame\n", &words);
    let again = format!("Wrong passphrase. {question}\r\n");
    assert_eq!((code, seen), (0, format!("{question}\r\n{again}{again}true\r\n")));

    let (code, seen) = on_terminal(&server, &[], "one\ntwo\nthree\nopen sesame\n", &words);
    assert_eq!((code, seen.matches("Passphrase for").count()), (2, 3), "{seen}");
    assert_eq!(seen.matches("Wrong passphrase. ").count(), 2, "{seen}");
    assert!(seen.contains("the passphrase is wrong, or the file is damaged"), "{seen}");
    assert!(!seen.contains("three"), "{seen}");

    // A file says the same each time, and so is read once.
    std::fs::write(file("wrong"), "wrong\n").unwrap();
    let wrong = file("wrong");
    let from_file = [&words[..], &["--passphrase-file", &wrong]].concat();
    let (code, seen) = on_terminal(&server, &[], "", &from_file);
    assert_eq!(code, 2);
    assert!(!seen.contains("Passphrase for") && seen.contains("passphrase is wrong"), "{seen}");
    std::fs::write(file("right"), "open sesame\nmore\n").unwrap();
    let right = file("right");
    let from_file = [&words[..], &["--passphrase-file", &right]].concat();
    assert_eq!(on_terminal(&server, &[], "", &from_file), (0, "true\r\n".to_owned()));
}

#[test]
fn progress_is_for_a_terminal_alone() {
    let server = Server::start();
    let to = server.file("big").to_str().unwrap().to_owned();
    let words = ["--guest", "get", SESSION, "big", "-o", &to];
    let (code, seen) = on_terminal(&server, &[], "", &words);
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains(" %  ") && seen.contains(" of 8.0 MiB"), "{seen:?}");
    assert!(seen.starts_with("\r\x1b[Kbig  ") && seen.ends_with("\r\x1b[K"), "{seen:?}");
    let json = [&words[..], &["--json"]].concat();
    std::fs::remove_file(&to).unwrap();
    let (_, seen) = on_terminal(&server, &[], "", &json);
    assert!(seen.starts_with('{') && !seen.contains('\x1b'), "{seen:?}");
    std::fs::remove_file(&to).unwrap();
    let mut piped = command(Path::new(env!("CARGO_BIN_EXE_nesssi")), server.folder());
    piped.env("NESSSI_URL", &server.url).env("NESSSI_CA", server.file("ca.pem")).args(words);
    let done = piped.output().unwrap();
    assert!(done.status.success());
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b""[..], &b""[..]));
}

#[test]
fn colours_are_for_a_terminal_alone_and_only_where_they_are_wanted() {
    let server = Server::start();
    let words = ["--guest", "jobs"];
    let green = "\x1b[32mdone      \x1b[0m";
    let (code, seen) = on_terminal(&server, &[], "", &words);
    assert!(code == 0 && seen.contains(green), "{seen:?}");
    for unwanted in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (code, seen) = on_terminal(&server, &[unwanted], "", &words);
        assert!(code == 0 && seen.contains("done") && !seen.contains('\x1b'), "{seen:?}");
    }
    let (_, seen) = on_terminal(&server, &[("NO_COLOR", "")], "", &words);
    assert!(seen.contains(green), "an empty NO_COLOR says nothing: {seen:?}");
    let mut piped = command(Path::new(env!("CARGO_BIN_EXE_nesssi")), server.folder());
    piped.env("NESSSI_URL", &server.url).env("NESSSI_CA", server.file("ca.pem")).args(words);
    let done = piped.env("TERM", "xterm").output().unwrap();
    assert!(!done.stdout.contains(&0x1b) && done.stdout.starts_with(SESSION.as_bytes()));
}
