//! Uploads: `PUT /clarens/<session>/<path>`. The body is a file, and goes as it comes into a descriptor that
//! the account's process has opened beside the file's place; once it is whole it gets that place.
//!
//! Nothing of it stays in memory but what is being written, and nothing of a broken one anywhere. Its time
//! is not bounded as a whole, but a caller who sends next to nothing is given up.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT, HeaderMap, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use nesssi_container::{Caller, Put, PutFault, Uploaded};
use nesssi_rpc::{Fault, FaultCode, Value, xmlrpc};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::dialect::XML;
use super::{Clarens, ended_after_chunks, read_away};
use crate::answer::Reply;
use crate::body::Source;
use crate::house::{House, Uploading};
use crate::sandboxes::Asked;

/// Bytes that are gathered before they are written.
const CHUNK_BYTES: usize = 256 * 1024;
/// Pieces that are gathered at most: a caller may send a file byte by byte, and each costs beside its byte.
const PIECES_MAX: usize = 1024;
/// So many bytes have to come within the patience for a body, or the rest of the file.
const PROGRESS_BYTES: u64 = 64 * 1024;
/// Writes into one account's files at one time.
const WRITES_AT_ONCE_PER_ACCOUNT: usize = 4;
/// How long one write may wait for the disk, in seconds.
const WRITE_SECONDS_MAX: u64 = 60;

/// The conditions that a `PUT` cannot have: nothing is done where one might not hold.
const CONDITIONS_REFUSED: [HeaderName; 4] =
    [IF_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE];

/// The writers' pool: how many may write into an account's files at one time.
#[derive(Debug, Default)]
pub(super) struct Writers {
    accounts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Writers {
    fn share(&self, account: &str) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let share = accounts.entry(account.to_owned());
        Arc::clone(share.or_insert_with(|| Arc::new(Semaphore::new(WRITES_AT_ONCE_PER_ACCOUNT))))
    }
}

/// Why a body did not become a file.
#[derive(Debug)]
enum Broken {
    /// More came than may.
    TooLong,
    /// Not in time.
    Slow,
    /// The caller went away or does not speak HTTP.
    Body,
    /// It could not be written.
    Disk(io::Error),
}

impl<H: House> Clarens<H> {
    /// Answers an upload; `asked` is `None` where its path is none.
    pub(super) async fn put<B>(
        &self,
        caller: &Caller,
        asked: Option<&Asked>,
        parts: &Parts,
        mut body: B,
    ) -> Reply
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Send,
    {
        let begun = match self.wanted(asked, &parts.headers) {
            Ok(put) => {
                let begun = self.house.begin_upload(caller, &put).await;
                begun.map_err(|fault| Box::new(refused(&fault)))
            }
            Err(refusal) => Err(refusal),
        };
        let upload = match begun {
            Ok(upload) => upload,
            Err(refusal) => {
                // Who waits for a word before he sends has it now, and sends nothing.
                if !parts.headers.contains_key(EXPECT) {
                    tokio::spawn(read_away(body));
                }
                return refusal.last();
            }
        };
        let reply = match self.receive(&upload, &mut body).await {
            Ok(()) => match upload.commit().await {
                Ok(written) => return ended_after_chunks(&parts.headers, done(written)),
                Err(fault) => refused(&fault),
            },
            Err(Broken::TooLong) => faulted(&upload.too_long()),
            Err(Broken::Slow) => answered(
                StatusCode::REQUEST_TIMEOUT,
                &Fault::new(FaultCode::InvalidRequest, "the file did not come in time"),
            ),
            Err(Broken::Body) => {
                faulted(&Fault::new(FaultCode::InvalidRequest, "the file did not come whole"))
            }
            Err(Broken::Disk(error)) => faulted(&unwritten(&error)),
        };
        tokio::spawn(read_away(body));
        reply.last()
    }

    /// What an upload wants, by its head.
    fn wanted<'a>(
        &self,
        asked: Option<&'a Asked>,
        headers: &HeaderMap,
    ) -> Result<Put<'a>, Box<Reply>> {
        if self.is_of_another_page(headers) {
            let text = "uploads from pages of other origins are refused";
            return Err(Box::new(faulted(&Fault::new(FaultCode::Refused, text))));
        }
        let bad = |text: &str| Box::new(faulted(&Fault::new(FaultCode::InvalidRequest, text)));
        let encodings = headers.get_all(CONTENT_ENCODING);
        if !encodings.iter().all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let fault =
                Fault::new(FaultCode::InvalidRequest, "a file is sent as it is, not encoded");
            return Err(Box::new(answered(StatusCode::UNSUPPORTED_MEDIA_TYPE, &fault)));
        }
        if headers.contains_key(CONTENT_RANGE) {
            return Err(bad("a file is sent whole: there is no Content-Range"));
        }
        if CONDITIONS_REFUSED.iter().any(|name| headers.contains_key(name)) {
            return Err(bad("the one condition of an upload is If-None-Match: *"));
        }
        let mut conditions = headers.get_all(IF_NONE_MATCH).iter();
        let replace = match (conditions.next(), conditions.next()) {
            (None, _) => true,
            (Some(any), None) if any.as_bytes().trim_ascii() == b"*" => false,
            (Some(_), _) => return Err(bad("the one condition of an upload is If-None-Match: *")),
        };
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.and_then(|text| text.parse().ok());
        let asked = asked.filter(|asked| !asked.path.is_empty() && !asked.slash);
        let absent =
            || Box::new(faulted(&Fault::new(FaultCode::NotFound, "no such session or file")));
        let Asked { session, path, .. } = asked.ok_or_else(absent)?;
        Ok(Put { session, path, length, replace })
    }

    /// Writes a body into the file, as it comes.
    async fn receive<B>(&self, upload: &H::Upload, body: &mut B) -> Result<(), Broken>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let file = upload.file().ok_or_else(|| Broken::Disk(io::ErrorKind::NotFound.into()))?;
        let writes = self.writers.share(upload.account());
        let mut sink = Sink { file, writes, offset: 0, waiting: Vec::new(), waiting_bytes: 0 };
        let (mut left, mut progress) = (upload.bytes_max(), 0);
        let mut due = Instant::now() + self.body_patience;
        loop {
            let frame = timeout_at(due, body.frame()).await.map_err(|_| Broken::Slow)?;
            let Some(frame) = frame else { break };
            let Ok(bytes) = frame.map_err(|_| Broken::Body)?.into_data() else { continue };
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            left = left.checked_sub(length).ok_or(Broken::TooLong)?;
            sink.take(bytes).await?;
            progress += length;
            if progress >= PROGRESS_BYTES {
                progress = 0;
                due = Instant::now() + self.body_patience;
            }
        }
        sink.write().await
    }
}

/// A file being written from its beginning.
struct Sink {
    file: Arc<OwnedFd>,
    writes: Arc<Semaphore>,
    offset: u64,
    waiting: Vec<Bytes>,
    waiting_bytes: usize,
}

impl Sink {
    async fn take(&mut self, bytes: Bytes) -> Result<(), Broken> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.waiting_bytes += bytes.len();
        self.waiting.push(bytes);
        let is_due = self.waiting_bytes >= CHUNK_BYTES || self.waiting.len() >= PIECES_MAX;
        if is_due { self.write().await } else { Ok(()) }
    }

    /// Writes what waits, on a blocking thread: a disk may be slow.
    async fn write(&mut self) -> Result<(), Broken> {
        let chunks = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        if chunks.is_empty() {
            return Ok(());
        }
        let (file, from) = (Arc::clone(&self.file), self.offset);
        let writes = Arc::clone(&self.writes);
        let write = async {
            let place = writes.acquire_owned().await.map_err(io::Error::other)?;
            let written = tokio::task::spawn_blocking(move || {
                let _place = place;
                chunks.iter().try_fold(from, |at, chunk| write_all_at(&file, chunk, at))
            });
            written.await.map_err(io::Error::other)?
        };
        let patience = Duration::from_secs(WRITE_SECONDS_MAX);
        let written = timeout(patience, write).await;
        self.offset = written
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(Broken::Disk)?;
        Ok(())
    }
}

/// Writes all of a chunk, and says where it ends.
fn write_all_at(file: &OwnedFd, mut chunk: &[u8], mut at: u64) -> io::Result<u64> {
    while !chunk.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, chunk, at))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        chunk = chunk.get(written..).unwrap_or_default();
        at = at.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
    }
    Ok(at)
}

/// A file that is written: 201 for a new one, 200 for one that has replaced another, and its size.
fn done(written: Uploaded) -> Reply {
    let status = if written.replaced { StatusCode::OK } else { StatusCode::CREATED };
    let size = Value::Int(i64::try_from(written.size).unwrap_or(i64::MAX));
    document(status, xmlrpc::encode_reply(&Ok(size)))
}

fn refused(fault: &PutFault) -> Reply {
    match fault {
        PutFault::Exists => answered(StatusCode::PRECONDITION_FAILED, &fault.as_fault()),
        PutFault::Fault(fault) => faulted(fault),
    }
}

/// What a caller reads whose file could not be written.
fn unwritten(error: &io::Error) -> Fault {
    tracing::info!(%error, "an upload could not be written");
    match error.kind() {
        io::ErrorKind::QuotaExceeded => {
            Fault::new(FaultCode::OverLimit, "the account's disk quota is used up")
        }
        io::ErrorKind::FileTooLarge => {
            Fault::new(FaultCode::OverLimit, "the file is longer than the file system takes")
        }
        io::ErrorKind::StorageFull => {
            Fault::new(FaultCode::Unavailable, "no space is left on the device")
        }
        _ => Fault::new(FaultCode::Unavailable, "the file could not be written"),
    }
}

/// A fault under the HTTP status that says the same.
fn faulted(fault: &Fault) -> Reply {
    answered(status_of(fault.code), fault)
}

fn answered(status: StatusCode, fault: &Fault) -> Reply {
    document(status, xmlrpc::encode_reply(&Err(fault.clone())))
}

fn document(status: StatusCode, text: Vec<u8>) -> Reply {
    Reply::new(status, Source::of(text)).with(CONTENT_TYPE, XML)
}

fn status_of(code: FaultCode) -> StatusCode {
    match code {
        FaultCode::NoCredential => StatusCode::UNAUTHORIZED,
        FaultCode::Refused => StatusCode::FORBIDDEN,
        FaultCode::NotFound => StatusCode::NOT_FOUND,
        FaultCode::Conflict => StatusCode::CONFLICT,
        FaultCode::OverLimit => StatusCode::PAYLOAD_TOO_LARGE,
        FaultCode::TooMany => StatusCode::TOO_MANY_REQUESTS,
        FaultCode::BatchRefused => StatusCode::BAD_GATEWAY,
        FaultCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        FaultCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        FaultCode::Parse
        | FaultCode::InvalidRequest
        | FaultCode::NoSuchMethod
        | FaultCode::InvalidParams
        | FaultCode::Service(_) => StatusCode::BAD_REQUEST,
    }
}

#[cfg(test)]
mod tests;
