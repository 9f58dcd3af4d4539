//! Every type there and back, and what is refused.

use proptest::prelude::*;

use super::*;

fn back<T: FromValue + IntoValue>(value: T) -> T {
    T::from_value(value.into_value().unwrap()).unwrap()
}

proptest! {
    #[test]
    fn values_come_back_as_they_went(
        number in any::<i64>(),
        real in -1e300..1e300_f64,
        text in "\\PC{0,20}",
        bytes in any::<Vec<u8>>(),
        items in proptest::collection::vec(any::<Option<i32>>(), 0..8),
        members in proptest::collection::btree_map("[a-z$]{0,5}", any::<bool>(), 0..5),
    ) {
        prop_assert_eq!(back(number), number);
        prop_assert_eq!(back(real), real);
        prop_assert_eq!(back(text.clone()), text);
        prop_assert_eq!(back(Bytes(bytes.clone())), Bytes(bytes));
        prop_assert_eq!(back(items.clone()), items);
        prop_assert_eq!(back(members.clone()), members);
    }

    #[test]
    fn narrow_integers_keep_to_their_bounds(number in any::<i64>()) {
        prop_assert_eq!(u8::from_value(Value::Int(number)).ok(), u8::try_from(number).ok());
        prop_assert_eq!(i32::from_value(Value::Int(number)).ok(), i32::try_from(number).ok());
        prop_assert_eq!(usize::from_value(Value::Int(number)).ok(), usize::try_from(number).ok());
    }
}

#[test]
fn what_does_not_fit_is_told_with_its_place() {
    let check = |result: Result<(), String>, text: &str| assert_eq!(result.unwrap_err(), text);
    check(i64::from_value(Value::from("3")).map(drop), "int is expected, string was given");
    check(u8::from_value(Value::Int(256)).map(drop), "256 is not from 0 to 255");
    check(
        Vec::<f64>::from_value(Value::Array(vec![Value::Int(1), Value::Nil])).map(drop),
        "item 1 of the array: double is expected, nil was given",
    );
    let members = Value::record([("a", Value::Bool(true))]);
    check(
        BTreeMap::<String, String>::from_value(members).map(drop),
        "member \"a\" of the struct: string is expected, boolean was given",
    );
    check(u64::MAX.into_value().map(drop), "18446744073709551615 does not fit 64 bits");
    check(f64::NAN.into_value().map(drop), "NaN is no finite number");
}

#[test]
fn a_whole_number_is_a_double_where_one_is_meant() {
    assert_eq!(f64::from_value(Value::Int(2)), Ok(2.0));
    assert!(i64::from_value(Value::Double(2.0)).is_err());
}
