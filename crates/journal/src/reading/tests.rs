use std::path::Path;

use nesssi_policy::{SubjectDn, VoChange};

use super::read_vo;
use crate::{Change, Journal, JournalError};

fn create(group: &str) -> Change {
    let by = SubjectDn::parse_oneline("/O=Grid/CN=Root").unwrap();
    Change::Vo { change: VoChange::Create { group: group.to_owned() }, by, at_ms: 1 }
}

fn groups(path: &Path) -> Vec<String> {
    read_vo(path).unwrap().iter().map(|change| change.group().to_owned()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn groups_are_read_while_the_writer_holds_the_lease_and_he_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a ?journal#%.sqlite");
    let (journal, _) = Journal::open(&path).unwrap();
    journal.write_and_wait(vec![create("atlas")]).unwrap();
    assert_eq!(groups(&path), ["atlas"]);
    journal.write_and_wait(vec![create("belle")]).unwrap();
    assert_eq!(groups(&path), ["atlas", "belle"], "the lease was not taken from him");
}

#[test]
fn a_journal_at_rest_is_read_and_nothing_is_made_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    let (journal, _) = Journal::open(&path).unwrap();
    journal.write_and_wait(vec![create("atlas")]).unwrap();
    journal.close();
    assert_eq!(names(folder.path()), ["journal.made", "journal.sqlite"]);
    let before = std::fs::read(&path).unwrap();
    assert_eq!(groups(&path), ["atlas"]);
    assert_eq!(names(folder.path()), ["journal.made", "journal.sqlite"]);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_not_there_is_not_made_and_what_is_no_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.sqlite");
    assert!(matches!(read_vo(&path), Err(JournalError::Sqlite(_))));
    assert_eq!(names(folder.path()), [""; 0]);
    std::fs::write(&path, "no database, and long enough for the head of one".repeat(30)).unwrap();
    assert!(matches!(read_vo(&path), Err(JournalError::Damaged(_))), "{:?}", read_vo(&path));
    let real = folder.path().join("real");
    drop(Journal::open(&real).unwrap());
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&real, &path).unwrap();
    assert!(read_vo(&path).is_err(), "a link in a folder of the gatekeeper's is not followed");
    let beside = folder.path().join("folder");
    std::os::unix::fs::symlink(folder.path(), &beside).unwrap();
    assert!(read_vo(&beside.join("real")).is_ok(), "one on the way there is");
}
