//! Many who wait for one job on one gatekeeper: what they cost, and how soon they are told.
//!
//! 500 of them in the gate, 10,000 with `NESSSI_LONG=1`; the figures are printed.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nesssi_testkit::tokio::net::TcpStream;
use nesssi_testkit::tokio::sync::{Semaphore, mpsc};
use nesssi_testkit::tokio::task::JoinSet;
use nesssi_testkit::{Value, World, tokio, wait_until};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Requests at one time on one HTTP/2 connection.
const STREAMS: usize = 64;

/// Handshakes at one time.
const HANDSHAKES: usize = 32;

/// How soon after the first the last must have been answered; on a busy machine, with all the clients.
const ANSWERED_SECONDS_MAX: u64 = 5;

fn count() -> usize {
    if std::env::var("NESSSI_LONG").is_ok_and(|long| long == "1") { 10_000 } else { 500 }
}

#[test]
fn many_wait_over_http_2() {
    many_wait("HTTP/2 streams", count(), true);
}

#[test]
fn many_wait_each_on_a_connection_of_its_own() {
    many_wait("TLS connections", count(), false);
}

fn many_wait(how: &str, count: usize, multiplexed: bool) {
    raise_descriptor_limit();
    let many = format!("= {}", count + 100);
    let mut world = World::builder()
        .key("job", "submit_levels = [\"anonymous\"]")
        .key("bounds", &format!("waiters_max = {count}"))
        .key("bounds", &format!("waiters_per_caller_max {many}"))
        .key("bounds", &format!("connections_max {many}"))
        .key("bounds", &format!("connections_per_address_max {many}"))
        .start();
    let gatekeeper = gatekeeper_of(world.server().pid());
    let limits = fs::read_to_string(format!("/proc/{gatekeeper}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|at| files.split_whitespace().nth(at).unwrap());
    assert_eq!(soft, hard, "a gatekeeper takes as many descriptors as it is given");
    let sleeper = Value::Array(vec!["/bin/sleep".into(), "600".into()]);
    let session = world.session(None, "job.submit", vec![sleeper, Value::Int(5)]);
    world.wait_state(None, &session, "running");

    let before = Figures::of(gatekeeper);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (sender, mut answered) = mpsc::unbounded_channel();
    let begun = Instant::now();
    let waiting = runtime.spawn(all_wait(
        world.https,
        ca(&world),
        session.clone(),
        count,
        multiplexed,
        sender,
    ));
    // One more than may is refused once all are there.
    let one_more =
        || world.call(None, "job.wait", vec![session.as_str().into(), Value::Double(0.05)]);
    wait_until("all wait", 280, || one_more().err());
    let arrived = begun.elapsed();
    let during = Figures::of(gatekeeper);
    assert!(answered.try_recv().is_err(), "nobody is answered before the job's end");

    let cancelled = Instant::now();
    world.call(None, "job.cancel", vec![session.as_str().into()]).unwrap();
    let told = runtime.block_on(async {
        let mut told = Vec::new();
        while told.len() < count {
            let one = tokio::time::timeout(Duration::from_secs(60), answered.recv()).await;
            told.push(one.expect("everybody is answered").expect("an answer"));
        }
        told
    });
    runtime.block_on(waiting).unwrap();
    let last: Instant = told.iter().map(|(at, _)| *at).max().unwrap();
    for (_, text) in &told {
        assert!(text.contains("cancelled") && text.contains("ended"), "{text}");
    }
    let first: Instant = told.iter().map(|(at, _)| *at).min().unwrap();
    let spread = last.saturating_duration_since(first);
    let kib = (during.rss_kib - before.rss_kib) as f64 / count as f64;
    eprintln!(
        "{count} waiters over {how}: all there after {arrived:.1?}; resident {} -> {} KiB ({kib:.1} KiB \
         each); threads {} -> {}; the last answered {:.2?} after the cancel was asked, {spread:.2?} after \
         the first",
        before.rss_kib,
        during.rss_kib,
        before.threads,
        during.threads,
        last.saturating_duration_since(cancelled),
    );
    assert!(during.threads <= before.threads + 4, "no thread for a waiter");
    assert!(kib < 64.0, "{kib} KiB for a waiter");
    assert!(spread < Duration::from_secs(ANSWERED_SECONDS_MAX), "{spread:?}");
}

/// Resident memory and threads of a process.
struct Figures {
    rss_kib: i64,
    threads: i64,
}

impl Figures {
    fn of(pid: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let figure = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Self { rss_kib: figure("VmRSS:"), threads: figure("Threads:") }
    }
}

fn gatekeeper_of(monitor: u32) -> i32 {
    let children = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let parent: u32 = rest.split_whitespace().nth(1)?.parse().ok()?;
        (parent == monitor && name.contains("(nesssi-gatekee")).then_some(pid)
    });
    children.into_iter().next().expect("a gatekeeper runs")
}

fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

pub(crate) fn ca(world: &World) -> Arc<ClientConfig> {
    let pem = fs::read(world.grid.ca_file()).unwrap();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

type Answers = mpsc::UnboundedSender<(Instant, String)>;

async fn all_wait(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    session: String,
    count: usize,
    multiplexed: bool,
    answers: Answers,
) {
    let at_once = Arc::new(Semaphore::new(HANDSHAKES));
    let mut all = JoinSet::new();
    let per_connection = if multiplexed { STREAMS } else { 1 };
    let mut left = count;
    while left > 0 {
        let here = left.min(per_connection);
        left -= here;
        let (tls, session, answers) = (Arc::clone(&tls), session.clone(), answers.clone());
        let turn = Arc::clone(&at_once).acquire_owned().await.unwrap();
        all.spawn(async move {
            let stream = connect(address, tls, multiplexed).await;
            drop(turn);
            if multiplexed {
                wait_on_http_2(stream, &session, here, answers).await;
            } else {
                wait_on_http_1(stream, &session, answers).await;
            }
        });
    }
    while let Some(one) = all.join_next().await {
        one.unwrap();
    }
}

pub(crate) async fn connect(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    multiplexed: bool,
) -> TlsStream<TcpStream> {
    let mut tls = ClientConfig::clone(&tls);
    tls.alpn_protocols = vec![if multiplexed { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap()
}

fn request(session: &str) -> Request<Full<Bytes>> {
    let body = format!(
        "<methodCall><methodName>job.wait</methodName><params><param><value>{session}</value></param>\
         <param><value><int>290</int></value></param></params></methodCall>"
    );
    Request::post("https://localhost/clarens/")
        .header("host", "localhost")
        .header("content-type", "text/xml")
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

/// Whether the one that looks if all are there has had the last place for a moment.
fn is_crowded(text: &str) -> bool {
    text.contains(">429<")
}

async fn wait_on_http_1(stream: TlsStream<TcpStream>, session: &str, answers: Answers) {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let text = loop {
        let answer = sender.send_request(request(session)).await.unwrap();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        if !is_crowded(&text) {
            break text;
        }
    };
    answers.send((Instant::now(), text)).unwrap();
    driver.abort();
}

async fn wait_on_http_2(
    stream: TlsStream<TcpStream>,
    session: &str,
    here: usize,
    answers: Answers,
) {
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut streams = JoinSet::new();
    for _ in 0..here {
        let (mut sender, session, answers) = (sender.clone(), session.to_owned(), answers.clone());
        streams.spawn(async move {
            let text = loop {
                let answer = sender.send_request(request(&session)).await.unwrap();
                let text = answer.into_body().collect().await.unwrap().to_bytes();
                let text = String::from_utf8(text.to_vec()).unwrap();
                if !is_crowded(&text) {
                    break text;
                }
            };
            answers.send((Instant::now(), text)).unwrap();
        });
    }
    while let Some(one) = streams.join_next().await {
        one.unwrap();
    }
    driver.abort();
}
