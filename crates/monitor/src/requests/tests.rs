//! Tests of the request table.

use super::*;

fn one_of_each() -> Vec<ToMonitor> {
    let claim = Claim { subject: None, issuer: None, proxy: 0, account: None, lowered: None };
    let seal = Seal {
        account: "a".into(),
        uid: 1,
        level: "l".into(),
        limits: Blob::default(),
        mac: Blob::default(),
    };
    let session = "0".repeat(32);
    vec![
        ToMonitor::Ready {},
        ToMonitor::Judge { claim, address: [127, 0, 0, 1].into() },
        ToMonitor::Start { grant: 1 },
        ToMonitor::Admit { grant: 1, session: session.clone() },
        ToMonitor::Tend { session, seal },
        ToMonitor::Discover {},
        ToMonitor::LeafMake { owner: LeafOwner::Grant { grant: 1 }, name: "j1".into() },
        ToMonitor::LeafRead { names: vec![] },
        ToMonitor::LeafKill { name: "j1".into() },
        ToMonitor::LeafList {},
        ToMonitor::ControlDone { ticket: 1, ok: true, text: String::new() },
        ToMonitor::Released {},
    ]
}

#[test]
fn each_request_has_its_row() {
    for (at, message) in one_of_each().into_iter().enumerate() {
        assert_eq!(index(&message), at);
        let shown = format!("{message:?}");
        assert!(shown.starts_with(TABLE[at].request), "{shown} at {}", TABLE[at].request);
    }
}

#[test]
fn each_handler_takes_its_own_request() {
    // A handler that is given another's request refuses it, so a wrong row cannot do another's work.
    assert_eq!(mismatch(), bad("the table is wrong".into()));
}

#[test]
fn a_rate_gives_so_many_a_second() {
    let start = Instant::now();
    let mut rate = Rate::new(start);
    assert_eq!((0..10).filter(|_| rate.take(3, start)).count(), 3);
    assert!(!rate.take(3, start + Duration::from_millis(999)));
    assert!(rate.take(3, start + Duration::from_secs(1)));
    assert_eq!((0..10).filter(|_| rate.take(3, start + Duration::from_secs(1))).count(), 2);
}

#[test]
fn only_32_hexadecimal_digits_are_a_session() {
    assert!(check_session("0123456789abcdef0123456789abcdef").is_ok());
    for bad in ["", "0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcdef0"] {
        assert!(check_session(bad).is_err());
    }
    assert!(check_session("0123456789ABCDEF0123456789abcdef").is_err());
    assert!(check_session("0123456789abcdef0123456789abcde\u{e9}").is_err());
}
