//! Words are what a batch system said, made fit to be shown.

use std::fmt;

/// Longest words that are kept.
pub const WORDS_BYTES_MAX: usize = 1024;

/// One line of bounded text without a control character or a change of writing direction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words(String);

impl Words {
    /// Cleans what was said: no terminal that shows it does anything but show it.
    #[must_use]
    pub fn of(said: &[u8]) -> Self {
        // Enough for the words, however much of it is blank.
        let said = said.get(..said.len().min(WORDS_BYTES_MAX * 4)).unwrap_or_default();
        let mut out = String::new();
        let mut blank = false;
        for letter in String::from_utf8_lossy(said).chars() {
            if letter.is_control() || letter.is_whitespace() || is_unseen(letter) {
                blank = !out.is_empty();
                continue;
            }
            if out.len() + letter.len_utf8() + usize::from(blank) > WORDS_BYTES_MAX {
                break;
            }
            if blank {
                out.push(' ');
            }
            blank = false;
            out.push(letter);
        }
        Self(out)
    }

    /// The text; empty if nothing was said.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Letters that change how others are shown, and line separators.
fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
