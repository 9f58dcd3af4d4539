//! The lists of a scope, made for being asked.

use std::collections::HashMap;

use nesssi_dn::{DnPattern, MatchingKey, SubjectDn};

use crate::LevelName;
use crate::access::Groups;
use crate::prefixes::prefix_keys;
use crate::written::Lined;

/// How many items one list may hold.
pub(super) const ITEMS_MAX: usize = 10_000;

/// A caller with a certificate, as lists look him up.
pub(super) struct Person<'a> {
    pub(super) subject: &'a SubjectDn,
    /// Of every beginning of his DN.
    keys: Vec<MatchingKey>,
    groups: &'a dyn Groups,
}

impl<'a> Person<'a> {
    pub(super) fn new(subject: &'a SubjectDn, groups: &'a dyn Groups) -> Self {
        Self { subject, keys: prefix_keys(subject), groups }
    }
}

/// Whom an item of a list of DNs is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Prefix {
    /// `/`: whoever has a valid certificate.
    Anyone,
    /// All whose DNs begin so.
    Dn(SubjectDn),
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anyone => out.write_str("/"),
            Self::Dn(dn) => dn.fmt(out),
        }
    }
}

/// Beginnings of DNs.
#[derive(Debug, Clone)]
pub(super) struct DnList {
    pub(super) line: usize,
    items: Vec<Lined<Prefix>>,
    /// Where the first item with a key is in `items`; of `/` it is the one without.
    by_key: HashMap<Option<MatchingKey>, usize>,
}

impl DnList {
    pub(super) fn new(line: usize, items: Vec<Lined<Prefix>>) -> Self {
        let mut by_key = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            by_key.entry(key_of(&item.value)).or_insert(index);
        }
        Self { line, items, by_key }
    }

    pub(super) fn items(&self) -> &[Lined<Prefix>] {
        &self.items
    }

    /// The first item of the list that names this person.
    pub(super) fn names(&self, person: &Person<'_>) -> Option<&Lined<Prefix>> {
        let anyone = self.by_key.get(&None);
        let by_dn = person.keys.iter().filter_map(|key| self.by_key.get(&Some(key.clone())));
        self.items.get(*anyone.into_iter().chain(by_dn).min()?)
    }

    /// The first item, another than the one at `index`, that names everybody whom that one names.
    pub(super) fn covers(&self, prefix: &Prefix, index: Option<usize>) -> Option<&Lined<Prefix>> {
        let keys = match prefix {
            Prefix::Anyone => Vec::new(),
            Prefix::Dn(dn) => prefix_keys(dn),
        };
        let found = std::iter::once(None)
            .chain(keys.into_iter().map(Some))
            .filter_map(|key| self.by_key.get(&key))
            .filter(|&&found| Some(found) != index)
            .min()?;
        self.items.get(*found)
    }
}

fn key_of(prefix: &Prefix) -> Option<MatchingKey> {
    match prefix {
        Prefix::Anyone => None,
        Prefix::Dn(dn) => Some(dn.matching_key()),
    }
}

/// Names of VO groups.
#[derive(Debug, Clone)]
pub(super) struct GroupList {
    pub(super) line: usize,
    items: Vec<Lined<String>>,
}

impl GroupList {
    pub(super) fn new(line: usize, items: Vec<Lined<String>>) -> Self {
        Self { line, items }
    }

    pub(super) fn items(&self) -> impl Iterator<Item = (&str, usize)> {
        self.items.iter().map(|item| (item.value.as_str(), item.line))
    }

    /// The first group of the list that this person is a member of.
    pub(super) fn names(&self, person: &Person<'_>) -> Option<&Lined<String>> {
        self.items.iter().find(|group| person.groups.is_member(&group.value, person.subject))
    }
}

/// Whom a scope lowers, and to which level.
#[derive(Debug, Clone)]
pub(super) struct Lower {
    pub(super) line: usize,
    pub(super) subjects: Vec<Lined<DnPattern>>,
    pub(super) level: LevelName,
}

impl Lower {
    /// The first pattern that is one of this name.
    pub(super) fn names(&self, subject: &SubjectDn) -> Option<&Lined<DnPattern>> {
        self.subjects.iter().find(|pattern| pattern.value.matches(subject))
    }
}
