//! Names of accounts, of pools of accounts, and of levels.

use std::fmt;
use std::sync::Arc;

/// How long the name of an account or level may be (`useradd`'s own bound).
const NAME_BYTES_MAX: usize = 32;

/// Why a word is no such name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or over 32 bytes.
    #[error("a name has 1 to 32 characters")]
    Length,
    /// A character that the name may not hold there.
    #[error("{character:?} may not stand here in a name")]
    Character {
        /// The character.
        character: char,
        /// How many bytes are before it.
        at: usize,
    },
    /// Only digits: too easily taken for a uid.
    #[error("a name of digits alone could be taken for a uid")]
    Numeric,
    /// The superuser.
    #[error("nobody is mapped to root")]
    Root,
}

/// The name of a local Unix account: letters, digits, `_`, `.` and `-`, not beginning with `.` or
/// `-`, not digits alone, at most 32, never `root`. It is safe as the name of a directory.
///
/// Whether there is such an account, and whether it may be used, the monitor finds out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`NameError`] if it breaks one of the rules above.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_account(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the accounts of a pool begin with: a gridmap's `.atlas` is the pool of `atlas001`,
/// `atlas002` and so on. Without the dot, and by the same rules as an account's own name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(String);

impl PoolName {
    /// Reads a prefix, without the dot.
    ///
    /// # Errors
    /// [`NameError`] if it breaks one of the rules for the names of accounts.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_account(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The prefix, without the dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a rule gives a caller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assigned {
    /// This account.
    Account(AccountName),
    /// One of these accounts, leased to him (Globus's gridmapdir).
    Pool(PoolName),
}

/// The name of a level: a lower-case letter, then lower-case letters, digits, `_` and `-`, at
/// most 32.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LevelName(Arc<str>);

impl LevelName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`NameError`] if it breaks one of the rules above.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let first = |c: char| c.is_ascii_lowercase();
        check(text, first, |c| first(c) || c.is_ascii_digit() || c == '_' || c == '-')?;
        Ok(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_account(text: &str) -> Result<(), NameError> {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    check(text, first, |c| first(c) || c == '.' || c == '-')?;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NameError::Numeric);
    }
    if text == "root" {
        return Err(NameError::Root);
    }
    Ok(())
}

fn check(
    text: &str,
    first: impl Fn(char) -> bool,
    others: impl Fn(char) -> bool,
) -> Result<(), NameError> {
    let bad = text
        .char_indices()
        .find(|&(at, character)| !if at == 0 { first(character) } else { others(character) });
    if let Some((at, character)) = bad {
        return Err(NameError::Character { character, at });
    }
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(NameError::Length);
    }
    Ok(())
}

impl fmt::Display for AccountName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// With the dot, as a gridmap writes it.
impl fmt::Display for PoolName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, ".{}", self.0)
    }
}

/// As a gridmap writes it.
impl fmt::Display for Assigned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(out),
            Self::Pool(pool) => pool.fmt(out),
        }
    }
}

impl fmt::Display for LevelName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
