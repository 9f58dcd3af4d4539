use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{AccountDir, FindBounds, FindEnd, Glob, PATH_PARTS_MAX, Sandbox, SandboxError};
use crate::{SandboxPath, SessionId};

struct World {
    _root: tempfile::TempDir,
    sandbox: Sandbox,
    path: PathBuf,
}

fn world() -> World {
    let root = tempfile::tempdir().unwrap();
    let account = AccountDir::open(root.path()).unwrap();
    let session = SessionId::random();
    let sandbox = account.create(&session, 0o077).unwrap();
    let path = root.path().join(session.reveal());
    World { _root: root, sandbox, path }
}

fn bounds(entries_max: usize, names_max: usize) -> FindBounds {
    let until = Instant::now() + Duration::from_secs(60);
    FindBounds { entries_max, bytes_max: 1 << 20, names_max, until }
}

impl World {
    fn find(&self, path: &str, pattern: &str, bounds: FindBounds) -> (Vec<String>, FindEnd) {
        let (path, pattern) = (SandboxPath::parse(path).unwrap(), Glob::parse(pattern).unwrap());
        let mut found = Vec::new();
        let end = self.sandbox.find(&path, &pattern, bounds, &mut |entry| {
            found.push(String::from_utf8_lossy(&entry.name).into_owned());
            true
        });
        found.sort();
        (found, end.unwrap())
    }
}

#[test]
fn names_are_found_at_any_depth() {
    let world = world();
    fs::create_dir_all(world.path.join("a/b.fits/c")).unwrap();
    fs::create_dir_all(world.path.join(".hidden")).unwrap();
    for file in ["x.fits", "a/y.fits", "a/b.fits/c/z.fits", "a/.h.fits", ".hidden/h.fits", "a/no"] {
        fs::write(world.path.join(file), "1234").unwrap();
    }
    let all = world.find("", "*.fits", bounds(10, 100));
    let names = ["a/b.fits", "a/b.fits/c/z.fits", "a/y.fits", "x.fits"];
    assert_eq!(all, (names.map(str::to_owned).to_vec(), FindEnd::Whole));
    let below = world.find("a", "*.fits", bounds(10, 100)).0;
    assert_eq!(below, ["a/b.fits", "a/b.fits/c/z.fits", "a/y.fits"]);
    assert_eq!(world.find("", "record", bounds(10, 100)).0, [""; 0]);
    assert_eq!(world.find("", "a", bounds(10, 100)).0, ["a"]);
    let (root, any) = (SandboxPath::parse("x.fits").unwrap(), Glob::parse("*").unwrap());
    let error = world.sandbox.find(&root, &any, bounds(9, 9), &mut |_| true).unwrap_err();
    assert_eq!(error, SandboxError::Absent, "a file is no directory");
}

#[test]
fn so_many_bytes_of_paths_are_found_and_no_more() {
    let world = world();
    fs::create_dir(world.path.join("dir")).unwrap();
    for file in ["dir/abc", "dir/def"] {
        fs::write(world.path.join(file), "").unwrap();
    }
    let of = |bytes_max| {
        let bounds = FindBounds { bytes_max, ..bounds(10, 100) };
        let (found, end) = world.find("dir", "*", bounds);
        (found.len(), end)
    };
    assert_eq!(of(13), (1, FindEnd::Entries));
    assert_eq!(of(14), (2, FindEnd::Whole));
    assert_eq!(of(15), (2, FindEnd::Whole));
    assert_eq!(of(6), (0, FindEnd::Entries));
}

#[test]
fn links_and_loops_are_not_gone_through() {
    let world = world();
    fs::create_dir(world.path.join("d")).unwrap();
    symlink("..", world.path.join("d/up")).unwrap();
    symlink("/etc", world.path.join("d/etc")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(&world.sandbox, "fifo", fifo, mode, 0).unwrap();
    assert_eq!(world.find("", "*", bounds(10, 100)), (vec!["d".to_owned()], FindEnd::Whole));
}

#[test]
fn names_that_are_no_text_are_found() {
    let world = world();
    let odd = std::ffi::OsStr::from_bytes(b"a\n\xff*");
    fs::create_dir(world.path.join(odd)).unwrap();
    fs::write(world.path.join(odd).join(odd), "").unwrap();
    let any = Glob::parse(b"a\n\xff\\*").unwrap();
    let mut found = Vec::new();
    let root = SandboxPath::root();
    let mut take = |entry: crate::Entry| {
        found.push(entry.name);
        true
    };
    world.sandbox.find(&root, &any, bounds(9, 9), &mut take).unwrap();
    found.sort();
    assert_eq!(found, [b"a\n\xff*".to_vec(), b"a\n\xff*/a\n\xff*".to_vec()]);
}

#[test]
fn matches_names_and_time_are_bounded() {
    let world = world();
    for number in 0..10 {
        fs::create_dir(world.path.join(format!("d{number}"))).unwrap();
        fs::write(world.path.join(format!("d{number}/f")), "").unwrap();
    }
    for (entries_max, end) in [(9, FindEnd::Entries), (10, FindEnd::Whole), (11, FindEnd::Whole)] {
        let (found, ended) = world.find("", "f", bounds(entries_max, 1000));
        assert_eq!((found.len(), ended), (entries_max.min(10), end));
    }
    for (names_max, end) in [(19, FindEnd::Effort), (20, FindEnd::Whole), (21, FindEnd::Whole)] {
        assert_eq!(world.find("", "none", bounds(10, names_max)).1, end, "{names_max}");
    }
    let over = FindBounds { until: Instant::now(), ..bounds(10, 1000) };
    assert_eq!(world.find("", "f", over), (Vec::new(), FindEnd::Effort));
    let (root, any) = (SandboxPath::root(), Glob::parse("*").unwrap());
    let mut taken = 0;
    let mut take = |_| {
        taken += 1;
        taken < 3
    };
    let end = world.sandbox.find(&root, &any, bounds(100, 100), &mut take);
    assert_eq!((end, taken), (Ok(FindEnd::Effort), 3), "nobody takes more");
}

#[test]
fn what_no_path_names_is_not_found() {
    let world = world();
    let mut path = world.path.clone();
    for _ in 0..PATH_PARTS_MAX + 2 {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    let (found, end) = world.find("", "d", bounds(1000, 1000));
    assert_eq!((found.len(), end), (PATH_PARTS_MAX, FindEnd::Whole));
}

#[test]
fn a_directory_that_may_not_be_read_is_passed_over() {
    if rustix::process::geteuid().is_root() {
        println!("SKIPPED: needs no root (root reads everything)");
        return;
    }
    use std::os::unix::fs::PermissionsExt as _;
    let world = world();
    fs::create_dir_all(world.path.join("closed/f")).unwrap();
    fs::create_dir_all(world.path.join("open/f")).unwrap();
    let closed = world.path.join("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let found = world.find("", "f", bounds(10, 100));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(found, (vec!["open/f".to_owned()], FindEnd::Whole));
}
