//! One worker: its socket, what came of a line, what it has used, and its end.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nesssi_rpc::Fault;
use nesssi_service::Lines;
use nesssi_service::protocol::{FromWorker, LINE_BYTES_MAX, ProtocolError, ToWorker};
use tokio::net::UnixStream;
use tokio::time::Sleep;

use super::{Meter, Seats, Started};

/// How much is read at once; a longer line makes more room.
const READ_BYTES: usize = 16 * 1024;

/// How long a worker that was told to finish may take before it is killed.
const RETIRE_SECONDS_MAX: u64 = 5;

/// Bytes kept in the buffer of what is sent: a long call does not hold its memory for ever.
const OUT_KEPT_BYTES_MAX: usize = 64 * 1024;

/// After a rest longer than this the meter is read anew, so that what a worker did unasked is not
/// charged to the next caller.
const REST_UNMEASURED_MS_MAX: u64 = 50;

/// A call shorter than this is charged its wall time where the meter is too coarse for it.
const UNMEASURED_MS_MAX: u64 = 10;

/// Ends a worker with all its descendants, and removes what stood for it.
pub(crate) struct End(Option<Ending>);

type Ending = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl End {
    pub(crate) fn new<F, T>(end: F) -> Self
    where
        F: FnOnce() -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        Self(Some(Box::new(move || Box::pin(end()))))
    }

    async fn now(&mut self) {
        if let Some(end) = self.0.take() {
            end().await;
        }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("End(..)")
    }
}

impl Drop for End {
    /// A worker that is let go of is ended: it never outlives what holds it.
    fn drop(&mut self) {
        if let (Some(end), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(end());
        }
    }
}

/// Why a worker is not to be used any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It has ended.
    Ended,
    /// It does not keep to the protocol; for the log.
    Garbage(String),
}

/// A worker and all that is kept of it. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Worker {
    wire: Wire,
    meter: Meter,
    measured: Measured,
    gone: Arc<AtomicBool>,
    end: End,
    _seat: Seats,
    /// The timer of its calls, used again and again.
    tick: Pin<Box<Sleep>>,
    calls: u64,
    started: Instant,
    rested: Instant,
}

/// A worker's socket with what is under way on it.
#[derive(Debug)]
pub(super) struct Wire {
    stream: UnixStream,
    lines: Lines,
    /// What is being sent, and how much of it has been.
    out: Vec<u8>,
    sent: usize,
}

/// The meter when it was read last, and what has been charged by estimate since.
#[derive(Debug)]
struct Measured {
    usec: u64,
    estimated: u64,
}

impl Worker {
    pub(crate) fn new(started: Started, seat: Seats) -> Result<Self, Fault> {
        let Started { socket, meter, gone, end } = started;
        let unusable = |error: io::Error| {
            tracing::error!(%error, "a worker's socket cannot be used");
            Fault::incident(&super::incident())
        };
        let socket = StdUnixStream::from(socket);
        socket.set_nonblocking(true).map_err(unusable)?;
        let stream = UnixStream::from_std(socket).map_err(unusable)?;
        let now = Instant::now();
        Ok(Self {
            wire: Wire { stream, lines: Lines::new(LINE_BYTES_MAX), out: Vec::new(), sent: 0 },
            meter,
            measured: Measured { usec: 0, estimated: 0 },
            gone,
            end,
            _seat: seat,
            tick: Box::pin(tokio::time::sleep(Duration::ZERO)),
            calls: 0,
            started: now,
            rested: now,
        })
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// Why it is not, for the log; it is then being ended.
    pub(crate) async fn become_ready(mut self, patience: Duration) -> Result<Self, String> {
        let said = tokio::time::timeout(patience, self.wire.hear()).await;
        match said {
            Err(_elapsed) => Err(format!("not ready within {} s", patience.as_secs())),
            Ok(Ok(FromWorker::Ready { .. })) => {
                self.measure();
                Ok(self)
            }
            Ok(Ok(FromWorker::Broken { error })) => Err(error),
            Ok(Ok(_)) => Err("it spoke before it was ready".to_owned()),
            Ok(Err(Lost::Ended)) => Err("it ended before it was ready".to_owned()),
            Ok(Err(Lost::Garbage(text))) => Err(text),
        }
    }

    /// Makes a message the next to be sent.
    ///
    /// # Errors
    /// Where it cannot be written down; nothing of it is sent then.
    pub(super) fn put(&mut self, message: &ToWorker<'_>) -> Result<(), ProtocolError> {
        self.wire.put(message)
    }

    /// The socket and the timer, to wait for both.
    pub(super) fn wire_and_tick(&mut self) -> (&mut Wire, Pin<&mut Sleep>) {
        (&mut self.wire, self.tick.as_mut())
    }

    /// Lets the timer end after `pause`, or sooner: it is set anew only when it has ended, or when
    /// a shorter time is asked for.
    pub(super) fn wind(&mut self, pause: Duration) {
        let now = tokio::time::Instant::now();
        let deadline = now + pause;
        if self.tick.deadline() <= now || self.tick.deadline() > deadline {
            self.tick.as_mut().reset(deadline);
        }
    }

    /// Whether a resting worker may be called: it lives and has said nothing.
    pub(super) fn is_fit(&mut self) -> bool {
        let mut byte = [0_u8; 1];
        // Asks the kernel only if the poller has seen something.
        let silent = matches!(
            self.wire.stream.try_read(&mut byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        );
        silent && !self.is_gone() && matches!(self.wire.lines.next_line(), Ok(None))
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.calls += 1;
        if self.rested.elapsed() > Duration::from_millis(REST_UNMEASURED_MS_MAX) {
            self.measure();
        }
    }

    pub(super) fn rest(&mut self) {
        self.rested = Instant::now();
    }

    pub(super) fn has_rested(&self, most: Duration) -> bool {
        self.rested.elapsed() >= most
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    fn measure(&mut self) {
        if let Some(usec) = self.meter.read() {
            self.measured = Measured { usec, estimated: 0 };
        }
    }

    /// CPU microseconds since the call began.
    pub(super) fn used(&self) -> u64 {
        let base = self.measured.usec.saturating_add(self.measured.estimated);
        self.meter.read().map_or(0, |now| now.saturating_sub(base))
    }

    /// CPU microseconds of a call that took `wall`: measured, or estimated where that says nothing.
    pub(super) fn charge(&mut self, wall: Duration) -> u64 {
        let wall_usec = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        if self.meter.is_coarse() && wall < Duration::from_millis(UNMEASURED_MS_MAX) {
            self.measured.estimated = self.measured.estimated.saturating_add(wall_usec);
            return wall_usec;
        }
        let Some(now) = self.meter.read() else { return wall_usec };
        let base = self.measured.usec.saturating_add(self.measured.estimated);
        // Estimates are upper bounds: what they were too much is not given back to this caller.
        self.measured = Measured { usec: now, estimated: 0 };
        now.saturating_sub(base)
    }

    /// Lets it finish, then ends what is left of it.
    pub(crate) async fn retire(mut self) {
        let farewell = async {
            if self.put(&ToWorker::Shutdown).is_ok() && self.wire.send().await.is_ok() {
                while self.wire.hear().await.is_ok() {}
            }
        };
        let patience = Duration::from_secs(RETIRE_SECONDS_MAX);
        if tokio::time::timeout(patience, farewell).await.is_err() {
            tracing::info!("a worker did not finish when it was told to");
        }
        self.end.now().await;
    }

    /// Ends it, and waits until that is done.
    pub(super) async fn kill(mut self) {
        self.end.now().await;
    }
}

impl Wire {
    /// Makes a message the next to be sent.
    fn put(&mut self, message: &ToWorker<'_>) -> Result<(), ProtocolError> {
        if self.sent == self.out.len() {
            self.out.clear();
            self.out.shrink_to(OUT_KEPT_BYTES_MAX);
            self.sent = 0;
        }
        message.write_line(&mut self.out)
    }

    /// Whether something is still to be sent.
    pub(super) fn is_sending(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Sends what there is. May be given up and begun again.
    pub(super) async fn send(&mut self) -> Result<(), Lost> {
        loop {
            let left = self.out.get(self.sent..).unwrap_or_default();
            if left.is_empty() {
                return Ok(());
            }
            match self.stream.try_write(left) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await.map_err(|_| Lost::Ended)?;
                }
                Err(_) => return Err(Lost::Ended),
            }
        }
    }

    /// The next message. May be given up and begun again.
    pub(super) async fn hear(&mut self) -> Result<FromWorker, Lost> {
        loop {
            if let Some(message) = self.heard()? {
                return Ok(message);
            }
            let space = self.lines.space();
            space.reserve(READ_BYTES);
            match self.stream.try_read_buf(space) {
                Ok(0) => return Err(Lost::Ended),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.readable().await.map_err(|_| Lost::Ended)?;
                }
                Err(_) => return Err(Lost::Ended),
            }
        }
    }

    fn heard(&mut self) -> Result<Option<FromWorker>, Lost> {
        match self.lines.next_line() {
            Ok(Some(line)) => {
                FromWorker::parse(line).map(Some).map_err(|error| Lost::Garbage(error.to_string()))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(Lost::Garbage(error.to_string())),
        }
    }
}
