use proptest::prelude::*;

use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const NONE: [&str; 0] = [];

fn named(given: &[(&str, i64)]) -> NamedCall {
    let params = given.iter().map(|(name, number)| ((*name).to_owned(), Value::Int(*number)));
    NamedCall { method: MethodName::parse("s.m").unwrap(), params: params.collect() }
}

/// The parameters in order, or the fault's text.
fn order(given: &[(&str, i64)], names: &[&str], counts: &[usize]) -> Result<Vec<Value>, String> {
    let signatures: Vec<Vec<&str>> = counts.iter().map(|count| vec!["any"; count + 1]).collect();
    match named(given).in_order(names, &signatures) {
        Ok(call) => Ok(call.params),
        Err(fault) => Err(fault.to_string()),
    }
}

fn ints(numbers: &[i64]) -> Result<Vec<Value>, String> {
    Ok(numbers.iter().copied().map(Value::Int).collect())
}

#[test]
fn names_are_places() {
    assert_eq!(order(&[("c", 3), ("a", 1), ("b", 2)], &NAMES, &[3]), ints(&[1, 2, 3]));
    assert_eq!(order(&[("b", 2), ("a", 1)], &NAMES, &[2, 3]), ints(&[1, 2]));
    assert_eq!(order(&[], &NAMES, &[0, 3]), ints(&[]));
    // Without signatures, any number of the first ones.
    for count in 0..=3 {
        let given = &[("a", 1), ("b", 2), ("c", 3)][..count];
        assert_eq!(order(given, &NAMES, &[]), ints(&[1, 2, 3][..count]));
    }
    // None need no names.
    assert_eq!(order(&[], &NONE, &[]), ints(&[]));
    assert_eq!(order(&[], &NONE, &[2]), ints(&[]));
}

#[test]
fn what_is_unknown_or_missing_is_named() {
    let refused =
        |given: &[(&str, i64)], counts: &[usize]| order(given, &NAMES, counts).unwrap_err();
    assert_eq!(
        refused(&[("a", 1), ("d", 2)], &[3]),
        "fault -32602: s.m has no parameter called `d`, but a, b, c"
    );
    assert_eq!(
        refused(&[("a", 1), ("c", 3)], &[3]),
        "fault -32602: parameter 2 (b) of s.m is missing"
    );
    assert_eq!(
        refused(&[("a", 1), ("b", 2)], &[1, 3]),
        "fault -32602: parameter 3 (c) of s.m is missing"
    );
    assert_eq!(refused(&[], &[1, 3]), "fault -32602: parameter 1 (a) of s.m is missing");
    assert_eq!(refused(&[("b", 2)], &[]), "fault -32602: parameter 1 (a) of s.m is missing");
    assert_eq!(
        order(&[("a", 1)], &NONE, &[0]).unwrap_err(),
        "fault -32602: s.m has no parameter called `a`, but none"
    );
    for counts in [&[][..], &[2]] {
        assert_eq!(
            order(&[("a", 1)], &NONE, counts).unwrap_err(),
            "fault -32602: the names of the parameters of s.m are not known here: send an array"
        );
    }
    // Names that cannot be those of these signatures.
    assert!(order(&[("a", 1)], &["a"], &[2]).unwrap_err().contains("not known"));
}

#[test]
fn a_client_tag_goes_behind_the_parameters() {
    let tag = || Value::record([(CLIENT_TAG_MEMBER, Value::Int(9))]);
    let given = [(CLIENT_TAG_MEMBER, 9), ("a", 1)];
    assert_eq!(order(&given, &NAMES, &[1]), Ok(vec![Value::Int(1), tag()]));
    assert_eq!(order(&given[..1], &NONE, &[]), Ok(vec![tag()]));
    assert_eq!(order(&given, &[CLIENT_TAG_MEMBER, "a"], &[2]), ints(&[9, 1]), "its own");
}

#[test]
fn a_multicall_weighs_what_is_in_it() {
    let mut call = named(&[]);
    assert_eq!(call.weight(), 1);
    call.params.insert("calls".to_owned(), vec![Value::Nil; 7].into());
    assert_eq!(call.weight(), 1);
    call.method = MethodName::parse(MULTICALL).unwrap();
    assert_eq!(call.weight(), 7);
    call.params.insert("calls".to_owned(), vec![].into());
    assert_eq!(call.weight(), 1);
}

proptest! {
    #[test]
    fn what_is_taken_is_all_that_was_given_in_its_place(
        given in prop::collection::btree_map("[a-d]", any::<i64>(), 0..5),
        counts in prop::collection::btree_set(0_usize..4, 0..4),
    ) {
        let pairs: Vec<_> = given.iter().map(|(name, number)| (name.as_str(), *number)).collect();
        let counts: Vec<_> = counts.into_iter().collect();
        let names = &NAMES[..counts.last().copied().unwrap_or(3)];
        let fits = names.iter().take(given.len()).all(|name| given.contains_key(*name))
            && given.len() <= names.len()
            && (counts.is_empty() || counts.contains(&given.len()));
        let expected = fits.then(|| given.values().copied().map(Value::Int).collect::<Vec<_>>());
        prop_assert_eq!(order(&pairs, names, &counts).ok(), expected);
    }
}
