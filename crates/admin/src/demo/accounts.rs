//! The demo's accounts, where it is root. Each carries a mark by which it is known as the demo's own.

use std::fs;

use super::tools::run;
use crate::cli::Failure;

/// In the GECOS field of every account the demo makes; nothing without it is ever removed.
const MARK: &str = "NESSSI demo account";

/// Who plays whom.
#[derive(Debug, Clone)]
pub(super) struct Accounts {
    /// The account of the strong caller, from the gridmap.
    pub(super) strong: String,
    /// The community account of weak callers.
    pub(super) weak: String,
    /// The community account of anonymous callers.
    pub(super) anonymous: String,
    /// What services are discovered as.
    pub(super) services: String,
    /// What the gatekeeper runs as.
    pub(super) gatekeeper: String,
    /// The group whose members may restart services; `None` leaves it to the invoking user.
    pub(super) developers: Option<String>,
}

const NAMES: [&str; 6] = [
    "nesssi-demo-alice",
    "nesssi-demo-weak",
    "nesssi-demo-anon",
    "nesssi-demo-svc",
    "nesssi-demo-gate",
    DEVELOPER,
];
/// A developer; his own group is the one whose members may restart services.
const DEVELOPER: &str = "nesssi-demo-dev";

impl Accounts {
    /// The invoking user in every part.
    pub(super) fn only(user: &str) -> Self {
        let me = || user.to_owned();
        Self {
            strong: me(),
            weak: me(),
            anonymous: me(),
            services: me(),
            gatekeeper: me(),
            developers: None,
        }
    }

    /// Makes the accounts, each with a group of its own.
    ///
    /// # Errors
    /// If one of the names is taken by something the demo did not make, or a tool fails.
    pub(super) fn make() -> Result<Self, Failure> {
        for name in NAMES {
            if gecos(name)?.is_some() || group_exists(name)? {
                return Err(format!(
                    "there is an account or group {name} that this demo did not make: it is left alone, and the demo ends"
                )
                .into());
            }
        }
        for name in NAMES {
            let arguments = ["--no-create-home", "--home-dir", "/nonexistent"];
            let mut words = arguments.to_vec();
            words.extend(["--user-group", "--comment", MARK, name]);
            run("useradd", &words)?;
        }
        let name =
            |index: usize| NAMES.get(index).map_or_else(String::new, |name| (*name).to_owned());
        Ok(Self {
            strong: name(0),
            weak: name(1),
            anonymous: name(2),
            services: name(3),
            gatekeeper: name(4),
            developers: Some(DEVELOPER.to_owned()),
        })
    }

    /// Ends what still runs as a demo's account, and removes accounts and their groups. Only marked
    /// accounts are touched.
    ///
    /// # Errors
    /// If a tool fails; what could be removed is gone all the same.
    pub(super) fn sweep() -> Result<Vec<String>, Failure> {
        let mut swept = Vec::new();
        for name in NAMES {
            if gecos(name)?.as_deref() == Some(MARK) {
                end_processes_of(name)?;
                // A visitor may have joined the developers: userdel keeps a group that has members.
                run("gpasswd", &["--members", "", name])?;
                run("userdel", &[name])?;
                swept.push(name.to_owned());
            }
        }
        Ok(swept)
    }
}

/// Kills every process of an account, until none is left.
fn end_processes_of(name: &str) -> Result<(), Failure> {
    for _ in 0..50 {
        // pkill answers 1 when nothing matched.
        let status = super::tools::command("pkill").args(["-KILL", "-U", name]).status()?;
        if status.code() == Some(1) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(format!("processes of {name} cannot be ended").into())
}

/// The comment field of an account, if there is one of that name.
fn gecos(name: &str) -> Result<Option<String>, Failure> {
    let table = fs::read_to_string("/etc/passwd")?;
    let line = table.lines().find(|line| line.split(':').next() == Some(name));
    Ok(line.map(|line| line.split(':').nth(4).unwrap_or("").to_owned()))
}

fn group_exists(name: &str) -> Result<bool, Failure> {
    let table = fs::read_to_string("/etc/group")?;
    Ok(table.lines().any(|line| line.split(':').next() == Some(name)))
}
