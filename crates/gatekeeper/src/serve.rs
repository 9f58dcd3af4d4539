//! Serving: the two listeners, a task for each connection, and the drain.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use nesssi_config::Config;
use nesssi_identity::{NoCertificate, Peer, TrustDirectory, judge_peer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::access_log::{AccessLog, line_start};
use crate::answer::{Asking, Visit};
use crate::body::ReplyBody;
use crate::clarens::{self, Clarens};
use crate::clock;
use crate::crowd::{Crowd, Place};
use crate::drive::{Drain, Ends, drive};
use crate::house::House;
use crate::pulse::{Metered, Patience, Pulse};
use crate::request_id::RequestIds;
use crate::sandboxes::Sandboxes;
use crate::tls::ALPN_HTTP2;

/// Longest head of a request. Its lines are 100 at most, which is what hyper allows by itself.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Requests at one time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// Pause after the system would give no further descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// When the server drains: how long an idle connection is left to ask once more, and be told.
const DRAIN_IDLE: Duration = Duration::from_secs(2);

/// What the server is made of.
pub(crate) struct Parts<H> {
    pub(crate) house: H,
    pub(crate) tls: rustls::ServerConfig,
    pub(crate) trust: TrustDirectory,
    pub(crate) log: AccessLog,
}

/// A server that runs.
pub(crate) struct Server<H> {
    shared: Arc<Shared<H>>,
}

/// What all connections share.
struct Shared<H> {
    clarens: Clarens<H>,
    sandboxes: Sandboxes<H>,
    acceptor: TlsAcceptor,
    trust: TrustDirectory,
    log: AccessLog,
    crowd: Arc<Crowd>,
    drain: Arc<Drain>,
    patience: Patience,
    request_ids: RequestIds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// Calls, over TLS.
    Api,
    /// Files, in the clear.
    Sandboxes,
}

impl<H: House> Server<H> {
    /// Serves from now on, on two listeners that are open.
    ///
    /// # Errors
    /// The system's, where a descriptor is no listener.
    pub(crate) fn start(
        config: &Config,
        parts: Parts<H>,
        https: OwnedFd,
        http: OwnedFd,
    ) -> io::Result<Self> {
        let bounds = &config.bounds;
        let shared = Arc::new(Shared {
            clarens: Clarens::new(parts.house.clone(), config),
            sandboxes: Sandboxes::new(parts.house),
            acceptor: TlsAcceptor::from(Arc::new(parts.tls)),
            trust: parts.trust,
            log: parts.log,
            crowd: Crowd::new(bounds.connections_max, bounds.connections_per_address_max),
            drain: Arc::default(),
            patience: Patience::of(bounds),
            request_ids: RequestIds::new(),
        });
        tokio::spawn(accept(listener(https)?, Host::Api, Arc::clone(&shared)));
        tokio::spawn(accept(listener(http)?, Host::Sandboxes, Arc::clone(&shared)));
        Ok(Self { shared })
    }

    /// Takes no new connection, ends those there are as they fall idle, and returns once they are
    /// gone or have had `patience`.
    pub(crate) async fn drain(&self, patience: Duration) -> Drained {
        self.shared.drain.begin(DRAIN_IDLE.min(patience));
        match tokio::time::timeout(patience, self.shared.crowd.gone()).await {
            Ok(()) => Drained::Gone,
            Err(_) => Drained::Left,
        }
    }

    /// Writes what the access log still holds.
    pub(crate) fn flush(&self) {
        self.shared.log.flush();
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Nobody is connected.
    Gone,
    /// Somebody still is.
    Left,
}

fn listener(descriptor: OwnedFd) -> io::Result<TcpListener> {
    let listener = StdListener::from(descriptor);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept<H: House>(listener: TcpListener, host: Host, shared: Arc<Shared<H>>) {
    loop {
        let drained = shared.drain.begun();
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drained => return,
        };
        match accepted {
            Ok((stream, from)) => welcome(stream, from, host, &shared),
            Err(error) if is_callers(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether accepting failed by the fault of the one caller alone.
fn is_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// A connection gets its place and its task; without a place it is closed.
fn welcome<H: House>(stream: TcpStream, from: SocketAddr, host: Host, shared: &Arc<Shared<H>>) {
    let address = from.ip().to_canonical();
    let Some(place) = shared.crowd.enter(address) else {
        tracing::debug!(%address, "too many connections");
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let _place: Place = place;
        // Small answers leave at once; a socket that cannot be told so still works.
        let _told = stream.set_nodelay(true);
        match host {
            Host::Api => secure(stream, address, shared).await,
            Host::Sandboxes => {
                let peer = Arc::new(Peer::Anonymous(NoCertificate::NoTls));
                let caller = Connected { address, peer, credential: None, http2: false };
                Box::pin(converse(stream, caller, host, shared)).await;
            }
        }
    });
}

/// Who is connected, and how.
struct Connected {
    address: IpAddr,
    peer: Arc<Peer>,
    /// When his credential ends.
    credential: Option<Instant>,
    http2: bool,
}

/// The handshake, then the judgement of what was offered in it; in a resumed session, of what was
/// offered when it began.
async fn secure<H: House>(stream: TcpStream, address: IpAddr, shared: Arc<Shared<H>>) {
    let handshake = Box::pin(shared.acceptor.accept(stream));
    let stream = match tokio::time::timeout(shared.patience.handshake, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "handshake failed"),
        Err(_) => return tracing::debug!(%address, "handshake took too long"),
    };
    let (_, session) = stream.get_ref();
    let offered = session.peer_certificates();
    let peer = Arc::new(judge_peer(offered, &shared.trust, clock::now_unix()));
    let http2 = session.alpn_protocol() == Some(ALPN_HTTP2);
    let credential = match &*peer {
        Peer::Certified(identity) => expiry(identity.not_after),
        Peer::Anonymous(_) | Peer::Refused(_) => None,
    };
    let caller = Connected { address, peer, credential, http2 };
    Box::pin(converse(stream, caller, Host::Api, shared)).await;
}

/// When the second `not_after` is over, on the clock that timers go by. One too far ahead for it
/// is no limit.
fn expiry(not_after: i64) -> Option<Instant> {
    let end = Duration::from_secs(u64::try_from(not_after).unwrap_or(0).saturating_add(1));
    Instant::now().checked_add(end.saturating_sub(clock::now()))
}

/// HTTP on one connection, until it ends.
async fn converse<H: House, S>(stream: S, caller: Connected, host: Host, shared: Arc<Shared<H>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Connected { address, peer, credential, http2 } = caller;
    let pulse = Pulse::new(shared.patience, !http2);
    let subject = match &*peer {
        Peer::Certified(identity) => Some(identity.subject.to_oneline()),
        Peer::Anonymous(_) | Peer::Refused(_) => None,
    };
    let visit = Visit {
        address,
        line_start: line_start(address, subject.as_deref()),
        pulse: Arc::clone(&pulse),
        log: shared.log.clone(),
        drain: Arc::clone(&shared.drain),
    };
    let drain = Arc::clone(&shared.drain);
    let ends = Ends { pulse: &pulse, drain: &drain, credential, goaway: http2 };
    let stream = TokioIo::new(Metered::new(stream, Arc::clone(&pulse)));
    let session = Arc::new(Conversation { shared, visit: Arc::new(visit), peer, host });
    let service = service_fn(move |request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, Infallible>(session.respond(request).await) }
    });
    let outcome = if http2 {
        drive(http2_builder().serve_connection(stream, service), ends).await
    } else {
        drive(http1_builder().serve_connection(stream, service), ends).await
    };
    if let Err(error) = outcome {
        tracing::debug!(%address, %error, "connection failed");
    }
}

/// What all requests of one connection share.
struct Conversation<H> {
    shared: Arc<Shared<H>>,
    visit: Arc<Visit>,
    peer: Arc<Peer>,
    host: Host,
}

impl<H: House> Conversation<H> {
    async fn respond(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let Self { shared, visit, peer, host } = self;
        let (parts, body) = request.into_parts();
        let request_id = shared.request_ids.next();
        let asking = Asking::begin(visit, &request_id, parts);
        let reply = match host {
            Host::Api => {
                let caller = clarens::caller(peer, visit.address, request_id);
                shared.clarens.answer(caller, asking.parts(), body).await
            }
            Host::Sandboxes => shared.sandboxes.answer(asking.parts()).await,
        };
        asking.answer(reply)
    }
}

fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).half_close(false);
    builder
}

fn http2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    builder
}

#[cfg(test)]
mod tests;
