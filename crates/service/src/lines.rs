//! Lines out of a stream of bytes, bounded.

/// A line is longer than the bound. The stream cannot be read on: its sender is to be dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a line is longer than {bytes_max} bytes")]
pub struct LineTooLong {
    /// The bound.
    pub bytes_max: usize,
}

/// Bytes that came and have not yet been taken as lines.
///
/// Feed by appending to [`Lines::space`] (or with [`Lines::push`]), then take every
/// [`Lines::next_line`] before the next feed. A line once taken is gone.
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where no newline was found, so that no byte is searched twice.
    searched: usize,
    line_bytes_max: usize,
}

/// Bytes kept when the buffer runs empty: a long line does not hold its memory for ever.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl Lines {
    /// None yet; no line may be longer than `line_bytes_max`, its newline not counted.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, searched: 0, line_bytes_max }
    }

    /// Appends what has been read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.space().extend_from_slice(bytes);
    }

    /// The buffer to append to, freed of the lines that were taken.
    pub fn space(&mut self) -> &mut Vec<u8> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES_MAX);
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
        }
        self.searched -= self.start.min(self.searched);
        self.start = 0;
        &mut self.buffer
    }

    /// The next whole line without its newline, or `None` until more is fed.
    ///
    /// # Errors
    /// [`LineTooLong`], again and again once it happened.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        let from = self.searched.max(self.start);
        let found = self
            .buffer
            .get(from..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
            .map(|at| from + at);
        let end = found.unwrap_or(self.buffer.len());
        if end - self.start > self.line_bytes_max {
            return Err(LineTooLong { bytes_max: self.line_bytes_max });
        }
        self.searched = end;
        let Some(end) = found else { return Ok(None) };
        let line = self.start..end;
        self.start = end + 1;
        self.searched = self.start;
        Ok(self.buffer.get(line))
    }
}

#[cfg(test)]
mod tests;
