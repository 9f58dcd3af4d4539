//! A seal is the monitor's proof that a session was granted to an account.
//!
//! It is an HMAC-SHA-256, with a key that only the monitor has, over the session, the account's
//! name and uid, the level and its limits. The gatekeeper keeps it in the journal and cannot make one.

use std::os::fd::{AsFd, OwnedFd};

use hmac::{Hmac, KeyInit, Mac};
use nesssi_privsep::messages::Seal;
use nesssi_privsep::wire::{Blob, Field, Writer};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use sha2::Sha256;

/// Bytes of the key.
pub const KEY_BYTES: usize = 32;
/// Its file, in the monitor's own directory.
const FILE: &str = "seal.key";
const FILE_NEW: &str = "seal.key.new";
/// What the MAC begins with, so that no other use of the key can make one.
const PURPOSE: &str = "nesssi session seal 1";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A system call failed.
    #[error("seal.key: {0}")]
    Io(#[from] std::io::Error),
    /// The file is not one that only this user could have written and read.
    #[error("seal.key: {0}")]
    NotOurs(&'static str),
    /// The system has no random bytes.
    #[error("seal.key: no random bytes: {0}")]
    Random(getrandom::Error),
}

impl From<rustix::io::Errno> for KeyError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Whether the key was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// It was read: seals in the journal hold.
    Read,
    /// It was made just now: no earlier seal holds.
    Made,
}

/// The key of the seals.
pub struct SealKey {
    key: [u8; KEY_BYTES],
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl SealKey {
    /// Reads the key from the monitor's directory, or makes it if there is none.
    ///
    /// # Errors
    /// [`KeyError`]; a file with another owner, mode or size is never used and never replaced.
    pub fn load_or_make(directory: &OwnedFd) -> Result<(Self, KeyOrigin), KeyError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match rustix::fs::openat(directory, FILE, flags, Mode::empty()) {
            Ok(file) => Ok((Self::read(&file)?, KeyOrigin::Read)),
            Err(rustix::io::Errno::NOENT) => Ok((Self::make(directory)?, KeyOrigin::Made)),
            Err(rustix::io::Errno::LOOP) => Err(KeyError::NotOurs("it is a symbolic link")),
            Err(error) => Err(error.into()),
        }
    }

    /// A key of these bytes.
    #[must_use]
    pub fn from_bytes(key: [u8; KEY_BYTES]) -> Self {
        Self { key }
    }

    fn read(file: &OwnedFd) -> Result<Self, KeyError> {
        let facts = rustix::fs::fstat(file)?;
        if !rustix::fs::FileType::from_raw_mode(facts.st_mode).is_file() {
            return Err(KeyError::NotOurs("it is no regular file"));
        }
        if facts.st_uid != rustix::process::geteuid().as_raw() {
            return Err(KeyError::NotOurs("it belongs to another user"));
        }
        if facts.st_mode & 0o077 != 0 {
            return Err(KeyError::NotOurs("others than its owner can use it (mode must be 0600)"));
        }
        // One byte more than the key, to see that there is none.
        let mut bytes = [0_u8; KEY_BYTES + 1];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(file, &mut bytes))?;
        match (count, bytes.first_chunk::<KEY_BYTES>()) {
            (KEY_BYTES, Some(key)) => Ok(Self { key: *key }),
            _ => Err(KeyError::NotOurs("it has not 32 bytes")),
        }
    }

    fn make(directory: &OwnedFd) -> Result<Self, KeyError> {
        let mut key = [0_u8; KEY_BYTES];
        getrandom::fill(&mut key).map_err(KeyError::Random)?;
        // Left by a start that was cut off.
        match rustix::fs::unlinkat(directory, FILE_NEW, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, FILE_NEW, flags, Mode::RUSR | Mode::WUSR)?;
        if rustix::io::write(&file, &key)? != KEY_BYTES {
            return Err(KeyError::Io(std::io::ErrorKind::WriteZero.into()));
        }
        rustix::fs::fsync(&file)?;
        rustix::fs::renameat_with(directory, FILE_NEW, directory, FILE, RenameFlags::NOREPLACE)?;
        rustix::fs::fsync(directory.as_fd())?;
        Ok(Self { key })
    }

    /// Seals a session.
    #[must_use]
    pub fn seal(&self, session: &str, account: &str, uid: u32, level: &str, limits: &[u8]) -> Seal {
        let mut seal = Seal {
            account: account.to_owned(),
            uid,
            level: level.to_owned(),
            limits: Blob(limits.to_vec()),
            mac: Blob::default(),
        };
        seal.mac = Blob(self.mac(session, &seal).finalize().into_bytes().to_vec());
        seal
    }

    /// Whether this key made the seal for this session; compared in constant time.
    #[must_use]
    pub fn holds(&self, session: &str, seal: &Seal) -> bool {
        self.mac(session, seal).verify_slice(&seal.mac.0).is_ok()
    }

    /// Every field with its length before it, so that no two seals have the same bytes.
    fn mac(&self, session: &str, seal: &Seal) -> Hmac<Sha256> {
        let mut body = Writer::default();
        PURPOSE.to_owned().put(&mut body);
        session.to_owned().put(&mut body);
        seal.account.put(&mut body);
        seal.uid.put(&mut body);
        seal.level.put(&mut body);
        seal.limits.put(&mut body);
        // HMAC's own rule for a key that is shorter than SHA-256's block (RFC 2104): zeros behind it.
        let mut block = [0_u8; 64];
        block.iter_mut().zip(self.key).for_each(|(to, from)| *to = from);
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
        mac.update(&body.finish());
        mac
    }
}

#[cfg(test)]
mod tests;
