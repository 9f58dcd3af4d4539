//! Byte ranges (RFC 9110, section 14): one range is honoured, of several none.

/// Which part of a file is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it: no range was asked, or none that has to be honoured.
    Whole,
    /// From `first` to `last`, both included, both inside of the file.
    Slice { first: u64, last: u64 },
    /// The range lies outside of the file.
    Unsatisfiable,
}

impl Part {
    /// What the value of a `Range` header means for a file of `size` bytes.
    pub(crate) fn of(header: &str, size: u64) -> Self {
        let Some((unit, set)) = header.split_once('=') else { return Self::Whole };
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Self::Whole;
        }
        let Some((first, last)) = set.trim().split_once('-') else { return Self::Whole };
        match (position(first), position(last)) {
            (Position::None, Position::At(suffix)) => Self::suffix(suffix, size),
            (Position::At(first), Position::None) => Self::slice(first, u64::MAX, size),
            (Position::At(first), Position::At(last)) if first <= last => {
                Self::slice(first, last, size)
            }
            _ => Self::Whole,
        }
    }

    fn suffix(length: u64, size: u64) -> Self {
        if length == 0 || size == 0 {
            return Self::Unsatisfiable;
        }
        Self::slice(size.saturating_sub(length), u64::MAX, size)
    }

    fn slice(first: u64, last: u64, size: u64) -> Self {
        match size.checked_sub(1) {
            Some(end) if first <= end => Self::Slice { first, last: last.min(end) },
            _ => Self::Unsatisfiable,
        }
    }
}

enum Position {
    None,
    At(u64),
    Wrong,
}

fn position(text: &str) -> Position {
    if text.is_empty() {
        Position::None
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number too large for any file is still a position: behind its end.
        Position::At(text.parse().unwrap_or(u64::MAX))
    } else {
        Position::Wrong
    }
}

#[cfg(test)]
mod tests;
