//! The event bus: what becomes of jobs, as it becomes so.
//!
//! There is one place that tells: whoever lets go of the table of jobs tells what has changed in it
//! since he took it, so that no state changes silently, and an event never says what `job.status`
//! would not. Telling never waits: a subscriber who is slow loses the oldest events and hears how
//! many ([`broadcast::error::RecvError::Lagged`]); he then asks for what he wants to know.
//!
//! `job.wait` hears of its job's end from the same place, but not over the bus: an event wakes every
//! subscriber, and ten thousand who wait for a job each would all be woken for each end.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard};

use nesssi_job::JobState;
use tokio::sync::broadcast;

use crate::clock::now_ms;
use crate::link::lock;

/// How many events a subscriber may be behind before he loses the oldest.
pub const EVENTS_KEPT_MAX: usize = 4096;

/// A job came into a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobEvent {
    /// The journal's number for its session.
    pub session: u64,
    /// Where it stands from now on.
    pub state: JobState,
    /// When: milliseconds since 1970 UTC.
    pub at_ms: u64,
}

/// The bus. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    sender: broadcast::Sender<JobEvent>,
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(EVENTS_KEPT_MAX) }
    }
}

impl Events {
    /// All events from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<JobEvent> {
        self.sender.subscribe()
    }

    fn tell(&self, event: JobEvent) {
        // An error is that nobody listens.
        self.sender.send(event).ok();
    }
}

/// What jobs change state in.
pub(crate) trait Changing {
    /// The jobs that are in another state than when this was last asked, and wakes those who wait for
    /// the end of one that has ended.
    fn take_changes(&mut self) -> Vec<(u64, JobState)>;
}

/// A table behind a lock, with the bus that its changes go out on.
#[derive(Debug, Default)]
pub(crate) struct Telling<T> {
    table: Mutex<T>,
    events: Events,
}

impl<T: Changing> Telling<T> {
    pub(crate) fn new(table: T) -> Self {
        Self { table: Mutex::new(table), events: Events::default() }
    }

    /// Takes the table; what has changed in it is told when it is let go.
    pub(crate) fn take(&self) -> Taken<'_, T> {
        Taken { table: lock(&self.table), events: &self.events }
    }

    pub(crate) fn events(&self) -> &Events {
        &self.events
    }
}

/// The table in hand.
#[derive(Debug)]
pub(crate) struct Taken<'a, T: Changing> {
    table: MutexGuard<'a, T>,
    events: &'a Events,
}

impl<T: Changing> Deref for Taken<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.table
    }
}

impl<T: Changing> DerefMut for Taken<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.table
    }
}

impl<T: Changing> Drop for Taken<'_, T> {
    /// Under the lock still, so that a job's events come in the order of its states.
    fn drop(&mut self) {
        for (session, state) in self.table.take_changes() {
            self.events.tell(JobEvent { session, state, at_ms: now_ms() });
        }
    }
}

#[cfg(test)]
mod tests;
