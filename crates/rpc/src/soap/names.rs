//! Any name as the name of an element, and back.
//!
//! Names of methods and parameters may begin with a digit or hold what an XML name cannot. Such a
//! character is written `_xHHHH_`, its code in four upper-case hexadecimal digits (eight beyond
//! U+FFFF), as ISO/IEC 9075-14 does for SQL's names; an underscore that begins what looks like such
//! an escape is itself written `_x005F_`.

use std::fmt::Write as _;

/// The name of the element or attribute for `name`.
///
/// What is ASCII and fit for an NCName stands as it is; all else is escaped, so that parsers of every
/// edition of XML 1.0 agree.
#[must_use]
pub fn escape_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, character) in name.char_indices() {
        let fits = match character {
            '_' => name.get(at..).and_then(read_escape).is_none(),
            'a'..='z' | 'A'..='Z' => true,
            '0'..='9' | '-' | '.' => at > 0,
            _ => false,
        };
        let code = u32::from(character);
        match (fits, code) {
            (true, _) => out.push(character),
            // Writing to a String does not fail.
            (false, 0..=0xFFFF) => write!(out, "_x{code:04X}_").unwrap_or_default(),
            (false, _) => write!(out, "_x{code:08X}_").unwrap_or_default(),
        }
    }
    out
}

/// What [`escape_name`] was given, from what it gave; text that is no escape stands for itself.
#[must_use]
pub fn unescape_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('_') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let (character, bytes) = read_escape(special).unwrap_or(('_', 1));
        out.push(character);
        rest = special.get(bytes..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The character that an escape at the start of `text` stands for, and how long the escape is.
fn read_escape(text: &str) -> Option<(char, usize)> {
    let inner = text.strip_prefix("_x")?;
    [4, 8].into_iter().find_map(|digits| {
        let code = inner.get(..digits)?;
        let closed = inner.get(digits..)?.starts_with('_');
        let hexadecimal = code.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        let code = u32::from_str_radix(code, 16).ok()?;
        let character = char::from_u32(code)?;
        (closed && hexadecimal).then_some((character, digits + 3))
    })
}
