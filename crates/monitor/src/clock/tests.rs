//! Tests of written times.

use super::*;

#[test]
fn times_are_written_as_rfc_3339() {
    assert_eq!(written(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(written(951_782_399_999), "2000-02-28T23:59:59.999Z");
    assert_eq!(written(951_782_400_000), "2000-02-29T00:00:00.000Z");
    assert_eq!(written(1_795_316_400_007), "2026-11-22T03:00:00.007Z");
    assert_eq!(written(-1), "1969-12-31T23:59:59.999Z");
}
