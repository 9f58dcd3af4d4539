//! The life of a gatekeeper: welcomed by the monitor, serving, drained.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use nesssi_config::{AccessLogTo, Config, Mistake};
use nesssi_container::link::{AskError, Monitor, Welcome};
use nesssi_container::{Container, Ending, Renewed, StartError, Trusting};
use nesssi_identity::Presented;
use rustls::ServerConfig;
use tokio::signal::unix::{SignalKind, signal};

use crate::access_log::AccessLog;
use crate::serve::{Drained, Parts, Server};
use crate::tls::{self, TlsError};
use crate::trust;

/// Where a gatekeeper finds the channel to its monitor.
const MONITOR_DESCRIPTOR: i32 = 3;
/// Longest certificate chain or key, in bytes.
const PEM_BYTES_MAX: usize = 1 << 20;
/// Threads for reading files and parsing large bodies.
const BLOCKING_THREADS_MAX: usize = 64;
/// How long, in a drain, connections are given to be answered once more and told to go, before
/// calls are refused and the successor may start.
const CONVERT: Duration = Duration::from_secs(3);
/// So long before the monitor would kill it, a draining gatekeeper ends by itself.
const MARGIN: Duration = Duration::from_secs(1);

/// Why a gatekeeper could not serve.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no channel: it was not started by the monitor.
    #[error("descriptor 3 is no channel: nesssid starts this program ({0})")]
    Channel(io::Error),
    /// The monitor is gone or does not keep to the protocol.
    #[error("monitor: {0}")]
    Monitor(#[from] AskError),
    /// The monitor's welcome has not the four descriptors.
    #[error("the monitor gave {0} descriptors, not 4")]
    Descriptors(usize),
    /// The configuration has mistakes, though the monitor found none.
    #[error("configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<Mistake>),
    /// TLS cannot be offered.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The container could not start.
    #[error(transparent)]
    Container(#[from] StartError),
    /// A file, a thread or a socket.
    #[error("{what}: {error}")]
    Io {
        /// What was to be had.
        what: &'static str,
        /// The system's error.
        error: io::Error,
    },
}

/// What the monitor passes down.
struct Inherited {
    https: OwnedFd,
    http: OwnedFd,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Serves until the monitor says otherwise.
///
/// # Errors
/// [`RunError`] where serving could not begin.
pub fn serve() -> Result<(), RunError> {
    refuse_tracing().map_err(io_error("refusal to be traced"))?;
    let channel = nesssi_privsep::sys::inherited(MONITOR_DESCRIPTOR).map_err(RunError::Channel)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(io_error("runtime"))?;
    let outcome = runtime.block_on(Box::pin(live(channel)));
    // What still blocks is a read of a file; nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}

/// It holds the server's key: nothing of the same user may trace it, and no core may hold it.
fn refuse_tracing() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

async fn live(channel: OwnedFd) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(io_error("SIGTERM"))?;
    // A terminal's interrupt reaches the whole family; it is the monitor that acts on it.
    let _interrupt = signal(SignalKind::interrupt()).map_err(io_error("SIGINT"))?;
    let _hangup = signal(SignalKind::hangup()).map_err(io_error("SIGHUP"))?;

    let (monitor, welcome, descriptors) = Monitor::connect(channel).await?;
    let monitors = monitor.clone();
    let outcome = tokio::select! {
        outcome = begin(monitor, welcome, descriptors) => outcome,
        _ = terminate.recv() => return Ok(()),
    };
    let serving = match outcome {
        Ok(serving) => serving,
        Err(error) => {
            // Where it is gone, nobody asks why.
            monitors.unfit(error.to_string()).await.unwrap_or_default();
            return Err(error);
        }
    };
    let Serving { config, container, server } = serving;

    let ending = tokio::select! {
        ending = container.ending() => ending,
        _ = terminate.recv() => Ending::Drain { seconds_max: config.server.drain_seconds_max },
    };
    if let Ending::Drain { seconds_max } = ending {
        tokio::select! {
            () = drain(&server, &container, Duration::from_secs(u64::from(seconds_max))) => {}
            () = monitor_gone(&container) => tracing::warn!("the monitor is gone"),
        }
    }
    server.flush();
    Ok(())
}

/// A gatekeeper that serves.
struct Serving {
    config: Arc<Config>,
    container: Container,
    server: Arc<Server<Container>>,
}

/// All that comes before serving. What can fail is done before the lease is asked for, as far as it
/// can be: until then, the one before goes on.
async fn begin(
    monitor: Monitor,
    welcome: Welcome,
    descriptors: Vec<OwnedFd>,
) -> Result<Serving, RunError> {
    let config = nesssi_config::parse(&welcome.config_text, &welcome.config_path);
    let config = Arc::new(config.map_err(RunError::Config)?);
    for mistake in nesssi_container::check_directives(&config) {
        // Jobs that would be submitted with it are refused; all else goes on.
        tracing::error!(%mistake, "a directive of a batch system cannot be used");
    }
    let inherited = Inherited::of(descriptors)?;
    let tls = tls::server_config(&inherited.certificate, &inherited.key)?;
    let (trust, files) = trust::open(&config.server)?;
    let log = match &config.server.access_log {
        AccessLogTo::File => AccessLog::open(config.server.log_directory.join("access.log")),
        AccessLogTo::Syslog(socket) => AccessLog::syslog(socket.clone()),
    };
    let log = log.map_err(io_error("access log"))?;

    let in_force = Arc::clone(&trust);
    let trusting = Trusting {
        rejudge: Arc::new(move |presented: &Presented| in_force.judge(Some(presented))),
        server_certificate: String::from_utf8_lossy(&inherited.certificate).into_owned(),
    };
    nesssi_container::check_journal(&config)?;
    monitor.take_over().await?;
    let container = Container::start(Arc::clone(&config), welcome, monitor, trusting).await?;
    let parts = Parts { house: container.clone(), tls, trust, log };
    let server = Server::start(&config, parts, inherited.https, inherited.http)
        .map_err(io_error("listener"))?;
    let server = Arc::new(server);
    server.keep_trust(files);
    tokio::spawn(renew(Arc::clone(&server), container.clone()));
    container.ready().await?;
    tracing::info!(https = %config.server.listen_https, http = %config.server.listen_http, "serving");
    Ok(Serving { config, container, server })
}

/// Shows each certificate that the monitor has found new; one that does not fit its key changes nothing.
async fn renew(server: Arc<Server<Container>>, container: Container) {
    let mut renewed = container.certificates();
    while renewed.changed().await.is_ok() {
        let Some(files) = renewed.borrow_and_update().clone() else { continue };
        match read_certificate(&files) {
            Ok((tls, pem)) => {
                server.show(tls);
                container.set_server_certificate(pem);
                tracing::info!("the server's certificate has changed and was taken up");
            }
            Err(error) => {
                tracing::error!(%error, "the server's new certificate is not taken up: the old one stays in force");
            }
        }
    }
}

fn read_certificate(files: &Renewed) -> Result<(ServerConfig, String), RunError> {
    let certificate = read_all(&files.certificate).map_err(io_error("certificate"))?;
    let key = read_all(&files.key).map_err(io_error("private key"))?;
    let tls = tls::server_config(&certificate, &key)?;
    Ok((tls, String::from_utf8_lossy(&certificate).into_owned()))
}

/// First the connections, so that nobody asks what would be refused; then the container, so that a
/// successor may start; then whoever still reads.
async fn drain(server: &Server<Container>, container: &Container, patience: Duration) {
    let patience = patience.saturating_sub(MARGIN);
    let work = async {
        // Once the server drains, so that what they are answered ends their connections too.
        let (drained, ()) =
            tokio::join!(server.drain(CONVERT), async { container.release_waiters() });
        container.drain().await;
        if drained == Drained::Left {
            server.drain(patience).await;
        }
    };
    if tokio::time::timeout(patience, work).await.is_err() {
        tracing::warn!("the drain took too long: what is under way is cut off");
    }
}

async fn monitor_gone(container: &Container) {
    while container.ending().await != Ending::MonitorGone {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Inherited {
    fn of(descriptors: Vec<OwnedFd>) -> Result<Self, RunError> {
        let count = descriptors.len();
        let [https, http, certificate, key] =
            <[OwnedFd; 4]>::try_from(descriptors).map_err(|_| RunError::Descriptors(count))?;
        Ok(Self {
            https,
            http,
            certificate: read_all(&certificate).map_err(io_error("certificate"))?,
            key: read_all(&key).map_err(io_error("private key"))?,
        })
    }
}

/// The whole of a file from its beginning, wherever a process before us has read it to.
fn read_all(descriptor: &OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(descriptor.try_clone()?);
    let mut bytes = vec![0; PEM_BYTES_MAX];
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match file.read_at(room, u64::try_from(length).unwrap_or(u64::MAX))? {
            0 => break,
            read => length += read,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// As many descriptors as the system allows: each connection needs one, and `select` is not used.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of descriptors stays as it is");
    }
}

fn io_error(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |error| RunError::Io { what, error }
}
