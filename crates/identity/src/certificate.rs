//! One certificate, parsed, with the rules that need no other certificate.

use nesssi_dn::SubjectDn;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{KeyUsage, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use crate::names::{self, NameError};
use crate::proxy::{self, ProxyError};
use crate::signature::{self, Key, SignatureError};
use crate::time::rfc3339;

/// How many extensions a certificate may have: real ones have a dozen, and each is held against all.
const EXTENSIONS_MAX: usize = 64;

/// A rule that a certificate breaks. The texts go on from "certificate ... refused: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    #[error("it is no certificate that can be read")]
    Unreadable,
    #[error("its subject name cannot be used: {0}")]
    Subject(NameError),
    #[error("its issuer's name cannot be used: {0}")]
    Issuer(NameError),
    #[error("it is valid from {}", rfc3339(*.0))]
    NotYet(i64),
    #[error("it expired at {}", rfc3339(*.0))]
    Expired(i64),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("it is a CA's, and a CA is no caller")]
    IsCa,
    #[error("it is no CA's (basicConstraints)")]
    NotCa,
    #[error("its key may not sign certificates (keyUsage)")]
    NoCertSign,
    #[error("its key may not sign (keyUsage without digitalSignature)")]
    NoDigitalSignature,
    #[error("it is not meant for clients ({0})")]
    NotForClients(&'static str),
    #[error("it has more than {EXTENSIONS_MAX} extensions")]
    TooManyExtensions,
    #[error("it has the extension {0} twice or in a form that cannot be read")]
    BadExtension(String),
    #[error("it has the critical extension {0}, which this server does not know")]
    UnknownCritical(String),
    #[error("it has name constraints, which this server cannot check")]
    NameConstraints,
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// A certificate that could be read, and whose names can be used.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    pub(crate) subject: SubjectDn,
    pub(crate) issuer: SubjectDn,
    pub(crate) x509: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    pub(crate) fn read(der: &'a [u8]) -> Result<Self, Broken> {
        let x509 = parse(der)?;
        let subject = names::to_dn(x509.subject()).map_err(Broken::Subject)?;
        let issuer = names::to_dn(x509.issuer()).map_err(Broken::Issuer)?;
        Ok(Self { subject, issuer, x509 })
    }

    pub(crate) fn not_before(&self) -> i64 {
        self.x509.validity().not_before.timestamp()
    }

    pub(crate) fn not_after(&self) -> i64 {
        self.x509.validity().not_after.timestamp()
    }

    /// The rules for a caller's own certificate, which is no proxy.
    pub(crate) fn check_end_entity(&self, now_unix: i64) -> Result<(), Broken> {
        check_extensions(&self.x509, |_| false)?;
        if self.x509.is_ca() || self.is_old_root() {
            return Err(Broken::IsCa);
        }
        self.check_caller(now_unix)
    }

    /// The rules for a proxy by itself (RFC 3820 section 3), but for what its ProxyCertInfo says.
    pub(crate) fn check_proxy(&self, now_unix: i64) -> Result<(), Broken> {
        check_extensions(&self.x509, proxy::is_info)?;
        if !self.is_named_below_issuer() {
            return Err(ProxyError::Name.into());
        }
        if self.x509.is_ca() {
            return Err(ProxyError::IsCa.into());
        }
        if self.key_usage()?.is_some_and(KeyUsage::key_cert_sign) {
            return Err(ProxyError::CertSign.into());
        }
        for extension in self.x509.extensions() {
            let name = match extension.parsed_extension() {
                ParsedExtension::SubjectAlternativeName(_) => "subjectAltName",
                ParsedExtension::IssuerAlternativeName(_) => "issuerAltName",
                _ => continue,
            };
            return Err(ProxyError::AlternativeName(name).into());
        }
        self.check_caller(now_unix)
    }

    /// Whether this one's key has signed `other`; an error of its own if the key may sign nothing.
    pub(crate) fn has_signed(
        &self,
        other: &Certificate<'_>,
    ) -> Result<Result<(), SignatureError>, Broken> {
        signature::check_key(self.x509.public_key())?;
        Ok(Key::of(self.x509.public_key())?.verify(&other.x509))
    }

    /// What every certificate needs whose key a caller signs with, a handshake or a proxy.
    fn check_caller(&self, now_unix: i64) -> Result<(), Broken> {
        check_time(self.not_before(), self.not_after(), now_unix)?;
        self.check_client_usage()?;
        signature::check_key(self.x509.public_key())?;
        Ok(signature::check_digest(&self.x509)?)
    }

    /// The rules for a CA, but for time, and for its own signature if it is self-signed: that
    /// proves nothing, the trust directory does.
    pub(crate) fn check_ca(&self) -> Result<(), Broken> {
        check_extensions(&self.x509, |_| false)?;
        if !self.x509.is_ca() && !self.is_old_root() {
            return Err(Broken::NotCa);
        }
        if self.key_usage()?.is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(Broken::NoCertSign);
        }
        if self.has_name_constraints() {
            return Err(Broken::NameConstraints);
        }
        signature::check_key(self.x509.public_key())?;
        if !self.is_self_issued() {
            signature::check_digest(&self.x509)?;
        }
        Ok(())
    }

    /// How many CAs may stand between this one and the end entity.
    pub(crate) fn path_length(&self) -> Option<u32> {
        self.x509.basic_constraints().ok().flatten()?.value.path_len_constraint
    }

    /// Whether it can be a root without saying so: version 1 has no basicConstraints.
    fn is_old_root(&self) -> bool {
        self.x509.version() == X509Version::V1 && self.is_self_issued()
    }

    pub(crate) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// The last RDN's value if that is one CN and nothing else.
    pub(crate) fn last_cn(&self) -> Option<&[u8]> {
        match self.subject.rdns().last()?.attributes() {
            [only] if only.kind().as_str() == "CN" => Some(only.value()),
            _ => None,
        }
    }

    /// Whether its subject is its issuer's with one CN added, as a proxy's is (RFC 3820 section 3.4).
    pub(crate) fn is_named_below_issuer(&self) -> bool {
        let front = self.subject.rdns().split_last().map(|(_, front)| front);
        front == Some(self.issuer.rdns()) && self.last_cn().is_some()
    }

    fn key_usage(&self) -> Result<Option<&KeyUsage>, Broken> {
        let usage = self.x509.key_usage();
        let usage = usage.map_err(|_| Broken::BadExtension("keyUsage".to_owned()))?;
        Ok(usage.map(|extension| extension.value))
    }

    fn check_client_usage(&self) -> Result<(), Broken> {
        if self.key_usage()?.is_some_and(|usage| !usage.digital_signature()) {
            return Err(Broken::NoDigitalSignature);
        }
        let extended = self.x509.extended_key_usage();
        let extended = extended.map_err(|_| Broken::BadExtension("extKeyUsage".to_owned()))?;
        if extended.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
            return Err(Broken::NotForClients("extKeyUsage without clientAuth"));
        }
        let netscape = self.x509.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::NSCertType(kind) => Some(kind.ssl_client()),
            _ => None,
        });
        if netscape == Some(false) {
            return Err(Broken::NotForClients("nsCertType without SSL client"));
        }
        Ok(())
    }

    fn has_name_constraints(&self) -> bool {
        self.x509
            .extensions()
            .iter()
            .any(|e| matches!(e.parsed_extension(), ParsedExtension::NameConstraints(_)))
    }
}

/// A readable text for the certificate's subject even where its names cannot be used.
pub(crate) fn label(der: &[u8]) -> String {
    let unreadable = || "(unreadable)".to_owned();
    parse(der).map_or_else(
        |_| unreadable(),
        |x509| names::to_dn(x509.subject()).map_or_else(|_| unreadable(), |dn| dn.to_oneline()),
    )
}

pub(crate) fn check_time(not_before: i64, not_after: i64, now_unix: i64) -> Result<(), Broken> {
    if now_unix < not_before {
        return Err(Broken::NotYet(not_before));
    }
    if now_unix > not_after {
        return Err(Broken::Expired(not_after));
    }
    Ok(())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Broken> {
    match X509Certificate::from_der(der) {
        Ok(([], x509)) => Ok(x509),
        Ok(_) | Err(_) => Err(Broken::Unreadable),
    }
}

/// RFC 5280 section 4.2: no extension twice, and every critical one understood, here or by the
/// caller of this function.
fn check_extensions(
    x509: &X509Certificate<'_>,
    also_understood: fn(&X509Extension<'_>) -> bool,
) -> Result<(), Broken> {
    if x509.extensions().len() > EXTENSIONS_MAX {
        return Err(Broken::TooManyExtensions);
    }
    for (place, extension) in x509.extensions().iter().enumerate() {
        let oid = || extension.oid.to_id_string();
        let twice = x509.extensions().iter().take(place).any(|other| other.oid == extension.oid);
        if twice || extension.parsed_extension().error().is_some() {
            return Err(Broken::BadExtension(oid()));
        }
        let understood = is_understood(extension.parsed_extension()) || also_understood(extension);
        if extension.critical && !understood {
            return Err(Broken::UnknownCritical(oid()));
        }
    }
    Ok(())
}

/// Extensions whose meaning is checked here, or which say nothing that a check could fail.
fn is_understood(extension: &ParsedExtension<'_>) -> bool {
    matches!(
        extension,
        ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::NSCertType(_)
            | ParsedExtension::NameConstraints(_)
            | ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::IssuerAlternativeName(_)
            | ParsedExtension::CertificatePolicies(_)
    )
}
