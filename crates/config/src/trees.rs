//! A tree is a directory of the site that callers may read through NESSSI, by a name of its own.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use nesssi_policy::written::{Lined, Table};
use nesssi_policy::{Access, Level};

use crate::keys;

/// Most trees: each is on the command line of every jobmanager.
pub const TREES_MAX: usize = 64;

/// Longest name of a tree.
const NAME_BYTES_MAX: usize = 64;

/// Longest path of a tree, as Linux has it.
const PATH_BYTES_MAX: usize = 4095;

/// How many hexadecimal digits a session is: a name of that form would be taken for one.
const SESSION_DIGITS: usize = 32;

/// A `[[tree]]`.
#[derive(Debug, Clone)]
pub struct Tree {
    /// What its paths begin with: lowercase letters, digits, `-` and `_`, and no session.
    pub name: String,
    /// The directory, absolute.
    pub path: PathBuf,
    /// Who may read it; nobody where it does not say. Its rules call it the service.
    pub access: Access,
}

/// The trees of the file, in its order. None lies in the root of `sandboxes` or holds it: a sandbox is its caller's.
pub(crate) fn read(root: &mut Table<'_>, levels: &[Level], sandboxes: &Path) -> Vec<Tree> {
    let tables = root.tables("tree");
    if let Some(table) = tables.get(TREES_MAX) {
        table.mistake(table.line(), format!("there are more than {TREES_MAX} of [[tree]]"));
    }
    let mut names = BTreeMap::new();
    tables.into_iter().filter_map(|table| read_one(table, &mut names, levels, sandboxes)).collect()
}

fn read_one(
    mut table: Table<'_>,
    names: &mut BTreeMap<String, usize>,
    levels: &[Level],
    sandboxes: &Path,
) -> Option<Tree> {
    let name = read_name(&mut table, names);
    let path = read_path(&mut table, sandboxes);
    let access = Access::within(&mut table);
    for (level, line) in access.levels() {
        if !levels.iter().any(|known| known.name == *level) {
            table.mistake(line, format!("there is no level `{level}`"));
        }
    }
    table.finish(keys::advice);
    Some(Tree { name: name?, path: path?, access })
}

fn read_name(table: &mut Table<'_>, names: &mut BTreeMap<String, usize>) -> Option<String> {
    let Some(Lined { line, value }) = table.text("name") else {
        table.mistake(table.line(), "a [[tree]] needs a `name`");
        return None;
    };
    if let Err(wrong) = check_name(&value) {
        table.mistake(line, format!("`name` {value:?}: {wrong}"));
        return None;
    }
    if let Some(first) = names.insert(value.clone(), line) {
        table.mistake(line, format!("tree `{value}` stands on line {first} already"));
    }
    Some(value)
}

fn check_name(name: &str) -> Result<(), String> {
    let fit =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fit) {
        let form = "lowercase letters, digits, `-` and `_`";
        return Err(format!("a tree's name is 1 to {NAME_BYTES_MAX} {form}"));
    }
    let is_digit = |byte: u8| byte.is_ascii_hexdigit();
    if name.len() == SESSION_DIGITS && name.bytes().all(is_digit) {
        return Err("it would be taken for a session".to_owned());
    }
    Ok(())
}

fn read_path(table: &mut Table<'_>, sandboxes: &Path) -> Option<PathBuf> {
    let Some(Lined { line, value }) = table.text("path") else {
        table.mistake(table.line(), "a [[tree]] needs a `path`");
        return None;
    };
    let absolute = value.starts_with('/') && value.len() <= PATH_BYTES_MAX;
    if !absolute || value.contains(char::is_control) {
        table.mistake(line, format!("`path` is an absolute path, not {value:?}"));
        return None;
    }
    let path = PathBuf::from(value);
    if overlap(&path, sandboxes) {
        let shown = sandboxes.display();
        let text = format!("`path` {path:?} and the root of sandboxes {shown} lie in one another");
        table.mistake(line, text);
    }
    Some(path)
}

/// Whether one of two directories is the other or lies in it, by their names alone: links may say otherwise.
fn overlap(one: &Path, other: &Path) -> bool {
    let (one, other) = (plain(one), plain(other));
    one.starts_with(&other) || other.starts_with(&one)
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
