//! Signatures that were found right.
//!
//! A signature over the same bytes by the same key is right for ever, and callers come back with the
//! same chains: so a certificate's signature is computed once, and looked up by a digest over the
//! key and the whole certificate after that. Only what is right is remembered; whether a certificate
//! is in force, revoked or permitted is asked anew each time.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

/// How many signatures are remembered; then all are forgotten.
const SIGNATURES_MAX: usize = 20_000;

/// A key and a certificate that it has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Pair([u8; 32]);

impl Pair {
    /// The digest of both, each part behind its length.
    pub(crate) fn of(key: [&[u8]; 2], certificate: &[u8]) -> Self {
        let mut digest = Sha256::new();
        for part in key.into_iter().chain([certificate]) {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// The pairs whose signature was found right.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pairs: Mutex<HashSet<Pair>>,
}

impl Verified {
    pub(crate) fn holds(&self, pair: Pair) -> bool {
        self.lock().contains(&pair)
    }

    pub(crate) fn remember(&self, pair: Pair) {
        let mut pairs = self.lock();
        if pairs.len() >= SIGNATURES_MAX {
            pairs.clear();
        }
        pairs.insert(pair);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Pair>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
