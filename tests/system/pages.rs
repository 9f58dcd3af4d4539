//! The pages say what is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Names of all functions in the Rust and Python sources below a folder.
fn functions(folder: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "py") {
                let text = fs::read_to_string(&path).unwrap();
                let name = |line: &str| {
                    let line = line.trim_start().trim_start_matches("async ");
                    let rest = line.strip_prefix("fn ").or_else(|| line.strip_prefix("def "))?;
                    Some(rest.split(['(', '<']).next()?.to_owned())
                };
                names.extend(text.lines().filter_map(name));
            }
        }
    }
    names
}

#[test]
fn every_test_in_the_table_of_threats_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut missing = Vec::new();
    let mut seen = 0;
    for row in page.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let tried = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for part in tried.split("; ") {
            let (room, names) = part.split_once(" `").expect("a crate stands before its tests");
            let folder = match room {
                "tests" | "python" => root.join(room),
                _ => root.join("crates").join(room),
            };
            let functions = functions(&folder);
            for name in names.split('`').filter(|name| name.contains('_')) {
                seen += 1;
                if !functions.contains(name) {
                    missing.push(format!("{room} {name}"));
                }
            }
        }
    }
    assert!(seen > 60, "the page was not read: {seen}");
    assert!(missing.is_empty(), "named in docs/security.md, and not there: {missing:#?}");
}
