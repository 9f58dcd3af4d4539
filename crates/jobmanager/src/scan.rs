//! Scan: walking the tree of services, and asking each what it offers.
//!
//! It runs in a helper, and each service's own code in a throwaway worker below that, with a
//! deadline and a bounded answer, so that no service can hold up or spoil another.

mod describe;
mod walk;

use std::time::Duration;

use nesssi_privsep::Channel;
use nesssi_privsep::messages::{FromJobmanager, ToJobmanager};
use nesssi_privsep::wire::Blob;
use nesssi_service::Manifest;
use nesssi_service::folder::{ACCESS_FILE, MANIFEST_FILE, code_digest};
use rustix::process::Rlimit;

use crate::helpers::{self, send};
use crate::proctree;
use crate::sweep;

use describe::{Describing, Question};
use walk::Folder;

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
        };
        match request {
            ToJobmanager::Scan { root, describe_argv, environment, only, describe_ms_max } => {
                Self {
                    root,
                    describe_argv,
                    environment,
                    only,
                    describe_max: Duration::from_millis(describe_ms_max.into()),
                }
            }
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
                Looked::Done(found) => drop(tell(peer, request, *found)),
            }
        }
        if asked.is_empty() {
            break;
        }
        for found in describe::wait(&mut asked) {
            if !tell(peer, request, found) {
                return 1;
            }
        }
    }
    end_orphans();
    i32::from(!done(peer, request, walk.problems))
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
    };
    let read = folder.problem.map_or_else(|| read_beside(&folder.path, &mut found), Err);
    match read {
        Ok(manifest) => {
            let question = Question { order, files_max, manifest: &manifest, number };
            describe::ask(&question, found)
        }
        Err(problem) => {
            found.problem = Some(problem);
            Looked::Done(Box::new(found))
        }
    }
}

fn read_beside(path: &std::path::Path, found: &mut Found) -> Result<Manifest, String> {
    found.digest = code_digest(path)?.to_vec();
    found.manifest = walk::read_text(&path.join(MANIFEST_FILE), TEXT_BYTES_MAX)
        .map_err(|why| format!("service.toml: {why}"))?;
    found.access = read_access(path)?;
    if found.access.is_none() {
        return Err("no .clarens_access".to_owned());
    }
    let Some(text) = &found.manifest else { return Ok(Manifest::default()) };
    Manifest::parse(text).map_err(|mistakes| {
        let lines = mistakes.iter().map(|m| format!("service.toml:{}: {}", m.line, m.text));
        lines.collect::<Vec<_>>().join("; ")
    })
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
    };
    send(peer, request, &message)
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
