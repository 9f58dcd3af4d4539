//! The monitor of NESSSI: the one process that is root.
//!
//! It opens the ports, judges who may be what, starts the other processes as the users that they are to be,
//! seals sessions and keeps the cgroup leaves of jobs. It parses nothing that a stranger sent, and
//! never waits: one thread, one `poll`; whatever may take time happens in a forked child.
//!
//! Where to read: [`requests`] is all that the network process may ask for; [`lookup`] is how an account
//! becomes a process; [`monitor`] is the loop; [`setup`] is the start.

pub mod accounts;
pub mod audit;
pub mod backoff;
pub mod check;
pub mod clock;
pub mod control;
pub mod files;
pub mod gatekeeper;
pub mod grants;
pub mod leaves;
pub mod link;
pub mod log;
pub mod lookup;
pub mod monitor;
pub mod options;
pub mod paths;
pub mod pools;
pub mod programs;
pub mod renewal;
pub mod requests;
pub mod rules;
pub mod seals;
pub mod setup;
