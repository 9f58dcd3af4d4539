//! Backups, and files that something has happened to.

use proptest::prelude::*;

use super::*;
use crate::{back_up, look_through, mark_restored, unknown_to};

const COUNT: u64 = 120;

/// A journal with so many jobs, every second of them ended; its file, with the writer still there.
fn filled(folder: &Path) -> (std::path::PathBuf, Journal) {
    let path = folder.join("journal.sqlite");
    let (journal, _) = open(&path);
    for number in 1..=COUNT {
        let mut changes = add(number);
        if number % 2 == 0 {
            changes.push(Change::Ended { session: number, end: end(), expires_ms: 5000 });
        }
        journal.write(changes, Box::new(|outcome| outcome.unwrap()));
    }
    journal.write_and_wait(Vec::new()).unwrap();
    (path, journal)
}

#[test]
fn a_backup_of_a_journal_in_use_is_whole_and_nobody_elses() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (path, journal) = filled(folder.path());
    let copy = folder.path().join("copy");
    let holds = back_up(&path, &copy).unwrap();
    assert_eq!((holds.sessions, holds.open_jobs), (COUNT, COUNT / 2));
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    // What comes after is not in it, and the writer goes on.
    journal.write_and_wait(add(COUNT + 1)).unwrap();
    let unknown = unknown_to(&copy, &path, 10).unwrap();
    assert_eq!(unknown.len(), 1);
    assert!(unknown[0].open_job && unknown[0].account == "alice");
    assert_eq!(unknown_to(&path, &copy, 10).unwrap(), []);
    // It overwrites nothing.
    let before = std::fs::read(&copy).unwrap();
    assert!(matches!(back_up(&path, &copy), Err(JournalError::Sqlite(_))));
    assert_eq!(std::fs::read(&copy).unwrap(), before);
    let nowhere = folder.path().join("nowhere");
    assert!(back_up(&nowhere, &folder.path().join("other")).is_err());
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_restored_journal_goes_on_from_where_it_was_and_says_how_far_it_knew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, journal) = filled(folder.path());
    let copy = folder.path().join("copy");
    back_up(&path, &copy).unwrap();
    journal.write_and_wait(add(COUNT + 1)).unwrap();
    journal.close();
    mark_restored(&copy, Some(&path)).unwrap();
    let names = std::fs::read_dir(folder.path()).unwrap();
    let beside = names
        .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with("copy-"));
    assert_eq!(beside.count(), 0);
    let (restored, loaded) = open(&copy);
    assert_eq!((loaded.sessions.len(), loaded.restored_up_to), (120, COUNT));
    assert!(loaded.lease > 2, "an older holder writes no more: {}", loaded.lease);
    restored.write_and_wait(add(COUNT + 1)).unwrap();
    restored.close();
    let (_journal, loaded) = open(&copy);
    assert_eq!((loaded.sessions.len(), loaded.restored_up_to), (121, COUNT));
    assert_eq!(open(&path).1.restored_up_to, 0);
}

#[test]
fn a_backup_of_another_version_or_cut_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _journal) = filled(folder.path());
    let copy = folder.path().join("copy");
    back_up(&path, &copy).unwrap();
    let bytes = std::fs::read(&copy).unwrap();
    for length in [100, 4096, bytes.len() / 2, bytes.len() - 4096] {
        std::fs::write(&copy, &bytes[..length]).unwrap();
        let looked = look_through(&copy);
        assert!(matches!(looked, Err(JournalError::Damaged(_))), "{length}: {looked:?}");
        let text = looked.unwrap_err().to_string();
        assert!(text.contains("restore a backup"), "{text}");
    }
    std::fs::write(&copy, &bytes).unwrap();
    let other = rusqlite::Connection::open(&copy).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    drop(other);
    let text = look_through(&copy).unwrap_err().to_string();
    assert!(text.contains("version 99") && text.contains("another version"), "{text}");
}

#[test]
fn what_a_killed_writer_left_in_its_log_is_in_the_backup_and_in_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _killed) = filled(folder.path());
    let left = tempfile::tempdir().unwrap();
    for end in ["", "-wal"] {
        let name = format!("journal.sqlite{end}");
        std::fs::copy(path.with_file_name(&name), left.path().join(name)).unwrap();
    }
    let path = left.path().join("journal.sqlite");
    let copy = left.path().join("copy");
    assert_eq!(back_up(&path, &copy).unwrap().sessions, COUNT);
    assert_eq!(open(&path).1.sessions.len(), 120);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Wherever it is, what is there afterwards is all of it, or an error that says so.
    #[test]
    fn damage_anywhere_is_an_error_or_loses_nothing(
        at in 0.0_f64..1.0,
        bytes in proptest::collection::vec(any::<u8>(), 1..64),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (path, journal) = filled(folder.path());
        journal.close();
        let mut file = std::fs::read(&path).unwrap();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "a place in a small file")]
        let at = (at * (file.len() - bytes.len()) as f64) as usize;
        file[at..at + bytes.len()].copy_from_slice(&bytes);
        std::fs::write(&path, &file).unwrap();
        match Journal::open(&path) {
            Ok((_journal, loaded)) => prop_assert_eq!(loaded.sessions.len(), 120),
            Err(error) => {
                let told = matches!(error, JournalError::Damaged(_) | JournalError::Version { .. });
                // The lease or an index may be what is hit: SQLite says so in words of its own.
                prop_assert!(told || matches!(error, JournalError::Sqlite(_) | JournalError::Unfit(_)), "{error:?}");
            }
        }
    }
}
