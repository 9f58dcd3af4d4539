//! A grant is account, level and limits: the result of judging a caller.
//!
//! The gatekeeper names people and gets a grant's number; it cannot name an account. A grant is
//! good for one generation of the rules.

use std::collections::{BTreeMap, HashMap};

use nesssi_policy::{AccountName, Judgement, LevelName, Limits};

/// One judged caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The account.
    pub account: AccountName,
    /// The level.
    pub level: LevelName,
    /// Its limits.
    pub limits: Limits,
    /// Whether no session is sealed for it.
    pub reads_only: bool,
    /// The generation of the rules by which he was judged.
    pub generation: u64,
    /// Whether a channel to start was given for it, and the uid that the account had then.
    pub started: Option<u32>,
}

/// The grants in force, bounded: the one unused for longest makes room.
#[derive(Debug)]
pub struct Grants {
    grants_max: usize,
    next: u64,
    tick: u64,
    by_id: HashMap<u64, (u64, Grant)>,
    by_use: BTreeMap<u64, u64>,
}

impl Grants {
    /// An empty table. Numbers begin at `first`, so that those of an earlier monitor are unknown.
    #[must_use]
    pub fn new(grants_max: usize, first: u64) -> Self {
        Self {
            grants_max,
            next: first.max(1),
            tick: 0,
            by_id: HashMap::new(),
            by_use: BTreeMap::new(),
        }
    }

    /// Remembers a judgement, and the account that came of it; answers its number.
    pub fn add(&mut self, judgement: Judgement, account: AccountName, generation: u64) -> u64 {
        while self.by_id.len() >= self.grants_max.max(1) {
            let Some((_, oldest)) = self.by_use.pop_first() else { break };
            self.by_id.remove(&oldest);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(1);
        self.tick += 1;
        let grant = Grant {
            account,
            level: judgement.level,
            limits: judgement.limits,
            reads_only: judgement.reads_only,
            generation,
            started: None,
        };
        self.by_id.insert(id, (self.tick, grant));
        self.by_use.insert(self.tick, id);
        id
    }

    /// The grant of a number, if it is of this generation.
    pub fn current(&mut self, id: u64, generation: u64) -> Option<&mut Grant> {
        let (used, grant) = self.by_id.get_mut(&id)?;
        if grant.generation != generation {
            return None;
        }
        self.tick += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.tick, id);
        *used = self.tick;
        Some(grant)
    }

    /// Forgets all: none is of the new generation.
    pub fn clear(&mut self) {
        self.by_id.clear();
        self.by_use.clear();
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests;
