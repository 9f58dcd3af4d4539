use super::Civil;

#[track_caller]
fn check(unix: i64, plain: &str, http: &str) {
    let civil = Civil::of(unix);
    assert_eq!(civil.to_string(), plain);
    assert_eq!(civil.http(), http);
}

#[test]
fn known_moments() {
    check(0, "1970-01-01 00:00:00", "Thu, 01 Jan 1970 00:00:00 GMT");
    check(784_111_777, "1994-11-06 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT");
    check(951_782_400, "2000-02-29 00:00:00", "Tue, 29 Feb 2000 00:00:00 GMT");
    check(1_709_251_199, "2024-02-29 23:59:59", "Thu, 29 Feb 2024 23:59:59 GMT");
    check(1_709_251_200, "2024-03-01 00:00:00", "Fri, 01 Mar 2024 00:00:00 GMT");
    check(4_107_542_399, "2100-02-28 23:59:59", "Sun, 28 Feb 2100 23:59:59 GMT");
    check(4_107_542_400, "2100-03-01 00:00:00", "Mon, 01 Mar 2100 00:00:00 GMT");
}

#[test]
fn what_has_no_four_digit_year_is_moved_to_the_nearer_end() {
    check(-1, "1970-01-01 00:00:00", "Thu, 01 Jan 1970 00:00:00 GMT");
    check(253_402_300_799, "9999-12-31 23:59:59", "Fri, 31 Dec 9999 23:59:59 GMT");
    check(253_402_300_800, "9999-12-31 23:59:59", "Fri, 31 Dec 9999 23:59:59 GMT");
    check(i64::MAX, "9999-12-31 23:59:59", "Fri, 31 Dec 9999 23:59:59 GMT");
}

#[test]
fn a_log_has_its_own_form() {
    assert_eq!(Civil::of(784_111_777).log(), "06/Nov/1994:08:49:37 +0000");
    assert_eq!(Civil::of(784_111_777).syslog(), "Nov  6 08:49:37");
    assert_eq!(Civil::of(784_975_777).syslog(), "Nov 16 08:49:37");
}
