//! What the event bus says of jobs.

use super::*;
use crate::JobEvent;

/// States by the order in which they were told, each with the place of its session in `sessions`.
async fn told(
    gatekeeper: &Gatekeeper,
    heard: &mut tokio::sync::broadcast::Receiver<JobEvent>,
    sessions: &[&str],
    count: usize,
) -> Vec<(usize, JobState)> {
    let numbers: Vec<u64> =
        sessions.iter().map(|session| gatekeeper.jobs.number_of(session).unwrap()).collect();
    let mut told = Vec::new();
    while told.len() < count {
        let event = tokio::time::timeout(PATIENCE, heard.recv()).await;
        let JobEvent { session, state, .. } = event.expect("an event comes").unwrap();
        told.push((numbers.iter().position(|one| *one == session).unwrap(), state));
    }
    assert!(heard.try_recv().is_err());
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_state_is_told_once_and_in_order() {
    use JobState::{Cancelled, Done, Queued, Running};
    let machine = Machine { slots: 1, ..Machine::new() };
    let gatekeeper = machine.gatekeeper().await;
    let alice = gatekeeper.alice().await;
    let mut heard = gatekeeper.jobs.events();

    let first = gatekeeper.submit(&alice).await.unwrap();
    assert_eq!(told(&gatekeeper, &mut heard, &[&first], 2).await, [(0, Queued), (0, Running)]);
    // A session without a job is in no state of one.
    let (second, _) = gatekeeper.prepare(&alice).await;
    gatekeeper.jobs.submit(&alice, ask_in(&second)).await.unwrap();
    let third = gatekeeper.submit(&alice).await.unwrap();
    let all = [first.as_str(), &second, &third];
    assert_eq!(told(&gatekeeper, &mut heard, &all, 2).await, [(1, Queued), (2, Queued)]);

    // What is told is what a question is answered, at that moment already.
    let number = gatekeeper.jobs.number_of(&first).unwrap();
    machine.standin.end(&first, &record("exited", Some(0), None, 1));
    assert!(gatekeeper.jobs.job_ended(number).await);
    assert_eq!(gatekeeper.state(&first), "done");
    assert_eq!(told(&gatekeeper, &mut heard, &all, 2).await, [(0, Done), (1, Running)]);
    let subject = subject("Alice");
    gatekeeper.jobs.cancel(Some(&subject), &third).await.unwrap();
    assert_eq!(told(&gatekeeper, &mut heard, &all, 1).await, [(2, Cancelled)]);

    // Whoever comes later hears of what comes later; a restart is no change of state.
    gatekeeper.crash();
    let gatekeeper = machine.gatekeeper().await;
    let mut heard = gatekeeper.jobs.events();
    gatekeeper.until_state(&second, Running).await;
    machine.standin.end(&second, &record("exited", Some(0), None, 1));
    assert_eq!(told(&gatekeeper, &mut heard, &all, 1).await, [(1, Done)]);
}
