//! Tests of the table of grants.

use nesssi_policy::Assigned;

use super::*;

fn add(grants: &mut Grants, account: &str, generation: u64) -> u64 {
    grants.add(judgement(account), AccountName::parse(account).unwrap(), generation)
}

fn judgement(account: &str) -> Judgement {
    Judgement {
        account: Assigned::Account(AccountName::parse(account).unwrap()),
        level: LevelName::parse("strong").unwrap(),
        limits: Limits::from_bytes(&[0; 48]).unwrap_or_else(sample_limits),
        reads_only: false,
        rule: "a test's".into(),
    }
}

fn sample_limits() -> Limits {
    Limits {
        cpu_seconds: 1,
        wall_seconds: 1,
        jobs_at_once: 1,
        calls_per_minute: 1,
        call_wall_seconds: 1,
        call_cpu_seconds: 1,
        sandbox_bytes: 1,
        retention_seconds: 1,
        cpu_seconds_per_day: u64::MAX,
    }
}

#[test]
fn a_grant_is_found_by_its_number_in_its_generation() {
    let mut grants = Grants::new(10, 100);
    let id = add(&mut grants, "alice", 3);
    assert_eq!(id, 100);
    assert_eq!(grants.current(id, 3).unwrap().account.as_str(), "alice");
    assert!(grants.current(id, 4).is_none(), "a new generation voids it");
    assert!(grants.current(id + 1, 3).is_none());
    assert!(grants.current(0, 3).is_none());
}

#[test]
fn the_one_unused_for_longest_makes_room() {
    let mut grants = Grants::new(3, 1);
    let ids: Vec<u64> = ["a", "b", "c"].iter().map(|name| add(&mut grants, name, 1)).collect();
    assert!(grants.current(ids[0], 1).is_some());
    add(&mut grants, "d", 1);
    assert_eq!(grants.len(), 3);
    assert!(grants.current(ids[0], 1).is_some(), "was used");
    assert!(grants.current(ids[1], 1).is_none(), "was not");
    assert!(grants.current(ids[2], 1).is_some());
}

#[test]
fn the_table_stays_bounded() {
    let mut grants = Grants::new(50, u64::MAX - 10);
    for _ in 0..1000 {
        add(&mut grants, "a", 1);
    }
    assert_eq!((grants.len(), grants.by_use.len()), (50, 50));
}

#[test]
fn what_is_remembered_stays() {
    let mut grants = Grants::new(5, 1);
    let id = add(&mut grants, "a", 1);
    grants.current(id, 1).unwrap().started = Some(1001);
    assert_eq!(grants.current(id, 1).unwrap().started, Some(1001));
    grants.clear();
    assert!(grants.is_empty());
}
