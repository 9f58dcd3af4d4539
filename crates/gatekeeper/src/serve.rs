//! Serving: the two listeners, a task for each connection, and the drain.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::request::Parts as Head;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use nesssi_config::Config;
use nesssi_container::Caller;
use nesssi_identity::{NoCertificate, Peer, Presented};
use nesssi_rpc::Dialect;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::access_log::{AccessLog, line_start};
use crate::answer::{Asking, Reply, Visit};
use crate::body::ReplyBody;
use crate::clarens::Clarens;
use crate::clock;
use crate::crowd::{Crowd, Place};
use crate::drive::{Drain, Ends, Recall, drive};
use crate::front::{Fronts, OnBehalf, proxy_protocol};
use crate::house::House;
use crate::live::{Live, Membership};
use crate::pulse::{Metered, Patience, Pulse};
use crate::request_id::RequestIds;
use crate::sandboxes::Sandboxes;
use crate::tls::ALPN_HTTP2;
use crate::trust::{self, Trust};
use crate::wishes::{Unclear, Wishes, check_host};

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
    pub(crate) tls: ServerConfig,
    pub(crate) trust: Arc<Trust>,
    pub(crate) log: AccessLog,
}

/// A server that runs.
pub(crate) struct Server<H> {
    shared: Arc<Shared<H>>,
}

/// What all connections share.
struct Shared<H> {
    house: H,
    clarens: Clarens<H>,
    sandboxes: Arc<Sandboxes<H>>,
    /// With its sessions: who has resumed one of an old certificate's makes a new one.
    tls: ArcSwap<ServerConfig>,
    trust: Arc<Trust>,
    live: Arc<Live>,
    fronts: Fronts,
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
        let sandboxes = Arc::new(Sandboxes::new(parts.house.clone()));
        let shared = Arc::new(Shared {
            clarens: Clarens::new(parts.house.clone(), Arc::clone(&sandboxes), config),
            sandboxes,
            house: parts.house,
            tls: ArcSwap::from_pointee(parts.tls),
            trust: parts.trust,
            live: Arc::default(),
            fronts: Fronts::new(config.front.clone()),
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

    /// Shows another certificate from now on, in new handshakes.
    pub(crate) fn show(&self, tls: ServerConfig) {
        self.shared.tls.store(Arc::new(tls));
    }

    /// Keeps the trust directory as its files are, for as long as the server runs.
    pub(crate) fn keep_trust(&self, files: trust::Files) {
        let (trust, live) = (Arc::clone(&self.shared.trust), Arc::clone(&self.shared.live));
        tokio::spawn(trust::keep(trust, files, live));
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
    let passed_on = host == Host::Api && shared.fronts.passes_tls_on(address);
    let place = if passed_on { shared.crowd.enter_unknown() } else { shared.crowd.enter(address) };
    let Some(place) = place else {
        tracing::debug!(%address, "too many connections");
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // Small answers leave at once; a socket that cannot be told so still works.
        let _told = stream.set_nodelay(true);
        match host {
            Host::Api => secure(stream, Arrival { address, passed_on, place }, shared).await,
            Host::Sandboxes => {
                let _place: Place = place;
                let peer = Arc::new(Peer::Anonymous(NoCertificate::NoTls));
                let credential = Credential::Other(peer);
                let caller = Connected { address, credential, ends: None, http2: false };
                Box::pin(converse(stream, caller, host, shared)).await;
            }
        }
    });
}

/// A connection that has come, and nothing of it is read.
struct Arrival {
    address: IpAddr,
    /// Whether a front passes it on, and says first from where.
    passed_on: bool,
    place: Place,
}

/// Who is connected, and how.
struct Connected {
    address: IpAddr,
    credential: Credential,
    /// When his credential ends.
    ends: Option<Instant>,
    http2: bool,
}

/// What a connection has shown of who is there.
enum Credential {
    /// A caller's own certificate, which is kept under watch.
    Watched(Membership, Arc<Presented>),
    /// The site's front, by its own: it calls for others, each request for whom it says.
    Front(Membership),
    /// Nothing.
    Other(Arc<Peer>),
}

/// The handshake, then the judgement of what was offered in it; in a resumed session, of what was
/// offered when it began.
async fn secure<H: House>(stream: TcpStream, arrival: Arrival, shared: Arc<Shared<H>>) {
    let front = arrival.address;
    let handshake = Box::pin(shake_hands(stream, arrival, &shared));
    let (stream, arrival) = match tokio::time::timeout(shared.patience.handshake, handshake).await {
        Ok(Ok(secured)) => secured,
        Ok(Err(error)) => return tracing::debug!(address = %front, %error, "handshake failed"),
        Err(_) => return tracing::debug!(address = %front, "handshake took too long"),
    };
    let Arrival { address, mut place, .. } = arrival;
    let (_, session) = stream.get_ref();
    let http2 = session.alpn_protocol() == Some(ALPN_HTTP2);
    let offered = session.peer_certificates().filter(|chain| !chain.is_empty());
    let presented = offered.map(|chain| Arc::new(Presented::new(chain.to_vec())));
    let generation = shared.trust.generation();
    let peer = shared.trust.judge(presented.as_deref());
    let is_front = shared.fronts.is_front(address, &peer);
    let peer = Arc::new(if is_front { peer } else { shared.fronts.as_caller(peer) });
    shared.house.connected(&peer, address);
    let ends = match &*peer {
        Peer::Certified(identity) => expiry(identity.not_after),
        Peer::Anonymous(_) | Peer::Refused(_) => None,
    };
    let credential = match presented {
        None => Credential::Other(peer),
        Some(presented) => {
            let live = Arc::clone(&presented);
            let member = shared.live.enter(live, peer, &shared.trust, generation);
            if is_front {
                place.count_for_nobody();
                Credential::Front(member)
            } else {
                Credential::Watched(member, presented)
            }
        }
    };
    let caller = Connected { address, credential, ends, http2 };
    Box::pin(converse(stream, caller, Host::Api, shared)).await;
    drop(place);
}

/// What the front says first, if the connection comes from one that passes TLS on; then TLS.
async fn shake_hands<H>(
    mut stream: TcpStream,
    mut arrival: Arrival,
    shared: &Shared<H>,
) -> io::Result<(TlsStream<TcpStream>, Arrival)> {
    if arrival.passed_on {
        let caller = proxy_protocol::read(&mut stream).await?.unwrap_or(arrival.address);
        if !arrival.place.count_for(caller) {
            return Err(io::Error::other("too many connections of its address"));
        }
        arrival.address = caller;
    }
    let stream = TlsAcceptor::from(shared.tls.load_full()).accept(stream).await?;
    Ok((stream, arrival))
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
    let Connected { address, credential, ends, http2 } = caller;
    let pulse = Pulse::new(shared.patience, !http2);
    let visit = Visit {
        address,
        line_start: line_start_of(address, credential.peer()),
        pulse: Arc::clone(&pulse),
        log: shared.log.clone(),
        drain: Arc::clone(&shared.drain),
    };
    let drain = Arc::clone(&shared.drain);
    let stream = TokioIo::new(Metered::new(stream, Arc::clone(&pulse)));
    let session = Arc::new(Conversation { shared, visit: Arc::new(visit), credential, host });
    let never = Recall::default();
    let recalled = Arc::clone(&session);
    let recall = recalled.credential.recall().unwrap_or(&never);
    let ends = Ends { pulse: &pulse, drain: &drain, credential: ends, recall, goaway: http2 };
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

fn line_start_of(address: IpAddr, peer: &Peer) -> String {
    let subject = match peer {
        Peer::Certified(identity) => Some(identity.subject.to_oneline()),
        Peer::Anonymous(_) | Peer::Refused(_) => None,
    };
    line_start(address, subject.as_deref())
}

impl Credential {
    fn peer(&self) -> &Arc<Peer> {
        match self {
            Self::Watched(member, _) | Self::Front(member) => member.peer(),
            Self::Other(peer) => peer,
        }
    }

    fn recall(&self) -> Option<&Recall> {
        match self {
            Self::Watched(member, _) | Self::Front(member) => Some(member.recall()),
            Self::Other(_) => None,
        }
    }
}

/// What all requests of one connection share.
struct Conversation<H> {
    shared: Arc<Shared<H>>,
    visit: Arc<Visit>,
    credential: Credential,
    host: Host,
}

impl<H: House> Conversation<H> {
    async fn respond(&self, request: Request<Incoming>) -> Response<ReplyBody> {
        let Self { shared, visit, credential, host } = self;
        let (mut head, body) = request.into_parts();
        let request_id = shared.request_ids.next();
        let (peer, presented) = match credential {
            Credential::Front(member) if matches!(**member.peer(), Peer::Certified(_)) => {
                return self.respond_to_front(head, body, request_id).await;
            }
            // The front's own certificate counts no longer: so every request says why.
            Credential::Front(member) => (member.peer(), None),
            Credential::Watched(member, presented) => (member.peer(), Some(presented)),
            Credential::Other(peer) => (peer, None),
        };
        shared.fronts.strip(&mut head.headers);
        match host {
            Host::Api => {
                let wishes = Wishes::of(&mut head);
                let asking = Asking::begin(visit, &request_id, head);
                let of = Of { peer, presented, address: visit.address, request_id };
                let reply = self.call(of, wishes, asking.parts(), body).await;
                asking.answer(reply)
            }
            Host::Sandboxes => {
                let asking = Asking::begin(visit, &request_id, head);
                let sandboxes = &shared.sandboxes;
                let reply = match check_host(asking.parts()) {
                    Ok(()) => sandboxes.answer(asking.parts(), visit.address, &request_id).await,
                    Err(unclear) => Sandboxes::<H>::refuse(unclear),
                };
                asking.answer(reply)
            }
        }
    }

    /// Answers a request that the front makes for somebody, who stands in the access log as if he
    /// were connected himself.
    async fn respond_to_front(
        &self,
        mut head: Head,
        body: Incoming,
        request_id: String,
    ) -> Response<ReplyBody> {
        let Self { shared, visit, .. } = self;
        let OnBehalf { peer, presented, address, fresh } =
            shared.fronts.on_behalf(&head.headers, visit.address, &shared.trust);
        if fresh {
            shared.house.connected(&peer, address);
        }
        shared.fronts.strip(&mut head.headers);
        let visit = Arc::new(visit.of(address, line_start_of(address, &peer)));
        let wishes = Wishes::of(&mut head);
        let asking = Asking::begin(&visit, &request_id, head);
        let of = Of { peer: &peer, presented: presented.as_ref(), address, request_id };
        let reply = self.call(of, wishes, asking.parts(), body).await;
        asking.answer(reply)
    }

    async fn call(
        &self,
        of: Of<'_>,
        wishes: Result<Wishes, Unclear>,
        head: &Head,
        body: Incoming,
    ) -> Reply {
        match wishes {
            Ok(wishes) => self.shared.clarens.answer(of.caller(wishes), head, body).await,
            Err(unclear) => self.shared.clarens.refuse(unclear, head, body),
        }
    }
}

/// Whose a request is.
struct Of<'a> {
    peer: &'a Arc<Peer>,
    presented: Option<&'a Arc<Presented>>,
    address: IpAddr,
    request_id: String,
}

impl Of<'_> {
    fn caller(self, wishes: Wishes) -> Caller {
        let Wishes { account, basic, tag } = wishes;
        let (peer, presented) = (Arc::clone(self.peer), self.presented.cloned());
        let dialect = Dialect::XmlRpc;
        let Self { address, request_id, .. } = self;
        Caller { peer, presented, account, basic, tag, address, request_id, dialect }
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
