use std::time::{Duration, Instant};

use nesssi_rpc::{Fault, Value};

use super::{ANSWER_BYTES_MAX, CallsBudget, SECONDS_MAX};

#[test]
fn answers_are_charged_until_nothing_is_left() {
    let empty = Value::String(String::new()).bytes_held();
    for (length, room) in [(-1, true), (0, false), (1, false)] {
        let mut budget = CallsBudget::begin();
        budget.charge(&Err(Fault::refused("x".repeat(1000))));
        let rest = ANSWER_BYTES_MAX - 1000 - empty;
        let text = "x".repeat(rest.checked_add_signed(length).unwrap());
        budget.charge(&Ok(Value::String(text)));
        assert_eq!(budget.check().is_ok(), room, "{length}");
        if !room {
            let fault = budget.check().unwrap_err();
            assert!(fault.to_string().starts_with("fault 413: not begun"), "{fault}");
        }
    }
}

#[test]
fn no_call_begins_after_the_time_is_over() {
    let mut budget = CallsBudget::begin();
    let left = budget.ends.saturating_duration_since(Instant::now());
    assert!(left > Duration::from_secs(SECONDS_MAX - 60), "{left:?}");
    assert_eq!(budget.check(), Ok(()));
    budget.ends = Instant::now();
    let fault = budget.check().unwrap_err();
    assert!(fault.to_string().starts_with("fault 413: not begun"), "{fault}");
}
