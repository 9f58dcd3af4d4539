//! Names of answers, by which they go from the process that ran a command to the one that decides.

use crate::batch::answers::{BatchEnd, BatchState, CancelAnswer, NoListing, Refusal};
use crate::batch::words::Words;

/// Every refusal with its name.
const REFUSALS: [(Refusal, &str); 7] = [
    (Refusal::Policy, "policy"),
    (Refusal::Quota, "quota"),
    (Refusal::Syntax, "syntax"),
    (Refusal::UnknownQueue, "unknown_queue"),
    (Refusal::Down, "down"),
    (Refusal::Garbage, "garbage"),
    (Refusal::Unknown, "unknown"),
];

/// Every state but the end, with its name.
const STATES: [(BatchState, &str); 5] = [
    (BatchState::Queued, "queued"),
    (BatchState::Held, "held"),
    (BatchState::Running, "running"),
    (BatchState::Exiting, "exiting"),
    (BatchState::Unknown, "unknown"),
];

/// Every end without a number, with its name.
const ENDS: [(BatchEnd, &str); 8] = [
    (BatchEnd::OverCpu, "over_cpu"),
    (BatchEnd::OverWall, "over_wall"),
    (BatchEnd::OverMemory, "over_memory"),
    (BatchEnd::OverLimit, "over_limit"),
    (BatchEnd::Cancelled, "cancelled"),
    (BatchEnd::StartFailed, "start_failed"),
    (BatchEnd::NodeFailed, "node_failed"),
    (BatchEnd::Unsaid, "unsaid"),
];

fn name_of<T: PartialEq>(table: &[(T, &'static str)], one: &T) -> Option<&'static str> {
    table.iter().find(|(other, _)| other == one).map(|(_, name)| *name)
}

fn named<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|(_, other)| *other == name).map(|(one, _)| *one)
}

/// The refusal's name.
#[must_use]
pub fn of_refusal(refusal: Refusal) -> &'static str {
    name_of(&REFUSALS, &refusal).unwrap_or("unknown")
}

/// The refusal of that name.
#[must_use]
pub fn refusal(name: &str) -> Option<Refusal> {
    named(&REFUSALS, name)
}

/// The state's name, and where it is the end that one's name and number.
#[must_use]
pub fn of_state(state: BatchState) -> (&'static str, Option<(&'static str, i32)>) {
    match state {
        BatchState::Ended(BatchEnd::Exited(code)) => ("ended", Some(("exited", code))),
        BatchState::Ended(BatchEnd::Signalled(signal)) => ("ended", Some(("signalled", signal))),
        BatchState::Ended(end) => ("ended", Some((name_of(&ENDS, &end).unwrap_or("unsaid"), 0))),
        state => (name_of(&STATES, &state).unwrap_or("unknown"), None),
    }
}

/// The state of that name, with the end's name and number.
#[must_use]
pub fn state(name: &str, end: Option<(&str, i32)>) -> Option<BatchState> {
    match (name, end) {
        ("ended", Some(("exited", code))) => Some(BatchState::Ended(BatchEnd::Exited(code))),
        ("ended", Some(("signalled", signal))) => {
            Some(BatchState::Ended(BatchEnd::Signalled(signal)))
        }
        ("ended", Some((end, 0))) => named(&ENDS, end).map(BatchState::Ended),
        (name, None) => named(&STATES, name),
        _ => None,
    }
}

/// The name of what a cancel brought, and the words.
#[must_use]
pub fn of_cancel(answer: &CancelAnswer) -> (&'static str, &str) {
    match answer {
        CancelAnswer::Asked => ("asked", ""),
        CancelAnswer::Gone(words) => ("gone", words.as_str()),
        CancelAnswer::Refused(words) => ("refused", words.as_str()),
        CancelAnswer::Down(words) => ("down", words.as_str()),
        CancelAnswer::Unknown(words) => ("unknown", words.as_str()),
    }
}

/// What a cancel brought, of that name.
#[must_use]
pub fn cancel(name: &str, words: &str) -> Option<CancelAnswer> {
    let words = Words::of(words.as_bytes());
    match name {
        "asked" => Some(CancelAnswer::Asked),
        "gone" => Some(CancelAnswer::Gone(words)),
        "refused" => Some(CancelAnswer::Refused(words)),
        "down" => Some(CancelAnswer::Down(words)),
        "unknown" => Some(CancelAnswer::Unknown(words)),
        _ => None,
    }
}

/// The name of a listing's trouble, and the words.
#[must_use]
pub fn of_trouble(trouble: &NoListing) -> (&'static str, &str) {
    match trouble {
        NoListing::Down(words) => ("down", words.as_str()),
        NoListing::NoAccounts(words) => ("no_accounts", words.as_str()),
        NoListing::TooLong => ("too_long", ""),
        NoListing::NotUnderstood(words) => ("not_understood", words.as_str()),
        NoListing::Failed(words) => ("failed", words.as_str()),
    }
}

/// The trouble of that name.
#[must_use]
pub fn trouble(name: &str, words: &str) -> Option<NoListing> {
    let words = Words::of(words.as_bytes());
    match name {
        "down" => Some(NoListing::Down(words)),
        "no_accounts" => Some(NoListing::NoAccounts(words)),
        "too_long" => Some(NoListing::TooLong),
        "not_understood" => Some(NoListing::NotUnderstood(words)),
        "failed" => Some(NoListing::Failed(words)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
