//! A look-up is a forked child that asks the name service about one account and, if it is fit,
//! becomes its jobmanager.
//!
//! The name service may take long, and exec may. So the monitor forks first and looks up then: the
//! child reports what it found, and the monitor kills it when its time is over. Nobody else waits for it.

use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nesssi_config::{BatchSystem, Tree};
use nesssi_privsep::wire::{Field, Reader, WireError, Writer};
use nesssi_privsep::{
    Account, AccountRefusal, AccountRules, Channel, ChannelError, Child, Command, Spawn,
    SpawnError, account, spawn,
};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use crate::paths::{self, Owner};
use crate::{log, programs};

/// How long a look-up may take, the start of the jobmanager included.
pub const LOOKUP_SECONDS_MAX: u64 = 10;

/// What the name service says of an account, and whether it may be started as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its uid.
    pub uid: u32,
    /// Its primary gid.
    pub gid: u32,
    /// All its groups, sorted.
    pub groups: Vec<u32>,
    /// Its home directory.
    pub home: String,
    /// Why nothing may be started as it now (locked, expired); what it has left may be tended.
    pub standing: Option<String>,
}

/// What a child reports, in this order: one `Found` or `Refused`; then `Failed` if it could not start.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Report {
    Found(Found),
    Refused { unfit: bool, text: String },
    Failed(String),
}

/// What is to be done with an account that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing more.
    Check,
    /// Start its jobmanager if it is in good standing.
    Start,
    /// Start its jobmanager in any standing: sessions are to be tended.
    Tend,
}

/// What a look-up needs to know of the monitor.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Whether NESSSI was started as root; without it the one account is the invoking user.
    pub root: bool,
    /// The invoking user.
    pub invoker: &'a Account,
    /// Which accounts may be used.
    pub rules: AccountRules,
    /// The open root of sandboxes.
    pub sandboxes: BorrowedFd<'a>,
    /// Its path.
    pub sandboxes_path: PathBuf,
    /// Whether root has no power there, so that accounts open their directories themselves.
    pub shared: bool,
    /// The trees that jobmanagers may read.
    pub trees: &'a [Tree],
    /// The batch systems that jobmanagers may use.
    pub batch: &'a [BatchSystem],
    /// The jobmanager's program.
    pub program: PathBuf,
    /// Its whole environment.
    pub environment: &'a [(String, String)],
    /// How many descriptors it may have: as many as the monitor before it raised its own limit.
    pub files: Rlimit,
}

/// A look-up under way.
#[derive(Debug)]
pub struct Lookup {
    child: Child,
    report: Channel,
    /// The monitor's end of the control channel to the jobmanager that is to be.
    control: Option<Channel>,
    purpose: Purpose,
    found: Option<Found>,
    until: Instant,
}

/// How a look-up ended.
#[derive(Debug)]
pub enum Outcome {
    /// The account is fit; nothing was started.
    Checked(Found),
    /// Its jobmanager runs: the child itself, and the control channel to it.
    Started(Found, Child, Channel),
    /// The account may not be used, now or at all.
    Unfit(String),
    /// Something failed.
    Failed(String),
}

impl Lookup {
    /// Forks the child.
    ///
    /// # Errors
    /// The system's, when processes or descriptors run out.
    pub fn begin(
        name: &str,
        purpose: Purpose,
        surroundings: &Surroundings<'_>,
        wait: Duration,
    ) -> Result<Self, SpawnError> {
        let pair = || {
            Channel::pair().map_err(|error| SpawnError::System {
                what: "socketpair",
                source: std::io::Error::other(error),
            })
        };
        let (report, child_report) = pair()?;
        let (control, child_control) = pair()?;
        report.set_nonblocking().map_err(|error| SpawnError::System {
            what: "ioctl(FIONBIO)",
            source: std::io::Error::other(error),
        })?;
        let keep = [child_report.as_fd(), child_control.as_fd(), surroundings.sandboxes];
        let child = spawn::fork(&keep, || {
            child_main(name, purpose, surroundings, &child_report, &child_control)
        })?;
        let until = Instant::now() + wait;
        let control = (purpose != Purpose::Check).then_some(control);
        Ok(Self { child, report, control, purpose, found: None, until })
    }

    /// When it is to be ended.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Reads what the child has reported; `Err` is the look-up itself, still under way.
    ///
    /// A child that is not the jobmanager now must be reaped: it is answered beside the outcome.
    ///
    /// # Errors
    /// None: the look-up, if it has not ended.
    pub fn advance(mut self, now: Instant) -> Result<(Outcome, Option<Child>), Box<Self>> {
        loop {
            match self.report.receive::<Report>() {
                Ok(received) => match received.message {
                    Report::Found(found) => self.found = Some(found),
                    Report::Refused { unfit: true, text } => {
                        return Ok((Outcome::Unfit(text), Some(self.child)));
                    }
                    Report::Refused { unfit: false, text } | Report::Failed(text) => {
                        return Ok((Outcome::Failed(text), Some(self.child)));
                    }
                },
                Err(ChannelError::WouldBlock) if now < self.until => return Err(Box::new(self)),
                Err(ChannelError::WouldBlock) => return Ok(self.too_late()),
                Err(ChannelError::Closed) => return Ok(self.ended()),
                Err(error) => {
                    let text = format!("look-up: {error}");
                    return Ok((Outcome::Failed(text), Some(self.child)));
                }
            }
        }
    }

    /// Ends it, whatever it is doing. The child is to be reaped.
    #[must_use]
    pub fn give_up(self) -> Child {
        // One that has ended needs no signal.
        self.child.signal(Signal::KILL).unwrap_or_default();
        self.child
    }

    /// The report channel is closed: by exec, which is success, or by the child's end.
    fn ended(self) -> (Outcome, Option<Child>) {
        match (self.found, self.control) {
            (Some(found), Some(control)) => (Outcome::Started(found, self.child, control), None),
            (Some(found), None) => (Outcome::Checked(found), Some(self.child)),
            (None, _) => {
                (Outcome::Failed("the look-up ended without an answer".into()), Some(self.child))
            }
        }
    }

    fn too_late(self) -> (Outcome, Option<Child>) {
        let killed = self.child.signal(Signal::KILL);
        let what = if self.found.is_some() { "starting" } else { "the name service" };
        let text = match killed {
            Ok(()) => format!("{what} took more than {LOOKUP_SECONDS_MAX} s"),
            Err(error) => format!("{what} took too long, and killing it failed: {error}"),
        };
        (Outcome::Failed(text), Some(self.child))
    }
}

impl AsFd for Lookup {
    /// Readable when the child has something to report.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}

/// The child: its exit code matters to nobody.
fn child_main(
    name: &str,
    purpose: Purpose,
    surroundings: &Surroundings<'_>,
    report: &Channel,
    control: &Channel,
) -> i32 {
    let Ok(own) = report.as_fd().try_clone_to_owned() else { return 1 };
    let mut report = Channel::from_fd(own);
    let ended = look_up_and_start(name, purpose, surroundings, &mut report, control.as_fd());
    if let Err(last) = ended {
        // If this does not reach the monitor, it is gone.
        report.send(0, &last, &[]).unwrap_or_default();
    }
    // Descriptors go with the process; some are closed under their owners already.
    std::mem::forget(report);
    0
}

/// The child's work. `Ok` is only returned after a check.
fn look_up_and_start(
    name: &str,
    purpose: Purpose,
    surroundings: &Surroundings<'_>,
    report: &mut Channel,
    control: BorrowedFd<'_>,
) -> Result<(), Report> {
    // A child whose monitor dies is of no use to anybody.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Report::Failed(format!("prctl(PR_SET_PDEATHSIG): {error}")))?;
    rustix::thread::set_name(c"nesssid-lookup").unwrap_or_default();
    let (account, found) = look_up(name, surroundings)?;
    if let (Purpose::Start, Some(text)) = (purpose, &found.standing) {
        return Err(Report::Refused { unfit: true, text: text.clone() });
    }
    report
        .send(0, &Report::Found(found), &[])
        .map_err(|error| Report::Failed(error.to_string()))?;
    if purpose == Purpose::Check {
        return Ok(());
    }
    // Not to be closed by its owner: when exec fails, its number may be another's.
    let directory = ManuallyDrop::new(open_directory(&account, surroundings)?);
    Err(Report::Failed(start(&account, surroundings, &directory, control, report)))
}

fn look_up(name: &str, surroundings: &Surroundings<'_>) -> Result<(Account, Found), Report> {
    let refused = |error: AccountRefusal| Report::Refused {
        unfit: !matches!(error, AccountRefusal::System { .. }),
        text: error.to_string(),
    };
    let (account, standing) = if surroundings.root {
        let account = account::look_up(name, &surroundings.rules).map_err(refused)?;
        let standing = match account::in_good_standing(&account, crate::clock::today()) {
            Ok(()) => None,
            Err(error @ AccountRefusal::System { .. }) => return Err(refused(error)),
            Err(error) => Some(error.to_string()),
        };
        (account, standing)
    } else if name == surroundings.invoker.name() {
        (surroundings.invoker.clone(), None)
    } else {
        let own = surroundings.invoker.name();
        let text =
            format!("not started as root: account {name} is not {own}, the only one there is");
        return Err(Report::Refused { unfit: true, text });
    };
    let found = Found {
        uid: account.uid(),
        gid: account.gid(),
        groups: account.groups().to_vec(),
        home: account.home().to_string_lossy().into_owned(),
        standing,
    };
    Ok((account, found))
}

/// The account's directory; of a shared file system the root of all, in which the account opens its own.
fn open_directory(account: &Account, surroundings: &Surroundings<'_>) -> Result<OwnedFd, Report> {
    let owner = Owner { uid: account.uid(), gid: account.gid(), mode: 0o700 };
    let failed = |text: String| Report::Failed(format!("directory of sandboxes: {text}"));
    let root =
        surroundings.sandboxes.try_clone_to_owned().map_err(|error| failed(error.to_string()))?;
    if surroundings.shared {
        return Ok(root);
    }
    paths::account_directory(&root, account.name(), owner).map_err(|e| failed(e.to_string()))
}

/// Becomes the jobmanager. Returns only if that failed.
fn start(
    account: &Account,
    surroundings: &Surroundings<'_>,
    directory: &OwnedFd,
    control: BorrowedFd<'_>,
    report: &mut Channel,
) -> String {
    let command = Command::new(&surroundings.program)
        .named("nesssi-jobmanager")
        .args(["--account", account.name(), "--sandboxes"])
        .arg(surroundings.sandboxes_path.join(account.name()))
        .args(surroundings.shared.then_some("--shared"))
        .args(surroundings.trees.iter().flat_map(tree_words))
        .args(usable(surroundings.batch).flat_map(batch_words))
        .envs(surroundings.environment.iter().map(|(name, value)| (name, value)));
    // It decides itself what its monitor's death means: it sees descriptor 3 close.
    if let Err(error) = rustix::process::set_parent_process_death_signal(None) {
        return format!("prctl(PR_SET_PDEATHSIG): {error}");
    }
    if let Err(error) = setrlimit(Resource::Nofile, surroundings.files) {
        return format!("setrlimit(RLIMIT_NOFILE): {error}");
    }
    let mut spawn = Spawn::new(command).account(account).new_session();
    if !surroundings.shared {
        spawn = spawn.directory(directory.as_fd());
    }
    let spawn = spawn.descriptor(3, control).descriptor(4, directory.as_fd());
    let (error, moved) = spawn.exec_keeping(report.as_fd());
    let text = error.to_string();
    match moved.try_clone_to_owned() {
        // The channel under its old number may be closed by now, and is not to be closed again.
        Ok(moved) => std::mem::forget(std::mem::replace(report, Channel::from_fd(moved))),
        Err(error) => return format!("{text}; {error}"),
    }
    text
}

/// A tree as a jobmanager is told of it.
fn tree_words(tree: &Tree) -> [OsString; 2] {
    let mut named = OsString::from(&tree.name);
    named.push("=");
    named.push(&tree.path);
    ["--tree".into(), named]
}

/// The batch systems whose commands may be run: an account is not told of the others. What was said of them at the
/// start may be outdated.
fn usable(systems: &[BatchSystem]) -> impl Iterator<Item = &BatchSystem> {
    systems.iter().filter(|system| {
        let problems = programs::problems_of(system);
        if !problems.is_empty() {
            log::error("a batch system is unusable")
                .with("batch", &system.name)
                .with("because", problems.join("; "))
                .write();
        }
        problems.is_empty()
    })
}

/// A batch system as a jobmanager is told of it. Nothing in it has a comma.
fn batch_words(system: &BatchSystem) -> [OsString; 2] {
    let mut told = OsString::from(&system.name);
    let mut add = |key: &str, value: &OsStr| {
        told.push(format!(",{key}="));
        told.push(value);
    };
    if let Some(dialect) = &system.dialect {
        add("dialect", dialect.as_ref());
    }
    for (key, program) in system.programs() {
        add(key, program.as_os_str());
    }
    let numbers = [
        ("commands_at_once", system.commands_at_once),
        ("command_seconds_max", system.command_seconds_max),
    ];
    for (key, number) in numbers {
        add(key, number.to_string().as_ref());
    }
    ["--batch".into(), told]
}

impl Field for Found {
    fn put(&self, out: &mut Writer) {
        self.uid.put(out);
        self.gid.put(out);
        self.groups.put(out);
        self.home.put(out);
        self.standing.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            uid: Field::take(from)?,
            gid: Field::take(from)?,
            groups: Field::take(from)?,
            home: Field::take(from)?,
            standing: Field::take(from)?,
        })
    }
}

impl Field for Report {
    fn put(&self, out: &mut Writer) {
        match self {
            Self::Found(found) => {
                1_u8.put(out);
                found.put(out);
            }
            Self::Refused { unfit, text } => {
                2_u8.put(out);
                unfit.put(out);
                text.put(out);
            }
            Self::Failed(text) => {
                3_u8.put(out);
                text.put(out);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match u8::take(from)? {
            1 => Ok(Self::Found(Field::take(from)?)),
            2 => Ok(Self::Refused { unfit: Field::take(from)?, text: Field::take(from)? }),
            3 => Ok(Self::Failed(Field::take(from)?)),
            value => Err(WireError::Unknown { what: "report", value }),
        }
    }
}
