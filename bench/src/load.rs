//! The load generator: a bounded number of calls, handshakes or submissions, and what they took.
//! Prints one JSON object.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::{Parser, Subcommand};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Calls over connections that are kept.
    Calls {
        #[command(flatten)]
        to: To,
        /// The method, called with one string where it takes one.
        #[arg(long, default_value = "echo.echo")]
        method: String,
        /// The parameters, as XML-RPC values.
        #[arg(long, default_value = "<value><string>hello</string></value>")]
        params: String,
        /// The whole body of the request, in place of method and parameters.
        #[arg(long)]
        body: Option<PathBuf>,
        /// The content type that goes with it.
        #[arg(long, default_value = "text/xml")]
        kind: String,
        /// Calls that are not counted, to warm up.
        #[arg(long, default_value_t = 200)]
        warm: u64,
    },
    /// A full handshake and one call for each connection; no session is resumed.
    Handshakes {
        #[command(flatten)]
        to: To,
    },
    /// Submissions of the stamp job: from the call to the job's process running.
    Submit {
        #[command(flatten)]
        to: To,
        #[arg(long)]
        method: String,
        /// Where sandboxes are read.
        #[arg(long)]
        files: String,
    },
    /// One journal commit and one fork and exec of /bin/true, that many times.
    Baseline {
        #[arg(long)]
        folder: PathBuf,
        #[arg(long)]
        count: u64,
    },
}

#[derive(clap::Args, Clone)]
struct To {
    /// host:port
    #[arg(long)]
    address: String,
    /// Folder with certificates/ca.pem, and the credential.
    #[arg(long)]
    grid: PathBuf,
    /// The credential: a chain NAME.pem and its key NAME.key.
    #[arg(long, default_value = "caller")]
    credential: String,
    #[arg(long)]
    count: u64,
    /// Connections at one time.
    #[arg(long, default_value_t = 8)]
    connections: u64,
}

#[tokio::main]
async fn main() {
    let result = match Arguments::parse().what {
        What::Calls { to, method, params, body: file, kind, warm } => {
            let sent = match file {
                Some(file) => Bytes::from(std::fs::read(file).unwrap()),
                None => body(&method, &params),
            };
            calls(&to, &sent, &kind, warm).await
        }
        What::Handshakes { to } => handshakes(&to).await,
        What::Submit { to, method, files } => submit(&to, &body(&method, ""), &files).await,
        What::Baseline { folder, count } => baseline(&folder, count),
    };
    let _ = writeln!(std::io::stdout(), "{result}");
}

fn body(method: &str, params: &str) -> Bytes {
    let params = if params.is_empty() { String::new() } else { format!("<param>{params}</param>") };
    Bytes::from(format!(
        "<?xml version=\"1.0\"?><methodCall><methodName>{method}</methodName><params>{params}\
         </params></methodCall>"
    ))
}

fn client(to: &To) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(to.grid.join("certificates/ca.pem")).unwrap()).unwrap();
    let name = |end: &str| to.grid.join(format!("{}.{end}", to.credential));
    let chain = CertificateDer::pem_file_iter(name("pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(name("key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key).unwrap();
    // Not `with_client_auth_cert`: that reads the certificate, and webpki knows no proxies.
    let credential = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(credential);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

type Sender = SendRequest<Full<Bytes>>;

async fn connect(to: &To, config: &Arc<ClientConfig>) -> Sender {
    let stream = TcpStream::connect(&to.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// One call; the body of its answer.
async fn call(sender: &mut Sender, body: &Bytes) -> Bytes {
    call_as(sender, body, "text/xml").await
}

/// The same, of this content type.
async fn call_as(sender: &mut Sender, body: &Bytes, kind: &str) -> Bytes {
    sender.ready().await.unwrap();
    let request = Request::post("/clarens/")
        .header("host", "localhost")
        .header("content-type", kind)
        .body(Full::new(body.clone()))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

fn assert_no_fault(answer: &Bytes) {
    let text = String::from_utf8_lossy(answer.get(..answer.len().min(2048)).unwrap_or_default());
    assert!(!["<fault>", ":Fault>", "\"error\":{"].iter().any(|fault| text.contains(fault)), "{text}");
}

/// Runs `connections` workers, each with a share of `count`, and gathers what each one measured.
async fn spread<F, R>(to: &To, work: impl Fn(u64) -> F) -> (Vec<R>, Duration)
where
    F: Future<Output = Vec<R>> + Send + 'static,
    R: Send + 'static,
{
    let began = Instant::now();
    let workers: Vec<_> = (0..to.connections)
        .map(|worker| {
            let share = to.count / to.connections + u64::from(worker < to.count % to.connections);
            tokio::spawn(work(share))
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    (all, began.elapsed())
}

fn summary(mut micros: Vec<f64>, took: Duration) -> serde_json::Value {
    micros.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let place = (micros.len() as f64 * part) as usize;
        micros.get(place.min(micros.len().saturating_sub(1))).copied().unwrap_or(0.0)
    };
    json!({
        "count": micros.len(),
        "seconds": took.as_secs_f64(),
        "per_second": micros.len() as f64 / took.as_secs_f64(),
        "p50_us": at(0.5),
        "p99_us": at(0.99),
    })
}

async fn calls(to: &To, body: &Bytes, kind: &str, warm: u64) -> serde_json::Value {
    let config = client(to);
    let warming = To { count: warm, ..to.clone() };
    let kind: Arc<str> = kind.into();
    let one = |count: u64, to: To, config: Arc<ClientConfig>, body: Bytes, kind: Arc<str>| async move {
        let mut sender = connect(&to, &config).await;
        let mut micros = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            assert_no_fault(&call_as(&mut sender, &body, &kind).await);
            micros.push(began.elapsed().as_secs_f64() * 1e6);
        }
        micros
    };
    let work = |count| {
        one(count, to.clone(), Arc::clone(&config), body.clone(), Arc::clone(&kind))
    };
    if warm > 0 {
        let _: (Vec<f64>, _) = spread(&warming, work).await;
    }
    // The runner reads the server's CPU time when it sees this line, and again at the end.
    eprintln!("warm");
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    let (micros, took) = spread(to, work).await;
    summary(micros, took)
}

async fn handshakes(to: &To) -> serde_json::Value {
    let config = client(to);
    let body = body("echo.echo", "<value><string>hello</string></value>");
    let (micros, took) = spread(to, |count| {
        let (to, config, body) = (to.clone(), Arc::clone(&config), body.clone());
        async move {
            let mut micros = Vec::new();
            for _ in 0..count {
                let began = Instant::now();
                let mut sender = connect(&to, &config).await;
                assert_no_fault(&call(&mut sender, &body).await);
                micros.push(began.elapsed().as_secs_f64() * 1e6);
            }
            micros
        }
    })
    .await;
    summary(micros, took)
}

async fn submit(to: &To, body: &Bytes, files: &str) -> serde_json::Value {
    let config = client(to);
    let failed = Arc::new(AtomicU64::new(0));
    let (begun, took) = spread(to, |count| {
        let (to, config, body) = (to.clone(), Arc::clone(&config), body.clone());
        let failed = Arc::clone(&failed);
        async move {
            let mut sender = connect(&to, &config).await;
            let mut sessions = Vec::new();
            for _ in 0..count {
                let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let clock = Instant::now();
                let answer = call(&mut sender, &body).await;
                let answered = clock.elapsed().as_secs_f64() * 1e6;
                match session(&answer) {
                    Some(session) => sessions.push((session, began, answered)),
                    None => {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            sessions
        }
    })
    .await;
    let answered = summary(begun.iter().map(|(_, _, micros)| *micros).collect(), took);
    let mut running = Vec::new();
    let clock = Instant::now();
    for (session, began, _) in &begun {
        let stamp = stamp(files, session, clock + Duration::from_secs(120)).await;
        let began = i128::try_from(began.as_nanos()).unwrap();
        running.push(stamp.map_or(f64::INFINITY, |stamp| (stamp - began) as f64 / 1e3));
    }
    let done = clock.elapsed() + took;
    json!({
        "answered": answered,
        "running": summary(running.clone(), done),
        "never_ran": running.iter().filter(|micros| micros.is_infinite()).count(),
        "refused": failed.load(Ordering::Relaxed),
    })
}

/// The session id in an answer: the one run of 32 hex digits.
fn session(answer: &Bytes) -> Option<String> {
    let text = String::from_utf8_lossy(answer).into_owned();
    let mut words = text.split(|c: char| !c.is_ascii_hexdigit());
    words.find(|word| word.len() == 32).map(str::to_owned)
}

/// What the job has printed, as soon as it has.
async fn stamp(files: &str, session: &str, until: Instant) -> Option<i128> {
    while Instant::now() < until {
        let stream = TcpStream::connect(files).await.ok()?;
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get(format!("/sandboxes/{session}/stdout"))
            .header("host", "localhost")
            .body(Full::default())
            .ok()?;
        let response = sender.send_request(request).await.ok()?;
        let found = response.status() == 200;
        let body = response.into_body().collect().await.ok()?.to_bytes();
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        if found && !text.is_empty() {
            return text.parse().ok();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

/// The floor of a submission: a durable commit, then a process. Each is timed by itself, in turn.
fn baseline(folder: &std::path::Path, count: u64) -> serde_json::Value {
    let journal = rusqlite::Connection::open(folder.join("baseline.sqlite")).unwrap();
    journal.pragma_update(None, "journal_mode", "WAL").unwrap();
    journal.pragma_update(None, "synchronous", "FULL").unwrap();
    journal.execute("create table if not exists t (a integer primary key, b text)", ()).unwrap();
    let (mut commits, mut processes, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    let began = Instant::now();
    for number in 0..count {
        let clock = Instant::now();
        journal.execute("insert into t (b) values (?1)", [format!("{number:0200}")]).unwrap();
        let committed = clock.elapsed();
        let clock = Instant::now();
        let status = std::process::Command::new("/bin/true").env_clear().status().unwrap();
        assert!(status.success());
        let ran = clock.elapsed();
        commits.push(committed.as_secs_f64() * 1e6);
        processes.push(ran.as_secs_f64() * 1e6);
        sums.push((committed + ran).as_secs_f64() * 1e6);
    }
    let took = began.elapsed();
    json!({
        "commit": summary(commits, took),
        "process": summary(processes, took),
        "both": summary(sums, took),
    })
}
