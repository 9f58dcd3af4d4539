//! Tests of starting processes.

use std::io::Write;
use std::time::{Duration, Instant};

use super::*;

/// What a program writes.
fn output_of(spawn: Spawn<'_>) -> String {
    let (reader, writer) = std::io::pipe().unwrap();
    let child = spawn.descriptor(1, writer.as_fd()).spawn().unwrap();
    drop(writer);
    let text = std::io::read_to_string(reader).unwrap();
    assert_eq!(child.wait().unwrap(), Ending::Exited(0), "{text}");
    text
}

fn shell(script: &str) -> Command {
    Command::new("/bin/sh").args(["-c", script])
}

#[test]
fn a_child_has_exactly_the_descriptors_meant() {
    // Some that must not leak, one of them open across exec.
    let (open, _other) = std::io::pipe().unwrap();
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
    let (three, mut write_three) = std::io::pipe().unwrap();
    let (seven, mut write_seven) = std::io::pipe().unwrap();
    write_three.write_all(b"three").unwrap();
    write_seven.write_all(b"seven").unwrap();
    drop((write_three, write_seven));
    let script = "cat <&3; cat <&7; readlink /proc/self/fd/0; ls -m /proc/$$/fd; true";
    let spawn = Spawn::new(shell(script));
    let text = output_of(spawn.descriptor(3, three.as_fd()).descriptor(7, seven.as_fd()));
    assert_eq!(text, "threeseven/dev/null\n0, 1, 2, 3, 7\n");
}

#[test]
fn descriptors_that_are_each_other_s_targets_are_not_mixed_up() {
    let (a, mut write_a) = std::io::pipe().unwrap();
    let (b, mut write_b) = std::io::pipe().unwrap();
    write_a.write_all(b"a").unwrap();
    write_b.write_all(b"b").unwrap();
    drop((write_a, write_b));
    let (number_a, number_b) = (a.as_raw_fd(), b.as_raw_fd());
    let script = format!("cat /proc/self/fd/{number_a} /proc/self/fd/{number_b}");
    let spawn = Spawn::new(shell(&script));
    let text = output_of(spawn.descriptor(number_b, a.as_fd()).descriptor(number_a, b.as_fd()));
    assert_eq!(text, "ba");
}

#[test]
fn a_child_starts_with_default_signals_a_umask_and_a_session_of_its_own() {
    let script = "umask; ulimit -c; cut -d' ' -f6 /proc/$$/stat; echo $$; \
                  grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/$$/status | sort";
    let spawn = Spawn::new(shell(script)).umask(0o027).new_session();
    let text = output_of(spawn.limit(Resource::Core, 0).no_new_privileges());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["0027", "0"]);
    assert_eq!(lines[2], lines[3], "it leads its session");
    assert_eq!(lines[5], "SigBlk:\t0000000000000000");
    // Signals 32 and 33 are the C library's own, and stay as they were.
    let ignored = u64::from_str_radix(lines[6].split('\t').next_back().unwrap(), 16).unwrap();
    assert_eq!(ignored & !(0b11 << 31), 0, "{}", lines[6]);
    assert_eq!(lines[4], "NoNewPrivs:\t1");
}

#[test]
fn what_fails_in_the_child_is_told_and_nothing_is_left() {
    let error = Spawn::new(Command::new("/no/such/program")).spawn().unwrap_err().to_string();
    assert!(error.contains("exec /no/such/program") && error.contains("No such file"), "{error}");
    let error = Spawn::new(Command::new("/bin/true"))
        .before(|| Err("not today".into()))
        .spawn()
        .unwrap_err();
    assert_eq!(error.to_string(), "in the child: not today");
    let error = Spawn::new(Command::new("/bin/true").arg("\0")).spawn().unwrap_err();
    assert!(error.to_string().contains("NUL"), "{error}");
}

#[test]
fn a_failed_exec_can_be_reported_by_a_descriptor_that_is_kept() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (low, _keep) = std::io::pipe().unwrap();
    let child = fork(&[writer.as_fd(), low.as_fd()], || {
        let spawn = Spawn::new(Command::new("/no/such/program")).descriptor(3, low.as_fd());
        let (error, report) = spawn.exec_keeping(writer.as_fd());
        rustix::io::write(report, error.to_string().as_bytes()).unwrap_or_default();
        0
    })
    .unwrap();
    drop(writer);
    child.wait().unwrap();
    let text = std::io::read_to_string(reader).unwrap();
    assert!(text.contains("exec /no/such/program"), "{text}");
}

#[test]
fn a_fork_keeps_what_is_named_and_closes_the_rest() {
    let (kept, _a) = std::io::pipe().unwrap();
    let (closed, _b) = std::io::pipe().unwrap();
    let (kept_number, closed_number) = (kept.as_raw_fd(), closed.as_raw_fd());
    let child = fork(&[kept.as_fd()], || {
        let open =
            |number: RawFd| std::path::Path::new(&format!("/proc/self/fd/{number}")).exists();
        i32::from(!open(kept_number)) + 2 * i32::from(open(closed_number))
    });
    assert_eq!(child.unwrap().wait().unwrap(), Ending::Exited(0));
}

#[test]
fn a_panic_in_a_fork_ends_the_child_alone() {
    let child = fork(&[], || panic!("as a test")).unwrap();
    assert_eq!(child.wait().unwrap(), Ending::Exited(101));
}

#[test]
fn a_child_is_signalled_by_its_pidfd_and_reaped_once() {
    let child = Spawn::new(Command::new("/bin/sleep").arg("100")).spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.signal(Signal::KILL).unwrap();
    let ending = child.wait().unwrap();
    assert_eq!((ending, ending.status()), (Ending::Signalled(9), 137));
    child.signal(Signal::KILL).unwrap();
    assert!(child.try_wait().is_err());
}

#[test]
fn the_death_signal_reaches_a_child_whose_parent_dies() {
    let (reader, writer) = std::io::pipe().unwrap();
    let parent = fork(&[writer.as_fd()], || {
        let started =
            Spawn::new(Command::new("/bin/sleep").arg("100")).death_signal(Signal::KILL).spawn();
        let Ok(child) = started else { return 1 };
        let text = child.pid_number().to_string();
        rustix::io::write(&writer, text.as_bytes()).unwrap_or_default();
        0
    })
    .unwrap();
    drop(writer);
    assert_eq!(parent.wait().unwrap(), Ending::Exited(0));
    let pid = std::io::read_to_string(reader).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let alive = || {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    while alive() {
        assert!(Instant::now() < end, "it lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}
