//! `nesssi backup` while the server runs, `nesssi restore` while it does not, and what a server makes of it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Output};

use nesssi_testkit::{Value, World, wait_until};

fn nesssi(world: &World, verb: &str, file: &std::path::Path) -> Output {
    let mut command = Command::new(world.program("nesssi"));
    command.arg(verb).arg("--config").arg(&world.config).arg(file).output().unwrap()
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

fn submit(world: &World, words: &[&str]) -> String {
    let argv = Value::Array(words.iter().map(|word| Value::from(*word)).collect());
    world.session(Some(&world.alice), "job.submit", vec![argv, Value::Int(5)])
}

#[test]
fn a_backup_is_made_while_the_server_runs_and_restored_starts_nothing_twice() {
    let mut world = World::builder().key("job", "submit_levels = [\"strong\"]").start();
    let alice = world.alice.clone();
    let starts = world.path().join("starts");
    fs::create_dir(&starts).unwrap();
    fs::set_permissions(&starts, fs::Permissions::from_mode(0o777)).unwrap();
    let mark = format!("{}/XXXXXXXX", starts.display());
    let before = submit(&world, &["/bin/mktemp", &mark]);
    assert_eq!(world.ended(Some(&alice), &before)["state"], Value::from("done"));
    // In the backup it runs; it ends before the restore.
    let script = format!("mktemp {mark}; sleep 2; echo over > over");
    let between = submit(&world, &["/bin/sh", "-c", &script]);
    world.wait_state(Some(&alice), &between, "running");

    let file = world.path().join("backup");
    let made = nesssi(&world, "backup", &file);
    let told = text(&made);
    assert!(
        made.status.success() && told.contains("2 sessions, 1 jobs that had not ended"),
        "{told}"
    );
    let key = world.path().join("backup.key");
    for file in [&file, &key] {
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o777, 0o600, "{}", file.display());
    }
    let again = nesssi(&world, "backup", &file);
    assert!(!again.status.success(), "nothing is overwritten: {}", text(&again));
    let running = nesssi(&world, "restore", &file);
    assert!(
        !running.status.success() && text(&running).contains("a server runs"),
        "{}",
        text(&running)
    );

    assert_eq!(world.ended(Some(&alice), &between)["state"], Value::from("done"));
    let since = submit(&world, &["/bin/sleep", "1000"]);
    world.wait_state(Some(&alice), &since, "running");
    world.stop_server();
    let journal = world.path().join("state/gatekeeper/journal.sqlite");
    let owner = fs::metadata(&journal).unwrap().uid();
    let restored = nesssi(&world, "restore", &file);
    let told = text(&restored);
    assert!(restored.status.success(), "{told}");
    assert!(told.contains(&format!("not in the backup: session {} of", &since[..8])), "{told}");
    assert!(told.contains("with a job that had not ended") && !told.contains(&since), "{told}");
    let facts = fs::metadata(&journal).unwrap();
    assert_eq!((facts.uid(), facts.mode() & 0o777), (owner, 0o600));

    world.start_server();
    for session in [&before, &between] {
        assert_eq!(world.ended(Some(&alice), session)["state"], Value::from("done"));
        assert_eq!(world.file(session, "stdout").0, 200, "its seal holds");
    }
    let unknown = world.call(Some(&alice), "job.status", vec![since.as_str().into()]);
    assert_eq!(unknown.unwrap_err().code.number(), 404);
    assert_eq!(fs::read_dir(&starts).unwrap().count(), 2, "each was started once");

    // A journal that was cut off: the server does not begin anew with less, and says what to do.
    world.stop_server();
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() / 2]).unwrap();
    let cut = world.path().join("cut");
    let refused = nesssi(&world, "backup", &cut);
    assert!(!refused.status.success() && text(&refused).contains("damaged"), "{}", text(&refused));
    assert!(!cut.exists());
    let restored = nesssi(&world, "restore", &file);
    assert!(restored.status.success(), "{}", text(&restored));
    world.start_server();
    assert_eq!(world.ended(Some(&alice), &before)["state"], Value::from("done"));
    wait_until("the job that nobody knows is ended", 20, || {
        let left = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let cwd = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            line.starts_with(b"/bin/sleep\x001000") && cwd.ends_with(&since)
        });
        (!left || !nesssi_testkit::is_root()).then_some(())
    });
    world.stop_server();
}

/// Jobs in the journal of a start, for the gate; `bench/run --only restart` has the figures for ten times
/// as many.
const JOBS: &str = "10000";
const OPEN: usize = 100;

#[test]
fn a_start_with_many_jobs_answers_of_each_and_keeps_little_in_memory() {
    let mut world = World::builder().key("job", "submit_levels = [\"strong\"]").start();
    let alice = world.alice.clone();
    let pattern = submit(&world, &["/bin/true"]);
    assert_eq!(world.ended(Some(&alice), &pattern)["state"], Value::from("done"));
    let resident = |world: &World| {
        let monitor = world.server.as_ref().unwrap().pid();
        let pid = crate::survival::below(monitor, crate::survival::GATEKEEPER)[0];
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let few = resident(&world);
    world.stop_server();
    let filled = Command::new(nesssi_testkit::repository().join("bench/fill_journal.py"))
        .arg(world.path().join("state/gatekeeper/journal.sqlite"))
        .args([JOBS, &OPEN.to_string()])
        .output()
        .unwrap();
    assert!(filled.status.success(), "{}", text(&filled));
    let sessions = text(&filled);
    let [first, last, open] = sessions.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{sessions}")
    };
    world.start_server();
    for session in [first, last] {
        assert_eq!(world.state(Some(&alice), session), "done");
    }
    let status = world.status(Some(&alice), open);
    let as_of = status["as_of"].as_str().unwrap();
    assert!(
        status["state"] == "queued".into() && !as_of.ends_with('Z'),
        "not confirmed: {status:?}"
    );
    let listed = world.call(Some(&alice), "job.list", vec![]).unwrap();
    assert!(matches!(listed, Value::Array(jobs) if jobs.len() == 10_000), "the newest");
    let many = resident(&world);
    eprintln!("resident: {few} KiB without, {many} KiB with {JOBS} jobs");
    // Its answer of ten thousand jobs included.
    assert!(many < 150 * 1024, "{many} KiB");
    world.stop_server();
}
