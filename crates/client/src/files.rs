//! The files of a sandbox, over the plain file route.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use nesssi_rpc::{Fault, FaultCode, Value};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::client::{AGENT, Client, host_header, unreadable};
use crate::connection::Sender;
use crate::error::{Error, TransportError};
use crate::url::Url;

/// The longest wait for the head of an answer.
const HEAD_SECONDS_MAX: u64 = 60;
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
    /// Its length in bytes, if the server says so; a file that is followed has none.
    pub length: Option<u64>,
    /// Its media type, if the server says so.
    pub content_type: Option<String>,
    address: String,
    body: Incoming,
    _connection: Sender,
}

impl File {
    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`TransportError::Answer`] where the file breaks off.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(_)) => {
                    return Err(unreadable(self.address.clone(), "the file breaks off").into());
                }
            }
        }
    }
}

impl Client {
    /// The address of a session's sandbox, ending in `/`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn session_url(&self, session: &str) -> Result<String, Error> {
        match self.call("session.url", vec![Value::from(session)]).await? {
            Value::String(url) => Ok(url),
            other => {
                let text = format!("session.url answered a {}", other.type_name());
                Err(unreadable("the server".to_owned(), &text).into())
            }
        }
    }

    /// What the directory `path` of a session's sandbox holds; the empty path is the sandbox.
    ///
    /// # Errors
    /// A fault 404 where there is no such directory, otherwise as [`Client::call`].
    pub async fn list(&self, session: &str, path: &str) -> Result<Listing, Error> {
        let url = Url::parse(&self.session_url(session).await?)?.below(path, true)?;
        let file = self.get(&url, "application/json", "").await?;
        let kind = file.content_type.as_deref().unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err(unreadable(file.address, "not a directory page in JSON").into());
        }
        let body = Limited::new(file.body, LISTING_BYTES_MAX).collect().await;
        let body = body.map_err(|_| unreadable(file.address.clone(), "the list breaks off"))?;
        let listing = serde_json::from_slice(&body.to_bytes())
            .map_err(|error| unreadable(file.address, &error.to_string()))?;
        Ok(listing)
    }

    /// Opens the file `path` of a session's sandbox; `follow` goes on until the job has ended.
    ///
    /// # Errors
    /// A fault 404 where there is no such file, otherwise as [`Client::call`].
    pub async fn open(&self, session: &str, path: &str, follow: bool) -> Result<File, Error> {
        let url = Url::parse(&self.session_url(session).await?)?.below(path, false)?;
        self.get(&url, "*/*", if follow { "?follow" } else { "" }).await
    }

    async fn get(&self, url: &Url, accept: &'static str, query: &str) -> Result<File, Error> {
        let pool = self.files_pool(url);
        let address = url.origin.authority();
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = format!("{}{query}", url.path)
            .parse()
            .map_err(|_| unreadable(address.clone(), "the address of the sandbox"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host_header(&address)?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let sent = Box::pin(pool.send(request));
        let sent = timeout(Duration::from_secs(HEAD_SECONDS_MAX), sent).await;
        let (response, sender) = sent.unwrap_or_else(|_| {
            let (what, seconds) = ("answer", HEAD_SECONDS_MAX);
            Err(TransportError::Deadline { address: address.clone(), what, seconds })
        })?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(refusal(address, status));
        }
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        Ok(File {
            length: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            content_type: text(CONTENT_TYPE).map(str::to_owned),
            address,
            body: response.into_body(),
            _connection: sender,
        })
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
