//! Limits: what a caller of one level may use.

use crate::LevelName;

/// How long [`Limits::to_bytes`] is.
pub const LIMITS_BYTES: usize = 56;

/// What one level allows. Every number is an upper bound, and may be reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limits {
    /// CPU seconds of one job, over all its processes.
    pub cpu_seconds: u64,
    /// Wall seconds of one job. Sleeping burns no CPU seconds, so this ends a job that only sleeps.
    pub wall_seconds: u64,
    /// Jobs of one caller that are queued or run at one time.
    pub jobs_at_once: u32,
    /// Calls of one caller in a minute.
    pub calls_per_minute: u32,
    /// Wall seconds of one call into a service.
    pub call_wall_seconds: u32,
    /// CPU seconds of one call into a service.
    pub call_cpu_seconds: u32,
    /// Bytes of one sandbox.
    pub sandbox_bytes: u64,
    /// Seconds that a sandbox is kept after its job has ended.
    pub retention_seconds: u64,
    /// CPU seconds of all jobs and calls of one caller in a day (UTC).
    pub cpu_seconds_per_day: u64,
}

impl Limits {
    /// The form that goes over channels and stands in the journal: the fields in their order,
    /// little-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LIMITS_BYTES] {
        let mut out = [0; LIMITS_BYTES];
        let fields = self
            .cpu_seconds
            .to_le_bytes()
            .into_iter()
            .chain(self.wall_seconds.to_le_bytes())
            .chain(self.jobs_at_once.to_le_bytes())
            .chain(self.calls_per_minute.to_le_bytes())
            .chain(self.call_wall_seconds.to_le_bytes())
            .chain(self.call_cpu_seconds.to_le_bytes())
            .chain(self.sandbox_bytes.to_le_bytes())
            .chain(self.retention_seconds.to_le_bytes())
            .chain(self.cpu_seconds_per_day.to_le_bytes());
        out.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
        out
    }

    /// Reads what [`Limits::to_bytes`] writes; `None` where the length is another.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut left = bytes;
        let limits = Self {
            cpu_seconds: u64::from_le_bytes(take(&mut left)?),
            wall_seconds: u64::from_le_bytes(take(&mut left)?),
            jobs_at_once: u32::from_le_bytes(take(&mut left)?),
            calls_per_minute: u32::from_le_bytes(take(&mut left)?),
            call_wall_seconds: u32::from_le_bytes(take(&mut left)?),
            call_cpu_seconds: u32::from_le_bytes(take(&mut left)?),
            sandbox_bytes: u64::from_le_bytes(take(&mut left)?),
            retention_seconds: u64::from_le_bytes(take(&mut left)?),
            cpu_seconds_per_day: u64::from_le_bytes(take(&mut left)?),
        };
        left.is_empty().then_some(limits)
    }
}

impl Limits {
    /// Of each limit the lesser.
    #[must_use]
    pub fn at_most(&self, other: &Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds.min(other.cpu_seconds),
            wall_seconds: self.wall_seconds.min(other.wall_seconds),
            jobs_at_once: self.jobs_at_once.min(other.jobs_at_once),
            calls_per_minute: self.calls_per_minute.min(other.calls_per_minute),
            call_wall_seconds: self.call_wall_seconds.min(other.call_wall_seconds),
            call_cpu_seconds: self.call_cpu_seconds.min(other.call_cpu_seconds),
            sandbox_bytes: self.sandbox_bytes.min(other.sandbox_bytes),
            retention_seconds: self.retention_seconds.min(other.retention_seconds),
            cpu_seconds_per_day: self.cpu_seconds_per_day.min(other.cpu_seconds_per_day),
        }
    }
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = left.split_first_chunk()?;
    *left = tail;
    Some(*head)
}

/// More was asked than the level allows. Its text is the one a caller reads with fault 413.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("asked for {asked} CPU seconds, the limit of level {} is {limit}", level.as_str())]
pub struct OverLimit {
    /// CPU seconds asked for, rounded up.
    pub asked: u64,
    /// CPU seconds that the level allows.
    pub limit: u64,
    /// The level.
    pub level: LevelName,
}

/// Why a request for CPU seconds is not admitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AdmitError {
    /// Fault 413.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// Fault -32602: not a positive number.
    #[error("asked for {asked} CPU seconds, which is no positive number")]
    InvalidAsk {
        /// What was asked.
        asked: f64,
    },
}

/// The whole CPU seconds that a request for `asked` is given, rounded up, if `level` allows them.
///
/// # Errors
/// [`AdmitError::InvalidAsk`] for zero, negative and infinite numbers and NaN;
/// [`AdmitError::OverLimit`] above the limit.
pub fn admit_seconds(asked: f64, limits: &Limits, level: &LevelName) -> Result<u64, AdmitError> {
    if !asked.is_finite() || asked <= 0.0 {
        return Err(AdmitError::InvalidAsk { asked });
    }
    let limit = limits.cpu_seconds;
    let asked = whole(asked.ceil());
    if asked > limit {
        return Err(OverLimit { asked, limit, level: level.clone() }.into());
    }
    Ok(asked)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and whole; what is beyond u64 becomes its largest number, as is meant"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests;
