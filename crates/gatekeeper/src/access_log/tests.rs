use super::{AccessLog, BUFFER_BYTES_MAX, Gathered, Line, line_start};
use crate::clock::Civil;

const ID: &str = "0123456789abcdef0123456789abcdef";

fn line<'a>(target: &'a str, agent: &'a str) -> Line<'a> {
    Line {
        start: "192.0.2.7 - - [",
        method: "GET",
        target,
        version: "HTTP/1.1",
        status: 200,
        bytes: 12,
        referer: b"",
        agent: agent.as_bytes(),
        request_id: b"00000000000000aa",
        micros: 31,
    }
}

fn written(line: &Line<'_>) -> String {
    let mut gathered = Gathered { stamp: Civil::of(784_111_777).log(), ..Gathered::default() };
    gathered.push(line);
    String::from_utf8(gathered.bytes).unwrap()
}

#[test]
fn combined_format_then_id_and_micros() {
    assert_eq!(
        written(&line("/clarens/", "curl/8")),
        "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /clarens/ HTTP/1.1\" 200 12 \"-\" \
         \"curl/8\" 00000000000000aa 31\n"
    );
}

#[test]
fn session_ids_are_cut_wherever_they_stand() {
    let targets = [
        format!("/sandboxes/{ID}/out.txt"),
        format!("/sandboxes/{ID}?follow"),
        format!("/sandboxes/{ID}"),
        format!("/sandboxes//{ID}/x"),
        format!("/x?session={ID}"),
        format!("/sandboxes/{}%61/x", &ID[..31]),
        format!("/sandboxes/{}", ID.to_uppercase()),
        format!("/sandboxes/{ID}{ID}/x"),
    ];
    let straddling = format!("/{}/{ID}", "x".repeat(480));
    for target in targets.iter().chain([&straddling]) {
        let mut line = line(target, ID);
        let referer = format!("http://h/sandboxes/{ID}/");
        line.referer = referer.as_bytes();
        let text = written(&line).to_lowercase();
        assert!(!text.contains(&ID[..9]), "{text}");
    }
    assert!(written(&line(&targets[0], "")).contains("GET /sandboxes/01234567/out.txt HTTP"));
    assert!(written(&line(&targets[1], "")).contains("GET /sandboxes/01234567?follow HTTP"));
}

#[test]
fn a_line_stays_a_line_whatever_the_caller_says() {
    let text = written(&line("/a\"b", "x\n127.0.0.1 - - \u{1b}[31m\\ \u{9b}"));
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("/a\\x22b"));
    assert!(text.contains("x\\x0A127.0.0.1 - - \\x1B[31m\\x5C \\xC2\\x9B"), "{text}");
    assert!(written(&line("/", &"a".repeat(5_000))).len() < 800);
}

#[test]
fn a_subject_is_one_field() {
    let start = |subject| line_start("2001:db8::1".parse().unwrap(), subject);
    assert_eq!(start(None), "2001:db8::1 - - [");
    assert_eq!(start(Some("")), "2001:db8::1 - - [");
    assert_eq!(
        start(Some("/O=NESSSI Test/CN=Ann \"x\" %")),
        "2001:db8::1 - /O=NESSSI%20Test/CN=Ann%20%22x%22%20%25 ["
    );
}

#[test]
fn numbers_are_decimal() {
    for (status, bytes, micros) in [(0, 0, 9), (10, 1_234_567_890, 100), (999, u64::MAX, 0)] {
        let line = Line { status, bytes, micros, ..line("/", "") };
        let text = written(&line);
        assert!(text.contains(&format!("HTTP/1.1\" {status} {bytes} \"-\"")), "{text}");
        assert!(text.ends_with(&format!(" 00000000000000aa {micros}\n")), "{text}");
    }
}

#[test]
fn lines_beyond_the_bound_are_counted_and_not_kept() {
    let mut gathered = Gathered { bytes: vec![0; BUFFER_BYTES_MAX - 1], ..Gathered::default() };
    gathered.push(&line("/", ""));
    let full = gathered.bytes.len();
    assert!(full > BUFFER_BYTES_MAX);
    gathered.push(&line("/", ""));
    assert_eq!((gathered.bytes.len(), gathered.dropped), (full, 1));
}

#[test]
fn lines_reach_the_system_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let log = AccessLog::syslog(path).unwrap();
    log.record(&line("/one", ""));
    log.flush();
    socket.set_nonblocking(true).unwrap();
    let mut datagram = [0; 1024];
    let length = socket.recv(&mut datagram).unwrap();
    let text = std::str::from_utf8(&datagram[..length]).unwrap();
    assert!(text.starts_with("<134>") && text.contains("\"GET /one HTTP/1.1\" 200"), "{text}");
}

#[test]
fn lines_reach_the_file_and_a_moved_file_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::open(path.clone()).unwrap();
    log.record(&line("/one", ""));
    log.flush();
    let moved = folder.path().join("access.log.1");
    std::fs::rename(&path, &moved).unwrap();
    log.record(&line("/two", ""));
    log.flush();
    assert!(std::fs::read_to_string(&moved).unwrap().contains("/one"));
    let now = std::fs::read_to_string(&path).unwrap();
    assert!(now.contains("/two") && !now.contains("/one"));
}
