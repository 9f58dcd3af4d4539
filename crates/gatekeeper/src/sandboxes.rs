//! The sandbox host: `GET` and `HEAD` of `/sandboxes/<session>/<path>` over plain HTTP. The API's host
//! answers `/clarens/<session>/<path>` in the same way.
//!
//! Whoever holds a session's id may read its files; whoever does not learns nothing: what is
//! absent, malformed and forbidden is answered alike. What is read was written by somebody's job,
//! so it is shown as coming from nowhere: no scripts, no cookies, no referrer, no guessed types.

mod page;
mod path;
mod range;
mod transfer;
mod validator;

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION, RANGE, REFERRER_POLICY,
    RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use nesssi_container::{FileFault, Found, Served};

use crate::answer::Reply;
use crate::body::Source;
use crate::clock::now_unix;
use crate::house::House;
use crate::wishes::Unclear;
pub(crate) use path::Asked;
use path::encode_name;
use range::Part;
pub(crate) use transfer::Readers;
use validator::{Condition, Validator};

/// Nothing that a sandbox holds may run or load anything; its pictures may be shown, its files saved.
const CONTENT_POLICY: &str = "sandbox allow-downloads; default-src 'none'; style-src \
    'unsafe-inline'; img-src 'self'; media-src 'self'; form-action 'none'; base-uri 'none'; \
    frame-ancestors 'none'";
/// The one answer for what is not there.
const NOT_FOUND: &str = "not found\n";
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The routes of the sandbox host.
#[derive(Debug)]
pub(crate) struct Sandboxes<H> {
    house: H,
    readers: Readers,
}

/// A file that was opened: what its headers and its body are made of.
struct OpenFile {
    file: std::os::fd::OwnedFd,
    account: String,
    size: u64,
    validator: Validator,
    kind: HeaderValue,
}

impl<H: House> Sandboxes<H> {
    pub(crate) fn new(house: H) -> Self {
        Self { house, readers: Readers::default() }
    }

    /// The pool that reads files.
    pub(crate) fn readers(&self) -> &Readers {
        &self.readers
    }

    /// The answer to a request that is unclear.
    pub(crate) fn refuse(unclear: Unclear) -> Reply {
        let text = Source::of(format!("{unclear}\n"));
        guarded(Reply::new(StatusCode::BAD_REQUEST, text).with(CONTENT_TYPE, PLAIN).last())
    }

    /// Answers one request, which came from this address.
    pub(crate) async fn answer(&self, parts: &Parts, address: IpAddr, request_id: &str) -> Reply {
        let asked = Asked::parse(parts.uri.path());
        self.answer_about(asked.as_ref(), parts, address, request_id).await
    }

    /// The same for what is asked for; `None` is what no sandbox can hold.
    pub(crate) async fn answer_about(
        &self,
        asked: Option<&Asked>,
        parts: &Parts,
        address: IpAddr,
        request_id: &str,
    ) -> Reply {
        let reply = match (&parts.method, asked) {
            (&Method::GET | &Method::HEAD, None) => not_found(),
            (&Method::GET | &Method::HEAD, Some(asked)) => {
                self.read(asked, parts, address, request_id).await
            }
            _ => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n")
                .with(ALLOW, HeaderValue::from_static("GET, HEAD"))
                .last(),
        };
        let reply = if parts.method == Method::HEAD { without_body(reply) } else { reply };
        guarded(reply)
    }

    async fn read(&self, asked: &Asked, parts: &Parts, address: IpAddr, request_id: &str) -> Reply {
        match self.house.open(&asked.session, &asked.path).await {
            Ok(Found::Directory { entries, cut }) if asked.slash => {
                directory(asked, &parts.headers, &entries, cut)
            }
            Ok(Found::Directory { .. }) => with_slash(asked, parts.uri.query()),
            Ok(Found::File { .. }) if asked.slash => not_found(),
            Ok(Found::File { file, size, modified, modified_nanos, inode, account }) => {
                let validator = Validator::of(inode, size, modified, modified_nanos, now_unix());
                let kind = content_type(&String::from_utf8_lossy(asked.last_name()));
                let open = OpenFile { file, account, size, validator, kind };
                let reply = if wants_follow(parts.uri.query()) {
                    self.follow(asked, parts, open).await
                } else {
                    self.send(&parts.headers, open)
                };
                self.house.served(&Served {
                    session: &asked.session,
                    path: &asked.path,
                    address,
                    request_id,
                    status: reply.status.as_u16(),
                    bytes: if parts.method == Method::HEAD { Some(0) } else { length(&reply) },
                });
                reply
            }
            Err(fault) => failed(fault),
        }
    }

    fn send(&self, headers: &HeaderMap, open: OpenFile) -> Reply {
        let OpenFile { file, account, size, validator, kind } = open;
        match validator.judge(headers) {
            Condition::Send => {}
            Condition::NotModified => {
                return versioned(Reply::new(StatusCode::NOT_MODIFIED, Source::EMPTY), &validator);
            }
            Condition::Failed => {
                return plain(StatusCode::PRECONDITION_FAILED, "another version is there now\n");
            }
        }
        let asked = headers.get(RANGE).and_then(|value| value.to_str().ok());
        let part = match asked {
            Some(range) if validator.allows_range(headers) => Part::of(range, size),
            _ => Part::Whole,
        };
        let (status, first, length) = match part {
            Part::Whole => (StatusCode::OK, 0, size),
            Part::Slice { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
            Part::Unsatisfiable => {
                return plain(StatusCode::RANGE_NOT_SATISFIABLE, "the range lies outside\n")
                    .with_text(CONTENT_RANGE, &format!("bytes */{size}"));
            }
        };
        let body = self.readers.send(&account, Arc::new(file), first, length);
        let reply = versioned(Reply::new(status, body), &validator)
            .with(CONTENT_TYPE, kind)
            .with(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        match part {
            Part::Slice { first, last } => {
                reply.with_text(CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"))
            }
            Part::Whole | Part::Unsatisfiable => reply,
        }
    }

    async fn follow(&self, asked: &Asked, parts: &Parts, open: OpenFile) -> Reply {
        let OpenFile { file, account, kind, .. } = open;
        let body = if parts.method == Method::HEAD {
            Source::EMPTY
        } else {
            let growth = match self.house.follow(&asked.session, &asked.path).await {
                Ok(growth) => growth,
                Err(fault) => return failed(fault),
            };
            match self.readers.follow(&account, file, follow_from(parts.uri.query()), growth) {
                Some(body) => body,
                None => return failed(FileFault::Unavailable),
            }
        };
        Reply::new(StatusCode::OK, body)
            .with(CONTENT_TYPE, kind)
            .with(CACHE_CONTROL, HeaderValue::from_static("private, no-store"))
    }
}

/// What every answer says that holds what somebody's job has written.
pub(crate) fn guarded(reply: Reply) -> Reply {
    let cached = reply.headers.contains_key(CACHE_CONTROL);
    let reply = reply
        .with(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .with(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY))
        .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if cached {
        reply
    } else {
        reply.with(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))
    }
}

/// The answer to `HEAD`: the headers that `GET` would have, and the length.
fn without_body(reply: Reply) -> Reply {
    let length = length(&reply);
    let reply = Reply { body: Source::EMPTY, ..reply };
    match length {
        Some(length) => reply.with(CONTENT_LENGTH, length.into()),
        None => reply,
    }
}

/// The bytes of an answer's body, where that is known beforehand.
fn length(reply: &Reply) -> Option<u64> {
    match &reply.body {
        Source::Full(Some(bytes)) => u64::try_from(bytes.len()).ok(),
        Source::Stream { left, .. } => *left,
        Source::Full(None) => None,
    }
}

fn versioned(reply: Reply, validator: &Validator) -> Reply {
    reply.with_text(ETAG, &validator.etag).with_text(LAST_MODIFIED, &validator.last_modified)
}

fn directory(
    asked: &Asked,
    headers: &HeaderMap,
    entries: &[nesssi_container::DirectoryEntry],
    cut: bool,
) -> Reply {
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, text) = if accepts.contains("application/json") {
        (JSON, page::json(entries, cut))
    } else {
        (HTML, page::html(asked, entries, cut))
    };
    Reply::new(StatusCode::OK, Source::of(text))
        .with(CONTENT_TYPE, kind)
        .with(VARY, HeaderValue::from_static("accept"))
}

/// A directory's links are relative to it, so its address has to end in `/`. The way there is
/// relative too: it is right whatever host and port the request came through.
fn with_slash(asked: &Asked, query: Option<&str>) -> Reply {
    let mut location = format!("./{}/", encode_name(asked.last_name()));
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    plain(StatusCode::MOVED_PERMANENTLY, "a directory's address ends in /\n")
        .with_text(LOCATION, &location)
}

fn failed(fault: FileFault) -> Reply {
    match fault {
        FileFault::NotFound => not_found(),
        FileFault::Unavailable => plain(StatusCode::SERVICE_UNAVAILABLE, "busy: try again\n")
            .with(RETRY_AFTER, HeaderValue::from_static("2")),
    }
}

fn not_found() -> Reply {
    plain(StatusCode::NOT_FOUND, NOT_FOUND)
}

fn plain(status: StatusCode, text: &'static str) -> Reply {
    Reply::new(status, Source::of(text)).with(CONTENT_TYPE, PLAIN)
}

fn wants_follow(query: Option<&str>) -> bool {
    let named = |item: &str| item.split('=').next() == Some("follow");
    query.is_some_and(|query| query.split('&').any(named))
}

/// The first byte that a follower wants: one who was cut off goes on where he was.
fn follow_from(query: Option<&str>) -> u64 {
    let from = |item: &str| item.strip_prefix("from=").and_then(|from| from.parse().ok());
    query.and_then(|query| query.split('&').find_map(from)).unwrap_or_default()
}

/// The type that a name stands for. What a job prints is text, and so is what has no ending.
pub(crate) fn content_type(name: &str) -> HeaderValue {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let Some(ending) = ending else { return PLAIN };
    if matches!(ending.as_str(), "out" | "err" | "log" | "dat" | "md" | "py" | "sh" | "toml") {
        return PLAIN;
    }
    let kind = mime_guess::from_ext(&ending).first_or_octet_stream();
    let kind = if kind.type_() == "text" {
        format!("{}; charset=utf-8", kind.essence_str())
    } else {
        kind.essence_str().to_owned()
    };
    HeaderValue::from_str(&kind).unwrap_or(PLAIN)
}

#[cfg(test)]
mod tests;
