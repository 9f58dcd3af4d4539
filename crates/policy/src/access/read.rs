//! From the TOML form to an access list.

use std::collections::BTreeMap;

use nesssi_dn::{DnPattern, SubjectDn};

use super::lists::{DnList, GroupList, ITEMS_MAX, Lower, Prefix};
use super::{Access, AccessError, Form, Order, Scope};
use crate::written::{Document, Lined, Table};
use crate::{LevelName, check_group_name};

/// How many DN patterns one scope may hold: unlike lists, they are tried one after the other.
const PATTERNS_MAX: usize = 1000;

/// Whether a text is TOML, whatever it says.
pub(super) fn is_toml(text: &str) -> bool {
    Document::new(text).mistakes().is_empty()
}

pub(super) fn read(text: &str) -> Result<Access, Vec<AccessError>> {
    let document = Document::new(text);
    let mut root = document.root();
    let mut methods = BTreeMap::new();
    if let Some(mut table) = root.table("method") {
        for name in table.keys() {
            if let Some(mut inner) = table.table(&name) {
                if let Err(wrong) = check_method_name(&name) {
                    inner.mistake(inner.line(), wrong);
                }
                methods.insert(name, read_scope(&mut inner));
                inner.finish(|_| None);
            }
        }
    }
    let service = read_scope(&mut root);
    root.finish(|_| None);
    let mistakes = document.mistakes();
    if mistakes.is_empty() {
        return Ok(Access { folder: None, form: Form::Toml, service, methods });
    }
    Err(mistakes.into_iter().map(|m| AccessError { line: m.line, text: m.text }).collect())
}

impl Access {
    /// The keys of an access list that stand in a table of another file, among keys of its own: who is
    /// let in, and nobody is lowered. What is wrong is a mistake of that file; whoever has asked for his
    /// own keys too finishes the table.
    pub fn within(table: &mut Table<'_>) -> Self {
        let service = read_doors_and_lists(table);
        Self { folder: None, form: Form::Toml, service, methods: BTreeMap::new() }
    }
}

/// A method's keys that can be of no method would deny nobody: better no list at all.
pub(super) fn check_method_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.contains('.') {
        return Err(format!(
            "{name:?} is no method: it is named as inside its service, without dots"
        ));
    }
    Ok(())
}

/// The instants must be in this order.
pub(super) fn check_times(
    start: Option<&Lined<i64>>,
    end: Option<&Lined<i64>>,
) -> Result<(), (usize, String)> {
    match (start, end) {
        (Some(start), Some(end)) if start.value >= end.value => {
            Err((end.line, format!("the end is not after the start on line {}", start.line)))
        }
        _ => Ok(()),
    }
}

fn read_scope(table: &mut Table<'_>) -> Scope {
    let scope = read_doors_and_lists(table);
    Scope { lower: read_lowers(table), ..scope }
}

fn read_doors_and_lists(table: &mut Table<'_>) -> Scope {
    let (start, end) = (table.moment("start"), table.moment("end"));
    if let Err((line, wrong)) = check_times(start.as_ref(), end.as_ref()) {
        table.mistake(line, wrong);
    }
    Scope {
        line: table.line(),
        order: read_order(table),
        allow: read_list(table, "allow", read_prefix).map(|(line, items)| DnList::new(line, items)),
        deny: read_list(table, "deny", read_prefix).map(|(line, items)| DnList::new(line, items)),
        allow_groups: read_list(table, "allow_groups", read_group)
            .map(|(line, items)| GroupList::new(line, items)),
        deny_groups: read_list(table, "deny_groups", read_group)
            .map(|(line, items)| GroupList::new(line, items)),
        anonymous: table.truth("anonymous"),
        levels: read_list(table, "levels", read_level).map(|(line, items)| {
            let value = items.into_iter().map(|level| level.value).collect();
            Lined { line, value }
        }),
        start,
        end,
        lower: Vec::new(),
    }
}

fn read_order(table: &mut Table<'_>) -> Option<Lined<Order>> {
    let word = table.text("order")?;
    let known = [Order::AllowDeny, Order::DenyAllow].into_iter().find(|it| it.word() == word.value);
    if known.is_none() {
        let text = format!("`order` is \"allow,deny\" or \"deny,allow\", not {:?}", word.value);
        table.mistake(word.line, text);
    }
    Some(Lined { line: word.line, value: known? })
}

/// The list's line, and its items as meant; an item that is none is a mistake.
fn read_list<T>(
    table: &mut Table<'_>,
    key: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<(usize, Vec<Lined<T>>)> {
    let list = table.texts(key)?;
    if list.value.len() > ITEMS_MAX {
        table.mistake(list.line, format!("`{key}` has more than {ITEMS_MAX} items"));
        return None;
    }
    let mut items = Vec::new();
    for Lined { line, value } in list.value {
        match read(&value) {
            Ok(value) => items.push(Lined { line, value }),
            Err(wrong) => table.mistake(line, wrong),
        }
    }
    Some((list.line, items))
}

fn read_prefix(text: &str) -> Result<Prefix, String> {
    if text == "/" {
        return Ok(Prefix::Anyone);
    }
    match SubjectDn::parse_any(text) {
        Ok(dn) => Ok(Prefix::Dn(dn)),
        Err(error) => Err(format!("{text:?} is no beginning of DNs: {error}")),
    }
}

fn read_group(text: &str) -> Result<String, String> {
    match check_group_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is no VO group: {error}")),
    }
}

fn read_level(text: &str) -> Result<LevelName, String> {
    LevelName::parse(text).map_err(|error| format!("{text:?} is no level: {error}"))
}

fn read_pattern(text: &str) -> Result<DnPattern, String> {
    DnPattern::parse(text).map_err(|error| format!("{text:?} is no DN pattern: {error}"))
}

fn read_lowers(table: &mut Table<'_>) -> Vec<Lower> {
    let tables = table.tables("lower");
    let lower: Vec<Lower> = tables.into_iter().filter_map(read_lower).collect();
    if lower.iter().map(|lower| lower.subjects.len()).sum::<usize>() > PATTERNS_MAX {
        let line = lower.first().map_or(1, |lower| lower.line);
        table.mistake(line, format!("there are more than {PATTERNS_MAX} patterns in [[lower]]"));
    }
    lower
}

fn read_lower(mut table: Table<'_>) -> Option<Lower> {
    let line = table.line();
    let subjects = read_list(&mut table, "subjects", read_pattern);
    let level = table.text("level");
    if subjects.as_ref().is_none_or(|(_, items)| items.is_empty()) || level.is_none() {
        table.mistake(line, "a [[lower]] needs `subjects`, DN patterns, and a `level`");
    }
    let level = level.and_then(|text| match read_level(&text.value) {
        Ok(level) => Some(level),
        Err(wrong) => {
            table.mistake(text.line, wrong);
            None
        }
    });
    table.finish(|_| None);
    let (_, subjects) = subjects?;
    Some(Lower { line, subjects, level: level? })
}
