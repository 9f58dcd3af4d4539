//! The TOML form of an access list.

use std::fmt::Write as _;

use super::lists::{DnList, GroupList, Lower};
use super::{Access, Scope};
use crate::written::utc_text;

impl Access {
    /// The list in TOML: read again, it decides the same.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        write_scope(&self.service, "", &mut out);
        for (name, scope) in &self.methods {
            let heading = format!("method.{}", quoted(name));
            write_line(&mut out, &format!("\n[{heading}]"));
            write_scope(scope, &format!("{heading}."), &mut out);
        }
        out
    }
}

fn write_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn write_scope(scope: &Scope, place: &str, out: &mut String) {
    let dns = |list: &Option<DnList>| {
        list.as_ref()
            .map(|list| list.items().iter().map(|item| quoted(&item.value.to_string())).collect())
    };
    let groups = |list: &Option<GroupList>| {
        list.as_ref().map(|list| list.items().map(|(name, _)| quoted(name)).collect())
    };
    let time = |seconds: i64| utc_text(seconds);
    if let Some(order) = &scope.order {
        write_line(out, &format!("order = {}", quoted(order.value.word())));
    }
    write_list("allow", dns(&scope.allow), out);
    write_list("allow_groups", groups(&scope.allow_groups), out);
    write_list("deny", dns(&scope.deny), out);
    write_list("deny_groups", groups(&scope.deny_groups), out);
    if let Some(anonymous) = &scope.anonymous {
        write_line(out, &format!("anonymous = {}", anonymous.value));
    }
    let levels = scope.levels.as_ref();
    let levels = levels.map(|levels| levels.value.iter().map(|it| quoted(it.as_str())).collect());
    write_list("levels", levels, out);
    if let Some(start) = &scope.start {
        write_line(out, &format!("start = {}", time(start.value)));
    }
    if let Some(end) = &scope.end {
        write_line(out, &format!("end = {}", time(end.value)));
    }
    scope.lower.iter().for_each(|lower| write_lower(lower, place, out));
}

fn write_lower(lower: &Lower, place: &str, out: &mut String) {
    write_line(out, &format!("\n[[{place}lower]]"));
    let patterns = lower.subjects.iter().map(|it| quoted(&it.value.to_string())).collect();
    write_list("subjects", Some(patterns), out);
    write_line(out, &format!("level = {}", quoted(lower.level.as_str())));
}

/// One item a line where there are several.
fn write_list(key: &str, items: Option<Vec<String>>, out: &mut String) {
    let Some(items) = items else { return };
    if items.len() < 2 {
        write_line(out, &format!("{key} = [{}]", items.join("")));
        return;
    }
    write_line(out, &format!("{key} = ["));
    items.iter().for_each(|item| write_line(out, &format!("    {item},")));
    write_line(out, "]");
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            // Writing to a String cannot fail.
            _ if character.is_control() => {
                write!(out, "\\u{:04X}", u32::from(character)).unwrap_or_default();
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}
