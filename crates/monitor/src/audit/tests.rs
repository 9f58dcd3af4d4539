//! Tests of the monitor's own log, and of the heads.

use std::fs;
use std::path::PathBuf;

use super::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> Audit {
        Audit::open(fs::File::open(self.0.path()).unwrap().into()).unwrap()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        fs::read_to_string(self.at(name)).unwrap().lines().map(str::to_owned).collect()
    }

    fn head(&self) -> Head {
        Head::parse(&fs::read_to_string(self.at(HEAD)).unwrap()).unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each line names the one before.
fn check_chain(mut before: String, first: usize, lines: &[String]) -> String {
    for (number, line) in (first..).zip(lines) {
        let beginning = format!("{{\"n\":{number},\"prev\":\"{before}\",\"at\":\"20");
        assert!(line.starts_with(&beginning), "{line}");
        before = hex(&Sha256::digest(line.as_bytes()));
    }
    before
}

#[test]
fn lines_are_chained_and_the_head_says_where_they_end() {
    let place = Place::new();
    let mut audit = place.open();
    audit.line("one").text("who", "a\"b\\c\nd\u{202e}").number("pid", 7_u32).write();
    audit.line("two").write();
    audit.flush();
    let lines = place.lines(FILE);
    assert!(
        lines[0].ends_with(r#"Z","event":"one","who":"a\"b\\c\u000ad\u202e","pid":7}"#),
        "{}",
        lines[0]
    );
    let last = check_chain("0".repeat(64), 1, &lines);
    let head = place.head();
    assert_eq!((head.own_lines, hex(&head.own_hash)), (2, last.clone()));
    // A later monitor goes on.
    let mut audit = place.open();
    audit.line("three").write();
    audit.flush();
    let lines = place.lines(FILE);
    check_chain(last, 3, &lines[2..]);
    assert_eq!((lines.len(), place.head().own_lines), (3, 3));
}

#[test]
fn the_heads_text_is_what_others_read() {
    let head = Head { lines: 3, bytes: 400, hash: [0xab; 32], own_lines: 2, own_hash: [1; 32] };
    let text = head.to_string();
    let expected = format!(
        "lines 3\nbytes 400\nhash {}\nown_lines 2\nown_hash {}\n",
        "ab".repeat(32),
        "01".repeat(32)
    );
    assert_eq!(text, expected);
    assert_eq!(Head::parse(&text), Some(head));
    for wrong in ["", "lines 3\n", &text.replace("ab", "a"), &text.replace("bytes", "byte")] {
        assert_eq!(Head::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn the_gatekeepers_head_never_goes_back() {
    let place = Place::new();
    let mut audit = place.open();
    audit.advance(10, 1000, &[1; 32]).unwrap();
    audit.advance(10, 1000, &[1; 32]).unwrap();
    assert_eq!(audit.advance(9, 900, &[2; 32]), Err(HeadError::Fewer { known: 10, told: 9 }));
    assert_eq!(audit.advance(10, 1000, &[2; 32]), Err(HeadError::Other(10)));
    assert_eq!(audit.advance(11, 1100, &[2; 31]), Err(HeadError::Hash));
    // A new file after a rename: more lines, fewer bytes.
    audit.advance(11, 100, &[3; 32]).unwrap();
    audit.tell_head();
    audit.flush();
    audit.tell_head();
    let told = format!("\"event\":\"audit_head\",\"lines\":11,\"hash\":\"{}\"}}", "03".repeat(32));
    let lines = place.lines(FILE);
    assert!(lines.len() == 1 && lines[0].ends_with(&told), "{lines:?}");
    let head = place.head();
    assert_eq!((head.lines, head.bytes, head.hash), (11, 100, [3; 32]));
    let mut audit = place.open();
    assert!(audit.advance(10, 1000, &[1; 32]).is_err(), "a later monitor knows it too");
}

#[test]
fn a_renamed_log_goes_on_in_a_new_file() {
    let place = Place::new();
    let mut audit = place.open();
    audit.line("one").write();
    fs::rename(place.at(FILE), place.at("old")).unwrap();
    audit.line("two").write();
    audit.flush();
    audit.line("three").write();
    audit.flush();
    let last = check_chain("0".repeat(64), 1, &place.lines("old"));
    check_chain(last, 3, &place.lines(FILE));
    assert_eq!((place.lines("old").len(), place.lines(FILE).len()), (2, 1));
    assert_eq!(place.head().own_lines, 3);
    // Also while nobody runs.
    drop(audit);
    fs::rename(place.at(FILE), place.at("older")).unwrap();
    let mut audit = place.open();
    audit.line("four").write();
    audit.flush();
    assert_eq!(place.head().own_lines, 4);
    assert!(!place.lines(FILE)[0].contains("audit_broken"));
    drop(audit);
    assert_eq!(place.open().head().own_lines, 4);
}

#[test]
fn a_log_that_was_shortened_or_changed_is_noticed() {
    let write = |place: &Place| {
        let mut audit = place.open();
        ["one", "two", "three"].into_iter().for_each(|event| audit.line(event).write());
        audit.flush();
    };
    let changes: [fn(&str) -> String; 2] =
        [|text| text.split_inclusive('\n').take(2).collect(), |text| text.replace("three", "drei")];
    for change in changes {
        let place = Place::new();
        write(&place);
        let text = fs::read_to_string(place.at(FILE)).unwrap();
        fs::write(place.at(FILE), change(&text)).unwrap();
        drop(place.open());
        let last = place.lines(FILE).pop().unwrap();
        assert!(last.starts_with("{\"n\":4,"), "{last}");
        assert!(last.contains("\"event\":\"audit_broken\",\"lines_known\":3}"), "{last}");
    }
}

#[test]
fn lines_behind_the_head_are_counted_and_a_torn_one_is_ended() {
    let place = Place::new();
    let mut audit = place.open();
    audit.line("one").write();
    audit.flush();
    // Not flushed: as after a crash.
    audit.line("two").write();
    drop(audit);
    let text = fs::read_to_string(place.at(FILE)).unwrap();
    fs::write(place.at(FILE), format!("{text}{{\"n\":3,\"prev\":\"torn")).unwrap();
    let mut audit = place.open();
    audit.line("three").write();
    audit.flush();
    let lines = place.lines(FILE);
    assert_eq!(lines.len(), 4);
    check_chain(hex(&Sha256::digest(lines[2].as_bytes())), 4, &lines[3..]);
    assert_eq!(place.head().own_lines, 4);
}

#[test]
fn a_flood_of_refusals_is_counted() {
    let place = Place::new();
    let mut audit = place.open();
    for number in 0..=REFUSALS_PER_SECOND_MAX + 4 {
        audit.refused("Judge", number);
    }
    audit.flush();
    let lines = place.lines(FILE);
    assert_eq!(lines.len(), REFUSALS_PER_SECOND_MAX as usize + 1);
    assert!(
        lines.last().unwrap().ends_with("\"event\":\"refused_more\",\"count\":5}"),
        "{lines:?}"
    );
    audit.refused("Judge", "again");
    assert_eq!(place.lines(FILE).len(), lines.len() + 1);
}

#[test]
fn a_head_that_is_none_is_not_taken_for_an_empty_one() {
    let place = Place::new();
    fs::write(place.at(HEAD), "lines 1\n").unwrap();
    let error = Audit::open(fs::File::open(place.0.path()).unwrap().into()).unwrap_err();
    assert!(error.to_string().contains("no head"), "{error}");
}
