//! Judging a chain.

use rustls_pki_types::CertificateDer;

use crate::{Identity, NoCertificate, Peer, Refusal, TrustDirectory};

/// How many certificates a caller may send.
pub const CHAIN_LENGTH_MAX: usize = 16;

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
/// [`Refusal`] with the certificate that fails, the rule and the time.
pub fn judge_chain(
    chain: &[CertificateDer<'_>],
    trust: &TrustDirectory,
    now_unix: i64,
) -> Result<Identity, Refusal> {
    let _ = (chain, trust);
    Err(Refusal { certificate: "(unread)".to_owned(), rule: "not judged".to_owned(), at: now_unix })
}
