//! A grant is the result of judging a caller: account, level and limits.
//!
//! The monitor judges; this room remembers its answers until it says that the rules have changed.
//! A remembered grant is no proof: the monitor holds its own table, and a stale one starts nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nesssi_config::Config;
use nesssi_dn::SubjectDn;
use nesssi_identity::{Peer, ProxyKind};
use nesssi_policy::{self as policy, AccountName, Graded, LevelName, Limits, Refused};
use nesssi_privsep::messages::{Claim, GrantRecord, Refusal};
use nesssi_privsep::wire::Blob;
use nesssi_rpc::{Fault, FaultCode};

use crate::Caller;
use crate::answers::Recording;
use crate::link::{AskError, Channels, Jobmanager, Monitor, lock};
use crate::rules::RulesInForce;

/// How many judgements are remembered before all are forgotten.
const JUDGEMENTS_MAX: usize = 20_000;

/// The result of judging a caller, good until the rules change.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// What the monitor knows it by.
    pub id: u64,
    /// The local account.
    pub account: String,
    /// The level.
    pub level: LevelName,
    /// What may be used.
    pub limits: Limits,
    /// The generation of the rules it was judged by.
    pub generation: u64,
    /// Whether nothing may be started with it: the proxy presented is limited.
    pub reads_only: bool,
    /// Which rule decided: for audit and for the caller himself, never for others.
    pub rule: String,
}

impl Graded for Grant {
    fn level(&self) -> &LevelName {
        &self.level
    }
}

/// A caller who has been judged.
#[derive(Debug, Clone)]
pub struct CallerGrant {
    /// As whom he was judged.
    pub(crate) claim: JudgedBy,
    /// Who he is; `None` is anonymous.
    pub subject: Option<SubjectDn>,
    /// Who says so.
    pub issuer: Option<SubjectDn>,
    /// Where he calls from.
    pub address: IpAddr,
    /// What he was granted.
    pub grant: Arc<Grant>,
    /// The request's id.
    pub request_id: String,
    /// Under which the sessions that he makes are recorded, of a call that has a tag.
    pub(crate) answer: Option<Recording>,
}

impl CallerGrant {
    /// Of a claim that was judged.
    pub(crate) fn new(
        claim: JudgedBy,
        address: IpAddr,
        grant: Arc<Grant>,
        request_id: String,
    ) -> Self {
        let (subject, issuer) = (claim.subject.clone(), claim.issuer.clone());
        Self { claim, subject, issuer, address, grant, request_id, answer: None }
    }
}

/// The judgements remembered. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    monitor: Monitor,
    channels: Channels,
    root: bool,
    rules: RulesInForce,
    generation: AtomicU64,
    judgements: Mutex<HashMap<JudgedBy, Arc<Grant>>>,
}

/// All that a judgement may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct JudgedBy {
    pub(crate) subject: Option<SubjectDn>,
    pub(crate) issuer: Option<SubjectDn>,
    pub(crate) proxy: Option<ProxyKind>,
    /// The account asked for; `None` is the caller's first.
    pub(crate) account: Option<AccountName>,
    /// The level that a service lowers him to.
    pub(crate) lowered: Option<LevelName>,
    /// Where he calls from, as far as the rules tell addresses apart.
    pub(crate) address: IpAddr,
}

impl JudgedBy {
    fn claim(&self) -> Claim {
        let name = |name: &Option<SubjectDn>| name.as_ref().map(|name| Blob(name.to_bytes()));
        Claim {
            subject: name(&self.subject),
            issuer: name(&self.issuer),
            proxy: match self.proxy {
                None => 0,
                Some(ProxyKind::Full) => 1,
                Some(ProxyKind::Limited) => 2,
                Some(ProxyKind::Independent) => 3,
            },
            account: self.account.as_ref().map(ToString::to_string),
            lowered: self.lowered.as_ref().map(ToString::to_string),
        }
    }
}

impl Grants {
    /// None remembered yet.
    pub(crate) fn new(
        monitor: Monitor,
        channels: Channels,
        root: bool,
        generation: u64,
        config: &Config,
    ) -> Self {
        let shared = Shared {
            monitor,
            channels,
            root,
            rules: RulesInForce::new(config),
            generation: AtomicU64::new(generation),
            judgements: Mutex::new(HashMap::new()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The generation of the rules in force.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::SeqCst)
    }

    /// What the configuration in force says.
    pub(crate) fn rules(&self) -> &RulesInForce {
        &self.shared.rules
    }

    /// The rules have changed, and with them perhaps the configuration.
    pub(crate) fn forget_all(&self, generation: u64, config: Option<&Config>) {
        if let Some(config) = config {
            self.shared.rules.replace(config);
        }
        self.shared.generation.store(generation, Ordering::SeqCst);
        lock(&self.shared.judgements).clear();
    }

    /// As whom a caller is to be judged.
    ///
    /// # Errors
    /// A fault for the caller: 403 with the reason of a refused credential, -32602 where the account
    /// asked for is none.
    pub(crate) fn claim_of(&self, caller: &Caller) -> Result<JudgedBy, Fault> {
        let (subject, issuer, proxy) = match &*caller.peer {
            Peer::Anonymous(_) => (None, None, None),
            Peer::Certified(identity) => {
                (Some(identity.subject.clone()), Some(identity.issuer.clone()), identity.proxy)
            }
            Peer::Refused(refusal) => return Err(Fault::refused(refusal.to_string())),
        };
        let asked = caller.account.as_deref().map(AccountName::parse).transpose();
        let account = asked.map_err(|error| {
            Fault::invalid_params(format!("the account asked for is none: {error}"))
        })?;
        let address = self.rules().now().address_key(caller.address);
        Ok(JudgedBy { subject, issuer, proxy, account, lowered: None, address })
    }

    /// Judges a caller, whose credential may have been refused already.
    ///
    /// # Errors
    /// A fault for the caller: as of [`Grants::claim_of`]; 401 or 403 where no level takes him or
    /// the account asked for is not his, 503 where judging failed.
    pub(crate) async fn judge(&self, caller: &Caller) -> Result<Arc<Grant>, Fault> {
        let claim = self.claim_of(caller)?;
        self.judge_claim(&claim, caller.address, &caller.request_id).await
    }

    /// Judges a claim.
    ///
    /// # Errors
    /// A fault for the caller.
    pub(crate) async fn judge_claim(
        &self,
        claim: &JudgedBy,
        address: IpAddr,
        request_id: &str,
    ) -> Result<Arc<Grant>, Fault> {
        let error = match self.of(claim, address).await {
            Ok(grant) => return Ok(grant),
            Err(error) => error,
        };
        let fault = self.fault(&error, claim.subject.is_none(), request_id);
        // Whom a level takes as long as he asks for no account, has asked for another's.
        if let (AskError::Refused(Refusal::NoLevel { .. }), Some(account)) =
            (&error, &claim.account)
            && self.of(&JudgedBy { account: None, ..claim.clone() }, address).await.is_ok()
        {
            let text = policy::not_his_account(account.as_str()).text;
            return Err(Fault::refused(format!("{text}{}", self.only_own())));
        }
        Err(fault)
    }

    /// What is remembered of a claim.
    pub(crate) fn known(&self, claim: &JudgedBy) -> Option<Arc<Grant>> {
        lock(&self.shared.judgements).get(claim).cloned()
    }

    /// Judges a claim, or takes the judgement remembered.
    ///
    /// # Errors
    /// [`AskError`] as the monitor said it.
    pub(crate) async fn of(&self, by: &JudgedBy, address: IpAddr) -> Result<Arc<Grant>, AskError> {
        if let Some(known) = self.known(by) {
            return Ok(known);
        }
        let record = self.shared.monitor.judge(by.claim(), address).await?;
        let grant = Arc::new(parse_grant(record)?);
        let mut judgements = lock(&self.shared.judgements);
        // A judgement by older rules is used once, and not remembered.
        if grant.generation == self.shared.generation.load(Ordering::SeqCst) {
            if judgements.len() >= JUDGEMENTS_MAX {
                judgements.clear();
            }
            judgements.insert(by.clone(), Arc::clone(&grant));
        }
        Ok(grant)
    }

    /// A channel to start on for a judged caller; a stale grant is judged once more, and the grant
    /// that holds now is what he has from then on.
    ///
    /// # Errors
    /// A fault for the caller.
    pub(crate) async fn start_channel(&self, who: &mut CallerGrant) -> Result<Jobmanager, Fault> {
        match self.try_start(who).await {
            Ok(jobmanager) => Ok(jobmanager),
            Err(error) => Err(self.fault(&error, who.subject.is_none(), &who.request_id)),
        }
    }

    /// The same, with the error for the log.
    ///
    /// # Errors
    /// [`AskError`].
    pub(crate) async fn try_start(&self, who: &mut CallerGrant) -> Result<Jobmanager, AskError> {
        match self.shared.channels.start(&who.grant).await {
            Err(AskError::Refused(Refusal::StaleGrant {})) => {
                self.judge_again(who).await?;
                self.shared.channels.start(&who.grant).await
            }
            other => other,
        }
    }

    /// Forgets what was remembered of a caller, and judges him by the rules of now.
    ///
    /// # Errors
    /// [`AskError`].
    pub(crate) async fn judge_again(&self, who: &mut CallerGrant) -> Result<(), AskError> {
        lock(&self.shared.judgements).remove(&who.claim);
        who.grant = self.of(&who.claim, who.address).await?;
        Ok(())
    }

    fn only_own(&self) -> &'static str {
        if self.shared.root {
            ""
        } else {
            " (this server runs without root: it can use its own user's account alone)"
        }
    }

    /// What a stranger reads of the monitor's or a jobmanager's error. The log gets the rest.
    pub(crate) fn fault(&self, error: &AskError, anonymous: bool, request_id: &str) -> Fault {
        tracing::info!(request = request_id, %error, "not granted");
        let only_own = self.only_own();
        match error {
            AskError::Refused(Refusal::NoLevel { .. }) => {
                let refused = policy::no_level(anonymous);
                Fault::new(code_of(&refused), format!("{}{only_own}", refused.text))
            }
            AskError::Refused(Refusal::BadAccount { .. }) => Fault::refused(format!(
                "the account that this caller is mapped to may not be used{only_own}"
            )),
            AskError::Refused(Refusal::BadSeal { .. }) => {
                Fault::refused("the session's account is no longer what it was")
            }
            AskError::Failed { errno, .. } => Fault::new(FaultCode::BatchRefused, words(*errno)),
            AskError::Refused(_) | AskError::Link(_) | AskError::Unfit => {
                Fault::new(FaultCode::Unavailable, "the server is busy: try again")
            }
        }
    }
}

/// A refusal's code as that of a fault.
pub(crate) fn code_of(refused: &Refused) -> FaultCode {
    FaultCode::from_number(refused.code.into())
}

/// A refusal as a fault.
pub(crate) fn fault_of(refused: Refused) -> Fault {
    Fault::new(code_of(&refused), refused.text)
}

/// What a stranger reads of a system error under his own account.
pub(crate) fn words(errno: i32) -> String {
    format!("the local batch system refused: {}", why(errno))
}

/// The same without who refused.
pub(crate) fn why(errno: i32) -> &'static str {
    match rustix::io::Errno::from_raw_os_error(errno) {
        rustix::io::Errno::NOSPC => "no space is left on the device",
        rustix::io::Errno::DQUOT => "the account's disk quota is used up",
        rustix::io::Errno::ROFS => "the file system is read-only",
        rustix::io::Errno::MFILE | rustix::io::Errno::NFILE => "too many open files",
        rustix::io::Errno::NOMEM => "no memory is left",
        rustix::io::Errno::AGAIN => "the account has too many processes",
        rustix::io::Errno::NOENT => "no such program",
        rustix::io::Errno::ACCESS => "permission denied",
        _ => "the account's process could not do it",
    }
}

/// What stands for an address in budgets and judgements: the IPv4 /24, the IPv6 /64.
pub(crate) fn address_prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

fn parse_grant(record: GrantRecord) -> Result<Grant, AskError> {
    let limits = Limits::from_bytes(&record.limits.0).ok_or(AskError::Unfit)?;
    Ok(Grant {
        id: record.id,
        account: record.account,
        level: LevelName::parse(&record.level).map_err(|_| AskError::Unfit)?,
        limits,
        generation: record.generation,
        reads_only: record.reads_only,
        rule: record.rule,
    })
}

#[cfg(test)]
mod tests {
    use super::address_prefix;

    #[test]
    fn prefixes() {
        let check = |address: &str, prefix: &str| {
            let got = address_prefix(address.parse().unwrap());
            assert_eq!(got.to_string(), prefix, "{address}");
        };
        check("192.0.2.77", "192.0.2.0");
        check("::ffff:192.0.2.77", "192.0.2.0");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }
}
