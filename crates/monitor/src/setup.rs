//! What the monitor stands on: files read, directories opened, sockets bound, all before anything is served.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nesssi_config::Config;
use nesssi_privsep::{Account, AccountRefusal, AccountRules, account};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::audit::Audit;
use crate::control::ControlSocket;
use crate::log;
use crate::paths::{self, Missing, Owner, PathProblem};
use crate::rules::RulesKeeper;
use crate::seals::{KeyError, KeyOrigin, SealKey};
use crate::{files, programs};

/// Connections that wait to be accepted: more than a gatekeeper's replacement lets pile up.
const BACKLOG: i32 = 4096;
/// How long a port in use is waited for: processes of a monitor that was just killed hold it until the
/// system is through with them, which takes a gatekeeper some milliseconds after the signal.
const LISTEN_WAIT: Duration = Duration::from_secs(3);
/// Between two tries to have it.
const LISTEN_AGAIN: Duration = Duration::from_millis(20);
/// Variables of the monitor's own environment that its children get, besides `PATH` and `LANG`.
const HANDED_ON: &str = "RUST_LOG";
/// The key of the other programs' directory.
const LIBEXEC: &str = "[server] libexec_directory";
/// Longest value of it.
const HANDED_ON_BYTES_MAX: usize = 1024;

/// Why NESSSI does not start.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A mistake in configuration or gridmap, with file and line.
    #[error("{0}")]
    Mistake(String),
    /// A directory cannot be used.
    #[error("{key}: {source}")]
    Path {
        /// The configuration's key.
        key: &'static str,
        /// Which, and why.
        source: PathProblem,
    },
    /// A file cannot be used.
    #[error("{key}: {path}: {source}")]
    File {
        /// The configuration's key.
        key: &'static str,
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// An account cannot be used.
    #[error("{key}: {source}")]
    Account {
        /// The configuration's key.
        key: String,
        /// Which, and why.
        source: AccountRefusal,
    },
    /// A port cannot be had.
    #[error("{key}: cannot listen on {address}: {source}")]
    Listen {
        /// The configuration's key.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Another monitor runs.
    #[error("[server] state_directory: another nesssid runs with {0}")]
    Running(String),
    /// The key of the seals cannot be used.
    #[error("[server] state_directory: {0}")]
    Key(#[from] KeyError),
    /// Something else that is missing.
    #[error("{0}")]
    Other(String),
}

/// Who NESSSI is here.
#[derive(Debug)]
pub struct Identity {
    /// Whether it was started as root.
    pub root: bool,
    /// The invoking user.
    pub invoker: Account,
    /// The user that the gatekeeper runs as.
    pub gatekeeper: Account,
}

impl Identity {
    /// Finds out who invokes, and who the gatekeeper is to be.
    ///
    /// # Errors
    /// [`Problem::Account`].
    pub fn find(config: &Config) -> Result<Self, Problem> {
        let root = rustix::process::geteuid().is_root();
        let invoker = account::current()
            .map_err(|source| Problem::Account { key: "the invoking user".into(), source })?;
        let gatekeeper = if root {
            account::service_user(&config.server.user)
                .map_err(|source| Problem::Account { key: "[server] user".into(), source })?
        } else {
            invoker.clone()
        };
        Ok(Self { root, invoker, gatekeeper })
    }

    /// The rules that accounts are held against.
    #[must_use]
    pub fn account_rules(&self, uid_min: u32) -> AccountRules {
        AccountRules { uid_min, service_uid: self.root.then(|| self.gatekeeper.uid()) }
    }
}

/// The directories that NESSSI keeps open.
#[derive(Debug)]
pub struct Directories {
    /// `<state_directory>/monitor`.
    pub monitor: OwnedFd,
    /// The root of sandboxes.
    pub sandboxes: OwnedFd,
    /// The directory of logs.
    pub logs: OwnedFd,
}

impl Directories {
    /// Opens them all; what is missing is made if `missing` says so.
    ///
    /// # Errors
    /// Every [`Problem::Path`].
    pub fn open(config: &Config, who: &Identity, missing: Missing) -> Result<Self, Vec<Problem>> {
        let state = &config.server.state_directory;
        let own = |mode| Owner { uid: who.invoker.uid(), gid: who.invoker.gid(), mode };
        let gatekeeper =
            |mode| Owner { uid: who.gatekeeper.uid(), gid: who.gatekeeper.gid(), mode };
        let mut problems = Vec::new();
        let mut open = |key, path: &Path, owner| {
            paths::open_owned(path, owner, missing)
                .map_err(|source| problems.push(Problem::Path { key, source }))
                .ok()
        };
        let above = open("[server] state_directory", state, own(0o755));
        let monitor = above
            .is_some()
            .then(|| open("[server] state_directory", &state.join("monitor"), own(0o700)))
            .flatten();
        let journal = above.is_some().then(|| {
            open("[server] state_directory", &state.join("gatekeeper"), gatekeeper(0o700))
        });
        let logs = open("[server] log_directory", &config.server.log_directory, gatekeeper(0o755));
        let sandboxes = if config.sandboxes.shared {
            paths::open_shared(&config.sandboxes.root, who.gatekeeper.uid())
                .map_err(|source| problems.push(Problem::Path { key: "[sandboxes] root", source }))
                .ok()
        } else {
            open("[sandboxes] root", &config.sandboxes.root, gatekeeper(0o711))
        };
        match (monitor, journal.flatten(), logs, sandboxes) {
            (Some(monitor), Some(_), Some(logs), Some(sandboxes)) => {
                Ok(Self { monitor, sandboxes, logs })
            }
            _ => Err(problems),
        }
    }
}

/// All of it.
#[derive(Debug)]
pub struct Setup {
    /// The configuration that NESSSI was started with.
    pub config: Config,
    /// Its file, absolute.
    pub config_path: PathBuf,
    /// The rules, kept up to date.
    pub rules: RulesKeeper,
    /// Who NESSSI is.
    pub who: Identity,
    /// The root of sandboxes, open.
    pub sandboxes: OwnedFd,
    /// What the monitor has done, and how far the gatekeeper's log has come.
    pub audit: Audit,
    /// The key of the seals.
    pub seals: SealKey,
    /// The HTTPS port.
    pub https: TcpListener,
    /// The HTTP port.
    pub http: TcpListener,
    /// The control socket.
    pub control: ControlSocket,
    /// The directory of the other programs.
    pub libexec: PathBuf,
    /// The environment of children.
    pub environment: Vec<(String, String)>,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Keeps a second monitor from these directories.
    _lock: OwnedFd,
    /// What an administrator should look at, and what does not keep NESSSI from starting.
    pub warnings: Vec<String>,
    /// What does not work: the rest does, and is started.
    pub faults: Vec<String>,
}

impl Setup {
    /// Reads, opens and binds.
    ///
    /// # Errors
    /// Every [`Problem`] that can be seen at once.
    pub fn prepare(config_path: &Path) -> Result<Self, Vec<Problem>> {
        let config_path = absolute(config_path).map_err(one)?;
        let (rules, config, mut warnings) = RulesKeeper::load(&config_path)
            .map_err(|mistakes| mistakes.into_iter().map(Problem::Mistake).collect::<Vec<_>>())?;
        let who = Identity::find(&config).map_err(one)?;
        let exposed = config.check_exposure(who.root);
        if !exposed.is_empty() {
            return Err(exposed.iter().map(|m| Problem::Mistake(m.to_string())).collect());
        }
        check_ways(&config, &config_path, rules.ways())?;
        let libexec = libexec(&config).map_err(one)?;
        let directories = Directories::open(&config, &who, Missing::Make)?;
        let lock = lock(&directories.monitor, &config).map_err(one)?;
        let (seals, origin) = SealKey::load_or_make(&directories.monitor)
            .map_err(|error| one(Problem::Key(error)))?;
        if origin == KeyOrigin::Made {
            warnings
                .push("made a new key for seals: no session sealed before can be tended".into());
        }
        let audit = audit(&directories.monitor, &config).map_err(one)?;
        check_certificate(&config)?;
        let until = Instant::now() + LISTEN_WAIT;
        let https = listen("[server] listen_https", config.server.listen_https, until);
        let http = listen("[server] listen_http", config.server.listen_http, until);
        let (https, http) = both(https, http)?;
        let control = control(&config, &who).map_err(one)?;
        share_service_logs(&directories.logs, &config, &who).map_err(one)?;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_err(|error| one(Problem::Other(format!("the boot id: {error}"))))?
            .trim()
            .to_owned();
        let mut faults = programs::problems_of_python(&config);
        for system in &config.batch.systems {
            let problems = programs::problems_of(system);
            let told = |problem| format!("batch system {} is unusable: {problem}", system.name);
            faults.extend(problems.into_iter().map(told));
        }
        Ok(Self {
            config,
            config_path,
            rules,
            who,
            sandboxes: directories.sandboxes,
            audit,
            seals,
            https,
            http,
            control,
            libexec,
            environment: children_environment(),
            boot_id,
            _lock: lock,
            warnings,
            faults,
        })
    }
}

fn one(problem: Problem) -> Vec<Problem> {
    vec![problem]
}

fn both<T, U>(a: Result<T, Problem>, b: Result<U, Problem>) -> Result<(T, U), Vec<Problem>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (a, b) => Err(a.err().into_iter().chain(b.err()).collect()),
    }
}

/// A path of the command line from the root.
///
/// # Errors
/// [`Problem::File`] without a current directory.
pub fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|source| Problem::File {
        key: "--config",
        path: path.display().to_string(),
        source,
    })
}

/// Whether somebody else could put another file in the place of one that decides who may do what.
///
/// # Errors
/// A [`Problem::Path`] for each directory that is wrong.
pub fn check_ways(
    config: &Config,
    config_path: &Path,
    rules: WaysOfRules,
) -> Result<(), Vec<Problem>> {
    let WaysOfRules { gridmap, pools } = rules;
    let ways = [
        ("--config", config_path, true),
        ("[server] certificate", config.server.certificate.as_path(), true),
        ("[server] private_key", config.server.private_key.as_path(), true),
        ("[policy] gridmap", config.policy.gridmap.as_path(), gridmap),
        ("[policy] gridmapdir", config.policy.gridmapdir.as_path(), pools),
    ];
    let problems: Vec<Problem> = ways
        .into_iter()
        .filter(|(_, _, used)| *used)
        .filter_map(|(key, path, _)| {
            paths::check_above(path).err().map(|source| Problem::Path { key, source })
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Which files of the rules there are.
#[derive(Debug, Clone, Copy)]
pub struct WaysOfRules {
    /// A level is from the gridmap.
    pub gridmap: bool,
    /// The gridmap names pools.
    pub pools: bool,
}

/// The directory of the other programs: as configured, else beside this one.
///
/// # Errors
/// [`Problem::Other`] where a program is missing; [`Problem::File`] and [`Problem::Path`] where others
/// could change one.
pub fn libexec(config: &Config) -> Result<PathBuf, Problem> {
    let directory = match &config.server.libexec_directory {
        Some(directory) => directory.clone(),
        None => std::env::current_exe()
            .ok()
            .and_then(|program| program.parent().map(Path::to_owned))
            .ok_or_else(|| Problem::Other("cannot find out where nesssid itself is".into()))?,
    };
    for name in ["nesssi-gatekeeper", "nesssi-jobmanager"] {
        let program = directory.join(name);
        if !program.is_file() {
            let shown = program.display();
            return Err(Problem::Other(format!(
                "{shown} is missing: install it there, or set [server] libexec_directory"
            )));
        }
        files::check_program(&program).map_err(|source| Problem::File {
            key: LIBEXEC,
            path: program.display().to_string(),
            source,
        })?;
        paths::check_above(&program).map_err(|source| Problem::Path { key: LIBEXEC, source })?;
    }
    Ok(directory)
}

/// The environment of gatekeeper and jobmanagers.
#[must_use]
pub fn children_environment() -> Vec<(String, String)> {
    let mut environment = vec![
        ("PATH".to_owned(), nesssi_privsep::command::PATH_DEFAULT.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ];
    if let Ok(value) = std::env::var(HANDED_ON)
        && value.len() <= HANDED_ON_BYTES_MAX
    {
        environment.push((HANDED_ON.to_owned(), value));
    }
    environment
}

fn lock(monitor: &OwnedFd, config: &Config) -> Result<OwnedFd, Problem> {
    let path = config.server.state_directory.join("monitor/lock");
    let failed = |errno: rustix::io::Errno| Problem::File {
        key: "[server] state_directory",
        path: path.display().to_string(),
        source: errno.into(),
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock =
        rustix::fs::openat(monitor, "lock", flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::AGAIN) => {
            Err(Problem::Running(config.server.state_directory.display().to_string()))
        }
        Err(error) => Err(failed(error)),
    }
}

fn audit(monitor: &OwnedFd, config: &Config) -> Result<Audit, Problem> {
    let opened = monitor.try_clone().and_then(Audit::open);
    opened.map_err(|source| Problem::File {
        key: "[server] state_directory",
        path: config.server.state_directory.join("monitor/audit.jsonl").display().to_string(),
        source,
    })
}

/// Both are opened again for each gatekeeper; here it is seen that they can be.
///
/// # Errors
/// Every [`Problem::File`].
pub fn check_certificate(config: &Config) -> Result<(), Vec<Problem>> {
    both(open_certificate(config), open_private_key(config)).map(|_| ())
}

/// Opens the server's certificate.
///
/// # Errors
/// [`Problem::File`].
pub fn open_certificate(config: &Config) -> Result<OwnedFd, Problem> {
    let path = &config.server.certificate;
    files::open_certificate(path).map_err(|source| Problem::File {
        key: "[server] certificate",
        path: path.display().to_string(),
        source,
    })
}

/// Opens the server's private key.
///
/// # Errors
/// [`Problem::File`].
pub fn open_private_key(config: &Config) -> Result<OwnedFd, Problem> {
    let path = &config.server.private_key;
    files::open_private_key(path).map_err(|source| Problem::File {
        key: "[server] private_key",
        path: path.display().to_string(),
        source,
    })
}

fn listen(key: &'static str, address: SocketAddr, until: Instant) -> Result<TcpListener, Problem> {
    let failed = |source| Problem::Listen { key, address, source };
    let listener = bind(key, address, until).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|errno| failed(errno.into()))?;
    Ok(listener)
}

/// Binds; a port in use is waited for until then.
fn bind(key: &'static str, address: SocketAddr, until: Instant) -> io::Result<TcpListener> {
    let mut waits = false;
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                if !std::mem::replace(&mut waits, true) {
                    log::warn("a port is in use: waiting for it")
                        .with("key", key)
                        .with("address", address)
                        .with("seconds_max", LISTEN_WAIT.as_secs())
                        .write();
                }
                std::thread::sleep(LISTEN_AGAIN);
            }
            answer => return answer,
        }
    }
}

/// Services' logs are for the developers' group to read: files made in their directory get its group.
fn share_service_logs(logs: &OwnedFd, config: &Config, who: &Identity) -> Result<(), Problem> {
    let (gid, mode) = match developers(config)? {
        Some(gid) => (gid, 0o2750),
        None => (who.gatekeeper.gid(), 0o700),
    };
    let owner = Owner { uid: who.gatekeeper.uid(), gid, mode };
    paths::shared_directory(logs, "services", owner)
        .map_err(|source| Problem::Path { key: "[server] log_directory", source })
}

/// The developers' group, if one is configured.
fn developers(config: &Config) -> Result<Option<u32>, Problem> {
    let Some(name) = &config.server.control_group else { return Ok(None) };
    let found = account::group_id(name)
        .map_err(|error| Problem::Other(format!("[server] control_group: {name}: {error}")))?;
    match found {
        Some(gid) => Ok(Some(gid)),
        None => Err(Problem::Other(format!("[server] control_group: no group {name}"))),
    }
}

fn control(config: &Config, who: &Identity) -> Result<ControlSocket, Problem> {
    let path = &config.server.control_socket;
    let failed = |source| Problem::File {
        key: "[server] control_socket",
        path: path.display().to_string(),
        source,
    };
    let group = developers(config)?;
    let problem = |source| Problem::Path { key: "[server] control_socket", source };
    match path.parent() {
        Some(parent) if !parent.exists() => {
            let owner = Owner { uid: who.invoker.uid(), gid: who.invoker.gid(), mode: 0o755 };
            paths::open_owned(parent, owner, Missing::Make).map_err(problem)?;
        }
        _ => paths::check_above(path).map_err(problem)?,
    }
    ControlSocket::open(path, group).map_err(failed)
}
