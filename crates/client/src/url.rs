//! Addresses: where to connect, and what to ask for there.

use http::Uri;
use rustls_pki_types::ServerName;

use crate::error::SetupError;

#[cfg(test)]
mod tests;

/// Scheme, host and port: what one connection goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// What to look up and connect to.
    pub(crate) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, for `Host` and for messages.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The name that the server's certificate must bear.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host().to_owned()).ok()
    }
}

/// An `http` or `https` address without user name, query or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Begins with `/`.
    pub(crate) path: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, SetupError> {
        let wrong = |why| SetupError::Url { url: text.to_owned(), why };
        let uri: Uri = text.parse().map_err(|_| wrong("not an address"))?;
        let (secure, default_port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(wrong("the address must begin with https:// or http://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("the address names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user name in an address is not used here"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong("the address has a query or a fragment"));
        }
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => default_port,
            _ => authority.port_u16().ok_or_else(|| wrong("the address has no good port"))?,
        };
        let origin = Origin { secure, host: host.to_owned(), port };
        if origin.server_name().is_none() {
            return Err(wrong("the address names no host"));
        }
        Ok(Self { origin, path: uri.path().to_owned() })
    }

    /// The address of `path` below this one, which is a directory; `path` is relative and plain.
    pub(crate) fn below(&self, path: &str, directory: bool) -> Result<Self, SetupError> {
        let mut joined = self.path.trim_end_matches('/').to_owned();
        let components = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        for component in components {
            if component == ".." {
                return Err(SetupError::SandboxPath(path.to_owned()));
            }
            joined.push('/');
            push_encoded(&mut joined, component);
        }
        if directory || joined == self.path.trim_end_matches('/') {
            joined.push('/');
        }
        Ok(Self { origin: self.origin.clone(), path: joined })
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn push_encoded(out: &mut String, component: &str) {
    for byte in component.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
}
