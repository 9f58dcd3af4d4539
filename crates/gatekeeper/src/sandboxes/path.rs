//! What a request for a file asks for: `/sandboxes/<session>/<path>` on the sandbox host, and
//! `/clarens/<session>/<path>` on the API's.

/// Longest path of a request, percent-encoded.
const TARGET_BYTES_MAX: usize = 8 * 1024;
const SESSION_DIGITS: usize = 32;

/// A session and a path in its sandbox, well formed: 32 lowercase hex digits, and names that are
/// not empty, not hidden and without `/` or NUL. Names are bytes: a user may name a file anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) session: String,
    /// Names joined by `/`; empty for the sandbox itself.
    pub(crate) path: Vec<u8>,
    /// Whether the request's path ends in `/`, as a directory's does.
    pub(crate) slash: bool,
}

impl Asked {
    /// Reads the path of a request target, decoding `%HH` once. `None` is what no sandbox can hold:
    /// it is answered as what is absent.
    pub(crate) fn parse(target: &str) -> Option<Self> {
        Self::after(target.strip_prefix("/sandboxes/")?, target.len())
    }

    /// The same on the API's host, where `None` names no session at all.
    pub(crate) fn parse_api(target: &str) -> Option<Option<Self>> {
        let rest = target.strip_prefix("/clarens/")?;
        let session = rest.split_once('/').map_or(rest, |(session, _)| session);
        is_session(session).then(|| Self::after(rest, target.len()))
    }

    fn after(rest: &str, target_bytes: usize) -> Option<Self> {
        if target_bytes > TARGET_BYTES_MAX {
            return None;
        }
        let (session, path) = match rest.split_once('/') {
            Some((session, path)) => (session, Some(path)),
            None => (rest, None),
        };
        if !is_session(session) {
            return None;
        }
        let slash = path.is_some_and(|path| path.is_empty() || path.ends_with('/'));
        let names = path.unwrap_or_default();
        let names = names.strip_suffix('/').unwrap_or(names);
        let path = if names.is_empty() && path != Some("/") {
            Vec::new()
        } else {
            let decoded: Option<Vec<Vec<u8>>> = names.split('/').map(name).collect();
            decoded?.join(&b'/')
        };
        Some(Self { session: session.to_owned(), path, slash })
    }

    /// The last name, or the session for the sandbox itself.
    pub(crate) fn last_name(&self) -> &[u8] {
        match self.path.rsplit(|byte| *byte == b'/').next() {
            None | Some(b"") => self.session.as_bytes(),
            Some(name) => name,
        }
    }
}

fn is_session(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == SESSION_DIGITS && text.bytes().all(is_digit)
}

/// One name, decoded.
fn name(encoded: &str) -> Option<Vec<u8>> {
    let mut name = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        name.push(match byte {
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            plain => plain,
        });
    }
    let is_bad = |byte: &u8| matches!(byte, b'/' | 0);
    let servable = !name.is_empty() && !name.starts_with(b".") && !name.iter().any(is_bad);
    servable.then_some(name)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// `name` as one segment of a URL's path: everything but RFC 3986's unreserved characters encoded.
pub(crate) fn encode_name(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.iter().copied() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 0xF] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
