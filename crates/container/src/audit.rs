//! The audit log: one JSON line for each decision and act, each holding the hash of the one before.
//!
//! Callers append to a buffer; a thread of its own chains, writes and syncs what has gathered, so
//! that a call costs one copy. The chain: member `prev` of a line is the SHA-256, in hexadecimal, of
//! the bytes of the line before, its newline not counted; the first line's is 64 zeros. A line torn
//! by a crash stays where it is and is chained over like any other. While one gatekeeper takes over
//! from another both append: the file's lock makes it one chain.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nesssi_config::Config;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::StartError;
use crate::clock;

/// How long lines gather before they are written.
const GATHER_MS: u64 = 50;

/// Most bytes that wait for the disk. What comes beyond is counted, and the count is written.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Bytes that one write takes to the file.
const WRITE_BYTES: usize = 64 * 1024;

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How far from the end the last line is looked for: longer than any line.
const TAIL_BYTES_MAX: u64 = 1024 * 1024;

/// Longest text of one member; the rest is cut.
const MEMBER_BYTES_MAX: usize = 4096;

/// How often a write that failed is tried again, and how often it is tried at the end.
const RETRY_MS: u64 = 1000;

/// The audit log. Clones write to the same.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    shared: Arc<Shared>,
    /// Ends the thread with the last clone.
    _alive: Arc<Alive>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Lines without their beginning, each with a newline.
    lines: Vec<u8>,
    /// The second that was told last, and its text.
    second: (u64, String),
    /// Lines that found no room.
    lost: u64,
    /// Who waits until all that is here now is on the disk.
    flushes: Vec<oneshot::Sender<()>>,
    ended: bool,
}

#[derive(Debug)]
struct Alive {
    shared: Arc<Shared>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audit {
    /// Opens `<state_directory>/gatekeeper/audit.jsonl` and continues its chain.
    ///
    /// # Errors
    /// [`StartError::Io`] where it cannot be opened for appending.
    pub(crate) fn start(config: &Config) -> Result<Self, StartError> {
        let path = config.server.state_directory.join("gatekeeper").join("audit.jsonl");
        Self::open(&path).map_err(|error| StartError::Io { what: "audit log".to_owned(), error })
    }

    /// The same for any file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
        options.custom_flags(i32::try_from(no_follow).unwrap_or_default());
        let mut chain = Chain::new(options.open(path)?);
        chain.catch_up()?;
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(&for_thread, &mut chain))?;
        let alive = Arc::new(Alive { shared: Arc::clone(&shared) });
        Ok(Self { shared, _alive: alive })
    }

    /// Begins a line about `event`. Nobody else can begin one until it is written or dropped.
    pub(crate) fn line(&self, event: &'static str) -> Line<'_> {
        let mut waiting = self.shared.lock();
        let start = waiting.lines.len();
        waiting.begin(clock::now_ms(), event);
        Line { shared: &self.shared, waiting, start }
    }

    /// Waits until all that was recorded is on the disk, or cannot be brought there.
    pub(crate) async fn flush(&self) {
        let (sender, done) = oneshot::channel();
        self.shared.lock().flushes.push(sender);
        self.shared.wake.notify_one();
        if done.await.is_err() {
            tracing::warn!("the audit log ended before it was written out");
        }
    }
}

impl Waiting {
    fn begin(&mut self, ms: u64, event: &str) {
        let second = ms / 1000;
        if self.second.0 != second {
            self.second = (second, clock::iso(ms).trim_end_matches('Z').to_owned());
        }
        let Self { lines, second, .. } = self;
        for part in [",\"at\":\"", &second.1, "."] {
            lines.extend_from_slice(part.as_bytes());
        }
        push_number(lines, 1000 + ms % 1000, 1);
        lines.extend_from_slice(b"Z\",\"event\":\"");
        lines.extend_from_slice(event.as_bytes());
        lines.push(b'"');
    }
}

/// Appends the decimal digits of `number` but the first `skip` of them.
fn push_number(out: &mut Vec<u8>, number: u64, skip: usize) {
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
    out.extend(digits.iter().skip(digits.len() - count + skip));
}

/// A line being written. Its text stands already among those that wait: [`Line::write`] leaves it
/// there, dropping takes it away.
#[derive(Debug)]
#[must_use = "a line is recorded by `write`"]
pub(crate) struct Line<'a> {
    shared: &'a Shared,
    waiting: MutexGuard<'a, Waiting>,
    start: usize,
}

impl Line<'_> {
    /// Adds a member of text, with control characters escaped and at most 4 KiB long.
    pub(crate) fn text(mut self, member: &'static str, value: impl fmt::Display) -> Self {
        let lines = &mut self.waiting.lines;
        push_name(lines, member);
        lines.push(b'"');
        let mut text = Escaped { out: lines, left: MEMBER_BYTES_MAX };
        // Only what is longer than the bound fails, which cuts it.
        let cut = write!(text, "{value}").is_err();
        lines.extend_from_slice(if cut { "\u{2026}\"".as_bytes() } else { b"\"" });
        self
    }

    /// Adds a member of text if there is one.
    pub(crate) fn maybe(self, member: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.text(member, value),
            None => self,
        }
    }

    /// Adds a number.
    pub(crate) fn number(mut self, member: &'static str, value: impl Into<i64>) -> Self {
        let value: i64 = value.into();
        let lines = &mut self.waiting.lines;
        push_name(lines, member);
        if value < 0 {
            lines.push(b'-');
        }
        push_number(lines, value.unsigned_abs(), 0);
        self
    }

    /// Adds a count or an amount.
    pub(crate) fn count(mut self, member: &'static str, value: u64) -> Self {
        let lines = &mut self.waiting.lines;
        push_name(lines, member);
        push_number(lines, value, 0);
        self
    }

    /// Records the line.
    pub(crate) fn write(mut self) {
        let waiting = &mut *self.waiting;
        waiting.lines.extend_from_slice(b"}\n");
        if waiting.lines.len() > WAITING_BYTES_MAX {
            waiting.lost += 1;
            return;
        }
        let first = self.start == 0;
        self.start = waiting.lines.len();
        if first {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let start = self.start;
        self.waiting.lines.truncate(start);
    }
}

fn push_name(out: &mut Vec<u8>, member: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(member.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Text inside of a JSON string, bounded. What could break a line or a terminal is escaped.
struct Escaped<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.len() <= self.left;
        let text = if fits {
            text
        } else {
            text.get(..text.floor_char_boundary(self.left)).unwrap_or_default()
        };
        self.left -= text.len();
        if text.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\') {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            text.chars().for_each(|c| push_escaped(self.out, c));
        }
        if fits { Ok(()) } else { Err(fmt::Error) }
    }
}

fn push_escaped(out: &mut Vec<u8>, c: char) {
    match c {
        '"' | '\\' => out.extend_from_slice(&[b'\\', u8::try_from(c).unwrap_or_default()]),
        // Also the second set of control characters, line separators and marks of direction.
        c if c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// The file, and where its chain stands.
#[derive(Debug)]
struct Chain {
    file: File,
    /// The hash of the last line.
    head: [u8; 32],
    /// The file's length when that was the last line.
    length: u64,
}

impl Chain {
    fn new(file: File) -> Self {
        // No file is of that length, so that the first catching up reads.
        Self { file, head: [0; 32], length: u64::MAX }
    }

    /// Takes the head from the file, if somebody else has appended since.
    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if length == self.length {
            return Ok(());
        }
        let from = length.saturating_sub(TAIL_BYTES_MAX);
        self.file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        (&self.file).take(TAIL_BYTES_MAX).read_to_end(&mut tail)?;
        self.length = length;
        self.head = [0; 32];
        if tail.is_empty() {
            return Ok(());
        }
        if tail.pop_if(|last| *last == b'\n').is_none() {
            self.file.write_all(b"\n")?;
            self.length += 1;
        }
        let last = tail.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        self.head = Sha256::digest(last).into();
        Ok(())
    }

    /// Appends lines that lack their beginning, and brings them to the disk.
    fn append(&mut self, beginnings_missing: &[u8]) -> io::Result<()> {
        rustix::fs::flock(&self.file, rustix::fs::FlockOperation::LockExclusive)?;
        let appended = self.append_locked(beginnings_missing);
        if appended.is_err() && self.length != u64::MAX {
            // What was written of it would be written again. If this fails too, it stays torn.
            if let Err(error) = self.file.set_len(self.length) {
                tracing::error!(%error, "the audit log keeps a part of a batch");
            }
        }
        rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock)?;
        appended
    }

    fn append_locked(&mut self, beginnings_missing: &[u8]) -> io::Result<()> {
        self.catch_up()?;
        let mut out = Vec::with_capacity(2 * WRITE_BYTES);
        let mut head = self.head;
        let mut length = self.length;
        for rest in beginnings_missing.split_inclusive(|byte| *byte == b'\n') {
            let start = out.len();
            out.extend_from_slice(b"{\"prev\":\"");
            push_hex(&mut out, &head);
            out.push(b'"');
            out.extend_from_slice(rest);
            let line = out.get(start..out.len().saturating_sub(1)).unwrap_or_default();
            head = Sha256::digest(line).into();
            if out.len() >= WRITE_BYTES {
                length += self.write_out(&mut out)?;
            }
        }
        length += self.write_out(&mut out)?;
        self.file.sync_data()?;
        self.head = head;
        self.length = length;
        Ok(())
    }

    /// Writes what is gathered and empties it; says how much it was.
    fn write_out(&mut self, out: &mut Vec<u8>) -> io::Result<u64> {
        self.file.write_all(out)?;
        let count = u64::try_from(out.len()).unwrap_or_default();
        out.clear();
        Ok(count)
    }
}

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// The thread: gathers, writes, answers flushes, until the last clone is gone and all is written.
fn write_all(shared: &Shared, chain: &mut Chain) {
    let mut spare = Vec::new();
    loop {
        let (lines, lost, flushes, ended) = gather(shared, spare);
        let written = write_batch(shared, chain, &lines, lost);
        drop(flushes.into_iter().map(|flush| flush.send(())).collect::<Vec<_>>());
        if ended && (written || lines.is_empty()) {
            return;
        }
        if !written {
            if ended {
                return;
            }
            std::thread::sleep(Duration::from_millis(RETRY_MS));
        }
        spare = if lines.capacity() > KEPT_BYTES_MAX { Vec::new() } else { lines };
    }
}

type Gathered = (Vec<u8>, u64, Vec<oneshot::Sender<()>>, bool);

/// What waits, once there is something. `spare` takes its place: an old buffer, so that the lines of
/// a busy server need not grow a new one twenty times a second.
fn gather(shared: &Shared, mut spare: Vec<u8>) -> Gathered {
    spare.clear();
    let idle = |waiting: &mut Waiting| {
        waiting.lines.is_empty() && waiting.flushes.is_empty() && !waiting.ended
    };
    let waiting = shared.lock();
    let waiting = shared.wake.wait_while(waiting, idle).unwrap_or_else(PoisonError::into_inner);
    let hurried = |waiting: &mut Waiting| waiting.flushes.is_empty() && !waiting.ended;
    let (mut waiting, _) = shared
        .wake
        .wait_timeout_while(waiting, Duration::from_millis(GATHER_MS), hurried)
        .unwrap_or_else(PoisonError::into_inner);
    let lines = std::mem::replace(&mut waiting.lines, spare);
    let lost = std::mem::take(&mut waiting.lost);
    (lines, lost, std::mem::take(&mut waiting.flushes), waiting.ended)
}

/// Whether the lines are on the disk; if not they wait again, before those that came since.
fn write_batch(shared: &Shared, chain: &mut Chain, lines: &[u8], lost: u64) -> bool {
    let mut batch = Waiting::default();
    let mut lines = lines;
    if lost > 0 {
        batch.lines.extend_from_slice(lines);
        batch.begin(clock::now_ms(), "audit_lost");
        push_name(&mut batch.lines, "lines");
        push_number(&mut batch.lines, lost, 0);
        batch.lines.extend_from_slice(b"}\n");
        lines = &batch.lines;
    }
    if lines.is_empty() {
        return true;
    }
    let Err(error) = chain.append(lines) else { return true };
    tracing::error!(%error, "the audit log cannot be written");
    // What was written of it is found out again from the file.
    chain.length = u64::MAX;
    let mut waiting = shared.lock();
    let newer = std::mem::replace(&mut waiting.lines, lines.to_vec());
    waiting.lines.extend_from_slice(&newer);
    false
}

#[cfg(test)]
mod tests;
