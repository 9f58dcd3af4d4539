//! Certificate revocation lists (RFC 5280 section 5): the serial numbers that a CA has taken back, in
//! files `<hash>.r<number>`.
//!
//! A list counts only whole: what is not understood makes it useless, and a CA with a useless list vouches for
//! nobody. So delta and indirect lists, lists for some of a CA's certificates only, lists without `nextUpdate` and those with
//! unknown critical extensions are refused.

use nesssi_dn::SubjectDn;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::asn1_rs::{Any, FromDer, Oid};
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use crate::names;
use crate::signature::{Key, SignatureError};

/// How large a file with a CRL may be, in bytes.
pub const CRL_BYTES_MAX: usize = 16 * 1024 * 1024;

const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const EXTENSIONS: u8 = 0xa0;

/// Contents of the OIDs of extensions: 2.5.29 and a number.
mod oid {
    pub(super) const ISSUER_ALT_NAME: &[u8] = &[0x55, 0x1d, 18];
    pub(super) const CRL_NUMBER: &[u8] = &[0x55, 0x1d, 20];
    pub(super) const REASON_CODE: &[u8] = &[0x55, 0x1d, 21];
    pub(super) const INVALIDITY_DATE: &[u8] = &[0x55, 0x1d, 24];
    pub(super) const DELTA_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
    pub(super) const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];
    pub(super) const CERTIFICATE_ISSUER: &[u8] = &[0x55, 0x1d, 29];
    pub(super) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
}

/// A list that could be understood whole. Whether its CA has signed it is for the trust directory
/// to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    pub(crate) issuer: SubjectDn,
    /// When it was made and when the next one is due, in Unix seconds.
    pub(crate) this_update: i64,
    pub(crate) next_update: i64,
    /// Without leading zeros, sorted.
    revoked: Vec<Box<[u8]>>,
}

/// Why a file is no CRL that can be used. The texts go on from the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Over [`CRL_BYTES_MAX`].
    #[error("larger than {CRL_BYTES_MAX} bytes")]
    TooLarge,
    /// Neither DER nor PEM with `X509 CRL`.
    #[error("it holds no CRL")]
    NoCrl,
    /// More than one CRL in PEM.
    #[error("it holds more than one CRL")]
    Several,
    /// No CRL of version 1 or 2 in DER; where it stops being one.
    #[error("it cannot be read ({0})")]
    Unreadable(&'static str),
    /// The CA's name, and why.
    #[error("its issuer's name cannot be used: {0}")]
    Issuer(String),
    /// It would never be out of date.
    #[error("it does not say when the next one is due (nextUpdate)")]
    NoNextUpdate,
    /// It counts only together with another.
    #[error("it is a delta CRL")]
    Delta,
    /// It has serial numbers of other CAs.
    #[error("it is an indirect CRL")]
    Indirect,
    /// It is about some of the CA's certificates only.
    #[error("it covers only some of its CA's certificates (issuingDistributionPoint)")]
    Partial,
    /// A critical extension, by its OID.
    #[error("it has the critical extension {0}, which this server does not know")]
    UnknownCritical(String),
    /// An extension that it has twice, by its OID.
    #[error("it has the extension {0} twice")]
    Twice(String),
}

impl Crl {
    /// Reads a file with one CRL, in DER or PEM. The signature is not checked.
    ///
    /// # Errors
    /// [`CrlError`].
    pub fn parse(content: &[u8]) -> Result<Self, CrlError> {
        Ok(Unverified::read(content)?.crl)
    }

    /// Whether it lists this serial number: the content of a DER INTEGER.
    #[must_use]
    pub fn lists(&self, serial: &[u8]) -> bool {
        self.revoked.binary_search_by(|listed| (**listed).cmp(unsigned(serial))).is_ok()
    }

    /// How many serial numbers it lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether it lists none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }
}

/// A CRL with what it takes to check its signature.
#[derive(Debug)]
pub(crate) struct Unverified {
    pub(crate) crl: Crl,
    der: Vec<u8>,
}

impl Unverified {
    pub(crate) fn read(content: &[u8]) -> Result<Self, CrlError> {
        let der = to_der(content)?;
        let parts = Parts::of(&der)?;
        let crl = read_list(parts.list, parts.algorithm)?;
        Ok(Self { crl, der })
    }

    /// Whether it is signed with this key, over a digest that still counts.
    pub(crate) fn verify(&self, key: &Key) -> Result<(), SignatureError> {
        let parts = Parts::of(&self.der).map_err(|_| SignatureError::Unreadable)?;
        key.verify_bytes(parts.algorithm, parts.signed, parts.signature)
    }
}

fn to_der(content: &[u8]) -> Result<Vec<u8>, CrlError> {
    if content.len() > CRL_BYTES_MAX {
        return Err(CrlError::TooLarge);
    }
    if content.first() == Some(&SEQUENCE) {
        return Ok(content.to_vec());
    }
    let mut sections = CertificateRevocationListDer::pem_slice_iter(content);
    let first = sections.next().ok_or(CrlError::NoCrl)?.map_err(|_| CrlError::NoCrl)?;
    match sections.next() {
        None => Ok(first.to_vec()),
        Some(_) => Err(CrlError::Several),
    }
}

/// `CertificateList`.
struct Parts<'a> {
    /// `TBSCertList` with its header, which is what is signed.
    signed: &'a [u8],
    /// Its content.
    list: &'a [u8],
    /// The content of the AlgorithmIdentifier.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(der: &'a [u8]) -> Result<Self, CrlError> {
        let mut outer = Der(der);
        let mut inner = Der(outer.take(SEQUENCE, "CertificateList")?);
        outer.end("CertificateList")?;
        let before = inner.0;
        let list = inner.take(SEQUENCE, "tbsCertList")?;
        let signed = before.get(..before.len() - inner.0.len()).unwrap_or_default();
        let algorithm = inner.take(SEQUENCE, "signatureAlgorithm")?;
        let signature = match inner.take(BIT_STRING, "signature")? {
            [0, signature @ ..] => signature, // no unused bits
            _ => return Err(CrlError::Unreadable("signature")),
        };
        inner.end("CertificateList")?;
        Ok(Self { signed, list, algorithm, signature })
    }
}

/// `TBSCertList`.
fn read_list(list: &[u8], algorithm: &[u8]) -> Result<Crl, CrlError> {
    let mut list = Der(list);
    let version_2 = match list.take_if(INTEGER, "version")? {
        None => false,
        Some([1]) => true,
        Some(_) => return Err(CrlError::Unreadable("version")),
    };
    if list.take(SEQUENCE, "signature")? != algorithm {
        return Err(CrlError::Unreadable("two signature algorithms"));
    }
    let issuer = read_issuer(&mut list)?;
    let this_update = list.time("thisUpdate")?.ok_or(CrlError::Unreadable("thisUpdate"))?;
    let next_update = list.time("nextUpdate")?.ok_or(CrlError::NoNextUpdate)?;
    let revoked = list.take_if(SEQUENCE, "revokedCertificates")?.unwrap_or_default();
    let revoked = read_revoked(revoked, version_2)?;
    if let Some(extensions) = list.take_if(EXTENSIONS, "crlExtensions")? {
        check_version(version_2)?;
        check_list_extensions(extensions)?;
    }
    list.end("tbsCertList")?;
    Ok(Crl { issuer, this_update, next_update, revoked })
}

fn read_issuer(list: &mut Der<'_>) -> Result<SubjectDn, CrlError> {
    let unreadable = CrlError::Unreadable("issuer");
    let (rest, name) = X509Name::from_der(list.0).map_err(|_| unreadable)?;
    list.0 = rest;
    names::to_dn(&name).map_err(|error| CrlError::Issuer(error.to_string()))
}

fn read_revoked(entries: &[u8], version_2: bool) -> Result<Vec<Box<[u8]>>, CrlError> {
    let mut entries = Der(entries);
    let mut serials = Vec::new();
    while !entries.0.is_empty() {
        let mut entry = Der(entries.take(SEQUENCE, "an entry")?);
        let serial = entry.take(INTEGER, "an entry's serial number")?;
        if entry.take_if(UTC_TIME, "an entry's date")?.is_none() {
            entry.take(GENERALIZED_TIME, "an entry's date")?;
        }
        if let Some(extensions) = entry.take_if(SEQUENCE, "an entry's extensions")? {
            check_version(version_2)?;
            check_entry_extensions(extensions)?;
        }
        entry.end("an entry")?;
        serials.push(unsigned(serial).into());
    }
    serials.sort_unstable();
    serials.dedup();
    Ok(serials)
}

/// Version 1 has no extensions.
fn check_version(version_2: bool) -> Result<(), CrlError> {
    if version_2 { Ok(()) } else { Err(CrlError::Unreadable("extensions in version 1")) }
}

fn check_list_extensions(explicit: &[u8]) -> Result<(), CrlError> {
    let mut explicit = Der(explicit);
    let content = explicit.take(SEQUENCE, "crlExtensions")?;
    explicit.end("crlExtensions")?;
    for extension in read_extensions(content)? {
        match extension.oid {
            oid::DELTA_INDICATOR => return Err(CrlError::Delta),
            oid::ISSUING_DISTRIBUTION_POINT => check_distribution_point(extension.value)?,
            oid::AUTHORITY_KEY_ID | oid::CRL_NUMBER | oid::ISSUER_ALT_NAME => {}
            _ => extension.check_not_critical()?,
        }
    }
    Ok(())
}

fn check_entry_extensions(content: &[u8]) -> Result<(), CrlError> {
    /// `removeFromCRL`
    const REMOVE: &[u8] = &[0x0a, 1, 8];
    for extension in read_extensions(content)? {
        match extension.oid {
            oid::CERTIFICATE_ISSUER => return Err(CrlError::Indirect),
            // Only in delta CRLs; whatever it is to mean here, the list is not what it seems.
            oid::REASON_CODE if extension.value == REMOVE => return Err(CrlError::Delta),
            oid::REASON_CODE | oid::INVALIDITY_DATE => {}
            _ => extension.check_not_critical()?,
        }
    }
    Ok(())
}

/// One that says nothing is fine; a distribution point's name makes the list one of several.
fn check_distribution_point(value: &[u8]) -> Result<(), CrlError> {
    const INDIRECT: u8 = 0x84;
    const FLAGS: [u8; 3] = [0x81, 0x82, 0x85];
    const FALSE: &[u8] = &[0];
    let mut outer = Der(value);
    let mut fields = Der(outer.take(SEQUENCE, "issuingDistributionPoint")?);
    outer.end("issuingDistributionPoint")?;
    while let Some(&tag) = fields.0.first() {
        match fields.take(tag, "issuingDistributionPoint")? {
            FALSE if tag == INDIRECT || FLAGS.contains(&tag) => {}
            _ if tag == INDIRECT => return Err(CrlError::Indirect),
            _ => return Err(CrlError::Partial),
        }
    }
    Ok(())
}

struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

impl Extension<'_> {
    fn name(&self) -> String {
        Oid::new(self.oid.into()).to_id_string()
    }

    fn check_not_critical(&self) -> Result<(), CrlError> {
        if self.critical { Err(CrlError::UnknownCritical(self.name())) } else { Ok(()) }
    }
}

fn read_extensions(content: &[u8]) -> Result<Vec<Extension<'_>>, CrlError> {
    const WHERE: &str = "an extension";
    let mut left = Der(content);
    let mut extensions: Vec<Extension<'_>> = Vec::new();
    while !left.0.is_empty() {
        let mut one = Der(left.take(SEQUENCE, WHERE)?);
        let oid = one.take(OID, WHERE)?;
        let critical = one.take_if(BOOLEAN, WHERE)?.is_some_and(|value| value != [0]);
        let value = one.take(OCTET_STRING, WHERE)?;
        one.end(WHERE)?;
        let extension = Extension { oid, critical, value };
        if extensions.iter().any(|other| other.oid == oid) {
            return Err(CrlError::Twice(extension.name()));
        }
        extensions.push(extension);
    }
    Ok(extensions)
}

/// What is left to read of some DER.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which must have this tag.
    fn take(&mut self, tag: u8, place: &'static str) -> Result<&'a [u8], CrlError> {
        self.take_if(tag, place)?.ok_or(CrlError::Unreadable(place))
    }

    /// The content of the next value if it has this tag.
    fn take_if(&mut self, tag: u8, place: &'static str) -> Result<Option<&'a [u8]>, CrlError> {
        if self.0.first() != Some(&tag) {
            return Ok(None);
        }
        let (rest, value) = Any::from_der(self.0).map_err(|_| CrlError::Unreadable(place))?;
        self.0 = rest;
        Ok(Some(value.data))
    }

    /// A time in Unix seconds, if one is next.
    fn time(&mut self, place: &'static str) -> Result<Option<i64>, CrlError> {
        if !matches!(self.0.first(), Some(&(UTC_TIME | GENERALIZED_TIME))) {
            return Ok(None);
        }
        let (rest, time) = ASN1Time::from_der(self.0).map_err(|_| CrlError::Unreadable(place))?;
        self.0 = rest;
        Ok(Some(time.timestamp()))
    }

    fn end(&self, place: &'static str) -> Result<(), CrlError> {
        if self.0.is_empty() { Ok(()) } else { Err(CrlError::Unreadable(place)) }
    }
}

/// A DER INTEGER as an unsigned number without leading zeros: some CAs have written serial numbers
/// with the first bit set and no zero before it.
fn unsigned(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests;
