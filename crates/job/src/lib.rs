//! A job is one request's work: a command that runs in a sandbox under limits.
//!
//! This room says what a job may be and which states it goes through. It reads no clock, asks no
//! system, and knows no batch system's socket; the local dialect is an argument vector. How the jobmanager and
//! the poller use the dialects of PBS and Slurm: [`batch`].
#![forbid(unsafe_code)]

pub mod batch;
mod command;
mod end;
mod spec;
mod state;
mod tag;

pub use command::{ARGUMENT_BYTES_MAX, ARGUMENTS_BYTES_MAX, ARGUMENTS_MAX, Command, CommandError};
pub use end::{EndReason, EndRecord, EndRecordError, RECORD_BYTES_MAX};
pub use spec::{AdmittedJob, Ceiling, JobSpec, NotAdmitted, render_local};
pub use state::{JobState, UnknownState};
pub use tag::{TAG_DIGITS, Tag, TagError};
