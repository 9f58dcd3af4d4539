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

#[test]
fn one_at_a_time_may_start_and_the_right_ends_with_its_holder() {
    let world = world();
    assert!(!world.private.is_starting());
    let held = world.private.lock_start().unwrap().unwrap();
    assert!(world.private.is_starting());
    assert!(world.private.lock_start().unwrap().is_none());
    drop(held);
    assert!(!world.private.is_starting());
    let reserve = world.private.reserve_record().unwrap();
    drop(reserve);
    let held = world.private.lock_start().unwrap();
    assert!(held.is_some());
    world.private.clear_reserve().unwrap();
    world.private.clear_reserve().unwrap();
    world.private.reserve_record().unwrap();
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

#[test]
fn a_guard_without_the_help_of_the_file_system_never_takes_a_job_scripts_place() {
    let world = world();
    world.private.fill_guard("new", "mine").unwrap();
    // What a job script has between its mkdir and its batch id: a rename would replace it.
    fs::create_dir(world.path.join(GUARD)).unwrap();
    assert_eq!(world.private.make_guard("new"), Ok(false));
    assert_eq!(world.private.read_mark(99), Ok(None));
    fs::remove_dir(world.path.join(GUARD)).unwrap();
    assert_eq!(world.private.make_guard("new"), Ok(true));
    assert_eq!(world.private.read_mark(99), Ok(Some(b"mine".to_vec())));
    assert_eq!(names(&world.path), [GUARD]);
}

#[test]
fn a_guard_and_a_job_scripts_mkdir_exclude_each_other() {
    for _ in 0..200 {
        let world = world();
        let guard = world.path.join(GUARD);
        let (shepherd, script) = std::thread::scope(|scope| {
            let shepherd = scope.spawn(|| world.private.set_guard("shepherd").unwrap());
            let script = scope.spawn(|| fs::create_dir(&guard).is_ok());
            (shepherd.join().unwrap(), script.join().unwrap())
        });
        assert_ne!(shepherd, script);
        assert_eq!(world.private.read_mark(99).unwrap().is_some(), shepherd);
    }
}

#[test]
fn a_submission_is_locked_by_one_as_long_as_anybody_has_it_open() {
    let world = world();
    assert!(!world.private.was_submitted());
    assert_eq!(world.private.is_submitting(), Ok(false));
    let lock = world.private.lock_submission().unwrap().unwrap();
    assert!(world.private.was_submitted());
    assert_eq!(world.private.is_submitting(), Ok(true));
    assert!(world.private.lock_submission().unwrap().is_none());
    let inherited = rustix::io::dup(lock.as_fd()).unwrap();
    lock.mark("a longer mark\n").unwrap();
    lock.mark("a mark\n").unwrap();
    drop(lock);
    assert_eq!(world.private.is_submitting(), Ok(true));
    drop(inherited);
    assert_eq!(world.private.is_submitting(), Ok(false));
    assert_eq!(world.private.read_submission(), Ok(Some(b"a mark\n".to_vec())));
    assert!(world.private.lock_submission().unwrap().is_some());
}

#[test]
fn what_has_the_locks_name_and_is_no_file_is_refused() {
    for make in [(|path| symlink("/etc/passwd", path).unwrap()) as fn(PathBuf), |path| {
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap()
    }] {
        let world = world();
        make(world.path.join(SUBMISSION));
        assert_eq!(world.private.lock_submission().unwrap_err(), SandboxError::Refused);
        assert_eq!(world.private.is_submitting(), Err(SandboxError::Refused));
    }
}

#[test]
fn what_a_job_script_has_written_is_read_bounded() {
    let world = world();
    assert_eq!(world.private.read_winner(), Ok(None));
    assert_eq!(world.private.read_why(), Ok(None));
    fs::create_dir(world.path.join(GUARD)).unwrap();
    assert_eq!(world.private.read_winner(), Ok(None));
    fs::write(world.path.join(GUARD).join(WINNER), "7.server\n").unwrap();
    assert_eq!(world.private.read_winner(), Ok(Some(b"7.server\n".to_vec())));
    fs::write(world.path.join(WHY), vec![b'x'; SAID_BYTES_MAX]).unwrap();
    assert_eq!(world.private.read_why().unwrap().unwrap().len(), SAID_BYTES_MAX);
    fs::write(world.path.join(WHY), vec![b'x'; SAID_BYTES_MAX + 1]).unwrap();
    assert_eq!(world.private.read_why(), Err(SandboxError::TooLong));
    fs::remove_file(world.path.join(WHY)).unwrap();
    symlink("/etc/passwd", world.path.join(WHY)).unwrap();
    assert_eq!(world.private.read_why(), Err(SandboxError::Refused));
}
