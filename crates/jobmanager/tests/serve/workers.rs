//! Service workers: their socket, their log, their end.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use nesssi_privsep::messages::{ChannelKind, FromJobmanager, ToJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_session::SessionId;

use crate::leaf::Leaf;
use crate::world::{Ask, Jobmanager, Peer, World, lives, wait_for};

const ECHO: &str = r#"
import os, socket, subprocess, sys
s = socket.socket(fileno=3)
f = s.makefile("rw", buffering=1, newline="\n")
print("to the log", flush=True)
print("and this", file=sys.stderr, flush=True)
for line in f:
    if line == "fds\n":
        f.write(" ".join(sorted(n for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n))) + "\n")
    elif line == "fork\n":
        p = subprocess.Popen(["/bin/sh", "-c", "(setsid sh -c 'echo $$; exec sleep 1000' &)"], stdout=subprocess.PIPE)
        f.write(p.stdout.readline().decode())
    elif line == "give\n":
        try:
            socket.send_fds(s, [b"given\n"], [1])
        except OSError as error:
            f.write("refused\n")
    elif line.startswith("exit "):
        os._exit(int(line[5:]))
    else:
        f.write("echo " + line)
"#;

struct Worker {
    pid: i32,
    socket: BufReader<UnixStream>,
}

impl Worker {
    fn say(&mut self, line: &str) -> String {
        writeln!(self.socket.get_mut(), "{line}").unwrap();
        let mut answer = String::new();
        self.socket.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

fn request(number: u64, has_log: bool) -> ToJobmanager {
    ToJobmanager::StartWorker {
        worker: number,
        argv: ["/usr/bin/env", "python3", "-c", ECHO].map(str::to_owned).to_vec(),
        environment: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        directory: "/usr".into(),
        has_log,
        has_modules: false,
    }
}

fn start(peer: &Peer, number: u64) -> Worker {
    let mut answer = peer.ask_with(&request(number, false), &[]);
    let FromJobmanager::WorkerStarted { pid } = answer.message else { panic!("{answer:?}") };
    let socket = BufReader::new(UnixStream::from(answer.descriptors.remove(0)));
    Worker { pid: pid.cast_signed(), socket }
}

fn world() -> (World, Jobmanager) {
    let world = World::new();
    let jobmanager = world.start();
    (world, jobmanager)
}

#[test]
fn a_worker_speaks_on_its_socket_and_into_its_log() {
    let (world, jobmanager) = world();
    let peer = jobmanager.starter();
    let path = world.root.path().join("log");
    let log = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let mut answer = peer.ask_with(&request(7, true), &[log.as_fd()]);
    let FromJobmanager::WorkerStarted { pid } = answer.message else { panic!("{answer:?}") };
    let socket = BufReader::new(UnixStream::from(answer.descriptors.remove(0)));
    let mut worker = Worker { pid: pid.cast_signed(), socket };
    assert_eq!(worker.say("hello"), "echo hello");
    assert_eq!(worker.say("fds"), "0 1 2 3", "no other descriptor");
    assert_eq!(fs::read_to_string(&path).unwrap(), "to the log\nand this\n");
    let directory = fs::read_link(format!("/proc/{}/cwd", worker.pid)).unwrap();
    assert_eq!(directory.to_str().unwrap(), "/usr");
    let limits = fs::read_to_string(format!("/proc/{}/limits", worker.pid)).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"));
    writeln!(worker.socket.get_mut(), "exit 7").unwrap();
    let ended = peer.wait(|received| received.id == 0);
    assert_eq!(ended.message, FromJobmanager::WorkerEnded { worker: 7, status: 7 });
}

#[test]
fn a_killed_worker_takes_its_descendants_along() {
    let (_world, jobmanager) = world();
    let peer = jobmanager.starter();
    let mut worker = start(&peer, 1);
    let left: i32 = worker.say("fork").parse().unwrap();
    assert!(lives(left));
    let answer = peer.ask(&ToJobmanager::KillWorker { worker: 1 });
    assert_eq!(answer, FromJobmanager::WorkerEnded { worker: 1, status: 128 + 9 });
    assert!(!lives(left) && !lives(worker.pid));
    let again = peer.ask(&ToJobmanager::KillWorker { worker: 1 });
    assert!(matches!(again, FromJobmanager::Failed { .. }));
}

#[test]
fn a_worker_that_exits_leaves_nothing_behind() {
    let (_world, jobmanager) = world();
    let peer = jobmanager.starter();
    let mut worker = start(&peer, 1);
    let left: i32 = worker.say("fork").parse().unwrap();
    writeln!(worker.socket.get_mut(), "exit 0").unwrap();
    let ended = peer.wait(|received| received.id == 0);
    assert_eq!(ended.message, FromJobmanager::WorkerEnded { worker: 1, status: 0 });
    assert!(!lives(left));
}

#[test]
fn a_worker_in_a_leaf_is_killed_whole() {
    let Some(leaf) = Leaf::new() else { return };
    let (_world, jobmanager) = world();
    let peer = jobmanager.starter();
    let mut answer = peer.ask_with(&request(1, false), &leaf.descriptors());
    let FromJobmanager::WorkerStarted { pid } = answer.message else { panic!("{answer:?}") };
    let socket = BufReader::new(UnixStream::from(answer.descriptors.remove(0)));
    let mut worker = Worker { pid: pid.cast_signed(), socket };
    worker.say("fork");
    wait_for("the worker and what it has forked", || {
        let pids = leaf.pids();
        (pids.contains(&worker.pid) && pids.len() == 2).then_some(())
    });
    let answer = peer.ask(&ToJobmanager::KillWorker { worker: 1 });
    assert_eq!(answer, FromJobmanager::WorkerEnded { worker: 1, status: 128 + 9 });
    assert!(leaf.pids().is_empty());
}

#[test]
fn workers_end_with_their_channel_and_with_their_jobmanager() {
    let (_world, jobmanager) = world();
    let (one, other) = (jobmanager.starter(), jobmanager.starter());
    let first = start(&one, 1);
    let mut second = start(&other, 1);
    drop(one);
    wait_for("the first worker's end", || (!lives(first.pid)).then_some(()));
    assert_eq!(second.say("still"), "echo still");
    jobmanager.kill();
    wait_for("the second worker's end", || (!lives(second.pid)).then_some(()));
}

#[test]
fn what_cannot_be_started_is_told() {
    let (_world, jobmanager) = world();
    let peer = jobmanager.starter();
    let with = |argv: &[&str], directory: &str| ToJobmanager::StartWorker {
        worker: 1,
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        environment: Vec::new(),
        directory: directory.into(),
        has_log: false,
        has_modules: false,
    };
    for request in [with(&["/no/such"], "/"), with(&["/bin/true"], "/no/such"), with(&[], "/")] {
        assert!(matches!(peer.ask(&request), FromJobmanager::Failed { .. }), "{request:?}");
    }
    // The number is free still.
    start(&peer, 1);
    assert!(matches!(peer.ask(&request(1, false)), FromJobmanager::Failed { .. }));
}

/// A descriptor is closed by its reader: a socket that lingers would make the gatekeeper wait.
#[test]
fn a_worker_cannot_send_descriptors() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    if !nesssi_privsep::channel::refuse_descriptors(&ours).unwrap() {
        println!("SKIPPED: needs SO_PASSRIGHTS (Linux 6.16)");
        return;
    }
    let (_world, jobmanager) = world();
    let peer = jobmanager.starter();
    let mut worker = start(&peer, 1);
    assert_eq!(worker.say("give"), "refused");
    assert_eq!(worker.say("hello"), "echo hello");
}

#[test]
fn a_channel_that_was_taken_back_starts_nothing_until_its_gatekeeper_has_another() {
    let (world, jobmanager) = world();
    let (old, others) = (jobmanager.starter(), jobmanager.peer_of(ChannelKind::Start {}, 2));
    let mut worker = start(&old, 1);
    let session = SessionId::random();
    let prepare =
        ToJobmanager::Prepare { session: session.reveal().to_owned(), umask_default: 0o077 };
    assert!(matches!(old.ask(&prepare), FromJobmanager::Prepared { .. }));
    jobmanager.demote();
    for peer in [&old, &others] {
        for request in [&prepare, &Ask::sh("true").message(&session), &request(2, false)] {
            assert_eq!(peer.ask(request), FromJobmanager::Stale {}, "{request:?}");
        }
    }
    // What it has begun goes on, can be looked at and be ended.
    assert_eq!(worker.say("hello"), "echo hello");
    let list = ToJobmanager::List {
        session: session.reveal().to_owned(),
        path: Blob::default(),
        entries_max: 9,
    };
    assert!(matches!(old.ask(&list), FromJobmanager::Listing { .. }));
    assert!(!world.path(&session).join("guard").exists());
    assert!(matches!(
        old.ask(&ToJobmanager::KillWorker { worker: 1 }),
        FromJobmanager::WorkerEnded { .. }
    ));

    // A channel to tend renews nothing; one to start renews its own gatekeeper's, and nobody else's.
    let _tender = jobmanager.peer_of(ChannelKind::Tend {}, 1);
    assert_eq!(old.ask(&request(2, false)), FromJobmanager::Stale {});
    let new = jobmanager.peer_of(ChannelKind::Start {}, 1);
    start(&old, 3);
    start(&new, 3);
    assert_eq!(others.ask(&request(2, false)), FromJobmanager::Stale {});
}
