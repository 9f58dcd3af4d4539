//! A place with a configuration, a running `nesssid`, and the stand-ins that it started.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nesssi_privsep::messages::{
    ChannelKind, Claim, FromMonitor, GrantRecord, Refusal, Seal, ToJobmanagerControl, ToMonitor,
};
use nesssi_privsep::wire::{Blob, Field, Reader, WireError, Writer};
use nesssi_privsep::{Channel, Received, channel};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, Signal};

pub const ALICE: &str = "/O=Grid/CN=Alice";
pub const SESSION: &str = "00112233445566778899aabbccddeeff";
const SECONDS_MAX: u64 = 20;

macro_rules! needs_root {
    () => {
        if !world::is_root() {
            println!("SKIPPED: needs root");
            return;
        }
    };
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn whoami() -> String {
    nesssi_privsep::account::current().unwrap().name().to_owned()
}

pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(SECONDS_MAX);
    while !condition() {
        assert!(Instant::now() < end, "not within {SECONDS_MAX} s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

// ---- accounts ----

#[derive(Debug, Clone)]
pub struct Known {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

#[derive(Debug)]
pub struct Accounts {
    pub alice: Known,
    pub bob: Known,
    pub gatekeeper: Known,
    pub services: Known,
}

/// As an ordinary user all of them are that user.
pub fn accounts() -> &'static Accounts {
    static ACCOUNTS: OnceLock<Accounts> = OnceLock::new();
    ACCOUNTS.get_or_init(|| {
        let known = |role: &str, more: &[&str]| {
            if is_root() { make(&format!("nesssi-test-m-{role}"), more) } else { known(&whoami()) }
        };
        let _lock = is_root().then(lock);
        if is_root() {
            make("nesssi-test-m-low", &["--system"]);
            make("nesssi-test-m-wheel", &["--gid", "0"]);
            make("nesssi-test-m-locked", &["--password", "!$6$salt$hash"]);
            make("nesssi-test-m-expired", &["--expiredate", "1990-01-01"]);
            make("nesssi-test-m-slow", &[]);
        }
        Accounts {
            alice: known("alice", &["--groups", "users"]),
            bob: known("bob", &[]),
            gatekeeper: known("gate", &["--system", "--user-group"]),
            services: known("svc", &[]),
        }
    })
}

fn lock() -> fs::File {
    let file = fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open("/run/nesssi-test-accounts.lock")
        .unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file
}

fn make(name: &str, more: &[&str]) -> Known {
    let exists = || {
        Command::new("/usr/bin/id").arg(name).stderr(Stdio::null()).stdout(Stdio::null()).status()
    };
    if !exists().unwrap().success() {
        let made = Command::new("/usr/sbin/useradd")
            .args(["--no-create-home", "--home-dir", "/nonexistent"])
            .args(["--shell", "/usr/sbin/nologin"])
            .args(more)
            .arg(name)
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "useradd {name}");
    }
    known(name)
}

fn known(name: &str) -> Known {
    let ask = |option: &str| {
        let output = Command::new("/usr/bin/id").args([option, name]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_whitespace().map(|one| one.parse().unwrap()).collect::<Vec<u32>>()
    };
    Known { name: name.into(), uid: ask("-u")[0], gid: ask("-g")[0], groups: ask("-G") }
}

// ---- processes ----

pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub fn status_text(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let start = format!("{key}:");
    let line = status.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default();
    line.trim().to_owned()
}

/// The numbers of a line of `/proc/<pid>/status`.
pub fn status_line(pid: u32, key: &str) -> Vec<u32> {
    status_text(pid, key).split_whitespace().map(|number| number.parse().unwrap()).collect()
}

pub fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// A library that makes one account's look-up take 30 s.
pub fn slow_name_service() -> Option<tempfile::TempDir> {
    const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>
int getpwnam_r(const char *name, struct passwd *pw, char *buf, size_t len, struct passwd **out) {
    int (*real)(const char *, struct passwd *, char *, size_t, struct passwd **) =
        dlsym(RTLD_NEXT, "getpwnam_r");
    if (strcmp(name, "nesssi-test-m-slow") == 0) sleep(30);
    return real(name, pw, buf, len, out);
}
"#;
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(place.path().join("slow.c"), SOURCE).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", "slow.so", "slow.c", "-ldl"])
        .current_dir(place.path())
        .status();
    match built {
        Ok(status) if status.success() => Some(place),
        _ => {
            println!("SKIPPED: needs a C compiler");
            None
        }
    }
}

// ---- the world ----

pub struct World {
    directory: tempfile::TempDir,
    listener: OwnedFd,
    stand_ins: RefCell<Vec<Rc<StandIn>>>,
    gatekeepers_seen: usize,
    child: Option<Child>,
    https: SocketAddr,
}

impl World {
    pub fn start() -> Self {
        let mut world = Self::prepare();
        world.launch(&[]);
        world
    }

    pub fn prepare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(at("libexec")).unwrap();
        fs::create_dir(at("services")).unwrap();
        let stand_in = Path::new(env!("CARGO_BIN_EXE_nesssid")).with_file_name("examples");
        for name in ["nesssi-gatekeeper", "nesssi-jobmanager"] {
            fs::copy(stand_in.join("stand_in"), at("libexec").join(name)).unwrap();
        }
        let (https, http) = (free_address(), free_address());
        fs::write(at("nesssi.toml"), config(https, http, directory.path())).unwrap();
        for name in ["certificate.pem", "key.pem"] {
            fs::write(at(name), "a test's").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .unwrap();
        let socket = at("stand-in.sock");
        rustix::net::bind(&listener, &SocketAddrUnix::new(&socket).unwrap()).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
        rustix::net::listen(&listener, 64).unwrap();
        let stand_ins = RefCell::default();
        let world =
            Self { directory, listener, stand_ins, gatekeepers_seen: 0, child: None, https };
        world.write_gridmap(&gridmap());
        world
    }

    pub fn launch(&mut self, environment: &[(&str, &str)]) {
        self.stand_ins.borrow_mut().clear();
        self.gatekeepers_seen = 0;
        let log = fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        let child = self.nesssid().envs(environment.iter().copied()).stderr(log).spawn().unwrap();
        self.child = Some(child);
    }

    fn nesssid(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nesssid"));
        command.arg("--config").arg(self.config()).env_clear().env("SECRET", "not for children");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Another `nesssid` on this place: its exit code and what it says.
    pub fn run_to_end(&mut self, arguments: &[&str]) -> (i32, String) {
        let output = self.nesssid().args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("nesssi.toml")
    }

    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    pub fn control_path(&self) -> PathBuf {
        self.directory.path().join("run/control.sock")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("nesssid.log")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn https(&self) -> SocketAddr {
        self.https
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// The lines of one of the monitor's own files.
    pub fn state(&self, name: &str) -> Vec<String> {
        let path = self.directory.path().join("state/monitor").join(name);
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Replaces a file, readable for all.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, self.directory.path().join(name)).unwrap();
    }

    pub fn break_config(&self) {
        self.add_config("[bounds]\nunknown_key = 1\n");
    }

    pub fn add_config(&self, more: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), format!("{text}\n{more}")).unwrap();
    }

    pub fn write_gridmap(&self, text: &str) {
        let new = self.directory.path().join("gridmap.new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(&new, self.directory.path().join("gridmap")).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        let mut status = None;
        until("nesssid has ended", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        self.child = None;
        status.unwrap()
    }

    /// Ends it without patience: the second SIGTERM does not wait.
    pub fn stop(&mut self) {
        let before = self.log().matches(" draining ").count();
        self.signal(Signal::TERM);
        until("it drains", || self.log().matches(" draining ").count() > before);
        self.signal(Signal::TERM);
        self.wait();
        self.stand_ins.borrow_mut().clear();
    }

    // ---- stand-ins ----

    /// The next gatekeeper that has not been asked for yet, greeted.
    pub fn gatekeeper(&mut self) -> Rc<StandIn> {
        let seen = self.gatekeepers_seen;
        until("a gatekeeper", || {
            self.accept();
            self.gatekeepers().len() > seen
        });
        self.gatekeepers_seen += 1;
        self.gatekeepers().swap_remove(seen)
    }

    fn gatekeepers(&self) -> Vec<Rc<StandIn>> {
        let all = self.stand_ins.borrow();
        all.iter().filter(|one| one.arguments == "nesssi-gatekeeper").cloned().collect()
    }

    /// The account's jobmanager that lives.
    pub fn jobmanager(&self, name: &str) -> Rc<StandIn> {
        let start = format!("nesssi-jobmanager --account {name} ");
        let mut found = None;
        until("a jobmanager", || {
            self.accept();
            let all = self.stand_ins.borrow();
            let living = |one: &&Rc<StandIn>| one.arguments.starts_with(&start) && lives(one.pid);
            found = all.iter().rev().find(living).cloned();
            found.is_some()
        });
        found.unwrap()
    }

    fn accept(&self) {
        while let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            self.stand_ins.borrow_mut().push(Rc::new(StandIn::greet(socket)));
        }
    }

    // ---- the control socket ----

    pub fn control(&self, verb: u8, name: &str) -> (u8, String) {
        control_end(&self.control_begin(verb, name))
    }

    pub fn control_begin(&self, verb: u8, name: &str) -> OwnedFd {
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .unwrap();
        let address = SocketAddrUnix::new(self.control_path()).unwrap();
        rustix::net::connect(&socket, &address).unwrap();
        let mut request = vec![1, verb, 0, 0];
        request.extend(name.as_bytes());
        request.resize(132, 0);
        rustix::net::send(&socket, &request, rustix::net::SendFlags::NOSIGNAL).unwrap();
        socket
    }
}

pub fn control_end(socket: &OwnedFd) -> (u8, String) {
    wait_readable(socket.as_fd(), "an answer of the control socket");
    let mut answer = vec![0; 2000];
    let count = rustix::io::read(socket, &mut answer).unwrap();
    assert_eq!((count, answer[0]), (1028, 1));
    let length = usize::from(u16::from_le_bytes([answer[2], answer[3]]));
    (answer[1], String::from_utf8(answer[4..4 + length].to_vec()).unwrap())
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        // The stand-ins end when their channel or this socket does.
        self.stand_ins.borrow_mut().clear();
        if std::thread::panicking() {
            println!("--- log of nesssid ---\n{}", self.log());
        }
        let log = self.log();
        let cgroup = log.lines().find_map(|line| line.split_once(" leaves at=")).map(|(_, at)| at);
        if let Some(cgroup) = cgroup {
            for leaf in fs::read_dir(cgroup).into_iter().flatten().flatten() {
                drop(fs::write(leaf.path().join("cgroup.kill"), "1"));
                drop(fs::remove_dir(leaf.path()));
            }
            drop(fs::remove_dir(cgroup));
        }
    }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn config(https: SocketAddr, http: SocketAddr, place: &Path) -> String {
    let sandboxes = place.join("sandboxes").display().to_string();
    let (gatekeeper, services) = (&accounts().gatekeeper.name, &accounts().services.name);
    let weak = if is_root() { "nesssi-test-m-weak".to_owned() } else { whoami() };
    format!(
        r#"[server]
listen_https = "{https}"
listen_http = "{http}"
certificate = "certificate.pem"
private_key = "key.pem"
trust_directory = "trust"
user = "{gatekeeper}"
control_socket = "run/control.sock"
state_directory = "state"
log_directory = "log"
libexec_directory = "libexec"
drain_seconds_max = 4

[policy]
gridmap = "gridmap"
gridmapdir = "gridmapdir"
shared_account = true

[sandboxes]
root = "{sandboxes}"

[services]
directory = "services"
account = "{services}"

[[level]]
name = "strong"
from = "gridmap"

[[level]]
name = "weak"
from = "certificate"
account = "{weak}"
"#
    )
}

fn gridmap() -> String {
    let name = |role: &str| format!("nesssi-test-m-{role}");
    let (alice, bob) = (&accounts().alice.name, &accounts().bob.name);
    let bob = if is_root() { bob.clone() } else { name("bob") };
    let mut text = format!("\"{ALICE}\" {alice}\n\"/O=Grid/CN=Bob\" {bob}\n");
    for role in ["low", "gate", "wheel", "ghost", "locked", "expired", "slow"] {
        text.push_str(&format!("\"/O=Grid/CN={role}\" {}\n", name(role)));
    }
    text
}

pub fn claim(dn: &str) -> Claim {
    let subject = nesssi_dn::SubjectDn::parse_oneline(dn).unwrap();
    let subject = Some(Blob(subject.to_bytes()));
    Claim { subject, issuer: None, proxy: 0, account: None, lowered: None }
}

// ---- one stand-in ----

/// The bytes of a record as they are, behind version and id.
struct Raw(Vec<u8>);

impl Field for Raw {
    fn put(&self, out: &mut Writer) {
        self.0.iter().for_each(|byte| byte.put(out));
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut bytes = Vec::new();
        while let Ok(byte) = u8::take(from) {
            bytes.push(byte);
        }
        Ok(Self(bytes))
    }
}

pub struct StandIn {
    channel: Channel,
    pub pid: u32,
    pub arguments: String,
    pub environment: String,
    pub descriptors: String,
    pub welcome: FromMonitor,
    pub welcome_descriptors: Vec<OwnedFd>,
    inbox: RefCell<VecDeque<Received<FromMonitor>>>,
    next: Cell<u32>,
}

impl StandIn {
    fn greet(socket: OwnedFd) -> Self {
        let channel = Channel::from_fd(socket);
        let (_, hello) = hear(&channel);
        let hello = String::from_utf8(hello.message.0).unwrap();
        let mut lines = hello.lines().map(str::to_owned);
        let mut line = || lines.next().unwrap();
        let (pid, arguments) = (line().parse().unwrap(), line());
        let (environment, descriptors) = (line(), line());
        let (mut welcome, mut welcome_descriptors) = (FromMonitor::Leaf {}, Vec::new());
        if arguments == "nesssi-gatekeeper" {
            let (_, first) = hear(&channel);
            welcome_descriptors = first.descriptors;
            welcome = decode(&first.message.0).1;
        }
        Self {
            channel,
            pid,
            arguments,
            environment,
            descriptors,
            welcome,
            welcome_descriptors,
            inbox: RefCell::default(),
            next: Cell::new(1000),
        }
    }

    fn order(&self, kind: u8, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        self.channel.send(0, &Raw([&[kind], bytes].concat()), descriptors).unwrap();
    }

    pub fn send_raw(&self, record: &[u8]) {
        self.order(b'f', record, &[]);
    }

    pub fn exit(&self, code: u8) {
        self.order(b'x', &[code], &[]);
    }

    pub fn close_channel(&self) {
        self.order(b'c', &[], &[]);
    }

    pub fn through_door(&self, door: BorrowedFd<'_>) -> String {
        self.order(b'd', &[], &[door]);
        loop {
            let (kind, answer) = hear(&self.channel);
            if kind == b'a' {
                return String::from_utf8(answer.message.0).unwrap();
            }
        }
    }

    /// What a jobmanager was told to serve.
    pub fn served(&self) -> (ChannelKind, Channel) {
        loop {
            // The rules may change by what other tests do.
            if let (ToJobmanagerControl::Serve { kind, .. }, Some(channel)) = self.ordered() {
                return (kind, channel);
            }
        }
    }

    /// What a jobmanager was told.
    pub fn ordered(&self) -> (ToJobmanagerControl, Option<Channel>) {
        let (_, received) = hear(&self.channel);
        let record = [&[channel::PROTOCOL_VERSION][..], &received.message.0].concat();
        let (_, message) = channel::decode(&record).unwrap();
        (message, received.descriptors.into_iter().next().map(Channel::from_fd))
    }

    pub fn send(&self, id: u32, message: &ToMonitor) {
        self.send_raw(&channel::encode(id, message).unwrap());
    }

    pub fn ask(&self, message: &ToMonitor) -> FromMonitor {
        self.ask_with_descriptors(message).message
    }

    pub fn ask_with_descriptors(&self, message: &ToMonitor) -> Received<FromMonitor> {
        let id = self.next.get() + 1;
        self.next.set(id);
        self.send(id, message);
        self.answer_to(id)
    }

    pub fn answer_to(&self, id: u32) -> Received<FromMonitor> {
        self.take(|received| received.id == id)
    }

    /// The next message that answers nothing, but for generations that accounts made by other tests raise.
    pub fn unasked(&self) -> FromMonitor {
        self.unasked_that(|_| true).message
    }

    /// The next message of a kind that answers nothing.
    pub fn unasked_that(&self, is_it: impl Fn(&FromMonitor) -> bool) -> Received<FromMonitor> {
        self.take(|received| received.id == 0 && is_it(&received.message))
    }

    fn take(&self, wanted: impl Fn(&Received<FromMonitor>) -> bool) -> Received<FromMonitor> {
        loop {
            let at = self.inbox.borrow().iter().position(&wanted);
            if let Some(at) = at {
                return self.inbox.borrow_mut().remove(at).unwrap();
            }
            let (_, record) = hear(&self.channel);
            let (id, message) = decode(&record.message.0);
            let descriptors = record.descriptors;
            self.inbox.borrow_mut().push_back(Received { id, message, descriptors });
        }
    }

    pub fn judge(&self, dn: &str) -> GrantRecord {
        let address = [127, 0, 0, 1].into();
        match self.ask(&ToMonitor::Judge { claim: claim(dn), address }) {
            FromMonitor::Judged { grant } => grant,
            other => panic!("{other:?}"),
        }
    }

    /// A request with a fresh grant, again if the rules have changed in between.
    pub fn with_grant(
        &self,
        dn: &str,
        message: impl Fn(&GrantRecord) -> ToMonitor,
    ) -> (GrantRecord, Received<FromMonitor>) {
        loop {
            let grant = self.judge(dn);
            let answer = self.ask_with_descriptors(&message(&grant));
            let stale = FromMonitor::Refused { refusal: Refusal::StaleGrant {} };
            if answer.message != stale {
                return (grant, answer);
            }
        }
    }

    pub fn start_as(&self, dn: &str) -> Received<FromMonitor> {
        self.with_grant(dn, |grant| ToMonitor::Start { grant: grant.id }).1
    }

    pub fn admit(&self, dn: &str, session: &str) -> Seal {
        loop {
            let (grant, started) =
                self.with_grant(dn, |grant| ToMonitor::Start { grant: grant.id });
            assert!(matches!(started.message, FromMonitor::Jobmanager { .. }), "{started:?}");
            match self.ask(&ToMonitor::Admit { grant: grant.id, session: session.into() }) {
                FromMonitor::Sealed { seal } => return seal,
                FromMonitor::Refused { refusal: Refusal::StaleGrant {} } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn decode(bytes: &[u8]) -> (u32, FromMonitor) {
    channel::decode(&[&[channel::PROTOCOL_VERSION], bytes].concat()).unwrap()
}

/// What a stand-in says: the kind, and the rest.
fn hear(channel: &Channel) -> (u8, Received<Raw>) {
    wait_readable(channel.as_fd(), "something of a stand-in");
    let mut received = channel.receive::<Raw>().unwrap();
    let kind = received.message.0.remove(0);
    (kind, received)
}

fn wait_readable(descriptor: BorrowedFd<'_>, what: &str) {
    let timeout = Timespec { tv_sec: SECONDS_MAX.cast_signed(), tv_nsec: 0 };
    let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
    assert_eq!(poll(&mut polled, Some(&timeout)), Ok(1), "not within {SECONDS_MAX} s: {what}");
}
