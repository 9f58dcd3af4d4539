//! A state is where a job stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{EndReason, EndRecord};

/// `queued -> running -> done | failed | cancelled | over_limit | lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Admitted and durable, not started.
    Queued,
    /// Its payload has been started.
    Running,
    /// It ended by itself with exit code 0.
    Done,
    /// It ended by itself with another code or by a signal, or could not be started.
    Failed,
    /// It was ended on request.
    Cancelled,
    /// It was ended because it used more than it was admitted for.
    OverLimit,
    /// Nobody can say how it ended.
    Lost,
}

/// Text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown job state {0:?}")]
pub struct UnknownState(pub String);

impl JobState {
    /// All states, in the order a job may go through them.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::OverLimit,
        Self::Lost,
    ];

    /// The word users and the journal know.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::OverLimit => "over_limit",
            Self::Lost => "lost",
        }
    }

    /// Whether nothing more can happen to the job.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The state that an end record testifies to; none at all is [`JobState::Lost`].
    #[must_use]
    pub fn from_end(record: Option<&EndRecord>) -> Self {
        let Some(record) = record else { return Self::Lost };
        match record.reason {
            EndReason::Exited if record.exit_code == Some(0) => Self::Done,
            EndReason::Exited | EndReason::StartFailed => Self::Failed,
            EndReason::Cancelled => Self::Cancelled,
            EndReason::OverCpu | EndReason::OverWall | EndReason::OverBytes => Self::OverLimit,
            EndReason::Lost => Self::Lost,
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}
