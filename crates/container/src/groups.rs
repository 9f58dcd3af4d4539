//! The VO groups in force: what the journal held, and every change since, each durable before it is
//! in force. `jobs` keeps the journal, and makes the changes (`jobs/groups.rs`).

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nesssi_config::Config;
use nesssi_dn::SubjectDn;
use nesssi_policy::{VoChange, VoTree};

/// The groups. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Changed in place: a tree of a million entries is not copied for one of them.
    tree: RwLock<VoTree>,
    /// One change at a time, so that journal and memory agree.
    turn: tokio::sync::Mutex<()>,
}

impl Groups {
    /// None but the root administrators.
    pub(crate) fn new(config: &Config) -> Self {
        let mut tree = VoTree::default();
        tree.set_roots(&config.policy.vo_administrators);
        let (tree, turn) = (RwLock::new(tree), tokio::sync::Mutex::default());
        Self { shared: Arc::new(Shared { tree, turn }) }
    }

    /// Those of now. Not to be held over a wait.
    pub(crate) fn now(&self) -> RwLockReadGuard<'_, VoTree> {
        self.shared.tree.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to make a change.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.shared.turn.lock().await
    }

    /// Makes a change that is durable.
    pub(crate) fn apply(&self, change: &VoChange) {
        if let Err(error) = self.change().apply(change) {
            tracing::error!(%error, group = change.group(), "a change of VO groups does not fit");
        }
    }

    /// Other root administrators.
    pub(crate) fn set_roots(&self, roots: &[SubjectDn]) {
        self.change().set_roots(roots);
    }

    fn change(&self) -> RwLockWriteGuard<'_, VoTree> {
        self.shared.tree.write().unwrap_or_else(PoisonError::into_inner)
    }
}
