use nesssi_journal::{AnswerOwner, AnswerRow, KeptReply};
use nesssi_rpc::{ClientTag, Fault};

use super::{ANONYMOUS, Found, Key, Limits, OWNER, Room, Standing, Table};
use crate::answers::Ask;

const NOW_MS: u64 = 1_000_000;
const KEPT_MS: u64 = 60_000;

fn alice() -> AnswerOwner {
    AnswerOwner::Subject(vec![1])
}

fn address(number: usize) -> AnswerOwner {
    AnswerOwner::Address(format!("192.0.2.{number}"))
}

fn ask(owner: &AnswerOwner, tag: usize) -> Ask {
    let tag = ClientTag::parse(&format!("t{tag}")).unwrap();
    let key = Key { owner: owner.clone(), method: "echo.echo".to_owned(), tag };
    Ask { key, params: [0; 32], granted: Ok(()) }
}

/// Begins a call, or says why not; and what was forgotten for it.
fn begin(table: &mut Table, owner: &AnswerOwner, tag: usize) -> Result<(u64, Vec<u64>), String> {
    match table.ask(&ask(owner, tag), NOW_MS, KEPT_MS) {
        Found::Begun { row, forgotten } => Ok((row.number, forgotten)),
        Found::Refused(fault) => Err(format!("{}: {}", fault.code.number(), fault.text)),
        found => Err(format!("{found:?}")),
    }
}

fn finish(table: &mut Table, number: u64, bytes: usize) -> Vec<u64> {
    let kept = KeptReply::Whole(vec![0; bytes]);
    let forgotten = table.make_room(number, &kept);
    table.done(number, kept, NOW_MS + KEPT_MS);
    forgotten
}

fn is_known(table: &mut Table, owner: &AnswerOwner, tag: usize) -> bool {
    let tag = ask(owner, tag).key.tag;
    table.last(owner, None, &tag, NOW_MS).is_some()
}

#[test]
fn the_oldest_that_are_done_make_room_for_one_more_of_an_owner() {
    let mut table = Table::new(Limits::default());
    let running = begin(&mut table, &alice(), 0).unwrap().0;
    for tag in 1..OWNER.answers_max {
        let (number, forgotten) = begin(&mut table, &alice(), tag).unwrap();
        assert!(forgotten.is_empty(), "one below and at the limit");
        finish(&mut table, number, 1);
    }
    let (_, forgotten) = begin(&mut table, &alice(), OWNER.answers_max).unwrap();
    assert_eq!(forgotten, [running + 1], "the oldest that is done, not the one that runs");
    assert!(!is_known(&mut table, &alice(), 1) && is_known(&mut table, &alice(), 0));
    let bob = AnswerOwner::Subject(vec![2]);
    assert_eq!(begin(&mut table, &bob, 1).unwrap().1, [0; 0]);
}

#[test]
fn a_call_too_many_that_runs_is_refused() {
    let mut table = Table::new(Limits::default());
    for tag in 0..OWNER.answers_max {
        begin(&mut table, &alice(), tag).unwrap();
    }
    let refused = begin(&mut table, &alice(), OWNER.answers_max).unwrap_err();
    assert_eq!(
        refused,
        "429: 1000 calls with a tag run at one time, which is the limit: one more when one of them \
         is answered"
    );
    finish(&mut table, 1, 1);
    assert_eq!(begin(&mut table, &alice(), OWNER.answers_max).unwrap().1, [1]);
}

#[test]
fn strangers_put_out_each_others_answers_and_nobody_elses() {
    let mut table = Table::new(Limits::default());
    let (number, _) = begin(&mut table, &alice(), 0).unwrap();
    finish(&mut table, number, 1);
    for caller in 0..ANONYMOUS.answers_max {
        let (number, forgotten) = begin(&mut table, &address(caller), 0).unwrap();
        assert!(forgotten.is_empty());
        finish(&mut table, number, 1);
    }
    assert_eq!(begin(&mut table, &address(ANONYMOUS.answers_max), 0).unwrap().1, [number + 1]);
    assert!(is_known(&mut table, &alice(), 0));
    assert!(!is_known(&mut table, &address(0), 0) && is_known(&mut table, &address(1), 0));
}

#[test]
fn bytes_have_their_limits_too() {
    let room = |answers_max, bytes_max| Room { answers_max, bytes_max };
    let limits =
        Limits { owner: room(10, 100), certified: room(10, 150), anonymous: room(10, 100) };
    let mut table = Table::new(limits);
    let bob = AnswerOwner::Subject(vec![2]);
    let mut add = |owner: &AnswerOwner, tag, bytes| {
        let (number, _) = begin(&mut table, owner, tag).unwrap();
        finish(&mut table, number, bytes)
    };
    assert_eq!(add(&alice(), 1, 50), [0; 0]);
    assert_eq!(add(&alice(), 2, 49), [0; 0], "one below");
    assert_eq!(add(&alice(), 3, 1), [0; 0], "at the limit");
    assert_eq!(add(&alice(), 4, 1), [1], "one above");
    assert_eq!(add(&bob, 1, 99), [0; 0], "at that of all");
    assert_eq!(add(&bob, 2, 1), [2], "one above: the oldest, whosever it is");
}

#[test]
fn a_call_is_known_until_its_time_is_over() {
    let mut table = Table::new(Limits::default());
    let (number, _) = begin(&mut table, &alice(), 1).unwrap();
    assert!(matches!(table.ask(&ask(&alice(), 1), u64::MAX, KEPT_MS), Found::Running(_)));
    assert_eq!(table.take_expired(u64::MAX, 10), [0; 0], "what runs does not expire");
    finish(&mut table, number, 1);
    let end_ms = NOW_MS + KEPT_MS;
    assert!(matches!(table.ask(&ask(&alice(), 1), end_ms - 1, KEPT_MS), Found::Known(_)));
    assert_eq!(table.take_expired(end_ms - 1, 10), [0; 0]);
    assert!(matches!(table.ask(&ask(&alice(), 1), end_ms, KEPT_MS), Found::Begun { .. }));
    let (other, _) = begin(&mut table, &alice(), 2).unwrap();
    finish(&mut table, other, 1);
    assert_eq!(table.take_expired(end_ms, 10), [other]);
    assert!(!is_known(&mut table, &alice(), 2));
}

#[test]
fn parameters_and_the_callers_grant_must_fit() {
    let mut table = Table::new(Limits::default());
    begin(&mut table, &alice(), 1).unwrap();
    let others = Ask { params: [1; 32], ..ask(&alice(), 1) };
    let Found::Refused(fault) = table.ask(&others, NOW_MS, KEPT_MS) else { panic!() };
    assert_eq!(fault.code.number(), 409);
    assert_eq!(
        fault.text,
        "this client tag is that of a call of echo.echo with other parameters, begun at \
         1970-01-01T00:16:40Z"
    );
    let shut_out = Ask { granted: Err(Fault::refused("no level")), ..ask(&alice(), 1) };
    let Found::Refused(fault) = table.ask(&shut_out, NOW_MS, KEPT_MS) else { panic!() };
    assert_eq!(fault.text, "no level");
    // Who had none when he called, and has none now, is the same caller.
    let shut_out = Ask { granted: Err(Fault::refused("no level")), ..ask(&alice(), 2) };
    assert!(matches!(table.ask(&shut_out, NOW_MS, KEPT_MS), Found::Begun { .. }));
    assert!(matches!(table.ask(&shut_out, NOW_MS, KEPT_MS), Found::Running(_)));
    assert!(matches!(table.ask(&ask(&alice(), 2), NOW_MS, KEPT_MS), Found::Running(_)));
}

#[test]
fn what_the_journal_held_is_taken_up() {
    let mut table = Table::new(Limits::default());
    let row = |number, tag: &str, kept| AnswerRow {
        number,
        owner: alice(),
        method: "echo.echo".to_owned(),
        tag: tag.to_owned(),
        params: [0; 32],
        granted: true,
        called_ms: 1,
        expires_ms: NOW_MS + 1,
        session: None,
        kept,
    };
    assert!(table.take_up(row(3, "t1", Some(KeptReply::TooLong(9)))));
    assert!(table.take_up(row(5, "t2", None)));
    assert!(!table.take_up(row(7, "no tag", None)));
    let seen = |table: &mut Table, tag| match table.ask(&ask(&alice(), tag), NOW_MS, KEPT_MS) {
        Found::Known(seen) => seen.standing,
        found => panic!("{found:?}"),
    };
    assert_eq!(seen(&mut table, 1), Standing::Done(KeptReply::TooLong(9).into()));
    assert_eq!(seen(&mut table, 2), Standing::Lost);
    assert_eq!(begin(&mut table, &alice(), 3).unwrap().0, 8, "numbers go on");
}

#[test]
fn the_last_call_of_a_tag_is_the_latest_of_its_owner() {
    let mut table = Table::new(Limits::default());
    begin(&mut table, &alice(), 1).unwrap();
    let other = ask(&alice(), 1);
    let other = Ask { key: Key { method: "a.b".to_owned(), ..other.key }, ..other };
    assert!(matches!(table.ask(&other, NOW_MS, KEPT_MS), Found::Begun { .. }));
    let tag = &other.key.tag;
    let method = |owner: &AnswerOwner, method| {
        table.last(owner, method, tag, NOW_MS).map(|(method, _)| method)
    };
    assert_eq!(method(&alice(), None).as_deref(), Some("a.b"));
    assert_eq!(method(&alice(), Some("echo.echo")).as_deref(), Some("echo.echo"));
    assert_eq!(method(&alice(), Some("echo.other")), None);
    assert_eq!(method(&address(1), None), None);
}
