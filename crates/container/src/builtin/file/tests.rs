use nesssi_rpc::Value;

use super::{Part, shown};

#[test]
fn parts_are_clamped_to_the_file() {
    let check = |offset: i64, length: i64, within: (u64, u64)| {
        let part = Part::of(&offset.into(), &length.into()).unwrap();
        assert_eq!(part.within(100), within, "{offset} {length}");
    };
    check(0, -1, (0, 100));
    check(0, 100, (0, 100));
    check(0, 99, (0, 99));
    check(0, 101, (0, 100));
    check(10, 20, (10, 20));
    check(99, -1, (99, 1));
    check(100, -1, (100, 0));
    check(101, 5, (100, 0));
    check(i64::MAX, i64::MAX, (100, 0));
    check(5, 0, (5, 0));
    for (offset, length) in [(-1, 0), (0, -2), (0, i64::MIN)] {
        assert!(Part::of(&offset.into(), &length.into()).is_err(), "{offset} {length}");
    }
    assert!(Part::of(&"0".into(), &1_i64.into()).is_err());
    assert!(Part::of(&Value::Double(0.0), &1_i64.into()).is_err());
}

#[test]
fn names_that_no_dialect_can_carry_are_base64() {
    assert_eq!(shown("a b<&>ü".as_bytes()), Value::from("a b<&>ü"));
    for odd in [&b"\xff"[..], b"a\x01", b"a\nb", b"a\rb", "\u{ffff}".as_bytes(), b"\x7f"] {
        assert_eq!(shown(odd), Value::Binary(odd.to_vec()));
    }
}
