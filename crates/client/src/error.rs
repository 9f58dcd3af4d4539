//! What can go wrong with a call: the server's fault, the caller's set-up, or the way between them.

use std::io;
use std::path::PathBuf;

use nesssi_rpc::{Fault, FaultCode};

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered, and refused or failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// What the caller gave (address, credential, trusted CAs, name, parameters) cannot be used;
    /// nothing was sent.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The server was not reached, or what came back is no answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

impl Error {
    /// Whether the same may go well in a moment: the connection was lost, or the server was busy.
    /// That nobody is there counts once somebody was (`came_through`): a server that is replaced.
    #[must_use]
    pub fn is_passing(&self, came_through: bool) -> bool {
        match self {
            Self::Fault(fault) => fault.code == FaultCode::Unavailable,
            Self::Setup(_) => false,
            Self::Transport(error) => match error {
                TransportError::Http { .. } => true,
                TransportError::Status { status, .. } => {
                    *status == http::StatusCode::SERVICE_UNAVAILABLE
                }
                TransportError::Connect { source, .. } => came_through || is_cut(source),
                TransportError::Handshake { source, .. } => is_cut(source),
                TransportError::Deadline { .. } | TransportError::Answer { .. } => false,
            },
        }
    }
}

/// Whether the other side was there and is not any more.
fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// What cannot be used, of that which the caller gave.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The address.
    #[error("{url}: {why}")]
    Url {
        /// As it was given.
        url: String,
        /// In words.
        why: &'static str,
    },
    /// No credential was named and none was found.
    #[error("no certificate found; looked at {searched} (--guest calls without one)")]
    NoCredential {
        /// The places, in order.
        searched: String,
    },
    /// The credential.
    #[error("{path}: {why}")]
    Credential {
        /// The file.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// The trusted CAs.
    #[error("{path}: {why}")]
    Trust {
        /// File or directory.
        path: PathBuf,
        /// In words.
        why: &'static str,
    },
    /// No trusted CAs were named and none were found.
    #[error("no trusted CA certificates found; looked at {searched}")]
    NoTrust {
        /// The places, in order.
        searched: String,
    },
    /// A file that was named.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The method's name.
    #[error("{name}: {source}")]
    Method {
        /// As it was given.
        name: String,
        /// Why it is none.
        source: nesssi_rpc::MethodNameError,
    },
    /// The parameters.
    #[error("{0}")]
    Parameters(String),
    /// A path inside a sandbox.
    #[error("{0}: a path in a sandbox is relative, and has no `..`")]
    SandboxPath(String),
    /// The cryptography could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// What happened on the way.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A connection, and no agreement on TLS.
    #[error("no TLS with {address}")]
    Handshake {
        /// Host and port.
        address: String,
        /// What the TLS library said.
        source: io::Error,
    },
    /// A deadline passed.
    #[error("{address}: no {what} within {seconds} s")]
    Deadline {
        /// Host and port.
        address: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
    },
    /// HTTP went wrong; whether a call ran is not known.
    #[error("the connection to {address} ended before the answer")]
    Http {
        /// Host and port.
        address: String,
        /// What the HTTP library said.
        source: hyper::Error,
    },
    /// An HTTP status with no XML-RPC answer.
    #[error("{address} answered {status}")]
    Status {
        /// Host and port.
        address: String,
        /// The status.
        status: http::StatusCode,
    },
    /// The answer is not what was asked for.
    #[error("the answer of {address} cannot be read: {why}")]
    Answer {
        /// Host and port.
        address: String,
        /// In words.
        why: String,
    },
}
