//! Batch systems: jobs given to them and ended by their commands, and what they say of jobs.
//!
//! A submission and a cancel are commands of this process; a listing, which may be long, is asked for and taken apart
//! in a forked child that answers by itself. Both count as commands of the batch system, of which so many run at one
//! time; others wait in a line, cancels first.

mod guard;
mod listing;
mod submission;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use nesssi_job::Tag;
use nesssi_job::batch::{
    ANSWER_BYTES_MAX, BatchId, CommandLine, Dialect, LISTED_IDS_MAX, NoListing, Words, dialect,
    names, probe, recognise,
};
use nesssi_privsep::Child;
use nesssi_privsep::messages::FromJobmanager;
use nesssi_session::{SessionId, SubmissionLock};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::arguments::BatchSystemArgument;
use crate::commands::{Bounds, Done, Running};
use crate::manager::Manager;
use crate::requests::{Answer, Failure};

pub(crate) use listing::Listing;
use submission::Submit;

/// Most work that waits for one batch system's commands.
const WAITING_MAX: usize = 1024;

/// After a batch system could not be told apart, so long until it is asked again.
const PROBE_PAUSE: Duration = Duration::from_secs(5);

/// All batch systems, and the commands that run.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    systems: Vec<System>,
    runs: BTreeMap<u64, Run>,
    last: u64,
}

#[derive(Debug)]
struct System {
    argument: BatchSystemArgument,
    voice: Voice,
    /// Its commands that run.
    running: usize,
    waiting: VecDeque<Waiting>,
    /// Which of the dialect's listings was understood last.
    listing: usize,
}

/// How a batch system is spoken to.
#[derive(Debug)]
enum Voice {
    Known(Box<dyn Dialect>),
    /// To be found out by asking.
    Unknown,
    /// It was asked.
    Asked,
    /// It was asked in vain: what was said, and when it may be asked again.
    Mute(Words, Instant),
}

/// Work that waits for its turn.
#[derive(Debug)]
struct Waiting {
    peer: u32,
    request: u32,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Submit(Box<Submit>),
    Cancel(BatchId, Tag),
    List(Listing),
}

/// A command that runs, and of which batch system.
#[derive(Debug)]
struct Run {
    system: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Command(Box<Running>, Purpose),
    /// A listing's child, and for whom it is.
    Child(Child, u32, u32),
}

#[derive(Debug)]
enum Purpose {
    Probe,
    /// Peer, request; the lock is let go of when the answer was given.
    Submit(u32, u32, SessionId, SubmissionLock),
    Cancel(u32, u32),
}

impl Batch {
    pub(crate) fn new(arguments: Vec<BatchSystemArgument>) -> Self {
        let system = |argument: BatchSystemArgument| {
            let voice = argument.dialect.map_or(Voice::Unknown, |name| {
                Voice::Known(dialect(name, argument.programs.clone()))
            });
            System { argument, voice, running: 0, waiting: VecDeque::new(), listing: 0 }
        };
        let systems = arguments.into_iter().map(system).collect();
        Self { systems, runs: BTreeMap::new(), last: 0 }
    }

    /// What to wait for, by the number of its command.
    pub(crate) fn polled(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>)> {
        self.runs.iter().flat_map(|(number, run)| {
            let (command, child) = match &run.what {
                What::Command(running, _) => (Some(running.polled()), None),
                What::Child(child, ..) => (None, Some(child.as_fd())),
            };
            command.into_iter().flatten().chain(child).map(|handle| (*number, handle))
        })
    }

    /// When a command is to be looked at, whatever it does.
    pub(crate) fn next(&self) -> Option<Instant> {
        let next = |run: &Run| match &run.what {
            What::Command(running, _) => running.next(),
            What::Child(..) => None,
        };
        self.runs.values().filter_map(next).min()
    }

    /// Whether a submission of this session waits or runs here.
    fn is_submitting(&self, session: &SessionId) -> bool {
        let runs = self.runs.values().any(|run| {
            matches!(&run.what, What::Command(_, Purpose::Submit(_, _, other, _)) if other == session)
        });
        let waits = |waiting: &Waiting| match &waiting.work {
            Work::Submit(submit) => submit.session == *session,
            Work::Cancel(..) | Work::List(_) => false,
        };
        runs || self.systems.iter().any(|system| system.waiting.iter().any(waits))
    }

    fn find(&self, name: &str) -> Result<usize, Failure> {
        let found = self.systems.iter().position(|system| system.argument.name == name);
        found.ok_or_else(|| Failure::new(Errno::NODEV, "there is no such batch system"))
    }

    fn check_room(&self, system: usize) -> Result<(), Failure> {
        let waiting = self.systems.get(system).map_or(0, |system| system.waiting.len());
        if waiting < WAITING_MAX {
            Ok(())
        } else {
            Err(Failure::new(Errno::AGAIN, "too many batch commands are waiting"))
        }
    }

    fn add(&mut self, system: usize, what: What) {
        self.last += 1;
        self.runs.insert(self.last, Run { system, what });
        if let Some(system) = self.systems.get_mut(system) {
            system.running += 1;
        }
    }

    fn remove(&mut self, number: u64) -> Option<usize> {
        let run = self.runs.remove(&number)?;
        if let Some(system) = self.systems.get_mut(run.system) {
            system.running = system.running.saturating_sub(1);
        }
        Some(run.system)
    }
}

impl System {
    /// Whether one more command may run.
    fn is_free(&self) -> bool {
        self.running < self.argument.commands_at_once
    }

    /// The work whose turn it is: a cancel, else what has waited longest.
    fn take(&mut self) -> Option<Waiting> {
        let cancels = |waiting: &Waiting| matches!(waiting.work, Work::Cancel(..));
        let at = self.waiting.iter().position(cancels).unwrap_or(0);
        self.waiting.remove(at)
    }

    fn dialect(&self) -> Option<&dyn Dialect> {
        match &self.voice {
            Voice::Known(dialect) => Some(dialect.as_ref()),
            Voice::Unknown | Voice::Asked | Voice::Mute(..) => None,
        }
    }
}

/// What is to be done next for a batch system.
enum Turn {
    Begin(Waiting),
    Ask,
    /// Nobody knows how to speak to it.
    Refuse(Waiting, Words),
    Nothing,
}

impl Manager {
    pub(crate) fn cancel_batch(
        &mut self,
        peer: u32,
        request: u32,
        batch: &str,
        id: &str,
        tag: &str,
    ) -> Answer {
        let invalid = |text: String| Failure::new(Errno::INVAL, text);
        let id = BatchId::parse(id).map_err(|error| invalid(error.to_string()))?;
        let tag = Tag::parse(tag).map_err(|error| invalid(error.to_string()))?;
        self.wait_for_turn(peer, request, batch, Work::Cancel(id, tag))
    }

    pub(crate) fn list_batch(
        &mut self,
        peer: u32,
        request: u32,
        batch: &str,
        ids: &[String],
        what: fn(Vec<BatchId>) -> Listing,
    ) -> Answer {
        if ids.len() > LISTED_IDS_MAX {
            return Err(Failure::new(Errno::INVAL, "too many batch ids"));
        }
        let ids: Result<Vec<BatchId>, _> = ids.iter().map(|id| BatchId::parse(id)).collect();
        let ids = ids.map_err(|error| Failure::new(Errno::INVAL, error.to_string()))?;
        let listing = what(ids);
        listing.check()?;
        self.wait_for_turn(peer, request, batch, Work::List(listing))
    }

    /// Begins the work now, or when a command may run.
    fn wait_for_turn(&mut self, peer: u32, request: u32, batch: &str, work: Work) -> Answer {
        let system = self.batch.find(batch)?;
        self.batch.check_room(system)?;
        if let Some(system) = self.batch.systems.get_mut(system) {
            system.waiting.push_back(Waiting { peer, request, work });
        }
        self.pump(system);
        Ok(None)
    }

    /// Begins what waits for a batch system, as far as its commands may run.
    fn pump(&mut self, system: usize) {
        loop {
            match self.turn(system) {
                Turn::Begin(waiting) => self.begin(system, waiting),
                Turn::Ask => self.ask(system),
                Turn::Refuse(waiting, words) => self.refuse(&waiting, &words),
                Turn::Nothing => return,
            }
        }
    }

    fn turn(&mut self, system: usize) -> Turn {
        let Some(system) = self.batch.systems.get_mut(system) else { return Turn::Nothing };
        if system.waiting.is_empty() || !system.is_free() {
            return Turn::Nothing;
        }
        let words = match &system.voice {
            Voice::Known(_) => None,
            Voice::Mute(words, again) if Instant::now() < *again => Some(words.clone()),
            Voice::Unknown | Voice::Mute(..) => return Turn::Ask,
            Voice::Asked => return Turn::Nothing,
        };
        match (system.take(), words) {
            (Some(waiting), None) => Turn::Begin(waiting),
            (Some(waiting), Some(words)) => Turn::Refuse(waiting, words),
            (None, _) => Turn::Nothing,
        }
    }

    fn begin(&mut self, system: usize, waiting: Waiting) {
        let Waiting { peer, request, work } = waiting;
        let begun = match work {
            Work::Submit(submit) => self.submit(system, peer, request, *submit),
            Work::Cancel(id, tag) => self.cancel_by_id(system, peer, request, &id, &tag),
            Work::List(listing) => self.begin_listing(system, peer, request, &listing),
        };
        match begun {
            Ok(Some((message, descriptors))) => self.send(peer, request, &message, descriptors),
            Ok(None) => {}
            Err(failure) => self.send(peer, request, &failure.message(), Vec::new()),
        }
    }

    /// Asks a batch system which it is.
    fn ask(&mut self, system: usize) {
        let Some(asked) = self.batch.systems.get_mut(system) else { return };
        asked.voice = Voice::Asked;
        let line = probe(&asked.argument.programs.submit);
        match self.command(system, line, None) {
            Ok(running) => self.batch.add(system, What::Command(running, Purpose::Probe)),
            Err(failure) => self.recognised(system, &Done::NotRun(failure)),
        }
    }

    fn recognised(&mut self, system: usize, done: &Done) {
        let told = match done {
            Done::Run(finished) => recognise(&finished.output()).ok_or_else(|| {
                Words::of(&[b"what it is cannot be told: ", &*finished.said()].concat())
            }),
            Done::NotRun(failure) => {
                self.log(&format!("batch command: {}", failure.text));
                Err(Words::of(b"its command cannot be run"))
            }
        };
        let Some(system) = self.batch.systems.get_mut(system) else { return };
        system.voice = match told {
            Ok(name) => Voice::Known(dialect(name, system.argument.programs.clone())),
            Err(words) => Voice::Mute(words, Instant::now() + PROBE_PAUSE),
        };
    }

    fn refuse(&mut self, waiting: &Waiting, words: &Words) {
        let words = words.as_str().to_owned();
        let message = match waiting.work {
            Work::Submit(_) => {
                FromJobmanager::NotSubmitted { refusal: "down".into(), certain: true, words }
            }
            Work::Cancel(..) => FromJobmanager::BatchCancelled { answer: "down".into(), words },
            Work::List(_) => {
                FromJobmanager::NotListed { trouble: "down".into(), words, duration_ms: 0 }
            }
        };
        self.send(waiting.peer, waiting.request, &message, Vec::new());
    }

    fn cancel_by_id(
        &mut self,
        system: usize,
        peer: u32,
        request: u32,
        id: &BatchId,
        tag: &Tag,
    ) -> Answer {
        let line = self.spoken(system, |dialect| dialect.cancel(id, tag))?;
        let running = self.command(system, line, None)?;
        self.batch.add(system, What::Command(running, Purpose::Cancel(peer, request)));
        Ok(None)
    }

    /// What its dialect says.
    fn spoken<T>(&self, system: usize, say: impl FnOnce(&dyn Dialect) -> T) -> Result<T, Failure> {
        let dialect = self.batch.systems.get(system).and_then(System::dialect);
        dialect.map(say).ok_or_else(|| Failure::new(Errno::NODEV, "it has no dialect yet"))
    }

    fn command(
        &self,
        system: usize,
        line: CommandLine,
        lock: Option<BorrowedFd<'_>>,
    ) -> Result<Box<Running>, Failure> {
        let bounds = self.bounds(system, ANSWER_BYTES_MAX, false);
        Running::start(line, lock, bounds).map(Box::new)
    }

    fn bounds(&self, system: usize, answer_bytes_max: usize, dies_with_us: bool) -> Bounds {
        let time = |system: &System| system.argument.command_seconds_max;
        let time_max = self.batch.systems.get(system).map_or(Duration::ZERO, time);
        Bounds { answer_bytes_max, time_max, files_max: self.files_max, dies_with_us }
    }

    /// A command has something to say, or has ended.
    pub(crate) fn command_ready(&mut self, number: u64) {
        let Some(run) = self.batch.runs.get_mut(&number) else { return };
        let system = run.system;
        match &mut run.what {
            What::Command(running, _) => {
                let done = running.step(Instant::now());
                let over = running.is_over();
                if let Some(done) = done {
                    self.command_done(number, &done);
                }
                if !over {
                    return;
                }
            }
            What::Child(child, peer, request) => {
                let Ok(Some(ending)) = child.try_wait() else { return };
                let (peer, request) = (*peer, *request);
                self.listing_ended(system, peer, request, ending);
            }
        }
        self.batch.remove(number);
        self.pump(system);
    }

    /// Looks at the commands whose time is over.
    pub(crate) fn sweep_commands(&mut self) {
        let now = Instant::now();
        let due = |run: &Run| match &run.what {
            What::Command(running, _) => running.next().is_some_and(|next| next <= now),
            What::Child(..) => false,
        };
        let runs = &self.batch.runs;
        let due: Vec<u64> = runs.iter().filter(|(_, run)| due(run)).map(|(n, _)| *n).collect();
        for number in due {
            self.command_ready(number);
        }
    }

    fn command_done(&mut self, number: u64, done: &Done) {
        let Some(run) = self.batch.runs.get_mut(&number) else { return };
        let system = run.system;
        let What::Command(_, purpose) = &mut run.what else { return };
        // One that cannot be killed is nobody's answer any more.
        match std::mem::replace(purpose, Purpose::Probe) {
            Purpose::Probe => {
                if matches!(self.batch.systems.get(system).map(|s| &s.voice), Some(Voice::Asked)) {
                    self.recognised(system, done);
                    self.pump(system);
                }
            }
            Purpose::Submit(peer, request, _, lock) => {
                let message = self.submitted(system, done);
                self.send(peer, request, &message, Vec::new());
                drop(lock);
            }
            Purpose::Cancel(peer, request) => {
                let message = self.cancelled(system, done);
                self.send(peer, request, &message, Vec::new());
            }
        }
    }

    fn cancelled(&self, system: usize, done: &Done) -> FromJobmanager {
        let finished = match done {
            Done::Run(finished) => finished,
            Done::NotRun(failure) => return failure.clone().message(),
        };
        match self.spoken(system, |dialect| dialect.cancelled(&finished.output())) {
            Ok(answer) => {
                let (answer, words) = names::of_cancel(&answer);
                FromJobmanager::BatchCancelled { answer: answer.into(), words: words.into() }
            }
            Err(failure) => failure.message(),
        }
    }

    /// Nobody hears any more what a peer has asked. What has begun is finished, but for listings.
    pub(crate) fn drop_commands_of(&mut self, peer: u32) {
        for system in &mut self.batch.systems {
            system.waiting.retain(|waiting| waiting.peer != peer);
        }
        for run in self.batch.runs.values() {
            if let What::Child(child, other, _) = &run.what
                && *other == peer
            {
                child.signal(Signal::TERM).unwrap_or_default();
            }
        }
    }
}

/// The message that says of a listing that there is none.
fn not_listed(trouble: &NoListing, duration: Duration) -> FromJobmanager {
    let (trouble, words) = names::of_trouble(trouble);
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    FromJobmanager::NotListed { trouble: trouble.into(), words: words.into(), duration_ms }
}
