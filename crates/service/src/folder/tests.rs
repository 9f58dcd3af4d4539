use std::fs;
use std::os::unix::fs::symlink;

use super::{code_digest, is_service, open_regular};

#[test]
fn what_makes_a_folder_a_service() {
    let folder = tempfile::tempdir().unwrap();
    let check = |in_service: bool, expected: bool| {
        assert_eq!(is_service(folder.path(), in_service), expected, "inside: {in_service}");
    };
    check(false, false);
    fs::write(folder.path().join("__init__.py"), "").unwrap();
    check(false, true);
    check(true, false);
    // A list that leads nowhere is one: its owner meant a service, and it answers nobody.
    symlink("/nowhere", folder.path().join(".clarens_access")).unwrap();
    check(true, true);
    fs::remove_file(folder.path().join(".clarens_access")).unwrap();
    fs::write(folder.path().join("service.toml"), "").unwrap();
    check(true, true);
}

#[test]
fn a_digest_is_of_names_and_contents_of_code_alone() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let digest = || code_digest(folder.path()).unwrap();
    write("a", "1");
    let first = digest();
    write(".hidden", "2");
    write("compiled.pyc", "2");
    fs::create_dir(folder.path().join("inside")).unwrap();
    // A link back is followed once.
    symlink(folder.path(), folder.path().join("inside/back")).unwrap();
    assert_eq!(digest(), first);
    write("inside/b", "2");
    let second = digest();
    assert_ne!(second, first);
    fs::rename(folder.path().join("inside/b"), folder.path().join("b")).unwrap();
    assert_ne!(digest(), second);
    assert!(code_digest(&folder.path().join("none")).is_ok());
}

#[test]
fn only_regular_files_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    assert!(open_regular(&folder.path().join("none")).unwrap().is_none());
    assert!(open_regular(folder.path()).is_err());
    fs::write(folder.path().join("a"), "123").unwrap();
    let (_, length) = open_regular(&folder.path().join("a")).unwrap().unwrap();
    assert_eq!(length, 3);
}
