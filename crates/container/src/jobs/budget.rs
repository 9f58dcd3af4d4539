//! The day's budgets: CPU time that jobs which have ended, and calls into services, were charged.
//!
//! A *day* is one of UTC. A job is charged to the day on which it ends, whole. What jobs that have not
//! ended may still be charged is *reserved*: it is what they were admitted for, and `table` counts
//! it. Budgets are kept for each owner, and for all anonymous callers of a level together.
//!
//! The end of a job and its charge are one write to the journal. Those of calls are gathered, and
//! written every [`WRITE_EVERY`]: that much a crash forgives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use nesssi_journal::Change;
use nesssi_policy::{LevelName, Used};

use super::Core;
use super::table::Owner;
use crate::clock::now_ms;

/// How often the charges of calls are written.
pub(super) const WRITE_EVERY: Duration =
    Duration::from_millis(if cfg!(test) { 50 } else { 10_000 });

/// How many days of use the journal keeps, for administrators: today's is all that counts.
const DAYS_KEPT: u32 = 31;

/// How many owners' use is remembered. Of anonymous callers beyond, the level's total alone is.
const OWNERS_MAX: usize = 200_000;

const DAY_MS: u64 = 86_400_000;

/// The day of a moment, counted from 1970.
pub(super) fn day_of(ms: u64) -> u32 {
    u32::try_from(ms / DAY_MS).unwrap_or(u32::MAX)
}

/// What was used today.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    day: u32,
    /// CPU microseconds by the owner's key.
    used: HashMap<String, u64>,
    /// What the journal has not been told.
    unwritten: HashMap<(String, u32), u64>,
}

impl Budgets {
    /// Takes up what the journal holds of today.
    pub(super) fn take_up(&mut self, rows: Vec<(String, u32, u64)>, now_ms: u64) {
        self.day = day_of(now_ms);
        let today = rows.into_iter().filter(|(_, day, _)| *day == self.day);
        self.used = today.map(|(owner, _, cpu_usec)| (owner, cpu_usec)).collect();
    }

    /// CPU microseconds that were used today under a key.
    fn used(&self, key: &str, now_ms: u64) -> u64 {
        if day_of(now_ms) == self.day { self.used.get(key).copied().unwrap_or(0) } else { 0 }
    }

    /// Adds a charge that the journal is told by whoever has it.
    pub(super) fn add(&mut self, charge: &Charge) {
        if charge.day > self.day {
            self.day = charge.day;
            self.used.clear();
        }
        if charge.day < self.day {
            return;
        }
        for key in charge.keys() {
            if self.used.len() < OWNERS_MAX || self.used.contains_key(key) {
                let used = self.used.entry(key.clone()).or_default();
                *used = used.saturating_add(charge.cpu_usec);
            }
        }
    }

    /// Adds a charge that is written later.
    fn add_later(&mut self, charge: &Charge) {
        self.add(charge);
        for key in charge.keys() {
            let used = self.unwritten.entry((key.clone(), charge.day)).or_default();
            *used = used.saturating_add(charge.cpu_usec);
        }
    }

    fn take_unwritten(&mut self) -> Vec<Change> {
        let unwritten = std::mem::take(&mut self.unwritten).into_iter();
        unwritten.map(|((owner, day), cpu_usec)| Change::Used { owner, day, cpu_usec }).collect()
    }

    fn give_back(&mut self, changes: Vec<Change>) {
        for change in changes {
            if let Change::Used { owner, day, cpu_usec } = change {
                let used = self.unwritten.entry((owner, day)).or_default();
                *used = used.saturating_add(cpu_usec);
            }
        }
    }
}

/// What somebody is charged.
#[derive(Debug, Clone)]
pub(super) struct Charge {
    own: String,
    /// The key of all anonymous callers of his level, if he is one.
    anonymous: Option<String>,
    day: u32,
    cpu_usec: u64,
}

impl Charge {
    pub(super) fn of(owner: &Owner, level: &LevelName, cpu_usec: u64, now_ms: u64) -> Self {
        let anonymous = matches!(owner, Owner::Address(_)).then(|| key_of_level(level));
        Self { own: key_of(owner), anonymous, day: day_of(now_ms), cpu_usec }
    }

    fn keys(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.own).chain(&self.anonymous)
    }

    /// What the journal is told of it; nothing of nothing.
    pub(super) fn changes(&self) -> Vec<Change> {
        let (day, cpu_usec) = (self.day, self.cpu_usec);
        let keys = self.keys().filter(|_| cpu_usec > 0);
        keys.map(|owner| Change::Used { owner: owner.clone(), day, cpu_usec }).collect()
    }
}

/// An owner in the journal: a DN by its bytes, since two may print alike.
fn key_of(owner: &Owner) -> String {
    match owner {
        Owner::Subject(subject) => {
            let digits: String =
                subject.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            format!("dn:{digits}")
        }
        Owner::Address(prefix) => format!("net:{prefix}"),
    }
}

fn key_of_level(level: &LevelName) -> String {
    format!("level:{level}")
}

impl super::table::Table {
    /// What is used up of a caller's day.
    pub(super) fn today(
        &self,
        owner: &Owner,
        level: &LevelName,
        now_ms: u64,
    ) -> nesssi_policy::Today {
        let own = Used {
            cpu_usec: self.budgets.used(&key_of(owner), now_ms),
            reserved_seconds: self.reserved_of(owner),
        };
        let anonymous = matches!(owner, Owner::Address(_)).then(|| Used {
            cpu_usec: self.budgets.used(&key_of_level(level), now_ms),
            reserved_seconds: self.reserved_anonymous_of(level),
        });
        let now_unix = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
        nesssi_policy::Today { own, anonymous, now_unix }
    }
}

/// Charges a call into a service.
pub(super) fn charge_call(core: &Core, owner: &Owner, level: &LevelName, cpu_usec: u64) {
    if cpu_usec > 0 {
        let charge = Charge::of(owner, level, cpu_usec, now_ms());
        core.table().budgets.add_later(&charge);
    }
}

/// Writes what calls were charged.
pub(super) async fn write(core: Arc<Core>) {
    let changes = core.table().budgets.take_unwritten();
    if changes.is_empty() {
        return;
    }
    if let Err(error) = core.write(changes.clone()).await {
        tracing::warn!(%error, "what calls have used could not be recorded: trying again");
        core.table().budgets.give_back(changes);
    }
}

/// What the journal may forget.
pub(super) fn forgotten(now_ms: u64) -> Change {
    Change::ForgetUsed { before_day: day_of(now_ms).saturating_sub(DAYS_KEPT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn level() -> LevelName {
        LevelName::parse("anonymous").unwrap()
    }

    fn guest() -> Owner {
        Owner::of(None, "192.0.2.7".parse().unwrap())
    }

    #[test]
    fn a_day_begins_with_nothing_used() {
        let mut budgets = Budgets::default();
        let rows =
            vec![("net:192.0.2.0".to_owned(), 20_000, 7), ("net:192.0.2.0".to_owned(), 19_999, 5)];
        budgets.take_up(rows, NOON);
        assert_eq!(budgets.used("net:192.0.2.0", NOON), 7);
        assert_eq!(budgets.used("net:192.0.2.0", NOON + DAY_MS), 0);
        budgets.add(&Charge::of(&guest(), &level(), 3, NOON));
        assert_eq!(budgets.used("net:192.0.2.0", NOON), 10);
        assert_eq!(budgets.used("level:anonymous", NOON), 3);
        budgets.add(&Charge::of(&guest(), &level(), 1, NOON + DAY_MS));
        assert_eq!(budgets.used("net:192.0.2.0", NOON + DAY_MS), 1);
        // One of yesterday that comes late counts for nobody today.
        budgets.add(&Charge::of(&guest(), &level(), 100, NOON));
        assert_eq!(budgets.used("net:192.0.2.0", NOON + DAY_MS), 1);
    }

    #[test]
    fn what_was_not_written_is_written_with_what_came_since() {
        let mut budgets = Budgets::default();
        budgets.take_up(Vec::new(), NOON);
        budgets.add_later(&Charge::of(&guest(), &level(), 3, NOON));
        let first = budgets.take_unwritten();
        assert_eq!(first.len(), 2, "his own, and the level's");
        assert!(budgets.take_unwritten().is_empty());
        budgets.add_later(&Charge::of(&guest(), &level(), 4, NOON));
        budgets.give_back(first);
        let owner = "net:192.0.2.0".to_owned();
        let both = Change::Used { owner, day: 20_000, cpu_usec: 7 };
        assert!(budgets.take_unwritten().contains(&both));
        assert_eq!(budgets.used("net:192.0.2.0", NOON), 7);
    }
}
