//! Jobs: limits, cancelling, survival, records.

use std::fs;
use std::time::{Duration, Instant};

use nesssi_job::{EndReason, JobState};
use nesssi_privsep::messages::{FromJobmanager, ShepherdId, ToJobmanager};
use nesssi_session::SessionId;
use rustix::io::Errno;

use crate::leaf::Leaf;
use crate::world::{Ask, Peer, World, errno, is_root, kill, lives, tag_of, wait_for};

fn adopt(peer: &Peer, session: &SessionId, shepherd: &ShepherdId) -> FromJobmanager {
    peer.ask(&ToJobmanager::Adopt {
        session: session.reveal().to_owned(),
        tag: tag_of(session),
        shepherd: shepherd.clone(),
    })
}

fn adopted(shepherd: &ShepherdId) -> FromJobmanager {
    FromJobmanager::Adopted { shepherd: shepherd.clone() }
}

/// One who knows of the job and not of its shepherd.
fn adopt_unknown(peer: &Peer, session: &SessionId) -> FromJobmanager {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot_id = boot_id.trim().to_owned();
    adopt(peer, session, &ShepherdId { pid: 0, start_ticks: 0, boot_id })
}

fn usage(peer: &Peer, sessions: &[&str]) -> Vec<Option<u64>> {
    let sessions = sessions.iter().map(|session| (*session).to_owned()).collect();
    match peer.ask(&ToJobmanager::Usage { sessions }) {
        FromJobmanager::Usage { cpu_usec } => cpu_usec,
        other => panic!("{other:?}"),
    }
}

fn cancel(peer: &Peer, session: &SessionId) -> FromJobmanager {
    peer.ask(&ToJobmanager::CancelJob { session: session.reveal().to_owned() })
}

fn read_record(peer: &Peer, session: &SessionId) -> FromJobmanager {
    peer.ask(&ToJobmanager::ReadRecord { session: session.reveal().to_owned() })
}

#[test]
fn a_job_runs_and_says_how_it_ended() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, record) = peer.run(Ask::sh("echo 'h e l l o'; echo trouble >&2; exit 3"));
    assert_eq!((record.reason, record.exit_code), (EndReason::Exited, Some(3)));
    assert_eq!(JobState::from_end(Some(&record)), JobState::Failed);
    assert_eq!(world.read(&session, "stdout"), "h e l l o\n");
    assert_eq!(world.read(&session, "stderr"), "trouble\n");
    assert!(record.started_ms <= record.ended_ms && record.started_ms > 1_600_000_000_000);
    assert!(record.wall_usec < 20_000_000 && record.cpu_usec < 2_000_000, "{record:?}");
    let (_, record) = peer.run(Ask::argv(&["true"]));
    assert_eq!(JobState::from_end(Some(&record)), JobState::Done);
    let (_, record) = peer.run(Ask::sh("kill -USR1 $$"));
    assert_eq!((record.exit_code, record.signal), (None, Some(10)));
}

#[test]
fn a_job_has_what_it_was_given_and_nothing_else() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let script = "env | grep -vE '^(PWD|OLDPWD|SHLVL|_)=' | sort; pwd -P; ls /proc/self/fd; \
                  cat /proc/self/comm; ps -o sid= -p $$ | tr -d ' ' > sid; echo $$ > pid; umask > umask; \
                  grep -E 'SigBlk' /proc/self/status";
    let (session, record) = peer.run(Ask::sh(script));
    assert_eq!(record.exit_code, Some(0), "{}", world.read(&session, "stderr"));
    let directory = fs::canonicalize(world.path(&session)).unwrap();
    let out = world.read(&session, "stdout");
    let lines: Vec<&str> = out.lines().collect();
    let tag = format!("NESSSI_TAG={}", tag_of(&session));
    let expected = [
        "LANG=C.UTF-8",
        &tag,
        "PATH=/usr/local/bin:/usr/bin:/bin",
        directory.to_str().unwrap(),
        "0",
        "1",
        "2",
        "3", // ls's own
        "cat",
        "SigBlk:\t0000000000000000",
    ];
    assert_eq!(lines, expected);
    assert_eq!(world.number(&session, "sid"), world.number(&session, "pid"));
}

#[test]
fn a_program_that_cannot_be_started_is_told() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let plain = world.root.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    let plain = plain.to_str().unwrap();
    for (program, words) in [
        ("/no/such/program", "No such file or directory"),
        ("no-such-program", "No such file or directory"),
        (plain, "Permission denied"),
        ("/", "Permission denied"),
    ] {
        let (_, record) = peer.run(Ask::argv(&[program]));
        assert_eq!(record.reason, EndReason::StartFailed, "{record:?}");
        assert!(record.text.starts_with(&format!("exec {program}: {words}")), "{}", record.text);
        assert_eq!(JobState::from_end(Some(&record)), JobState::Failed);
    }
}

#[test]
fn burning_is_stopped_over_the_whole_tree() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let burn = "burn() { while :; do :; done; }; burn & burn & sleep 1000";
    let (_, record) = peer.run(Ask { cpu: 1, ..Ask::sh(burn) });
    assert_eq!(record.reason, EndReason::OverCpu, "{record:?}");
    assert!((1_000_000..4_000_000).contains(&record.cpu_usec), "{record:?}");
    assert_eq!(JobState::from_end(Some(&record)), JobState::OverLimit);
}

#[test]
fn sleeping_is_not_burning_and_has_a_limit_of_its_own() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (sleeper, _) = peer.start(Ask { cpu: 1, ..Ask::argv(&["sleep", "2"]) });
    let (over, _) = peer.start(Ask { wall: 1, ..Ask::argv(&["sleep", "1000"]) });
    let record = peer.end(&over);
    assert_eq!(record.reason, EndReason::OverWall, "{record:?}");
    assert!((1_000_000..10_000_000).contains(&record.wall_usec), "{record:?}");
    assert!(record.cpu_usec < 500_000, "{record:?}");
    let record = peer.end(&sleeper);
    assert_eq!((record.reason, record.exit_code), (EndReason::Exited, Some(0)));
    assert!(record.wall_usec >= 2_000_000, "{record:?}");
}

#[test]
fn a_sandbox_over_its_bytes_is_stopped() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let script = "head -c 3000000 /dev/zero > big; sleep 1000";
    let (_, record) = peer.run(Ask { bytes: 1 << 20, ..Ask::sh(script) });
    assert_eq!(record.reason, EndReason::OverBytes, "{record:?}");
}

/// Two descendants that have left session and parents, and ignore the polite signal.
const RUNAWAYS: &str = "trap '' TERM; \
    (setsid sh -c 'trap \"\" TERM; (setsid sh -c \"trap \\\"\\\" TERM; echo \\$\\$ > two; while :; do sleep 1; done\" &) ; \
     echo $$ > one; while :; do sleep 1; done' &); while :; do sleep 1; done";

#[test]
fn cancelling_ends_descendants_that_have_left() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, _) = peer.start(Ask::sh(RUNAWAYS));
    let (one, two) = (world.number(&session, "one"), world.number(&session, "two"));
    assert!(lives(one) && lives(two));
    // A channel that may tend may cancel.
    let tender = jobmanager.tender();
    assert_eq!(cancel(&tender, &session), FromJobmanager::Cancelling {});
    let record = peer.end(&session);
    assert_eq!(record.reason, EndReason::Cancelled, "{record:?}");
    assert!(!lives(one) && !lives(two), "left behind");
    assert_eq!(errno(&cancel(&tender, &session)), Errno::SRCH.raw_os_error());
}

#[test]
fn what_a_job_leaves_behind_is_ended_with_it() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let script =
        "(setsid sh -c 'echo $$ > left; sleep 1000' &); while ! test -s left; do sleep 0.01; done";
    let (session, record) = peer.run(Ask::sh(script));
    assert_eq!((record.reason, record.exit_code), (EndReason::Exited, Some(0)));
    assert!(!lives(world.number(&session, "left")));
}

#[test]
fn a_cancelled_job_has_time_to_tidy_up() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let script =
        "trap 'echo tidy > tidied; exit 0' TERM; echo 1 > ready; while :; do sleep 0.05; done";
    let (session, _) = peer.start(Ask::sh(script));
    world.number(&session, "ready");
    cancel(&peer, &session);
    let record = peer.end(&session);
    assert_eq!((record.reason, record.exit_code), (EndReason::Cancelled, Some(0)));
    assert_eq!(world.read(&session, "tidied"), "tidy\n");
    assert!(record.wall_usec < 10_000_000);
}

#[test]
fn a_job_that_stops_its_shepherd_is_cancelled_all_the_same() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, _) = peer.start(Ask::sh(
        "while ! test -e go; do sleep 0.01; done; kill -STOP $PPID; echo $$ > pid; sleep 1000",
    ));
    fs::write(world.path(&session).join("go"), "").unwrap();
    let pid = world.number(&session, "pid");
    cancel(&peer, &session);
    assert_eq!(peer.end(&session).reason, EndReason::Cancelled);
    assert!(!lives(pid));
}

#[test]
fn a_job_outlives_its_jobmanager_and_is_adopted() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let script = "echo 1 > ready; while ! test -e go; do sleep 0.02; done; exit 7";
    let (session, shepherd) = peer.start(Ask::sh(script));
    let (other, gone) =
        peer.start(Ask::sh("echo 1 > ready; while ! test -e go; do sleep 0.02; done"));
    world.number(&session, "ready");
    world.number(&other, "ready");
    jobmanager.kill();
    // One of the two ends while there is no jobmanager.
    fs::write(world.path(&other).join("go"), "").unwrap();
    wait_for("its shepherd's end", || (!lives(gone.pid.cast_signed())).then_some(()));

    let successor = world.start();
    let peer = successor.tender();
    let begun = Instant::now();
    assert_eq!(adopt(&peer, &session, &shepherd), adopted(&shepherd));
    assert_eq!(errno(&read_record(&peer, &session)), Errno::BUSY.raw_os_error());
    assert!(matches!(adopt(&peer, &other, &gone), FromJobmanager::Ended { .. }));
    assert!(!peer.poll(Duration::from_millis(100)), "it has not ended");
    fs::write(world.path(&session).join("go"), "").unwrap();
    let record = peer.end(&session);
    assert_eq!((record.reason, record.exit_code), (EndReason::Exited, Some(7)));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(matches!(read_record(&peer, &session), FromJobmanager::Ended { .. }));
}

#[test]
fn a_job_whose_shepherd_nobody_noted_is_adopted_by_its_guard() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let script = "echo 1 >> runs; while ! test -e go; do sleep 0.02; done";
    peer.send(&Ask::sh(script).message(&session), &[]);
    let guard = world.path(&session).join(".nesssi/started");
    wait_for("the guard", || guard.exists().then_some(()));
    // Whether the answer to the start was on its way or not: nobody has read it.
    jobmanager.kill();

    let successor = world.start();
    let peer = successor.starter();
    // The guard stands a moment before its start is over.
    let found = wait_for("the start's end", || {
        Some(read_record(&peer, &session))
            .filter(|answer| !matches!(answer, FromJobmanager::Failed { .. }))
    });
    assert_eq!(found, FromJobmanager::Gone { guarded: true });
    let FromJobmanager::Adopted { shepherd } = adopt_unknown(&peer, &session) else {
        panic!("its guard did not lead to it")
    };
    assert!(lives(shepherd.pid.cast_signed()));
    assert_eq!(adopt(&peer, &session, &shepherd), adopted(&shepherd));
    world.number(&session, "runs");
    let again = peer.ask(&Ask::sh("echo 1 >> runs").message(&session));
    assert_eq!(errno(&again), Errno::ALREADY.raw_os_error());
    assert!(!peer.poll(Duration::from_millis(100)), "it has not ended");
    fs::write(world.path(&session).join("go"), "").unwrap();
    let record = peer.end(&session);
    assert_eq!(JobState::from_end(Some(&record)), JobState::Done, "{record:?}");
    assert_eq!(world.read(&session, "runs"), "1\n");
}

#[test]
fn a_guard_that_was_forged_leads_to_no_process() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (other, shepherd) = peer.start(Ask::sh("echo $$ > pid; sleep 1000"));
    let payload = world.number(&other, "pid");
    let ticks = |pid: i32| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap()
    };
    let boot = &shepherd.boot_id;
    let (pid, start) = (shepherd.pid, shepherd.start_ticks);
    let (session, _) = peer.run(Ask::argv(&["true"]));
    fs::remove_file(world.path(&session).join(".nesssi/record")).unwrap();
    let mark = world.path(&session).join(".nesssi/started/shepherd");
    let gone = FromJobmanager::Gone { guarded: true };
    for forged in [
        // Another job's shepherd, which this jobmanager holds; its payload; the first process.
        format!("{pid} {start} {boot}\n"),
        format!("{payload} {} {boot}\n", ticks(payload)),
        format!("1 {} {boot}\n", ticks(1)),
        format!(
            "{} {} {boot}\n",
            jobmanager.child.pid_number(),
            ticks(jobmanager.child.pid().as_raw_pid())
        ),
        format!("0 0 {boot}\n"),
        "rubbish".to_owned(),
        "x".repeat(100_000),
        String::new(),
    ] {
        fs::write(&mark, &forged).unwrap();
        assert_eq!(adopt_unknown(&peer, &session), gone, "{forged:.80}");
        assert_eq!(errno(&cancel(&peer, &session)), Errno::SRCH.raw_os_error());
    }
    // Nor one that is exact but for the boot or the time of its start, held by nobody.
    jobmanager.kill();
    let successor = world.start();
    let peer = successor.tender();
    for forged in [format!("{pid} {} {boot}\n", start + 1), format!("{pid} {start} other\n")] {
        fs::write(&mark, &forged).unwrap();
        assert_eq!(adopt_unknown(&peer, &session), gone, "{forged:.80}");
    }
    assert!(lives(payload) && lives(pid.cast_signed()));
    assert_eq!(adopt_unknown(&peer, &other), adopted(&shepherd));
    cancel(&peer, &other);
    assert_eq!(peer.end(&other).reason, EndReason::Cancelled);
}

#[test]
fn what_running_jobs_have_used_is_told_in_one_answer() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    // It burns in a child that it waits for, then in one that has left it.
    let burn = "i=0; while test $i -lt 200000; do i=$((i+1)); done";
    let script = format!(
        "sh -c '{burn}'; echo 1 > waited; while ! test -e go; do sleep 0.02; done; \
                          (setsid sh -c 'while :; do :; done' &); sleep 1000"
    );
    let (burner, _) = peer.start(Ask::sh(&script));
    let (sleeper, _) = peer.start(Ask::argv(&["sleep", "1000"]));
    let (ended, _) = peer.run(Ask::argv(&["true"]));
    let unknown = SessionId::random();
    world.number(&burner, "waited");
    let tender = jobmanager.tender();
    let sessions =
        [burner.reveal(), ended.reveal(), "no session", unknown.reveal(), sleeper.reveal()];
    let ask = || match usage(&tender, &sessions)[..] {
        [Some(burner), None, None, None, Some(sleeper)] => (burner, sleeper),
        ref other => panic!("{other:?}"),
    };
    let waited = wait_for("the first burning to count", || Some(ask().0).filter(|usec| *usec > 0));
    fs::write(world.path(&burner).join("go"), "").unwrap();
    wait_for("the runaway's to count", || (ask().0 > waited + 300_000).then_some(()));
    assert!(ask().1 < 100_000);

    // A successor measures what it has adopted.
    jobmanager.kill();
    let successor = world.start();
    let peer = successor.starter();
    assert_eq!(usage(&peer, &[burner.reveal()]), [None]);
    adopt_unknown(&peer, &burner);
    adopt_unknown(&peer, &sleeper);
    assert!(usage(&peer, &[burner.reveal()])[0].unwrap() > waited + 300_000);
    for session in [&burner, &sleeper] {
        cancel(&peer, session);
    }
    let record = peer.end(&burner);
    assert!(record.cpu_usec > waited + 300_000, "{record:?}");
    peer.end(&sleeper);
}

#[test]
fn another_process_of_the_same_pid_is_not_adopted() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, shepherd) = peer.start(Ask::argv(&["sleep", "1000"]));
    jobmanager.kill();
    let successor = world.start();
    let peer = successor.tender();
    let unlike = [
        ShepherdId { start_ticks: shepherd.start_ticks + 1, ..shepherd.clone() },
        ShepherdId { boot_id: "another boot".into(), ..shepherd.clone() },
        ShepherdId { pid: 1, ..shepherd.clone() },
    ];
    // The boot first: it alone leaves the tree in peace.
    assert_eq!(adopt(&peer, &session, &unlike[1]), FromJobmanager::Gone { guarded: true });
    assert_eq!(adopt(&peer, &session, &shepherd), adopted(&shepherd));
    cancel(&peer, &session);
    peer.end(&session);
    fs::remove_file(world.path(&session).join(".nesssi/record")).unwrap();
    for other in [&unlike[0], &unlike[2]] {
        assert_eq!(adopt(&peer, &session, other), FromJobmanager::Gone { guarded: true });
    }
    let unknown = SessionId::random();
    assert_eq!(errno(&adopt(&peer, &unknown, &shepherd)), Errno::NOENT.raw_os_error());
}

#[test]
fn a_killed_shepherd_takes_its_tree_along() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, shepherd) = peer.start(Ask::sh(RUNAWAYS));
    let (one, two) = (world.number(&session, "one"), world.number(&session, "two"));
    kill(shepherd.pid);
    assert_eq!(peer.end_text(&session), "", "there is no record");
    assert!(!lives(one) && !lives(two), "left behind");
}

#[test]
fn a_shepherd_killed_while_nobody_looked_is_found_out() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, shepherd) = peer.start(Ask::sh(RUNAWAYS));
    let (one, two) = (world.number(&session, "one"), world.number(&session, "two"));
    jobmanager.kill();
    kill(shepherd.pid);
    wait_for("its end", || (!lives(shepherd.pid.cast_signed())).then_some(()));
    let successor = world.start();
    let peer = successor.tender();
    assert_eq!(adopt(&peer, &session, &shepherd), FromJobmanager::Gone { guarded: true });
    assert!(!lives(one) && !lives(two), "left behind");
}

#[test]
fn a_forged_record_beside_a_killed_shepherd_is_not_believed() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let forged = "reason=exited\nexit_code=0\ncpu_usec=0\nwall_usec=0\nstarted_ms=0\nended_ms=0\n\
                  cpu_seconds_max=1\nwall_seconds_max=1\nsandbox_bytes_max=0\nend=1\n";
    let script = format!("printf '%s' '{forged}' > .nesssi/record; kill -9 $PPID; sleep 1000");
    let (session, _) = peer.start(Ask::sh(&script));
    assert_eq!(peer.end_text(&session), "");
}

#[test]
fn a_record_that_the_job_spoils_is_told_all_the_same() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    for spoil in [
        "rm -rf .nesssi",
        "rm -rf .nesssi; ln -s /tmp .nesssi",
        "rm -f .nesssi/record.new; mkfifo .nesssi/record",
        "mkdir -p .nesssi/record/x",
        "rm -f .nesssi/record.new; mkdir -p .nesssi/record.new/x",
    ] {
        let (_, record) = peer.run(Ask::sh(&format!("{spoil}; exit 5")));
        assert_eq!((record.reason, record.exit_code), (EndReason::Exited, Some(5)), "{spoil}");
    }
}

#[test]
fn a_session_has_one_job() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, _) = peer.start(Ask::sh("echo 1 >> runs; sleep 1000"));
    world.number(&session, "runs");
    let again = Ask::sh("echo 1 >> runs").message(&session);
    assert_eq!(errno(&peer.ask(&again)), Errno::ALREADY.raw_os_error());
    // One who knows nothing of the first is told by the guard, and the first is left in peace.
    let second = world.start();
    let stranger = second.starter();
    assert_eq!(errno(&stranger.ask(&again)), Errno::ALREADY.raw_os_error());
    cancel(&peer, &session);
    assert_eq!(peer.end(&session).reason, EndReason::Cancelled);
    assert_eq!(errno(&peer.ask(&again)), Errno::ALREADY.raw_os_error());
    assert_eq!(world.read(&session, "runs"), "1\n");
}

#[test]
fn a_full_disk_loses_no_record() {
    if !is_root() {
        println!("SKIPPED: needs root (a mount)");
        return;
    }
    let world = World::new();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &world.home, "tmpfs", none, c"size=256k,mode=0700").unwrap();
    world.give(&world.home);
    let outcome = std::panic::catch_unwind(|| {
        let jobmanager = world.start();
        let peer = jobmanager.starter();
        let (session, record) = peer.run(Ask::sh("cat /dev/zero > big; exit 4"));
        assert_eq!((record.reason, record.exit_code), (EndReason::Exited, Some(4)));
        // Another one reads it from the disk, which is as full as before.
        let second = world.start();
        let tender = second.tender();
        let FromJobmanager::Ended { record: text, .. } = read_record(&tender, &session) else {
            panic!("the record was lost")
        };
        assert!(text.contains("exit_code=4"), "{text}");
        // Nothing is started that could not be recorded.
        let full = peer.prepare();
        let refused = peer.ask(&Ask::argv(&["true"]).message(&full));
        assert_eq!(errno(&refused), Errno::NOSPC.raw_os_error(), "{refused:?}");
        // The server goes on.
        let remove = ToJobmanager::Remove { session: session.reveal().to_owned() };
        assert_eq!(peer.ask(&remove), FromJobmanager::Removed {});
        assert_eq!(peer.run(Ask::argv(&["true"])).1.exit_code, Some(0));
    });
    rustix::mount::unmount(&world.home, rustix::mount::UnmountFlags::DETACH).unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_end_of_the_monitors_channel_ends_the_jobmanager_and_no_job() {
    let world = World::new();
    let mut jobmanager = world.start();
    let peer = jobmanager.starter();
    let (session, shepherd) = peer.start(Ask::sh("echo $$ > pid; sleep 1000"));
    let pid = world.number(&session, "pid");
    jobmanager.control = None;
    assert_eq!(jobmanager.child.wait().unwrap(), nesssi_privsep::Ending::Exited(0));
    assert!(lives(pid) && lives(shepherd.pid.cast_signed()));
    let successor = world.start();
    let tender = successor.tender();
    assert_eq!(adopt(&tender, &session, &shepherd), adopted(&shepherd));
    cancel(&tender, &session);
    assert_eq!(tender.end(&session).reason, EndReason::Cancelled);
}

#[test]
fn a_leaf_measures_and_holds_whoever_forks_away() {
    let Some(leaf) = Leaf::new() else { return };
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    // It leaves session, parent and environment behind, and burns.
    let script = "(setsid env -i sh -c '(setsid sh -c \"while :; do :; done\" &)' &); sleep 1000";
    let ask = Ask { cpu: 1, ..Ask::sh(script) };
    let (session, _) = peer.start_in_leaf(ask, &leaf.descriptors());
    let record = peer.end(&session);
    assert_eq!(record.reason, EndReason::OverCpu, "{record:?}");
    assert!((1_000_000..4_000_000).contains(&record.cpu_usec), "{record:?}");
    assert!(leaf.pids().is_empty());
}

#[test]
fn a_killed_shepherd_leaves_no_one_in_the_leaf() {
    let Some(leaf) = Leaf::new() else { return };
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let script = "(setsid env -i sh -c 'sleep 1000' &); echo 1 > ready; sleep 1000";
    let (session, shepherd) = peer.start_in_leaf(Ask::sh(script), &leaf.descriptors());
    world.number(&session, "ready");
    wait_for("the runaway", || (leaf.pids().len() >= 3).then_some(()));
    kill(shepherd.pid);
    assert_eq!(peer.end_text(&session), "");
    assert!(leaf.pids().is_empty());
}

#[test]
fn a_closed_door_starts_nothing_and_the_job_may_be_started_anew() {
    let (Some(leaf), Some(second)) = (Leaf::new(), Leaf::new()) else { return };
    let (shut, _) = nesssi_privsep::Channel::pair().map(|(a, b)| (a.into_fd(), b)).unwrap();
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let ask = || Ask::sh("echo ran >> ran").message(&session);
    let mut handles = leaf.descriptors();
    // The keeper's end of this door is closed, as when the monitor has died.
    handles[0] = std::os::fd::AsFd::as_fd(&shut);
    let answer = peer.ask_with(&ask(), &handles).message;
    assert_eq!(errno(&answer), Errno::CANCELED.raw_os_error(), "{answer:?}");
    assert!(!world.path(&session).join(".nesssi/record").exists());
    let started = wait_for("the next start", || {
        match peer.ask_with(&ask(), &second.descriptors()).message {
            FromJobmanager::Started { shepherd } => Some(shepherd),
            // The first shepherd is not yet gone.
            other => {
                assert_eq!(errno(&other), Errno::CANCELED.raw_os_error());
                None
            }
        }
    });
    assert_ne!(started.pid, 0);
    assert_eq!(peer.end(&session).reason, EndReason::Exited);
    assert_eq!(fs::read_to_string(world.path(&session).join("ran")).unwrap(), "ran\n");
}

#[test]
fn nobody_concludes_anything_while_a_start_is_under_way() {
    let Some(leaf) = Leaf::new() else { return };
    let (silent, keeper) = nesssi_privsep::Channel::pair().map(|(a, b)| (a.into_fd(), b)).unwrap();
    let world = World::new();
    let first = world.start();
    let session = {
        let peer = first.starter();
        let session = peer.prepare();
        let mut handles = leaf.descriptors();
        handles[0] = std::os::fd::AsFd::as_fd(&silent);
        peer.send(&Ask::sh("echo ran >> ran").message(&session), &handles);
        session
    };
    let lock = world.path(&session).join(".nesssi/starting");
    wait_for("the shepherd at its door", || lock.exists().then_some(()));
    first.kill();
    let second = world.start();
    let peer = second.starter();
    let of = session.reveal().to_owned();
    let read = ToJobmanager::ReadRecord { session: of.clone() };
    assert_eq!(errno(&peer.ask(&read)), Errno::BUSY.raw_os_error());
    let identity = ShepherdId { pid: 0, start_ticks: 0, boot_id: String::new() };
    let adopt = ToJobmanager::Adopt { session: of, tag: tag_of(&session), shepherd: identity };
    assert_eq!(errno(&peer.ask(&adopt)), Errno::BUSY.raw_os_error());
    let ask = || Ask::sh("echo ran >> ran").message(&session);
    assert_eq!(errno(&peer.ask(&ask())), Errno::CANCELED.raw_os_error());
    // Now its monitor is gone.
    drop((silent, keeper));
    wait_for("the end of the first start", || match peer.ask(&read) {
        FromJobmanager::Gone { guarded: false } => Some(()),
        other => {
            assert_eq!(errno(&other), Errno::BUSY.raw_os_error());
            None
        }
    });
    let answer = peer.ask(&ask());
    assert!(matches!(answer, FromJobmanager::Started { .. }), "{answer:?}");
    assert_eq!(peer.end(&session).reason, EndReason::Exited);
    assert_eq!(fs::read_to_string(world.path(&session).join("ran")).unwrap(), "ran\n");
}

#[test]
fn a_sandbox_that_is_gone_is_not_one_whose_job_was_never_started() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let read = ToJobmanager::ReadRecord { session: session.reveal().to_owned() };
    assert_eq!(peer.ask(&read), FromJobmanager::Gone { guarded: false });
    fs::remove_dir_all(world.path(&session)).unwrap();
    assert_eq!(errno(&peer.ask(&read)), Errno::NOENT.raw_os_error());
}
