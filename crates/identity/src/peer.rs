//! What is known of the other end of a connection.

use std::fmt;

use nesssi_dn::SubjectDn;

use crate::time::rfc3339;

/// The other end of a connection, as far as its credential says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// It offered no certificate.
    Anonymous(NoCertificate),
    /// It offered a certificate, and that is valid and trusted.
    Certified(Identity),
    /// It offered a certificate, and that is not: never to be treated as anonymous.
    Refused(Refusal),
}

/// Why there is no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoCertificate {
    /// The caller was asked for one in the handshake, and sent none.
    NotOffered,
    /// The connection has no TLS (the plain file route).
    NoTls,
}

/// A verified caller: his chain leads to a CA of the trust directory, and was valid when judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who he is: the end entity, whatever proxies he calls with; but an independent proxy's own
    /// subject where there is one.
    pub subject: SubjectDn,
    /// The CA that issued the end-entity certificate.
    pub issuer: SubjectDn,
    /// When the first certificate of the chain ends, its CAs and proxies counted, in Unix seconds: a
    /// connection may not outlive it.
    pub not_after: i64,
    /// What proxies he calls with; `None` is the end-entity certificate itself.
    pub proxy: Option<ProxyKind>,
}

/// How much of the end entity's rights the proxies of a chain carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    /// All (RFC 3820 `inheritAll`, or a legacy `CN=proxy`).
    Full,
    /// Enough to read, and not to start jobs, as soon as one proxy of the chain is limited.
    Limited,
    /// None (RFC 3820 `independent`): the caller is a subject of his own.
    Independent,
}

/// Why a certificate that was offered is not accepted. Its text is the one of fault 403.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The certificate's subject DN in the one-line form; a stand-in where it has none to be read.
    pub certificate: String,
    /// The rule that it breaks.
    pub rule: String,
    /// When it was judged, in Unix seconds.
    pub at: i64,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate, rule, at } = self;
        write!(out, "certificate {certificate} refused: {rule} (at {})", rfc3339(*at))
    }
}

impl std::error::Error for Refusal {}
