//! A pulse is the life sign of one connection: what it is doing and since when. From it follows
//! when the connection is overdue, whatever a slow or silent caller does.
//!
//! | the connection | may do so for |
//! |---|---|
//! | waits for a request | `idle_seconds_max` |
//! | has sent a part of a request's head | `header_seconds_max` |
//! | does not take what is written to it, or (HTTP/2) the next piece of one of its answers | `body_seconds_max` |
//! | has requests under way | as their own deadlines say |
//!
//! Keeping it costs the usual request no timer: one timer a connection is set to the earliest
//! deadline, and when it fires too early it is set again.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use nesssi_config::Bounds;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long each phase of a connection may last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) handshake: Duration,
    pub(crate) header: Duration,
    pub(crate) body: Duration,
    pub(crate) idle: Duration,
}

impl Patience {
    pub(crate) fn of(bounds: &Bounds) -> Self {
        let seconds = |number: u32| Duration::from_secs(u64::from(number));
        Self {
            handshake: seconds(bounds.handshake_seconds_max),
            header: seconds(bounds.header_seconds_max),
            body: seconds(bounds.body_seconds_max),
            idle: seconds(bounds.idle_seconds_max),
        }
    }
}

/// A moment since which no deadline was asked for.
const JUST_NOW: u64 = u64::MAX;

/// The life sign of one connection, shared by its stream, its requests and its watch.
///
/// Moments are milliseconds after the beginning, plus one; zero is "not now", [`JUST_NOW`] a moment
/// that is looked up when somebody asks for it, since the clock of most requests is never asked.
#[derive(Debug)]
pub(crate) struct Pulse {
    began: Instant,
    patience: Patience,
    /// Whether bytes between requests belong to a request's head (HTTP/1).
    heads_are_bare: bool,
    under_way: AtomicU32,
    /// The requests of HTTP/2 whose answers the caller has to take, by their numbers, and since when. There
    /// he says himself how much of an answer may come: where it is nothing, no write is stuck.
    untaken: Mutex<HashMap<u64, u64>>,
    last_number: AtomicU64,
    idle_since: AtomicU64,
    head_since: AtomicU64,
    stuck_since: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(patience: Patience, heads_are_bare: bool) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            patience,
            heads_are_bare,
            under_way: AtomicU32::new(0),
            untaken: Mutex::default(),
            last_number: AtomicU64::new(0),
            idle_since: AtomicU64::new(1),
            head_since: AtomicU64::new(0),
            stuck_since: AtomicU64::new(0),
        })
    }

    /// A request's head is read; it is under way until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        let number = self.last_number.fetch_add(1, Ordering::Relaxed);
        UnderWay { pulse: Arc::clone(self), number, ended: None }
    }

    /// Whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// Whether it merely waits: no request under way, none begun, nothing to be written.
    pub(crate) fn is_quiet(&self) -> bool {
        let zero = |moment: &AtomicU64| moment.load(Ordering::Relaxed) == 0;
        self.is_idle() && zero(&self.head_since) && zero(&self.stuck_since)
    }

    /// Since when no request is under way.
    pub(crate) fn idle_from(&self) -> Option<Instant> {
        let idle = Duration::from_millis(self.idle_since.load(Ordering::Relaxed));
        self.is_idle().then(|| self.began + idle)
    }

    /// When this connection is overdue, as it stands now; `None` while its requests see to themselves.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.head_since.load(Ordering::Relaxed) == JUST_NOW {
            self.head_since.store(self.moment(Instant::now()), Ordering::Relaxed);
        }
        let since = |moment: &AtomicU64| moment.load(Ordering::Relaxed);
        let (stuck, head, idle) =
            (since(&self.stuck_since), since(&self.head_since), since(&self.idle_since));
        let (from, patience) = match self.untaken_since() {
            Some(untaken) if stuck == 0 || untaken < stuck => (untaken, self.patience.body),
            _ if stuck > 0 => (stuck, self.patience.body),
            _ if !self.is_idle() => return None,
            _ if head > 0 => (head, self.patience.header),
            _ => (idle, self.patience.idle),
        };
        Some(self.began + Duration::from_millis(from) + patience)
    }

    /// Since when the caller has let the answer wait that waits longest.
    fn untaken_since(&self) -> Option<u64> {
        if self.heads_are_bare { None } else { self.untaken().values().min().copied() }
    }

    fn untaken(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_some(&self) {
        let between = self.heads_are_bare && self.is_idle();
        if between && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(JUST_NOW, Ordering::Relaxed);
        }
    }

    fn write_ended(&self, stuck: bool) {
        let was = self.stuck_since.load(Ordering::Relaxed) > 0;
        if stuck != was {
            let since = if stuck { self.moment(Instant::now()) } else { 0 };
            self.stuck_since.store(since, Ordering::Relaxed);
        }
    }

    fn moment(&self, at: Instant) -> u64 {
        let after = at.saturating_duration_since(self.began).as_millis();
        u64::try_from(after).unwrap_or(JUST_NOW - 2) + 1
    }
}

/// One request under way; dropped when its answer is written or given up.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pulse: Arc<Pulse>,
    number: u64,
    ended: Option<Instant>,
}

impl UnderWay {
    /// There is something of its answer, which the caller has to take from now on.
    pub(crate) fn offers(&self) {
        if !self.pulse.heads_are_bare {
            self.pulse.untaken().insert(self.number, self.pulse.moment(Instant::now()));
        }
    }

    /// The caller has taken all that there is of its answer yet.
    pub(crate) fn waits(&self) {
        if !self.pulse.heads_are_bare {
            self.pulse.untaken().remove(&self.number);
        }
    }

    /// Whether its answer is handed over in pieces, of which the caller says how many may come.
    pub(crate) fn is_in_pieces(&self) -> bool {
        !self.pulse.heads_are_bare
    }

    /// It is over, and the time is known.
    pub(crate) fn end(&mut self, now: Instant) {
        self.ended = Some(now);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.waits();
        let ended = self.pulse.moment(self.ended.unwrap_or_else(Instant::now));
        self.pulse.idle_since.store(ended, Ordering::Relaxed);
        self.pulse.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that keeps a pulse.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    pulse: Arc<Pulse>,
}

impl<S> Metered<S> {
    pub(crate) fn new(stream: S, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if buffer.filled().len() > before {
            self.pulse.read_some();
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.pulse.write_ended(outcome.is_pending());
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.pulse.write_ended(outcome.is_pending());
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.pulse.write_ended(outcome.is_pending());
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.pulse.write_ended(outcome.is_pending());
        outcome
    }
}

#[cfg(test)]
mod tests;
