use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use super::{PATIENCE, Sink, Syslog};

fn system_log(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn received(socket: &UnixDatagram) -> String {
    let mut datagram = [0; 4096];
    let length = socket.recv(&mut datagram).unwrap();
    String::from_utf8(datagram[..length].to_vec()).unwrap()
}

fn syslog(sink: &mut Sink) -> &mut Syslog {
    let Sink::Syslog(syslog) = sink else { panic!("a file") };
    syslog
}

#[test]
fn each_line_is_a_datagram() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let socket = system_log(&path);
    let mut sink = Sink::syslog(path);
    sink.write(b"192.0.2.7 - - one\n192.0.2.7 - - two\n");
    for line in ["one", "two"] {
        let text = received(&socket);
        let rest = text.strip_prefix("<134>").unwrap();
        // `Nov  6 08:49:37` (RFC 3164, section 4.1.2).
        let (stamp, rest) = rest.split_at(15);
        let [_, day, time] = [&stamp[..3], &stamp[4..6], &stamp[7..]];
        assert!(day.trim().parse::<u8>().is_ok() && time.split(':').count() == 3, "{text}");
        let tag = format!(" nesssi[{}]: ", std::process::id());
        assert_eq!(rest, format!("{tag}192.0.2.7 - - {line}"));
    }
}

#[test]
fn a_system_log_that_goes_and_comes_again_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut sink = Sink::syslog(path.clone());
    sink.write(b"lost\nlost\n");
    let first = system_log(&path);
    sink.write(b"one\n");
    assert!(received(&first).ends_with(": one"));
    drop(first);
    sink.write(b"lost\n");
    std::fs::remove_file(&path).unwrap();
    let second = system_log(&path);
    sink.write(b"two\n");
    assert!(received(&second).ends_with(": two"));
    // The first two were told at once; the third is kept for the next word.
    assert_eq!(syslog(&mut sink).unsaid, 1);
    assert!(syslog(&mut sink).told.is_some());
}

#[test]
fn a_system_log_that_takes_no_more_costs_lines_and_little_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let _never_read = system_log(&path);
    let mut sink = Sink::syslog(path);
    let began = std::time::Instant::now();
    sink.write(&b"a line\n".repeat(100_000));
    assert!(began.elapsed() < 20 * PATIENCE, "{:?}", began.elapsed());
    assert!(syslog(&mut sink).told.is_some());
    let again = std::time::Instant::now();
    sink.write(b"one\ntwo\n");
    assert!(again.elapsed() < 10 * PATIENCE);
    assert_eq!(syslog(&mut sink).unsaid, 2);
}
