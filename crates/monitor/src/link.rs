//! A link is the monitor's end of a channel that must never make it wait: what the other side does
//! not read at once is kept, up to a bound.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nesssi_privsep::channel::encode;
use nesssi_privsep::wire::Field;
use nesssi_privsep::{Channel, ChannelError, Received};

/// Records kept for a peer that does not read. Beyond, it is taken for hung.
const OUTBOX_RECORDS_MAX: usize = 4096;

/// A non-blocking channel with what is still to be sent.
#[derive(Debug)]
pub struct Link {
    channel: Channel,
    outbox: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

impl Link {
    /// A link over this end of a channel.
    ///
    /// # Errors
    /// The system's.
    pub fn new(channel: Channel) -> Result<Self, ChannelError> {
        channel.set_nonblocking()?;
        // What the other side says has none, and closing one may last as long as it likes.
        nesssi_privsep::channel::refuse_descriptors(&channel)?;
        Ok(Self { channel, outbox: VecDeque::new() })
    }

    /// Sends a record, or keeps it. Descriptors are closed here once they are sent.
    ///
    /// # Errors
    /// [`ChannelError`]: the peer is gone, or has not read for too long.
    pub fn send<T: Field>(
        &mut self,
        id: u32,
        message: &T,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), ChannelError> {
        let record = encode(id, message)?;
        if self.outbox.len() >= OUTBOX_RECORDS_MAX {
            return Err(ChannelError::TooLong);
        }
        self.outbox.push_back((record, descriptors));
        self.flush()
    }

    /// Sends what was kept, as far as there is room.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub fn flush(&mut self) -> Result<(), ChannelError> {
        while let Some((record, descriptors)) = self.outbox.front() {
            let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match self.channel.send_bytes(record, &borrowed) {
                Ok(()) => self.outbox.pop_front(),
                Err(ChannelError::WouldBlock) => return Ok(()),
                Err(error) => return Err(error),
            };
        }
        Ok(())
    }

    /// Whether something waits for room.
    #[must_use]
    pub fn wants_room(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The next record, if one is there.
    ///
    /// # Errors
    /// As [`Channel::receive`].
    pub fn receive<T: Field>(&self) -> Result<Option<Received<T>>, ChannelError> {
        match self.channel.receive() {
            Ok(received) => Ok(Some(received)),
            Err(ChannelError::WouldBlock) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

#[cfg(test)]
mod tests;
