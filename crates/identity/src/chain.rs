//! Judging a chain.
//!
//! A chain is read from the caller's own certificate up: first the proxies, each signed by the next,
//! down to the *end entity*, which is the first that is no proxy; then the CAs. What was sent may
//! stand in any order behind the first certificate. Every CA between the end entity and a root must
//! be in the trust directory itself, as in Globus: CAs that a caller sends are never needed, and are
//! read only to say better what is missing.
//!
//! Each certificate must be valid now. A proxy that would outlive its issuer is not refused for that
//! (RFC 3820 section 4.1 asks only for the time of use): the identity ends with the first to end.

use std::collections::HashMap;

use nesssi_dn::SubjectDn;
use rustls_pki_types::CertificateDer;

use crate::certificate::{self, Broken, Certificate};
use crate::proxy::Proxy;
use crate::trust::{Ca, Denied};
use crate::{Identity, NoCertificate, Peer, ProxyKind, Refusal, TrustDirectory};

/// How many certificates a caller may send, and how many CAs may stand above him.
pub const CHAIN_LENGTH_MAX: usize = 16;

/// A rule that a chain breaks. The texts go on from "certificate ... refused: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum BrokenChain {
    #[error("no certificate was sent")]
    Empty,
    #[error("more than {CHAIN_LENGTH_MAX} certificates were sent")]
    TooMany,
    #[error(transparent)]
    Own(#[from] Broken),
    #[error("it is self-signed, and not by a CA of the trust directory")]
    SelfSigned,
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("its CA {subject}: {denied}")]
    CaDenied { subject: String, denied: Denied },
    #[error("its issuer {0} is not in the trust directory")]
    UnknownIssuer(String),
    #[error("its issuer {0} was sent with it, and is not in the trust directory")]
    SentIssuer(String),
    #[error("it has no ProxyCertInfo and so is no proxy, and its issuer {0} is no CA")]
    NoProxyInfo(String),
    #[error("it is a proxy, and the certificate of its issuer {0} was not sent with it")]
    NoProxyIssuer(String),
    #[error("it is a proxy, and its issuer {0} is a CA, which issues none")]
    ProxyOfCa(String),
    #[error("a proxy of another kind stands below it (legacy, pre-RFC and RFC 3820 do not mix)")]
    MixedKinds,
    #[error("it is a limited proxy, and a full one stands below it")]
    FullBelowLimited,
    #[error(
        "a limited and an independent proxy stand in one chain, and their rights do not add up"
    )]
    LimitedAndIndependent,
    #[error("it allows {allowed} proxies below it (path length), and there are {below}")]
    ProxyPathLength { allowed: u32, below: u32 },
    #[error("behind it, {subject}: {broken}")]
    Behind { subject: String, broken: Box<BrokenChain> },
    #[error("its CA {subject}: {broken}")]
    Ca { subject: String, broken: Broken },
    #[error("its CA {0} allows fewer CAs below it (path length)")]
    PathLength(String),
    #[error("its CA {0} is no root, and none of the trust directory has signed it")]
    NoRoot(String),
    #[error("more than {CHAIN_LENGTH_MAX} CAs stand above it")]
    TooDeep,
}

/// The peer that sent `chain` in the handshake; `None` or empty is no certificate.
#[must_use]
pub fn judge_peer(
    chain: Option<&[CertificateDer<'_>]>,
    trust: &TrustDirectory,
    now_unix: i64,
) -> Peer {
    match chain {
        None | Some([]) => Peer::Anonymous(NoCertificate::NotOffered),
        Some(chain) => match judge_chain(chain, trust, now_unix) {
            Ok(identity) => Peer::Certified(identity),
            Err(refusal) => Peer::Refused(refusal),
        },
    }
}

/// Whose chain this is, the caller's own certificate first.
///
/// # Errors
/// [`Refusal`] with the subject DN of the first certificate, the rule that is broken and the
/// time.
pub fn judge_chain(
    chain: &[CertificateDer<'_>],
    trust: &TrustDirectory,
    now_unix: i64,
) -> Result<Identity, Refusal> {
    judge(chain, trust, now_unix).map_err(|broken| Refusal {
        certificate: chain.first().map_or_else(String::new, |der| certificate::label(der)),
        rule: broken.to_string(),
        at: now_unix,
    })
}

fn judge(
    chain: &[CertificateDer<'_>],
    trust: &TrustDirectory,
    now_unix: i64,
) -> Result<Identity, BrokenChain> {
    let (first, sent) = chain.split_first().ok_or(BrokenChain::Empty)?;
    if chain.len() > CHAIN_LENGTH_MAX {
        return Err(BrokenChain::TooMany);
    }
    let own = Certificate::read(first)?;
    match Proxy::of(&own).map_err(Broken::from)? {
        None => judge_end_entity(&own, sent, trust, now_unix),
        Some(proxy) => judge_proxy(&own, proxy, sent, trust, now_unix),
    }
}

fn judge_end_entity(
    own: &Certificate<'_>,
    sent: &[CertificateDer<'_>],
    trust: &TrustDirectory,
    now_unix: i64,
) -> Result<Identity, BrokenChain> {
    own.check_end_entity(now_unix)?;
    let above = find_issuer(own, sent, trust, now_unix)?;
    Ok(Identity {
        subject: own.subject.clone(),
        issuer: own.issuer.clone(),
        not_after: own.not_after().min(above),
        proxy: None,
    })
}

/// Goes up from the first proxy to the end entity. It ends, since each issuer's name is one RDN
/// shorter.
fn judge_proxy(
    first: &Certificate<'_>,
    proxy: Proxy,
    sent: &[CertificateDer<'_>],
    trust: &TrustDirectory,
    now_unix: i64,
) -> Result<Identity, BrokenChain> {
    let behind: Vec<_> = sent.iter().filter_map(|der| Certificate::read(der).ok()).collect();
    let mut delegated = Delegated::by(first, proxy, now_unix)?;
    let mut issuer = proxy_issuer(first, &behind, trust)?;
    loop {
        let at_issuer = |broken| behind_it(issuer, broken);
        let Some(proxy) = Proxy::of(issuer).map_err(|e| at_issuer(Broken::from(e).into()))? else {
            let end_entity = judge_end_entity(issuer, sent, trust, now_unix).map_err(at_issuer)?;
            return Ok(delegated.of(end_entity));
        };
        delegated = delegated.under(issuer, proxy, now_unix).map_err(at_issuer)?;
        issuer = proxy_issuer(issuer, &behind, trust).map_err(at_issuer)?;
    }
}

fn behind_it(issuer: &Certificate<'_>, broken: BrokenChain) -> BrokenChain {
    match broken {
        told @ BrokenChain::Behind { .. } => told,
        broken => {
            BrokenChain::Behind { subject: issuer.subject.to_oneline(), broken: Box::new(broken) }
        }
    }
}

/// The certificate among those sent whose key has signed this proxy.
fn proxy_issuer<'a, 'b>(
    proxy: &Certificate<'_>,
    behind: &'b [Certificate<'a>],
    trust: &TrustDirectory,
) -> Result<&'b Certificate<'a>, BrokenChain> {
    let mut failure = None;
    for candidate in behind.iter().filter(|other| other.subject == proxy.issuer) {
        match candidate.has_signed(proxy) {
            Ok(Ok(())) => return Ok(candidate),
            Ok(Err(wrong)) => failure = failure.or(Some(Broken::from(wrong).into())),
            Err(unusable) => failure = failure.or(Some(behind_it(candidate, unusable.into()))),
        }
    }
    let issuer = || proxy.issuer.to_oneline();
    Err(failure.unwrap_or_else(|| match trust.named(&proxy.issuer).next() {
        Some(_) => BrokenChain::ProxyOfCa(issuer()),
        None => BrokenChain::NoProxyIssuer(issuer()),
    }))
}

/// What is left of the end entity's rights after the proxies seen so far, from the caller's own up.
struct Delegated {
    /// The last one seen.
    upper: Proxy,
    count: u32,
    not_after: i64,
    any_limited: bool,
    /// The subject of the first independent one seen: what stands above gave it no rights, and what
    /// stands below has its.
    independent: Option<SubjectDn>,
}

impl Delegated {
    fn by(own: &Certificate<'_>, proxy: Proxy, now_unix: i64) -> Result<Self, Broken> {
        own.check_proxy(now_unix)?;
        Ok(Self {
            upper: proxy,
            count: 1,
            not_after: own.not_after(),
            any_limited: proxy.kind == ProxyKind::Limited,
            independent: (proxy.kind == ProxyKind::Independent).then(|| own.subject.clone()),
        })
    }

    /// Adds the proxy that has signed the last one seen.
    fn under(
        self,
        issuer: &Certificate<'_>,
        proxy: Proxy,
        now_unix: i64,
    ) -> Result<Self, BrokenChain> {
        let one = Self::by(issuer, proxy, now_unix)?;
        if proxy.family != self.upper.family {
            return Err(BrokenChain::MixedKinds);
        }
        if proxy.kind == ProxyKind::Limited && self.upper.kind == ProxyKind::Full {
            return Err(BrokenChain::FullBelowLimited);
        }
        let below = self.count;
        if let Some(allowed) = proxy.path_length.filter(|allowed| *allowed < below) {
            return Err(BrokenChain::ProxyPathLength { allowed, below });
        }
        let any_limited = self.any_limited || one.any_limited;
        let independent = self.independent.or(one.independent);
        // A level that takes only one of the two kinds could not say so of both.
        if any_limited && independent.is_some() {
            return Err(BrokenChain::LimitedAndIndependent);
        }
        let not_after = self.not_after.min(one.not_after);
        Ok(Self { upper: proxy, count: below + 1, not_after, any_limited, independent })
    }

    /// Who the caller is if this was delegated by `end_entity`.
    fn of(self, end_entity: Identity) -> Identity {
        let kind = match (self.any_limited, &self.independent) {
            (true, _) => ProxyKind::Limited,
            (false, Some(_)) => ProxyKind::Independent,
            (false, None) => ProxyKind::Full,
        };
        Identity {
            subject: self.independent.unwrap_or(end_entity.subject),
            issuer: end_entity.issuer,
            not_after: end_entity.not_after.min(self.not_after),
            proxy: Some(kind),
        }
    }
}

/// Tries every CA that has the issuer's name. Of several failures the one that came furthest
/// counts. Gives the time when the first of the CAs above ends.
fn find_issuer(
    own: &Certificate<'_>,
    sent: &[CertificateDer<'_>],
    trust: &TrustDirectory,
    now_unix: i64,
) -> Result<i64, BrokenChain> {
    let mut failure = None;
    for ca in trust.named(&own.issuer) {
        let signed = ca.key.verify(&own.x509).map_err(Broken::from);
        let vouches = || {
            trust.may_issue(ca, &own.subject)?;
            trust.check_revoked(ca, own.x509.raw_serial(), now_unix)?;
            climb(ca, 0, 1, &mut Tried::new(), trust, now_unix)
        };
        match signed.map(|()| vouches()) {
            Ok(Ok(not_after)) => return Ok(not_after),
            Ok(Err(above)) => failure = Some(above),
            Err(wrong) => failure = failure.or(Some(wrong.into())),
        }
    }
    Err(failure.unwrap_or_else(|| no_issuer(own, sent)))
}

fn no_issuer(own: &Certificate<'_>, sent: &[CertificateDer<'_>]) -> BrokenChain {
    let issuer = own.issuer.to_oneline();
    if own.is_self_issued() {
        BrokenChain::SelfSigned
    } else if sent.iter().any(|der| certificate::label(der) == issuer) {
        let proxy_like = own.is_named_below_issuer();
        if proxy_like { BrokenChain::NoProxyInfo(issuer) } else { BrokenChain::SentIssuer(issuer) }
    } else {
        BrokenChain::UnknownIssuer(issuer)
    }
}

/// From where no root was reached, and why: a CA's index, with the `below` and `depth` of who is under
/// it. Without it CAs that cross-sign each other would be climbed in every order.
type Tried = HashMap<(usize, u32, usize), BrokenChain>;

/// From a CA to a root, each step valid now. `below` counts the CAs beneath that a path length
/// counts (RFC 5280 section 4.2.1.9: self-issued ones are free), `depth` all of them.
fn climb(
    ca: &Ca,
    below: u32,
    depth: usize,
    tried: &mut Tried,
    trust: &TrustDirectory,
    now_unix: i64,
) -> Result<i64, BrokenChain> {
    let subject = || ca.subject.to_oneline();
    if depth > CHAIN_LENGTH_MAX {
        return Err(BrokenChain::TooDeep);
    }
    certificate::check_time(ca.not_before, ca.not_after, now_unix)
        .map_err(|broken| BrokenChain::Ca { subject: subject(), broken })?;
    if ca.path_length.is_some_and(|length| length < below) {
        return Err(BrokenChain::PathLength(subject()));
    }
    if ca.self_signed {
        return Ok(ca.not_after);
    }
    let below = below + u32::from(!ca.self_issued);
    let mut failure = BrokenChain::NoRoot(subject());
    for issuer in trust.issuers_of(ca) {
        if let Err(denied) = vouches_for_ca(issuer, ca, trust, now_unix) {
            failure = denied;
            continue;
        }
        let place = (issuer.index, below, depth);
        if let Some(known) = tried.get(&place) {
            failure = known.clone();
            continue;
        }
        match climb(issuer, below, depth + 1, tried, trust, now_unix) {
            Ok(not_after) => return Ok(not_after.min(ca.not_after)),
            Err(above) => {
                tried.insert(place, above.clone());
                failure = above;
            }
        }
    }
    Err(failure)
}

/// A CA that certifies itself anew needs no policy for it, as in Globus.
fn vouches_for_ca(
    issuer: &Ca,
    ca: &Ca,
    trust: &TrustDirectory,
    now_unix: i64,
) -> Result<(), BrokenChain> {
    let permitted = if ca.self_issued { Ok(()) } else { trust.may_issue(issuer, &ca.subject) };
    permitted
        .and_then(|()| trust.check_revoked(issuer, &ca.serial, now_unix))
        .map_err(|denied| BrokenChain::CaDenied { subject: ca.subject.to_oneline(), denied })
}

#[cfg(test)]
mod tests;
