//! Following: telling when a file grows, at most ten times a second each.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::inotify;
use rustix::io::Errno;

use crate::requests::Failure;

/// Between two reports of one watch.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Most watches at once.
const WATCHES_MAX: usize = 4096;

/// Room for the events of one read.
const EVENTS_BYTES: usize = 16 * 1024;

/// All watches of all peers.
#[derive(Debug, Default)]
pub(crate) struct Follows {
    inotify: Option<OwnedFd>,
    watches: BTreeMap<u64, Watch>,
    next: u64,
}

#[derive(Debug)]
struct Watch {
    peer: u32,
    /// What the system calls the file; none once it is removed.
    file: Option<i32>,
    changed: bool,
    not_before: Instant,
}

impl Follows {
    /// Begins to watch a file that is open.
    pub(crate) fn add(&mut self, peer: u32, file: &OwnedFd) -> Result<u64, Failure> {
        let system = |errno: Errno| Failure::new(errno, format!("inotify: {errno}"));
        if self.watches.len() >= WATCHES_MAX {
            return Err(Failure::new(Errno::AGAIN, "too many files are followed"));
        }
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
                .map_err(system)?,
        };
        let inotify = self.inotify.insert(inotify);
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::DELETE_SELF;
        let file = inotify::add_watch(inotify, name, flags).map_err(system)?;
        self.next += 1;
        let now = Instant::now();
        let watch = Watch { peer, file: Some(file), changed: false, not_before: now };
        self.watches.insert(self.next, watch);
        Ok(self.next)
    }

    /// Ends a watch of that peer.
    pub(crate) fn remove(&mut self, peer: u32, watch: u64) {
        if self.watches.get(&watch).is_some_and(|found| found.peer == peer)
            && let Some(ended) = self.watches.remove(&watch)
        {
            self.let_go(&ended);
        }
    }

    /// Ends all watches of a peer.
    pub(crate) fn remove_peer(&mut self, peer: u32) {
        let of_peer = |(number, watch): (&u64, &Watch)| (watch.peer == peer).then_some(*number);
        let numbers: Vec<u64> = self.watches.iter().filter_map(of_peer).collect();
        for number in numbers {
            self.remove(peer, number);
        }
    }

    fn let_go(&self, ended: &Watch) {
        let shared = self.watches.values().any(|watch| watch.file == ended.file);
        if let (Some(inotify), Some(file), false) = (&self.inotify, ended.file, shared) {
            // It may be gone together with its file.
            inotify::remove_watch(inotify, file).unwrap_or_default();
        }
    }

    /// The handle to poll.
    pub(crate) fn polled(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Takes note of what has changed, as far as one read tells: two files that are written in
    /// turn as fast as can be would keep it here for ever.
    pub(crate) fn read(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let mut room = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = inotify::Reader::new(inotify, &mut room);
        loop {
            match reader.next() {
                Ok(event) => {
                    let (file, flags) = (event.wd(), event.events());
                    let lost = flags.contains(inotify::ReadFlags::QUEUE_OVERFLOW);
                    for watch in self.watches.values_mut() {
                        if lost || watch.file == Some(file) {
                            watch.changed = true;
                            if flags.contains(inotify::ReadFlags::IGNORED) {
                                watch.file = None;
                            }
                        }
                    }
                    if reader.is_buffer_empty() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// When the next report is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.watches.values().filter(|watch| watch.changed).map(|watch| watch.not_before).min()
    }

    /// Peers and watches to be told now.
    pub(crate) fn due(&mut self) -> Vec<(u32, u64)> {
        let now = Instant::now();
        let mut due = Vec::new();
        for (number, watch) in &mut self.watches {
            if watch.changed && watch.not_before <= now {
                watch.changed = false;
                watch.not_before = now + REPORT_INTERVAL;
                due.push((watch.peer, *number));
            }
        }
        due
    }
}

#[cfg(test)]
mod tests;
