//! A shepherd is the parent of one local job: it holds the job's limits and writes its record.
//!
//! It is a forked copy of the jobmanager in a session of its own, and lives until its job has
//! ended with all descendants, whatever else dies. What it has to tell goes two ways: as a record
//! in the sandbox, for whoever comes later, and on a socket, for the jobmanager that started it.

mod watch;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nesssi_job::Tag;
use nesssi_privsep::messages::ShepherdId;
use nesssi_privsep::{Child, SpawnError};
use nesssi_session::Sandbox;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::leaf::Leaf;

/// Longest report.
const REPORT_BYTES_MAX: usize = nesssi_job::RECORD_BYTES_MAX;

/// All that a shepherd is told.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) tag: Tag,
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) cpu_seconds_max: u64,
    pub(crate) wall_seconds_max: u64,
    pub(crate) sandbox_bytes_max: u64,
    pub(crate) umask: u32,
    /// The limit of open files that this process was started with.
    pub(crate) files_max: rustix::process::Rlimit,
    /// This run of the machine.
    pub(crate) boot_id: String,
}

/// What a shepherd tells its jobmanager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The job was started; its main process, unless its program could not be run.
    Started(Option<(i32, u64)>),
    /// The guard stands already: nothing was started.
    Guarded,
    /// Nothing was started: error number and words.
    Refused(i32, String),
    /// Nothing was started, through no fault of the job or its account: it may be tried again.
    Interrupted(String),
    /// The job has ended.
    Record(String),
}

/// Exit codes of a shepherd: the record stands; nothing was started; the record could not be written.
const EXIT_RECORDED: i32 = 0;
const EXIT_NOT_STARTED: i32 = 1;
const EXIT_UNRECORDED: i32 = 3;

/// What the system shows as a shepherd's name.
pub(crate) const NAME: &CStr = c"nesssi-shepherd";

/// Longest mark of a guard.
pub(crate) const MARK_BYTES_MAX: usize = 256;

/// What a shepherd writes into its guard, for a jobmanager that does not know it.
fn mark(identity: &ShepherdId) -> String {
    format!("{} {} {}\n", identity.pid, identity.start_ticks, identity.boot_id)
}

/// Whom a mark names. Any job of the account can have written it: to be held against the process.
pub(crate) fn marked(mark: &[u8]) -> Option<ShepherdId> {
    let words: Vec<&str> = std::str::from_utf8(mark).ok()?.strip_suffix('\n')?.split(' ').collect();
    let [pid, start_ticks, boot_id] = words.try_into().ok()?;
    Some(ShepherdId {
        pid: pid.parse().ok()?,
        start_ticks: start_ticks.parse().ok()?,
        boot_id: boot_id.to_owned(),
    })
}

/// Whether a shepherd that ended with this code has seen its job to the end.
pub(crate) fn is_orderly(code: i32) -> bool {
    matches!(code, EXIT_RECORDED | EXIT_UNRECORDED)
}

/// The variable by which a job's processes are known.
pub(crate) fn marker(tag: &Tag) -> String {
    format!("NESSSI_TAG={tag}")
}

/// Starts a shepherd; answers it and the socket on which it reports.
pub(crate) fn start(
    order: &Order,
    sandbox: &Sandbox,
    leaf: Option<&(OwnedFd, Leaf)>,
) -> Result<(Child, OwnedFd), SpawnError> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| SpawnError::System { what: "socketpair", source: errno.into() })?;
    let mut keep = vec![sandbox.as_fd(), theirs.as_fd()];
    if let Some((door, leaf)) = leaf {
        keep.push(door.as_fd());
        keep.extend(leaf.descriptors());
    }
    let report = theirs.as_fd();
    let child =
        nesssi_privsep::spawn::fork(&keep, || watch::shepherd(order, sandbox, leaf, report))?;
    Ok((child, ours))
}

impl Report {
    /// Sends it; answers whether anybody is there to read it.
    fn send(&self, socket: BorrowedFd<'_>) -> bool {
        let text = match self {
            Self::Started(None) => "started".to_owned(),
            Self::Started(Some((pid, ticks))) => format!("started {pid} {ticks}"),
            Self::Guarded => "guarded".to_owned(),
            Self::Refused(errno, text) => format!("refused {errno} {text}"),
            Self::Interrupted(text) => format!("interrupted {text}"),
            Self::Record(text) => format!("record {text}"),
        };
        rustix::net::send(socket, text.as_bytes(), SendFlags::NOSIGNAL).is_ok()
    }

    /// The next report, if one has come.
    pub(crate) fn receive(socket: &OwnedFd) -> Option<Self> {
        let mut bytes = vec![0_u8; REPORT_BYTES_MAX];
        let (count, _) = rustix::net::recv(socket, &mut bytes, RecvFlags::DONTWAIT).ok()?;
        Self::parse(std::str::from_utf8(bytes.get(..count)?).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "started" => Some(Self::Started(
                rest.split_once(' ')
                    .and_then(|(pid, ticks)| Some((pid.parse().ok()?, ticks.parse().ok()?))),
            )),
            "guarded" => Some(Self::Guarded),
            "refused" => {
                let (errno, text) = rest.split_once(' ')?;
                Some(Self::Refused(errno.parse().ok()?, text.to_owned()))
            }
            "interrupted" => Some(Self::Interrupted(rest.to_owned())),
            "record" => Some(Self::Record(rest.to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
