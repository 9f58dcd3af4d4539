//! Values for tests that try many.

use proptest::prelude::*;

use crate::{DateTime, Encoding, Value, chars};

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

/// The document `xml`, which declares UTF-8, in each encoding that is read, with what a content type
/// has to say of it. What ISO-8859-1 lacks is a reference there.
pub(crate) fn in_each_encoding(xml: &[u8]) -> Vec<(Vec<u8>, Option<Encoding>)> {
    let xml = std::str::from_utf8(xml).unwrap();
    let declared = |name: &str| xml.replacen("UTF-8", name, 1);
    assert_ne!(declared("UTF-16"), xml, "no declaration");
    let wide = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{FEFF}{}", declared("UTF-16")).encode_utf16().flat_map(bytes).collect()
    };
    let narrow = |text: String| -> Vec<u8> {
        text.chars()
            .flat_map(|character| match u8::try_from(u32::from(character)) {
                Ok(byte) => vec![byte],
                Err(_) => format!("&#x{:X};", u32::from(character)).into_bytes(),
            })
            .collect()
    };
    let undeclared = xml.replacen(" encoding=\"UTF-8\"", "", 1);
    assert_ne!(undeclared, xml, "no declaration");
    vec![
        (xml.as_bytes().to_vec(), None),
        (format!("\u{FEFF}{xml}").into_bytes(), Some(Encoding::Utf8)),
        (wide(u16::to_le_bytes), None),
        (wide(u16::to_be_bytes), Some(Encoding::Utf16)),
        (narrow(declared("ISO-8859-1")), None),
        (narrow(undeclared), Some(Encoding::Latin1)),
    ]
}
