//! What every answer has in common: a request id, a line in the access log, and that it ends the
//! connection when the server drains.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};

use crate::access_log::{AccessLog, Line};
use crate::body::{ReplyBody, Source};
use crate::drive::Drain;
use crate::pulse::{Pulse, UnderWay};

/// The header that carries the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("nesssi-request-id");

/// A visit is one connection, as far as its requests' answers and log lines need it.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) address: IpAddr,
    /// What its lines in the access log begin with.
    pub(crate) line_start: String,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) log: AccessLog,
    pub(crate) drain: Arc<Drain>,
}

impl Visit {
    /// The same connection, as far as it serves somebody else.
    pub(crate) fn of(&self, address: IpAddr, line_start: String) -> Self {
        let Self { pulse, log, drain, .. } = self;
        let (pulse, log, drain) = (Arc::clone(pulse), log.clone(), Arc::clone(drain));
        Self { address, line_start, pulse, log, drain }
    }
}

/// A request that is under way.
///
/// Not `Debug`: the target may hold a session id.
pub(crate) struct Asking {
    visit: Arc<Visit>,
    under_way: UnderWay,
    began: Instant,
    parts: Parts,
    request_id: HeaderValue,
}

impl Asking {
    /// The head of a request is read.
    pub(crate) fn begin(visit: &Arc<Visit>, request_id: &str, parts: Parts) -> Self {
        let request_id = HeaderValue::from_str(request_id);
        Self {
            under_way: visit.pulse.begin(),
            visit: Arc::clone(visit),
            began: Instant::now(),
            parts,
            request_id: request_id.unwrap_or_else(|_| HeaderValue::from_static("-")),
        }
    }

    /// The head.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The answer, on its way.
    pub(crate) fn answer(self, reply: Reply) -> Response<ReplyBody> {
        let Reply { status, mut headers, body, last } = reply;
        headers.insert(REQUEST_ID, self.request_id.clone());
        let is_http1 = self.parts.version < Version::HTTP_2;
        if is_http1 && (last || self.visit.drain.has_begun()) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let sent = Sent { asking: self, status, bytes: 0 };
        let mut response = Response::new(ReplyBody::new(body, sent));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// What a route makes of a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Source,
    /// Whether the connection is to end with it.
    pub(crate) last: bool,
}

impl Reply {
    pub(crate) fn new(status: StatusCode, body: Source) -> Self {
        Self { status, headers: HeaderMap::new(), body, last: false }
    }

    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With a header whose value was made here; one that no header can hold is left out.
    #[must_use]
    pub(crate) fn with_text(self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => self.with(name, value),
            Err(_) => self,
        }
    }

    #[must_use]
    pub(crate) fn last(mut self) -> Self {
        self.last = true;
        self
    }
}

/// An answer on its way. When it is dropped, it is logged and the request is over.
pub(crate) struct Sent {
    asking: Asking,
    status: StatusCode,
    bytes: u64,
}

impl Sent {
    /// There is something of the answer that the caller has to take.
    pub(crate) fn offers(&self) {
        self.asking.under_way.offers();
    }

    /// He has taken all that there is yet.
    pub(crate) fn waits(&self) {
        self.asking.under_way.waits();
    }

    /// Whether the answer is handed over in pieces.
    pub(crate) fn is_in_pieces(&self) -> bool {
        self.asking.under_way.is_in_pieces()
    }

    pub(crate) fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        let now = Instant::now();
        let Asking { visit, under_way, began, parts, request_id } = &mut self.asking;
        under_way.end(now);
        let header = |name| parts.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        let took = now.saturating_duration_since(*began).as_micros();
        visit.log.record(&Line {
            start: &visit.line_start,
            method: parts.method.as_str(),
            target: parts.uri.path_and_query().map_or("*", |target| target.as_str()),
            version: version_name(parts.version),
            status: self.status.as_u16(),
            bytes: self.bytes,
            referer: header(REFERER),
            agent: header(USER_AGENT),
            request_id: request_id.as_bytes(),
            micros: u64::try_from(took).unwrap_or(u64::MAX),
        });
    }
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/3.0",
    }
}
