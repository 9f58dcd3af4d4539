//! Processes die; jobs do not, and their state is right.

use std::collections::BTreeMap;
use std::fs;

use nesssi_testkit::{Value, World, is_root, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// `comm` and parent of every process, by pid.
fn processes() -> BTreeMap<i32, (String, i32)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let name = head.split_once('(').map_or("", |(_, name)| name).to_owned();
        let mut fields = tail.split(' ');
        let zombie = fields.next() == Some("Z");
        let parent = fields.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        if !zombie {
            all.insert(pid, (name, parent));
        }
    }
    all
}

/// All processes below `root` (itself included) whose name begins with `name`.
pub(crate) fn below(root: u32, name: &str) -> Vec<i32> {
    let all = processes();
    let root = root.cast_signed();
    let is_below = |mut pid: i32| {
        for _ in 0..64 {
            if pid == root {
                return true;
            }
            match all.get(&pid) {
                Some((_, parent)) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    all.iter()
        .filter(|(pid, (comm, _))| comm.starts_with(name) && is_below(**pid))
        .map(|(pid, _)| *pid)
        .collect()
}

pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).ok();
}

/// comm holds 15 bytes.
const SHEPHERD: &str = "nesssi-shepherd";
pub(crate) const GATEKEEPER: &str = "nesssi-gatekeep";
pub(crate) const JOBMANAGER: &str = "nesssi-jobmanag";

const RUN: &str = "from nesssi import run_job\n\
    def run(req, method_name, args):\n    return run_job(req, method_name, [args[0]], [str(a) for a in args[1:]])\n\
    methods_list = {'run': run}\n";

fn world() -> World {
    let mut world = World::builder().build();
    world.service("t", RUN, None);
    world.start_server();
    world
}

fn sleeper(world: &World, seconds: &str, mark: &str) -> String {
    let script = format!("echo begun >> begun; sleep {seconds}; echo {mark} > ended");
    let words = ["/bin/sh", "-c", &script];
    let mut params = vec![Value::Int(5)];
    params.extend(words.map(Value::from));
    let session = world.session(Some(&world.alice), "t.run", params);
    wait_until("the job runs", 20, || (world.file(&session, "begun").0 == 200).then_some(()));
    session
}

#[test]
fn jobs_outlive_the_death_of_every_other_process_and_their_state_is_right_after_a_restart() {
    let mut world = world();
    let long = sleeper(&world, "12", "long");
    let short = sleeper(&world, "1", "short");
    let monitor = world.server().pid();
    let mut victims = below(monitor, GATEKEEPER);
    victims.extend(below(monitor, JOBMANAGER));
    assert!(victims.len() >= 2, "{victims:?}");
    kill(monitor.cast_signed());
    for pid in victims {
        kill(pid);
    }
    wait_until("the monitor is gone", 10, || world.server().ended());
    world.server = None;
    let sandbox =
        |session: &str| world.path().join("sandboxes").join(&world.accounts.strong).join(session);
    wait_until("the short job ends without a server", 20, || {
        fs::read_to_string(sandbox(&short).join("ended")).ok()
    });
    world.start_server();
    assert_eq!(world.state(Some(&world.alice), &long), "running");
    assert_eq!(world.ended(Some(&world.alice), &short)["state"], Value::from("done"));
    assert_eq!(world.ended(Some(&world.alice), &long)["state"], Value::from("done"));
    for session in [&short, &long] {
        assert_eq!(world.file(session, "begun").1, "begun\n", "started once");
    }
}

#[test]
fn a_killed_shepherd_means_that_its_tree_is_ended_and_the_job_is_lost() {
    let mut world = world();
    let mark = format!("nesssi-lost-{}", std::process::id());
    let code = format!(
        "import os, time\nif os.fork() == 0: os.setsid()\nopen('begun', 'w').close()\ntime.sleep(300) # {mark}"
    );
    let params = vec![Value::Int(5), "/usr/bin/python3".into(), "-c".into(), code.into()];
    let session = world.session(Some(&world.alice), "t.run", params);
    wait_until("the job runs", 20, || (world.file(&session, "begun").0 == 200).then_some(()));
    let shepherds = below(world.server().pid(), SHEPHERD);
    assert_eq!(shepherds.len(), 1, "{:?}", processes());
    kill(shepherds[0]);
    let status = world.ended(Some(&world.alice), &session);
    assert_eq!(status["state"], Value::from("lost"), "{status:?}");
    wait_until("nothing is left of the tree", 10, || {
        let left = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let text = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(&mark)
        });
        (!left).then_some(())
    });
}

#[test]
fn a_gatekeeper_or_jobmanager_that_dies_is_replaced() {
    let mut world = world();
    let session = sleeper(&world, "3", "x");
    for name in [GATEKEEPER, JOBMANAGER] {
        let monitor = world.server().pid();
        let before = below(monitor, name);
        assert!(!before.is_empty(), "{name}");
        for pid in &before {
            kill(*pid);
        }
        wait_until("calls are answered again", 30, || {
            let params = vec![Value::Int(1), "/bin/true".into()];
            let client = world.client(Some(&world.alice));
            let runtime =
                nesssi_testkit::tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(client.call("t.run", params)).ok()
        });
    }
    assert_eq!(world.ended(Some(&world.alice), &session)["state"], Value::from("done"));
    assert_eq!(world.file(&session, "begun").1, "begun\n");
}

#[test]
fn sigterm_lets_a_running_call_finish_and_jobs_go_on() {
    let mut world = World::builder().build();
    world.service("t", RUN, None);
    let slow = "import time\ndef f(req, method_name, args):\n    time.sleep(2)\n    return 'finished'\nmethods_list = {'f': f}\n";
    world.service("slow", slow, None);
    world.start_server();
    let session = sleeper(&world, "4", "x");
    std::thread::scope(|scope| {
        let client = world.client(None);
        let running = scope.spawn(move || {
            let runtime =
                nesssi_testkit::tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(client.call("slow.f", vec![]))
        });
        std::thread::sleep(std::time::Duration::from_millis(700));
        let status = world.server.as_mut().unwrap().stop();
        assert!(status.success(), "{status}");
        assert_eq!(running.join().unwrap().unwrap(), Value::from("finished"));
    });
    world.server = None;
    let sandbox = world.path().join("sandboxes").join(&world.accounts.strong).join(&session);
    wait_until("the job goes on and ends", 20, || fs::read_to_string(sandbox.join("ended")).ok());
    world.start_server();
    assert_eq!(world.ended(Some(&world.alice), &session)["state"], Value::from("done"));
}

#[test]
fn processes_run_as_who_they_should_with_empty_environments_and_no_foreign_descriptors() {
    let mut world = world();
    let session = sleeper(&world, "5", "x");
    let monitor = world.server().pid();
    let uid = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap().to_owned();
        line.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect::<Vec<u32>>()
    };
    let id = |name: &str| -> u32 {
        let out = std::process::Command::new("/usr/bin/id").args(["-u", name]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse().unwrap()
    };
    let gatekeeper = below(monitor, GATEKEEPER)[0];
    assert_eq!(uid(gatekeeper), [id(&world.accounts.gatekeeper); 4]);
    let shepherd = below(monitor, SHEPHERD)[0];
    assert_eq!(uid(shepherd), [id(&world.accounts.strong); 4]);
    if is_root() {
        let status = fs::read_to_string(format!("/proc/{gatekeeper}/status")).unwrap();
        for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000"] {
            assert!(status.contains(line), "{status}");
        }
    }
    for pid in below(monitor, "").into_iter().filter(|pid| *pid != monitor.cast_signed()) {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        for word in ["CARGO", "RUST_BACKTRACE", "SUDO", "SSH_"] {
            assert!(!environment.contains(word), "{word} leaks to {pid}: {environment}");
        }
    }
    // The job itself: three standard descriptors and nothing else.
    let child =
        processes().iter().find(|(_, (_, parent))| *parent == shepherd).map(|(pid, _)| *pid);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", child.unwrap())).unwrap();
    let mut names: Vec<String> =
        descriptors.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    // /bin/sh may hold its script's copy at 10; ours are 0, 1 and 2.
    names.retain(|name| name != "10");
    assert_eq!(names, ["0", "1", "2"]);
    let _ = world.ended(Some(&world.alice), &session);
}
