use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Bytes, from_value, to_params, to_value};
use crate::{DateTime, Value, samples};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    yes: bool,
    small: u8,
    large: i64,
    real: f64,
    text: String,
    letter: char,
    when: DateTime,
    bytes: Bytes,
    list: Vec<u32>,
    pair: (i8, String),
    map: BTreeMap<String, f32>,
    numbered: BTreeMap<u16, bool>,
    none: Option<i32>,
    some: Option<String>,
    kinds: Vec<Kind>,
    whole: Value,
    unit: (),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Unit,
    New(i32),
    Pair(i32, String),
    Named { a: i32 },
}

fn everything() -> Everything {
    Everything {
        yes: true,
        small: 255,
        large: i64::MIN,
        real: 0.1,
        text: "M31 \u{1F600}".to_owned(),
        letter: '\u{e9}',
        when: DateTime::parse("20061122T12:00:00").unwrap(),
        bytes: Bytes(vec![0, 255]),
        list: vec![1, 2, u32::MAX],
        pair: (-1, "b".to_owned()),
        map: [("a".to_owned(), 2.5)].into(),
        numbered: [(7, true)].into(),
        none: None,
        some: Some("x".to_owned()),
        kinds: vec![Kind::Unit, Kind::New(1), Kind::Pair(2, "c".to_owned()), Kind::Named { a: 3 }],
        whole: Value::Array(vec![
            Value::DateTime(DateTime::parse("19991231T23:59:60").unwrap()),
            Value::Binary(vec![1]),
            Value::record([("n", Value::Nil)]),
        ]),
        unit: (),
    }
}

#[test]
fn every_shape_of_rust_comes_back() {
    let value = to_value(&everything()).unwrap();
    assert_eq!(value.member("when").unwrap().type_name(), "dateTime.iso8601");
    assert_eq!(value.member("bytes"), Some(&Value::Binary(vec![0, 255])));
    assert_eq!(
        value.member("kinds"),
        Some(&Value::Array(vec![
            Value::from("unit"),
            Value::record([("new", Value::Int(1))]),
            Value::record([("pair", Value::Array(vec![Value::Int(2), Value::from("c")]))]),
            Value::record([("named", Value::record([("a", Value::Int(3))]))]),
        ]))
    );
    assert_eq!(value.member("whole"), Some(&everything().whole));
    assert_eq!(from_value::<Everything>(value), Ok(everything()));
}

proptest! {
    #[test]
    fn a_value_is_itself(value in samples::any_value()) {
        prop_assert_eq!(to_value(&value), Ok(value.clone()));
        prop_assert_eq!(from_value::<Value>(value.clone()), Ok(value));
    }
}

#[test]
fn what_is_read_leniently() {
    assert_eq!(from_value(Value::Int(2)), Ok(2.0_f64));
    assert_eq!(from_value(Value::Binary(vec![1, 2])), Ok(vec![1_u8, 2]));
    assert_eq!(from_value(Value::from("ab")), Ok(Bytes(b"ab".to_vec())));
    assert_eq!(from_value(Value::Nil), Ok(()));
    let when = DateTime::parse("20061122T12:00:00").unwrap();
    assert_eq!(from_value(Value::DateTime(when)), Ok("2006-11-22T12:00:00".to_owned()));
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "it is never made")]
    struct Outer {
        files: Vec<Inner>,
    }
    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "it is never made")]
    struct Inner {
        size: u32,
    }
    let files = |size: Value| {
        let good = Value::record([("size", Value::Int(1))]);
        let files = Value::Array(vec![good, Value::record([("size", size)])]);
        from_value::<Outer>(Value::record([("files", files)])).unwrap_err().to_string()
    };
    let wrong = files(Value::from("\u{1b}secret"));
    assert!(wrong.starts_with("files[1].size: invalid type: string"), "{wrong}");
    let negative = files(Value::Int(-1));
    assert!(negative.starts_with("files[1].size: invalid value: integer `-1`"), "{negative}");
    let text = |error: super::TypedError| error.to_string();
    assert_eq!(
        text(from_value::<(i32,)>(Value::Array(vec![Value::Int(1), Value::Int(2)])).unwrap_err()),
        "1 items more than are wanted"
    );
    assert!(text(from_value::<DateTime>(Value::from("x")).unwrap_err()).contains("a dateTime"));
    assert!(text(from_value::<Kind>(Value::Int(1)).unwrap_err()).contains("variant"));
    assert!(text(from_value::<Kind>(Value::from("new")).unwrap_err()).contains("has content"));
}

#[test]
fn what_no_value_can_be_is_refused() {
    assert_eq!(to_value(&i64::MAX.unsigned_abs()), Ok(Value::Int(i64::MAX)));
    let text = |error: super::TypedError| error.to_string();
    assert_eq!(
        text(to_value(&vec![(i64::MAX.unsigned_abs() + 1,)]).unwrap_err()),
        "[0][0]: an integer beyond 64 bits"
    );
    assert_eq!(
        text(to_value(&BTreeMap::from([("a", f64::NAN)])).unwrap_err()),
        "a: a double is finite on the wire"
    );
    assert!(text(to_value(&BTreeMap::from([((1, 2), 3)])).unwrap_err()).contains("type array"));
}

#[test]
fn parameters_are_a_tuple_nothing_or_one() {
    assert_eq!(to_params(&(1, "a")), Ok(vec![Value::Int(1), Value::from("a")]));
    assert_eq!(to_params(&()), Ok(vec![]));
    assert_eq!(to_params("a"), Ok(vec![Value::from("a")]));
    assert_eq!(to_params(&(vec![1],)), Ok(vec![Value::Array(vec![Value::Int(1)])]));
}
