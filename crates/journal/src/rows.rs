//! What the journal holds: rows as they are loaded, and the changes that make them.

use nesssi_job::{Command, JobState, Tag};
use nesssi_policy::{AccessEdit, Limits, SubjectDn, VoChange};
use nesssi_session::SessionId;

use crate::{AnswerRow, KeptReply};

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// It has a sandbox and no job yet.
    Prepared,
    /// It has a job.
    Admitted,
    /// Its sandbox is gone.
    Removed,
}

impl SessionState {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Admitted => "admitted",
            Self::Removed => "removed",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Prepared, Self::Admitted, Self::Removed].into_iter().find(|s| s.as_str() == text)
    }
}

/// A session. Times are milliseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The journal's number for it; given by the writer, never used again.
    pub number: u64,
    /// The session.
    pub id: SessionId,
    /// Whose it is, as `dn::SubjectDn::to_bytes` writes it; `None` is anonymous.
    pub subject: Option<Vec<u8>>,
    /// The issuer of his certificate, in the same form.
    pub issuer: Option<Vec<u8>>,
    /// Where he called from.
    pub address: String,
    /// The account.
    pub account: String,
    /// The level.
    pub level: String,
    /// What the level allowed then.
    pub limits: Limits,
    /// The service that made it.
    pub service: String,
    /// Its method.
    pub method: String,
    /// When it was made.
    pub created_ms: u64,
    /// When it may be removed; meaningless while its job has not ended.
    pub expires_ms: u64,
    /// The monitor's seal, in the container's encoding.
    pub seal: Vec<u8>,
    /// Where it stands.
    pub state: SessionState,
    /// Why it could not be removed, if that was tried.
    pub trouble: Option<String>,
}

/// A shepherd, so named that a pid used again is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shepherd {
    /// Its pid.
    pub pid: u32,
    /// Its start, in clock ticks after boot.
    pub start_ticks: u64,
    /// The kernel's boot id then.
    pub boot_id: String,
}

/// A job. Times are milliseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// The number of its session.
    pub session: u64,
    /// The tag.
    pub tag: Tag,
    /// The batch system's name.
    pub batch: String,
    /// Where it stands.
    pub state: JobState,
    /// What it runs; kept until it has ended, so that a queued job can be started after a restart.
    pub command: Option<Command>,
    /// CPU seconds it was admitted for.
    pub cpu_seconds_max: u64,
    /// Wall seconds it may take.
    pub wall_seconds_max: u64,
    /// Bytes its sandbox may hold; 0 is no limit.
    pub sandbox_bytes_max: u64,
    /// Whether its processes are in a cgroup leaf, named `j` and the tag.
    pub leaf: bool,
    /// Its shepherd, once it is started.
    pub shepherd: Option<Shepherd>,
    /// What the batch system calls it, once that has taken it; the local one calls it nothing.
    pub batch_id: Option<String>,
    /// CPUs that it was given: what it is charged for where its CPU time cannot be had.
    pub cpus: u32,
    /// When the batch system took it.
    pub submitted_ms: Option<u64>,
    /// When it was admitted.
    pub queued_ms: u64,
    /// When it was started.
    pub started_ms: Option<u64>,
    /// How it ended.
    pub end: Option<JobEnd>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// A final state.
    pub state: JobState,
    /// The main process's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// CPU microseconds charged.
    pub cpu_usec: u64,
    /// Wall microseconds.
    pub wall_usec: u64,
    /// When.
    pub ended_ms: u64,
    /// Why, in a line for people; may be empty.
    pub reason: String,
}

/// One step. Several in one write become durable together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new session.
    AddSession(Box<SessionRow>),
    /// A new job: its session is admitted from now on.
    AddJob(Box<JobRow>),
    /// A job's shepherd runs. A job with a batch id has none.
    Started {
        /// The session's number.
        session: u64,
        /// Whether it has a leaf.
        leaf: bool,
        /// The shepherd.
        shepherd: Shepherd,
        /// When.
        started_ms: u64,
    },
    /// A batch system has taken a job, which stays as it is. Another batch id than before takes its
    /// place: a submission may have been repeated, and the guard says which of the two it is. None fits
    /// a job of the local batch system.
    Submitted {
        /// The session's number.
        session: u64,
        /// What the batch system calls it.
        batch_id: String,
        /// When.
        submitted_ms: u64,
    },
    /// A job that a batch system has taken runs. Said again, it corrects when it was started.
    Running {
        /// The session's number.
        session: u64,
        /// When it was started.
        started_ms: u64,
    },
    /// A job has ended; its command is forgotten.
    Ended {
        /// The session's number.
        session: u64,
        /// How.
        end: JobEnd,
        /// When the session may be removed.
        expires_ms: u64,
    },
    /// A session is kept until another time than before.
    Kept {
        /// The session's number.
        session: u64,
        /// When it may be removed.
        expires_ms: u64,
    },
    /// The removal of a sandbox failed, or was put off.
    Trouble {
        /// The session's number.
        session: u64,
        /// What could not be removed.
        text: String,
    },
    /// A sandbox is gone.
    Removed {
        /// The session's number.
        session: u64,
    },
    /// Forgets sessions removed before a time. Their numbers and ids are not used again.
    ForgetRemoved {
        /// Milliseconds since 1970 UTC.
        before_ms: u64,
    },
    /// A change of the VO groups.
    Vo {
        /// What.
        change: VoChange,
        /// Who made it.
        by: SubjectDn,
        /// When: milliseconds since 1970 UTC.
        at_ms: u64,
    },
    /// A new access edit.
    AddAccessEdit(Box<AccessEdit>),
    /// The end of one.
    RemoveAccessEdit {
        /// Its number.
        number: u64,
    },
    /// CPU time was used, and adds to what was before.
    Used {
        /// Whose budget it is of, in the words of whoever keeps budgets.
        owner: String,
        /// Days since 1970 (UTC).
        day: u32,
        /// CPU microseconds.
        cpu_usec: u64,
    },
    /// Forgets what was used before a day.
    ForgetUsed {
        /// Days since 1970 (UTC).
        before_day: u32,
    },
    /// A call with a client tag is about to be carried out. An earlier one of the same owner, method
    /// and tag is forgotten.
    BeginAnswer(Box<AnswerRow>),
    /// Such a call makes, or gives a job to, a session: in one write with the session or the job.
    AnswerMade {
        /// The answer's number.
        answer: u64,
        /// The session.
        session: SessionId,
    },
    /// Such a call is answered.
    KeepAnswer {
        /// The answer's number.
        answer: u64,
        /// What it came to.
        kept: KeptReply,
        /// When it may be forgotten: milliseconds since 1970 UTC.
        expires_ms: u64,
    },
    /// Forgets such a call. One that is not there is forgotten already.
    ForgetAnswer {
        /// The answer's number.
        answer: u64,
    },
}
