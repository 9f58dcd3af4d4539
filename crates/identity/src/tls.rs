//! The server's side of client certificates in rustls.
//!
//! A *client certificate verifier* is what rustls asks about the chain a client sends. This one lets
//! any chain pass, so that the handshake completes and can carry a [`crate::Refusal`] to the caller,
//! who would otherwise see an alert and no reason. What it does check is that the client holds the
//! private key of the first certificate. Whoever accepts connections must judge the chain with
//! [`crate::judge_peer`] before anything else, on each connection, resumed ones too.
//!
//! The signature is checked with the certificate's public key as it stands: rustls's own check goes
//! through webpki, which refuses certificates with critical extensions that it does not know, and
//! the ProxyCertInfo of a proxy certificate is one.
//!
//! With an RSA key of a size that is refused anyway, the signature is not looked at: the provider
//! cannot check it, and the caller is to hear why. Nothing is lost, since [`crate::judge_peer`] refuses
//! that key by the same function, so that nobody is taken for whom he has not proved to be.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::CHAIN_LENGTH_MAX;
use crate::signature::{Key, SignatureError, check_key};

/// Asks every client for a certificate, demands none, and lets every chain pass whose first
/// certificate's private key the client holds.
#[derive(Debug)]
pub struct ClientVerifier {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// A verifier with the signature algorithms of `provider`.
    #[must_use]
    pub fn new(provider: &CryptoProvider) -> Arc<Self> {
        Arc::new(Self { algorithms: provider.signature_verification_algorithms })
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: a client with a certificate of an unknown CA is to send it and hear why it fails.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Holds the chain's length alone: anything else is for [`crate::judge_peer`] to say.
    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.len() >= CHAIN_LENGTH_MAX {
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        with_provable_key(certificate, |key| verify_tls12(message, key, signed, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        with_provable_key(certificate, |key| {
            let key = SubjectPublicKeyInfoDer::from(key.raw);
            verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks with the key of a certificate, if it is one that [`crate::judge_peer`] may accept.
fn with_provable_key(
    certificate: &CertificateDer<'_>,
    check: impl FnOnce(&SubjectPublicKeyInfo<'_>) -> Result<HandshakeSignatureValid, Error>,
) -> Result<HandshakeSignatureValid, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let key = parsed.public_key();
    match check_key(key) {
        Err(SignatureError::WeakKey(_)) => Ok(HandshakeSignatureValid::assertion()),
        _ => check(key),
    }
}

/// RFC 5246 section 7.4.8, with any of the algorithms that the scheme stands for: in TLS 1.2 a
/// scheme does not fix the curve.
fn verify_tls12(
    message: &[u8],
    key: &SubjectPublicKeyInfo<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let (_, candidates) = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let key = Key::of(key).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let verified = candidates
        .iter()
        .find_map(|algorithm| key.verify_by(*algorithm, message, signed.signature()));
    match verified {
        Some(Ok(())) => Ok(HandshakeSignatureValid::assertion()),
        Some(Err(_)) => Err(CertificateError::BadSignature.into()),
        None => Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
    }
}

#[cfg(test)]
mod tests;
