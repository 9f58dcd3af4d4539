//! Signing policies: which subjects a CA may sign, in the file `<hash>.signing_policy` beside it.
//!
//! The format is Globus's (EACL), words between blanks, whatever the lines:
//!
//! ```text
//! access_id_CA  X509   '/C=CH/O=Grid/CN=Grid CA'
//! pos_rights    globus CA:sign
//! cond_subjects globus '"/C=CH/O=Grid/*" "/DC=ch/DC=grid/CN=*"'
//! ```
//!
//! A word in quotes may hold blanks, and `#` at the beginning of a word comments out the rest of its
//! line. One file may have several such blocks, for several CAs or for one. As in Globus only the last `*` of a
//! pattern is a wildcard, for one byte or more; comparison is blind to the case of ASCII letters, and `E` and
//! `Email` are `emailAddress`, `USERID` is `UID`.
//!
//! Where Globus would be lenient with what this module does not know (`neg_rights`, `access_id_ANYBODY`,
//! other conditions, a right without any), the file is refused: a policy that is not understood
//! permits nothing.

use nesssi_dn::{MatchingKey, SubjectDn};

use crate::matching;

/// How large such a file may be, in bytes.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// Which subjects a CA may sign, as one signing policy file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningPolicy {
    blocks: Vec<Block>,
}

/// Some CAs, and the subjects that all of them may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    /// A name that cannot be read is nobody's.
    cas: Vec<Option<MatchingKey>>,
    /// Each right alone suffices, and each is a list of conditions that must all hold.
    rights: Vec<Vec<Patterns>>,
}

/// Patterns of which one must match, in the form of [`matching`].
type Patterns = Vec<Vec<u8>>;

/// What a policy says of one CA and one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The CA may sign it.
    Permitted,
    /// The CA is spoken of, and may not.
    NotPermitted,
    /// Nothing is said of this CA.
    NotNamed,
}

/// Why a file is no policy, and on which line, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct PolicyError {
    /// The line.
    pub line: usize,
    /// What is wrong there.
    pub text: String,
}

impl SigningPolicy {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PolicyError`] at the first word that does not belong, and for a file without any block.
    pub fn parse(content: &[u8]) -> Result<Self, PolicyError> {
        let mut words = Words { content, at: 0, line: 1 };
        if content.len() > POLICY_BYTES_MAX {
            return Err(words.error(format!("larger than {POLICY_BYTES_MAX} bytes")));
        }
        let mut next = words.next()?;
        let mut blocks = Vec::new();
        while let Some(word) = next {
            let (block, after) = read_block(&word, &mut words)?;
            blocks.push(block);
            next = after;
        }
        if blocks.is_empty() {
            return Err(words.error("there is no access_id_CA in it".to_owned()));
        }
        Ok(Self { blocks })
    }

    /// Whether `ca` may sign a certificate for `subject`.
    #[must_use]
    pub fn judge(&self, ca: &SubjectDn, subject: &SubjectDn) -> Verdict {
        let ca = Some(ca.matching_key());
        let text = matching::text_of(subject);
        let mut verdict = Verdict::NotNamed;
        for block in self.blocks.iter().filter(|block| block.cas.contains(&ca)) {
            let one = |patterns: &Patterns| patterns.iter().any(|p| matching::globbed(p, &text));
            if block.rights.iter().any(|right| right.iter().all(one)) {
                return Verdict::Permitted;
            }
            verdict = Verdict::NotPermitted;
        }
        verdict
    }
}

/// A block from its first word on, and the first word behind it.
fn read_block(first: &Word, words: &mut Words<'_>) -> Result<(Block, Option<Word>), PolicyError> {
    let mut block = Block { cas: Vec::new(), rights: Vec::new() };
    let mut word = first.clone();
    while word.text == b"access_id_CA" {
        words.expect(b"X509")?;
        let name = words.value()?;
        let ca = SubjectDn::parse_oneline_bytes(&name.text).ok().map(|dn| dn.matching_key());
        block.cas.push(ca);
        word = words.some("pos_rights")?;
    }
    if block.cas.is_empty() {
        return Err(word.unexpected("access_id_CA"));
    }
    let mut next = Some(word);
    while let Some(word) =
        next.take_if(|word| block.rights.is_empty() || word.text == b"pos_rights")
    {
        if word.text != b"pos_rights" {
            return Err(word.unexpected("pos_rights"));
        }
        words.expect(b"globus")?;
        words.expect(b"CA:sign")?;
        let (right, after) = read_conditions(words)?;
        block.rights.push(right);
        next = after;
    }
    Ok((block, next))
}

/// All conditions of one right, one at least, and the first word behind them.
fn read_conditions(words: &mut Words<'_>) -> Result<(Vec<Patterns>, Option<Word>), PolicyError> {
    let mut conditions = Vec::new();
    let mut next = Some(words.some("cond_subjects")?);
    while let Some(word) =
        next.take_if(|word| conditions.is_empty() || word.text == b"cond_subjects")
    {
        if word.text != b"cond_subjects" {
            return Err(word.unexpected("cond_subjects"));
        }
        words.expect(b"globus")?;
        conditions.push(patterns_in(&words.value()?)?);
        next = words.next()?;
    }
    Ok((conditions, next))
}

/// `"a" "b"`, or `a` without inner quotes.
fn patterns_in(word: &Word) -> Result<Patterns, PolicyError> {
    let error = |text: &str| PolicyError { line: word.line, text: text.to_owned() };
    let decode = |pattern: &[u8]| {
        let pattern = matching::unescape(pattern).ok_or_else(|| error("unfinished escape"))?;
        if pattern.is_empty() { Err(error("an empty pattern")) } else { Ok(pattern) }
    };
    if !word.text.contains(&b'"') {
        return Ok(vec![decode(word.text.trim_ascii())?]);
    }
    let mut patterns = Vec::new();
    let mut parts = word.text.split(|&byte| byte == b'"');
    // Outside, inside, outside, ... and outside at the end.
    while let Some(outside) = parts.next() {
        if !outside.trim_ascii().is_empty() {
            return Err(error(
                "a pattern is not closed by '\"', or text stands between two patterns",
            ));
        }
        let Some(inside) = parts.next() else { return Ok(patterns) };
        patterns.push(decode(inside)?);
    }
    Err(error("a pattern is not closed by '\"'"))
}

/// A word and its line.
#[derive(Debug, Clone)]
struct Word {
    text: Vec<u8>,
    line: usize,
}

impl Word {
    fn unexpected(&self, expected: &str) -> PolicyError {
        const SHOWN_MAX: usize = 40;
        let shown: String = String::from_utf8_lossy(&self.text).chars().take(SHOWN_MAX).collect();
        PolicyError { line: self.line, text: format!("expected {expected}, not {shown:?}") }
    }
}

struct Words<'a> {
    content: &'a [u8],
    at: usize,
    line: usize,
}

impl Words<'_> {
    fn error(&self, text: String) -> PolicyError {
        PolicyError { line: self.line, text }
    }

    fn expect(&mut self, expected: &[u8]) -> Result<(), PolicyError> {
        let name = String::from_utf8_lossy(expected);
        let word = self.some(&name)?;
        if word.text == expected { Ok(()) } else { Err(word.unexpected(&name)) }
    }

    fn value(&mut self) -> Result<Word, PolicyError> {
        self.some("a value")
    }

    /// A word that must be there.
    fn some(&mut self, expected: &str) -> Result<Word, PolicyError> {
        self.next()?.ok_or_else(|| self.error(format!("expected {expected}, and the file ends")))
    }

    fn next(&mut self) -> Result<Option<Word>, PolicyError> {
        self.skip_blanks();
        let line = self.line;
        let text = match self.peek() {
            None => return Ok(None),
            Some(quote @ (b'\'' | b'"')) => self.quoted(quote)?,
            Some(_) => self.bare(),
        };
        Ok(Some(Word { text, line }))
    }

    fn peek(&self) -> Option<u8> {
        self.content.get(self.at).copied()
    }

    fn step(&mut self) {
        self.line += usize::from(self.peek() == Some(b'\n'));
        self.at += 1;
    }

    fn skip_blanks(&mut self) {
        let mut comment = false;
        while let Some(byte) = self.peek() {
            match byte {
                b'\n' => comment = false,
                b'#' => comment = true,
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => {}
                _ if comment => {}
                _ => return,
            }
            self.step();
        }
    }

    fn bare(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        while let Some(byte) =
            self.peek().filter(|byte| !byte.is_ascii_whitespace() && *byte != 0x0b)
        {
            text.push(byte);
            self.step();
        }
        text
    }

    /// Up to the closing quote; `\` keeps a quote from closing, and stays.
    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, PolicyError> {
        let unclosed = self.error(format!("{} is not closed", char::from(quote)));
        self.step();
        let mut text = Vec::new();
        loop {
            let byte = self.peek().ok_or_else(|| unclosed.clone())?;
            self.step();
            if byte == quote {
                break;
            }
            if byte == b'\n' {
                return Err(unclosed);
            }
            text.push(byte);
            if byte == b'\\' {
                text.push(self.peek().ok_or_else(|| unclosed.clone())?);
                self.step();
            }
        }
        // 'a'b is no word.
        match self.peek() {
            Some(byte) if !byte.is_ascii_whitespace() => {
                Err(self.error(format!("a blank must follow the closing {}", char::from(quote))))
            }
            _ => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests;
