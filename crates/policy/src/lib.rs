//! What callers may do.
//!
//! * A *level* says how far a credential is trusted, and what it may use: [`Level`], [`Limits`].
//! * The *gridmap* says which account a subject DN has of its own: [`Gridmap`].
//! * A *VO group* is a named set of subject DNs that access lists may name: [`VoTree`].
//! * An *access list* says who may call a service's methods: [`Access`]. An *access edit* is what an
//!   administrator says beside it while the server runs: [`AccessEdit`].
//!
//! [`Rules::judge`] turns a caller into a [`Judgement`], [`Access::permits`] into [`Permitted`],
//! and [`admit_seconds`] holds what is asked against the level's limit. [`decide`] puts them
//! together for one call, and [`explain()`] says what came of it and why. All of it is pure: the
//! caller reads the files, and knows the time.
#![forbid(unsafe_code)]

mod access;
mod decision;
mod edits;
mod explain;
mod gridmap;
mod levels;
mod limits;
mod names;
mod prefixes;
mod vo;
pub mod written;

pub use ipnet::IpNet;
pub use nesssi_dn::{DnPattern, SubjectDn};

pub use access::{ACCESS_BYTES_MAX, Access, AccessError, Ask, Denied, Groups, Permitted};
pub use decision::{
    ANONYMOUS_TOTAL_TIMES, Decided, Graded, NO_CREDENTIAL, OVER_LIMIT, Offer, READS_ONLY, REFUSED,
    Refused, TOO_MANY, Terms, Today, Used, admit_call, admit_job, admit_size, decide, denied_by,
    next_midnight, no_level, not_his_account, refusal_of,
};
pub use edits::{ACCESS_EDITS_MAX, AccessEdit, AccessEdits, EditError, Whom, WhomError};
pub use explain::{
    Explanation, Granted, Outcome, Question, Step, Unjudged, explain, explain_caller, explain_case,
};
pub use gridmap::{GRIDMAP_BYTES_MAX, Gridmap, GridmapEntry, GridmapError, Warning};
pub use levels::{From, Judgement, Level, NotJudged, ProxyKind, ProxyWord, Rules, Who};
pub use limits::{AdmitError, LIMITS_BYTES, Limits, OverLimit, admit_seconds};
pub use names::{AccountName, Assigned, LevelName, NameError, PoolName};
pub use vo::{
    VO_ENTRIES_MAX, VO_GROUPS_MAX, VoChange, VoError, VoTree, check_group_name, vo_entry_key,
};
