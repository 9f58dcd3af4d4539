//! How the batch systems are, as far as the last listing says.

use std::collections::BTreeMap;

use nesssi_job::batch::Words;
use nesssi_rpc::Value;

use crate::clock::{date_time, iso};

/// How a batch system answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Answering {
    /// As it should.
    #[default]
    Ok,
    /// It takes long.
    Slow,
    /// Not at all.
    Down,
}

impl Answering {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow => "slow",
            Self::Down => "down",
        }
    }
}

/// A batch system as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BatchHealth {
    /// The dialect that it speaks; empty while that is not known.
    pub(crate) dialect: String,
    pub(crate) answering: Answering,
    /// When the listing was begun that it last answered; `None` is that it has not yet.
    pub(crate) as_of_ms: Option<u64>,
    /// What it said of why it does not answer, or of what of its answer could not be read.
    pub(crate) words: Words,
    /// Jobs that it has not begun to run, and those that are still to be submitted.
    pub(crate) waiting: u32,
    /// Jobs that it runs.
    pub(crate) running: u32,
    /// How long between two listings, in seconds.
    pub(crate) interval_seconds: u32,
}

/// All of them, as `system.status` has them.
pub(super) fn value(all: &BTreeMap<String, BatchHealth>) -> Value {
    Value::Array(all.iter().map(|(name, health)| one(name, health)).collect())
}

fn one(name: &str, health: &BatchHealth) -> Value {
    let mut members = vec![
        ("name", name.into()),
        ("dialect", health.dialect.as_str().into()),
        ("state", health.answering.as_str().into()),
        ("words", health.words.as_str().into()),
        ("waiting", Value::Int(health.waiting.into())),
        ("running", Value::Int(health.running.into())),
        ("interval_seconds", Value::Int(health.interval_seconds.into())),
    ];
    members.extend(health.as_of_ms.map(|ms| ("as_of", Value::DateTime(date_time(ms)))));
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Struct(members.collect())
}

/// The same in a line for those who run the server; empty for none.
pub(super) fn line(all: &BTreeMap<String, BatchHealth>) -> String {
    let mut text = String::new();
    for (name, health) in all {
        let BatchHealth { answering, waiting, running, .. } = health;
        let as_of = health.as_of_ms.map_or_else(|| "not asked yet".to_owned(), iso);
        let words = match health.words.as_str() {
            "" => String::new(),
            words => format!(": {words}"),
        };
        let answering = answering.as_str();
        text.push_str(&format!(
            "; {name} {answering}, {running} running, {waiting} waiting, as of {as_of}{words}"
        ));
    }
    text
}

#[cfg(test)]
mod tests;
