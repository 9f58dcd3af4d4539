//! The dialects of calls, as HTTP carries them: which one a request speaks, how its body becomes
//! calls, and how what they come to is answered.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};
use nesssi_container::{Answer, Caller, CallsBudget, RawFile};
use nesssi_rpc::jsonrpc::{self, Item, Shape};
use nesssi_rpc::soap::{self, Endpoint, Reason, Refusal, ReplyForm, Signature};
use nesssi_rpc::xmlrpc;
use nesssi_rpc::{
    Bounds, Call, Dialect, Fault, FaultCode, Format, MediaType, Mismatch, Reply as Outcome, choose,
};

use crate::answer::Reply;
use crate::body::Source;
use crate::house::House;
use crate::sandboxes::{Readers, content_type, guarded};

/// The header that names the sandbox of the session that a call made.
const SESSION_URL: HeaderName = HeaderName::from_static("nesssi-session-url");
/// The header of an answer that was kept from when the call was sent before.
const ANSWER: HeaderName = HeaderName::from_static("nesssi-answer");
const AGAIN: HeaderValue = HeaderValue::from_static("again");
const SOAP_ACTION: HeaderName = HeaderName::from_static("soapaction");
pub(super) const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");
const APPLICATION_XML: HeaderValue = HeaderValue::from_static("application/xml");
const SOAP_12: HeaderValue = HeaderValue::from_static("application/soap+xml; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What the clients of Clarens send and read.
const TEXT_JSON: HeaderValue = HeaderValue::from_static("text/json; charset=utf-8");

/// What the head of a request says of its body.
#[derive(Debug, Clone)]
pub(super) struct Manner {
    media: MediaType,
    /// The SOAPAction header.
    action: Option<String>,
    /// The service to whose own address it is sent.
    service: Option<String>,
}

/// The head of a request says nothing of its body that is understood here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) String);

/// A request that is read, and how it is answered.
#[derive(Debug)]
pub(super) enum Asked {
    XmlRpc(xmlrpc::Request),
    JsonRpc(jsonrpc::Request, HeaderValue),
    Soap(Box<SoapCall>),
}

#[derive(Debug)]
pub(super) struct SoapCall {
    call: Call,
    form: ReplyForm,
    signatures: Vec<Signature>,
}

impl Manner {
    /// Reads a head.
    ///
    /// # Errors
    /// [`Unknown`] where calls are not sent so.
    pub(super) fn of(headers: &HeaderMap, service: Option<&str>) -> Result<Self, Unknown> {
        let unknown = |text: &str| Unknown(text.to_owned());
        let kind = the_one(headers, &CONTENT_TYPE)
            .map_err(|()| unknown("a call has one content type"))?
            .ok_or_else(|| unknown("a call has a content type, such as text/xml"))?;
        let media = MediaType::parse(kind).map_err(|fault| Unknown(fault.text))?;
        let action = the_one(headers, &SOAP_ACTION)
            .map_err(|()| unknown("a call has one SOAPAction at most"))?;
        Ok(Self { media, action: action.map(str::to_owned), service: service.map(str::to_owned) })
    }

    /// The answer to a request whose body was not read.
    pub(super) fn refuse(&self, fault: &Fault) -> Reply {
        let dialect = match self.media.refused_in() {
            Dialect::XmlRpc if self.action.is_some() || self.service.is_some() => Dialect::Soap11,
            other => other,
        };
        self.refuse_in(dialect, fault)
    }

    fn refuse_in(&self, dialect: Dialect, fault: &Fault) -> Reply {
        let json = |version| answered(jsonrpc::encode_refusal(version, fault), self.json());
        let soap =
            |version| refused(&Refusal { version, reason: Reason::Other, fault: fault.clone() });
        match dialect {
            Dialect::XmlRpc => answered(xmlrpc::encode_reply(&Err(fault.clone())), XML),
            Dialect::JsonRpc1 => json(jsonrpc::Version::V1),
            Dialect::JsonRpc2 => json(jsonrpc::Version::V2),
            Dialect::Soap11 => soap(soap::Version::Soap11),
            Dialect::Soap12 => soap(soap::Version::Soap12),
        }
    }

    /// The content type of an answer in JSON.
    fn json(&self) -> HeaderValue {
        if self.media.refused_in() == Dialect::JsonRpc1 { TEXT_JSON } else { JSON }
    }

    /// Reads a body. SOAP's parameters cannot be read without the method's signatures, which `house`
    /// knows.
    ///
    /// # Errors
    /// The answer to what is no call.
    pub(super) async fn read<H: House>(
        &self,
        house: &H,
        caller: &Caller,
        body: &[u8],
        bounds: &Bounds,
    ) -> Result<Asked, Box<Reply>> {
        let format = choose(&self.media, body)
            .map_err(|Mismatch { dialect, fault }| Box::new(self.refuse_in(dialect, &fault)))?;
        let version = match format {
            Format::XmlRpc | Format::JsonRpc if self.service.is_some() => {
                return Err(Box::new(self.only_soap(format)));
            }
            Format::XmlRpc => {
                let request = xmlrpc::decode_request(body, self.media.charset(), bounds);
                let refuse = |fault| Box::new(self.refuse_in(Dialect::XmlRpc, &fault));
                return request.map(Asked::XmlRpc).map_err(refuse);
            }
            Format::JsonRpc => {
                let request = jsonrpc::decode_request(body, bounds);
                let refuse = |fault| Box::new(self.refuse_in(self.media.refused_in(), &fault));
                return request.map(|request| Asked::JsonRpc(request, self.json())).map_err(refuse);
            }
            Format::Soap11 => soap::Version::Soap11,
            Format::Soap12 => soap::Version::Soap12,
        };
        // Boxed, so that the others do not carry its room.
        Box::pin(self.read_envelope(house, caller, version, body, bounds)).await
    }

    async fn read_envelope<H: House>(
        &self,
        house: &H,
        caller: &Caller,
        version: soap::Version,
        body: &[u8],
        bounds: &Bounds,
    ) -> Result<Asked, Box<Reply>> {
        let endpoint = Endpoint {
            service: self.service.as_deref(),
            action: self.action.as_deref().or(self.media.action()),
            version: Some(version),
            charset: self.media.charset(),
        };
        let request = soap::Request::read(body, bounds, &endpoint)
            .map_err(|refusal| Box::new(refused(&refusal)))?;
        let signatures = house.signatures(caller, request.method()).await;
        let (call, form) =
            request.into_call(&signatures).map_err(|refusal| Box::new(refused(&refusal)))?;
        Ok(Asked::Soap(Box::new(SoapCall { call, form, signatures })))
    }

    fn only_soap(&self, format: Format) -> Reply {
        let text = "this is a service's address for SOAP: other calls go to /clarens/";
        let fault = Fault::new(FaultCode::InvalidRequest, text);
        let dialect =
            if format == Format::JsonRpc { self.media.refused_in() } else { Dialect::XmlRpc };
        Reply { status: StatusCode::NOT_FOUND, ..self.refuse_in(dialect, &fault) }
    }
}

impl Asked {
    /// Carries the calls out, and answers them.
    pub(super) async fn answer<H: House>(
        self,
        house: &H,
        readers: &Readers,
        caller: Caller,
    ) -> Reply {
        match self {
            Self::XmlRpc(xmlrpc::Request { call, forms }) => {
                let answer = house.call(&Caller { dialect: Dialect::XmlRpc, ..caller }, call).await;
                let reply = match &answer.raw {
                    Some(raw) => bare(raw, readers),
                    None => answered(xmlrpc::encode_reply_in(&answer.reply, forms), XML),
                };
                naming(reply, &answer)
            }
            Self::JsonRpc(request, kind) => {
                Box::pin(answer_json(house, caller, request, kind)).await
            }
            Self::Soap(asked) => Box::pin(asked.answer(house, caller)).await,
        }
    }
}

impl SoapCall {
    async fn answer<H: House>(self: Box<Self>, house: &H, caller: Caller) -> Reply {
        let Self { call, form, signatures } = *self;
        let answer = house.call(&Caller { dialect: form.version.dialect(), ..caller }, call).await;
        let (bytes, status) = soap::encode_answer(&answer.reply, &form, &signatures);
        naming(enveloped(bytes, form.version, status), &answer)
    }
}

/// Carries out the calls of a request in their order.
async fn answer_json<H: House>(
    house: &H,
    mut caller: Caller,
    jsonrpc::Request { shape, items }: jsonrpc::Request,
    kind: HeaderValue,
) -> Reply {
    if shape == Shape::Batch && caller.tag.is_some() {
        let text = "a batch has no client tag in its head: each call in it has its own, \
                    as the member nesssi_client_tag of its last parameter";
        let fault = Fault::new(FaultCode::InvalidRequest, text);
        return answered(jsonrpc::encode_refusal(jsonrpc::Version::V2, &fault), kind);
    }
    let mut budget = CallsBudget::begin();
    let (mut session, mut again) = (None, false);
    let mut answers = Vec::with_capacity(items.len());
    for Item { version, receipt, call } in items {
        caller.dialect = version.dialect();
        let outcome: Outcome = match call.and_then(|call| budget.check().map(|()| call)) {
            Ok(call) => {
                let answer = match call {
                    jsonrpc::Asked::Listed(call) => house.call(&caller, call).await,
                    jsonrpc::Asked::Named(call) => house.call_named(&caller, call).await,
                };
                (session, again) = (answer.session, answer.again);
                answer.reply
            }
            Err(fault) => Err(house.miscalled(&caller, fault).await),
        };
        if let Some(receipt) = receipt {
            budget.charge(&outcome);
            answers.push((receipt, outcome));
        }
    }
    let answers = answers.iter().map(|(receipt, outcome)| (receipt, outcome));
    match jsonrpc::encode_answer(shape, answers) {
        None => Reply::new(StatusCode::NO_CONTENT, Source::EMPTY),
        Some(bytes) => {
            let reply = answered(bytes, kind);
            // In a batch nobody could tell whose they are.
            match shape {
                Shape::One => with_facts(reply, session.as_deref(), again),
                Shape::Batch => reply,
            }
        }
    }
}

/// A part of a file, as it is. No page may show it as its own, and no cache keep it.
fn bare(raw: &RawFile, readers: &Readers) -> Reply {
    let body = readers.send(&raw.account, Arc::clone(&raw.file), raw.offset, raw.length);
    let kind = content_type(&String::from_utf8_lossy(&raw.name));
    // An answer of type `text/xml` is always a fault.
    let kind = if kind.as_bytes().starts_with(b"text/xml") { APPLICATION_XML } else { kind };
    guarded(
        Reply::new(StatusCode::OK, body)
            .with(CONTENT_TYPE, kind)
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store")),
    )
}

/// With what is told of an answer beside it.
fn naming(reply: Reply, answer: &Answer) -> Reply {
    with_facts(reply, answer.session.as_deref(), answer.again)
}

/// With the session that a call made, and whether its answer was kept.
fn with_facts(reply: Reply, session: Option<&str>, again: bool) -> Reply {
    let reply = match session {
        Some(url) => reply.with_text(SESSION_URL, url),
        None => reply,
    };
    if again { reply.with(ANSWER, AGAIN) } else { reply }
}

fn answered(bytes: Vec<u8>, kind: HeaderValue) -> Reply {
    Reply::new(StatusCode::OK, Source::of(bytes)).with(CONTENT_TYPE, kind)
}

fn refused(refusal: &Refusal) -> Reply {
    enveloped(refusal.encode(), refusal.version, refusal.status())
}

fn enveloped(bytes: Vec<u8>, version: soap::Version, status: u16) -> Reply {
    let kind = match version {
        soap::Version::Soap11 => XML,
        soap::Version::Soap12 => SOAP_12,
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Reply { status, ..answered(bytes, kind) }
}

/// The value of a header that comes once at most; an error if it is twice there, or no text.
fn the_one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ()),
        (Some(_), Some(_)) => Err(()),
    }
}
