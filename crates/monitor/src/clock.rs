//! The monitor's one clock.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds in a day.
const DAY_MS: i64 = 86_400_000;

/// Milliseconds since 1970 UTC.
#[must_use]
pub fn unix_milliseconds() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)
}

/// Days since 1970 UTC, as the shadow database counts them.
#[must_use]
pub fn today() -> i64 {
    unix_milliseconds().div_euclid(DAY_MS)
}

/// A time as logs write it: `2026-11-22T03:00:00.000Z`.
#[must_use]
pub fn written(unix_milliseconds: i64) -> String {
    let (days, ms) = (unix_milliseconds.div_euclid(DAY_MS), unix_milliseconds.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// Year, month and day of a day number, in the Gregorian calendar; years begin in March inside.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
