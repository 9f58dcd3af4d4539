//! Tests of the back-off.

use super::*;

#[test]
fn waits_double_up_to_the_longest() {
    let mut backoff = Backoff::default();
    let waits: Vec<u128> =
        (0..40).map(|_| backoff.ended(Duration::from_secs(1)).as_millis()).collect();
    assert_eq!(waits[..4], [100, 200, 400, 800]);
    assert_eq!(waits[8], 25_600);
    assert!(waits[9..].iter().all(|wait| *wait == 30_000));
}

#[test]
fn a_long_life_begins_anew() {
    let mut backoff = Backoff::default();
    for _ in 0..5 {
        backoff.ended(Duration::from_secs(1));
    }
    assert_eq!(backoff.ended(Duration::from_secs(59)).as_millis(), 3200);
    assert_eq!(backoff.ended(Duration::from_secs(60)).as_millis(), 100);
}
