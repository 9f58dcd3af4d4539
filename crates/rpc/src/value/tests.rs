use super::{DateTime, Value};

#[test]
fn dates_are_read_in_their_spellings_and_printed_in_one() {
    for text in [
        "20061122T12:30:59",
        "2006-11-22T12:30:59",
        "20061122T12:30:59Z",
        "20061122T123059",
        "2006-11-22T12:30:59.999Z",
        "20061122T12:30:59,1",
        "2006-11-22T13:30:59.000+01:00",
        "20061122T12:30:59+0000",
        "20061122T08:30:59-04",
        "2006-11-23T00:00:59+11:30",
        "20061121T22:30:59-1400",
    ] {
        let date = DateTime::parse(text).unwrap();
        assert_eq!(date.to_string(), "20061122T12:30:59", "{text}");
    }
    assert!(DateTime::parse("20000229T00:00:60").is_ok(), "a leap day and a leap second");
}

#[test]
fn offsets_go_over_the_ends_of_days_months_and_years() {
    for (text, utc) in [
        ("20000301T00:30:00+01:00", "20000229T23:30:00"),
        ("20010301T00:30:00+01:00", "20010228T23:30:00"),
        ("20060101T00:00:60+00:01", "20051231T23:59:60"),
        ("20051231T23:59:00-00:01", "20060101T00:00:00"),
        ("20000229T23:00:00-01", "20000301T00:00:00"),
        ("20061130T23:00:00-14:00", "20061201T13:00:00"),
    ] {
        assert_eq!(DateTime::parse(text).unwrap().to_string(), utc, "{text}");
    }
    assert!(DateTime::parse("00000101T00:00:00+00:01").is_err());
    assert!(DateTime::parse("99991231T23:59:00-00:01").is_err());
}

#[test]
fn what_is_no_date_is_refused() {
    for text in [
        "",
        "T",
        "20061122",
        "20061122T",
        "20061122T12:30",
        "20061122T1230",
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
        "20061122T12:30:59+1",
        "20061122T12:30:59+01:0",
        "20061122T12:30:59+14:01",
        "20061122T12:30:59+01:60",
        "20061122T12:30:59+01:00Z",
        "20061122T12:30:59.",
        "20061122T12:30:59.1.2",
        "20061122T12:30:59.x",
        "20061122T12:30:59Z.5",
        "20061122T-2:30:59",
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

#[test]
fn what_a_value_holds_is_all_that_is_in_it() {
    let own = size_of::<Value>();
    assert_eq!(Value::Int(1).bytes_held(), own);
    assert_eq!(Value::from("four").bytes_held(), own + 4);
    assert_eq!(Value::Array(vec![Value::Binary(vec![0; 9]), Value::Nil]).bytes_held(), 3 * own + 9);
    let record = Value::record([("ab", Value::Nil)]);
    assert_eq!(record.bytes_held(), 2 * own + size_of::<String>() + 2);
}
