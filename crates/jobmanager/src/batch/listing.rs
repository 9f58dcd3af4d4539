//! Listings: what a batch system knows of jobs, asked for and taken apart in a child of this process.

use std::os::fd::AsFd as _;
use std::time::Duration;

use nesssi_job::batch::{
    BatchId, CommandLine, Dialect, LISTING_BYTES_MAX, Listed, NoListing, Sighting, Words, names,
};
use nesssi_privsep::messages::{BatchEndFacts, FromJobmanager, SightingFacts};
use nesssi_privsep::{Channel, Ending, spawn};
use rustix::io::Errno;

use super::{What, not_listed};
use crate::commands::{Bounds, Done, Finished, Running};
use crate::helpers::{die_with_parent, send};
use crate::manager::Manager;
use crate::requests::{Answer, Failure};
use crate::sandboxes::LISTING_BYTES_MAX as RECORD_ROOM;

/// What a sighting takes in a record beside its texts.
const SIGHTING_BYTES: usize = 64;

/// Exit code of a child that could not answer.
const EXIT_UNSENT: i32 = 1;

/// Exit code of a child that has answered; what is over it says which of the dialect's listings was understood.
const EXIT_ANSWERED: i32 = 10;

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Listing {
    /// These jobs; all where there is none.
    Jobs(Vec<BatchId>),
    /// These jobs by the accounts.
    Accounts(Vec<BatchId>),
    /// What these jobs use.
    Usage(Vec<BatchId>),
}

impl Listing {
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Accounts(ids) | Self::Usage(ids) if ids.is_empty() => {
                Err(Failure::new(Errno::INVAL, "there is no batch id"))
            }
            Self::Jobs(_) | Self::Accounts(_) | Self::Usage(_) => Ok(()),
        }
    }
}

impl Manager {
    pub(super) fn begin_listing(
        &mut self,
        system: usize,
        peer: u32,
        request: u32,
        listing: &Listing,
    ) -> Answer {
        let bounds = self.bounds(system, LISTING_BYTES_MAX, true);
        let Some(channel) = self.peers.channel(peer) else { return Ok(None) };
        let first = self.batch.systems.get(system).map_or(0, |system| system.listing);
        let keep = [channel.as_fd()];
        let child = self.spoken(system, |dialect| {
            spawn::fork(&keep, || {
                rustix::thread::set_name(c"nesssi-listing").unwrap_or_default();
                die_with_parent();
                let asker = Asker { dialect, bounds, duration: Duration::ZERO };
                asker.answer(listing, first, channel, request)
            })
        })??;
        self.batch.add(system, What::Child(child, peer, request));
        Ok(None)
    }

    /// A listing's child has ended. One that died has not answered.
    pub(super) fn listing_ended(&mut self, system: usize, peer: u32, request: u32, ending: Ending) {
        match ending {
            Ending::Exited(code) if code >= EXIT_ANSWERED => {
                let understood = usize::try_from(code - EXIT_ANSWERED).unwrap_or(0);
                if let Some(system) = self.batch.systems.get_mut(system) {
                    system.listing = understood;
                }
            }
            Ending::Exited(EXIT_UNSENT) => {}
            ending => {
                let text = format!("a listing's process ended with {ending}");
                self.send(peer, request, &Failure { errno: 0, text }.message(), Vec::new());
            }
        }
    }
}

/// Asks in the child.
struct Asker<'a> {
    dialect: &'a dyn Dialect,
    bounds: Bounds,
    /// How long the commands have taken.
    duration: Duration,
}

/// What a listing has brought: the jobs, how many were not read, and which of the dialect's listings it was.
type Brought = (Vec<Sighting>, usize, usize);

impl Asker<'_> {
    /// Answers the exit code.
    fn answer(mut self, listing: &Listing, first: usize, channel: &Channel, request: u32) -> i32 {
        let brought = match listing {
            Listing::Usage(ids) => {
                let message = match self.usage(ids) {
                    Ok(used) => FromJobmanager::BatchUsage { used },
                    Err(trouble) => not_listed(&trouble, self.duration),
                };
                let sent = send(channel, request, &message);
                return if sent { EXIT_ANSWERED + code(first) } else { EXIT_UNSENT };
            }
            Listing::Accounts(ids) => self.accounts(ids).map(|(all, unread)| (all, unread, first)),
            Listing::Jobs(ids) => self.jobs(ids, first),
        };
        let (message, understood) = match brought {
            Ok((sightings, unread, understood)) => {
                if !tell(channel, request, sightings) {
                    return EXIT_UNSENT;
                }
                let unread = u64::try_from(unread).unwrap_or(u64::MAX);
                let duration_ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX);
                (FromJobmanager::ListDone { unread, duration_ms }, understood)
            }
            Err(trouble) => (not_listed(&trouble, self.duration), 0),
        };
        if send(channel, request, &message) {
            EXIT_ANSWERED + code(understood)
        } else {
            EXIT_UNSENT
        }
    }

    /// The one that was understood last is tried first.
    fn jobs(&mut self, ids: &[BatchId], first: usize) -> Result<Brought, NoListing> {
        let listed = if ids.is_empty() { Listed::All } else { Listed::These(ids) };
        let mut lines: Vec<_> = self.dialect.list(listed).into_iter().enumerate().collect();
        let first = first.min(lines.len());
        lines.rotate_left(first);
        let mut last = NoListing::NotUnderstood(Words::default());
        for (number, line) in lines {
            let finished = self.run(line)?;
            match self.dialect.listed(&finished.output()) {
                Ok(listing) => {
                    // A job that its owner has renamed has not ended for that.
                    let all = listing.iter().chain(listing.renamed(ids)).cloned().collect();
                    return Ok((all, listing.unread, number));
                }
                Err(trouble @ NoListing::NotUnderstood(_)) => last = trouble,
                Err(trouble) => return Err(trouble),
            }
        }
        Err(last)
    }

    fn accounts(&mut self, ids: &[BatchId]) -> Result<(Vec<Sighting>, usize), NoListing> {
        let finished = self.run(self.dialect.account(ids).ok_or_else(no_accounts)?)?;
        let listing = self.dialect.accounted(&finished.output())?;
        Ok((listing.iter().cloned().collect(), listing.unread))
    }

    fn usage(&mut self, ids: &[BatchId]) -> Result<Vec<(String, u64)>, NoListing> {
        let finished = self.run(self.dialect.usage(ids).ok_or_else(no_accounts)?)?;
        let used = self.dialect.used(&finished.output())?;
        Ok(used.into_iter().map(|(id, seconds)| (id.as_str().to_owned(), seconds)).collect())
    }

    fn run(&mut self, line: CommandLine) -> Result<Finished, NoListing> {
        let failed = |words: &[u8]| NoListing::Failed(Words::of(words));
        let mut running = Running::start(line, None, self.bounds)
            .map_err(|_failure| failed(b"its command cannot be run"))?;
        match running.wait() {
            Done::NotRun(_) => Err(failed(b"its command cannot be run")),
            Done::Run(finished) => {
                self.duration += finished.duration;
                match finished.output().stdout.len() {
                    long if long > LISTING_BYTES_MAX => Err(NoListing::TooLong),
                    _ if finished.flooded => Err(failed(&finished.said())),
                    _ => Ok(finished),
                }
            }
        }
    }
}

fn no_accounts() -> NoListing {
    NoListing::NoAccounts(Words::of(b"no command for them is configured"))
}

fn code(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(0)
}

/// Tells of the jobs, as many at a time as a record holds; answers whether there was somebody to be told.
fn tell(channel: &Channel, request: u32, all: Vec<Sighting>) -> bool {
    let (mut sightings, mut bytes) = (Vec::new(), 0);
    let mut told = true;
    let flush = |sightings: &mut Vec<SightingFacts>| {
        let sightings = std::mem::take(sightings);
        sightings.is_empty() || send(channel, request, &FromJobmanager::Sightings { sightings })
    };
    for sighting in all {
        let facts = facts(sighting);
        let more = bytes_of(&facts);
        if bytes + more > RECORD_ROOM {
            told &= flush(&mut sightings);
            bytes = 0;
        }
        bytes += more;
        sightings.push(facts);
        if !told {
            return false;
        }
    }
    told && flush(&mut sightings)
}

fn bytes_of(facts: &SightingFacts) -> usize {
    let texts = [&facts.id, &facts.name, &facts.owner, &facts.state, &facts.comment];
    let end = facts.end.as_ref().map_or(0, |end| end.kind.len());
    SIGHTING_BYTES + end + texts.iter().map(|text| text.len()).sum::<usize>()
}

fn facts(sighting: Sighting) -> SightingFacts {
    let (state, end) = names::of_state(sighting.state);
    SightingFacts {
        id: sighting.id.as_str().to_owned(),
        name: sighting.name,
        owner: sighting.owner,
        state: state.to_owned(),
        end: end.map(|(kind, number)| BatchEndFacts { kind: kind.to_owned(), number }),
        cpu_seconds: sighting.cpu_seconds,
        wall_seconds: sighting.wall_seconds,
        comment: sighting.comment.as_str().to_owned(),
    }
}
