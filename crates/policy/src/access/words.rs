//! An access list in words, for who keeps it.

use super::lists::{DnList, GroupList};
use super::{Access, Order, Scope};
use crate::LevelName;
use crate::written::utc_text;

impl Access {
    /// Who may call what, a line each; methods with keys of their own behind all others. The lists of
    /// folders around it are not in it.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let order = self.service.order.as_ref().map_or(Order::AllowDeny, |order| order.value);
        let mut lines = vec!["every method:".to_owned()];
        lines.extend(scope(&self.service, order, true));
        for (name, inner) in &self.methods {
            let order = inner.order.as_ref().map_or(order, |order| order.value);
            lines.push(format!("the method {name}, beside that:"));
            lines.extend(scope(inner, order, false));
        }
        lines
    }
}

fn scope(scope: &Scope, order: Order, outermost: bool) -> Vec<String> {
    let admitted = named(scope.allow.as_ref(), scope.allow_groups.as_ref());
    let refused = named(scope.deny.as_ref(), scope.deny_groups.as_ref());
    let mut lines = match order {
        Order::AllowDeny => {
            let listed = outermost || scope.allow.is_some() || scope.allow_groups.is_some();
            by_allow(admitted, refused, listed)
        }
        Order::DenyAllow => by_deny(admitted, refused, outermost),
    };
    match scope.anonymous.as_ref().map(|said| said.value) {
        Some(true) => lines.push(
            "admits callers without a certificate, and with one whom nothing here refuses".into(),
        ),
        Some(false) => lines.push("refuses callers without a certificate".into()),
        None if outermost => lines.push("refuses callers without a certificate (not said)".into()),
        None => {}
    }
    if let Some(levels) = &scope.levels {
        let names: Vec<_> = levels.value.iter().map(LevelName::as_str).collect();
        lines.push(format!("is closed to all levels but {}", one_of(&names, "none at all")));
    }
    lines.extend(scope.start.as_ref().map(|at| format!("is closed before {}", utc_text(at.value))));
    lines.extend(scope.end.as_ref().map(|at| format!("is closed from {}", utc_text(at.value))));
    for lower in &scope.lower {
        let patterns: Vec<_> = lower.subjects.iter().map(|it| it.value.to_string()).collect();
        lines.push(format!("lowers {} to level {}", patterns.join(" and "), lower.level));
    }
    lines.iter().map(|line| format!("  {line}")).collect()
}

/// `listed`: whom no list names is not admitted.
fn by_allow(admitted: Option<String>, refused: Option<String>, listed: bool) -> Vec<String> {
    let admits = match admitted {
        Some(admitted) => Some(format!("admits {admitted}, and of certificates no other")),
        None if listed => Some("admits nobody with a certificate by name".to_owned()),
        None => None,
    };
    let refuses = refused.map(|refused| format!("refuses {refused}, even if they are admitted"));
    admits.into_iter().chain(refuses).collect()
}

fn by_deny(admitted: Option<String>, refused: Option<String>, outermost: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if outermost {
        lines.push("admits everybody with a certificate who is not refused".to_owned());
    }
    lines.extend(refused.map(|refused| format!("refuses {refused}")));
    lines.extend(admitted.map(|admitted| format!("admits {admitted}, even if they are refused")));
    lines
}

/// Whom two lists name; `None` where there is neither, or both are empty.
fn named(dns: Option<&DnList>, groups: Option<&GroupList>) -> Option<String> {
    let dns = dns.into_iter().flat_map(|list| list.items().iter().map(|it| it.value.to_string()));
    let dns = dns.map(|dn| if dn == "/" { "everybody with a certificate".to_owned() } else { dn });
    let groups = groups.into_iter().flat_map(GroupList::items);
    let groups = groups.map(|(name, _)| format!("members of {name}"));
    let all: Vec<_> = dns.chain(groups).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn one_of(names: &[&str], nothing: &str) -> String {
    if names.is_empty() { nothing.to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests;
