//! The chain of the audit: each line holds its number and the hash of the line before.
//!
//! A line is JSON and begins with exactly `{"n":17,"prev":"<64 hex digits>",`. `n` counts from 1
//! over all files of a chain, rotated ones included; `prev` is the SHA-256 of the bytes of the line
//! before, its newline not counted, and 64 zeros in line 1. A line that a crash tore stays where it
//! is: whoever writes next ends it, counts it and chains over it. A [`Head`] says where a chain
//! stands; who keeps one out of the writer's reach can show with a [`Walk`] that nothing up to there
//! was changed.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

/// Longest line, in bytes: far more than the longest that is written.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

const BEFORE_NUMBER: &[u8] = b"{\"n\":";
const BEFORE_HASH: &[u8] = b",\"prev\":\"";

/// Where a chain stands: after so many lines, the last of which has this hash.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line; 0 before the first.
    pub lines: u64,
    /// SHA-256 of the last line, its newline not counted; zeros before the first.
    pub hash: [u8; 32],
}

impl fmt::Debug for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.lines, hex(&self.hash))
    }
}

impl Head {
    /// Appends one line to `out`: its beginning, `rest` (from the comma on, a newline last), and
    /// goes on to it.
    pub fn push(&mut self, out: &mut Vec<u8>, rest: &[u8]) {
        let start = out.len();
        out.extend_from_slice(BEFORE_NUMBER);
        push_number(out, self.lines + 1);
        out.extend_from_slice(BEFORE_HASH);
        push_hex(out, &self.hash);
        out.push(b'"');
        out.extend_from_slice(rest);
        let line = out.get(start..).unwrap_or_default();
        self.go_on(line.strip_suffix(b"\n").unwrap_or(line));
    }

    /// The head after the last line of `tail`, the last part of a file without its last newline.
    /// Where no line of it can be read, all of them are counted from `before` on.
    #[must_use]
    pub fn of_tail(tail: &[u8], before: Self) -> Self {
        let mut torn = 0;
        let mut lines = tail.rsplit(|byte| *byte == b'\n');
        let last = lines.next().unwrap_or_default();
        let mut line = Some(last);
        while let Some(bytes) = line {
            if let Some(beginning) = Beginning::parse(bytes) {
                return Self { lines: beginning.number.saturating_add(torn), hash: hash(last) };
            }
            torn += 1;
            line = lines.next();
        }
        Self { lines: before.lines.saturating_add(torn), hash: hash(last) }
    }

    fn go_on(&mut self, line: &[u8]) {
        self.lines = self.lines.saturating_add(1);
        self.hash = hash(line);
    }
}

fn hash(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}

/// What a line begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beginning {
    number: u64,
    prev: [u8; 32],
}

impl Beginning {
    /// `None` for what is no whole line.
    fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(BEFORE_NUMBER)?.strip_suffix(b"}")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = rest.split_at_checked(digits)?;
        if number.first() == Some(&b'0') {
            return None;
        }
        let number = std::str::from_utf8(number).ok()?.parse().ok()?;
        let (hash, rest) = rest.strip_prefix(BEFORE_HASH)?.split_at_checked(64)?;
        let is_json = rest.starts_with(b"\",\"") && line.iter().all(|byte| *byte >= b' ');
        let prev = from_hex(std::str::from_utf8(hash).ok()?)?;
        (is_json && std::str::from_utf8(line).is_ok()).then_some(Self { number, prev })
    }
}

/// The number of a line, or `None` if it is no whole one: for putting files in their order.
#[must_use]
pub fn number_of(line: &[u8]) -> Option<u64> {
    Some(Beginning::parse(line)?.number)
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Numbers are left out.
    #[error("line {found} follows line {before}: {} are missing", found - before - 1)]
    Missing {
        /// The line before.
        before: u64,
        /// The line that follows.
        found: u64,
    },
    /// A number that was there, or is yet to come.
    #[error("line {found} follows line {before}: repeated, inserted or out of order")]
    Order {
        /// The line before.
        before: u64,
        /// The line that follows.
        found: u64,
    },
    /// The hash of the line before is not the one told.
    #[error("line {0} has been changed: the line after it tells another hash of it")]
    Changed(u64),
    /// The chain does not begin where it should.
    #[error("begins with line {found}, not with line {due}: older lines are missing")]
    Beginning {
        /// The number of the first line.
        found: u64,
        /// The number it should have.
        due: u64,
    },
    /// The first line says that something was before.
    #[error("line 1 tells the hash of a line before it")]
    NotTheFirst,
    /// A head that was kept has another hash.
    #[error("line {0} is not the line of that number whose hash was kept")]
    NotAsKept(u64),
    /// There are fewer lines than there were.
    #[error("ends with line {found}, and line {kept} was there: the end is cut off")]
    Cut {
        /// The last line.
        found: u64,
        /// A line that was there.
        kept: u64,
    },
    /// The file ends without a newline in a line that was whole.
    #[error("line {0} was whole and has lost its newline")]
    NewlineLost(u64),
}

/// How a line was found that is not broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// As it was written.
    Whole,
    /// Torn by a crash; if a line follows it is chained over.
    Torn,
}

/// A walk along a chain, line by line, over as many files as it has.
#[derive(Debug)]
pub struct Walk {
    /// The number that the first line must have.
    first: u64,
    begun: bool,
    head: Head,
    /// Hashes that were kept out of the writer's reach, by line.
    kept: BTreeMap<u64, Vec<[u8; 32]>>,
}

impl Walk {
    /// A walk from line `first` on (1 unless older files were removed), past all of these heads.
    #[must_use]
    pub fn new(first: u64, heads: &[Head]) -> Self {
        let mut kept: BTreeMap<u64, Vec<[u8; 32]>> = BTreeMap::new();
        for head in heads.iter().filter(|head| head.lines > 0) {
            kept.entry(head.lines).or_default().push(head.hash);
        }
        Self { first: first.max(1), begun: false, head: Head::default(), kept }
    }

    /// Where it stands.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The last line that a kept head covers; 0 if none does.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.kept.last_key_value().map_or(0, |(lines, _)| *lines)
    }

    /// Takes the next line; `ended` says whether a newline stood behind it. After a broken line the
    /// walk goes on from there, so that one change is told once.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn line(&mut self, line: &[u8], ended: bool) -> Result<Sound, Broken> {
        let Some(Beginning { number, prev }) = Beginning::parse(line) else {
            if !self.begun {
                // What is torn at the very beginning can only be the first that is due.
                self.begin(Head { lines: self.first - 1, hash: [0; 32] });
            }
            self.head.go_on(line);
            return self.check_kept(ended).map(|()| Sound::Torn);
        };
        let first = !self.begun;
        if first {
            self.begin(Head { lines: number.saturating_sub(1), hash: prev });
        }
        let due = self.head;
        self.head = Head { lines: number, hash: hash(line) };
        let broken = if first { self.beginning(number, prev) } else { link(due, number, prev) };
        if let Some(broken) = broken {
            // The kept heads up to here are spoken for by this one.
            let _told = self.check_kept(ended);
            return Err(broken);
        }
        if first && self.is_other(due.lines, &prev) {
            return Err(Broken::NotAsKept(due.lines));
        }
        self.check_kept(ended).map(|()| Sound::Whole)
    }

    /// Whether all lines were there whose hashes were kept.
    ///
    /// # Errors
    /// [`Broken::Cut`].
    pub fn end(&self) -> Result<Head, Broken> {
        match self.covered() {
            kept if kept > self.head.lines => Err(Broken::Cut { found: self.head.lines, kept }),
            _ => Ok(self.head),
        }
    }

    fn begin(&mut self, before: Head) {
        self.begun = true;
        self.head = before;
    }

    fn beginning(&self, number: u64, prev: [u8; 32]) -> Option<Broken> {
        if number != self.first {
            return Some(Broken::Beginning { found: number, due: self.first });
        }
        (number == 1 && prev != [0; 32]).then_some(Broken::NotTheFirst)
    }

    fn check_kept(&self, ended: bool) -> Result<(), Broken> {
        let Head { lines, hash } = self.head;
        if self.is_other(lines, &hash) {
            return Err(Broken::NotAsKept(lines));
        }
        if !ended && lines <= self.covered() {
            return Err(Broken::NewlineLost(lines));
        }
        Ok(())
    }

    fn is_other(&self, lines: u64, hash: &[u8; 32]) -> bool {
        self.kept.get(&lines).is_some_and(|kept| kept.iter().any(|kept| kept != hash))
    }
}

fn link(before: Head, number: u64, prev: [u8; 32]) -> Option<Broken> {
    let (before, due) = (before.lines, before);
    if number <= before {
        return Some(Broken::Order { before, found: number });
    }
    if number > before + 1 {
        return Some(Broken::Missing { before, found: number });
    }
    (prev != due.hash).then_some(Broken::Changed(before))
}

/// What the monitor keeps of the chains, as text of one `name value` a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeptHeads {
    /// The gatekeeper's chain, and the length of the file that holds its last line, in bytes up to
    /// and with that line's newline.
    pub gatekeeper: Option<(Head, u64)>,
    /// The monitor's own chain.
    pub own: Option<Head>,
}

impl KeptHeads {
    /// Reads the text.
    ///
    /// # Errors
    /// What in it cannot be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut members = BTreeMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').ok_or(format!("no `name value`: {line}"))?;
            if members.insert(name, value).is_some() {
                return Err(format!("{name} stands twice"));
            }
        }
        let number = |name: &str| match members.get(name) {
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("{name} is no number")),
            None => Ok(None),
        };
        let hash = |name: &str| match members.get(name) {
            Some(text) => from_hex(text).map(Some).ok_or(format!("{name} is no hash")),
            None => Ok(None),
        };
        let head = |lines, hash| match (lines, hash) {
            (Some(lines), Some(hash)) => Ok(Some(Head { lines, hash })),
            (None, None) => Ok(None),
            _ => Err("a number of lines and a hash go together".to_owned()),
        };
        let gatekeeper = head(number("lines")?, hash("hash")?)?;
        let own = head(number("own_lines")?, hash("own_hash")?)?;
        let bytes = number("bytes")?;
        let gatekeeper = gatekeeper.map(|head| bytes.map(|bytes| (head, bytes)).ok_or("no bytes"));
        Ok(Self { gatekeeper: gatekeeper.transpose()?, own })
    }
}

/// The text that [`KeptHeads::parse`] reads.
impl fmt::Display for KeptHeads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((Head { lines, hash }, bytes)) = &self.gatekeeper {
            write!(out, "lines {lines}\nbytes {bytes}\nhash {}\n", hex(hash))?;
        }
        if let Some(Head { lines, hash }) = &self.own {
            write!(out, "own_lines {lines}\nown_hash {}\n", hex(hash))?;
        }
        Ok(())
    }
}

/// The head that a line of the monitor's own chain tells of the gatekeeper's, if it tells one.
#[must_use]
pub fn head_told(line: &[u8]) -> Option<Head> {
    Beginning::parse(line)?;
    let text = std::str::from_utf8(line).ok()?;
    let (_, told) = text.split_once(",\"event\":\"audit_head\",\"lines\":")?;
    let (lines, told) = told.split_once(",\"hash\":\"")?;
    let (hash, _) = told.split_once('"')?;
    Some(Head { lines: lines.parse().ok()?, hash: from_hex(hash)? })
}

/// 64 lower-case digits.
#[must_use]
pub fn hex(hash: &[u8; 32]) -> String {
    let mut out = Vec::with_capacity(64);
    push_hex(&mut out, hash);
    String::from_utf8(out).unwrap_or_default()
}

/// Reads what [`hex`] writes, and nothing else.
#[must_use]
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let &[high, low] = digits else { return None };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(hash)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// Appends the decimal digits of `number`.
pub fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u8; 20];
    let mut left = number;
    let mut count = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
        count += 1;
        if left == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(digits.len() - count));
}

#[cfg(test)]
mod tests;
