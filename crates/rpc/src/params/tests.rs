use std::collections::BTreeMap;

use proptest::prelude::*;

use super::check_params;
use crate::samples::any_value;
use crate::{DateTime, Value};

const NAMES: [&str; 2] = ["n1", "n2"];

fn checked(signatures: &[&[&str]], params: &[Value]) -> String {
    match check_params("s.add", &NAMES, signatures, params) {
        Ok(()) => "fits".to_owned(),
        Err(fault) => {
            assert_eq!(fault.code.number(), -32602);
            fault.text
        }
    }
}

/// One value of each type, by the words for it.
fn one_of_each() -> [(&'static [&'static str], Value); 9] {
    let date = DateTime::parse("20061122T12:30:59").unwrap();
    [
        (&["nil"], Value::Nil),
        (&["boolean", "bool"], Value::Bool(true)),
        (&["int", "i4", "i8", "ex:i8"], Value::Int(7)),
        (&["double"], Value::Double(1.5)),
        (&["string"], "text".into()),
        (&["dateTime.iso8601", "dateTime"], Value::DateTime(date)),
        (&["base64"], Value::Binary(vec![0])),
        (&["array"], Value::Array(vec![])),
        (&["struct"], Value::Struct(BTreeMap::new())),
    ]
}

#[test]
fn a_value_fits_the_words_of_its_type_and_no_other() {
    for (words, _) in one_of_each() {
        for word in words {
            for (own, value) in one_of_each() {
                let fits = own == words || (*word == "double" && own[0] == "int");
                let told = checked(&[&["int", word]], std::slice::from_ref(&value));
                assert_eq!(told == "fits", fits, "{value:?} as {word}: {told}");
            }
        }
    }
}

#[test]
fn what_is_wrong_is_named_with_what_is_asked_and_what_was_given() {
    let add: &[&[&str]] = &[&["int", "int", "int"]];
    let int = Value::Int(3);
    assert_eq!(checked(add, &[int.clone(), int.clone()]), "fits");
    assert_eq!(
        checked(add, &[int.clone(), "5".into()]),
        "parameter 2 (n2) of s.add must be int; string was given"
    );
    assert_eq!(
        checked(add, std::slice::from_ref(&int)),
        "s.add takes 2 parameters (n1, n2), 1 was given"
    );
    assert_eq!(checked(&[&["int", "int"]], &[]), "s.add takes 1 parameter, none was given");
    assert_eq!(
        checked(&[&["int"]], &[int.clone(), int]),
        "s.add takes no parameters, 2 were given"
    );
}

#[test]
fn any_one_of_several_signatures_will_do_and_the_nearest_is_told() {
    let forms: &[&[&str]] =
        &[&["int"], &["int", "string"], &["int", "string", "int"], &["int", "array", "double"]];
    for params in [
        &[][..],
        &["a".into()],
        &["a".into(), Value::Int(1)],
        &[Value::Array(vec![]), Value::Int(1)],
        &[Value::Array(vec![]), Value::Double(1.0)],
    ] {
        assert_eq!(checked(forms, params), "fits", "{params:?}");
    }
    let told = checked(forms, &["a".into(), Value::Double(1.0)]);
    assert_eq!(told, "parameter 2 (n2) of s.add must be int; double was given");
    let told = checked(forms, &[Value::Nil, Value::Nil]);
    assert_eq!(told, "parameter 1 (n1) of s.add must be array or string; nil was given");
    let three = vec![Value::Nil; 3];
    assert_eq!(checked(forms, &three), "s.add takes 0 or 1 or 2 parameters (n1, n2), 3 were given");
}

#[test]
fn an_i4_has_32_bits_and_an_int_has_64() {
    for (number, fits) in [
        (i64::from(i32::MAX), true),
        (i64::from(i32::MIN), true),
        (i64::from(i32::MAX) + 1, false),
        (i64::from(i32::MIN) - 1, false),
        (i64::MAX, false),
    ] {
        let told = checked(&[&["int", "i4"]], &[Value::Int(number)]);
        assert_eq!(told == "fits", fits, "{told}");
        assert_eq!(checked(&[&["int", "int"]], &[Value::Int(number)]), "fits");
    }
    let told = checked(&[&["int", "i4"]], &[Value::Int(i64::MAX)]);
    assert_eq!(told, "parameter 1 (n1) of s.add must be i4; int of more than 32 bits was given");
}

#[test]
fn without_a_declaration_everything_fits() {
    for (_, value) in one_of_each() {
        assert_eq!(checked(&[], &[value.clone(), value.clone(), value.clone()]), "fits");
        assert_eq!(checked(&[&["int", "any"]], std::slice::from_ref(&value)), "fits");
        assert_eq!(checked(&[&["int", "table.row"]], &[value]), "fits");
    }
    // A signature without even a result is one without parameters.
    assert_eq!(checked(&[&[]], &[]), "fits");
}

fn any_word() -> impl Strategy<Value = String> {
    let words = [
        "nil",
        "boolean",
        "int",
        "i4",
        "i8",
        "double",
        "string",
        "dateTime.iso8601",
        "base64",
        "array",
        "struct",
        "any",
    ];
    prop_oneof![proptest::sample::select(words.to_vec()).prop_map(String::from), "[a-z.]{0,9}"]
}

proptest! {
    #[test]
    fn a_call_fits_if_and_only_if_one_signature_takes_each_parameter(
        signatures in proptest::collection::vec(proptest::collection::vec(any_word(), 0..4), 0..4),
        params in proptest::collection::vec(any_value(), 0..4),
    ) {
        let one = |word: &String, value: &Value| {
            let told = [vec!["int".to_owned(), word.clone()]];
            check_params("m", &NAMES, &told, std::slice::from_ref(value)).is_ok()
        };
        let takes = |signature: &Vec<String>| {
            let types = signature.get(1..).unwrap_or_default();
            types.len() == params.len() && types.iter().zip(&params).all(|(word, value)| one(word, value))
        };
        let expected = signatures.is_empty() || signatures.iter().any(takes);
        let checked = check_params("m", &NAMES, &signatures, &params);
        prop_assert_eq!(checked.is_ok(), expected);
        if let Err(fault) = checked {
            prop_assert_eq!(fault.code.number(), -32602);
            prop_assert!(fault.text.contains('m') && !fault.text.contains('\n'));
        }
    }
}
