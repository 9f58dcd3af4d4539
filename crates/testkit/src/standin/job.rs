//! What the stand-in knows of a job.

use serde::{Deserialize, Serialize};

use super::SERVER;

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandInJob {
    /// Its number, which its id begins with.
    pub number: u64,
    /// Counts jobs, those with an id that was given again too.
    pub serial: u64,
    /// Its name.
    pub name: String,
    /// The account that submitted it.
    pub owner: String,
    /// That account's uid.
    pub uid: u32,
    /// That account's gid.
    pub gid: u32,
    /// Its queue.
    pub queue: String,
    /// `-l` as it was given, without `select`.
    pub resources: Vec<(String, String)>,
    /// `-l select=`.
    pub select: String,
    /// `-v`.
    pub variables: Vec<(String, String)>,
    /// The arguments of `qsub`, as `qstat -f` shows them.
    pub submit_arguments: String,
    /// `-r y`.
    pub rerunnable: bool,
    /// What it does.
    pub state: StandInState,
    /// Seconds since 1970.
    pub submitted: u64,
    /// Seconds since 1970.
    pub started: Option<u64>,
    /// Milliseconds since 1970.
    pub ended_ms: Option<u64>,
    /// The session that its script leads.
    pub session: Option<i32>,
    /// How often its script was started.
    pub run_count: u32,
    /// As OpenPBS tells it.
    pub exit_status: Option<i64>,
    /// 91 if it was deleted, 93 if it ended otherwise.
    pub substate: u32,
    /// CPU seconds used.
    pub cput: u64,
    /// Why it waits, or how it went.
    pub comment: String,
}

/// The letters of `job_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each is what it says")]
pub enum StandInState {
    Queued,
    Held,
    Running,
    Finished,
}

impl StandInState {
    /// OpenPBS's letter.
    pub(super) fn letter(self) -> &'static str {
        match self {
            Self::Queued => "Q",
            Self::Held => "H",
            Self::Running => "R",
            Self::Finished => "F",
        }
    }
}

impl StandInJob {
    /// `N.pbs`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{SERVER}", self.number)
    }

    /// Seconds of a resource, `cput` or `walltime`.
    pub(super) fn limit_seconds(&self, resource: &str) -> Option<u64> {
        let (_, value) = self.resources.iter().find(|(name, _)| name == resource)?;
        value.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<u64>().ok()?))
    }
}
