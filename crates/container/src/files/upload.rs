//! An upload: a file that a caller writes into a sandbox of his own. It is written beside its place, by
//! whoever holds the descriptor, and has its place once it is whole.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use nesssi_policy::LevelName;
use nesssi_rpc::{Fault, FaultCode};
use nesssi_session::{SandboxPath, SessionId};

use super::change::{self, Act, Changer};
use super::faults;
use crate::builtin::Context;
use crate::jobs::Owner;
use crate::link::{AskError, Jobmanager, Writing, Written, lock};
use crate::{Caller, Inner};

/// Files that one caller may be writing at one time. Those of an account are bounded too, and one who shares it
/// with others could have all of them, as slowly as he likes.
const UPLOADS_PER_CALLER_MAX: u32 = 16;

/// Who is writing how many files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uploads(Arc<Mutex<HashMap<Owner, u32>>>);

/// The place of one file; dropping it is the end of that.
#[derive(Debug)]
struct Place {
    uploads: Uploads,
    owner: Owner,
}

impl Uploads {
    /// # Errors
    /// 429 where he writes too many.
    fn enter(&self, owner: Owner) -> Result<Place, Fault> {
        let mut counts = lock(&self.0);
        let own = counts.entry(owner.clone()).or_default();
        if *own >= UPLOADS_PER_CALLER_MAX {
            let text = format!(
                "{UPLOADS_PER_CALLER_MAX} files of this caller are being written, which is the limit"
            );
            return Err(Fault::new(FaultCode::TooMany, text));
        }
        *own += 1;
        drop(counts);
        Ok(Place { uploads: self.clone(), owner })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.uploads.0);
        if let Some(own) = counts.get_mut(&self.owner) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.remove(&self.owner);
            }
        }
    }
}

/// What a caller wants to write.
#[derive(Clone, Copy)]
pub struct Put<'a> {
    /// The session, as it was asked for.
    pub session: &'a str,
    /// The path in its sandbox.
    pub path: &'a [u8],
    /// The file's length, where it is announced.
    pub length: Option<u64>,
    /// Whether a file that stands there may be replaced.
    pub replace: bool,
}

/// Not `Debug` by itself: a session's id is a key.
impl std::fmt::Debug for Put<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { length, replace, .. } = self;
        out.debug_struct("Put")
            .field("length", length)
            .field("replace", replace)
            .finish_non_exhaustive()
    }
}

/// Why a file is not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutFault {
    /// As with a call.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// Something is there, and is not to be replaced.
    #[error("something is there already")]
    Exists,
}

impl PutFault {
    /// The same as the fault of a call.
    #[must_use]
    pub fn as_fault(&self) -> Fault {
        match self {
            Self::Fault(fault) => fault.clone(),
            Self::Exists => {
                Fault::new(FaultCode::Conflict, "something of that name is there already")
            }
        }
    }
}

/// A file being written. Dropped, nothing is left of it.
#[derive(Debug)]
pub struct Upload {
    facts: Facts,
    jobmanager: Jobmanager,
    /// Until it is committed.
    open: Option<Open>,
    bytes_max: u64,
    replace: bool,
    _place: Place,
}

#[derive(Debug)]
struct Open {
    file: Arc<OwnedFd>,
    writing: Writing,
}

/// What is told of it.
#[derive(Debug)]
struct Facts {
    inner: Arc<Inner>,
    caller: Caller,
    session: SessionId,
    account: String,
    level: LevelName,
    path: SandboxPath,
}

/// A file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uploaded {
    /// Its bytes.
    pub size: u64,
    /// Whether it has replaced another.
    pub replaced: bool,
}

impl Upload {
    /// Begins to write.
    ///
    /// # Errors
    /// 403 with a limited proxy, 404 where there is no such session of the caller's or the path is none,
    /// 413 for what is longer than a sandbox of the level may be, 429, 503; [`PutFault::Exists`].
    pub(crate) async fn begin(context: Context<'_>, put: &Put<'_>) -> Result<Self, PutFault> {
        let path = SandboxPath::parse(put.path).map_err(|_| super::no_such_file())?;
        change::inside(&path)?;
        let mut changer = Changer::of(context, put.session).await?;
        let owner = Owner::of(context.subject(), context.caller.address);
        let place = context.inner.uploads.enter(owner)?;
        let limit = match changer.owned.sandbox_bytes {
            0 => u64::MAX,
            bytes => bytes,
        };
        if let Some(length) = put.length.filter(|length| *length > limit) {
            return Err(too_long(length, limit, &changer.owned.level).into());
        }
        if !put.replace && changer.is_there(&path).await {
            return Err(PutFault::Exists);
        }
        let bytes_max = put.length.unwrap_or(limit);
        let mut writing = changer.begin_write(&path, bytes_max).await?;
        let file = writing.file.take().ok_or_else(|| faults::of_change(&AskError::Unfit))?;
        let (jobmanager, owned) = changer.into_parts();
        let facts = Facts {
            inner: Arc::clone(context.inner),
            caller: context.caller.clone(),
            session: owned.id,
            account: owned.account,
            level: owned.level,
            path,
        };
        facts.record("write_begun", None, &Ok(()));
        let open = Some(Open { file: Arc::new(file), writing });
        Ok(Self { facts, jobmanager, open, bytes_max, replace: put.replace, _place: place })
    }

    /// Where to write, by offset from the beginning. Whoever has it lets it go before the commit; `None`
    /// after it.
    #[must_use]
    pub fn file(&self) -> Option<Arc<OwnedFd>> {
        self.open.as_ref().map(|open| Arc::clone(&open.file))
    }

    /// Bytes that it may have.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The account that it belongs to, for a pool of its own.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.facts.account
    }

    /// What a caller reads who sends more than he may.
    #[must_use]
    pub fn too_long(&self) -> Fault {
        too_long(self.bytes_max.saturating_add(1), self.bytes_max, &self.facts.level)
    }

    /// It is whole: it gets its place, whether or not its caller waits for that.
    ///
    /// # Errors
    /// 404 where the session or the directory is gone, 409, 413 where the sandbox would hold too much,
    /// 503; [`PutFault::Exists`]. Nothing is left of it then.
    pub async fn commit(mut self) -> Result<Uploaded, PutFault> {
        let task = tokio::spawn(async move {
            let under_way = self.facts.inner.in_flight.enter();
            let outcome = self.commit_now().await;
            let bytes = outcome.as_ref().ok().map(|uploaded| uploaded.size);
            let done = outcome.as_ref().map(|_| ()).map_err(PutFault::as_fault);
            if under_way.is_some() {
                self.facts.record("write", bytes, &done);
            }
            outcome
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an upload failed");
            Err(Fault::new(FaultCode::Internal, "internal error").into())
        })
    }

    async fn commit_now(&mut self) -> Result<Uploaded, PutFault> {
        let Some(Open { file, writing }) = self.open.take() else {
            return Err(faults::of_change(&AskError::Unfit).into());
        };
        drop(file);
        match self.jobmanager.commit_write(writing, self.replace).await {
            Ok(Written { size, replaced, .. }) => Ok(Uploaded { size, replaced }),
            Err(error) if !self.replace && faults::is_there(&error) => Err(PutFault::Exists),
            Err(error) => Err(faults::of_change(&error).into()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Once a successor writes the audit, nobody else does: that it was begun stands there.
        if self.open.take().is_some()
            && let Some(_under_way) = self.facts.inner.in_flight.enter()
        {
            self.facts.record("write_given_up", None, &Ok(()));
        }
    }
}

impl Facts {
    fn record(&self, what: &'static str, bytes: Option<u64>, done: &Result<(), Fault>) {
        let act = Act { what, session: &self.session, path: &self.path, to: None, bytes };
        change::record(&self.inner, &self.caller, &act, done);
    }
}

fn too_long(asked: u64, limit: u64, level: &LevelName) -> Fault {
    let text = format!("asked for {asked} bytes, level {level} allows {limit} in a sandbox");
    Fault::new(FaultCode::OverLimit, text)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{UPLOADS_PER_CALLER_MAX, Uploads};
    use crate::jobs::Owner;

    #[test]
    fn so_many_files_of_one_caller_are_written_and_no_more() {
        let uploads = Uploads::default();
        let owner = |net: u8| Owner::of(None, IpAddr::from([192, 0, net, 1]));
        let mut places: Vec<_> =
            (0..UPLOADS_PER_CALLER_MAX).map(|_| uploads.enter(owner(1)).unwrap()).collect();
        let refused = uploads.enter(owner(1)).unwrap_err();
        assert_eq!(refused.code.number(), 429);
        let other = uploads.enter(owner(2)).unwrap();
        places.pop();
        places.push(uploads.enter(owner(1)).unwrap());
        drop((places, other));
        assert_eq!(uploads.0.lock().unwrap().len(), 0);
    }
}
