//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 UTC.
#[allow(clippy::disallowed_methods, reason = "this is the one clock function of this program")]
pub(crate) fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
