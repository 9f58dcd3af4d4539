//! Access lists: who may call the methods of a service.
//!
//! An *access list* is the file `.clarens_access` beside a service's code, in TOML:
//!
//! ```toml
//! order = "allow,deny"           # or "deny,allow"
//! allow = ["/O=Grid/OU=People"]  # beginnings of DNs; "/" is anyone with a valid certificate
//! allow_groups = ["atlas.calo"]  # VO groups
//! deny = ["/O=Grid/OU=People/CN=Mallory"]
//! deny_groups = []
//! anonymous = false              # true: callers without a certificate too
//! levels = ["strong", "weak"]    # callers of these levels alone
//! start = 2026-03-01T00:00:00Z   # nobody before,
//! end = 2026-04-01T00:00:00Z     # nobody from then on
//!
//! [[lower]]                      # whom one of the patterns matches is lowered to the level
//! subjects = ["/O=Grid/OU=Students/*", "/O=Grid/CN=Robot: *"]
//! level = "weak"
//!
//! [method.burn]                  # the same keys, for one method
//! allow = ["/O=Grid/OU=People/CN=Alice"]
//! ```
//!
//! A DN is written in the one-line form or in that of RFC 4514. A beginning ends where an RDN ends,
//! and is blind to case. A file in the Python form of the original is read as well, as literals, and
//! never run ([`Access::parse`] says which is which; [`Access::to_toml`] writes it anew).
//!
//! # How it is read
//!
//! A *scope* is the keys of one place: of a folder of services that has an access list of its own, of
//! the service, of the method. The scopes on the way to a method are read from the outermost to the
//! innermost, all by the same rules:
//!
//! 1. **Doors.** `start`, `end` and `levels` are doors. Every scope on the way must be open: the time is
//!    not before its `start` and before its `end`, and the caller's level is one of its `levels`. A
//!    door that is closed admits nobody, whatever any list says, further in or further out. A scope without
//!    these keys is always open. The level is the caller's own, before he is lowered.
//! 2. **Lists.** A scope names a caller if one of its lists has a beginning of his DN or a group that he is
//!    in. With the order `allow,deny` its `deny` lists win over its `allow` lists, with `deny,allow`
//!    it is the other way round. Where a scope has no `order`, that of the scope around it holds; the
//!    outermost has `allow,deny`.
//! 3. **The innermost scope that names him decides.** So access granted further out holds further in,
//!    unless it is denied there. Two more rules stand with this one, both for scopes with the order
//!    `allow,deny`:
//!    * A scope with an `allow` list refuses whom it does not name: the list is whole.
//!    * Whom a scope further out denies by name, it does not admit. With `deny,allow` it would.
//! 4. Whom nobody names, the outermost scope decides about: `allow,deny` refuses, `deny,allow` admits.
//! 5. **No certificate.** Such callers are in no list. The innermost scope that has `anonymous` decides;
//!    where none has, they are refused. `anonymous = true` names everybody else too, after both
//!    kinds of lists: where it stands, a certificate is no disadvantage unless `deny` names it.
//! 6. **Lowering.** The innermost scope with a `[[lower]]` that matches decides, the first of them in
//!    the file. Nobody is raised by it: whoever judges the caller anew sees to that.

mod evaluate;
mod lists;
mod literal;
mod old;
mod read;
mod remarks;
mod show;
mod words;

use std::collections::BTreeMap;

use nesssi_dn::SubjectDn;

use crate::LevelName;
use crate::access::lists::{DnList, GroupList, Lower};
use crate::written::Lined;

/// How large an access list may be, in bytes.
pub const ACCESS_BYTES_MAX: usize = 1024 * 1024;
/// How many mistakes of one file are told.
const ERRORS_MAX: usize = 100;

/// An access list.
#[derive(Debug, Clone)]
pub struct Access {
    /// The folder's name in rules, where it is one of a folder.
    folder: Option<String>,
    form: Form,
    service: Scope,
    methods: BTreeMap<String, Scope>,
}

/// A mistake in an access list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct AccessError {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

/// One question to access lists: may this caller call this method now?
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The method's name inside its service.
    pub method: &'a str,
    /// The caller's subject DN; `None` without a certificate.
    pub subject: Option<&'a SubjectDn>,
    /// The level that he was judged to have, before any lowering; `None` where none takes him.
    pub level: Option<&'a LevelName>,
    /// The VO groups there are.
    pub groups: &'a dyn Groups,
    /// The time, in seconds since 1970 UTC.
    pub now_unix: i64,
}

impl std::fmt::Debug for Ask<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Ask")
            .field("method", &self.method)
            .field("subject", &self.subject)
            .field("level", &self.level)
            .field("now_unix", &self.now_unix)
            .finish_non_exhaustive()
    }
}

/// Who is in which VO group.
pub trait Groups {
    /// Whether `subject` is a member of `group`, its own or one that flows down to it; `false`
    /// where there is no such group.
    fn is_member(&self, group: &str, subject: &SubjectDn) -> bool;
}

/// No groups at all.
impl Groups for () {
    fn is_member(&self, _: &str, _: &SubjectDn) -> bool {
        false
    }
}

/// Proof that access lists let a caller through. Only [`Access::permits`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    rule: String,
    lowered: Option<LevelName>,
}

impl Permitted {
    /// Which rule let him through, for audit: scope, key and line, such as
    /// `service: allow /O=Grid (line 3)`.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The level that he is lowered to for this service or method. It may be one that is not lower
    /// than his own: whoever judges him by it holds it to that.
    #[must_use]
    pub fn lowered(&self) -> Option<&LevelName> {
        self.lowered.as_ref()
    }
}

/// Why a caller may not call a method. The texts are fit for strangers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// He has no certificate, and is not admitted without: fault 401.
    #[error("this method needs a certificate")]
    NoCredential {
        /// Which rule refused him, for audit.
        rule: String,
    },
    /// He is not admitted: fault 403.
    #[error("the access list of this service does not admit {subject}")]
    Refused {
        /// His subject DN, or words for callers without a certificate.
        subject: String,
        /// Which rule refused him, for audit.
        rule: String,
    },
}

impl Denied {
    /// Which rule refused him, for audit: scope, key and line.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::NoCredential { rule } | Self::Refused { rule, .. } => rule,
        }
    }
}

/// How the file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Toml,
    OldPython,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AllowDeny,
    DenyAllow,
}

impl Order {
    fn word(self) -> &'static str {
        match self {
            Self::AllowDeny => "allow,deny",
            Self::DenyAllow => "deny,allow",
        }
    }
}

/// The keys of one place; `None` is a key that is not there.
#[derive(Debug, Clone, Default)]
struct Scope {
    /// Where its heading stands.
    line: usize,
    order: Option<Lined<Order>>,
    allow: Option<DnList>,
    deny: Option<DnList>,
    allow_groups: Option<GroupList>,
    deny_groups: Option<GroupList>,
    anonymous: Option<Lined<bool>>,
    levels: Option<Lined<Vec<LevelName>>>,
    /// The first second it is open.
    start: Option<Lined<i64>>,
    /// The first second it is closed again.
    end: Option<Lined<i64>>,
    lower: Vec<Lower>,
}

impl Access {
    /// Reads an access list. A file that is TOML is that. One that is Python literals with an
    /// `access` among them is one of the original. One that is both is refused, and so is one that is
    /// neither. (A file without anything but comments is TOML, and admits nobody.)
    ///
    /// # Errors
    /// Every mistake (the first 100), in the order of lines; of an old file that is not literals the
    /// first.
    pub fn parse(text: &str) -> Result<Self, Vec<AccessError>> {
        if text.len() > ACCESS_BYTES_MAX {
            let text = format!("larger than {ACCESS_BYTES_MAX} bytes");
            return Err(vec![AccessError { line: 1, text }]);
        }
        let read = match literal::parse(text) {
            Ok(literals) if read::is_toml(text) => Err(vec![AccessError {
                line: literals.access.line,
                text: "the file is TOML and the old Python form at once: write one of them".into(),
            }]),
            Ok(literals) => old::read(&literals),
            Err(why) if literal::is_meant(text) && !read::is_toml(text) => Err(vec![why]),
            Err(_) => read::read(text),
        };
        read.map_err(|mut mistakes| {
            mistakes.truncate(ERRORS_MAX);
            mistakes
        })
    }

    /// The same list, as that of the folder `name` of services in rules.
    #[must_use]
    pub fn of_folder(self, name: &str) -> Self {
        Self { folder: Some(name.to_owned()), ..self }
    }

    /// Whether the file was written in the Python form of the original.
    #[must_use]
    pub fn is_old_form(&self) -> bool {
        self.form == Form::OldPython
    }

    /// The methods that have keys of their own, to be held against those there are.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(String::as_str)
    }

    /// The VO groups that it names, each with its line, to be held against those there are: a list
    /// with a group that is not there names nobody by it.
    pub fn groups(&self) -> impl Iterator<Item = (&str, usize)> {
        let scopes = std::iter::once(&self.service).chain(self.methods.values());
        let lists = scopes.flat_map(|scope| [&scope.allow_groups, &scope.deny_groups]);
        lists.flatten().flat_map(GroupList::items)
    }

    /// The levels that it names, each with its line, to be held against those there are.
    pub fn levels(&self) -> impl Iterator<Item = (&LevelName, usize)> {
        let scopes = std::iter::once(&self.service).chain(self.methods.values());
        scopes.flat_map(|scope| {
            let doors = scope
                .levels
                .iter()
                .flat_map(|levels| levels.value.iter().map(|level| (level, levels.line)));
            doors.chain(scope.lower.iter().map(|lower| (&lower.level, lower.line)))
        })
    }
}

#[cfg(test)]
mod tests;
