//! The control socket, from the asker's side: one fixed request, one fixed answer.

use std::fs::{self, File};
use std::io::{self, IoSliceMut, Read as _, Seek as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recvmsg, send, socket_with,
};

use nesssi_service::FINDINGS_BYTES_MAX;

/// Version, verb, reserved, then the name.
const REQUEST_BYTES: usize = 132;
/// Version, code, length, then the text.
const ANSWER_BYTES: usize = 1028;
const VERSION: u8 = 1;
const NAME_BYTES_MAX: usize = 128;
/// What to do where the usual configuration is not there.
const ELSEWHERE: &str = "--config (or NESSSI_CONFIG) says where the server's configuration is, \
                         --control (or NESSSI_CONTROL) where its control socket is";

/// Where the server is controlled.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Where {
    /// The control socket (else the one that the configuration names)
    #[arg(long, env = "NESSSI_CONTROL")]
    control: Option<PathBuf>,
    /// The configuration that names the control socket
    #[arg(long, env = "NESSSI_CONFIG", default_value = "/etc/nesssi/nesssi.toml")]
    config: PathBuf,
}

/// What may be asked. There is nothing else.
#[derive(Debug)]
pub(crate) enum Verb {
    /// Take up a service's code again.
    RestartService(String),
    /// Replace the gatekeeper.
    Restart,
    /// Say how it is.
    Status,
    /// Say what is wrong with a service.
    CheckService(String),
    /// Say where a service's log is.
    ServiceLog(String),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("no service has a name of more than {NAME_BYTES_MAX} bytes")]
    LongName,
    #[error("{path}: {problem}", path = .0.display(), problem = .1)]
    Config(PathBuf, String),
    #[error("{path}: {source}; {hint}", path = .path.display())]
    Connect { path: PathBuf, source: io::Error, hint: &'static str },
    #[error("the server closed the control socket without an answer")]
    NoAnswer,
    #[error("refused: {0}")]
    Refused(String),
    #[error("failed: {0}")]
    Failed(String),
}

impl Where {
    /// The configuration that names the control socket.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }
}

/// Asks the monitor, and waits for its answer.
///
/// # Errors
/// [`ControlError`], each in words of its own.
pub(crate) fn ask(place: &Where, verb: &Verb) -> Result<String, ControlError> {
    Ok(exchange(place, verb)?.0)
}

/// Asks for what comes as a file in memory, and reads that.
///
/// # Errors
/// [`ControlError`].
pub(crate) fn ask_file(place: &Where, verb: &Verb) -> Result<Vec<u8>, ControlError> {
    let (_, file) = exchange(place, verb)?;
    let mut file = File::from(file.ok_or(ControlError::NoAnswer)?);
    let mut bytes = Vec::new();
    let limit = u64::try_from(FINDINGS_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = file.rewind().and_then(|()| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|_| ControlError::NoAnswer)?;
    Ok(bytes)
}

fn exchange(place: &Where, verb: &Verb) -> Result<(String, Option<OwnedFd>), ControlError> {
    let request = request(verb)?;
    let path = socket_path(place)?;
    let socket = open(&path)?;
    let sent = send(&socket, &request, SendFlags::NOSIGNAL);
    sent.map_err(|errno| connect_error(&path, errno))?;
    let mut answer = [0_u8; ANSWER_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut answer)];
    let got = recvmsg(&socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(|errno| connect_error(&path, errno))?;
    if got.bytes != ANSWER_BYTES {
        return Err(ControlError::NoAnswer);
    }
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Ok((read_answer(&answer)?, file))
}

fn request(verb: &Verb) -> Result<[u8; REQUEST_BYTES], ControlError> {
    let (number, name) = match verb {
        Verb::RestartService(name) => (1, name.as_str()),
        Verb::Restart => (2, ""),
        Verb::Status => (3, ""),
        Verb::CheckService(name) => (4, name.as_str()),
        Verb::ServiceLog(name) => (5, name.as_str()),
    };
    let mut request = [0_u8; REQUEST_BYTES];
    let [version, verb, _, _, rest @ ..] = &mut request;
    (*version, *verb) = (VERSION, number);
    let field = rest.get_mut(..name.len()).ok_or(ControlError::LongName)?;
    field.copy_from_slice(name.as_bytes());
    Ok(request)
}

fn read_answer(answer: &[u8; ANSWER_BYTES]) -> Result<String, ControlError> {
    let [_, code, low, high, text @ ..] = answer;
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    let text = text.get(..length).ok_or(ControlError::NoAnswer)?;
    let text = String::from_utf8_lossy(text).into_owned();
    match code {
        0 => Ok(text),
        1 => Err(ControlError::Refused(text)),
        _ => Err(ControlError::Failed(text)),
    }
}

fn socket_path(place: &Where) -> Result<PathBuf, ControlError> {
    if let Some(path) = &place.control {
        return Ok(path.clone());
    }
    let fault = |problem: String| ControlError::Config(place.config.clone(), problem);
    let text = fs::read_to_string(&place.config)
        .map_err(|error| fault(format!("{error}; {ELSEWHERE}")))?;
    let config = nesssi_config::parse(&text, &place.config.display().to_string())
        .map_err(|mistakes| fault(format!("{} mistakes; see nesssid --check", mistakes.len())))?;
    Ok(config.server.control_socket)
}

fn open(path: &Path) -> Result<OwnedFd, ControlError> {
    let fault = |errno| connect_error(path, errno);
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(fault)?;
    let address = SocketAddrUnix::new(path).map_err(fault)?;
    connect(&socket, &address).map_err(fault)?;
    Ok(socket)
}

fn connect_error(path: &Path, errno: rustix::io::Errno) -> ControlError {
    let hint = match errno {
        rustix::io::Errno::ACCESS => "ask the administrator to put you into the socket's group",
        rustix::io::Errno::NOENT | rustix::io::Errno::CONNREFUSED => "is the server running?",
        _ => "see the server's log",
    };
    ControlError::Connect { path: path.to_owned(), source: errno.into(), hint }
}

#[cfg(test)]
mod tests;
