//! The lease of a pool account, looked up in the gridmapdir and never made.
//!
//! It reads the directory as the server does: an empty file for each account, and for a lease a second
//! link to it whose name is the caller's DN.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nesssi_policy::{AccountName, PoolName, SubjectDn};

use crate::files::check_hands;

/// Names in the directory that are looked at.
const NAMES_MAX: usize = 200_000;
/// Longest name of a file.
const NAME_BYTES_MAX: usize = 255;

/// What a caller would have of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lease {
    /// An account that he has been leased.
    Leased(AccountName),
    /// The first of those that are free.
    Free { first: AccountName, free: usize, all: usize },
    /// Every account is leased to somebody else.
    UsedUp { all: usize },
    /// He has an account of another pool.
    OtherPool(AccountName),
    /// His DN cannot be the name of a lease.
    NoName,
}

impl Lease {
    /// The account that he has, or would be leased if he were the next to come.
    pub(super) fn account(&self) -> Option<&AccountName> {
        match self {
            Self::Leased(account) | Self::Free { first: account, .. } => Some(account),
            Self::UsedUp { .. } | Self::OtherPool(_) | Self::NoName => None,
        }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leased(account) => write!(out, "he has been leased {account}"),
            Self::Free { first, free, all } => {
                write!(out, "he would be leased {first} ({free} of {all} are free)")
            }
            Self::UsedUp { all } => write!(out, "each of its {all} accounts is leased"),
            Self::OtherPool(account) => {
                write!(out, "he has a lease on {account}, not of this pool")
            }
            Self::NoName => out.write_str("his DN is too long or ambiguous for a lease"),
        }
    }
}

/// What a caller has, or would be leased.
///
/// # Errors
/// Why the directory cannot be used.
pub(super) fn look(
    directory: &Path,
    pool: &PoolName,
    subject: &SubjectDn,
) -> Result<Lease, String> {
    let name = link_name(subject);
    if subject.is_ambiguous() || name.len() > NAME_BYTES_MAX {
        return Ok(Lease::NoName);
    }
    let Table { accounts, leases } = read(directory)?;
    match leases.get(&name) {
        Some(account) if is_of(account, pool) => return Ok(Lease::Leased(account.clone())),
        Some(account) => return Ok(Lease::OtherPool(account.clone())),
        None => {}
    }
    let of_pool: Vec<_> = accounts.iter().filter(|(account, _)| is_of(account, pool)).collect();
    let free: Vec<_> = of_pool.iter().filter(|(_, free)| **free).map(|(name, _)| *name).collect();
    let all = of_pool.len();
    Ok(match free.first() {
        Some(&first) => Lease::Free { first: first.clone(), free: free.len(), all },
        None => Lease::UsedUp { all },
    })
}

/// Which accounts there are and whether each is free, and who has what by the name of the link.
struct Table {
    accounts: BTreeMap<AccountName, bool>,
    leases: HashMap<String, AccountName>,
}

fn read(directory: &Path) -> Result<Table, String> {
    let text = |error: std::io::Error| error.to_string();
    let facts = directory.symlink_metadata().map_err(text)?;
    if !facts.is_dir() {
        return Err("it is no directory".to_owned());
    }
    check_hands(&facts)?;
    let mut by_inode: HashMap<u64, (AccountName, bool)> = HashMap::new();
    let mut links: Vec<(String, u64)> = Vec::new();
    for (count, entry) in directory.read_dir().map_err(text)?.enumerate() {
        if count >= NAMES_MAX {
            return Err(format!("it has more than {NAMES_MAX} names"));
        }
        let entry = entry.map_err(text)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(facts) = entry.path().symlink_metadata() else { continue };
        if !facts.is_file() {
            continue;
        }
        match AccountName::parse(&name) {
            Ok(account) => drop(by_inode.insert(facts.ino(), (account, facts.nlink() == 1))),
            Err(_) if name.starts_with('%') && facts.nlink() == 2 => {
                links.push((name, facts.ino()));
            }
            Err(_) => {}
        }
    }
    let leases = links
        .into_iter()
        .filter_map(|(name, inode)| {
            by_inode.get(&inode).map(|(account, _)| (name, account.clone()))
        })
        .collect();
    Ok(Table { accounts: by_inode.into_values().collect(), leases })
}

/// Whether an account is one of a pool: its prefix with digits behind.
fn is_of(account: &AccountName, pool: &PoolName) -> bool {
    let rest = account.as_str().strip_prefix(pool.as_str());
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The name of a caller's link: letters in lower case, all that is neither letter nor digit as `%hh`.
fn link_name(subject: &SubjectDn) -> String {
    let one = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte.to_ascii_lowercase()).to_string(),
        byte => format!("%{byte:02x}"),
    };
    subject.to_oneline().bytes().map(one).collect()
}

#[cfg(test)]
mod tests;
