//! Records that are waited for: those of batch jobs, which nobody here holds.
//!
//! A change in a sandbox's private directory is told by the system where the file system is this machine's own. On a
//! shared one it is not, and there are only so many such watches: so each is looked at in turn besides, some at a time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nesssi_privsep::messages::FromJobmanager;
use nesssi_session::{PrivateDir, SandboxError, SessionId};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::manager::Manager;
use crate::requests::{Answer, Failure, plain};

/// Most records that are waited for.
const RECORDS_MAX: usize = 100_000;

/// Most of them that the system watches: an account's programs have a share in its bound.
const WATCHED_MAX: usize = 4096;

/// Between two turns of looks.
const TURN_INTERVAL: Duration = Duration::from_millis(250);

/// Most looks of one turn, and the time that they may take.
const TURN_LOOKS_MAX: usize = 128;
const TURN_TIME_MAX: Duration = Duration::from_millis(20);

/// A turn may take a twentieth of this process's time.
const TURN_COST_FACTOR: u32 = 20;

/// Between two looks at one record.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Room for the events of one read.
const EVENTS_BYTES: usize = 16 * 1024;

/// All records that are waited for.
#[derive(Debug, Default)]
pub(crate) struct Records {
    waited: HashMap<SessionId, Waited>,
    /// Whose turn it is, and not before when. May hold some that are waited for no more, known by their number.
    turns: VecDeque<(Instant, u64, SessionId)>,
    last: u64,
    inotify: Option<OwnedFd>,
    watched: HashMap<i32, SessionId>,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Waited {
    number: u64,
    peers: BTreeSet<u32>,
    watch: Option<i32>,
}

impl Records {
    /// The handle to poll.
    pub(crate) fn polled(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// When the next looks are due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let (due, ..) = self.turns.front()?;
        Some(self.not_before.map_or(*due, |not_before| not_before.max(*due)))
    }

    fn add(&mut self, peer: u32, session: &SessionId, private: &PrivateDir) -> Result<(), Failure> {
        if let Some(waited) = self.waited.get_mut(session) {
            waited.peers.insert(peer);
            return Ok(());
        }
        if self.waited.len() >= RECORDS_MAX {
            return Err(Failure::new(Errno::AGAIN, "too many records are waited for"));
        }
        let watch = self.watch(session, private);
        self.last += 1;
        let waited = Waited { number: self.last, peers: BTreeSet::from([peer]), watch };
        self.waited.insert(session.clone(), waited);
        self.turns.push_back((Instant::now() + LOOK_INTERVAL, self.last, session.clone()));
        Ok(())
    }

    fn watch(&mut self, session: &SessionId, private: &PrivateDir) -> Option<i32> {
        if self.watched.len() >= WATCHED_MAX {
            return None;
        }
        if self.inotify.is_none() {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            self.inotify = inotify::init(flags).ok();
        }
        let flags = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ONLYDIR;
        let name = format!("/proc/self/fd/{}", private.as_fd().as_raw_fd());
        let watch = inotify::add_watch(self.inotify.as_ref()?, name, flags).ok()?;
        self.watched.insert(watch, session.clone());
        Some(watch)
    }

    /// Waits for it no more; answers those who did.
    fn remove(&mut self, session: &SessionId) -> BTreeSet<u32> {
        let Some(waited) = self.waited.remove(session) else { return BTreeSet::new() };
        if let Some(watch) = waited.watch {
            self.watched.remove(&watch);
            if let Some(inotify) = &self.inotify {
                // It may be gone together with its directory.
                inotify::remove_watch(inotify, watch).unwrap_or_default();
            }
        }
        waited.peers
    }

    /// Nobody is told any more who is gone.
    pub(crate) fn remove_peer(&mut self, peer: u32) {
        let mut alone = Vec::new();
        for (session, waited) in &mut self.waited {
            if waited.peers.remove(&peer) && waited.peers.is_empty() {
                alone.push(session.clone());
            }
        }
        for session in alone {
            self.remove(&session);
        }
        if self.waited.is_empty() {
            self.turns.clear();
        }
    }

    /// Those in whose directories something has been given a name, as far as one read tells.
    fn changed(&mut self) -> HashSet<SessionId> {
        let mut changed = HashSet::new();
        let Some(inotify) = &self.inotify else { return changed };
        let mut room = vec![std::mem::MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = inotify::Reader::new(inotify, &mut room);
        loop {
            match reader.next() {
                // What was lost by an overflow is met by the looks.
                Ok(event) => {
                    changed.extend(self.watched.get(&event.wd()).cloned());
                    if reader.is_buffer_empty() {
                        return changed;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return changed,
            }
        }
    }

    /// The next one whose turn it is by now.
    fn take_due(&mut self, now: Instant) -> Option<(u64, SessionId)> {
        loop {
            let (due, ..) = self.turns.front()?;
            if *due > now {
                return None;
            }
            let (_, number, session) = self.turns.pop_front()?;
            if self.waited.get(&session).is_some_and(|waited| waited.number == number) {
                return Some((number, session));
            }
        }
    }
}

/// What a look has found.
enum Look {
    Record(String),
    NotYet,
    /// There is no such sandbox any more.
    Gone,
}

impl Manager {
    pub(crate) fn watch_record(&mut self, peer: u32, session: &SessionId) -> Answer {
        let private = PrivateDir::open(&self.account.sandbox(session)?)?;
        // Watched before it is looked at: what comes between is told.
        self.records.add(peer, session, &private)?;
        match self.look_for_record(session) {
            Look::Record(record) => {
                self.tell_record(session, &record, Some(peer));
                let session = session.reveal().to_owned();
                plain(FromJobmanager::RecordSeen { session, record })
            }
            Look::NotYet => plain(FromJobmanager::RecordAwaited {}),
            Look::Gone => {
                self.records.remove(session);
                Err(SandboxError::Absent.into())
            }
        }
    }

    /// Looks at those that the system says have changed.
    pub(crate) fn records_changed(&mut self) {
        for session in self.records.changed() {
            self.look_and_tell(&session);
        }
    }

    /// Looks at those whose turn it is.
    pub(crate) fn look_for_records(&mut self) {
        let began = Instant::now();
        if self.records.next().is_none_or(|next| next > began) {
            return;
        }
        self.look_at_due(began);
        // A slow file system does not take this process's time.
        let next = Instant::now() + TURN_INTERVAL.max(began.elapsed() * TURN_COST_FACTOR);
        self.records.not_before = Some(next);
    }

    fn look_at_due(&mut self, began: Instant) {
        for _ in 0..TURN_LOOKS_MAX {
            let now = Instant::now();
            if now.duration_since(began) >= TURN_TIME_MAX {
                return;
            }
            let Some((number, session)) = self.records.take_due(now) else { return };
            if !self.look_and_tell(&session) {
                self.records.turns.push_back((now + LOOK_INTERVAL, number, session));
            }
        }
    }

    /// Whether it is waited for no more.
    fn look_and_tell(&mut self, session: &SessionId) -> bool {
        match self.look_for_record(session) {
            Look::Record(record) => self.tell_record(session, &record, None),
            Look::NotYet => return false,
            Look::Gone => drop(self.records.remove(session)),
        }
        true
    }

    fn tell_record(&mut self, session: &SessionId, record: &str, but: Option<u32>) {
        let (session_text, record) = (session.reveal().to_owned(), record.to_owned());
        let message = FromJobmanager::RecordSeen { session: session_text, record };
        for peer in self.records.remove(session).into_iter().filter(|peer| Some(*peer) != but) {
            self.send(peer, 0, &message, Vec::new());
        }
    }

    fn look_for_record(&self, session: &SessionId) -> Look {
        match self.account.sandbox(session).and_then(|sandbox| PrivateDir::open(&sandbox)) {
            Ok(private) if !private.has_record() => Look::NotYet,
            // Anything else that stands there is no record, and may become one.
            Ok(_) => self.record_of(session).map_or(Look::NotYet, Look::Record),
            Err(SandboxError::Absent) => Look::Gone,
            Err(_) => Look::NotYet,
        }
    }

    /// The session is to be removed.
    pub(crate) fn forget_record(&mut self, session: &SessionId) {
        self.records.remove(session);
    }
}

#[cfg(test)]
mod tests;
