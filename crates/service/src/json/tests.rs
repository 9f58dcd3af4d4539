use nesssi_rpc::{DateTime, Value};
use proptest::prelude::*;

use super::{JsonError, VALUE_DEPTH_MAX, from_str, to_string};

/// Any value that is legal, with members named `$nesssi` among the structs.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e300_f64..1e300).prop_map(Value::Double),
        "[ -~äπ𝄞\n\t]{0,12}".prop_map(Value::String),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(Value::Binary),
        (0_u16..=9999, 1_u8..=12, 1_u8..=28, 0_u8..24, 0_u8..60, 0_u8..=60).prop_map(
            |(year, month, day, hour, minute, second)| Value::DateTime(DateTime {
                year,
                month,
                day,
                hour,
                minute,
                second
            })
        ),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{1,3}|[$]nesssi|members|base64", inner, 0..5)
                .prop_map(Value::Struct),
        ]
    })
}

fn nested(levels: usize, tag: &str) -> Value {
    (0..levels).fold(Value::Int(1), |inner, _| Value::record([(tag, inner)]))
}

proptest! {
    #[test]
    fn every_value_comes_back_as_it_was(value in any_value()) {
        let text = to_string(&value).unwrap();
        prop_assert_eq!(from_str(&text).unwrap(), value);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}\":,$a-z0-9.eE+-]{0,60}") {
        let _either = from_str(&text);
    }
}

#[test]
fn tagged_objects_read_in_any_order_of_members() {
    let check = |text: &str, value: Value| assert_eq!(from_str(text), Ok(value), "{text}");
    check(r#"{"$nesssi":"binary","base64":"AAH/"}"#, Value::Binary(vec![0, 1, 255]));
    check(r#"{"base64":"AAH/","$nesssi":"binary"}"#, Value::Binary(vec![0, 1, 255]));
    check(
        r#"{"$nesssi":"datetime","iso":"20061122T12:00:00"}"#,
        Value::DateTime(DateTime::parse("20061122T12:00:00").unwrap()),
    );
    check(
        r#"{"members":{"$nesssi":"binary","base64":"AAH/"},"$nesssi":"struct"}"#,
        Value::record([("$nesssi", "binary".into()), ("base64", "AAH/".into())]),
    );
}

#[test]
fn wrong_tagged_objects_are_refused() {
    for text in [
        r#"{"$nesssi":"binary"}"#,
        r#"{"$nesssi":"binary","base64":"@"}"#,
        r#"{"$nesssi":"binary","base64":"","more":1}"#,
        r#"{"$nesssi":"datetime","iso":"yesterday"}"#,
        r#"{"$nesssi":"other","x":1}"#,
        r#"{"$nesssi":7,"base64":""}"#,
        r#"[{"a":{"$nesssi":null}}]"#,
    ] {
        assert_eq!(from_str(text), Err(JsonError::Tag), "{text}");
    }
}

#[test]
fn depth_one_below_at_and_above_the_bound() {
    for levels in [VALUE_DEPTH_MAX - 1, VALUE_DEPTH_MAX] {
        let value = nested(levels, "a");
        assert_eq!(from_str(&to_string(&value).unwrap()), Ok(value));
    }
    assert_eq!(to_string(&nested(VALUE_DEPTH_MAX + 1, "a")), Err(JsonError::Depth));
    for levels in [VALUE_DEPTH_MAX + 1, 127, 128, 200_000] {
        let text = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(from_str(&text), Err(JsonError::Depth), "{levels} levels");
    }
}

#[test]
fn characters_that_xml_cannot_carry_are_refused() {
    for text in [r#""\u0000""#, r#""\u001b[31m""#, r#"{"\u0001":1}"#, r#""\uffff""#] {
        assert_eq!(from_str(text), Err(JsonError::Text), "{text}");
    }
    assert_eq!(from_str(r#""\t\n\r""#), Ok("\t\n\r".into()));
}

#[test]
fn numbers_keep_their_kind_and_range() {
    assert_eq!(from_str("3"), Ok(Value::Int(3)));
    assert_eq!(from_str("3.0"), Ok(Value::Double(3.0)));
    assert_eq!(to_string(&Value::Double(3.0)).unwrap(), "3.0");
    assert_eq!(from_str("-9223372036854775808"), Ok(Value::Int(i64::MIN)));
    assert!(matches!(from_str("9223372036854775808"), Err(JsonError::Syntax(_))));
    assert!(matches!(from_str("1e999"), Err(JsonError::Syntax(_))));
    assert!(matches!(from_str("NaN"), Err(JsonError::Syntax(_))));
}
