//! References, names and attributes of XML 1.0, and problems with them.

use crate::telling::quoted;
use crate::{FaultCode, chars};

/// A code and a text that do not yet say where.
pub(super) type Problem = (FaultCode, String);

pub(super) fn ill_formed(text: impl Into<String>) -> Problem {
    (FaultCode::Parse, text.into())
}

pub(super) fn no_call(text: impl Into<String>) -> Problem {
    (FaultCode::InvalidRequest, text.into())
}

pub(super) fn bad_value(text: impl Into<String>) -> Problem {
    (FaultCode::InvalidParams, text.into())
}

pub(super) fn over_limit(text: impl Into<String>) -> Problem {
    (FaultCode::OverLimit, text.into())
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

/// What `&name;` stands for: one of the five entities, or a character by number.
pub(super) fn resolve(name: &str) -> Result<char, Problem> {
    let number = match name {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "apos" => return Ok('\''),
        "quot" => return Ok('"'),
        _ => name.strip_prefix('#'),
    };
    let Some(number) = number else {
        return Err(ill_formed(format!("the entity {} is not known", quoted(name))));
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    let good = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
    let code = if good { u32::from_str_radix(digits, radix).ok() } else { None };
    match code.and_then(char::from_u32) {
        Some(character) if chars::is_allowed(character) => Ok(character),
        _ => {
            let text = format!("{} refers to no character of XML", quoted(&format!("&{name};")));
            Err(ill_formed(text))
        }
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
