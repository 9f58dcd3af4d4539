//! A helper is a forked child that does one long piece of work and answers it on the peer's channel.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use nesssi_privsep::messages::{FromJobmanager, ToJobmanager};
use nesssi_privsep::{Channel, ChannelError, Child, spawn};
use nesssi_session::{Left, Leftover, SandboxPath, SessionId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::manager::Manager;
use crate::requests::{Answer, Failure};
use crate::writes::{self, Commit};
use crate::{find, scan};

/// Helpers at once, of each kind of work.
const HELPERS_MAX: usize = 4;

/// Most work that waits for a helper.
const WAITING_MAX: usize = 4096;

/// How long the removal of something in a sandbox may take: less than its asker waits.
const REMOVE_PATH_TIME_MAX: Duration = Duration::from_secs(240);

/// How long a helper waits for a peer that does not read.
const SEND_WAIT: Duration = Duration::from_secs(60);

/// Work for a helper.
#[derive(Debug)]
pub(crate) enum Work {
    /// Remove a sandbox.
    Remove(SessionId),
    /// Walk the tree of services.
    Scan(Box<scan::Order>),
    /// Read the access lists in the tree of services below this root.
    ScanAccess(String),
    /// Remove something in a sandbox, with all in it.
    RemovePath(SessionId, SandboxPath),
    /// Find names in a sandbox or a tree.
    Find(Box<find::Order>),
    /// Bring a written file to the disk, and give it its place.
    Commit(Box<Commit>),
}

/// Which work waits for which: none waits for what is of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Tree,
    Find,
    Commit,
}

impl Work {
    /// The work of a `Scan`; of anything else an empty walk.
    pub(crate) fn scan(request: ToJobmanager) -> Self {
        Self::Scan(Box::new(scan::Order::of(request)))
    }

    fn lane(&self) -> Lane {
        match self {
            Self::Remove(_) | Self::Scan(_) | Self::ScanAccess(_) | Self::RemovePath(..) => {
                Lane::Tree
            }
            Self::Find(_) => Lane::Find,
            Self::Commit(_) => Lane::Commit,
        }
    }

    /// Whether it is worth finishing when nobody waits for its answer any more.
    fn outlives_peer(&self) -> bool {
        match self {
            Self::Remove(_) | Self::RemovePath(..) | Self::Commit(_) => true,
            Self::Scan(_) | Self::ScanAccess(_) | Self::Find(_) => false,
        }
    }
}

#[derive(Debug)]
struct Helper {
    child: Child,
    peer: u32,
    request: u32,
    lane: Lane,
    /// Of a commit: what is left if it fails. Its answer is given when it has ended, so that nobody has the file
    /// open for writing any more.
    leftover: Option<Leftover>,
}

/// Those at work, and the work that waits.
#[derive(Debug, Default)]
pub(crate) struct Helpers {
    at_work: Vec<Helper>,
    waiting: VecDeque<(u32, u32, Work)>,
}

impl Helpers {
    /// Pid and handle of each.
    pub(crate) fn polled(&self) -> impl Iterator<Item = (u32, std::os::fd::BorrowedFd<'_>)> {
        self.at_work.iter().map(|helper| (helper.child.pid_number(), helper.child.as_fd()))
    }

    /// Ends the work for a peer that is gone. Removals and commits go on.
    pub(crate) fn remove_peer(&mut self, peer: u32) {
        self.waiting.retain(|(other, _, work)| *other != peer || work.outlives_peer());
    }

    /// Commits that wait or are at work.
    pub(crate) fn commits(&self) -> usize {
        let waiting = self.waiting.iter().map(|(_, _, work)| work.lane());
        let all = waiting.chain(self.at_work.iter().map(|helper| helper.lane));
        all.filter(|lane| *lane == Lane::Commit).count()
    }

    /// The work that has waited longest for a helper that is free.
    fn next(&mut self) -> Option<(u32, u32, Work)> {
        let busy = |lane| self.at_work.iter().filter(|helper| helper.lane == lane).count();
        let at = self.waiting.iter().position(|(_, _, work)| busy(work.lane()) < HELPERS_MAX)?;
        self.waiting.remove(at)
    }
}

impl Manager {
    /// Gives the work to a helper, now or when one is free.
    pub(crate) fn enqueue(&mut self, peer: u32, request: u32, work: Work) -> Answer {
        if self.helpers.waiting.len() >= WAITING_MAX {
            if let Work::Commit(commit) = work {
                writes::discard(&commit.writing);
            }
            return Err(Failure::new(Errno::AGAIN, "too much work is waiting"));
        }
        self.helpers.waiting.push_back((peer, request, work));
        self.start_helpers();
        Ok(None)
    }

    fn start_helpers(&mut self) {
        while let Some((peer, request, work)) = self.helpers.next() {
            if let Err(failure) = self.start_helper(peer, request, &work) {
                if let Work::Commit(commit) = work {
                    writes::discard(&commit.writing);
                }
                self.send(peer, request, &failure.message(), Vec::new());
            }
        }
    }

    fn start_helper(&mut self, peer: u32, request: u32, work: &Work) -> Result<(), Failure> {
        let channel = self.peers.channel(peer);
        let account = &self.account;
        let mut keep = vec![account.as_fd()];
        keep.extend(channel.map(|channel| channel.as_fd()));
        let (mut tree, mut leftover) = (None, None);
        match work {
            Work::Find(order) => tree = self.trees.of(order)?,
            Work::Commit(commit) => {
                leftover = Some(commit.writing.leftover()?);
                keep.extend([commit.writing.file(), commit.writing.directory()]);
            }
            Work::Remove(_) | Work::Scan(_) | Work::ScanAccess(_) | Work::RemovePath(..) => {}
        }
        keep.extend(tree.map(|tree| tree.as_fd()));
        let files_max = self.files_max;
        let child = spawn::fork(&keep, || match work {
            Work::Remove(session) => remove(channel, request, || account.remove(session)),
            Work::Scan(order) => scan::helper(order, files_max, channel, request),
            Work::ScanAccess(root) => scan::access_helper(root, channel, request),
            Work::RemovePath(session, path) => remove(channel, request, || {
                let until = Instant::now() + REMOVE_PATH_TIME_MAX;
                account.sandbox(session)?.remove_all(path, until)
            }),
            Work::Find(order) => find::helper(order, account, tree, channel, request),
            Work::Commit(commit) => writes::helper(commit, account),
        })?;
        self.helpers.at_work.push(Helper { child, peer, request, lane: work.lane(), leftover });
        Ok(())
    }

    /// Takes note of a helper's end. One that died has not answered.
    pub(crate) fn helper_ended(&mut self, pid: u32) {
        let is_it = |helper: &Helper| helper.child.pid_number() == pid;
        let Some(at) = self.helpers.at_work.iter().position(is_it) else { return };
        let Ok(Some(ending)) =
            self.helpers.at_work.get(at).map_or(Ok(None), |h| h.child.try_wait())
        else {
            return;
        };
        let helper = self.helpers.at_work.swap_remove(at);
        if let Some(leftover) = helper.leftover {
            let answer = writes::committed(leftover, ending);
            self.send(helper.peer, helper.request, &answer, Vec::new());
        } else if ending.status() != 0 {
            let failure = Failure { errno: 0, text: format!("helper ended with {ending}") };
            self.send(helper.peer, helper.request, &failure.message(), Vec::new());
        }
        self.start_helpers();
    }

    /// Ends the walks for a peer that is gone: nobody hears of what they find.
    pub(crate) fn drop_helpers_of(&mut self, peer: u32) {
        self.helpers.remove_peer(peer);
        for helper in self.helpers.at_work.iter().filter(|helper| helper.peer == peer) {
            // A walk ends by it; a removal and a commit have it ignored.
            helper.child.signal(Signal::TERM).unwrap_or_default();
        }
    }
}

fn remove(peer: Option<&Channel>, request: u32, work: impl FnOnce() -> Result<(), Left>) -> i32 {
    // The work is worth finishing if nobody waits for its answer any more.
    let held = nesssi_privsep::signals::SignalFd::new(&[Signal::TERM]);
    rustix::thread::set_name(c"nesssi-remove").unwrap_or_default();
    die_with_parent();
    let message = match work() {
        Ok(()) => FromJobmanager::Removed {},
        Err(left) => failed(&left),
    };
    drop(held);
    i32::from(peer.is_some_and(|peer| !send(peer, request, &message)))
}

fn failed(left: &Left) -> FromJobmanager {
    let errno = left.names.first().map_or(0, |(_, errno)| errno.raw_os_error());
    FromJobmanager::Failed { errno, text: left.to_string() }
}

/// Ends this helper when the jobmanager ends: it holds a copy of a channel that must close then.
pub(crate) fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap_or_default();
}

/// Sends from a helper, which may wait; answers whether it was sent.
pub(crate) fn send(peer: &Channel, request: u32, message: &FromJobmanager) -> bool {
    send_with(peer, request, message, &[])
}

/// As [`send`], with descriptors.
pub(crate) fn send_with(
    peer: &Channel,
    request: u32,
    message: &FromJobmanager,
    descriptors: &[BorrowedFd<'_>],
) -> bool {
    loop {
        match peer.send(request, message, descriptors) {
            Ok(()) => return true,
            Err(ChannelError::WouldBlock) => {
                let mut polled = [PollFd::new(peer, PollFlags::OUT)];
                let timeout = Timespec::try_from(SEND_WAIT).ok();
                if matches!(poll(&mut polled, timeout.as_ref()), Ok(0)) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
}
