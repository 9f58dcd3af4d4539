//! The calls with tags that are known, in memory, and how many there may be.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use nesssi_journal::{AnswerOwner, AnswerRow, KeptReply};
use nesssi_rpc::{ClientTag, Fault, FaultCode};
use nesssi_session::SessionId;
use tokio::sync::watch;

use super::Ask;
use crate::clock::iso;

/// A call's number in the journal.
pub(crate) type AnswerNumber = u64;

/// Answers of one owner, and their bytes.
pub(super) const OWNER: Room = Room { answers_max: 1_000, bytes_max: 8 * 1024 * 1024 };

/// Those of all callers with certificates.
pub(super) const CERTIFIED: Room = Room { answers_max: 50_000, bytes_max: 64 * 1024 * 1024 };

/// Those of all anonymous callers, whose addresses are cheap: they put out no one else's.
pub(super) const ANONYMOUS: Room = Room { answers_max: 5_000, bytes_max: 8 * 1024 * 1024 };

/// How much is kept. Where there is no room, the oldest go that are done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) answers_max: usize,
    pub(super) bytes_max: usize,
}

/// How much is kept of whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) owner: Room,
    pub(super) certified: Room,
    pub(super) anonymous: Room,
}

impl Default for Limits {
    fn default() -> Self {
        Self { owner: OWNER, certified: CERTIFIED, anonymous: ANONYMOUS }
    }
}

/// What a call is known again by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) owner: AnswerOwner,
    pub(crate) method: String,
    pub(crate) tag: ClientTag,
}

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Done(Arc<KeptReply>),
    /// The server stopped in the middle of it.
    Lost,
}

/// What is known of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) standing: Standing,
    pub(crate) params: [u8; 32],
    pub(crate) called_ms: u64,
    /// The session that it made.
    pub(crate) session: Option<SessionId>,
    /// Whether a level had taken the caller.
    pub(crate) granted: bool,
}

/// What there is of a call that is asked for.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing: it is begun now, to be recorded, and others have made room for it.
    Begun { row: Box<AnswerRow>, forgotten: Vec<AnswerNumber> },
    /// It runs until the sender of this is gone.
    Running(watch::Receiver<()>),
    /// It is done, or lost.
    Known(Seen),
    /// It may not be.
    Refused(Fault),
}

#[derive(Debug)]
struct Entry {
    key: Arc<Key>,
    params: [u8; 32],
    granted: bool,
    called_ms: u64,
    expires_ms: u64,
    session: Option<SessionId>,
    state: State,
}

#[derive(Debug)]
enum State {
    Running(watch::Sender<()>),
    Done(Arc<KeptReply>),
    Lost,
}

impl Entry {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    fn bytes(&self) -> usize {
        match &self.state {
            State::Done(kept) => bytes_of(kept),
            State::Running(_) | State::Lost => 0,
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            standing: match &self.state {
                State::Running(_) => Standing::Running,
                State::Done(kept) => Standing::Done(Arc::clone(kept)),
                State::Lost => Standing::Lost,
            },
            params: self.params,
            called_ms: self.called_ms,
            session: self.session.clone(),
            granted: self.granted,
        }
    }
}

fn bytes_of(kept: &KeptReply) -> usize {
    match kept {
        KeptReply::Whole(bytes) => bytes.len(),
        KeptReply::TooLong(_) => 0,
    }
}

/// What is kept of an owner, or of a kind of them.
#[derive(Debug, Default)]
struct Holding {
    all: BTreeSet<AnswerNumber>,
    /// Those that do not run.
    over: BTreeSet<AnswerNumber>,
    bytes: usize,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Table {
    limits: Limits,
    next: AnswerNumber,
    entries: HashMap<AnswerNumber, Entry>,
    by_key: HashMap<Arc<Key>, AnswerNumber>,
    owners: HashMap<AnswerOwner, Holding>,
    certified: Holding,
    anonymous: Holding,
    /// Those that do not run, by when they may be forgotten.
    expiry: BTreeSet<(u64, AnswerNumber)>,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: 1,
            entries: HashMap::new(),
            by_key: HashMap::new(),
            owners: HashMap::new(),
            certified: Holding::default(),
            anonymous: Holding::default(),
            expiry: BTreeSet::new(),
        }
    }

    /// Takes in what was in the journal; `false` if it makes no sense.
    pub(super) fn take_up(&mut self, row: AnswerRow) -> bool {
        self.next = self.next.max(row.number + 1);
        let Ok(tag) = ClientTag::parse(&row.tag) else { return false };
        let state = match row.kept {
            Some(kept) => State::Done(Arc::new(kept)),
            None => State::Lost,
        };
        let entry = Entry {
            key: Arc::new(Key { owner: row.owner, method: row.method, tag }),
            params: row.params,
            granted: row.granted,
            called_ms: row.called_ms,
            expires_ms: row.expires_ms,
            session: row.session,
            state,
        };
        self.insert(row.number, entry);
        true
    }

    /// Looks for a call; one that is not there is begun.
    pub(super) fn ask(&mut self, ask: &Ask, now_ms: u64, kept_ms: u64) -> Found {
        if let Some(number) = self.by_key.get(&ask.key).copied()
            && let Some(entry) = self.entries.get(&number)
        {
            if entry.is_running() || entry.expires_ms > now_ms {
                return known(entry, ask);
            }
            // Its row goes when the new one is written.
            self.remove(number);
        }
        match self.room_for_one(&ask.key.owner) {
            Ok(forgotten) => self.begin(ask, now_ms, kept_ms, forgotten),
            Err(fault) => Found::Refused(fault),
        }
    }

    fn begin(
        &mut self,
        ask: &Ask,
        now_ms: u64,
        kept_ms: u64,
        forgotten: Vec<AnswerNumber>,
    ) -> Found {
        let number = self.next;
        self.next += 1;
        let Ask { key, params, granted } = ask;
        let row = AnswerRow {
            number,
            owner: key.owner.clone(),
            method: key.method.clone(),
            tag: key.tag.as_str().to_owned(),
            params: *params,
            granted: granted.is_ok(),
            called_ms: now_ms,
            expires_ms: now_ms.saturating_add(kept_ms),
            session: None,
            kept: None,
        };
        let entry = Entry {
            key: Arc::new(key.clone()),
            params: *params,
            granted: row.granted,
            called_ms: row.called_ms,
            expires_ms: row.expires_ms,
            session: None,
            state: State::Running(watch::Sender::new(())),
        };
        self.insert(number, entry);
        Found::Begun { row: Box::new(row), forgotten }
    }

    /// A call has made a session.
    pub(super) fn made(&mut self, number: AnswerNumber, session: &SessionId) {
        if let Some(entry) = self.entries.get_mut(&number) {
            entry.session = Some(session.clone());
        }
    }

    /// Whether it has.
    pub(super) fn has_session(&self, number: AnswerNumber) -> bool {
        self.entries.get(&number).is_some_and(|entry| entry.session.is_some())
    }

    /// Makes room for the answer of a call that runs; what was forgotten for it.
    pub(super) fn make_room(
        &mut self,
        number: AnswerNumber,
        kept: &KeptReply,
    ) -> Vec<AnswerNumber> {
        let mut forgotten = Vec::new();
        let Some(owner) = self.entries.get(&number).map(|entry| entry.key.owner.clone()) else {
            return forgotten;
        };
        let bytes = bytes_of(kept);
        while let Some(oldest) = self.in_the_way(&owner, 0, bytes) {
            self.remove(oldest);
            forgotten.push(oldest);
        }
        forgotten
    }

    /// A call is done. Whoever waits for it is woken.
    pub(super) fn done(&mut self, number: AnswerNumber, kept: KeptReply, expires_ms: u64) {
        self.end(number, State::Done(Arc::new(kept)), Some(expires_ms));
    }

    /// A call is lost. Whoever waits for it is woken.
    pub(super) fn lost(&mut self, number: AnswerNumber) {
        self.end(number, State::Lost, None);
    }

    fn end(&mut self, number: AnswerNumber, state: State, expires_ms: Option<u64>) {
        if let Some(mut entry) = self.remove(number) {
            entry.state = state;
            entry.expires_ms = expires_ms.unwrap_or(entry.expires_ms);
            self.insert(number, entry);
        }
    }

    /// A call was not carried out: its tag is free. Whoever waits for it is woken.
    pub(super) fn free(&mut self, number: AnswerNumber) {
        self.remove(number);
    }

    /// What is known of an owner's last call with this tag.
    pub(super) fn last(
        &self,
        owner: &AnswerOwner,
        method: Option<&str>,
        tag: &ClientTag,
        now_ms: u64,
    ) -> Option<(String, Seen)> {
        let numbers = self.owners.get(owner)?.all.iter().rev();
        let mut entries = numbers.filter_map(|number| self.entries.get(number));
        let entry = entries.find(|entry| {
            entry.key.tag == *tag
                && method.is_none_or(|method| entry.key.method == method)
                && (entry.is_running() || entry.expires_ms > now_ms)
        })?;
        Some((entry.key.method.clone(), entry.seen()))
    }

    /// Takes out what may be forgotten now, at most `count` of it.
    pub(super) fn take_expired(&mut self, now_ms: u64, count: usize) -> Vec<AnswerNumber> {
        let due = self.expiry.iter().take_while(|(expires_ms, _)| *expires_ms <= now_ms);
        let due: Vec<AnswerNumber> = due.take(count).map(|(_, number)| *number).collect();
        for number in &due {
            self.remove(*number);
        }
        due
    }

    /// Room for one more call of an owner; what was forgotten for it.
    ///
    /// # Errors
    /// Fault 429 where all run that are in the way.
    fn room_for_one(&mut self, owner: &AnswerOwner) -> Result<Vec<AnswerNumber>, Fault> {
        for (holding, room) in self.holdings(owner).into_iter().flatten() {
            if holding.all.len() >= room.answers_max && holding.over.is_empty() {
                let text = format!(
                    "{} calls with a tag run at one time, which is the limit: one more when one of \
                     them is answered",
                    room.answers_max
                );
                return Err(Fault::new(FaultCode::TooMany, text));
            }
        }
        let mut forgotten = Vec::new();
        while let Some(oldest) = self.in_the_way(owner, 1, 0) {
            self.remove(oldest);
            forgotten.push(oldest);
        }
        Ok(forgotten)
    }

    /// The oldest that has to go for so many more answers of an owner, and so many more bytes.
    fn in_the_way(&self, owner: &AnswerOwner, more: usize, bytes: usize) -> Option<AnswerNumber> {
        let is_full = |holding: &Holding, room: Room| {
            holding.all.len() + more > room.answers_max || holding.bytes + bytes > room.bytes_max
        };
        let holdings = self.holdings(owner).into_iter().flatten();
        let mut full = holdings.filter(|(holding, room)| is_full(holding, *room));
        full.find_map(|(holding, _)| holding.over.first().copied())
    }

    /// What is kept of an owner, and of all of his kind.
    fn holdings(&self, owner: &AnswerOwner) -> [Option<(&Holding, Room)>; 2] {
        let own = self.owners.get(owner).map(|holding| (holding, self.limits.owner));
        let all = match owner {
            AnswerOwner::Subject(_) => (&self.certified, self.limits.certified),
            AnswerOwner::Address(_) => (&self.anonymous, self.limits.anonymous),
        };
        [own, Some(all)]
    }

    fn insert(&mut self, number: AnswerNumber, entry: Entry) {
        let owner = &entry.key.owner;
        let of_kind = match owner {
            AnswerOwner::Subject(_) => &mut self.certified,
            AnswerOwner::Address(_) => &mut self.anonymous,
        };
        let own = self.owners.entry(owner.clone()).or_default();
        for holding in [own, of_kind] {
            holding.all.insert(number);
            holding.bytes += entry.bytes();
            if !entry.is_running() {
                holding.over.insert(number);
            }
        }
        if !entry.is_running() {
            self.expiry.insert((entry.expires_ms, number));
        }
        self.by_key.insert(Arc::clone(&entry.key), number);
        self.entries.insert(number, entry);
    }

    fn remove(&mut self, number: AnswerNumber) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        if self.by_key.get(&entry.key) == Some(&number) {
            self.by_key.remove(&entry.key);
        }
        self.expiry.remove(&(entry.expires_ms, number));
        let owner = &entry.key.owner;
        let of_kind = match owner {
            AnswerOwner::Subject(_) => &mut self.certified,
            AnswerOwner::Address(_) => &mut self.anonymous,
        };
        for holding in self.owners.get_mut(owner).into_iter().chain([of_kind]) {
            holding.all.remove(&number);
            holding.over.remove(&number);
            holding.bytes = holding.bytes.saturating_sub(entry.bytes());
        }
        if self.owners.get(owner).is_some_and(|holding| holding.all.is_empty()) {
            self.owners.remove(owner);
        }
        Some(entry)
    }
}

/// What there is of a call for whoever asks for it now.
fn known(entry: &Entry, ask: &Ask) -> Found {
    if let (true, Err(fault)) = (entry.granted, &ask.granted) {
        return Found::Refused(fault.clone());
    }
    if entry.params != ask.params {
        let text = format!(
            "this client tag is that of a call of {} with other parameters, begun at {}",
            entry.key.method,
            iso(entry.called_ms)
        );
        return Found::Refused(Fault::new(FaultCode::Conflict, text));
    }
    match &entry.state {
        State::Running(sender) => Found::Running(sender.subscribe()),
        State::Done(_) | State::Lost => Found::Known(entry.seen()),
    }
}

#[cfg(test)]
mod tests;
