//! What the tests of batch systems share.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nesssi_testkit::{Credential, Fault, Value, World, WorldBuilder, wait_until};

/// A service of the test's own: `run(batch, seconds, argv...)` starts exactly that on that batch system.
const SERVICE: &str = "from nesssi import run_job\n\
    def run(req, method_name, args):\n\
    \x20   argv = [str(a) for a in args[2:]]\n\
    \x20   return run_job(req, method_name, [args[1]], argv, batch=args[0])\n\
    methods_list = {'run': run}\n";

/// Most jobs of a test wait for nothing; some wait for a poll, an end that is asked for, a restart.
const SECONDS_MAX: u64 = 90;

/// A batch system that is polled as often as may be, so that tests are short.
pub(crate) fn polled(mut keys: Vec<String>) -> Vec<String> {
    keys.push("poll_seconds_min = 1".to_owned());
    keys.push("poll_seconds_max = 2".to_owned());
    keys
}

/// The World with the service, and its server started.
pub(crate) fn started(builder: WorldBuilder) -> World {
    let mut world = laid_out(builder);
    world.start_server();
    world
}

/// The same without its server.
pub(crate) fn laid_out(builder: WorldBuilder) -> World {
    let world = builder.with_shipped_services().build();
    world.service("b", SERVICE, None);
    world
}

/// Asks for a job.
pub(crate) fn ask(
    world: &World,
    who: Option<&Credential>,
    batch: &str,
    seconds: i64,
    argv: &[&str],
) -> Result<String, Fault> {
    let mut params = vec![Value::from(batch), Value::Int(seconds)];
    params.extend(argv.iter().map(|word| Value::from(*word)));
    let answer = world.call(who, "b.run", params)?;
    Ok(answer.as_str().expect("a session id is text").to_owned())
}

/// Submits a job, which must be taken.
pub(crate) fn submit(
    world: &World,
    who: Option<&Credential>,
    batch: &str,
    seconds: i64,
    argv: &[&str],
) -> String {
    ask(world, who, batch, seconds, argv)
        .unwrap_or_else(|fault| panic!("{:.200}: {fault}", argv.join(" ")))
}

/// Shell text that says that it has begun, each time, and then does something.
pub(crate) fn once(then: &str) -> String {
    format!("echo begun >> begun; {then}")
}

/// Waits until the job has ended; its last status.
pub(crate) fn ended(
    world: &World,
    who: Option<&Credential>,
    session: &str,
) -> BTreeMap<String, Value> {
    wait_until(&format!("{session} ends"), SECONDS_MAX, || {
        let status = world.status(who, session);
        let state = text(&status, "state");
        (!["prepared", "queued", "running"].contains(&state.as_str())).then_some(status)
    })
}

/// Waits until the job has ended, as it should.
pub(crate) fn ends(world: &World, who: Option<&Credential>, session: &str, state: &str) {
    let status = ended(world, who, session);
    assert_eq!(text(&status, "state"), state, "{status:?}");
}

/// A member of a status, as text; empty where there is none.
pub(crate) fn text(status: &BTreeMap<String, Value>, member: &str) -> String {
    match status.get(member) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// Waits until the job's own script has begun.
pub(crate) fn begun(world: &World, session: &str) {
    wait_until(&format!("{session} begins"), SECONDS_MAX, || {
        (world.file(session, "begun").0 == 200).then_some(())
    });
}

/// The job has begun once, and no more.
pub(crate) fn began_once(world: &World, session: &str) {
    assert_eq!(world.file(session, "begun"), (200, "begun\n".to_owned()), "{session}");
}

/// Waits until the comment of the job says something.
pub(crate) fn says(world: &World, who: Option<&Credential>, session: &str, words: &str) {
    let mut last = String::new();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while std::time::Instant::now() < end {
        last = text(&world.status(who, session), "comment");
        if last.contains(words) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{session} does not say {words:?}: {last:?}");
}

/// Asks for a job's end: the words of the answer.
pub(crate) fn cancel(world: &World, who: Option<&Credential>, session: &str) -> String {
    let answer = world.call(who, "job.cancel", vec![session.into()]).unwrap();
    answer.as_str().expect("a cancel is answered by words").to_owned()
}

/// Processes that have `word` in their arguments.
pub(crate) fn processes_with(word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&text).contains(word) {
            found.push(entry.path());
        }
    }
    found
}

/// A program that ignores TERM, leaves its session, and forks twice: what is hardest to end.
pub(crate) fn stubborn(word: &str) -> String {
    format!(
        "import os, time, signal\n\
         signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    time.sleep(300)\n  os._exit(0)\n\
         open('begun', 'w').close()\ntime.sleep(300) # {word}"
    )
}
