#![allow(clippy::disallowed_methods, reason = "the real shell runs the script on this machine")]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::batch::{Asked, Environment, PrivatePath, winner};
use crate::{AdmittedJob, Ceiling, Command, EndReason, EndRecord, JobSpec, Tag};

/// A node with one sandbox.
struct Node {
    folder: tempfile::TempDir,
    tag: Tag,
}

/// Tags of jobs beside each other differ, or their watchers would take one for the other.
static TAGS: AtomicU32 = AtomicU32::new(0);

/// How a script ended, and what it left.
struct Left {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
    record: Option<EndRecord>,
}

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A path that means something to a shell.
        std::fs::create_dir_all(folder.path().join("it's $HOME\n#PBS -x é/.nesssi")).unwrap();
        let number = TAGS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let bytes = [std::process::id().to_be_bytes(), number].concat();
        Self { folder, tag: Tag::from_bytes(bytes.try_into().unwrap()) }
    }

    fn sandbox(&self) -> PathBuf {
        self.folder.path().join("it's $HOME\n#PBS -x é")
    }

    fn script(&self, job: &Job) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        let ceiling =
            Ceiling { cpu_seconds: job.cpu, wall_seconds: job.wall, sandbox_bytes: job.bytes };
        let spec = JobSpec {
            command: job.command.clone(),
            cpu_seconds_asked: job.cpu,
            shell_allowed: true,
        };
        let asked = Asked {
            tag: self.tag.clone(),
            job: AdmittedJob::admit(spec, ceiling).unwrap(),
            cpus: 1,
            memory_bytes: None,
            directives: Vec::new(),
            environment: Environment::new(job.environment.clone()).unwrap(),
            sandbox: PrivatePath::parse(self.sandbox().as_os_str().as_bytes()).unwrap(),
            umask: 0o022,
        };
        let script = render(&Submission::new(asked).unwrap());
        let path = self.folder.path().join("script");
        std::fs::write(&path, script).unwrap();
        path
    }

    /// The script as a batch system starts it: leader of its own group, with an environment of no use.
    fn start(&self, script: &Path, shell: &str) -> std::process::Child {
        Process::new(shell)
            .arg(script)
            .env_clear()
            .env("SLURM_JOB_ID", "4711")
            .env("LD_PRELOAD_NOT", "x")
            .env("BASH_ENV", "/nonexistent")
            .env("ODD", "a\nB=c")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap()
    }

    fn left(&self, code: Option<i32>) -> Left {
        let read = |name: &str| std::fs::read(self.sandbox().join(name)).unwrap_or_default();
        let record = String::from_utf8(read(".nesssi/record")).unwrap();
        Left {
            code,
            stdout: read("stdout"),
            stderr: String::from_utf8_lossy(&read("stderr")).into_owned(),
            record: (!record.is_empty()).then(|| EndRecord::parse(&record).unwrap()),
        }
    }

    fn run(&self, job: &Job) -> Left {
        let status = self.start(&self.script(job), "/bin/sh").wait().unwrap();
        self.left(status.code())
    }
}

struct Job {
    command: Command,
    environment: Vec<(String, Vec<u8>)>,
    cpu: u64,
    wall: u64,
    bytes: u64,
}

fn argv(words: &[&str]) -> Job {
    let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    Job {
        command: Command::Argv(words),
        environment: Vec::new(),
        cpu: 60,
        wall: 600,
        bytes: 1 << 30,
    }
}

fn sh(text: &str) -> Job {
    Job {
        environment: vec![("PATH".into(), b"/usr/bin:/bin".to_vec())],
        ..argv(&["/bin/sh", "-c", text])
    }
}

fn reason(left: &Left) -> Option<EndReason> {
    left.record.as_ref().map(|record| record.reason)
}

fn is_alive(mark: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
    })
}

#[test]
fn our_awk_fits_into_single_quotes_and_the_text_is_plain() {
    assert!(!LOOK.contains('\'') && !REPORT.contains('\''));
    let plain = |text: &str| text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~'));
    assert!(plain(LOOK) && plain(REPORT) && plain(TEXT));
    for place in ["@SETTINGS@", "@ARGV@", "@EXPORTS@", "@LOOK@", "@REPORT@"] {
        assert_eq!(TEXT.matches(place).count(), 1, "{place}");
    }
    let node = Node::new();
    let script = std::fs::read_to_string(node.script(&argv(&["/bin/true", "@EXPORTS@"]))).unwrap();
    assert!(script.contains("'@EXPORTS@'"));
    assert!(script.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')));
    assert!(script.lines().all(|line| !line.starts_with("#PBS") && !line.starts_with("#SBATCH")));
}

#[test]
fn a_job_leaves_its_output_its_record_and_the_winners_id() {
    let node = Node::new();
    let left = node.run(&sh("echo out; echo err >&2; pwd; umask; exit 7"));
    let sandbox = node.sandbox().canonicalize().unwrap();
    assert_eq!(left.code, Some(7));
    assert_eq!(left.stdout, format!("out\n{}\n0022\n", sandbox.display()).into_bytes());
    assert_eq!(left.stderr, "err\n");
    let record = left.record.unwrap();
    assert_eq!(
        (record.reason, record.exit_code, record.signal),
        (EndReason::Exited, Some(7), None)
    );
    assert_eq!(
        (record.cpu_seconds_max, record.wall_seconds_max, record.sandbox_bytes_max),
        (60, 600, 1 << 30)
    );
    assert!(record.started_ms > 1_700_000_000_000 && record.wall_usec < 60_000_000);
    let guard = std::fs::read(node.sandbox().join(".nesssi/started/batch")).unwrap();
    assert_eq!(winner(&guard).unwrap().as_str(), "4711");
    use std::os::unix::fs::PermissionsExt as _;
    let mode =
        |name: &str| node.sandbox().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("stdout"), mode(".nesssi/record"), mode(".nesssi/started")),
        (0o644, 0o600, 0o700)
    );
}

#[test]
fn other_shells_run_it_alike() {
    for shell in ["/bin/bash", "/bin/busybox"] {
        if !Path::new(shell).exists() || shell.ends_with("busybox") {
            continue;
        }
        let node = Node::new();
        let script = node.script(&sh("exit 3"));
        let status = node.start(&script, shell).wait().unwrap();
        assert_eq!(reason(&node.left(status.code())), Some(EndReason::Exited), "{shell}");
        assert_eq!(status.code(), Some(3));
    }
}

/// Those that are there. One of them compares what was never set in its own way.
#[test]
fn every_awk_sees_that_nothing_is_left() {
    let awks = [
        ["/usr/bin/mawk"].as_slice(),
        &["/usr/bin/gawk"],
        &["/usr/bin/original-awk"],
        &["/bin/busybox", "awk"],
    ];
    for words in awks.iter().filter(|words| Path::new(words[0]).exists()) {
        let node = Node::new();
        // The part of the script: it leads nobody and has no child.
        let mut script = Process::new("/bin/sleep").arg("60").spawn().unwrap();
        let pid = script.id().to_string();
        let begun = Instant::now();
        let mut awk = Process::new(words[0]);
        awk.args(&words[1..]).arg(LOOK);
        awk.args(["end", &pid, "10", "100", "0", node.tag.as_str(), "0"]);
        awk.arg(brand(&node.tag).to_string());
        let status = awk.current_dir(node.sandbox()).status().unwrap();
        script.kill().unwrap();
        script.wait().unwrap();
        assert!(status.success(), "{words:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{words:?}");
    }
}

#[test]
fn a_watcher_that_is_told_no_job_looks_at_nobody() {
    // With its hands tied: were it to look, everybody here would be a member.
    let harmless = LOOK.replace("system(", "length(");
    let node = Node::new();
    let (me, tag) = (std::process::id().to_string(), node.tag.to_string());
    let brand = brand(&node.tag).to_string();
    let end = |root: &str, tag: &str, brand: &str| {
        let mut awk = Process::new("awk");
        awk.arg(&harmless).args(["end", root, "10", "100", "0", tag, "0", brand]);
        awk.current_dir(node.sandbox()).status().unwrap().code()
    };
    assert_eq!(end(&me, &tag, ""), Some(1));
    assert_eq!(end(&me, "", &brand), Some(1));
    assert_eq!(end("", &tag, &brand), Some(1));
    assert_eq!(end(&me, &tag, &brand), Some(0));
}

#[test]
fn a_second_script_starts_nothing() {
    let node = Node::new();
    let job = sh("echo once");
    assert_eq!(node.run(&job).code, Some(0));
    let again = node.run(&job);
    assert_eq!(again.code.and_then(NotStarted::of), Some(NotStarted::AlreadyStarted));
    assert_eq!(again.stdout, b"once\n");
}

#[test]
fn of_many_at_once_one_starts_the_payload() {
    let node = Node::new();
    let script = node.script(&sh("echo once"));
    let all: Vec<_> = (0..12).map(|_| node.start(&script, "/bin/sh")).collect();
    let codes: Vec<_> = all.into_iter().map(|mut child| child.wait().unwrap().code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == Some(91)).count(), 11, "{codes:?}");
    assert_eq!(node.left(None).stdout, b"once\n");
}

#[test]
fn where_it_cannot_run_it_says_so_and_starts_nothing() {
    let node = Node::new();
    let script = node.script(&sh("echo never"));
    std::fs::remove_dir_all(node.sandbox()).unwrap();
    let code = node.start(&script, "/bin/sh").wait().unwrap().code();
    assert_eq!(code.and_then(NotStarted::of), Some(NotStarted::NoSandbox));

    let node = Node::new();
    let script = node.script(&sh("echo never"));
    let array = Process::new("/bin/sh").arg(&script).env("PBS_ARRAY_INDEX", "1").status().unwrap();
    assert_eq!(array.code().and_then(NotStarted::of), Some(NotStarted::Array));
    assert!(!node.sandbox().join(".nesssi/started").exists());

    let node = Node::new();
    std::os::unix::fs::symlink("/etc/hostname", node.sandbox().join("stdout")).unwrap();
    let left = node.run(&sh("echo never"));
    assert_eq!(left.code.and_then(NotStarted::of), Some(NotStarted::NoOutput));
    assert_eq!(reason(&left), Some(EndReason::StartFailed));

    for program in ["/nonexistent", "nonexistent", "/etc", "/etc/passwd", "."] {
        let left = Node::new().run(&argv(&[program]));
        let record = left.record.unwrap();
        assert_eq!((record.reason, record.exit_code), (EndReason::StartFailed, None), "{program}");
        assert!(record.text.contains("program"));
    }
}

#[test]
fn a_program_that_has_the_name_of_something_in_the_shell_is_the_program() {
    for shell in ["/bin/sh", "/bin/bash"] {
        if !Path::new(shell).exists() {
            continue;
        }
        let node = Node::new();
        let mut job = argv(&["printf", "%s", "--version"]);
        job.environment = vec![("PATH".into(), b"/nonexistent:/usr/bin:/bin".to_vec())];
        node.start(&node.script(&job), shell).wait().unwrap();
        assert_eq!(std::fs::read(node.sandbox().join("stdout")).unwrap(), b"--version", "{shell}");
        let node = Node::new();
        let mut job = argv(&["test", "-d", "/"]);
        job.environment = vec![("PATH".into(), b"/nonexistent".to_vec())];
        let code = node.start(&node.script(&job), shell).wait().unwrap().code();
        assert_eq!(code, Some(127), "{shell}: where it is not, nothing runs");
    }
}

#[test]
fn the_payload_has_its_own_environment_and_the_batch_systems() {
    let node = Node::new();
    let mut job = argv(&["/usr/bin/env", "-0"]);
    job.environment =
        vec![("HOME".into(), b"/h o'm\n$e\xff".to_vec()), ("n".into(), b"\n".to_vec())];
    let left = node.run(&job);
    let mut variables: Vec<&[u8]> =
        left.stdout.split(|byte| *byte == 0).filter(|one| !one.is_empty()).collect();
    variables.sort_unstable();
    let tag = format!("NESSSI_TAG={}", node.tag);
    let sandbox = format!("PWD={}", node.sandbox().display());
    let expected: Vec<&[u8]> =
        vec![b"HOME=/h o'm\n$e\xff", tag.as_bytes(), b"SLURM_JOB_ID=4711", b"n=\n"];
    variables.retain(|one| *one != sandbox.as_bytes());
    assert_eq!(variables, expected);
}

#[test]
fn a_signal_is_told_as_one() {
    let left = Node::new().run(&sh("kill -SEGV $$"));
    let record = left.record.unwrap();
    assert_eq!(
        (record.reason, record.exit_code, record.signal),
        (EndReason::Exited, None, Some(11))
    );
}

#[test]
fn cpu_time_is_summed_over_processes_and_stopped() {
    let node = Node::new();
    // Four that compute beside each other, one of which nobody waits for.
    let job = Job {
        cpu: 2,
        ..sh(
            "(while :; do :; done) & (while :; do :; done) & (trap '' TERM; while :; do :; done) & wait",
        )
    };
    let begun = Instant::now();
    let left = node.run(&job);
    let record = left.record.unwrap();
    assert_eq!(record.reason, EndReason::OverCpu);
    assert!(record.cpu_usec >= 2_000_000, "{record:?}");
    // One second and a look, two from TERM to KILL, and what a busy machine adds.
    let cpus = u64::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    println!("2 CPU seconds allowed, {} us used", record.cpu_usec);
    assert!(record.cpu_usec <= 2_000_000 + 6_000_000 * cpus, "{record:?}");
    assert!(begun.elapsed() < Duration::from_secs(40));
    assert_eq!(std::fs::read(node.sandbox().join(".nesssi/why")).unwrap(), b"over_cpu\n");
}

#[test]
fn wall_time_is_stopped_and_nothing_is_left() {
    let node = Node::new();
    let mark = format!("31{}", std::process::id());
    let job =
        Job { wall: 1, ..sh(&format!("trap '' TERM; sleep {mark} & sleep {mark}; sleep {mark}")) };
    let left = node.run(&job);
    assert_eq!(reason(&left), Some(EndReason::OverWall));
    assert!(!is_alive(&mark));
}

#[test]
fn what_the_payload_leaves_is_ended_before_the_record() {
    let node = Node::new();
    let mark = format!("32{}", std::process::id());
    let left = node.run(&sh(&format!("(sleep {mark} &) ; sleep {mark} & exit 0")));
    assert_eq!(reason(&left), Some(EndReason::Exited));
    assert!(!is_alive(&mark));
}

#[test]
fn one_that_leaves_its_session_is_known_by_the_tag() {
    let node = Node::new();
    let mark = format!("33{}", std::process::id());
    let left = node.run(&sh(&format!("(setsid sleep {mark} &); exit 4")));
    assert_eq!(left.record.unwrap().exit_code, Some(4));
    assert!(!is_alive(&mark));
}

#[test]
fn one_that_puts_everything_off_is_known_by_its_brand() {
    let node = Node::new();
    let mark = format!("35{}", std::process::id());
    let away = format!("(env -i setsid sh -c 'cd /; sleep {mark} & exit' >/dev/null 2>&1 &)");
    let left = node.run(&sh(&format!("{away}; sleep 0.3; exit 5")));
    assert_eq!(left.record.unwrap().exit_code, Some(5));
    assert!(!is_alive(&mark));
    // And what it uses is counted.
    let busy = "(env -i setsid sh -c 'cd /; (while :; do :; done) & exit' &); sleep 300";
    let left = Node::new().run(&Job { cpu: 1, ..sh(busy) });
    assert_eq!(reason(&left), Some(EndReason::OverCpu));
}

#[test]
fn one_that_ended_its_watcher_is_stopped_by_the_kernel_and_told_apart() {
    let unwatched = "for p in /proc/[0-9]*; do if tr '\\0' ' ' <$p/cmdline | grep -q \"watch .*$NESSSI_TAG\"; \
                     then kill -9 ${p#/proc/}; fi; done 2>/dev/null";
    let left = Node::new()
        .run(&Job { cpu: 1, ..sh(&format!("{unwatched}; (while :; do :; done); exit 0")) });
    let record = left.record.unwrap();
    assert_eq!((record.reason, record.exit_code), (EndReason::OverCpu, Some(0)));
    assert!(record.cpu_usec < 10_000_000, "{record:?}");
}

#[test]
fn what_the_sandbox_holds_is_limited() {
    let node = Node::new();
    let work = "mkdir -p a/b; head -c 3000000 /dev/zero >a/b/c; sleep 300";
    let left = node.run(&Job { bytes: 2_000_000, ..sh(work) });
    let record = left.record.unwrap();
    assert_eq!((record.reason, record.sandbox_bytes_max), (EndReason::OverBytes, 2_000_000));
    // Five seconds to the first sum, one to its answer, and what a busy machine adds.
    assert!(record.wall_usec < 20_000_000, "{record:?}");
    std::thread::scope(|scope| {
        for bytes in [0, 9_000_000] {
            scope.spawn(move || {
                let work = "head -c 3000000 /dev/zero >c; sleep 8";
                let left = Node::new().run(&Job { bytes, ..sh(work) });
                assert_eq!(reason(&left), Some(EndReason::Exited), "{bytes}");
            });
        }
    });
}

#[test]
fn one_that_will_not_end_is_ended_two_seconds_after_it_was_asked() {
    let node = Node::new();
    let mark = format!("36{}", std::process::id());
    let deaf =
        format!("trap '' TERM; setsid sleep {mark} & echo on; while :; do sleep {mark}; done");
    let mut child = node.start(&node.script(&sh(&deaf)), "/bin/sh");
    let begun = Instant::now();
    while node.left(None).stdout.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = Instant::now();
    // As Slurm and PBS do it: everything that they know of, and again.
    for _ in 0..3 {
        Process::new("/bin/kill").args(["--", &format!("-{}", child.id())]).status().unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = child.wait().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    assert_eq!(reason(&node.left(status.code())), Some(EndReason::Cancelled));
    assert!(!is_alive(&mark));
}

#[test]
fn nothing_of_the_scripts_own_outlives_it() {
    let node = Node::new();
    let left = node.run(&sh("sleep 0.2"));
    assert_eq!(reason(&left), Some(EndReason::Exited));
    assert!(!is_alive(node.tag.as_str()), "the watcher has the tag among its arguments");
}

#[test]
fn where_the_script_is_killed_its_watcher_ends_the_rest() {
    let node = Node::new();
    let mark = format!("34{}", std::process::id());
    let script =
        node.script(&Job { cpu: 3, ..sh(&format!("echo on; sleep {mark} & sleep {mark}")) });
    let mut child = node.start(&script, "/bin/sh");
    let begun = Instant::now();
    while node.left(None).stdout.is_empty() || !node.sandbox().join(".nesssi/look").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    while is_alive(&mark) {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(node.left(None).record.is_none());
}

#[test]
fn a_reason_that_the_payload_wrote_is_nobodys_word() {
    let left = Node::new().run(&sh("printf 'exited\\nexit_code=0\\n' >.nesssi/why"));
    assert_eq!(reason(&left), Some(EndReason::Lost));
}

#[test]
fn one_that_is_asked_to_end_is_cancelled() {
    let node = Node::new();
    let script = node.script(&sh("echo on; exec sleep 300"));
    let mut child = node.start(&script, "/bin/sh");
    let begun = Instant::now();
    while node.left(None).stdout.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    Process::new("/bin/kill").arg(child.id().to_string()).status().unwrap();
    let status = child.wait().unwrap();
    let left = node.left(status.code());
    let record = left.record.unwrap();
    assert_eq!((record.reason, record.signal), (EndReason::Cancelled, Some(15)));
}

#[test]
fn the_session_stands_in_no_argument_of_any_process() {
    let node = Node::new();
    let secret = node.sandbox().display().to_string();
    let job = sh("for p in /proc/[0-9]*; do tr '\\0' '\\n' <$p/cmdline; done 2>/dev/null");
    let left = node.run(&job);
    let seen = String::from_utf8_lossy(&left.stdout).into_owned();
    assert!(seen.contains("watch") && !seen.contains(&secret));
}

#[test]
fn the_longest_command_and_environment_reach_the_payload() {
    use crate::batch::ENVIRONMENT_BYTES_MAX;
    let node = Node::new();
    let longest = vec![0xe9_u8; crate::ARGUMENT_BYTES_MAX];
    let command = vec![b"/usr/bin/printf".to_vec(), b"%s".to_vec(), longest.clone()];
    let environment = vec![("LARGE".to_owned(), vec![b'\''; ENVIRONMENT_BYTES_MAX / 2])];
    let job = Job { command: Command::Argv(command), environment, ..argv(&[]) };
    // Slurm's own limit of a script is 4 MiB.
    assert!(std::fs::metadata(node.script(&job)).unwrap().len() < 2 << 20);
    let left = node.run(&job);
    assert_eq!((left.code, left.stdout == longest), (Some(0), true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn the_payload_receives_its_arguments_as_they_are(words in prop::collection::vec(prop::collection::vec(1..=255_u8, 0..900), 0..5)) {
        let mut all = vec![b"/usr/bin/printf".to_vec(), b"%s\\0".to_vec()];
        all.extend(words.iter().cloned());
        let left = Node::new().run(&Job { command: Command::Argv(all), ..argv(&[]) });
        let mut expected: Vec<u8> = words.iter().flat_map(|word| [word.as_slice(), b"\0"].concat()).collect();
        if words.is_empty() {
            expected = b"\0".to_vec();
        }
        prop_assert_eq!(left.stdout, expected);
    }
}
