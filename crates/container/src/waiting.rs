//! Those who wait for the end of a job: `job.wait`.
//!
//! A *waiter* is a call that is answered when the job ends, its time is over, or the server is about
//! to be replaced. It costs a timer and an entry in the list of those whom the job's end wakes: no
//! thread, no task of its own, and nobody asks a batch system for it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use nesssi_rpc::{Fault, FaultCode};
use tokio::sync::watch;

use crate::Inner;
use crate::jobs::Owner;
use crate::link::lock;

/// All who wait.
#[derive(Debug)]
pub(crate) struct Waiters {
    counts: Mutex<Counts>,
    /// Becomes true when all are to be answered.
    released: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u32,
    of: HashMap<Owner, u32>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self { counts: Mutex::default(), released: watch::Sender::new(false) }
    }
}

/// One who waits; dropping it is the end of that.
#[derive(Debug)]
struct Waiter<'a> {
    waiters: &'a Waiters,
    owner: Owner,
}

/// What ended the waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The job has ended, or the session is gone.
    Ended,
    /// The time is over.
    TimeOver,
    /// The server is about to be replaced: its successor may be asked.
    Released,
}

impl Waiters {
    /// Answers all who wait, and whoever would from now on, at once.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }

    /// # Errors
    /// 429 where all or this one are too many.
    fn enter(&self, owner: Owner, all_max: u32, own_max: u32) -> Result<Waiter<'_>, Fault> {
        let mut counts = lock(&self.counts);
        let too_many = |text: String| Err(Fault::new(FaultCode::TooMany, text));
        if counts.all >= all_max {
            return too_many(format!("{all_max} calls wait for jobs, which is the limit"));
        }
        let own = counts.of.entry(owner.clone()).or_default();
        if *own >= own_max {
            return too_many(format!(
                "{own_max} calls of this caller wait for jobs, which is the limit"
            ));
        }
        *own += 1;
        counts.all += 1;
        Ok(Waiter { waiters: self, owner })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut counts = lock(&self.waiters.counts);
        counts.all = counts.all.saturating_sub(1);
        if let Some(own) = counts.of.get_mut(&self.owner) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.of.remove(&self.owner);
            }
        }
    }
}

/// Waits for the end of the session's job, for so long at most. Whoever waits is under way.
///
/// # Errors
/// 404; 429 where too many wait.
pub(crate) async fn wait(
    inner: &Inner,
    owner: Owner,
    session: &str,
    patience: Duration,
) -> Result<Waited, Fault> {
    let number = inner.jobs.number_of(session)?;
    if inner.jobs.has_ended(number) {
        return Ok(Waited::Ended);
    }
    let mut released = inner.waiters.released.subscribe();
    if *released.borrow() {
        return Ok(Waited::Released);
    }
    if patience.is_zero() {
        return Ok(Waited::TimeOver);
    }
    let bounds = &inner.config.bounds;
    let _waiter = inner.waiters.enter(owner, bounds.waiters_max, bounds.waiters_per_caller_max)?;
    let _away = inner.in_flight.away();
    Ok(tokio::select! {
        biased;
        _ = inner.jobs.job_ended(number) => Waited::Ended,
        _ = released.wait_for(|released| *released) => Waited::Released,
        () = tokio::time::sleep(patience) => Waited::TimeOver,
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Waiters;
    use crate::jobs::Owner;

    fn owner(last: u8) -> Owner {
        Owner::of(None, IpAddr::from([192, 0, last, 1]))
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let waiters = Waiters::default();
        let one = waiters.enter(owner(1), 3, 2).unwrap();
        let _two = waiters.enter(owner(1), 3, 2).unwrap();
        let refused = |last| waiters.enter(owner(last), 3, 2).unwrap_err().to_string();
        assert!(refused(1).contains("2 calls of this caller wait"), "{}", refused(1));
        let _other = waiters.enter(owner(2), 3, 2).unwrap();
        assert!(refused(3).contains("3 calls wait for jobs"), "{}", refused(3));
        drop(one);
        let _again = waiters.enter(owner(1), 3, 2).unwrap();
        assert_eq!(waiters.counts.lock().unwrap().of.len(), 2);
    }
}
