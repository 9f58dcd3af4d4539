//! Who has called lately: what he was granted, how often he called, and what he used.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nesssi_dn::SubjectDn;
use nesssi_rpc::{Fault, FaultCode};

use crate::Caller;
use crate::grants::{Grant, address_prefix};
use crate::link::lock;

/// How many callers are remembered before those who have not called lately are forgotten.
const CALLERS_MAX: usize = 50_000;

/// What `calls_per_minute` counts in.
const WINDOW: Duration = Duration::from_secs(60);

/// The callers of late. Keyed by hashes with a random key: what two callers may never share, the
/// grant, is compared in full.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    hasher: RandomState,
    grants: Mutex<HashMap<u64, Known>>,
    tallies: Mutex<HashMap<u64, Tally>>,
}

#[derive(Debug)]
struct Known {
    subject: Option<SubjectDn>,
    issuer: Option<SubjectDn>,
    prefix: IpAddr,
    grant: Arc<Grant>,
}

/// The calls of one subject, or of one address prefix if it has none.
#[derive(Debug)]
struct Tally {
    began: Instant,
    calls: u32,
    cpu_usec: u64,
}

impl Callers {
    /// The grant of a caller who was judged by the rules of this generation.
    pub(crate) fn known(&self, caller: &Caller, generation: u64) -> Option<Arc<Grant>> {
        let prefix = address_prefix(caller.address);
        let (subject, issuer) = (caller.subject(), caller.issuer());
        let key = self.hasher.hash_one((subject, issuer, prefix));
        let grants = lock(&self.grants);
        let known = grants.get(&key)?;
        let is_he = known.subject.as_ref() == subject
            && known.issuer.as_ref() == issuer
            && known.prefix == prefix
            && known.grant.generation == generation;
        is_he.then(|| Arc::clone(&known.grant))
    }

    /// Remembers what a caller was granted.
    pub(crate) fn remember(&self, caller: &Caller, grant: &Arc<Grant>) {
        let prefix = address_prefix(caller.address);
        let (subject, issuer) = (caller.subject().cloned(), caller.issuer().cloned());
        let key = self.hasher.hash_one((&subject, &issuer, prefix));
        let mut grants = lock(&self.grants);
        if grants.len() >= CALLERS_MAX {
            grants.clear();
        }
        grants.insert(key, Known { subject, issuer, prefix, grant: Arc::clone(grant) });
    }

    /// Forgets all grants.
    pub(crate) fn forget_all(&self) {
        lock(&self.grants).clear();
    }

    /// Counts a call.
    ///
    /// # Errors
    /// Fault 429 when `most` calls were made in the minute that runs; it says when the next begins.
    pub(crate) fn count(&self, caller: &Caller, most: u32, level: &str) -> Result<(), Fault> {
        self.count_at(caller, most, level, Instant::now())
    }

    fn count_at(&self, caller: &Caller, most: u32, level: &str, now: Instant) -> Result<(), Fault> {
        let key = self.tally_key(caller);
        let mut tallies = lock(&self.tallies);
        if tallies.len() >= CALLERS_MAX {
            forget_old(&mut tallies, now);
        }
        let tally = tallies.entry(key).or_insert(Tally { began: now, calls: 0, cpu_usec: 0 });
        let age = now.saturating_duration_since(tally.began);
        if age >= WINDOW {
            (tally.began, tally.calls) = (now, 0);
        }
        if tally.calls >= most {
            let left = WINDOW.saturating_sub(age).as_secs() + 1;
            return Err(Fault::new(
                FaultCode::TooMany,
                format!("level {level} allows {most} calls a minute: the next in {left} s"),
            ));
        }
        tally.calls += 1;
        Ok(())
    }

    /// Adds what a call has used to what its caller has used.
    pub(crate) fn charge(&self, caller: &Caller, cpu_usec: u64) {
        if let Some(tally) = lock(&self.tallies).get_mut(&self.tally_key(caller)) {
            tally.cpu_usec = tally.cpu_usec.saturating_add(cpu_usec);
        }
    }

    fn tally_key(&self, caller: &Caller) -> u64 {
        match caller.subject() {
            Some(subject) => self.hasher.hash_one(subject),
            None => self.hasher.hash_one(address_prefix(caller.address)),
        }
    }
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

    use nesssi_identity::{NoCertificate, Peer};
    use nesssi_rpc::Dialect;

    use super::{Callers, WINDOW};
    use crate::Caller;

    fn from(address: &str) -> Caller {
        Caller {
            peer: Arc::new(Peer::Anonymous(NoCertificate::NotOffered)),
            address: address.parse().unwrap(),
            request_id: "r".into(),
            dialect: Dialect::XmlRpc,
        }
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
}
