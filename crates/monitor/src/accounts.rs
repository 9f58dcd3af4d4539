//! The accounts that are or were of use: for each its jobmanager, what is known of it, and who waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nesssi_privsep::Child;
use nesssi_privsep::messages::{AccountFacts, ChannelKind};

use crate::backoff::Backoff;
use crate::gatekeeper::GatekeeperId;
use crate::link::Link;
use crate::lookup::{Found, Lookup};

/// Accounts with a jobmanager or a look-up at one time.
pub const ACCOUNTS_MAX: usize = 1024;
/// Requests that wait for one account.
pub const WAITING_MAX: usize = 1024;
/// After so many seconds what is known of an account is looked up again before it is started as.
/// Changes of this machine's own files are seen at once.
pub const FACTS_SECONDS_MAX: u64 = 300;

/// A request that waits for an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Who asks.
    pub gatekeeper: GatekeeperId,
    /// His request's number.
    pub request: u32,
    /// For what.
    pub wish: Wish,
}

/// What a channel to a jobmanager is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// To start, by this grant.
    Start {
        /// The grant.
        grant: u64,
    },
    /// To tend a session that was sealed for this uid.
    Tend {
        /// The uid of the seal.
        uid: u32,
    },
    /// To discover services.
    Discover,
}

impl Wish {
    /// The kind of channel.
    #[must_use]
    pub fn kind(&self) -> ChannelKind {
        match self {
            Self::Start { .. } => ChannelKind::Start {},
            Self::Tend { .. } => ChannelKind::Tend {},
            Self::Discover => ChannelKind::Discover {},
        }
    }

    /// Whether code is run for it, which needs an account in good standing.
    #[must_use]
    pub fn starts(&self) -> bool {
        !matches!(self, Self::Tend { .. })
    }
}

/// A running jobmanager.
#[derive(Debug)]
pub struct Jobmanager {
    /// The process.
    pub child: Child,
    /// Its control channel. Closing it ends the jobmanager.
    pub control: Link,
    /// Since when.
    pub started: Instant,
}

/// One account.
#[derive(Debug, Default)]
pub struct Slot {
    /// Its jobmanager.
    pub jobmanager: Option<Jobmanager>,
    /// What was found of it last.
    pub found: Option<Found>,
    /// When; `None` is too long ago.
    pub checked: Option<Instant>,
    /// The look-up under way.
    pub lookup: Option<Lookup>,
    /// Who waits for it.
    pub waiting: Vec<Waiting>,
    /// How its jobmanagers have fared.
    pub backoff: Backoff,
    /// No jobmanager is started before.
    pub not_before: Option<Instant>,
}

impl Slot {
    /// Whether a wish can be answered from what is known, without a look-up.
    #[must_use]
    pub fn ready_for(&self, wish: &Wish, now: Instant) -> bool {
        let fresh = self.checked.is_some_and(|checked| {
            now.saturating_duration_since(checked) < Duration::from_secs(FACTS_SECONDS_MAX)
        });
        let good = self.found.as_ref().is_some_and(|found| found.standing.is_none());
        self.jobmanager.is_some() && fresh && (good || !wish.starts())
    }

    /// Whether nothing is remembered that matters.
    #[must_use]
    pub fn is_idle(&self, now: Instant) -> bool {
        self.jobmanager.is_none()
            && self.lookup.is_none()
            && self.waiting.is_empty()
            && self.not_before.is_none_or(|not_before| not_before <= now)
    }

    /// Its facts as the gatekeeper is told.
    #[must_use]
    pub fn facts(&self, name: &str, sandboxes_root: &std::path::Path) -> Option<AccountFacts> {
        let found = self.found.as_ref()?;
        Some(AccountFacts {
            name: name.to_owned(),
            uid: found.uid,
            gid: found.gid,
            home: found.home.clone(),
            sandboxes: sandboxes_root.join(name).display().to_string(),
        })
    }
}

/// All accounts by name.
#[derive(Debug, Default)]
pub struct Accounts {
    slots: BTreeMap<String, Slot>,
}

impl Accounts {
    /// The slot of an account, made if there is room.
    pub fn slot(&mut self, name: &str, now: Instant) -> Option<&mut Slot> {
        if !self.slots.contains_key(name) && self.slots.len() >= ACCOUNTS_MAX {
            self.slots.retain(|_, slot| !slot.is_idle(now));
            if self.slots.len() >= ACCOUNTS_MAX {
                return None;
            }
        }
        Some(self.slots.entry(name.to_owned()).or_default())
    }

    /// The slot of an account that there is.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Slot> {
        self.slots.get_mut(name)
    }

    /// The slot of an account that there is.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Slot> {
        self.slots.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Slot)> {
        self.slots.iter().map(|(name, slot)| (name.as_str(), slot))
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Slot)> {
        self.slots.iter_mut().map(|(name, slot)| (name.as_str(), slot))
    }

    /// What is known of accounts may be outdated: each is looked up again before it is used.
    pub fn doubt_all(&mut self) {
        for slot in self.slots.values_mut() {
            slot.checked = None;
        }
    }

    /// The account whose jobmanager has this pid.
    #[must_use]
    pub fn by_jobmanager(&self, pid: rustix::process::Pid) -> Option<String> {
        let runs = |slot: &Slot| slot.jobmanager.as_ref().is_some_and(|j| j.child.pid() == pid);
        self.slots.iter().find(|(_, slot)| runs(slot)).map(|(name, _)| name.clone())
    }
}
