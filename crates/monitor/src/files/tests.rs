//! Tests of reading files of the configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn file(place: &tempfile::TempDir, mode: u32) -> std::path::PathBuf {
    let path = place.path().join("file");
    fs::write(&path, "12345").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_file_is_read_up_to_its_bound() {
    let place = tempfile::tempdir().unwrap();
    let path = file(&place, 0o644);
    assert_eq!(read_trusted(&path, 5).unwrap(), b"12345");
    assert_eq!(read_trusted(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let place = tempfile::tempdir().unwrap();
    assert!(read_trusted(&file(&place, 0o646), 5).is_err());
    let group = read_trusted(&file(&place, 0o664), 5);
    assert_eq!(group.is_err(), rustix::process::geteuid().is_root());
}

#[test]
fn a_fifo_does_not_make_the_monitor_wait() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(read_trusted(&path, 5).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_private_key_is_private() {
    let place = tempfile::tempdir().unwrap();
    for (mode, good) in
        [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o604, false)]
    {
        assert_eq!(open_private_key(&file(&place, mode)).is_ok(), good, "{mode:o}");
        fs::remove_file(place.path().join("file")).unwrap();
    }
}

#[test]
fn a_stamp_tells_a_file_replaced_by_another_of_the_same_size() {
    let place = tempfile::tempdir().unwrap();
    let path = file(&place, 0o644);
    let before = Stamp::of(&path);
    assert_eq!(Stamp::of(&path), before);
    let new = place.path().join("new");
    fs::write(&new, "54321").unwrap();
    fs::rename(&new, &path).unwrap();
    assert_ne!(Stamp::of(&path), before);
    fs::remove_file(&path).unwrap();
    assert_eq!(Stamp::of(&path), None);
}
