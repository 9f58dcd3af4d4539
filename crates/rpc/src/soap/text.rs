//! Names and attributes of XML 1.0, and texts that say something to a person.

use crate::xml::{Problem, ill_formed, resolve};
use crate::{FaultCode, chars};

pub(super) fn bad_value(text: impl Into<String>) -> Problem {
    (FaultCode::InvalidParams, text.into())
}

/// Whether there is nothing but XML's white space.
pub(super) fn is_blank(text: &str) -> bool {
    text.bytes().all(chars::is_space)
}

/// Whether `text` is a name without a colon, near enough: the characters beyond ASCII are not told
/// apart.
pub(super) fn is_ncname(text: &str) -> bool {
    let starts = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte > 127;
    let goes_on = |byte: u8| starts(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    text.bytes().next().is_some_and(starts) && text.bytes().all(goes_on)
}

/// Prefix and local name of a qualified name (Namespaces in XML 1.0, section 4).
pub(super) fn split_qname(name: &str) -> Option<(&str, &str)> {
    match name.split_once(':') {
        None => is_ncname(name).then_some(("", name)),
        Some((prefix, local)) => (is_ncname(prefix) && is_ncname(local)).then_some((prefix, local)),
    }
}

/// Appends an attribute's value with its references resolved and its white space as blanks (XML 1.0,
/// section 3.3.3).
pub(super) fn push_attribute_value(out: &mut String, raw: &str) -> Result<(), Problem> {
    if raw.contains('<') {
        return Err(ill_formed("`<` in an attribute's value"));
    }
    let mut rest = raw;
    while let Some(at) = rest.find(['&', '\t', '\n', '\r']) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        rest = match special.strip_prefix('&') {
            Some(reference) => {
                let (name, behind) = reference
                    .split_once(';')
                    .ok_or_else(|| ill_formed("`&` without `;` in an attribute's value"))?;
                out.push(resolve(name)?);
                behind
            }
            None => {
                out.push(' ');
                special.get(1..).unwrap_or_default()
            }
        };
    }
    out.push_str(rest);
    Ok(())
}

/// Appends `text` as character data, with U+FFFD for what XML 1.0 cannot carry: for texts that say
/// something to a person.
pub(super) fn push_told(out: &mut String, text: &str) {
    let told = text.replace(|character| !chars::is_allowed(character), "\u{FFFD}");
    // Cannot fail: every character that could make it fail has just been replaced.
    chars::push_text(out, &told).unwrap_or_default();
}

/// `text` fit for character data and for attributes in double quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_told(&mut out, text);
    out.replace('"', "&quot;")
}
