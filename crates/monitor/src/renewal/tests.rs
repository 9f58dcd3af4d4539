//! Tests of renewal.

use std::fs;

use super::*;

#[test]
fn a_renewal_is_due_once_both_files_have_been_quiet() {
    let place = tempfile::tempdir().unwrap();
    let paths = ["certificate", "key"].map(|name| place.path().join(name));
    let write = |at: usize, text: &str| fs::write(&paths[at], text).unwrap();
    write(0, "old");
    write(1, "old");
    let mut renewal = Renewal::new(paths.clone());
    assert!(!renewal.is_due());
    write(0, "newer");
    assert!(!renewal.is_due());
    write(1, "newer");
    assert!(!renewal.is_due(), "the key has come only now");
    assert!(renewal.is_due());
    assert!(!renewal.is_due());
    fs::remove_file(&paths[0]).unwrap();
    assert!(!renewal.is_due());
    assert!(renewal.is_due(), "whoever opens them says what is wrong");
}
