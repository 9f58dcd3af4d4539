//! A channel is a `SOCK_SEQPACKET` socket between two of our processes: one record a message.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use crate::wire::{Field, Reader, WireError, Writer};

/// Longest record, header included. A job's longest argument (128 KiB, Linux's own limit) fits.
pub const RECORD_BYTES_MAX: usize = 160 * 1024;

/// Most descriptors beside one record.
pub const DESCRIPTORS_MAX: usize = 8;

/// First byte of every record: raised whenever a message changes.
pub const PROTOCOL_VERSION: u8 = 1;

/// A channel that cannot be used any more, or a record that was no record.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other end is gone.
    #[error("channel is closed")]
    Closed,
    /// Nothing there now (non-blocking channels).
    #[error("nothing to read or no room to write")]
    WouldBlock,
    /// The record is longer than [`RECORD_BYTES_MAX`] or was cut, or has too many descriptors.
    #[error("record is too long")]
    TooLong,
    /// Another protocol version speaks.
    #[error("protocol version {0} is not {PROTOCOL_VERSION}")]
    Version(u8),
    /// The bytes make no message.
    #[error("bad record: {0}")]
    Wire(#[from] WireError),
    /// The system's own error.
    #[error("channel: {0}")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for ChannelError {
    fn from(errno: rustix::io::Errno) -> Self {
        match errno {
            rustix::io::Errno::AGAIN => Self::WouldBlock,
            rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET => Self::Closed,
            rustix::io::Errno::MSGSIZE => Self::TooLong,
            other => Self::Io(other.into()),
        }
    }
}

/// One record as it came.
#[derive(Debug)]
pub struct Received<T> {
    /// The request it asks or answers; 0 for neither.
    pub id: u32,
    /// The message.
    pub message: T,
    /// The descriptors beside it, close-on-exec.
    pub descriptors: Vec<OwnedFd>,
}

/// One end of a channel. Descriptors it makes are close-on-exec.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Both ends of a new channel, blocking.
    ///
    /// # Errors
    /// The system's, when descriptors run out.
    pub fn pair() -> Result<(Self, Self), ChannelError> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// A channel on a descriptor that was inherited or received.
    #[must_use]
    pub fn from_fd(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// The descriptor, to be passed on.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Makes every later send and receive answer [`ChannelError::WouldBlock`] instead of waiting.
    ///
    /// # Errors
    /// The system's.
    pub fn set_nonblocking(&self) -> Result<(), ChannelError> {
        rustix::io::ioctl_fionbio(&self.socket, true)?;
        Ok(())
    }

    /// Sends one record with descriptors beside it.
    ///
    /// # Errors
    /// [`ChannelError::TooLong`] before anything is sent; [`ChannelError::Closed`] when the peer is gone.
    pub fn send<T: Field>(
        &self,
        id: u32,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        self.send_bytes(&encode(id, message)?, descriptors)
    }

    /// Sends a record that [`encode`] made.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_bytes(
        &self,
        record: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(ChannelError::TooLong);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(ChannelError::TooLong);
        }
        rustix::io::retry_on_intr(|| {
            sendmsg(&self.socket, &[IoSlice::new(record)], &mut control, SendFlags::NOSIGNAL)
        })?;
        Ok(())
    }

    /// Receives one record.
    ///
    /// # Errors
    /// [`ChannelError::Closed`] at the end; any other error but `WouldBlock` means the peer does not
    /// keep to the protocol and is to be dropped.
    pub fn receive<T: Field>(&self) -> Result<Received<T>, ChannelError> {
        let mut buffer = vec![0_u8; RECORD_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut buffer)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        if got.bytes == 0 {
            return Err(ChannelError::Closed);
        }
        if got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ChannelError::TooLong);
        }
        let record = buffer.get(..got.bytes).unwrap_or_default();
        let (id, message) = decode(record)?;
        Ok(Received { id, message, descriptors })
    }
}

/// Takes no descriptors from the peer of a Unix socket: the kernel refuses to send them. Whoever
/// accepts from a listening socket that was asked has the same.
///
/// A descriptor that comes unasked is closed by whoever reads, even by a plain `read`, and its last
/// closing may last as long as the sender likes (a TCP socket that lingers). Answers whether the
/// kernel can do it: Linux before 6.16 cannot.
///
/// # Errors
/// The system's.
pub fn refuse_descriptors(socket: impl AsFd) -> io::Result<bool> {
    crate::sys::refuse_descriptors(socket.as_fd())
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The bytes of a record: version, id, then the message.
///
/// # Errors
/// [`ChannelError::TooLong`] over [`RECORD_BYTES_MAX`].
pub fn encode<T: Field>(id: u32, message: &T) -> Result<Vec<u8>, ChannelError> {
    let mut out = Writer::default();
    PROTOCOL_VERSION.put(&mut out);
    id.put(&mut out);
    message.put(&mut out);
    let record = out.finish();
    if record.len() > RECORD_BYTES_MAX { Err(ChannelError::TooLong) } else { Ok(record) }
}

/// The id and message of a record.
///
/// # Errors
/// [`ChannelError::Version`] and [`ChannelError::Wire`].
pub fn decode<T: Field>(record: &[u8]) -> Result<(u32, T), ChannelError> {
    let mut from = Reader::new(record);
    let version = u8::take(&mut from)?;
    if version != PROTOCOL_VERSION {
        return Err(ChannelError::Version(version));
    }
    let id = u32::take(&mut from)?;
    let message = T::take(&mut from)?;
    from.finish()?;
    Ok((id, message))
}

#[cfg(test)]
mod tests;
