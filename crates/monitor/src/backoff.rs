//! How long to wait before a child that ended is started again.

use std::time::Duration;

/// First wait.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// A child that lived so long was well: the next wait is the first again.
const WELL: Duration = Duration::from_secs(60);

/// Exponential waiting: twice as long after every short life.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    short_lives: u32,
}

impl Backoff {
    /// A child ended after living so long: the wait before the next.
    pub fn ended(&mut self, lived: Duration) -> Duration {
        if lived >= WELL {
            self.short_lives = 0;
        }
        let wait = FIRST.saturating_mul(1_u32.checked_shl(self.short_lives).unwrap_or(u32::MAX));
        self.short_lives = self.short_lives.saturating_add(1);
        wait.min(LONGEST)
    }

    /// It ended as it should.
    pub fn reset(&mut self) {
        self.short_lives = 0;
    }
}

#[cfg(test)]
mod tests;
