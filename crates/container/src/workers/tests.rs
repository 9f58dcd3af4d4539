//! Workers are stood in for by tasks that speak the protocol on a socket pair; the last tests run
//! the real Python worker.

use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nesssi_policy::{LevelName, Limits};
use nesssi_privsep::{Command, Spawn};
use nesssi_rpc::{Dialect, Fault, FaultCode, MethodName, Value};
use nesssi_service::protocol::{Ask, AtWorker, FromWorker, LINE_BYTES_MAX, Outcome, Request};
use nesssi_service::{Description, Manifest, ServiceName, Token};
use nesssi_session::SessionId;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::{
    Answered, Called, DeskSettings, Desks, End, FAST_DEATHS_MAX, Host, Meter, ServiceCall, Started,
    WAITING_CALLS_MAX, call, lock,
};
use crate::grants::{CallerGrant, Grant, JudgedBy};
use crate::registry::{Behind, Service};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A host whose workers are tasks of this process, or real Pythons.
#[derive(Debug)]
struct TestHost {
    directory: tempfile::TempDir,
    python: Option<PathBuf>,
    starts: AtomicUsize,
    ended: Arc<AtomicUsize>,
    notes: Mutex<Vec<String>>,
    asked: Mutex<Vec<(Option<String>, Request)>>,
    /// CPU microseconds that callers were charged, a call each.
    charged: Mutex<Vec<u64>>,
    /// Lets methods named `slow` go on.
    go: Arc<Notify>,
    /// Whether new workers are broken.
    broken: AtomicBool,
}

impl TestHost {
    fn new() -> Arc<Self> {
        Self::with(None)
    }

    fn with(python: Option<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            directory: tempfile::tempdir().unwrap(),
            python,
            starts: AtomicUsize::default(),
            ended: Arc::default(),
            notes: Mutex::default(),
            asked: Mutex::default(),
            charged: Mutex::default(),
            go: Arc::default(),
            broken: AtomicBool::new(false),
        })
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    fn start_task(&self) -> Started {
        let number = self.starts.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let stat = self.directory.path().join(format!("cpu.stat.{number}"));
        std::fs::write(&stat, "usage_usec 1000\n").unwrap();
        let script = Script {
            stat: stat.clone(),
            go: Arc::clone(&self.go),
            broken: self.broken.load(Ordering::SeqCst),
            stale: None,
        };
        let task = tokio::spawn(script.run(UnixStream::from_std(theirs).unwrap()));
        let ended = Arc::clone(&self.ended);
        let end = End::new(move || async move {
            task.abort();
            ended.fetch_add(1, Ordering::SeqCst);
        });
        let meter = Meter::Leaf(std::fs::File::open(&stat).unwrap().into());
        Started { socket: ours.into(), meter, gone: Arc::default(), end }
    }

    fn start_python(&self, python: &Path, service: &Service) -> Started {
        self.starts.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = StdUnixStream::pair().unwrap();
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.directory.path().join("log"))
            .unwrap();
        let main = repository().join("python/nesssi/worker_main.py");
        let command = Command::new(python)
            .args(["-I".as_ref(), main.as_os_str(), "serve".as_ref()])
            .args([service.name.as_str(), &service.folder])
            .env("PATH", "/usr/bin:/bin");
        let theirs: OwnedFd = theirs.into();
        let child = Spawn::new(command)
            .descriptor(1, log.as_fd())
            .descriptor(2, log.as_fd())
            .descriptor(3, theirs.as_fd())
            .spawn()
            .unwrap();
        let meter = Meter::Process(child.pid_number());
        let ended = Arc::clone(&self.ended);
        let end = End::new(move || async move {
            child.signal(rustix::process::Signal::KILL).unwrap();
            child.wait().unwrap();
            ended.fetch_add(1, Ordering::SeqCst);
        });
        Started { socket: ours.into(), meter, gone: Arc::default(), end }
    }
}

impl Host for TestHost {
    async fn start(
        &self,
        _who: &mut CallerGrant,
        service: &Arc<Service>,
    ) -> Result<Started, Fault> {
        Ok(match &self.python {
            Some(python) => self.start_python(python, service),
            None => self.start_task(),
        })
    }

    async fn answer(&self, who: CallerGrant, _service: Arc<Service>, request: Request) -> Answered {
        let subject = who.subject.as_ref().map(ToString::to_string);
        lock(&self.asked).push((subject, request.clone()));
        match request {
            Request::SystemUser { seconds } if seconds > 100.0 => Answered {
                reply: Err(Fault::new(FaultCode::OverLimit, "asked for too much")),
                session: None,
            },
            Request::RunJob { .. } => {
                let session = SessionId::parse(&"ab".repeat(16)).unwrap();
                Answered { reply: Ok(session.reveal().into()), session: Some(session) }
            }
            _ => Answered { reply: Ok(who.grant.account.as_str().into()), session: None },
        }
    }

    fn charge(&self, _who: &CallerGrant, cpu_usec: u64) {
        lock(&self.charged).push(cpu_usec);
    }

    fn note(&self, _service: &str, text: &str) {
        lock(&self.notes).push(text.to_owned());
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A stand-in for a worker: it does what the method's name says.
struct Script {
    stat: PathBuf,
    go: Arc<Notify>,
    broken: bool,
    stale: Option<Token>,
}

impl Script {
    async fn run(mut self, stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        let first = if self.broken {
            FromWorker::Broken { error: "SyntaxError: x".into() }
        } else {
            FromWorker::Ready { methods: vec![] }
        };
        say(&mut stream, &first).await;
        loop {
            let Some(AtWorker::Call { id, token, name, args, caller, .. }) =
                listen(&mut stream).await
            else {
                return;
            };
            let outcome = match name.as_str() {
                "echo" => Outcome::Value(Value::Array(args)),
                "dn" => Outcome::Value(caller.clarens_dn.as_ref().into()),
                "fault" => Outcome::Fault { code: 413, text: "too much".into() },
                "raise" => Outcome::Exception { incident: "0badcafe".into() },
                "slow" => {
                    self.go.notified().await;
                    Outcome::Value("slow".into())
                }
                "user" => ask(&mut stream, token, Request::SystemUser { seconds: 5.0 }).await,
                "over" => ask(&mut stream, token, Request::SystemUser { seconds: 1e9 }).await,
                "job" => {
                    let session = None;
                    let command = nesssi_service::protocol::Command::Argv(vec![b"true".to_vec()]);
                    let (method, batch) = ("s.job".to_owned(), None);
                    let seconds = 1.0;
                    let job = Request::RunJob { method, seconds, session, command, batch };
                    ask(&mut stream, token, job).await
                }
                "stale" => {
                    let shown = self.stale.replace(token).unwrap_or(token);
                    ask(&mut stream, shown, Request::SystemUser { seconds: 5.0 }).await
                }
                "garbage" => {
                    stream.write_all(b"hello\n").await.unwrap();
                    continue;
                }
                "other_call" => {
                    let outcome = Outcome::Value(Value::Nil);
                    say(&mut stream, &FromWorker::Answer { id: id + 1, outcome }).await;
                    continue;
                }
                "huge" => {
                    let piece = vec![b'x'; 1 << 20];
                    for _ in 0..=(LINE_BYTES_MAX >> 20) {
                        if stream.write_all(&piece).await.is_err() {
                            return;
                        }
                    }
                    continue;
                }
                "die" => return,
                "hang" => std::future::pending().await,
                "spend" => {
                    let usage = std::fs::read_to_string(&self.stat).unwrap();
                    let before: u64 =
                        usage.trim_start_matches("usage_usec ").trim().parse().unwrap();
                    std::fs::write(&self.stat, format!("usage_usec {}\n", before + 7)).unwrap();
                    Outcome::Value(Value::Nil)
                }
                "burn" => {
                    std::fs::write(&self.stat, "usage_usec 30001000\n").unwrap();
                    std::future::pending().await
                }
                "chatter" => {
                    let outcome = Outcome::Value(Value::Nil);
                    say(&mut stream, &FromWorker::Answer { id, outcome }).await;
                    stream.write_all(b"{\"unasked\":true}\n").await.unwrap();
                    continue;
                }
                other => panic!("no such script: {other}"),
            };
            say(&mut stream, &FromWorker::Answer { id, outcome }).await;
        }
    }
}

async fn say(stream: &mut BufReader<UnixStream>, message: &FromWorker) {
    let mut line = Vec::new();
    message.write_line(&mut line).unwrap();
    if stream.write_all(&line).await.is_err() {
        // The container has dropped this worker: its task is about to be ended.
        std::future::pending::<()>().await;
    }
}

async fn listen(stream: &mut BufReader<UnixStream>) -> Option<AtWorker> {
    let mut line = Vec::new();
    match stream.read_until(b'\n', &mut line).await {
        Ok(count) if count > 0 => Some(AtWorker::parse(&line).unwrap()),
        _ => None,
    }
}

/// The answer as a value; a fault as "code: text".
async fn ask(stream: &mut BufReader<UnixStream>, token: Token, request: Request) -> Outcome {
    let ask = Ok(Ask { token, request });
    say(stream, &FromWorker::Ask { id: "w1".into(), ask }).await;
    match listen(stream).await {
        Some(AtWorker::Answer { outcome: Ok(value), .. }) => Outcome::Value(value),
        Some(AtWorker::Answer { outcome: Err((code, text)), .. }) => {
            Outcome::Value(format!("{code}: {text}").into())
        }
        other => panic!("no answer: {other:?}"),
    }
}

fn settings() -> DeskSettings {
    DeskSettings {
        concurrency: 1,
        workers_max: 8,
        calls_max: 1000,
        idle: Duration::from_secs(600),
        ready: PATIENCE,
    }
}

fn service(settings: DeskSettings) -> Arc<Service> {
    service_in("/nowhere", "s", settings)
}

fn service_in(folder: &str, name: &str, settings: DeskSettings) -> Arc<Service> {
    Arc::new(Service::sound(
        ServiceName::parse(name).unwrap(),
        folder.to_owned(),
        1,
        Manifest::default(),
        Description::default(),
        Behind { desks: Desks::new(settings), modules: None },
    ))
}

fn limits() -> Limits {
    Limits {
        cpu_seconds: 900,
        wall_seconds: 900,
        jobs_at_once: 1,
        calls_per_minute: 60,
        call_wall_seconds: 60,
        call_cpu_seconds: 10,
        sandbox_bytes: 0,
        retention_seconds: 1,
        cpu_seconds_per_day: u64::MAX,
    }
}

fn caller(account: &str, limits: Limits) -> CallerGrant {
    let address = "127.0.0.1".parse().unwrap();
    let claim = JudgedBy {
        subject: None,
        issuer: None,
        proxy: None,
        account: None,
        lowered: None,
        address,
    };
    let grant = Arc::new(Grant {
        id: 1,
        account: account.to_owned(),
        level: LevelName::parse("weak").unwrap(),
        limits,
        generation: 1,
        reads_only: false,
        rule: String::new(),
    });
    CallerGrant::new(claim, address, grant, "r1".to_owned())
}

async fn called(host: &Arc<TestHost>, service: &Arc<Service>, method: &str) -> Called {
    called_by(host, service, caller("alice", limits()), method, vec![]).await
}

async fn called_by(
    host: &Arc<TestHost>,
    service: &Arc<Service>,
    who: CallerGrant,
    method: &str,
    params: Vec<Value>,
) -> Called {
    let method = MethodName::parse(&format!("{}.{method}", service.name)).unwrap();
    let order = ServiceCall { method: &method, params: &params, dialect: Dialect::XmlRpc };
    tokio::time::timeout(PATIENCE * 3, call(host, service, who, order)).await.unwrap()
}

fn fault(called: Called) -> (i64, String) {
    let fault = called.reply.unwrap_err();
    (fault.code.number(), fault.text)
}

/// Waits until something has happened elsewhere.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_worker_is_kept_warm() {
    let (host, service) = (TestHost::new(), service(settings()));
    for number in 0..5_i64 {
        let params = vec![Value::Int(number)];
        let got = called_by(&host, &service, caller("alice", limits()), "echo", params.clone());
        assert_eq!(got.await.reply, Ok(Value::Array(params)));
    }
    assert_eq!((host.starts(), host.ended()), (1, 0));
}

#[tokio::test]
async fn accounts_and_levels_have_workers_of_their_own() {
    let (host, service) = (TestHost::new(), service(settings()));
    called(&host, &service, "echo").await.reply.unwrap();
    called_by(&host, &service, caller("bob", limits()), "echo", vec![]).await.reply.unwrap();
    let mut strong = caller("alice", limits());
    Arc::make_mut(&mut strong.grant).level = LevelName::parse("strong").unwrap();
    called_by(&host, &service, strong, "echo", vec![]).await.reply.unwrap();
    assert_eq!(host.starts(), 3);
}

#[tokio::test]
async fn faults_and_exceptions_leave_the_worker_warm() {
    let (host, service) = (TestHost::new(), service(settings()));
    assert_eq!(fault(called(&host, &service, "fault").await), (413, "too much".into()));
    assert_eq!(
        fault(called(&host, &service, "raise").await),
        (-32603, "internal error, incident 0badcafe".into())
    );
    assert_eq!(host.starts(), 1);
}

#[tokio::test]
async fn what_a_worker_asks_for_is_judged_as_its_caller() {
    let (host, service) = (TestHost::new(), service(settings()));
    assert_eq!(called(&host, &service, "user").await.reply, Ok("alice".into()));
    let bob = called_by(&host, &service, caller("bob", limits()), "user", vec![]).await;
    assert_eq!(bob.reply, Ok("bob".into()));
    let over = called(&host, &service, "over").await;
    assert_eq!(over.reply, Ok("413: asked for too much".into()));
    let job = called(&host, &service, "job").await;
    assert_eq!(job.session.unwrap().reveal(), "ab".repeat(16));
}

#[tokio::test]
async fn the_token_of_another_call_is_refused() {
    let (host, service) = (TestHost::new(), service(settings()));
    // The first call shows its own token, the second the first's, which has ended.
    assert_eq!(called(&host, &service, "stale").await.reply, Ok("alice".into()));
    let second = called(&host, &service, "stale").await;
    assert_eq!(second.reply, Ok("403: the token is not that of the call under way".into()));
    assert_eq!(lock(&host.asked).len(), 1, "the container was asked once");
}

#[tokio::test]
async fn a_worker_that_keeps_to_no_protocol_is_killed_and_its_call_faulted() {
    for method in ["garbage", "other_call", "huge", "die"] {
        let (host, service) = (TestHost::new(), service(settings()));
        let (code, text) = fault(called(&host, &service, method).await);
        assert_eq!(code, -32603, "{method}");
        let incident = text.strip_prefix("internal error, incident ").unwrap();
        assert!(lock(&host.notes)[0].contains(incident), "{method}");
        until("the worker's end", || host.ended() == 1).await;
        // The next call gets a new one.
        called(&host, &service, "echo").await.reply.unwrap();
        assert_eq!(host.starts(), 2, "{method}");
    }
}

#[tokio::test]
async fn a_worker_that_speaks_unasked_is_not_called_again() {
    let (host, service) = (TestHost::new(), service(settings()));
    called(&host, &service, "chatter").await.reply.unwrap();
    // Whether the line comes with the answer or after it, the worker is replaced in the end.
    let deadline = Instant::now() + PATIENCE;
    while host.starts() < 2 {
        assert!(Instant::now() < deadline);
        let _either = called(&host, &service, "echo").await.reply;
    }
    until("the worker's end", || host.ended() == 1).await;
}

#[tokio::test]
async fn too_much_wall_time_kills_the_worker() {
    let (host, service) = (TestHost::new(), service(settings()));
    let short = Limits { call_wall_seconds: 1, ..limits() };
    let got = called_by(&host, &service, caller("alice", short), "hang", vec![]).await;
    assert_eq!(
        fault(got),
        (413, "the call took 1 s, the limit of level weak is 1 s for one call".into())
    );
    until("the worker's end", || host.ended() == 1).await;
    called(&host, &service, "echo").await.reply.unwrap();
}

#[tokio::test]
async fn too_much_cpu_time_kills_the_worker_and_is_charged() {
    let (host, service) = (TestHost::new(), service(settings()));
    let got = called(&host, &service, "burn").await;
    assert_eq!(got.cpu_usec, 30_000_000);
    assert_eq!(
        fault(got),
        (413, "the call used 30.0 CPU seconds, the limit of level weak is 10 for one call".into())
    );
    until("the worker's end", || host.ended() == 1).await;
}

#[tokio::test]
async fn a_short_call_is_charged_what_it_used_where_its_worker_has_a_leaf() {
    let (host, service) = (TestHost::new(), service(settings()));
    for (method, expected) in [("spend", 7), ("echo", 0), ("spend", 7)] {
        assert_eq!(called(&host, &service, method).await.cpu_usec, expected, "{method}");
    }
    assert_eq!(host.starts(), 1);
}

#[tokio::test]
async fn a_crash_loop_is_throttled_for_its_own_desk_alone() {
    let (host, service) = (TestHost::new(), service(settings()));
    for _ in 0..FAST_DEATHS_MAX {
        assert_eq!(fault(called(&host, &service, "die").await).0, -32603);
    }
    let (code, text) = fault(called(&host, &service, "echo").await);
    assert_eq!(code, 503);
    assert!(text.contains("unhealthy"), "{text}");
    assert!(service.access.as_ref().unwrap().desks.is_throttled());
    let starts = host.starts();
    called_by(&host, &service, caller("bob", limits()), "echo", vec![]).await.reply.unwrap();
    assert_eq!(host.starts(), starts + 1);
    // After the pause it is tried again, and a good answer ends the matter.
    until("the end of the pause", || !service.access.as_ref().unwrap().desks.is_throttled()).await;
    called(&host, &service, "echo").await.reply.unwrap();
    called(&host, &service, "die").await.reply.unwrap_err();
    called(&host, &service, "echo").await.reply.unwrap();
}

#[tokio::test]
async fn a_service_that_does_not_load_any_more_answers_503() {
    let (host, service) = (TestHost::new(), service(settings()));
    host.broken.store(true, Ordering::SeqCst);
    let (code, text) = fault(called(&host, &service, "echo").await);
    assert_eq!((code, text.as_str()), (503, "the service s could not be started"));
    assert!(lock(&host.notes)[0].contains("SyntaxError: x"));
}

#[tokio::test]
async fn calls_wait_for_their_turn_and_one_too_many_is_refused() {
    let (host, service) = (TestHost::new(), service(settings()));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..=WAITING_CALLS_MAX {
        let (host, service) = (Arc::clone(&host), Arc::clone(&service));
        calls.spawn(async move { called(&host, &service, "slow").await.reply });
    }
    let desk = service.access.as_ref().unwrap().desks.desk("alice", "weak");
    until("the queue's filling", || desk.waiting.load(Ordering::SeqCst) == WAITING_CALLS_MAX).await;
    assert_eq!(
        fault(called(&host, &service, "echo").await),
        (503, "all workers of this service are busy: try again".into())
    );
    while !calls.is_empty() {
        host.go.notify_one();
        assert_eq!(calls.join_next().await.unwrap().unwrap(), Ok("slow".into()));
    }
    assert_eq!(host.starts(), 1);
}

#[tokio::test]
async fn concurrency_lets_calls_run_beside_each_other() {
    let (host, service) = (TestHost::new(), service(DeskSettings { concurrency: 2, ..settings() }));
    let slow = tokio::spawn({
        let (host, service) = (Arc::clone(&host), Arc::clone(&service));
        async move { called(&host, &service, "slow").await.reply }
    });
    until("the first start", || host.starts() == 1).await;
    called(&host, &service, "echo").await.reply.unwrap();
    assert!(!slow.is_finished());
    host.go.notify_one();
    assert_eq!(slow.await.unwrap(), Ok("slow".into()));
    assert_eq!(host.starts(), 2);
}

#[tokio::test]
async fn a_service_has_only_so_many_workers() {
    let (host, service) = (TestHost::new(), service(DeskSettings { workers_max: 1, ..settings() }));
    called(&host, &service, "echo").await.reply.unwrap();
    // Bob's call takes the seat of alice's resting worker.
    called_by(&host, &service, caller("bob", limits()), "echo", vec![]).await.reply.unwrap();
    until("the end of alice's worker", || host.ended() == 1).await;
    let busy = tokio::spawn({
        let (host, service) = (Arc::clone(&host), Arc::clone(&service));
        let bob = caller("bob", limits());
        async move { called_by(&host, &service, bob, "slow", vec![]).await.reply }
    });
    let desk = service.access.as_ref().unwrap().desks.desk("bob", "weak");
    until("bob's call", || lock(&desk.state).idle.is_empty()).await;
    assert_eq!(fault(called(&host, &service, "echo").await).0, 503);
    host.go.notify_one();
    busy.await.unwrap().unwrap();
}

#[tokio::test]
async fn workers_retire_by_calls_and_by_rest() {
    let (host, service) = (TestHost::new(), service(DeskSettings { calls_max: 2, ..settings() }));
    for _ in 0..3 {
        called(&host, &service, "echo").await.reply.unwrap();
    }
    assert_eq!(host.starts(), 2);
    until("the first worker's end", || host.ended() == 1).await;

    let idle = Duration::from_millis(50);
    let (host, service) =
        (TestHost::new(), service_in("/", "t", DeskSettings { idle, ..settings() }));
    called(&host, &service, "echo").await.reply.unwrap();
    until("the resting worker's end", || host.ended() == 1).await;
}

#[tokio::test]
async fn a_restart_lets_running_calls_finish_on_the_old_code() {
    let (host, old, new) = (TestHost::new(), service(settings()), service(settings()));
    let running = tokio::spawn({
        let (host, old) = (Arc::clone(&host), Arc::clone(&old));
        async move { called(&host, &old, "slow").await.reply }
    });
    until("the first start", || host.starts() == 1).await;
    old.access.as_ref().unwrap().desks.close().await;
    called(&host, &new, "echo").await.reply.unwrap();
    assert!(!running.is_finished());
    host.go.notify_one();
    assert_eq!(running.await.unwrap(), Ok("slow".into()));
    until("the old worker's end", || host.ended() == 1).await;
    // A call that found the old generation just before the swap is answered all the same.
    called(&host, &old, "echo").await.reply.unwrap();
    until("the end of its worker", || host.ended() == 2).await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_the_worker_warm() {
    let (host, service) = (TestHost::new(), service(settings()));
    let running = tokio::spawn({
        let (host, service) = (Arc::clone(&host), Arc::clone(&service));
        async move { called(&host, &service, "slow").await.reply }
    });
    let desk = service.access.as_ref().unwrap().desks.desk("alice", "weak");
    until("the start", || host.starts() == 1).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.abort();
    running.await.unwrap_err();
    host.go.notify_one();
    until("the worker's rest", || lock(&desk.state).idle.len() == 1).await;
    until("the charge", || lock(&host.charged).len() == 1).await;
    called(&host, &service, "echo").await.reply.unwrap();
    assert_eq!((host.starts(), host.ended()), (1, 0));
}

const SERVICE: &str = r#"
import os, sys

def add(req, method_name, args):
    print("printed", "on stdout")
    os.write(1, b"raw on stdout\n")
    os.system("echo from a child")
    return args[0] + args[1]

def fail(req, method_name, args):
    raise ValueError("secret /path")

def fault(req, method_name, args):
    raise RuntimeError(404, "no such galaxy")

def leave(req, method_name, args):
    os._exit(3)

def burn(req, method_name, args):
    while True:
        pass

methods_list = {"add": add, "fail": fail, "fault": fault, "leave": leave, "burn": burn}
"#;

fn python_service() -> Option<(Arc<TestHost>, Arc<Service>)> {
    let python = PathBuf::from("/usr/bin/python3");
    if !python.exists() {
        println!("SKIPPED: needs /usr/bin/python3");
        return None;
    }
    let host = TestHost::with(Some(python));
    let folder = host.directory.path().join("pytry");
    std::fs::create_dir(&folder).unwrap();
    std::fs::File::create(folder.join("__init__.py"))
        .unwrap()
        .write_all(SERVICE.as_bytes())
        .unwrap();
    let service = service_in(folder.to_str().unwrap(), "pytry", settings());
    Some((host, service))
}

#[tokio::test]
async fn a_python_service_answers_prints_raises_and_exits() {
    let Some((host, service)) = python_service() else { return };
    let who = || caller("alice", limits());
    let params = || vec![Value::Int(3), Value::Int(5)];
    let sum = called_by(&host, &service, who(), "add", params()).await;
    assert_eq!(sum.reply, Ok(Value::Int(8)));
    let (code, text) = fault(called_by(&host, &service, who(), "fail", vec![]).await);
    assert_eq!(code, -32603);
    assert!(!text.contains("secret"), "{text}");
    let galaxy = called_by(&host, &service, who(), "fault", vec![]).await;
    assert_eq!(fault(galaxy), (404, "no such galaxy".into()));
    assert_eq!(host.starts(), 1);
    assert_eq!(fault(called_by(&host, &service, who(), "leave", vec![]).await).0, -32603);
    let again = called_by(&host, &service, who(), "add", params()).await;
    assert_eq!(again.reply, Ok(Value::Int(8)));
    let log = std::fs::read_to_string(host.directory.path().join("log")).unwrap();
    for expected in ["printed on stdout", "raw on stdout", "from a child", "secret /path"] {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    let incident = text.rsplit(' ').next().unwrap();
    assert!(log.contains(incident), "{incident} in {log}");
}

#[tokio::test]
async fn a_python_service_that_burns_is_killed() {
    let Some((host, service)) = python_service() else { return };
    let little = Limits { call_cpu_seconds: 1, call_wall_seconds: 20, ..limits() };
    let got = called_by(&host, &service, caller("alice", little), "burn", vec![]).await;
    let (code, text) = fault(got);
    assert_eq!(code, 413);
    assert!(text.contains("CPU seconds, the limit of level weak is 1"), "{text}");
    until("the worker's end", || host.ended() == 1).await;
}
