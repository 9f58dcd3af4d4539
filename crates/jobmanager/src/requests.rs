//! The requests: what each channel may ask, and who in this room answers.

use std::os::fd::OwnedFd;

use nesssi_privsep::messages::{ChannelKind, FromJobmanager, ToJobmanager};
use nesssi_session::{
    GlobError, SandboxError, SandboxPath, SandboxPathError, SessionId, SessionIdError,
};
use rustix::io::Errno;

use crate::batch::Listing;
use crate::find;
use crate::helpers::Work;
use crate::manager::Manager;
use crate::writes::Bounds;

/// Whether a channel of this kind may ask this. Everything that is not listed is refused.
#[must_use]
pub fn permits(kind: &ChannelKind, request: &ToJobmanager) -> bool {
    use ToJobmanager as Ask;
    match request {
        Ask::Prepare { .. }
        | Ask::StartJob { .. }
        | Ask::SubmitBatch { .. }
        | Ask::StartWorker { .. }
        | Ask::KillWorker { .. }
        | Ask::MakeDirectory { .. }
        | Ask::BeginWrite { .. }
        | Ask::CommitWrite { .. }
        | Ask::DiscardWrite { .. }
        | Ask::Rename { .. }
        | Ask::TreeOpen { .. }
        | Ask::TreeList { .. }
        | Ask::TreeStat { .. }
        | Ask::TreeFind { .. } => *kind == (ChannelKind::Start {}),
        Ask::Adopt { .. }
        | Ask::CancelJob { .. }
        | Ask::Open { .. }
        | Ask::List { .. }
        | Ask::Stat { .. }
        | Ask::Find { .. }
        | Ask::RemovePath { .. }
        | Ask::Follow { .. }
        | Ask::Unfollow { .. }
        | Ask::Remove { .. }
        | Ask::ReadRecord { .. }
        | Ask::Files { .. }
        | Ask::Usage { .. }
        | Ask::CancelBatch { .. }
        | Ask::ReadGuard { .. }
        | Ask::WatchRecord { .. } => *kind != (ChannelKind::Discover {}),
        // What batch systems know of NESSSI's jobs is for all kinds.
        Ask::ListBatch { .. } | Ask::UsageBatch { .. } => true,
        Ask::Scan { .. } | Ask::ScanAccess { .. } => *kind == (ChannelKind::Discover {}),
    }
}

/// Whether this takes a grant of now: it begins something, or reads what is no session's. A write that was
/// begun may end.
#[must_use]
pub fn starts(request: &ToJobmanager) -> bool {
    use ToJobmanager as Ask;
    matches!(
        request,
        Ask::Prepare { .. }
            | Ask::StartJob { .. }
            | Ask::SubmitBatch { .. }
            | Ask::StartWorker { .. }
            | Ask::MakeDirectory { .. }
            | Ask::BeginWrite { .. }
            | Ask::Rename { .. }
            | Ask::TreeOpen { .. }
            | Ask::TreeList { .. }
            | Ask::TreeStat { .. }
            | Ask::TreeFind { .. }
    )
}

/// Why a request failed: error number (0 if it is not the system's) and words for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) errno: i32,
    pub(crate) text: String,
}

/// The answer to be sent now, or none if it comes later or never.
pub(crate) type Answer = Result<Option<(FromJobmanager, Vec<OwnedFd>)>, Failure>;

/// An answer without descriptors.
#[allow(clippy::unnecessary_wraps, reason = "it is the value of an Answer")]
pub(crate) fn plain(message: FromJobmanager) -> Answer {
    Ok(Some((message, Vec::new())))
}

impl Failure {
    pub(crate) fn new(errno: Errno, text: impl Into<String>) -> Self {
        Self { errno: errno.raw_os_error(), text: text.into() }
    }

    pub(crate) fn message(self) -> FromJobmanager {
        FromJobmanager::Failed { errno: self.errno, text: self.text }
    }
}

impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        Self { errno: error.errno(), text: error.to_string() }
    }
}

impl From<SessionIdError> for Failure {
    fn from(error: SessionIdError) -> Self {
        Self::new(Errno::INVAL, error.to_string())
    }
}

impl From<SandboxPathError> for Failure {
    fn from(error: SandboxPathError) -> Self {
        Self::new(Errno::NOENT, error.to_string())
    }
}

impl From<GlobError> for Failure {
    fn from(error: GlobError) -> Self {
        Self::new(Errno::INVAL, error.to_string())
    }
}

impl From<nesssi_privsep::SpawnError> for Failure {
    fn from(error: nesssi_privsep::SpawnError) -> Self {
        let errno = match &error {
            nesssi_privsep::SpawnError::System { source, .. } => source.raw_os_error().unwrap_or(0),
            nesssi_privsep::SpawnError::Nul | nesssi_privsep::SpawnError::Child(_) => 0,
        };
        Self { errno, text: error.to_string() }
    }
}

impl Manager {
    /// Answers a request of a channel that may make it.
    pub(crate) fn answer(
        &mut self,
        peer: u32,
        id: u32,
        request: ToJobmanager,
        descriptors: Vec<OwnedFd>,
    ) -> Answer {
        use ToJobmanager as Ask;
        match request {
            Ask::Prepare { session, umask_default } => {
                self.prepare(&SessionId::parse(&session)?, umask_default)
            }
            Ask::StartJob { .. } => self.start_job(peer, id, request, descriptors),
            Ask::Adopt { session, tag, shepherd } => {
                self.adopt(peer, SessionId::parse(&session)?, &tag, &shepherd)
            }
            Ask::CancelJob { session } => self.cancel(&SessionId::parse(&session)?),
            Ask::Open { session, path } => self.open(&SessionId::parse(&session)?, &path.0),
            Ask::List { session, path, entries_max } => {
                self.list(&SessionId::parse(&session)?, &path.0, entries_max)
            }
            Ask::Files { session, entries_max } => {
                self.files(&SessionId::parse(&session)?, entries_max)
            }
            Ask::Follow { session, path } => {
                self.follow(peer, &SessionId::parse(&session)?, &path.0)
            }
            Ask::Unfollow { watch } => {
                self.follows.remove(peer, watch);
                Ok(None)
            }
            Ask::Remove { session } => {
                let session = SessionId::parse(&session)?;
                if self.jobs.contains_key(&session) {
                    return Err(Failure::new(Errno::BUSY, "its job has not ended"));
                }
                self.check_not_submitting(&session)?;
                self.forget_record(&session);
                self.writes.remove_session(&session);
                self.enqueue(peer, id, Work::Remove(session))
            }
            Ask::ReadRecord { session } => self.read_record(&SessionId::parse(&session)?),
            Ask::Usage { sessions } => self.usage_of(&sessions),
            Ask::StartWorker { .. } => self.start_worker(peer, request, descriptors),
            Ask::KillWorker { worker } => self.kill_worker(peer, id, worker),
            Ask::Scan { .. } => self.enqueue(peer, id, Work::scan(request)),
            Ask::ScanAccess { root } => self.enqueue(peer, id, Work::ScanAccess(root)),
            Ask::Stat { session, path } => self.stat(&SessionId::parse(&session)?, &path.0),
            Ask::Find { session, path, pattern, entries_max } => {
                let place = find::Place::Sandbox(SessionId::parse(&session)?);
                let order = find::Order::new(place, &path.0, &pattern.0, entries_max)?;
                self.enqueue(peer, id, Work::Find(Box::new(order)))
            }
            Ask::MakeDirectory { session, path, umask_default } => {
                self.make_directory(&SessionId::parse(&session)?, &path.0, umask_default)
            }
            Ask::BeginWrite { session, path, bytes_max, sandbox_bytes_max, umask_default } => {
                let bounds = Bounds { bytes_max, sandbox_bytes_max };
                self.begin_write(peer, SessionId::parse(&session)?, &path.0, bounds, umask_default)
            }
            Ask::CommitWrite { ticket, replace } => self.commit_write(peer, id, ticket, replace),
            Ask::DiscardWrite { ticket } => {
                self.writes.discard(peer, ticket);
                plain(FromJobmanager::Discarded {})
            }
            Ask::Rename { session, from, to } => {
                self.rename(&SessionId::parse(&session)?, &from.0, &to.0)
            }
            Ask::RemovePath { session, path, recursive } => {
                let (session, path) = (SessionId::parse(&session)?, SandboxPath::parse(&path.0)?);
                if recursive {
                    return self.enqueue(peer, id, Work::RemovePath(session, path));
                }
                self.account.sandbox(&session)?.remove(&path)?;
                plain(FromJobmanager::Removed {})
            }
            Ask::TreeOpen { tree, path } => self.tree_open(&tree, &path.0),
            Ask::TreeList { tree, path, entries_max } => {
                self.tree_list(&tree, &path.0, entries_max)
            }
            Ask::TreeStat { tree, path } => self.tree_stat(&tree, &path.0),
            Ask::TreeFind { tree, path, pattern, entries_max } => {
                self.trees.get(&tree)?;
                let place = find::Place::Tree(tree);
                let order = find::Order::new(place, &path.0, &pattern.0, entries_max)?;
                self.enqueue(peer, id, Work::Find(Box::new(order)))
            }
            Ask::SubmitBatch { .. } => self.submit_batch(peer, id, request),
            Ask::CancelBatch { batch, id: batch_id, tag } => {
                self.cancel_batch(peer, id, &batch, &batch_id, &tag)
            }
            Ask::ListBatch { batch, ids, accounts } => {
                let what = if accounts { Listing::Accounts } else { Listing::Jobs };
                self.list_batch(peer, id, &batch, &ids, what)
            }
            Ask::UsageBatch { batch, ids } => {
                self.list_batch(peer, id, &batch, &ids, Listing::Usage)
            }
            Ask::ReadGuard { session } => self.read_guard(&SessionId::parse(&session)?),
            Ask::WatchRecord { session } => self.watch_record(peer, &SessionId::parse(&session)?),
        }
    }
}
