//! The body of an answer: bytes at hand, or a stream that a transfer feeds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::answer::Sent;

/// Bytes of an answer that are handed over at once where the caller says how much may come (HTTP/2): what
/// was handed over lies in memory until he takes it, and nobody sees for how long.
const PIECE_BYTES: usize = 16 * 1024;

/// An answer's body. When it is dropped, the request is over.
pub(crate) struct ReplyBody {
    bytes: Source,
    sent: Sent,
}

#[derive(Debug)]
pub(crate) enum Source {
    /// At hand; `None` once taken.
    Full(Option<Bytes>),
    /// Fed by a transfer; so many bytes are still to come, if that is known.
    Stream { chunks: mpsc::Receiver<io::Result<Bytes>>, left: Option<u64> },
}

impl ReplyBody {
    pub(crate) fn new(bytes: Source, sent: Sent) -> Self {
        // A stream without an end may have nothing yet.
        if !matches!(bytes, Source::Full(None) | Source::Stream { left: None, .. }) {
            sent.offers();
        }
        Self { bytes, sent }
    }
}

impl Source {
    pub(crate) const EMPTY: Self = Self::Full(None);

    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        Self::Full(Some(bytes.into()))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self { bytes, sent } = &mut *self;
        let next = match bytes {
            Source::Full(bytes) if sent.is_in_pieces() => piece(bytes).map(Ok),
            Source::Full(bytes) => bytes.take().map(Ok),
            Source::Stream { left: Some(0), .. } => None,
            Source::Stream { chunks, left } => match chunks.poll_recv(cx) {
                Poll::Pending => {
                    if left.is_none() {
                        sent.waits();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(next) => counted(next, left),
            },
        };
        if let Some(Ok(bytes)) = &next {
            sent.count(bytes.len());
            sent.offers();
        }
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.bytes, Source::Full(None) | Source::Stream { left: Some(0), .. })
    }

    fn size_hint(&self) -> SizeHint {
        let exact = |length: usize| {
            u64::try_from(length).map_or_else(|_| SizeHint::new(), SizeHint::with_exact)
        };
        match &self.bytes {
            Source::Full(bytes) => exact(bytes.as_ref().map_or(0, Bytes::len)),
            Source::Stream { left: Some(left), .. } => SizeHint::with_exact(*left),
            Source::Stream { left: None, .. } => SizeHint::new(),
        }
    }
}

/// The next piece of an answer that is at hand.
fn piece(bytes: &mut Option<Bytes>) -> Option<Bytes> {
    let all = bytes.as_mut()?;
    if all.len() <= PIECE_BYTES { bytes.take() } else { Some(all.split_to(PIECE_BYTES)) }
}

/// A transfer that promised a length and ends before it was cut short: that is an error, so that
/// the connection ends uncleanly and the caller knows.
fn counted(next: Option<io::Result<Bytes>>, left: &mut Option<u64>) -> Option<io::Result<Bytes>> {
    let Some(still) = left else { return next };
    match next {
        None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        Some(Ok(bytes)) => {
            *still = still.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            Some(Ok(bytes))
        }
        failed @ Some(Err(_)) => failed,
    }
}
