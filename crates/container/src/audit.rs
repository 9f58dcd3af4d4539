//! The audit log: one JSON line for each decision and act, each holding the hash of the one before.
//!
//! Callers append to a buffer; a thread of its own chains, writes and syncs what has gathered, so
//! that a call costs one copy. The chain's form is [`nesssi_journal::chain`]'s; it goes on over files
//! that are moved away. While one gatekeeper takes over from another both append: the file's lock
//! makes it one chain. How far it is on the disk is told to the monitor, which keeps that where a
//! gatekeeper cannot write.

mod events;
mod file;

use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nesssi_config::Config;
use nesssi_journal::chain::push_number;
use tokio::sync::{oneshot, watch};

pub use events::Served;
pub(crate) use events::{connected, proxy_word, served, tell_heads};
pub(crate) use file::OnDisk;

use crate::StartError;
use crate::clock;
use file::ChainFile;

/// How long lines gather before they are written.
const GATHER_MS: u64 = 50;

/// Most bytes that wait for the disk. What comes beyond is counted, and the count is written.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Longest text of one member; the rest is cut.
const MEMBER_BYTES_MAX: usize = 4096;

/// How often a write that failed is tried again, and how often it is tried at the end.
const RETRY_MS: u64 = 1000;

/// The audit log. Clones write to the same.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    shared: Arc<Shared>,
    heads: watch::Receiver<OnDisk>,
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
        let mut file = ChainFile::open(path)?;
        let shared = Arc::new(Shared::default());
        let (told, heads) = watch::channel(file.on_disk());
        let for_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_all(&for_thread, &mut file, &told))?;
        let alive = Arc::new(Alive { shared: Arc::clone(&shared) });
        Ok(Self { shared, heads, _alive: alive })
    }

    /// Begins a line about `event`. Nobody else can begin one until it is written or dropped.
    pub(crate) fn line(&self, event: &'static str) -> Line<'_> {
        let mut waiting = self.shared.lock();
        let start = waiting.lines.len();
        waiting.begin(clock::now_ms(), event);
        Line { shared: &self.shared, waiting, start }
    }

    /// How far the chain is on the disk, as it changes.
    pub(crate) fn heads(&self) -> watch::Receiver<OnDisk> {
        self.heads.clone()
    }

    /// How far the chain is on the disk now.
    pub(crate) fn on_disk(&self) -> OnDisk {
        *self.heads.borrow()
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
        push_millis(lines, ms);
        lines.extend_from_slice(b"Z\",\"event\":\"");
        lines.extend_from_slice(event.as_bytes());
        lines.push(b'"');
    }
}

/// Appends the three digits of the milliseconds in a second.
fn push_millis(out: &mut Vec<u8>, ms: u64) {
    let digit = |place: u64| b'0' + u8::try_from(ms / place % 10).unwrap_or_default();
    out.extend([digit(100), digit(10), digit(1)]);
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
        push_number(lines, value.unsigned_abs());
        self
    }

    /// Adds a count or an amount.
    pub(crate) fn count(mut self, member: &'static str, value: u64) -> Self {
        let lines = &mut self.waiting.lines;
        push_name(lines, member);
        push_number(lines, value);
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

/// The thread: gathers, writes, answers flushes, until the last clone is gone and all is written.
fn write_all(shared: &Shared, file: &mut ChainFile, told: &watch::Sender<OnDisk>) {
    let mut spare = Vec::new();
    loop {
        let (lines, lost, flushes, ended) = gather(shared, spare);
        let written = write_batch(shared, file, &lines, lost);
        told.send_if_modified(|head| {
            let changed = *head != file.on_disk();
            *head = file.on_disk();
            changed && written
        });
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
fn write_batch(shared: &Shared, file: &mut ChainFile, lines: &[u8], lost: u64) -> bool {
    let mut batch = Waiting::default();
    let mut lines = lines;
    if lost > 0 {
        batch.lines.extend_from_slice(lines);
        batch.begin(clock::now_ms(), "audit_lost");
        push_name(&mut batch.lines, "lines");
        push_number(&mut batch.lines, lost);
        batch.lines.extend_from_slice(b"}\n");
        lines = &batch.lines;
    }
    if lines.is_empty() {
        return true;
    }
    let Err(error) = file.append(lines) else { return true };
    tracing::error!(%error, "the audit log cannot be written");
    // What was written of it is found out again from the file.
    file.distrust();
    let mut waiting = shared.lock();
    let newer = std::mem::replace(&mut waiting.lines, lines.to_vec());
    waiting.lines.extend_from_slice(&newer);
    false
}

#[cfg(test)]
mod tests;
