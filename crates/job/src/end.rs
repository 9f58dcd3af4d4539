//! An end record is a shepherd's testimony of how its job ended: `key=value` lines.
//!
//! It lies in the sandbox, where the job's own account can write: a reader takes it as testimony,
//! never as proof.

use std::fmt::Write as _;

/// Longest record that is read.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// Longest `text` that is written or kept.
const TEXT_BYTES_MAX: usize = 1024;

/// Why a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Its main process ended by itself, with a code or by a signal.
    Exited,
    /// It was ended on request.
    Cancelled,
    /// It used its CPU seconds.
    OverCpu,
    /// It used its wall seconds.
    OverWall,
    /// It wrote more bytes than its sandbox may hold.
    OverBytes,
    /// Its program could not be started.
    StartFailed,
    /// It was started, and its shepherd cannot say how it ended.
    Lost,
}

impl EndReason {
    const ALL: [Self; 7] = [
        Self::Exited,
        Self::Cancelled,
        Self::OverCpu,
        Self::OverWall,
        Self::OverBytes,
        Self::StartFailed,
        Self::Lost,
    ];

    /// The word in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Cancelled => "cancelled",
            Self::OverCpu => "over_cpu",
            Self::OverWall => "over_wall",
            Self::OverBytes => "over_bytes",
            Self::StartFailed => "start_failed",
            Self::Lost => "lost",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// How a job ended, and what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRecord {
    /// Why.
    pub reason: EndReason,
    /// The main process's exit code, if it had one.
    pub exit_code: Option<i32>,
    /// The signal that ended the main process, if one did.
    pub signal: Option<i32>,
    /// CPU microseconds of all processes.
    pub cpu_usec: u64,
    /// Wall microseconds.
    pub wall_usec: u64,
    /// Start, milliseconds since 1970 UTC.
    pub started_ms: u64,
    /// End, milliseconds since 1970 UTC.
    pub ended_ms: u64,
    /// CPU seconds it was admitted for.
    pub cpu_seconds_max: u64,
    /// Wall seconds it was admitted for.
    pub wall_seconds_max: u64,
    /// Bytes its sandbox might hold; 0 is no limit.
    pub sandbox_bytes_max: u64,
    /// What to tell besides, on one line: why it could not be started. Empty if nothing.
    pub text: String,
}

/// Text that is no end record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndRecordError {
    /// Over [`RECORD_BYTES_MAX`].
    #[error("end record is longer than {RECORD_BYTES_MAX} bytes")]
    TooLong,
    /// A line without `=`, an unknown or repeated key, or a value that does not fit its key.
    #[error("end record line {0} is wrong")]
    Line(usize),
    /// A key is missing.
    #[error("end record has no {0}")]
    Missing(&'static str),
}

impl EndRecord {
    /// Writes the record, ending with `end=1` so that a cut one is known.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            // Writing to a String cannot fail.
            writeln!(out, "{key}={value}").unwrap_or_default();
        };
        line("reason", &self.reason.as_str());
        if let Some(code) = self.exit_code {
            line("exit_code", &code);
        }
        if let Some(signal) = self.signal {
            line("signal", &signal);
        }
        line("cpu_usec", &self.cpu_usec);
        line("wall_usec", &self.wall_usec);
        line("started_ms", &self.started_ms);
        line("ended_ms", &self.ended_ms);
        line("cpu_seconds_max", &self.cpu_seconds_max);
        line("wall_seconds_max", &self.wall_seconds_max);
        line("sandbox_bytes_max", &self.sandbox_bytes_max);
        let text = one_line(&self.text);
        if !text.is_empty() {
            line("text", &text);
        }
        line("end", &1);
        out
    }

    /// Reads what [`EndRecord::to_text`] wrote.
    ///
    /// # Errors
    /// [`EndRecordError`]; a cut record is one.
    pub fn parse(text: &str) -> Result<Self, EndRecordError> {
        if text.len() > RECORD_BYTES_MAX {
            return Err(EndRecordError::TooLong);
        }
        let mut seen = Seen::default();
        for (index, line) in text.lines().enumerate() {
            let wrong = EndRecordError::Line(index + 1);
            let Some((key, value)) = line.split_once('=') else { return Err(wrong) };
            seen.take(key, value).ok_or(wrong)?;
        }
        seen.finish()
    }
}

/// The keys met so far.
#[derive(Default)]
struct Seen {
    reason: Option<EndReason>,
    exit_code: Option<i32>,
    signal: Option<i32>,
    cpu_usec: Option<u64>,
    wall_usec: Option<u64>,
    started_ms: Option<u64>,
    ended_ms: Option<u64>,
    cpu_seconds_max: Option<u64>,
    wall_seconds_max: Option<u64>,
    sandbox_bytes_max: Option<u64>,
    text: Option<String>,
    end: Option<u64>,
}

impl Seen {
    fn take(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "reason" => once(&mut self.reason, EndReason::parse(value)),
            "exit_code" => once(&mut self.exit_code, value.parse().ok()),
            "signal" => once(&mut self.signal, value.parse().ok()),
            "cpu_usec" => once(&mut self.cpu_usec, value.parse().ok()),
            "wall_usec" => once(&mut self.wall_usec, value.parse().ok()),
            "started_ms" => once(&mut self.started_ms, value.parse().ok()),
            "ended_ms" => once(&mut self.ended_ms, value.parse().ok()),
            "cpu_seconds_max" => once(&mut self.cpu_seconds_max, value.parse().ok()),
            "wall_seconds_max" => once(&mut self.wall_seconds_max, value.parse().ok()),
            "sandbox_bytes_max" => once(&mut self.sandbox_bytes_max, value.parse().ok()),
            "text" => once(&mut self.text, Some(one_line(value))),
            "end" => once(&mut self.end, value.parse().ok().filter(|end| *end == 1)),
            _ => None,
        }
    }

    fn finish(self) -> Result<EndRecord, EndRecordError> {
        let missing = EndRecordError::Missing;
        self.end.ok_or(missing("end"))?;
        Ok(EndRecord {
            reason: self.reason.ok_or(missing("reason"))?,
            exit_code: self.exit_code,
            signal: self.signal,
            cpu_usec: self.cpu_usec.ok_or(missing("cpu_usec"))?,
            wall_usec: self.wall_usec.ok_or(missing("wall_usec"))?,
            started_ms: self.started_ms.ok_or(missing("started_ms"))?,
            ended_ms: self.ended_ms.ok_or(missing("ended_ms"))?,
            cpu_seconds_max: self.cpu_seconds_max.ok_or(missing("cpu_seconds_max"))?,
            wall_seconds_max: self.wall_seconds_max.ok_or(missing("wall_seconds_max"))?,
            sandbox_bytes_max: self.sandbox_bytes_max.ok_or(missing("sandbox_bytes_max"))?,
            text: self.text.unwrap_or_default(),
        })
    }
}

/// Puts a value into an empty place; a second value or none at all is refused.
fn once<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    if place.is_some() || value.is_none() {
        return None;
    }
    *place = value;
    Some(())
}

/// Text without control characters, bounded.
fn one_line(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if out.len() + letter.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        out.push(if letter.is_control() { ' ' } else { letter });
    }
    out
}

#[cfg(test)]
mod tests;
