//! The clock of this room.

use std::time::UNIX_EPOCH;

/// Milliseconds since 1970 UTC.
#[allow(clippy::disallowed_methods, reason = "the one clock function of this room")]
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What the kernel calls this run of itself; empty where there is no such file.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
