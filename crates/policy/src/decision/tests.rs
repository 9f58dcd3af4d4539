use super::*;

fn limits(cpu_seconds: u64, per_day: u64) -> Limits {
    Limits {
        cpu_seconds,
        wall_seconds: 60,
        jobs_at_once: 1,
        calls_per_minute: 1,
        call_wall_seconds: 1,
        call_cpu_seconds: 1,
        sandbox_bytes: 1,
        retention_seconds: 1,
        cpu_seconds_per_day: per_day,
    }
}

fn used(cpu_usec: u64, reserved_seconds: u64) -> Used {
    Used { cpu_usec, reserved_seconds }
}

/// 2026-11-22T12:00:00Z.
const NOON: i64 = 1_795_348_800;

fn job(seconds: f64, limits: &Limits, own: Used, anonymous: Option<Used>) -> String {
    let level = LevelName::parse("weak").unwrap();
    let terms = Terms { level: &level, limits, reads_only: false };
    let today = Today { own, anonymous, now_unix: NOON };
    match admit_job(seconds, &terms, &today) {
        Ok(seconds) => seconds.to_string(),
        Err(refused) => refused.to_string(),
    }
}

#[test]
fn a_job_below_at_and_above_what_is_left_of_the_day() {
    let limits = limits(100, 30);
    let of_own = |own| job(10.0, &limits, own, None);
    assert_eq!(of_own(used(0, 0)), "10");
    assert_eq!(of_own(used(15_000_000, 5)), "10");
    let over = "fault 413: asked for 10 CPU seconds, level weak allows 30 a day: 9 are left until \
                2026-11-23T00:00:00Z";
    // A begun second is used.
    assert_eq!(of_own(used(15_000_001, 5)), over);
    assert_eq!(of_own(used(15_000_000, 6)), over);
    let none = of_own(used(u64::MAX, u64::MAX));
    assert!(none.contains(": 0 are left"), "{none}");
}

#[test]
fn all_anonymous_callers_have_a_total() {
    let limits = limits(100, 30);
    let most = 30 * ANONYMOUS_TOTAL_TIMES;
    assert_eq!(job(10.0, &limits, used(0, 0), Some(used(0, most - 10))), "10");
    assert_eq!(
        job(10.0, &limits, used(0, 0), Some(used(0, most - 9))),
        "fault 413: asked for 10 CPU seconds, level weak allows all its anonymous callers together \
         240 a day: 9 are left until 2026-11-23T00:00:00Z"
    );
}

#[test]
fn without_a_limit_of_the_day_nothing_counts() {
    let limits = limits(100, u64::MAX);
    let all = used(u64::MAX, u64::MAX);
    assert_eq!(job(100.0, &limits, all, Some(all)), "100");
    let level = LevelName::parse("weak").unwrap();
    let today = Today { own: all, anonymous: Some(all), now_unix: NOON };
    assert_eq!(admit_call(&level, &limits, &today), Ok(()));
}

#[test]
fn the_level_s_own_limit_comes_first() {
    let text = job(101.0, &limits(100, 30), used(0, 0), None);
    assert_eq!(text, "fault 413: asked for 101 CPU seconds, the limit of level weak is 100");
    assert!(job(f64::NAN, &limits(100, 30), used(0, 0), None).starts_with("fault -32602: "));
}

#[test]
fn calls_are_refused_when_all_is_used_and_not_when_it_is_reserved() {
    let level = LevelName::parse("weak").unwrap();
    let check = |own: Used, expected: &str| {
        let today = Today { own, anonymous: None, now_unix: NOON };
        let told = admit_call(&level, &limits(100, 30), &today);
        assert_eq!(told.err().map(|refused| refused.to_string()).unwrap_or_default(), expected);
    };
    check(used(29_999_999, 1000), "");
    let text = "fault 429: level weak allows 30 CPU seconds a day, and none is left until \
                2026-11-23T00:00:00Z";
    check(used(30_000_000, 0), text);
}

#[test]
fn a_limited_proxy_starts_nothing() {
    let level = LevelName::parse("weak").unwrap();
    let limits = limits(100, 30);
    let terms = Terms { level: &level, limits: &limits, reads_only: true };
    let refused = admit_job(1.0, &terms, &Today::default()).unwrap_err();
    assert_eq!((refused.code, refused.text.as_str()), (403, READS_ONLY));
}

#[test]
fn midnights() {
    assert_eq!(next_midnight(0), "1970-01-02T00:00:00Z");
    assert_eq!(next_midnight(-5), "1970-01-02T00:00:00Z");
    assert_eq!(next_midnight(951_782_399), "2000-02-29T00:00:00Z");
    assert_eq!(next_midnight(951_782_400), "2000-03-01T00:00:00Z");
    assert_eq!(next_midnight(4_102_444_799), "2100-01-01T00:00:00Z");
}
