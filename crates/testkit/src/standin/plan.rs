//! What the stand-in is to do wrong.

use serde::{Deserialize, Serialize};

/// A plan. The default is a batch system that works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// How many jobs run at a time (64).
    pub slots: usize,
    /// For so long ended jobs are remembered, in milliseconds (two weeks).
    pub remembers_ms: u64,
    /// How often a job's script is started.
    pub starts: Starts,
    /// New jobs are held, with these words as their comment.
    pub hold: Option<String>,
    /// Jobs that wait say this.
    pub waiting_comment: Option<String>,
    /// No job is known to qstat and qdel, but all go on.
    pub forgets: bool,
    /// The manner of `qsub`.
    pub qsub: Manner,
    /// The manner of `qstat`.
    pub qstat: Manner,
    /// The manner of `qdel`.
    pub qdel: Manner,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            slots: 64,
            remembers_ms: 14 * 86_400 * 1000,
            starts: Starts::Once,
            hold: None,
            waiting_comment: None,
            forgets: false,
            qsub: Manner::default(),
            qstat: Manner::default(),
            qdel: Manner::default(),
        }
    }
}

/// How often a script is started, whatever `-r n` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Starts {
    /// As it should be.
    Once,
    /// Two at the same time.
    TwiceAtOnce,
    /// Once more when it has ended.
    Again,
}

/// How a command behaves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manner {
    /// It takes so long before it does anything.
    pub delay_ms: u64,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// Only each so many-th call goes wrong; 0 is each.
    pub every: usize,
    /// Calls after which nothing goes wrong any more; 0 is none.
    pub until_call: usize,
}

/// What goes wrong. Where a name ends in `After`, the command has done its work by then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Hangs for ever.
    Hang,
    /// Does its work, and hangs for ever.
    HangAfter,
    /// Prints bytes that mean nothing, and ends well.
    Garbage,
    /// Does its work, prints bytes that mean nothing, and ends well.
    GarbageAfter,
    /// Does its work, and ends well without a word.
    SilentAfter,
    /// Does its work, and says that the connection was lost.
    LostAfter,
    /// Is killed.
    Killed,
    /// Does its work, and is killed.
    KilledAfter,
    /// Does its work, and speaks German.
    GermanAfter,
    /// The server cannot be reached.
    Down,
    /// Refused by a rule of the site.
    Policy,
    /// Refused since there are too many jobs.
    Quota,
    /// There is no such queue.
    UnknownQueue,
    /// An option is not understood.
    Syntax,
    /// An error that nobody has seen before.
    Strange,
    /// The id is that of the job before, of which nothing is known any more: as after a crash of the server.
    SameId,
    /// The id is that of a job array.
    Array,
    /// Half of the answer, and it ends well.
    Half,
    /// Half of the answer, and it fails.
    HalfFailed,
    /// More bytes than anybody wants, behind its work.
    HugeAfter {
        /// How many.
        bytes: u64,
    },
}

impl Fault {
    /// Whether the command does its work all the same.
    pub(super) fn works(&self) -> bool {
        matches!(
            self,
            Self::HangAfter
                | Self::GarbageAfter
                | Self::SilentAfter
                | Self::LostAfter
                | Self::KilledAfter
                | Self::GermanAfter
                | Self::SameId
                | Self::Array
                | Self::Half
                | Self::HalfFailed
                | Self::HugeAfter { .. }
        )
    }
}
