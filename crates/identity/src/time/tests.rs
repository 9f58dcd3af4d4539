use super::*;

#[test]
fn known_days() {
    let check = |seconds: i64, text: &str| assert_eq!(rfc3339(seconds), text);
    check(0, "1970-01-01T00:00:00Z");
    check(-1, "1969-12-31T23:59:59Z");
    check(951_782_400, "2000-02-29T00:00:00Z");
    check(951_868_799, "2000-02-29T23:59:59Z");
    check(4_107_542_400, "2100-03-01T00:00:00Z");
    check(1_164_153_600, "2006-11-22T00:00:00Z");
    check(253_402_300_799, "9999-12-31T23:59:59Z");
}
