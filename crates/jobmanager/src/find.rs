//! Finding names in a sandbox or a tree: in a helper, which tells some at a time.

use std::time::{Duration, Instant};

use nesssi_privsep::Channel;
use nesssi_privsep::messages::{self, FromJobmanager};
use nesssi_session::{
    AccountDir, Entry, FindBounds, FindEnd, Glob, SandboxError, SandboxPath, SessionId, Tree,
};

use crate::helpers::{die_with_parent, send};
use crate::requests::Failure;
use crate::sandboxes::{LISTING_BYTES_MAX, entry_bytes, on_the_wire};

/// Most matches of one find.
const ENTRIES_MAX: u32 = 10_000;

/// Most bytes of the paths that match: deep ones are long.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most names that one find looks at.
const NAMES_MAX: usize = 1_000_000;

/// How long one find looks.
const TIME_MAX: Duration = Duration::from_secs(30);

/// What to find, and where.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) place: Place,
    path: SandboxPath,
    pattern: Glob,
    entries_max: usize,
}

/// What is looked through.
#[derive(Debug)]
pub(crate) enum Place {
    Sandbox(SessionId),
    Tree(String),
}

impl Order {
    pub(crate) fn new(
        place: Place,
        path: &[u8],
        pattern: &[u8],
        entries_max: u32,
    ) -> Result<Self, Failure> {
        let entries_max = usize::try_from(entries_max.min(ENTRIES_MAX)).unwrap_or(0);
        let (path, pattern) = (SandboxPath::parse(path)?, Glob::parse(pattern)?);
        Ok(Self { place, path, pattern, entries_max })
    }
}

/// The whole of a find, in a helper's process; answers its exit code.
pub(crate) fn helper(
    order: &Order,
    account: &AccountDir,
    tree: Option<&Tree>,
    peer: Option<&Channel>,
    request: u32,
) -> i32 {
    let Some(peer) = peer else { return 0 };
    rustix::thread::set_name(c"nesssi-find").unwrap_or_default();
    die_with_parent();
    let mut telling = Telling { peer, request, entries: Vec::new(), bytes: 0 };
    let found = look(order, account, tree, &mut |entry| telling.add(entry));
    if !telling.tell() {
        return 1;
    }
    let message = match found {
        Ok(end) => FromJobmanager::FindDone { end: ended(end) },
        Err(error) => Failure::from(error).message(),
    };
    i32::from(!send(peer, request, &message))
}

fn look(
    order: &Order,
    account: &AccountDir,
    tree: Option<&Tree>,
    take: &mut dyn FnMut(Entry) -> bool,
) -> Result<FindEnd, SandboxError> {
    let until = Instant::now() + TIME_MAX;
    let entries_max = order.entries_max;
    let bounds = FindBounds { entries_max, bytes_max: BYTES_MAX, names_max: NAMES_MAX, until };
    let Order { path, pattern, .. } = order;
    match (&order.place, tree) {
        (Place::Sandbox(session), _) => account.sandbox(session)?.find(path, pattern, bounds, take),
        (Place::Tree(_), Some(tree)) => tree.find(path, pattern, bounds, take),
        (Place::Tree(_), None) => Err(SandboxError::Absent),
    }
}

fn ended(end: FindEnd) -> messages::FindEnd {
    match end {
        FindEnd::Whole => messages::FindEnd::Whole {},
        FindEnd::Entries => messages::FindEnd::Entries {},
        FindEnd::Effort => messages::FindEnd::Effort {},
    }
}

/// What was found and is not told yet: no more than fits a record.
struct Telling<'a> {
    peer: &'a Channel,
    request: u32,
    entries: Vec<messages::Entry>,
    bytes: usize,
}

impl Telling<'_> {
    /// Answers whether there is somebody to be told.
    fn add(&mut self, entry: Entry) -> bool {
        let bytes = entry_bytes(&entry);
        let told = self.bytes + bytes <= LISTING_BYTES_MAX || self.tell();
        self.bytes += bytes;
        self.entries.push(on_the_wire(entry));
        told
    }

    fn tell(&mut self) -> bool {
        self.bytes = 0;
        let entries = std::mem::take(&mut self.entries);
        entries.is_empty() || send(self.peer, self.request, &FromJobmanager::Found { entries })
    }
}
