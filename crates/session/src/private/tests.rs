use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::fs::FileType;

use super::*;
use crate::{AccountDir, SessionId};

struct World {
    root: tempfile::TempDir,
    private: PrivateDir,
    path: PathBuf,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let account = AccountDir::open(root.path()).unwrap();
    let session = SessionId::random();
    let sandbox = account.create(&session, 0o077).unwrap();
    let path = root.path().join(session.reveal()).join(NAME);
    World { private: PrivateDir::open(&sandbox).unwrap(), root, path }
}

#[test]
fn the_guard_is_set_once() {
    let world = world();
    assert!(!world.private.is_guarded());
    assert_eq!(world.private.read_mark(99), Ok(None));
    assert_eq!(world.private.set_guard("the first"), Ok(true));
    assert_eq!(world.private.set_guard("the second"), Ok(false));
    assert!(world.private.is_guarded());
    assert_eq!(world.private.read_mark(9), Ok(Some(b"the first".to_vec())));
    assert_eq!(world.private.read_mark(8), Err(SandboxError::TooLong));
    assert_eq!(names(&world.path), [GUARD]);
}

fn names(path: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_guard_half_made_by_one_who_died_is_made_anew() {
    let world = world();
    world.private.fill_guard("new", "something longer that was cut sho").unwrap();
    assert!(!world.private.is_guarded());
    world.private.fill_guard("new", "mine").unwrap();
    assert_eq!(world.private.place_guard("new"), Ok(true));
    assert_eq!(world.private.read_mark(99), Ok(Some(b"mine".to_vec())));
    assert_eq!(names(&world.path), [GUARD]);
}

#[test]
fn whatever_has_the_guards_name_is_a_guard() {
    for make in [
        (|path| fs::create_dir(path).unwrap()) as fn(PathBuf),
        |path| fs::write(path, "x").unwrap(),
        |path| symlink("/nowhere", path).unwrap(),
    ] {
        let world = world();
        make(world.path.join(GUARD));
        assert_eq!(world.private.set_guard("mine"), Ok(false));
        world.private.fill_guard("late", "late").unwrap();
        assert_eq!(world.private.place_guard("late"), Ok(false));
        world.private.discard_guard("late");
        assert_eq!(names(&world.path), [GUARD]);
    }
}

#[test]
fn the_guard_is_not_replaced_between_look_and_placing() {
    let world = world();
    world.private.fill_guard("late", "late").unwrap();
    assert_eq!(world.private.set_guard("first"), Ok(true));
    // With and without the help of the file system.
    rustix::fs::renameat(&world.private.directory, "late", &world.private.directory, GUARD)
        .unwrap_err();
    assert_eq!(world.private.place_guard("late"), Ok(false));
    assert_eq!(world.private.read_mark(99), Ok(Some(b"first".to_vec())));
}

#[test]
fn a_mark_that_is_no_file_is_refused() {
    let world = world();
    world.private.set_guard("mine").unwrap();
    let mark = world.path.join(GUARD).join(MARK);
    fs::remove_file(&mark).unwrap();
    symlink("/etc/passwd", &mark).unwrap();
    assert_eq!(world.private.read_mark(1 << 20), Err(SandboxError::Refused));
    fs::remove_file(&mark).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &mark, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(world.private.read_mark(1 << 20), Err(SandboxError::Refused));
    fs::remove_dir_all(world.path.join(GUARD)).unwrap();
    symlink("/etc", world.path.join(GUARD)).unwrap();
    assert_eq!(world.private.read_mark(1 << 20), Err(SandboxError::Refused));
}

#[test]
fn only_one_of_many_sets_the_guard() {
    let world = world();
    let winners: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| usize::from(world.private.set_guard("x").unwrap())))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(winners, 1);
}

#[test]
fn a_reserved_record_is_published_whole() {
    let world = world();
    assert_eq!(world.private.read_record(100), Ok(None));
    let reserve = world.private.reserve_record().unwrap();
    assert_eq!(world.private.read_record(100), Ok(None), "a reserve is no record");
    world.private.publish_record(&reserve, "end=1\n").unwrap();
    assert_eq!(world.private.read_record(100), Ok(Some(b"end=1\n".to_vec())));
    assert_eq!(world.private.read_record(6), Ok(Some(b"end=1\n".to_vec())));
    assert_eq!(world.private.read_record(5), Err(SandboxError::TooLong));
}

#[test]
fn a_reserve_that_was_swapped_is_not_published() {
    let world = world();
    let reserve = world.private.reserve_record().unwrap();
    fs::remove_file(world.path.join(RECORD_NEW)).unwrap();
    assert!(world.private.publish_record(&reserve, "true\n").is_err());
    fs::write(world.path.join(RECORD_NEW), "forged\n").unwrap();
    assert_eq!(world.private.publish_record(&reserve, "true\n"), Err(SandboxError::Refused));
    world.private.write_record("true\n").unwrap();
    assert_eq!(world.private.read_record(100), Ok(Some(b"true\n".to_vec())));
}

#[test]
fn what_is_no_plain_file_is_no_record() {
    let world = world();
    let record = world.path.join(RECORD);
    symlink("/etc/passwd", &record).unwrap();
    assert_eq!(world.private.read_record(1 << 20), Err(SandboxError::Refused));
    fs::remove_file(&record).unwrap();
    rustix::fs::mknodat(&world.private.directory, RECORD, FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert_eq!(world.private.read_record(1 << 20), Err(SandboxError::Refused));
    fs::remove_file(&record).unwrap();
    fs::create_dir(&record).unwrap();
    assert_eq!(world.private.read_record(1 << 20), Err(SandboxError::Refused));
}

#[test]
fn a_private_directory_that_is_a_link_is_refused() {
    let world = world();
    fs::remove_dir_all(&world.path).unwrap();
    symlink("/tmp", &world.path).unwrap();
    let account = AccountDir::open(world.root.path()).unwrap();
    let name = world.path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let sandbox = account.sandbox(&SessionId::parse(&name).unwrap()).unwrap();
    assert_eq!(PrivateDir::open(&sandbox).unwrap_err(), SandboxError::Absent);
}
