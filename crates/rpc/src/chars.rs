//! The characters that XML 1.0 carries (section 2.2), and text written so that it comes back whole.

/// Where the first character stands that XML 1.0 cannot carry, and which it is.
///
/// Surrogates cannot stand in a `str`, so what is left are the controls and U+FFFE, U+FFFF.
pub(crate) fn first_forbidden(text: &str) -> Option<(usize, char)> {
    let bytes = text.as_bytes();
    // The common case is a text without any: two passes that the compiler makes wide.
    let suspicious = |byte: &u8| (*byte < b' ' && !is_space(*byte)) || *byte == 0xEF;
    if !bytes.iter().fold(false, |seen, byte| seen | suspicious(byte)) {
        return None;
    }
    text.char_indices().find(|(_, character)| !is_allowed(*character))
}

/// Whether XML 1.0 can carry `character`, written out or as a reference.
pub(crate) fn is_allowed(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\0'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => false,
        _ => true,
    }
}

/// XML's white space.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// `text` without XML's white space at its ends.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// `text` without XML's white space, which is JSON's too, at its start.
pub(crate) fn trim_start(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

/// Whether `text` may name an element, an attribute or an instruction, near enough: the characters
/// beyond ASCII are not told apart.
pub(crate) fn is_name(text: &str) -> bool {
    let starts = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':') || byte > 127;
    let goes_on = |byte: u8| starts(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    text.bytes().next().is_some_and(starts) && text.bytes().all(goes_on)
}

/// Appends `text` to `out` as XML character data.
///
/// A carriage return goes as a reference, since a reader turns a bare one into a line feed.
///
/// # Errors
/// The first character that XML 1.0 cannot carry.
pub(crate) fn push_text(out: &mut String, text: &str) -> Result<(), char> {
    if let Some((_, character)) = first_forbidden(text) {
        return Err(character);
    }
    let mut rest = text;
    let special = |byte: u8| matches!(byte, b'&' | b'<' | b'>' | b'\r');
    while let Some(at) = rest.bytes().position(special) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = special.chars();
        out.push_str(match characters.next() {
            Some('&') => "&amp;",
            Some('<') => "&lt;",
            Some('>') => "&gt;",
            _ => "&#13;",
        });
        rest = characters.as_str();
    }
    out.push_str(rest);
    Ok(())
}
