//! Namespaces: which subjects a CA may sign, in the file `<hash>.namespaces` beside it; the format of
//! the IGTF, version 1.0.
//!
//! ```text
//! #NAMESPACES-VERSION: 1.0
//! TO Issuer "/C=CH/O=Grid/CN=Grid CA" \
//!   PERMIT Subject "/C=CH/O=Grid/.*"
//! TO Issuer SELF DENY Subject "/C=CH/O=Grid/OU=Old/.*"
//! ```
//!
//! An entry is a line, which `\` at the end continues; `#` begins a comment. `SELF` is the CA beside whose certificate the file
//! lies. A subject is a regular expression for the whole name in the one-line form, blind to the case of ASCII
//! letters, with the spellings of types that signing policies have. A subject that a `DENY` matches is not
//! permitted, whatever permits it; nor is one that it matches where a value is taken for RDNs. There are no backreferences or lookarounds, so that matching takes linear time.

use nesssi_dn::{MatchingKey, SubjectDn};
use regex::bytes::{Regex, RegexBuilder};

use crate::matching;
use crate::signing_policy::{POLICY_BYTES_MAX, PolicyError, Verdict};

/// Most entries in a file.
const ENTRIES_MAX: usize = 1_000;
/// Memory that one compiled expression may take, in bytes; and how deep it may nest.
const REGEX_BYTES_MAX: usize = 256 * 1024;
const REGEX_DEPTH_MAX: u32 = 32;
const VERSION_KEY: &str = "#NAMESPACES-VERSION:";

/// Which subjects CAs may sign, as one namespaces file says.
#[derive(Debug, Clone)]
pub struct Namespaces {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    issuer: Issuer,
    permits: bool,
    subject: Regex,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Issuer {
    Own,
    /// A name that cannot be read is nobody's.
    Named(Option<MatchingKey>),
}

impl Namespaces {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PolicyError`] at the first entry that is none, and for a file without any.
    pub fn parse(content: &[u8]) -> Result<Self, PolicyError> {
        let error = |line, text: &str| PolicyError { line, text: text.to_owned() };
        if content.len() > POLICY_BYTES_MAX {
            return Err(error(1, "larger than 1048576 bytes"));
        }
        let text = std::str::from_utf8(content).map_err(|wrong| {
            let before = content.get(..wrong.valid_up_to()).unwrap_or_default();
            error(1 + before.iter().filter(|&&byte| byte == b'\n').count(), "it is not UTF-8")
        })?;
        let mut entries = Vec::new();
        for (line, entry) in lines(text)? {
            if entries.len() == ENTRIES_MAX {
                return Err(error(line, "more than 1000 entries"));
            }
            let entry = read_entry(&entry).map_err(|text| PolicyError { line, text })?;
            entries.push(entry);
        }
        if entries.is_empty() {
            return Err(error(1, "there is no entry in it"));
        }
        Ok(Self { entries })
    }

    /// Whether `ca`, beside whose certificate the file lies, may sign a certificate for `subject`.
    #[must_use]
    pub fn judge(&self, ca: &SubjectDn, subject: &SubjectDn) -> Verdict {
        let named = Issuer::Named(Some(ca.matching_key()));
        let text = matching::text_of(subject);
        let denied_as = subject.is_ambiguous().then(|| matching::bare(subject));
        let is_denied =
            |entry: &Entry| denied_as.as_ref().is_some_and(|text| entry.subject.is_match(text));
        let mut verdict = Verdict::NotNamed;
        let about_ca = |entry: &&Entry| entry.issuer == Issuer::Own || entry.issuer == named;
        for entry in self.entries.iter().filter(about_ca) {
            match (entry.subject.is_match(&text), entry.permits) {
                (true, true) => verdict = Verdict::Permitted,
                (true, false) => return Verdict::NotPermitted,
                (false, false) if is_denied(entry) => return Verdict::NotPermitted,
                (false, _) if verdict == Verdict::NotNamed => verdict = Verdict::NotPermitted,
                (false, _) => {}
            }
        }
        verdict
    }
}

/// Whole lines without comments, each with the number of its first.
fn lines(text: &str) -> Result<Vec<(usize, String)>, PolicyError> {
    let mut whole = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (line, written) in (1..).zip(text.lines()) {
        if let Some(version) = written.strip_prefix(VERSION_KEY)
            && version.trim() != "1.0"
        {
            let text = format!("version {:?} is not 1.0", version.trim());
            return Err(PolicyError { line, text });
        }
        let plain = without_comment(written).trim_end();
        let (first, mut entry) = open.take().unwrap_or((line, String::new()));
        match plain.strip_suffix('\\') {
            Some(part) => {
                entry.push_str(part);
                open = Some((first, entry));
            }
            None => {
                entry.push_str(plain);
                whole.push((first, entry));
            }
        }
    }
    whole.extend(open);
    whole.retain(|(_, entry)| !entry.trim().is_empty());
    Ok(whole)
}

/// Up to a `#` that is neither quoted nor escaped.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return line.get(..at).unwrap_or(line),
            _ => {}
        }
    }
    line
}

/// `TO Issuer ("<name>"|SELF) (PERMIT|DENY) Subject "<expression>"`
fn read_entry(entry: &str) -> Result<Entry, String> {
    let mut left = Left(entry);
    left.expect(&["TO"])?;
    left.expect(&["Issuer"])?;
    let issuer = match left.quoted()? {
        Some(name) => {
            Issuer::Named(SubjectDn::parse_oneline(name).ok().map(|dn| dn.matching_key()))
        }
        None => left.expect(&["SELF"]).map(|_| Issuer::Own)?,
    };
    let permits = left.expect(&["PERMIT", "DENY"])? == "PERMIT";
    left.expect(&["Subject"])?;
    let expression = left.quoted()?.ok_or("expected an expression in '\"'")?;
    if !left.0.trim().is_empty() {
        return Err(format!("nothing may follow the expression, not {:?}", left.0.trim()));
    }
    Ok(Entry { issuer, permits, subject: compile(expression)? })
}

fn compile(expression: &str) -> Result<Regex, String> {
    if expression.is_empty() {
        return Err("an empty expression".to_owned());
    }
    let expression = one_spelling(expression);
    build(&expression)?; // alone: `a)|(b` is none, and would be one between the anchors
    build(&format!("^(?:{expression})$"))
}

fn build(expression: &str) -> Result<Regex, String> {
    RegexBuilder::new(expression)
        .unicode(false)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .nest_limit(REGEX_DEPTH_MAX)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            format!("the expression: {}", text.lines().last().unwrap_or_default())
        })
}

/// As signing policies do, with case kept: `\W` is not `\w`.
fn one_spelling(expression: &str) -> String {
    const SPELLINGS: [(&str, &str); 3] =
        [("e=", "emailAddress="), ("email=", "emailAddress="), ("userid=", "uid=")];
    let mut parts = expression.split_inclusive(['/', '+']);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is = |from: &str| part.get(..from.len()).is_some_and(|p| p.eq_ignore_ascii_case(from));
        match SPELLINGS.iter().find(|(from, _)| is(from)) {
            Some((from, to)) => {
                out.push_str(to);
                out.push_str(part.get(from.len()..).unwrap_or_default());
            }
            None => out.push_str(part),
        }
    }
    out
}

/// What is left of an entry.
struct Left<'a>(&'a str);

impl<'a> Left<'a> {
    /// One of these words, blind to case; gives it as it stands in `words`.
    fn expect(&mut self, words: &[&'static str]) -> Result<&'static str, String> {
        let text = self.0.trim_start();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.0 = rest;
        let known = words.iter().find(|known| known.eq_ignore_ascii_case(word));
        known.copied().ok_or_else(|| format!("expected {}, not {word:?}", words.join(" or ")))
    }

    /// What stands in `"`, if that comes next; `\` keeps a `"` from closing, and stays.
    fn quoted(&mut self) -> Result<Option<&'a str>, String> {
        let Some(text) = self.0.trim_start().strip_prefix('"') else { return Ok(None) };
        let mut escaped = false;
        let end = text.bytes().position(|byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        let end = end.ok_or("'\"' is not closed")?;
        self.0 = text.get(end + 1..).unwrap_or_default();
        Ok(text.get(..end))
    }
}

#[cfg(test)]
mod tests;
