use nesssi_client::{DateTime, Value};

use super::{read, to_json};

#[test]
fn every_value_comes_back() {
    let value = Value::Array(vec![
        Value::Nil,
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::Double(2.0),
        Value::from("text \u{1b}"),
        Value::Binary(vec![0, 255]),
        Value::DateTime(DateTime::parse("20061122T12:00:00").unwrap()),
        Value::record([("$nesssi", Value::from("binary")), ("base64", Value::from("AA=="))]),
        Value::record([("a", Value::Array(vec![]))]),
    ]);
    let text = to_json(&value).to_string();
    assert_eq!(read(&text), Ok(value), "{text}");
    assert!(text.contains("\"20061122T12:00:00\""), "dates are written as the server does: {text}");
}

#[test]
fn wrong_tags_and_numbers_are_told() {
    for (text, what) in [
        ("{\"$nesssi\": \"binary\"}", "without base64"),
        ("{\"$nesssi\": \"binary\", \"base64\": \"!\"}", "base64 is wrong"),
        ("{\"$nesssi\": \"datetime\", \"iso\": \"today\"}", "not a date"),
        ("{\"$nesssi\": 3}", "must be"),
        ("18446744073709551615", "64 bits"),
        ("1e999", "out of range"),
        ("[1", "EOF"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}
