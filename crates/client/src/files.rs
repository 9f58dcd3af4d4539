//! The files of a sandbox, over the plain file route.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, HeaderName, HeaderValue,
    IF_RANGE, RANGE, USER_AGENT,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use nesssi_rpc::{Fault, FaultCode};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::client::{AGENT, Client, host_header, unreadable};
use crate::connection::{Pool, Sender, whole};
use crate::error::{Error, TransportError};
use crate::url::Url;

/// The longest wait for the head of an answer.
const HEAD_SECONDS_MAX: u64 = 60;
/// The longest wait for the next bytes of a file.
pub(crate) const IDLE_SECONDS_MAX: u64 = 60;
/// The largest directory page that is read.
const LISTING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a directory of a sandbox holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// In the server's order.
    pub entries: Vec<Entry>,
    /// Whether there are more than the server lists.
    #[serde(default)]
    pub cut: bool,
}

/// One file or directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name, without any `/`.
    pub name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// When it was changed last, in Unix seconds.
    #[serde(default)]
    pub modified: i64,
}

/// A file that is being received.
#[derive(Debug)]
pub struct File {
    /// Bytes to come, if the server says so; a file that is followed has no length.
    pub length: Option<u64>,
    /// Its media type, if the server says so.
    pub content_type: Option<String>,
    /// Where in the file this begins.
    pub offset: u64,
    /// The entity tag of this version, if it has one by which a download can be resumed.
    pub(crate) version: Option<String>,
    address: String,
    body: Incoming,
    _connection: Sender,
}

impl File {
    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`TransportError::Http`] where the file breaks off, [`TransportError::Deadline`] where nothing
    /// comes for a minute.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let frame = timeout(Duration::from_secs(IDLE_SECONDS_MAX), self.body.frame()).await;
            let frame = frame.map_err(|_| {
                let (address, seconds) = (self.address.clone(), IDLE_SECONDS_MAX);
                TransportError::Deadline { address, what: "more of the file", seconds }
            })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(source)) => {
                    let address = self.address.clone();
                    return Err(TransportError::Http { address, source }.into());
                }
            }
        }
    }
}

/// What is wanted of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// All that is there.
    Whole,
    /// What is there and what comes, from a byte on.
    Follow(u64),
    /// From a byte on, if the file is still of the version that is given; else all of it.
    Rest(u64, String),
    /// So many bytes of its end.
    Last(u64),
}

/// What the server has of that.
#[derive(Debug)]
pub(crate) enum Got {
    File(File),
    /// The file ends before what is wanted; it has so many bytes.
    Beyond(u64),
}

/// The sandbox of one session on the host of files.
#[derive(Debug)]
pub(crate) struct Place {
    url: Url,
    pool: Pool,
}

impl Place {
    /// The certificate is not shown to that host.
    pub(crate) fn new(client: &Client, url: &str) -> Result<Self, Error> {
        let url = Url::parse(url)?;
        let pool = client.files_pool(&url);
        Ok(Self { url, pool })
    }

    pub(crate) async fn list(&self, path: &str) -> Result<Listing, Error> {
        let url = self.url.below(path, true)?;
        let file = match self.get(&url, "application/json", &Part::Whole).await? {
            Got::File(file) => file,
            Got::Beyond(_) => {
                return Err(refusal(self.address(), StatusCode::RANGE_NOT_SATISFIABLE));
            }
        };
        let kind = file.content_type.as_deref().unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err(unreadable(file.address, "not a directory page in JSON").into());
        }
        let collected = Limited::new(file.body, LISTING_BYTES_MAX).collect();
        let collected = timeout(Duration::from_secs(HEAD_SECONDS_MAX), collected).await;
        let body = collected
            .map_err(|_| unreadable(self.address(), "the list does not come to its end"))?
            .map_err(|_| unreadable(self.address(), "the list breaks off"))?;
        let listing = serde_json::from_slice(&body.to_bytes())
            .map_err(|error| unreadable(self.address(), &error.to_string()))?;
        Ok(listing)
    }

    pub(crate) async fn open(&self, path: &str, part: &Part) -> Result<Got, Error> {
        let url = self.url.below(path, false)?;
        self.get(&url, "*/*", part).await
    }

    fn address(&self) -> String {
        self.url.origin.authority()
    }

    async fn get(&self, url: &Url, accept: &'static str, part: &Part) -> Result<Got, Error> {
        let address = self.address();
        let mut request = Request::new(whole(Bytes::new()));
        let query = match part {
            Part::Follow(0) => "?follow".to_owned(),
            Part::Follow(from) => format!("?follow&from={from}"),
            Part::Whole | Part::Rest(..) | Part::Last(_) => String::new(),
        };
        *request.uri_mut() = format!("{}{query}", url.path)
            .parse()
            .map_err(|_| unreadable(address.clone(), "the address of the sandbox"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host_header(&address)?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        put_part(headers, part);
        let sent = Box::pin(self.pool.send(request));
        let sent = timeout(Duration::from_secs(HEAD_SECONDS_MAX), sent).await;
        let (response, sender) = sent.unwrap_or_else(|_| {
            let (what, seconds) = ("answer", HEAD_SECONDS_MAX);
            Err(TransportError::Deadline { address: address.clone(), what, seconds })
        })?;
        let text = |name: HeaderName| response.headers().get(name).and_then(|v| v.to_str().ok());
        let range = text(CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
        let offset = match (response.status(), part) {
            (StatusCode::OK, Part::Follow(from)) => *from,
            (StatusCode::OK, _) => 0,
            (StatusCode::PARTIAL_CONTENT, Part::Rest(..) | Part::Last(_)) => range
                .and_then(|range| range.split_once('-')?.0.parse().ok())
                .ok_or_else(|| unreadable(address.clone(), "a part without its place"))?,
            (StatusCode::RANGE_NOT_SATISFIABLE, Part::Rest(..) | Part::Last(_)) => {
                let size = range.and_then(|range| range.strip_prefix("*/")?.parse().ok());
                let size = size.ok_or_else(|| unreadable(address, "a part without its place"))?;
                return Ok(Got::Beyond(size));
            }
            (status, _) => return Err(refusal(address, status)),
        };
        let strong = |tag: &&str| tag.starts_with('"');
        Ok(Got::File(File {
            length: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            content_type: text(CONTENT_TYPE).map(str::to_owned),
            offset,
            version: text(ETAG).filter(strong).map(str::to_owned),
            address,
            body: response.into_body(),
            _connection: sender,
        }))
    }
}

fn put_part(headers: &mut HeaderMap, part: &Part) {
    let range = match part {
        Part::Whole | Part::Follow(_) => return,
        Part::Rest(from, _) => format!("bytes={from}-"),
        Part::Last(count) => format!("bytes=-{count}"),
    };
    if let (Part::Rest(_, version), Ok(range)) = (part, HeaderValue::try_from(&range))
        && let Ok(version) = HeaderValue::try_from(version)
    {
        headers.insert(RANGE, range);
        headers.insert(IF_RANGE, version);
    } else if let (Part::Last(_), Ok(range)) = (part, HeaderValue::try_from(&range)) {
        headers.insert(RANGE, range);
    }
}

/// The file route answers with statuses, whose numbers are those of the faults.
fn refusal(address: String, status: StatusCode) -> Error {
    if !status.is_client_error() && !status.is_server_error() {
        return TransportError::Status { address, status }.into();
    }
    let code = FaultCode::from_number(i64::from(status.as_u16()));
    let text = match code {
        FaultCode::NotFound => "no such session or file",
        _ => status.canonical_reason().unwrap_or("refused"),
    };
    Fault::new(code, text).into()
}
