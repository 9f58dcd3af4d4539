//! Becoming a user is giving up root for good: groups, then gid, then uid, then the proof that
//! there is no way back.

use std::io;

use rustix::thread::{CapabilitySet, capabilities, clear_ambient_capability_set};

use crate::account::Account;
use crate::sys;

/// Leaves an id as it is, in `setresuid` and `setresgid`.
const AS_IT_IS: u32 = u32::MAX;

/// Why this process has not become the user. It must end: it may be half of each.
#[derive(Debug, thiserror::Error)]
pub enum BecomeError {
    /// A system call failed.
    #[error("becoming {account}: {call}: {source}")]
    Call {
        /// The account.
        account: String,
        /// The call.
        call: &'static str,
        /// Why.
        source: io::Error,
    },
    /// All calls succeeded, and yet the process is not what it should be.
    #[error("becoming {account}: {what}")]
    NotProved {
        /// The account.
        account: String,
        /// What was found.
        what: &'static str,
    },
    /// Without root a process stays who it is.
    #[error("cannot become {account} (uid {uid}): not started as root")]
    NotRoot {
        /// The account.
        account: String,
        /// Its uid.
        uid: u32,
    },
}

/// Proof that this process is an account and nothing else. Only [`become_user`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    uid: u32,
}

impl Dropped {
    /// The uid that the process has now.
    #[must_use]
    pub fn uid(self) -> u32 {
        self.uid
    }
}

/// Becomes the account: real, effective and saved ids, its groups and no other, no capability.
///
/// Without root it succeeds only if the process is that account already, and changes nothing.
///
/// # Errors
/// [`BecomeError`]; the process is then to end at once.
pub fn become_user(account: &Account) -> Result<Dropped, BecomeError> {
    if !rustix::process::geteuid().is_root() {
        return stay(account);
    }
    let call =
        |call| move |source| BecomeError::Call { account: account.name().to_owned(), call, source };
    let (uid, gid) = (account.uid(), account.gid());
    if uid == 0 || uid == AS_IT_IS || gid == AS_IT_IS {
        return Err(not_proved(account, "its uid is root's or none"));
    }
    sys::setgroups(account.groups()).map_err(call("setgroups"))?;
    sys::setresgid(gid, gid, gid).map_err(call("setresgid"))?;
    sys::setresuid(uid, uid, uid).map_err(call("setresuid"))?;
    // Kernels without ambient capabilities have none to clear.
    if let Err(error) = clear_ambient_capability_set()
        && error != rustix::io::Errno::INVAL
    {
        return Err(call("prctl(PR_CAP_AMBIENT_CLEAR_ALL)")(error.into()));
    }
    prove(account)?;
    Ok(Dropped { uid })
}

fn stay(account: &Account) -> Result<Dropped, BecomeError> {
    let uid = rustix::process::geteuid().as_raw();
    if uid == account.uid() && rustix::process::getuid().as_raw() == uid {
        Ok(Dropped { uid })
    } else {
        Err(BecomeError::NotRoot { account: account.name().to_owned(), uid: account.uid() })
    }
}

/// Reads back what was set, then tries every way back to root and expects it to fail.
fn prove(account: &Account) -> Result<(), BecomeError> {
    let call =
        |call| move |source| BecomeError::Call { account: account.name().to_owned(), call, source };
    let (uid, gid) = (account.uid(), account.gid());
    if sys::getresuid().map_err(call("getresuid"))? != [uid; 3] {
        return Err(not_proved(account, "a uid is not the account's"));
    }
    if sys::getresgid().map_err(call("getresgid"))? != [gid; 3] {
        return Err(not_proved(account, "a gid is not the account's"));
    }
    let mut groups: Vec<u32> = rustix::process::getgroups()
        .map_err(|error| call("getgroups")(error.into()))?
        .into_iter()
        .map(rustix::process::Gid::as_raw)
        .collect();
    groups.sort_unstable();
    if groups != account.groups() {
        return Err(not_proved(account, "the groups are not the account's"));
    }
    let held = capabilities(None).map_err(|error| call("capget")(error.into()))?;
    if !(held.effective | held.permitted | held.inheritable).is_empty() {
        return Err(not_proved(account, "a capability is left"));
    }
    let ways_back = [
        sys::setresuid(AS_IT_IS, 0, AS_IT_IS),
        sys::setresuid(0, 0, 0),
        sys::setresgid(AS_IT_IS, 0, AS_IT_IS),
        sys::setresgid(0, 0, 0),
        sys::setgroups(&[0]),
    ];
    if ways_back.iter().any(Result::is_ok) {
        return Err(not_proved(account, "there is a way back to root"));
    }
    if capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::SETUID)) {
        return Err(not_proved(account, "a capability came back"));
    }
    Ok(())
}

fn not_proved(account: &Account, what: &'static str) -> BecomeError {
    BecomeError::NotProved { account: account.name().to_owned(), what }
}

#[cfg(test)]
mod tests;
