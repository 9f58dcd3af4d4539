//! A container whose monitor and jobmanager are threads of this process that say what a test wants.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nesssi_dn::SubjectDn;
use nesssi_identity::{Identity, NoCertificate, Peer, ProxyKind, Refusal};
use nesssi_policy::Limits;
use nesssi_privsep::Channel;
use nesssi_privsep::messages::{
    AccountFacts, Claim, FromJobmanager, FromMonitor, GrantRecord, Refusal as MonitorRefusal,
    ToJobmanager, ToMonitor,
};
use nesssi_privsep::wire::Blob;
use nesssi_rpc::{Call, Dialect, MethodName, Reply, Value};
use nesssi_service::protocol::{Ask, AtWorker, Command, FromWorker, Outcome, Request};

use super::files;
use crate::link::{Monitor, lock};
use crate::{Caller, Container, Trusting};

pub(super) const ALICE: &str = "/O=Grid/CN=Alice";
pub(super) const MALLORY: &str = "/O=Grid/CN=Mallory";
/// Whom it takes on the level of the gridmap.
pub(super) const BOSS: &str = "/O=Grid/CN=Boss";
/// Whom the stand-in of the monitor takes on no level.
pub(super) const NOBODY: &str = "/O=Grid/CN=Nobody";

/// One folder as the stand-in of the jobmanager finds it.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    pub(super) name: &'static str,
    pub(super) access: Option<&'static str>,
    pub(super) manifest: Option<&'static str>,
    pub(super) description: &'static str,
}

/// A folder that answers `add` and `whoami` to all but Mallory.
pub(super) fn folder(name: &'static str) -> Folder {
    Folder {
        name,
        access: Some("allow = [\"/\"]\ndeny = [\"/O=Grid/CN=Mallory\"]"),
        manifest: None,
        description: r#"{"methods":[
            {"name":"add","help":"Adds.","signature":[["int","int","int"]]},
            {"name":"whoami"},{"name":"gen"},{"name":"wait"},{"name":"run"}]}"#,
    }
}

/// What the stand-ins share with the test.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) folders: Mutex<Vec<Folder>>,
    pub(super) control: Mutex<Vec<(u32, bool, String)>>,
    pub(super) scans: Mutex<Vec<String>>,
    /// The folder at which a scan of all of them stops while it is named here.
    pub(super) stuck_at: Mutex<Option<&'static str>>,
    /// How many scans are still to fail.
    pub(super) failures: Mutex<u32>,
    pub(super) calls_per_minute: Mutex<u32>,
    pub(super) cpu_seconds_per_day: Mutex<u64>,
    /// How often it was asked who somebody is.
    pub(super) judged: Mutex<u32>,
    pub(super) generation: Mutex<u64>,
    /// How often the access lists were looked at.
    pub(super) looks: Mutex<u32>,
    /// Folders that have an access list and are no service.
    pub(super) lists: Mutex<Vec<(&'static str, &'static str)>>,
    /// What goes wrong with reading the access list of this folder.
    pub(super) unreadable: Mutex<Option<&'static str>>,
    pub(super) worker_generation: Mutex<i64>,
    /// What was asked about files, with the kind of the channel before it.
    pub(super) asked_of_files: Mutex<Vec<String>>,
    /// What is answered to it: an error number for those that begin so.
    pub(super) file_faults: Mutex<Vec<(&'static str, i32)>>,
    /// The account that Alice is mapped to.
    pub(super) alice_is: Mutex<&'static str>,
    /// Bytes that a sandbox may hold.
    pub(super) sandbox_bytes: Mutex<u64>,
    /// Workers answer `wait` when this is empty.
    pub(super) hold: Mutex<Vec<()>>,
    /// How often `once` was carried out.
    pub(super) carried: Mutex<i64>,
    channel: Channel,
}

pub(super) struct World {
    pub(super) container: Container,
    pub(super) stage: Arc<Stage>,
    pub(super) directory: tempfile::TempDir,
    /// What becomes of a chain that is judged again; `None` has it refused.
    pub(super) rejudged: Arc<Mutex<Option<Peer>>>,
}

fn trusting(rejudged: &Arc<Mutex<Option<Peer>>>) -> Trusting {
    let rejudged = Arc::clone(rejudged);
    let refusal = Refusal { certificate: ALICE.into(), rule: "it is revoked".into(), at: 0 };
    Trusting {
        rejudge: Arc::new(move |_| {
            lock(&rejudged).clone().unwrap_or_else(|| Peer::Refused(refusal.clone()))
        }),
        server_certificate: "the server's".into(),
    }
}

impl World {
    /// A container that has found all its services.
    pub(super) async fn new(folders: Vec<Folder>) -> Self {
        let world = Self::finding(folders, None, 0).await;
        world.container.inner.services.all_found().await;
        world
    }

    /// A container that is still finding its services.
    pub(super) async fn finding(
        folders: Vec<Folder>,
        stuck_at: Option<&'static str>,
        failures: u32,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("state/gatekeeper")).unwrap();
        let text = format!(
            "[server]\nstate_directory = {:?}\nlog_directory = {:?}\n\
             [services]\naccount = \"nesssi-services\"\n\
             [[tree]]\nname = \"data\"\npath = \"/srv/data\"\nallow = [{ALICE:?}]\n\
             [[tree]]\nname = \"open\"\npath = \"/srv/open\"\nanonymous = true\n",
            directory.path().join("state"),
            directory.path().join("log"),
        );
        let config = nesssi_config::parse(&text, "/etc/nesssi.toml").unwrap();
        let (ours, theirs) = Channel::pair().unwrap();
        let stage = Arc::new(Stage {
            folders: Mutex::new(folders),
            control: Mutex::default(),
            scans: Mutex::default(),
            stuck_at: Mutex::new(stuck_at),
            failures: Mutex::new(failures),
            calls_per_minute: Mutex::new(1000),
            cpu_seconds_per_day: Mutex::new(u64::MAX),
            judged: Mutex::default(),
            generation: Mutex::new(1),
            looks: Mutex::default(),
            lists: Mutex::default(),
            unreadable: Mutex::default(),
            worker_generation: Mutex::new(1),
            asked_of_files: Mutex::default(),
            file_faults: Mutex::default(),
            alice_is: Mutex::new("alice"),
            sandbox_bytes: Mutex::default(),
            hold: Mutex::default(),
            carried: Mutex::default(),
            channel: theirs,
        });
        let for_monitor = Arc::clone(&stage);
        std::thread::spawn(move || monitor(&for_monitor));
        let (monitor, welcome, _) = Monitor::over(ours).await.unwrap();
        let rejudged = Arc::new(Mutex::new(None));
        let trusting = trusting(&rejudged);
        let container =
            Container::start(Arc::new(config), welcome, monitor, trusting).await.unwrap();
        Self { container, stage, directory, rejudged }
    }

    pub(super) async fn call(&self, caller: &Caller, method: &str, params: &[Value]) -> Reply {
        let method = MethodName::parse(method).unwrap();
        let call = Call { method, params: params.to_vec() };
        self.container.call(caller, call).await.reply
    }

    /// A fault as "code: text".
    pub(super) async fn refused(&self, caller: &Caller, method: &str, params: &[Value]) -> String {
        let fault = self.call(caller, method, params).await.unwrap_err();
        format!("{}: {}", fault.code.number(), fault.text)
    }

    pub(super) async fn restart(&self, name: &str) -> (bool, String) {
        let ticket = 7;
        let message = FromMonitor::RestartService { ticket, name: name.to_owned() };
        self.stage.channel.send(0, &message, &[]).unwrap();
        let mut told = None;
        self.until("an answer to the restart", || {
            told = lock(&self.stage.control).pop();
            told.is_some()
        })
        .await;
        let (ticket_told, ok, text) = told.unwrap();
        assert_eq!(ticket_told, ticket);
        (ok, text)
    }

    /// Waits until the access lists have been looked at from the beginning once more.
    pub(super) async fn looked_again(&self) {
        // One may be half done, so the one after the next began after this.
        let before = *lock(&self.stage.looks);
        self.until("two more looks", || *lock(&self.stage.looks) >= before + 3).await;
    }

    /// The monitor says that the rules have changed.
    pub(super) fn new_rules(&self, config_text: Option<&str>) {
        let generation = {
            let mut generation = lock(&self.stage.generation);
            *generation += 1;
            *generation
        };
        let config_text = config_text.map(Into::into);
        let message = FromMonitor::Generation { generation, config_text };
        self.stage.channel.send(0, &message, &[]).unwrap();
    }

    pub(super) async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_so() {
            assert!(Instant::now() < deadline, "{what} did not happen");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn audit_path(&self) -> PathBuf {
        self.directory.path().join("state/gatekeeper/audit.jsonl")
    }
}

pub(super) fn by(peer: Peer) -> Caller {
    Caller::plain(Arc::new(peer), "127.0.0.1".parse().unwrap(), "r1".into(), Dialect::XmlRpc)
}

pub(super) fn anonymous() -> Caller {
    by(Peer::Anonymous(NoCertificate::NotOffered))
}

pub(super) fn certified(subject: &str) -> Caller {
    by(Peer::Certified(Identity {
        subject: SubjectDn::parse_oneline(subject).unwrap(),
        issuer: SubjectDn::parse_oneline("/O=Grid/CN=CA").unwrap(),
        not_after: i64::MAX,
        proxy: None,
    }))
}

/// The same with a proxy.
pub(super) fn by_proxy(subject: &str, proxy: ProxyKind) -> Caller {
    let Peer::Certified(identity) = (*certified(subject).peer).clone() else { unreachable!() };
    by(Peer::Certified(Identity { proxy: Some(proxy), not_after: 1_795_348_800, ..identity }))
}

pub(super) fn refused() -> Caller {
    by(Peer::Refused(Refusal { certificate: ALICE.into(), rule: "it has expired".into(), at: 0 }))
}

/// Answers the gatekeeper as the monitor would, until the channel ends.
fn monitor(stage: &Arc<Stage>) {
    let welcome = FromMonitor::Welcome {
        config_text: String::new(),
        config_path: String::new(),
        root: true,
        leaves: false,
        user: "root".into(),
        boot_id: "b".into(),
        generation: 1,
    };
    stage.channel.send(0, &welcome, &[]).unwrap();
    while let Ok(received) = stage.channel.receive::<ToMonitor>() {
        let id = received.id;
        let answer = match received.message {
            ToMonitor::Judge { claim, .. } => judged(stage, &claim),
            ToMonitor::Admit { session, .. } => {
                let account = (*lock(&stage.alice_is)).to_owned();
                FromMonitor::Sealed { seal: files::seal(account, session) }
            }
            ToMonitor::Start { .. } | ToMonitor::Discover {} | ToMonitor::Tend { .. } => {
                let tends = matches!(received.message, ToMonitor::Tend { .. });
                let (ours, theirs) = Channel::pair().unwrap();
                let for_jobmanager = Arc::clone(stage);
                std::thread::spawn(move || jobmanager(&for_jobmanager, &theirs, tends));
                let account = AccountFacts {
                    name: (*lock(&stage.alice_is)).into(),
                    uid: 1001,
                    gid: 1001,
                    home: "/".into(),
                    sandboxes: "/".into(),
                };
                let answer = FromMonitor::Jobmanager { account, pid: 1 };
                stage.channel.send(id, &answer, &[ours.as_fd()]).unwrap();
                continue;
            }
            ToMonitor::ControlDone { ticket, ok, text } => {
                lock(&stage.control).push((ticket, ok, text));
                continue;
            }
            _ => continue,
        };
        stage.channel.send(id, &answer, &[]).unwrap();
    }
}

fn judged(stage: &Stage, claim: &Claim) -> FromMonitor {
    *lock(&stage.judged) += 1;
    let subject =
        claim.subject.as_ref().map(|blob| SubjectDn::from_bytes(&blob.0).unwrap().to_string());
    let no_level = || {
        let refusal = MonitorRefusal::NoLevel { text: "secret".into() };
        FromMonitor::Refused { refusal }
    };
    let (account, level) = match (subject.as_deref(), claim.lowered.as_deref()) {
        (Some(NOBODY), _) => return no_level(),
        (Some(_), Some("anonymous")) => ("guest", "anonymous"),
        (Some(BOSS), Some("weak")) => ("alice", "weak"),
        (Some(BOSS), _) => ("boss", "strong"),
        (Some(_), _) => (*lock(&stage.alice_is), "weak"),
        (None, _) => ("guest", "anonymous"),
    };
    let account = match claim.account.as_deref() {
        None => account,
        Some("second") if level == "strong" => "second",
        Some(asked) if asked == account => account,
        Some(_) => return no_level(),
    };
    let limits = Limits {
        cpu_seconds: 900,
        wall_seconds: 900,
        jobs_at_once: 1,
        calls_per_minute: *lock(&stage.calls_per_minute),
        call_wall_seconds: 60,
        call_cpu_seconds: 10,
        sandbox_bytes: *lock(&stage.sandbox_bytes),
        retention_seconds: 1,
        cpu_seconds_per_day: *lock(&stage.cpu_seconds_per_day),
    };
    let grant = GrantRecord {
        id: 1,
        account: account.into(),
        level: level.into(),
        limits: Blob(limits.to_bytes().to_vec()),
        generation: *lock(&stage.generation),
        reads_only: claim.proxy == 2,
        rule: "r".into(),
    };
    FromMonitor::Judged { grant }
}

fn jobmanager(stage: &Arc<Stage>, channel: &Channel, tends: bool) {
    while let Ok(received) = channel.receive::<ToJobmanager>() {
        let id = received.id;
        match received.message {
            ToJobmanager::Scan { only, .. } => scan(stage, channel, id, &only),
            ToJobmanager::ScanAccess { .. } => scan_access(stage, channel, id),
            ToJobmanager::StartWorker { argv, directory, has_log, .. } => {
                assert!(has_log && received.descriptors.len() == 1, "the log is passed");
                assert_eq!(argv.last(), Some(&directory));
                let (ours, theirs) = UnixStream::pair().unwrap();
                let generation = *lock(&stage.worker_generation);
                let for_worker = Arc::clone(stage);
                std::thread::spawn(move || worker(&for_worker, theirs, generation));
                let answer = FromJobmanager::WorkerStarted { pid: std::process::id() };
                channel.send(id, &answer, &[ours.as_fd()]).unwrap();
            }
            ToJobmanager::KillWorker { worker } => {
                let answer = FromJobmanager::WorkerEnded { worker, status: 0 };
                channel.send(id, &answer, &[]).unwrap();
            }
            ToJobmanager::Prepare { session, .. } => {
                let answer = FromJobmanager::Prepared { path: format!("/{session}") };
                channel.send(id, &answer, &[]).unwrap();
            }
            about_files => files::answer(stage, channel, id, tends, &about_files),
        }
    }
}

fn scan(stage: &Stage, channel: &Channel, id: u32, only: &str) {
    let folders = lock(&stage.folders).clone();
    lock(&stage.scans).push(only.to_owned());
    {
        let mut failures = lock(&stage.failures);
        if *failures > 0 {
            *failures -= 1;
            let failed = FromJobmanager::Failed { errno: 0, text: "by the test".into() };
            channel.send(id, &failed, &[]).unwrap();
            return;
        }
    }
    for folder in folders {
        if !only.is_empty() && folder.name != only {
            continue;
        }
        while only.is_empty() && *lock(&stage.stuck_at) == Some(folder.name) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let found = FromJobmanager::ServiceFound {
            name: folder.name.into(),
            folder: format!("/srv/{}", folder.name),
            access: folder.access.map(Into::into),
            manifest: folder.manifest.map(Into::into),
            description: Some(folder.description.into()),
            problem: None,
            digest: Blob(vec![0; 32]),
            has_modules: false,
            in_place: None,
        };
        channel.send(id, &found, &[]).unwrap();
    }
    channel.send(id, &FromJobmanager::DiscoverDone { problems: vec![] }, &[]).unwrap();
}

fn scan_access(stage: &Stage, channel: &Channel, id: u32) {
    *lock(&stage.looks) += 1;
    let services = lock(&stage.folders).clone();
    let services = services.iter().map(|folder| (folder.name, folder.access));
    let others = lock(&stage.lists).clone();
    let others = others.iter().map(|(name, access)| (*name, Some(*access)));
    for (name, access) in others.chain(services) {
        let hidden = *lock(&stage.unreadable) == Some(name);
        let found = FromJobmanager::AccessFound {
            name: name.into(),
            access: access.filter(|_| !hidden).map(Into::into),
            problem: hidden.then(|| "by the test".into()),
        };
        channel.send(id, &found, &[]).unwrap();
    }
    channel.send(id, &FromJobmanager::DiscoverDone { problems: vec![] }, &[]).unwrap();
}

/// A worker that adds, asks who it is, tells its generation, or waits.
fn worker(stage: &Stage, stream: UnixStream, generation: i64) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut writer = stream.try_clone().unwrap();
    let mut say = move |message: &FromWorker| {
        let mut line = Vec::new();
        message.write_line(&mut line).unwrap();
        writer.write_all(&line).is_ok()
    };
    say(&FromWorker::Ready { methods: vec![] });
    let mut lines = BufReader::new(stream).split(b'\n');
    while let Some(Ok(line)) = lines.next() {
        let AtWorker::Call { id, token, name, args, .. } = AtWorker::parse(&line).unwrap() else {
            return;
        };
        let value = match name.as_str() {
            "add" => Value::Int(args.iter().filter_map(Value::as_int).sum()),
            "gen" => Value::Int(generation),
            "once" => {
                let count = {
                    let mut carried = lock(&stage.carried);
                    *carried += 1;
                    *carried
                };
                while !lock(&stage.hold).is_empty() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Value::Int(count)
            }
            "wait" => {
                while !lock(&stage.hold).is_empty() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Value::Int(generation)
            }
            name => {
                let request = match name {
                    "run" => Request::RunJob {
                        method: "m".into(),
                        seconds: 5.0,
                        session: None,
                        command: Command::Argv(vec![b"/bin/true".to_vec()]),
                        batch: None,
                    },
                    _ => Request::SystemUser { seconds: 5.0 },
                };
                let ask = Ok(Ask { token, request });
                say(&FromWorker::Ask { id: "w1".into(), ask });
                match AtWorker::parse(&lines.next().unwrap().unwrap()).unwrap() {
                    AtWorker::Answer { outcome: Ok(value), .. } => value,
                    AtWorker::Answer { outcome: Err((code, text)), .. } => {
                        Value::String(format!("{code}: {text}"))
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        if !say(&FromWorker::Answer { id, outcome: Outcome::Value(value) }) {
            return;
        }
    }
}
