//! A world of one account and its real jobmanager, driven over channels as the monitor and the
//! gatekeeper do. As root the account is `nobody` or one that the test makes; else the user itself.

use std::cell::RefCell;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nesssi_job::EndRecord;
use nesssi_privsep::account::{Account, AccountRules, look_up};
use nesssi_privsep::messages::{
    ChannelKind, FromJobmanager, ShepherdId, ToJobmanager, ToJobmanagerControl,
};
use nesssi_privsep::wire::Blob;
use nesssi_privsep::{Channel, Child, Command, Received, Spawn};
use nesssi_session::SessionId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub struct World {
    pub root: tempfile::TempDir,
    pub home: PathBuf,
    pub account: Option<Account>,
}

impl World {
    pub fn new() -> Self {
        Self::of(is_root().then_some("nobody"))
    }

    pub fn of(name: Option<&str>) -> Self {
        let rules = AccountRules { uid_min: 1, service_uid: None };
        let account = name.map(|name| look_up(name, &rules).unwrap());
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = root.path().join("alice");
        fs::create_dir(&home).unwrap();
        let world = Self { root, home, account };
        world.give(&world.home);
        fs::set_permissions(&world.home, fs::Permissions::from_mode(0o700)).unwrap();
        // Where the account can reach it, wherever this was built.
        fs::copy(env!("CARGO_BIN_EXE_nesssi-jobmanager"), world.binary()).unwrap();
        world
    }

    pub fn give(&self, path: &Path) {
        if let Some(account) = &self.account {
            std::os::unix::fs::chown(path, Some(account.uid()), Some(account.gid())).unwrap();
        }
    }

    pub fn binary(&self) -> PathBuf {
        self.root.path().join("nesssi-jobmanager")
    }

    pub fn start(&self) -> Jobmanager {
        self.start_with_trees(&[])
    }

    pub fn start_with_trees(&self, trees: &[(&str, &Path)]) -> Jobmanager {
        let words = trees
            .iter()
            .flat_map(|(name, path)| ["--tree".to_owned(), format!("{name}={}", path.display())]);
        self.start_with(&words.collect::<Vec<_>>())
    }

    pub fn start_with(&self, words: &[String]) -> Jobmanager {
        let (control, theirs) = Channel::pair().unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let home = rustix::fs::open(&self.home, flags, rustix::fs::Mode::empty()).unwrap();
        let command = Command::new(self.binary())
            .args(["--account", "alice", "--sandboxes"])
            .arg(&self.home)
            .args(words)
            .env("PATH", "/usr/bin:/bin");
        let mut spawn =
            Spawn::new(command).descriptor(3, theirs.as_fd()).descriptor(4, home.as_fd());
        if let Some(account) = &self.account {
            spawn = spawn.account(account);
        }
        Jobmanager { child: spawn.spawn().unwrap(), control: Some(control) }
    }

    pub fn path(&self, session: &SessionId) -> PathBuf {
        self.home.join(session.reveal())
    }

    pub fn read(&self, session: &SessionId, name: &str) -> String {
        fs::read_to_string(self.path(session).join(name)).unwrap()
    }

    /// A number that the job writes into a file.
    pub fn number(&self, session: &SessionId, name: &str) -> i32 {
        let path = self.path(session).join(name);
        wait_for(name, || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            text.strip_suffix('\n').and_then(|text| text.trim().parse().ok())
        })
    }
}

pub struct Jobmanager {
    pub child: Child,
    pub control: Option<Channel>,
}

impl Jobmanager {
    pub fn peer(&self, kind: ChannelKind) -> Peer {
        self.peer_of(kind, 1)
    }

    pub fn peer_of(&self, kind: ChannelKind, gatekeeper: u32) -> Peer {
        let (ours, theirs) = Channel::pair().unwrap();
        let serve = ToJobmanagerControl::Serve { kind, gatekeeper };
        self.control.as_ref().unwrap().send(0, &serve, &[theirs.as_fd()]).unwrap();
        Peer { channel: ours, next: RefCell::new(0), kept: RefCell::default() }
    }

    pub fn demote(&self) {
        let demote = ToJobmanagerControl::Demote {};
        self.control.as_ref().unwrap().send(0, &demote, &[]).unwrap();
    }

    pub fn starter(&self) -> Peer {
        self.peer(ChannelKind::Start {})
    }

    pub fn tender(&self) -> Peer {
        self.peer(ChannelKind::Tend {})
    }

    pub fn kill(self) {
        self.child.signal(Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Jobmanager {
    fn drop(&mut self) {
        self.control = None;
        // It has been waited for where the test has killed it.
        self.child.wait().map(|_| ()).unwrap_or_default();
    }
}

pub struct Peer {
    pub channel: Channel,
    next: RefCell<u32>,
    kept: RefCell<Vec<Received<FromJobmanager>>>,
}

/// What a job is asked with, the rest as usual.
pub struct Ask {
    pub argv: Vec<String>,
    pub cpu: u64,
    pub wall: u64,
    pub bytes: u64,
    pub tag: String,
}

pub fn tag_of(session: &SessionId) -> String {
    session.reveal()[16..].to_owned()
}

impl Ask {
    pub fn sh(script: &str) -> Self {
        Self::argv(&["/bin/sh", "-c", script])
    }

    pub fn argv(argv: &[&str]) -> Self {
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Self { argv, cpu: 60, wall: 60, bytes: 0, tag: String::new() }
    }

    pub fn message(self, session: &SessionId) -> ToJobmanager {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        ToJobmanager::StartJob {
            session: session.reveal().to_owned(),
            tag: if self.tag.is_empty() { tag_of(session) } else { self.tag },
            argv: self.argv.into_iter().map(|word| Blob(word.into_bytes())).collect(),
            environment: vec![
                pair("PATH", "/usr/local/bin:/usr/bin:/bin"),
                pair("LANG", "C.UTF-8"),
            ],
            cpu_seconds_max: self.cpu,
            wall_seconds_max: self.wall,
            sandbox_bytes_max: self.bytes,
            umask_default: 0o077,
        }
    }
}

impl Peer {
    /// Sends a request and waits for its answer; what comes unasked is kept.
    pub fn ask_with(
        &self,
        request: &ToJobmanager,
        descriptors: &[BorrowedFd<'_>],
    ) -> Received<FromJobmanager> {
        let id = self.send(request, descriptors);
        self.wait(|received| received.id == id)
    }

    pub fn send(&self, request: &ToJobmanager, descriptors: &[BorrowedFd<'_>]) -> u32 {
        *self.next.borrow_mut() += 1;
        let id = *self.next.borrow();
        self.channel.send(id, request, descriptors).unwrap();
        id
    }

    pub fn ask(&self, request: &ToJobmanager) -> FromJobmanager {
        self.ask_with(request, &[]).message
    }

    /// The first message, kept or to come, that `fits`.
    pub fn wait(
        &self,
        fits: impl Fn(&Received<FromJobmanager>) -> bool,
    ) -> Received<FromJobmanager> {
        let until = Instant::now() + PATIENCE;
        loop {
            let at = self.kept.borrow().iter().position(&fits);
            if let Some(at) = at {
                return self.kept.borrow_mut().remove(at);
            }
            assert!(self.poll(until.saturating_duration_since(Instant::now())), "nothing came");
            self.kept.borrow_mut().push(self.channel.receive().unwrap());
        }
    }

    /// Drops the kept messages that `fit`; answers how many.
    pub fn take_kept(&self, fit: impl Fn(&FromJobmanager) -> bool) -> i32 {
        let mut kept = self.kept.borrow_mut();
        let before = kept.len();
        kept.retain(|received| !fit(&received.message));
        i32::try_from(before - kept.len()).unwrap()
    }

    pub fn poll(&self, time: Duration) -> bool {
        let mut polled = [PollFd::new(&self.channel, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::try_from(time).unwrap())).unwrap() > 0
    }

    pub fn prepare(&self) -> SessionId {
        let session = SessionId::random();
        let request =
            ToJobmanager::Prepare { session: session.reveal().to_owned(), umask_default: 0o077 };
        let answer = self.ask(&request);
        assert!(matches!(answer, FromJobmanager::Prepared { .. }), "{answer:?}");
        session
    }

    pub fn start(&self, ask: Ask) -> (SessionId, ShepherdId) {
        self.start_in_leaf(ask, &[])
    }

    pub fn start_in_leaf(&self, ask: Ask, leaf: &[BorrowedFd<'_>]) -> (SessionId, ShepherdId) {
        let session = self.prepare();
        match self.ask_with(&ask.message(&session), leaf).message {
            FromJobmanager::Started { shepherd } => (session, shepherd),
            other => panic!("{other:?}"),
        }
    }

    /// The text of the record with which the job ends.
    pub fn end_text(&self, session: &SessionId) -> String {
        let ends = |received: &Received<FromJobmanager>| {
            matches!(&received.message, FromJobmanager::Ended { session: ended, .. }
                if ended == session.reveal())
        };
        match self.wait(ends).message {
            FromJobmanager::Ended { record, .. } => record,
            other => panic!("{other:?}"),
        }
    }

    pub fn end(&self, session: &SessionId) -> EndRecord {
        EndRecord::parse(&self.end_text(session)).unwrap()
    }

    pub fn run(&self, ask: Ask) -> (SessionId, EndRecord) {
        let (session, _) = self.start(ask);
        let record = self.end(&session);
        (session, record)
    }

    pub fn open(&self, session: &SessionId, path: impl AsRef<[u8]>) -> Option<OwnedFd> {
        let request = ToJobmanager::Open {
            session: session.reveal().to_owned(),
            path: Blob(path.as_ref().to_vec()),
        };
        let mut answer = self.ask_with(&request, &[]);
        match answer.message {
            FromJobmanager::Opened { .. } => Some(answer.descriptors.remove(0)),
            _ => None,
        }
    }
}

/// Waits for a condition; panics if it takes too long.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs, dead ones that nobody has waited for left out.
pub fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X']))
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

pub fn errno(answer: &FromJobmanager) -> i32 {
    match answer {
        FromJobmanager::Failed { errno, .. } => *errno,
        other => panic!("{other:?}"),
    }
}
