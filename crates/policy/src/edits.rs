//! Access edits: what administrators say of services while the server runs, beside the access files.
//!
//! An *edit* stands at a service, or at a folder of services, and perhaps at one method; it allows or
//! denies, and names people: by a beginning of their DNs (`/` is anyone with a valid certificate), or by a
//! VO group. It may have a time from which on it holds, and one from which on it no longer does.
//!
//! 1. **A denial is asked before everything else.** If one names the caller, he is refused.
//! 2. **An allowance admits where the files do not deny by name.** It stands for a list that had been
//!    forgotten, no more: whom a `deny` of the files names it does not admit, and `levels`, `start` and
//!    `end` of the files, the levels of the manifest and changed code hold as without it.
//! 3. Callers without a certificate are named by no edit.
//!
//! Both are part of [`crate::decide`]. At a service of the server's own an edit may only deny:
//! [`AccessEdits::denial`] is all that is asked there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nesssi_dn::{DnError, MatchingKey, SubjectDn};

use crate::VoError;
use crate::access::Ask;
use crate::prefixes::prefix_keys;
use crate::vo::check_group_name;

#[cfg(test)]
mod tests;

/// How many edits there may be.
pub const ACCESS_EDITS_MAX: usize = 10_000;

/// What a VO group is told from a DN by.
const GROUP_PREFIX: &str = "group:";

/// Whom an edit names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// `/`: whoever has a valid certificate.
    Anyone,
    /// All whose DNs begin so.
    Dn(SubjectDn),
    /// The members of this VO group.
    Group(String),
}

/// Words that name nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhomError {
    /// What follows `group:` is no group's name.
    #[error("{0}")]
    Group(VoError),
    /// It is no DN either.
    #[error("neither a DN nor group:NAME: {0}")]
    Dn(DnError),
}

impl Whom {
    /// Reads `/`, a DN in either form, or `group:NAME`.
    ///
    /// # Errors
    /// [`WhomError`].
    pub fn parse(text: &str) -> Result<Self, WhomError> {
        if let Some(group) = text.strip_prefix(GROUP_PREFIX) {
            check_group_name(group).map_err(WhomError::Group)?;
            return Ok(Self::Group(group.to_owned()));
        }
        if text == "/" {
            return Ok(Self::Anyone);
        }
        SubjectDn::parse_any(text).map(Self::Dn).map_err(WhomError::Dn)
    }

    fn key(&self) -> Option<MatchingKey> {
        match self {
            Self::Dn(dn) => Some(dn.matching_key()),
            Self::Anyone | Self::Group(_) => None,
        }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => out.write_str("/"),
            Self::Dn(dn) => dn.fmt(out),
            Self::Group(group) => write!(out, "{GROUP_PREFIX}{group}"),
        }
    }
}

/// One edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessEdit {
    /// Its number; never used again.
    pub number: u64,
    /// The dotted name of the service, or of the folder of services, that it stands at.
    pub service: String,
    /// The method that it is about; `None` is all.
    pub method: Option<String>,
    /// Whether it allows; else it denies.
    pub allow: bool,
    /// Whom it names.
    pub whom: Whom,
    /// The first second it holds, since 1970 UTC.
    pub start_unix: Option<i64>,
    /// The first second it no longer holds.
    pub end_unix: Option<i64>,
    /// Who made it.
    pub by: SubjectDn,
    /// When: milliseconds since 1970 UTC.
    pub at_ms: u64,
}

impl AccessEdit {
    /// Whether both say the same, whoever made them.
    fn says_what(&self, other: &Self) -> bool {
        let same_whom = match (self.whom.key(), other.whom.key()) {
            (Some(one), Some(another)) => one == another,
            _ => self.whom == other.whom,
        };
        let said = |edit: &Self| (edit.allow, edit.start_unix, edit.end_unix);
        same_whom
            && said(self) == said(other)
            && self.method == other.method
            && self.service == other.service
    }

    fn holds(&self, ask: &Ask<'_>) -> bool {
        self.method.as_deref().is_none_or(|method| method == ask.method)
            && self.start_unix.is_none_or(|start| ask.now_unix >= start)
            && self.end_unix.is_none_or(|end| ask.now_unix < end)
    }
}

/// Which edit it is and what it says, in a line: `edit 7 at sleepy, method burn: deny /O=Grid`.
impl fmt::Display for AccessEdit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "edit {} at {}", self.number, self.service)?;
        if let Some(method) = &self.method {
            write!(out, ", method {method}")?;
        }
        write!(out, ": {} {}", if self.allow { "allow" } else { "deny" }, self.whom)
    }
}

/// Why an edit is not made or removed. The texts are fit for strangers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There are as many as there may be.
    #[error("there may be {ACCESS_EDITS_MAX} edits, and no more: remove some")]
    TooMany,
    /// One that says the same is there.
    #[error("edit {number} says the same")]
    Exists {
        /// Its number.
        number: u64,
    },
    /// It would never hold.
    #[error("the end is not behind the start")]
    Never,
    /// There is none of this number.
    #[error("there is no edit {number}")]
    NoSuchEdit {
        /// The number.
        number: u64,
    },
}

/// All edits. A change makes another; readers keep the old one.
#[derive(Debug, Clone, Default)]
pub struct AccessEdits {
    /// By the name that they stand at, in the order of their numbers.
    by_place: BTreeMap<String, Vec<Standing>>,
    count: usize,
}

#[derive(Debug, Clone)]
struct Standing {
    edit: Arc<AccessEdit>,
    /// What a DN that it names is looked up by.
    key: Option<MatchingKey>,
}

impl AccessEdits {
    /// Whether an edit can be added.
    ///
    /// # Errors
    /// [`EditError`].
    pub fn check(&self, edit: &AccessEdit) -> Result<(), EditError> {
        if edit.start_unix.zip(edit.end_unix).is_some_and(|(start, end)| end <= start) {
            return Err(EditError::Never);
        }
        let mut at_place = self.by_place.get(&edit.service).into_iter().flatten();
        if let Some(known) = at_place.find(|known| known.edit.says_what(edit)) {
            return Err(EditError::Exists { number: known.edit.number });
        }
        if self.count >= ACCESS_EDITS_MAX { Err(EditError::TooMany) } else { Ok(()) }
    }

    /// Adds an edit, whoever asked for it.
    pub fn add(&mut self, edit: AccessEdit) {
        let key = edit.whom.key();
        let at_place = self.by_place.entry(edit.service.clone()).or_default();
        at_place.push(Standing { edit: Arc::new(edit), key });
        self.count += 1;
    }

    /// Removes the edit of a number, and tells what it was.
    ///
    /// # Errors
    /// [`EditError::NoSuchEdit`].
    pub fn remove(&mut self, number: u64) -> Result<Arc<AccessEdit>, EditError> {
        let found = self.iter().find(|edit| edit.number == number).map(Arc::clone);
        let edit = found.ok_or(EditError::NoSuchEdit { number })?;
        if let Some(at_place) = self.by_place.get_mut(&edit.service) {
            at_place.retain(|known| known.edit.number != number);
            if at_place.is_empty() {
                self.by_place.remove(&edit.service);
            }
            self.count -= 1;
        }
        Ok(edit)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, by the names that they stand at.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<AccessEdit>> {
        self.by_place.values().flatten().map(|standing| &standing.edit)
    }

    /// Those that stand at a service and at the folders around it, the outermost first.
    pub fn of_service<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a Arc<AccessEdit>> {
        self.standing(service).map(|standing| &standing.edit)
    }

    fn standing<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a Standing> {
        // Without any, as mostly, nothing is looked up.
        let places = if self.count == 0 { Vec::new() } else { places_of(service).collect() };
        places.into_iter().filter_map(|place| self.by_place.get(place)).flatten()
    }

    /// The denial that names a caller of a method of `service`, if there is one now.
    #[must_use]
    pub fn denial(&self, service: &str, ask: &Ask<'_>) -> Option<&AccessEdit> {
        self.naming(service, ask, false)
    }

    /// The allowance that names him.
    pub(crate) fn allowance(&self, service: &str, ask: &Ask<'_>) -> Option<&AccessEdit> {
        self.naming(service, ask, true)
    }

    fn naming(&self, service: &str, ask: &Ask<'_>, allow: bool) -> Option<&AccessEdit> {
        let subject = ask.subject?;
        if self.count == 0 {
            return None;
        }
        let mut keys = None;
        let mut names = |standing: &Standing| match (&standing.edit.whom, &standing.key) {
            (Whom::Group(group), _) => ask.groups.is_member(group, subject),
            (_, None) => true,
            (_, Some(key)) => keys.get_or_insert_with(|| prefix_keys(subject)).contains(key),
        };
        self.standing(service)
            .find(|one| one.edit.allow == allow && one.edit.holds(ask) && names(one))
            .map(|standing| standing.edit.as_ref())
    }
}

/// The names of the folders around a service, and its own: `a`, `a.b`, `a.b.c`.
fn places_of(service: &str) -> impl Iterator<Item = &str> {
    let ends = service.match_indices('.').map(|(at, _)| at).chain([service.len()]);
    ends.filter_map(|end| service.get(..end))
}
