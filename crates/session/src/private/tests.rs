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
    assert_eq!(world.private.set_guard(), Ok(true));
    assert_eq!(world.private.set_guard(), Ok(false));
    assert!(world.private.is_guarded());
}

#[test]
fn only_one_of_many_sets_the_guard() {
    let world = world();
    let winners: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| usize::from(world.private.set_guard().unwrap())))
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
