use nesssi_client::Value;

use super::parse;

#[track_caller]
fn check(word: &str, expected: impl Into<Value>) {
    assert_eq!(parse(&[word.to_owned()], false), Ok(vec![expected.into()]), "{word}");
}

#[test]
fn words_become_what_they_look_like() {
    check("3", 3);
    check("-3", -3);
    check("+3", 3);
    check("9223372036854775807", i64::MAX);
    check("3.5", 3.5);
    check("-.5", -0.5);
    check("3.", 3.0);
    check("1e3", 1000.0);
    check("1E-2", 0.01);
    check("true", true);
    check("false", false);
    for text in [
        "", "-", ".", "e5", "1e", "3 ", "0x10", "inf", "nan", "infinity", "True", "1_000", "M31",
        "1.2.3", "--x",
    ] {
        check(text, text);
    }
}

#[test]
fn s_makes_a_string_of_anything() {
    check("s:3", "3");
    check("s:true", "true");
    check("s:s:", "s:");
    check("s:", "");
}

#[test]
fn a_number_that_does_not_fit_is_told() {
    for word in ["9223372036854775808", "-99999999999999999999", "1e999"] {
        let error = parse(&[word.to_owned()], false).unwrap_err();
        assert!(error.contains(&format!("s:{word}")), "{error}");
    }
}

#[test]
fn json_arguments_are_json() {
    let words = ["[1, 2.5, null]".to_owned(), "\"3\"".to_owned(), "{\"a\": true}".to_owned()];
    let expected = vec![
        Value::Array(vec![Value::Int(1), Value::Double(2.5), Value::Nil]),
        Value::from("3"),
        Value::record([("a", Value::Bool(true))]),
    ];
    assert_eq!(parse(&words, true), Ok(expected));
    let error = parse(&["M31".to_owned()], true).unwrap_err();
    assert!(error.starts_with("M31: "), "{error}");
}
