//! How a fault tells a stranger what was wrong and where: on one line, and not long.

/// Characters of a stranger's text that a fault repeats.
const QUOTED_CHARS_MAX: usize = 40;

/// Line and column of the byte `at`, from 1, columns in characters.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// A stranger's element name as a fault repeats it.
pub(crate) fn tag_of(name: &str) -> String {
    format!("<{}>", printable(name, QUOTED_CHARS_MAX))
}

/// A stranger's text as a fault repeats it: in quotes, on one line, not long.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text, QUOTED_CHARS_MAX))
}

/// At most `chars_max` characters of `text`, the unprintable ones escaped.
pub(crate) fn printable(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == chars_max {
            out.push('…');
            break;
        }
        match character {
            '"' | '\'' | '\\' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
    }
    out
}
