//! Where files are changed: in a sandbox of the caller's own, as the account that he has now, which must
//! be the session's.

use std::sync::Arc;

use nesssi_rpc::Fault;
use nesssi_session::{SandboxPath, SessionId};

use super::{faults, no_such_file};
use crate::builtin::Context;
use crate::grants::CallerGrant;
use crate::jobs::{Owned, Tended};
use crate::link::{AskError, Jobmanager, Writing};
use crate::{Caller, Inner};

/// A sandbox that its owner may change now.
#[derive(Debug)]
pub(crate) struct Changer {
    inner: Arc<Inner>,
    who: CallerGrant,
    jobmanager: Jobmanager,
    pub(crate) owned: Owned,
    renewed: bool,
}

impl Changer {
    /// Finds a session, and whether its files may be changed by who asks.
    ///
    /// # Errors
    /// 403 with a limited proxy; 404 where there is no such session of his; the fault of his grant;
    /// 403 where he has another account now; 503.
    pub(crate) async fn of(context: Context<'_>, session: &str) -> Result<Self, Fault> {
        context.may_change()?;
        let owned = context.inner.jobs.owned(context.caller.subject(), session)?;
        let mut who = context.who()?;
        if who.grant.account != owned.account {
            return Err(other_account());
        }
        let jobmanager = context.inner.grants.start_channel(&mut who).await?;
        if who.grant.account != owned.account {
            return Err(other_account());
        }
        let inner = Arc::clone(context.inner);
        Ok(Self { inner, who, jobmanager, owned, renewed: false })
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// 404, 409, 413, 503.
    pub(crate) async fn make_directory(&mut self, path: &SandboxPath) -> Result<(), Fault> {
        let umask = self.inner.config.sandboxes.umask;
        loop {
            let session = self.owned.id.reveal();
            let done = self.jobmanager.make_directory(session, path.as_bytes(), umask).await;
            match done {
                Err(error) if self.renews(&error).await? => {}
                other => return other.map_err(|error| faults::of_change(&error)),
            }
        }
    }

    /// Gives something another name.
    ///
    /// # Errors
    /// As [`Changer::make_directory`].
    pub(crate) async fn rename(
        &mut self,
        from: &SandboxPath,
        to: &SandboxPath,
    ) -> Result<(), Fault> {
        loop {
            let session = self.owned.id.reveal();
            match self.jobmanager.rename(session, from.as_bytes(), to.as_bytes()).await {
                Err(error) if self.renews(&error).await? => {}
                other => return other.map_err(|error| faults::of_change(&error)),
            }
        }
    }

    /// Begins to write a file of at most `bytes_max`.
    ///
    /// # Errors
    /// As [`Changer::make_directory`]; 429 with too many.
    pub(crate) async fn begin_write(
        &mut self,
        path: &SandboxPath,
        bytes_max: u64,
    ) -> Result<Writing, Fault> {
        let umask = self.inner.config.sandboxes.umask;
        let all_max = self.owned.sandbox_bytes;
        loop {
            let (session, path) = (self.owned.id.reveal(), path.as_bytes());
            match self.jobmanager.begin_write(session, path, bytes_max, all_max, umask).await {
                Err(error) if self.renews(&error).await? => {}
                other => return other.map_err(|error| faults::of_change(&error)),
            }
        }
    }

    /// What stands at a path, if anything does.
    pub(crate) async fn is_there(&self, path: &SandboxPath) -> bool {
        self.jobmanager.stat(self.owned.id.reveal(), path.as_bytes()).await.is_ok()
    }

    /// The process that does it, and the session.
    pub(crate) fn into_parts(self) -> (Jobmanager, Owned) {
        (self.jobmanager, self.owned)
    }

    async fn renews(&mut self, error: &AskError) -> Result<bool, Fault> {
        if self.renewed || !faults::is_stale(error) {
            return Ok(false);
        }
        self.renewed = true;
        self.jobmanager = self.inner.grants.start_channel(&mut self.who).await?;
        if self.who.grant.account == self.owned.account { Ok(true) } else { Err(other_account()) }
    }
}

fn other_account() -> Fault {
    Fault::refused("the session is of another account than the one that this caller has now")
}

/// A sandbox of the caller's own, to remove something from it: by seal, so that whoever starts nothing any
/// more can still clear up.
///
/// # Errors
/// 403 with a limited proxy, 404 where there is no such session of his, 503.
pub(crate) async fn clearing(context: Context<'_>, session: &str) -> Result<Tended, Fault> {
    context.may_change()?;
    context.inner.jobs.owned(context.caller.subject(), session)?;
    context.inner.jobs.tend(session).await
}

/// Removes a file or a directory.
///
/// # Errors
/// 404, 409, 503.
pub(crate) async fn remove(
    sandbox: &Tended,
    path: &SandboxPath,
    recursive: bool,
) -> Result<(), Fault> {
    let session = sandbox.id.reveal();
    let removed = sandbox.jobmanager.remove_path(session, path.as_bytes(), recursive).await;
    removed.map_err(|error| faults::of_change(&error))
}

/// What was done to a sandbox, for the audit.
#[derive(Debug)]
pub(crate) struct Act<'a> {
    /// `mkdir`, `rename`, `remove`, `write_begun`, then `write` or `write_given_up`.
    pub(crate) what: &'static str,
    pub(crate) session: &'a SessionId,
    pub(crate) path: &'a SandboxPath,
    /// The new name.
    pub(crate) to: Option<&'a SandboxPath>,
    pub(crate) bytes: Option<u64>,
}

/// Records an act, or that it failed.
pub(crate) fn record(inner: &Inner, caller: &Caller, act: &Act<'_>, done: &Result<(), Fault>) {
    let text = |path: &SandboxPath| String::from_utf8_lossy(path.as_bytes()).into_owned();
    let line = inner
        .audit
        .line("file_changed")
        .text("request", &caller.request_id)
        .maybe("subject", caller.subject())
        .text("address", caller.address)
        .text("session", act.session.short())
        .text("act", act.what)
        .text("path", text(act.path))
        .maybe("to", act.to.map(text))
        .number("code", done.as_ref().map_or_else(|fault| fault.code.number(), |()| 0));
    match act.bytes {
        Some(bytes) => line.count("bytes", bytes).write(),
        None => line.write(),
    }
}

/// A path in a sandbox, and not the sandbox itself.
///
/// # Errors
/// 404.
pub(crate) fn inside(path: &SandboxPath) -> Result<(), Fault> {
    if path.is_root() { Err(no_such_file()) } else { Ok(()) }
}
