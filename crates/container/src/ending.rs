//! The end of a container: who is still at work, and who asked for the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};

/// Why the container is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The monitor asks to finish what is under way and to release the lease.
    Drain {
        /// Seconds until this process is killed.
        seconds_max: u32,
    },
    /// The monitor is gone: exit at once.
    MonitorGone,
}

/// Remembers the first ending that was asked for; the monitor's death overrides a drain.
#[derive(Debug)]
pub(crate) struct EndingSignal {
    sender: watch::Sender<Option<Ending>>,
}

impl Default for EndingSignal {
    fn default() -> Self {
        Self { sender: watch::Sender::new(None) }
    }
}

impl EndingSignal {
    pub(crate) fn set(&self, ending: Ending) {
        self.sender.send_replace(Some(ending));
    }

    /// Whether an end has been asked for.
    pub(crate) fn is_set(&self) -> bool {
        self.sender.borrow().is_some()
    }

    pub(crate) async fn wait(&self) -> Ending {
        let mut receiver = self.sender.subscribe();
        let known = receiver.wait_for(Option::is_some).await;
        known.ok().and_then(|ending| *ending).unwrap_or(Ending::MonitorGone)
    }
}

/// Counts calls under way, and closes the door.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    state: Arc<InFlightState>,
}

#[derive(Debug, Default)]
struct InFlightState {
    closed: AtomicBool,
    count: AtomicUsize,
    empty: Notify,
}

/// One call under way; dropping it is the end of the call.
#[derive(Debug)]
pub(crate) struct UnderWay {
    state: Arc<InFlightState>,
}

impl InFlight {
    /// A call begins, unless the door is closed.
    pub(crate) fn enter(&self) -> Option<UnderWay> {
        self.state.count.fetch_add(1, Ordering::SeqCst);
        // The guard comes first, so that a refused call is counted out again by its drop.
        let under_way = UnderWay { state: Arc::clone(&self.state) };
        (!self.state.closed.load(Ordering::SeqCst)).then_some(under_way)
    }

    /// Takes a call under way out of the count for as long as it waits for what may be long in coming;
    /// it is in again when this is dropped. For those alone who are counted.
    pub(crate) fn away(&self) -> Away {
        let state = Arc::clone(&self.state);
        state.leave();
        Away { state }
    }

    /// Whether the door is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.closed.load(Ordering::SeqCst)
    }

    /// Closes the door and waits for nobody, as a sudden death does.
    #[cfg(test)]
    pub(crate) fn close_for_test(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
    }

    /// Closes the door and waits until the last call is out.
    pub(crate) async fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
        loop {
            let empty = self.state.empty.notified();
            if self.state.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            empty.await;
        }
    }
}

/// One call that waits, and holds nobody up; dropping it is the end of its waiting.
#[derive(Debug)]
pub(crate) struct Away {
    state: Arc<InFlightState>,
}

impl InFlightState {
    fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.empty.notify_waiters();
        }
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.state.count.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.state.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, EndingSignal, InFlight};

    #[tokio::test]
    async fn closing_waits_for_the_last_call() {
        let in_flight = std::sync::Arc::new(InFlight::default());
        let call = in_flight.enter().unwrap();
        let closing = tokio::spawn({
            let in_flight = std::sync::Arc::clone(&in_flight);
            async move { in_flight.close().await }
        });
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert!(!closing.is_finished());
        assert!(in_flight.enter().is_none());
        drop(call);
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn closing_does_not_wait_for_a_call_that_is_away() {
        let in_flight = InFlight::default();
        let call = in_flight.enter().unwrap();
        let away = in_flight.away();
        in_flight.close().await;
        drop(away);
        drop(call);
        in_flight.close().await;
    }

    #[tokio::test]
    async fn an_ending_is_remembered() {
        let signal = EndingSignal::default();
        signal.set(Ending::Drain { seconds_max: 3 });
        assert_eq!(signal.wait().await, Ending::Drain { seconds_max: 3 });
    }
}
