//! VO groups: named sets of subject DNs, in a tree, that access lists may name.
//!
//! A *VO* (virtual organisation) is people of many sites who work together. Its *groups* have dotted
//! names: `atlas.calo.shift` is in `atlas.calo`, which is in `atlas`. Each has two lists of DNs, its
//! *members* and its *administrators*. An entry is a DN or the beginning of DNs, up to where an RDN
//! ends, and blind to case: one entry covers an organisational unit, or all that a CA names.
//!
//! Membership flows down: members and administrators of `atlas` are members of all groups in it.
//!
//! * The administrators of a group, or of one around it, add and remove its members and
//!   administrators, and create and delete the groups in it.
//! * *Root administrators* are named in the configuration, each by his whole DN. They do everything,
//!   and alone create and delete groups at the top. They are members of no group for it.
//!
//! [`VoTree::check`] says whether somebody may make a change, [`VoTree::apply`] makes it. Who keeps
//! the tree keeps the changes too: the same changes give the same tree.

use std::collections::{BTreeMap, HashMap, HashSet};

use nesssi_dn::{Attribute, MatchingKey, Rdn, SubjectDn};

use crate::access::Groups;
use crate::prefixes::prefix_keys;

/// How many groups there may be.
pub const VO_GROUPS_MAX: usize = 10_000;
/// How many entries all groups together may have.
pub const VO_ENTRIES_MAX: usize = 1_000_000;
/// How deep groups lie in each other.
const DEPTH_MAX: usize = 8;
/// How long one part of a name may be, in bytes.
const PART_BYTES_MAX: usize = 64;

/// The groups, and who administers them all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VoTree {
    roots: HashSet<MatchingKey>,
    groups: BTreeMap<String, Group>,
    entries: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Group {
    members: HashMap<MatchingKey, SubjectDn>,
    administrators: HashMap<MatchingKey, SubjectDn>,
}

/// One change of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VoChange {
    /// A new group without anybody; the group around it must be there.
    Create {
        /// Its name.
        group: String,
    },
    /// The end of a group and all that are in it.
    Delete {
        /// Its name.
        group: String,
    },
    /// A new entry among the members.
    AddMember {
        /// Of this group.
        group: String,
        /// The DN, or the beginning of DNs.
        subject: SubjectDn,
    },
    /// The end of an entry among the members.
    RemoveMember {
        /// Of this group.
        group: String,
        /// The entry, in whatever case.
        subject: SubjectDn,
    },
    /// A new entry among the administrators.
    AddAdministrator {
        /// Of this group.
        group: String,
        /// The DN, or the beginning of DNs.
        subject: SubjectDn,
    },
    /// The end of an entry among the administrators.
    RemoveAdministrator {
        /// Of this group.
        group: String,
        /// The entry, in whatever case.
        subject: SubjectDn,
    },
}

impl VoChange {
    /// The group that it is about.
    #[must_use]
    pub fn group(&self) -> &str {
        match self {
            Self::Create { group }
            | Self::Delete { group }
            | Self::AddMember { group, .. }
            | Self::RemoveMember { group, .. }
            | Self::AddAdministrator { group, .. }
            | Self::RemoveAdministrator { group, .. } => group,
        }
    }
}

/// Why a change is not made. The texts are fit for strangers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoError {
    /// The group, or the one that a new group would be in, is not there.
    #[error("there is no group {group}")]
    NoSuchGroup {
        /// Its name.
        group: String,
    },
    /// The group, or the entry in its list, is there already.
    #[error("{what} is there already")]
    Exists {
        /// The group, or the entry.
        what: String,
    },
    /// Who asks administers neither this group nor one around it.
    #[error("{subject} is no administrator of {of}")]
    NotAdministrator {
        /// Who asks.
        subject: String,
        /// What he would have to administer.
        of: String,
    },
    /// The name is none that a group may have.
    #[error(
        "a group's name is parts of letters, digits, '_' and '-' joined by dots: at most {DEPTH_MAX} \
         of at most {PART_BYTES_MAX}"
    )]
    BadName,
    /// The list has no such entry.
    #[error("{subject} is not in the list of {group}")]
    NotMember {
        /// The entry.
        subject: String,
        /// The group.
        group: String,
    },
    /// A limit of the tree is reached.
    #[error("there may be no more than {max} {of}")]
    TooMany {
        /// Groups or entries.
        of: &'static str,
        /// How many there may be.
        max: usize,
    },
}

/// The two lists of a group.
#[derive(Debug, Clone, Copy)]
enum List {
    Members,
    Administrators,
}

impl Group {
    fn list(&self, list: List) -> &HashMap<MatchingKey, SubjectDn> {
        match list {
            List::Members => &self.members,
            List::Administrators => &self.administrators,
        }
    }

    fn list_mut(&mut self, list: List) -> &mut HashMap<MatchingKey, SubjectDn> {
        match list {
            List::Members => &mut self.members,
            List::Administrators => &mut self.administrators,
        }
    }

    fn covers(&self, list: List, keys: &[MatchingKey]) -> bool {
        let list = self.list(list);
        !list.is_empty() && keys.iter().any(|key| list.contains_key(key))
    }

    fn entries(&self) -> usize {
        self.members.len() + self.administrators.len()
    }
}

impl VoTree {
    /// A tree without groups, with these root administrators.
    #[must_use]
    pub fn new(roots: Vec<SubjectDn>) -> Self {
        let roots = roots.into_iter().map(|root| root.matching_key()).collect();
        Self { roots, ..Self::default() }
    }

    /// Other root administrators: the configuration has changed.
    pub fn set_roots(&mut self, roots: &[SubjectDn]) {
        self.roots = roots.iter().map(SubjectDn::matching_key).collect();
    }

    /// Whether `by` may make this change, and whether it fits the tree.
    ///
    /// # Errors
    /// [`VoError`] says why not; who may not learns no more than that.
    pub fn check(&self, by: &SubjectDn, change: &VoChange) -> Result<(), VoError> {
        let group = change.group();
        check_group_name(group)?;
        // Who decides about a group's being stands above it; about its lists, in it as well.
        let of = match change {
            VoChange::Create { .. } | VoChange::Delete { .. } => parent(group),
            VoChange::AddMember { .. }
            | VoChange::RemoveMember { .. }
            | VoChange::AddAdministrator { .. }
            | VoChange::RemoveAdministrator { .. } => Some(group),
        };
        if !self.administers(of, by) {
            let of = of.unwrap_or("the top of the tree").to_owned();
            return Err(VoError::NotAdministrator { subject: by.to_oneline(), of });
        }
        self.fits(change)
    }

    /// Makes a change, whoever asked for it.
    ///
    /// # Errors
    /// [`VoError`] where it does not fit the tree, which is then as it was.
    pub fn apply(&mut self, change: &VoChange) -> Result<(), VoError> {
        self.fits(change)?;
        match change {
            VoChange::Create { group } => {
                self.groups.insert(group.clone(), Group::default());
            }
            VoChange::Delete { group } => self.delete(group),
            VoChange::AddMember { group, subject } => self.add(group, List::Members, subject),
            VoChange::RemoveMember { group, subject } => self.remove(group, List::Members, subject),
            VoChange::AddAdministrator { group, subject } => {
                self.add(group, List::Administrators, subject);
            }
            VoChange::RemoveAdministrator { group, subject } => {
                self.remove(group, List::Administrators, subject);
            }
        }
        Ok(())
    }

    /// The names of all groups, sorted: a group stands before those in it.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The entries among a group's own members, sorted.
    ///
    /// # Errors
    /// [`VoError::NoSuchGroup`].
    pub fn members(&self, group: &str) -> Result<Vec<&SubjectDn>, VoError> {
        self.sorted(group, List::Members)
    }

    /// The entries among a group's own administrators, sorted.
    ///
    /// # Errors
    /// [`VoError::NoSuchGroup`].
    pub fn administrators(&self, group: &str) -> Result<Vec<&SubjectDn>, VoError> {
        self.sorted(group, List::Administrators)
    }

    /// Whether `subject` is a root administrator.
    #[must_use]
    pub fn is_root(&self, subject: &SubjectDn) -> bool {
        self.roots.contains(&subject.matching_key())
    }

    /// Whether `subject` administers `group`: by its list, by that of a group around it, or as a
    /// root administrator. `None` is the top of the tree.
    #[must_use]
    pub fn administers(&self, group: Option<&str>, subject: &SubjectDn) -> bool {
        if self.is_root(subject) {
            return true;
        }
        let keys = prefix_keys(subject);
        let by_list = |name: &str| {
            self.groups.get(name).is_some_and(|group| group.covers(List::Administrators, &keys))
        };
        group.is_some_and(|group| self_and_around(group).any(by_list))
    }

    /// The groups that `subject` is a member of, sorted.
    #[must_use]
    pub fn groups_of(&self, subject: &SubjectDn) -> Vec<&str> {
        let keys = prefix_keys(subject); // once, and not for each group
        self.groups().filter(|group| self.holds(group, &keys)).collect()
    }

    /// Whether whoever has these keys is a member of a group.
    fn holds(&self, group: &str, keys: &[MatchingKey]) -> bool {
        self_and_around(group).filter_map(|name| self.groups.get(name)).any(|found| {
            found.covers(List::Members, keys) || found.covers(List::Administrators, keys)
        })
    }

    fn fits(&self, change: &VoChange) -> Result<(), VoError> {
        match change {
            VoChange::Create { group } => self.fits_create(group),
            VoChange::Delete { group } => self.group(group).map(|_| ()),
            VoChange::AddMember { group, subject } => self.fits_add(group, List::Members, subject),
            VoChange::AddAdministrator { group, subject } => {
                self.fits_add(group, List::Administrators, subject)
            }
            VoChange::RemoveMember { group, subject } => {
                self.fits_remove(group, List::Members, subject)
            }
            VoChange::RemoveAdministrator { group, subject } => {
                self.fits_remove(group, List::Administrators, subject)
            }
        }
    }

    fn fits_create(&self, group: &str) -> Result<(), VoError> {
        check_group_name(group)?;
        if let Some(around) = parent(group) {
            self.group(around)?;
        }
        if self.groups.contains_key(group) {
            return Err(VoError::Exists { what: format!("the group {group}") });
        }
        if self.groups.len() >= VO_GROUPS_MAX {
            return Err(VoError::TooMany { of: "groups", max: VO_GROUPS_MAX });
        }
        Ok(())
    }

    fn fits_add(&self, group: &str, list: List, subject: &SubjectDn) -> Result<(), VoError> {
        if self.group(group)?.list(list).contains_key(&subject.matching_key()) {
            return Err(VoError::Exists { what: subject.to_oneline() });
        }
        if self.entries >= VO_ENTRIES_MAX {
            return Err(VoError::TooMany { of: "entries", max: VO_ENTRIES_MAX });
        }
        Ok(())
    }

    fn fits_remove(&self, group: &str, list: List, subject: &SubjectDn) -> Result<(), VoError> {
        if self.group(group)?.list(list).contains_key(&subject.matching_key()) {
            return Ok(());
        }
        Err(VoError::NotMember { subject: subject.to_oneline(), group: group.to_owned() })
    }

    fn group(&self, name: &str) -> Result<&Group, VoError> {
        self.groups.get(name).ok_or_else(|| VoError::NoSuchGroup { group: name.to_owned() })
    }

    fn delete(&mut self, group: &str) {
        let inside = format!("{group}.");
        let mut gone = 0;
        self.groups.retain(|name, found| {
            let goes = name == group || name.starts_with(&inside);
            gone += if goes { found.entries() } else { 0 };
            !goes
        });
        self.entries -= gone;
    }

    fn add(&mut self, group: &str, list: List, subject: &SubjectDn) {
        if let Some(found) = self.groups.get_mut(group) {
            found.list_mut(list).insert(subject.matching_key(), subject.clone());
            self.entries += 1;
        }
    }

    fn remove(&mut self, group: &str, list: List, subject: &SubjectDn) {
        if let Some(found) = self.groups.get_mut(group) {
            found.list_mut(list).remove(&subject.matching_key());
            self.entries -= 1;
        }
    }

    fn sorted(&self, group: &str, list: List) -> Result<Vec<&SubjectDn>, VoError> {
        let mut entries: Vec<_> = self.group(group)?.list(list).values().collect();
        entries.sort_unstable();
        Ok(entries)
    }
}

impl Groups for VoTree {
    fn is_member(&self, group: &str, subject: &SubjectDn) -> bool {
        if !self.groups.contains_key(group) {
            return false;
        }
        self.holds(group, &prefix_keys(subject))
    }
}

/// Whether `name` is one that a group may have.
///
/// # Errors
/// [`VoError::BadName`].
pub fn check_group_name(name: &str) -> Result<(), VoError> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let good =
        |part: &str| !part.is_empty() && part.len() <= PART_BYTES_MAX && part.bytes().all(letter);
    let depth = name.split('.').take(DEPTH_MAX + 1).count();
    if depth <= DEPTH_MAX && name.split('.').all(good) { Ok(()) } else { Err(VoError::BadName) }
}

/// What an entry is found by where the tree is kept in a file: the same for two DNs exactly if the
/// tree takes them for one.
#[must_use]
pub fn vo_entry_key(subject: &SubjectDn) -> Vec<u8> {
    let lower = |attribute: &Attribute| {
        Attribute::new(attribute.kind().clone(), attribute.value().to_ascii_lowercase())
    };
    let rdn = |rdn: &Rdn| Rdn::new(rdn.attributes().iter().map(lower).collect::<Result<_, _>>()?);
    let rdns: Result<Vec<_>, _> = subject.rdns().iter().map(rdn).collect();
    // As long as what it was made of, it is over no limit.
    rdns.and_then(SubjectDn::from_rdns).unwrap_or_else(|_| subject.clone()).to_bytes()
}

fn parent(group: &str) -> Option<&str> {
    group.rsplit_once('.').map(|(around, _)| around)
}

fn self_and_around(group: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(group), |name| parent(name))
}

#[cfg(test)]
mod tests;
