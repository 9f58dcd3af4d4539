//! `nesssid` as a process, with a stand-in for gatekeeper and jobmanager that the test drives.
//!
//! What it shows as root: that privileges are dropped, which descriptors and environment a child has,
//! which accounts are refused, that a slow name service delays nobody else. What needs root is skipped, loudly, without it.
#![allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests may"
)]

#[macro_use]
mod world;

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use nesssi_privsep::messages::{
    ChannelKind, Claim, FromMonitor, LeafOwner, Refusal, ToJobmanagerControl, ToMonitor,
};
use nesssi_privsep::wire::Blob;
use world::{SESSION, World, accounts, is_root, status_line, until};

#[test]
fn the_gatekeeper_runs_as_its_user_with_what_it_needs_and_nothing_else() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    let FromMonitor::Welcome { config_text, root, user, boot_id, generation, .. } =
        gatekeeper.welcome.clone()
    else {
        panic!("{:?}", gatekeeper.welcome)
    };
    assert_eq!(config_text, fs::read_to_string(world.config()).unwrap());
    assert_eq!(root, is_root());
    assert_eq!(generation, 1);
    assert_eq!(user, world::whoami());
    assert_eq!(boot_id.len(), 36);
    assert_eq!(gatekeeper.welcome_descriptors.len(), 4);

    assert_eq!(gatekeeper.arguments, "nesssi-gatekeeper");
    assert_eq!(gatekeeper.environment, "PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8");
    assert_eq!(numbers(&gatekeeper.descriptors), [0, 1, 2, 3], "{}", gatekeeper.descriptors);
    assert!(gatekeeper.descriptors.starts_with("0=/dev/null 1=/dev/null "));
    let status = |key| status_line(gatekeeper.pid, key);
    if is_root() {
        let account = &accounts().gatekeeper;
        assert_eq!(status("Uid"), [account.uid; 4]);
        assert_eq!(status("Gid"), [account.gid; 4]);
        assert_eq!(status("Groups"), [account.gid]);
    }
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        if is_root() {
            assert_eq!(world::status_text(gatekeeper.pid, capabilities), "0000000000000000");
        }
    }
    assert_eq!(status("NoNewPrivs"), [1]);
    assert_eq!(world::status_text(gatekeeper.pid, "SigBlk"), "0000000000000000");
}

#[test]
fn a_jobmanager_is_its_account_and_holds_two_descriptors() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    let name = accounts().alice.name.clone();
    let started = gatekeeper.start_as(world::ALICE);
    let FromMonitor::Jobmanager { account, pid } = &started.message else {
        panic!("{:?}", started.message)
    };
    assert_eq!(started.descriptors.len(), 1);
    assert_eq!(account.name, name);
    let jobmanager = world.jobmanager(&name);
    assert_eq!(jobmanager.pid, *pid);
    assert_eq!(
        jobmanager.arguments,
        format!("nesssi-jobmanager --account {name} --sandboxes {}", account.sandboxes)
    );
    assert_eq!(jobmanager.environment, "PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8");
    assert_eq!(numbers(&jobmanager.descriptors), [0, 1, 2, 3, 4], "{}", jobmanager.descriptors);
    assert!(jobmanager.descriptors.ends_with(&format!(" 4={}", account.sandboxes)));

    let facts = fs::metadata(&account.sandboxes).unwrap();
    assert_eq!(
        (facts.uid(), facts.gid(), facts.mode() & 0o7777),
        (account.uid, account.gid, 0o700)
    );
    assert_eq!(status_line(*pid, "Uid"), [account.uid; 4]);
    assert_eq!(status_line(*pid, "Gid"), [account.gid; 4]);
    if is_root() {
        let mut groups = accounts().alice.groups.clone();
        groups.sort_unstable();
        assert_eq!(status_line(*pid, "Groups"), groups);
        assert!(groups.len() > 1, "the test account is in a second group: {groups:?}");
        for capabilities in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(world::status_text(*pid, capabilities), "0000000000000000");
        }
    }

    // The channel that was handed over leads from one to the other.
    let (kind, channel) = jobmanager.served();
    assert_eq!(kind, ChannelKind::Start {});
    let ours = nesssi_privsep::Channel::from_fd(started.descriptors.into_iter().next().unwrap());
    ours.send(7, &"hello".to_owned(), &[]).unwrap();
    assert_eq!(channel.receive::<String>().unwrap().message, "hello");

    // A second one comes from the same process.
    let again = gatekeeper.start_as(world::ALICE);
    assert!(matches!(again.message, FromMonitor::Jobmanager { pid: same, .. } if same == *pid));
}

#[test]
fn a_seal_tends_and_cannot_be_forged() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    let (grant, refused) = gatekeeper.with_grant(world::ALICE, |grant| ToMonitor::Admit {
        grant: grant.id,
        session: SESSION.into(),
    });
    let refused = refused.message;
    let bad = matches!(refused, FromMonitor::Refused { refusal: Refusal::BadRequest { .. } });
    assert!(bad, "Admit before Start: {refused:?}");
    let seal = gatekeeper.admit(world::ALICE, SESSION);
    assert_eq!((&seal.account, &seal.level), (&grant.account, &grant.level));

    let tend = |seal: &nesssi_privsep::messages::Seal, session: &str| ToMonitor::Tend {
        session: session.into(),
        seal: seal.clone(),
    };
    assert!(matches!(gatekeeper.ask(&tend(&seal, SESSION)), FromMonitor::Jobmanager { .. }));
    let other = SESSION.replace('0', "1");
    let mut root = seal.clone();
    (root.account, root.uid) = ("root".into(), 0);
    let mut weak = seal.clone();
    weak.level = "other".into();
    for (forged, session) in [(&seal, other.as_str()), (&root, SESSION), (&weak, SESSION)] {
        let answer = gatekeeper.ask(&tend(forged, session));
        let bad = matches!(answer, FromMonitor::Refused { refusal: Refusal::BadSeal { .. } });
        assert!(bad, "{answer:?}");
    }

    // Its copies of the listeners would keep the ports.
    drop(gatekeeper);
    // It holds over a new start of the monitor, and the caller need not be mapped any more.
    world.stop();
    world.write_gridmap("");
    world.launch(&[]);
    let gatekeeper = world.gatekeeper();
    assert!(matches!(gatekeeper.ask(&tend(&seal, SESSION)), FromMonitor::Jobmanager { .. }));
    let (kind, _) = world.jobmanager(&seal.account).served();
    assert_eq!(kind, ChannelKind::Tend {});
}

#[test]
fn a_new_gridmap_voids_grants_within_a_second_or_two() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    let grant = gatekeeper.judge(world::ALICE);
    world.write_gridmap("");
    let begun = Instant::now();
    let generation = loop {
        if let FromMonitor::Generation { generation, .. } = gatekeeper.unasked() {
            // Accounts that other tests make are generations too.
            let now = gatekeeper.judge(world::ALICE);
            if now.account != grant.account || now.level != grant.level {
                assert!(now.generation >= generation);
                break generation;
            }
        }
    };
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(generation > grant.generation);
    for stale in [
        ToMonitor::Start { grant: grant.id },
        ToMonitor::Admit { grant: grant.id, session: SESSION.into() },
        ToMonitor::LeafMake { owner: LeafOwner::Grant { grant: grant.id }, name: "w1".into() },
        ToMonitor::Start { grant: 0 },
    ] {
        let answer = gatekeeper.ask(&stale);
        assert!(
            matches!(answer, FromMonitor::Refused { refusal: Refusal::StaleGrant {} }),
            "{answer:?}"
        );
    }

    // A gridmap with an error changes nothing, and the log says where.
    world.write_gridmap("\"/O=Grid/CN=Alice\" nobody-at-all\nwrong\n");
    until("the mistake is logged", || world.log().contains(":2:"));
    assert!(world.log().contains("the last good one stays"), "{}", world.log());
}

#[test]
fn accounts_that_may_not_be_used_are_refused_each_with_its_reason() {
    needs_root!();
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    for (person, reason) in [
        ("low", "under the floor"),
        ("gate", "is the user that the gatekeeper runs as"),
        ("wheel", "in group 0"),
        ("ghost", "is unknown"),
        ("locked", "is locked"),
        ("expired", "expired on day"),
    ] {
        let answer = gatekeeper.start_as(&format!("/O=Grid/CN={person}")).message;
        let FromMonitor::Refused { refusal: Refusal::BadAccount { text } } = &answer else {
            panic!("{person}: {answer:?}")
        };
        assert!(text.contains(reason), "{person}: {text}");
    }
    // What a locked account has left can be tended: the seal was made when it was not.
    let answer = gatekeeper.start_as("/O=Grid/CN=Bob").message;
    assert!(matches!(answer, FromMonitor::Jobmanager { .. }), "{answer:?}");
}

#[test]
fn a_slow_name_service_delays_nobody_else() {
    needs_root!();
    let Some(shim) = world::slow_name_service() else { return };
    let mut world = World::prepare();
    world.launch(&[("LD_PRELOAD", shim.path().join("slow.so").to_str().unwrap())]);
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    let begun = Instant::now();
    let slow = gatekeeper.judge("/O=Grid/CN=slow");
    // Two that ask for the same account share one look-up.
    gatekeeper.send(901, &ToMonitor::Start { grant: slow.id });
    gatekeeper.send(902, &ToMonitor::Start { grant: slow.id });
    let quick = gatekeeper.start_as("/O=Grid/CN=Bob").message;
    assert!(matches!(quick, FromMonitor::Jobmanager { .. }), "{quick:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let lookups = world::children_of(world.pid())
        .into_iter()
        .filter(|pid| world::status_text(*pid, "Name") == "nesssid-lookup")
        .count();
    assert_eq!(lookups, 1);
    for id in [901, 902] {
        let answer = gatekeeper.answer_to(id).message;
        let FromMonitor::Refused { refusal } = &answer else { panic!("{answer:?}") };
        // Somebody else's test may make an account, which voids the grant.
        let late =
            matches!(refusal, Refusal::System { text } if text.contains("name service took"));
        assert!(late || *refusal == (Refusal::StaleGrant {}), "{refusal:?}");
    }
    let passed = begun.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(16)).contains(&passed), "{passed:?}");
    until("the look-up is gone", || {
        world::children_of(world.pid())
            .into_iter()
            .all(|pid| world::status_text(pid, "Name") != "nesssid-lookup")
    });
}

#[test]
fn only_its_own_account_enters_a_leaf() {
    needs_root!();
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    let FromMonitor::Welcome { leaves: true, .. } = gatekeeper.welcome else {
        println!("SKIPPED: needs cgroup v2");
        return;
    };
    gatekeeper.send(1, &ToMonitor::Ready {});
    let seal = gatekeeper.admit(world::ALICE, SESSION);
    gatekeeper.start_as("/O=Grid/CN=Bob");
    let (alice, bob) = (accounts().alice.name.clone(), accounts().bob.name.clone());
    let make = |name: &str| ToMonitor::LeafMake {
        owner: LeafOwner::Session { session: SESSION.into(), seal: seal.clone() },
        name: name.into(),
    };

    let first = gatekeeper.ask_with_descriptors(&make("jfirst"));
    assert_eq!((&first.message, first.descriptors.len()), (&FromMonitor::Leaf {}, 4));
    let answer = world.jobmanager(&bob).through_door(first.descriptors[0].as_fd());
    assert!(answer.starts_with("refused"), "{answer}");
    let answer = world.jobmanager(&alice).through_door(first.descriptors[0].as_fd());
    assert!(answer.starts_with("refused"), "a door is of one use: {answer}");

    let second = gatekeeper.ask_with_descriptors(&make("jsecond"));
    let answer = world.jobmanager(&alice).through_door(second.descriptors[0].as_fd());
    assert!(answer.starts_with("entered") && answer.contains("/jsecond\n"), "{answer}");
    let again = gatekeeper.ask(&make("jsecond"));
    assert!(matches!(again, FromMonitor::Refused { refusal: Refusal::System { .. } }), "{again:?}");
    for bad in ["x", "j/../..", "J1", ""] {
        let answer = gatekeeper.ask(&make(bad));
        assert!(matches!(answer, FromMonitor::Refused { refusal: Refusal::BadRequest { .. } }));
    }

    let names = vec!["jfirst".into(), "jsecond".into(), "jnone".into()];
    let FromMonitor::LeafUsage { usage } = gatekeeper.ask(&ToMonitor::LeafRead { names }) else {
        panic!("usage")
    };
    let populated: Vec<_> =
        usage.iter().map(|facts| facts.as_ref().map(|facts| facts.populated)).collect();
    assert_eq!(populated, [Some(false), Some(true), None]);
    assert_eq!(
        gatekeeper.ask(&ToMonitor::LeafList {}),
        FromMonitor::LeafNames { names: vec!["jfirst".into(), "jsecond".into()] }
    );
    for name in ["jfirst", "jsecond"] {
        until("the leaf is gone", || {
            let FromMonitor::LeafUsage { usage } =
                gatekeeper.ask(&ToMonitor::LeafKill { name: name.into() })
            else {
                panic!("usage")
            };
            usage[0].is_none()
        });
    }
}

#[test]
fn workers_leaves_end_with_their_gatekeeper_and_jobs_leaves_do_not() {
    needs_root!();
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    let FromMonitor::Welcome { leaves: true, .. } = gatekeeper.welcome else {
        println!("SKIPPED: needs cgroup v2");
        return;
    };
    gatekeeper.send(1, &ToMonitor::Ready {});
    let seal = gatekeeper.admit(world::ALICE, SESSION);
    for name in ["jkept", "wgone"] {
        let owner = LeafOwner::Session { session: SESSION.into(), seal: seal.clone() };
        let answer = gatekeeper.ask(&ToMonitor::LeafMake { owner, name: name.into() });
        assert_eq!(answer, FromMonitor::Leaf {});
    }
    gatekeeper.exit(1);
    let gatekeeper = world.gatekeeper();
    until("only the job's leaf is left", || {
        gatekeeper.ask(&ToMonitor::LeafList {})
            == FromMonitor::LeafNames { names: vec!["jkept".into()] }
    });
    gatekeeper.ask(&ToMonitor::LeafKill { name: "jkept".into() });
}

#[test]
fn a_gatekeeper_that_sends_garbage_or_dies_is_replaced() {
    let mut world = World::start();
    let mut gatekeeper = world.gatekeeper();
    for garbage in [&b"\x01"[..], b"\x02\0\0\0\0\x01", b"\x01\0\0\0\0\xff", &[1; 5000]] {
        gatekeeper.send_raw(garbage);
        until("it is gone", || !world::lives(gatekeeper.pid));
        gatekeeper = world.gatekeeper();
    }
    let log = world.log();
    assert_eq!(log.matches("it sends what is no request").count(), 4, "{log}");
    gatekeeper.exit(3);
    let gatekeeper = world.gatekeeper();
    assert!(world.log().contains("by=\"exit code 3\""), "{}", world.log());
    // One that closes its channel and stays is not kept.
    gatekeeper.close_channel();
    world.gatekeeper();
    until("it is gone", || !world::lives(gatekeeper.pid));
}

#[test]
fn requests_at_the_wrong_time_are_refused() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    let refused = |answer: FromMonitor| {
        matches!(answer, FromMonitor::Refused { refusal: Refusal::BadRequest { .. } })
    };
    assert!(refused(gatekeeper.ask(&ToMonitor::Released {})));
    gatekeeper.send(1, &ToMonitor::Ready {});
    assert!(refused(gatekeeper.ask(&ToMonitor::Ready {})));
    assert!(refused(gatekeeper.ask(&ToMonitor::Admit { grant: 1, session: "../x".into() })));
}

#[test]
fn a_jobmanager_that_ends_is_replaced_when_it_is_wanted_and_not_too_often() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    let name = accounts().alice.name.clone();
    gatekeeper.start_as(world::ALICE);
    let first = world.jobmanager(&name);
    first.exit(0);
    until("it is gone", || !world::lives(first.pid));
    // Asked before its end is noticed, the monitor may find that it does not listen, and says so once.
    until("another is started", || match gatekeeper.start_as(world::ALICE).message {
        FromMonitor::Jobmanager { pid, .. } => pid != first.pid,
        FromMonitor::Refused { refusal: Refusal::System { .. } | Refusal::Busy { .. } } => false,
        other => panic!("{other:?}"),
    });
    // Those that die are waited for longer and longer.
    let mut busy = false;
    for _ in 0..4 {
        let jobmanager = world.jobmanager(&name);
        jobmanager.exit(1);
        until("it is gone", || !world::lives(jobmanager.pid));
        until("another is started", || match gatekeeper.start_as(world::ALICE).message {
            FromMonitor::Jobmanager { pid, .. } => pid != jobmanager.pid,
            FromMonitor::Refused { refusal: Refusal::Busy { .. } } => {
                busy = true;
                false
            }
            FromMonitor::Refused { refusal: Refusal::System { .. } } => false,
            other => panic!("{other:?}"),
        });
    }
    assert!(busy);
}

#[test]
fn the_control_socket_restarts_services_and_the_gatekeeper() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    assert_eq!(world.control(1, "sleepy"), (1, "no gatekeeper serves just now".into()));
    gatekeeper.send(1, &ToMonitor::Ready {});
    until("it serves", || world.log().contains("the gatekeeper serves"));

    let asked = world.control_begin(1, "astro.sleepy");
    let FromMonitor::RestartService { ticket, name } = gatekeeper.unasked() else { panic!() };
    assert_eq!(name, "astro.sleepy");
    let done = ToMonitor::ControlDone { ticket, ok: true, text: "2 workers retire".into() };
    gatekeeper.send(2, &done);
    assert_eq!(world::control_end(&asked), (0, "2 workers retire".into()));

    let asked = world.control_begin(3, "");
    let FromMonitor::Status { ticket } = gatekeeper.unasked() else { panic!() };
    gatekeeper.send(3, &ToMonitor::ControlDone { ticket, ok: true, text: "all well".into() });
    let (code, text) = world::control_end(&asked);
    assert!(code == 0 && text.starts_with("monitor: pid ") && text.ends_with("all well"), "{text}");

    assert_eq!(world.control(1, "../etc").0, 1);
    assert_eq!(world.control(9, "").0, 1);
    let uid = rustix::process::getuid().as_raw();
    assert!(world.log().contains(&format!("uid={uid}")), "{}", world.log());

    // Replacing: the old one gives up the lease, the new one serves, the old one may take its time.
    let asked = world.control_begin(2, "");
    let successor = world.gatekeeper();
    assert_ne!(successor.pid, gatekeeper.pid);
    assert_eq!(world.control(2, ""), (1, "the gatekeeper is being replaced already".into()));
    let early = successor.ask(&ToMonitor::LeafList {});
    assert!(matches!(early, FromMonitor::Refused { .. }), "it has no lease: {early:?}");
    successor.send(7, &ToMonitor::Prepared {});
    let FromMonitor::Drain { seconds_max } = gatekeeper.unasked() else { panic!() };
    assert_eq!(seconds_max, 4);
    gatekeeper.send(4, &ToMonitor::Released {});
    assert_eq!(successor.answer_to(7).message, FromMonitor::TakeOver {});
    assert!(world::lives(gatekeeper.pid), "it drains");
    let still = gatekeeper.ask(&ToMonitor::LeafList {});
    assert!(matches!(still, FromMonitor::LeafNames { .. }), "it may still ask: {still:?}");
    successor.send(1, &ToMonitor::Ready {});
    let (code, text) = world::control_end(&asked);
    assert!(code == 0 && text.contains(&successor.pid.to_string()), "{text}");
    until("the old one is killed when its time is over", || !world::lives(gatekeeper.pid));
    assert!(world::lives(successor.pid));
    let mode = fs::metadata(world.control_path()).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o600, "no group is configured");
}

#[test]
fn sighup_replaces_the_gatekeeper_and_sigterm_ends_all() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    gatekeeper.start_as(world::ALICE);
    let jobmanager = world.jobmanager(&accounts().alice.name.clone());
    world.signal(rustix::process::Signal::HUP);
    let successor = world.gatekeeper();
    // Asked again, it is the same one that is waited for.
    world.signal(rustix::process::Signal::HUP);
    successor.send(7, &ToMonitor::Prepared {});
    let FromMonitor::Drain { .. } = gatekeeper.unasked() else { panic!() };
    gatekeeper.send(2, &ToMonitor::Released {});
    gatekeeper.exit(0);
    let gatekeeper = successor;
    assert_eq!(gatekeeper.answer_to(7).message, FromMonitor::TakeOver {});
    gatekeeper.send(1, &ToMonitor::Ready {});
    until("it serves", || world.log().matches("the gatekeeper serves").count() == 2);

    world.signal(rustix::process::Signal::TERM);
    let FromMonitor::Drain { .. } = gatekeeper.unasked() else { panic!() };
    assert_eq!(world.control(2, ""), (1, "nesssid is ending".into()));
    gatekeeper.send(2, &ToMonitor::Released {});
    gatekeeper.exit(0);
    assert!(world.wait().success());
    assert!(!world::lives(jobmanager.pid));
    assert!(!world.control_path().exists());
}

#[test]
fn a_gatekeeper_goes_on_when_its_successor_cannot_serve() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    assert_eq!(gatekeeper.ask(&ToMonitor::Prepared {}), FromMonitor::TakeOver {});
    gatekeeper.send(1, &ToMonitor::Ready {});
    until("it serves", || world.log().contains("the gatekeeper serves"));
    let goes_on = format!("pid {} goes on: the new one cannot serve: ", gatekeeper.pid);

    let asked = world.control_begin(2, "");
    let successor = world.gatekeeper();
    let text = "the journal is of another version".to_owned();
    successor.send(7, &ToMonitor::Unfit { text: text.clone() });
    successor.exit(1);
    assert_eq!(world::control_end(&asked), (2, format!("{goes_on}{text}")));

    let asked = world.control_begin(2, "");
    world.gatekeeper().exit(9);
    assert_eq!(world::control_end(&asked), (2, format!("{goes_on}it has ended by exit code 9")));

    // It may still ask, and was never told to drain.
    let still = gatekeeper.ask(&ToMonitor::LeafList {});
    assert!(matches!(still, FromMonitor::LeafNames { .. }), "{still:?}");
    let asked = world.control_begin(2, "");
    let successor = world.gatekeeper();
    // Whoever serves dies before the successor is ready: the lease is the successor's at once.
    gatekeeper.exit(1);
    until("its end is seen", || world.log().contains("the gatekeeper has ended"));
    assert_eq!(successor.ask(&ToMonitor::Prepared {}), FromMonitor::TakeOver {});
    successor.send(1, &ToMonitor::Ready {});
    assert_eq!(world::control_end(&asked).0, 0);
}

#[test]
fn sigterm_does_not_wait_for_ever() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    let begun = Instant::now();
    world.signal(rustix::process::Signal::TERM);
    assert!(world.wait().success());
    let passed = begun.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(9)).contains(&passed), "{passed:?}");
    assert!(!world::lives(gatekeeper.pid));
}

#[test]
fn a_second_monitor_and_a_port_in_use_are_refused_clearly() {
    let mut world = World::start();
    world.gatekeeper();
    let (code, text) = world.run_to_end(&[]);
    assert!(code == 1 && text.contains("another nesssid runs with"), "{text}");
    world.stop();
    let taken = std::net::TcpListener::bind(world.https()).unwrap();
    let (code, text) = world.run_to_end(&[]);
    assert_eq!(code, 1);
    let expected = format!("[server] listen_https: cannot listen on {}", world.https());
    assert!(text.contains(&expected) && text.contains("in use"), "{text}");
    assert_eq!(text.matches("a port is in use: waiting for it").count(), 1, "{text}");
    drop(taken);
}

#[test]
fn a_port_that_is_still_held_for_a_moment_is_waited_for() {
    let mut world = World::prepare();
    let taken = std::net::TcpListener::bind(world.https()).unwrap();
    let freed = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        drop(taken);
    });
    world.launch(&[]);
    world.gatekeeper();
    freed.join().unwrap();
    world.stop();
}

#[test]
fn discovery_is_done_as_the_services_account() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    let answer = gatekeeper.ask(&ToMonitor::Discover {});
    let FromMonitor::Jobmanager { account, .. } = answer else { panic!("{answer:?}") };
    assert_eq!(account.name, accounts().services.name);
    let (kind, _) = world.jobmanager(&account.name).served();
    assert_eq!(kind, ChannelKind::Discover {});
}

#[test]
fn without_root_there_is_one_account_and_the_refusal_says_so() {
    if is_root() {
        println!("SKIPPED: needs an ordinary user");
        return;
    }
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    let claim = world::claim("/O=Grid/CN=ghost");
    let answer = gatekeeper.ask(&ToMonitor::Judge { claim, address: [127, 0, 0, 1].into() });
    let FromMonitor::Refused { refusal: Refusal::NoLevel { text } } = answer else {
        panic!("{answer:?}")
    };
    assert!(text.contains("not started as root"), "{text}");
}

#[test]
fn a_jobmanager_is_told_of_the_trees() {
    let mut world = World::prepare();
    world.add_config("[[tree]]\nname = \"data\"\npath = \"/srv/a=b\"\n");
    world.add_config("[[tree]]\nname = \"more\"\npath = \"/srv/more\"\n");
    world.launch(&[]);
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    gatekeeper.start_as(world::ALICE);
    let jobmanager = world.jobmanager(&accounts().alice.name);
    let trees = " --tree data=/srv/a=b --tree more=/srv/more";
    assert!(jobmanager.arguments.ends_with(trees), "{}", jobmanager.arguments);
}

#[test]
fn check_says_what_is_wrong_with_trees() {
    let mut world = World::prepare();
    let at = |name: &str| world.directory().join(name);
    let (good, file, link) = (at("good"), at("file"), at("link"));
    let sandboxes = at("sandboxes");
    fs::create_dir(&good).unwrap();
    fs::create_dir(&sandboxes).unwrap();
    fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(&sandboxes, &link).unwrap();
    let trees = [("good", &good), ("file", &file), ("none", &at("none")), ("link", &link)];
    let text: String = trees
        .iter()
        .map(|(name, path)| format!("[[tree]]\nname = \"{name}\"\npath = {path:?}\n"))
        .collect();
    world.add_config(&text);
    let (code, text) = world.run_to_end(&["--check"]);
    assert_eq!(code, 1);
    for problem in [
        format!("[[tree]] file: {} is not a directory", file.display()),
        "[[tree]] none: ".to_owned(),
        format!("[[tree]] link: {} and the root of sandboxes ", link.display()),
    ] {
        assert!(text.contains(&problem), "{problem}: {text}");
    }
    assert!(!text.contains("[[tree]] good"), "{text}");
    // By its name alone it is seen at the start as well.
    let above = format!("[[tree]]\nname = \"above\"\npath = {:?}\n", world.directory());
    world.add_config(&above);
    let (code, text) = world.run_to_end(&[]);
    assert!(code == 1 && text.contains("lie in one another"), "{text}");
}

#[test]
fn check_says_every_problem_and_binds_nothing() {
    let mut world = World::prepare();
    world.break_config();
    let (code, text) = world.run_to_end(&["--check"]);
    assert_eq!(code, 1);
    for problem in ["nesssi.toml:", "unknown_key"] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
    let mut world = World::prepare();
    world.write_gridmap("\"/O=Grid/CN=X\" nesssi-test-nobody-at-all\n");
    fs::remove_file(world.certificate()).unwrap();
    // The ports are taken, and that does not matter.
    let _taken = std::net::TcpListener::bind(world.https()).unwrap();
    let (code, text) = world.run_to_end(&["--check"]);
    assert_eq!(code, 1);
    for problem in ["[server] certificate", "gridmap", "nesssi-test-nobody-at-all"] {
        assert!(text.contains(problem), "{problem}: {text}");
    }
    assert!(!world.directory().join("state").exists(), "nothing is made");
}

fn numbers(descriptors: &str) -> Vec<i32> {
    descriptors.split(' ').map(|one| one.split_once('=').unwrap().0.parse().unwrap()).collect()
}

/// A job can stop the jobmanager of its account, since it is the same user's.
#[test]
fn a_stopped_child_goes_on() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    let pid = Pid::from_raw(i32::try_from(gatekeeper.pid).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    until("it goes on", || world.log().contains("a child was stopped: it goes on"));
    until("it runs", || !world::status_text(gatekeeper.pid, "State").starts_with('T'));
    assert!(matches!(gatekeeper.ask(&ToMonitor::LeafList {}), FromMonitor::LeafNames { .. }));
}

type Change<'a> = &'a dyn Fn(&mut Claim);

#[test]
fn a_claim_is_parsed_again_and_a_limited_proxy_starts_no_session() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    let address = [127, 0, 0, 1].into();
    let ask = |change: Change<'_>| {
        let mut claim = world::claim(world::ALICE);
        change(&mut claim);
        gatekeeper.ask(&ToMonitor::Judge { claim, address })
    };
    let refusal = |answer: FromMonitor| match answer {
        FromMonitor::Refused { refusal } => refusal,
        other => panic!("{other:?}"),
    };
    let bad: [(Change<'_>, &str); 5] = [
        (&|claim| claim.proxy = 4, "no kind of proxy 4"),
        (&|claim| claim.account = Some("../root".into()), "account: "),
        (&|claim| claim.account = Some("root".into()), "account: "),
        (&|claim| claim.lowered = Some("No Level".into()), "level: "),
        (&|claim| claim.issuer = Some(Blob(vec![9; 9])), "issuer: "),
    ];
    for (change, expected) in bad {
        let refusal = refusal(ask(change));
        let Refusal::BadRequest { text } = &refusal else { panic!("{refusal:?}") };
        assert!(text.starts_with(expected) || text.contains(expected), "{text}");
    }
    let not_his = refusal(ask(&|claim| claim.account = Some("nesssi-test-m-other".into())));
    assert!(matches!(&not_his, Refusal::NoLevel { text } if text.contains("is not one of")));
    let no_level = refusal(ask(&|claim| claim.lowered = Some("none".into())));
    assert!(matches!(&no_level, Refusal::NoLevel { text } if text.contains("there is not")));

    let lowered = ask(&|claim| claim.lowered = Some("weak".into()));
    assert!(matches!(lowered, FromMonitor::Judged { grant } if grant.level == "weak"));

    // A limited proxy may read: it gets a grant, and no seal.
    let refused = loop {
        let FromMonitor::Judged { grant } = ask(&|claim| claim.proxy = 2) else { panic!() };
        assert!(grant.reads_only);
        gatekeeper.ask(&ToMonitor::Start { grant: grant.id });
        let session = SESSION.into();
        match gatekeeper.ask(&ToMonitor::Admit { grant: grant.id, session }) {
            FromMonitor::Refused { refusal: Refusal::StaleGrant {} } => {}
            other => break refusal(other),
        }
    };
    assert!(matches!(&refused, Refusal::BadRequest { text } if text.contains("reading alone")));
}

#[test]
fn a_pool_account_is_leased_and_the_audit_says_so() {
    needs_root!();
    let mut world = World::prepare();
    let leases = world.directory().join("gridmapdir");
    world.write_gridmap(&format!("\"{}\" .grid\n", world::ALICE));
    let (code, text) = world.run_to_end(&[]);
    assert!(code == 1 && text.contains("gridmapdir"), "{text}");
    fs::create_dir(&leases).unwrap();
    let (code, text) = world.run_to_end(&["--check"]);
    assert!(code == 1 && text.contains("there is no account of pool .grid in it"), "{text}");
    fs::write(leases.join("grid01"), "").unwrap();
    world.launch(&[]);
    let gatekeeper = world.gatekeeper();
    let grant = gatekeeper.judge(world::ALICE);
    assert_eq!((grant.account.as_str(), grant.level.as_str()), ("grid01", "strong"));
    assert_eq!(grant.rule, "level strong: gridmap line 1, pool .grid, leased");
    assert_eq!(fs::metadata(leases.join("%2fo%3dgrid%2fcn%3dalice")).unwrap().nlink(), 2);
    let leased =
        r#""event":"leased","account":"grid01","pool":".grid","subject":"/O=Grid/CN=Alice"}"#;
    assert!(world.state("audit.jsonl").iter().any(|line| line.ends_with(leased)));
    assert_eq!(gatekeeper.judge(world::ALICE).account, "grid01");
    assert_eq!(world.state("audit.jsonl").iter().filter(|line| line.contains("leased")).count(), 1);
}

#[test]
fn what_the_monitor_does_is_on_record_and_the_gatekeepers_head_is_kept() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    gatekeeper.admit(world::ALICE, SESSION);
    let head = |lines| ToMonitor::AuditHead { lines, bytes: 10 * lines, hash: Blob(vec![7; 32]) };
    gatekeeper.send(0, &head(5));
    let back = gatekeeper.ask(&head(4));
    assert!(matches!(&back, FromMonitor::Refused { refusal: Refusal::BadRequest { text } }
        if text.contains("had 5 lines already")));
    until("the head is stored", || {
        world.state("audit.head").first().is_some_and(|l| l == "lines 5")
    });
    let stored = world.state("audit.head");
    assert_eq!(stored[1..3], ["bytes 50".to_owned(), format!("hash {}", "07".repeat(32))]);
    let _asked = world.control_begin(3, "");
    until("the verb is on record", || {
        world.state("audit.jsonl").iter().any(|line| line.contains("\"control\""))
    });
    world.stop();

    let lines = world.state("audit.jsonl");
    let uid = rustix::process::getuid().as_raw();
    for event in [
        "\"event\":\"monitor_started\"",
        "\"event\":\"gatekeeper_started\"",
        "\"event\":\"gatekeeper_serves\"",
        "\"event\":\"jobmanager_started\"",
        "\"event\":\"sealed\",\"session\":\"00112233\"",
        "\"event\":\"refused\",\"request\":\"AuditHead\"",
        &format!("\"event\":\"control\",\"verb\":\"Status\",\"uid\":{uid}}}"),
        "\"killed_because\":\"told to end a second time\"",
        "\"event\":\"monitor_ended\"",
    ] {
        assert!(lines.iter().any(|line| line.contains(event)), "{event}: {lines:#?}");
    }
    let text = lines.join("\n");
    assert!(!text.contains(SESSION), "a session is a secret");
    let own = world.state("audit.head")[3].clone();
    assert_eq!(own, format!("own_lines {}", lines.len()));
    let mode = fs::metadata(world.directory().join("state/monitor/audit.jsonl")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_renewed_certificate_and_a_new_configuration_reach_the_gatekeeper() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    world.write("certificate.pem", "renewed certificate");
    world.write("key.pem", "renewed key");
    let is_it = |message: &FromMonitor| matches!(message, FromMonitor::Certificate {});
    let renewed = gatekeeper.unasked_that(is_it);
    let texts: Vec<String> = renewed
        .descriptors
        .into_iter()
        .map(|one| {
            let mut text = String::new();
            fs::File::from(one).read_to_string(&mut text).unwrap();
            text
        })
        .collect();
    assert_eq!(texts, ["renewed certificate", "renewed key"]);
    assert!(world.state("audit.jsonl").iter().any(|line| line.contains("\"certificate\"")));

    let text = fs::read_to_string(world.config()).unwrap();
    let text = format!("{text}\n[bounds]\nconnections_max = 77\n");
    world.write("nesssi.toml", &text);
    let is_it = |message: &FromMonitor| {
        matches!(message, FromMonitor::Generation { config_text: Some(_), .. })
    };
    let FromMonitor::Generation { config_text, .. } = gatekeeper.unasked_that(is_it).message else {
        panic!()
    };
    assert_eq!(config_text.as_deref(), Some(text.as_str()));

    // One that cannot be opened is not handed on.
    fs::set_permissions(world.directory().join("key.pem"), fs::Permissions::from_mode(0o644))
        .unwrap();
    until("it is told", || world.log().contains("others can read this private key"));
}

#[test]
fn a_channel_to_start_is_taken_back_when_the_rules_change() {
    let mut world = World::start();
    let gatekeeper = world.gatekeeper();
    gatekeeper.send(1, &ToMonitor::Ready {});
    gatekeeper.start_as(world::ALICE);
    let jobmanager = world.jobmanager(&accounts().alice.name.clone());
    let of_whom = loop {
        if let ToJobmanagerControl::Serve { gatekeeper, .. } = jobmanager.ordered().0 {
            break gatekeeper;
        }
    };
    let alice = format!("\"{}\" {}\n", world::ALICE, accounts().alice.name);
    let begun = Instant::now();
    world.write_gridmap(&alice);
    assert_eq!(jobmanager.ordered().0, ToJobmanagerControl::Demote {});
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Who has a grant of now is handed another, with the same number.
    gatekeeper.start_as(world::ALICE);
    loop {
        if let ToJobmanagerControl::Serve { kind, gatekeeper } = jobmanager.ordered().0 {
            assert_eq!((kind, gatekeeper), (ChannelKind::Start {}, of_whom));
            break;
        }
    }
}

#[test]
fn files_that_others_could_put_another_in_the_place_of_are_refused() {
    let mut world = World::prepare();
    let program = world.directory().join("libexec/nesssi-jobmanager");
    let chmod = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(&program, 0o757);
    for arguments in [&[][..], &["--check"]] {
        let (code, text) = world.run_to_end(arguments);
        let expected = format!("{}: others than its owner may write", program.display());
        assert!(code == 1 && text.contains(&expected), "{text}");
    }
    chmod(&program, 0o755);
    for (key, name) in [("[server] libexec_directory", "libexec"), ("[policy] gridmap", ".")] {
        let directory = world.directory().join(name);
        chmod(&directory, 0o757);
        for arguments in [&[][..], &["--check"]] {
            let (code, text) = world.run_to_end(arguments);
            let shown = directory.canonicalize().unwrap();
            let expected = format!("{key}: {}: its group or everybody may", shown.display());
            assert!(code == 1 && text.contains(&expected), "{expected}: {text}");
        }
        chmod(&directory, 0o755);
    }
}
