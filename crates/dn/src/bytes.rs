//! A name as bytes between processes: counts and lengths before what they count, little-endian.
//!
//! `u16` RDNs, then for each `u16` attributes, then for each `u16` length and text of the type,
//! `u16` length and bytes of the value. Every name has exactly one such form.

use crate::{Attribute, AttributeType, DnError, Rdn, SubjectDn};

pub(crate) fn write(name: &SubjectDn) -> Vec<u8> {
    let mut out = Vec::new();
    put_count(&mut out, name.rdns().len());
    for rdn in name.rdns() {
        put_count(&mut out, rdn.attributes().len());
        for attribute in rdn.attributes() {
            put_bytes(&mut out, attribute.kind().as_str().as_bytes());
            put_bytes(&mut out, attribute.value());
        }
    }
    out
}

pub(crate) fn read(bytes: &[u8]) -> Result<SubjectDn, DnError> {
    let mut left = bytes;
    let mut rdns = Vec::new();
    for _ in 0..take_count(&mut left)? {
        let mut attributes = Vec::new();
        for _ in 0..take_count(&mut left)? {
            attributes.push(take_attribute(&mut left)?);
        }
        rdns.push(Rdn::new(attributes)?);
    }
    let name = SubjectDn::from_rdns(rdns)?;
    // Also catches bytes left over, attributes out of order and types in another spelling.
    if write(&name) == bytes { Ok(name) } else { Err(DnError::NotBytes("not the one form of it")) }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // Saturates never: the limits of this crate are far below.
    out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take_count(left: &mut &[u8]) -> Result<usize, DnError> {
    let (head, tail) = left.split_first_chunk::<2>().ok_or(DnError::NotBytes("cut short"))?;
    *left = tail;
    Ok(usize::from(u16::from_le_bytes(*head)))
}

fn take_bytes<'a>(left: &mut &'a [u8]) -> Result<&'a [u8], DnError> {
    let count = take_count(left)?;
    let (head, tail) = left.split_at_checked(count).ok_or(DnError::NotBytes("cut short"))?;
    *left = tail;
    Ok(head)
}

fn take_attribute(left: &mut &[u8]) -> Result<Attribute, DnError> {
    let word = std::str::from_utf8(take_bytes(left)?).map_err(|_| DnError::NotBytes("type"))?;
    let kind = AttributeType::from_word(word).ok_or(DnError::NotBytes("type"))?;
    Attribute::new(kind, take_bytes(left)?.to_vec())
}
