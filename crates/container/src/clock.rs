//! The one clock of this room.

use nesssi_rpc::DateTime;

/// Milliseconds since 1970 UTC; 0 for a clock before that.
#[allow(clippy::disallowed_methods, reason = "the one clock function of this room")]
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `2026-01-31T23:59:59Z`.
pub(crate) fn iso(ms: u64) -> String {
    let [year, month, day, hour, minute, second] = parts(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The same moment as a value.
pub(crate) fn date_time(ms: u64) -> DateTime {
    let [year, rest @ ..] = parts(ms);
    let [month, day, hour, minute, second] =
        rest.map(|part| u8::try_from(part).unwrap_or_default());
    let year = u16::try_from(year).unwrap_or(9999).min(9999);
    DateTime { year, month, day, hour, minute, second }
}

/// Year, month, day, hour, minute and second of a moment in UTC.
fn parts(ms: u64) -> [u64; 6] {
    let seconds = ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    [year, month, day, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60]
}

/// The moment of a date in UTC: what [`date_time`] reverses. 0 for one before 1970.
pub(crate) fn ms_of(at: DateTime) -> u64 {
    let days = days_to(i64::from(at.year), i64::from(at.month), i64::from(at.day));
    let clock = (i64::from(at.hour) * 60 + i64::from(at.minute)) * 60 + i64::from(at.second);
    u64::try_from((days * 86_400 + clock) * 1000).unwrap_or(0)
}

/// Days from 1970-01-01 to a date (Howard Hinnant's `days_from_civil`).
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use nesssi_rpc::DateTime;

    use super::{date_time, iso, ms_of};

    #[test]
    fn moments_and_dates_are_each_other() {
        for ms in [0, 951_782_399_000, 951_782_400_000, 1_164_196_800_000, 253_402_300_799_000] {
            let date = date_time(ms);
            assert_eq!(ms_of(date), ms, "{date}");
            assert_eq!(DateTime::parse(&iso(ms)).unwrap(), date);
        }
        assert_eq!(date_time(253_402_300_800_000).year, 9999);
        assert_eq!(ms_of(DateTime::parse("19691231T23:59:59").unwrap()), 0);
    }

    #[test]
    fn dates_of_known_moments() {
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_782_399_999), "2000-02-28T23:59:59Z");
        assert_eq!(iso(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(iso(1_164_196_800_000), "2006-11-22T12:00:00Z");
        assert_eq!(iso(4_102_444_799_000), "2099-12-31T23:59:59Z");
    }
}
