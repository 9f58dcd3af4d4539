//! Scan: walking the tree of services, and asking each what it offers.
//!
//! It runs in a helper, and each service's own code in a throwaway worker below that, with a
//! deadline and a bounded answer, so that no service can hold up or spoil another.

mod describe;
mod walk;

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nesssi_privsep::Channel;
use nesssi_privsep::messages::{FromJobmanager, ToJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_service::folder::{ACCESS_FILE, MANIFEST_FILE, PYTHON_FILE, read_code};
use nesssi_service::{Findings, Manifest, Modules};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::Rlimit;

use crate::arguments::Look;
use crate::helpers::{self, send};
use crate::manager::StartError;
use crate::proctree;
use crate::sweep;

use describe::{Describing, Question};
use walk::Folder;

/// How long a worker must live for who looks at a folder by hand: as for a restart.
const TRIAL_BY_HAND: Duration = Duration::from_millis(300);

/// Throwaway workers at once.
const WORKERS_MAX: usize = 2;

/// Longest access file or manifest that is passed on.
const TEXT_BYTES_MAX: usize = 24 * 1024;

/// Longest description that is passed on: with both texts it fits into one record.
const DESCRIPTION_BYTES_MAX: usize = 96 * 1024;

/// Longest reason of a service's being broken.
const PROBLEM_BYTES_MAX: usize = 2048;

/// Most reasons of folders' not being walked.
const PROBLEMS_MAX: usize = 100;

/// What to walk and how to ask.
#[derive(Debug)]
pub(crate) struct Order {
    root: String,
    describe_argv: Vec<String>,
    environment: Vec<(String, String)>,
    only: String,
    describe_max: Duration,
    thorough: bool,
    trial: Duration,
}

impl Order {
    /// The order of a `Scan`; of anything else an empty one.
    pub(crate) fn of(request: ToJobmanager) -> Self {
        let nothing = Self {
            root: String::new(),
            describe_argv: Vec::new(),
            environment: Vec::new(),
            only: String::new(),
            describe_max: Duration::ZERO,
            thorough: false,
            trial: Duration::ZERO,
        };
        match request {
            ToJobmanager::Scan {
                root,
                describe_argv,
                environment,
                only,
                describe_ms_max,
                thorough,
                trial_ms,
            } => Self {
                root,
                describe_argv,
                environment,
                only,
                describe_max: Duration::from_millis(describe_ms_max.into()),
                thorough,
                trial: Duration::from_millis(trial_ms.into()),
            },
            _ => nothing,
        }
    }
}

/// One service on its way to being told.
struct Found {
    name: String,
    folder: String,
    access: Option<String>,
    manifest: Option<String>,
    description: Option<String>,
    problem: Option<String>,
    digest: Vec<u8>,
    modules: Option<OwnedFd>,
    in_place: Option<String>,
}

impl Found {
    /// One more reason why it is broken.
    fn add_problem(&mut self, problem: String) {
        match &mut self.problem {
            Some(before) => {
                before.push_str("; ");
                before.push_str(&problem);
            }
            None => self.problem = Some(problem),
        }
    }
}

/// The whole of a scan, in a helper's process; answers its exit code.
pub(crate) fn helper(
    order: &Order,
    files_max: Rlimit,
    peer: Option<&Channel>,
    request: u32,
) -> i32 {
    let Some(peer) = peer else { return 0 };
    rustix::thread::set_name(c"nesssi-scan").unwrap_or_default();
    helpers::die_with_parent();
    // Orphans of throwaway workers come here, where the end of the scan ends them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap_or_default();
    let walk = walk::walk(&order.root);
    let mut folders = walk.folders;
    folders.retain(|folder| order.only.is_empty() || folder.name == order.only);
    let mut waiting = folders.into_iter();
    let mut asked: Vec<Describing> = Vec::new();
    let mut number = 0;
    loop {
        while asked.len() < WORKERS_MAX {
            let Some(folder) = waiting.next() else { break };
            number += 1;
            match look(order, files_max, folder, number) {
                Looked::Asked(describing) => asked.push(*describing),
                Looked::Done(mut found) => {
                    attempt(order, files_max, &mut found);
                    if !tell(peer, request, *found) {
                        return 1;
                    }
                }
            }
        }
        if asked.is_empty() {
            break;
        }
        for mut found in describe::wait(&mut asked) {
            attempt(order, files_max, &mut found);
            if !tell(peer, request, found) {
                return 1;
            }
        }
    }
    end_orphans();
    i32::from(!done(peer, request, walk.problems))
}

/// Looks at one folder as discovery would, and answers the findings as JSON. What the throwaway worker leaves
/// behind is ended.
///
/// # Errors
/// [`StartError`], what the system does not give.
pub(crate) fn look_at(look: Look) -> Result<String, StartError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap_or_default();
    let order = Order {
        root: String::new(),
        describe_argv: look.argv,
        environment: std::env::vars().collect(),
        only: look.name.clone(),
        describe_max: Duration::from_secs(look.seconds_max.into()),
        thorough: true,
        trial: TRIAL_BY_HAND,
    };
    let folder = Folder { problem: unreadable(&look.folder), name: look.name, path: look.folder };
    let files_max = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let found = match self::look(&order, files_max, folder, 1) {
        Looked::Done(found) => Some(*found),
        Looked::Asked(describing) => {
            let mut asked = vec![*describing];
            let mut found = Vec::new();
            while !asked.is_empty() {
                found = describe::wait(&mut asked);
            }
            found.pop()
        }
    };
    let mut found = found.ok_or(StartError::Nothing)?;
    attempt(&order, files_max, &mut found);
    end_orphans();
    let account = nesssi_privsep::account::current();
    let findings = Findings {
        name: found.name,
        folder: found.folder,
        account: account.map_or_else(|error| error.to_string(), |one| one.name().to_owned()),
        access: found.access,
        manifest: found.manifest,
        description: found.description,
        problem: found.problem,
        digest: found.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        in_place: found.in_place,
        server: None,
    };
    findings.to_json().map_err(StartError::Findings)
}

fn unreadable(folder: &std::path::Path) -> Option<String> {
    let error = folder.read_dir().err()?;
    Some(format!("its folder cannot be read: {error}"))
}

/// The whole of a scan of access lists, in a helper's process; answers its exit code. It reads, and
/// runs nobody's code.
pub(crate) fn access_helper(root: &str, peer: Option<&Channel>, request: u32) -> i32 {
    let Some(peer) = peer else { return 0 };
    rustix::thread::set_name(c"nesssi-access").unwrap_or_default();
    helpers::die_with_parent();
    let walk = walk::walk(root);
    for folder in walk.listed {
        let read = folder.problem.map_or_else(|| read_access(&folder.path), Err);
        let (access, mut problem) = match read {
            Ok(access) => (access, None),
            Err(problem) => (None, Some(problem)),
        };
        problem.iter_mut().for_each(|problem| cut(problem, PROBLEM_BYTES_MAX));
        let found = FromJobmanager::AccessFound { name: folder.name, access, problem };
        if !send(peer, request, &found) {
            return 1;
        }
    }
    i32::from(!done(peer, request, walk.problems))
}

fn read_access(folder: &std::path::Path) -> Result<Option<String>, String> {
    walk::read_text(&folder.join(ACCESS_FILE), TEXT_BYTES_MAX)
        .map_err(|why| format!("{ACCESS_FILE}: {why}"))
}

fn done(peer: &Channel, request: u32, mut problems: Vec<String>) -> bool {
    problems.truncate(PROBLEMS_MAX);
    problems.iter_mut().for_each(|problem| cut(problem, PROBLEM_BYTES_MAX / 4));
    send(peer, request, &FromJobmanager::DiscoverDone { problems })
}

enum Looked {
    Done(Box<Found>),
    Asked(Box<Describing>),
}

/// Reads what lies beside the code; asks the code itself if that is in order.
fn look(order: &Order, files_max: Rlimit, folder: Folder, number: usize) -> Looked {
    let mut found = Found {
        name: folder.name,
        folder: folder.path.to_string_lossy().into_owned(),
        access: None,
        manifest: None,
        description: None,
        problem: None,
        digest: Vec::new(),
        modules: None,
        in_place: None,
    };
    if let Some(problem) = folder.problem {
        found.problem = Some(problem);
        return Looked::Done(Box::new(found));
    }
    let (manifest, problems) = read_beside(&folder.path, &mut found);
    found.problem = Some(problems.join("; ")).filter(|problems| !problems.is_empty());
    match manifest {
        Some(manifest) if problems.is_empty() || order.thorough => {
            let question = Question { order, files_max, manifest: &manifest, number };
            describe::ask(&question, found)
        }
        Some(_) | None => Looked::Done(Box::new(found)),
    }
}

/// Where a trial is ordered and nothing is wrong yet: whether a worker would live.
fn attempt(order: &Order, files_max: Rlimit, found: &mut Found) {
    if order.trial.is_zero() || found.problem.is_some() {
        return;
    }
    let manifest = found.manifest.as_deref().and_then(|text| Manifest::parse(text).ok());
    let manifest = manifest.unwrap_or_default();
    let has_code = std::path::Path::new(&found.folder).join(PYTHON_FILE).exists();
    if manifest.command.is_none() && !has_code {
        return;
    }
    let question = Question { order, files_max, manifest: &manifest, number: 0 };
    if let Err(problem) = describe::try_serving(&question, found) {
        found.add_problem(problem);
    }
}

/// Reads what lies beside the code, and what is wrong with it. There is no manifest where the code cannot be
/// asked by what lies there.
fn read_beside(path: &std::path::Path, found: &mut Found) -> (Option<Manifest>, Vec<String>) {
    let mut problems = Vec::new();
    let mut modules = Ok(Modules::default());
    let read = read_code(path, |name, text| {
        if let Ok(all) = &mut modules
            && Modules::is_module(name)
            && let Err(why) = all.add(name, text)
        {
            modules = Err(why);
        }
    });
    match read {
        Ok(digest) => found.digest = digest.to_vec(),
        Err(why) => problems.push(why),
    }
    let manifest = match walk::read_text(&path.join(MANIFEST_FILE), TEXT_BYTES_MAX) {
        Ok(text) => {
            found.manifest = text;
            manifest(found.manifest.as_deref(), path, &mut problems)
        }
        Err(why) => {
            problems.push(format!("service.toml: {why}"));
            None
        }
    };
    match read_access(path) {
        Ok(Some(access)) => found.access = Some(access),
        Ok(None) => problems.push("no .clarens_access".to_owned()),
        Err(why) => problems.push(why),
    }
    let is_python = manifest.as_ref().is_some_and(|manifest| manifest.command.is_none());
    if is_python && path.join(PYTHON_FILE).exists() {
        match modules.and_then(Modules::finish).and_then(|version| in_memory(&version)) {
            Ok(version) => found.modules = Some(version),
            Err(why) => found.in_place = Some(why),
        }
    }
    (manifest, problems)
}

/// A file in memory that holds these bytes for good.
fn in_memory(bytes: &[u8]) -> Result<OwnedFd, String> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let told = |error: std::io::Error| format!("no file in memory: {error}");
    let file = memfd_create(c"nesssi-version", flags).map_err(|errno| told(errno.into()))?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes).map_err(told)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(|errno| told(errno.into()))?;
    Ok(file.into())
}

fn manifest(
    text: Option<&str>,
    path: &std::path::Path,
    problems: &mut Vec<String>,
) -> Option<Manifest> {
    let Some(text) = text else { return Some(Manifest::default()) };
    match Manifest::parse(text) {
        Ok(manifest) => Some(manifest),
        Err(mistakes) => {
            let lines = mistakes.iter().map(|m| format!("service.toml:{}: {}", m.line, m.text));
            problems.push(lines.collect::<Vec<_>>().join("; "));
            // Python code can be asked without it.
            path.join(PYTHON_FILE).exists().then(Manifest::default)
        }
    }
}

fn tell(peer: &Channel, request: u32, found: Found) -> bool {
    let message = FromJobmanager::ServiceFound {
        name: found.name,
        folder: found.folder,
        access: found.access,
        manifest: found.manifest,
        description: found.description,
        problem: found.problem.map(|mut problem| {
            cut(&mut problem, PROBLEM_BYTES_MAX);
            problem
        }),
        digest: Blob(found.digest),
        has_modules: found.modules.is_some(),
        in_place: found.in_place,
    };
    let modules: Vec<_> = found.modules.iter().map(AsFd::as_fd).collect();
    helpers::send_with(peer, request, &message, &modules)
}

/// Ends whatever throwaway workers have left behind.
fn end_orphans() {
    const BLOWS_MAX: usize = 100;
    for _ in 0..BLOWS_MAX {
        while matches!(rustix::process::wait(rustix::process::WaitOptions::NOHANG), Ok(Some(_))) {}
        let own = proctree::Process::own().map_or(0, |own| own.pid);
        let mut left = proctree::descendants(&proctree::all(), &[own]);
        left.retain(|process| !process.dead);
        if left.is_empty() {
            return;
        }
        sweep::kill_all(&left);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn cut(text: &mut String, bytes_max: usize) {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
