//! A grant is the result of judging a caller: account, level and limits.
//!
//! The monitor judges; this room remembers its answers until it says that the rules have changed.
//! A remembered grant is no proof: the monitor holds its own table, and a stale one starts nothing.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nesssi_dn::SubjectDn;
use nesssi_identity::Peer;
use nesssi_policy::{LevelName, Limits};
use nesssi_privsep::messages::{Claim, GrantRecord, Refusal};
use nesssi_privsep::wire::Blob;
use nesssi_rpc::{Fault, FaultCode};

use crate::Caller;
use crate::link::{AskError, Channels, Jobmanager, Monitor, lock};

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

/// A caller who has been judged.
#[derive(Debug, Clone)]
pub struct CallerGrant {
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
    generation: AtomicU64,
    judgements: Mutex<HashMap<JudgedBy, Arc<Grant>>>,
}

/// All that a judgement may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct JudgedBy {
    subject: Option<SubjectDn>,
    issuer: Option<SubjectDn>,
    prefix: IpAddr,
}

impl Grants {
    /// None remembered yet.
    pub(crate) fn new(monitor: Monitor, channels: Channels, root: bool, generation: u64) -> Self {
        let shared = Shared {
            monitor,
            channels,
            root,
            generation: AtomicU64::new(generation),
            judgements: Mutex::new(HashMap::new()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The generation of the rules in force.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::SeqCst)
    }

    /// The rules have changed.
    pub(crate) fn forget_all(&self, generation: u64) {
        self.shared.generation.store(generation, Ordering::SeqCst);
        lock(&self.shared.judgements).clear();
    }

    /// Judges a caller, whose credential may have been refused already.
    ///
    /// # Errors
    /// A fault for the caller: 403 with the reason of a refused credential, 401 or 403 where no
    /// level takes him, 503 where judging failed.
    pub(crate) async fn judge(&self, caller: &Caller) -> Result<CallerGrant, Fault> {
        let (subject, issuer) = match &*caller.peer {
            Peer::Anonymous(_) => (None, None),
            Peer::Certified(identity) => {
                (Some(identity.subject.clone()), Some(identity.issuer.clone()))
            }
            Peer::Refused(refusal) => return Err(Fault::refused(refusal.to_string())),
        };
        let grant = self
            .of(subject.as_ref(), issuer.as_ref(), caller.address)
            .await
            .map_err(|error| self.fault(&error, subject.is_none(), &caller.request_id))?;
        let request_id = caller.request_id.clone();
        Ok(CallerGrant { subject, issuer, address: caller.address, grant, request_id })
    }

    /// Judges a name, or takes the judgement remembered.
    ///
    /// # Errors
    /// [`AskError`] as the monitor said it.
    pub(crate) async fn of(
        &self,
        subject: Option<&SubjectDn>,
        issuer: Option<&SubjectDn>,
        address: IpAddr,
    ) -> Result<Arc<Grant>, AskError> {
        let by = JudgedBy {
            subject: subject.cloned(),
            issuer: issuer.cloned(),
            prefix: address_prefix(address),
        };
        if let Some(known) = lock(&self.shared.judgements).get(&by) {
            return Ok(Arc::clone(known));
        }
        let claim = Claim {
            subject: subject.map(|name| Blob(name.to_bytes())),
            issuer: issuer.map(|name| Blob(name.to_bytes())),
            proxy: 0,
            account: None,
            lowered: None,
        };
        let record = self.shared.monitor.judge(claim, address).await?;
        let grant = Arc::new(parse_grant(record)?);
        let mut judgements = lock(&self.shared.judgements);
        // A judgement by older rules is used once, and not remembered.
        if grant.generation == self.shared.generation.load(Ordering::SeqCst) {
            if judgements.len() >= JUDGEMENTS_MAX {
                judgements.clear();
            }
            judgements.insert(by, Arc::clone(&grant));
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
        lock(&self.shared.judgements).remove(&JudgedBy {
            subject: who.subject.clone(),
            issuer: who.issuer.clone(),
            prefix: address_prefix(who.address),
        });
        who.grant = self.of(who.subject.as_ref(), who.issuer.as_ref(), who.address).await?;
        Ok(())
    }

    /// What a stranger reads of the monitor's or a jobmanager's error. The log gets the rest.
    pub(crate) fn fault(&self, error: &AskError, anonymous: bool, request_id: &str) -> Fault {
        tracing::info!(request = request_id, %error, "not granted");
        let only_own = if self.shared.root {
            ""
        } else {
            " (this server runs without root: it can use its own user's account alone)"
        };
        match error {
            AskError::Refused(Refusal::NoLevel { .. }) if anonymous => Fault::new(
                FaultCode::NoCredential,
                format!("no level takes a caller without a certificate{only_own}"),
            ),
            AskError::Refused(Refusal::NoLevel { .. }) => {
                Fault::refused(format!("no level takes this certificate{only_own}"))
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

/// What a stranger reads of a system error under his own account.
pub(crate) fn words(errno: i32) -> String {
    let error = rustix::io::Errno::from_raw_os_error(errno);
    let why = match error {
        rustix::io::Errno::NOSPC => "no space is left on the device",
        rustix::io::Errno::DQUOT => "the account's disk quota is used up",
        rustix::io::Errno::ROFS => "the file system is read-only",
        rustix::io::Errno::MFILE | rustix::io::Errno::NFILE => "too many open files",
        rustix::io::Errno::NOMEM => "no memory is left",
        rustix::io::Errno::AGAIN => "the account has too many processes",
        rustix::io::Errno::NOENT => "no such program",
        rustix::io::Errno::ACCESS => "permission denied",
        _ => "the account's process could not do it",
    };
    format!("the local batch system refused: {why}")
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
