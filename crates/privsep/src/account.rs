//! An account is a local Unix user; here it is looked up and judged fit to be run as.
//!
//! What is *not* looked at, on purpose: the login shell. A community account should have `nologin`
//! for its shell, and jobs do not pass through a login shell. A password field of `!`, `!!` or `*` is an
//! account that never had a password (what `useradd` makes, and grid pool accounts have); it is
//! not locked. A field that has a `!` before anything else was locked by somebody (`usermod -L`).
//! To end an account that has no password, set its expiry (`usermod -e 1`), as usermod(8) says.

use std::ffi::{CString, OsString};
use std::io;
use std::path::PathBuf;

use crate::sys;

/// A local user that the name service knows. Only [`look_up`] and [`current`] make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    home: PathBuf,
    gecos: OsString,
    shell: PathBuf,
}

impl Account {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its primary gid.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// All its groups, the primary one included, sorted.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Its home directory.
    #[must_use]
    pub fn home(&self) -> &PathBuf {
        &self.home
    }

    /// Its comment field, where an `umask=` may stand.
    #[must_use]
    pub fn gecos(&self) -> &OsString {
        &self.gecos
    }

    /// Its login shell.
    #[must_use]
    pub fn shell(&self) -> &PathBuf {
        &self.shell
    }
}

/// Which accounts may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRules {
    /// The lowest uid.
    pub uid_min: u32,
    /// The uid that the gatekeeper runs as, which no caller may become.
    pub service_uid: Option<u32>,
}

/// Why an account may not be used. Each rule has its own message, for the log.
#[derive(Debug, thiserror::Error)]
pub enum AccountRefusal {
    /// The name service has no such name.
    #[error("account {0} is unknown")]
    Unknown(String),
    /// The name service answered another name than was asked for (a directory that ignores case).
    #[error("account {asked} is unknown: the name service answers {answered}")]
    OtherName {
        /// What was asked.
        asked: String,
        /// What was answered.
        answered: String,
    },
    /// It is root, whatever its name.
    #[error("account {0} has uid 0")]
    Root(String),
    /// Its uid is 4294967295, which system calls take for "leave as it is".
    #[error("account {0} has the uid that means none")]
    NoUid(String),
    /// Its uid is under the floor.
    #[error("account {name} has uid {uid}, under the floor of {uid_min}")]
    UnderFloor {
        /// The account.
        name: String,
        /// Its uid.
        uid: u32,
        /// The floor.
        uid_min: u32,
    },
    /// It is the gatekeeper's own user.
    #[error("account {0} is the user that the gatekeeper runs as")]
    OwnService(String),
    /// Its primary group or another one is group 0.
    #[error("account {0} is in group 0")]
    RootGroup(String),
    /// Its password was locked.
    #[error("account {0} is locked")]
    Locked(String),
    /// It has expired.
    #[error("account {name} expired on day {day} after 1970")]
    Expired {
        /// The account.
        name: String,
        /// The day.
        day: i64,
    },
    /// The name service failed.
    #[error("looking up account {name}: {source}")]
    System {
        /// The account.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Looks an account up and holds it against the rules. May block: call it in a child with a deadline.
///
/// Whether it is in good standing is another question, [`in_good_standing`]: what a locked account
/// has left behind may still be tended.
///
/// # Errors
/// The first rule that it breaks.
pub fn look_up(name: &str, rules: &AccountRules) -> Result<Account, AccountRefusal> {
    let account = find(name)?;
    rules.judge(&account)?;
    Ok(account)
}

/// Whether an account is neither locked nor expired on a day (days after 1970 UTC). May block.
///
/// Judged only by root, who alone can read the shadow database; others get `Ok`.
///
/// # Errors
/// [`AccountRefusal::Locked`], [`AccountRefusal::Expired`], [`AccountRefusal::System`].
pub fn in_good_standing(account: &Account, today: i64) -> Result<(), AccountRefusal> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let line = sys::shadow(&c_name(&account.name)?)
        .map_err(|source| AccountRefusal::System { name: account.name.clone(), source })?;
    let Some(line) = line else { return Ok(()) };
    if is_locked(&line.password) {
        return Err(AccountRefusal::Locked(account.name.clone()));
    }
    if line.expires_day >= 0 && today >= line.expires_day {
        let (name, day) = (account.name.clone(), line.expires_day);
        return Err(AccountRefusal::Expired { name, day });
    }
    Ok(())
}

/// The account that this process runs as (by its effective uid), held against no rule.
///
/// # Errors
/// [`AccountRefusal::Unknown`] and [`AccountRefusal::System`].
pub fn current() -> Result<Account, AccountRefusal> {
    let uid = rustix::process::geteuid().as_raw();
    let shown = format!("of uid {uid}");
    let line = sys::password_by_uid(uid)
        .map_err(|source| AccountRefusal::System { name: shown.clone(), source })?
        .ok_or(AccountRefusal::Unknown(shown))?;
    complete(line)
}

/// An account of the system's own (the gatekeeper's user), held against no rule but uid 0. May block.
///
/// # Errors
/// [`AccountRefusal::Unknown`], [`AccountRefusal::Root`], [`AccountRefusal::System`].
pub fn service_user(name: &str) -> Result<Account, AccountRefusal> {
    let account = find(name)?;
    match account.uid {
        0 => Err(AccountRefusal::Root(account.name)),
        u32::MAX => Err(AccountRefusal::NoUid(account.name)),
        _ => Ok(account),
    }
}

/// The gid of a group. May block.
///
/// # Errors
/// The name service's. `Ok(None)` is no such group.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    sys::group(&CString::new(name)?)
}

impl AccountRules {
    /// The rules that need nothing but the password and group databases.
    fn judge(&self, account: &Account) -> Result<(), AccountRefusal> {
        let name = || account.name.clone();
        match account.uid {
            0 => return Err(AccountRefusal::Root(name())),
            u32::MAX => return Err(AccountRefusal::NoUid(name())),
            uid if Some(uid) == self.service_uid => return Err(AccountRefusal::OwnService(name())),
            uid if uid < self.uid_min => {
                return Err(AccountRefusal::UnderFloor {
                    name: name(),
                    uid,
                    uid_min: self.uid_min,
                });
            }
            _ => {}
        }
        if account.gid == 0 || account.groups.contains(&0) {
            return Err(AccountRefusal::RootGroup(name()));
        }
        Ok(())
    }
}

/// Whether somebody has locked a password: a `!` before what was there. See the head of this file.
fn is_locked(password: &[u8]) -> bool {
    matches!(password, [b'!', next, ..] if *next != b'!')
}

fn find(name: &str) -> Result<Account, AccountRefusal> {
    let line = sys::password_by_name(&c_name(name)?)
        .map_err(|source| AccountRefusal::System { name: name.to_owned(), source })?
        .ok_or_else(|| AccountRefusal::Unknown(name.to_owned()))?;
    if line.name != name {
        return Err(AccountRefusal::OtherName { asked: name.to_owned(), answered: line.name });
    }
    complete(line)
}

fn complete(line: sys::PasswordLine) -> Result<Account, AccountRefusal> {
    let mut groups = sys::group_list(&c_name(&line.name)?, line.gid)
        .map_err(|source| AccountRefusal::System { name: line.name.clone(), source })?;
    groups.sort_unstable();
    groups.dedup();
    Ok(Account {
        name: line.name,
        uid: line.uid,
        gid: line.gid,
        groups,
        home: line.home.into(),
        gecos: line.gecos,
        shell: line.shell.into(),
    })
}

fn c_name(name: &str) -> Result<CString, AccountRefusal> {
    CString::new(name).map_err(|_| AccountRefusal::Unknown(name.escape_default().to_string()))
}

#[cfg(test)]
mod tests;
