use nesssi_job::JobState;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{Changing, EVENTS_KEPT_MAX, Telling};

/// Holds what it was told to have changed.
#[derive(Debug, Default)]
struct Changes(Vec<(u64, JobState)>);

impl Changing for Changes {
    fn take_changes(&mut self) -> Vec<(u64, JobState)> {
        std::mem::take(&mut self.0)
    }
}

fn change(of: &Telling<Changes>, session: u64) {
    of.take().0.push((session, JobState::Running));
}

#[test]
fn what_changed_is_told_when_the_table_is_let_go() {
    let telling = Telling::new(Changes::default());
    change(&telling, 1);
    let mut heard = telling.events().subscribe();
    let mut taken = telling.take();
    taken.0.push((2, JobState::Queued));
    assert_eq!(heard.try_recv(), Err(TryRecvError::Empty));
    taken.0.push((2, JobState::Done));
    drop(taken);
    let states = [heard.try_recv().unwrap(), heard.try_recv().unwrap()];
    assert_eq!(
        states.map(|event| (event.session, event.state)),
        [(2, JobState::Queued), (2, JobState::Done)]
    );
    assert!(states.iter().all(|event| event.at_ms > 0));
    assert_eq!(heard.try_recv(), Err(TryRecvError::Empty));
}

#[tokio::test]
async fn a_slow_subscriber_holds_nobody_up_and_hears_how_much_he_missed() {
    let most = u64::try_from(EVENTS_KEPT_MAX).unwrap();
    for (count, missed) in [(most - 1, 0), (most, 0), (most + 1, 1), (3 * most, 2 * most)] {
        let telling = Telling::new(Changes::default());
        let mut slow = telling.events().subscribe();
        for session in 0..count {
            change(&telling, session);
        }
        let mut first = slow.recv().await;
        if missed > 0 {
            assert_eq!(first, Err(RecvError::Lagged(missed)), "{count}");
            first = slow.recv().await;
        }
        assert_eq!(first.unwrap().session, missed, "{count}");
    }
}
