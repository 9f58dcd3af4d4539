use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::FileType;

use super::*;
use crate::{AccountDir, SessionId};

/// An account's directory with one sandbox, and a canary outside.
struct World {
    _root: tempfile::TempDir,
    account: AccountDir,
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
    let sandbox = account.create(&session, 0o022).unwrap();
    let path = home.join(session.reveal());
    World { _root: root, account, sandbox, path, outside }
}

impl World {
    fn open(&self, path: &str) -> Result<Opened, SandboxError> {
        self.sandbox.open(&SandboxPath::parse(path).unwrap())
    }

    fn names(&self, path: &str, max: usize) -> (Vec<String>, bool) {
        let listing = self.sandbox.list(&SandboxPath::parse(path).unwrap(), max).unwrap();
        let text = |entry: Entry| String::from_utf8(entry.name).unwrap();
        (listing.entries.into_iter().map(text).collect(), listing.cut)
    }
}

#[test]
fn modes_follow_the_umask() {
    let world = world();
    for (umask, mode) in [(0o077, 0o700), (0o027, 0o750), (0o022, 0o755), (0o777, 0o700)] {
        let session = SessionId::random();
        world.account.create(&session, umask).unwrap();
        let path = world.path.parent().unwrap().join(session.reveal());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode, "{umask:o}");
        assert_eq!(fs::metadata(path.join(".nesssi")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(world.account.create(&session, umask).unwrap_err(), SandboxError::Exists);
    }
}

#[test]
fn files_and_directories_are_opened() {
    let world = world();
    fs::create_dir(world.path.join("d")).unwrap();
    fs::write(world.path.join("d/file"), "12345").unwrap();
    let opened = world.open("d/file").unwrap();
    assert!(!opened.directory);
    assert_eq!(opened.size, 5);
    assert_eq!(opened.inode, fs::metadata(world.path.join("d/file")).unwrap().ino());
    assert_eq!(read_all(&opened.descriptor, 5).unwrap(), b"12345");
    assert!(world.open("d").unwrap().directory);
    assert!(world.open("").unwrap().directory);
    assert_eq!(world.open("absent").unwrap_err(), SandboxError::Absent);
    assert_eq!(world.open("d/file/x").unwrap_err(), SandboxError::Absent);
}

#[test]
fn links_are_never_followed() {
    let world = world();
    symlink(world.outside.join("canary"), world.path.join("link")).unwrap();
    symlink(&world.outside, world.path.join("links")).unwrap();
    symlink("stdout", world.path.join("inside")).unwrap();
    fs::write(world.path.join("stdout"), "x").unwrap();
    for path in ["link", "links", "links/canary", "inside"] {
        assert_eq!(world.open(path).unwrap_err(), SandboxError::Refused, "{path}");
    }
    assert_eq!(world.names("", 10).0, ["stdout"]);
}

#[test]
fn fifos_sockets_and_devices_are_never_opened() {
    let world = world();
    let fifo = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(&world.sandbox, "fifo", FileType::Fifo, fifo, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path.join("socket")).unwrap();
    // Somebody writes into the FIFO as soon as it is opened for reading; nobody must.
    let writer =
        fs::OpenOptions::new().write(true).custom_flags_nonblock().open(world.path.join("fifo"));
    assert!(writer.is_err(), "a FIFO without reader cannot be opened for writing");
    for path in ["fifo", "socket"] {
        let began = Instant::now();
        assert_eq!(world.open(path).unwrap_err(), SandboxError::Refused, "{path}");
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    if rustix::process::geteuid().is_root() {
        let null = rustix::fs::makedev(1, 3);
        let device = FileType::CharacterDevice;
        rustix::fs::mknodat(&world.sandbox, "null", device, fifo, null).unwrap();
        assert_eq!(world.open("null").unwrap_err(), SandboxError::Refused);
    } else {
        println!("SKIPPED: needs root (device node)");
    }
    assert!(world.names("", 10).0.is_empty());
}

trait Nonblock {
    fn custom_flags_nonblock(&mut self) -> &mut Self;
}

impl Nonblock for fs::OpenOptions {
    fn custom_flags_nonblock(&mut self) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt as _;
        self.custom_flags(OFlags::NONBLOCK.bits() as i32)
    }
}

#[test]
fn a_second_name_of_anothers_file_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root (a file of another account)");
        return;
    }
    let world = world();
    let theirs = world.outside.join("theirs");
    fs::write(&theirs, CANARY).unwrap();
    std::os::unix::fs::chown(&theirs, Some(12345), Some(12345)).unwrap();
    fs::hard_link(&theirs, world.path.join("hard")).unwrap();
    assert_eq!(world.open("hard").unwrap_err(), SandboxError::Refused);
    assert!(world.names("", 10).0.is_empty());
    fs::write(world.path.join("own"), "x").unwrap();
    fs::hard_link(world.path.join("own"), world.path.join("own2")).unwrap();
    assert!(world.open("own2").is_ok(), "an account may have two names for its own file");
}

#[test]
fn another_file_system_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs root (a mount)");
        return;
    }
    let world = world();
    let place = world.path.join("mount");
    fs::create_dir(&place).unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("tmpfs", &place, "tmpfs", none, None).unwrap();
    let opened = world.open("mount").map(|_| ());
    let names = world.names("", 10).0;
    rustix::mount::unmount(&place, rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(opened, Err(SandboxError::Refused));
    assert!(names.is_empty());
}

#[test]
fn listings_are_bounded_and_sorted() {
    let world = world();
    for name in ["c", "a", "b", ".hidden"] {
        fs::write(world.path.join(name), name).unwrap();
    }
    assert_eq!(world.names("", 2).0.len(), 2);
    assert!(world.names("", 2).1);
    assert_eq!(world.names("", 3), (vec!["a".into(), "b".into(), "c".into()], false));
    assert!(world.names("", 0).1);
    assert_eq!(
        world.sandbox.list(&SandboxPath::parse("a").unwrap(), 9),
        Err(SandboxError::Absent),
        "a file has no listing"
    );
}

#[test]
fn files_are_listed_recursively() {
    let world = world();
    fs::create_dir_all(world.path.join("d/e")).unwrap();
    fs::write(world.path.join("d/e/deep"), "1").unwrap();
    fs::write(world.path.join("d/mid"), "12").unwrap();
    fs::write(world.path.join("top"), "123").unwrap();
    symlink("..", world.path.join("d/loop")).unwrap();
    let files = world.sandbox.files(10).unwrap();
    let names: Vec<_> = files.entries.iter().map(|entry| (&*entry.name, entry.size)).collect();
    assert_eq!(names, [(&b"d/e/deep"[..], 1), (b"d/mid", 2), (b"top", 3)]);
    assert!(!files.cut);
    assert!(world.sandbox.files(2).unwrap().cut);
}

#[test]
fn an_output_that_nobody_wrote_into_is_made_anew() {
    let world = world();
    drop(world.sandbox.create_output("stdout", 0o077).unwrap());
    let file = world.sandbox.create_output("stdout", 0o077).unwrap();
    fs::File::from(file).write_all(b"x").unwrap();
    assert_eq!(fs::read_to_string(world.path.join("stdout")).unwrap(), "x");
    fs::create_dir(world.path.join("stderr")).unwrap();
    assert_eq!(world.sandbox.create_output("stderr", 0o077).unwrap_err(), SandboxError::Exists);
}

#[test]
fn output_never_follows_or_overwrites() {
    let world = world();
    symlink(world.outside.join("canary"), world.path.join("stdout")).unwrap();
    assert_eq!(world.sandbox.create_output("stdout", 0o077).unwrap_err(), SandboxError::Exists);
    assert_eq!(fs::read_to_string(world.outside.join("canary")).unwrap(), CANARY);
    let file = world.sandbox.create_output("stderr", 0o077).unwrap();
    fs::File::from(file).write_all(b"x").unwrap();
    let again = world.sandbox.create_output("stderr", 0o077).unwrap_err();
    assert_eq!(again, SandboxError::Exists, "one with something in it");
    let mode = fs::metadata(world.path.join("stderr")).unwrap().permissions().mode();
    // The process's own umask may take more away.
    assert_eq!(mode & 0o077, 0);
}

#[test]
fn used_bytes_count_all_but_twice_named() {
    let world = world();
    let empty = world.sandbox.used_bytes(u64::MAX).unwrap();
    fs::create_dir(world.path.join("d")).unwrap();
    fs::write(world.path.join("d/.hidden"), vec![1; 1 << 20]).unwrap();
    let one = world.sandbox.used_bytes(u64::MAX).unwrap();
    assert!(one >= empty + (1 << 20), "{empty} {one}");
    fs::hard_link(world.path.join("d/.hidden"), world.path.join("again")).unwrap();
    assert_eq!(world.sandbox.used_bytes(u64::MAX).unwrap(), one);
}

/// Somebody swaps a directory for a link to the outside, all the time: what is opened is never the canary.
#[test]
fn a_swapped_link_leads_nowhere() {
    let world = world();
    fs::create_dir(world.path.join("d")).unwrap();
    fs::write(world.path.join("d/canary"), "mine").unwrap();
    symlink(&world.outside, world.path.join("evil")).unwrap();
    let stop = AtomicBool::new(false);
    let (mut opened, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(&world.sandbox, "d", &world.sandbox, "evil", flags)
                    .unwrap();
            }
        });
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until {
            match world.open("d/canary") {
                Ok(file) => {
                    opened += 1;
                    assert_eq!(read_all(&file.descriptor, 100).unwrap(), b"mine");
                }
                Err(_) => refused += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(opened > 0 && refused > 0, "the race was run: {opened} opened, {refused} refused");
}
