//! A client: one server, one credential.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use nesssi_rpc::xmlrpc::{self, Bounds};
use nesssi_rpc::{CLIENT_TAG_MEMBER, Call, MethodName, Value, multicall, typed};
use rustls::RootCertStore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::connection::{Pauses, Pool, whole};
use crate::credential::{AskPassphrase, CredentialSearch};
use crate::error::{Error, SetupError, TransportError};
use crate::tag::{Tag, only_reads, takes_tag};
use crate::tls::Tls;
use crate::trust;
use crate::url::Url;

/// The longest that a call may take, unless the builder says otherwise.
const CALL_SECONDS_MAX: u64 = 120;
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Elements of the largest answer: an answer is as long as the server's own bound lets it be.
const ANSWER_ELEMENTS_MAX: usize = 8_000_000;
/// How often one call is sent at most.
const SENT_MAX: u32 = 5;
/// The header that makes a call safe to send again.
const TAG: HeaderName = HeaderName::from_static("nesssi-client-tag");
/// The header that says of an answer that it was kept.
const ANSWER: HeaderName = HeaderName::from_static("nesssi-answer");
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
    tags: bool,
    call_seconds_max: u64,
}

/// A call as it goes over the wire, once or more often.
#[derive(Debug)]
struct Prepared {
    body: Bytes,
    tag: Option<HeaderValue>,
    /// Whether the answer may be a file's bytes.
    raw: bool,
    /// Whether it may be sent again when it is not known what became of it.
    again: bool,
}

/// What a call came back with.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The method's result.
    pub value: Value,
    /// The address of the sandbox, if the call made a session.
    pub session_url: Option<String>,
    /// Whether this is the answer to an earlier call with the same tag.
    pub again: bool,
    /// The tag that the call carried, for `system.last_call`; what only reads carries none.
    pub tag: Option<Tag>,
}

/// What is special about one call.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// The tag to carry, instead of a random one where one is needed.
    pub tag: Option<Tag>,
    /// The longest that the call may take, instead of the client's.
    pub seconds_max: Option<u64>,
}

/// Says how to reach a server, and as whom. Begin with [`Client::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    url: String,
    ca: Option<PathBuf>,
    guest: bool,
    search: CredentialSearch,
    passphrase: AskPassphrase,
    account: Option<String>,
    tags: bool,
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

    /// Asks for the passphrase of an encrypted key by calling this function with the key's file; again
    /// where it is wrong, three times in all. Without it an encrypted key cannot be used.
    #[must_use]
    pub fn passphrase(
        self,
        ask: impl Fn(&Path) -> std::io::Result<String> + Send + Sync + 'static,
    ) -> Self {
        self.ask_passphrase(AskPassphrase::by(ask))
    }

    /// Says who is asked for the passphrase of an encrypted key, and how often.
    #[must_use]
    pub fn ask_passphrase(mut self, ask: AskPassphrase) -> Self {
        self.passphrase = ask;
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

    /// Whether calls that may change something carry a tag, and are sent again where the connection
    /// was lost or the server was busy; they do by default. Without tags a call is sent once.
    #[must_use]
    pub fn tags(mut self, tags: bool) -> Self {
        self.tags = tags;
        self
    }

    /// The longest that one call may take, with all its sendings; 120 s by default.
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
        let credential = if secure && !self.guest {
            Some(self.search.find_with(&self.passphrase)?)
        } else {
            None
        };
        let tls = Tls::new(roots, credential)?;
        let shared = Shared {
            pool: Pool::new(url.origin, Arc::clone(&tls.calls)),
            path: url.path,
            tls,
            account,
            tags: self.tags,
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
            passphrase: AskPassphrase::default(),
            account: None,
            tags: true,
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

    /// Calls `method` with parameters and a result of the caller's own types; [`typed`] says which
    /// type is which value. A tuple gives the parameters in order, `&()` none.
    ///
    /// # Errors
    /// As [`Self::call`]; [`TransportError::Answer`] where the result is of another type.
    pub async fn call_as<T: DeserializeOwned>(
        &self,
        method: &str,
        params: &(impl Serialize + ?Sized),
    ) -> Result<T, Error> {
        let params = typed::to_params(params)
            .map_err(|error| SetupError::Parameters(format!("parameters: {error}")))?;
        let value = self.call(method, params).await?;
        self.typed(method, value)
    }

    /// What `method` has answered, as a type of the caller's own.
    pub(crate) fn typed<T: DeserializeOwned>(&self, what: &str, value: Value) -> Result<T, Error> {
        let wrong = |error| unreadable(self.address(), &format!("{what}: {error}"));
        Ok(typed::from_value(value).map_err(wrong)?)
    }

    /// As [`Self::call`], with what else the answer says.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn ask(&self, method: &str, params: Vec<Value>) -> Result<Answer, Error> {
        self.ask_with(method, params, CallOptions::default()).await
    }

    /// As [`Self::ask`], with a tag or a deadline of this call's own.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn ask_with(
        &self,
        method: &str,
        params: Vec<Value>,
        options: CallOptions,
    ) -> Result<Answer, Error> {
        let name = MethodName::parse(method)
            .map_err(|source| SetupError::Method { name: method.to_owned(), source })?;
        let own = own_tag(&params)?;
        let header = match options.tag {
            Some(_) if own.is_some() => {
                let text =
                    format!("two tags: one is asked for, one is the member {CLIENT_TAG_MEMBER}");
                return Err(SetupError::Parameters(text).into());
            }
            Some(_) if method == multicall::METHOD => {
                let text = format!(
                    "{method} has no tag: each call in it may carry its own, as the \
                    member {CLIENT_TAG_MEMBER} of its last parameter"
                );
                return Err(SetupError::Parameters(text).into());
            }
            Some(tag) => Some(tag),
            None if own.is_none() && self.shared.tags && takes_tag(method) => Some(Tag::random()?),
            None => None,
        };
        let body = xmlrpc::encode_call(&Call { method: name, params })
            .map_err(|fault| SetupError::Parameters(fault.text))?;
        let tag_header = header.as_ref().map(Tag::header).transpose()?;
        let tag = header.or(own);
        let prepared = Prepared {
            body: Bytes::from(body),
            tag: tag_header,
            raw: method == "file.read",
            again: tag.is_some() || only_reads(method),
        };
        let seconds = options.seconds_max.unwrap_or(self.shared.call_seconds_max);
        let carried = Box::pin(self.carry(&prepared));
        let answer = timeout(Duration::from_secs(seconds), carried).await.unwrap_or_else(|_| {
            let address = self.address();
            Err(TransportError::Deadline { address, what: "answer", seconds }.into())
        });
        Ok(Answer { tag, ..answer? })
    }

    /// Sends a call until it is answered, as often as is allowed and safe.
    async fn carry(&self, call: &Prepared) -> Result<Answer, Error> {
        let mut pauses = Pauses::new();
        let mut sent = 1;
        loop {
            let error = match Box::pin(self.exchange(call)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !call.again || sent >= SENT_MAX || !error.is_passing(sent > 1) {
                return Err(error);
            }
            sent += 1;
            pauses.next().await;
        }
    }

    async fn exchange(&self, call: &Prepared) -> Result<Answer, Error> {
        let pool = &self.shared.pool;
        let mut request = Request::new(whole(call.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            self.shared.path.parse().map_err(|_| unreadable(self.address(), "path"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, host_header(&self.address())?);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        self.put_account(headers);
        if let Some(tag) = &call.tag {
            headers.insert(TAG, tag.clone());
        }
        let (response, sender) = pool.send(request).await?;
        let (head, body) = response.into_parts();
        // What is read may be a file of XML, but only an answer has the type that answers have.
        let raw = call.raw && head.status == StatusCode::OK && !is_answer(&head.headers);
        if !is_xml(&head.headers) && !raw {
            return Err(
                TransportError::Status { address: self.address(), status: head.status }.into()
            );
        }
        let body = self.read_answer(body).await?;
        pool.keep(sender);
        let value = if raw { Value::Binary(body.into()) } else { self.decode(&body)? };
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        Ok(Answer {
            value,
            session_url: text(SESSION_URL).map(str::to_owned),
            again: text(ANSWER) == Some("again"),
            tag: None,
        })
    }

    /// The result in the body of an answer.
    pub(crate) fn decode(&self, body: &[u8]) -> Result<Value, Error> {
        let bounds = Bounds { elements_max: ANSWER_ELEMENTS_MAX, ..Bounds::default() };
        let reply = xmlrpc::decode_reply(body, &bounds);
        let reply = reply.map_err(|fault| unreadable(self.address(), &fault.text))?;
        Ok(reply?)
    }

    /// A body of bounded length. One that breaks off is a connection that did.
    pub(crate) async fn read_answer(&self, body: Incoming) -> Result<Bytes, Error> {
        let pool = &self.shared.pool;
        let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let mut body = collected
            .map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(broken) => pool.http_error(*broken),
                Err(other) => unreadable(self.address(), &other.to_string()),
            })?
            .aggregate();
        Ok(body.copy_to_bytes(body.remaining()))
    }

    /// Host and port, for messages.
    pub(crate) fn address(&self) -> String {
        self.shared.pool.origin().authority()
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// The path that calls go to.
    pub(crate) fn base(&self) -> Url {
        Url { origin: self.shared.pool.origin().clone(), path: self.shared.path.clone() }
    }

    pub(crate) fn call_seconds_max(&self) -> u64 {
        self.shared.call_seconds_max
    }

    pub(crate) fn put_account(&self, headers: &mut HeaderMap) {
        if let Some(account) = &self.shared.account {
            headers.insert(ACCOUNT, account.clone());
        }
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

/// The tag that `params` carry by themselves: the member of the last one, if that is a struct.
fn own_tag(params: &[Value]) -> Result<Option<Tag>, SetupError> {
    let member = params.last().and_then(|last| last.member(CLIENT_TAG_MEMBER));
    let wrong = || SetupError::Parameters(format!("{CLIENT_TAG_MEMBER} is a string"));
    member.map(|value| Tag::parse(value.as_str().ok_or_else(wrong)?)).transpose()
}

pub(crate) fn is_xml(headers: &HeaderMap) -> bool {
    is_answer(headers) || content_type(headers).eq_ignore_ascii_case("application/xml")
}

fn is_answer(headers: &HeaderMap) -> bool {
    content_type(headers).eq_ignore_ascii_case("text/xml")
}

fn content_type(headers: &HeaderMap) -> &str {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}
