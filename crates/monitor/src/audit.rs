//! What the monitor itself has done, and how far the gatekeeper's audit log has come.
//!
//! `<state_directory>/monitor/audit.jsonl` has a JSON line for every privileged act and every administrative
//! change, chained as the gatekeeper's: each begins with its number and the SHA-256 of the line before. `audit.head` beside it
//! holds how many lines both logs have and the hash of the last one. Neither can be written by the gatekeeper's
//! user, so a log that was shortened or changed no longer fits its head.
//!
//! A line is one `write`; once a second both are brought to the disk. An audit file that was renamed is left to
//! whoever did that: the next line begins a new one, which goes on with the chain and the count.

use std::fmt::{self, Write as _};
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use sha2::{Digest as _, Sha256};

use crate::{clock, log};

const FILE: &str = "audit.jsonl";
const HEAD: &str = "audit.head";
const HEAD_NEW: &str = "audit.head.new";
/// Longest text of one member; the rest is cut.
const MEMBER_BYTES_MAX: usize = 1024;
/// Longest head.
const HEAD_BYTES_MAX: usize = 4096;
/// Refusals that have a line of their own in one second. Of others the number is told.
const REFUSALS_PER_SECOND_MAX: u32 = 20;

/// How often the own log tells of the gatekeeper's, where that goes on.
const TELL_MS: u64 = 60_000;

/// A SHA-256.
pub type Hash = [u8; 32];

/// How far both logs have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Lines of the gatekeeper's log, those of files that were renamed included.
    pub lines: u64,
    /// Bytes of its present file.
    pub bytes: u64,
    /// The hash of its last line.
    pub hash: Hash,
    /// Lines of the monitor's own log, those of files that were renamed included.
    pub own_lines: u64,
    /// The hash of its last line.
    pub own_hash: Hash,
}

/// Why a head is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is of an earlier time.
    #[error("the audit log had {known} lines already, and would have {told}")]
    Fewer {
        /// What is known.
        known: u64,
        /// What was said.
        told: u64,
    },
    /// As many lines, and other ones.
    #[error("line {0} of the audit log would be another now")]
    Other(u64),
    /// No SHA-256.
    #[error("a hash has 32 bytes")]
    Hash,
}

/// The monitor's audit log, and the heads.
#[derive(Debug)]
pub struct Audit {
    directory: OwnedFd,
    file: OwnedFd,
    inode: u64,
    /// Its length, to cut off what was written of a line.
    length: u64,
    head: Head,
    /// Lines were written that may not be on the disk.
    unsynced: bool,
    /// What `audit.head` says.
    stored: Head,
    lost: u64,
    refusals: u32,
    /// When and how far the own log has last told of the gatekeeper's.
    told: (i64, u64),
}

impl Audit {
    /// Opens the log in the monitor's directory and goes on with its chain.
    ///
    /// # Errors
    /// The system's; `InvalidData` for a head that is none.
    pub fn open(directory: OwnedFd) -> io::Result<Self> {
        let known = read_head(&directory)?;
        let (file, inode, length) = open_log(&directory)?;
        let tail = read_tail(&file, &known)?;
        let mut audit = Self {
            directory,
            file,
            inode,
            length,
            head: Head { own_lines: tail.lines, own_hash: tail.last, ..known },
            unsynced: false,
            stored: known,
            lost: 0,
            refusals: 0,
            told: (0, known.lines),
        };
        if tail.torn {
            audit.append(b"\n")?;
        }
        if !tail.fits {
            log::error("the monitor's audit log is not what it was: lines are missing or changed")
                .with("lines_known", known.own_lines)
                .write();
            audit.line("audit_broken").number("lines_known", known.own_lines).write();
        }
        Ok(audit)
    }

    /// How far both logs have come.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Takes note of how far the gatekeeper's log has come: never back.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn advance(&mut self, lines: u64, bytes: u64, hash: &[u8]) -> Result<(), HeadError> {
        let hash: Hash = hash.try_into().map_err(|_| HeadError::Hash)?;
        let known = &mut self.head;
        if lines < known.lines {
            return Err(HeadError::Fewer { known: known.lines, told: lines });
        }
        if lines == known.lines && known.lines > 0 && hash != known.hash {
            return Err(HeadError::Other(lines));
        }
        // Fewer bytes are a file that was begun after the one before had been renamed.
        (known.lines, known.bytes, known.hash) = (lines, bytes, hash);
        Ok(())
    }

    /// Begins a line about an event.
    pub fn line(&mut self, event: &'static str) -> Line<'_> {
        let mut text = String::with_capacity(256);
        write!(text, "{{\"n\":{},\"prev\":\"", self.head.own_lines + 1).unwrap_or_default();
        push_hex(&mut text, &self.head.own_hash);
        let at = clock::written(clock::unix_milliseconds());
        // Writing to a String does not fail.
        write!(text, "\",\"at\":\"{at}\",\"event\":\"{event}\"").unwrap_or_default();
        Line { audit: self, text }
    }

    /// A line about a request that was refused, if there is room for one more in this second.
    pub fn refused(&mut self, request: &str, because: impl fmt::Display) {
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals <= REFUSALS_PER_SECOND_MAX {
            self.line("refused").text("request", request).text("because", because).write();
        }
    }

    /// How far the gatekeeper's log has come, as a line: so that its older files can be held against it too.
    pub fn tell_head(&mut self) {
        let Head { lines, hash, .. } = self.head;
        if lines != self.told.1 {
            let mut text = String::new();
            push_hex(&mut text, &hash);
            self.line("audit_head").number("lines", lines).text("hash", text).write();
        }
        self.told = (clock::unix_milliseconds(), lines);
    }

    /// Once a second, and before the end: brings to the disk what is new.
    pub fn flush(&mut self) {
        if clock::unix_milliseconds().abs_diff(self.told.0) >= TELL_MS {
            self.tell_head();
        }
        let untold = self.refusals.saturating_sub(REFUSALS_PER_SECOND_MAX);
        self.refusals = 0;
        if untold > 0 {
            self.line("refused_more").number("count", u64::from(untold)).write();
        }
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            log::error("the monitor's audit log cannot be written").with("lines", lost).write();
            let before = self.head.own_lines;
            self.line("audit_lost").number("lines", lost).write();
            if self.head.own_lines == before {
                self.lost = lost;
            }
        }
        if let Err(error) = self.store() {
            log::error("the audit log's head cannot be stored").with("because", error).write();
        }
        if let Err(error) = self.follow_rename() {
            log::error("the monitor's audit log cannot be opened").with("because", error).write();
        }
    }

    fn write(&mut self, mut text: String) {
        text.push_str("}\n");
        let line = text.as_bytes();
        if self.append(line).is_err() {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        let whole = line.get(..line.len().saturating_sub(1)).unwrap_or_default();
        self.head.own_hash = Sha256::digest(whole).into();
        self.head.own_lines += 1;
    }

    /// All of it or nothing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(&self.file, bytes))?;
        if count < bytes.len() {
            rustix::fs::ftruncate(&self.file, self.length)?;
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.length = self.length.saturating_add(u64::try_from(count).unwrap_or_default());
        self.unsynced = true;
        Ok(())
    }

    /// The log first: the head never says more than is there. Its name need not be on the disk: after a crash
    /// the head before it stands, which the log fits too.
    fn store(&mut self) -> io::Result<()> {
        if self.unsynced {
            rustix::fs::fdatasync(&self.file)?;
            self.unsynced = false;
        }
        if self.stored == self.head {
            return Ok(());
        }
        match rustix::fs::unlinkat(&self.directory, HEAD_NEW, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.directory, HEAD_NEW, flags, mode)?;
        let text = self.head.to_string();
        if rustix::io::write(&file, text.as_bytes())? != text.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rustix::fs::fsync(&file)?;
        rustix::fs::renameat(&self.directory, HEAD_NEW, &self.directory, HEAD)?;
        self.stored = self.head;
        Ok(())
    }

    /// Begins a new file if ours has another name now, or none.
    fn follow_rename(&mut self) -> io::Result<()> {
        let there = rustix::fs::statat(&self.directory, FILE, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|facts| facts.st_ino == self.inode) {
            return Ok(());
        }
        (self.file, self.inode, self.length) = open_log(&self.directory)?;
        Ok(())
    }
}

/// A line being put together.
#[derive(Debug)]
#[must_use = "a line is recorded by `write`"]
pub struct Line<'a> {
    audit: &'a mut Audit,
    text: String,
}

impl Line<'_> {
    /// Adds a member of text: at most 1 KiB, what could break a line or a terminal escaped.
    pub fn text(mut self, member: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        let cut = value.get(..value.floor_char_boundary(MEMBER_BYTES_MAX)).unwrap_or_default();
        write!(self.text, ",\"{member}\":\"").unwrap_or_default();
        cut.chars().for_each(|character| push_escaped(&mut self.text, character));
        self.text.push_str(if cut.len() < value.len() { "\u{2026}\"" } else { "\"" });
        self
    }

    /// Adds a number.
    pub fn number(mut self, member: &str, value: impl Into<u64>) -> Self {
        write!(self.text, ",\"{member}\":{}", value.into()).unwrap_or_default();
        self
    }

    /// Records it.
    pub fn write(self) {
        let Self { audit, text } = self;
        audit.write(text);
    }
}

/// One value a line.
impl fmt::Display for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |hash: &Hash| {
            let mut text = String::new();
            push_hex(&mut text, hash);
            text
        };
        writeln!(out, "lines {}\nbytes {}\nhash {}", self.lines, self.bytes, hex(&self.hash))?;
        writeln!(out, "own_lines {}\nown_hash {}", self.own_lines, hex(&self.own_hash))
    }
}

impl Head {
    /// Reads what [`Head`] is written as; `None` is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut head = Self::default();
        let mut lines = text.lines();
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        head.lines = value("lines")?.parse().ok()?;
        head.bytes = value("bytes")?.parse().ok()?;
        head.hash = read_hex(value("hash")?)?;
        head.own_lines = value("own_lines")?.parse().ok()?;
        head.own_hash = read_hex(value("own_hash")?)?;
        Some(head)
    }
}

/// What is in the file, held against what is known of it.
struct Tail {
    /// Lines that there have been in all.
    lines: u64,
    last: Hash,
    /// Its last line has no end.
    torn: bool,
    /// The line that was the last is there, or the file was begun after it.
    fits: bool,
}

fn read_tail(file: &OwnedFd, known: &Head) -> io::Result<Tail> {
    let mut reader = BufReader::new(std::fs::File::from(file.as_fd().try_clone_to_owned()?));
    let mut begins_after = format!("{{\"n\":{},\"prev\":\"", known.own_lines + 1);
    push_hex(&mut begins_after, &known.own_hash);
    let mut tail = Tail { lines: 0, last: known.own_hash, torn: false, fits: known.own_lines == 0 };
    let mut line = Vec::new();
    let mut first = true;
    while reader.read_until(b'\n', &mut line)? > 0 {
        tail.torn = line.pop_if(|last| *last == b'\n').is_none();
        tail.fits |= first && line.starts_with(begins_after.as_bytes());
        tail.last = Sha256::digest(&line).into();
        tail.lines += 1;
        if tail.last == known.own_hash {
            (tail.fits, tail.lines) = (true, 0);
        }
        first = false;
        line.clear();
    }
    tail.fits |= first;
    // Of lines that are not the ones known, how many there were says nothing.
    tail.lines = if tail.fits { known.own_lines + tail.lines } else { known.own_lines };
    Ok(tail)
}

fn open_log(directory: &OwnedFd) -> io::Result<(OwnedFd, u64, u64)> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, FILE, flags, Mode::RUSR | Mode::WUSR)?;
    let facts = rustix::fs::fstat(&file)?;
    Ok((file, facts.st_ino, u64::try_from(facts.st_size).unwrap_or_default()))
}

fn read_head(directory: &OwnedFd) -> io::Result<Head> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, HEAD, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(Head::default()),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = vec![0; HEAD_BYTES_MAX];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *bytes))?;
    let text = std::str::from_utf8(bytes.get(..count).unwrap_or_default()).ok();
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "audit.head: it is no head");
    text.and_then(Head::parse).ok_or_else(wrong)
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        write!(out, "{byte:02x}").unwrap_or_default();
    }
}

fn read_hex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != hash.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(hash)
}

fn push_escaped(out: &mut String, character: char) {
    match character {
        '"' | '\\' => out.extend(['\\', character]),
        // Also the second set of control characters, line separators and marks of direction.
        c if c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default();
        }
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests;
