//! The API host: calls come as `POST /clarens/`, those of SOAP also as `POST /clarens/<service>`; a
//! browser that looks there sees a page, and who asks for `?wsdl` gets one. Files of a session are read and
//! written at `/clarens/<session>/<path>`.

mod dialect;
mod heavy;
mod page;
mod upload;
mod wsdl;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderMap, ORIGIN, REFERRER_POLICY, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use nesssi_config::Config;
use nesssi_container::Caller;
use nesssi_identity::Peer;
use nesssi_rpc::{Bounds, Fault, FaultCode, MethodName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::answer::Reply;
use crate::body::Source;
use crate::house::House;
use crate::sandboxes::{self, Sandboxes};
use crate::wishes::Unclear;
use dialect::{Asked, Manner, Unknown};
use heavy::Heavy;
use upload::Writers;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Bodies over this many bytes are parsed on a blocking thread and share [`BODIES_KIB_MAX`].
const LARGE_BODY_BYTES: usize = 64 * 1024;
/// What all large bodies together may hold in memory, in KiB, if one of the greatest length fits.
const BODIES_KIB_MAX: usize = 256 * 1024;
/// What is left of a refused body is read away for so long and so far, for the caller to hear the
/// refusal: a connection closed with unread bytes is reset, and the answer may be lost.
const LINGER_SECONDS_MAX: u64 = 10;
const LINGER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The routes of the API host.
#[derive(Debug)]
pub(crate) struct Clarens<H> {
    house: H,
    /// Where files are read.
    sandboxes: Arc<Sandboxes<H>>,
    writers: Writers,
    body_bytes_max: usize,
    body_patience: Duration,
    bounds: Bounds,
    origin: String,
    /// What the addresses of services begin with.
    address: String,
    bodies: Arc<Semaphore>,
    bodies_kib: u32,
    heavy: Heavy,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'p> {
    /// All services.
    Container,
    /// One service, for SOAP.
    Service(&'p str),
}

impl<'p> Place<'p> {
    fn of(path: &'p str) -> Option<Self> {
        match path {
            "/clarens/" | "/clarens" => Some(Self::Container),
            _ => {
                let name = path.strip_prefix("/clarens/")?;
                // A service's name is spelt like a method's.
                MethodName::parse(name).is_ok().then_some(Self::Service(name))
            }
        }
    }

    fn service(self) -> Option<&'p str> {
        match self {
            Self::Container => None,
            Self::Service(name) => Some(name),
        }
    }
}

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq)]
enum BodyError {
    /// So many bytes were announced, or more than the limit came.
    TooLong(Option<u64>),
    /// Not in time.
    Slow,
    /// The caller went away or does not speak HTTP.
    Broken,
    /// Too many large bodies at one time.
    Crowded,
}

impl<H: House> Clarens<H> {
    pub(crate) fn new(house: H, sandboxes: Arc<Sandboxes<H>>, config: &Config) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let body_bytes_max = count(config.bounds.body_bytes_max);
        let bodies_kib = BODIES_KIB_MAX.max(body_bytes_max / 1024 + 1).min(Semaphore::MAX_PERMITS);
        Self {
            house,
            sandboxes,
            writers: Writers::default(),
            body_bytes_max,
            body_patience: Duration::from_secs(u64::from(config.bounds.body_seconds_max)),
            bounds: Bounds {
                depth_max: count(u64::from(config.bounds.xml_depth_max)),
                elements_max: count(u64::from(config.bounds.xml_elements_max)),
                calls_max: count(u64::from(config.bounds.calls_max)),
                ..Bounds::default()
            },
            origin: origin_of(&config.server.base_url),
            address: format!("{}/clarens/", config.server.base_url),
            bodies: Arc::new(Semaphore::new(bodies_kib)),
            bodies_kib: u32::try_from(bodies_kib).unwrap_or(u32::MAX),
            heavy: Heavy::default(),
        }
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, caller: Caller, parts: &Parts, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Send,
    {
        if let Some(asked) = sandboxes::Asked::parse_api(parts.uri.path()) {
            return self.file(&caller, asked.as_ref(), parts, body).await;
        }
        let Some(place) = Place::of(parts.uri.path()) else {
            return plain(StatusCode::NOT_FOUND, "not found: calls go to /clarens/\n").last();
        };
        match parts.method {
            Method::POST => self.post(caller, place, parts, body).await,
            Method::GET | Method::HEAD => self.get(&caller, place, parts).await,
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and POST\n")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD, POST"))
                .last(),
        }
    }

    /// Answers a request for a file of a session.
    async fn file<B>(
        &self,
        caller: &Caller,
        asked: Option<&sandboxes::Asked>,
        parts: &Parts,
        body: B,
    ) -> Reply
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Send,
    {
        match (&parts.method, &*caller.peer) {
            (&Method::PUT, _) => Box::pin(self.put(caller, asked, parts, body)).await,
            // Who shows a credential that fails is nobody, though he hold the id.
            (&Method::GET | &Method::HEAD, Peer::Refused(refusal)) => {
                plain(StatusCode::FORBIDDEN, format!("{refusal}\n"))
            }
            (&Method::GET | &Method::HEAD, _) => {
                let (address, request_id) = (caller.address, &caller.request_id);
                self.sandboxes.answer_about(asked, parts, address, request_id).await
            }
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and PUT\n")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD, PUT"))
                .last(),
        }
    }

    /// Refuses a request for what its head asks for.
    pub(crate) fn refuse<B>(&self, unclear: Unclear, parts: &Parts, body: B) -> Reply
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Send,
    {
        tokio::spawn(read_away(body));
        let service = Place::of(parts.uri.path()).and_then(Place::service);
        let manner = match (unclear, &parts.method) {
            (Unclear::Basic | Unclear::ClientTag, &Method::POST) => {
                Manner::of(&parts.headers, service).ok()
            }
            (Unclear::Basic | Unclear::Account | Unclear::ClientTag | Unclear::Host, _) => None,
        };
        let code = match unclear {
            Unclear::Basic => FaultCode::NoCredential,
            Unclear::Account | Unclear::ClientTag | Unclear::Host => FaultCode::InvalidRequest,
        };
        let reply = match manner {
            Some(manner) => manner.refuse(&Fault::new(code, unclear.to_string())),
            None => plain(StatusCode::BAD_REQUEST, format!("{unclear}\n")),
        };
        reply.last()
    }

    async fn post<B>(&self, caller: Caller, place: Place<'_>, parts: &Parts, mut body: B) -> Reply
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Send,
    {
        let manner = match self.manner(&parts.headers, place) {
            Ok(manner) => manner,
            Err(refusal) => {
                tokio::spawn(read_away(body));
                return refusal.last();
            }
        };
        let reply = match self.read(&parts.headers, &mut body).await {
            Ok((bytes, _held)) => {
                return ended_after_chunks(&parts.headers, self.call(caller, manner, bytes).await);
            }
            Err(BodyError::TooLong(length)) => manner.refuse(&self.too_long(length)),
            Err(BodyError::Crowded) => {
                let text = "too many large requests: try again";
                manner.refuse(&Fault::new(FaultCode::Unavailable, text))
            }
            Err(BodyError::Slow) => {
                plain(StatusCode::REQUEST_TIMEOUT, "the request's body did not come in time\n")
            }
            Err(BodyError::Broken) => {
                plain(StatusCode::BAD_REQUEST, "the request's body did not come\n")
            }
        };
        tokio::spawn(read_away(body));
        reply.last()
    }

    /// What its headers say of a request.
    ///
    /// # Errors
    /// The answer to what is refused by them alone.
    fn manner(&self, headers: &HeaderMap, place: Place<'_>) -> Result<Manner, Box<Reply>> {
        let unsupported = |text: String| Box::new(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        let manner = Manner::of(headers, place.service())
            .map_err(|Unknown(text)| unsupported(format!("{text}\n")))?;
        if self.is_of_another_page(headers) {
            let text = "calls from pages of other origins are refused";
            let reply = manner.refuse(&Fault::new(FaultCode::Refused, text));
            return Err(Box::new(Reply { status: StatusCode::FORBIDDEN, ..reply }));
        }
        let encodings = headers.get_all(CONTENT_ENCODING);
        if !encodings.iter().all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(unsupported("compressed requests are not taken\n".to_owned()));
        }
        Ok(manner)
    }

    /// Whether a browser sends this for a page that is not ours.
    fn is_of_another_page(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        !origins.all(|origin| origin.as_bytes() == self.origin.as_bytes())
    }

    /// The whole body, and the place it holds among the large ones.
    async fn read<B>(
        &self,
        headers: &HeaderMap,
        body: &mut B,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.and_then(|text| text.parse::<u64>().ok());
        let expected = match length {
            Some(length) => usize::try_from(length).ok().filter(|l| *l <= self.body_bytes_max),
            None => Some(self.body_bytes_max),
        };
        let Some(expected) = expected else { return Err(BodyError::TooLong(length)) };
        let held =
            if expected > LARGE_BODY_BYTES { Some(self.place(expected).await?) } else { None };
        let mut reading = pin!(collect(body, self.body_bytes_max));
        // A body that has come with its head needs no timer.
        let at_once = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
        let read = match at_once {
            Poll::Ready(read) => read,
            Poll::Pending => {
                let read = tokio::time::timeout(self.body_patience, reading).await;
                read.unwrap_or(Err(BodyError::Slow))
            }
        };
        Ok((read?, held))
    }

    /// A place for a large body, as soon as there is one.
    async fn place(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.bodies_kib);
        let place = Arc::clone(&self.bodies).acquire_many_owned(kib);
        match tokio::time::timeout(self.body_patience, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(BodyError::Crowded),
        }
    }

    async fn call(&self, caller: Caller, manner: Manner, body: Bytes) -> Reply {
        let refused = manner.clone();
        match self.parse(&caller, manner, body).await {
            Ok(asked) => {
                let peer = Arc::clone(&caller.peer);
                let reply = asked.answer(&self.house, self.sandboxes.readers(), caller).await;
                self.heavy.hold(&peer, reply).unwrap_or_else(|fault| refused.refuse(&fault))
            }
            Err(refusal) => *refusal,
        }
    }

    async fn parse(
        &self,
        caller: &Caller,
        manner: Manner,
        body: Bytes,
    ) -> Result<Asked, Box<Reply>> {
        let bounds = self.bounds;
        if body.len() <= LARGE_BODY_BYTES {
            return manner.read(&self.house, caller, &body, &bounds).await;
        }
        let (house, caller) = (self.house.clone(), caller.clone());
        let refused = manner.clone();
        let runtime = tokio::runtime::Handle::current();
        let parsing = tokio::task::spawn_blocking(move || {
            runtime.block_on(manner.read(&house, &caller, &body, &bounds))
        });
        parsing.await.unwrap_or_else(|error| {
            tracing::error!(%error, "parsing a call failed");
            Err(Box::new(refused.refuse(&Fault::new(FaultCode::Internal, "internal error"))))
        })
    }

    fn too_long(&self, length: Option<u64>) -> Fault {
        let limit = self.body_bytes_max;
        let text = match length {
            Some(length) => format!("a request of {length} bytes, the limit is {limit}"),
            None => format!("a request of more than {limit} bytes, which is the limit"),
        };
        Fault::new(FaultCode::OverLimit, text)
    }

    async fn get(&self, caller: &Caller, place: Place<'_>, parts: &Parts) -> Reply {
        let head = parts.method == Method::HEAD;
        if wsdl::is_asked_for(parts.uri.query()) {
            let only = place.service();
            let offers = self.house.offers(caller, only).await;
            let text = offers.map(|offers| wsdl::render(offers, only.is_some(), &self.address));
            return wsdl::reply(text, head);
        }
        match place {
            Place::Container => self.page(caller, head).await,
            Place::Service(_) => {
                let text = "a service is called with POST; ?wsdl describes it\n";
                plain(StatusCode::NOT_FOUND, text)
            }
        }
    }

    async fn page(&self, caller: &Caller, head: bool) -> Reply {
        let (status, text) = match page::list_call() {
            Some(call) => page::html(&self.house.call(caller, call).await.reply),
            None => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        };
        let length = u64::try_from(text.len()).unwrap_or(0);
        let body = if head { Source::EMPTY } else { Source::of(text) };
        let policy = HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; \
             frame-ancestors 'none'",
        );
        Reply::new(status, body)
            .with(CONTENT_TYPE, HTML)
            .with(CONTENT_LENGTH, length.into())
            .with(CONTENT_SECURITY_POLICY, policy)
            .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
            .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }
}

/// All of a body, or an error as soon as it is longer than `bytes_max`.
async fn collect<B>(body: &mut B, bytes_max: usize) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Ok(bytes) = frame.into_data() else { continue };
        if bytes.len() > bytes_max - gathered.len() {
            return Err(BodyError::TooLong(None));
        }
        if gathered.is_empty() && body.is_end_stream() {
            return Ok(bytes);
        }
        gathered.extend_from_slice(&bytes);
    }
    Ok(gathered.freeze())
}

/// Reads what is left of a refused body, within bounds.
async fn read_away<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let reading = async {
        let mut left = LINGER_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
            if left == 0 {
                return;
            }
        }
    };
    let _in_time = tokio::time::timeout(Duration::from_secs(LINGER_SECONDS_MAX), reading).await;
}

/// A request in chunks ends its connection: whoever stands between us and the caller and saw its
/// end elsewhere finds no second request answered (RFC 9112, section 11.2).
fn ended_after_chunks(headers: &HeaderMap, reply: Reply) -> Reply {
    if headers.contains_key(TRANSFER_ENCODING) { reply.last() } else { reply }
}

/// Scheme, host and port of an address: what a browser sends as `Origin` from our own pages.
fn origin_of(base_url: &str) -> String {
    let authority = base_url.find("://").map_or(0, |at| at + 3);
    let tail = base_url.get(authority..).unwrap_or_default();
    let end = tail.find('/').map_or(base_url.len(), |at| authority + at);
    let origin = base_url.get(..end).unwrap_or(base_url).to_ascii_lowercase();
    origin.strip_suffix(":443").map_or(origin.clone(), str::to_owned)
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    Reply::new(status, Source::of(text)).with(CONTENT_TYPE, PLAIN)
}

#[cfg(test)]
mod tests;
