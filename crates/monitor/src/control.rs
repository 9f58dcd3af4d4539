//! The control socket: fixed-length verbs for whoever may open it, nothing else.
//!
//! A request is 132 bytes: version, verb, two zero bytes, a name of 128 bytes padded with zeros. An answer is 1028 bytes:
//! version, code, length of the text as two little-endian bytes, the text padded with zeros. One request and one answer make
//! a connection. With the answer to a check comes one descriptor: a file in memory with what was found. The socket is `SOCK_SEQPACKET`, 0660, its group the developers' (0600 without one); the uid of each peer is logged.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept_with, bind, listen, recv, send, sendmsg, socket_with,
    sockopt::socket_peercred,
};

/// Version of this protocol.
pub const VERSION: u8 = 1;
/// Bytes of a request.
pub const REQUEST_BYTES: usize = 132;
/// Bytes of an answer.
pub const ANSWER_BYTES: usize = 1028;
/// Bytes of a request's name.
pub const NAME_BYTES: usize = 128;
/// Most bytes of an answer's text.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Connections at one time.
pub const CONNECTIONS_MAX: usize = 32;
/// Connections waiting to be taken.
const BACKLOG: i32 = 32;
/// Owner and group may connect, where a group is configured.
const SOCKET_MODE_GROUP: u32 = 0o660;
/// The owner alone may: his own group may be everybody's.
const SOCKET_MODE: u32 = 0o600;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Restart the workers of one service.
    RestartService(String),
    /// Replace the gatekeeper.
    Restart,
    /// Say how things are.
    Status,
    /// Say what is wrong with a service, in a file in memory that comes with the answer.
    CheckService(String),
    /// Say where the log of a service is.
    ServiceLog(String),
}

/// Why a request is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerbError {
    /// It has not the length.
    #[error("a request has {REQUEST_BYTES} bytes")]
    Length,
    /// Another version speaks.
    #[error("version {0} is not {VERSION}")]
    Version(u8),
    /// No such verb.
    #[error("there is no verb {0}")]
    Unknown(u8),
    /// The zero bytes are not zero.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// The name is none, or one where none belongs.
    #[error("the name is not the name of a service")]
    Name,
}

impl Verb {
    /// Reads a request.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn parse(request: &[u8]) -> Result<Self, VerbError> {
        let request: &[u8; REQUEST_BYTES] = request.try_into().map_err(|_| VerbError::Length)?;
        let [version, verb, reserved_a, reserved_b, name @ ..] = request;
        if *version != VERSION {
            return Err(VerbError::Version(*version));
        }
        if [*reserved_a, *reserved_b] != [0, 0] {
            return Err(VerbError::Reserved);
        }
        let length = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        let (name, padding) = name.split_at(length);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(VerbError::Name);
        }
        let verb = match verb {
            1 => return service_name(name).map(Self::RestartService),
            2 => Self::Restart,
            3 => Self::Status,
            4 => return service_name(name).map(Self::CheckService),
            5 => return service_name(name).map(Self::ServiceLog),
            other => return Err(VerbError::Unknown(*other)),
        };
        if name.is_empty() { Ok(verb) } else { Err(VerbError::Name) }
    }
}

/// A dotted name of a service: parts of letters, digits and `_`, none beginning with a digit.
fn service_name(name: &[u8]) -> Result<String, VerbError> {
    let name = std::str::from_utf8(name).map_err(|_| VerbError::Name)?;
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if name.split('.').all(part) { Ok(name.to_owned()) } else { Err(VerbError::Name) }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It was done.
    Done = 0,
    /// It is none, or not now.
    Refused = 1,
    /// It was tried.
    Failed = 2,
}

/// The bytes of an answer; text beyond 1024 bytes is cut at a character.
#[must_use]
pub fn answer(code: Code, text: &str) -> [u8; ANSWER_BYTES] {
    let cut = (0..=text.len().min(TEXT_BYTES_MAX))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    let text = text.as_bytes().get(..cut).unwrap_or_default();
    let length = u16::try_from(text.len()).unwrap_or(0).to_le_bytes();
    let code = match code {
        Code::Done => 0,
        Code::Refused => 1,
        Code::Failed => 2,
    };
    let mut bytes = [0; ANSWER_BYTES];
    let head = [VERSION, code, length[0], length[1]];
    for (to, from) in bytes.iter_mut().zip(head.iter().chain(text)) {
        *to = *from;
    }
    bytes
}

/// The listening control socket. Its name is removed when it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: OwnedFd,
    path: PathBuf,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// Whose.
    pub uid: u32,
    /// Since when.
    pub since: Instant,
}

impl ControlSocket {
    /// Listens at a path. A socket that an earlier monitor left there is removed; that none runs, the
    /// lock on the state directory says.
    ///
    /// # Errors
    /// The system's, and where something else stands at the path.
    pub fn open(path: &Path, group: Option<u32>) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => {
                let text = "something that is no socket stands there";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let address = SocketAddrUnix::new(path)?;
        // Nobody may connect between bind and the change of group.
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = bind(&listener, &address);
        rustix::process::umask(before);
        bound?;
        let control = Self { listener, path: path.to_owned() };
        if group.is_some() {
            std::os::unix::fs::lchown(path, None, group)?;
        }
        let mode = if group.is_some() { SOCKET_MODE_GROUP } else { SOCKET_MODE };
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
        nesssi_privsep::channel::refuse_descriptors(&control.listener)?;
        listen(&control.listener, BACKLOG)?;
        Ok(control)
    }

    /// The next connection, if there is one.
    ///
    /// # Errors
    /// The system's.
    pub fn accept(&self) -> io::Result<Option<Connection>> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match accept_with(&self.listener, flags) {
            Ok(socket) => {
                let uid = socket_peercred(&socket)?.uid.as_raw();
                Ok(Some(Connection { socket, uid, since: Instant::now() }))
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::CONNABORTED) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // A new monitor removes it otherwise.
        std::fs::remove_file(&self.path).unwrap_or_default();
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Connection {
    /// The request, once it is there.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` if the peer has gone.
    pub fn request(&self) -> io::Result<Option<Result<Verb, VerbError>>> {
        let mut bytes = [0; REQUEST_BYTES + 1];
        match recv(&self.socket, &mut bytes, RecvFlags::empty()) {
            Ok((0, _)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((count, _)) => Ok(Some(Verb::parse(bytes.get(..count).unwrap_or_default()))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Answers, and ends the connection. A peer that has gone does not matter.
    pub fn answer(self, code: Code, text: &str) {
        send(&self.socket, &answer(code, text), SendFlags::NOSIGNAL).unwrap_or_default();
    }

    /// Answers that it was done, with an open file beside the text.
    pub fn answer_with(self, text: &str, file: &OwnedFd) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        let fits = control.push(SendAncillaryMessage::ScmRights(&files));
        debug_assert!(fits, "the space is for one descriptor");
        let bytes = answer(Code::Done, text);
        sendmsg(&self.socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)
            .unwrap_or_default();
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
