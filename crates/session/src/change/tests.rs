use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::{AccountDir, SessionId};

/// A sandbox, and a canary outside.
struct World {
    root: tempfile::TempDir,
    sandbox: Sandbox,
    path: PathBuf,
    outside: PathBuf,
}

const CANARY: &str = "the canary";

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), CANARY).unwrap();
    let home = root.path().join("alice");
    fs::create_dir(&home).unwrap();
    let account = AccountDir::open(&home).unwrap();
    let session = SessionId::random();
    let sandbox = account.create(&session, 0o077).unwrap();
    let path = home.join(session.reveal());
    World { root, sandbox, path, outside }
}

fn path(path: impl AsRef<[u8]>) -> SandboxPath {
    SandboxPath::parse(path).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn fill(writing: &Writing, text: &str) {
    let mut file = fs::File::from(writing.file().try_clone_to_owned().unwrap());
    file.write_all(text.as_bytes()).unwrap();
}

impl World {
    fn write(&self, name: &str, text: &str, replace: bool) -> Result<Written, SandboxError> {
        let writing = self.sandbox.begin_write(&path(name), 0o022)?;
        fill(&writing, text);
        let committed = writing.commit(&self.sandbox, replace, 1 << 20, 0);
        writing.leftover().unwrap().discard();
        committed
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path.join(name)).unwrap().mode() & 0o7777
    }

    /// All names of the sandbox's directory, hidden or not.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// What stands outside is as it was.
    fn unharmed(&self) {
        assert_eq!(fs::read_to_string(self.outside.join("canary")).unwrap(), CANARY);
        assert_eq!(fs::read_dir(&self.outside).unwrap().count(), 1);
    }
}

#[test]
fn directories_are_made_with_the_umask() {
    let world = world();
    for (umask, mode) in [(0o077, 0o700), (0o027, 0o750), (0o022, 0o755), (0o777, 0o700)] {
        let name = format!("d{umask:o}");
        world.sandbox.make_directory(&path(&name), umask).unwrap();
        assert_eq!(world.mode(&name), mode);
        assert_eq!(world.sandbox.make_directory(&path(&name), umask), Err(SandboxError::Exists));
    }
    world.sandbox.make_directory(&path("d22/deeper"), 0).unwrap();
    assert_eq!(world.mode("d22/deeper"), 0o777);
    fs::set_permissions(world.path.join("d22"), fs::Permissions::from_mode(0o2755)).unwrap();
    world.sandbox.make_directory(&path("d22/group"), 0o022).unwrap();
    assert_eq!(world.mode("d22/group"), 0o2755, "the group is handed down");
    let odd = b"line\nbreak \xff \x1b[31m";
    world.sandbox.make_directory(&path(odd), 0o077).unwrap();
    assert!(world.path.join(OsStr::from_bytes(odd)).is_dir());
}

#[test]
fn what_may_not_be_made_is_not() {
    let world = world();
    symlink(&world.outside, world.path.join("link")).unwrap();
    symlink("nowhere", world.path.join("dangling")).unwrap();
    fs::write(world.path.join("file"), "x").unwrap();
    let made = |name: &str| world.sandbox.make_directory(&path(name), 0o077);
    assert_eq!(made("link/d"), Err(SandboxError::Absent));
    assert_eq!(made("link/d/e"), Err(SandboxError::Refused));
    assert_eq!(made("dangling"), Err(SandboxError::Exists));
    assert_eq!(made("dangling/d"), Err(SandboxError::Absent));
    assert_eq!(made("file"), Err(SandboxError::Exists));
    assert_eq!(made("file/d"), Err(SandboxError::Absent));
    assert_eq!(made("none/d"), Err(SandboxError::Absent));
    assert_eq!(world.sandbox.make_directory(&SandboxPath::root(), 0), Err(SandboxError::Refused));
    assert_eq!(world.write("link/f", "x", true).unwrap_err(), SandboxError::Absent);
    assert_eq!(world.write("none/f", "x", true).unwrap_err(), SandboxError::Absent);
    world.unharmed();
}

#[test]
fn a_file_appears_whole_and_with_its_modes() {
    let world = world();
    let writing = world.sandbox.begin_write(&path("f"), 0o027).unwrap();
    fill(&writing, "half");
    assert_eq!(writing.size(), Ok(4));
    assert_eq!(world.names(), [".nesssi", ".nesssi-new.0"]);
    assert_eq!(world.mode(".nesssi-new.0"), 0o600, "nobody else reads what is not whole");
    assert!(world.sandbox.list(&SandboxPath::root(), 9).unwrap().entries.is_empty());
    let written = writing.commit(&world.sandbox, false, 4, 0).unwrap();
    assert_eq!((written.size, written.replaced), (4, false));
    assert_eq!(world.names(), [".nesssi", "f"]);
    assert_eq!((world.read("f").as_str(), world.mode("f")), ("half", 0o640));
    assert_eq!(written.modified, fs::metadata(world.path.join("f")).unwrap().mtime());
    writing.leftover().unwrap().discard();
    assert_eq!(world.read("f"), "half", "what has its place is not discarded");
    // What was opened for writing keeps nobody from locking the file.
    let other = fs::File::open(world.path.join("f")).unwrap();
    assert!(other.try_lock().is_ok());
}

#[test]
fn a_file_that_is_executed_can_be_held_by_its_leftover() {
    let world = world();
    let writing = world.sandbox.begin_write(&path("script"), 0o077).unwrap();
    fill(&writing, "#!/bin/sh\nexit 7\n");
    let leftover = writing.leftover().unwrap();
    writing.commit(&world.sandbox, false, 99, 0).unwrap();
    drop(writing);
    assert_eq!(leftover.facts().unwrap().size, 17);
    let script = world.path.join("script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test's own script")]
    let ended = std::process::Command::new(&script).status().unwrap();
    assert_eq!(ended.code(), Some(7));
}

#[test]
fn only_a_file_is_replaced_and_only_if_that_is_meant() {
    let world = world();
    world.write("f", "one", false).unwrap();
    assert_eq!(world.write("f", "two", false).unwrap_err(), SandboxError::Exists);
    assert_eq!(world.read("f"), "one");
    assert!(world.write("f", "three", true).unwrap().replaced);
    assert_eq!(world.read("f"), "three");
    assert!(!world.write("g", "new", true).unwrap().replaced);
    fs::create_dir(world.path.join("d")).unwrap();
    let directory = SandboxError::System(Errno::ISDIR);
    assert_eq!(world.write("d", "x", true).unwrap_err(), directory);
    symlink(world.outside.join("canary"), world.path.join("link")).unwrap();
    rustix::fs::mknodat(&world.sandbox, "fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
    for odd in ["link", "fifo"] {
        assert_eq!(world.write(odd, "x", true).unwrap_err(), SandboxError::Refused, "{odd}");
    }
    // They may come while the file is being written.
    for (odd, error) in [("late", SandboxError::Refused), ("dir", directory)] {
        let writing = world.sandbox.begin_write(&path(odd), 0o077).unwrap();
        fill(&writing, "x");
        if odd == "late" {
            symlink(world.outside.join("canary"), world.path.join(odd)).unwrap();
        } else {
            fs::create_dir(world.path.join(odd)).unwrap();
        }
        let committed = |replace| writing.commit(&world.sandbox, replace, 9, 0).unwrap_err();
        assert_eq!(committed(false), SandboxError::Exists);
        assert_eq!(committed(true), error);
        writing.leftover().unwrap().discard();
    }
    world.unharmed();
    assert_eq!(world.names(), [".nesssi", "d", "dir", "f", "fifo", "g", "late", "link"]);
}

#[test]
fn a_second_name_of_anothers_file_is_neither_replaced_nor_renamed_nor_removed() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root (a file of another account)");
        return;
    }
    let world = world();
    let theirs = world.outside.join("canary");
    std::os::unix::fs::chown(&theirs, Some(12345), Some(12345)).unwrap();
    fs::hard_link(&theirs, world.path.join("hard")).unwrap();
    let refused = SandboxError::Refused;
    assert_eq!(world.write("hard", "x", true).unwrap_err(), refused);
    assert_eq!(world.sandbox.rename(&path("hard"), &path("h")), Err(refused));
    assert_eq!(world.sandbox.remove(&path("hard")), Err(refused));
    assert!(world.sandbox.remove_all(&path("hard"), soon()).is_err());
    assert_eq!(fs::metadata(&theirs).unwrap().nlink(), 2);
    world.unharmed();
}

#[test]
fn bytes_are_bounded_when_the_file_is_whole() {
    let world = world();
    let writing = world.sandbox.begin_write(&path("f"), 0o077).unwrap();
    fill(&writing, "12345");
    let commit = |bytes_max| writing.commit(&world.sandbox, false, bytes_max, 0);
    assert_eq!(commit(4), Err(SandboxError::TooLong));
    assert_eq!(commit(5).unwrap().size, 5);
    fs::remove_file(world.path.join("f")).unwrap();
    let writing = world.sandbox.begin_write(&path("f"), 0o077).unwrap();
    fill(&writing, "12345");
    assert_eq!(writing.commit(&world.sandbox, false, 6, 0).unwrap().size, 5);
}

#[test]
fn a_full_sandbox_takes_no_more_but_what_replaces() {
    let world = world();
    let text = "x".repeat(1 << 16);
    let first = world.sandbox.begin_write(&path("f"), 0o077).unwrap();
    fill(&first, &text);
    first.commit(&world.sandbox, false, 1 << 20, 0).unwrap();
    let used = world.sandbox.used_bytes(u64::MAX).unwrap();
    // One more of the same length fits exactly; it may not be a byte less.
    let second = world.sandbox.begin_write(&path("g"), 0o077).unwrap();
    fill(&second, &text);
    let file = fs::metadata(world.path.join("f")).unwrap().blocks() * 512;
    let room = used + file;
    let full = SandboxError::System(Errno::DQUOT);
    assert_eq!(second.commit(&world.sandbox, false, 1 << 20, room - 1), Err(full));
    assert!(!world.path.join("g").exists());
    second.commit(&world.sandbox, false, 1 << 20, room).unwrap();
    // What replaces a file takes no room.
    let third = world.sandbox.begin_write(&path("g"), 0o077).unwrap();
    fill(&third, &text);
    assert_eq!(third.commit(&world.sandbox, true, 1 << 20, room - 1), Err(full));
    assert!(third.commit(&world.sandbox, true, 1 << 20, room + 1).unwrap().replaced);
}

#[test]
fn a_disk_that_is_full_is_told_and_leaves_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root (a small file system)");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let none = rustix::mount::MountFlags::empty();
    let size = c"size=65536,nr_inodes=8";
    rustix::mount::mount("tmpfs", root.path(), "tmpfs", none, size).unwrap();
    let outcome = std::panic::catch_unwind(|| {
        let account = AccountDir::open(root.path()).unwrap();
        let sandbox = account.create(&SessionId::random(), 0o077).unwrap();
        let writing = sandbox.begin_write(&path("f"), 0o077).unwrap();
        let mut file = fs::File::from(writing.file().try_clone_to_owned().unwrap());
        let error = file.write_all(&vec![1; 1 << 17]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        drop(file);
        writing.leftover().unwrap().discard();
        drop(writing);
        let used = sandbox.used_bytes(u64::MAX).unwrap();
        assert!(used < 1 << 14, "{used}");
        // No inode is left: a name cannot be made at all.
        let full = SandboxError::System(Errno::NOSPC);
        let made =
            (0..9).map(|n| sandbox.make_directory(&path(format!("d{n}")), 0)).find(Result::is_err);
        assert_eq!(made, Some(Err(full)));
        assert_eq!(sandbox.begin_write(&path("g"), 0).unwrap_err(), full);
    });
    rustix::mount::unmount(root.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn so_many_are_written_in_a_directory() {
    let world = world();
    fs::create_dir(world.path.join("d")).unwrap();
    let begin = |name: &str| world.sandbox.begin_write(&path(name), 0o077);
    let mut under_way: Vec<Writing> = (0..WRITES_PER_DIRECTORY_MAX - 1)
        .map(|number| begin(&format!("f{number}")).unwrap())
        .collect();
    under_way.push(begin("f").unwrap());
    assert_eq!(begin("one").unwrap_err(), SandboxError::System(Errno::BUSY));
    begin("d/one").unwrap();
    let last = under_way.pop().unwrap();
    last.leftover().unwrap().discard();
    drop(last);
    under_way.push(begin("one").unwrap());
    // Those whose writer has died are taken back by the next.
    under_way.clear();
    assert_eq!(world.names().len(), 2 + WRITES_PER_DIRECTORY_MAX);
    let next = begin("next").unwrap();
    fill(&next, "text");
    next.commit(&world.sandbox, false, 9, 0).unwrap();
    assert_eq!(world.read("next"), "text");
}

#[test]
fn names_of_what_is_not_whole_may_be_taken_by_anything() {
    let world = world();
    fs::create_dir(world.path.join(".nesssi-new.0")).unwrap();
    symlink(world.outside.join("canary"), world.path.join(".nesssi-new.1")).unwrap();
    rustix::fs::mknodat(&world.sandbox, ".nesssi-new.2", FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::write(world.path.join(".nesssi-new.3"), "left behind").unwrap();
    world.write("f", "text", false).unwrap();
    assert_eq!(world.read("f"), "text");
    assert!(!world.path.join(".nesssi-new.3").exists(), "it was nobody's any more");
    world.unharmed();
}

/// The job puts something else under the name of what is being written.
#[test]
fn what_was_put_in_place_of_the_file_is_not_served_as_it() {
    let world = world();
    let writing = world.sandbox.begin_write(&path("f"), 0o077).unwrap();
    fill(&writing, "mine");
    fs::remove_file(world.path.join(".nesssi-new.0")).unwrap();
    symlink(world.outside.join("canary"), world.path.join(".nesssi-new.0")).unwrap();
    assert_eq!(writing.commit(&world.sandbox, true, 9, 0), Err(SandboxError::Refused));
    writing.leftover().unwrap().discard();
    assert_eq!(world.names(), [".nesssi", ".nesssi-new.0"], "it is not ours to remove");
    world.unharmed();
}

#[test]
fn a_directory_that_was_replaced_while_writing_takes_no_file() {
    let world = world();
    let begun = |name: &str| {
        fs::create_dir(world.path.join(name)).unwrap();
        let writing = world.sandbox.begin_write(&path(format!("{name}/f")), 0o077).unwrap();
        fill(&writing, "text");
        fs::rename(world.path.join(name), world.root.path().join(name)).unwrap();
        writing
    };
    let moved = begun("moved");
    assert_eq!(moved.commit(&world.sandbox, true, 9, 0), Err(SandboxError::Absent));
    let linked = begun("linked");
    symlink(&world.outside, world.path.join("linked")).unwrap();
    assert_eq!(linked.commit(&world.sandbox, true, 9, 0), Err(SandboxError::Absent));
    let other = begun("other");
    fs::create_dir(world.path.join("other")).unwrap();
    assert_eq!(other.commit(&world.sandbox, true, 9, 0), Err(SandboxError::Absent));
    for (writing, name) in [(moved, "moved"), (linked, "linked"), (other, "other")] {
        // It is found and removed where it has gone.
        writing.leftover().unwrap().discard();
        assert_eq!(fs::read_dir(world.root.path().join(name)).unwrap().count(), 0);
    }
    world.unharmed();
}

#[test]
fn renaming_replaces_nothing() {
    let world = world();
    fs::create_dir_all(world.path.join("d/e")).unwrap();
    fs::write(world.path.join("f"), "f").unwrap();
    fs::write(world.path.join("g"), "g").unwrap();
    symlink(&world.outside, world.path.join("link")).unwrap();
    let rename = |from: &str, to: &str| world.sandbox.rename(&path(from), &path(to));
    assert_eq!(rename("f", "d/e/f2"), Ok(()));
    assert_eq!(rename("d", "moved"), Ok(()));
    assert_eq!(world.read("moved/e/f2"), "f");
    for (to, error) in [
        ("moved", SandboxError::Exists),
        ("moved/e", SandboxError::Exists),
        ("link", SandboxError::Exists),
        ("g", SandboxError::Exists),
        ("link/g", SandboxError::Absent),
        ("none/g", SandboxError::Absent),
    ] {
        assert_eq!(rename("g", to), Err(error), "{to}");
    }
    fs::create_dir(world.path.join("empty")).unwrap();
    assert_eq!(rename("moved", "empty"), Err(SandboxError::Exists), "not an empty one either");
    assert_eq!(rename("none", "x"), Err(SandboxError::Absent));
    assert_eq!(rename("link", "x"), Err(SandboxError::Refused));
    assert_eq!(rename("link/canary", "x"), Err(SandboxError::Absent));
    assert_eq!(rename("moved", "moved/e/inside"), Err(SandboxError::System(Errno::INVAL)));
    let root = SandboxPath::root();
    assert_eq!(world.sandbox.rename(&root, &path("x")), Err(SandboxError::Refused));
    assert_eq!(world.sandbox.rename(&path("g"), &root), Err(SandboxError::Refused));
    world.unharmed();
}

/// As on a file system that cannot rename without replacing.
#[test]
fn renaming_by_hand_replaces_nothing() {
    let world = world();
    fs::write(world.path.join("f"), "f").unwrap();
    fs::write(world.path.join("g"), "g").unwrap();
    fs::create_dir(world.path.join("d")).unwrap();
    fs::create_dir(world.path.join("empty")).unwrap();
    symlink("nowhere", world.path.join("link")).unwrap();
    let rename = |from: &str, to: &str| {
        let (from, to) = (path(from), path(to));
        let (from, to) = (world.sandbox.place(&from).unwrap(), world.sandbox.place(&to).unwrap());
        let stat = stat_served(&from.directory, from.name, SecondNames::Any).unwrap();
        rename_by_hand(&from, &to, kind(&stat))
    };
    for to in ["g", "d", "link"] {
        assert_eq!(rename("f", to), Err(SandboxError::Exists), "{to}");
    }
    for to in ["g", "empty", "link"] {
        assert_eq!(rename("d", to), Err(SandboxError::Exists), "{to}");
    }
    assert_eq!(rename("f", "h"), Ok(()));
    assert_eq!(rename("d", "e"), Ok(()));
    assert_eq!(rename("e", "e/x"), Err(SandboxError::System(Errno::INVAL)));
    assert_eq!(world.names(), [".nesssi", "e", "empty", "g", "h", "link"]);
    assert_eq!((world.read("g").as_str(), world.read("h").as_str()), ("g", "f"));
}

#[test]
fn what_is_served_is_removed() {
    let world = world();
    fs::create_dir_all(world.path.join("d/e")).unwrap();
    fs::write(world.path.join("d/e/f"), "f").unwrap();
    symlink(&world.outside, world.path.join("link")).unwrap();
    symlink(&world.outside, world.path.join("d/link")).unwrap();
    let remove = |name: &str| world.sandbox.remove(&path(name));
    assert_eq!(remove("d"), Err(SandboxError::System(Errno::NOTEMPTY)));
    for (odd, error) in [
        ("link", SandboxError::Refused),
        ("d/link", SandboxError::Refused),
        ("link/canary", SandboxError::Absent),
    ] {
        assert_eq!(remove(odd), Err(error), "{odd}");
        let left = world.sandbox.remove_all(&path(odd), soon()).unwrap_err();
        assert_eq!(left, Left::from(error));
    }
    assert_eq!(remove("none"), Err(SandboxError::Absent));
    assert_eq!(world.sandbox.remove(&SandboxPath::root()), Err(SandboxError::Refused));
    assert!(world.sandbox.remove_all(&SandboxPath::root(), soon()).is_err());
    assert_eq!(remove("d/e/f"), Ok(()));
    assert_eq!(remove("d/e"), Ok(()));
    // What is not served does not keep a directory from being removed with all in it.
    fs::create_dir_all(world.path.join("d/.hidden/x")).unwrap();
    rustix::fs::mknodat(&world.sandbox, "d/fifo", FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_eq!(world.sandbox.remove_all(&path("d"), soon()), Ok(()));
    fs::write(world.path.join("f"), "f").unwrap();
    assert_eq!(world.sandbox.remove_all(&path("f"), soon()), Ok(()));
    assert_eq!(world.names(), [".nesssi", "link"]);
    world.unharmed();
}

#[test]
fn removal_of_all_ends_at_its_time() {
    let world = world();
    fs::create_dir(world.path.join("d")).unwrap();
    fs::write(world.path.join("d/f"), "").unwrap();
    let left = world.sandbox.remove_all(&path("d"), Instant::now()).unwrap_err();
    assert_eq!(left.names.first(), Some(&(String::new(), Errno::TIMEDOUT)));
    assert!(world.path.join("d/f").exists());
    assert_eq!(world.sandbox.remove_all(&path("d"), soon()), Ok(()));
}

/// Somebody swaps a directory for a link to the outside, all the time: nothing outside is ever made,
/// written, renamed or removed.
#[test]
fn a_racer_changes_nothing_outside() {
    let world = world();
    fs::create_dir(world.path.join("d")).unwrap();
    symlink(&world.outside, world.path.join("evil")).unwrap();
    let stop = AtomicBool::new(false);
    let (mut done, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = RenameFlags::EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(&world.sandbox, "d", &world.sandbox, "evil", flags)
                    .unwrap();
            }
        });
        let until = Instant::now() + Duration::from_secs(2);
        let mut note = |result: Result<(), SandboxError>| match result {
            Ok(()) => done += 1,
            Err(_) => refused += 1,
        };
        while Instant::now() < until {
            note(world.write("d/f", "mine", true).map(drop));
            note(world.sandbox.make_directory(&path("d/new"), 0o077));
            note(world.sandbox.rename(&path("d/canary"), &path("stolen")));
            note(world.sandbox.remove(&path("d/canary")));
            note(
                world.sandbox.remove_all(&path("d/new"), soon()).map_err(|_| SandboxError::Absent),
            );
            note(world.sandbox.remove(&path("d/f")));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(done > 0 && refused > 0, "the race was run: {done} done, {refused} refused");
    assert!(!world.path.join("stolen").exists());
    world.unharmed();
}
