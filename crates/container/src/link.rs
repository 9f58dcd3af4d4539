//! A link is the asynchronous use of a channel: many requests under way at once, each waiting for
//! the answer with its id, and a stream of what the other side says unasked.
//!
//! A link never trusts the other side's order or honesty: an answer nobody waits for is dropped
//! with its descriptors, a record that is none closes the link, and a closed link fails every
//! request under way with [`LinkError::Closed`].

mod channels;
mod jobmanager;
mod monitor;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nesssi_privsep::channel::encode;
use nesssi_privsep::messages::Refusal;
use nesssi_privsep::wire::Field;
use nesssi_privsep::{Channel, ChannelError, Received};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

pub use channels::{Channels, JobmanagerEvent};
pub use jobmanager::{
    AccessFound, BatchListing, BatchStart, Found, GuardFound, JobFound, JobStart, Jobmanager,
    NotListed, Opened, RecordWatch, ScanFound, Stated, SubmitOutcome, Unasked, Watch, WorkerStart,
    Writing, Written,
};
pub use monitor::{Leaf, Monitor, MonitorEvent, Welcome};

/// How many unasked messages wait for their reader before the other side is made to wait.
const EVENTS_MAX: usize = 256;

/// How many answers of one request with many answers wait for their reader.
const STREAM_MAX: usize = 64;

/// How long an answer may take where nothing shorter is said. The monitor's own deadline for name
/// service look-ups is shorter, so that its typed refusal comes first.
const ANSWER_SECONDS_MAX: u64 = 60;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The other process is gone, or was dropped for not keeping to the protocol.
    #[error("the link is closed")]
    Closed,
    /// The request does not fit a record.
    #[error("the request is too long")]
    TooLong,
    /// No answer came in time.
    #[error("no answer in time")]
    TimedOut,
    /// The system's own error.
    #[error("link: {0}")]
    Io(String),
}

impl From<ChannelError> for LinkError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed => Self::Closed,
            ChannelError::TooLong => Self::TooLong,
            ChannelError::WouldBlock
            | ChannelError::Version(_)
            | ChannelError::Wire(_)
            | ChannelError::Io(_) => Self::Io(error.to_string()),
        }
    }
}

/// Why the monitor or a jobmanager did not do what it was asked. Its text is for logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The monitor refused.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// The jobmanager failed.
    #[error("{text} (error {errno})")]
    Failed {
        /// The system's error number, 0 if it is not the system's.
        errno: i32,
        /// What failed.
        text: String,
    },
    /// The link did not carry it.
    #[error("{0}")]
    Link(#[from] LinkError),
    /// An answer of another kind came.
    #[error("an answer that does not fit the request")]
    Unfit,
}

impl AskError {
    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(refusal) => match refusal {
                Refusal::StaleGrant {} | Refusal::System { .. } | Refusal::Busy { .. } => true,
                Refusal::NoLevel { .. }
                | Refusal::BadAccount { .. }
                | Refusal::BadSeal { .. }
                | Refusal::BadRequest { .. } => false,
            },
            Self::Link(error) => *error != LinkError::TooLong,
            Self::Failed { .. } | Self::Unfit => false,
        }
    }
}

/// What waits for an answer.
#[derive(Debug)]
enum Waiter<In> {
    One(oneshot::Sender<Received<In>>),
    Many(mpsc::Sender<Received<In>>),
}

#[derive(Debug)]
struct Pending<In> {
    waiters: HashMap<u32, Waiter<In>>,
    closed: bool,
}

/// A channel's descriptor in the form that tokio asks for.
#[derive(Debug)]
struct Socket(Channel);

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[derive(Debug)]
struct Shared<In> {
    socket: AsyncFd<Socket>,
    pending: Mutex<Pending<In>>,
    next_id: AtomicU32,
    /// Dropped with the last handle, which ends the reader.
    stop: tokio::sync::Notify,
}

/// One end of a link, speaking `Out` and hearing `In`. Clones speak on the same channel.
#[derive(Debug)]
pub(crate) struct Link<Out, In> {
    shared: Arc<Shared<In>>,
    /// Ends the reader when the last clone is gone.
    _alive: Arc<Alive<In>>,
    speaks: std::marker::PhantomData<fn(Out)>,
}

#[derive(Debug)]
struct Alive<In> {
    shared: Arc<Shared<In>>,
}

impl<In> Drop for Alive<In> {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
    }
}

impl<Out, In> Clone for Link<Out, In> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            _alive: Arc::clone(&self._alive),
            speaks: std::marker::PhantomData,
        }
    }
}

impl<Out: Field, In: Field + Send + 'static> Link<Out, In> {
    /// Takes a channel over; the receiver gets what comes unasked, and ends with the link.
    ///
    /// # Errors
    /// [`LinkError::Io`] where the descriptor cannot be made non-blocking or registered.
    pub(crate) fn new(socket: OwnedFd) -> Result<(Self, mpsc::Receiver<Received<In>>), LinkError> {
        let channel = Channel::from_fd(socket);
        channel.set_nonblocking()?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor may change; ours is owned"
        )]
        let socket = AsyncFd::new(Socket(channel));
        let socket = socket.map_err(|error| LinkError::Io(error.to_string()))?;
        let shared = Arc::new(Shared {
            socket,
            pending: Mutex::new(Pending { waiters: HashMap::new(), closed: false }),
            next_id: AtomicU32::new(1),
            stop: tokio::sync::Notify::new(),
        });
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(read_all(Arc::clone(&shared), events));
        let alive = Arc::new(Alive { shared: Arc::clone(&shared) });
        Ok((Self { shared, _alive: alive, speaks: std::marker::PhantomData }, receiver))
    }

    /// Sends a request; the returned value gives its answer.
    ///
    /// Requests of one task arrive in the order they were sent.
    pub(crate) async fn send(
        &self,
        message: &Out,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<AnswerTo<In>, LinkError> {
        let (sender, answer) = oneshot::channel();
        self.send_with(message, descriptors, Waiter::One(sender)).await?;
        Ok(AnswerTo { answer, patience: Duration::from_secs(ANSWER_SECONDS_MAX) })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(
        &self,
        message: &Out,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Received<In>, LinkError> {
        self.send(message, descriptors).await?.wait().await
    }

    /// Sends a request that has many answers.
    pub(crate) async fn ask_many(&self, message: &Out) -> Result<AnswersTo<In>, LinkError> {
        let (sender, answers) = mpsc::channel(STREAM_MAX);
        let id = self.send_with(message, &[], Waiter::Many(sender)).await?;
        Ok(AnswersTo { answers, shared: Arc::clone(&self.shared), id })
    }

    /// Sends what has no answer.
    pub(crate) async fn tell(&self, message: &Out) -> Result<(), LinkError> {
        let record = encode(0, message)?;
        self.write(&record, &[]).await
    }

    /// Whether the other side is gone.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.shared.pending).closed
    }

    async fn send_with(
        &self,
        message: &Out,
        descriptors: &[BorrowedFd<'_>],
        waiter: Waiter<In>,
    ) -> Result<u32, LinkError> {
        let id = self.next_id();
        let record = encode(id, message)?;
        {
            let mut pending = lock(&self.shared.pending);
            if pending.closed {
                return Err(LinkError::Closed);
            }
            pending.waiters.insert(id, waiter);
        }
        let sent = self.write(&record, descriptors).await;
        if sent.is_err() {
            lock(&self.shared.pending).waiters.remove(&id);
        }
        sent.map(|()| id)
    }

    fn next_id(&self) -> u32 {
        loop {
            let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
            if id != 0 && !lock(&self.shared.pending).waiters.contains_key(&id) {
                return id;
            }
        }
    }

    async fn write(&self, record: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        loop {
            match self.shared.socket.get_ref().0.send_bytes(record, descriptors) {
                Err(ChannelError::WouldBlock) => {}
                sent => return Ok(sent?),
            }
            let ready = self.shared.socket.writable().await;
            let mut ready = ready.map_err(|error| LinkError::Io(error.to_string()))?;
            // Cleared before the next try: a wake-up between the two is not lost, since the try
            // itself is what finds room.
            match ready
                .try_io(|socket| would_block(socket.get_ref().0.send_bytes(record, descriptors)))
            {
                Ok(sent) => return Ok(sent.map_err(|error| LinkError::Io(error.to_string()))??),
                Err(_would_block) => {}
            }
        }
    }
}

/// An answer under way.
#[derive(Debug)]
pub(crate) struct AnswerTo<In> {
    answer: oneshot::Receiver<Received<In>>,
    patience: Duration,
}

impl<In> AnswerTo<In> {
    /// Waits for it longer or shorter than usual.
    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits for it.
    pub(crate) async fn wait(self) -> Result<Received<In>, LinkError> {
        match tokio::time::timeout(self.patience, self.answer).await {
            Ok(Ok(received)) => Ok(received),
            Ok(Err(_closed)) => Err(LinkError::Closed),
            Err(_elapsed) => Err(LinkError::TimedOut),
        }
    }
}

/// The answers to one request, until this is dropped.
#[derive(Debug)]
pub(crate) struct AnswersTo<In> {
    answers: mpsc::Receiver<Received<In>>,
    shared: Arc<Shared<In>>,
    id: u32,
}

impl<In> AnswersTo<In> {
    /// The next one; `None` when the link is closed.
    pub(crate) async fn next(&mut self) -> Option<Received<In>> {
        self.answers.recv().await
    }
}

impl<In> Drop for AnswersTo<In> {
    fn drop(&mut self) {
        lock(&self.shared.pending).waiters.remove(&self.id);
    }
}

/// Reads until the other side is gone or the last handle is dropped.
async fn read_all<In: Field>(shared: Arc<Shared<In>>, events: mpsc::Sender<Received<In>>) {
    loop {
        let received = tokio::select! {
            received = read_one(&shared.socket) => received,
            () = shared.stop.notified() => break,
        };
        match received {
            Ok(received) => deliver(&shared, &events, received).await,
            Err(LinkError::Closed) => break,
            Err(error) => {
                tracing::warn!(%error, "dropping a link whose other side does not keep to the protocol");
                break;
            }
        }
    }
    // Out of the lock before they are dropped: a waiter's drop wakes its task.
    let waiters = {
        let mut pending = lock(&shared.pending);
        pending.closed = true;
        std::mem::take(&mut pending.waiters)
    };
    drop(waiters);
}

async fn read_one<In: Field>(socket: &AsyncFd<Socket>) -> Result<Received<In>, LinkError> {
    loop {
        let ready = socket.readable().await;
        let mut ready = ready.map_err(|error| LinkError::Io(error.to_string()))?;
        match ready.try_io(|socket| would_block(receive(&socket.get_ref().0))) {
            Ok(received) => {
                return Ok(received.map_err(|error| LinkError::Io(error.to_string()))??);
            }
            Err(_would_block) => {}
        }
    }
}

/// Receives what is there, also behind a reset: a process that dies with unread requests resets the
/// socket, and the reset is reported before the answers that it had sent.
fn receive<In: Field>(channel: &Channel) -> Result<Received<In>, ChannelError> {
    match channel.receive() {
        Err(ChannelError::Closed) => channel.receive(),
        other => other,
    }
}

async fn deliver<In>(
    shared: &Shared<In>,
    events: &mpsc::Sender<Received<In>>,
    received: Received<In>,
) {
    if received.id == 0 {
        if events.send(received).await.is_err() {
            tracing::trace!("an unasked message had no reader");
        }
        return;
    }
    let id = received.id;
    let stream = {
        let mut pending = lock(&shared.pending);
        match pending.waiters.remove(&id) {
            Some(Waiter::One(waiter)) => {
                if waiter.send(received).is_err() {
                    tracing::trace!("an answer came after its asker had left");
                }
                return;
            }
            Some(Waiter::Many(waiter)) => {
                pending.waiters.insert(id, Waiter::Many(waiter.clone()));
                waiter
            }
            None => return,
        }
    };
    if stream.send(received).await.is_err() {
        lock(&shared.pending).waiters.remove(&id);
    }
}

/// Tokio clears readiness on an error of that kind alone; every other outcome passes through.
fn would_block<T>(outcome: Result<T, ChannelError>) -> io::Result<Result<T, ChannelError>> {
    match outcome {
        Err(ChannelError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        other => Ok(other),
    }
}

/// The lock, also after a thread has panicked with it: each change under it is one step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
