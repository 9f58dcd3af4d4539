//! The other side: what a proxy certificate is made of, and what a certificate says of itself.
//!
//! A proxy is signed by whoever holds the key of the certificate above it, who is not this room:
//! [`ProxyDraft::to_be_signed`] is signed elsewhere, and [`signed`] puts the two together. What is made
//! here is what `chain` takes: RFC 3820, a critical ProxyCertInfo, the subject of the certificate above
//! with one CN added, byte for byte as it is encoded there.

use x509_parser::public_key::PublicKey;

use crate::ProxyKind;
use crate::certificate::Certificate;
use crate::proxy::{self, Family, Proxy};

#[cfg(test)]
mod tests;

/// What the signature of a proxy is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// PKCS#1 version 1.5 with SHA-256.
    RsaSha256,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// Ed25519.
    Ed25519,
}

impl SignatureKind {
    /// The AlgorithmIdentifier.
    fn der(self) -> Vec<u8> {
        let (oid, parameters): (&[u8], &[u8]) = match self {
            Self::RsaSha256 => (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], &[5, 0]),
            Self::EcdsaSha256 => (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], &[]),
            Self::EcdsaSha384 => (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], &[]),
            Self::Ed25519 => (&[0x2b, 0x65, 0x70], &[]),
        };
        sequence(&[&value(OID, oid), parameters])
    }
}

/// Why no proxy can be made under a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The certificate above, in words that go on from its name.
    #[error("{0}")]
    Above(String),
    /// Under a limited proxy only limited ones count.
    #[error("it is a limited proxy, and under such a one only another limited proxy is valid")]
    Limited,
    /// Nobody may be below it any more.
    #[error("it allows no further proxy below it (pCPathLenConstraint 0)")]
    PathLength,
    /// It is over.
    #[error("it is not valid now")]
    Expired,
}

/// A proxy certificate before it is signed.
#[derive(Debug, Clone)]
pub struct ProxyDraft<'a> {
    /// The certificate above it, DER.
    pub above: &'a [u8],
    /// Its own public key, a SubjectPublicKeyInfo in DER.
    pub public_key: &'a [u8],
    /// Its serial number, whose decimal digits are the CN that is added: unique under the certificate
    /// above (RFC 3820 section 3.4), so it should be random.
    pub serial: u64,
    /// Valid from, Unix seconds; never before the certificate above.
    pub not_before: i64,
    /// Valid until, Unix seconds; never beyond the certificate above.
    pub not_after: i64,
    /// What its holder may.
    pub kind: ProxyKind,
    /// How many proxies may stand below it; `None` is any number.
    pub path_length: Option<u32>,
    /// What the key above signs with.
    pub signature: SignatureKind,
}

impl ProxyDraft<'_> {
    /// The TBSCertificate in DER.
    ///
    /// # Errors
    /// [`IssueError`] where no such proxy is valid under the certificate above.
    pub fn to_be_signed(&self) -> Result<Vec<u8>, IssueError> {
        let above = Certificate::read(self.above).map_err(|e| IssueError::Above(e.to_string()))?;
        self.check(&above)?;
        let not_before = self.not_before.max(above.not_before());
        let not_after = self.not_after.min(above.not_after());
        if not_before >= not_after {
            return Err(IssueError::Expired);
        }
        let issuer = above.x509.subject().as_raw();
        let content = content_of(issuer).ok_or_else(|| bad_name("its name cannot be read"))?;
        let cn = sequence(&[
            &value(OID, &[0x55, 4, 3]),
            &value(PRINTABLE, self.serial.to_string().as_bytes()),
        ]);
        let subject = value(SEQUENCE, &[content, &value(SET, &cn)].concat());
        let extensions = sequence(&[&self.key_usage(), &self.info()]);
        Ok(sequence(&[
            &value(CONTEXT_0, &value(INTEGER, &[2])),
            &integer(self.serial),
            &self.signature.der(),
            issuer,
            &sequence(&[&time(not_before), &time(not_after)]),
            &subject,
            self.public_key,
            &value(CONTEXT_3, &extensions),
        ]))
    }

    fn check(&self, above: &Certificate<'_>) -> Result<(), IssueError> {
        if above.x509.is_ca() {
            return Err(bad_name("it is a CA's, and no CA issues proxies"));
        }
        let usage = above.x509.key_usage().ok().flatten();
        if usage.is_some_and(|usage| !usage.value.digital_signature()) {
            return Err(bad_name("its key may not sign (keyUsage without digitalSignature)"));
        }
        let Some(proxy) = Proxy::of(above).map_err(|e| IssueError::Above(e.to_string()))? else {
            return Ok(());
        };
        if proxy.family != Family::Rfc {
            return Err(bad_name("it is a proxy of before RFC 3820, and families do not mix"));
        }
        if proxy.kind == ProxyKind::Limited && self.kind == ProxyKind::Full {
            return Err(IssueError::Limited);
        }
        if proxy.path_length == Some(0) { Err(IssueError::PathLength) } else { Ok(()) }
    }

    /// digitalSignature alone, critical: what a handshake and a further proxy need.
    fn key_usage(&self) -> Vec<u8> {
        let bits = value(BIT_STRING, &[7, 0x80]);
        sequence(&[&value(OID, &[0x55, 0x1d, 15]), &CRITICAL, &value(OCTETS, &bits)])
    }

    fn info(&self) -> Vec<u8> {
        let language = match self.kind {
            ProxyKind::Full => proxy::INHERIT_ALL,
            ProxyKind::Limited => proxy::LIMITED,
            ProxyKind::Independent => proxy::INDEPENDENT,
        };
        let length = self.path_length.map(|length| integer(length.into())).unwrap_or_default();
        let info = sequence(&[&length, &sequence(&[&value(OID, language)])]);
        sequence(&[&value(OID, proxy::RFC_INFO), &CRITICAL, &value(OCTETS, &info)])
    }
}

/// The certificate in DER: what was signed, and the signature.
#[must_use]
pub fn signed(to_be_signed: &[u8], kind: SignatureKind, signature: &[u8]) -> Vec<u8> {
    let bits = value(BIT_STRING, &[&[0], signature].concat());
    sequence(&[to_be_signed, &kind.der(), &bits])
}

/// What a certificate says of itself. Nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The subject in the one-line form.
    pub subject: String,
    /// The issuer in the one-line form.
    pub issuer: String,
    /// What kind of proxy it is, if it is one.
    pub proxy: Option<ProxyKind>,
    /// Whether it is one by RFC 3820, and not of a form before it.
    pub rfc: bool,
    /// How many proxies may stand below it, if it says so.
    pub path_length: Option<u32>,
    /// Valid from, Unix seconds.
    pub not_before: i64,
    /// Valid until, Unix seconds.
    pub not_after: i64,
    /// The kind of its key: `RSA`, `EC`, or an object identifier.
    pub key: String,
    /// Bits of its key, where they are known.
    pub bits: Option<usize>,
}

impl Described {
    /// Of a certificate in DER.
    ///
    /// # Errors
    /// In words, what cannot be read.
    pub fn of(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::read(der).map_err(|error| error.to_string())?;
        let proxy = Proxy::of(&certificate).map_err(|error| error.to_string())?;
        let (key, bits) = match certificate.x509.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => ("RSA".to_owned(), Some(key.key_size())),
            Ok(PublicKey::EC(point)) => ("EC".to_owned(), Some(point.key_size())),
            _ => (certificate.x509.public_key().algorithm.algorithm.to_id_string(), None),
        };
        Ok(Self {
            subject: certificate.subject.to_oneline(),
            issuer: certificate.issuer.to_oneline(),
            proxy: proxy.map(|proxy| proxy.kind),
            rfc: proxy.is_some_and(|proxy| proxy.family == Family::Rfc),
            path_length: proxy.and_then(|proxy| proxy.path_length),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            key,
            bits,
        })
    }
}

fn bad_name(why: &str) -> IssueError {
    IssueError::Above(why.to_owned())
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const PRINTABLE: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONTEXT_0: u8 = 0xa0;
const CONTEXT_3: u8 = 0xa3;
/// BOOLEAN true.
const CRITICAL: [u8; 3] = [1, 1, 0xff];

/// One DER value.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    let length = content.len().to_be_bytes();
    let significant: Vec<u8> = length.iter().copied().skip_while(|byte| *byte == 0).collect();
    match significant.as_slice() {
        [] => der.push(0),
        [short @ ..=0x7f] => der.push(*short),
        long => {
            der.push(0x80 | u8::try_from(long.len()).unwrap_or_default());
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(content);
    der
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// An INTEGER that is not negative, as short as DER wants it.
fn integer(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let mut content: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if content.first().is_none_or(|first| *first >= 0x80) {
        content.insert(0, 0);
    }
    value(INTEGER, &content)
}

/// RFC 5280 section 4.1.2.5: UTCTime until 2049, GeneralizedTime beyond.
fn time(unix: i64) -> Vec<u8> {
    // 2006-11-22T12:00:00Z without what is no digit
    let digits: String =
        crate::rfc3339(unix).chars().filter(char::is_ascii_digit).take(14).collect();
    match digits.get(2..) {
        Some(short) if ("1950".."2050").contains(&digits.get(..4).unwrap_or_default()) => {
            value(UTC_TIME, format!("{short}Z").as_bytes())
        }
        _ => value(GENERALIZED_TIME, format!("{digits}Z").as_bytes()),
    }
}

/// The content of one DER value.
fn content_of(der: &[u8]) -> Option<&[u8]> {
    let (first, rest) = der.get(1..)?.split_first()?;
    match *first {
        short @ ..=0x7f => rest.get(..usize::from(short)),
        long => {
            let count = usize::from(long & 0x7f);
            let length = rest.get(..count)?.iter().try_fold(0_usize, |length, byte| {
                length.checked_mul(256)?.checked_add(usize::from(*byte))
            })?;
            rest.get(count..)?.get(..length)
        }
    }
}
