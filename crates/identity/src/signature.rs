//! Signatures of certificates and handshakes, checked by the algorithms of rustls's provider.

use std::sync::LazyLock;

use rustls::crypto::aws_lc_rs;
use rustls_pki_types::SignatureVerificationAlgorithm;
use x509_parser::asn1_rs::{Any, FromDer, Oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::verified::{Pair, Verified};

/// How many bits an RSA key needs.
const RSA_BITS_MIN: usize = 2048;
/// How many it may have: the provider checks no signature with a longer one.
const RSA_BITS_MAX: usize = 8192;

/// OIDs of signatures over MD2, MD4, MD5 and SHA-1, and the digest's name.
const WEAK: &[(&str, &str)] = &[
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.3", "MD4"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.3.14.3.2.29", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
];

/// Why a key or signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureError {
    #[error("it is signed over {0}, which can be forged")]
    WeakDigest(&'static str),
    #[error("its RSA key has {bits} bits, and {}", size_rule(*.0), bits = .0)]
    WeakKey(usize),
    #[error("its signature or key is of a kind that is not supported")]
    Unsupported,
    #[error("its signature does not verify with the key of its issuer")]
    Wrong,
    #[error("it cannot be read")]
    Unreadable,
}

fn size_rule(bits: usize) -> String {
    if bits < RSA_BITS_MIN {
        format!("{RSA_BITS_MIN} are needed")
    } else {
        format!("at most {RSA_BITS_MAX} are taken")
    }
}

static ALGORITHMS: LazyLock<&'static [&'static dyn SignatureVerificationAlgorithm]> =
    LazyLock::new(|| aws_lc_rs::default_provider().signature_verification_algorithms.all);

/// A public key: the content of its AlgorithmIdentifier, and its bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    algorithm: Vec<u8>,
    bits: Vec<u8>,
}

static VERIFIED: LazyLock<Verified> = LazyLock::new(Verified::default);

impl Key {
    /// The key of a certificate, weak or not.
    pub(crate) fn of(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, SignatureError> {
        let inner = content(info.raw)?.0;
        let (algorithm, _) = content(inner)?;
        if info.subject_public_key.unused_bits != 0 {
            return Err(SignatureError::Unreadable);
        }
        let bits = info.subject_public_key.data.to_vec();
        Ok(Self { algorithm: algorithm.to_vec(), bits })
    }

    /// Checks a signature by `algorithm` if that is one for keys of this kind; `None` if it is not.
    pub(crate) fn verify_by(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Option<Result<(), SignatureError>> {
        (*algorithm.public_key_alg_id() == *self.algorithm).then(|| {
            algorithm
                .verify_signature(&self.bits, message, signature)
                .map_err(|_| SignatureError::Wrong)
        })
    }

    /// Whether `certificate` is signed with this key, over a digest that still counts.
    pub(crate) fn verify(&self, certificate: &X509Certificate<'_>) -> Result<(), SignatureError> {
        let signed = Signed::of(certificate)?;
        let pair = Pair::of([&self.algorithm, &self.bits], certificate.as_raw());
        if VERIFIED.holds(pair) {
            return Ok(());
        }
        self.verify_bytes(signed.algorithm, signed.message, signed.signature)?;
        VERIFIED.remember(pair);
        Ok(())
    }

    /// Checks a signature by the algorithm that the content of an AlgorithmIdentifier names, over a digest
    /// that still counts.
    pub(crate) fn verify_bytes(
        &self,
        algorithm: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let (_, oid) = Oid::from_der(algorithm).map_err(|_| SignatureError::Unreadable)?;
        check_digest_of(&oid)?;
        ALGORITHMS
            .iter()
            .filter(|known| *known.signature_alg_id() == *algorithm)
            .find_map(|known| self.verify_by(*known, message, signature))
            .unwrap_or(Err(SignatureError::Unsupported))
    }
}

/// The parts of a certificate that its signature is about.
struct Signed<'a> {
    message: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn of(certificate: &'a X509Certificate<'_>) -> Result<Self, SignatureError> {
        if certificate.tbs_certificate.signature != certificate.signature_algorithm
            || certificate.signature_value.unused_bits != 0
        {
            return Err(SignatureError::Unreadable);
        }
        let (inner, _) = content(certificate.as_raw())?;
        let (_, rest) = content(inner)?;
        let length = inner.len() - rest.len();
        let message = inner.get(..length).ok_or(SignatureError::Unreadable)?;
        let (algorithm, _) = content(rest)?;
        Ok(Self { message, algorithm, signature: &certificate.signature_value.data })
    }
}

/// Refuses signatures over digests that can be forged.
pub(crate) fn check_digest(certificate: &X509Certificate<'_>) -> Result<(), SignatureError> {
    check_digest_of(&certificate.signature_algorithm.algorithm)
}

fn check_digest_of(algorithm: &Oid<'_>) -> Result<(), SignatureError> {
    let oid = algorithm.to_id_string();
    match WEAK.iter().find(|(weak, _)| *weak == oid) {
        Some((_, digest)) => Err(SignatureError::WeakDigest(digest)),
        None => Ok(()),
    }
}

/// Refuses RSA keys that are too short or too long, and keys of kinds that are nowhere taken.
pub(crate) fn check_key(info: &SubjectPublicKeyInfo<'_>) -> Result<(), SignatureError> {
    match info.parsed() {
        Ok(PublicKey::RSA(key)) if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&key.key_size()) => {
            Err(SignatureError::WeakKey(key.key_size()))
        }
        Ok(PublicKey::DSA(_) | PublicKey::GostR3410(_) | PublicKey::GostR3410_2012(_)) => {
            Err(SignatureError::Unsupported)
        }
        Ok(PublicKey::RSA(_) | PublicKey::EC(_) | PublicKey::Unknown(_)) => Ok(()),
        Err(_) => Err(SignatureError::Unreadable),
    }
}

/// The content of the first DER value of `der`, and what is behind that value.
fn content(der: &[u8]) -> Result<(&[u8], &[u8]), SignatureError> {
    let (rest, value) = Any::from_der(der).map_err(|_| SignatureError::Unreadable)?;
    Ok((value.data, rest))
}
