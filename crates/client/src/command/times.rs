//! Times as a person writes and reads them, all in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use nesssi_client::DateTime;

#[cfg(test)]
mod tests;

/// The time that `--since` says: itself, or how long ago.
///
/// The error is for the one who typed it.
pub(super) fn since(text: &str) -> Result<DateTime, String> {
    #[allow(clippy::disallowed_methods, reason = "what was an hour ago depends on what time it is")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    before(text, i64::try_from(now).unwrap_or(i64::MAX))
}

fn before(text: &str, now_unix: i64) -> Result<DateTime, String> {
    let wrong = || {
        "a time in UTC (2026-03-01, 2026-03-01T12:00:00Z), or how long ago (90s, 20m, 2h, 3d, 1w)"
            .to_owned()
    };
    let is_ago = text.split_at_checked(text.len().saturating_sub(1));
    if let Some((number, unit)) = is_ago
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && let Some(seconds) = unit_seconds(unit)
    {
        let ago = number.parse::<i64>().ok().and_then(|number| number.checked_mul(seconds));
        let ago = ago.filter(|ago| *ago <= now_unix).ok_or_else(wrong)?;
        return DateTime::parse(&utc(now_unix - ago)).map_err(|_| wrong());
    }
    let is_day = text.len() == 10 && !text.contains('T');
    let whole = if is_day { format!("{text}T00:00:00Z") } else { text.to_owned() };
    DateTime::parse(&whole).map_err(|_| wrong())
}

fn unit_seconds(unit: &str) -> Option<i64> {
    Some(match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    })
}

/// Unix seconds as `2006-11-22T12:00:00Z`.
///
/// The calendar is counted in years that begin in March, so that the leap day is their last.
pub(super) fn utc(unix_seconds: i64) -> String {
    const DAYS_TO_0000_03_01: i64 = 719_468;
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let (days, seconds) = (unix_seconds.div_euclid(86_400), unix_seconds.rem_euclid(86_400));
    let days = days.saturating_add(DAYS_TO_0000_03_01);
    let (era, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
