//! The hashes of a CA's name that OpenSSL and Globus name its files after.
//!
//! Both are 32 bits of a digest, read as a little-endian number and written in 8 hexadecimal digits: the *old*
//! form (OpenSSL before 1.0) of the MD5 of the name's DER, the *new* form of the SHA-1 of a canonical
//! encoding, in which strings are UTF-8, in lower case, with runs of blanks made one. They find files and protect
//! nothing: that MD5 and SHA-1 are broken does not matter here.

use sha1::Digest;
use x509_parser::asn1_rs::{Any, FromDer, Tag};
use x509_parser::x509::X509Name;

/// The new form and the old, of one name.
pub(crate) fn both(name: &X509Name<'_>) -> [String; 2] {
    [new(name), old(name)]
}

fn old(name: &X509Name<'_>) -> String {
    digits(&md5::Md5::digest(name.as_raw()))
}

fn new(name: &X509Name<'_>) -> String {
    digits(&sha1::Sha1::digest(canonical(name.as_raw()).unwrap_or_default()))
}

fn digits(digest: &[u8]) -> String {
    let number = digest.first_chunk().map_or(0, |first| u32::from_le_bytes(*first));
    format!("{number:08x}")
}

/// OpenSSL's `x509_name_canon`: the SETs one after the other, without the SEQUENCE around them.
fn canonical(name: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rdns = Any::from_der(name).ok()?.1.data;
    while !rdns.is_empty() {
        let (rest, rdn) = Any::from_der(rdns).ok()?;
        rdns = rest;
        let mut attributes = Vec::new();
        let mut left = rdn.data;
        while !left.is_empty() {
            let (rest, attribute) = Any::from_der(left).ok()?;
            left = rest;
            attributes.push(canonical_attribute(attribute.data)?);
        }
        attributes.sort(); // a SET OF in DER
        out.extend(wrapped(Tag::Set, &attributes.concat()));
    }
    Some(out)
}

fn canonical_attribute(attribute: &[u8]) -> Option<Vec<u8>> {
    let (value_der, _) = Any::from_der(attribute).ok()?;
    let kind = attribute.get(..attribute.len() - value_der.len())?;
    let (_, value) = Any::from_der(value_der).ok()?;
    let value = match to_text(&value) {
        Some(text) => wrapped(Tag::Utf8String, &folded(&text)),
        None => value_der.to_vec(),
    };
    Some(wrapped(Tag::Sequence, &[kind, &value].concat()))
}

/// The text of the string types that OpenSSL makes alike; the others stay as they are.
fn to_text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String => std::str::from_utf8(bytes).ok().map(ToOwned::to_owned),
        Tag::PrintableString | Tag::TeletexString | Tag::Ia5String | Tag::VisibleString => {
            Some(bytes.iter().map(|&byte| char::from(byte)).collect()) // Latin-1
        }
        Tag::BmpString => {
            let units: Vec<_> =
                bytes.as_chunks().0.iter().map(|c| u16::from_be_bytes(*c)).collect();
            String::from_utf16(&units).ok()
        }
        Tag::UniversalString => {
            bytes.as_chunks().0.iter().map(|c| char::from_u32(u32::from_be_bytes(*c))).collect()
        }
        _ => None,
    }
}

/// In lower case, without blanks at the ends, and with one for each run of them inside.
fn folded(text: &str) -> Vec<u8> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | 0x09..=0x0d);
    let words = text.as_bytes().split(|byte| is_blank(byte)).filter(|word| !word.is_empty());
    let words: Vec<_> = words.map(<[u8]>::to_ascii_lowercase).collect();
    words.join(&b' ')
}

fn wrapped(tag: Tag, content: &[u8]) -> Vec<u8> {
    const CONSTRUCTED: u8 = 0x20;
    let constructed = matches!(tag, Tag::Sequence | Tag::Set);
    let mut out =
        vec![u8::try_from(tag.0).unwrap_or_default() | if constructed { CONSTRUCTED } else { 0 }];
    match u8::try_from(content.len()) {
        Ok(short @ ..0x80) => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let length: Vec<_> = length.into_iter().skip_while(|&byte| byte == 0).collect();
            out.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            out.extend(length);
        }
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests;
