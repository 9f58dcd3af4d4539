//! What is odd in an access list and refuses nothing.

use super::lists::{DnList, GroupList};
use super::{Access, Form, Order, Scope};
use crate::Warning;

impl Access {
    /// What its writer should know: items that decide nothing, keys without effect. In the order of
    /// lines.
    #[must_use]
    pub fn remarks(&self) -> Vec<Warning> {
        let mut remarks = Vec::new();
        if self.form == Form::OldPython {
            let text = "the old Python form: `nesssi access convert` writes it in TOML";
            remarks.push(Warning { line: 1, text: text.to_owned() });
        }
        let order = self.service.order.as_ref().map_or(Order::AllowDeny, |order| order.value);
        remark_scope(&self.service, order, &mut remarks);
        if self.admits_nobody() {
            let text = "nobody is admitted to anything, unless by the list of a folder around it";
            remarks.push(Warning { line: 1, text: text.to_owned() });
        }
        for (name, scope) in &self.methods {
            let inner = scope.order.as_ref().map_or(order, |order| order.value);
            remark_scope(scope, inner, &mut remarks);
            if scope.says_nothing() {
                let text = format!("the keys of {name} decide nothing");
                remarks.push(Warning { line: scope.line, text });
            }
        }
        remarks.sort_by_key(|remark| remark.line);
        remarks
    }

    fn admits_nobody(&self) -> bool {
        let mut scopes = std::iter::once(&self.service).chain(self.methods.values());
        let order = |scope: &Scope| scope.order.as_ref().map(|order| order.value);
        order(&self.service) != Some(Order::DenyAllow) && !scopes.any(Scope::may_admit)
    }
}

impl Scope {
    fn may_admit(&self) -> bool {
        self.allow.as_ref().is_some_and(|list| !list.items().is_empty())
            || self.allow_groups.as_ref().is_some_and(|list| list.items().next().is_some())
            || self.anonymous.as_ref().is_some_and(|said| said.value)
    }

    fn says_nothing(&self) -> bool {
        self.allow.is_none()
            && self.deny.is_none()
            && self.allow_groups.is_none()
            && self.deny_groups.is_none()
            && self.anonymous.is_none()
            && self.levels.is_none()
            && self.start.is_none()
            && self.end.is_none()
            && self.lower.is_empty()
    }
}

fn remark_scope(scope: &Scope, order: Order, remarks: &mut Vec<Warning>) {
    for list in [&scope.allow, &scope.deny].into_iter().flatten() {
        remark_covered(list, remarks);
    }
    for list in [&scope.allow_groups, &scope.deny_groups].into_iter().flatten() {
        remark_twice(list, remarks);
    }
    let (winner, loser, word) = match order {
        Order::AllowDeny => (&scope.deny, &scope.allow, "deny"),
        Order::DenyAllow => (&scope.allow, &scope.deny, "allow"),
    };
    if let (Some(winner), Some(loser)) = (winner, loser) {
        for item in loser.items() {
            if let Some(by) = winner.covers(&item.value, None) {
                let text = format!(
                    "{} is never reached: `{word}` has {} on line {}, which wins",
                    item.value, by.value, by.line
                );
                remarks.push(Warning { line: item.line, text });
            }
        }
    }
    if let Some(levels) = scope.levels.as_ref().filter(|levels| levels.value.is_empty()) {
        let text = "`levels` is empty: nobody is admitted".to_owned();
        remarks.push(Warning { line: levels.line, text });
    }
    remark_lower(scope, remarks);
}

/// Items that another one of the list makes needless: one that is shorter, or the same above it.
fn remark_covered(list: &DnList, remarks: &mut Vec<Warning>) {
    for (index, item) in list.items().iter().enumerate() {
        if let Some(by) = list.covers(&item.value, Some(index)) {
            let text = format!("{} is needless: line {} has {}", item.value, by.line, by.value);
            remarks.push(Warning { line: item.line, text });
        }
    }
}

fn remark_twice(list: &GroupList, remarks: &mut Vec<Warning>) {
    let mut seen = std::collections::BTreeMap::new();
    for (name, line) in list.items() {
        let first = *seen.entry(name).or_insert(line);
        if first != line {
            let text = format!("{name} is needless: line {first} has it");
            remarks.push(Warning { line, text });
        }
    }
}

/// Patterns that stand above already.
fn remark_lower(scope: &Scope, remarks: &mut Vec<Warning>) {
    let patterns: Vec<_> = scope.lower.iter().flat_map(|lower| &lower.subjects).collect();
    for (index, pattern) in patterns.iter().enumerate() {
        let above = patterns.iter().take(index).find(|above| above.value == pattern.value);
        if let Some(above) = above {
            let text = format!("{} is never reached: line {} has it", pattern.value, above.line);
            remarks.push(Warning { line: pattern.line, text });
        }
    }
}
