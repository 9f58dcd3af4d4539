//! Access lists: who may call the methods of a service.
//!
//! An *access list* is the file `.clarens_access` beside a service's code, in TOML:
//!
//! ```toml
//! order = "allow,deny"           # or "deny,allow"
//! allow = ["/O=Grid/OU=People"]  # DN prefixes; "/" is anyone with a valid certificate
//! deny = ["/O=Grid/OU=People/CN=Mallory"]
//! anonymous = false              # true: callers without a certificate too
//!
//! [method.burn]                  # the same keys, for one method
//! allow = ["/O=Grid/OU=People/CN=Alice"]
//! ```
//!
//! A prefix ends where an RDN ends, and is blind to case. The orders are Apache's: with
//! `allow,deny`, the default, whoever is in neither list is refused and `deny` wins over `allow`;
//! with `deny,allow` whoever has a certificate and is in neither list is admitted, and `allow` wins.
//! Callers without a certificate are in no list: `anonymous` alone admits them. It admits everyone:
//! where it is true, a certificate is never a disadvantage unless `deny` names it.
//!
//! The service's own keys are read first, then those of the method, and the inner decides what it
//! mentions: its `deny` wins over the service's `allow`; its `allow`, under `allow,deny`, refuses
//! whoever is not in it; whom it does not mention the service's keys decide about. Only the
//! other way round is there a bolt: whom the service's `deny` names, a method admits only if that
//! method's order is `deny,allow`.

use std::collections::BTreeMap;

use nesssi_dn::SubjectDn;

use crate::LevelName;
use crate::written::{Document, Lined, Table};

/// How large an access list may be, in bytes.
pub const ACCESS_BYTES_MAX: usize = 1024 * 1024;
/// How many DN prefixes one list may hold.
const PREFIXES_MAX: usize = 10_000;

/// A service's access list.
#[derive(Debug, Clone)]
pub struct Access {
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

/// Proof that an access list let a caller through. Only [`Access::permits`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permitted {
    rule: String,
    lowered: Option<LevelName>,
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

impl Permitted {
    /// The level that he is lowered to for this service or method. It may be one that is not lower
    /// than his own: whoever judges him by it holds it to that.
    #[must_use]
    pub fn lowered(&self) -> Option<&LevelName> {
        self.lowered.as_ref()
    }

    /// Which rule let him through, for audit.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
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
    /// He has one, and it is not admitted: fault 403.
    #[error("the access list of this service does not admit {subject}")]
    Refused {
        /// His subject DN.
        subject: String,
        /// Which rule refused him, for audit.
        rule: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AllowDeny,
    DenyAllow,
}

/// The keys of the service or of one method; `None` is a key that is not there.
#[derive(Debug, Clone, Default)]
struct Scope {
    order: Option<Order>,
    allow: Option<Vec<Prefix>>,
    deny: Option<Vec<Prefix>>,
    anonymous: Option<bool>,
}

#[derive(Debug, Clone)]
enum Prefix {
    Anyone,
    Dn(SubjectDn),
}

impl Access {
    /// Reads an access list.
    ///
    /// # Errors
    /// Every mistake, in the order of lines.
    pub fn parse(text: &str) -> Result<Self, Vec<AccessError>> {
        if text.len() > ACCESS_BYTES_MAX {
            let text = format!("larger than {ACCESS_BYTES_MAX} bytes");
            return Err(vec![AccessError { line: 1, text }]);
        }
        let document = Document::new(text);
        let mut root = document.root();
        let mut methods = BTreeMap::new();
        if let Some(mut table) = root.table("method") {
            for name in table.keys() {
                if let Some(mut inner) = table.table(&name) {
                    methods.insert(name, read_scope(&mut inner));
                    inner.finish(|_| None);
                }
            }
        }
        let service = read_scope(&mut root);
        root.finish(|_| None);
        let mistakes = document.mistakes();
        if mistakes.is_empty() {
            return Ok(Self { service, methods });
        }
        Err(mistakes.into_iter().map(|m| AccessError { line: m.line, text: m.text }).collect())
    }

    /// The methods that have a table of their own, to be held against those there are.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.keys().map(String::as_str)
    }

    /// Whether the caller may call the method of the service whose access list is the last of
    /// `path`; those before it are of the folders around it, the outermost first.
    ///
    /// # Errors
    /// [`Denied`] says why not.
    pub fn permits(path: &[&Self], ask: &Ask<'_>) -> Result<Permitted, Denied> {
        let Some(access) = path.last() else {
            return Err(Denied::NoCredential { rule: "no access list".to_owned() });
        };
        let inner = access.methods.get(ask.method);
        match ask.subject {
            None => {
                let own = inner.and_then(|scope| scope.anonymous);
                if own.or(access.service.anonymous).unwrap_or(false) {
                    Ok(Permitted { rule: "anonymous = true".to_owned(), lowered: None })
                } else {
                    Err(Denied::NoCredential { rule: "anonymous = false".to_owned() })
                }
            }
            Some(subject) => match access.decide(ask.method, subject) {
                Verdict::Admit(rule) => Ok(Permitted { rule, lowered: None }),
                Verdict::Refuse(rule) => {
                    Err(Denied::Refused { subject: subject.to_oneline(), rule })
                }
            },
        }
    }

    fn decide(&self, method: &str, subject: &SubjectDn) -> Verdict {
        let outer_order = self.service.order.unwrap_or(Order::AllowDeny);
        let outer = self.service.finds(subject, outer_order);
        let outer_verdict = outer.clone().unwrap_or_else(|| self.service.default_of(outer_order));
        let Some(inner) = self.methods.get(method) else { return outer_verdict.at("service") };
        let order = inner.order.unwrap_or(outer_order);
        match (inner.finds(subject, order), outer) {
            (Some(Verdict::Admit(_)), Some(refused @ Verdict::Refuse(_)))
                if order == Order::AllowDeny =>
            {
                refused.at("service")
            }
            (Some(verdict), _) => verdict.at(method),
            (None, _) if inner.allow.is_some() && order == Order::AllowDeny => {
                Verdict::Refuse("not in allow".to_owned()).at(method)
            }
            (None, _) => outer_verdict.at("service"),
        }
    }
}

#[derive(Debug, Clone)]
enum Verdict {
    Admit(String),
    Refuse(String),
}

impl Verdict {
    fn at(self, place: &str) -> Self {
        match self {
            Self::Admit(rule) => Self::Admit(format!("{place}: {rule}")),
            Self::Refuse(rule) => Self::Refuse(format!("{place}: {rule}")),
        }
    }
}

impl Scope {
    /// What these keys say about `subject` by name; `None` if they do not mention him.
    fn finds(&self, subject: &SubjectDn, order: Order) -> Option<Verdict> {
        let deny = first_match(self.deny.as_deref(), subject)
            .map(|p| Verdict::Refuse(format!("deny {p}")));
        let everyone = (self.anonymous == Some(true)).then(|| "anonymous = true".to_owned());
        let allow = first_match(self.allow.as_deref(), subject).map(|p| format!("allow {p}"));
        match order {
            Order::AllowDeny => deny.or(allow.or(everyone).map(Verdict::Admit)),
            // Everyone includes the denied, who stay so: only a list that names him admits.
            Order::DenyAllow => allow.map(Verdict::Admit).or(deny).or(everyone.map(Verdict::Admit)),
        }
    }

    fn default_of(&self, order: Order) -> Verdict {
        match order {
            Order::AllowDeny => Verdict::Refuse("not in allow".to_owned()),
            Order::DenyAllow => Verdict::Admit("not in deny".to_owned()),
        }
    }
}

fn first_match(list: Option<&[Prefix]>, subject: &SubjectDn) -> Option<String> {
    list?.iter().find_map(|prefix| match prefix {
        Prefix::Anyone => Some("/".to_owned()),
        Prefix::Dn(dn) => dn.is_prefix_of(subject).then(|| dn.to_oneline()),
    })
}

fn read_scope(table: &mut Table<'_>) -> Scope {
    let order = table.text("order").and_then(|order| match order.value.as_str() {
        "allow,deny" => Some(Order::AllowDeny),
        "deny,allow" => Some(Order::DenyAllow),
        other => {
            let text = format!("`order` is \"allow,deny\" or \"deny,allow\", not {other:?}");
            table.mistake(order.line, text);
            None
        }
    });
    let allow = read_prefixes(table, "allow");
    let deny = read_prefixes(table, "deny");
    Scope { order, allow, deny, anonymous: table.truth("anonymous").map(|lined| lined.value) }
}

fn read_prefixes(table: &mut Table<'_>, key: &str) -> Option<Vec<Prefix>> {
    let list = table.texts(key)?;
    if list.value.len() > PREFIXES_MAX {
        table.mistake(list.line, format!("`{key}` has more than {PREFIXES_MAX} prefixes"));
        return None;
    }
    Some(list.value.iter().filter_map(|item| read_prefix(table, item)).collect())
}

fn read_prefix(table: &Table<'_>, item: &Lined<String>) -> Option<Prefix> {
    if item.value == "/" {
        return Some(Prefix::Anyone);
    }
    match SubjectDn::parse_oneline(&item.value) {
        Ok(dn) => Some(Prefix::Dn(dn)),
        Err(error) => {
            table.mistake(item.line, format!("{:?} is no DN prefix: {error}", item.value));
            None
        }
    }
}

#[cfg(test)]
mod tests;
