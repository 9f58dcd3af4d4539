use proptest::prelude::*;

use super::*;

#[test]
fn every_mistake_of_syntax_is_told() {
    let document = Document::new("a = \nb = 2\nc = [1,\nd == 3\n");
    let lines: Vec<_> = document.mistakes().iter().map(|mistake| mistake.line).collect();
    assert!(lines.contains(&1) && lines.len() > 1, "{lines:?}");
}

#[test]
fn values_and_their_lines() {
    let document = Document::new(
        "text = \"a\"\nnumber = 0o77\n[inner]\nyes = true\nlist = [\"x\",\n \"y\"]\n[[many]]\nn = 1\n\n[[many]]\nn = 2\n",
    );
    let mut root = document.root();
    assert_eq!(root.text("text"), Some(Lined { line: 1, value: "a".to_owned() }));
    assert_eq!(root.number("number", 0..=63), Some(Lined { line: 2, value: 63 }));
    let mut inner = root.table("inner").unwrap();
    assert_eq!((inner.name(), inner.line()), ("inner", 3));
    assert_eq!(inner.truth("yes"), Some(Lined { line: 4, value: true }));
    let list = inner.texts("list").unwrap();
    assert_eq!(list.value.iter().map(|item| item.line).collect::<Vec<_>>(), [5, 6]);
    let many: Vec<_> = root.tables("many").iter().map(Table::line).collect();
    assert_eq!(many, [7, 10]);
    assert_eq!(root.text("absent"), None);
    assert!(root.tables("absent").is_empty());
    assert_eq!(document.mistakes(), []);
}

#[test]
fn numbers_out_of_range() {
    let check = |text: &str, expected: Option<u64>| {
        let text = format!("n = {text}");
        let document = Document::new(&text);
        let found = document.root().number("n", 2..=5).map(|lined| lined.value);
        assert_eq!(found, expected, "{text}");
        assert_eq!(document.mistakes().is_empty(), expected.is_some());
    };
    check("1", None);
    check("2", Some(2));
    check("0x5", Some(5));
    check("6", None);
    check("-3", None);
    check("99999999999999999999999999", None);
    check("3.0", None);
    check("\"3\"", None);
}

#[test]
fn near_words() {
    let check = |known: &str, written: &str, near: bool| {
        assert_eq!(is_near(known, written), near, "{known} {written}");
    };
    check("allow", "alow", true);
    check("allow", "alllow", true);
    check("allow", "allaw", true);
    check("allow", "alolw", true);
    check("allow", "allo", true);
    check("allow", "allows", true);
    check("allow", "deny", false);
    check("allow", "aloow!", false);
    check("user", "base", false);
}

#[test]
fn moments() {
    let check = |text: &str, expected: Option<i64>| {
        let text = format!("at = {text}");
        let document = Document::new(&text);
        assert_eq!(document.root().moment("at").map(|lined| lined.value), expected, "{text}");
        assert_eq!(document.mistakes().is_empty(), expected.is_some());
    };
    check("1970-01-01T00:00:00Z", Some(0));
    check("1969-12-31T23:59:59Z", Some(-1));
    check("2000-02-29T12:00:00Z", Some(951_825_600));
    check("2000-03-01 12:00:00+01:30", Some(951_906_600));
    check("2026-03-01T00:00:00-00:01", Some(1_772_323_260));
    check("2026-03-01T00:00:00.000001Z", Some(1_772_323_201));
    check("2026-03-01T00:00:00.000Z", Some(1_772_323_200));
    check("0000-01-01T00:00:00Z", Some(-62_167_219_200));
    check("9999-12-31T23:59:59Z", Some(SECONDS_MAX));
    check("2026-03-01T00:00:00", None);
    check("2026-02-30T00:00:00Z", None);
    check("\"2026-03-01T00:00:00Z\"", None);
}

#[test]
fn seconds_of_a_float() {
    assert_eq!(seconds_up(0.0), Some(0));
    assert_eq!(seconds_up(1.000_1), Some(2));
    assert_eq!(seconds_up(253_402_300_799.0), Some(SECONDS_MAX));
    assert_eq!(seconds_up(253_402_300_799.5), None);
    assert_eq!(seconds_up(-0.5), None);
    assert_eq!(seconds_up(f64::NAN), None);
}

proptest! {
    #[test]
    fn moments_are_written_as_they_are_read(seconds in 0..=SECONDS_MAX) {
        let text = format!("at = {}", utc_text(seconds));
        let document = Document::new(&text);
        prop_assert_eq!(document.root().moment("at").map(|lined| lined.value), Some(seconds));
    }
}
