//! The access edits in force: what the journal held, and every change since, each durable before it is
//! in force. `jobs` keeps the journal, and makes the changes (`jobs/access.rs`).

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use nesssi_policy::{AccessEdit, AccessEdits};

/// The edits. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edits {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    edits: ArcSwap<AccessEdits>,
    /// One change at a time, so that journal and memory agree; the number for the next edit.
    next: tokio::sync::Mutex<u64>,
}

impl Edits {
    /// Takes up what the journal held, and the number for the next edit.
    pub(crate) async fn take_up(&self, edits: Vec<AccessEdit>, next: u64) {
        *self.turn().await = next;
        let mut all = AccessEdits::default();
        edits.into_iter().for_each(|edit| all.add(edit));
        self.put(all);
    }

    /// Those of now.
    pub(crate) fn now(&self) -> Guard<Arc<AccessEdits>> {
        self.shared.edits.load()
    }

    /// The turn to make a change.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, u64> {
        self.shared.next.lock().await
    }

    /// From now on these.
    pub(crate) fn put(&self, edits: AccessEdits) {
        self.shared.edits.store(Arc::new(edits));
    }
}
