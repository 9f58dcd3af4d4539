use std::fs;

use super::*;

struct Log {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn log(text: &str) -> Log {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.log");
    fs::write(&path, text).unwrap();
    Log { _folder: folder, path }
}

fn append(log: &Log, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(&log.path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[track_caller]
fn last(text: &str, lines: u32, expected: &str) {
    let log = log(text);
    let mut screen = Vec::new();
    let mut tail = Tail::open(&log.path, lines).unwrap();
    tail.show(&mut screen).unwrap();
    tail.finish(&mut screen).unwrap();
    assert_eq!(String::from_utf8(screen).unwrap(), expected, "{lines} of {text:?}");
}

#[test]
fn the_last_lines_below_at_and_above_what_there_is() {
    let three = "a\nb\nc\n";
    for (lines, expected) in [(0, ""), (1, "c\n"), (2, "b\nc\n"), (3, three), (4, three)] {
        last(three, lines, expected);
    }
    last("", 3, "");
    last("a\nno end", 1, "no end\n");
    last("a\n\n\n", 2, "\n\n");
    let long = "x".repeat(BLOCK_BYTES - 1);
    last(&format!("first\n{long}\nlast\n"), 2, &format!("{long}\nlast\n"));
}

#[test]
fn what_a_terminal_would_obey_is_text_and_long_lines_come_in_parts() {
    last("\u{1b}[2Jgone\u{7}\n", 1, "\u{fffd}[2Jgone\u{fffd}\n");
    for over in [0, 1] {
        let mut screen = Vec::new();
        let log = log(&"x".repeat(LINE_BYTES_MAX - 1 + over));
        Tail::open(&log.path, 1).unwrap().show(&mut screen).unwrap();
        assert_eq!(screen.len(), over * (LINE_BYTES_MAX + 1));
    }
}

#[test]
fn it_goes_on_when_the_log_is_emptied_and_when_it_is_moved_away() {
    let log = log("one\n");
    let mut screen = Vec::new();
    let mut tail = Tail::open(&log.path, 0).unwrap();
    let mut look = |tail: &mut Tail| {
        tail.look_for_successor();
        tail.show(&mut screen).unwrap();
        String::from_utf8(std::mem::take(&mut screen)).unwrap()
    };
    append(&log, "two\nhal");
    assert_eq!(look(&mut tail), "two\n");
    append(&log, "f\n");
    assert_eq!(look(&mut tail), "half\n");
    fs::write(&log.path, "n\n").unwrap();
    assert_eq!(look(&mut tail), "n\n");
    let moved = log.path.with_extension("1");
    let mut old = OpenOptions::new().append(true).open(&log.path).unwrap();
    fs::rename(&log.path, &moved).unwrap();
    assert_eq!(look(&mut tail), "");
    append(&log, "new\n");
    old.write_all(b"old\n").unwrap();
    assert_eq!(look(&mut tail), "old\nnew\n");
    for _ in 0..FILES_MAX {
        fs::rename(&log.path, &moved).unwrap();
        append(&log, "newer\n");
        assert_eq!(look(&mut tail), "newer\n");
    }
    assert_eq!(tail.files.len(), FILES_MAX);
}

#[test]
fn a_link_is_not_followed_and_a_folder_is_no_log() {
    let log = log("x\n");
    let link = log.path.with_extension("link");
    std::os::unix::fs::symlink(&log.path, &link).unwrap();
    assert!(matches!(Tail::open(&link, 1), Err(TailError::Read(_))));
    assert!(matches!(Tail::open(log.path.parent().unwrap(), 1), Err(TailError::Kind)));
}
