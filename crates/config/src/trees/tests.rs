use std::path::Path;

use super::{NAME_BYTES_MAX, TREES_MAX, Tree};
use crate::parse;

fn trees(text: &str) -> Result<Vec<Tree>, Vec<String>> {
    match parse(text, "n.toml") {
        Ok(config) => Ok(config.trees),
        Err(mistakes) => Err(mistakes.iter().map(ToString::to_string).collect()),
    }
}

fn tree(name: &str, path: &str) -> String {
    format!("[[tree]]\nname = {name:?}\npath = {path:?}\n")
}

#[test]
fn trees_have_a_name_and_a_path() {
    assert!(trees("").unwrap().is_empty());
    let text = format!("{}{}", tree("data", "/srv/data"), tree("cal-2_b", "/srv/calibration/"));
    let read = trees(&text).unwrap();
    let names: Vec<_> = read.iter().map(|tree| tree.name.as_str()).collect();
    assert_eq!(names, ["data", "cal-2_b"]);
    assert_eq!(read[0].path, Path::new("/srv/data"));
}

#[test]
fn what_is_no_tree_is_told_with_its_line() {
    let told = |text: &str, expected: &str| {
        assert_eq!(trees(text).unwrap_err(), [format!("n.toml:{expected}")], "{text}");
    };
    told("[[tree]]\npath = \"/x\"\n", "1: a [[tree]] needs a `name`");
    told("[[tree]]\nname = \"x\"\n", "1: a [[tree]] needs a `path`");
    let form = "a tree's name is 1 to 64 lowercase letters, digits, `-` and `_`";
    for name in ["", "Data", "a/b", "..", ".data", "a b", "a=b", "ä"] {
        told(&tree(name, "/x"), &format!("2: `name` {name:?}: {form}"));
    }
    let session = "0123456789abcdef0123456789abcdef";
    let taken = format!("2: `name` {session:?}: it would be taken for a session");
    told(&tree(session, "/x"), &taken);
    assert!(trees(&tree(&session[1..], "/x")).is_ok());
    assert!(trees(&tree(&format!("{}g", &session[1..]), "/x")).is_ok());
    for path in ["", "data", "./data", "~/data", "/a\nb"] {
        told(&tree("x", path), &format!("3: `path` is an absolute path, not {path:?}"));
    }
    let twice = format!("{}{}", tree("x", "/x"), tree("x", "/y"));
    told(&twice, "5: tree `x` stands on line 2 already");
    told(
        "[[tree]]\nname = \"x\"\npath = \"/x\"\nroot = 1\n",
        "4: unknown key `root` in [tree]: it belongs in [sandboxes]",
    );
}

#[test]
fn names_and_trees_are_bounded() {
    let name = "n".repeat(NAME_BYTES_MAX);
    assert!(trees(&tree(&name[1..], "/x")).is_ok());
    assert!(trees(&tree(&name, "/x")).is_ok());
    assert!(trees(&tree(&format!("{name}n"), "/x")).is_err());
    let many = |count: usize| -> String {
        (0..count).map(|number| tree(&format!("t{number}"), "/x")).collect()
    };
    assert_eq!(trees(&many(TREES_MAX - 1)).unwrap().len(), TREES_MAX - 1);
    assert_eq!(trees(&many(TREES_MAX)).unwrap().len(), TREES_MAX);
    assert!(trees(&many(TREES_MAX + 1)).unwrap_err()[0].contains("more than 64"));
}

#[test]
fn who_may_read_a_tree_is_said_as_in_an_access_list() {
    let with = |keys: &str| trees(&format!("{}{keys}\n", tree("data", "/srv/data")));
    let read = with("allow = [\"/O=Grid\"]\nlevels = [\"strong\"]\nstart = 2026-03-01T00:00:00Z");
    assert_eq!(read.unwrap()[0].access.levels().count(), 1);
    for keys in [
        "order = \"deny,allow\"\ndeny = [\"/O=Grid\"]",
        "anonymous = true",
        "allow_groups = [\"a.b\"]",
    ] {
        assert!(with(keys).is_ok(), "{keys}");
    }
    let told = |keys: &str, expected: &str| {
        assert_eq!(with(keys).unwrap_err(), [format!("n.toml:{expected}")], "{keys}");
    };
    told("levels = [\"best\"]", "4: there is no level `best`");
    told("order = \"allow\"", "4: `order` is \"allow,deny\" or \"deny,allow\", not \"allow\"");
    assert!(with("allow = [\"Alice\"]").is_err());
    assert!(with("[[tree.lower]]\nsubjects = [\"/*\"]\nlevel = \"weak\"").is_err());
}

#[test]
fn no_tree_and_no_sandbox_lie_in_one_another() {
    let read = |root: &str, path: &str| {
        trees(&format!("[sandboxes]\nroot = {root:?}\n{}", tree("x", path)))
    };
    let root = "/srv/nesssi/sandboxes";
    for path in [root, "/srv/nesssi", "/", "/srv/nesssi/sandboxes/alice", "/srv/x/../nesssi/./"] {
        let told = read(root, path).unwrap_err();
        assert!(told[0].starts_with("n.toml:5: `path`") && told[0].contains(root), "{told:?}");
    }
    for path in ["/srv/nesssi/data", "/srv/nesssi/sandboxes2", "/srv/nesssi/sandboxes/../data"] {
        assert!(read(root, path).is_ok(), "{path}");
    }
}
