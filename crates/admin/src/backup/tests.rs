use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};

use super::{aside, check_folder};

#[test]
fn root_backs_up_into_no_folder_that_another_can_change() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let with = |uid: u32, mode: u32| {
        chown(folder.path(), Some(uid), None).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        check_folder(&file)
    };
    for (uid, mode) in [(0, 0o700), (0, 0o755), (0, 0o1777)] {
        with(uid, mode).unwrap();
    }
    for (uid, mode) in [(1000, 0o700), (1000, 0o1777), (0, 0o770), (0, 0o757)] {
        assert!(with(uid, mode).is_err(), "{uid} {mode:o}");
    }
}

#[test]
fn what_is_kept_twice_in_a_second_has_two_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let name = aside(&path);
        fs::write(&name, "").unwrap();
        assert!(names.insert(name));
    }
}
