//! A whole server before a batch system that goes wrong: what `nesssi_testkit::standin` can do wrong, one after
//! the other. No job is started twice, none is lost, and whoever asked is told what is so.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nesssi_testkit::standin::{Fault, Starts};
use nesssi_testkit::{StandInPbs, Value, World, is_root, skipped, wait_until};

use crate::batch_help::{
    ask, began_once, begun, cancel, ended, ends, once, polled, processes_with, says, started,
    submit, text,
};
use crate::survival::{GATEKEEPER, JOBMANAGER, below, kill};

/// Whether this cannot be run: a batch system's commands must be root's.
fn cannot() -> bool {
    if !is_root() {
        skipped("a batch system's commands are root's, and so is the stand-in that a test starts");
    }
    !is_root()
}

/// Lines of nesssi.toml, with commands that have two seconds.
fn keys(pbs: &StandInPbs) -> Vec<String> {
    let mut keys = polled(pbs.keys());
    keys.push("command_seconds_max = 2".to_owned());
    keys
}

/// A server before one stand-in, `pbs`.
fn one(pbs: &StandInPbs) -> World {
    started(World::builder().batch("pbs", &keys(pbs)))
}

/// A server before many stand-ins, `pbs-0` and so on.
fn many(count: usize) -> (Vec<StandInPbs>, World) {
    let all: Vec<StandInPbs> = (0..count).map(|_| StandInPbs::start()).collect();
    let named = all.iter().enumerate();
    let builder = named.fold(World::builder(), |builder, (number, pbs)| {
        builder.batch(&format!("pbs-{number}"), &keys(pbs))
    });
    (all, started(builder))
}

#[test]
fn submissions_whose_answer_is_none_start_each_job_once() {
    if cannot() {
        return;
    }
    // Whether the batch system has the job, whatever it answers.
    let faults = [
        (Fault::Hang, false),
        (Fault::HangAfter, true),
        (Fault::Garbage, false),
        (Fault::GarbageAfter, true),
        (Fault::SilentAfter, true),
        (Fault::LostAfter, true),
        (Fault::Killed, false),
        (Fault::KilledAfter, true),
        (Fault::GermanAfter, true),
        (Fault::Strange, false),
        (Fault::Array, true),
        (Fault::Half, true),
        (Fault::HugeAfter { bytes: 4 << 20 }, true),
    ];
    let (all, world) = many(faults.len());
    for (pbs, (fault, _)) in all.iter().zip(&faults) {
        pbs.plan(|plan| {
            plan.qsub.fault = Some(fault.clone());
            plan.qsub.until_call = 1;
        });
    }
    let alice = Some(&world.alice);
    std::thread::scope(|scope| {
        for (number, (pbs, (fault, has_it))) in all.iter().zip(&faults).enumerate() {
            let world = &world;
            scope.spawn(move || {
                let argv = ["/bin/sh", "-c", &once("sleep 3")];
                let session = submit(world, alice, &format!("pbs-{number}"), 60, &argv);
                let status = ended(world, alice, &session);
                assert_eq!(text(&status, "state"), "done", "{fault:?}: {status:?}");
                began_once(world, &session);
                assert_eq!(pbs.jobs().len(), 1, "{fault:?}: {:#?}", pbs.jobs());
                assert_eq!(pbs.starts().len(), 1, "{fault:?}");
                assert_eq!(pbs.calls("qsub"), if *has_it { 1 } else { 2 }, "{fault:?}");
            });
        }
    });
}

#[test]
fn refused_submissions_are_typed_and_make_nothing() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let world = one(&pbs);
    let alice = Some(&world.alice);
    for (fault, number, words) in [
        (Fault::Policy, 502, "(policy)"),
        (Fault::Quota, 502, "(quota)"),
        (Fault::UnknownQueue, 502, "(unknown queue)"),
        (Fault::Syntax, 502, "(syntax)"),
        (Fault::Down, 503, "is down"),
    ] {
        pbs.plan(|plan| plan.qsub.fault = Some(fault.clone()));
        let told = ask(&world, alice, "pbs", 5, &["/bin/true"]).unwrap_err();
        assert_eq!(told.code.number(), number, "{fault:?}: {told}");
        assert!(told.to_string().contains(words), "{fault:?}: {told}");
    }
    assert_eq!(pbs.jobs(), []);
    assert_eq!(pbs.calls("qsub"), 5);
}

#[test]
fn listings_that_are_none_end_no_job() {
    if cannot() {
        return;
    }
    let faults = [
        Fault::Hang,
        Fault::Garbage,
        Fault::SilentAfter,
        Fault::Killed,
        Fault::GermanAfter,
        Fault::Strange,
        Fault::Down,
        Fault::Half,
        Fault::HalfFailed,
        Fault::HugeAfter { bytes: 80 << 20 },
    ];
    let (all, world) = many(faults.len());
    let alice = Some(&world.alice);
    let argv = ["/bin/sh", "-c", &once("sleep 9")];
    let sessions: Vec<String> =
        (0..all.len()).map(|n| submit(&world, alice, &format!("pbs-{n}"), 60, &argv)).collect();
    for (session, (pbs, fault)) in sessions.iter().zip(all.iter().zip(&faults)) {
        world.wait_state(alice, session, "running");
        pbs.plan(|plan| plan.qstat.fault = Some(fault.clone()));
    }
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        for (session, fault) in sessions.iter().zip(&faults) {
            let state = text(&world.status(alice, session), "state");
            assert!(state == "running" || state == "done", "{fault:?}: {state}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    all.iter().for_each(|pbs| pbs.plan(|plan| plan.qstat.fault = None));
    for (session, fault) in sessions.iter().zip(&faults) {
        let status = ended(&world, alice, session);
        assert_eq!(text(&status, "state"), "done", "{fault:?}: {status:?}");
        began_once(&world, session);
    }
}

#[test]
fn a_batch_system_that_is_down_is_said_to_be_and_asked_less_often() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let world = one(&pbs);
    let alice = Some(&world.alice);
    let session = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("sleep 12")]);
    world.wait_state(alice, &session, "running");
    pbs.plan(|plan| plan.qstat.fault = Some(Fault::Down));
    let system = || {
        let Value::Struct(status) = world.call(alice, "system.status", vec![]).unwrap() else {
            panic!("system.status answers a struct")
        };
        let Value::Array(batch) = &status["batch"] else { panic!("{status:?}") };
        let Value::Struct(first) = &batch[0] else { panic!("{status:?}") };
        (text(first, "state"), text(first, "words"))
    };
    wait_until("it is said to be down", 20, || (system().0 == "down").then_some(()));
    assert!(system().1.contains("cannot connect to server"), "{:?}", system());
    let before = pbs.calls("qstat");
    std::thread::sleep(Duration::from_secs(5));
    assert!(pbs.calls("qstat") - before <= 3, "it is asked as often as before");
    let as_of = text(&world.status(alice, &session), "as_of");
    assert!(as_of.contains('('), "how old its knowledge is, and why: {as_of}");
    pbs.plan(|plan| plan.qstat.fault = None);
    ends(&world, alice, &session, "done");
    wait_until("it is said to be well", 30, || (system().0 != "down").then_some(()));
}

#[test]
fn however_many_ask_the_batch_system_is_asked_as_often() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let world = one(&pbs);
    let alice = Some(&world.alice);
    let session = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("sleep 60")]);
    world.wait_state(alice, &session, "running");
    let calls_in = |clients: usize| {
        let before = pbs.calls("qstat");
        let until = Instant::now() + Duration::from_secs(4);
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    while Instant::now() < until {
                        drop(world.status(alice, &session));
                    }
                });
            }
        });
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        pbs.calls("qstat") - before
    };
    let (none, some) = (calls_in(0), calls_in(8));
    assert!(some <= none + 2, "{none} calls of qstat without clients, {some} with eight");
    assert_ne!(cancel(&world, alice, &session), "refused");
}

#[test]
fn cancels_answer_what_is_so() {
    if cannot() {
        return;
    }
    let faults = [
        Fault::Policy,
        Fault::GermanAfter,
        Fault::SilentAfter,
        Fault::LostAfter,
        Fault::KilledAfter,
        Fault::Strange,
        Fault::Down,
        Fault::Hang,
    ];
    let (all, world) = many(faults.len());
    let alice = Some(&world.alice);
    std::thread::scope(|scope| {
        for (number, (pbs, fault)) in all.iter().zip(&faults).enumerate() {
            let world = &world;
            scope.spawn(move || {
                let word = format!("30{number}.{}", std::process::id());
                let script = once(&format!("sleep {word}; sleep {word}"));
                let argv = ["/bin/sh", "-c", &script];
                let session = submit(world, alice, &format!("pbs-{number}"), 60, &argv);
                begun(world, &session);
                pbs.plan(|plan| plan.qdel.fault = Some(fault.clone()));
                let answer = cancel(world, alice, &session);
                let gone = processes_with(&word).is_empty();
                assert!(gone || answer != "cancelled", "{fault:?}: cancelled, and it runs");
                if *fault == Fault::Policy {
                    assert_eq!(answer, "refused");
                    says(world, alice, &session, "Unauthorized Request");
                }
                pbs.plan(|plan| plan.qdel.fault = None);
                // Whoever asks again has it asked again.
                wait_until(&format!("{fault:?}: it is cancelled"), 60, || {
                    (cancel(world, alice, &session) == "cancelled").then_some(())
                });
                assert!(processes_with(&word).is_empty(), "{fault:?}: cancelled, and it runs");
                began_once(world, &session);
            });
        }
    });
}

#[test]
fn a_job_whose_script_is_started_twice_runs_once() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let world = one(&pbs);
    let alice = Some(&world.alice);
    for starts in [Starts::TwiceAtOnce, Starts::Again] {
        pbs.plan(|plan| plan.starts = starts);
        let argv = ["/bin/sh", "-c", &once("sleep 1; exit 4")];
        let session = submit(&world, alice, "pbs", 60, &argv);
        let status = ended(&world, alice, &session);
        assert_eq!(status.get("exit_code"), Some(&Value::Int(4)), "{starts:?}: {status:?}");
        began_once(&world, &session);
    }
    wait_until("both were started twice", 20, || (pbs.starts().len() == 4).then_some(()));
}

#[test]
fn an_id_that_is_given_twice_ends_nobody_elses_job() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let world = one(&pbs);
    let (alice, bob) = (Some(&world.alice), Some(&world.bob));
    let first = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("sleep 8; exit 6")]);
    begun(&world, &first);
    pbs.plan(|plan| plan.qsub.fault = Some(Fault::SameId));
    let second = submit(&world, bob, "pbs", 60, &["/bin/sh", "-c", &once("sleep 4; exit 5")]);
    let status = ended(&world, bob, &second);
    assert_eq!(status.get("exit_code"), Some(&Value::Int(5)), "{status:?}");
    // The first runs on, and is known by its record, though its id is another's.
    let status = ended(&world, alice, &first);
    assert_eq!(status.get("exit_code"), Some(&Value::Int(6)), "{status:?}");
    began_once(&world, &first);
    began_once(&world, &second);
}

#[test]
fn what_the_batch_system_forgets_the_record_tells() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let mut world = one(&pbs);
    let alice = world.alice.clone();
    let alice = Some(&alice);
    pbs.plan(|plan| plan.remembers_ms = 0);
    let quick = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("exit 3")]);
    let status = ended(&world, alice, &quick);
    assert_eq!(status.get("exit_code"), Some(&Value::Int(3)), "{status:?}");
    // All is forgotten while the job runs, and while there is no server.
    let long = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("sleep 6; exit 2")]);
    begun(&world, &long);
    pbs.plan(|plan| plan.forgets = true);
    std::thread::sleep(Duration::from_secs(2));
    assert_ne!(text(&world.status(alice, &long), "state"), "lost");
    world.stop_server();
    world.start_server();
    let status = ended(&world, alice, &long);
    assert_eq!(status.get("exit_code"), Some(&Value::Int(2)), "{status:?}");
    began_once(&world, &long);
}

/// It takes more than two minutes: for ./test --long.
#[test]
fn a_running_job_that_nobody_knows_any_more_is_lost_in_the_words_of_both() {
    if cannot() || std::env::var("NESSSI_LONG").as_deref() != Ok("1") {
        return;
    }
    let pbs = StandInPbs::start();
    let world = one(&pbs);
    let alice = Some(&world.alice);
    let argv = ["/bin/sh", "-c", &once("sleep 1000")];
    let session = submit(&world, alice, "pbs", 60, &argv);
    world.wait_state(alice, &session, "running");
    pbs.plan(|plan| plan.forgets = true);
    std::thread::sleep(Duration::from_secs(110));
    assert_eq!(text(&world.status(alice, &session), "state"), "running");
    let status = ended(&world, alice, &session);
    assert_eq!(text(&status, "state"), "lost", "{status:?}");
    let reason = text(&status, "reason");
    assert!(reason.contains("does not know it"), "{reason}");
    assert!(reason.contains("it was started, and has left no record"), "{reason}");
    began_once(&world, &session);
    assert_eq!(pbs.starts().len(), 1);
}

#[test]
fn a_slow_submission_keeps_nobody_waiting_for_ever() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    pbs.plan(|plan| {
        plan.qsub.delay_ms = 13_000;
        plan.qstat.delay_ms = 1000;
    });
    let world = started(World::builder().batch("pbs", &polled(pbs.keys())));
    let alice = Some(&world.alice);
    let began = Instant::now();
    let session = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("")]);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    assert_eq!(text(&world.status(alice, &session), "state"), "queued");
    ends(&world, alice, &session, "done");
    began_once(&world, &session);
    assert_eq!(pbs.calls("qsub"), 1);
}

#[test]
fn all_processes_are_killed_while_jobs_are_submitted() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let mut world = started(World::builder().batch("pbs", &polled(pbs.keys())));
    let alice = world.alice.clone();
    let alice = Some(&alice);
    // So many submissions are under way at that moment.
    let early: Vec<String> = (0..2)
        .map(|_| submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("sleep 2")]))
        .collect();
    pbs.plan(|plan| plan.qsub.delay_ms = 5000);
    let monitor = world.server().pid();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let world = &world;
            scope.spawn(move || {
                let client = world.client(alice);
                let runtime = nesssi_testkit::tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let argv = ["pbs", "/bin/sh", "-c", "echo begun >> begun"].map(Value::from);
                let [batch, rest @ ..] = argv;
                let mut params = vec![batch, Value::Int(60)];
                params.extend(rest);
                // On a machine with much to do the first may be answered before all are under way.
                drop(runtime.block_on(client.call("b.run", params)));
            });
        }
        wait_until("four are being submitted", 20, || (pbs.calls("qsub") == 6).then_some(()));
        let mut victims = vec![monitor.cast_signed()];
        victims.extend(below(monitor, GATEKEEPER));
        victims.extend(below(monitor, JOBMANAGER));
        victims.into_iter().for_each(kill);
    });
    wait_until("the monitor is gone", 10, || world.server().ended());
    world.server = None;
    world.start_server();
    let Value::Array(list) = world.call(alice, "job.list", vec![]).unwrap() else { panic!() };
    let sessions: Vec<String> = list
        .iter()
        .map(|one| match one {
            Value::Struct(members) => text(members, "session"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sessions.len(), 6, "{list:?}");
    assert!(early.iter().all(|one| sessions.contains(one)), "{sessions:?}");
    for session in &sessions {
        ends(&world, alice, session, "done");
        began_once(&world, session);
    }
    assert_eq!(pbs.starts().len(), 6);
}

/// A file system of a megabyte, gone when it is dropped.
struct Small(std::path::PathBuf);

impl Small {
    /// Where a folder is, with its owner and mode.
    fn mount(at: &std::path::Path) -> Option<Self> {
        let folder = std::fs::metadata(at).unwrap();
        let (user, group, mode) = (folder.uid(), folder.gid(), folder.mode() & 0o7777);
        let options = format!("size=1m,uid={user},gid={group},mode={mode:o}");
        let status = Command::new("/bin/mount")
            .args(["-t", "tmpfs", "-o", &options, "nesssi-test"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }

    fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let status = Command::new("/bin/mount").args(["-o", &option]).arg(&self.0).status();
        assert!(status.unwrap().success(), "{option}");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("/bin/umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_sandbox_file_system_that_is_full_or_read_only_is_said_to_be() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let mut world = one(&pbs);
    world.stop_server();
    let folder = world.path().join("sandboxes");
    let Some(small) = Small::mount(&folder) else {
        skipped("nothing can be mounted here");
        return;
    };
    world.start_server();
    let alice = Some(&world.alice);
    // Full when a job is asked for.
    let first = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("")]);
    ends(&world, alice, &first, "done");
    let filler = folder.join("filler");
    let fill = || {
        let mut file = std::fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}
    };
    pbs.plan(|plan| plan.slots = 0);
    let waits = [0, 1].map(|_| submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("")]));
    fill();
    let before = pbs.jobs().len();
    match ask(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("")]) {
        // There was room for a folder: the job says why it could not go on.
        Ok(session) => {
            pbs.plan(|plan| plan.slots = 64);
            ends(&world, alice, &session, "failed");
        }
        Err(fault) => {
            assert!(fault.to_string().contains("space"), "{fault}");
            assert_eq!(pbs.jobs().len(), before);
        }
    }
    // Read-only when jobs are started that wait.
    std::fs::remove_file(&filler).unwrap();
    let last = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("")]);
    small.remount("ro");
    pbs.plan(|plan| plan.slots = 64);
    let status = ended(&world, alice, &last);
    assert_eq!(text(&status, "state"), "failed", "{status:?}");
    assert!(text(&status, "reason").contains("read-only"), "{status:?}");
    small.remount("rw");
    for session in &waits {
        let status = ended(&world, alice, session);
        assert!(["failed", "done"].contains(&text(&status, "state").as_str()), "{status:?}");
    }
    let again = submit(&world, alice, "pbs", 60, &["/bin/sh", "-c", &once("")]);
    ends(&world, alice, &again, "done");
    world.stop_server();
    drop(small);
}

#[test]
fn arguments_of_any_bytes_arrive_as_they_were_given() {
    if cannot() {
        return;
    }
    let pbs = StandInPbs::start();
    let world = one(&pbs);
    let alice = Some(&world.alice);
    let long = "x'\n#PBS -N bad\n#PBS -J 1-9\n".repeat(4800);
    let odd = ["$(id)", "`id`", "a b", "'", "\"", "\\", "-n", "*", "\n", "#PBS -t 1", "", &long];
    let code = "import json, sys; print(json.dumps(sys.argv[1:]))";
    let mut argv = vec!["/usr/bin/python3", "-c", code];
    argv.extend(odd);
    match ask(&world, alice, "pbs", 60, &argv) {
        Ok(session) => {
            ends(&world, alice, &session, "done");
            let (_, output) = world.file(&session, "stdout");
            let told: Vec<String> = serde_json::from_str(&output).unwrap();
            assert!(told == odd, "they differ");
        }
        Err(fault) => panic!("{fault}"),
    }
    let jobs = pbs.jobs();
    assert_eq!(jobs.len(), 1);
    assert!(jobs[0].name.starts_with("nesssi-"), "{:?}", jobs[0].name);
}
