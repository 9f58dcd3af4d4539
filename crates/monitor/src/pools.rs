//! Pool accounts: a caller whose gridmap line names a pool is leased one of its accounts, for good.
//!
//! They are kept as Globus keeps them (`gridmapdir`), so that other grid services of the machine agree: the
//! directory has an empty file for each account, and a lease is a hard link to it whose name is the
//! caller's DN, letters in lower case and all that is neither letter nor digit as `%hh`. Two links are a leased
//! account. An administrator ends a lease by removing the DN's link. A file's time says when it was used last.
//!
//! Leases are remembered; the directory is read when it has changed.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nesssi_dn::SubjectDn;
use nesssi_policy::{AccountName, PoolName};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::files::{Stamp, check_directory};

/// Longest name of a file.
const NAME_BYTES_MAX: usize = 255;
/// Names in the directory that are looked at.
const NAMES_MAX: usize = 200_000;
/// How often the time of a lease in use is set.
const TOUCH: Duration = Duration::from_secs(60);

/// Why nobody is leased an account. For the log and `explain`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The directory cannot be used.
    #[error("pool {pool}: {text}")]
    Directory {
        /// The pool.
        pool: PoolName,
        /// Why.
        text: String,
    },
    /// Every account of the pool is leased.
    #[error("pool {pool} is used up: each of its {count} accounts is leased")]
    UsedUp {
        /// The pool.
        pool: PoolName,
        /// How many it has.
        count: usize,
    },
    /// His lease is of another pool.
    #[error("pool {pool}: this caller has a lease on {account}, which is not of it")]
    OtherPool {
        /// The pool.
        pool: PoolName,
        /// What he has.
        account: AccountName,
    },
    /// No file can have the name.
    #[error(
        "pool {pool}: the name of the lease would have {bytes} bytes: {NAME_BYTES_MAX} is the most"
    )]
    TooLong {
        /// The pool.
        pool: PoolName,
        /// Bytes of the name.
        bytes: usize,
    },
    /// Another name could be written the same way.
    #[error("pool {pool}: the caller's DN is ambiguous once it is written on one line")]
    Ambiguous {
        /// The pool.
        pool: PoolName,
    },
    /// A file of the lease's name is there, and is no lease.
    #[error("pool {pool}: {name} is there, and is no second link to an account's file")]
    Broken {
        /// The pool.
        pool: PoolName,
        /// The file.
        name: String,
    },
}

/// An account that a caller has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The account.
    pub account: AccountName,
    /// Whether he has it since just now.
    pub new: bool,
}

/// The pools of a gridmapdir, and who has what of them.
#[derive(Debug)]
pub struct Pools {
    path: PathBuf,
    stamp: Option<Stamp>,
    /// The directory, or why it is not used.
    directory: Result<OwnedFd, String>,
    table: Table,
    touched: HashMap<AccountName, Instant>,
    /// A lease was made that may not be on the disk.
    unsynced: bool,
}

/// What the directory holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    /// The accounts, and whether each is free.
    accounts: BTreeMap<AccountName, bool>,
    /// Who has what, by the name of the link.
    leases: HashMap<String, AccountName>,
}

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing that voids a judgement.
    Same,
    /// Leases have ended or changed.
    Changed,
    /// The directory is not used any more: what is leased stays, nothing is added.
    Unusable(String),
}

impl Pools {
    /// Opens the directory and reads it.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let mut pools = Self {
            path: path.to_owned(),
            stamp: None,
            directory: Err(String::new()),
            table: Table::default(),
            touched: HashMap::new(),
            unsynced: false,
        };
        pools.read();
        pools
    }

    /// Why it is not used, if it is not.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.directory.as_ref().err().map(String::as_str)
    }

    /// Reads the directory again if it has changed, and brings new leases to the disk.
    pub fn look(&mut self) -> Look {
        self.sync();
        if Stamp::of(&self.path) == self.stamp && self.stamp.is_some() {
            return Look::Same;
        }
        let before = std::mem::take(&mut self.table.leases);
        let was_good = self.directory.is_ok();
        self.read();
        if let Some(text) = self.problem() {
            let text = text.to_owned();
            self.table.leases = before;
            return if was_good { Look::Unusable(text) } else { Look::Same };
        }
        let holds = |(name, account)| self.table.leases.get(name) == Some(account);
        if before.iter().all(holds) { Look::Same } else { Look::Changed }
    }

    /// Brings new leases to the disk.
    pub fn sync(&mut self) {
        if let (true, Ok(directory)) = (self.unsynced, &self.directory) {
            self.unsynced = rustix::fs::fsync(directory).is_err();
        }
    }

    /// The account that a caller has of a pool: his own of earlier, or the first free one.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn lease(&mut self, subject: &SubjectDn, pool: &PoolName) -> Result<Lease, PoolError> {
        if subject.is_ambiguous() {
            return Err(PoolError::Ambiguous { pool: pool.clone() });
        }
        let name = link_name(subject);
        if name.len() > NAME_BYTES_MAX {
            return Err(PoolError::TooLong { pool: pool.clone(), bytes: name.len() });
        }
        if let Some(account) = self.leased(&name, pool)? {
            return Ok(Lease { account, new: false });
        }
        self.make(&name, pool)
    }

    /// A leased account is used: its file's time says so, to the minute.
    pub fn used(&mut self, account: &AccountName) {
        let Ok(directory) = &self.directory else { return };
        if self.table.accounts.get(account) != Some(&false) {
            return;
        }
        let now = Instant::now();
        if self.touched.get(account).is_some_and(|then| now.duration_since(*then) < TOUCH) {
            return;
        }
        let set_now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = Timestamps { last_access: set_now, last_modification: set_now };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        // A time that cannot be set costs nobody the account.
        rustix::fs::utimensat(directory, account.as_str(), &times, flags).unwrap_or_default();
        self.touched.insert(account.clone(), now);
    }

    /// The accounts of a pool, leased and free.
    pub fn accounts(&self, pool: &PoolName) -> impl Iterator<Item = &AccountName> {
        self.table.accounts.keys().filter(move |account| is_of(account, pool))
    }

    fn leased(&self, name: &str, pool: &PoolName) -> Result<Option<AccountName>, PoolError> {
        match self.table.leases.get(name) {
            None => Ok(None),
            Some(account) if is_of(account, pool) => Ok(Some(account.clone())),
            Some(account) => {
                Err(PoolError::OtherPool { pool: pool.clone(), account: account.clone() })
            }
        }
    }

    /// Links the name to a free account. Two who take one at the same time both see three links, and both go on to the next.
    fn make(&mut self, name: &str, pool: &PoolName) -> Result<Lease, PoolError> {
        let of_pool: Vec<(AccountName, bool)> = self
            .table
            .accounts
            .iter()
            .filter(|(account, _)| is_of(account, pool))
            .map(|(account, free)| (account.clone(), *free))
            .collect();
        let problem = |text: String| PoolError::Directory { pool: pool.clone(), text };
        for (account, _) in of_pool.iter().filter(|(_, free)| *free) {
            let directory = self.directory.as_ref().map_err(|text| problem(text.clone()))?;
            let taken = take(directory, account, name);
            let failed = |errno: Errno| problem(format!("{}: {errno}", self.path.display()));
            match taken {
                Ok(true) => {
                    self.table.accounts.insert(account.clone(), false);
                    self.table.leases.insert(name.to_owned(), account.clone());
                    self.unsynced = true;
                    return Ok(Lease { account: account.clone(), new: true });
                }
                Ok(false) | Err(Errno::NOENT) => {
                    self.table.accounts.insert(account.clone(), false);
                }
                Err(Errno::EXIST) => return self.made_meanwhile(name, pool),
                Err(errno) => return Err(failed(errno)),
            }
        }
        match self.problem() {
            Some(text) => Err(problem(text.to_owned())),
            None => Err(PoolError::UsedUp { pool: pool.clone(), count: of_pool.len() }),
        }
    }

    /// Another process has leased him one since the directory was read.
    fn made_meanwhile(&mut self, name: &str, pool: &PoolName) -> Result<Lease, PoolError> {
        self.read();
        match self.leased(name, pool)? {
            Some(account) => Ok(Lease { account, new: false }),
            None => Err(PoolError::Broken { pool: pool.clone(), name: name.to_owned() }),
        }
    }

    fn read(&mut self) {
        // Before the reading: what is changed while it is read is read again.
        self.stamp = Stamp::of(&self.path).filter(Stamp::is_old);
        let read = open(&self.path).and_then(|directory| {
            let table = read(&directory)?;
            Ok((directory, table))
        });
        self.directory = match read {
            Ok((directory, table)) => {
                self.table = table;
                Ok(directory)
            }
            Err(text) => Err(format!("gridmapdir {}: {text}", self.path.display())),
        };
    }
}

/// Whether an account is one of a pool: its prefix with digits behind.
fn is_of(account: &AccountName, pool: &PoolName) -> bool {
    account
        .as_str()
        .strip_prefix(pool.as_str())
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The name of a caller's link.
fn link_name(subject: &SubjectDn) -> String {
    use std::fmt::Write as _;
    let mut name = String::new();
    for byte in subject.to_oneline().bytes() {
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(byte.to_ascii_lowercase()));
        } else {
            // Writing to a String does not fail.
            write!(name, "%{byte:02x}").unwrap_or_default();
        }
    }
    name
}

/// Links a name to an account's file; answers whether it is the only lease of it.
fn take(directory: &OwnedFd, account: &AccountName, name: &str) -> Result<bool, Errno> {
    rustix::fs::linkat(directory, account.as_str(), directory, name, AtFlags::empty())?;
    let facts = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if facts.st_nlink == 2 {
        return Ok(true);
    }
    rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
    Ok(false)
}

fn open(path: &Path) -> Result<OwnedFd, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| e.to_string())?;
    check_directory(&directory).map_err(|error| error.to_string())?;
    Ok(directory)
}

fn read(directory: &OwnedFd) -> Result<Table, String> {
    let text = |errno: Errno| errno.to_string();
    let mut by_inode: HashMap<u64, (AccountName, bool)> = HashMap::new();
    let mut links: Vec<(String, u64)> = Vec::new();
    for (count, entry) in Dir::read_from(directory).map_err(text)?.enumerate() {
        if count >= NAMES_MAX {
            return Err(format!("it has more than {NAMES_MAX} names"));
        }
        let entry = entry.map_err(text)?;
        // Neither an account nor a lease is anything but ASCII.
        let Ok(name) = entry.file_name().to_str() else { continue };
        let account = AccountName::parse(name).ok();
        if account.is_none() && !name.starts_with('%') {
            continue;
        }
        let facts = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) => facts,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno.to_string()),
        };
        if !FileType::from_raw_mode(facts.st_mode).is_file() {
            continue;
        }
        match account {
            Some(account) => {
                by_inode.insert(facts.st_ino, (account, facts.st_nlink == 1));
            }
            None if facts.st_nlink == 2 => links.push((name.to_owned(), facts.st_ino)),
            None => {}
        }
    }
    let leases = links
        .into_iter()
        .filter_map(|(name, inode)| {
            by_inode.get(&inode).map(|(account, _)| (name, account.clone()))
        })
        .collect();
    let accounts = by_inode.into_values().collect();
    Ok(Table { accounts, leases })
}

#[cfg(test)]
mod tests;
