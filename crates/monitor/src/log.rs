//! The monitor's log: one line an event, on standard error.
//!
//! `2026-11-22T03:00:00.000Z nesssid INFO message key=value`. Control characters of values are escaped, and
//! a value with blanks is quoted, so no caller can forge a line. The monitor never waits for whoever reads its log:
//! a line that there is no room for is dropped, and the next one says how many were.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;

/// Longest line, in bytes: what a pipe takes whole.
const LINE_BYTES_MAX: usize = 4096;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// What is going on.
    Info,
    /// What an administrator should look at.
    Warn,
    /// What does not work.
    Error,
}

/// A line being put together; it is written when it is dropped.
#[derive(Debug)]
pub struct Line {
    text: String,
}

/// A line of what is going on.
#[must_use = "add its values, or end it with ;"]
pub fn info(message: impl fmt::Display) -> Line {
    Line::new(Severity::Info, message)
}

/// A line that an administrator should look at.
#[must_use = "add its values, or end it with ;"]
pub fn warn(message: impl fmt::Display) -> Line {
    Line::new(Severity::Warn, message)
}

/// A line of what does not work.
#[must_use = "add its values, or end it with ;"]
pub fn error(message: impl fmt::Display) -> Line {
    Line::new(Severity::Error, message)
}

impl Line {
    fn new(severity: Severity, message: impl fmt::Display) -> Self {
        let word = match severity {
            Severity::Info => "INFO",
            Severity::Warn => "WARN",
            Severity::Error => "ERROR",
        };
        let at = clock::written(clock::unix_milliseconds());
        let message = escape(&message.to_string());
        Self { text: format!("{at} nesssid {word} {message}") }
    }

    /// Adds a value.
    #[must_use = "end it with .write()"]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        let quoted = value.is_empty() || value.contains([' ', '"', '=']);
        let value = escape(&value);
        let value = if quoted { format!("\"{}\"", value.replace('"', "\\\"")) } else { value };
        // Writing to a String does not fail.
        write!(self.text, " {key}={value}").unwrap_or_default();
        self
    }

    /// Writes it.
    pub fn write(self) {
        write_line(self.text);
    }
}

/// Control characters, and what a terminal might take for one, as escapes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || character == '\u{2028}' || character == '\u{2029}' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

fn write_line(mut text: String) {
    static LOST: AtomicU64 = AtomicU64::new(0);
    let room = LINE_BYTES_MAX - 64;
    if text.len() > room {
        let cut = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push_str("...");
    }
    let error_output = rustix::stdio::stderr();
    let mut polled = [PollFd::new(&error_output, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut polled, Some(&now)).is_ok_and(|count| count == 1);
    if !ready {
        LOST.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let lost = LOST.swap(0, Ordering::Relaxed);
    if lost > 0 {
        write!(text, " lines_lost_before={lost}").unwrap_or_default();
    }
    text.push('\n');
    rustix::io::write(error_output, text.as_bytes()).unwrap_or_default();
}

#[cfg(test)]
mod tests;
