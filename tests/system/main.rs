//! Whole-system tests: one binary, so that it links once and starts its servers side by side.
//!
//! Every test builds a `World` (see `nesssi-testkit`): a throwaway grid, a configuration and a real
//! server on loopback, all of it gone when the test ends.
#![allow(missing_docs, reason = "tests are read by their names")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on must stop, and say where; and tests play users, who have an environment"
)]

mod any_language;
mod arrows;
mod audit;
mod backups;
mod bad_input;
mod batch_faults;
mod batch_help;
mod builtins;
mod clients;
mod command;
mod crash;
mod credentials;
mod dependencies;
mod developers;
mod dialects;
mod examples;
mod explains;
mod file_service;
mod files;
mod front;
mod hostile;
mod jobs;
mod main_job;
mod pages;
mod python_client;
mod refusals;
mod replaced;
mod secrets;
mod services;
mod shared_sandboxes;
mod slurm;
mod slurm_bed;
mod standin;
mod survival;
mod tags;
mod waiters;
