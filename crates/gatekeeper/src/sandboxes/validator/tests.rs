use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Condition, Validator};

const MODIFIED: i64 = 784_111_777;
const TIME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const TAG: &str = "\"7-64-2ebc98a1.5\"";

fn validator(age: i64) -> Validator {
    Validator::of(7, 100, MODIFIED, 5, MODIFIED + age)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

#[track_caller]
fn check(pairs: &[(&'static str, &str)], expected: Condition) {
    assert_eq!(validator(60).judge(&headers(pairs)), expected, "{pairs:?}");
}

#[test]
fn a_tag_is_weak_while_the_file_is_fresh() {
    assert_eq!(validator(-5).etag, format!("W/{TAG}"));
    assert_eq!(validator(1).etag, format!("W/{TAG}"));
    assert_eq!(validator(2).etag, TAG);
    assert_eq!(validator(2).last_modified, TIME);
}

#[test]
fn another_version_has_another_tag() {
    let tags: std::collections::HashSet<String> = [
        Validator::of(7, 100, MODIFIED, 5, i64::MAX),
        Validator::of(8, 100, MODIFIED, 5, i64::MAX),
        Validator::of(7, 101, MODIFIED, 5, i64::MAX),
        Validator::of(7, 100, MODIFIED + 1, 5, i64::MAX),
        Validator::of(7, 100, MODIFIED, 6, i64::MAX),
    ]
    .map(|validator| validator.etag)
    .into();
    assert_eq!(tags.len(), 5);
}

#[test]
fn conditions() {
    let weak = format!("W/{TAG}");
    let list = format!("\"a\", {TAG} ,\"b\"");
    check(&[], Condition::Send);
    check(&[("if-none-match", TAG)], Condition::NotModified);
    check(&[("if-none-match", &weak)], Condition::NotModified);
    check(&[("if-none-match", &list)], Condition::NotModified);
    check(&[("if-none-match", "\"x\""), ("if-none-match", TAG)], Condition::NotModified);
    check(&[("if-none-match", "*")], Condition::NotModified);
    check(&[("if-none-match", "\"x\"")], Condition::Send);
    check(&[("if-none-match", "\"x\""), ("if-modified-since", TIME)], Condition::Send);
    check(&[("if-modified-since", TIME)], Condition::NotModified);
    check(&[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], Condition::Send);
    check(&[("if-match", TAG)], Condition::Send);
    check(&[("if-match", &weak)], Condition::Failed);
    check(&[("if-match", "\"x\"")], Condition::Failed);
    check(&[("if-match", "*")], Condition::Send);
    check(&[("if-unmodified-since", TIME)], Condition::Send);
    check(&[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], Condition::Failed);
}

#[test]
fn a_range_needs_the_very_version() {
    let fresh = validator(0);
    let settled = validator(60);
    assert!(settled.allows_range(&headers(&[])));
    assert!(settled.allows_range(&headers(&[("if-range", TAG)])));
    assert!(settled.allows_range(&headers(&[("if-range", TIME)])));
    assert!(!settled.allows_range(&headers(&[("if-range", "\"other\"")])));
    assert!(!settled.allows_range(&headers(&[("if-range", "Sun, 06 Nov 1994 08:49:38 GMT")])));
    assert!(!fresh.allows_range(&headers(&[("if-range", &fresh.etag)])));
    assert!(!fresh.allows_range(&headers(&[("if-range", TIME)])));
    assert_eq!(fresh.judge(&headers(&[("if-match", TAG)])), Condition::Failed);
}
