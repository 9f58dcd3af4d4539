use super::{DateTime, Value};

#[test]
fn dates_are_read_in_their_two_spellings_and_printed_in_one() {
    for text in ["20061122T12:30:59", "2006-11-22T12:30:59", "20061122T12:30:59Z"] {
        let date = DateTime::parse(text).unwrap();
        assert_eq!(date.to_string(), "20061122T12:30:59", "{text}");
    }
    assert!(DateTime::parse("20000229T00:00:60").is_ok(), "a leap day and a leap second");
}

#[test]
fn what_is_no_date_is_refused() {
    for text in [
        "",
        "T",
        "20061122",
        "20061122T",
        "20061122T123059",
        "20061122T12:30",
        "2-0-0-61122T12:30:59",
        "20061122T12:30:59ZZ",
        "20061122T24:00:00",
        "20061122T12:60:00",
        "20061122T12:30:61",
        "20061301T00:00:00",
        "20061100T00:00:00",
        "20060229T00:00:00",
        "19000229T00:00:00",
        "20061122t12:30:59",
        " 20061122T12:30:59",
        "2006112\u{0663}T12:30:59",
        "20061122T12:30:59+01",
    ] {
        assert!(DateTime::parse(text).is_err(), "{text}");
    }
}

#[test]
fn values_are_asked_for_what_they_hold() {
    let value = Value::record([("a", Value::Int(2)), ("b", Value::from("text"))]);
    assert_eq!(value.member("a").and_then(Value::as_int), Some(2));
    assert_eq!(value.member("a").and_then(Value::as_number), Some(2.0));
    assert_eq!(value.member("b").and_then(Value::as_str), Some("text"));
    assert_eq!(value.member("b").and_then(Value::as_number), None);
    assert_eq!(value.member("c"), None);
    assert_eq!(Value::Nil.member("a"), None);
    assert_eq!(Value::from(vec![Value::Nil]).as_array(), Some([Value::Nil].as_slice()));
}
