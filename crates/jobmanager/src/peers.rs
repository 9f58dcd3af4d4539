//! Peers are the gatekeeper channels that the monitor has handed over.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nesssi_privsep::messages::{ChannelKind, FromJobmanager, ToJobmanager};
use nesssi_privsep::{Channel, ChannelError, Received, channel};

/// Most channels at once.
const PEERS_MAX: usize = 64;

/// Most records that wait for a slow peer; one that lets more wait is dropped.
const QUEUE_MAX: usize = 4096;

/// A peer with more records waiting than this is not read from.
const QUEUE_BUSY: usize = 64;

/// One channel.
#[derive(Debug)]
pub(crate) struct Peer {
    channel: Channel,
    kind: ChannelKind,
    /// Whose it is, by the monitor's number.
    gatekeeper: u32,
    /// The rules have changed since it was handed over.
    demoted: bool,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

/// All channels, by a number of our own.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<u32, Peer>,
    next: u32,
}

impl Peers {
    /// Takes one more; one too many is closed at once. One to start shows that its gatekeeper has a
    /// grant of now: the others that he has count as given by it too.
    pub(crate) fn add(
        &mut self,
        channel: Channel,
        kind: ChannelKind,
        gatekeeper: u32,
    ) -> Result<(), ChannelError> {
        channel.set_nonblocking()?;
        if kind == (ChannelKind::Start {}) {
            let his = |peer: &&mut Peer| peer.gatekeeper == gatekeeper;
            self.peers.values_mut().filter(his).for_each(|peer| peer.demoted = false);
        }
        if self.peers.len() < PEERS_MAX {
            self.next = self.next.wrapping_add(1);
            let waiting = VecDeque::new();
            let peer = Peer { channel, kind, gatekeeper, demoted: false, waiting };
            self.peers.insert(self.next, peer);
        }
        Ok(())
    }

    /// The rules have changed: all that are open start nothing until they are renewed.
    pub(crate) fn demote_all(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.demoted = true);
    }

    /// Whether the rules have changed since a channel was given or renewed.
    pub(crate) fn is_demoted(&self, number: u32) -> bool {
        self.peers.get(&number).is_none_or(|peer| peer.demoted)
    }

    /// Forgets one.
    pub(crate) fn remove(&mut self, number: u32) {
        self.peers.remove(&number);
    }

    /// What a channel may be used for.
    pub(crate) fn kind(&self, number: u32) -> Option<&ChannelKind> {
        self.peers.get(&number).map(|peer| &peer.kind)
    }

    /// The channel itself, to be kept by a helper.
    pub(crate) fn channel(&self, number: u32) -> Option<&Channel> {
        self.peers.get(&number).map(|peer| &peer.channel)
    }

    /// Number, handle, whether it may be read, whether it wants to be written.
    pub(crate) fn polled(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>, bool, bool)> {
        self.peers.iter().map(|(number, peer)| {
            let waiting = peer.waiting.len();
            (*number, peer.channel.as_fd(), waiting <= QUEUE_BUSY, waiting > 0)
        })
    }

    /// The next request, if one has come.
    pub(crate) fn receive(
        &self,
        number: u32,
    ) -> Result<Option<Received<ToJobmanager>>, ChannelError> {
        let peer = self.peers.get(&number).ok_or(ChannelError::Closed)?;
        match peer.channel.receive() {
            Ok(received) => Ok(Some(received)),
            Err(ChannelError::WouldBlock) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends now or, if the peer is slow, later. A peer that is gone is found out by its poll.
    ///
    /// # Errors
    /// The peer is to be dropped.
    pub(crate) fn send(
        &mut self,
        number: u32,
        id: u32,
        message: &FromJobmanager,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), ChannelError> {
        let Some(peer) = self.peers.get_mut(&number) else { return Ok(()) };
        let record = match channel::encode(id, message) {
            Err(ChannelError::TooLong) => {
                let text = "the answer is too long".to_owned();
                channel::encode(id, &FromJobmanager::Failed { errno: 0, text })?
            }
            other => other?,
        };
        if peer.waiting.len() >= QUEUE_MAX {
            return Err(ChannelError::TooLong);
        }
        peer.waiting.push_back((record, descriptors));
        peer.flush()
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The peer is to be dropped.
    pub(crate) fn flush(&mut self, number: u32) -> Result<(), ChannelError> {
        self.peers.get_mut(&number).map_or(Ok(()), Peer::flush)
    }
}

impl Peer {
    fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some((record, descriptors)) = self.waiting.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match self.channel.send_bytes(record, &borrowed) {
                Ok(()) => drop(self.waiting.pop_front()),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
