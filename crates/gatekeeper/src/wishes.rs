//! What a request says of its caller besides his certificate: the account that he asks for, the two halves of a login, and the tag
//! that he gives to his call. None is ever logged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Version;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use nesssi_container::Basic;
use nesssi_rpc::ClientTag;

/// The header that names the account a caller asks for.
const ACCOUNT: HeaderName = HeaderName::from_static("nesssi-account");

/// The header that holds a call's tag.
const CLIENT_TAG: HeaderName = HeaderName::from_static("nesssi-client-tag");

/// What a request asks for in its head.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) account: Option<String>,
    pub(crate) basic: Option<Basic>,
    pub(crate) tag: Option<ClientTag>,
}

/// What is wrong with a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unclear {
    #[error("NESSSI-Account names one account, once")]
    Account,
    #[error("NESSSI-Client-Tag is one, of 1 to 128 printable characters of ASCII without blanks")]
    ClientTag,
    #[error("a request has one Host, and no other (RFC 9112, section 3.2)")]
    Host,
    #[error("Authorization: Basic is one, with user and password in base64 (RFC 7617)")]
    Basic,
}

/// Whether a head says once for whom it is: two readers may each take another of two hosts.
///
/// # Errors
/// [`Unclear::Host`].
pub(crate) fn check_host(head: &Parts) -> Result<(), Unclear> {
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => Ok(()),
        (None, _) if head.version != Version::HTTP_11 => Ok(()),
        (None, _) | (Some(_), Some(_)) => Err(Unclear::Host),
    }
}

impl Wishes {
    /// Takes the wishes out of a head.
    ///
    /// # Errors
    /// [`Unclear`], of the host too.
    pub(crate) fn of(head: &mut Parts) -> Result<Self, Unclear> {
        check_host(head)?;
        Self::take(&mut head.headers)
    }

    fn take(headers: &mut HeaderMap) -> Result<Self, Unclear> {
        let account = match headers.contains_key(ACCOUNT) {
            true => Some(account(headers)?),
            false => None,
        };
        let basic = match headers.contains_key(AUTHORIZATION) {
            true => basic(headers)?,
            false => None,
        };
        let tag = match headers.contains_key(CLIENT_TAG) {
            true => Some(client_tag(headers)?),
            false => None,
        };
        Ok(Self { account, basic, tag })
    }
}

fn account(headers: &HeaderMap) -> Result<String, Unclear> {
    let value = the_one(headers, &ACCOUNT).ok_or(Unclear::Account)?;
    let text = value.to_str().map_err(|_| Unclear::Account)?.trim();
    if text.is_empty() { Err(Unclear::Account) } else { Ok(text.to_owned()) }
}

fn client_tag(headers: &HeaderMap) -> Result<ClientTag, Unclear> {
    let text = the_one(headers, &CLIENT_TAG).and_then(|value| value.to_str().ok());
    text.and_then(|text| ClientTag::parse(text).ok()).ok_or(Unclear::ClientTag)
}

/// Other schemes than Basic are no business of ours.
fn basic(headers: &mut HeaderMap) -> Result<Option<Basic>, Unclear> {
    let found = match the_one(headers, &AUTHORIZATION) {
        None => Err(Unclear::Basic),
        Some(value) => match of_scheme_basic(value.as_bytes()) {
            None => Ok(None),
            Some(token) => decode(token).map(Some).ok_or(Unclear::Basic),
        },
    };
    headers.remove(AUTHORIZATION);
    found
}

fn of_scheme_basic(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(5)?;
    let is_basic = scheme.eq_ignore_ascii_case(b"basic");
    (is_basic && token.first().is_none_or(|byte| *byte == b' ')).then(|| token.trim_ascii())
}

fn decode(token: &[u8]) -> Option<Basic> {
    let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    if text.chars().any(char::is_control) {
        return None;
    }
    Some(Basic { user: user.to_owned(), password: password.to_owned() })
}

fn the_one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests;
