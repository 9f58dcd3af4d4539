//! A glob is a pattern for one name, as shells have it.

/// Longest pattern: as long as a name may be.
pub const PATTERN_BYTES_MAX: usize = 255;

/// What is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing matches it.
    #[error("the pattern is empty")]
    Empty,
    /// Over [`PATTERN_BYTES_MAX`].
    #[error("the pattern is longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    /// No name has a slash or a NUL byte.
    #[error("the pattern has a slash or a NUL byte: it is for one name")]
    Separator,
}

/// A pattern: `*` any text, `?` any character, `[a-z]` and `[!a-z]` one that is or is not among those, `\` before what
/// stands for itself. A `[` that is not closed stands for itself. A character is one of UTF-8, or a byte that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// This byte.
    Byte(u8),
    /// Any character.
    One,
    /// Any text.
    Any,
    /// A character that is, or is not, in one of these ranges.
    Among { not: bool, ranges: Vec<(u32, u32)> },
}

/// Where bytes that are no UTF-8 lie, apart from all characters.
const STRAY: u32 = 0x0011_0000;

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`GlobError`].
    pub fn parse(pattern: impl AsRef<[u8]>) -> Result<Self, GlobError> {
        let mut rest = pattern.as_ref();
        if rest.is_empty() {
            return Err(GlobError::Empty);
        }
        if rest.len() > PATTERN_BYTES_MAX {
            return Err(GlobError::TooLong);
        }
        if rest.contains(&b'/') || rest.contains(&0) {
            return Err(GlobError::Separator);
        }
        let mut parts = Vec::new();
        while let Some((&byte, after)) = rest.split_first() {
            let (part, left) = match byte {
                b'*' => (Part::Any, after),
                b'?' => (Part::One, after),
                b'[' => among(after).unwrap_or((Part::Byte(byte), after)),
                b'\\' => match after.split_first() {
                    Some((&escaped, left)) => (Part::Byte(escaped), left),
                    None => (Part::Byte(byte), after),
                },
                _ => (Part::Byte(byte), after),
            };
            if part != Part::Any || parts.last() != Some(&Part::Any) {
                parts.push(part);
            }
            rest = left;
        }
        Ok(Self(parts))
    }

    /// Whether a name is one of those meant. Takes at most as many steps as both are long, multiplied.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let (mut parts, mut left) = (self.0.as_slice(), name);
        // Behind the last `*`, and the text from where it was tried.
        let mut again: Option<(&[Part], &[u8])> = None;
        loop {
            let step = match parts.split_first() {
                Some((Part::Any, after)) => {
                    again = Some((after, left));
                    Some((after, left))
                }
                Some((part, after)) => part.take(left).map(|left| (after, left)),
                None if left.is_empty() => return true,
                None => None,
            };
            (parts, left) = match (step, again) {
                (Some(step), _) => step,
                // The `*` takes one character more.
                (None, Some((after, tried))) if !tried.is_empty() => {
                    let (_, tried) = character(tried);
                    again = Some((after, tried));
                    (after, tried)
                }
                (None, _) => return false,
            };
        }
    }
}

impl Part {
    /// What is left of a text when this has taken its character.
    fn take<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        let (&first, after) = text.split_first()?;
        match self {
            Self::Byte(byte) => (*byte == first).then_some(after),
            Self::Any => None,
            Self::One => Some(character(text).1),
            Self::Among { not, ranges } => {
                let (found, left) = character(text);
                let among = ranges.iter().any(|(low, high)| (*low..=*high).contains(&found));
                (among != *not).then_some(left)
            }
        }
    }
}

/// What stands behind a `[`, unless it is not closed: `]` as the first stands for itself.
fn among(after: &[u8]) -> Option<(Part, &[u8])> {
    let not = matches!(after.first(), Some(b'!' | b'^'));
    let mut rest = if not { after.get(1..)? } else { after };
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            return Some((Part::Among { not, ranges }, rest.get(1..)?));
        }
        let (low, left) = member(rest)?;
        rest = left;
        let mut high = low;
        if rest.first() == Some(&b'-') && rest.get(1).is_some_and(|next| *next != b']') {
            (high, rest) = member(rest.get(1..)?)?;
        }
        ranges.push((low, high));
    }
}

/// One character of a class, escaped or not.
fn member(rest: &[u8]) -> Option<(u32, &[u8])> {
    let rest = match rest.split_first()? {
        (b'\\', after) if !after.is_empty() => after,
        _ => rest,
    };
    Some(character(rest))
}

/// The first character of a text that is not empty, and what is left.
fn character(text: &[u8]) -> (u32, &[u8]) {
    let longest = text.get(..text.len().min(4)).unwrap_or_default();
    let valid = match std::str::from_utf8(longest) {
        Ok(valid) => valid,
        Err(error) => {
            let valid = longest.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).unwrap_or_default()
        }
    };
    match (valid.chars().next(), text.split_first()) {
        (Some(found), _) => (found.into(), text.get(found.len_utf8()..).unwrap_or_default()),
        (None, Some((byte, left))) => (STRAY + u32::from(*byte), left),
        (None, None) => (STRAY, text),
    }
}

#[cfg(test)]
mod tests;
