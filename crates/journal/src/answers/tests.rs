use std::path::Path;

use nesssi_session::SessionId;

use crate::store::count;
use crate::{AnswerOwner, AnswerRow, Change, Journal, JournalError, KeptReply};

fn row(number: u64) -> AnswerRow {
    AnswerRow {
        number,
        owner: AnswerOwner::Subject(vec![1, 0, 255]),
        method: "echo.echo".to_owned(),
        tag: format!("tag-{number}"),
        params: [7; 32],
        granted: true,
        called_ms: 1000,
        expires_ms: 2000,
        session: None,
        kept: None,
    }
}

fn begin(row: &AnswerRow) -> Change {
    Change::BeginAnswer(Box::new(row.clone()))
}

/// Writes to a new file, opens it again as after `kill -9`, and compares.
#[track_caller]
fn check(changes: Vec<Change>, after: &[AnswerRow]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (first, _) = Journal::open(&path).unwrap();
    first.write_and_wait(changes).unwrap();
    assert_eq!(loaded(&path), after);
}

fn loaded(path: &Path) -> Vec<AnswerRow> {
    Journal::open(path).unwrap().1.answers
}

#[test]
fn a_call_is_there_from_when_it_was_begun() {
    let anonymous = AnswerRow {
        owner: AnswerOwner::Address("2001:db8::1".to_owned()),
        granted: false,
        ..row(2)
    };
    check(vec![begin(&row(1)), begin(&anonymous)], &[row(1), anonymous]);

    let session = SessionId::random();
    let made = Change::AnswerMade { answer: 1, session: session.clone() };
    let with_session = AnswerRow { session: Some(session), ..row(1) };
    check(vec![begin(&row(1)), made.clone()], std::slice::from_ref(&with_session));

    for kept in [KeptReply::Whole(vec![0, 255]), KeptReply::Whole(vec![]), KeptReply::TooLong(300)]
    {
        let keep = Change::KeepAnswer { answer: 1, kept: kept.clone(), expires_ms: 9 };
        let done = AnswerRow { kept: Some(kept), expires_ms: 9, ..with_session.clone() };
        check(vec![begin(&row(1)), made.clone(), keep], std::slice::from_ref(&done));
        check(vec![begin(&done)], &[done]);
    }
    let forget = |answer| Change::ForgetAnswer { answer };
    check(vec![begin(&row(1)), forget(1), forget(1), forget(5)], &[]);
}

#[test]
fn a_call_takes_the_place_of_the_one_before_it() {
    let other_owner = AnswerRow { owner: AnswerOwner::Address("::1".to_owned()), ..row(2) };
    let other_owner = AnswerRow { tag: row(1).tag, ..other_owner };
    let other_method = AnswerRow { method: "echo.other".to_owned(), tag: row(1).tag, ..row(3) };
    let same = AnswerRow { tag: row(1).tag, ..row(4) };
    let all = [row(1), other_owner.clone(), other_method.clone(), same.clone()];
    check(all.iter().map(begin).collect(), &[other_owner.clone(), other_method, same]);
    let again = AnswerRow { number: 9, ..other_owner.clone() };
    check(vec![begin(&other_owner), begin(&again)], &[again]);
}

#[test]
fn a_session_is_not_made_for_a_call_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (journal, _) = Journal::open(&path).unwrap();
    let made = |answer| Change::AnswerMade { answer, session: SessionId::random() };
    let used = Change::Used { owner: "a".to_owned(), day: 1, cpu_usec: 1 };
    let outcome = journal.write_and_wait(vec![used.clone(), made(1)]);
    assert!(matches!(outcome, Err(JournalError::Unfit(_))), "{outcome:?}");
    assert_eq!(count(&path, "used"), 0, "all of a write or nothing");
    let keep = Change::KeepAnswer { answer: 1, kept: KeptReply::TooLong(1), expires_ms: 1 };
    assert!(journal.write_and_wait(vec![keep]).is_err());
    journal.write_and_wait(vec![begin(&row(1)), used, made(1)]).unwrap();
    assert_eq!(count(&path, "used"), 1);
}
