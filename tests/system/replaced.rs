//! A gatekeeper is replaced under load, and nobody is told so by a failed request.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nesssi_testkit::{Value, World, tokio, wait_until};
use serde_json::Value as Json;

use crate::survival::{GATEKEEPER, below};
use crate::waiters::{ca, connect};

/// How often the gatekeeper is replaced while they call.
const REPLACED: usize = 5;

/// HTTP/2 calls at one time.
const STREAMS: usize = 8;

/// Clients over HTTP/1.1, a thread for each; what they did and what failed is printed at the end of
/// standard input. Only what a careful client does is done: a connection is left when its answer says so,
/// and none is used that has been idle.
const CLIENTS: &str = r#"
import hashlib, http.client, json, ssl, sys, threading, time, traceback
port, http_port, ca, certificate, key, waited, downloaded, uploads, starts = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
stop = threading.Event()
counts, failed, lock = {}, [], threading.Lock()

def count(name, number=1):
    with lock:
        counts[name] = counts.get(name, 0) + number

def xml(method, *params):
    params = "".join(f"<param><value>{param}</value></param>" for param in params)
    return f"<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>"

class Kept:
    """One connection that is kept, and made anew when an answer has said that it ends."""
    def __init__(self, tls=True):
        self.tls, self.connection = tls, None
    def ask(self, method, path, body=None, headers={}, slowly=None):
        fresh = self.connection is None
        if fresh:
            self.connection = (http.client.HTTPSConnection("localhost", int(port), context=context, timeout=60)
                               if self.tls else http.client.HTTPConnection("localhost", int(http_port), timeout=60))
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        if slowly:
            data = b""
            while True:
                part = answer.read(65536)
                if not part:
                    break
                data += part
                time.sleep(slowly)
        else:
            data = answer.read()
        if answer.will_close:
            self.connection.close()
            self.connection = None
            count("ended by the answer")
        return answer.status, data
    def call(self, body):
        status, data = self.ask("POST", "/clarens/", body.encode(), {"Content-Type": "text/xml"})
        text = data.decode()
        if status != 200 or "<fault>" in text:
            raise RuntimeError(f"{status} {text}")
        return text

def forever(name, make, work):
    def run():
        kept = make()
        while not stop.is_set():
            try:
                work(kept)
                count(name)
            except Exception as error:
                with lock:
                    failed.append(f"{name} at {time.time():.3f}: {traceback.format_exc()[-300:]}")
                kept = make()
    thread = threading.Thread(target=run)
    thread.start()
    return thread

def echo(kept):
    text = kept.call(xml("echo.echo", "hello"))
    assert "hello" in text, text
    time.sleep(0.005)

def wait(kept):
    text = kept.call(xml("job.wait", waited, "<double>4</double>"))
    assert "running" in text, text

def submit(kept):
    command = f"<array><data><value>/bin/mktemp</value><value>{starts}/XXXXXXXX</value></data></array>"
    kept.call(xml("job.submit", command, "<double>5</double>"))
    time.sleep(0.2)

def download(kept, slowly=None):
    status, data = kept.ask("GET", downloaded, slowly=slowly)
    assert status == 200 and hashlib.sha256(data).hexdigest() == DIGEST, (status, len(data))
    time.sleep(0.1)

def upload(kept):
    def parts():
        for _ in range(20):
            time.sleep(0.05)
            yield b"u" * 65536
    status, data = kept.ask("PUT", uploads, parts(), {"Content-Length": str(20 * 65536)})
    assert status in (200, 201), (status, data)

DIGEST = hashlib.sha256(Kept(tls=False).ask("GET", downloaded)[1]).hexdigest()
threads = [forever("echo", Kept, echo) for _ in range(4)]
threads += [forever("echo on a new connection", Kept, lambda kept: (echo(Kept()), time.sleep(0.05))) for _ in range(2)]
threads += [forever("job.wait", Kept, wait) for _ in range(3)]
threads += [forever("job.submit", Kept, submit) for _ in range(2)]
threads += [forever("download", lambda: Kept(tls=False), download) for _ in range(2)]
threads += [forever("slow download", lambda: Kept(tls=False), lambda kept: download(Kept(tls=False), 0.1))]
threads += [forever("upload", Kept, upload)]
print("ready", flush=True)
sys.stdin.read()
stop.set()
for thread in threads:
    thread.join()
json.dump({"counts": counts, "failed": failed}, sys.stdout)
"#;

struct Clients(Child);

impl Clients {
    fn begin(world: &World, paths: [&str; 4]) -> Self {
        let alice = &world.alice;
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", CLIENTS, &world.https.port().to_string(), &world.http.port().to_string()])
            .args([&world.grid.ca_file(), &alice.certificate, &alice.key])
            .args(paths)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0_u8; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        Self(child)
    }

    fn end(mut self) -> Json {
        drop(self.0.stdin.take());
        let output: Output = self.0.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Calls over HTTP/2, so many at one time on one connection. A call that the server has said it did not
/// begin is sent again on the next connection, as every client of HTTP/2 does.
async fn multiplexed(world: &World, stop: &AtomicBool, done: &AtomicUsize) -> Vec<String> {
    let tls = ca(world);
    let mut failed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let stream = connect(world.https, Arc::clone(&tls), true).await;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn(stream_of_calls(sender.clone()));
        }
        drop(sender);
        while let Some(outcome) = streams.join_next().await {
            let (calls, failure) = outcome.unwrap();
            done.fetch_add(calls, Ordering::Relaxed);
            failed.extend(failure);
        }
        driver.abort();
    }
    failed
}

/// Calls until the connection takes no more; how many, and what failed.
async fn stream_of_calls(mut sender: http2::SendRequest<Full<Bytes>>) -> (usize, Option<String>) {
    const BODY: &str = "<methodCall><methodName>echo.echo</methodName><params><param>\
        <value>hello</value></param></params></methodCall>";
    for calls in 0_usize..2_000 {
        if sender.ready().await.is_err() {
            return (calls, None);
        }
        let request = Request::post("https://localhost/clarens/")
            .header("content-type", "text/xml")
            .body(Full::new(Bytes::from_static(BODY.as_bytes())))
            .unwrap();
        let answer = match sender.try_send_request(request).await {
            Ok(answer) => answer,
            Err(mut error) => {
                // It comes back only if nothing of it was sent.
                if error.take_message().is_some() {
                    return (calls, None);
                }
                let error = error.into_error();
                // Streams above the last that the server has named were not begun (RFC 9113, 6.8).
                let refused = format!("{error:?}");
                let again = refused.contains("REFUSED_STREAM") || refused.contains("NO_ERROR");
                return (calls, (!again).then_some(refused));
            }
        };
        let status = answer.status();
        let text = match answer.into_body().collect().await {
            Ok(text) => text.to_bytes(),
            Err(error) => return (calls, Some(format!("body: {error:?}"))),
        };
        if status != 200 || !text.windows(5).any(|part| part == b"hello") {
            return (calls, Some(format!("{status} {}", String::from_utf8_lossy(&text))));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    (2_000, None)
}

fn gatekeeper(world: &World) -> i32 {
    *below(world.server.as_ref().unwrap().pid(), GATEKEEPER).last().unwrap()
}

fn restart(world: &World) -> Output {
    Command::new(world.program("nesssi-admin"))
        .args(["restart", "--config"])
        .arg(&world.config)
        .output()
        .unwrap()
}

#[test]
fn a_gatekeeper_is_replaced_under_load_without_a_failed_request() {
    let mut world = World::builder()
        .key("job", "submit_levels = [\"strong\", \"anonymous\"]")
        .level("strong", "jobs_at_once = 10000")
        .start();
    let starts = world.path().join("starts");
    fs::create_dir(&starts).unwrap();
    fs::set_permissions(&starts, fs::Permissions::from_mode(0o777)).unwrap();
    let alice = world.alice.clone();
    let argv = |words: &[&str]| Value::Array(words.iter().map(|word| Value::from(*word)).collect());
    let submit = |words: &[&str]| {
        world.session(Some(&alice), "job.submit", vec![argv(words), Value::Int(50)])
    };
    let waited = submit(&["/bin/sleep", "1000"]);
    let filled = submit(&["/bin/dd", "if=/dev/urandom", "of=data", "bs=65536", "count=64"]);
    assert_eq!(world.ended(Some(&alice), &filled)["state"], Value::from("done"));
    world.wait_state(Some(&alice), &waited, "running");
    let target = format!("/clarens/{waited}/up");
    let source = format!("/sandboxes/{filled}/data");
    let clients = Clients::begin(&world, [&waited, &source, &target, starts.to_str().unwrap()]);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut longest = Duration::ZERO;
    let failed = std::thread::scope(|scope| {
        let calls = scope.spawn(|| runtime.block_on(multiplexed(&world, &stop, &done)));
        for turn in 0..REPLACED {
            std::thread::sleep(Duration::from_millis(700));
            let before = gatekeeper(&world);
            let begun = Instant::now();
            if turn % 2 == 0 {
                let output = restart(&world);
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success() && text.contains("was replaced"), "{output:?}");
            } else {
                let monitor = rustix::process::Pid::from_raw(
                    world.server.as_ref().unwrap().pid().cast_signed(),
                );
                rustix::process::kill_process(monitor.unwrap(), rustix::process::Signal::HUP)
                    .unwrap();
                wait_until("another gatekeeper serves", 60, || {
                    let log = world.server.as_ref().unwrap().log();
                    (log.matches("the gatekeeper serves").count() >= turn + 2).then_some(())
                });
            }
            longest = longest.max(begun.elapsed());
            assert_ne!(gatekeeper(&world), before);
        }
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        calls.join().unwrap()
    });
    let told = clients.end();
    let mut out = std::io::stderr();
    writeln!(
        out,
        "{REPLACED} replacements, {longest:.1?} the longest: {} calls over HTTP/2, and {}",
        done.load(Ordering::Relaxed),
        told["counts"]
    )
    .unwrap();
    let none: &[Json] = &[];
    assert_eq!(told["failed"].as_array().map(Vec::as_slice), Some(none), "{told:#}");
    assert_eq!(failed, Vec::<String>::new());
    assert!(done.load(Ordering::Relaxed) > 100);
    for kind in ["echo", "job.wait", "job.submit", "download", "slow download", "upload"] {
        assert!(told["counts"][kind].as_u64().unwrap_or(0) > 0, "{kind}: {told:#}");
    }
    let submitted = told["counts"]["job.submit"].as_u64().unwrap();
    let started = || u64::try_from(fs::read_dir(&starts).unwrap().count()).unwrap();
    wait_until("every job has begun", 60, || (started() >= submitted).then_some(()));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(started(), submitted, "each once");
    assert_eq!(world.call(Some(&alice), "job.cancel", vec![waited.into()]), Ok("cancelled".into()));
    world.stop_server();
}

#[test]
fn a_gatekeeper_goes_on_when_its_successor_cannot_serve_and_the_restart_says_why() {
    let world = World::builder().start();
    let before = gatekeeper(&world);
    let certificate = world.grid.host().certificate;
    let good = fs::read(&certificate).unwrap();
    fs::write(&certificate, "nonsense").unwrap();
    let output = restart(&world);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{output:?}");
    assert!(text.contains(&format!("pid {before} goes on: the new one cannot serve: ")), "{text}");
    assert!(text.contains("certificate"), "{text}");
    assert_eq!(gatekeeper(&world), before);
    let echoed = world.call(Some(&world.alice), "echo.echo", vec!["still".into()]);
    assert_eq!(echoed, Ok(Value::Array(vec!["still".into()])));
    fs::write(&certificate, good).unwrap();
    let output = restart(&world);
    assert!(output.status.success(), "{output:?}");
    assert_ne!(gatekeeper(&world), before);
}
