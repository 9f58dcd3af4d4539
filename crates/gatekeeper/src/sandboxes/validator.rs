//! Validators say whether what a browser already has is still what the file holds (RFC 9110,
//! sections 8.8 and 13).

use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

use crate::clock::Civil;

/// A file changed within so many seconds may change again without its time showing it: its entity
/// tag is weak.
const SETTLED_SECONDS: i64 = 2;

/// The entity tag and time of one version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validator {
    /// `"inode-size-time"` in hex, with `W/` before it where it is weak.
    pub(crate) etag: String,
    pub(crate) last_modified: String,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Send it.
    Send,
    /// 304: the caller has it already.
    NotModified,
    /// 412: it is not the version that the caller wants.
    Failed,
}

impl Validator {
    /// Of a file as it was when it was opened at `now`.
    pub(crate) fn of(inode: u64, size: u64, modified: i64, nanos: u32, now: i64) -> Self {
        let weak = if now.saturating_sub(modified) < SETTLED_SECONDS { "W/" } else { "" };
        Self {
            etag: format!("{weak}\"{inode:x}-{size:x}-{modified:x}.{nanos:x}\""),
            last_modified: Civil::of(modified).http(),
        }
    }

    /// Judges a request's conditions in the order of RFC 9110, section 13.2.2. Times are compared as
    /// they were printed: a caller repeats what it was given.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Condition {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if headers.contains_key(IF_MATCH) {
            if !headers.get_all(IF_MATCH).iter().any(|value| self.is_in(value.as_bytes(), true)) {
                return Condition::Failed;
            }
        } else if text(IF_UNMODIFIED_SINCE).is_some_and(|time| time != self.last_modified) {
            return Condition::Failed;
        }
        let had = if headers.contains_key(IF_NONE_MATCH) {
            headers.get_all(IF_NONE_MATCH).iter().any(|value| self.is_in(value.as_bytes(), false))
        } else {
            text(IF_MODIFIED_SINCE).is_some_and(|time| time == self.last_modified)
        };
        if had { Condition::NotModified } else { Condition::Send }
    }

    /// Whether a `Range` may be honoured: there is no `If-Range`, or it names this very version.
    pub(crate) fn allows_range(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(IF_RANGE) else { return true };
        let strong = !self.etag.starts_with("W/");
        strong && (value == self.etag.as_str() || value == self.last_modified.as_str())
    }

    /// Whether a list of entity tags names this version; compared strongly, a weak tag names none.
    fn is_in(&self, list: &[u8], strong: bool) -> bool {
        let opaque = self.etag.strip_prefix("W/").unwrap_or(&self.etag).as_bytes();
        if strong && self.etag.starts_with("W/") {
            return list.trim_ascii() == b"*";
        }
        // No tag of ours holds a comma, so a comma in another's can only make that one not match.
        list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).any(|tag| {
            let weak = tag.strip_prefix(b"W/");
            tag == b"*" || tag == opaque || (!strong && weak == Some(opaque))
        })
    }
}

#[cfg(test)]
mod tests;
