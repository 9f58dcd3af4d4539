//! Which dialect a request speaks: its content type says which it may be, its first bytes which it is.
//!
//! | content type | what it may carry |
//! |---|---|
//! | `text/xml` | XML-RPC, SOAP 1.1 |
//! | `application/soap+xml` | SOAP 1.2 |
//! | `application/xml` | XML-RPC, SOAP 1.1, SOAP 1.2 |
//! | `application/json`, `text/json`, `application/json-rpc`, `application/jsonrequest` | JSON-RPC |
//!
//! None of these can be sent by a browser's form, so a request that has no content type, or another,
//! is no call. Which version of JSON-RPC a call is of is said by the call
//! ([`jsonrpc::Item`](crate::jsonrpc::Item)).

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::encoding::{Encoding, peek};
use crate::telling::quoted;
use crate::{Dialect, Fault, FaultCode, chars, soap};

#[cfg(test)]
mod tests;

/// How far into a body its root element is looked for, in bytes. One that begins later, behind
/// comments, is taken for the first that its content type may carry.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// A content type that calls are sent with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    kind: Kind,
    charset: Option<Encoding>,
    action: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    TextXml,
    AnyXml,
    SoapXml,
    Json,
    /// What the clients of Clarens send: the answer to what cannot be read is JSON-RPC 1.0's.
    TextJson,
}

/// Every content type that calls are sent with.
const KINDS: [(&str, Kind); 7] = [
    ("text/xml", Kind::TextXml),
    ("application/xml", Kind::AnyXml),
    ("application/soap+xml", Kind::SoapXml),
    ("application/json", Kind::Json),
    ("application/json-rpc", Kind::Json),
    ("application/jsonrequest", Kind::Json),
    ("text/json", Kind::TextJson),
];

impl MediaType {
    /// Reads the value of a `Content-Type` header (RFC 9110, section 8.3.1).
    ///
    /// # Errors
    /// A fault -32600 where it is not well formed, no call is sent with it, or its `charset` is not
    /// read here. In HTTP that is status 415.
    pub fn parse(header: &str) -> Result<Self, Fault> {
        let (essence, parameters) = header.split_once(';').unwrap_or((header, ""));
        let essence = essence.trim_matches(BLANKS);
        let known = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(essence));
        let Some((_, kind)) = known else {
            let text = format!(
                "calls are not sent as {}, but as text/xml, application/soap+xml or \
                 application/json",
                quoted(&essence.to_ascii_lowercase())
            );
            return Err(refused(text));
        };
        let kind = *kind;
        let mut media = Self { kind, charset: None, action: None };
        let mut rest = parameters;
        while let Some(Parameter { name, value, behind }) = next_parameter(rest)? {
            if name.eq_ignore_ascii_case("charset") {
                media.set_charset(&value)?;
            } else if name.eq_ignore_ascii_case("action") {
                media.action = Some(value.into_owned());
            }
            rest = behind;
        }
        Ok(media)
    }

    fn set_charset(&mut self, label: &str) -> Result<(), Fault> {
        let encoding = Encoding::from_label(label);
        let encoding = encoding
            .ok_or_else(|| refused(format!("the charset {} is not read here", quoted(label))))?;
        if self.is_json() && !matches!(encoding, Encoding::Utf8 | Encoding::Ascii) {
            return Err(refused("JSON is sent in UTF-8".to_owned()));
        }
        match self.charset.replace(encoding) {
            Some(other) if other != encoding => {
                Err(refused("the content type has two charsets".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn is_json(&self) -> bool {
        matches!(self.kind, Kind::Json | Kind::TextJson)
    }

    /// What the body is said to be in.
    #[must_use]
    pub fn charset(&self) -> Option<Encoding> {
        self.charset
    }

    /// SOAP 1.2's `action`, which stands for SOAP 1.1's SOAPAction (RFC 3902).
    #[must_use]
    pub fn action(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// The dialect of a fault that is answered before, or without, knowing what the body is.
    #[must_use]
    pub fn refused_in(&self) -> Dialect {
        match self.kind {
            Kind::TextXml | Kind::AnyXml => Dialect::XmlRpc,
            Kind::SoapXml => Dialect::Soap12,
            Kind::Json => Dialect::JsonRpc2,
            Kind::TextJson => Dialect::JsonRpc1,
        }
    }
}

/// Which reader a body is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`xmlrpc::decode_request`](crate::xmlrpc::decode_request).
    XmlRpc,
    /// [`soap::Request::read`], of version 1.1.
    Soap11,
    /// [`soap::Request::read`], of version 1.2.
    Soap12,
    /// [`jsonrpc::decode_request`](crate::jsonrpc::decode_request).
    JsonRpc,
}

/// The content type and the body contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What the caller reads, as far as can be told: what the fault is answered in.
    pub dialect: Dialect,
    /// -32600, or -32700 where the encodings contradict each other.
    pub fault: Fault,
}

/// Which reader `body` is for. A body that has no root that is known goes to the first reader that
/// its content type may mean, which says best what is wrong with it.
///
/// # Errors
/// [`Mismatch`] where the body is of a dialect that its content type does not carry.
pub fn choose(media: &MediaType, body: &[u8]) -> Result<Format, Mismatch> {
    let mismatch =
        |dialect, code, text: &str| Err(Mismatch { dialect, fault: Fault::new(code, text) });
    let head = match peek(body, media.charset.filter(|_| !media.is_json()), HEAD_BYTES_MAX) {
        Ok(head) => head,
        // JSON's reader has its own words for other encodings.
        Err(_) if media.is_json() => return Ok(Format::JsonRpc),
        Err(fault) => return Err(Mismatch { dialect: media.refused_in(), fault }),
    };
    let found = look(&head);
    let invalid = FaultCode::InvalidRequest;
    match (media.kind, found) {
        (Kind::Json | Kind::TextJson, Found::Xml | Found::Root(_) | Found::Envelope) => {
            mismatch(media.refused_in(), invalid, "the content type says JSON, the body is XML")
        }
        (Kind::Json | Kind::TextJson, Found::Json | Found::Unknown) => Ok(Format::JsonRpc),
        (_, Found::Json) => {
            mismatch(media.refused_in(), invalid, "the content type says XML, the body is JSON")
        }
        (Kind::TextXml, Found::Root(Format::Soap12)) => mismatch(
            Dialect::Soap12,
            invalid,
            "an envelope of SOAP 1.2 is sent as application/soap+xml, not as text/xml",
        ),
        (Kind::SoapXml, Found::Root(Format::Soap11)) => mismatch(
            Dialect::Soap11,
            invalid,
            "an envelope of SOAP 1.1 is sent as text/xml, not as application/soap+xml",
        ),
        (Kind::SoapXml, Found::Root(Format::XmlRpc)) => mismatch(
            Dialect::Soap12,
            invalid,
            "a call of XML-RPC is sent as text/xml, not as application/soap+xml",
        ),
        (_, Found::Root(format)) => Ok(format),
        (Kind::SoapXml, Found::Xml | Found::Envelope | Found::Unknown) => Ok(Format::Soap12),
        (_, Found::Envelope) => Ok(Format::Soap11),
        (_, Found::Xml | Found::Unknown) => Ok(Format::XmlRpc),
    }
}

/// What a body looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Json,
    /// XML, and nothing that is known.
    Xml,
    Root(Format),
    /// An envelope of no version that is known: SOAP's reader has a fault for that.
    Envelope,
    Unknown,
}

fn look(head: &str) -> Found {
    match chars::trim_start(head).as_bytes().first() {
        Some(b'{' | b'[') => Found::Json,
        // Nearly every call begins so: no reader is made for it.
        Some(b'<') if begins_with_a_call(head) => Found::Root(Format::XmlRpc),
        Some(b'<') => root(head),
        _ => Found::Unknown,
    }
}

/// Whether `<methodCall>` is the first thing, or stands right behind an XML declaration.
fn begins_with_a_call(head: &str) -> bool {
    let behind = match head.strip_prefix("<?xml ") {
        Some(declaration) => declaration.split_once("?>").map(|(_, behind)| behind),
        None => Some(head),
    };
    behind.is_some_and(|behind| chars::trim_start(behind).starts_with("<methodCall>"))
}

fn root(head: &str) -> Found {
    let mut reader = Reader::from_str(head);
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag) | Event::Empty(tag)) => return root_of(&tag),
            Ok(Event::Text(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_)) => {}
            Ok(_) | Err(_) => return Found::Xml,
        }
    }
}

fn root_of(tag: &BytesStart<'_>) -> Found {
    let name = tag.name().0;
    if name == "methodCall" {
        return Found::Root(Format::XmlRpc);
    }
    let (declaration, local) = match name.split_once(':') {
        None => ("xmlns".to_owned(), name),
        Some((prefix, local)) => (format!("xmlns:{prefix}"), local),
    };
    if local != "Envelope" {
        return Found::Xml;
    }
    let mut attributes = tag.attributes().take(crate::xmlrpc::ATTRIBUTES_MAX).flatten();
    let namespace = attributes.find(|attribute| attribute.key.0 == declaration);
    match namespace.as_ref().map(|attribute| &*attribute.value) {
        Some(soap::ENVELOPE_11) => Found::Root(Format::Soap11),
        Some(soap::ENVELOPE_12) => Found::Root(Format::Soap12),
        _ => Found::Envelope,
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

fn refused(text: String) -> Fault {
    Fault::new(FaultCode::InvalidRequest, text)
}

/// A parameter of a content type.
struct Parameter<'a> {
    name: &'a str,
    value: Cow<'a, str>,
    /// What follows it.
    behind: &'a str,
}

/// The next parameter of a content type (RFC 9110, section 5.6.6); `None` at the end.
fn next_parameter(text: &str) -> Result<Option<Parameter<'_>>, Fault> {
    let wrong = || refused("the content type is not well formed".to_owned());
    let text = text.trim_start_matches([' ', '\t', ';']);
    if text.is_empty() {
        return Ok(None);
    }
    let (name, behind) = text.split_once('=').ok_or_else(wrong)?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(wrong());
    }
    let (value, behind) = match behind.strip_prefix('"') {
        Some(quoted) => {
            let (value, behind) = quoted_string(quoted).ok_or_else(wrong)?;
            (Cow::Owned(value), behind)
        }
        None => {
            let end = behind.bytes().position(|byte| !is_token(byte)).unwrap_or(behind.len());
            let (value, behind) = behind.split_at(end);
            (Cow::Borrowed(value), behind)
        }
    };
    let behind = behind.trim_start_matches(BLANKS);
    if !behind.is_empty() && !behind.starts_with(';') {
        return Err(wrong());
    }
    Ok(Some(Parameter { name, value, behind }))
}

/// A quoted string behind its opening quote, and what is behind it.
fn quoted_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
