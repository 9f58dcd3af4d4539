//! The gridmap: which account a subject DN has of its own.
//!
//! Globus's format, one entry a line: `"/O=Grid/CN=Alice" alice,backup`. The DN is in double
//! quotes, or ends at the first blank; accounts are separated by commas and blanks, and the first
//! is the default. A line whose first character is `#` is a comment. Inside a DN `\xHH` is a byte,
//! and `\` before any other character is that character. DNs are compared as
//! [`SubjectDn::matching_key`] says; the first line with a DN wins.
//!
//! An account that begins with a dot is a pool, from which the caller is leased one.
//!
//! Where Globus guesses or skips, this refuses, with line and column: a carriage return (Globus
//! makes it part of the account's name), other control bytes, a `#` among the accounts, `root`, a
//! DN that is none or is in another form. One wrong line refuses the whole file, and whoever reads
//! it keeps the last good one in force. A line or an account that nobody can reach is a warning.

use std::collections::{BTreeMap, HashMap};

use nesssi_dn::{DnError, MatchingKey, SubjectDn};

use crate::{AccountName, Assigned, NameError, PoolName};

/// How large a gridmap may be, in bytes: about 100,000 lines.
pub const GRIDMAP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many lines room is made for beforehand.
const LINES_FORESEEN: usize = 100_000;
/// How many accounts one line may list.
const ACCOUNTS_MAX: usize = 100;
/// How many mistakes of one file are told, and how many warnings.
const ERRORS_MAX: usize = 100;

/// A gridmap without a mistake.
#[derive(Debug, Clone, Default)]
pub struct Gridmap {
    entries: Vec<GridmapEntry>,
    by_key: HashMap<MatchingKey, usize>,
}

/// One line of a gridmap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridmapEntry {
    /// Whose line it is.
    pub subject: SubjectDn,
    /// His accounts, one at least, the default first.
    pub accounts: Vec<Assigned>,
    /// Its number, from 1.
    pub line: usize,
}

/// A mistake that refuses the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {text}")]
pub struct GridmapError {
    /// Its line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is wrong.
    pub text: String,
}

/// Something odd that refuses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Its line, from 1.
    pub line: usize,
    /// What is odd.
    pub text: String,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "line {}: {}", self.line, self.text)
    }
}

impl Gridmap {
    /// Reads a gridmap.
    ///
    /// # Errors
    /// Every mistake (the first 100), in the order of lines.
    pub fn parse(text: &str) -> Result<(Self, Vec<Warning>), Vec<GridmapError>> {
        Self::parse_bytes(text.as_bytes())
    }

    /// Reads a gridmap that may hold bytes which are no UTF-8; they match the same bytes in a
    /// certificate.
    ///
    /// # Errors
    /// Every mistake (the first 100), in the order of lines; of warnings too the first 100.
    pub fn parse_bytes(text: &[u8]) -> Result<(Self, Vec<Warning>), Vec<GridmapError>> {
        if text.len() > GRIDMAP_BYTES_MAX {
            let text = format!("larger than {GRIDMAP_BYTES_MAX} bytes");
            return Err(vec![GridmapError { line: 1, column: 1, text }]);
        }
        let (mut warnings, mut errors) = (Vec::new(), Vec::new());
        let lines = text.iter().filter(|&&byte| byte == b'\n').count();
        let mut gridmap = Self {
            entries: Vec::with_capacity(lines.min(LINES_FORESEEN)),
            by_key: HashMap::with_capacity(lines.min(LINES_FORESEEN)),
        };
        for (index, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = index + 1;
            match parse_line(bytes) {
                Ok(None) => {}
                Ok(Some(Parsed { subject, accounts, odd })) => {
                    let odd = odd.into_iter().chain(gridmap.add(GridmapEntry {
                        subject,
                        accounts,
                        line,
                    }));
                    warnings.extend(odd.map(|text| Warning { line, text }));
                }
                Err((at, text)) => {
                    errors.push(GridmapError { line, column: column(bytes, at), text });
                    if errors.len() == ERRORS_MAX {
                        break;
                    }
                }
            }
        }
        warnings.extend(gridmap.shared_pools());
        warnings.sort_by_key(|warning| warning.line);
        warnings.truncate(ERRORS_MAX);
        if errors.is_empty() { Ok((gridmap, warnings)) } else { Err(errors) }
    }

    /// Takes an entry, unless its DN has one already: then it says so.
    fn add(&mut self, entry: GridmapEntry) -> Option<String> {
        let key = entry.subject.matching_key();
        if let Some(first) = self.by_key.get(&key).and_then(|&index| self.entries.get(index)) {
            let (subject, line) = (&entry.subject, first.line);
            return Some(format!("never reached: {subject} has line {line} already, which wins"));
        }
        self.by_key.insert(key, self.entries.len());
        self.entries.push(entry);
        None
    }

    /// Pools whose accounts are another's as well, since that one's name is the beginning of theirs and
    /// only digits follow.
    fn shared_pools(&self) -> Vec<Warning> {
        let mut pools: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &self.entries {
            if let Some(Assigned::Pool(pool)) = entry.accounts.first() {
                pools.entry(pool.as_str()).or_insert(entry.line);
            }
        }
        let shared = |(name, line): (&&str, &usize)| {
            let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
            let shorter = (1..=digits).filter_map(|less| name.get(..name.len() - less));
            let (other, at) = shorter.filter_map(|other| pools.get_key_value(other)).next()?;
            let text = format!(
                "accounts of .{name} may be leased to those who have .{other} (line {at}): {name} and \
                 digits behind it is {other} and digits too"
            );
            Some(Warning { line: *line, text })
        };
        pools.iter().filter_map(shared).collect()
    }

    /// The first line with this DN.
    #[must_use]
    pub fn lookup(&self, subject: &SubjectDn) -> Option<&GridmapEntry> {
        self.by_key.get(&subject.matching_key()).and_then(|&index| self.entries.get(index))
    }

    /// All entries that are in force, in the order of lines.
    #[must_use]
    pub fn entries(&self) -> &[GridmapEntry] {
        &self.entries
    }

    /// A gridmap's text with these entries: quoted, printable ASCII, one a line.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.entries.iter().map(GridmapEntry::to_line).collect()
    }
}

impl GridmapEntry {
    fn to_line(&self) -> String {
        let accounts: Vec<_> = self.accounts.iter().map(Assigned::to_string).collect();
        format!("{} {}\n", quoted(&self.subject), accounts.join(","))
    }
}

/// The one-line form has `\` escaped already; quotes it leaves alone.
fn quoted(subject: &SubjectDn) -> String {
    format!("\"{}\"", subject.to_oneline().replace('"', "\\\""))
}

/// A line that is an entry, and what is odd about it.
struct Parsed {
    subject: SubjectDn,
    accounts: Vec<Assigned>,
    odd: Vec<String>,
}

/// What is wrong, and before which byte of the line.
type Wrong = (usize, String);

fn wrong<T>(at: usize, text: impl Into<String>) -> Result<T, Wrong> {
    Err((at, text.into()))
}

fn column(line: &[u8], at: usize) -> usize {
    let starts_character = |byte: &&u8| (**byte & 0xc0) != 0x80;
    line.iter().take(at).filter(starts_character).count() + 1
}

fn parse_line(line: &[u8]) -> Result<Option<Parsed>, Wrong> {
    check_bytes(line)?;
    let Some(start) = line.iter().position(|byte| !is_blank(*byte)) else { return Ok(None) };
    if line.get(start) == Some(&b'#') {
        return Ok(None);
    }
    let (dn_start, dn_end, after) = find_dn(line, start)?;
    let text = line.get(dn_start..dn_end).unwrap_or_default();
    let subject = SubjectDn::parse_oneline_bytes(text).map_err(|error| {
        let advice =
            if error == DnError::NoSlash { other_form(text, dn_start > start) } else { "".into() };
        (dn_start + error.at().unwrap_or(0), without_place(&error) + &advice)
    })?;
    let accounts = parse_accounts(line, after)?;
    let odd = unreached(&subject, &accounts);
    Ok(Some(Parsed { subject, accounts, odd }))
}

/// How to write a name that stands there in the form of RFC 4514, as far as one can see it: without
/// quotes, a blank in the name has cut it.
fn other_form(text: &[u8], in_quotes: bool) -> String {
    let text = std::str::from_utf8(text).unwrap_or_default();
    match SubjectDn::parse_rfc4514(text) {
        Ok(name) if in_quotes => format!(": write {}", quoted(&name)),
        Ok(_) => ": write it in quotes, the outermost RDN first, as in \"/O=Grid/CN=Alice\"".into(),
        Err(_) => String::new(),
    }
}

/// What of a line nobody can reach, beside a DN that comes again.
fn unreached(subject: &SubjectDn, accounts: &[Assigned]) -> Vec<String> {
    let mut odd = Vec::new();
    if let [_, .., last] = subject.rdns()
        && let [attribute] = last.attributes()
        && attribute.kind().as_str() == "CN"
        && [&b"proxy"[..], b"limited proxy"].contains(&attribute.value())
    {
        odd.push(
            "never reached: the holder of a proxy is known by the name before the CN of the proxy"
                .to_owned(),
        );
    }
    for (index, assigned) in accounts.iter().enumerate() {
        if accounts.iter().take(index).any(|before| before == assigned) {
            odd.push(format!("{assigned} stands twice in this line"));
        } else if index > 0 && matches!(assigned, Assigned::Pool(_)) {
            odd.push(format!(
                "never reached: {assigned} is a pool and not the first account of its line"
            ));
        }
    }
    odd
}

/// The column says the place, counted from the line's start; the DN's own count would confuse.
fn without_place(error: &DnError) -> String {
    let text = error.to_string();
    error.at().map_or(text.clone(), |at| text.replace(&format!(" at byte {at}"), ""))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn check_bytes(line: &[u8]) -> Result<(), Wrong> {
    if line.starts_with(BYTE_ORDER_MARK) {
        return wrong(0, "byte order mark: save the file as UTF-8 without one");
    }
    let Some(at) = line.iter().position(|&byte| byte.is_ascii_control() && byte != b'\t') else {
        return Ok(());
    };
    match line.get(at) {
        Some(b'\r') => wrong(at, "carriage return: save the file with Unix line ends"),
        Some(byte) => wrong(at, format!("control byte 0x{byte:02x}")),
        None => Ok(()),
    }
}

/// Where the DN starts and ends, and where the accounts may start.
fn find_dn(line: &[u8], start: usize) -> Result<(usize, usize, usize), Wrong> {
    if line.get(start) != Some(&b'"') {
        let end = (start..line.len()).find(|&at| line.get(at).copied().is_some_and(is_blank));
        let end = end.unwrap_or(line.len());
        return Ok((start, end, end));
    }
    let first = start + 1;
    let mut at = first;
    while let Some(byte) = line.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => {
                return match line.get(at + 1) {
                    Some(&next) if !is_blank(next) => {
                        wrong(at + 1, "a blank is missing between the DN and the accounts")
                    }
                    _ => Ok((first, at, at + 1)),
                };
            }
            _ => at += 1,
        }
    }
    wrong(start, "the quote is never closed")
}

fn parse_accounts(line: &[u8], after: usize) -> Result<Vec<Assigned>, Wrong> {
    let mut accounts = Vec::new();
    let mut at = after;
    let rest = line.get(after..).unwrap_or_default();
    for word in rest.split(|&byte| is_blank(byte) || byte == b',') {
        if !word.is_empty() {
            if accounts.len() == ACCOUNTS_MAX {
                return wrong(at, format!("more than {ACCOUNTS_MAX} accounts"));
            }
            accounts.push(parse_account(word).map_err(|(inside, text)| (at + inside, text))?);
        }
        at += word.len() + 1;
    }
    if accounts.is_empty() {
        return wrong(line.len(), "no account for this DN");
    }
    Ok(accounts)
}

fn parse_account(word: &[u8]) -> Result<Assigned, Wrong> {
    let text = String::from_utf8_lossy(word);
    let refused = |kind: &str, before: usize, error: NameError| {
        let at = if let NameError::Character { at, .. } = error { at } else { 0 };
        (before + at, format!("{kind} {text:?}: {error}"))
    };
    if word.first() == Some(&b'#') {
        return wrong(0, "a comment begins its line: '#' may not stand among the accounts");
    }
    match text.strip_prefix('.') {
        Some(prefix) => {
            PoolName::parse(prefix).map(Assigned::Pool).map_err(|error| refused("pool", 1, error))
        }
        None => AccountName::parse(&text)
            .map(Assigned::Account)
            .map_err(|error| refused("account", 0, error)),
    }
}

#[cfg(test)]
mod tests;
