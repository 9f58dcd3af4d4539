//! The door of a cgroup leaf: the one-use socket through which a process asks the monitor to be
//! put into the leaf.
//!
//! The process sends one byte; the kernel tells the monitor who it is; the monitor places it and
//! answers one byte. So a process can place itself alone, and the uid cannot be claimed.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, send, socketpair,
};

/// What the process sends.
const KNOCK: u8 = 1;
/// The monitor's answer: it is in the leaf.
const PLACED: u8 = 0;
/// The monitor's answer: it is not.
const REFUSED: u8 = 1;

/// Why a process is not in the leaf. Its work must not begin.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The monitor refused, or has closed the door.
    #[error("the monitor does not let this process into the leaf")]
    Refused,
    /// No answer in time.
    #[error("the monitor did not answer at the leaf's door")]
    TooLate,
    /// The system's own error.
    #[error("leaf's door: {0}")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for DoorError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// Asks through the door to be placed, and waits for it. Call it in the process that is to run in the leaf, before exec.
///
/// # Errors
/// [`DoorError`]; the process is then not in the leaf.
pub fn enter(door: BorrowedFd<'_>, wait: Duration) -> Result<(), DoorError> {
    let until = Instant::now() + wait;
    send_all(door, KNOCK)?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| DoorError::TooLate)?;
        let mut polled = [PollFd::new(&door, PollFlags::IN)];
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => return Err(DoorError::TooLate),
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut answer = [REFUSED];
    let bytes = rustix::io::retry_on_intr(|| rustix::io::read(door, &mut answer))?;
    if bytes == 1 && answer == [PLACED] { Ok(()) } else { Err(DoorError::Refused) }
}

/// The monitor's end of a door.
#[derive(Debug)]
pub struct Doorkeeper {
    socket: OwnedFd,
}

/// Who stands at the door, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitor {
    /// The process.
    pub pid: i32,
    /// Its real uid.
    pub uid: u32,
}

impl Doorkeeper {
    /// A new door: the keeper's end, non-blocking, and the end to hand out.
    ///
    /// # Errors
    /// The system's, when descriptors run out.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (keeper, door) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_passcred(&keeper, true)?;
        crate::channel::refuse_descriptors(&keeper)?;
        rustix::io::ioctl_fionbio(&keeper, true)?;
        Ok((Self { socket: keeper }, door))
    }

    /// Who has knocked; `None` is nobody yet.
    ///
    /// # Errors
    /// `UnexpectedEof` if every holder of the door has closed it; `InvalidData` without credentials.
    pub fn visitor(&self) -> io::Result<Option<Visitor>> {
        let mut byte = [0_u8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = match recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
            answer => answer?,
        };
        if got.bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut visitor = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmCredentials(who) = message {
                visitor = Some(Visitor { pid: who.pid.as_raw_pid(), uid: who.uid.as_raw() });
            }
        }
        visitor.map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Answers the visitor. The door is used up.
    ///
    /// # Errors
    /// The system's; a visitor that has died meanwhile is none.
    pub fn answer(self, placed: bool) -> io::Result<()> {
        let byte = if placed { PLACED } else { REFUSED };
        match send_all(self.socket.as_fd(), byte) {
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Doorkeeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn send_all(socket: BorrowedFd<'_>, byte: u8) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| send(socket, &[byte], SendFlags::NOSIGNAL))?;
    Ok(())
}

#[cfg(test)]
mod tests;
