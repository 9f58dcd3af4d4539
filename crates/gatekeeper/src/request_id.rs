//! A request id is what joins a caller's answer, the access log, the audit and the log lines of one
//! request: 16 hex digits, not used twice by one process. It is no secret and proves nothing.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// Gives out request ids.
#[derive(Debug)]
pub(crate) struct RequestIds {
    next: AtomicU64,
    mask: u64,
}

/// Odd, so that multiplying by it maps the 64-bit numbers onto themselves: 2^64 over the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl RequestIds {
    /// A sequence that starts anywhere, so that two processes' ids hardly ever meet.
    pub(crate) fn new() -> Self {
        let random = || RandomState::new().build_hasher().finish();
        Self { next: AtomicU64::new(random()), mask: random() }
    }

    /// The next id.
    pub(crate) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(SPREAD) ^ self.mask;
        let mut text = String::with_capacity(16);
        for shift in (0..16).rev() {
            let digit = u32::try_from(number >> (shift * 4) & 0xF).unwrap_or(0);
            text.push(char::from_digit(digit, 16).unwrap_or('0'));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::RequestIds;

    #[test]
    fn sixteen_hex_digits_never_twice() {
        let ids = RequestIds::new();
        let given: HashSet<String> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(given.len(), 10_000);
        assert!(given.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    }
}
