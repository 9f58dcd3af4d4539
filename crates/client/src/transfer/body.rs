//! A file as the body of a request, read as it is sent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// How much was given to the connection.
#[derive(Debug, Default)]
pub(crate) struct Sent(AtomicU64);

impl Sent {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file of a length that is known beforehand.
#[derive(Debug)]
pub(crate) struct FileBody {
    file: File,
    left: u64,
    sent: Arc<Sent>,
    buffer: Vec<u8>,
}

impl FileBody {
    pub(crate) fn new(file: File, left: u64, sent: Arc<Sent>) -> Self {
        Self { file, left, sent, buffer: vec![0; PIECE_BYTES] }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        if body.left == 0 {
            return Poll::Ready(None);
        }
        let room = usize::try_from(body.left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let mut buffer = ReadBuf::new(body.buffer.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut body.file).poll_read(context, &mut buffer))?;
        let piece = Bytes::copy_from_slice(buffer.filled());
        if piece.is_empty() {
            let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter");
            return Poll::Ready(Some(Err(error)));
        }
        let read = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        body.left = body.left.saturating_sub(read);
        body.sent.0.fetch_add(read, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
