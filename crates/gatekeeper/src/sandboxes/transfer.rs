//! A transfer reads an open file by offset and feeds an answer with it.
//!
//! Reading a file may block (a slow disk, a network file system), so it is done on the runtime's
//! blocking threads, of which each account may use a few at one time. Never mapped into memory: a
//! file that its owner cuts short would kill this process.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use nesssi_container::Change;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::body::Source;
use crate::house::Growth;

/// Bytes that one read asks for.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks that wait for a slow caller, beside the one that is being written.
const CHUNKS_AHEAD: usize = 1;
/// Reads of one account's files at one time.
const READS_AT_ONCE_PER_ACCOUNT: usize = 4;
/// Followers of one account's files at one time.
const FOLLOWERS_PER_ACCOUNT: usize = 64;

/// The readers' pool: who may read how much at one time.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    accounts: Mutex<HashMap<String, Share>>,
}

/// One account's share of the pool.
#[derive(Debug, Clone)]
struct Share {
    reads: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

/// A part of an open file: `length` bytes from `offset`, or all that is there and will come.
#[derive(Debug)]
pub(crate) struct Reading {
    file: Arc<OwnedFd>,
    reads: Arc<Semaphore>,
    spare: Spare,
    offset: u64,
}

impl Readers {
    /// Feeds an answer with `length` bytes from `offset`.
    pub(crate) fn send(
        &self,
        account: &str,
        file: Arc<OwnedFd>,
        offset: u64,
        length: u64,
    ) -> Source {
        let reading = Reading::new(file, self.share(account).reads, offset);
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        if length > 0 {
            tokio::spawn(reading.send(length, sender));
        }
        Source::Stream { chunks, left: Some(length) }
    }

    /// Feeds an answer with a growing file, from `offset` until its job has ended and its end is
    /// reached. `None` if too many follow this account's files already.
    pub(crate) fn follow<G: Growth>(
        &self,
        account: &str,
        file: OwnedFd,
        offset: u64,
        growth: G,
    ) -> Option<Source> {
        let share = self.share(account);
        let place = share.followers.try_acquire_owned().ok()?;
        let reading = Reading::new(Arc::new(file), share.reads, offset);
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(reading.follow(growth, sender, place));
        Some(Source::Stream { chunks, left: None })
    }

    fn share(&self, account: &str) -> Share {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = accounts.get(account) {
            return share.clone();
        }
        let share = Share {
            reads: Arc::new(Semaphore::new(READS_AT_ONCE_PER_ACCOUNT)),
            followers: Arc::new(Semaphore::new(FOLLOWERS_PER_ACCOUNT)),
        };
        accounts.insert(account.to_owned(), share.clone());
        share
    }
}

type Chunks = mpsc::Sender<io::Result<Bytes>>;

impl Reading {
    fn new(file: Arc<OwnedFd>, reads: Arc<Semaphore>, offset: u64) -> Self {
        Self { file, reads, spare: Spare::default(), offset }
    }

    /// Sends `left` bytes; a file that has become shorter ends the answer with an error.
    async fn send(mut self, mut left: u64, chunks: Chunks) {
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let chunk = match self.next(room).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return end(&chunks, io::ErrorKind::UnexpectedEof.into()).await,
                Err(error) => return end(&chunks, error).await,
            };
            left = left.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if chunks.send(Ok(chunk)).await.is_err() {
                return;
            }
        }
    }

    /// Sends what is there, then what comes, until the job has ended or the caller has.
    async fn follow<G: Growth>(
        mut self,
        mut growth: G,
        chunks: Chunks,
        _place: OwnedSemaphorePermit,
    ) {
        loop {
            if !self.send_all(&chunks).await {
                return;
            }
            let change = tokio::select! {
                change = growth.changed() => change,
                () = chunks.closed() => return,
            };
            match change {
                Change::Grew => {}
                Change::JobEnded => {
                    let _complete = self.send_all(&chunks).await;
                    return;
                }
                Change::Closed => return end(&chunks, io::ErrorKind::ConnectionReset.into()).await,
            }
        }
    }

    /// Sends all that is there; `false` if that is the end of the answer, good or bad.
    async fn send_all(&mut self, chunks: &Chunks) -> bool {
        loop {
            match self.next(CHUNK_BYTES).await {
                Ok(Some(chunk)) => {
                    if chunks.send(Ok(chunk)).await.is_err() {
                        return false;
                    }
                }
                Ok(None) => return true,
                Err(error) => {
                    end(chunks, error).await;
                    return false;
                }
            }
        }
    }

    /// The next bytes, `None` at the end of the file as it is now, an error if it was cut short.
    async fn next(&mut self, room: usize) -> io::Result<Option<Bytes>> {
        let permit = self.reads.acquire().await.map_err(io::Error::other)?;
        let (file, offset, mut buffer) = (Arc::clone(&self.file), self.offset, self.spare.take());
        let read = tokio::task::spawn_blocking(move || {
            let read = read_at(&file, buffer.room(room), offset)?;
            Ok::<_, io::Error>((buffer, read))
        });
        let (buffer, read) = read.await.map_err(io::Error::other)??;
        drop(permit);
        if read == 0 {
            return Ok(None);
        }
        self.offset = self.offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(Some(Bytes::from_owner(buffer).slice(..read)))
    }
}

async fn end(chunks: &Chunks, error: io::Error) {
    // If nobody receives it, nobody is left to be told.
    let _told = chunks.send(Err(error)).await;
}

fn read_at(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, offset))?;
    if read == 0 && u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0) < offset {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file was cut short"));
    }
    Ok(read)
}

/// Buffers of one transfer that are free again, so that a large file costs three and not thousands.
#[derive(Debug, Clone, Default)]
struct Spare {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer that goes back when the last view of it is dropped.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    home: Spare,
}

impl Spare {
    fn take(&self) -> Buffer {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: free.unwrap_or_default(), home: self.clone() }
    }
}

impl Buffer {
    fn room(&mut self, room: usize) -> &mut [u8] {
        if self.bytes.len() < room {
            self.bytes.resize(room, 0);
        }
        self.bytes.get_mut(..room).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

#[cfg(test)]
mod tests;
