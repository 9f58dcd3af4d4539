//! A path of the API: `/<session>/a/b`, or `/<tree>/a/b`.

use nesssi_rpc::Fault;
use nesssi_session::SandboxPath;

use super::no_such_file;

/// How many hexadecimal digits a session is; no tree has such a name.
const SESSION_DIGITS: usize = 32;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ApiPath {
    /// The top: above all sessions and trees.
    Top,
    /// A file or directory in one of them.
    In(Place, SandboxPath),
}

/// A session or a tree, which may not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// 32 lowercase hexadecimal digits.
    Session(String),
    /// Anything else.
    Tree(String),
}

impl ApiPath {
    /// Reads a path. The slash before it may be left out, one behind it stands for a directory and changes nothing.
    ///
    /// # Errors
    /// 404: what no path can be is absent.
    pub(crate) fn parse(path: &[u8]) -> Result<Self, Fault> {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if path.is_empty() {
            return Ok(Self::Top);
        }
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let at = path.iter().position(|byte| *byte == b'/');
        let (place, names) = match at.and_then(|at| path.split_at_checked(at)) {
            Some((place, names)) => (place, names.strip_prefix(b"/").unwrap_or(names)),
            None => (path, &b""[..]),
        };
        if place.is_empty() || at.is_some() && names.is_empty() {
            return Err(no_such_file());
        }
        let place = String::from_utf8(place.to_vec()).map_err(|_| no_such_file())?;
        let names = SandboxPath::parse(names).map_err(|_| no_such_file())?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_session = place.len() == SESSION_DIGITS && place.bytes().all(is_digit);
        let place = if is_session { Place::Session(place) } else { Place::Tree(place) };
        Ok(Self::In(place, names))
    }
}

impl Place {
    fn name(&self) -> &str {
        match self {
            Self::Session(name) | Self::Tree(name) => name,
        }
    }

    /// The whole path of something in it.
    pub(crate) fn join(&self, names: &[u8]) -> Vec<u8> {
        let mut path = format!("/{}", self.name()).into_bytes();
        if !names.is_empty() {
            path.push(b'/');
            path.extend_from_slice(names);
        }
        path
    }
}

#[cfg(test)]
mod tests;
