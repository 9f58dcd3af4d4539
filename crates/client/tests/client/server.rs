//! A server that answers as a NESSSI would, and misbehaves when it is asked to.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nesssi_client::{Fault, FaultCode, Value};
use nesssi_rpc::Call;
use nesssi_rpc::xmlrpc::{Bounds, decode_call, encode_reply};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The session that the server knows.
pub(crate) const SESSION: &str = "0123456789abcdef0123456789abcdef";
/// A session whose job ends badly.
pub(crate) const FAILING: &str = "fedcba9876543210fedcba9876543210";
/// A session whose job does not end.
pub(crate) const RUNNING: &str = "00000000000000000000000000000001";
/// Bytes of the file `big`.
pub(crate) const BIG: usize = 8 * 1024 * 1024;

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) files_url: String,
    folder: tempfile::TempDir,
    state: Arc<State>,
    runtime: Option<Runtime>,
}

struct State {
    files_url: String,
    /// The methods called, in order.
    calls: Mutex<Vec<String>>,
    /// Their tags, in order.
    tags: Mutex<Vec<Option<String>>>,
    /// What was put, by path.
    put: Mutex<Vec<(String, Vec<u8>)>>,
    connections: AtomicUsize,
    open: Mutex<JoinSet<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(make_grid(folder.path())));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let bind = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let _inside = runtime.enter();
            TcpListener::from_std(listener).unwrap()
        };
        let (calls, files) = (bind(), bind());
        let address = |listener: &TcpListener| -> SocketAddr { listener.local_addr().unwrap() };
        let url = format!("https://localhost:{}/clarens/", address(&calls).port());
        let files_url = format!("http://{}", address(&files));
        let state = Arc::new(State {
            files_url: files_url.clone(),
            calls: Mutex::default(),
            tags: Mutex::default(),
            put: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        runtime.spawn(accept_calls(calls, acceptor, Arc::clone(&state)));
        runtime.spawn(accept_files(files));
        Self { url, files_url, folder, state, runtime: Some(runtime) }
    }

    /// A file of the server's throwaway grid: `ca.pem`, `user.pem`, `user.key`, `proxy.pem`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.state.calls.lock().unwrap().clone()
    }

    pub(crate) fn tags(&self) -> Vec<Option<String>> {
        self.state.tags.lock().unwrap().clone()
    }

    pub(crate) fn put(&self) -> Vec<(String, Vec<u8>)> {
        self.state.put.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection, as a server does with idle ones, and waits until they are closed.
    pub(crate) async fn close_connections(&self) {
        let mut open = std::mem::take(&mut *self.state.open.lock().unwrap());
        open.shutdown().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A runtime that is dropped inside of another's task would block it.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// A CA, a host's and a user's certificates as files; the host's as a TLS configuration.
fn make_grid(folder: &Path) -> ServerConfig {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "test CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let put = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
    put("ca.pem", ca.pem());

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "user");
    let user = params.signed_by(&key, &ca).unwrap();
    put("user.pem", user.pem());
    put("user.key", key.serialize_pem());
    put("proxy.pem", format!("{}{}", user.pem(), key.serialize_pem()));

    let key = KeyPair::generate().unwrap();
    let host = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let host = host.signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![host.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap()
}

async fn accept_calls(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<State>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&state));
        let connection = async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
            let certified = tls.get_ref().1.peer_certificates().is_some();
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { answer_call(request, &shared, number, certified).await }
            });
            http1::Builder::new()
                .serve_connection(TokioIo::new(tls), service)
                .await
                .unwrap_or_default();
        };
        state.open.lock().unwrap().spawn(connection);
    }
}

type Answer = Response<Full<Bytes>>;

fn answer(status: u16, kind: &str, body: impl Into<Bytes>) -> Answer {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(Full::new(body.into()))
        .unwrap()
}

#[derive(Debug, thiserror::Error)]
#[error("the test wants this connection to break")]
struct Break;

async fn answer_call(
    request: Request<Incoming>,
    state: &State,
    connection: usize,
    certified: bool,
) -> Result<Answer, Break> {
    if request.method() == "PUT" {
        return answer_put(request, state).await;
    }
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri().path(), "/clarens/");
    let tag =
        request.headers().get("nesssi-client-tag").map(|tag| tag.to_str().unwrap().to_owned());
    assert_eq!(request.headers()["content-type"], "text/xml; charset=utf-8");
    let body = request.into_body().collect().await.map_err(|_| Break)?.to_bytes();
    let call = decode_call(&body, &Bounds::default()).unwrap();
    let times = {
        let mut calls = state.calls.lock().unwrap();
        calls.push(call.method.to_string());
        state.tags.lock().unwrap().push(tag.clone());
        calls.iter().filter(|method| **method == call.method.as_str()).count()
    };
    let xml = |reply| Ok(answer(200, "text/xml; charset=utf-8", encode_reply(&reply)));
    match call.method.as_str() {
        "test.break" => Err(Break),
        "test.break_twice" if times <= 2 => Err(Break),
        "test.break_twice" => {
            let mut reply = answer(200, "text/xml", encode_reply(&Ok(Value::Int(7))));
            reply.headers_mut().insert("NESSSI-Answer", "again".parse().unwrap());
            Ok(reply)
        }
        "test.busy_once" if times == 1 => {
            xml(Err(Fault::new(FaultCode::Unavailable, "the server is being replaced")))
        }
        "test.busy_once" => xml(Ok(Value::Bool(true))),
        "job.wait" => xml(waited(&call, times)),
        "test.never" => std::future::pending().await,
        "test.html" => Ok(answer(502, "text/html", "<h1>Bad Gateway</h1>")),
        "test.garbage" => Ok(answer(200, "text/xml", "<methodResponse>")),
        "test.escape" => xml(Ok(Value::from("\u{9b}2J"))),
        "test.escape_in_fault" => xml(Err(Fault::new(FaultCode::Service(7), "\u{9b}2J"))),
        "test.fault_as_403" => {
            let fault = Fault::refused("certificate /CN=x expired");
            Ok(answer(403, "text/xml", encode_reply(&Err(fault))))
        }
        "test.session" => {
            let mut reply = answer(200, "text/xml", encode_reply(&Ok(Value::from(SESSION))));
            let url = format!("{}/sandboxes/{SESSION}/", state.files_url);
            reply.headers_mut().insert("NESSSI-Session-URL", url.parse().unwrap());
            Ok(reply)
        }
        "file.read" => match call.params.first().and_then(Value::as_str) {
            Some("/x.xml") => Ok(answer(200, "application/xml", "<methodResponse/>")),
            Some("/text") => Ok(answer(200, "text/plain; charset=utf-8", "seven\n")),
            Some("/bytes") => Ok(answer(200, "application/octet-stream", &b"\xff\x00"[..])),
            _ => xml(Err(Fault::new(FaultCode::NotFound, "no such file"))),
        },
        "test.connection" => xml(Ok(Value::Int(i64::try_from(connection).unwrap()))),
        "test.certified" => xml(Ok(Value::Bool(certified))),
        _ => xml(reply(state, &call)),
    }
}

async fn answer_put(request: Request<Incoming>, state: &State) -> Result<Answer, Break> {
    let path = request.uri().path().strip_prefix("/clarens/").unwrap().to_owned();
    let body = request.into_body().collect().await.map_err(|_| Break)?.to_bytes().to_vec();
    let reply = if path.starts_with(SESSION) {
        Ok(Value::Int(i64::try_from(body.len()).unwrap()))
    } else {
        Err(Fault::no_such_session())
    };
    let status = if reply.is_ok() { 201 } else { 404 };
    state.put.lock().unwrap().push((path, body));
    Ok(answer(status, "text/xml", encode_reply(&reply)))
}

/// A job that runs for two polls, in which the server is replaced; `failing` ends badly.
fn waited(call: &Call, times: usize) -> nesssi_rpc::Reply {
    let [Value::String(session), Value::Double(_)] = call.params.as_slice() else {
        return Err(Fault::invalid_params("job.wait(session, seconds)"));
    };
    let ended = times > 2;
    let state = match (ended, session.as_str()) {
        (_, "ffffffffffffffffffffffffffffffff") => return Err(Fault::no_such_session()),
        (false, _) | (_, RUNNING) => "running",
        (true, SESSION) => "done",
        (true, _) => "failed",
    };
    Ok(Value::record([
        ("state", Value::from(state)),
        ("session", Value::from(session.as_str())),
        ("cpu_seconds", Value::Double(1.5)),
        ("exit_code", Value::Int(i64::from(state == "failed") * 7)),
        ("ended", Value::Bool(ended)),
        ("retry", Value::Bool(times == 1)),
    ]))
}

fn reply(state: &State, call: &Call) -> nesssi_rpc::Reply {
    match (call.method.as_str(), call.params.as_slice()) {
        ("echo.echo", params) => Ok(Value::Array(params.to_vec())),
        ("session.url", [Value::String(session)]) => match session.as_str() {
            SESSION => Ok(Value::from(format!("{}/sandboxes/{SESSION}/", state.files_url))),
            "moved" => Ok(Value::from(format!("{}/moved/", state.files_url))),
            "odd" => Ok(Value::from("file:///etc/")),
            _ => Err(Fault::no_such_session()),
        },
        ("job.status", [Value::String(session)])
            if [SESSION, FAILING, RUNNING].contains(&session.as_str()) =>
        {
            Ok(Value::record([("state", Value::from("done")), ("cpu_seconds", Value::Double(1.5))]))
        }
        ("job.cancel", [Value::String(session)]) if session == SESSION => {
            Ok(Value::from("cancelled"))
        }
        ("job.submit", [Value::Array(_), Value::Double(_), ..]) => Ok(Value::from(FAILING)),
        ("session.new", _) => Ok(Value::from(SESSION)),
        ("session.extend", [Value::String(session), Value::Int(_)]) if session == SESSION => {
            Ok(Value::DateTime(nesssi_client::DateTime::parse("20300101T00:00:00").unwrap()))
        }
        ("session.destroy", [Value::String(session)]) if session == SESSION => {
            Ok(Value::Bool(true))
        }
        ("session.extend" | "session.destroy", _) => Err(Fault::no_such_session()),
        ("job.list", filter) => Ok(Value::Array(vec![Value::record([
            ("session", Value::from(SESSION)),
            ("state", Value::from("done")),
            ("service", Value::from("sleepy")),
            ("created", Value::from("2006-11-22T12:00:00Z")),
            ("filter", Value::Array(filter.to_vec())),
        ])])),
        ("job.status" | "job.cancel", _) => Err(Fault::no_such_session()),
        ("test.limit", _) => {
            let text = "asked for 999999 CPU seconds, the limit of level weak is 3600";
            Err(Fault::new(FaultCode::OverLimit, text))
        }
        _ => Err(Fault::new(FaultCode::NoSuchMethod, "no such method")),
    }
}

async fn accept_files(listener: TcpListener) {
    while let Ok((tcp, _)) = listener.accept().await {
        tokio::spawn(async move {
            let service =
                service_fn(|request| async move { Ok::<_, Infallible>(answer_file(&request)) });
            http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), service)
                .await
                .unwrap_or_default();
        });
    }
}

/// Names as no job of good will writes them.
const EVIL: &str = r#"{"entries":[{"name":"../../escaped","directory":false},{"name":"..","directory":true},
    {"name":"/etc/passwd","directory":false},{"name":".bashrc","directory":false},
    {"name":"\u001b[2J","directory":false},{"name":"deep","directory":true},
    {"name":"good","directory":false,"size":4,"modified":1164196800}]}"#;
/// What the file `resumed` holds.
pub(crate) const RESUMED: &str = "0123456789";

type File = Response<BoxBody<Bytes, Break>>;

/// A file whose connection breaks after `bytes`, out of as many as are promised.
fn broken(bytes: &'static [u8], promised: Option<usize>) -> File {
    let frames = StreamBody::new(Broken { bytes: Some(bytes), pause: None });
    let mut response = Response::builder().header("content-type", "text/plain");
    if let Some(length) = promised {
        response = response.header("content-length", length).header("etag", "\"v1\"");
    }
    response.body(BodyExt::boxed(frames)).unwrap()
}

struct Broken {
    bytes: Option<&'static [u8]>,
    /// In it the bytes go out: with the break they would be lost.
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl futures_core::Stream for Broken {
    type Item = Result<Frame<Bytes>, Break>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes)))));
        }
        let pause = std::time::Duration::from_millis(100);
        let sleep = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        sleep.as_mut().poll(context).map(|()| Some(Err(Break)))
    }
}

/// The whole of it breaks off in the middle; the rest comes to who has the version.
fn resumed(request: &Request<Incoming>) -> File {
    let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap());
    let Some(range) = text("range").filter(|_| text("if-range") == Some("\"v1\"")) else {
        return broken(b"01234", Some(RESUMED.len()));
    };
    let from: usize =
        range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
    let body = Full::new(Bytes::from_static(RESUMED.as_bytes()).slice(from..));
    Response::builder()
        .status(206)
        .header("etag", "\"v1\"")
        .header("content-range", format!("bytes {from}-9/10"))
        .body(body.map_err(|never| match never {}).boxed())
        .unwrap()
}

fn answer_file(request: &Request<Incoming>) -> File {
    let whole = |answer: Answer| answer.map(|body| body.map_err(|never| match never {}).boxed());
    let accepts_json = request.headers()["accept"] == "application/json";
    let path = request.uri().path();
    if path.starts_with("/moved/") {
        return whole(answer(302, "text/plain", ""));
    }
    let within = path.strip_prefix(&format!("/sandboxes/{SESSION}/"));
    whole(match (within, request.uri().query()) {
        (Some(""), None) if accepts_json => answer(
            200,
            "application/json",
            r#"{"entries":[{"name":"sub","directory":true,"size":0,"modified":1164196800},
                {"name":"stdout","directory":false,"size":10,"modified":1164196801}],"cut":true}"#,
        ),
        (Some(""), None) => answer(200, "text/html", "<ul></ul>"),
        (Some("sub/"), None) if accepts_json => {
            answer(200, "application/json; charset=utf-8", r#"{"entries":[],"cut":false}"#)
        }
        (Some("stdout"), None) => answer(200, "text/plain", "3 + 5 = 8\n"),
        (Some("stdout"), Some("follow&from=14")) => answer(200, "text/plain", ""),
        (Some("stdout"), Some("follow")) => answer(200, "text/plain", "3 + 5 = 8\nend\n"),
        (Some("a%20b"), None) => answer(200, "application/octet-stream", &b"\xff\x00\x1b[2J"[..]),
        (Some("resumed"), None) => return resumed(request),
        (Some("growing"), Some("follow")) => return broken(b"one\n", None),
        (Some("growing"), Some("follow&from=4")) => answer(200, "text/plain", "two\n"),
        (Some("evil/"), None) if accepts_json => answer(200, "application/json", EVIL),
        (Some("evil/good"), None) => answer(200, "text/plain", "good"),
        (Some("evil/deep/"), None) if accepts_json => {
            answer(200, "application/json", r#"{"entries":[{"name":"x","directory":false}]}"#)
        }
        (Some("evil/deep/x"), None) => answer(200, "text/plain", "x"),
        (Some("big"), None) => answer(200, "text/plain", vec![b'x'; BIG]),
        _ => answer(404, "text/html", "<h1>Not found</h1>"),
    })
}
