//! Limits that hold, cancels that are confirmed, a queue that is bounded.

use std::fs;
use std::path::PathBuf;

use nesssi_testkit::{Value, World, wait_until};

/// A service of the test's own whose `run(seconds, argv...)` starts exactly that.
const RUN: &str = "from nesssi import run_job, get_session_info\n\
    def run(req, method_name, args):\n    return run_job(req, method_name, [args[0]], [str(a) for a in args[1:]])\n\
    def again(req, method_name, args):\n    return run_job(req, method_name, [args[0], args[1]], ['/bin/true'])\n\
    def prepare(req, method_name, args):\n    return get_session_info(req, method_name, args[0])\n\
    methods_list = {'run': run, 'again': again, 'prepare': prepare}\n";

fn argv(seconds: i64, words: &[&str]) -> Vec<Value> {
    let mut params = vec![Value::Int(seconds)];
    params.extend(words.iter().map(|word| Value::from(*word)));
    params
}

fn with_run(world: nesssi_testkit::WorldBuilder) -> World {
    let mut world = world.build();
    world.service("t", RUN, None);
    world.start_server();
    world
}

fn double(value: &Value) -> f64 {
    match value {
        Value::Double(number) => *number,
        Value::Int(number) => *number as f64,
        other => panic!("no number: {other:?}"),
    }
}

/// Processes that have `word` in their arguments.
fn processes_with(word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&text).contains(word) {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_job_that_burns_beyond_what_it_asked_is_stopped_with_its_figures() {
    let world = with_run(World::builder());
    // Two burners that share one limit: it is the tree's CPU that counts.
    let code = "import os\nif os.fork() == 0: os.setsid()\nwhile True: pass";
    let session = world.session(None, "t.run", argv(2, &["/usr/bin/python3", "-c", code]));
    let status = world.ended(None, &session);
    assert_eq!(status["state"], Value::from("over_limit"), "{status:?}");
    let used = double(&status["cpu_seconds"]);
    assert!((2.0..4.0).contains(&used), "used {used} of 2");
    assert_eq!(double(&status["cpu_limit"]), 2.0);
}

#[test]
fn sleeping_is_not_burning_and_the_wall_limit_is_its_own() {
    let world = with_run(World::builder().level("anonymous", "wall_seconds = 4"));
    let short = world.session(None, "t.run", argv(1, &["/bin/sleep", "2"]));
    let long = world.session(None, "t.run", argv(1, &["/bin/sleep", "30"]));
    assert_eq!(world.ended(None, &short)["state"], Value::from("done"));
    let status = world.ended(None, &long);
    assert_eq!(status["state"], Value::from("over_limit"), "{status:?}");
    assert!(double(&status["cpu_seconds"]) < 1.0);
    let reason = status["reason"].as_str().unwrap_or("").to_owned();
    assert!(reason.contains("wall"), "{reason}");
}

#[test]
fn exit_codes_and_signals_are_told() {
    let world = with_run(World::builder());
    let seven = world.session(None, "t.run", argv(1, &["/bin/sh", "-c", "echo out; exit 7"]));
    let status = world.ended(None, &seven);
    assert_eq!((&status["state"], &status["exit_code"]), (&Value::from("failed"), &Value::Int(7)));
    let absent = world.session(None, "t.run", argv(1, &["/no/such/program"]));
    let status = world.ended(None, &absent);
    assert_eq!(status["state"], Value::from("failed"), "{status:?}");
}

#[test]
fn cancel_is_confirmed_gone_including_a_grandchild_that_called_setsid() {
    let world = with_run(World::builder());
    let word = format!("nesssi-grandchild-{}", std::process::id());
    let code = format!(
        "import os, sys, time, signal\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    time.sleep(300)\n  os._exit(0)\n\
         open('ready', 'w').close()\ntime.sleep(300) # {word}"
    );
    let session = world.session(None, "t.run", argv(1, &["/usr/bin/python3", "-c", &code]));
    wait_until("the job has forked", 20, || (world.file(&session, "ready").0 == 200).then_some(()));
    wait_until("its grandchild", 20, || (processes_with(&word).len() >= 2).then_some(()));
    let answer = world.call(None, "job.cancel", vec![session.as_str().into()]).unwrap();
    assert_eq!(answer, Value::from("cancelled"));
    assert_eq!(
        processes_with(&word),
        Vec::<PathBuf>::new(),
        "cancelled means that no process is left"
    );
    assert_eq!(world.state(None, &session), "cancelled");
}

#[test]
fn slots_are_machine_wide_the_rest_queues_and_a_queued_job_can_be_cancelled() {
    let world = with_run(World::builder().key("batch.local", "slots = 1"));
    let first = world.session(Some(&world.alice), "t.run", argv(5, &["/bin/sleep", "60"]));
    world.wait_state(Some(&world.alice), &first, "running");
    let second = world.session(None, "t.run", argv(5, &["/bin/true"]));
    let third = world.session(Some(&world.wendy), "t.run", argv(5, &["/bin/true"]));
    assert_eq!(world.state(None, &second), "queued");
    let cancelled = world.call(None, "job.cancel", vec![second.as_str().into()]).unwrap();
    assert_eq!(cancelled, Value::from("cancelled"));
    assert_eq!(world.state(None, &second), "cancelled");
    assert_eq!(world.state(None, &third), "queued");
    world.call(Some(&world.alice), "job.cancel", vec![first.into()]).unwrap();
    assert_eq!(world.ended(Some(&world.wendy), &third)["state"], Value::from("done"));
}

#[test]
fn jobs_at_once_and_the_queue_are_bounded() {
    let world = with_run(World::builder().level("weak", "jobs_at_once = 2"));
    let start = || world.call(Some(&world.wendy), "t.run", argv(1, &["/bin/sleep", "60"]));
    let (one, _two) = (start().unwrap(), start().unwrap());
    assert_eq!(start().unwrap_err().code.number(), 429);
    world.call(Some(&world.wendy), "job.cancel", vec![one]).unwrap();
    start().unwrap();
}

#[test]
fn a_session_holds_one_job_and_belongs_to_its_caller() {
    let world = with_run(World::builder());
    let made = world.call(Some(&world.alice), "t.prepare", vec![Value::Int(1)]).unwrap();
    let Value::Array(pair) = made else { panic!("{made:?}") };
    let id = pair[0].as_str().unwrap().to_owned();
    assert!(pair[1].as_str().unwrap().ends_with(&id), "{pair:?}");
    let params = || vec![Value::Int(1), id.as_str().into()];
    let stolen = world.call(Some(&world.wendy), "t.again", params()).unwrap_err();
    assert_eq!(stolen.code.number(), 404);
    let same = world.call(Some(&world.alice), "t.again", params()).unwrap();
    assert_eq!(same, Value::from(id.as_str()));
    let twice = world.call(Some(&world.alice), "t.again", params()).unwrap_err();
    assert_eq!(twice.code.number(), 409);
    assert_eq!(world.ended(Some(&world.alice), &id)["state"], Value::from("done"));
}

#[test]
fn sandboxes_expire_by_level() {
    let world = with_run(World::builder().level("anonymous", "retention_seconds = 3"));
    let session = world.session(None, "t.run", argv(1, &["/bin/mkdir", "-p", "a/b/c"]));
    let path = world.path().join("sandboxes").join(&world.accounts.anonymous).join(&session);
    assert_eq!(world.ended(None, &session)["state"], Value::from("done"));
    assert!(path.exists());
    wait_until("the sandbox is removed", 30, || (!path.exists()).then_some(()));
    assert_eq!(world.file(&session, "").0, 404);
}

#[test]
fn arguments_of_odd_characters_arrive_as_they_were_given() {
    let world = with_run(World::builder());
    let odd = ["$(id)", "`id`", "a b", "'", "\"", "\\", "-n", "*", "%s", "\n", "ü€𝄞", ";", "&", ""];
    let mut words = vec!["/usr/bin/python3", "-c", "import sys; print(repr(sys.argv[1:]))"];
    words.extend(odd);
    let session = world.session(None, "t.run", argv(5, &words));
    assert_eq!(world.ended(None, &session)["state"], Value::from("done"));
    let (_, text) = world.file(&session, "stdout");
    let expected = "['$(id)', '`id`', 'a b', \"'\", '\"', '\\\\', '-n', '*', '%s', '\\n', 'ü€𝄞', ';', '&', '']\n";
    assert_eq!(text, expected);
}

#[test]
fn many_jobs_of_three_callers_each_start_once() {
    // The full size is for ./test --long.
    let count = if std::env::var("NESSSI_LONG").is_ok_and(|long| long == "1") { 600 } else { 45 };
    let raise = "jobs_at_once = 1000";
    let world = with_run(
        World::builder()
            .level("strong", raise)
            .level("weak", raise)
            .level("anonymous", raise)
            .key("batch.local", "slots = 8\nqueue_max = 2000"),
    );
    let callers = [Some(&world.alice), Some(&world.wendy), None];
    let sessions: Vec<_> = std::thread::scope(|scope| {
        let world = &world;
        let threads: Vec<_> = callers
            .into_iter()
            .map(|who| {
                scope.spawn(move || {
                    let words = ["/bin/sh", "-c", "echo begun >> begun"];
                    let one = |_| world.session(who, "t.run", argv(5, &words));
                    (0..count / 3).map(one).map(|session| (who, session)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: std::collections::BTreeSet<_> =
        sessions.iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(distinct.len(), count);
    for (who, session) in &sessions {
        assert_eq!(world.ended(*who, session)["state"], Value::from("done"));
        assert_eq!(world.file(session, "begun"), (200, "begun\n".to_owned()));
    }
}
