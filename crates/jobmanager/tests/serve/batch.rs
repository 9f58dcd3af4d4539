//! Batch systems, played by commands that say what a test has them say.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nesssi_job::{EndReason, EndRecord, Tag};
use nesssi_privsep::messages::{ChannelKind, FromJobmanager, SightingFacts, ToJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_privsep::{Command, Spawn};
use nesssi_session::SessionId;
use rustix::io::Errno;

use super::world::{
    Ask, Jobmanager, PATIENCE, Peer, World, errno, is_root, lives, tag_of, wait_for,
};

/// A world with a batch system whose commands are texts of `sh`.
struct Bed {
    world: World,
    state: PathBuf,
}

/// How a jobmanager is told of it, the rest as usual.
struct Told {
    dialect: Option<&'static str>,
    at_once: u32,
    seconds: u32,
}

const SLURM: Told = Told { dialect: Some("slurm"), at_once: 16, seconds: 30 };

impl Bed {
    fn new() -> Self {
        let world = World::new();
        let state = world.root.path().join("state");
        fs::create_dir(&state).unwrap();
        world.give(&state);
        let bed = Self { world, state };
        for name in ["sbatch", "squeue", "scancel", "sacct", "sstat"] {
            let play = format!("#!/bin/sh\nS={}\n. $S/{name}\n", bed.state.display());
            fs::write(bed.program(name), play).unwrap();
            fs::set_permissions(bed.program(name), fs::Permissions::from_mode(0o755)).unwrap();
            bed.play(name, "exit 1");
        }
        bed
    }

    fn program(&self, name: &str) -> PathBuf {
        self.world.root.path().join(name)
    }

    /// What a command does from now on. `$S` is a directory of the account.
    fn play(&self, name: &str, text: &str) {
        let new = self.state.join(format!("{name}.new"));
        fs::write(&new, text).unwrap();
        self.world.give(&new);
        fs::rename(new, self.state.join(name)).unwrap();
    }

    fn start(&self, told: &Told) -> Jobmanager {
        let program = |key: &str, name: &str| format!("{key}={}", self.program(name).display());
        let mut word = format!(
            "site,{},{},{},commands_at_once={},command_seconds_max={}",
            program("submit", "sbatch"),
            program("status", "squeue"),
            program("cancel", "scancel"),
            told.at_once,
            told.seconds,
        );
        if let Some(dialect) = told.dialect {
            word.push_str(&format!(
                ",dialect={dialect},{},{}",
                program("account", "sacct"),
                program("usage", "sstat")
            ));
        }
        self.world.start_with(&["--batch".to_owned(), word])
    }

    /// What a command has written into the directory of the account.
    fn said(&self, name: &str) -> String {
        wait_for(name, || {
            let text = fs::read_to_string(self.state.join(name)).ok()?;
            text.ends_with('\n').then_some(text)
        })
    }

    fn number(&self, name: &str) -> i32 {
        self.said(name).trim().parse().unwrap()
    }

    /// Runs the job script that a command has kept, as a batch system does.
    fn run_script(&self, name: &str, id: &str) {
        let script = fs::read(self.state.join(name)).unwrap();
        assert!(script.starts_with(b"#!/bin/sh\n"));
        let command = Command::new("/bin/sh")
            .arg(self.state.join(name))
            .env("SLURM_JOB_ID", id)
            .env("PATH", "/usr/bin:/bin");
        let mut spawn = Spawn::new(command).new_session();
        if let Some(account) = &self.world.account {
            spawn = spawn.account(account);
        }
        spawn.spawn().unwrap().wait().unwrap();
    }
}

fn submit(session: &SessionId) -> ToJobmanager {
    submit_of(session, &["/bin/sh", "-c", "echo done; echo \"$MINE\""])
}

fn submit_of(session: &SessionId, argv: &[&str]) -> ToJobmanager {
    ToJobmanager::SubmitBatch {
        session: session.reveal().to_owned(),
        tag: tag_of(session),
        batch: "site".into(),
        argv: argv.iter().map(|word| Blob(word.as_bytes().to_vec())).collect(),
        environment: vec![("MINE".into(), "it's \"mine\"\nand yours".into())],
        cpu_seconds_max: 60,
        wall_seconds_max: 60,
        sandbox_bytes_max: 0,
        cpus: 1,
        memory_bytes: 0,
        directives: vec!["queue=batch".into()],
        umask_default: 0o077,
    }
}

fn session_text(session: &SessionId) -> String {
    session.reveal().to_owned()
}

fn remove(session: &SessionId) -> ToJobmanager {
    ToJobmanager::Remove { session: session_text(session) }
}

fn cancel_job(session: &SessionId) -> ToJobmanager {
    ToJobmanager::CancelJob { session: session_text(session) }
}

fn watch(session: &SessionId) -> ToJobmanager {
    ToJobmanager::WatchRecord { session: session_text(session) }
}

fn list(ids: &[&str], accounts: bool) -> ToJobmanager {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    ToJobmanager::ListBatch { batch: "site".into(), ids, accounts }
}

#[derive(Debug, PartialEq, Eq, Default)]
struct Guard {
    submitting: bool,
    guarded: bool,
    winner: Option<String>,
    record: String,
    why: String,
}

impl Peer {
    fn guard(&self, session: &SessionId) -> Guard {
        match self.ask(&ToJobmanager::ReadGuard { session: session_text(session) }) {
            FromJobmanager::Guard { submitting, guarded, winner, record, why } => {
                Guard { submitting, guarded, winner, record, why }
            }
            other => panic!("{other:?}"),
        }
    }

    /// The jobs of a listing, and how many could not be read.
    fn listing(&self, request: &ToJobmanager) -> (Vec<SightingFacts>, u64) {
        let id = self.send(request, &[]);
        let mut all = Vec::new();
        loop {
            match self.wait(|received| received.id == id).message {
                FromJobmanager::Sightings { sightings } => all.extend(sightings),
                FromJobmanager::ListDone { unread, .. } => return (all, unread),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn not_submitted(answer: &FromJobmanager) -> (&str, bool, &str) {
    match answer {
        FromJobmanager::NotSubmitted { refusal, certain, words } => (refusal, *certain, words),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_is_submitted_runs_once_and_its_record_is_told() {
    let bed = Bed::new();
    bed.play("sbatch", "cat >$S/script; echo \"$@\" >$S/argv; echo 4711");
    let jobmanager = bed.start(&SLURM);
    let (peer, other) = (jobmanager.starter(), jobmanager.tender());
    let session = peer.prepare();
    assert_eq!(peer.guard(&session), Guard::default());
    let answer = peer.ask(&submit(&session));
    assert_eq!(answer, FromJobmanager::Submitted { id: "4711".into() });
    assert_eq!(peer.guard(&session), Guard::default());
    assert!(bed.said("argv").contains("--partition=batch"));
    assert_eq!(peer.ask(&watch(&session)), FromJobmanager::RecordAwaited {});
    assert_eq!(other.ask(&watch(&session)), FromJobmanager::RecordAwaited {});
    bed.run_script("script", "4711");
    let record = [&peer, &other].map(|peer| {
        let seen =
            peer.wait(|received| matches!(received.message, FromJobmanager::RecordSeen { .. }));
        assert_eq!(seen.id, 0);
        match seen.message {
            FromJobmanager::RecordSeen { session: seen, record } if seen == session.reveal() => {
                record
            }
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(record[0], record[1]);
    let end = EndRecord::parse(&record[0]).unwrap();
    assert_eq!((end.reason, end.exit_code), (EndReason::Exited, Some(0)));
    assert_eq!(bed.world.read(&session, "stdout"), "done\nit's \"mine\"\nand yours\n");
    let found = peer.guard(&session);
    assert_eq!((found.guarded, found.winner.as_deref()), (true, Some("4711")));
    assert_eq!(found.record, record[0]);
    // Who asks now is told at once; and nothing is submitted any more.
    let seen = FromJobmanager::RecordSeen { session: session_text(&session), record: found.record };
    assert_eq!(peer.ask(&watch(&session)), seen);
    assert_eq!(errno(&peer.ask(&submit(&session))), Errno::ALREADY.raw_os_error());
    assert_eq!(peer.ask(&remove(&session)), FromJobmanager::Removed {});
}

#[test]
fn what_a_batch_system_refuses_is_told_with_its_words() {
    let bed = Bed::new();
    let jobmanager = bed.start(&SLURM);
    let peer = jobmanager.starter();
    let cases = [
        ("echo 'sbatch: error: invalid partition specified: x' >&2; exit 1", "unknown_queue", true),
        (
            "echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy' >&2; exit 1",
            "quota",
            true,
        ),
        ("echo 'sbatch: error: Requested time limit is invalid' >&2; exit 1", "policy", true),
        ("echo \"sbatch: unrecognized option '--x'\" >&2; exit 1", "syntax", true),
        (
            "echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
            "down",
            true,
        ),
        (
            "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1",
            "down",
            false,
        ),
        ("echo 'Anfrage verloren' >&2; exit 1", "unknown", false),
        ("exit 0", "garbage", false),
        ("echo gibberish", "garbage", false),
        ("echo 12_3", "garbage", false),
        ("echo 12; echo 13", "garbage", false),
        ("kill -9 $$", "unknown", false),
        ("head -c 10000000 /dev/zero", "unknown", false),
        ("head -c 10000000 /dev/zero >&2; echo 12", "unknown", false),
    ];
    for (play, refusal, certain) in cases {
        bed.play("sbatch", play);
        let session = peer.prepare();
        let answer = peer.ask(&submit(&session));
        let (told, sure, words) = not_submitted(&answer);
        assert_eq!((told, sure), (refusal, certain), "{play}: {words}");
        assert!(words.len() <= 1024, "{play}");
        // What was killed may take a moment to be gone.
        wait_for(play, || (peer.guard(&session) == Guard::default()).then_some(()));
    }
    // It may be tried again.
    let session = peer.prepare();
    assert_eq!(not_submitted(&peer.ask(&submit(&session))).0, "unknown");
    wait_for("its end", || (!peer.guard(&session).submitting).then_some(()));
    bed.play("sbatch", "echo 5");
    assert_eq!(peer.ask(&submit(&session)), FromJobmanager::Submitted { id: "5".into() });
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_is_run() {
    let bed = Bed::new();
    bed.play("sbatch", "echo run >>$S/runs; echo 5");
    let jobmanager = bed.start(&SLURM);
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let asks = |change: &dyn Fn(&mut ToJobmanager)| {
        let mut message = submit(&session);
        change(&mut message);
        peer.ask(&message)
    };
    macro_rules! with {
        ($field:ident = $value:expr) => {
            asks(&|message| {
                let ToJobmanager::SubmitBatch { $field, .. } = message else { panic!() };
                *$field = $value;
            })
        };
    }
    for answer in [
        with!(directives = vec!["queue=a b".into()]),
        with!(directives = vec!["colour=red".into()]),
        with!(directives = vec!["queue=a".into(), "queue=b".into()]),
        with!(environment = vec![("PATH;rm".into(), String::new())]),
        with!(argv = vec![Blob(b"-x".to_vec())]),
        with!(cpus = 0),
        with!(wall_seconds_max = 0),
    ] {
        let (refusal, certain, words) = not_submitted(&answer);
        assert_eq!((refusal, certain), ("syntax", true), "{words}");
        assert!(!words.is_empty());
    }
    assert_eq!(errno(&with!(batch = "other".into())), Errno::NODEV.raw_os_error());
    assert_eq!(errno(&with!(tag = "x".into())), Errno::INVAL.raw_os_error());
    let absent = SessionId::random();
    assert_eq!(errno(&peer.ask(&submit(&absent))), Errno::NOENT.raw_os_error());
    let tender = jobmanager.tender();
    assert_eq!(errno(&tender.ask(&submit(&session))), Errno::PERM.raw_os_error());
    jobmanager.demote();
    assert_eq!(peer.ask(&submit(&session)), FromJobmanager::Stale {});
    assert!(!bed.state.join("runs").exists());
    let private = bed.world.path(&session).join(".nesssi");
    assert!(!private.join("submit").exists(), "no lock was taken");
}

#[test]
fn a_session_that_is_being_submitted_is_left_alone() {
    let bed = Bed::new();
    bed.play("sbatch", "echo $$ >$S/pid; while [ ! -e $S/go ]; do sleep 0.02; done; echo 9");
    let jobmanager = bed.start(&SLURM);
    let peer = jobmanager.starter();
    let (session, free) = (peer.prepare(), peer.prepare());
    let request = peer.send(&submit(&session), &[]);
    bed.said("pid");
    assert!(peer.guard(&session).submitting);
    assert!(!peer.guard(&free).submitting);
    let already = Errno::ALREADY.raw_os_error();
    let busy = Errno::BUSY.raw_os_error();
    assert_eq!(errno(&peer.ask(&submit(&session))), already);
    assert_eq!(errno(&peer.ask(&Ask::sh("true").message(&session))), already);
    assert_eq!(errno(&peer.ask(&remove(&session))), busy);
    assert_eq!(errno(&peer.ask(&cancel_job(&session))), busy);
    // Others go on meanwhile.
    let (_, end) = peer.run(Ask::sh("true"));
    assert_eq!(end.exit_code, Some(0));
    fs::write(bed.state.join("go"), "").unwrap();
    let answer = peer.wait(|received| received.id == request).message;
    assert_eq!(answer, FromJobmanager::Submitted { id: "9".into() });
    assert!(!peer.guard(&session).submitting);
    // What a batch system has is never started here.
    assert_eq!(errno(&peer.ask(&Ask::sh("true").message(&session))), already);
    assert_eq!(peer.ask(&remove(&session)), FromJobmanager::Removed {});
}

#[test]
fn what_was_started_here_is_never_submitted() {
    let bed = Bed::new();
    bed.play("sbatch", "echo run >>$S/runs; echo 5");
    let jobmanager = bed.start(&SLURM);
    let peer = jobmanager.starter();
    let (running, _) = peer.start(Ask::sh("sleep 60"));
    let (ended, _) = peer.run(Ask::sh("true"));
    for session in [&running, &ended] {
        assert_eq!(errno(&peer.ask(&submit(session))), Errno::ALREADY.raw_os_error());
    }
    assert!(!bed.state.join("runs").exists());
    peer.ask(&cancel_job(&running));
    peer.end(&running);
}

#[test]
fn what_is_about_to_start_is_not_submitted() {
    let bed = Bed::new();
    bed.play("sbatch", "echo run >>$S/runs; echo 5");
    let jobmanager = bed.start(&SLURM);
    let peer = jobmanager.starter();
    let session = peer.prepare();
    // As the shepherd of a jobmanager that is gone holds it.
    let path = bed.world.path(&session).join(".nesssi/starting");
    let lock = fs::File::create(&path).unwrap();
    bed.world.give(&path);
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(errno(&peer.ask(&submit(&session))), Errno::ALREADY.raw_os_error());
    drop(lock);
    assert_eq!(peer.ask(&submit(&session)), FromJobmanager::Submitted { id: "5".into() });
    assert_eq!(bed.said("runs"), "run\n");
}

#[test]
fn a_script_that_comes_too_late_starts_nothing() {
    let bed = Bed::new();
    bed.play("sbatch", "cat >$S/script; echo 1");
    let jobmanager = bed.start(&SLURM);
    let peer = jobmanager.starter();
    let session = peer.prepare();
    peer.ask(&submit_of(&session, &["/bin/sh", "-c", "echo once >>runs"]));
    for id in ["1", "2", "3"] {
        bed.run_script("script", id);
    }
    assert_eq!(bed.world.read(&session, "runs"), "once\n");
    assert_eq!(peer.guard(&session).winner.as_deref(), Some("1"));
}

#[test]
fn a_submission_that_hangs_is_ended_at_its_deadline() {
    let bed = Bed::new();
    bed.play("sbatch", "echo $$ >$S/pid; sleep 1000 & echo $! >$S/child; sleep 1001");
    let jobmanager = bed.start(&Told { seconds: 1, ..SLURM });
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let answer = peer.ask(&submit(&session));
    assert_eq!(not_submitted(&answer), ("unknown", false, ""));
    for name in ["pid", "child"] {
        let pid = bed.number(name);
        wait_for(name, || (!lives(pid)).then_some(()));
    }
    assert!(!peer.guard(&session).submitting);
}

#[test]
fn a_submission_outlives_its_jobmanager_and_keeps_the_lock() {
    for killed in [true, false] {
        let bed = Bed::new();
        bed.play(
            "sbatch",
            "echo $$ >$S/pid; cat >$S/script; while [ ! -e $S/go ]; do sleep 0.02; done; echo 3 >$S/id",
        );
        let first = bed.start(&SLURM);
        let session = {
            let peer = first.starter();
            let session = peer.prepare();
            peer.send(&submit(&session), &[]);
            bed.said("pid");
            session
        };
        if killed {
            first.kill();
        } else {
            // Its monitor is gone.
            drop(first);
        }
        let second = bed.start(&SLURM);
        let peer = second.starter();
        assert!(peer.guard(&session).submitting);
        assert_eq!(errno(&peer.ask(&submit(&session))), Errno::ALREADY.raw_os_error());
        assert_eq!(errno(&peer.ask(&remove(&session))), Errno::BUSY.raw_os_error());
        assert!(lives(bed.number("pid")), "what it has begun, it finishes");
        fs::write(bed.state.join("go"), "").unwrap();
        wait_for("the lock", || (!peer.guard(&session).submitting).then_some(()));
        assert_eq!(bed.said("id"), "3\n");
        // The script was whole, and runs.
        bed.run_script("script", "3");
        assert_eq!(peer.guard(&session).winner.as_deref(), Some("3"));
    }
}

#[test]
fn a_submission_outlives_its_gatekeeper() {
    let bed = Bed::new();
    bed.play("sbatch", "echo $$ >$S/pid; while [ ! -e $S/go ]; do sleep 0.02; done; echo 3 >$S/id");
    let jobmanager = bed.start(&SLURM);
    let session = {
        let peer = jobmanager.starter();
        let session = peer.prepare();
        peer.send(&submit(&session), &[]);
        bed.said("pid");
        session
    };
    let peer = jobmanager.starter();
    assert!(peer.guard(&session).submitting);
    assert_eq!(errno(&peer.ask(&submit(&session))), Errno::ALREADY.raw_os_error());
    fs::write(bed.state.join("go"), "").unwrap();
    assert_eq!(bed.said("id"), "3\n");
    wait_for("the lock", || (!peer.guard(&session).submitting).then_some(()));
}

#[test]
fn a_submission_that_hangs_without_its_jobmanager_is_ended_once_its_time_is_over() {
    let bed = Bed::new();
    bed.play("sbatch", "setsid sleep 1000 & echo $! >$S/child; sleep 1001");
    let first = bed.start(&Told { seconds: 2, ..SLURM });
    let peer = first.starter();
    let session = peer.prepare();
    peer.send(&submit(&session), &[]);
    let child = bed.number("child");
    first.kill();
    let second = bed.start(&SLURM);
    let peer = second.starter();
    assert!(peer.guard(&session).submitting);
    let began = Instant::now();
    wait_for("the lock", || (!peer.guard(&session).submitting).then_some(()));
    assert!(began.elapsed() > Duration::from_millis(500), "not before its time");
    wait_for("what left its session", || (!lives(child)).then_some(()));
}

#[test]
fn nothing_private_is_seen_beside_a_command() {
    let bed = Bed::new();
    bed.play("sbatch", "cat >/dev/null; ls -l /proc/$$/fd >$S/fd; echo $$ >$S/pid; sleep 1000");
    let jobmanager = bed.start(&Told { seconds: 3, ..SLURM });
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let request = peer.send(&submit(&session), &[]);
    let pid = bed.number("pid");
    let read = |name: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (arguments, environment) = (read("cmdline"), read("environ"));
    assert_eq!(environment, "LC_ALL=C\0PATH=/usr/bin:/bin\0");
    assert!(arguments.contains(&tag_of(&session)), "the tag is nobody's secret");
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), PathBuf::from("/"));
    for text in [arguments, environment, read("status"), read("comm")] {
        // The half of it that is not the tag of these tests.
        assert!(!text.contains(&session.reveal()[..16]), "{text}");
    }
    // What a command has open: the standard descriptors, the lock, and its own script.
    let open = bed.said("fd");
    let open: Vec<&str> =
        open.lines().filter_map(|line| line.split_once(" -> ")).map(|(_, to)| to).collect();
    let others = |name: &&&str| {
        !name.starts_with("pipe:")
            && !name.contains("memfd:stdin")
            && !name.ends_with("/.nesssi/submit")
            && !name.ends_with("/sbatch")
            && !name.ends_with("/state/fd")
            && !name.starts_with("/proc/")
    };
    assert_eq!(open.iter().filter(others).count(), 0, "{open:?}");
    assert_eq!(open.iter().filter(|name| name.ends_with("submit")).count(), 1, "{open:?}");
    assert_eq!(not_submitted(&peer.wait(|received| received.id == request).message).0, "unknown");
}

/// A submission that goes on when the test says so.
const UNTIL_GO: &str =
    "echo $$ >>$S/begun; while [ ! -e $S/go ]; do sleep 0.02; done; echo submit >>$S/order; echo 1";

#[test]
fn so_many_commands_run_at_one_time() {
    for at_once in [1, 2, 3] {
        let bed = Bed::new();
        bed.play("sbatch", UNTIL_GO);
        let jobmanager = bed.start(&Told { at_once, ..SLURM });
        let peer = jobmanager.starter();
        let sessions: Vec<SessionId> = (0..5).map(|_| peer.prepare()).collect();
        let requests: Vec<u32> =
            sessions.iter().map(|session| peer.send(&submit(session), &[])).collect();
        let begun = || u32::try_from(bed.said("begun").lines().count()).unwrap();
        wait_for("those", || (begun() >= at_once).then_some(()));
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(begun(), at_once);
        // One that waits has the lock, too.
        assert!(sessions.iter().all(|session| peer.guard(session).submitting));
        fs::write(bed.state.join("go"), "").unwrap();
        for request in requests {
            let answer = peer.wait(|received| received.id == request).message;
            assert_eq!(answer, FromJobmanager::Submitted { id: "1".into() });
        }
        assert_eq!(begun(), 5);
    }
}

#[test]
fn what_waits_goes_with_its_peer_and_cancels_go_first() {
    let bed = Bed::new();
    bed.play("sbatch", UNTIL_GO);
    bed.play("scancel", "echo cancel >>$S/order");
    let jobmanager = bed.start(&Told { at_once: 1, ..SLURM });
    let (peer, gone) = (jobmanager.starter(), jobmanager.starter());
    let (first, second, lost) = (peer.prepare(), peer.prepare(), gone.prepare());
    let mut requests = vec![peer.send(&submit(&first), &[])];
    bed.said("begun");
    gone.send(&submit(&lost), &[]);
    wait_for("the lock", || peer.guard(&lost).submitting.then_some(()));
    drop(gone);
    wait_for("no lock", || (!peer.guard(&lost).submitting).then_some(()));
    requests.push(peer.send(&submit(&second), &[]));
    let cancel =
        ToJobmanager::CancelBatch { batch: "site".into(), id: "77".into(), tag: tag_of(&first) };
    let cancelled = peer.send(&cancel, &[]);
    // Answered behind it: it waits by now.
    assert!(peer.guard(&second).submitting);
    fs::write(bed.state.join("go"), "").unwrap();
    let answer = peer.wait(|received| received.id == cancelled).message;
    let asked = FromJobmanager::BatchCancelled { answer: "asked".into(), words: String::new() };
    assert_eq!(answer, asked);
    for request in requests {
        let answer = peer.wait(|received| received.id == request).message;
        assert_eq!(answer, FromJobmanager::Submitted { id: "1".into() });
    }
    assert_eq!(bed.said("order"), "submit\ncancel\nsubmit\n");
}

#[test]
fn a_submission_that_waited_while_the_rules_changed_is_stale() {
    let bed = Bed::new();
    bed.play("sbatch", "echo run >>$S/runs; while [ ! -e $S/go ]; do sleep 0.02; done; echo 1");
    let jobmanager = bed.start(&Told { at_once: 1, ..SLURM });
    let peer = jobmanager.starter();
    let (first, second) = (peer.prepare(), peer.prepare());
    let begun = peer.send(&submit(&first), &[]);
    let waits = peer.send(&submit(&second), &[]);
    bed.said("runs");
    jobmanager.demote();
    fs::write(bed.state.join("go"), "").unwrap();
    let answer = peer.wait(|received| received.id == begun).message;
    assert_eq!(answer, FromJobmanager::Submitted { id: "1".into() });
    assert_eq!(peer.wait(|received| received.id == waits).message, FromJobmanager::Stale {});
    assert_eq!(bed.said("runs"), "run\n");
    assert!(!jobmanager.tender().guard(&second).submitting);
}

#[test]
fn what_a_cancel_brought_is_told() {
    let bed = Bed::new();
    let jobmanager = bed.start(&Told { seconds: 1, ..SLURM });
    let peer = jobmanager.tender();
    let cases = [
        ("exit 0", "asked"),
        (
            "echo 'scancel: error: Kill job error on job id 7: Invalid job id specified' >&2; exit 1",
            "gone",
        ),
        (
            "echo 'scancel: error: Kill job error on job id 7: Access/permission denied' >&2; exit 1",
            "refused",
        ),
        ("echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1", "down"),
        ("exit 3", "unknown"),
        ("sleep 100", "unknown"),
    ];
    for (play, answer) in cases {
        bed.play("scancel", play);
        let cancel = ToJobmanager::CancelBatch {
            batch: "site".into(),
            id: "7".into(),
            tag: Tag::parse("0123456789abcdef").unwrap().to_string(),
        };
        match peer.ask(&cancel) {
            FromJobmanager::BatchCancelled { answer: told, .. } => {
                assert_eq!(told, answer, "{play}")
            }
            other => panic!("{play}: {other:?}"),
        }
    }
    for id in ["", "7 8", "-a", "7;x", "7[1]"] {
        let tag = "0123456789abcdef".into();
        let cancel = ToJobmanager::CancelBatch { batch: "site".into(), id: id.into(), tag };
        assert_eq!(errno(&peer.ask(&cancel)), Errno::INVAL.raw_os_error(), "{id}");
    }
}

const TWO: &str = "echo '41|PENDING|alice|0:00|JobHeldUser|nesssi-0123456789abcdef'
echo '42|TIMEOUT|bob|1:00|None|nesssi-00000000000000ff'
echo '43|RUNNING|bob|1:00|None|his own'";

#[test]
fn jobs_are_listed_by_all_kinds_of_channels() {
    let bed = Bed::new();
    bed.play("squeue", &format!("echo \"$@\" >>$S/asked\n{TWO}"));
    let jobmanager = bed.start(&SLURM);
    for kind in [ChannelKind::Start {}, ChannelKind::Tend {}, ChannelKind::Discover {}] {
        let peer = jobmanager.peer(kind);
        let (mut jobs, unread) = peer.listing(&list(&[], false));
        jobs.sort_by(|one, other| one.id.cmp(&other.id));
        assert_eq!((jobs.len(), unread), (2, 0));
        assert_eq!((jobs[0].state.as_str(), jobs[0].owner.as_str()), ("held", "alice"));
        assert_eq!(jobs[0].comment, "JobHeldUser");
        let end = jobs[1].end.as_ref().unwrap();
        assert_eq!((jobs[1].state.as_str(), end.kind.as_str()), ("ended", "over_wall"));
    }
    let finder = jobmanager.peer(ChannelKind::Discover {});
    let session = jobmanager.starter().prepare();
    let guard = ToJobmanager::ReadGuard { session: session_text(&session) };
    let cancel =
        ToJobmanager::CancelBatch { batch: "site".into(), id: "41".into(), tag: tag_of(&session) };
    for request in [guard, cancel, watch(&session), submit(&session)] {
        assert_eq!(errno(&finder.ask(&request)), Errno::PERM.raw_os_error());
    }
    let peer = jobmanager.tender();
    peer.listing(&list(&["41", "42"], false));
    assert!(bed.said("asked").contains("--jobs=41,42"));
    bed.play("sacct", "echo '41|COMPLETED|alice|61|00:01:01|0:0|nesssi-0123456789abcdef'");
    let (jobs, _) = peer.listing(&list(&["41"], true));
    assert_eq!((jobs[0].cpu_seconds, jobs[0].wall_seconds), (Some(61), Some(61)));
    bed.play("sstat", "echo '41.batch|1|00:00:09'");
    let usage = |ids: &[&str]| ToJobmanager::UsageBatch {
        batch: "site".into(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    let used = vec![("41".to_owned(), 9)];
    assert_eq!(peer.ask(&usage(&["41"])), FromJobmanager::BatchUsage { used });
    for request in [usage(&[]), list(&[], true), list(&["x"], false)] {
        assert_eq!(errno(&peer.ask(&request)), Errno::INVAL.raw_os_error());
    }
    let many: Vec<&str> = vec!["1"; 1001];
    assert_eq!(errno(&peer.ask(&list(&many, false))), Errno::INVAL.raw_os_error());
    peer.listing(&list(&many[1..], false));
}

#[test]
fn a_listing_that_says_nothing_says_why() {
    let bed = Bed::new();
    let jobmanager = bed.start(&Told { seconds: 2, ..SLURM });
    let peer = jobmanager.tender();
    let cases = [
        ("echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1", "down"),
        ("exit 1", "failed"),
        ("sleep 100", "failed"),
        ("yes", "too_long"),
        ("yes >&2", "failed"),
        ("echo '{'", "not_understood"),
    ];
    for (play, trouble) in cases {
        bed.play("squeue", play);
        match peer.ask(&list(&[], false)) {
            FromJobmanager::NotListed { trouble: told, duration_ms, .. } => {
                assert_eq!(told, trouble, "{play}");
                assert!(play != "sleep 100" || duration_ms >= 2000);
            }
            other => panic!("{play}: {other:?}"),
        }
    }
    // Where one form is not understood the next is tried, and is the first from then on.
    bed.play(
        "squeue",
        &format!("echo \"$@\" >>$S/asked; case $* in *--json*) echo '{{';; *) {TWO};; esac"),
    );
    for _ in 0..5 {
        assert_eq!(peer.listing(&list(&[], false)).0.len(), 2);
    }
    let asked = bed.said("asked");
    // The second may have been asked for before the first was wholly over.
    assert!(asked.lines().filter(|line| line.contains("--json")).count() <= 2, "{asked}");
}

#[test]
fn a_long_listing_holds_nobody_up() {
    let bed = Bed::new();
    bed.play("squeue", "awk 'BEGIN { for (i = 1; i <= 200000; i++) printf \"%d|RUNNING|alice|1:00|None|nesssi-%016x\\n\", i, i }'");
    let jobmanager = bed.start(&Told { seconds: 60, ..SLURM });
    let (peer, other) = (jobmanager.tender(), jobmanager.starter());
    let session = other.prepare();
    let began = Instant::now();
    let request = peer.send(&list(&[], false), &[]);
    let (mut seen, mut slowest) = (0, Duration::ZERO);
    loop {
        let asked = Instant::now();
        other.guard(&session);
        slowest = slowest.max(asked.elapsed());
        while peer.poll(Duration::ZERO) {
            match peer.wait(|received| received.id == request).message {
                FromJobmanager::Sightings { sightings } => seen += sightings.len(),
                FromJobmanager::ListDone { unread, .. } => {
                    assert_eq!((seen, unread), (200_000, 0));
                    println!(
                        "200,000 jobs in {:?}, slowest other answer {slowest:?}",
                        began.elapsed()
                    );
                    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(began.elapsed() < 3 * PATIENCE, "{seen}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_dialect_is_found_out_once() {
    let bed = Bed::new();
    let play =
        "if [ \"$1\" = --version ]; then echo asked >>$S/asked; VERSION; fi; cat >/dev/null; ID";
    let auto = Told { dialect: None, ..SLURM };
    let mute = play.replace("VERSION", "echo what >&2; exit 1").replace("ID", "echo 1");
    bed.play("sbatch", &mute);
    let jobmanager = bed.start(&auto);
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let answer = peer.ask(&submit(&session));
    let (refusal, certain, words) = not_submitted(&answer);
    assert_eq!((refusal, certain), ("down", true));
    assert!(words.contains("what"), "{words}");
    assert!(matches!(peer.ask(&list(&[], false)), FromJobmanager::NotListed { .. }));
    assert_eq!(bed.said("asked").lines().count(), 1, "not asked again at once");
    drop(peer);
    drop(jobmanager);
    bed.play(
        "sbatch",
        &play.replace("VERSION", "echo slurm 22.05.8; exit 0").replace("ID", "echo 8"),
    );
    let jobmanager = bed.start(&auto);
    let peer = jobmanager.starter();
    for _ in 0..3 {
        let answer = peer.ask(&submit(&peer.prepare()));
        assert_eq!(answer, FromJobmanager::Submitted { id: "8".into() });
    }
    assert_eq!(bed.said("asked").lines().count(), 2);
    drop(peer);
    drop(jobmanager);
    bed.play(
        "sbatch",
        &play.replace("VERSION", "echo pbs_version = 23.06.06; exit 0").replace("ID", "echo 8.srv"),
    );
    let jobmanager = bed.start(&auto);
    let peer = jobmanager.starter();
    let answer = peer.ask(&submit(&peer.prepare()));
    assert_eq!(answer, FromJobmanager::Submitted { id: "8.srv".into() });
}

#[test]
fn a_command_that_is_not_there_is_a_failure_and_nothing_is_run() {
    let bed = Bed::new();
    let jobmanager = bed.start(&SLURM);
    fs::remove_file(bed.program("sbatch")).unwrap();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    assert!(matches!(peer.ask(&submit(&session)), FromJobmanager::Failed { .. }));
    assert!(!peer.guard(&session).submitting);
}

#[test]
fn a_full_or_read_only_disk_is_told_and_nothing_is_run() {
    if !is_root() {
        println!("SKIPPED: needs root (a mount)");
        return;
    }
    let bed = Bed::new();
    bed.play("sbatch", "echo run >>$S/runs; echo 5");
    let world = &bed.world;
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &world.home, "tmpfs", flags, c"size=256k,mode=0700").unwrap();
    world.give(&world.home);
    let outcome = std::panic::catch_unwind(|| {
        let jobmanager = bed.start(&SLURM);
        let peer = jobmanager.starter();
        let session = peer.prepare();
        let full = world.home.join("full");
        drop(fs::write(&full, vec![0; 300 * 1024]));
        let answer = peer.ask(&submit(&session));
        assert_eq!(errno(&answer), Errno::NOSPC.raw_os_error(), "{answer:?}");
        fs::remove_file(&full).unwrap();
        let read_only = flags | rustix::mount::MountFlags::RDONLY;
        rustix::mount::mount_remount(&world.home, read_only, "").unwrap();
        assert_eq!(errno(&peer.ask(&submit(&session))), Errno::ROFS.raw_os_error());
        assert_eq!(peer.guard(&session), Guard::default());
        rustix::mount::mount_remount(&world.home, flags, "").unwrap();
        assert!(!bed.state.join("runs").exists());
        assert_eq!(peer.ask(&submit(&session)), FromJobmanager::Submitted { id: "5".into() });
    });
    rustix::mount::unmount(&world.home, rustix::mount::UnmountFlags::DETACH).unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_record_that_the_system_tells_nothing_of_is_met_by_a_look() {
    let bed = Bed::new();
    let jobmanager = bed.start(&SLURM);
    let (peer, from) = (jobmanager.starter(), jobmanager.starter());
    let (_, _) = from.run(Ask::sh("true"));
    let (done, _) = from.run(Ask::sh("exit 3"));
    let sessions: Vec<SessionId> = (0..20).map(|_| peer.prepare()).collect();
    for session in &sessions {
        assert_eq!(peer.ask(&watch(session)), FromJobmanager::RecordAwaited {});
    }
    let record = |session: &SessionId| bed.world.path(session).join(".nesssi/record");
    for session in &sessions {
        // A link is made, and nothing is moved: as little is told as by another machine's change.
        fs::hard_link(record(&done), record(session)).unwrap();
    }
    for session in &sessions {
        let seen = |message: &FromJobmanager| {
            matches!(message, FromJobmanager::RecordSeen { session: seen, record }
                if seen == session.reveal() && record.contains("exit_code=3"))
        };
        peer.wait(|received| received.id == 0 && seen(&received.message));
    }
}

#[test]
fn records_are_bounded_and_of_nobody_else() {
    let bed = Bed::new();
    let jobmanager = bed.start(&SLURM);
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let private = bed.world.path(&session).join(".nesssi");
    std::os::unix::fs::symlink("/etc/passwd", private.join("record")).unwrap();
    assert_eq!(peer.ask(&watch(&session)), FromJobmanager::RecordAwaited {});
    fs::remove_file(private.join("record")).unwrap();
    for text in ["x".repeat(1 << 20), "no record\n".into(), "/etc/passwd".into()] {
        fs::write(private.join("record.x"), text).unwrap();
        bed.world.give(&private.join("record.x"));
        fs::rename(private.join("record.x"), private.join("record")).unwrap();
        assert_eq!(peer.guard(&session).record, "");
    }
    fs::write(private.join("why"), "because\n").unwrap();
    fs::create_dir(private.join("started")).unwrap();
    fs::write(private.join("started/batch"), "7;8\n").unwrap();
    for path in ["why", "started", "started/batch"] {
        bed.world.give(&private.join(path));
    }
    let found = peer.guard(&session);
    assert_eq!(found, Guard { guarded: true, ..Guard::default() });
    fs::write(private.join("why"), "over_cpu\n").unwrap();
    fs::write(private.join("started/batch"), "7.srv\n").unwrap();
    let found = peer.guard(&session);
    assert_eq!((found.winner.as_deref(), found.why.as_str()), (Some("7.srv"), "over_cpu"));
    // What stands in the lock's place is nobody's lock.
    std::os::unix::fs::symlink("/etc/passwd", private.join("submit")).unwrap();
    assert!(!peer.guard(&session).submitting);
    // It is waited for until it is one, or the session is removed.
    assert_eq!(peer.ask(&watch(&session)), FromJobmanager::RecordAwaited {});
    assert_eq!(peer.ask(&remove(&session)), FromJobmanager::Removed {});
    assert_eq!(errno(&peer.ask(&watch(&session))), Errno::NOENT.raw_os_error());
    let nothing = |message: &FromJobmanager| matches!(message, FromJobmanager::RecordSeen { .. });
    assert_eq!(peer.take_kept(nothing), 0);
}

/// Two hundred a second through a command that takes 50 ms, from one account: 400 in some two seconds.
#[test]
fn submissions_overlap() {
    let bed = Bed::new();
    bed.play("sbatch", "cat >/dev/null; sleep 0.05; echo 1");
    let jobmanager = bed.start(&Told { at_once: 16, ..SLURM });
    let peer = jobmanager.starter();
    let sessions: Vec<SessionId> = (0..400).map(|_| peer.prepare()).collect();
    let began = Instant::now();
    let requests: Vec<u32> =
        sessions.iter().map(|session| peer.send(&submit(session), &[])).collect();
    for request in requests {
        let answer = peer.wait(|received| received.id == request).message;
        assert_eq!(answer, FromJobmanager::Submitted { id: "1".into() });
    }
    let rate = 400.0 / began.elapsed().as_secs_f64();
    let stat = fs::read_to_string(format!("/proc/{}/stat", jobmanager.child.pid_number())).unwrap();
    let ticks = stat.rsplit_once(')').unwrap().1.split(' ').skip(12).take(2);
    let ticks: u32 = ticks.map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    println!("{rate:.0} submissions a second, {} us of its own each", ticks * 10_000 / 400);
    // One after the other they would be fewer than 20.
    assert!(rate > 25.0, "{rate}");
}
