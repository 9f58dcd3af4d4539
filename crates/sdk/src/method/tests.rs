//! The parameters of a method, held against its types.

use super::*;

type Two = (i64, Option<String>);

fn two(values: Vec<Value>) -> Result<Two, String> {
    Two::from_values(values, &["count", "name"]).map_err(|fault| {
        assert_eq!(fault.code.number(), -32602);
        fault.text
    })
}

#[test]
fn parameters_are_taken_in_order_and_the_last_may_be_left_out() {
    assert_eq!(two(vec![3.into()]), Ok((3, None)));
    assert_eq!(two(vec![3.into(), "x".into()]), Ok((3, Some("x".to_owned()))));
    assert_eq!(two(vec![3.into(), Value::Nil]), Ok((3, None)));
}

#[test]
fn a_mistake_names_the_parameter() {
    assert_eq!(two(vec![]).unwrap_err(), "parameter 1 (count) is missing");
    assert_eq!(
        two(vec![3.into(), 4.into()]).unwrap_err(),
        "parameter 2 (name): string is expected, int was given"
    );
    assert_eq!(
        two(vec![Value::Nil; 3]).unwrap_err(),
        "at most 2 parameters are expected, 3 were given"
    );
    assert_eq!(<()>::from_values(vec![], &[]), Ok(()));
    assert!(<()>::from_values(vec![Value::Nil], &[]).is_err());
}

#[test]
fn every_number_of_parameters_has_its_signature() {
    fn say(_: &Request<'_>, (_, name): Two) -> Result<Option<String>, Failure> {
        Ok(name)
    }
    let method = Method::new("say", &["count", "name"], "", say).unwrap();
    assert_eq!(method.signatures, [vec!["string", "int"], vec!["string", "int", "string"]]);
    let wrong = Method::new("say", &["count"], "", say).unwrap_err();
    assert_eq!(wrong, "say has 2 parameters, and 1 names for them");
    assert!(Method::new("say", &["count", "count"], "", say).is_err());
}

#[test]
fn an_option_before_what_must_be_there_must_be_there_too() {
    assert_eq!(<(Option<i64>, i64)>::least(), 2);
    assert_eq!(<(i64, Option<i64>)>::least(), 1);
    assert_eq!(<()>::least(), 0);
}
