//! Sandboxes over the channel: who may ask what, what is opened, followed, listed, removed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::time::{Duration, Instant};

use nesssi_jobmanager::permits;
use nesssi_privsep::Command;
use nesssi_privsep::messages::{ChannelKind, FromJobmanager, ToJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_session::SessionId;
use rustix::io::Errno;

use crate::world::{Ask, World, errno, is_root, wait_for};

#[test]
fn check_is_silent() {
    let world = World::new();
    let output = Command::new(world.binary()).arg("--check").to_std().output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    let output = Command::new(world.binary()).arg("--what").to_std().output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn each_kind_of_channel_asks_its_own() {
    let world = World::new();
    let jobmanager = world.start();
    let starter = jobmanager.starter();
    let session = starter.prepare().reveal().to_owned();
    let worker = ToJobmanager::StartWorker {
        worker: 1,
        argv: vec!["/bin/true".into()],
        environment: Vec::new(),
        directory: "/".into(),
        has_log: false,
        has_modules: false,
    };
    let scan = ToJobmanager::Scan {
        root: "/nonexistent".into(),
        describe_argv: Vec::new(),
        environment: Vec::new(),
        only: String::new(),
        describe_ms_max: 1,
        thorough: false,
        trial_ms: 0,
    };
    let job = Ask::sh("true").message(&SessionId::parse(&session).unwrap());
    let prepare = ToJobmanager::Prepare { session: "0".repeat(32), umask_default: 0 };
    let list =
        ToJobmanager::List { session: session.clone(), path: Blob::default(), entries_max: 9 };
    let (name, path) = (|| session.clone(), Blob::default);
    let (tree, pattern) = (|| "data".to_owned(), || Blob(b"*".to_vec()));
    let changes = [
        ToJobmanager::MakeDirectory { session: name(), path: path(), umask_default: 0 },
        ToJobmanager::BeginWrite {
            session: name(),
            path: path(),
            bytes_max: 1,
            sandbox_bytes_max: 0,
            umask_default: 0,
        },
        ToJobmanager::CommitWrite { ticket: 1, replace: true },
        ToJobmanager::DiscardWrite { ticket: 1 },
        ToJobmanager::Rename { session: name(), from: path(), to: path() },
        ToJobmanager::TreeOpen { tree: tree(), path: path() },
        ToJobmanager::TreeList { tree: tree(), path: path(), entries_max: 9 },
        ToJobmanager::TreeStat { tree: tree(), path: path() },
        ToJobmanager::TreeFind { tree: tree(), path: path(), pattern: pattern(), entries_max: 9 },
    ];
    let tended = [
        ToJobmanager::Stat { session: name(), path: path() },
        ToJobmanager::Find { session: name(), path: path(), pattern: pattern(), entries_max: 9 },
        ToJobmanager::RemovePath { session: name(), path: path(), recursive: true },
    ];
    let usage = ToJobmanager::Usage { sessions: Vec::new() };
    let refused = |kind: ChannelKind, request: &ToJobmanager| {
        assert!(!permits(&kind, request));
        let answer = jobmanager.peer(kind).ask(request);
        assert_eq!(errno(&answer), Errno::PERM.raw_os_error(), "{request:?}");
    };
    for request in [&prepare, &job, &worker, &ToJobmanager::KillWorker { worker: 1 }, &scan] {
        refused(ChannelKind::Tend {}, request);
    }
    for request in [&prepare, &job, &worker, &list, &usage] {
        refused(ChannelKind::Discover {}, request);
    }
    for request in &changes {
        refused(ChannelKind::Tend {}, request);
        refused(ChannelKind::Discover {}, request);
        assert!(permits(&ChannelKind::Start {}, request), "{request:?}");
    }
    for request in &tended {
        refused(ChannelKind::Discover {}, request);
        for kind in [ChannelKind::Start {}, ChannelKind::Tend {}] {
            assert!(permits(&kind, request), "{request:?}");
        }
    }
    refused(ChannelKind::Start {}, &scan);
    assert!(matches!(jobmanager.tender().ask(&list), FromJobmanager::Listing { .. }));
    let discover = jobmanager.peer(ChannelKind::Discover {});
    assert!(matches!(discover.ask(&scan), FromJobmanager::DiscoverDone { .. }));
}

#[test]
fn only_files_and_directories_are_opened() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, _) = peer.run(Ask::sh("mkfifo fifo; mkdir d; echo x > d/f; echo y > .hidden"));
    symlink("/etc/passwd", world.path(&session).join("link")).unwrap();
    if is_root() {
        let cwd = rustix::fs::CWD;
        let kind = rustix::fs::FileType::CharacterDevice;
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let path = world.path(&session).join("null");
        rustix::fs::mknodat(cwd, path, kind, mode, rustix::fs::makedev(1, 3)).unwrap();
    }
    assert!(peer.open(&session, "d/f").is_some());
    assert!(peer.open(&session, "d").is_some());
    let began = Instant::now();
    for path in [
        "fifo",
        "link",
        "null",
        ".hidden",
        ".nesssi/record",
        "../x",
        "d/../d/f",
        "/etc/passwd",
        "no",
    ] {
        assert!(peer.open(&session, path).is_none(), "{path}");
    }
    assert!(peer.open(&SessionId::random(), "stdout").is_none());
    assert!(began.elapsed() < Duration::from_secs(5));
    let files = ToJobmanager::Files { session: session.reveal().to_owned(), entries_max: 100 };
    let FromJobmanager::Listing { entries, cut } = peer.ask(&files) else { panic!("no listing") };
    let names: Vec<_> = entries.into_iter().map(|e| String::from_utf8(e.name.0).unwrap()).collect();
    assert_eq!(names, ["d/f", "stderr", "stdout"]);
    assert!(!cut);
}

#[test]
fn names_that_are_no_text_are_listed_and_opened() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, _) =
        peer.run(Ask::sh("d=$(printf '\\377d'); mkdir $d; echo x > $d/$(printf '\\200')"));
    let name = session.reveal().to_owned();
    let list =
        ToJobmanager::List { session: name.clone(), path: Blob(b"\xffd".to_vec()), entries_max: 9 };
    let FromJobmanager::Listing { entries, .. } = peer.ask(&list) else { panic!("no listing") };
    assert_eq!(entries.len(), 1);
    let path = [b"\xffd/", &entries[0].name.0[..]].concat();
    assert_eq!(path, b"\xffd/\x80");
    assert!(peer.open(&session, &path).is_some());
    let follow = ToJobmanager::Follow { session: name, path: Blob(path) };
    assert!(matches!(peer.ask(&follow), FromJobmanager::Watching { .. }));
    assert!(peer.open(&session, b"\xffd/\x81").is_none());
}

#[test]
fn a_listing_fits_its_record() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    for number in 0..2000 {
        let name = format!("{}{number}", "long".repeat(50));
        fs::write(world.path(&session).join(name), "").unwrap();
    }
    world.give(&world.path(&session));
    let (session, path) = (session.reveal().to_owned(), Blob::default());
    let list = ToJobmanager::List { session, path, entries_max: u32::MAX };
    let FromJobmanager::Listing { entries, cut } = peer.ask(&list) else { panic!("no listing") };
    assert!(cut && entries.len() > 100, "{}", entries.len());
}

#[test]
fn the_accounts_umask_is_kept() {
    if !is_root() {
        println!("SKIPPED: needs root (an account with a umask)");
        return;
    }
    let name = format!("nesssi-t{}", std::process::id());
    let add = Command::new("/usr/sbin/useradd").args(["-M", "-c", "Test,,,umask=077", &name]);
    assert!(add.to_std().status().unwrap().success());
    let outcome = std::panic::catch_unwind(|| {
        let world = World::of(Some(&name));
        let jobmanager = world.start();
        let peer = jobmanager.starter();
        let (session, _) = peer.run(Ask::sh("touch f; mkdir d"));
        let mode =
            |path: &str| fs::metadata(world.path(&session).join(path)).unwrap().mode() & 0o777;
        assert_eq!(mode(""), 0o700);
        assert_eq!((mode("f"), mode("d")), (0o600, 0o700));
        assert_eq!((mode("stdout"), mode("stderr")), (0o600, 0o600));
    });
    let status = Command::new("/usr/sbin/userdel").arg(&name).to_std().status().unwrap();
    assert!(status.success());
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn others_may_not_look_into_it() {
    if !is_root() {
        println!("SKIPPED: needs root (two accounts)");
        return;
    }
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, shepherd) = peer.start(Ask::sh(
        "kill -0 $PPID && ! cat /proc/$PPID/environ && ! ls /proc/$PPID/fd && ! cat /proc/$PPID/maps && exit 9",
    ));
    assert_eq!(peer.end(&session).exit_code, Some(9), "{}", world.read(&session, "stderr"));
    assert!(shepherd.pid > 0);
    let environment = format!("/proc/{}/environ", jobmanager.child.pid_number());
    let owner = fs::metadata(environment).unwrap().uid();
    assert_eq!(owner, 0, "a dumpable process's would be its account's");
    assert_ne!(fs::metadata(world.path(&session)).unwrap().uid(), 0);
}

#[test]
fn growth_is_told_at_most_ten_times_a_second() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let script = "while ! test -e go; do sleep 0.01; done; i=0; \
                  while test $i -lt 300; do echo line; i=$((i+1)); sleep 0.005; done";
    let (session, _) = peer.start(Ask::sh(script));
    let name = session.reveal().to_owned();
    let follow = ToJobmanager::Follow { session: name.clone(), path: Blob(b"stdout".to_vec()) };
    let FromJobmanager::Watching { watch } = peer.ask(&follow) else { panic!("not watching") };
    let FromJobmanager::Watching { watch: other } = peer.ask(&follow) else { panic!("not twice") };
    assert_ne!(watch, other);
    peer.send(&ToJobmanager::Unfollow { watch: other }, &[]);
    assert!(!peer.poll(Duration::from_millis(150)), "nothing has grown yet");
    let began = Instant::now();
    fs::write(world.path(&session).join("go"), "").unwrap();
    let record = peer.end(&session);
    assert_eq!(record.exit_code, Some(0));
    // What came before the end was kept.
    let (mut told, mut seconds) = (0, began.elapsed().as_secs_f64());
    while peer.poll(Duration::from_millis(300)) {
        let received = peer.channel.receive::<FromJobmanager>().unwrap();
        assert_eq!(received.message, FromJobmanager::Grew { watch });
        told += 1;
        seconds = began.elapsed().as_secs_f64();
    }
    told += peer.take_kept(|message| *message == FromJobmanager::Grew { watch });
    assert!(told >= 3, "told {told} times");
    assert!(f64::from(told) <= seconds * 10.0 + 2.0, "told {told} times in {seconds} s");
    assert_eq!(peer.take_kept(|_| true), 0, "the other watch was let go");
    let directory = ToJobmanager::Follow { session: name, path: Blob::default() };
    assert_eq!(errno(&peer.ask(&directory)), Errno::ISDIR.raw_os_error());
}

#[test]
fn removal_takes_all_and_holds_up_nobody() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let script = "mkdir -p a/b; chmod 500 a; i=0; while test $i -lt 3000; do : > f$i; i=$((i+1)); done; \
                  mkdir closed; echo x > closed/f; chmod 0 closed";
    let (session, _) = peer.run(Ask::sh(script));
    let (running, _) = peer.start(Ask::sh("sleep 1000"));
    let remove =
        |session: &SessionId| ToJobmanager::Remove { session: session.reveal().to_owned() };
    assert_eq!(errno(&peer.ask(&remove(&running))), Errno::BUSY.raw_os_error());
    let id = peer.send(&remove(&session), &[]);
    // Another request is answered meanwhile, whatever the order.
    peer.prepare();
    assert_eq!(peer.wait(|received| received.id == id).message, FromJobmanager::Removed {});
    assert!(!world.path(&session).exists());
    assert_eq!(peer.ask(&remove(&session)), FromJobmanager::Removed {});
    peer.ask(&ToJobmanager::CancelJob { session: running.reveal().to_owned() });
    peer.end(&running);
    assert_eq!(peer.ask(&remove(&running)), FromJobmanager::Removed {});
}

#[test]
fn nonsense_closes_no_other_channel() {
    let world = World::new();
    let jobmanager = world.start();
    let (good, bad) = (jobmanager.starter(), jobmanager.starter());
    bad.channel.send_bytes(&[1, 2, 3], &[]).unwrap();
    wait_for("the end of the bad channel", || {
        bad.poll(Duration::from_millis(50))
            .then(|| bad.channel.receive::<FromJobmanager>().is_err())
    });
    let session = good.prepare();
    let bad_session = ToJobmanager::ReadRecord { session: "../../etc".into() };
    assert_eq!(errno(&good.ask(&bad_session)), Errno::INVAL.raw_os_error());
    let empty = Ask::argv(&[]).message(&session);
    assert_eq!(errno(&good.ask(&empty)), Errno::INVAL.raw_os_error());
    let bad_tag = Ask { tag: "../../x".into(), ..Ask::sh("true") }.message(&session);
    assert_eq!(errno(&good.ask(&bad_tag)), Errno::INVAL.raw_os_error());
}
