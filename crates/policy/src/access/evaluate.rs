//! How the scopes on the way to a method decide; the rules are told at the top of the module.

use std::fmt;

use nesssi_dn::SubjectDn;

use super::lists::Person;
use super::{Access, Ask, Denied, Order, Permitted, Scope};
use crate::LevelName;

/// What is said of callers who have no name.
const NO_CERTIFICATE: &str = "callers without a certificate";

/// Which scope it is, in rules.
#[derive(Clone, Copy)]
enum Place<'a> {
    Folder(Option<&'a str>),
    Service,
    Method(&'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(Some(name)) => write!(out, "folder {name}"),
            Self::Folder(None) => out.write_str("folder"),
            Self::Service => out.write_str("service"),
            Self::Method(name) => write!(out, "method {name}"),
        }
    }
}

/// What is decided about a caller, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    admits: bool,
    rule: String,
}

impl Verdict {
    fn admit(rule: String) -> Self {
        Self { admits: true, rule }
    }

    fn refuse(rule: String) -> Self {
        Self { admits: false, rule }
    }

    fn at(self, place: Place<'_>) -> Self {
        Self { rule: format!("{place}: {}", self.rule), ..self }
    }
}

impl Access {
    /// Whether the caller may call the method of the service whose access list is the last of
    /// `path`; those before it are of the folders around it, the outermost first. Of a folder's list
    /// the keys of methods do not count.
    ///
    /// # Errors
    /// [`Denied`] says why not.
    pub fn permits(path: &[&Self], ask: &Ask<'_>) -> Result<Permitted, Denied> {
        Self::permits_with(path, ask, || None)
    }

    /// The same; a caller with a certificate whom no list names is admitted as well if there is an
    /// `allowance` for him elsewhere: the rule that says so.
    ///
    /// # Errors
    /// [`Denied`].
    pub(crate) fn permits_with(
        path: &[&Self],
        ask: &Ask<'_>,
        allowance: impl FnOnce() -> Option<String>,
    ) -> Result<Permitted, Denied> {
        let scopes = scopes_of(path, ask.method);
        match ask.subject {
            Some(subject) => permits_certified(&scopes, ask, subject, allowance),
            None => permits_anonymous(&scopes, ask),
        }
    }
}

fn scopes_of<'a>(path: &[&'a Access], method: &'a str) -> Vec<(Place<'a>, &'a Scope)> {
    let Some((own, folders)) = path.split_last() else { return Vec::new() };
    let of_folder = |access: &&'a Access| {
        let access: &'a Access = access;
        (Place::Folder(access.folder.as_deref()), &access.service)
    };
    let mut scopes: Vec<_> = folders.iter().map(of_folder).collect();
    scopes.push((Place::Service, &own.service));
    scopes.extend(own.methods.get(method).map(|scope| (Place::Method(method), scope)));
    scopes
}

fn permits_certified(
    scopes: &[(Place<'_>, &Scope)],
    ask: &Ask<'_>,
    subject: &SubjectDn,
    allowance: impl FnOnce() -> Option<String>,
) -> Result<Permitted, Denied> {
    let refused = |rule| Denied::Refused { subject: subject.to_oneline(), rule };
    if let Some(closed) = by_time(scopes, ask).or_else(|| by_level(scopes, ask)) {
        return Err(refused(closed));
    }
    let said = by_lists(scopes, &Person::new(subject, ask.groups));
    let verdict = match said {
        Said { verdict, denied_by_name: false } if !verdict.admits => {
            allowance().map_or(verdict, Verdict::admit)
        }
        Said { verdict, .. } => verdict,
    };
    if !verdict.admits {
        return Err(refused(verdict.rule));
    }
    Ok(match lowered(scopes, subject) {
        Some((level, rule)) => {
            Permitted { rule: format!("{}; {rule}", verdict.rule), lowered: Some(level.clone()) }
        }
        None => Permitted { rule: verdict.rule, lowered: None },
    })
}

fn permits_anonymous(scopes: &[(Place<'_>, &Scope)], ask: &Ask<'_>) -> Result<Permitted, Denied> {
    let said = scopes
        .iter()
        .rev()
        .find_map(|(place, scope)| scope.anonymous.as_ref().map(|anonymous| (place, anonymous)));
    let (admits, rule) = match said {
        Some((place, said)) => {
            (said.value, format!("{place}: anonymous = {} (line {})", said.value, said.line))
        }
        None => (false, "anonymous is not set".to_owned()),
    };
    if !admits {
        return Err(Denied::NoCredential { rule });
    }
    if let Some(rule) = by_time(scopes, ask) {
        return Err(Denied::Refused { subject: NO_CERTIFICATE.to_owned(), rule });
    }
    match by_level(scopes, ask) {
        Some(rule) => Err(Denied::NoCredential { rule }),
        None => Ok(Permitted { rule, lowered: None }),
    }
}

/// The outermost scope that is closed at this time.
fn by_time(scopes: &[(Place<'_>, &Scope)], ask: &Ask<'_>) -> Option<String> {
    scopes.iter().find_map(|(place, scope)| {
        let before = scope.start.as_ref().filter(|start| ask.now_unix < start.value);
        let after = scope.end.as_ref().filter(|end| ask.now_unix >= end.value);
        let told = |word, line| format!("{place}: {word} (line {line})");
        before
            .map(|start| told("before start", start.line))
            .or_else(|| after.map(|end| told("after end", end.line)))
    })
}

/// The outermost scope that is closed to callers of this level.
fn by_level(scopes: &[(Place<'_>, &Scope)], ask: &Ask<'_>) -> Option<String> {
    scopes.iter().find_map(|(place, scope)| {
        let levels = scope.levels.as_ref()?;
        let has = ask.level.is_some_and(|level| levels.value.contains(level));
        let level = ask.level.map_or("no level", LevelName::as_str);
        (!has).then(|| format!("{place}: {level} is not in levels (line {})", levels.line))
    })
}

/// What the lists say of a person.
struct Said {
    verdict: Verdict,
    /// Whether one of them denies him by name, and none admits him in spite of it.
    denied_by_name: bool,
}

fn by_lists(scopes: &[(Place<'_>, &Scope)], person: &Person<'_>) -> Said {
    let mut order = Order::AllowDeny;
    // By the scopes so far: who named him last, and what holds.
    let mut named: Option<Verdict> = None;
    let mut holds: Option<Verdict> = None;
    for &(place, scope) in scopes {
        order = scope.order.as_ref().map_or(order, |lined| lined.value);
        let denied = named.take_if(|verdict| !verdict.admits);
        match scope.names(person, order) {
            Some(found) => {
                let bolted = denied.filter(|_| found.admits && order == Order::AllowDeny);
                let found = bolted.unwrap_or_else(|| found.at(place));
                holds = Some(found.clone());
                named = Some(found);
            }
            None => {
                if holds.is_none() {
                    holds = Some(scope.default_of(order).at(place));
                } else if let Some(line) = scope.allow_line()
                    && order == Order::AllowDeny
                {
                    holds = Some(Verdict::refuse(format!("not in allow (line {line})")).at(place));
                }
                named = denied;
            }
        }
    }
    let denied_by_name = named.is_some_and(|verdict| !verdict.admits);
    let nothing = || Verdict::refuse("no access list".to_owned());
    Said { verdict: holds.unwrap_or_else(nothing), denied_by_name }
}

fn lowered<'a>(
    scopes: &[(Place<'_>, &'a Scope)],
    subject: &SubjectDn,
) -> Option<(&'a LevelName, String)> {
    scopes.iter().rev().find_map(|(place, scope)| {
        let (lower, pattern) =
            scope.lower.iter().find_map(|lower| Some((lower, lower.names(subject)?)))?;
        let (level, line) = (&lower.level, pattern.line);
        Some((level, format!("{place}: lowered to {level} by {} (line {line})", pattern.value)))
    })
}

impl Scope {
    /// What this scope says of a person by name; `None` if it does not name him.
    fn names(&self, person: &Person<'_>, order: Order) -> Option<Verdict> {
        let deny = || {
            let dn = self.deny.as_ref().and_then(|list| list.names(person));
            let group = self.deny_groups.as_ref().and_then(|list| list.names(person));
            dn.map(|item| format!("deny {} (line {})", item.value, item.line))
                .or_else(|| group.map(|it| format!("deny_groups {} (line {})", it.value, it.line)))
                .map(Verdict::refuse)
        };
        let allow = || {
            let dn = self.allow.as_ref().and_then(|list| list.names(person));
            let group = self.allow_groups.as_ref().and_then(|list| list.names(person));
            dn.map(|item| format!("allow {} (line {})", item.value, item.line))
                .or_else(|| group.map(|it| format!("allow_groups {} (line {})", it.value, it.line)))
                .map(Verdict::admit)
        };
        let everyone = || {
            let said = self.anonymous.as_ref().filter(|said| said.value)?;
            Some(Verdict::admit(format!("anonymous = true (line {})", said.line)))
        };
        match order {
            Order::AllowDeny => deny().or_else(allow).or_else(everyone),
            // Everyone includes the denied, who stay so: only a list that names him admits.
            Order::DenyAllow => allow().or_else(deny).or_else(everyone),
        }
    }

    /// What this scope, the outermost, says of whom it does not name.
    fn default_of(&self, order: Order) -> Verdict {
        let line = |line: Option<usize>| line.map(|at| format!(" (line {at})")).unwrap_or_default();
        match order {
            Order::AllowDeny => Verdict::refuse(format!("not in allow{}", line(self.allow_line()))),
            Order::DenyAllow => {
                let order = self.order.as_ref().map(|order| order.line);
                Verdict::admit(format!("not in deny, and the order admits{}", line(order)))
            }
        }
    }

    /// Where a list of the admitted stands.
    fn allow_line(&self) -> Option<usize> {
        let by_dn = self.allow.as_ref().map(|list| list.line);
        by_dn.or_else(|| self.allow_groups.as_ref().map(|list| list.line))
    }
}
