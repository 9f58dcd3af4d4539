//! Proxy certificates: which certificates are such, and the rules that need no other certificate.
//!
//! A *proxy certificate* is signed by a person's own key, not by a CA: whoever holds it acts for that
//! person for a while. Its subject is its issuer's with one CN added. There are three families:
//! * RFC 3820, known by the extension ProxyCertInfo (1.3.6.1.5.5.7.1.14);
//! * the drafts before it, as Globus 3 made them (1.3.6.1.4.1.3536.1.222), where the path length
//!   stands behind the policy, `[1]` and explicit;
//! * legacy, of Globus 2: no extension, the added CN is `proxy` or `limited proxy`.
//!
//! Families do not mix in one chain, and no CA issues any. Legacy proxies are taken whatever the
//! end entity's keyUsage says of keyCertSign, as EMI's caNl does (Globus today wants the bit, which
//! nearly no end entity has): digitalSignature is what their signatures need, as for any proxy.
//!
//! Of the policy languages of RFC 3820 only those are known that need no policy text: inheritAll
//! (*full*), independent, and Globus's *limited*. Every other is refused: whoever wrote it meant to
//! hold something back. ProxyCertInfo is critical (RFC 3820 section 3.8) or refused.

use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Tag};
use x509_parser::extensions::X509Extension;

use crate::ProxyKind;
use crate::certificate::Certificate;

/// 1.3.6.1.5.5.7.1.14, the content of its DER.
pub(crate) const RFC_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 14];
/// 1.3.6.1.4.1.3536.1.222
const DRAFT_INFO: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 0x81, 0x5e];
/// 1.3.6.1.5.5.7.21.1
pub(crate) const INHERIT_ALL: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 1];
/// 1.3.6.1.5.5.7.21.2
pub(crate) const INDEPENDENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 2];
/// 1.3.6.1.4.1.3536.1.1.1.9
pub(crate) const LIMITED: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 1, 1, 9];

/// A rule for proxies that a certificate breaks. The texts go on from "certificate ... refused: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("it has more than one ProxyCertInfo")]
    TwoInfos,
    #[error("its ProxyCertInfo cannot be read")]
    BadInfo,
    #[error("its ProxyCertInfo is not critical, and must be (RFC 3820 section 3.8)")]
    NotCritical,
    #[error("it is a proxy with the policy language {0}, which this server does not know")]
    UnknownLanguage(String),
    #[error("it is a proxy with a policy text, which none of the known policy languages has")]
    PolicyText,
    #[error("it is a proxy, and its subject is not its issuer's with one CN added")]
    Name,
    #[error("it is a proxy, and claims to be a CA (basicConstraints)")]
    IsCa,
    #[error("it is a proxy, and may sign certificates as a CA (keyUsage with keyCertSign)")]
    CertSign,
    #[error("it is a proxy, and has a {0}, which no proxy may have (RFC 3820 section 3.5)")]
    AlternativeName(&'static str),
}

/// What makes a certificate a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) family: Family,
    pub(crate) kind: ProxyKind,
    /// How many proxies may stand below this one; `None` is any number.
    pub(crate) path_length: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Rfc,
    Draft,
    Legacy,
}

impl Proxy {
    /// `None` for a certificate that is no proxy. A CN of digits alone makes none.
    pub(crate) fn of(certificate: &Certificate<'_>) -> Result<Option<Self>, ProxyError> {
        let mut infos = certificate.x509.extensions().iter().filter_map(info_family);
        match (infos.next(), infos.next()) {
            (None, _) => Ok(Self::legacy(certificate)),
            (Some((family, info)), None) if info.critical => {
                read_info(family, info.value).map(Some)
            }
            (Some(_), None) => Err(ProxyError::NotCritical),
            (Some(_), Some(_)) => Err(ProxyError::TwoInfos),
        }
    }

    fn legacy(certificate: &Certificate<'_>) -> Option<Self> {
        let kind = match certificate.last_cn()? {
            b"proxy" => ProxyKind::Full,
            b"limited proxy" => ProxyKind::Limited,
            _ => return None,
        };
        Some(Self { family: Family::Legacy, kind, path_length: None })
    }
}

/// Whether the extension is a ProxyCertInfo, critical or not.
pub(crate) fn is_info(extension: &X509Extension<'_>) -> bool {
    info_family(extension).is_some()
}

fn info_family<'a, 'b>(
    extension: &'b X509Extension<'a>,
) -> Option<(Family, &'b X509Extension<'a>)> {
    match extension.oid.as_bytes() {
        RFC_INFO => Some((Family::Rfc, extension)),
        DRAFT_INFO => Some((Family::Draft, extension)),
        _ => None,
    }
}

fn read_info(family: Family, der: &[u8]) -> Result<Proxy, ProxyError> {
    let (path_length, policy) = split_info(family, der).ok_or(ProxyError::BadInfo)?;
    Ok(Proxy { family, kind: read_policy(policy)?, path_length })
}

/// `ProxyCertInfo ::= SEQUENCE { pCPathLenConstraint INTEGER (0..MAX) OPTIONAL, proxyPolicy }` (RFC
/// 3820 section 3.8); in the drafts `SEQUENCE { proxyPolicy, [1] EXPLICIT INTEGER OPTIONAL }`. Gives
/// the length and the content of the policy.
fn split_info(family: Family, der: &[u8]) -> Option<(Option<u32>, &[u8])> {
    let (info, rest) = take(der, Class::Universal, Tag::Sequence)?;
    if !rest.is_empty() {
        return None;
    }
    let (path_length, policy, rest) = match family {
        Family::Draft => {
            let (policy, rest) = take(info, Class::Universal, Tag::Sequence)?;
            match take(rest, Class::ContextSpecific, Tag(1)) {
                Some((tagged, rest)) => {
                    let (number, behind) = take(tagged, Class::Universal, Tag::Integer)?;
                    let number = behind.is_empty().then(|| to_length(number))??;
                    (Some(number), policy, rest)
                }
                None => (None, policy, rest),
            }
        }
        Family::Rfc | Family::Legacy => {
            let (path_length, rest) = match take(info, Class::Universal, Tag::Integer) {
                Some((number, rest)) => (Some(to_length(number)?), rest),
                None => (None, info),
            };
            let (policy, rest) = take(rest, Class::Universal, Tag::Sequence)?;
            (path_length, policy, rest)
        }
    };
    rest.is_empty().then_some((path_length, policy))
}

/// `ProxyPolicy ::= SEQUENCE { policyLanguage OBJECT IDENTIFIER, policy OCTET STRING OPTIONAL }`; the
/// known languages have no policy (RFC 3820 section 3.8.2).
fn read_policy(der: &[u8]) -> Result<ProxyKind, ProxyError> {
    let (language, text) = take(der, Class::Universal, Tag::Oid).ok_or(ProxyError::BadInfo)?;
    let kind = match language {
        INHERIT_ALL => ProxyKind::Full,
        LIMITED => ProxyKind::Limited,
        INDEPENDENT => ProxyKind::Independent,
        other => return Err(ProxyError::UnknownLanguage(Oid::new(other.into()).to_id_string())),
    };
    match (text, take(text, Class::Universal, Tag::OctetString)) {
        ([], _) => Ok(kind),
        (_, Some((_, []))) => Err(ProxyError::PolicyText),
        _ => Err(ProxyError::BadInfo),
    }
}

/// The content of an INTEGER that is a length: never negative, written as short as DER wants. One
/// beyond 32 bits is as good as the largest.
fn to_length(content: &[u8]) -> Option<u32> {
    match content {
        [] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => None,
        bytes => Some(bytes.iter().fold(0_u32, |length, byte| {
            length.checked_mul(256).map_or(u32::MAX, |high| high | u32::from(*byte))
        })),
    }
}

/// The content of the first DER value if it is of this tag, and what is behind that value.
fn take(der: &[u8], class: Class, tag: Tag) -> Option<(&[u8], &[u8])> {
    let (rest, value) = Any::from_der(der).ok()?;
    (value.class() == class && value.tag() == tag).then_some((value.data, rest))
}

#[cfg(test)]
mod tests;
