//! A whole server before a real Slurm, spoken to natively and through its wrappers of TORQUE's commands.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use nesssi_testkit::{
    Credential, Slurm, SlurmBuilder, StandInPbs, Value, World, is_root, skipped, wait_until,
};

use crate::batch_help::{
    ask, began_once, begun, cancel, ended, ends, laid_out, once, polled, processes_with, says,
    started, stubborn, submit, text,
};

/// Why no Slurm can be started here. With `./test`'s packages one must be.
pub(crate) fn cannot() -> bool {
    let Some(why) = Slurm::missing() else { return false };
    assert!(
        !is_root() || std::env::var_os("NESSSI_TOOLS").is_none(),
        "NESSSI_TOOLS is set, and: {why}"
    );
    skipped(&why);
    true
}

/// A server with both ways to one Slurm.
fn both(slurm: &Slurm) -> nesssi_testkit::WorldBuilder {
    World::builder()
        .key("batch", "default = \"slurm\"")
        .batch("slurm", &polled(slurm.keys()))
        .batch("wrapped", &polled(slurm.torque_keys()))
}

/// One that forgets soon, and whose commands fail soon while it is down.
fn forgetful() -> SlurmBuilder {
    Slurm::builder().remembers_seconds(2).line("MessageTimeout=2")
}

const WAYS: [&str; 2] = ["slurm", "wrapped"];

fn number(value: &Value) -> f64 {
    match value {
        Value::Double(number) => *number,
        Value::Int(number) => *number as f64,
        other => panic!("no number: {other:?}"),
    }
}

fn uid_of(account: &str) -> u32 {
    let out = Command::new("/usr/bin/id").args(["-u", account]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
}

#[test]
fn sleepy_add_for_three_accounts_natively_and_through_the_wrappers() {
    if cannot() {
        return;
    }
    let slurm = Slurm::start();
    for way in WAYS {
        let world = World::builder()
            .with_shipped_services()
            .key("batch", &format!("default = {way:?}"))
            .batch("slurm", &polled(slurm.keys()))
            .batch("wrapped", &polled(slurm.torque_keys()))
            .start();
        let people: [(Option<&Credential>, &str); 3] = [
            (Some(&world.alice), &world.accounts.strong),
            (Some(&world.wendy), &world.accounts.weak),
            (None, &world.accounts.anonymous),
        ];
        let add = |who| {
            let params = vec![Value::Int(1), Value::Int(3), Value::Int(5)];
            world.session(who, "sleepy.sleepyAdd", params)
        };
        let sessions: Vec<String> = people.iter().map(|(who, _)| add(*who)).collect();
        for ((who, account), session) in people.iter().zip(&sessions) {
            let status = ended(&world, *who, session);
            assert_eq!(text(&status, "state"), "done", "{way} {account}: {status:?}");
            assert_eq!(text(&status, "batch"), way);
            let (_, output) = world.file(session, "stdout");
            assert!(output.contains("3 + 5 = 8"), "{output}");
            let sandbox = world.path().join("sandboxes").join(account).join(session);
            assert_eq!(fs::metadata(sandbox.join("stdout")).unwrap().uid(), uid_of(account));
            let theirs = |job: &&nesssi_testkit::SlurmJob| job.user == *account;
            assert!(slurm.jobs().iter().any(|job| theirs(&job)), "{account} has no job in Slurm");
        }
    }
    assert_eq!(slurm.jobs().len(), 6, "{:#?}", slurm.jobs());
}

#[test]
fn ends_are_told_as_they_were_and_limits_hold() {
    if cannot() {
        return;
    }
    let slurm = Slurm::start();
    let world = started(both(&slurm).level("weak", "wall_seconds = 5"));
    let alice = Some(&world.alice);
    let wendy = Some(&world.wendy);
    let start = |way: &str, seconds, argv: &[&str]| submit(&world, alice, way, seconds, argv);
    let burner = "import os\nif os.fork() == 0: os.setsid()\nwhile True: pass";
    let jobs: Vec<_> = WAYS
        .iter()
        .map(|way| {
            [
                start(way, 5, &["/bin/sh", "-c", &once("exit 7")]),
                start(way, 5, &["/bin/sh", "-c", &once("kill -KILL $$")]),
                start(way, 5, &["/no/such/program"]),
                submit(&world, wendy, way, 5, &["/bin/sleep", "60"]),
                start(way, 2, &["/usr/bin/python3", "-c", burner]),
                start(way, 5, &["test", "-d", "/"]),
            ]
        })
        .collect();
    for (way, [seven, killed, absent, long, burns, builtin]) in WAYS.iter().zip(&jobs) {
        let told_to = |who, session: &str, state: &str| {
            let status = ended(&world, who, session);
            assert_eq!(text(&status, "state"), state, "{way}: {status:?}");
            status
        };
        let told = |session: &str, state: &str| told_to(alice, session, state);
        assert_eq!(told(seven, "failed")["exit_code"], Value::Int(7));
        let reason = text(&told(killed, "failed"), "reason");
        assert!(reason.contains('9'), "{way}: {reason}");
        told(absent, "failed");
        told(builtin, "done");
        let wall = text(&told_to(wendy, long, "over_limit"), "reason");
        assert!(wall.contains("wall"), "{way}: {wall}");
        let cpu = told(burns, "over_limit");
        let used = number(&cpu["cpu_seconds"]);
        assert!((1.9..5.0).contains(&used), "{way}: used {used} of 2 CPU seconds: {cpu:?}");
        assert!(text(&cpu, "reason").contains("CPU"), "{cpu:?}");
        began_once(&world, seven);
    }
}

#[test]
fn cancelled_means_that_no_process_is_left_also_of_jobs_that_wait() {
    if cannot() {
        return;
    }
    let slurm = Slurm::start();
    let world = started(both(&slurm));
    let alice = Some(&world.alice);
    for way in WAYS {
        let word = format!("nesssi-stubborn-{way}-{}", std::process::id());
        let argv = ["/usr/bin/python3", "-c", &stubborn(&word)];
        let session = submit(&world, alice, way, 5, &argv);
        begun(&world, &session);
        let answer = cancel(&world, alice, &session);
        if answer == "cancelled" {
            assert!(processes_with(&word).is_empty(), "{way}: cancelled, and some are left");
        } else {
            assert_eq!(answer, "asked", "{way}");
        }
        ends(&world, alice, &session, "cancelled");
        assert!(processes_with(&word).is_empty(), "{way}: cancelled, and some are left");
    }
    slurm.drain();
    for way in WAYS {
        let waits = submit(&world, alice, way, 5, &["/bin/sh", "-c", &once("")]);
        cancel(&world, alice, &waits);
        ends(&world, alice, &waits, "cancelled");
        assert_eq!(world.file(&waits, "begun").0, 404);
    }
    assert!(slurm.jobs().iter().all(|job| job.state == "CANCELLED"), "{:#?}", slurm.jobs());
}

#[test]
fn refusals_are_typed_and_leave_nothing() {
    if cannot() {
        return;
    }
    let slurm = Slurm::start();
    let of = |way: &str| if way == "slurm" { slurm.keys() } else { slurm.torque_keys() };
    let cases = [
        ("nosuch", "unknown queue"),
        ("closed", "policy"),
        ("private", "policy"),
        ("short", "policy"),
    ];
    let mut builder = both(&slurm).level("strong", "wall_seconds = 600");
    for way in WAYS {
        for (queue, _) in cases {
            let mut keys = polled(of(way));
            keys.push(format!("directives = [\"queue={queue}\"]"));
            builder = builder.batch(&format!("{way}-{queue}"), &keys);
        }
    }
    let world = started(builder);
    for way in WAYS {
        for (queue, kind) in cases {
            let batch = format!("{way}-{queue}");
            let fault = ask(&world, Some(&world.alice), &batch, 5, &["/bin/true"]).unwrap_err();
            assert_eq!(fault.code.number(), 502, "{batch}: {fault}");
            let words = fault.to_string();
            assert!(words.contains(&format!("({kind})")), "{batch}: {words}");
        }
    }
    let fault = ask(&world, Some(&world.alice), "elsewhere", 5, &["/bin/true"]).unwrap_err();
    assert_eq!(fault.code.number(), -32602, "{fault}");
    assert!(slurm.jobs().iter().all(|job| job.state != "PENDING" && job.state != "RUNNING"));
}

#[test]
fn jobs_that_are_held_or_can_never_run_say_why() {
    if cannot() {
        return;
    }
    let slurm = Slurm::start();
    let mut keys = polled(slurm.keys());
    keys.push("directives = [\"queue=down\"]".to_owned());
    let world = started(both(&slurm).batch("down", &keys));
    let alice = Some(&world.alice);
    let never = submit(&world, alice, "down", 5, &["/bin/true"]);
    says(&world, alice, &never, "PartitionDown");
    slurm.drain();
    let held = submit(&world, alice, "slurm", 5, &["/bin/sh", "-c", &once("")]);
    let theirs = || slurm.jobs().into_iter().find(|job| job.reason != "PartitionDown");
    let id = wait_until("Slurm has it", 20, theirs).id;
    slurm.hold(&id);
    says(&world, alice, &held, "JobHeld");
    assert_eq!(text(&world.status(alice, &held), "state"), "queued");
    slurm.resume();
    slurm.release(&id);
    ends(&world, alice, &held, "done");
    cancel(&world, alice, &never);
    ends(&world, alice, &never, "cancelled");
}

/// What an account is told by a command, both of its outputs.
fn told(slurm: &Slurm, account: &str, name: &str, arguments: &[&str]) -> String {
    let output = slurm.run_as(account, name, arguments);
    [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
}

#[test]
fn a_second_account_looks_everywhere_and_finds_no_session() {
    if cannot() {
        return;
    }
    let slurm = Slurm::start();
    let world = started(both(&slurm));
    let alice = Some(&world.alice);
    let bob = world.accounts.other.as_str();
    let mut sessions = Vec::new();
    for way in WAYS {
        let runs = submit(&world, alice, way, 60, &["/bin/sh", "-c", &once("sleep 300")]);
        begun(&world, &runs);
        sessions.push(runs);
    }
    slurm.drain();
    sessions.extend(WAYS.map(|way| submit(&world, alice, way, 60, &["/bin/true"])));
    wait_until("Slurm has all", 20, || (slurm.jobs().len() == 4).then_some(()));
    let mut seen = String::new();
    let mut look = |what: &str, text: String| {
        assert!(!text.trim().is_empty(), "{what} shows nothing: a test that finds nothing");
        seen.push_str(&text);
        for session in &sessions {
            assert!(!text.contains(session.as_str()), "{what} shows a session:\n{text}");
        }
    };
    for (name, arguments) in [
        ("squeue", &["--format=%all"][..]),
        ("squeue", &["--json"]),
        ("scontrol", &["--details", "show", "job"]),
        ("scontrol", &["show", "step"]),
        ("qstat", &["-f"]),
        ("qstat", &["-a"]),
    ] {
        look(&format!("{name} {arguments:?}"), told(&slurm, bob, name, arguments));
    }
    for job in slurm.jobs() {
        let script = told(&slurm, bob, "scontrol", &["write", "batch_script", &job.id, "-"]);
        look("scontrol write batch_script", script);
    }
    // ps with arguments and what it may show of environments, /proc, and every file of Slurm's that can be read.
    let bed = slurm.path().display().to_string();
    let script = format!(
        "ps axeww; cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; \
         ls -l /proc/*/cwd /proc/*/fd 2>/dev/null; grep -ra . {bed} 2>/dev/null; find {bed} 2>/dev/null"
    );
    let output = Command::new("/usr/bin/setpriv")
        .args(["--reuid", bob, "--regid", bob, "--init-groups", "/bin/sh", "-c", &script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    look("what a process shows", String::from_utf8_lossy(&output.stdout).into_owned());
    assert!(seen.contains("nesssi-"), "the jobs' names are there to be seen");
}

#[test]
fn a_controller_that_is_away_at_start_in_between_and_afterwards() {
    if cannot() {
        return;
    }
    let mut slurm = forgetful().start();
    let mut world = started(both(&slurm));
    let alice = world.alice.clone();
    let alice = Some(&alice);
    let long = submit(&world, alice, "slurm", 60, &["/bin/sh", "-c", &once("sleep 12")]);
    let short = submit(&world, alice, "wrapped", 60, &["/bin/sh", "-c", &once("sleep 4")]);
    world.wait_state(alice, &long, "running");
    world.wait_state(alice, &short, "running");
    slurm.stop_controller();
    // In between: what runs goes on, and nobody is told that it has ended badly.
    let fault = ask(&world, alice, "slurm", 5, &["/bin/true"]).unwrap_err();
    assert_eq!(fault.code.number(), 503, "{fault}");
    for session in [&long, &short] {
        let state = text(&world.status(alice, session), "state");
        assert!(state == "running" || state == "done", "{state}");
    }
    // At start.
    world.stop_server();
    world.start_server();
    let state = text(&world.status(alice, &long), "state");
    assert!(state == "running" || state == "queued", "{state}");
    wait_until("the jobs end without a controller", 60, || {
        let sandbox = world.path().join("sandboxes").join(&world.accounts.strong);
        let records = [&long, &short].map(|one| sandbox.join(one).join(".nesssi/record"));
        records.iter().all(|record| record.exists()).then_some(())
    });
    slurm.start_controller();
    for session in [&long, &short] {
        ends(&world, alice, session, "done");
        began_once(&world, session);
    }
    let again = submit(&world, alice, "slurm", 5, &["/bin/sh", "-c", &once("")]);
    ends(&world, alice, &again, "done");
}

#[test]
fn what_slurm_has_forgotten_is_still_known_after_a_restart() {
    if cannot() {
        return;
    }
    let slurm = forgetful().start();
    let mut world = started(both(&slurm));
    let alice = world.alice.clone();
    let alice = Some(&alice);
    let sessions = WAYS.map(|way| {
        let argv = ["/bin/sh", "-c", &once("sleep 3; exit 5")];
        submit(&world, alice, way, 60, &argv)
    });
    sessions.iter().for_each(|session| begun(&world, session));
    world.stop_server();
    wait_until("Slurm has forgotten them", 90, || slurm.jobs().is_empty().then_some(()));
    world.start_server();
    for session in &sessions {
        let status = ended(&world, alice, session);
        assert_eq!(text(&status, "state"), "failed", "{status:?}");
        assert_eq!(status["exit_code"], Value::Int(5));
        began_once(&world, session);
    }
}

#[test]
fn an_id_that_is_given_twice_mixes_up_no_jobs() {
    if cannot() {
        return;
    }
    let mut slurm = Slurm::builder().line("MessageTimeout=2").start();
    let world = started(both(&slurm));
    let alice = Some(&world.alice);
    slurm.keep_state();
    // The controller dies and forgets this one, which the node then ends as nobody's.
    let first = submit(&world, alice, "slurm", 60, &["/bin/sh", "-c", &once("sleep 300")]);
    begun(&world, &first);
    slurm.back_to_kept_state();
    let bob = Some(&world.bob);
    let second = submit(&world, bob, "slurm", 60, &["/bin/sh", "-c", &once("sleep 3; exit 3")]);
    let status = ended(&world, bob, &second);
    assert_eq!(text(&status, "state"), "failed", "{status:?}");
    assert_eq!(status["exit_code"], Value::Int(3));
    began_once(&world, &second);
    // What became of the first is not said by the second's end.
    cancel(&world, alice, &first);
    let status = ended(&world, alice, &first);
    assert_ne!(status.get("exit_code"), Some(&Value::Int(3)), "{status:?}");
    assert!(["cancelled", "lost", "failed"].contains(&text(&status, "state").as_str()));
    began_once(&world, &first);
}

#[test]
fn accounting_tells_what_a_job_has_used() {
    if cannot() {
        return;
    }
    if let Some(why) = Slurm::missing_for_accounting() {
        skipped(&why);
        return;
    }
    let slurm = forgetful().with_accounting().start();
    let world = started(both(&slurm));
    let alice = Some(&world.alice);
    let burns = "import time\nwhile time.process_time() < 3: pass\ntime.sleep(8)";
    let session = submit(&world, alice, "slurm", 60, &["/usr/bin/python3", "-c", burns]);
    wait_until("its CPU time is told while it runs", 60, || {
        let status = world.status(alice, &session);
        let running = text(&status, "state") == "running";
        let used = status.get("cpu_seconds").map_or(0.0, number);
        (running && used >= 1.0).then_some(())
    });
    ends(&world, alice, &session, "done");
}

#[test]
fn arguments_of_odd_characters_arrive_as_they_were_given() {
    if cannot() {
        return;
    }
    let slurm = Slurm::start();
    let world = started(both(&slurm));
    let alice = Some(&world.alice);
    let long = "x'\n#PBS -N bad\n#SBATCH --array=1-9\n".repeat(3500);
    let odd = [
        "$(id)",
        "`id`",
        "a b",
        "'",
        "\"",
        "\\",
        "-n",
        "*",
        "%s",
        "\n",
        "ü€𝄞",
        ";",
        "&",
        "",
        &long,
    ];
    let mut argv =
        vec!["/usr/bin/python3", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))"];
    argv.extend(odd);
    let sessions = WAYS.map(|way| submit(&world, alice, way, 60, &argv));
    for session in sessions {
        ends(&world, alice, &session, "done");
        let (_, output) = world.file(&session, "stdout");
        let told: Vec<String> = serde_json::from_str(&output).unwrap();
        assert!(told == odd, "they differ");
    }
    assert_eq!(slurm.jobs().len(), 2);
}

/// A World is laid out for a Slurm that is not there yet.
#[test]
fn a_server_starts_without_its_slurm_and_takes_jobs_when_that_is_there() {
    if cannot() {
        return;
    }
    let mut slurm = Slurm::builder().line("MessageTimeout=2").start();
    slurm.stop_controller();
    let mut world = laid_out(both(&slurm));
    world.start_server();
    let alice = Some(&world.alice);
    let here = submit(&world, alice, "local", 5, &["/bin/true"]);
    ends(&world, alice, &here, "done");
    let fault = ask(&world, alice, "slurm", 5, &["/bin/true"]).unwrap_err();
    assert_eq!(fault.code.number(), 503, "{fault}");
    slurm.start_controller();
    let session = submit(&world, alice, "slurm", 5, &["/bin/sh", "-c", &once("")]);
    ends(&world, alice, &session, "done");
    began_once(&world, &session);
}

#[test]
fn batch_systems_are_told_apart_by_their_own_words() {
    if cannot() {
        return;
    }
    let slurm = Slurm::start();
    let pbs = StandInPbs::start();
    let auto = |keys: Vec<String>| {
        polled(keys.into_iter().filter(|line| !line.starts_with("dialect")).collect())
    };
    let world = started(
        World::builder()
            .batch("slurm", &auto(slurm.keys()))
            .batch("wrapped", &auto(slurm.torque_keys()))
            .batch("pbs", &auto(pbs.keys())),
    );
    let alice = Some(&world.alice);
    let sessions = ["slurm", "wrapped", "pbs"].map(|batch| {
        let argv = ["/bin/sh", "-c", &once("exit 9")];
        (batch, submit(&world, alice, batch, 60, &argv))
    });
    for (batch, session) in &sessions {
        let status = ended(&world, alice, session);
        assert_eq!(status.get("exit_code"), Some(&Value::Int(9)), "{batch}: {status:?}");
        began_once(&world, session);
    }
    assert_eq!((slurm.jobs().len(), pbs.jobs().len()), (2, 1));
}
