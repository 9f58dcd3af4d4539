//! The chain as a caller sent it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::CHAIN_LENGTH_MAX;

/// How many base64 characters stand in one line of PEM (RFC 7468 section 2).
const PEM_LINE_CHARACTERS: usize = 64;

/// The certificates that a caller sent, in his order and unjudged, kept past the handshake: to be
/// judged again when the trust directory changes, and for services that ask for the certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Presented {
    chain: Vec<CertificateDer<'static>>,
}

/// Why a text holds no chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// A section cannot be read.
    #[error("a PEM section cannot be read")]
    Unreadable,
    /// There is no certificate among the sections.
    #[error("it holds no certificate in PEM")]
    Empty,
    /// There are more than [`CHAIN_LENGTH_MAX`].
    #[error("it holds more than {CHAIN_LENGTH_MAX} certificates")]
    TooMany,
}

impl Presented {
    /// The chain, the caller's own certificate first.
    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>) -> Self {
        Self { chain }
    }

    /// The certificates of a PEM text in their order; other sections (keys) are passed over.
    ///
    /// # Errors
    /// [`PemError`] for a text without a certificate, with too many, or with a broken section.
    pub fn from_pem(text: &[u8]) -> Result<Self, PemError> {
        let sections = CertificateDer::pem_slice_iter(text).take(CHAIN_LENGTH_MAX + 1);
        let chain: Vec<_> = sections.collect::<Result<_, _>>().map_err(|_| PemError::Unreadable)?;
        match chain.len() {
            0 => Err(PemError::Empty),
            1..=CHAIN_LENGTH_MAX => Ok(Self { chain }),
            _ => Err(PemError::TooMany),
        }
    }

    /// The certificates, the caller's own first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The first certificate in PEM (RFC 7468); empty if there is none.
    #[must_use]
    pub fn leaf_pem(&self) -> String {
        let Some(leaf) = self.chain.first() else { return String::new() };
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        for (at, character) in STANDARD.encode(leaf).chars().enumerate() {
            if at > 0 && at % PEM_LINE_CHARACTERS == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem + "\n-----END CERTIFICATE-----\n"
    }
}

/// A log line has no use for the bytes.
impl fmt::Debug for Presented {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Presented({} certificates)", self.chain.len())
    }
}

#[cfg(test)]
mod tests;
