//! The one place of this room that reads the clock, and the forms in which it prints time.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 UTC.
#[must_use]
pub(crate) fn now_unix() -> i64 {
    i64::try_from(now().as_secs()).unwrap_or(i64::MAX)
}

/// Time since 1970 UTC.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the room's one clock function")]
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A moment in UTC by the civil calendar, between the years 1970 and 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    year: u32,
    month: usize,
    day: u32,
    weekday: usize,
    hour: u32,
    minute: u32,
    second: u32,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const SECONDS_A_DAY: u64 = 86_400;
/// 9999-12-31T23:59:59Z: the last second that the printed forms have room for.
const UNIX_MAX: u64 = 253_402_300_799;

impl Civil {
    /// The civil time of `unix` seconds; what lies outside of 1970 to 9999 is moved to the nearer end.
    pub(crate) fn of(unix: i64) -> Self {
        let unix = u64::try_from(unix).unwrap_or(0).min(UNIX_MAX);
        let (days, second_of_day) = (unix / SECONDS_A_DAY, unix % SECONDS_A_DAY);
        // Days are counted from 1 March of year 0, so that the leap day ends a year
        // (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        Self {
            year: small(year),
            month: usize::try_from(month).unwrap_or(1),
            day: small(day_of_year - (153 * march_month + 2) / 5 + 1),
            weekday: usize::try_from(days % 7).unwrap_or(0),
            hour: small(second_of_day / 3_600),
            minute: small(second_of_day / 60 % 60),
            second: small(second_of_day % 60),
        }
    }

    /// `Sun, 22 Nov 2026 03:21:05 GMT` (RFC 9110, section 5.6.7).
    pub(crate) fn http(self) -> String {
        let weekday = WEEKDAYS.get(self.weekday).copied().unwrap_or_default();
        let Self { year, day, hour, minute, second, .. } = self;
        let month = self.month_name();
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// `22/Nov/2026:03:21:05 +0000`, as access logs have it.
    pub(crate) fn log(self) -> String {
        let Self { year, day, hour, minute, second, .. } = self;
        let month = self.month_name();
        format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
    }

    /// `Nov 22 03:21:05`, as the system's log has it (RFC 3164, section 4.1.2).
    pub(crate) fn syslog(self) -> String {
        let Self { day, hour, minute, second, .. } = self;
        let month = self.month_name();
        format!("{month} {day:>2} {hour:02}:{minute:02}:{second:02}")
    }

    fn month_name(self) -> &'static str {
        MONTHS.get(self.month.wrapping_sub(1)).copied().unwrap_or_default()
    }
}

/// `2026-11-22 03:21:05`, for people.
impl fmt::Display for Civil {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, .. } = self;
        write!(out, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
