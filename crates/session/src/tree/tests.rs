use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use super::*;
use crate::sandbox::read_all;

fn path(path: &str) -> SandboxPath {
    SandboxPath::parse(path).unwrap()
}

#[test]
fn a_tree_is_read_by_the_rules_of_a_sandbox() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("data");
    fs::create_dir_all(top.join("d/.git")).unwrap();
    fs::write(top.join("d/file"), "12345").unwrap();
    fs::write(top.join(".secret"), "x").unwrap();
    fs::write(root.path().join("outside"), "x").unwrap();
    symlink("../outside", top.join("link")).unwrap();
    symlink("d", top.join("inside")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(CWD, top.join("fifo"), fifo, Mode::RUSR, 0).unwrap();
    // What the site links together is served.
    fs::hard_link(root.path().join("outside"), top.join("hard")).unwrap();
    let tree = Tree::open_root(&top).unwrap();
    let file = tree.open(&path("d/file")).unwrap();
    assert_eq!(read_all(&file.descriptor, 9).unwrap(), b"12345");
    assert!(tree.open(&path("hard")).is_ok());
    assert_eq!(tree.stat(&path("d/file")).unwrap().size, 5);
    assert!(tree.stat(&SandboxPath::root()).unwrap().directory);
    for odd in ["link", "inside", "inside/file", "fifo"] {
        assert_eq!(tree.open(&path(odd)).unwrap_err(), SandboxError::Refused, "{odd}");
        assert_eq!(tree.stat(&path(odd)).unwrap_err(), SandboxError::Refused, "{odd}");
    }
    let names = |listing: Listing| -> Vec<String> {
        let text = |entry: Entry| String::from_utf8(entry.name).unwrap();
        listing.entries.into_iter().map(text).collect()
    };
    assert_eq!(names(tree.list(&SandboxPath::root(), 9).unwrap()), ["d", "hard"]);
    assert_eq!(names(tree.list(&path("d"), 9).unwrap()), ["file"]);
    assert_eq!(tree.list(&path("d/file"), 9).unwrap_err(), SandboxError::Absent);
    let until = Instant::now() + Duration::from_secs(60);
    let bounds = FindBounds { entries_max: 9, bytes_max: 999, names_max: 99, until };
    let mut found = Vec::new();
    let mut take = |entry: Entry| {
        found.push(entry.name);
        true
    };
    let all = Glob::parse("*").unwrap();
    assert_eq!(tree.find(&SandboxPath::root(), &all, bounds, &mut take), Ok(FindEnd::Whole));
    found.sort();
    assert_eq!(found, [&b"d"[..], b"d/file", b"hard"]);
}

#[test]
fn its_root_may_be_a_link_and_is_opened_once() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("one")).unwrap();
    fs::create_dir(root.path().join("two")).unwrap();
    fs::write(root.path().join("one/f"), "1").unwrap();
    fs::write(root.path().join("two/f"), "two").unwrap();
    symlink("one", root.path().join("current")).unwrap();
    let tree = Tree::open_root(&root.path().join("current")).unwrap();
    fs::remove_file(root.path().join("current")).unwrap();
    symlink("two", root.path().join("current")).unwrap();
    assert_eq!(tree.stat(&path("f")).unwrap().size, 1);
    assert!(!tree.is_removed());
    fs::remove_dir_all(root.path().join("one")).unwrap();
    assert!(tree.is_removed());
    assert_eq!(tree.stat(&path("f")).unwrap_err(), SandboxError::Absent);
    assert_eq!(
        Tree::open_root(&root.path().join("two/f")).unwrap_err(),
        SandboxError::Absent,
        "a file is no tree"
    );
    assert_eq!(Tree::open_root(&root.path().join("none")).unwrap_err(), SandboxError::Absent);
}

#[test]
fn another_file_system_in_a_tree_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root (a mount)");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("mount");
    fs::create_dir(&place).unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &place, "tmpfs", none, None).unwrap();
    let tree = Tree::open_root(root.path()).unwrap();
    let opened = tree.open(&path("mount")).map(|_| ());
    let listed = tree.list(&SandboxPath::root(), 9).unwrap();
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(opened, Err(SandboxError::Refused));
    assert!(listed.entries.is_empty());
}
