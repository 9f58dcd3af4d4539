//! Patterns of names.
//!
//! A *pattern* is a name's one-line form in which a `*` inside a value stands for any run of bytes,
//! none included: `/O=Grid/OU=People/CN=Robot: *`. `\*` is a star. Patterns are compared RDN by RDN
//! and blind to case, so a star never reaches over the end of a value. A pattern that ends in `/*`
//! takes any further RDNs, none included: `/O=Grid/*` is whatever begins with `/O=Grid`. (A last
//! value that ends in a slash and a star is written `\/*`, as in `/CN=host\/*`.)

use std::fmt;

use crate::oneline::{self, Reader, check_limits};
use crate::{AttributeType, DnError, Rdn, SubjectDn};

/// Which names a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnPattern {
    rdns: Vec<Vec<Piece>>, // the pieces of each sorted: a set has no order
    open: bool,            // ends in `/*`
}

/// The pattern of one attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    kind: AttributeType,
    literals: Vec<Vec<u8>>, // what is between the stars: one at least
}

impl DnPattern {
    /// Reads a pattern; `/*` alone is any name.
    ///
    /// # Errors
    /// [`DnError`] with the byte where reading stopped.
    pub fn parse(text: &str) -> Result<Self, DnError> {
        let (closed, open) = match text.strip_suffix("/*") {
            Some(rest) if !ends_in_escape(rest) => (rest, true),
            _ => (text, false),
        };
        if open && closed.is_empty() {
            return Ok(Self { rdns: Vec::new(), open });
        }
        let mut rdns: Vec<Vec<Piece>> = Vec::new();
        let mut reader = Reader::new(closed.as_bytes())?;
        while let Some(read) = reader.attribute()? {
            if let Some(rest) = text.get(..read.end).and_then(|so_far| so_far.strip_suffix("/*"))
                && !ends_in_escape(rest)
            {
                return Err(DnError::StarInside { at: rest.len() });
            }
            let piece = Piece { kind: read.kind, literals: split(&read.value, &read.stars) };
            match rdns.last_mut() {
                Some(last) if read.joint == b'+' => last.push(piece),
                _ => rdns.push(vec![piece]),
            }
            check_limits(rdns.len(), rdns.last().map_or(0, Vec::len))?;
        }
        rdns.iter_mut().for_each(|pieces| pieces.sort());
        Ok(Self { rdns, open })
    }

    /// Whether this is a pattern of `name`.
    #[must_use]
    pub fn matches(&self, name: &SubjectDn) -> bool {
        let (mine, theirs) = (self.rdns.len(), name.rdns().len());
        (mine == theirs || self.open && mine < theirs)
            && self.rdns.iter().zip(name.rdns()).all(|(pieces, rdn)| matches_rdn(pieces, rdn))
    }
}

/// Whether the last character of `text` is a `\` that escapes what comes next.
fn ends_in_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

fn split(value: &[u8], stars: &[usize]) -> Vec<Vec<u8>> {
    let mut literals = Vec::new();
    let mut from = 0;
    for &star in stars {
        literals.push(value.get(from..star).unwrap_or_default().to_vec());
        from = star + 1;
    }
    literals.push(value.get(from..).unwrap_or_default().to_vec());
    literals
}

/// Whether each piece has an attribute of its own. Several may take the same ones, so this looks
/// for a perfect matching, by augmenting paths: fast for the largest sets too.
fn matches_rdn(pieces: &[Piece], rdn: &Rdn) -> bool {
    let fits: Vec<Vec<bool>> = pieces
        .iter()
        .map(|piece| rdn.attributes().iter().map(|a| piece.matches(a.kind(), a.value())).collect())
        .collect();
    let mut taken = vec![None; rdn.attributes().len()];
    pieces.len() == taken.len()
        && (0..pieces.len())
            .all(|piece| place(piece, &fits, &mut taken, &mut vec![false; pieces.len()]))
}

fn place(
    piece: usize,
    fits: &[Vec<bool>],
    taken: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for at in 0..taken.len() {
        let fit = fits.get(piece).and_then(|row| row.get(at)) == Some(&true);
        let Some(seen) = tried.get_mut(at).filter(|seen| fit && !**seen) else { continue };
        *seen = true;
        let holder = taken.get(at).copied().flatten();
        if holder.is_none_or(|holder| place(holder, fits, taken, tried)) {
            if let Some(slot) = taken.get_mut(at) {
                *slot = Some(piece);
            }
            return true;
        }
    }
    false
}

impl Piece {
    fn matches(&self, kind: &AttributeType, value: &[u8]) -> bool {
        let Some((first, others)) = self.literals.split_first() else { return false };
        if *kind != self.kind || !starts_with(value, first) {
            return false;
        }
        let Some((last, middle)) = others.split_last() else { return value.len() == first.len() };
        let mut left = value.get(first.len()..).unwrap_or_default();
        for literal in middle {
            // The earliest place leaves the most for those that follow.
            let Some(at) = (0..=left.len())
                .find(|&at| starts_with(left.get(at..).unwrap_or_default(), literal))
            else {
                return false;
            };
            left = left.get(at + literal.len()..).unwrap_or_default();
        }
        left.len()
            .checked_sub(last.len())
            .is_some_and(|at| starts_with(left.get(at..).unwrap_or_default(), last))
    }
}

fn starts_with(text: &[u8], head: &[u8]) -> bool {
    text.get(..head.len()).is_some_and(|start| start.eq_ignore_ascii_case(head))
}

/// As [`DnPattern::parse`] reads it.
impl fmt::Display for DnPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pieces in &self.rdns {
            let mut joint = '/';
            for piece in pieces {
                write!(out, "{joint}{}={}", piece.kind.as_str(), piece.value())?;
                joint = '+';
            }
        }
        out.write_str(if self.open { "/*" } else { "" })
    }
}

impl Piece {
    fn value(&self) -> String {
        let mut text = String::new();
        for (index, literal) in self.literals.iter().enumerate() {
            if index > 0 {
                text.push('*');
            }
            // Bare, the slash and the star after it could be the end of a pattern.
            let slash = literal.strip_suffix(b"/").filter(|_| index + 1 < self.literals.len());
            let mut printed = String::new();
            oneline::print_value(slash.unwrap_or(literal), &mut printed);
            text.push_str(&printed.replace('*', "\\*"));
            text.push_str(slash.map_or("", |_| "\\/"));
        }
        text
    }
}

#[cfg(test)]
mod tests;
