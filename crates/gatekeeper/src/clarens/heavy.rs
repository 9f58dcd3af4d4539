//! Answers that are large: what of them is in memory at one time.
//!
//! An answer stays until its caller has taken it, and a small request may have a large one (a part of a file,
//! what a search has found). So large answers share a bound, those of anonymous callers another than those
//! with certificates; one that does not fit is refused, since to wait would hold it as well.

use std::sync::Arc;

use bytes::Bytes;
use nesssi_identity::Peer;
use nesssi_rpc::{Fault, FaultCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Reply;
use crate::body::Source;

/// Answers of up to so many bytes are not counted.
const LARGE_ANSWER_BYTES: usize = 64 * 1024;
/// What the large answers to callers of either kind may hold together, in KiB; one fits however large it is.
const ANSWERS_KIB_MAX: u32 = if cfg!(test) { 3 * 1024 } else { 256 * 1024 };

/// What is held.
#[derive(Debug)]
pub(super) struct Heavy {
    certified: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
}

impl Default for Heavy {
    fn default() -> Self {
        let room = || Arc::new(Semaphore::new(usize::try_from(ANSWERS_KIB_MAX).unwrap_or(0)));
        Self { certified: room(), anonymous: room() }
    }
}

/// An answer and its place among the large ones.
struct Held {
    bytes: Bytes,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Heavy {
    /// The answer with a place, which it leaves when the last of it is sent.
    ///
    /// # Errors
    /// 503 where there is none.
    pub(super) fn hold(&self, peer: &Peer, reply: Reply) -> Result<Reply, Fault> {
        let Reply { body: Source::Full(Some(bytes)), .. } = &reply else { return Ok(reply) };
        if bytes.len() <= LARGE_ANSWER_BYTES {
            return Ok(reply);
        }
        let room = match peer {
            Peer::Certified(_) => &self.certified,
            Peer::Anonymous(_) | Peer::Refused(_) => &self.anonymous,
        };
        let kib = u32::try_from(bytes.len() / 1024 + 1).unwrap_or(u32::MAX).min(ANSWERS_KIB_MAX);
        let place = Arc::clone(room).try_acquire_many_owned(kib).map_err(|_| full(bytes.len()))?;
        let held = Held { bytes: bytes.clone(), _place: place };
        Ok(Reply { body: Source::of(Bytes::from_owner(held)), ..reply })
    }
}

fn full(bytes: usize) -> Fault {
    let text = format!(
        "the answer has {bytes} bytes, and too many large ones are on their way: what was asked is done, and its \
         answer is to be had later where it had a client tag"
    );
    Fault::new(FaultCode::Unavailable, text)
}
