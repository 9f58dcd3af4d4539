//! The services, as discovery would find them: by a jobmanager that is the services account.
//!
//! Each folder's code is loaded in a throwaway worker as that account, never as root. Beside the
//! problems it is told who may change a service, since whoever can acts as every account that calls it.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nesssi_config::Config;
use nesssi_policy::{Access, LevelName};
use nesssi_privsep::messages::{ChannelKind, FromJobmanager, ToJobmanager, ToJobmanagerControl};
use nesssi_privsep::{Account, Channel, Command, Spawn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;

use crate::setup;

/// How long the whole of discovery may take, besides what one service may.
const SCAN_SECONDS_MAX: u64 = 120;
/// The group and everybody.
const WRITABLE: [(u32, &str); 2] = [(0o020, "its group"), (0o002, "everybody")];

/// What was found: problems, and a line for each service that says who may change it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<String>,
    pub(super) notes: Vec<String>,
    /// The services that there are.
    names: BTreeSet<String>,
}

/// Walks the tree of services as `account`.
pub(super) fn look(config: &Config, libexec: &Path, account: &Account) -> Findings {
    let mut findings = Findings::default();
    match scan(config, libexec, account, &mut findings) {
        Ok(()) => {
            let missing = config.check_batch_services(|name| findings.names.contains(name));
            findings.problems.extend(missing.iter().map(ToString::to_string));
        }
        Err(why) => {
            let shown = config.services.directory.display();
            findings.problems.push(format!("[services] directory: {shown}: {why}"));
        }
    }
    findings
}

fn scan(
    config: &Config,
    libexec: &Path,
    account: &Account,
    findings: &mut Findings,
) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (control, theirs) = Channel::pair().map_err(|e| text(&e))?;
    let (channel, peer) = Channel::pair().map_err(|e| text(&e))?;
    // Discovery makes no sandbox, so any directory stands for the account's.
    let nowhere = rustix::fs::open("/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
        .map_err(|e| text(&e))?;
    let command = Command::new(libexec.join("nesssi-jobmanager"))
        .named("nesssi-jobmanager")
        .args(["--account", account.name(), "--sandboxes", "/"])
        .envs(setup::children_environment());
    let child = Spawn::new(command)
        .account(account)
        .new_session()
        .descriptor(3, theirs.as_fd())
        .descriptor(4, nowhere.as_fd())
        .spawn()
        .map_err(|e| text(&e))?;
    drop(theirs);
    let serve = ToJobmanagerControl::Serve { kind: ChannelKind::Discover {}, gatekeeper: 0 };
    let asked = control
        .send(0, &serve, &[peer.as_fd()])
        .and_then(|()| channel.send(1, &order(config, account), &[]))
        .map_err(|e| text(&e));
    drop(peer);
    let heard = asked.and_then(|()| hear(config, &channel, findings));
    // It ends with its control channel; the signal is for one that does not.
    drop(control);
    child.signal(Signal::KILL).ok();
    child.wait().map_err(|e| text(&e))?;
    heard
}

fn order(config: &Config, account: &Account) -> ToJobmanager {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let mut describe_argv = config.services.worker_argv();
    describe_argv.push("describe".to_owned());
    let pairs = [
        ("CLARENS", path(&config.services.directory)),
        ("CLARENS_SANDBOXES", path(&config.sandboxes.root)),
        ("HOME", account.home().to_string_lossy().into_owned()),
        ("USER", account.name().to_owned()),
        ("LOGNAME", account.name().to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
    ];
    ToJobmanager::Scan {
        root: path(&config.services.directory),
        describe_argv,
        environment: pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        only: String::new(),
        describe_ms_max: config.services.describe_seconds_max.saturating_mul(1000),
        thorough: true,
        trial_ms: 0,
    }
}

fn hear(config: &Config, channel: &Channel, findings: &mut Findings) -> Result<(), String> {
    let seconds = SCAN_SECONDS_MAX + u64::from(config.services.describe_seconds_max);
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(channel, PollFlags::IN)];
        let timeout = Timespec::try_from(left).ok();
        match rustix::io::retry_on_intr(|| poll(&mut polled, timeout.as_ref())) {
            Ok(0) => return Err(format!("discovery took more than {seconds} s")),
            Ok(_) => {}
            Err(errno) => return Err(errno.to_string()),
        }
        let received = channel.receive::<FromJobmanager>().map_err(|error| error.to_string())?;
        match received.message {
            FromJobmanager::ServiceFound { name, folder, access, description, problem, .. } => {
                if let Some(text) = access {
                    check_access(config, findings, &format!("service {name}: {folder}"), &text);
                }
                findings.names.insert(name.clone());
                judge(findings, &name, &folder, description.as_deref(), problem);
            }
            FromJobmanager::DiscoverDone { problems } => {
                findings.problems.extend(problems.into_iter().map(|p| format!("services: {p}")));
                return Ok(());
            }
            FromJobmanager::Failed { text, .. } => return Err(text),
            other => return Err(format!("an answer that was not asked for: {other:?}")),
        }
    }
}

fn judge(
    findings: &mut Findings,
    name: &str,
    folder: &str,
    description: Option<&str>,
    problem: Option<String>,
) {
    match (problem, description) {
        (Some(problem), _) => findings.problems.push(format!("service {name}: {problem}")),
        // The worker says {"error": "..."} where the code does not load.
        (None, Some(text)) if text.trim_start().starts_with("{\"error\"") => {
            findings.problems.push(format!("service {name}: its code does not load: {text}"));
        }
        (None, _) => {}
    }
    findings.notes.push(format!("service {name}: {folder} {}", who_may_write(Path::new(folder))));
}

/// Mistakes in an access list, and what of it has no effect.
fn check_access(config: &Config, findings: &mut Findings, place: &str, text: &str) {
    let told = |line: usize, text: &str| format!("{place}/.clarens_access:{line}: {text}");
    let access = match Access::parse(text) {
        Ok(access) => access,
        Err(mistakes) => {
            findings.problems.extend(mistakes.iter().map(|m| told(m.line, &m.text)));
            return;
        }
    };
    let remarks = access.remarks();
    findings.notes.extend(remarks.iter().map(|remark| told(remark.line, &remark.text)));
    let there = |name: &LevelName| config.levels.iter().any(|level| level.name == *name);
    let missing = access.levels().filter(|(name, _)| !there(name));
    let missing = missing.map(|(name, line)| told(line, &format!("there is no level {name}")));
    findings.problems.extend(missing);
}

/// Who may change what is in a folder.
fn who_may_write(folder: &Path) -> String {
    match std::fs::metadata(folder) {
        Ok(facts) => {
            let mut who = vec![format!("uid {}", facts.uid())];
            let open = WRITABLE.iter().filter(|(bit, _)| facts.mode() & bit != 0);
            who.extend(open.map(|(_, whom)| (*whom).to_owned()));
            format!("may be changed by {}", who.join(", "))
        }
        Err(error) => format!("cannot be looked at: {error}"),
    }
}
