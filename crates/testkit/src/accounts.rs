//! The local accounts that privileged tests run jobs as. Their names begin with `nesssi-test-`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The accounts of a World. As an ordinary user all of them are that user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// What the strong caller is mapped to.
    pub strong: String,
    /// A second mapped account, whose GECOS field says `umask=077`.
    pub other: String,
    /// The community account of the level weak.
    pub weak: String,
    /// The community account of the level anonymous.
    pub anonymous: String,
    /// What services are discovered as.
    pub services: String,
    /// What the gatekeeper runs as.
    pub gatekeeper: String,
}

impl Accounts {
    /// Makes the accounts if they are not there (root), or names the invoking user for all.
    ///
    /// They are left for the next test; `./test` removes them at its end.
    #[must_use]
    pub fn ensure() -> Self {
        if !is_root() {
            let me = whoami();
            return Self {
                strong: me.clone(),
                other: me.clone(),
                weak: me.clone(),
                anonymous: me.clone(),
                services: me.clone(),
                gatekeeper: me,
            };
        }
        let _lock = lock();
        let make_with = |role: &str, gecos: &str| {
            let name = format!("nesssi-test-{role}");
            if !exists(&name) {
                add(&name, gecos);
            }
            name
        };
        let make = |role: &str| make_with(role, "NESSSI test account");
        Self {
            strong: make("alice"),
            other: make_with("bob", "Bob,umask=077"),
            weak: make("weak"),
            anonymous: make("anon"),
            services: make("svc"),
            gatekeeper: make("gate"),
        }
    }
}

/// Ordinary accounts that no level maps to: who keeps services, and who does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Developers {
    /// The developers' group.
    pub group: String,
    /// Who is in it.
    pub member: String,
    /// Who is not.
    pub stranger: String,
}

impl Developers {
    /// Makes group and accounts if they are not there. For root alone.
    ///
    /// # Panics
    /// If they cannot be made.
    #[must_use]
    pub fn ensure() -> Self {
        let (group, member, stranger) =
            ("nesssi-test-devs", "nesssi-test-dev", "nesssi-test-stranger");
        let _lock = lock();
        for (name, gecos) in [(member, "Developer"), (stranger, "Stranger")] {
            if !exists(name) {
                add(name, gecos);
            }
        }
        let status = Command::new("/usr/sbin/groupadd").args(["--force", group]).status();
        assert!(status.expect("groupadd runs").success(), "groupadd {group}");
        let status = Command::new("/usr/sbin/usermod").args(["-aG", group, member]).status();
        assert!(status.expect("usermod runs").success(), "usermod {member}");
        Self { group: group.into(), member: member.into(), stranger: stranger.into() }
    }

    /// A command that this account runs, with its groups and nothing in its environment but `PATH` and `HOME`.
    #[must_use]
    pub fn command(account: &str, program: &std::path::Path) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .args(["--reuid", account, "--regid", account, "--init-groups", "--"])
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", format!("/var/lib/{account}"))
            .current_dir("/");
        command
    }
}

/// The name of the user this process runs as.
#[must_use]
pub(crate) fn whoami() -> String {
    let out = Command::new("/usr/bin/id").arg("-un").output().expect("id runs");
    String::from_utf8(out.stdout).expect("a name is text").trim().to_owned()
}

fn exists(name: &str) -> bool {
    let status =
        Command::new("/usr/bin/id").arg(name).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.expect("id runs").success()
}

fn add(name: &str, gecos: &str) {
    // Not a system account: uids from 1000, as people's are, with no password set.
    let status = Command::new("/usr/sbin/useradd")
        .args(["--create-home", "--home-dir"])
        .arg(format!("/var/lib/{name}"))
        .args(["--shell", "/bin/sh", "--user-group", "--comment", gecos, name])
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("useradd runs").success(), "useradd {name}");
    // "*" is no password, and not locked: an account that was locked is refused by NESSSI.
    let status = Command::new("/usr/sbin/usermod").args(["--password", "*", name]).status();
    assert!(status.expect("usermod runs").success(), "usermod {name}");
}

/// Held while accounts are made: tests run side by side, in processes of their own.
fn lock() -> File {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open("/run/nesssi-test-accounts.lock")
        .expect("the lock file opens");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("flock");
    file
}
