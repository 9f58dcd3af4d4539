//! What running jobs have used, for those who cannot read it from a leaf.

use std::collections::HashMap;
use std::time::Instant;

use nesssi_privsep::messages::FromJobmanager;
use nesssi_session::SessionId;

use crate::manager::Manager;
use crate::proctree;
use crate::requests::{Answer, plain};

/// A look at `/proc` may take a fiftieth of this process's time; until the next may be, the last counts.
const LOOK_COST_FACTOR: u32 = 50;

/// The last look at all jobs' trees.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    cpu_usec: HashMap<SessionId, u64>,
    not_before: Option<Instant>,
}

impl Manager {
    /// CPU microseconds of each session's job, all by one look.
    pub(crate) fn usage_of(&mut self, sessions: &[String]) -> Answer {
        let sessions: Vec<Option<SessionId>> =
            sessions.iter().map(|session| SessionId::parse(session).ok()).collect();
        let now = Instant::now();
        let is_due = self.usage.not_before.is_none_or(|not_before| now >= not_before);
        if is_due && sessions.iter().flatten().any(|session| self.jobs.contains_key(session)) {
            self.usage.cpu_usec = self.look();
            let cost = now.elapsed();
            self.usage.not_before = Some(Instant::now() + cost * LOOK_COST_FACTOR);
        }
        let known = |session: &SessionId| {
            self.usage.cpu_usec.get(session).filter(|_| self.jobs.contains_key(session)).copied()
        };
        let cpu_usec = sessions.iter().map(|session| session.as_ref().and_then(known)).collect();
        plain(FromJobmanager::Usage { cpu_usec })
    }

    fn look(&self) -> HashMap<SessionId, u64> {
        let (sessions, roots): (Vec<_>, Vec<_>) = self
            .jobs
            .iter()
            .filter_map(|(session, job)| Some((session.clone(), job.shepherd_process()?)))
            .unzip();
        sessions.into_iter().zip(proctree::tree_usec(&roots, &proctree::all())).collect()
    }
}
