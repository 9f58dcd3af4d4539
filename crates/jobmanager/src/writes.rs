//! Writes: files of sandboxes that are begun, filled by the peer, and committed or discarded.
//!
//! Until it is committed a file has a name that is not served. One whose peer is gone, or into which nothing is
//! written for long, is discarded; what a jobmanager that was killed has left is taken back by the next who writes there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nesssi_privsep::Ending;
use nesssi_privsep::messages::FromJobmanager;
use nesssi_session::{AccountDir, Leftover, SandboxPath, SessionId, Writing};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::helpers::{Work, die_with_parent};
use crate::manager::Manager;
use crate::requests::{Answer, Failure};

/// Files that are being written at once.
const WRITES_MAX: usize = 256;

/// Of those, for one peer.
const WRITES_PER_PEER_MAX: usize = 64;

/// Of those, in one sandbox.
const WRITES_PER_SESSION_MAX: usize = 8;

/// After so long without growth a file is discarded.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// After so long it is discarded, however it grows.
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Exit codes of a helper whose file has its place; all others are errors of the system.
const PLACED: i32 = 200;
const REPLACED: i32 = 201;

/// What a file and its sandbox may have when it is committed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes_max: u64,
    /// 0 is no limit.
    pub(crate) sandbox_bytes_max: u64,
}

/// All files that are being written.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    open: BTreeMap<u64, Unfinished>,
    last: u64,
}

#[derive(Debug)]
struct Unfinished {
    peer: u32,
    session: SessionId,
    writing: Writing,
    bounds: Bounds,
    /// When it was looked at last, or begun.
    bytes: u64,
    look: Instant,
    until: Instant,
}

/// A file that is whole.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) writing: Writing,
    session: SessionId,
    bounds: Bounds,
    replace: bool,
}

impl Writes {
    /// Whether one more may be begun, beside so many that are being committed.
    fn check_room(&self, peer: u32, session: &SessionId, committing: usize) -> Result<(), Failure> {
        let count = |fits: &dyn Fn(&Unfinished) -> bool| {
            self.open.values().filter(|unfinished| fits(unfinished)).count()
        };
        if self.open.len() + committing >= WRITES_MAX
            || count(&|unfinished| unfinished.peer == peer) >= WRITES_PER_PEER_MAX
            || count(&|unfinished| unfinished.session == *session) >= WRITES_PER_SESSION_MAX
        {
            return Err(Failure::new(Errno::AGAIN, "too many files are being written"));
        }
        Ok(())
    }

    /// Takes note of a file that is begun; answers its ticket.
    fn add(
        &mut self,
        peer: u32,
        session: SessionId,
        writing: Writing,
        bounds: Bounds,
        now: Instant,
    ) -> u64 {
        self.last += 1;
        let (look, until) = (now + IDLE_MAX, now + TIME_MAX);
        let unfinished = Unfinished { peer, session, writing, bounds, bytes: 0, look, until };
        self.open.insert(self.last, unfinished);
        self.last
    }

    /// Takes out a file of this peer.
    fn take(&mut self, peer: u32, ticket: u64) -> Option<Unfinished> {
        self.open.get(&ticket).filter(|unfinished| unfinished.peer == peer)?;
        self.open.remove(&ticket)
    }

    /// Discards a file of this peer, if there is one.
    pub(crate) fn discard(&mut self, peer: u32, ticket: u64) {
        if let Some(unfinished) = self.take(peer, ticket) {
            discard(&unfinished.writing);
        }
    }

    /// Discards those of a peer that is gone.
    pub(crate) fn remove_peer(&mut self, peer: u32) {
        self.discard_if(|unfinished| unfinished.peer == peer);
    }

    /// Discards those in a sandbox that is to be removed.
    pub(crate) fn remove_session(&mut self, session: &SessionId) {
        self.discard_if(|unfinished| unfinished.session == *session);
    }

    /// Discards all: nobody is left to write.
    pub(crate) fn discard_all(&mut self) {
        self.discard_if(|_| true);
    }

    /// When one is to be looked at.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.open.values().map(|unfinished| unfinished.look).min()
    }

    /// Discards those that have not grown for long, and those that take too long.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.discard_if(|unfinished| {
            if unfinished.look > now {
                return false;
            }
            let bytes = unfinished.writing.size().unwrap_or(0);
            let grows = bytes > unfinished.bytes && unfinished.until > now;
            unfinished.bytes = bytes;
            unfinished.look = unfinished.until.min(now + IDLE_MAX);
            !grows
        });
    }

    fn discard_if(&mut self, mut is_over: impl FnMut(&mut Unfinished) -> bool) {
        self.open.retain(|_, unfinished| {
            let over = is_over(unfinished);
            if over {
                discard(&unfinished.writing);
            }
            !over
        });
    }
}

/// Removes a file that is not to have its place. Where that fails it is reclaimed later, or goes with the sandbox.
pub(crate) fn discard(writing: &Writing) {
    if let Ok(leftover) = writing.leftover() {
        leftover.discard();
    }
}

impl Manager {
    pub(crate) fn begin_write(
        &mut self,
        peer: u32,
        session: SessionId,
        path: &[u8],
        bounds: Bounds,
        umask_default: u32,
    ) -> Answer {
        self.writes.check_room(peer, &session, self.helpers.commits())?;
        let umask = self.umask(umask_default);
        let path = SandboxPath::parse(path)?;
        let writing = self.account.sandbox(&session)?.begin_write(&path, umask)?;
        let Ok(file) = writing.file().try_clone_to_owned() else {
            discard(&writing);
            return Err(Failure::new(Errno::MFILE, "no descriptor is left"));
        };
        let ticket = self.writes.add(peer, session, writing, bounds, Instant::now());
        Ok(Some((FromJobmanager::WriteBegun { ticket }, vec![file])))
    }

    pub(crate) fn commit_write(
        &mut self,
        peer: u32,
        request: u32,
        ticket: u64,
        replace: bool,
    ) -> Answer {
        let unknown = || Failure::new(Errno::NOENT, "no such file is being written");
        let unfinished = self.writes.take(peer, ticket).ok_or_else(unknown)?;
        let Unfinished { session, writing, bounds, .. } = unfinished;
        if writing.size()? > bounds.bytes_max {
            discard(&writing);
            return Err(nesssi_session::SandboxError::TooLong.into());
        }
        let commit = Commit { writing, session, bounds, replace };
        self.enqueue(peer, request, Work::Commit(Box::new(commit)))
    }
}

/// The whole of a commit, in a helper's process; answers its exit code.
pub(crate) fn helper(commit: &Commit, account: &AccountDir) -> i32 {
    // It is worth finishing if nobody waits for its answer any more.
    let held = nesssi_privsep::signals::SignalFd::new(&[Signal::TERM]);
    rustix::thread::set_name(c"nesssi-commit").unwrap_or_default();
    die_with_parent();
    let Commit { writing, session, bounds, replace } = commit;
    let Bounds { bytes_max, sandbox_bytes_max } = *bounds;
    let placed = account
        .sandbox(session)
        .and_then(|sandbox| writing.commit(&sandbox, *replace, bytes_max, sandbox_bytes_max));
    drop(held);
    match placed {
        Ok(written) if written.replaced => REPLACED,
        Ok(_) => PLACED,
        Err(error) => error.errno(),
    }
}

/// What a commit's helper has come to. What it has left behind is removed.
pub(crate) fn committed(leftover: Leftover, ending: Ending) -> FromJobmanager {
    let facts = leftover.facts();
    leftover.discard();
    match (ending, facts) {
        (Ending::Exited(code @ (PLACED | REPLACED)), Ok(facts)) => {
            let replaced = code == REPLACED;
            FromJobmanager::Written { size: facts.size, modified: facts.modified, replaced }
        }
        (Ending::Exited(code @ 1..PLACED), _) => {
            let errno = Errno::from_raw_os_error(code);
            Failure::new(errno, format!("commit: {errno}")).message()
        }
        (ending, _) => Failure { errno: 0, text: format!("helper ended with {ending}") }.message(),
    }
}

#[cfg(test)]
mod tests;
