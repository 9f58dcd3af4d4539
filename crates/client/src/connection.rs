//! Connections: opening, keeping alive, sending one request once, and the pauses between two attempts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::error::TransportError;
use crate::tag::random;
use crate::url::Origin;

/// Name look-up, TCP and TLS together.
const CONNECT_SECONDS_MAX: u64 = 15;
/// A kept connection is used again within this time; servers close idle ones after about as long.
const IDLE_SECONDS_MAX: u64 = 15;
/// Kept connections; more than that are closed when their call is done.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// The first pause before a second attempt; each that follows is twice as long.
const PAUSE_MILLISECONDS_FIRST: u64 = 200;
/// The longest pause.
const PAUSE_MILLISECONDS_MAX: u64 = 5_000;

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(crate) type Sender = SendRequest<Body>;

/// A body that is there as a whole.
pub(crate) fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Growing pauses. Half of each is by chance, so that many clients of a server that comes back do not
/// come at once.
#[derive(Debug)]
pub(crate) struct Pauses {
    milliseconds: u64,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self { milliseconds: PAUSE_MILLISECONDS_FIRST }
    }

    pub(crate) async fn next(&mut self) {
        let half = self.milliseconds / 2;
        let by_chance = random::<2>().map(u16::from_le_bytes).unwrap_or_default();
        let pause = half + half * u64::from(by_chance) / u64::from(u16::MAX);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        self.milliseconds = self.milliseconds.saturating_mul(2).min(PAUSE_MILLISECONDS_MAX);
    }
}

/// The connections to one origin.
#[derive(Debug)]
pub(crate) struct Pool {
    origin: Origin,
    tls: Arc<ClientConfig>,
    idle: Mutex<Vec<(Sender, Instant)>>,
}

impl Pool {
    pub(crate) fn new(origin: Origin, tls: Arc<ClientConfig>) -> Self {
        Self { origin, tls, idle: Mutex::new(Vec::new()) }
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Sends `request` on a kept connection or a new one, and waits for the head of the answer.
    ///
    /// A request goes to a second connection only if nothing of it was written to the first.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Sender), TransportError> {
        while let Some(mut sender) = self.take() {
            // If the server has closed it meanwhile, its driver gets to see that first.
            tokio::task::yield_now().await;
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.http_error(error.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        let response =
            sender.send_request(request).await.map_err(|error| self.http_error(error))?;
        Ok((response, sender))
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(crate) fn keep(&self, sender: Sender) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !sender.is_closed() && idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push((sender, Instant::now()));
        }
    }

    pub(crate) fn http_error(&self, source: hyper::Error) -> TransportError {
        TransportError::Http { address: self.origin.authority(), source }
    }

    /// The kept connection that was used last, if any is still good.
    fn take(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |since: &Instant| since.elapsed() < Duration::from_secs(IDLE_SECONDS_MAX);
        idle.retain(|(sender, since)| !sender.is_closed() && fresh(since));
        idle.pop().map(|(sender, _)| sender)
    }

    async fn connect(&self) -> Result<Sender, TransportError> {
        let limit = Duration::from_secs(CONNECT_SECONDS_MAX);
        timeout(limit, self.connect_unbounded()).await.unwrap_or_else(|_| {
            Err(TransportError::Deadline {
                address: self.origin.authority(),
                what: "connection",
                seconds: CONNECT_SECONDS_MAX,
            })
        })
    }

    async fn connect_unbounded(&self) -> Result<Sender, TransportError> {
        let address = || self.origin.authority();
        let connect_error = |source| TransportError::Connect { address: address(), source };
        let place = (self.origin.host(), self.origin.port());
        let tcp = TcpStream::connect(place).await.map_err(connect_error)?;
        tcp.set_nodelay(true).map_err(connect_error)?;
        match self.origin.server_name() {
            Some(name) if self.origin.secure => {
                let connector = TlsConnector::from(Arc::clone(&self.tls));
                let tls = connector
                    .connect(name, tcp)
                    .await
                    .map_err(|source| TransportError::Handshake { address: address(), source })?;
                self.speak(tls).await
            }
            _ => self.speak(tcp).await,
        }
    }

    async fn speak<S>(&self, stream: S) -> Result<Sender, TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.http_error(error))?;
        // Its errors reach the one who waits for an answer; nobody else cares.
        tokio::spawn(async move { connection.await.unwrap_or_default() });
        Ok(sender)
    }
}
