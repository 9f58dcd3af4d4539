//! The one thread that writes: it takes all that waits, commits it, and tells each writer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::store::Store;
use crate::{Change, JournalError};

/// How many writes may wait before further ones are refused with [`JournalError::Busy`].
pub const WRITES_WAITING_MAX: usize = 16_384;

/// How many writes one transaction holds: bounds how long the first one waits for the last.
const GROUP_WRITES_MAX: usize = 1024;

/// What is called when a write is durable, or was refused. It runs on the writer's thread and must
/// not wait for anything.
pub type Done = Box<dyn FnOnce(Result<(), JournalError>) + Send>;

/// The journal, open for writing. Clones write to the same.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    sender: Mutex<Option<Sender<Write>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    waiting: Arc<AtomicUsize>,
}

struct Write {
    changes: Vec<Change>,
    done: Done,
}

impl Journal {
    pub(crate) fn over(store: Store) -> Result<Self, JournalError> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let thread = std::thread::Builder::new()
            .name("nesssi-journal".to_owned())
            .spawn({
                let waiting = Arc::clone(&waiting);
                move || write_all(store, &receiver, &waiting)
            })
            .map_err(|error| JournalError::Sqlite(format!("no thread for the writer: {error}")))?;
        let shared =
            Shared { sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), waiting };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks for changes, all or none; `done` is called once they are durable or refused.
    pub fn write(&self, changes: Vec<Change>, done: Done) {
        let write = Write { changes, done };
        let refused = {
            let sender = self.shared.sender.lock().unwrap_or_else(PoisonError::into_inner);
            match sender.as_ref() {
                Some(sender) if self.shared.waiting.load(Ordering::SeqCst) < WRITES_WAITING_MAX => {
                    self.shared.waiting.fetch_add(1, Ordering::SeqCst);
                    sender.send(write).err().map(|unsent| unsent.0)
                }
                _ => Some(write),
            }
        };
        if let Some(write) = refused {
            (write.done)(Err(JournalError::Busy));
        }
    }

    /// Asks for changes and waits until they are durable.
    ///
    /// # Errors
    /// [`JournalError`] with why they are not.
    pub fn write_and_wait(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let done: Done = Box::new(move |outcome| {
            // The receiver below waits without end.
            sender.send(outcome).unwrap_or_default();
        });
        self.write(changes, done);
        receiver.recv().unwrap_or(Err(JournalError::Busy))
    }

    /// Writes what waits, takes nothing more, and closes the file.
    pub fn close(&self) {
        drop(self.shared.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of that thread has been reported on standard error already.
            thread.join().unwrap_or_default();
        }
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Journal")
            .field("waiting", &self.shared.waiting.load(Ordering::SeqCst))
            .finish_non_exhaustive()
    }
}

/// Group commit, until the last sender is gone.
fn write_all(mut store: Store, receiver: &Receiver<Write>, waiting: &AtomicUsize) {
    while let Ok(first) = receiver.recv() {
        let mut group = vec![first];
        group.extend(receiver.try_iter().take(GROUP_WRITES_MAX - 1));
        waiting.fetch_sub(group.len(), Ordering::SeqCst);
        let outcome = store.commit(group.iter().map(|write| write.changes.as_slice()));
        match outcome {
            Ok(outcomes) => {
                for (write, outcome) in group.into_iter().zip(outcomes) {
                    (write.done)(outcome);
                }
            }
            Err(error) => {
                for write in group {
                    (write.done)(Err(error.clone()));
                }
            }
        }
    }
}
