use proptest::prelude::*;

use super::*;

fn limits(cpu_seconds: u64) -> Limits {
    Limits {
        cpu_seconds,
        wall_seconds: 2,
        jobs_at_once: 3,
        calls_per_minute: 4,
        call_wall_seconds: 5,
        call_cpu_seconds: 6,
        sandbox_bytes: 7,
        retention_seconds: 8,
        cpu_seconds_per_day: 9,
    }
}

/// What asking for `asked` of 3600 gives, or says.
fn check(asked: f64, expected: Result<u64, &str>) {
    let weak = LevelName::parse("weak").unwrap();
    let answer = admit_seconds(asked, &limits(3600), &weak).map_err(|error| error.to_string());
    assert_eq!(answer, expected.map_err(str::to_owned), "{asked}");
}

#[test]
fn admission() {
    check(0.1, Ok(1));
    check(1.0, Ok(1));
    check(1.000_001, Ok(2));
    check(3599.0, Ok(3599));
    check(3600.0, Ok(3600));
    check(3600.1, Err("asked for 3601 CPU seconds, the limit of level weak is 3600"));
    check(999_999.0, Err("asked for 999999 CPU seconds, the limit of level weak is 3600"));
    check(
        f64::MAX,
        Err("asked for 18446744073709551615 CPU seconds, the limit of level weak is 3600"),
    );
    check(f64::MIN_POSITIVE, Ok(1));
    check(0.0, Err("asked for 0 CPU seconds, which is no positive number"));
    check(-0.0, Err("asked for -0 CPU seconds, which is no positive number"));
    check(-5.0, Err("asked for -5 CPU seconds, which is no positive number"));
    check(f64::NAN, Err("asked for NaN CPU seconds, which is no positive number"));
    check(f64::INFINITY, Err("asked for inf CPU seconds, which is no positive number"));
}

#[test]
fn bytes_are_the_fields_in_order() {
    let bytes = limits(1).to_bytes();
    let nonzero: Vec<_> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    assert_eq!(nonzero, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(Limits::from_bytes(&bytes[..55]), None);
    assert_eq!(Limits::from_bytes(&[bytes.as_slice(), &[0]].concat()), None);
}

proptest! {
    #[test]
    fn bytes_round_trip(bytes in prop::array::uniform32(any::<u8>()), more in prop::array::uniform24(any::<u8>())) {
        let bytes = [bytes.as_slice(), more.as_slice()].concat();
        let limits = Limits::from_bytes(&bytes).unwrap();
        prop_assert_eq!(limits.to_bytes().to_vec(), bytes);
    }
}
