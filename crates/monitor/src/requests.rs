//! Everything that the gatekeeper may ask of root: the table, and what is done for each request.
//!
//! A request that is not in the table, comes at the wrong time or too often is refused; one that
//! cannot be read costs the gatekeeper its life. What is asked is judged by what the monitor knows (grants, seals),
//! never by what the request says of accounts or levels.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nesssi_dn::SubjectDn;
use nesssi_policy::{AccountName, LevelName, ProxyKind, Who};
use nesssi_privsep::door::Doorkeeper;
use nesssi_privsep::messages::{
    Claim, FromMonitor, GrantRecord, LeafFacts, LeafOwner, Refusal, Seal, ToMonitor,
};
use nesssi_privsep::wire::Blob;

use crate::accounts::{Waiting, Wish};
use crate::gatekeeper::{GatekeeperId, Phase};
use crate::leaves::LeafName;
use crate::log;
use crate::monitor::{Door, Monitor};
use crate::rules::Judged;

/// When a request is allowed.
#[derive(Debug, Clone, Copy)]
struct When(&'static [Phase]);

const STARTING: When = When(&[Phase::Starting]);
const BEFORE: When = When(&[Phase::Spare, Phase::Starting]);
const DRAINING: When = When(&[Phase::Draining]);
const SERVED: When = When(&[Phase::Serving, Phase::Draining, Phase::Released]);
const ALWAYS: When = When(&[Phase::Starting, Phase::Serving, Phase::Draining, Phase::Released]);

/// What is done: an answer at once, none (or later), or a refusal.
type Handler = fn(&mut Monitor, Asker, &ToMonitor) -> Handled;
type Handled = Result<Option<Answer>, Refusal>;
type Answer = (FromMonitor, Vec<OwnedFd>);

struct Row {
    request: &'static str,
    when: When,
    per_second_max: u32,
    handler: Handler,
}

/// How many kinds of requests there are.
pub(crate) const REQUESTS: usize = 15;

/// The table. Its order is that of the variants of [`ToMonitor`].
const TABLE: [Row; REQUESTS] = [
    row("Ready", STARTING, 1, Monitor::ready),
    row("Judge", ALWAYS, 5_000, Monitor::judge),
    row("Start", ALWAYS, 1_000, Monitor::start),
    row("Admit", ALWAYS, 5_000, Monitor::admit),
    row("Tend", ALWAYS, 2_000, Monitor::tend),
    row("Discover", ALWAYS, 10, Monitor::discover),
    row("LeafMake", ALWAYS, 5_000, Monitor::leaf_make),
    row("LeafRead", ALWAYS, 1_000, Monitor::leaf_read),
    row("LeafKill", ALWAYS, 20_000, Monitor::leaf_kill),
    row("LeafList", ALWAYS, 10, Monitor::leaf_list),
    row("ControlDone", SERVED, 100, Monitor::control_done),
    row("Released", DRAINING, 1, Monitor::released),
    row("AuditHead", SERVED, 100, Monitor::audit_head),
    row("Prepared", BEFORE, 1, Monitor::prepared),
    row("Unfit", BEFORE, 1, Monitor::unfit),
];

const fn row(request: &'static str, when: When, per_second_max: u32, handler: Handler) -> Row {
    Row { request, when, per_second_max, handler }
}

fn index(message: &ToMonitor) -> usize {
    match message {
        ToMonitor::Ready {} => 0,
        ToMonitor::Judge { .. } => 1,
        ToMonitor::Start { .. } => 2,
        ToMonitor::Admit { .. } => 3,
        ToMonitor::Tend { .. } => 4,
        ToMonitor::Discover {} => 5,
        ToMonitor::LeafMake { .. } => 6,
        ToMonitor::LeafRead { .. } => 7,
        ToMonitor::LeafKill { .. } => 8,
        ToMonitor::LeafList {} => 9,
        ToMonitor::ControlDone { .. } => 10,
        ToMonitor::Released {} => 11,
        ToMonitor::AuditHead { .. } => 12,
        ToMonitor::Prepared {} => 13,
        ToMonitor::Unfit { .. } => 14,
    }
}

/// Leaves asked for in one `LeafRead`.
const NAMES_MAX: usize = 4096;
/// Leaves read in one second: all there can be, and once more.
const NAMES_PER_SECOND_MAX: u32 = 16_384;
/// Leaves at one time.
const LEAVES_MAX: usize = 8192;
/// Doors that nobody has used yet.
const DOORS_MAX: usize = 1024;
/// How long a door stays open.
const DOOR_SECONDS_MAX: u64 = 60;
/// Hexadecimal digits of a session.
const SESSION_DIGITS: usize = 32;
/// As many of them as logs show.
const SHOWN_DIGITS: usize = 8;

/// Who asks, and the number that his answer carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) gatekeeper: GatekeeperId,
    pub(crate) request: u32,
}

/// How often one gatekeeper has asked for one thing: a bucket that fills up in a second.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    filled: Instant,
    used: u32,
}

impl Rate {
    /// A full bucket.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { filled: now, used: 0 }
    }

    /// Takes one, if the bucket is not empty.
    pub fn take(&mut self, per_second_max: u32, now: Instant) -> bool {
        self.take_many(1, per_second_max, now)
    }

    /// Takes so many, if the bucket has them.
    pub fn take_many(&mut self, count: u32, per_second_max: u32, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled);
        if passed >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let granted = self.used.saturating_add(count) <= per_second_max;
        if granted {
            self.used += count;
        }
        granted
    }
}

impl Monitor {
    /// Handles one request, and answers it unless the answer comes later.
    pub(crate) fn handle(&mut self, asker: Asker, message: &ToMonitor) {
        let Some(row) = TABLE.get(index(message)) else { return };
        let now = Instant::now();
        let Some(gatekeeper) = self.gatekeeper(asker.gatekeeper) else { return };
        let allowed = row.when.0.contains(&gatekeeper.phase);
        let in_time = gatekeeper
            .rates
            .get_mut(index(message))
            .is_some_and(|rate| rate.take(row.per_second_max, now));
        let handled = if !allowed {
            Err(bad(format!("{} is not for now", row.request)))
        } else if !in_time {
            Err(Refusal::Busy {
                text: format!("{} over {} a second", row.request, row.per_second_max),
            })
        } else {
            (row.handler)(self, asker, message)
        };
        match handled {
            Ok(Some((answer, descriptors))) => self.answer(asker, &answer, descriptors),
            Ok(None) => {}
            Err(refusal) => self.refuse(asker, row.request, refusal),
        }
    }

    /// Answers a request that was refused, and says so in the log unless it is part of the day's work.
    pub(crate) fn refuse(&mut self, asker: Asker, request: &str, refusal: Refusal) {
        if !matches!(refusal, Refusal::StaleGrant {} | Refusal::NoLevel { .. }) {
            let because = format!("{refusal:?}");
            log::warn("refused").with("request", request).with("because", &because).write();
            self.setup.audit.refused(request, because);
        }
        // What has no number waits for no answer.
        if asker.request != 0 {
            self.answer(asker, &FromMonitor::Refused { refusal }, Vec::new());
        }
    }

    fn ready(&mut self, asker: Asker, _: &ToMonitor) -> Handled {
        self.gatekeeper_serves(asker.gatekeeper);
        Ok(None)
    }

    fn judge(&mut self, _: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::Judge { claim, address } = message else { return Err(mismatch()) };
        let claimed = Claimed::parse(claim)?;
        let judged = self.judged(&claimed.who(*address))?;
        let Judged { judgement, account, .. } = judged;
        let generation = self.setup.rules.generation();
        let mut grant = GrantRecord {
            id: 0,
            account: account.as_str().to_owned(),
            level: judgement.level.as_str().to_owned(),
            limits: Blob(judgement.limits.to_bytes().to_vec()),
            generation,
            reads_only: judgement.reads_only,
            rule: judgement.rule.clone(),
        };
        grant.id = self.grants.add(judgement, account, generation);
        Ok(Some((FromMonitor::Judged { grant }, Vec::new())))
    }

    /// Judges, and records a new lease.
    fn judged(&mut self, who: &Who<'_>) -> Result<Judged, Refusal> {
        let refused = |text| Refusal::NoLevel { text };
        if !self.setup.who.root && self.setup.rules.is_pooled(who) {
            // A lease that could not be used would be lost to others.
            return Err(refused("not started as root: there are no pool accounts".into()));
        }
        let judged = self.setup.rules.judge(who).map_err(refused)?;
        self.only_invoker(judged.account.as_str(), &judged.judgement.rule).map_err(refused)?;
        if let (Some(pool), Some(subject)) = (&judged.new_lease, who.subject) {
            log::info("leased").with("account", &judged.account).with("subject", subject).write();
            self.setup
                .audit
                .line("leased")
                .text("account", &judged.account)
                .text("pool", pool)
                .text("subject", subject)
                .write();
        }
        Ok(judged)
    }

    fn start(&mut self, asker: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::Start { grant } = *message else { return Err(mismatch()) };
        let generation = self.setup.rules.generation();
        let found = self.grants.current(grant, generation).ok_or(Refusal::StaleGrant {})?;
        let account = found.account.as_str().to_owned();
        self.want(&account, waiting(asker, Wish::Start { grant }));
        Ok(None)
    }

    fn admit(&mut self, _: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::Admit { grant, session } = message else { return Err(mismatch()) };
        check_session(session)?;
        let generation = self.setup.rules.generation();
        let found = self.grants.current(*grant, generation).ok_or(Refusal::StaleGrant {})?;
        let uid = found.started.ok_or_else(|| bad("Admit before Start".into()))?;
        if found.reads_only {
            return Err(bad("Admit for a grant that is for reading alone".into()));
        }
        let seal = self.setup.seals.seal(
            session,
            found.account.as_str(),
            uid,
            found.level.as_str(),
            &found.limits.to_bytes(),
        );
        let account = found.account.clone();
        self.setup.rules.used(&account);
        self.setup
            .audit
            .line("sealed")
            .text("session", session.get(..SHOWN_DIGITS).unwrap_or_default())
            .text("account", &seal.account)
            .number("uid", seal.uid)
            .text("level", &seal.level)
            .write();
        Ok(Some((FromMonitor::Sealed { seal }, Vec::new())))
    }

    fn tend(&mut self, asker: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::Tend { session, seal } = message else { return Err(mismatch()) };
        self.check_seal(session, seal)?;
        self.want(&seal.account, waiting(asker, Wish::Tend { uid: seal.uid }));
        Ok(None)
    }

    fn discover(&mut self, asker: Asker, _: &ToMonitor) -> Handled {
        let configured = self.setup.config.services.account.clone();
        let account = if self.setup.who.root {
            configured.ok_or_else(|| Refusal::BadAccount {
                text: "[services] account is not set: services are not discovered".into(),
            })?
        } else {
            self.setup.who.invoker.name().to_owned()
        };
        self.want(&account, waiting(asker, Wish::Discover));
        Ok(None)
    }

    fn leaf_make(&mut self, asker: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::LeafMake { owner, name } = message else { return Err(mismatch()) };
        let name = leaf_name(name)?;
        let uid = self.leaf_owner(owner)?;
        let leaves = match &self.leaves {
            Ok(leaves) => leaves,
            Err(text) => return Ok(Some((FromMonitor::NoLeaf { text: text.clone() }, Vec::new()))),
        };
        if self.leaf_count >= LEAVES_MAX || self.doors.len() >= DOORS_MAX {
            return Err(Refusal::Busy { text: "too many leaves, or doors of leaves".into() });
        }
        let (keeper, door) = Doorkeeper::new().map_err(|error| system("door", &error))?;
        let handles = leaves.make(&name).map_err(|error| system("making a leaf", &error))?;
        self.leaf_count += 1;
        let until = Instant::now() + Duration::from_secs(DOOR_SECONDS_MAX);
        let id = self.next_number();
        self.doors.push(Door { id, keeper, leaf: name.clone(), uid, until });
        if name.is_worker()
            && let Some(gatekeeper) = self.gatekeeper(asker.gatekeeper)
        {
            gatekeeper.worker_leaves.insert(name);
        }
        let descriptors = vec![door, handles.cpu_stat, handles.kill, handles.events];
        Ok(Some((FromMonitor::Leaf {}, descriptors)))
    }

    fn leaf_read(&mut self, asker: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::LeafRead { names } = message else { return Err(mismatch()) };
        if names.len() > NAMES_MAX {
            return Err(bad(format!("more than {NAMES_MAX} leaves at once")));
        }
        let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let in_time = self.gatekeeper(asker.gatekeeper).is_some_and(|one| {
            one.names_read.take_many(count, NAMES_PER_SECOND_MAX, Instant::now())
        });
        if !in_time {
            let text = format!("LeafRead of over {NAMES_PER_SECOND_MAX} leaves a second");
            return Err(Refusal::Busy { text });
        }
        let names = names.iter().map(|name| leaf_name(name)).collect::<Result<Vec<_>, _>>()?;
        let usage = match &self.leaves {
            Ok(leaves) => names.iter().map(|name| leaves.read(name).ok().flatten()).collect(),
            Err(_) => vec![None; names.len()],
        };
        Ok(Some((FromMonitor::LeafUsage { usage }, Vec::new())))
    }

    fn leaf_kill(&mut self, asker: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::LeafKill { name } = message else { return Err(mismatch()) };
        let name = leaf_name(name)?;
        let facts = self.kill_leaf(&name).map_err(|error| system("killing a leaf", &error))?;
        if facts.as_ref().is_none_or(|facts| !facts.populated)
            && let Some(gatekeeper) = self.gatekeeper(asker.gatekeeper)
        {
            gatekeeper.worker_leaves.remove(&name);
        }
        Ok(Some((FromMonitor::LeafUsage { usage: vec![facts] }, Vec::new())))
    }

    fn leaf_list(&mut self, _: Asker, _: &ToMonitor) -> Handled {
        let names = match &self.leaves {
            Ok(leaves) => leaves.list().map_err(|error| system("listing leaves", &error))?,
            Err(_) => Vec::new(),
        };
        let names = names.iter().map(|name| name.as_str().to_owned()).collect();
        Ok(Some((FromMonitor::LeafNames { names }, Vec::new())))
    }

    fn control_done(&mut self, asker: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::ControlDone { ticket, ok, text } = message else { return Err(mismatch()) };
        self.control_answered(asker.gatekeeper, *ticket, *ok, text);
        Ok(None)
    }

    fn released(&mut self, asker: Asker, _: &ToMonitor) -> Handled {
        self.gatekeeper_released(asker.gatekeeper);
        Ok(None)
    }

    fn prepared(&mut self, asker: Asker, _: &ToMonitor) -> Handled {
        self.gatekeeper_prepared(asker);
        Ok(None)
    }

    fn unfit(&mut self, asker: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::Unfit { text } = message else { return Err(mismatch()) };
        self.gatekeeper_unfit(asker.gatekeeper, text);
        Ok(None)
    }

    fn audit_head(&mut self, _: Asker, message: &ToMonitor) -> Handled {
        let ToMonitor::AuditHead { lines, bytes, hash } = message else { return Err(mismatch()) };
        let taken = self.setup.audit.advance(*lines, *bytes, &hash.0);
        taken.map_err(|error| bad(error.to_string()))?;
        Ok(None)
    }

    /// Kills all in a leaf, and counts it off when it is gone.
    pub(crate) fn kill_leaf(&mut self, name: &LeafName) -> std::io::Result<Option<LeafFacts>> {
        let Ok(leaves) = &self.leaves else { return Ok(None) };
        let facts = leaves.kill(name)?;
        if facts.as_ref().is_some_and(|facts| !facts.populated) {
            self.leaf_count = self.leaf_count.saturating_sub(1);
            self.doors.retain(|door| door.leaf != *name);
        }
        Ok(facts)
    }

    /// The uid whose processes may enter a leaf.
    fn leaf_owner(&mut self, owner: &LeafOwner) -> Result<u32, Refusal> {
        match owner {
            LeafOwner::Grant { grant } => {
                let generation = self.setup.rules.generation();
                let found =
                    self.grants.current(*grant, generation).ok_or(Refusal::StaleGrant {})?;
                found.started.ok_or_else(|| bad("LeafMake before Start".into()))
            }
            LeafOwner::Session { session, seal } => {
                self.check_seal(session, seal)?;
                let found = self.accounts.get(&seal.account).and_then(|slot| slot.found.as_ref());
                match found {
                    Some(found) if found.uid == seal.uid => Ok(seal.uid),
                    Some(_) => Err(other_uid(seal)),
                    None => Err(bad("LeafMake before Start or Tend".into())),
                }
            }
        }
    }

    fn check_seal(&self, session: &str, seal: &Seal) -> Result<(), Refusal> {
        check_session(session)?;
        if !self.setup.seals.holds(session, seal) {
            return Err(Refusal::BadSeal { text: "it was not made by this monitor".into() });
        }
        AccountName::parse(&seal.account)
            .map_err(|error| Refusal::BadSeal { text: format!("account: {error}") })?;
        self.only_invoker(&seal.account, "a seal").map_err(|text| Refusal::BadSeal { text })
    }

    /// Without root there is but one account.
    fn only_invoker(&self, account: &str, rule: &str) -> Result<(), String> {
        let own = self.setup.who.invoker.name();
        if self.setup.who.root || account == own {
            return Ok(());
        }
        Err(format!(
            "not started as root: only account {own} can be used, and {rule} asks for {account}"
        ))
    }
}

/// Name and uid of a seal no longer agree.
pub(crate) fn other_uid(seal: &Seal) -> Refusal {
    Refusal::BadSeal {
        text: format!(
            "account {} had uid {} when it was sealed, and has another now",
            seal.account, seal.uid
        ),
    }
}

/// A claim, parsed again: what arrives on a channel is bytes.
struct Claimed {
    subject: Option<SubjectDn>,
    issuer: Option<SubjectDn>,
    proxy: Option<ProxyKind>,
    account: Option<AccountName>,
    lowered: Option<LevelName>,
}

impl Claimed {
    fn parse(claim: &Claim) -> Result<Self, Refusal> {
        let proxy = match claim.proxy {
            0 => None,
            1 => Some(ProxyKind::Full),
            2 => Some(ProxyKind::Limited),
            3 => Some(ProxyKind::Independent),
            other => return Err(bad(format!("there is no kind of proxy {other}"))),
        };
        let account = claim.account.as_deref().map(AccountName::parse).transpose();
        let lowered = claim.lowered.as_deref().map(LevelName::parse).transpose();
        Ok(Self {
            subject: name(claim.subject.as_ref(), "subject")?,
            issuer: name(claim.issuer.as_ref(), "issuer")?,
            proxy,
            account: account.map_err(|error| bad(format!("account: {error}")))?,
            lowered: lowered.map_err(|error| bad(format!("level: {error}")))?,
        })
    }

    fn who(&self, address: IpAddr) -> Who<'_> {
        Who {
            subject: self.subject.as_ref(),
            issuer: self.issuer.as_ref(),
            proxy: self.proxy,
            address,
            account: self.account.as_ref(),
            lowered: self.lowered.as_ref(),
        }
    }
}

fn name(bytes: Option<&Blob>, what: &str) -> Result<Option<SubjectDn>, Refusal> {
    bytes
        .map(|bytes| SubjectDn::from_bytes(&bytes.0))
        .transpose()
        .map_err(|error| bad(format!("{what}: {error}")))
}

fn check_session(session: &str) -> Result<(), Refusal> {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if session.len() == SESSION_DIGITS && session.bytes().all(digit) {
        Ok(())
    } else {
        Err(bad("a session has 32 hexadecimal digits".into()))
    }
}

fn leaf_name(text: &str) -> Result<LeafName, Refusal> {
    LeafName::parse(text).ok_or_else(|| bad("that is no name of a leaf".into()))
}

fn waiting(asker: Asker, wish: Wish) -> Waiting {
    Waiting { gatekeeper: asker.gatekeeper, request: asker.request, wish }
}

fn bad(text: String) -> Refusal {
    Refusal::BadRequest { text }
}

fn mismatch() -> Refusal {
    bad("the table is wrong".into())
}

fn system(what: &str, error: &std::io::Error) -> Refusal {
    Refusal::System { text: format!("{what}: {error}") }
}

#[cfg(test)]
mod tests;
