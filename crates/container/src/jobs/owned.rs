//! What of a session is its owner's alone: to change its files, and to see it in a list.

use std::future::Future;

use nesssi_dn::SubjectDn;
use nesssi_policy::LevelName;
use nesssi_rpc::Fault;
use nesssi_session::SessionId;

use super::{Jobs, SESSIONS_MAX};

/// A session that its owner asks to change.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) id: SessionId,
    pub(crate) account: String,
    pub(crate) level: LevelName,
    /// Bytes that its sandbox may hold; 0 is no limit.
    pub(crate) sandbox_bytes: u64,
}

impl Jobs {
    /// A session, if it is this caller's; for one that was made without a certificate, the id is enough.
    ///
    /// # Errors
    /// 404 alike for an unknown session, one whose time is over, and another's.
    pub(crate) fn owned(&self, subject: Option<&SubjectDn>, session: &str) -> Result<Owned, Fault> {
        let (id, number) = self.core.known(session)?;
        let table = self.core.table();
        let entry = table.get(number).ok_or_else(Fault::no_such_session)?;
        if entry.subject.is_some() && entry.subject.as_ref() != subject {
            return Err(Fault::no_such_session());
        }
        Ok(Owned {
            id,
            account: entry.account.clone(),
            level: entry.level.clone(),
            sandbox_bytes: entry.limits.sandbox_bytes,
        })
    }

    /// The sessions of a subject that are not over, the newest first, and when each was made
    /// (milliseconds since 1970 UTC).
    pub(crate) fn own_sessions(&self, subject: &SubjectDn) -> Vec<(SessionId, u64)> {
        let table = self.core.table();
        let own = table.of_subject(subject).filter(|entry| !entry.expired);
        own.map(|entry| (entry.id.clone(), entry.created_ms)).take(SESSIONS_MAX).collect()
    }

    /// Runs a change to its end, whether or not its caller waits for it. Draining waits for it.
    ///
    /// # Errors
    /// The change's; 503 once the server drains.
    pub(crate) async fn to_its_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        self.core.step(change).await
    }
}
