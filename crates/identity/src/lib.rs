//! Who is calling.
//!
//! A *peer* is the other end of a connection, as far as its credential says: [`Peer`]. A credential
//! is a chain of X.509 certificates, the *end-entity certificate* (EEC) first, and it is judged
//! against a *trust directory*, the CA certificates that the site has chosen: [`TrustDirectory`].
//!
//! A credential that is offered and fails never counts as none: [`tls`] lets the handshake complete
//! so that the [`Refusal`] can be told to the caller, and [`judge_chain`] says what it is. It is asked
//! again for every connection and every resumption of one, with the time as a parameter.
//!
//! A caller may send *proxy certificates* in front of his EEC, which he has signed himself: `proxy`.
//! What he signs is [`ProxyDraft`]'s; the key stays with him.
#![forbid(unsafe_code)]

mod certificate;
mod chain;
mod crl;
mod hash;
mod issue;
mod matching;
mod names;
mod namespaces;
mod peer;
mod presented;
mod proxy;
mod signature;
mod signing_policy;
#[cfg(test)]
mod testing;
mod time;
pub mod tls;
mod trust;
mod verified;

pub use chain::{CHAIN_LENGTH_MAX, judge_chain, judge_peer};
pub use crl::{CRL_BYTES_MAX, Crl, CrlError};
pub use issue::{Described, IssueError, ProxyDraft, SignatureKind, signed};
pub use namespaces::Namespaces;
pub use peer::{Identity, NoCertificate, Peer, ProxyKind, Refusal};
pub use presented::{PemError, Presented};
pub use signing_policy::{POLICY_BYTES_MAX, PolicyError, SigningPolicy, Verdict};
pub use time::rfc3339;
pub use trust::{CA_FILE_BYTES_MAX, Missing, Problem, TrustDirectory, TrustOptions};
