//! Judging a chain.
//!
//! Every CA between a caller and a root must be in the trust directory itself, as in Globus: so what
//! a caller sends behind his own certificate is never needed, and is read only to say better what
//! is missing.

use rustls_pki_types::CertificateDer;

use crate::certificate::{self, Broken, Certificate};
use crate::trust::Ca;
use crate::{Identity, NoCertificate, Peer, Refusal, TrustDirectory};

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
    #[error("its issuer {0} is not in the trust directory")]
    UnknownIssuer(String),
    #[error("its issuer {0} was sent with it, and is not in the trust directory")]
    SentIssuer(String),
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

/// Whose chain this is, the end-entity certificate first.
///
/// # Errors
/// [`Refusal`] with the subject DN of the end-entity certificate, the rule that is broken and the
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
    own.check_end_entity(now_unix)?;
    let above = find_issuer(&own, sent, trust, now_unix)?;
    let not_after = own.not_after().min(above);
    Ok(Identity { not_after, subject: own.subject, issuer: own.issuer, proxy: None })
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
        match signed.map(|()| climb(ca, 0, 1, trust, now_unix)) {
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
        BrokenChain::SentIssuer(issuer)
    } else {
        BrokenChain::UnknownIssuer(issuer)
    }
}

/// From a CA to a root, each step valid now. `below` counts the CAs beneath that a path length
/// counts (RFC 5280 section 4.2.1.9: self-issued ones are free), `depth` all of them.
fn climb(
    ca: &Ca,
    below: u32,
    depth: usize,
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
        match climb(issuer, below, depth + 1, trust, now_unix) {
            Ok(not_after) => return Ok(not_after.min(ca.not_after)),
            Err(above) => failure = above,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests;
