//! Driving a connection: to its own end, or to the end that its deadlines, its credential or the
//! server's drain set it.

use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Sleep;

use crate::pulse::Pulse;

/// How long a connection that was told to end may take to write what it still has to.
const GOODBYE_SECONDS_MAX: u64 = 5;
/// How long the requests of a connection may go on whose credential counts no longer.
const RECALLED_SECONDS_MAX: u64 = 10;
/// No timer is set farther ahead than this; it is set again when it fires.
const LOOK_SECONDS_MAX: u64 = 3_600;

/// A connection of either HTTP version.
pub(crate) trait Served: Future<Output = Result<(), hyper::Error>> {
    /// Takes no further request and ends once those under way are answered.
    fn end_gracefully(self: Pin<&mut Self>);
}

impl<I, S> Served for hyper::server::conn::http1::Connection<I, S>
where
    S: hyper::service::HttpService<hyper::body::Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: hyper::body::Body + 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, E> Served for hyper::server::conn::http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<hyper::body::Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: hyper::body::Body + 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The server's drain, in two steps: answers end their connections; then idle connections are
/// ended too.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    begun: AtomicBool,
    /// When what is idle is to end.
    idle_ends: OnceLock<Instant>,
    wake: Notify,
}

impl Drain {
    /// From now on every answer ends its connection, and after `idle_for` idle ones are ended.
    pub(crate) fn begin(&self, idle_for: Duration) {
        self.idle_ends.get_or_init(|| Instant::now() + idle_for);
        self.begun.store(true, Ordering::Release);
        self.wake.notify_waiters();
    }

    /// Returns once it has begun.
    pub(crate) async fn begun(&self) {
        let wake = self.wake.notified();
        if !self.begun.load(Ordering::Acquire) {
            wake.await;
        }
    }

    /// Whether it has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}

/// Ends one connection from outside: its credential counts no longer.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    at: OnceLock<Instant>,
    wake: Notify,
}

impl Recall {
    /// The connection takes no further request from now on, and is cut off [`RECALLED_SECONDS_MAX`] later.
    pub(crate) fn now(&self) {
        self.at.get_or_init(Instant::now);
        self.wake.notify_waiters();
    }
}

/// What ends a connection from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends<'a> {
    pub(crate) pulse: &'a Pulse,
    pub(crate) drain: &'a Drain,
    /// When the caller's credential expires.
    pub(crate) credential: Option<Instant>,
    pub(crate) recall: &'a Recall,
    /// Whether the other side can be told at once without losing a request on its way (HTTP/2).
    pub(crate) goaway: bool,
}

/// Drives `connection` until it ends or is ended.
pub(crate) async fn drive<C: Served>(connection: C, ends: Ends<'_>) -> Result<(), hyper::Error> {
    let mut connection = pin!(connection);
    let mut drained = pin!(ends.drain.wake.notified());
    let mut recalled = pin!(ends.recall.wake.notified());
    let timer = pin!(tokio::time::sleep(Duration::from_secs(LOOK_SECONDS_MAX)));
    let mut watch = Watch { ends, timer, armed: false, drain_seen: false, told: None };
    // Registered once: the flags are read on every later poll.
    drained.as_mut().enable();
    recalled.as_mut().enable();
    std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(outcome) = connection.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            match watch.poll([drained.as_mut(), recalled.as_mut()], cx) {
                Verdict::Wait => return Poll::Pending,
                Verdict::Goodbye => connection.as_mut().end_gracefully(),
                Verdict::Cut => return Poll::Ready(Ok(())),
            }
        }
    })
    .await
}

enum Verdict {
    Wait,
    /// Tell the connection to end, then go on.
    Goodbye,
    Cut,
}

struct Watch<'a, 't> {
    ends: Ends<'a>,
    timer: Pin<&'t mut Sleep>,
    armed: bool,
    drain_seen: bool,
    /// When the connection was told to end.
    told: Option<Instant>,
}

impl Watch<'_, '_> {
    fn poll(&mut self, wakes: [Pin<&mut Notified<'_>>; 2], cx: &mut Context<'_>) -> Verdict {
        if !self.armed {
            // The first poll leaves the task's waker with the drain and the recall.
            for wake in wakes {
                let _woken_or_not = wake.poll(cx);
            }
        }
        if self.ends.drain.has_begun() && !self.drain_seen {
            self.drain_seen = true;
            if self.ends.goaway && self.told.is_none() {
                return self.tell(Instant::now());
            }
        }
        if self.told.is_none() && self.ends.recall.at.get().is_some() {
            return self.tell(Instant::now());
        }
        let due = self.due();
        if due.is_some_and(|due| due < self.timer.deadline().into_std()) {
            self.set(due);
        }
        while !self.armed || self.timer.is_elapsed() {
            self.armed = true;
            if self.timer.as_mut().poll(cx).is_pending() {
                return Verdict::Wait;
            }
            let (due, now) = (self.due(), Instant::now());
            match due {
                Some(due) if due <= now => return self.end(now),
                later => self.set(later),
            }
        }
        Verdict::Wait
    }

    /// The earliest end that is known now.
    fn due(&self) -> Option<Instant> {
        let Ends { pulse, drain, credential, recall, .. } = self.ends;
        let recalled = recall.at.get().map(|at| *at + Duration::from_secs(RECALLED_SECONDS_MAX));
        let grace = Duration::from_secs(GOODBYE_SECONDS_MAX);
        let (drained, expired) = match self.told {
            Some(told) => (pulse.idle_from().map(|idle| idle.max(told) + grace), grace),
            None if self.drain_seen && pulse.is_idle() => {
                (drain.idle_ends.get().copied(), Duration::ZERO)
            }
            None => (None, Duration::ZERO),
        };
        [pulse.due(), drained, recalled, credential.map(|at| at + expired)]
            .into_iter()
            .flatten()
            .min()
    }

    /// A caller who is merely idle, drained or expired is told; one who is slow, or was told, is cut off.
    fn end(&mut self, now: Instant) -> Verdict {
        let Ends { pulse, .. } = self.ends;
        let slow = !pulse.is_quiet() && pulse.due().is_some_and(|due| due <= now);
        if slow || self.told.is_some() { Verdict::Cut } else { self.tell(now) }
    }

    fn tell(&mut self, now: Instant) -> Verdict {
        self.told = Some(now);
        self.set(self.due());
        Verdict::Goodbye
    }

    fn set(&mut self, due: Option<Instant>) {
        let farthest = Instant::now() + Duration::from_secs(LOOK_SECONDS_MAX);
        let due = due.map_or(farthest, |due| due.min(farthest));
        self.timer.as_mut().reset(due.into());
        self.armed = false;
    }
}
