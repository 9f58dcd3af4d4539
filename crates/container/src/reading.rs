//! Reading files that are open: by offset, on blocking threads, of which each account may use a few.
//!
//! A file is on its owner's disk, which may be slow or never answer; so whoever reads waits no longer
//! than he is told, and what hangs holds its account's places and no other's.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nesssi_rpc::{Fault, FaultCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::link::lock;
use crate::raw::RawFile;

/// Bytes that one read asks for.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Files of one account that are read at one time.
const FILES_AT_ONCE_PER_ACCOUNT: usize = 2;
/// Files of all accounts that are read at one time.
const FILES_AT_ONCE: usize = 8;
/// Digests of one account's files that are made at one time, and of all. They take long: those who read wait
/// for none of them.
const DIGESTS_AT_ONCE_PER_ACCOUNT: usize = 1;
const DIGESTS_AT_ONCE: usize = 4;
/// How long a file that is read into an answer may take, in seconds.
const READ_SECONDS_MAX: u64 = 60;

/// Who may read at one time.
#[derive(Debug)]
pub(crate) struct Pool {
    all: Arc<Semaphore>,
    per_account: usize,
    accounts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A place in the pool; it is held until the reading thread is done, however long that takes.
#[derive(Debug)]
pub(crate) struct Place {
    _account: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Default for Pool {
    fn default() -> Self {
        Self::of(FILES_AT_ONCE, FILES_AT_ONCE_PER_ACCOUNT)
    }
}

impl Pool {
    /// The pool of those who make digests.
    pub(crate) fn of_digests() -> Self {
        Self::of(DIGESTS_AT_ONCE, DIGESTS_AT_ONCE_PER_ACCOUNT)
    }

    fn of(all: usize, per_account: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_account, accounts: Mutex::default() }
    }

    /// A place, as soon as there is one.
    pub(crate) async fn enter(&self, account: &str) -> Result<Place, Fault> {
        let share = {
            let mut accounts = lock(&self.accounts);
            let share = accounts.entry(account.to_owned());
            Arc::clone(share.or_insert_with(|| Arc::new(Semaphore::new(self.per_account))))
        };
        // The account's own first: who waits for himself keeps nobody else waiting.
        let own = share.acquire_owned().await.map_err(|_| busy())?;
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(|_| busy())?;
        Ok(Place { _account: own, _all: all })
    }
}

/// All the bytes of a part of a file.
///
/// # Errors
/// 409 for a file that has become shorter, 503 for one that cannot be read in time.
pub(crate) async fn read_whole(pool: &Pool, raw: &RawFile) -> Result<Vec<u8>, Fault> {
    let patience = Duration::from_secs(READ_SECONDS_MAX);
    let reading = async {
        let place = pool.enter(&raw.account).await?;
        let (file, offset, length) = (Arc::clone(&raw.file), raw.offset, raw.length);
        let read = tokio::task::spawn_blocking(move || {
            let _place = place;
            read_at(&file, offset, length)
        });
        read.await.map_err(|_| busy())?.map_err(|error| unreadable(&error))
    };
    timeout(patience, reading).await.unwrap_or_else(|_| Err(busy()))
}

fn read_at(file: &OwnedFd, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let (mut rest, mut offset) = (&mut *bytes, offset);
    while !rest.is_empty() {
        let room = rest.len().min(CHUNK_BYTES);
        let (chunk, _) = rest.split_at_mut(room);
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *chunk, offset))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        rest = rest.split_at_mut(read).1;
    }
    Ok(bytes)
}

/// What a caller reads of a file that was open and could not be read.
pub(crate) fn unreadable(error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Fault::new(FaultCode::Conflict, "the file was cut short while it was read");
    }
    tracing::info!(%error, "an open file cannot be read");
    Fault::new(FaultCode::Unavailable, "the file cannot be read now")
}

pub(crate) fn busy() -> Fault {
    Fault::new(FaultCode::Unavailable, "too many files are being read: try again")
}
