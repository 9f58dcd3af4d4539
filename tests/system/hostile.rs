//! What nobody should send: every body a fault that a person understands, every ambiguous request refused, every flood
//! cut off, and the memory of the gatekeeper within a bound that is stated.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use nesssi_testkit::{World, repository};

use crate::survival::{GATEKEEPER, below};

/// What the gatekeeper may hold more than before, whatever one caller sends one after the other, in KiB: ten times
/// the greatest body (16 MiB).
const MEMORY_KIB_MAX: u64 = 160 * 1024;
/// No hostile body takes longer, in a build without optimisation on a busy machine.
const SECONDS_MAX: f64 = 30.0;

/// Two methods: one that is called, and one that is only ever hidden in another request.
pub(crate) const ASKS: &str = "def who(req, method_name, args):\n    return req.clarens_dn or 'nobody'\n\
    methods_list = {'who': who, 'seen': who, 'hidden': who}\n";

/// Runs the script; the fields of its lines.
fn script(mode: &str, address: SocketAddr, world: &World) -> Vec<Vec<String>> {
    let output = Command::new("/usr/bin/python3")
        .arg(repository().join("tests/system/hostile_http.py"))
        .args([mode, &address.ip().to_string(), &address.port().to_string()])
        .arg(world.grid.ca_file())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{error}");
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// The most memory that the gatekeeper has held so far, in KiB.
fn memory_kib(gatekeeper: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{gatekeeper}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn gatekeeper(world: &mut World) -> i32 {
    below(world.server().pid(), GATEKEEPER)[0]
}

/// How often a hidden request was carried out: the audit tells of every call.
pub(crate) fn carried_out(world: &World, method: &str) -> usize {
    // Written in batches, and at the latest when the server has ended.
    let audit = fs::read_to_string(world.path().join("state/gatekeeper/audit.jsonl")).unwrap();
    audit.matches(&format!("\"method\":\"asks.{method}\"")).count()
}

/// Sends every request with another hidden in it to `address`; none of them is carried out behind it.
pub(crate) fn hides_nothing(world: &World, address: SocketAddr) -> Vec<Vec<String>> {
    let told = script("smuggle", address, world);
    assert!(told.len() > 40, "{told:?}");
    told
}

#[test]
fn every_hostile_body_is_a_fault_and_memory_stays_within_its_bound() {
    let mut world = World::builder().start();
    let gatekeeper = gatekeeper(&mut world);
    // What every caller costs once is not counted.
    world.call(None, "echo.echo", vec![]).unwrap();
    let before = memory_kib(gatekeeper);
    let told = script("bodies", world.https, &world);
    assert!(told.len() > 100, "{} bodies", told.len());
    for fields in &told {
        let [name, status, code, seconds, text] = fields.as_slice() else { panic!("{fields:?}") };
        let status: u16 = status.parse().unwrap();
        assert!([200, 400, 413, 500].contains(&status), "{name}: {status} {text}");
        // Within every bound, and of no meaning in SOAP: it is read over.
        let harmless = name.starts_with("soap") && name.ends_with("an attribute of 8 MB");
        let known =
            ["-32700", "-32600", "-32601", "-32602", "413", "MustUnderstand", "VersionMismatch"];
        let expected = if harmless { &["None"][..] } else { &known };
        assert!(expected.contains(&code.as_str()), "{name}: {code} {text}");
        assert!(seconds.parse::<f64>().unwrap() < SECONDS_MAX, "{name}: {seconds} s");
        for leak in ["root:", "/etc/passwd\"", ".rs:", "panicked", "/root/", "/var/lib"] {
            assert!(!text.contains(leak), "{name} tells {leak}: {text}");
        }
    }
    let grown = memory_kib(gatekeeper).saturating_sub(before);
    assert!(grown < MEMORY_KIB_MAX, "the gatekeeper held {grown} KiB more");
    assert_eq!(below(world.server().pid(), GATEKEEPER), [gatekeeper], "it is another");
    world.call(None, "echo.echo", vec![]).unwrap();
}

#[test]
fn a_request_hidden_in_another_is_not_carried_out() {
    let mut world = World::builder().build();
    world.service("asks", ASKS, None);
    world.start_server();
    for fields in hides_nothing(&world, world.https) {
        let [name, statuses] = fields.as_slice() else { panic!("{fields:?}") };
        // At most one answer, and before it the word to go on where that was asked for.
        let answers = statuses.split(' ').filter(|status| *status != "100" && !status.is_empty());
        assert!(answers.count() <= 1, "{name}: {statuses}");
    }
    world.call(None, "asks.seen", vec![]).unwrap();
    world.stop_server();
    assert!(carried_out(&world, "seen") > 0, "the audit tells of calls");
    assert_eq!(carried_out(&world, "hidden"), 0);
}

#[test]
fn floods_are_cut_off_and_nobody_else_notices() {
    let mut world = World::builder().key("bounds", "body_seconds_max = 2").build();
    world.start_server();
    let gatekeeper = gatekeeper(&mut world);
    world.call(None, "echo.echo", vec![]).unwrap();
    let before = memory_kib(gatekeeper);
    for fields in script("floods", world.https, &world) {
        let [name, sent, ended, seconds] = fields.as_slice() else { panic!("{fields:?}") };
        let seconds: f64 = seconds.parse().unwrap();
        assert!(seconds < SECONDS_MAX, "{name}: {seconds} s");
        match name.as_str() {
            "resets" => assert!(ended.starts_with("closed"), "{name}: {sent} were taken"),
            "continuations" => assert!(ended.starts_with("closed"), "{name}: {sent} were taken"),
            "a body that never comes" => assert_eq!(ended, "408"),
            "a body after 100 that never comes" => assert_eq!(ended, "100 408"),
            _ => {}
        }
        // Somebody else is served meanwhile.
        world.call(None, "echo.echo", vec![]).unwrap();
    }
    let grown = memory_kib(gatekeeper).saturating_sub(before);
    assert!(grown < MEMORY_KIB_MAX, "the gatekeeper held {grown} KiB more");
    assert_eq!(below(world.server().pid(), GATEKEEPER), [gatekeeper], "it is another");
}
