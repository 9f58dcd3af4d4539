//! Faults: the one table of codes, and what a stranger reads.

use std::fmt;

#[cfg(test)]
mod tests;

/// Every code that NESSSI itself answers. The one table; `docs/protocol.md` prints it.
///
/// Negative codes are XML-RPC's interoperable ones (Dan Libby's "Specification for Fault Code
/// Interoperability"); positive ones follow HTTP's numbers. A service may answer any code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultCode {
    /// -32700: the body is not well formed.
    Parse,
    /// -32600: well formed, and no call.
    InvalidRequest,
    /// -32601: nobody answers this name.
    NoSuchMethod,
    /// -32602: wrong number, type or value of parameters.
    InvalidParams,
    /// -32603: our own mistake; the text holds an incident id only.
    Internal,
    /// 401: a credential is needed and none was given.
    NoCredential,
    /// 403: refused by credential, access list or mapping.
    Refused,
    /// 404: no such session or file.
    NotFound,
    /// 409: in conflict with what already is.
    Conflict,
    /// 413: over a limit.
    OverLimit,
    /// 429: too many.
    TooMany,
    /// 502: the batch system refused.
    BatchRefused,
    /// 503: busy, or the service is not healthy.
    Unavailable,
    /// A service's own code.
    Service(i64),
}

impl FaultCode {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::NoSuchMethod => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            Self::NoCredential => 401,
            Self::Refused => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::OverLimit => 413,
            Self::TooMany => 429,
            Self::BatchRefused => 502,
            Self::Unavailable => 503,
            Self::Service(number) => number,
        }
    }

    /// The code for a number on the wire; one not in the table is a service's own.
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        match number {
            -32700 => Self::Parse,
            -32600 => Self::InvalidRequest,
            -32601 => Self::NoSuchMethod,
            -32602 => Self::InvalidParams,
            -32603 => Self::Internal,
            401 => Self::NoCredential,
            403 => Self::Refused,
            404 => Self::NotFound,
            409 => Self::Conflict,
            413 => Self::OverLimit,
            429 => Self::TooMany,
            502 => Self::BatchRefused,
            503 => Self::Unavailable,
            other => Self::Service(other),
        }
    }
}

/// Why a call was not answered with a value. `text` is for strangers: no path, uid or stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The code.
    pub code: FaultCode,
    /// One line a person understands.
    pub text: String,
}

impl Fault {
    /// A fault of `code` that says `text`.
    #[must_use]
    pub fn new(code: FaultCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// [`FaultCode::InvalidParams`] with `text`.
    #[must_use]
    pub fn invalid_params(text: impl Into<String>) -> Self {
        Self::new(FaultCode::InvalidParams, text)
    }

    /// [`FaultCode::Refused`] with `text`.
    #[must_use]
    pub fn refused(text: impl Into<String>) -> Self {
        Self::new(FaultCode::Refused, text)
    }

    /// The one answer for a session or file that is absent, malformed or another's.
    #[must_use]
    pub fn no_such_session() -> Self {
        Self::new(FaultCode::NotFound, "no such session")
    }

    /// [`FaultCode::Internal`] that gives away the incident's id alone.
    #[must_use]
    pub fn incident(id: &str) -> Self {
        Self::new(FaultCode::Internal, format!("internal error, incident {id}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "fault {}: {}", self.code.number(), self.text)
    }
}

impl std::error::Error for Fault {}
