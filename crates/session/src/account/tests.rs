use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

use super::*;

fn place() -> (tempfile::TempDir, OwnedFd) {
    let place = tempfile::tempdir().unwrap();
    // A handle to look names up with, as the monitor hands it over.
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let root = rustix::fs::open(place.path(), flags, Mode::empty()).unwrap();
    (place, root)
}

#[test]
fn an_account_opens_its_directory_and_makes_it_once() {
    let (place, root) = place();
    AccountDir::check_within(root.as_fd(), "alice").unwrap();
    assert!(!place.path().join("alice").exists());
    for _ in 0..2 {
        let directory = AccountDir::within(root.as_fd(), "alice").unwrap();
        directory.create(&SessionId::random(), 0o077).unwrap();
    }
    assert_eq!(fs::read_dir(place.path().join("alice")).unwrap().count(), 2);
    assert_eq!(fs::metadata(place.path().join("alice")).unwrap().mode() & 0o777, 0o700);
    AccountDir::check_within(root.as_fd(), "alice").unwrap();
}

#[test]
fn nothing_else_is_taken_for_it() {
    let (place, root) = place();
    let told = |name: &str| {
        let told = AccountDir::within(root.as_fd(), name).unwrap_err();
        assert_eq!(AccountDir::check_within(root.as_fd(), name).err(), Some(told), "{name}");
        told.to_string()
    };
    let at = |name: &str| place.path().join(name);
    fs::create_dir(at("open")).unwrap();
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o2750)).unwrap();
    assert_eq!(told("open"), "its mode is 2750, and must be 0700");
    fs::create_dir(at("good")).unwrap();
    fs::set_permissions(at("good"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("good", at("link")).unwrap();
    fs::write(at("file"), "").unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    for name in ["link", "file", "dangling"] {
        assert_eq!(told(name), "Not a directory (os error 20)", "{name}");
    }
    assert!(!at("nowhere").exists());
    for name in ["", ".", "..", "good/x", "/"] {
        assert_eq!(AccountDir::within(root.as_fd(), name).err(), Some(AccountDirError::Name));
    }
    if rustix::process::geteuid().is_root() {
        fs::create_dir(at("bob")).unwrap();
        chown(at("bob"), Some(12345), None).unwrap();
        assert_eq!(told("bob"), "it belongs to uid 12345");
    }
}
