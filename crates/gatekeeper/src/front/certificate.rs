//! The headers of a front, read: each form as the front really writes it, and nothing that only looks like it.

use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use nesssi_config::{CertificateForm, FrontHeader};
use nesssi_identity::{CHAIN_LENGTH_MAX, Presented};
use rustls_pki_types::CertificateDer;

use super::Wrong;

/// What Apache writes for a variable that is not set.
const APACHE_NONE: &[u8] = b"(null)";
const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

/// A caller's certificates as a front has written them.
pub(super) struct Written<'h> {
    form: CertificateForm,
    name: &'h str,
    /// His own first.
    values: Vec<&'h [u8]>,
}

/// What the front says of its caller's certificate; `None` is that he has none.
pub(super) fn read<'h>(
    header: &'h FrontHeader,
    headers: &'h HeaderMap,
) -> Result<Option<Written<'h>>, Wrong> {
    let FrontHeader { form, name, .. } = header;
    let own = the_one(headers, name)?.filter(|value| !is_none(*form, value));
    let chain: Vec<&[u8]> = match form {
        CertificateForm::Nginx => Vec::new(),
        CertificateForm::Rfc9440 => {
            the_one(headers, &format!("{name}-chain"))?.into_iter().collect()
        }
        CertificateForm::Apache => apache_chain(name, headers)?,
    };
    match own {
        None if chain.is_empty() => Ok(None),
        None => Err(Wrong::new(name, "there is a chain and no certificate")),
        Some(own) => {
            let values = std::iter::once(own).chain(chain).collect();
            Ok(Some(Written { form: *form, name, values }))
        }
    }
}

/// `<name>-chain-0` and so on, as far as they are set.
fn apache_chain<'h>(name: &str, headers: &'h HeaderMap) -> Result<Vec<&'h [u8]>, Wrong> {
    let mut chain = Vec::new();
    for number in 0..CHAIN_LENGTH_MAX {
        let value = the_one(headers, &format!("{name}-chain-{number}"))?;
        match value.filter(|value| !is_none(CertificateForm::Apache, value)) {
            Some(value) => chain.push(value),
            None => break,
        }
    }
    Ok(chain)
}

fn is_none(form: CertificateForm, value: &[u8]) -> bool {
    value.is_empty() || (form == CertificateForm::Apache && value == APACHE_NONE)
}

/// The address at the end of a header to which the front adds its caller's.
pub(super) fn address(headers: &HeaderMap, name: &str) -> Result<IpAddr, Wrong> {
    let value = the_one(headers, name)?.unwrap_or_default();
    let text = std::str::from_utf8(value).unwrap_or_default();
    let last = text.rsplit(',').next().unwrap_or_default().trim();
    let bare = last.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')).unwrap_or(last);
    match IpAddr::from_str(bare) {
        Ok(address) => Ok(address.to_canonical()),
        Err(_) => Err(Wrong::new(name, "it does not end with an address")),
    }
}

/// The value of a header that stands once, or not at all.
fn the_one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, Wrong> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Wrong::new(name, "it stands there more than once")),
        (first, None) => Ok(first.map(|value| value.as_bytes().trim_ascii())),
    }
}

impl Written<'_> {
    /// Its bytes, each value behind its length: the same for the same values alone.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(self.values.iter().map(|value| value.len() + 8).sum());
        for value in &self.values {
            key.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            key.extend_from_slice(value);
        }
        key
    }

    /// The chain.
    pub(super) fn decode(&self) -> Result<Presented, Wrong> {
        let Self { form, name, values } = self;
        let mut chain = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let text =
                std::str::from_utf8(value).map_err(|_| Wrong::new(*name, "it is no text"))?;
            match (form, at) {
                (CertificateForm::Nginx, _) => {
                    chain.push(pem(&unescape(text).ok_or_else(|| self.no_pem())?))
                }
                (CertificateForm::Apache, _) => chain.push(pem(text)),
                (CertificateForm::Rfc9440, 0) => chain.push(byte_sequence(text)),
                (CertificateForm::Rfc9440, _) => chain.extend(text.split(',').map(byte_sequence)),
            }
        }
        let whole: Option<Vec<_>> = chain.into_iter().collect();
        let whole = whole.ok_or_else(|| match form {
            CertificateForm::Rfc9440 => Wrong::new(*name, "it is no byte sequence (RFC 9440)"),
            CertificateForm::Nginx | CertificateForm::Apache => self.no_pem(),
        })?;
        if whole.len() > CHAIN_LENGTH_MAX {
            return Err(Wrong::new(*name, format!("more than {CHAIN_LENGTH_MAX} certificates")));
        }
        Ok(Presented::new(whole))
    }

    fn no_pem(&self) -> Wrong {
        Wrong::new(self.name, "it is not one certificate in PEM")
    }
}

/// A byte sequence of structured fields, without parameters (RFC 8941 section 3.3.5, RFC 9440 section 2.1).
fn byte_sequence(text: &str) -> Option<CertificateDer<'static>> {
    let inner = text.trim_matches([' ', '\t']).strip_prefix(':')?.strip_suffix(':')?;
    Some(STANDARD.decode(inner).ok()?.into()).filter(|der: &CertificateDer<'_>| !der.is_empty())
}

/// One certificate in PEM, whatever blanks stand for line ends (RFC 7468).
fn pem(text: &str) -> Option<CertificateDer<'static>> {
    let inner = text.trim_ascii().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let base64: String = inner.split_ascii_whitespace().collect();
    Some(STANDARD.decode(base64).ok()?.into()).filter(|der: &CertificateDer<'_>| !der.is_empty())
}

/// Each `%` and two hex digits is a byte, as nginx escapes (RFC 3986 section 2.1).
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
