//! A helper is a forked child that does one long piece of work and answers it on the peer's channel.

use std::collections::VecDeque;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nesssi_privsep::messages::{FromJobmanager, ToJobmanager};
use nesssi_privsep::{Channel, ChannelError, Child, spawn};
use nesssi_session::{AccountDir, Left, SessionId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::manager::Manager;
use crate::requests::{Answer, Failure};
use crate::scan;

/// Helpers at once.
const HELPERS_MAX: usize = 4;

/// Most work that waits for a helper.
const WAITING_MAX: usize = 4096;

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
}

impl Work {
    /// The work of a `Scan`; of anything else an empty walk.
    pub(crate) fn scan(request: ToJobmanager) -> Self {
        Self::Scan(Box::new(scan::Order::of(request)))
    }
}

#[derive(Debug)]
struct Helper {
    child: Child,
    peer: u32,
    request: u32,
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

    /// Ends the work for a peer that is gone. Removals go on.
    pub(crate) fn remove_peer(&mut self, peer: u32) {
        self.waiting.retain(|(other, _, work)| *other != peer || matches!(work, Work::Remove(_)));
    }
}

impl Manager {
    /// Gives the work to a helper, now or when one is free.
    pub(crate) fn enqueue(&mut self, peer: u32, request: u32, work: Work) -> Answer {
        if self.helpers.waiting.len() >= WAITING_MAX {
            return Err(Failure::new(Errno::AGAIN, "too much work is waiting"));
        }
        self.helpers.waiting.push_back((peer, request, work));
        self.start_helpers();
        Ok(None)
    }

    fn start_helpers(&mut self) {
        while self.helpers.at_work.len() < HELPERS_MAX {
            let Some((peer, request, work)) = self.helpers.waiting.pop_front() else { return };
            if let Err(failure) = self.start_helper(peer, request, &work) {
                self.send(peer, request, &failure.message(), Vec::new());
            }
        }
    }

    fn start_helper(&mut self, peer: u32, request: u32, work: &Work) -> Result<(), Failure> {
        let channel = self.peers.channel(peer);
        let account = &self.account;
        let mut keep = vec![account.as_fd()];
        keep.extend(channel.map(|channel| channel.as_fd()));
        let files_max = self.files_max;
        let child = spawn::fork(&keep, || match work {
            Work::Remove(session) => remove(account, session, channel, request),
            Work::Scan(order) => scan::helper(order, files_max, channel, request),
            Work::ScanAccess(root) => scan::access_helper(root, channel, request),
        })?;
        self.helpers.at_work.push(Helper { child, peer, request });
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
        if ending.status() != 0 {
            let failure = Failure { errno: 0, text: format!("helper ended with {ending}") };
            self.send(helper.peer, helper.request, &failure.message(), Vec::new());
        }
        self.start_helpers();
    }

    /// Ends the walks for a peer that is gone: nobody hears of what they find.
    pub(crate) fn drop_helpers_of(&mut self, peer: u32) {
        self.helpers.remove_peer(peer);
        for helper in self.helpers.at_work.iter().filter(|helper| helper.peer == peer) {
            // A walk ends by it; a removal has it ignored.
            helper.child.signal(Signal::TERM).unwrap_or_default();
        }
    }
}

fn remove(account: &AccountDir, session: &SessionId, peer: Option<&Channel>, request: u32) -> i32 {
    // The work is worth finishing if nobody waits for its answer any more.
    let held = nesssi_privsep::signals::SignalFd::new(&[Signal::TERM]);
    rustix::thread::set_name(c"nesssi-remove").unwrap_or_default();
    die_with_parent();
    let message = match account.remove(session) {
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
    loop {
        match peer.send(request, message, &[]) {
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
