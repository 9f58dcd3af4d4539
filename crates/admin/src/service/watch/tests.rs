use super::*;

#[test]
fn edits_of_every_kind_are_seen_and_what_is_no_code_is_not() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir(folder.join("sub")).unwrap();
    fs::write(folder.join("__init__.py"), "x").unwrap();
    let mut seen = look(folder).unwrap();
    let mut changed = |expected: bool, what: &str| {
        assert_eq!(has_changed(folder, &seen), expected, "{what}");
        seen = settled(folder, look(folder).unwrap());
    };
    changed(false, "nothing");
    fs::write(folder.join("__init__.py"), "xy").unwrap();
    changed(true, "another length");
    // As editors save: another file of the same length in its place.
    fs::write(folder.join(".new"), "yx").unwrap();
    fs::rename(folder.join(".new"), folder.join("__init__.py")).unwrap();
    changed(true, "another file in its place");
    fs::write(folder.join("sub/a.py"), "").unwrap();
    changed(true, "a new file below");
    fs::remove_file(folder.join("sub/a.py")).unwrap();
    changed(true, "one that is gone");
    fs::write(folder.join(".clarens_access"), "").unwrap();
    changed(true, "the access list");
    fs::write(folder.join(".swap"), "").unwrap();
    fs::create_dir(folder.join("__pycache__")).unwrap();
    fs::write(folder.join("__pycache__/a.pyc"), "").unwrap();
    changed(false, "an editor's file and compiled modules");
}

#[test]
fn files_below_at_and_above_the_limit() {
    let place = tempfile::tempdir().unwrap();
    for number in 0..FILES_MAX - 1 {
        fs::File::create(place.path().join(format!("f{number}"))).unwrap();
    }
    assert_eq!(look(place.path()).unwrap().len(), FILES_MAX - 1);
    fs::File::create(place.path().join("at")).unwrap();
    assert_eq!(look(place.path()).unwrap().len(), FILES_MAX);
    fs::File::create(place.path().join("above")).unwrap();
    assert!(look(place.path()).unwrap_err().contains("more than 10000 files"));
}
