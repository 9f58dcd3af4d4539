//! Tests of the names: each answer comes back from its name, and no two have the same.

use super::*;

#[test]
fn every_refusal_comes_back_from_its_name() {
    for (one, name) in REFUSALS {
        assert_eq!(of_refusal(one), name);
        assert_eq!(refusal(name), Some(one));
    }
    assert_eq!(refusal("Policy"), None);
}

#[test]
fn every_state_comes_back_from_its_names() {
    let ends = [BatchEnd::Exited(3), BatchEnd::Exited(0), BatchEnd::Signalled(9)];
    let ended = ends.into_iter().chain(ENDS.map(|(end, _)| end)).map(BatchState::Ended);
    for one in STATES.map(|(state, _)| state).into_iter().chain(ended) {
        let (name, end) = of_state(one);
        assert_eq!(state(name, end), Some(one), "{one:?}");
    }
    assert_eq!(state("ended", None), None);
    assert_eq!(state("queued", Some(("exited", 0))), None);
    assert_eq!(state("ended", Some(("over_cpu", 1))), None);
}

#[test]
fn what_a_cancel_and_a_listing_brought_comes_back() {
    let words = || Words::of(b"no such job");
    let cancels = [
        CancelAnswer::Asked,
        CancelAnswer::Gone(words()),
        CancelAnswer::Refused(words()),
        CancelAnswer::Down(words()),
        CancelAnswer::Unknown(words()),
    ];
    for one in cancels {
        let (name, words) = of_cancel(&one);
        assert_eq!(cancel(name, words), Some(one.clone()));
    }
    let troubles = [
        NoListing::Down(words()),
        NoListing::NoAccounts(words()),
        NoListing::TooLong,
        NoListing::NotUnderstood(words()),
        NoListing::Failed(words()),
    ];
    for one in troubles {
        let (name, words) = of_trouble(&one);
        assert_eq!(trouble(name, words), Some(one.clone()));
    }
    assert_eq!(cancel("", ""), None);
    assert_eq!(trouble("", ""), None);
}
