//! Who has called lately: what he was granted, and how often he called.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nesssi_dn::SubjectDn;
use nesssi_identity::ProxyKind;
use nesssi_rpc::{Fault, FaultCode};

use crate::Caller;
use crate::grants::{Grant, address_prefix};
use crate::link::lock;

/// How many callers are remembered before those who have not called lately are forgotten.
const CALLERS_MAX: usize = 50_000;

/// How many times the calls of one anonymous caller (a prefix of addresses) all of a level may make
/// together: addresses are cheap.
const ANONYMOUS_TOTAL_TIMES: u32 = 20;

/// What `calls_per_minute` counts in.
const WINDOW: Duration = Duration::from_secs(60);

/// The callers of late. Keyed by hashes with a random key: what two callers may never share, the
/// grant, is compared in full.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    hasher: RandomState,
    grants: Mutex<HashMap<u64, Known>>,
    tallies: Mutex<Tallies>,
}

#[derive(Debug, Default)]
struct Tallies {
    of: HashMap<u64, Tally>,
    /// All anonymous callers of a level together.
    anonymous: HashMap<String, Tally>,
}

#[derive(Debug)]
struct Known {
    subject: Option<SubjectDn>,
    issuer: Option<SubjectDn>,
    proxy: Option<ProxyKind>,
    /// The account asked for, as it was written.
    account: Option<String>,
    /// As much of his address as the rules tell apart.
    address: IpAddr,
    grant: Arc<Grant>,
}

/// The calls of one subject, or of one address prefix if it has none.
#[derive(Debug)]
struct Tally {
    began: Instant,
    calls: u32,
}

impl Tally {
    fn new(began: Instant) -> Self {
        Self { began, calls: 0 }
    }

    /// Whether there is room for one more call; if not, how long until there is.
    fn room(&mut self, most: u32, now: Instant) -> Result<(), Duration> {
        let age = now.saturating_duration_since(self.began);
        if age >= WINDOW {
            (self.began, self.calls) = (now, 0);
            return Ok(());
        }
        if self.calls < most { Ok(()) } else { Err(WINDOW.saturating_sub(age)) }
    }
}

impl Callers {
    /// The grant of a caller who was judged by the rules of this generation; `address` is as much of
    /// his address as they tell apart.
    pub(crate) fn known(
        &self,
        caller: &Caller,
        address: IpAddr,
        generation: u64,
    ) -> Option<Arc<Grant>> {
        let (subject, issuer, proxy) = (caller.subject(), caller.issuer(), caller.proxy());
        let key = self.hasher.hash_one((subject, issuer, proxy, &caller.account, address));
        let grants = lock(&self.grants);
        let known = grants.get(&key)?;
        let is_he = known.subject.as_ref() == subject
            && known.issuer.as_ref() == issuer
            && known.proxy == proxy
            && known.account == caller.account
            && known.address == address
            && known.grant.generation == generation;
        is_he.then(|| Arc::clone(&known.grant))
    }

    /// Remembers what a caller was granted.
    pub(crate) fn remember(&self, caller: &Caller, address: IpAddr, grant: &Arc<Grant>) {
        let (subject, issuer) = (caller.subject().cloned(), caller.issuer().cloned());
        let (proxy, account) = (caller.proxy(), caller.account.clone());
        let key = self.hasher.hash_one((&subject, &issuer, proxy, &account, address));
        let mut grants = lock(&self.grants);
        if grants.len() >= CALLERS_MAX {
            grants.clear();
        }
        let grant = Arc::clone(grant);
        grants.insert(key, Known { subject, issuer, proxy, account, address, grant });
    }

    /// Forgets all grants.
    pub(crate) fn forget_all(&self) {
        lock(&self.grants).clear();
    }

    /// Counts a call.
    ///
    /// # Errors
    /// Fault 429 when `most` calls were made in the minute that runs, or by all anonymous callers of
    /// the level together [`ANONYMOUS_TOTAL_TIMES`] as many; it says when the next begins.
    pub(crate) fn count(&self, caller: &Caller, most: u32, level: &str) -> Result<(), Fault> {
        self.count_at(caller, most, level, Instant::now())
    }

    fn count_at(&self, caller: &Caller, most: u32, level: &str, now: Instant) -> Result<(), Fault> {
        let key = self.tally_key(caller);
        let mut tallies = lock(&self.tallies);
        let Tallies { of, anonymous } = &mut *tallies;
        if of.len() >= CALLERS_MAX {
            forget_old(of, now);
        }
        let tally = of.entry(key).or_insert_with(|| Tally::new(now));
        tally.room(most, now).map_err(|left| {
            too_many(&format!("level {level} allows {most} calls a minute"), left)
        })?;
        if caller.subject().is_none() {
            let total = most.saturating_mul(ANONYMOUS_TOTAL_TIMES);
            if !anonymous.contains_key(level) {
                anonymous.insert(level.to_owned(), Tally::new(now));
            }
            if let Some(together) = anonymous.get_mut(level) {
                together.room(total, now).map_err(|left| {
                    let all = "all its anonymous callers together";
                    too_many(&format!("level {level} allows {all} {total} calls a minute"), left)
                })?;
                together.calls += 1;
            }
        }
        tally.calls += 1;
        Ok(())
    }

    /// How many calls a caller has made in the minute that runs, and how long that runs still.
    pub(crate) fn calls_of(&self, caller: &Caller) -> (u32, Duration) {
        let now = Instant::now();
        let tallies = lock(&self.tallies);
        let tally = tallies.of.get(&self.tally_key(caller));
        let age = tally.map(|tally| (tally.calls, now.saturating_duration_since(tally.began)));
        match age {
            Some((calls, age)) if age < WINDOW => (calls, WINDOW.saturating_sub(age)),
            _ => (0, Duration::ZERO),
        }
    }

    fn tally_key(&self, caller: &Caller) -> u64 {
        match caller.subject() {
            Some(subject) => self.hasher.hash_one(subject),
            None => self.hasher.hash_one(address_prefix(caller.address)),
        }
    }
}

fn too_many(text: &str, left: Duration) -> Fault {
    Fault::new(FaultCode::TooMany, format!("{text}: the next in {} s", left.as_secs() + 1))
}

/// Forgets callers whose minute is over; if all are of this minute, all: nobody is refused for it.
fn forget_old(tallies: &mut HashMap<u64, Tally>, now: Instant) {
    tallies.retain(|_, tally| now.saturating_duration_since(tally.began) < WINDOW);
    if tallies.len() >= CALLERS_MAX {
        tallies.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use nesssi_dn::SubjectDn;
    use nesssi_identity::{Identity, NoCertificate, Peer};
    use nesssi_rpc::Dialect;

    use super::{ANONYMOUS_TOTAL_TIMES, Callers, WINDOW};
    use crate::Caller;

    fn from(address: &str) -> Caller {
        let peer = Arc::new(Peer::Anonymous(NoCertificate::NotOffered));
        Caller::plain(peer, address.parse().unwrap(), "r".into(), Dialect::XmlRpc)
    }

    #[test]
    fn the_call_one_above_the_limit_waits_for_the_next_minute() {
        let callers = Callers::default();
        let now = Instant::now();
        let count = |address: &str, at: Instant| callers.count_at(&from(address), 2, "weak", at);
        assert!(count("192.0.2.1", now).is_ok() && count("192.0.2.2", now).is_ok());
        let fault = count("192.0.2.3", now + Duration::from_secs(50)).unwrap_err();
        assert_eq!(fault.text, "level weak allows 2 calls a minute: the next in 11 s");
        assert!(count("198.51.100.1", now).is_ok(), "another prefix has its own minute");
        assert!(count("192.0.2.1", now + WINDOW).is_ok());
    }
    #[test]
    fn all_anonymous_callers_of_a_level_have_a_total() {
        let callers = Callers::default();
        let now = Instant::now();
        let count = |net: u32, at: Instant| {
            let caller = from(&format!("198.51.{net}.1"));
            callers.count_at(&caller, 2, "anonymous", at)
        };
        for net in 0..ANONYMOUS_TOTAL_TIMES {
            assert!(count(net, now).is_ok() && count(net, now).is_ok());
            // What is refused to one counts against nobody else.
            assert!(
                count(net, now).unwrap_err().text.starts_with("level anonymous allows 2 calls")
            );
        }
        let fault = count(200, now + Duration::from_secs(1)).unwrap_err();
        assert_eq!(fault.code.number(), 429);
        assert_eq!(
            fault.text,
            "level anonymous allows all its anonymous callers together 40 calls a minute: the next in 60 s"
        );
        let certified = Caller {
            peer: Arc::new(Peer::Certified(Identity {
                subject: SubjectDn::parse_oneline("/CN=Alice").unwrap(),
                issuer: SubjectDn::parse_oneline("/CN=CA").unwrap(),
                not_after: i64::MAX,
                proxy: None,
            })),
            ..from("198.51.1.1")
        };
        assert!(callers.count_at(&certified, 2, "anonymous", now).is_ok());
        assert!(callers.count_at(&from("198.51.1.1"), 2, "other", now).is_err());
        assert!(callers.count_at(&from("198.51.201.1"), 2, "other", now).is_ok());
        assert!(count(200, now + WINDOW).is_ok());
    }
}
