//! Tests of directories' checks.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn mine(mode: u32) -> Owner {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Owner { uid, gid, mode }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_missing_is_made() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a/b/c");
    assert!(open_owned(&path, mine(0o711), Missing::Refuse).is_err());
    open_owned(&path, mine(0o711), Missing::Make).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o711);
    open_owned(&path, mine(0o711), Missing::Refuse).unwrap();
}

#[test]
fn a_wider_mode_is_refused_and_a_stricter_one_is_not() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    fs::create_dir(&path).unwrap();
    chmod(&path, 0o700);
    open_owned(&path, mine(0o711), Missing::Refuse).unwrap();
    chmod(&path, 0o755);
    let error = open_owned(&path, mine(0o711), Missing::Refuse).unwrap_err();
    assert!(error.to_string().contains("its mode is 0755, and must be 0711"), "{error}");
}

#[test]
fn a_directory_that_others_may_change_is_refused_on_the_way() {
    let place = tempfile::tempdir().unwrap();
    let open = place.path().join("open");
    fs::create_dir_all(open.join("in")).unwrap();
    chmod(&open.join("in"), 0o700);
    chmod(&open, 0o777);
    let error = open_owned(&open.join("in"), mine(0o700), Missing::Refuse).unwrap_err();
    assert!(error.to_string().ends_with("its group or everybody may write in it"), "{error}");
    assert!(check_above(&open.join("in")).is_err());
    chmod(&open, 0o1777);
    open_owned(&open.join("in"), mine(0o700), Missing::Refuse).unwrap();
    chmod(&open, 0o755);
    check_above(&open.join("in")).unwrap();
}

#[test]
fn a_link_in_an_account_s_place_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    chmod(place.path(), 0o711);
    let root = open_owned(place.path(), mine(0o711), Missing::Refuse).unwrap();
    symlink(other.path(), place.path().join("alice")).unwrap();
    assert!(account_directory(&root, "alice", mine(0o700)).is_err());
    fs::write(place.path().join("bob"), "").unwrap();
    assert!(account_directory(&root, "bob", mine(0o700)).is_err());
    account_directory(&root, "carol", mine(0o700)).unwrap();
    account_directory(&root, "carol", mine(0o700)).unwrap();
    assert_eq!(fs::metadata(place.path().join("carol")).unwrap().mode() & 0o7777, 0o700);
    chmod(&place.path().join("carol"), 0o750);
    assert!(account_directory(&root, "carol", mine(0o700)).is_err());
}

#[test]
fn as_root_an_account_s_directory_is_the_account_s() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    chmod(place.path(), 0o711);
    let root = open_owned(place.path(), mine(0o711), Missing::Refuse).unwrap();
    let owner = Owner { uid: 65_533, gid: 65_532, mode: 0o700 };
    account_directory(&root, "alice", owner).unwrap();
    let facts = fs::metadata(place.path().join("alice")).unwrap();
    assert_eq!((facts.uid(), facts.gid(), facts.mode() & 0o7777), (65_533, 65_532, 0o700));
    // The account's name has another uid now: its files are not handed over.
    let later = Owner { uid: 65_531, ..owner };
    let error = account_directory(&root, "alice", later).unwrap_err();
    assert!(error.to_string().contains("belongs to uid 65533"), "{error}");
    // Made, and not given away.
    fs::create_dir(place.path().join("bob")).unwrap();
    chmod(&place.path().join("bob"), 0o700);
    account_directory(&root, "bob", owner).unwrap();
    assert_eq!(fs::metadata(place.path().join("bob")).unwrap().uid(), 65_533);
    // But what has something in it stays as it is.
    fs::create_dir_all(place.path().join("carol/x")).unwrap();
    chmod(&place.path().join("carol"), 0o700);
    assert!(account_directory(&root, "carol", owner).is_err());
}

/// The owner of the root swaps what was just made for a directory of another user.
#[test]
fn a_directory_put_in_the_place_of_the_one_just_made_is_not_given_away() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let anothers = place.path().join("anothers");
    fs::create_dir(&anothers).unwrap();
    chmod(&anothers, 0o700);
    std::os::unix::fs::chown(&anothers, Some(65_530), Some(65_530)).unwrap();
    let owner = Owner { uid: 65_533, gid: 65_532, mode: 0o700 };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&anothers, flags, Mode::empty()).unwrap();
    assert!(give_away(opened, owner, Path::new("alice")).is_err());
    assert_eq!(fs::metadata(&anothers).unwrap().uid(), 65_530);
}

#[test]
fn links_on_the_way_are_followed_and_what_is_on_their_way_is_checked() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    for name in ["open", "open/in", "safe"] {
        fs::create_dir(at(name)).unwrap();
        chmod(&at(name), 0o755);
    }
    fs::write(at("open/in/file"), "").unwrap();
    chmod(&at("open"), 0o777);
    symlink("../open/in", at("safe/link")).unwrap();
    symlink(at("safe/link/file"), at("safe/file")).unwrap();
    for path in ["open/in/file", "safe/link/file", "safe/file"] {
        let error = check_above(&at(path)).unwrap_err().to_string();
        let expected = format!("{}: its group or", at("open").canonicalize().unwrap().display());
        assert!(error.starts_with(&expected), "{path}: {error}");
    }
    chmod(&at("open"), 0o755);
    check_above(&at("safe/file")).unwrap();
    check_above(&at("safe/none")).unwrap();
    symlink("loop", at("safe/loop")).unwrap();
    let error = check_above(&at("safe/loop")).unwrap_err().to_string();
    assert!(error.ends_with("too many links"), "{error}");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(at("safe/link"), Some(12345), None).unwrap();
        let error = check_above(&at("safe/file")).unwrap_err().to_string();
        assert!(error.contains("safe/link: it belongs to uid 12345"), "{error}");
    }
}

fn program(path: &Path, mode: u32) {
    fs::write(path, "#!/bin/sh\n").unwrap();
    chmod(path, mode);
}

#[test]
fn a_program_is_a_file_that_nobody_else_may_change() {
    let place = tempfile::tempdir().unwrap();
    let real = place.path().canonicalize().unwrap();
    let at = |name: &str| real.join(name);
    let wrong = |name: &str, expected: &str| {
        let error = check_program(&at(name)).unwrap_err().to_string();
        assert_eq!(error, format!("{}: {expected}", at(name).display()));
    };
    program(&at("qsub"), 0o755);
    check_program(&at("qsub")).unwrap();
    chmod(&at("qsub"), 0o111);
    check_program(&at("qsub")).unwrap();
    for mode in [0o775, 0o757] {
        chmod(&at("qsub"), mode);
        wrong("qsub", "its group or everybody may write it");
    }
    chmod(&at("qsub"), 0o644);
    wrong("qsub", "nobody may execute it");
    wrong("none", "No such file or directory (os error 2)");
    fs::create_dir(at("directory")).unwrap();
    wrong("directory", "it is no regular file");
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), Mode::from_raw_mode(0o700)).unwrap();
    wrong("fifo", "it is no regular file");
    let error = check_program(Path::new("bin/qsub")).unwrap_err().to_string();
    assert_eq!(error, "bin/qsub: it is not absolute");
    assert!(check_program(Path::new("/")).is_err());
    if rustix::process::geteuid().is_root() {
        chmod(&at("qsub"), 0o755);
        std::os::unix::fs::chown(at("qsub"), Some(12345), None).unwrap();
        wrong("qsub", "it belongs to uid 12345, who could put another in its place");
    }
}

#[test]
fn a_program_s_directories_are_checked_wherever_links_lead() {
    let place = tempfile::tempdir().unwrap();
    let real = place.path().canonicalize().unwrap();
    let at = |name: &str| real.join(name);
    for name in ["bin", "opt", "opt/pbs"] {
        fs::create_dir(at(name)).unwrap();
        chmod(&at(name), 0o755);
    }
    program(&at("opt/pbs/qsub"), 0o755);
    symlink("../opt/pbs/qsub", at("bin/qsub")).unwrap();
    check_program(&at("bin/qsub")).unwrap();
    for (directory, mode) in [("bin", 0o775), ("opt", 0o757), ("opt/pbs", 0o770)] {
        chmod(&at(directory), mode);
        let error = check_program(&at("bin/qsub")).unwrap_err().to_string();
        let expected = format!("{}: its group or everybody may", at(directory).display());
        assert!(error.starts_with(&expected), "{error}");
        chmod(&at(directory), 0o755);
    }
    program(&at("opt/pbs/other"), 0o777);
    symlink(at("opt/pbs/other"), at("bin/other")).unwrap();
    assert!(check_program(&at("bin/other")).is_err());
}

#[test]
fn a_shared_root_is_sticky_where_others_write() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().canonicalize().unwrap().join("shared");
    let own = rustix::process::geteuid().as_raw();
    let told = |owner: u32| open_shared(&path, owner).unwrap_err().to_string();
    assert!(told(own).contains("No such file"), "nothing is made");
    fs::create_dir(&path).unwrap();
    for mode in [0o711, 0o755, 0o1733, 0o1731, 0o3733] {
        chmod(&path, mode);
        open_shared(&path, own).unwrap();
    }
    for mode in [0o733, 0o731, 0o2777] {
        chmod(&path, mode);
        assert!(told(own).ends_with("so it must be sticky (mode 1733)"), "{mode:o}");
    }
    chmod(&path, 0o1730);
    assert!(told(own).ends_with("accounts may not look names up in it (mode 0711)"));
    chmod(&path, 0o1733);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        open_shared(&path, 12345).unwrap();
        assert!(told(23456).contains("it belongs to uid 12345, and must to uid 23456 or root"));
    }
    let link = place.path().join("link");
    symlink(&path, &link).unwrap();
    chmod(place.path(), 0o777);
    assert!(open_shared(&link, own).is_err(), "the way to it may be changed by others");
}
