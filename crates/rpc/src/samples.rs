//! Values for tests that try many.

use proptest::prelude::*;

use crate::{DateTime, Value, chars};

/// Text of characters that XML carries, the awkward ones often.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        prop::sample::select(vec![
            '\r', '\n', '\t', ' ', '<', '>', '&', ']', '"', '\'', ';', '#', '\u{85}', '\u{FFFD}'
        ]),
        any::<char>().prop_filter("XML forbids it", |c| chars::is_allowed(*c)),
    ];
    prop::collection::vec(character, 0..24).prop_map(String::from_iter)
}

fn any_date() -> impl Strategy<Value = DateTime> {
    (0u16..10_000, 1u8..13, 1u8..29, 0u8..24, 0u8..60, 0u8..61).prop_map(
        |(year, month, day, hour, minute, second)| DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        },
    )
}

/// A value of any type, nested up to five levels.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i32>().prop_map(|number| Value::Int(i64::from(number))),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Double),
        any_text().prop_map(Value::String),
        any_date().prop_map(Value::DateTime),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Binary),
    ];
    scalar.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(any_name(), inner, 0..6).prop_map(Value::Struct),
        ]
    })
}

/// A member's name, now and then the one that marks tagged objects.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![9 => any_text(), 1 => Just("$nesssi".to_owned()), 1 => Just("base64".to_owned())]
}
