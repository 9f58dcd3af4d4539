//! Files of sandboxes changed and found, and trees read, over the channel.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use nesssi_privsep::messages::{Entry, FindEnd, FromJobmanager, ToJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_session::SessionId;
use rustix::io::Errno;

use crate::world::{Peer, World, errno, is_root, wait_for};

fn blob(bytes: impl AsRef<[u8]>) -> Blob {
    Blob(bytes.as_ref().to_vec())
}

fn name(session: &SessionId) -> String {
    session.reveal().to_owned()
}

/// A file begun: its ticket and where to write.
fn begin(peer: &Peer, session: &SessionId, path: &str) -> Result<(u64, fs::File), i32> {
    begin_bounded(peer, session, path, (1 << 20, 0))
}

fn begin_bounded(
    peer: &Peer,
    session: &SessionId,
    path: &str,
    (bytes_max, sandbox_bytes_max): (u64, u64),
) -> Result<(u64, fs::File), i32> {
    let mut answer = peer.ask_with(
        &ToJobmanager::BeginWrite {
            session: name(session),
            path: blob(path),
            bytes_max,
            sandbox_bytes_max,
            umask_default: 0o027,
        },
        &[],
    );
    match answer.message {
        FromJobmanager::WriteBegun { ticket } => {
            assert_eq!(answer.descriptors.len(), 1);
            Ok((ticket, fs::File::from(answer.descriptors.remove(0))))
        }
        other => Err(errno(&other)),
    }
}

fn write(
    peer: &Peer,
    session: &SessionId,
    path: &str,
    text: &str,
    replace: bool,
) -> FromJobmanager {
    let (ticket, mut file) = begin(peer, session, path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    drop(file);
    peer.ask(&ToJobmanager::CommitWrite { ticket, replace })
}

/// All that a find tells, sorted, and its end; or the error.
fn find(peer: &Peer, request: &ToJobmanager) -> Result<(Vec<Entry>, FindEnd), i32> {
    let id = peer.send(request, &[]);
    let mut all = Vec::new();
    loop {
        match peer.wait(|received| received.id == id).message {
            FromJobmanager::Found { entries } => all.extend(entries),
            FromJobmanager::FindDone { end } => {
                all.sort_by(|one, other| one.name.0.cmp(&other.name.0));
                return Ok((all, end));
            }
            other => return Err(errno(&other)),
        }
    }
}

fn find_in(session: &SessionId, path: &str, pattern: &str, entries_max: u32) -> ToJobmanager {
    let session = name(session);
    ToJobmanager::Find { session, path: blob(path), pattern: blob(pattern), entries_max }
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.name.0).into_owned()).collect()
}

/// All names in a directory, hidden or not.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_sandbox_is_changed_as_its_account() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let make = |path: &[u8]| {
        let (session, path) = (name(&session), blob(path));
        peer.ask(&ToJobmanager::MakeDirectory { session, path, umask_default: 0o027 })
    };
    assert_eq!(make(b"d"), FromJobmanager::Made {});
    assert_eq!(make(b"d/line\nbreak \xff"), FromJobmanager::Made {});
    assert_eq!(errno(&make(b"d")), Errno::EXIST.raw_os_error());
    for hidden in [&b".x"[..], b"d/.x", b"../x", b"d/../x", b"/x", b"d//x", b"d\0x"] {
        assert_eq!(errno(&make(hidden)), Errno::NOENT.raw_os_error(), "{hidden:?}");
    }
    let written = write(&peer, &session, "d/f", "12345", false);
    let FromJobmanager::Written { size: 5, replaced: false, modified } = written else {
        panic!("{written:?}")
    };
    let facts = fs::metadata(world.path(&session).join("d/f")).unwrap();
    assert_eq!(facts.mtime(), modified);
    let owner =
        world.account.as_ref().map_or_else(|| rustix::process::getuid().as_raw(), |a| a.uid());
    assert_eq!(facts.uid(), owner);
    assert_eq!(facts.mode() & 0o777 & !0o666, 0);
    let stat = ToJobmanager::Stat { session: name(&session), path: blob("d/f") };
    let tender = jobmanager.tender();
    let stated = tender.ask(&stat);
    assert!(
        matches!(stated, FromJobmanager::Stated { directory: false, size: 5, inode, .. } if inode == facts.ino()),
        "{stated:?}"
    );
    let rename = |from: &str, to: &str| {
        let session = name(&session);
        peer.ask(&ToJobmanager::Rename { session, from: blob(from), to: blob(to) })
    };
    assert_eq!(rename("d/f", "g"), FromJobmanager::Renamed {});
    assert_eq!(errno(&rename("g", "d")), Errno::EXIST.raw_os_error());
    assert_eq!(errno(&rename("g", ".g")), Errno::NOENT.raw_os_error());
    assert_eq!(errno(&rename(".nesssi", "g2")), Errno::NOENT.raw_os_error());
    let remove = |path: &str, recursive| {
        let session = name(&session);
        tender.ask(&ToJobmanager::RemovePath { session, path: blob(path), recursive })
    };
    assert_eq!(errno(&remove("d", false)), Errno::NOTEMPTY.raw_os_error());
    assert_eq!(remove("d", true), FromJobmanager::Removed {});
    assert_eq!(remove("g", false), FromJobmanager::Removed {});
    assert_eq!(errno(&remove("g", false)), Errno::NOENT.raw_os_error());
    assert_eq!(errno(&remove("g", true)), Errno::NOENT.raw_os_error());
    for recursive in [false, true] {
        assert_eq!(errno(&remove("", recursive)), Errno::LOOP.raw_os_error());
    }
    assert_eq!(names(&world.path(&session)), [".nesssi"]);
}

#[test]
fn a_write_is_seen_when_it_is_committed_and_by_its_own_peer() {
    let world = World::new();
    let jobmanager = world.start();
    let (peer, other) = (jobmanager.starter(), jobmanager.starter());
    let session = peer.prepare();
    let (ticket, mut file) = begin(&peer, &session, "f").unwrap();
    file.write_all(b"half").unwrap();
    let list =
        ToJobmanager::List { session: name(&session), path: Blob::default(), entries_max: 9 };
    let FromJobmanager::Listing { entries, .. } = peer.ask(&list) else { panic!("no listing") };
    assert!(entries.is_empty());
    let commit = ToJobmanager::CommitWrite { ticket, replace: false };
    assert_eq!(errno(&other.ask(&commit)), Errno::NOENT.raw_os_error(), "not his");
    other.ask(&ToJobmanager::DiscardWrite { ticket });
    file.write_all(b" and half").unwrap();
    drop(file);
    let answer = peer.ask(&commit);
    assert!(matches!(answer, FromJobmanager::Written { size: 13, replaced: false, .. }));
    assert_eq!(world.read(&session, "f"), "half and half");
    assert_eq!(errno(&peer.ask(&commit)), Errno::NOENT.raw_os_error(), "once");
    // Not replaced unless that is meant; and either way nothing is left behind.
    let answer = write(&peer, &session, "f", "other", false);
    assert_eq!(errno(&answer), Errno::EXIST.raw_os_error());
    assert_eq!(world.read(&session, "f"), "half and half");
    let answer = write(&peer, &session, "f", "other", true);
    assert!(matches!(answer, FromJobmanager::Written { size: 5, replaced: true, .. }));
    let (ticket, _file) = begin(&peer, &session, "g").unwrap();
    assert_eq!(peer.ask(&ToJobmanager::DiscardWrite { ticket }), FromJobmanager::Discarded {});
    assert_eq!(peer.ask(&ToJobmanager::DiscardWrite { ticket }), FromJobmanager::Discarded {});
    assert_eq!(names(&world.path(&session)), [".nesssi", "f"]);
    assert_eq!(world.read(&session, "f"), "other");
}

#[test]
fn a_program_that_was_written_runs_at_once() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    for _ in 0..10 {
        let session = peer.prepare();
        let text = "#!/bin/sh\nexit 7\n";
        let answer = write(&peer, &session, "script", text, false);
        // The system runs nothing that somebody has open for writing.
        let script = world.path(&session).join("script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(answer, FromJobmanager::Written { .. }), "{answer:?}");
        let output = nesssi_privsep::Command::new(&script).to_std().output().unwrap();
        assert_eq!(output.status.code(), Some(7));
    }
}

#[test]
fn bytes_are_bounded_at_the_commit() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    for (bytes_max, fits) in [(4, false), (5, true), (6, true)] {
        let (ticket, mut file) = begin_bounded(&peer, &session, "f", (bytes_max, 0)).unwrap();
        file.write_all(b"12345").unwrap();
        drop(file);
        let answer = peer.ask(&ToJobmanager::CommitWrite { ticket, replace: true });
        if fits {
            assert!(matches!(answer, FromJobmanager::Written { size: 5, .. }), "{answer:?}");
        } else {
            assert_eq!(errno(&answer), Errno::FBIG.raw_os_error());
        }
    }
    let (ticket, mut file) = begin_bounded(&peer, &session, "g", (1 << 20, 1 << 16)).unwrap();
    file.write_all(&vec![1; 1 << 17]).unwrap();
    drop(file);
    let answer = peer.ask(&ToJobmanager::CommitWrite { ticket, replace: true });
    assert_eq!(errno(&answer), Errno::DQUOT.raw_os_error());
    assert_eq!(names(&world.path(&session)), [".nesssi", "f"]);
}

#[test]
fn what_a_peer_leaves_behind_is_discarded() {
    let world = World::new();
    let jobmanager = world.start();
    let (peer, gone) = (jobmanager.starter(), jobmanager.starter());
    let session = peer.prepare();
    let (_, mut file) = begin(&gone, &session, "f").unwrap();
    file.write_all(b"half").unwrap();
    assert_eq!(names(&world.path(&session)).len(), 2);
    drop(gone);
    wait_for("the file's end", || (names(&world.path(&session)) == [".nesssi"]).then_some(()));
    // Whoever still has the descriptor writes to nothing.
    file.write_all(b"more").unwrap();
    assert_eq!(names(&world.path(&session)), [".nesssi"]);
    // One whose monitor is gone cleans up as it ends.
    begin(&peer, &session, "f").unwrap();
    drop(jobmanager);
    assert_eq!(names(&world.path(&session)), [".nesssi"]);
}

#[test]
fn what_a_killed_jobmanager_leaves_behind_is_reclaimed() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let (_, mut file) = begin(&peer, &session, "f").unwrap();
    file.write_all(b"half").unwrap();
    jobmanager.kill();
    let first = ".nesssi-new.0";
    assert_eq!(names(&world.path(&session)), [".nesssi", first]);
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    // The gatekeeper that had it still holds it: it might yet be written to.
    let (ticket, _other) = begin(&peer, &session, "f").unwrap();
    assert_eq!(names(&world.path(&session)), [".nesssi", first, ".nesssi-new.1"]);
    peer.ask(&ToJobmanager::DiscardWrite { ticket });
    drop(file);
    let answer = write(&peer, &session, "f", "whole", false);
    assert!(matches!(answer, FromJobmanager::Written { .. }), "{answer:?}");
    assert_eq!(names(&world.path(&session)), [".nesssi", "f"]);
}

#[test]
fn so_many_are_written_in_one_sandbox() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let mut under_way: Vec<(u64, fs::File)> =
        (0..8).map(|number| begin(&peer, &session, &format!("f{number}")).unwrap()).collect();
    assert_eq!(begin(&peer, &session, "f").unwrap_err(), Errno::AGAIN.raw_os_error());
    let (ticket, file) = under_way.pop().unwrap();
    drop(file);
    let answer = peer.ask(&ToJobmanager::CommitWrite { ticket, replace: false });
    assert!(matches!(answer, FromJobmanager::Written { size: 0, .. }), "{answer:?}");
    begin(&peer, &session, "f").unwrap();
}

#[test]
fn a_stale_channel_begins_nothing_and_ends_what_was_begun() {
    let world = World::new();
    let tree = tree(&world);
    let jobmanager = world.start_with_trees(&[("data", &tree)]);
    let peer = jobmanager.starter();
    let session = peer.prepare();
    let (ticket, mut file) = begin(&peer, &session, "f").unwrap();
    file.write_all(b"text").unwrap();
    drop(file);
    jobmanager.demote();
    let stale = |request: &ToJobmanager| {
        assert_eq!(peer.ask(request), FromJobmanager::Stale {}, "{request:?}");
    };
    let (path, pattern) = (|| blob("x"), || blob("*"));
    stale(&ToJobmanager::MakeDirectory { session: name(&session), path: path(), umask_default: 0 });
    stale(&ToJobmanager::BeginWrite {
        session: name(&session),
        path: path(),
        bytes_max: 9,
        sandbox_bytes_max: 0,
        umask_default: 0,
    });
    stale(&ToJobmanager::Rename { session: name(&session), from: path(), to: path() });
    let tree = || "data".to_owned();
    stale(&ToJobmanager::TreeOpen { tree: tree(), path: Blob::default() });
    stale(&ToJobmanager::TreeList { tree: tree(), path: Blob::default(), entries_max: 9 });
    stale(&ToJobmanager::TreeStat { tree: tree(), path: Blob::default() });
    let (path, entries_max) = (Blob::default(), 9);
    stale(&ToJobmanager::TreeFind { tree: tree(), path, pattern: pattern(), entries_max });
    let answer = peer.ask(&ToJobmanager::CommitWrite { ticket, replace: false });
    assert!(matches!(answer, FromJobmanager::Written { size: 4, .. }), "{answer:?}");
    let (session, path) = (name(&session), blob("f"));
    let remove = ToJobmanager::RemovePath { session, path, recursive: false };
    assert_eq!(peer.ask(&remove), FromJobmanager::Removed {});
}

#[test]
fn a_find_tells_all_there_is_and_says_when_there_is_more() {
    let world = World::new();
    let jobmanager = world.start();
    let peer = jobmanager.tender();
    let session = jobmanager.starter().prepare();
    let directory = world.path(&session).join("d");
    fs::create_dir(&directory).unwrap();
    world.give(&directory);
    let add = |number: u32| {
        // Long enough that one record does not hold them.
        let name = format!("{}{number}.dat", "long".repeat(10));
        fs::write(directory.join(name), "x").unwrap();
    };
    (0..9_999).for_each(add);
    let ask = || find(&peer, &find_in(&session, "", "*.dat", u32::MAX)).unwrap();
    let (found, end) = ask();
    assert_eq!((found.len(), end), (9_999, FindEnd::Whole {}));
    assert!(texts(&found).iter().all(|path| path.starts_with("d/long")));
    add(9_999);
    let (found, end) = ask();
    assert_eq!((found.len(), end), (10_000, FindEnd::Whole {}));
    add(10_000);
    let (found, end) = ask();
    assert_eq!((found.len(), end), (10_000, FindEnd::Entries {}));
    let (found, end) = find(&peer, &find_in(&session, "d", "*[1-3].dat", 2)).unwrap();
    assert_eq!((found.len(), end), (2, FindEnd::Entries {}));
    for (path, pattern, error) in [
        ("none", "*", Errno::NOENT),
        ("../x", "*", Errno::NOENT),
        (".nesssi", "*", Errno::NOENT),
        ("", "", Errno::INVAL),
        ("", "a/b", Errno::INVAL),
    ] {
        let asked = find(&peer, &find_in(&session, path, pattern, 9));
        assert_eq!(asked, Err(error.raw_os_error()), "{path:?} {pattern:?}");
    }
    let asked = find(&peer, &find_in(&SessionId::random(), "", "*", 9));
    assert_eq!(asked, Err(Errno::NOENT.raw_os_error()));
}

/// Those who do not take what is found hold up no other kind of work.
#[test]
fn finds_hold_up_nobody_else() {
    let world = World::new();
    let jobmanager = world.start();
    let (peer, slow) = (jobmanager.starter(), jobmanager.starter());
    let session = peer.prepare();
    for number in 0..9_000 {
        let path = world.path(&session).join(format!("{}{number}", "long".repeat(50)));
        fs::write(path, "").unwrap();
    }
    for _ in 0..8 {
        slow.send(&find_in(&session, "", "*", u32::MAX), &[]);
    }
    let began = Instant::now();
    let answer = write(&peer, &session, "f", "text", false);
    assert!(matches!(answer, FromJobmanager::Written { .. }), "{answer:?}");
    let (session, path) = (name(&session), blob("f"));
    let remove = ToJobmanager::RemovePath { session, path, recursive: true };
    assert_eq!(peer.ask(&remove), FromJobmanager::Removed {});
    assert!(began.elapsed() < Duration::from_secs(10));
    // And they end with their peer.
    drop(slow);
}

/// A directory with what a tree may hold, and may not.
fn tree(world: &World) -> std::path::PathBuf {
    let tree = world.root.path().join("data");
    fs::create_dir_all(tree.join("d/deep")).unwrap();
    fs::write(tree.join("d/file.dat"), "12345").unwrap();
    fs::write(tree.join("d/deep/other.dat"), "1").unwrap();
    fs::write(tree.join(".hidden"), "x").unwrap();
    fs::create_dir(tree.join(".git")).unwrap();
    symlink("/etc/passwd", tree.join("link")).unwrap();
    symlink("d", tree.join("links")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, tree.join("fifo"), fifo, mode, 0).unwrap();
    if is_root() {
        let (kind, null) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        rustix::fs::mknodat(rustix::fs::CWD, tree.join("null"), kind, mode, null).unwrap();
    }
    fs::write(tree.join(std::ffi::OsStr::from_bytes(b"odd\n\xff")), "x").unwrap();
    tree
}

fn tree_open(peer: &Peer, tree: &str, path: &[u8]) -> Result<(OwnedFd, u64), i32> {
    let request = ToJobmanager::TreeOpen { tree: tree.to_owned(), path: blob(path) };
    let mut answer = peer.ask_with(&request, &[]);
    match answer.message {
        FromJobmanager::Opened { size, .. } => Ok((answer.descriptors.remove(0), size)),
        other => Err(errno(&other)),
    }
}

#[test]
fn a_tree_is_read_by_its_name() {
    let world = World::new();
    let path = tree(&world);
    let jobmanager = world.start_with_trees(&[("data", &path)]);
    let peer = jobmanager.starter();
    let (file, size) = tree_open(&peer, "data", b"d/file.dat").unwrap();
    assert_eq!(
        (std::io::read_to_string(fs::File::from(file)).unwrap().as_str(), size),
        ("12345", 5)
    );
    assert!(tree_open(&peer, "data", b"odd\n\xff").is_ok());
    let began = Instant::now();
    let (absent, refused) = (Errno::NOENT.raw_os_error(), Errno::LOOP.raw_os_error());
    for (odd, error) in [
        (&b"link"[..], refused),
        (b"links", refused),
        (b"links/file.dat", refused),
        (b"fifo", refused),
        (b".hidden", absent),
        (b".git", absent),
        (b"../alice", absent),
        (b"d/../../alice", absent),
        (b"/etc/passwd", absent),
        (b"none", absent),
    ] {
        assert_eq!(tree_open(&peer, "data", odd).unwrap_err(), error, "{odd:?}");
    }
    if is_root() {
        assert_eq!(tree_open(&peer, "data", b"null").unwrap_err(), refused);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    // No other is named, whatever the name looks like.
    for other in ["", "Data", "dat", "..", "/etc", "data/d", "data=/etc"] {
        assert_eq!(tree_open(&peer, other, b"").unwrap_err(), absent, "{other:?}");
    }
    let list = |path: &str, entries_max| {
        let (tree, path) = ("data".to_owned(), blob(path));
        match peer.ask(&ToJobmanager::TreeList { tree, path, entries_max }) {
            FromJobmanager::Listing { entries, cut } => (texts(&entries), cut),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list("", 9), (vec!["d".to_owned(), "odd\n\u{fffd}".to_owned()], false));
    assert!(list("", 1).1);
    let (tree, at) = ("data".to_owned(), blob("d/file.dat"));
    let stated = peer.ask(&ToJobmanager::TreeStat { tree, path: at });
    assert!(matches!(stated, FromJobmanager::Stated { directory: false, size: 5, .. }));
    let find_dat = |tree: &str| {
        let (tree, path, pattern) = (tree.to_owned(), Blob::default(), blob("*.dat"));
        find(&peer, &ToJobmanager::TreeFind { tree, path, pattern, entries_max: 9 })
    };
    let (found, end) = find_dat("data").unwrap();
    assert_eq!(texts(&found), ["d/deep/other.dat", "d/file.dat"]);
    assert_eq!(end, FindEnd::Whole {});
    assert_eq!(find_dat("none"), Err(absent));
    // It is opened anew when another stands in its place.
    fs::rename(&path, world.root.path().join("old")).unwrap();
    fs::remove_dir_all(world.root.path().join("old")).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("new"), "").unwrap();
    assert_eq!(list("", 9).0, ["new"]);
}

#[test]
fn a_tree_that_is_not_there_yet_is_told_and_opened_later() {
    let world = World::new();
    let path = world.root.path().join("later");
    let jobmanager = world.start_with_trees(&[("later", &path)]);
    let peer = jobmanager.starter();
    assert_eq!(tree_open(&peer, "later", b"").unwrap_err(), Errno::NOENT.raw_os_error());
    fs::create_dir(&path).unwrap();
    assert!(tree_open(&peer, "later", b"").is_ok());
}

#[test]
fn a_tree_shows_what_the_account_may_read() {
    if !is_root() {
        println!("SKIPPED: needs root (files of another account)");
        return;
    }
    let world = World::new();
    let path = tree(&world);
    let closed = |name: &str, mode: u32| {
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::write(path.join("secret.dat"), "of root").unwrap();
    closed("secret.dat", 0o600);
    closed("d/deep", 0o700);
    let jobmanager = world.start_with_trees(&[("data", &path)]);
    let peer = jobmanager.starter();
    let refused = Errno::ACCESS.raw_os_error();
    for name in [&b"secret.dat"[..], b"d/deep", b"d/deep/other.dat"] {
        assert_eq!(tree_open(&peer, "data", name).unwrap_err(), refused, "{name:?}");
    }
    assert!(tree_open(&peer, "data", b"d/file.dat").is_ok());
    let (tree, path_, pattern) = ("data".to_owned(), Blob::default(), blob("*.dat"));
    let request = ToJobmanager::TreeFind { tree, path: path_, pattern, entries_max: 9 };
    let (found, end) = find(&peer, &request).unwrap();
    assert_eq!(texts(&found), ["d/file.dat", "secret.dat"], "what is in d/deep is not told");
    assert_eq!(end, FindEnd::Whole {});
    // A tree that he may not enter is none.
    closed("", 0o700);
    let tree = "data".to_owned();
    let list = ToJobmanager::TreeList { tree, path: Blob::default(), entries_max: 9 };
    assert_eq!(errno(&peer.ask(&list)), refused);
}
