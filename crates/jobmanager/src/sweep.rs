//! A sweep ends what is left of a job or worker whose parent is gone, until nothing is left.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::leaf::Leaf;
use crate::proctree::{self, Process};

/// Between two looks.
const STEP: Duration = Duration::from_millis(20);

/// How long processes that this account may not kill (set-user-ID programs) are waited for.
const FOREIGN_WAIT: Duration = Duration::from_secs(30);

/// By what the processes of one job or worker are known.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// The first of them, by pid and start time, if it is known.
    pub(crate) head: Option<(i32, u64)>,
    /// `NAME=value` in their environment.
    pub(crate) marker: String,
}

impl Family {
    /// Those that live: marked, in the head's session, or descending from such.
    pub(crate) fn members(&self) -> Vec<Process> {
        let all = proctree::all();
        let own = Process::own().map_or(0, |own| own.pid);
        let session = self.session(&all);
        let is_head = |process: &Process| Some((process.pid, process.start_ticks)) == self.head;
        let mut members: Vec<Process> = all
            .iter()
            .filter(|process| process.pid != own && !process.dead)
            .filter(|process| {
                is_head(process)
                    || Some(process.session) == session
                    || process.has_marker(&self.marker)
            })
            .copied()
            .collect();
        let roots: Vec<i32> = members.iter().map(|process| process.pid).collect();
        let below = proctree::descendants(&all, &roots);
        members.extend(below.into_iter().filter(|process| process.pid != own && !process.dead));
        members
    }

    /// The session that the head leads, unless another process leads one of that number by now.
    fn session(&self, all: &[Process]) -> Option<i32> {
        let (pid, start_ticks) = self.head?;
        let taken = |process: &&Process| process.pid == pid && process.start_ticks != start_ticks;
        all.iter().find(taken).is_none().then_some(pid)
    }
}

/// The ending of a family.
#[derive(Debug)]
pub(crate) struct Sweep {
    family: Family,
    leaf: Option<Leaf>,
    next: Instant,
    began: Instant,
}

impl Sweep {
    pub(crate) fn new(family: Family, leaf: Option<Leaf>) -> Self {
        let now = Instant::now();
        Self { family, leaf, next: now, began: now }
    }

    /// When it wants its next step.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// One look and one blow. `true` once nothing is left.
    pub(crate) fn step(&mut self) -> bool {
        self.next = Instant::now() + STEP;
        let mut emptied = true;
        if let Some(leaf) = &self.leaf {
            // Told by the leaf's being populated still.
            leaf.kill().unwrap_or_default();
            emptied = leaf.is_empty();
        }
        let strikes = kill_all(&self.family.members());
        let gone =
            strikes.killed == 0 && (strikes.foreign == 0 || self.began.elapsed() > FOREIGN_WAIT);
        gone && emptied
    }
}

/// What a blow has met.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Strikes {
    /// Killed, or dead by itself meanwhile.
    pub(crate) killed: usize,
    /// Not this account's to kill.
    pub(crate) foreign: usize,
}

/// Kills them all.
pub(crate) fn kill_all(processes: &[Process]) -> Strikes {
    let mut strikes = Strikes::default();
    for process in processes {
        match process.signal(Signal::KILL) {
            Ok(()) => strikes.killed += 1,
            Err(_) => strikes.foreign += 1,
        }
    }
    strikes
}

/// Ends a family here and now, with a bounded number of blows; answers whether nothing is left.
pub(crate) fn end_now(family: &Family) -> bool {
    const BLOWS_MAX: usize = 50;
    for _ in 0..BLOWS_MAX {
        if kill_all(&family.members()).killed == 0 {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// Stops all that `find` finds until it finds no new ones, so that none can fork away from the blow.
pub(crate) fn freeze(find: impl Fn() -> Vec<Process>) -> Vec<Process> {
    const LOOKS_MAX: usize = 50;
    let mut stopped = HashSet::new();
    for _ in 0..LOOKS_MAX {
        let found = find();
        let mut new = 0;
        for process in &found {
            if stopped.insert((process.pid, process.start_ticks)) {
                new += 1;
                // Those that cannot be stopped are met again by the blow.
                process.signal(Signal::STOP).unwrap_or_default();
            }
        }
        if new == 0 {
            return found;
        }
    }
    find()
}
