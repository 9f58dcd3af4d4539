//! The demo's ground: one folder that all its accounts can pass, and the accounts.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::accounts::Accounts;
use super::tools;
use crate::cli::{Failure, say};

/// Written into the folder first: a folder without it is not the demo's.
const MARK: &str = "MADE-BY-NESSSI-DEMO";
const FOLDER_PREFIX: &str = "nesssi-demo-";
const PROGRAMS: [&str; 5] =
    ["nesssid", "nesssi-gatekeeper", "nesssi-jobmanager", "nesssi", "nesssi-admin"];

/// Where everything of one demo lies.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) root: bool,
    pub(super) folder: PathBuf,
    pub(super) accounts: Accounts,
    pub(super) https_port: u16,
    pub(super) http_port: u16,
    /// Held as long as this demo lives, so that another does not sweep it.
    _lock: File,
}

impl Ground {
    /// Sweeps what a killed demo left, then makes the folder, the accounts (root), and copies
    /// programs, Python package and services to where those accounts can reach them.
    ///
    /// # Errors
    /// If another demo runs, a name is taken, or something cannot be made.
    pub(super) fn prepare(source: &Path) -> Result<Self, Failure> {
        let root = rustix::process::geteuid().is_root();
        let base = base(root)?;
        let lock = lock(&base)?;
        sweep(root, &base)?;
        let folder = base.join(format!("{FOLDER_PREFIX}{}", std::process::id()));
        make_folder(&folder, 0o755)?;
        File::create_new(folder.join(MARK))?;
        // From here on an error leaves marked things alone: the next demo sweeps them.
        let accounts = if root { Accounts::make()? } else { Accounts::only(&user_name()?) };
        let (https_port, http_port) = (port(8443)?, port(8080)?);
        let ground = Self { root, folder, accounts, https_port, http_port, _lock: lock };
        ground.stage(source)?;
        Ok(ground)
    }

    fn stage(&self, source: &Path) -> Result<(), Failure> {
        // The server makes its own folders: state, log, run, sandboxes.
        for name in ["bin", "grid", "people"] {
            make_folder(&self.folder.join(name), 0o755)?;
        }
        for program in PROGRAMS {
            let target = self.folder.join("bin").join(program);
            let from = tools::beside(program)?;
            fs::copy(&from, &target).map_err(|error| format!("{}: {error}", from.display()))?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
        }
        for tree in ["python", "services"] {
            copy_tree(&source.join(tree), &self.folder.join(tree))?;
        }
        Ok(())
    }

    /// The folder of a caller, with certificate and key.
    pub(super) fn people(&self) -> PathBuf {
        self.folder.join("people")
    }

    /// The address that clients are given.
    pub(super) fn url(&self) -> String {
        format!("https://localhost:{}/clarens/", self.https_port)
    }

    pub(super) fn describe(&self) -> String {
        let folder = self.folder.display();
        let Accounts { strong, weak, anonymous, services, gatekeeper, .. } = &self.accounts;
        if self.root {
            format!(
                "NESSSI demo as root: everything lies in {folder}\n\
                 accounts made for it: {strong} (strong), {weak} (weak), {anonymous} (anonymous),\n\
                 {services} (reads services), {gatekeeper} (the gatekeeper)"
            )
        } else {
            format!(
                "NESSSI demo as {strong}: everything lies in {folder}\n\
                 without root every process, and every caller's job, runs as {strong}"
            )
        }
    }

    pub(super) fn showed(&self) -> String {
        if self.root {
            "\nShown: NESSSI as root. Three levels ran as three real accounts, behind a gatekeeper without rights."
                .to_owned()
        } else {
            format!(
                "\nShown: NESSSI without root. All three levels ran as {}; run ./demo as root to see real accounts.",
                self.accounts.strong
            )
        }
    }

    pub(super) fn invitation(&self) -> String {
        let (folder, people, url) = (self.folder.display(), self.people(), self.url());
        let people = people.display();
        format!(
            "\nThe server is yours until Ctrl-C. In another terminal:\n  \
             export NESSSI_URL={url} NESSSI_CA={folder}/grid/certificates NESSSI_CONFIG={folder}/nesssi.toml\n  \
             export X509_USER_CERT={people}/alice.cert.pem X509_USER_KEY={people}/alice.key.pem\n  \
             export PATH={folder}/bin:$PATH PYTHONPATH={folder}/python\n\
             and then, as Alice (with --guest as nobody):\n  \
             nesssi help\n  \
             nesssi call --wait sleepy.sleepyAdd 1 3 5\n  \
             nesssi jobs\n  \
             python3 -c 'import nesssi; help(nesssi.client(\"{url}\").sleepy)'\n  \
             curl --cacert {folder}/grid/certificates/nesssi-demo-ca.pem {url}\n\
             A folder in {folder}/services is a service, once `nesssi service restart NAME` has taken it up."
        )
    }

    /// Removes all the demo made.
    ///
    /// # Errors
    /// If something cannot be removed; the next demo tries again.
    pub(super) fn remove(self) -> Result<(), Failure> {
        if self.root {
            Accounts::sweep()?;
        }
        remove_marked(&self.folder)?;
        say("removed all that the demo made");
        Ok(())
    }
}

fn base(root: bool) -> Result<PathBuf, Failure> {
    if root {
        return Ok(PathBuf::from("/var/lib"));
    }
    // Short on purpose: the path of a Unix socket has 107 bytes at most.
    let uid = rustix::process::getuid().as_raw();
    let base = std::env::temp_dir().join(format!("nesssi-demos-{uid}"));
    if !base.exists() {
        make_folder(&base, 0o700)?;
    }
    let facts = fs::symlink_metadata(&base)?;
    if !facts.is_dir() || facts.uid() != uid || facts.mode() & 0o077 != 0 {
        return Err(format!("{} is not a folder of mode 0700 of yours", base.display()).into());
    }
    Ok(base)
}

fn lock(base: &Path) -> Result<File, Failure> {
    let path = base.join("nesssi-demo.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| "another demo is running on this machine: end it first")?;
    Ok(file)
}

/// What a demo that was killed has left: its server, its accounts, its folders.
fn sweep(root: bool, base: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        let ours = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(FOLDER_PREFIX));
        if ours && path.join(MARK).is_file() {
            super::server::end_left_over(&path)?;
        }
    }
    if root {
        let swept = Accounts::sweep()?;
        if !swept.is_empty() {
            say(&format!("swept accounts that an earlier demo left: {}", swept.join(" ")));
        }
    }
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        let ours = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(FOLDER_PREFIX));
        if ours && path.join(MARK).is_file() {
            remove_marked(&path)?;
            say(&format!("swept {} that an earlier demo left", path.display()));
        }
    }
    Ok(())
}

fn remove_marked(folder: &Path) -> Result<(), Failure> {
    if !folder.join(MARK).is_file() {
        return Err(format!("{} does not bear the demo's mark", folder.display()).into());
    }
    // The mark goes last: what cannot be removed now is still known as the demo's.
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == MARK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}

pub(super) fn make_folder(path: &Path, mode: u32) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().mode(mode).create(path);
    made.map_err(|error| format!("{}: {error}", path.display()))?;
    // The umask of whoever runs the demo must not close it to the accounts.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Plain files and folders alone, readable by all.
fn copy_tree(from: &Path, to: &Path) -> Result<(), Failure> {
    make_folder(to, 0o755)?;
    let entries = fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && entry.file_name() != "__pycache__" {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            let executable = entry.metadata()?.mode() & 0o100 != 0;
            fs::copy(entry.path(), &target)?;
            let mode = if executable { 0o755 } else { 0o644 };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// The system's.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The usual port if it is free, else another.
fn port(usual: u16) -> Result<u16, Failure> {
    if TcpListener::bind(("127.0.0.1", usual)).is_ok() {
        return Ok(usual);
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    say(&format!("port {usual} is in use: {port} is taken in its place"));
    Ok(port)
}

fn user_name() -> Result<String, Failure> {
    Ok(tools::run("id", &["-un"])?.trim().to_owned())
}
