//! Answers kept for calls that are sent again.
//!
//! A client that lost the answer to a call sends it again with the tag that it gave to it. *The same
//! call* is one of the same caller, method and tag, with the same parameters: it is carried out once,
//! and whoever sends it again gets the first answer, or waits for it.
//!
//! That a call was begun is durable before anything of it is carried out, and the session that it makes
//! is recorded in one write with the session itself: so after a crash in the middle nothing is begun a
//! second time, and whoever asks again hears which session there is. What was refused before anything
//! was carried out is forgotten, and its tag is free.

mod table;

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use nesssi_dn::SubjectDn;
use nesssi_journal::{AnswerOwner, AnswerRow, Change, Journal, JournalError, KeptReply};
use nesssi_rpc::{ClientTag, Fault, FaultCode, Reply, Value, kept};
use nesssi_session::SessionId;
use sha2::{Digest as _, Sha256};
use tokio::sync::{oneshot, watch};

use crate::clock::{iso, now_ms};
use crate::ending::{InFlight, UnderWay};
use crate::link::lock;
use crate::workers::incident;
pub(crate) use table::{AnswerNumber, Key, Seen, Standing};
use table::{Found, Limits, Table};

/// How long an answer is kept at most, in bytes as [`kept::reply_bytes`] writes it.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How often is looked for answers whose time is over, and how many are forgotten in one write.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
const SWEPT_MAX: usize = 1_000;

/// Under which number the sessions that a call with a tag makes are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recording {
    pub(crate) number: AnswerNumber,
    /// Whether the session is itself the answer: then that is kept with it, in one write.
    pub(crate) answers_session: bool,
}

/// The answers that are kept. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    journal: Journal,
    table: std::sync::Mutex<Table>,
    kept_ms: u64,
    under_way: InFlight,
}

/// A call with a tag.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) key: Key,
    /// The digest of its parameters.
    pub(crate) params: [u8; 32],
    /// Whether a level takes the caller; if none does, the fault that says so.
    pub(crate) granted: Result<(), Fault>,
}

/// What became of carrying a call out.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    /// For whoever asked first.
    pub(crate) whole: T,
    /// For whoever asks again, as [`kept::reply_bytes`] writes it.
    pub(crate) reply: Vec<u8>,
    /// Whether it was refused before anything was carried out.
    pub(crate) refused: bool,
}

/// What a call with a tag comes to.
#[derive(Debug)]
pub(crate) enum Came<T> {
    /// It was carried out now.
    First(T),
    /// It had been before.
    Again(Kept),
    /// It is not.
    Refused(Fault),
}

/// A kept answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) reply: Reply,
    /// The session that the call made.
    pub(crate) session: Option<SessionId>,
}

/// Whose an answer is: a subject's, or the anonymous caller's of one address.
pub(crate) fn owner(subject: Option<&SubjectDn>, address: IpAddr) -> AnswerOwner {
    match subject {
        Some(subject) => AnswerOwner::Subject(subject.to_bytes()),
        None => AnswerOwner::Address(address.to_canonical().to_string()),
    }
}

/// SHA-256 of parameters, as [`kept::write_params`] writes them.
pub(crate) fn digest(params: &[Value]) -> [u8; 32] {
    let mut hash = Sha256::new();
    kept::write_params(params, |bytes| hash.update(bytes));
    hash.finalize().into()
}

impl Answers {
    /// Takes up what the journal holds. A call that was begun and not answered is lost: whoever carried
    /// it out is gone.
    pub(crate) fn new(journal: Journal, rows: Vec<AnswerRow>, kept_seconds: u32) -> Self {
        let mut table = Table::new(Limits::default());
        for row in rows {
            let number = row.number;
            if !table.take_up(row) {
                tracing::error!(number, "a kept answer in the journal makes no sense");
            }
        }
        let table = std::sync::Mutex::new(table);
        let kept_ms = u64::from(kept_seconds) * 1000;
        let shared = Shared { journal, table, kept_ms, under_way: InFlight::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Carries a call out, once however often it is asked for, or gives its answer again. One that runs
    /// is waited for, for as long as `patience`.
    ///
    /// `work` gets the number under which sessions that it makes are recorded. It runs in a task of
    /// its own: a caller who hangs up leaves the answer kept.
    pub(crate) async fn once<T, F>(
        &self,
        ask: Ask,
        patience: Duration,
        work: impl FnOnce(AnswerNumber) -> F + Send + 'static,
    ) -> Came<T>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let Some(under_way) = self.shared.under_way.enter() else {
            return Came::Refused(crate::restarting());
        };
        let until = tokio::time::Instant::now() + patience;
        loop {
            let found = self.table().ask(&ask, now_ms(), self.shared.kept_ms);
            match found {
                Found::Running(running) => {
                    if !over(running, until).await {
                        return Came::Refused(still_running());
                    }
                }
                Found::Known(seen) => return given(seen),
                Found::Refused(fault) => return Came::Refused(fault),
                Found::Begun { row, forgotten } => {
                    return self.first(under_way, row, forgotten, work).await;
                }
            }
        }
    }

    async fn first<T, F>(
        &self,
        under_way: UnderWay,
        row: Box<AnswerRow>,
        forgotten: Vec<AnswerNumber>,
        work: impl FnOnce(AnswerNumber) -> F + Send + 'static,
    ) -> Came<T>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let number = row.number;
        let running = Running { answers: self.clone(), number, settled: false };
        let mut changes = forget(forgotten);
        changes.push(Change::BeginAnswer(row));
        let task = tokio::spawn(async move {
            let came = running.carry_out(changes, work).await;
            drop(under_way);
            came
        });
        task.await.unwrap_or_else(|error| {
            let id = incident();
            tracing::error!(%error, incident = id, "a call with a tag failed");
            Came::Refused(Fault::incident(&id))
        })
    }

    /// That a call makes a session, or gives it a job: for the write that the session stands in.
    pub(crate) fn making(&self, recording: Recording, session: &SessionId) -> Vec<Change> {
        let Recording { number: answer, answers_session } = recording;
        let mut changes = vec![Change::AnswerMade { answer, session: session.clone() }];
        if answers_session {
            let reply = kept::reply_bytes(&Ok(session.reveal().into()));
            let kept = KeptReply::Whole(reply);
            changes.push(Change::KeepAnswer { answer, kept, expires_ms: self.expires_ms() });
        }
        changes
    }

    /// The same, now that it is durable.
    pub(crate) fn made(&self, recording: Recording, session: &SessionId) {
        self.table().made(recording.number, session);
    }

    fn expires_ms(&self) -> u64 {
        now_ms().saturating_add(self.shared.kept_ms)
    }

    /// What is known of a caller's last call with a tag, of one method or of any.
    pub(crate) fn last(
        &self,
        owner: &AnswerOwner,
        method: Option<&str>,
        tag: &ClientTag,
    ) -> Option<(String, Seen)> {
        self.table().last(owner, method, tag, now_ms())
    }

    /// Forgets answers whose time is over.
    pub(crate) async fn sweep(&self) {
        let due = self.table().take_expired(now_ms(), SWEPT_MAX);
        if due.is_empty() {
            return;
        }
        if let Err(error) = self.write(forget(due)).await {
            // They are looked at again after the next start.
            tracing::warn!(%error, "answers whose time is over could not be forgotten");
        }
    }

    /// Begins no call any more, and waits for those that run.
    pub(crate) async fn close(&self) {
        self.shared.under_way.close().await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.shared.table)
    }

    /// Writes, and waits until it is durable.
    async fn write(&self, changes: Vec<Change>) -> Result<(), JournalError> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |outcome| {
            if sender.send(outcome).is_err() {
                tracing::debug!("nobody waits for a write any more");
            }
        });
        self.shared.journal.write(changes, done);
        receiver.await.unwrap_or(Err(JournalError::Busy))
    }
}

fn forget(numbers: Vec<AnswerNumber>) -> Vec<Change> {
    numbers.into_iter().map(|answer| Change::ForgetAnswer { answer }).collect()
}

/// A call that is begun; if it is let go of before it is settled, it is lost.
struct Running {
    answers: Answers,
    number: AnswerNumber,
    settled: bool,
}

impl Running {
    async fn carry_out<T, F>(
        mut self,
        begin: Vec<Change>,
        work: impl FnOnce(AnswerNumber) -> F,
    ) -> Came<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        if let Err(error) = self.answers.write(begin).await {
            tracing::error!(%error, "a call with a tag could not be recorded");
            self.settled = true;
            self.answers.table().free(self.number);
            let text = "the server cannot record the call now: try again later";
            return Came::Refused(Fault::new(FaultCode::Unavailable, text));
        }
        let Outcome { whole, reply, refused } = work(self.number).await;
        if refused && !self.answers.table().has_session(self.number) {
            self.free().await;
        } else {
            self.keep(reply).await;
        }
        Came::First(whole)
    }

    /// Nothing was carried out: the tag is free again.
    async fn free(mut self) {
        let forgotten = vec![Change::ForgetAnswer { answer: self.number }];
        if let Err(error) = self.answers.write(forgotten).await {
            tracing::warn!(%error, "a refused call with a tag could not be forgotten");
        }
        self.settled = true;
        self.answers.table().free(self.number);
    }

    async fn keep(mut self, reply: Vec<u8>) {
        let kept = if reply.len() > ANSWER_BYTES_MAX {
            KeptReply::TooLong(u64::try_from(reply.len()).unwrap_or(u64::MAX))
        } else {
            KeptReply::Whole(reply)
        };
        let expires_ms = self.answers.expires_ms();
        let mut changes = forget(self.answers.table().make_room(self.number, &kept));
        let keep = Change::KeepAnswer { answer: self.number, kept: kept.clone(), expires_ms };
        changes.push(keep);
        if let Err(error) = self.answers.write(changes).await {
            // This process still knows it; the next one will find that the call was begun.
            tracing::error!(%error, "an answer could not be kept");
        }
        self.settled = true;
        self.answers.table().done(self.number, kept, expires_ms);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.settled {
            self.answers.table().lost(self.number);
        }
    }
}

/// Waits until a call does not run any more; `false` if it still does.
async fn over(mut running: watch::Receiver<()>, until: tokio::time::Instant) -> bool {
    // Its end is that the sender is gone.
    tokio::time::timeout_at(until, async { while running.changed().await.is_ok() {} }).await.is_ok()
}

fn still_running() -> Fault {
    let text = "the call that has this tag still runs: send it again later";
    Fault::new(FaultCode::Unavailable, text)
}

fn given<T>(seen: Seen) -> Came<T> {
    match seen.reply() {
        Ok(reply) => Came::Again(Kept { reply, session: seen.session }),
        Err(fault) => Came::Refused(fault),
    }
}

impl Seen {
    /// The answer that is given again.
    ///
    /// # Errors
    /// The fault that stands for it: 413 where it was too long to keep, 409 where nobody knows it.
    pub(crate) fn reply(&self) -> Result<Reply, Fault> {
        let called = iso(self.called_ms);
        match &self.standing {
            Standing::Done(kept) => match &**kept {
                KeptReply::Whole(bytes) => {
                    kept::reply_of_bytes(bytes).ok_or_else(|| Fault::incident(&incident()))
                }
                KeptReply::TooLong(bytes) => {
                    let text = format!(
                        "the call was carried out once, begun at {called}, and its answer of {bytes} \
                         bytes was too long to keep, the limit is {ANSWER_BYTES_MAX}: it is not \
                         carried out again"
                    );
                    Err(Fault::new(FaultCode::OverLimit, text))
                }
            },
            Standing::Running => Err(still_running()),
            Standing::Lost => match &self.session {
                Some(session) => {
                    let text = format!(
                        "the server stopped in the middle of this call, begun at {called}: it has \
                         made the session {}, and is not carried out again",
                        session.reveal()
                    );
                    Err(Fault::new(FaultCode::Conflict, text))
                }
                None => {
                    let text = format!(
                        "the call is lost: the server stopped in the middle of it, begun at {called}. \
                         It has made no session, and is not carried out again with this tag"
                    );
                    Err(Fault::new(FaultCode::Conflict, text))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests;
