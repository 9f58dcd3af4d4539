//! The configuration as meant: every key has a value, every path is absolute.

use std::net::SocketAddr;
use std::path::PathBuf;

use nesssi_policy::{From, Level, LevelName, SubjectDn};

use crate::batch::Written;
use crate::{Batch, Front, Mistake, Shell, Tree};

/// A whole configuration without a mistake. Only [`crate::parse`] makes one.
#[derive(Debug, Clone)]
pub struct Config {
    /// Addresses, files and the user of the server.
    pub server: Server,
    /// What strangers may use up before anybody knows who they are.
    pub bounds: Bounds,
    /// The site's own proxy before NESSSI, if there is one.
    pub front: Option<Front>,
    /// Where accounts come from.
    pub policy: PolicyKeys,
    /// The levels, in the order of judging.
    pub levels: Vec<Level>,
    /// Where sandboxes lie.
    pub sandboxes: Sandboxes,
    /// Directories that may be read besides, each with its name.
    pub trees: Vec<Tree>,
    /// Services and their workers.
    pub services: Services,
    /// The server's own methods for jobs.
    pub job: JobKeys,
    /// The commands of `shell.cmd`.
    pub shell: Shell,
    /// Batch systems.
    pub batch: Batch,
    pub(crate) places: Places,
}

/// What the checks of a whole configuration point at.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) file: String,
    /// Where `public = true` stands, or the heading of `[server]`.
    pub(crate) public_line: usize,
    /// Where `[services] account` stands, or the heading.
    pub(crate) services_line: usize,
    /// What `[batch.NAME]` names or says that only others can judge.
    pub(crate) batch: Written,
}

impl Config {
    /// What may not be on a public address: an anonymous level where NESSSI does not run as root,
    /// since everybody's jobs would be the invoking user.
    #[must_use]
    pub fn check_exposure(&self, root: bool) -> Vec<Mistake> {
        let anonymous = |level: &&Level| level.from == From::Anonymous;
        let level = self.levels.iter().find(anonymous).filter(|_| self.server.public && !root);
        let told = level.map(|level| {
            let text = format!(
                "public = true with the anonymous level `{}` is refused when not started as root: \
                 every stranger's job would run as the invoking user",
                level.name
            );
            self.mistake(self.places.public_line, text)
        });
        told.into_iter().collect()
    }

    /// What started as root needs of accounts: one for the discovery of services, which is neither
    /// the network process's user nor, unless accounts may be shared, a community account; and no
    /// level that maps to the network process's user. Without root there is one account only.
    #[must_use]
    pub fn check_accounts(&self, root: bool) -> Vec<Mistake> {
        if !root {
            return Vec::new();
        }
        let user = &self.server.user;
        let account_of =
            |level: &Level| level.account.as_ref().map(|name| name.as_str().to_owned());
        let line = self.places.services_line;
        let mut mistakes = Vec::new();
        match &self.services.account {
            None => {
                mistakes.push(self.mistake(line, "started as root, [services] needs an `account`"))
            }
            Some(account) if account == user => {
                let text = format!("the services' `account` may not be the server's user `{user}`");
                mistakes.push(self.mistake(line, text));
            }
            Some(account) => {
                let shared = |level: &&Level| account_of(level).as_ref() == Some(account);
                let level = self.levels.iter().find(shared);
                mistakes.extend(level.filter(|_| !self.policy.shared_account).map(|level| {
                    let text = format!(
                        "the services' `account` is the one of level `{}`: give it one of its own, \
                         or say `shared_account = true` in [policy]",
                        level.name
                    );
                    self.mistake(line, text)
                }));
            }
        }
        let as_user = |level: &&Level| account_of(level).as_ref() == Some(user);
        mistakes.extend(self.levels.iter().filter(as_user).map(|level| {
            let text = format!("level `{}` has the server's user `{user}` as account", level.name);
            self.mistake(self.places.public_line, text)
        }));
        mistakes
    }

    pub(crate) fn mistake(&self, line: usize, text: impl Into<String>) -> Mistake {
        Mistake { file: self.places.file.clone(), line, text: text.into() }
    }
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where HTTPS calls are taken.
    pub listen_https: SocketAddr,
    /// Where plain HTTP file reads are taken.
    pub listen_http: SocketAddr,
    /// Whether addresses that are not loopback are meant.
    pub public: bool,
    /// What printed addresses of the API begin with: scheme, host, port; no `/` at the end.
    pub base_url: String,
    /// What printed addresses of sandbox files begin with, in the same form.
    pub sandbox_url: String,
    /// The server's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// The directory of trusted CA certificates.
    pub trust_directory: PathBuf,
    /// What becomes of the certificates of a CA that has no CRL there.
    pub missing_crl: Missing,
    /// What becomes of the certificates of a CA that has no signing policy (nor namespaces) there.
    pub missing_signing_policy: Missing,
    /// The system user of the gatekeeper.
    pub user: String,
    /// The control socket.
    pub control_socket: PathBuf,
    /// The Unix group that may use it.
    pub control_group: Option<String>,
    /// Journal, seal key and audit.
    pub state_directory: PathBuf,
    /// Access log and logs of services.
    pub log_directory: PathBuf,
    /// Where the access log goes.
    pub access_log: AccessLogTo,
    /// Where the other binaries are, if not beside `nesssid`.
    pub libexec_directory: Option<PathBuf>,
    /// Seconds that running calls are given when the server stops.
    pub drain_seconds_max: u32,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTo {
    /// `access.log` in the log directory.
    File,
    /// The system's log, at this socket.
    Syslog(PathBuf),
}

/// What becomes of a CA's certificates when a file of the trust directory is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They are accepted.
    Accept,
    /// They are refused.
    Refuse,
}

/// `[bounds]`
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of a request's body.
    pub body_bytes_max: u64,
    /// Nested elements in a request.
    pub xml_depth_max: u32,
    /// Elements in a request.
    pub xml_elements_max: u32,
    /// Calls in a request: of a multicall, or of a batch in JSON.
    pub calls_max: u32,
    /// Seconds that one `job.wait` waits.
    pub wait_seconds_max: u32,
    /// Calls of `job.wait` that wait at one time.
    pub waiters_max: u32,
    /// Those of one caller.
    pub waiters_per_caller_max: u32,
    /// Connections at one time.
    pub connections_max: u32,
    /// Connections of one address at one time.
    pub connections_per_address_max: u32,
    /// Seconds for a TLS handshake.
    pub handshake_seconds_max: u32,
    /// Seconds for a request's headers.
    pub header_seconds_max: u32,
    /// Seconds for a request's body.
    pub body_seconds_max: u32,
    /// Seconds that an idle connection is kept.
    pub idle_seconds_max: u32,
    /// Seconds that the answer to a call with a client tag is kept.
    pub answers_kept_seconds: u32,
}

/// `[policy]`
#[derive(Debug, Clone)]
pub struct PolicyKeys {
    /// The gridmap.
    pub gridmap: PathBuf,
    /// The directory of pool accounts and their leases.
    pub gridmapdir: PathBuf,
    /// No account with a lower uid is used.
    pub uid_min: u32,
    /// Whether levels may share a community account.
    pub shared_account: bool,
    /// The root administrators of VO groups.
    pub vo_administrators: Vec<SubjectDn>,
    /// Who changes access to services while the server runs.
    pub access_administrators: Vec<SubjectDn>,
}

/// `[sandboxes]`
#[derive(Debug, Clone)]
pub struct Sandboxes {
    /// The directory with a directory for each account.
    pub root: PathBuf,
    /// Whether that lies on a shared file system on which root has no power: each account opens, and makes, its
    /// directory itself.
    pub shared: bool,
    /// The umask of accounts for which the system has none.
    pub umask: u32,
}

/// `[services]`
#[derive(Debug, Clone)]
pub struct Services {
    /// The directory with a folder for each service.
    pub directory: PathBuf,
    /// The account that discovers methods; needed as root.
    pub account: Option<String>,
    /// The Python interpreter.
    pub python: PathBuf,
    /// The directory of the `nesssi` Python package.
    pub python_path: PathBuf,
    /// Seconds that a service has to describe its methods.
    pub describe_seconds_max: u32,
    /// Workers of one service at one time.
    pub workers_max_per_service: u32,
    /// Calls after which a worker is replaced.
    pub worker_calls_max: u64,
    /// Seconds after which an idle worker is ended.
    pub worker_idle_seconds_max: u64,
}

impl Services {
    /// The Python worker up to its word `serve` or `describe`: interpreter, isolated, its program.
    #[must_use]
    pub fn worker_argv(&self) -> Vec<String> {
        let main = self.python_path.join("nesssi").join("worker_main.py");
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        vec![text(&self.python), "-I".to_owned(), text(&main)]
    }
}

/// `[job]`
#[derive(Debug, Clone, Default)]
pub struct JobKeys {
    /// The levels whose callers may submit jobs of their own words, by `job.submit`.
    pub submit_levels: Vec<LevelName>,
}
