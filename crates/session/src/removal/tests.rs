use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::{AccountDir, SessionId};

struct World {
    root: tempfile::TempDir,
    account: AccountDir,
    session: SessionId,
    path: PathBuf,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("outside")).unwrap();
    fs::write(root.path().join("outside/canary"), "canary").unwrap();
    let home = root.path().join("alice");
    fs::create_dir(&home).unwrap();
    let account = AccountDir::open(&home).unwrap();
    let session = SessionId::random();
    account.create(&session, 0o077).unwrap();
    let path = home.join(session.reveal());
    World { root, account, session, path }
}

impl World {
    fn outside(&self) -> PathBuf {
        self.root.path().join("outside")
    }

    fn assert_canary(&self) {
        assert_eq!(fs::read_to_string(self.outside().join("canary")).unwrap(), "canary");
    }
}

#[test]
fn a_tree_is_removed_and_what_links_point_to_is_not() {
    let world = world();
    fs::create_dir_all(world.path.join("a/b/c")).unwrap();
    fs::write(world.path.join("a/b/file"), "x").unwrap();
    symlink(world.outside(), world.path.join("a/link")).unwrap();
    symlink(world.outside().join("canary"), world.path.join("a/b/c/link")).unwrap();
    fs::hard_link(world.outside().join("canary"), world.path.join("hard")).unwrap();
    world.account.remove(&world.session).unwrap();
    assert!(!world.path.exists());
    assert!(!world.account.holds(&world.session));
    world.assert_canary();
    world.account.remove(&world.session).unwrap();
}

#[test]
fn a_link_in_place_of_the_sandbox_is_not_followed() {
    let world = world();
    world.account.remove(&world.session).unwrap();
    symlink(world.outside(), &world.path).unwrap();
    assert!(world.account.remove(&world.session).is_err());
    world.assert_canary();
}

#[test]
fn rights_taken_away_are_taken_back() {
    let world = world();
    let closed = world.path.join("closed");
    fs::create_dir_all(closed.join("deeper")).unwrap();
    fs::write(closed.join("deeper/file"), "x").unwrap();
    fs::set_permissions(closed.join("deeper"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    world.account.remove(&world.session).unwrap();
    assert!(!world.path.exists());
}

#[test]
fn depth_needs_no_more_handles() {
    let world = world();
    let mut here =
        rustix::fs::open(&world.path, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty())
            .unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&here, "d", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        here = rustix::fs::openat(&here, "d", flags, rustix::fs::Mode::empty()).unwrap();
    }
    drop(here);
    world.account.remove(&world.session).unwrap();
    assert!(!world.path.exists());
}

#[test]
fn what_is_left_is_told() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root (a mount)");
        return;
    }
    let world = world();
    let place = world.path.join("a/mount");
    fs::create_dir_all(&place).unwrap();
    fs::write(world.path.join("a/file"), "x").unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &place, "tmpfs", none, None).unwrap();
    fs::write(place.join("inside"), "x").unwrap();
    let left = world.account.remove(&world.session).unwrap_err();
    let kept = place.join("inside").exists();
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::empty()).unwrap();
    assert!(kept, "another file system was entered");
    assert_eq!(left.names.len(), 1, "{left}");
    assert_eq!(left.names[0].0, "a/mount");
    assert!(!world.path.join("a/file").exists());
}

/// Somebody swaps a directory for a link to the outside while it is being removed.
#[test]
fn a_racer_gains_nothing() {
    let stop = AtomicBool::new(false);
    let until = Instant::now() + Duration::from_secs(3);
    let mut rounds = 0;
    while Instant::now() < until {
        rounds += 1;
        let world = world();
        for name in ["a", "b"] {
            let inner = world.path.join(name).join("canary");
            fs::create_dir_all(&inner).unwrap();
            for file in 0..50 {
                fs::write(inner.join(file.to_string()), "x").unwrap();
            }
        }
        // The canary's directory has the same shape: a name unlinked there would be missed.
        fs::create_dir(world.outside().join("c")).unwrap();
        fs::write(world.outside().join("c/1"), "canary").unwrap();
        symlink(world.outside(), world.path.join("evil")).unwrap();
        stop.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| race(&world.path, &stop));
            // Whether it succeeds with the racer about is not the question.
            drop(world.account.remove(&world.session));
            stop.store(true, Ordering::Relaxed);
        });
        world.assert_canary();
        assert_eq!(fs::read_to_string(world.outside().join("c/1")).unwrap(), "canary");
        world.account.remove(&world.session).unwrap();
        assert!(!world.path.exists());
    }
    assert!(rounds > 5);
}

fn race(path: &Path, stop: &AtomicBool) {
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    let cwd = rustix::fs::CWD;
    while !stop.load(Ordering::Relaxed) {
        for name in ["a", "b"] {
            let (one, other) = (path.join(name), path.join("evil"));
            std::hint::black_box(rustix::fs::renameat_with(cwd, one, cwd, other, flags).is_ok());
        }
    }
}
