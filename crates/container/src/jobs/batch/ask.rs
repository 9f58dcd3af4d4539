//! Asking a batch system, through whichever account's process may run the command.

use nesssi_job::batch::{BatchId, BatchState, NoListing, Sighting, Words, names};
use nesssi_job::{JobState, Tag};
use nesssi_privsep::messages::SightingFacts;

use super::system::System;
use crate::jobs::Core;
use crate::jobs::table::{Number, TAG_KEY_DIGITS};
use crate::link::{AskError, Jobmanager};

/// What a batch system told of NESSSI's jobs.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) sightings: Vec<Sighting>,
    /// Where there are any, what is not told of may still be there.
    pub(super) unread: u64,
}

/// Why nothing is known of any job.
#[derive(Debug)]
pub(super) struct Trouble {
    /// For those who ask.
    pub(super) words: String,
}

/// A channel to the process of a job's account.
pub(super) async fn account_of(core: &Core, number: Number) -> Result<Jobmanager, AskError> {
    let known = core.table().get(number).map(|entry| (entry.id.clone(), entry.seal.open()));
    let (id, seal) = known.ok_or(AskError::Unfit)?;
    core.needs.channels.tend(id.reveal(), &seal).await
}

/// What the batch system knows of the jobs of these ids, or of all where there is none; with `accounts`
/// what its accounts know of them.
pub(super) async fn list(
    system: &System,
    by: &Jobmanager,
    ids: Vec<String>,
    accounts: bool,
) -> Result<Listed, Trouble> {
    let answer = by.list_batch(system.name(), ids, accounts, system.patience()).await;
    match answer {
        Ok(Ok(listing)) => {
            let mut unread = listing.unread;
            let mut read = |facts: SightingFacts| {
                let sighting = sighting(facts);
                unread += u64::from(sighting.is_none());
                sighting
            };
            let sightings = listing.sightings.into_iter().filter_map(&mut read).collect();
            Ok(Listed { sightings, unread })
        }
        Ok(Err(not_listed)) => {
            let words = match &not_listed.trouble {
                NoListing::TooLong => "its listing is too long".to_owned(),
                NoListing::Down(words)
                | NoListing::NoAccounts(words)
                | NoListing::NotUnderstood(words)
                | NoListing::Failed(words) => words.to_string(),
            };
            Err(Trouble { words })
        }
        Err(error) => {
            tracing::warn!(batch = system.name(), %error, "a batch system could not be asked");
            let words = "the account that asks it cannot be had now".to_owned();
            Err(Trouble { words })
        }
    }
}

fn sighting(facts: SightingFacts) -> Option<Sighting> {
    let end = facts.end.as_ref().map(|end| (end.kind.as_str(), end.number));
    Some(Sighting {
        id: BatchId::parse(&facts.id).ok()?,
        state: names::state(&facts.state, end)?,
        name: facts.name,
        owner: facts.owner,
        cpu_seconds: facts.cpu_seconds,
        wall_seconds: facts.wall_seconds,
        comment: Words::of(facts.comment.as_bytes()),
    })
}

/// The digits of a tag in a name that a batch system has for a job of NESSSI's.
pub(super) fn digits_of(name: &str) -> Option<&str> {
    let digits = name.strip_prefix(nesssi_job::batch::JOB_NAME_PREFIX);
    digits.or_else(|| name.strip_prefix('n').filter(|digits| digits.len() == TAG_KEY_DIGITS))
}

/// Whether a batch system's name for a job is one that a tag's job gets: whole, or cut to what the
/// shortest names hold.
pub(super) fn is_named(name: &str, tag: &Tag) -> bool {
    digits_of(name).is_some_and(|digits| {
        digits == tag.as_str() || tag.as_str().get(..TAG_KEY_DIGITS) == Some(digits)
    })
}

/// Whether two batch ids are the same job's: a server may be named with its domain or without.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let ((number, server), (other_number, other_server)) = (parts(one), parts(other));
    let fits = |long: &str, short: &str| {
        long == short || long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'))
    };
    number == other_number && (fits(server, other_server) || fits(other_server, server))
}

fn parts(id: &str) -> (&str, &str) {
    id.split_once('.').unwrap_or((id, ""))
}

/// Whether the batch system may still run it.
pub(super) fn is_live(state: BatchState) -> bool {
    matches!(state, BatchState::Queued | BatchState::Held | BatchState::Running)
}

/// Whether the batch system of a job that was given up as lost has it no more. One that it has after
/// all is ended.
///
/// # Errors
/// Why that is not certain.
pub(super) async fn is_gone(core: &Core, number: Number) -> Result<(), &'static str> {
    let Some((system, batch_id, tag, account)) = lost(core, number) else { return Ok(()) };
    let unknown = "its batch system does not say whether its job is gone";
    let by = account_of(core, number).await.map_err(|_| unknown)?;
    let ids = batch_id.into_iter().collect();
    let listed = list(&system, &by, ids, false).await.map_err(|_| unknown)?;
    let own = |one: &&Sighting| {
        is_named(&one.name, &tag) && (one.owner.is_empty() || one.owner == account)
    };
    let live = |one: &&Sighting| !matches!(one.state, BatchState::Ended(_));
    let left: Vec<&Sighting> = listed.sightings.iter().filter(own).filter(live).collect();
    for one in &left {
        let (id, tag) = (one.id.as_str(), tag.as_str());
        let answer = by.cancel_batch(system.name(), id, tag, system.patience()).await;
        tracing::warn!(batch = system.name(), batch_id = id, ?answer, "a lost job is still there");
    }
    match (left.is_empty(), listed.unread) {
        (true, 0) => Ok(()),
        (false, _) => Err("its batch system still has its job"),
        (true, _) => Err(unknown),
    }
}

type Lost = (std::sync::Arc<System>, Option<String>, Tag, String);

fn lost(core: &Core, number: Number) -> Option<Lost> {
    let table = core.table();
    let entry = table.get(number)?;
    let job = entry.job.as_ref().filter(|job| !job.is_local())?;
    job.end.as_ref().filter(|end| end.state == JobState::Lost)?;
    let system = core.batch.get(&job.batch)?;
    Some((system.clone(), job.batch_id.clone(), job.tag.clone(), entry.account.clone()))
}

#[cfg(test)]
mod tests {
    use super::{is_named, is_same};
    use nesssi_job::Tag;

    #[test]
    fn names_of_a_tag() {
        let tag = Tag::parse("0123456789abcdef").unwrap();
        assert!(is_named("nesssi-0123456789abcdef", &tag));
        assert!(is_named("n0123456789abcd", &tag));
        for other in
            ["nesssi-0123456789abcdee", "n0123456789abce", "nesssi-", "n0123456789abc", "x"]
        {
            assert!(!is_named(other, &tag), "{other}");
        }
    }

    #[test]
    fn ids_of_one_job() {
        for (one, other) in
            [("7", "7"), ("7.pbs", "7.pbs.example.org"), ("7.pbs.example.org", "7.pbs")]
        {
            assert!(is_same(one, other), "{one} {other}");
        }
        for (one, other) in [("7", "8"), ("7.pbs", "8.pbs"), ("7.pbs", "7.pbs2"), ("7.pbs", "7")] {
            assert!(!is_same(one, other), "{one} {other}");
        }
    }
}
