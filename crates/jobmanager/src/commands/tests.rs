use std::fs;

use nesssi_job::batch::{Program, probe};

use super::*;

fn bounds(time_max: Duration) -> Bounds {
    let files_max = rustix::process::getrlimit(Resource::Nofile);
    Bounds { answer_bytes_max: 1000, time_max, files_max, dies_with_us: false }
}

/// A program of its own; the folder goes with the test.
struct Stand {
    folder: tempfile::TempDir,
}

impl Stand {
    fn new(text: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qsub");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn sh(text: &str) -> Self {
        Self::new(&format!("#!/bin/sh\n{text}\n"))
    }

    fn line(&self, stdin: &[u8]) -> CommandLine {
        let program = self.folder.path().join("qsub").to_str().unwrap().to_owned();
        let mut line = probe(&Program::parse(&program).unwrap());
        line.stdin = stdin.to_vec();
        line
    }

    fn run(&self, time_max: Duration) -> Finished {
        self.run_with(b"", time_max)
    }

    fn run_with(&self, stdin: &[u8], time_max: Duration) -> Finished {
        self.run_locked(stdin, None, time_max)
    }

    fn run_locked(
        &self,
        stdin: &[u8],
        lock: Option<BorrowedFd<'_>>,
        time_max: Duration,
    ) -> Finished {
        loop {
            match Running::start(self.line(stdin), lock, bounds(time_max)).unwrap().wait() {
                Done::Run(finished) => return finished,
                // Another test's child has not yet closed what this one has written.
                Done::NotRun(failure) if failure.text.contains("busy") => {}
                Done::NotRun(failure) => panic!("{failure:?}"),
            }
        }
    }
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_command_is_heard_with_its_exit_code() {
    let finished = Stand::sh("echo out; echo err >&2; exit 7").run(LONG);
    let output = finished.output();
    assert_eq!((output.stdout, output.stderr), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.exit, Exit::Code(7));
    assert!(!finished.flooded);
    let killed = Stand::sh("kill -9 $$").run(LONG);
    assert_eq!(killed.output().exit, Exit::Signal(9));
}

#[test]
fn a_command_has_an_environment_and_a_place_of_its_own() {
    let stand = Stand::sh(
        "echo $# $1; pwd; umask; ulimit -c; tr '\\0' '\\n' </proc/$$/environ; ps -o sid= -p $$; echo $$",
    );
    let finished = stand.run(LONG);
    let text = String::from_utf8(finished.output().stdout.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let [args, place, umask, core, all @ ..] = &lines[..] else { panic!("{text}") };
    assert_eq!((*args, *place, *umask, *core), ("1 --version", "/", "0077", "0"));
    let [language, path, session, pid] = all else { panic!("{text}") };
    assert_eq!((*language, *path), ("LC_ALL=C", "PATH=/usr/bin:/bin"));
    assert_eq!(session, pid, "a session of its own");
}

#[test]
fn a_command_has_the_standard_descriptors_and_the_lock_alone() {
    // The last is the directory that `ls` itself has open.
    let stand = Stand::sh("exec ls -l /proc/self/fd");
    let lock = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).unwrap();
    let _other = rustix::fs::open("/etc/passwd", OFlags::RDONLY, Mode::empty()).unwrap();
    for (given, count) in [(None, 4), (Some(lock.as_fd()), 5)] {
        let finished = stand.run_locked(b"", given, LONG);
        let text = String::from_utf8(finished.output().stdout.to_vec()).unwrap();
        let names = text.lines().filter_map(|line| line.split_once(" -> "));
        let mut names: Vec<(&str, &str)> =
            names.map(|(left, to)| (left.rsplit(' ').next().unwrap(), to)).collect();
        names.sort_unstable();
        assert_eq!(names.len(), count, "{text}");
        assert!(names[0].1.contains("memfd:stdin"), "{text}");
        assert!(names[1].1.starts_with("pipe:") && names[2].1.starts_with("pipe:"), "{text}");
        if given.is_some() {
            assert_eq!(names[3], ("3", "/dev/null"), "{text}");
        }
        assert!(names[count - 1].1.starts_with("/proc/"), "{text}");
    }
}

#[test]
fn standard_input_is_whole_however_long_and_nobody_need_read_it() {
    let script = vec![b'x'; 3 * 1024 * 1024];
    let finished = Stand::sh("wc -c").run_with(&script, LONG);
    assert_eq!(finished.output().stdout, b"3145728\n");
    // Opened anew, as wrappers do, and not to be written.
    let again = Stand::sh(
        "wc -c </dev/stdin; head -c 1 /dev/stdin; (echo y >>/dev/stdin) 2>/dev/null || echo no",
    );
    assert_eq!(again.run_with(&script, LONG).output().stdout, b"3145728\nxno\n");
    assert_eq!(Stand::sh("echo done").run_with(&script, LONG).output().stdout, b"done\n");
}

#[test]
fn one_byte_more_than_an_answer_may_have_ends_the_command() {
    let say = |count: usize| Stand::sh(&format!("head -c {count} /dev/zero; exec sleep 0.05"));
    for count in [999, 1000] {
        let finished = say(count).run(LONG);
        assert_eq!((finished.output().stdout.len(), finished.flooded), (count, false));
        assert_eq!(finished.output().exit, Exit::Code(0));
    }
    let began = Instant::now();
    let finished = Stand::sh("cat /dev/zero; sleep 60").run(LONG);
    assert_eq!((finished.output().stdout.len(), finished.flooded), (1001, true));
    assert_eq!(finished.output().exit, Exit::Signal(9));
    let errors = Stand::sh("cat /dev/zero >&2; sleep 60").run(LONG);
    assert_eq!((errors.output().stderr.len(), errors.flooded), (ERRORS_BYTES_MAX + 1, true));
    assert!(began.elapsed() < LONG);
}

#[test]
fn at_its_deadline_a_command_is_ended_with_all_its_group() {
    let stand = Stand::sh("sleep 61 & echo $!; sleep 62");
    let finished = stand.run(Duration::from_millis(300));
    assert_eq!(finished.output().exit, Exit::TimedOut);
    let pid = String::from_utf8(finished.output().stdout.to_vec()).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    let until = Instant::now() + LONG;
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
        assert!(Instant::now() < until, "what it has started lives");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_command_leaves_behind_is_not_waited_for() {
    let began = Instant::now();
    let finished = Stand::sh("sleep 63 & echo 7").run(LONG);
    assert_eq!(finished.output().stdout, b"7\n");
    assert_eq!(finished.output().exit, Exit::Code(0));
    // One that has left the group as well.
    let finished = Stand::sh("setsid sleep 4 & echo 8").run(LONG);
    assert_eq!(finished.output().stdout, b"8\n");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn a_program_that_cannot_be_run_is_told() {
    for text in ["", "#!/nowhere/sh\n"] {
        let stand = Stand::new(text);
        let mut running = Running::start(stand.line(b""), None, bounds(LONG)).unwrap();
        let Done::NotRun(failure) = running.wait() else { panic!("{text:?} was run") };
        assert!(failure.text.contains("exec"), "{failure:?}");
        assert!(running.is_over());
    }
}
