//! A session id is a capability: nothing that others can see holds it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nesssi_testkit::{Value, World, is_root, skipped};

const RUN: &str = "from nesssi import run_job\n\
    def run(req, method_name, args):\n    return run_job(req, method_name, [5], [str(a) for a in args])\n\
    methods_list = {'run': run}\n";

#[test]
fn no_log_holds_a_whole_session_id() {
    let mut world = World::builder().build();
    world.service("t", RUN, None);
    world.start_server();
    let session = world.session(Some(&world.alice), "t.run", vec!["/bin/true".into()]);
    let _ = world.ended(Some(&world.alice), &session);
    assert_eq!(world.file(&session, "stdout").0, 200);
    assert_eq!(world.file(&session, "absent").0, 404);
    world.stop_server();
    let mut read = 0;
    let mut short = false;
    let mut check = |path: &Path| {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        assert!(!text.contains(&session), "{} holds a session id", path.display());
        read += text.len();
        short |= text.contains(&session[..8]);
    };
    check(&world.path().join("nesssid.log"));
    check(&world.path().join("state/gatekeeper/audit.jsonl"));
    let mut todo = vec![world.path().join("log")];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() { todo.push(entry.path()) } else { check(&entry.path()) }
        }
    }
    assert!(read > 200 && short, "the logs do name the session by its first 8 digits");
}

/// What a shell of another account sees of the machine.
fn seen_as(account: &str, world: &World) -> String {
    let id = |flag: &str| -> u32 {
        let out = Command::new("/usr/bin/id").args([flag, account]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
    };
    let root = world.path().join("sandboxes");
    let script = "ls -lR \"$1\" 2>&1; for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; tr '\\0' '\\n' <$p/environ; \
                  ls -l $p/cwd $p/fd $p/exe; cat $p/comm; cat $p/mountinfo; done 2>&1; ls -lR /sys/fs/cgroup 2>&1 | head -c 2000000";
    let output = Command::new("/bin/sh")
        .args(["-c", script, "look"])
        .arg(root)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .gid(id("-g"))
        .uid(id("-u"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn no_other_account_finds_a_session_id_in_directories_or_processes() {
    if !is_root() {
        return skipped("needs root: without it there is no other account");
    }
    let mut world = World::builder().build();
    world.service("t", RUN, None);
    world.start_server();
    let session =
        world.session(Some(&world.alice), "t.run", vec!["/bin/sleep".into(), "20".into()]);
    world.wait_state(Some(&world.alice), &session, "running");
    let own = seen_as(&world.accounts.strong, &world);
    assert!(own.contains(&session), "the look is broken: the account itself sees its session");
    for account in [&world.accounts.other, &world.accounts.weak, &world.accounts.services] {
        let seen = seen_as(account, &world);
        assert!(seen.len() > 1000, "the look is broken");
        assert!(!seen.contains(&session), "{account} finds the session id");
    }
    world.call(Some(&world.alice), "job.cancel", vec![session.into()]).unwrap();
}

#[test]
fn a_job_of_one_account_cannot_read_another_accounts_sandbox() {
    if !is_root() {
        return skipped("needs root: without it there is no other account");
    }
    let mut world = World::builder().build();
    world.service("t", RUN, None);
    world.start_server();
    let secret =
        world.session(Some(&world.alice), "t.run", vec!["/bin/echo".into(), "secret".into()]);
    let _ = world.ended(Some(&world.alice), &secret);
    let path =
        world.path().join("sandboxes").join(&world.accounts.strong).join(&secret).join("stdout");
    assert_eq!(fs::read_to_string(&path).unwrap(), "secret\n");
    let words: Vec<Value> = vec!["/bin/cat".into(), path.display().to_string().into()];
    let thief = world.session(Some(&world.bob), "t.run", words);
    assert_eq!(world.ended(Some(&world.bob), &thief)["state"], Value::from("failed"));
    assert_eq!(world.file(&thief, "stdout").1, "");
    let files = [
        "state/monitor/seal.key",
        "state/gatekeeper/journal.sqlite",
        "grid/host.key.pem",
        "state/gatekeeper/audit.jsonl",
    ];
    for file in files {
        let file = world.path().join(file);
        assert!(file.exists(), "{}", file.display());
        let words: Vec<Value> = vec!["/bin/cat".into(), file.display().to_string().into()];
        let thief = world.session(Some(&world.bob), "t.run", words);
        let status = world.ended(Some(&world.bob), &thief);
        assert_eq!(status["state"], Value::from("failed"), "{}", file.display());
    }
}
