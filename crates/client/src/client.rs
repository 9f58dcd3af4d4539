//! A client: one server, one credential.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use nesssi_rpc::xmlrpc::{self, Bounds};
use nesssi_rpc::{Call, MethodName, Value};
use rustls::RootCertStore;
use tokio::time::timeout;

use crate::connection::Pool;
use crate::credential::CredentialSearch;
use crate::error::{Error, SetupError, TransportError};
use crate::tls::Tls;
use crate::trust;
use crate::url::Url;

/// The longest that a call may take, unless the builder says otherwise.
const CALL_SECONDS_MAX: u64 = 120;
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Elements of the largest answer: an answer is as long as the server's own bound lets it be.
const ANSWER_ELEMENTS_MAX: usize = 8_000_000;
/// The header by which a call says which session it made.
const SESSION_URL: HeaderName = HeaderName::from_static("nesssi-session-url");
/// The header by which a caller asks for one of his accounts.
const ACCOUNT: HeaderName = HeaderName::from_static("nesssi-account");
pub(crate) const AGENT: &str = concat!("nesssi/", env!("CARGO_PKG_VERSION"));

/// A server and the credential to call it with. Cloning is cheap and shares the connections.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool,
    path: String,
    tls: Tls,
    account: Option<HeaderValue>,
    call_seconds_max: u64,
}

/// What a call came back with.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The method's result.
    pub value: Value,
    /// The address of the sandbox, if the call made a session.
    pub session_url: Option<String>,
}

/// Says how to reach a server, and as whom. Begin with [`Client::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    url: String,
    ca: Option<PathBuf>,
    guest: bool,
    search: CredentialSearch,
    account: Option<String>,
    call_seconds_max: u64,
}

impl Builder {
    /// Trusts the CAs in this PEM file or trust directory, instead of `X509_CERT_DIR`,
    /// `~/.globus/certificates` or `/etc/grid-security/certificates`.
    #[must_use]
    pub fn ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    /// Presents the certificate in this PEM file, with its chain if it has one.
    #[must_use]
    pub fn certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.search.certificate = Some(path.into());
        self
    }

    /// The private key of [`Self::certificate`], if it is not in the same file.
    #[must_use]
    pub fn key(mut self, path: impl Into<PathBuf>) -> Self {
        self.search.key = Some(path.into());
        self
    }

    /// Calls without a certificate, whatever there is.
    #[must_use]
    pub fn guest(mut self, guest: bool) -> Self {
        self.guest = guest;
        self
    }

    /// Asks for this account, where the gridmap gives the caller several; else he has the first.
    #[must_use]
    pub fn account(mut self, name: impl Into<String>) -> Self {
        self.account = Some(name.into());
        self
    }

    /// Looks for the credential as `search` says, instead of as this process's environment says.
    #[must_use]
    pub fn search(mut self, search: CredentialSearch) -> Self {
        self.search = search;
        self
    }

    /// The longest that one call may take; 120 s by default.
    #[must_use]
    pub fn call_seconds_max(mut self, seconds: u64) -> Self {
        self.call_seconds_max = seconds;
        self
    }

    /// Reads the credential and the CAs; connects to nothing yet.
    ///
    /// Over plain `http` there is no credential and nothing to trust.
    ///
    /// # Errors
    /// [`SetupError`] for what cannot be used.
    pub fn build(self) -> Result<Client, SetupError> {
        let url = Url::parse(&self.url)?;
        let secure = url.origin.secure;
        let roots = match &self.ca {
            Some(path) => trust::load(path)?,
            None if secure => trust::find(&self.trust_places())?,
            None => RootCertStore::empty(),
        };
        if self.search.key.is_some() && self.search.certificate.is_none() {
            let text = "a key was named without its certificate".to_owned();
            return Err(SetupError::Parameters(text));
        }
        let account = self.account.map(|name| HeaderValue::try_from(&name).map_err(|_| name));
        let account = account
            .transpose()
            .map_err(|name| SetupError::Parameters(format!("{name:?} is no account's name")))?;
        let credential = if secure && !self.guest { Some(self.search.find()?) } else { None };
        let tls = Tls::new(roots, credential)?;
        let shared = Shared {
            pool: Pool::new(url.origin, Arc::clone(&tls.calls)),
            path: url.path,
            tls,
            account,
            call_seconds_max: self.call_seconds_max,
        };
        Ok(Client { shared: Arc::new(shared) })
    }

    fn trust_places(&self) -> Vec<PathBuf> {
        let directory = std::env::var_os("X509_CERT_DIR").filter(|value| !value.is_empty());
        trust::places(directory.map(PathBuf::from), self.search.home.as_deref())
    }
}

impl Client {
    /// Begins a client of the server at `url`, such as `https://host:8443/clarens/`.
    #[must_use]
    pub fn builder(url: impl Into<String>) -> Builder {
        Builder {
            url: url.into(),
            ca: None,
            guest: false,
            search: CredentialSearch::of_process(),
            account: None,
            call_seconds_max: CALL_SECONDS_MAX,
        }
    }

    /// Calls `method` and gives its result.
    ///
    /// # Errors
    /// The server's [`Fault`](nesssi_rpc::Fault), or what kept the call from being made or answered.
    pub async fn call(&self, method: &str, params: Vec<Value>) -> Result<Value, Error> {
        self.ask(method, params).await.map(|answer| answer.value)
    }

    /// As [`Self::call`], with what else the answer says.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn ask(&self, method: &str, params: Vec<Value>) -> Result<Answer, Error> {
        let name = MethodName::parse(method)
            .map_err(|source| SetupError::Method { name: method.to_owned(), source })?;
        let body = xmlrpc::encode_call(&Call { method: name, params })
            .map_err(|fault| SetupError::Parameters(fault.text))?;
        let seconds = self.shared.call_seconds_max;
        let exchange = Box::pin(self.exchange(Bytes::from(body)));
        timeout(Duration::from_secs(seconds), exchange).await.unwrap_or_else(|_| {
            let address = self.shared.pool.origin().authority();
            Err(TransportError::Deadline { address, what: "answer", seconds }.into())
        })
    }

    async fn exchange(&self, body: Bytes) -> Result<Answer, Error> {
        let pool = &self.shared.pool;
        let address = || pool.origin().authority();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.shared.path.parse().map_err(|_| unreadable(address(), "path"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host_header(&address())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        if let Some(account) = &self.shared.account {
            headers.insert(ACCOUNT, account.clone());
        }
        let (response, sender) = pool.send(request).await?;
        let (head, body) = response.into_parts();
        if !is_xml(&head.headers) {
            return Err(TransportError::Status { address: address(), status: head.status }.into());
        }
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let mut body = body.map_err(|error| unreadable(address(), &error.to_string()))?.aggregate();
        let body = body.copy_to_bytes(body.remaining());
        pool.keep(sender);
        let bounds = Bounds { elements_max: ANSWER_ELEMENTS_MAX, ..Bounds::default() };
        let reply = xmlrpc::decode_reply(&body, &bounds)
            .map_err(|fault| unreadable(address(), &fault.text))?;
        let session_url = head.headers.get(SESSION_URL).and_then(|value| value.to_str().ok());
        Ok(Answer { value: reply?, session_url: session_url.map(str::to_owned) })
    }

    /// The pool for the files at `url`; the certificate is not shown to that host.
    pub(crate) fn files_pool(&self, url: &Url) -> Pool {
        Pool::new(url.origin.clone(), Arc::clone(&self.shared.tls.files))
    }
}

pub(crate) fn host_header(authority: &str) -> Result<HeaderValue, TransportError> {
    authority.parse().map_err(|_| unreadable(authority.to_owned(), "host"))
}

pub(crate) fn unreadable(address: String, why: &str) -> TransportError {
    TransportError::Answer { address, why: why.to_owned() }
}

fn is_xml(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/xml") || kind.eq_ignore_ascii_case("application/xml")
}
