//! The access log has one line for each answered request, in the combined format that every log
//! reader knows, with the request id and the microseconds it took after it.
//!
//! A request's own cost is one push into a buffer; a thread writes what has gathered, a few times a
//! second. A full disk costs lines, which are counted, and never a request; so does a system log
//! that takes no more. A log file that was moved away is opened anew.

mod sink;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Civil, now_unix};
use sink::Sink;

/// Most bytes that wait to be written; lines beyond are dropped and counted.
const BUFFER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// So many waiting bytes wake the writer at once.
const WAKE_BYTES: usize = 64 * 1024;
/// The longest that a line waits.
const FLUSH_MILLISECONDS_MAX: u64 = 250;
/// What a caller says of himself (path, referrer, agent) is cut at this many bytes each.
const FIELD_BYTES_MAX: usize = 512;
/// Digits of a session id that a log may show.
const SESSION_DIGITS_SHOWN: usize = 8;
/// As many hex digits in a row as a session id has.
const SESSION_DIGITS: usize = 32;

/// One answered request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// What [`line_start`] made, once for the connection.
    pub(crate) start: &'a str,
    pub(crate) method: &'a str,
    /// Path and query as they came.
    pub(crate) target: &'a str,
    pub(crate) version: &'a str,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) referer: &'a [u8],
    pub(crate) agent: &'a [u8],
    pub(crate) request_id: &'a [u8],
    pub(crate) micros: u64,
}

/// Where lines go.
#[derive(Debug, Clone)]
pub(crate) struct AccessLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    gathered: Mutex<Gathered>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    dropped: u64,
    /// The time of day, which the writer keeps right: a line may be as late as a line may wait.
    stamp: String,
    flushes_asked: u64,
    flushes_done: u64,
}

impl AccessLog {
    /// Opens `path` for appending and starts the writer.
    ///
    /// # Errors
    /// The system's, if the file cannot be opened or the thread not be started.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        Self::over(Sink::file(path)?)
    }

    /// Sends lines to the system's log, at this socket, and starts the writer.
    ///
    /// # Errors
    /// The system's, if the thread cannot be started. A socket that is not there is waited for.
    pub(crate) fn syslog(socket: PathBuf) -> io::Result<Self> {
        Self::over(Sink::syslog(socket))
    }

    fn over(sink: Sink) -> io::Result<Self> {
        let gathered = Gathered { stamp: stamp(), ..Gathered::default() };
        let shared = Arc::new(Shared { gathered: Mutex::new(gathered), wake: Condvar::new() });
        let writer = Writer { sink, shared: Arc::clone(&shared) };
        std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run())?;
        Ok(Self { shared })
    }

    /// Takes one line; it is written soon.
    pub(crate) fn record(&self, line: &Line<'_>) {
        let mut gathered = self.shared.lock();
        let before = gathered.bytes.len();
        gathered.push(line);
        let after = gathered.bytes.len();
        drop(gathered);
        if before < WAKE_BYTES && after >= WAKE_BYTES {
            self.shared.wake.notify_all();
        }
    }

    /// Returns once everything that was recorded before is written (or could not be).
    pub(crate) fn flush(&self) {
        let mut gathered = self.shared.lock();
        gathered.flushes_asked += 1;
        let ticket = gathered.flushes_asked;
        self.shared.wake.notify_all();
        while gathered.flushes_done < ticket {
            gathered = self.shared.wake.wait(gathered).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn push(&mut self, line: &Line<'_>) {
        if self.bytes.len() >= BUFFER_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        let Self { bytes, stamp, .. } = self;
        let mut text = |text: &str| bytes.extend_from_slice(text.as_bytes());
        text(line.start);
        text(stamp);
        text("] \"");
        text(line.method);
        text(" ");
        push_target(bytes, line.target);
        bytes.push(b' ');
        bytes.extend_from_slice(line.version.as_bytes());
        bytes.extend_from_slice(b"\" ");
        push_number(bytes, u64::from(line.status));
        bytes.push(b' ');
        push_number(bytes, line.bytes);
        bytes.extend_from_slice(b" \"");
        push_field(bytes, line.referer);
        bytes.extend_from_slice(b"\" \"");
        push_field(bytes, line.agent);
        bytes.extend_from_slice(b"\" ");
        bytes.extend_from_slice(line.request_id);
        bytes.push(b' ');
        push_number(bytes, line.micros);
        bytes.push(b'\n');
    }
}

/// What every line of a connection begins with: its address, and whose it is.
pub(crate) fn line_start(address: IpAddr, subject: Option<&str>) -> String {
    let user = subject.map_or_else(|| "-".to_owned(), user_field);
    format!("{address} - {user} [")
}

/// A subject DN as one field without blanks: everything that would end a field is percent-encoded.
fn user_field(subject: &str) -> String {
    let mut out = String::with_capacity(subject.len());
    for byte in subject.bytes().take(FIELD_BYTES_MAX) {
        match byte {
            b'%' | b'"' | b'\\' | 0..=b' ' | 127.. => {
                out.push('%');
                out.push(hex_digit(byte >> 4));
                out.push(hex_digit(byte & 0xF));
            }
            plain => out.push(char::from(plain)),
        }
    }
    if out.is_empty() { "-".to_owned() } else { out }
}

/// The request's target with session ids cut: whatever stands behind `/sandboxes/`, well formed
/// or not, and every run of hex digits as long as an id.
fn push_target(out: &mut Vec<u8>, target: &str) {
    const SANDBOXES: &str = "/sandboxes/";
    let Some(rest) = target.strip_prefix(SANDBOXES) else {
        return push_field(out, target.as_bytes());
    };
    let (session, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    out.extend_from_slice(SANDBOXES.as_bytes());
    push_escaped(out, session.as_bytes().get(..SESSION_DIGITS_SHOWN).unwrap_or(session.as_bytes()));
    if !path.is_empty() {
        push_field(out, path.as_bytes());
    }
}

/// A field that a caller wrote: bounded, ids cut, `-` if there is none.
fn push_field(out: &mut Vec<u8>, field: &[u8]) {
    if field.is_empty() {
        out.push(b'-');
    }
    if field.len() < SESSION_DIGITS {
        return push_escaped(out, field);
    }
    let mut rest = field;
    while let Some(first) = rest.first() {
        let room = (FIELD_BYTES_MAX + rest.len()).saturating_sub(field.len());
        if room == 0 {
            break;
        }
        let same = |byte: &&u8| byte.is_ascii_hexdigit() == first.is_ascii_hexdigit();
        let (run, after) = rest.split_at(rest.iter().take_while(same).count());
        let is_id = first.is_ascii_hexdigit() && run.len() >= SESSION_DIGITS;
        let shown = if is_id { run.get(..SESSION_DIGITS_SHOWN).unwrap_or(run) } else { run };
        push_escaped(out, shown.get(..room).unwrap_or(shown));
        rest = after;
    }
}

/// Quotes, backslashes and what a terminal might obey are written as `\xHH`.
fn push_escaped(out: &mut Vec<u8>, field: &[u8]) {
    let needs_escape = |byte: u8| matches!(byte, b'"' | b'\\' | 0..0x20 | 0x7F..);
    if !field.iter().copied().any(needs_escape) {
        return out.extend_from_slice(field);
    }
    for &byte in field {
        if needs_escape(byte) {
            let _written = write!(out, "\\x{byte:02X}");
        } else {
            out.push(byte);
        }
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let first = out.len();
    loop {
        out.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(first..) {
        digits.reverse();
    }
}

fn stamp() -> String {
    Civil::of(now_unix()).log()
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

/// The thread that writes.
struct Writer {
    sink: Sink,
    shared: Arc<Shared>,
}

impl Writer {
    fn run(mut self) {
        let mut spare = Vec::new();
        loop {
            let mut gathered = self.shared.lock();
            if gathered.bytes.len() < WAKE_BYTES && gathered.flushes_asked == gathered.flushes_done
            {
                let pause = Duration::from_millis(FLUSH_MILLISECONDS_MAX);
                let waited = self.shared.wake.wait_timeout(gathered, pause);
                gathered = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            std::mem::swap(&mut gathered.bytes, &mut spare);
            let dropped = std::mem::take(&mut gathered.dropped);
            gathered.stamp = stamp();
            let flushes = gathered.flushes_asked;
            drop(gathered);
            self.write(&spare, dropped);
            spare.clear();
            self.shared.lock().flushes_done = flushes;
            self.shared.wake.notify_all();
        }
    }

    fn write(&mut self, bytes: &[u8], dropped: u64) {
        if dropped > 0 {
            tracing::warn!(
                dropped,
                "access log: lines dropped, it is not written as fast as they come"
            );
        }
        if !bytes.is_empty() {
            self.sink.write(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
