//! Tests of the log's lines.

use super::*;

#[test]
fn a_value_cannot_forge_a_line() {
    let line = warn("refused").with("name", "x\n2026-11-22T03:00:00.000Z nesssid INFO all is well");
    assert_eq!(line.text.lines().count(), 1);
    assert!(line.text.contains("x\\n2026"), "{}", line.text);
}

#[test]
fn values_with_blanks_are_quoted() {
    let line = info("started").with("a", "b c").with("d", "e").with("f", "say \"x\"");
    assert!(line.text.ends_with("INFO started a=\"b c\" d=e f=\"say \\\"x\\\"\""), "{}", line.text);
}

#[test]
fn terminal_escapes_are_shown() {
    assert_eq!(escape("a\u{1b}[31mb\u{9b}"), "a\\u{1b}[31mb\\u{9b}");
}
