//! Names as the text that signing policies and namespaces match: the one-line form in lower case,
//! the bytes of values bare.
//!
//! In text a value that holds `/CN=` cannot be told from another RDN. In the names that could be mistaken
//! whatever `/` and `+` a value holds is written `\x2f` and `\x2b`, so that those that are there join
//! attributes, and no pattern takes a part of a value for an RDN.

use nesssi_dn::{Rdn, SubjectDn};

/// The text of a name.
pub(crate) fn text_of(subject: &SubjectDn) -> Vec<u8> {
    if subject.is_ambiguous() { written(subject, escape) } else { bare(subject) }
}

/// The same with each value as it is: what a name could be mistaken for too.
pub(crate) fn bare(subject: &SubjectDn) -> Vec<u8> {
    written(subject, |byte, text| text.push(byte))
}

fn escape(byte: u8, text: &mut Vec<u8>) {
    match byte {
        b'/' => text.extend(b"\\x2f"),
        b'+' => text.extend(b"\\x2b"),
        b'\\' => text.extend(b"\\\\"),
        _ => text.push(byte),
    }
}

fn written(subject: &SubjectDn, write: fn(u8, &mut Vec<u8>)) -> Vec<u8> {
    let mut text = Vec::new();
    for attributes in subject.rdns().iter().map(Rdn::attributes) {
        for (number, attribute) in attributes.iter().enumerate() {
            text.push(if number == 0 { b'/' } else { b'+' });
            text.extend(attribute.kind().as_str().bytes());
            text.push(b'=');
            attribute.value().iter().for_each(|&byte| write(byte, &mut text));
        }
    }
    text.make_ascii_lowercase();
    text
}

/// A written pattern in the form of [`text_of`]: `\xHH` is that byte, `\` and another character is that one;
/// `None` for an unfinished escape.
pub(crate) fn unescape(written: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut left = written;
    while let [byte, rest @ ..] = left {
        left = rest;
        if *byte != b'\\' {
            text.push(*byte);
            continue;
        }
        match rest {
            [b'x', high, low, rest @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                text.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
                left = rest;
            }
            [b'x', ..] | [] => return None,
            [other, rest @ ..] => {
                text.push(*other);
                left = rest;
            }
        }
    }
    text.make_ascii_lowercase();
    Some(one_spelling(&text))
}

/// `/e=` and `/email=` as `/emailaddress=`, `/userid=` as `/uid=`, in a text in lower case.
pub(crate) fn one_spelling(text: &[u8]) -> Vec<u8> {
    const SPELLINGS: [(&[u8], &[u8]); 3] =
        [(b"e=", b"emailaddress="), (b"email=", b"emailaddress="), (b"userid=", b"uid=")];
    let mut out = Vec::with_capacity(text.len());
    let mut left = text;
    while let [byte, rest @ ..] = left {
        out.push(*byte);
        left = rest;
        if matches!(byte, b'/' | b'+')
            && let Some((from, to)) = SPELLINGS.iter().find(|(from, _)| rest.starts_with(from))
        {
            out.extend(*to);
            left = rest.get(from.len()..).unwrap_or_default();
        }
    }
    out
}

/// Whether `pattern` is equal to `text`, or is with its last `*` for one byte of `text` or more.
pub(crate) fn globbed(pattern: &[u8], text: &[u8]) -> bool {
    if pattern == text {
        return true;
    }
    let Some(star) = pattern.iter().rposition(|&byte| byte == b'*') else { return false };
    let (before, after) = (pattern.get(..star), pattern.get(star + 1..));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    text.len() > before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
}

#[cfg(test)]
mod tests;
