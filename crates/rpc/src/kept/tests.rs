use proptest::prelude::*;

use super::{reply_bytes, reply_of_bytes, write_params};
use crate::samples::{any_text, any_value};
use crate::{DEPTH_CEILING, DateTime, Fault, FaultCode, Reply, Value};

fn params_bytes(params: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    write_params(params, |bytes| out.extend_from_slice(bytes));
    out
}

fn any_reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any_value().prop_map(Ok),
        (any::<i64>(), any_text())
            .prop_map(|(code, text)| Err(Fault::new(FaultCode::from_number(code), text))),
    ]
}

proptest! {
    #[test]
    fn a_reply_is_read_as_it_was_written(reply in any_reply()) {
        let bytes = reply_bytes(&reply);
        prop_assert_eq!(reply_of_bytes(&bytes), Some(reply));
        // What is cut off or goes on is none.
        prop_assert_eq!(reply_of_bytes(&bytes[..bytes.len() - 1]), None);
        prop_assert_eq!(reply_of_bytes(&[&bytes[..], b"n"].concat()), None);
    }

    #[test]
    fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _read = reply_of_bytes(&bytes);
    }

    #[test]
    fn other_parameters_have_other_bytes(one in any_value(), other in any_value()) {
        let bytes = params_bytes(std::slice::from_ref(&one));
        prop_assert_ne!(bytes, params_bytes(&[one.clone(), other.clone()]));
        prop_assert_ne!(
            params_bytes(&[one.clone(), other.clone()]),
            params_bytes(&[Value::Array(vec![one, other])])
        );
    }
}

#[test]
fn the_bytes_are_these() {
    let date = DateTime { year: 2006, month: 11, day: 22, hour: 12, minute: 0, second: 59 };
    let value = Value::record([
        ("b", Value::Array(vec![Value::Nil, true.into(), Value::Int(-2), Value::Double(0.5)])),
        ("a", Value::DateTime(date)),
        ("c", Value::Binary(vec![1, 0])),
    ]);
    let expected: [&[u8]; 9] = [
        b"+m\0\0\0\x03",
        b"\0\0\0\x01at\x07\xd6\x0b\x16\x0c\0\x3b",
        b"\0\0\0\x01ba\0\0\0\x04",
        b"n",
        b"b\x01",
        b"i\xff\xff\xff\xff\xff\xff\xff\xfe",
        b"d\x3f\xe0\0\0\0\0\0\0",
        b"\0\0\0\x01cx\0\0\0\x02",
        b"\x01\0",
    ];
    assert_eq!(reply_bytes(&Ok(value)), expected.concat());
    let fault = Err(Fault::invalid_params("no"));
    assert_eq!(reply_bytes(&fault), b"-\xff\xff\xff\xff\xff\xff\x80\xa6\0\0\0\x02no");
}

#[test]
fn parameters_that_mean_the_same_have_the_same_bytes() {
    let same = |one: Value, other: Value| params_bytes(&[one]) == params_bytes(&[other]);
    assert!(same(Value::Int(20), Value::Double(20.0)));
    assert!(same(Value::Double(0.0), Value::Double(-0.0)));
    assert!(same(Value::Int(1 << 53), Value::Double(9_007_199_254_740_992.0)));
    assert!(!same(Value::Int(20), Value::Double(20.5)));
    assert!(!same(Value::Int(i64::MAX), Value::Double(9_223_372_036_854_775_807.0)));
    assert!(!same(Value::Int(1), Value::Bool(true)));
    assert!(!same(Value::Int(1), Value::from("1")));
    assert!(!same(Value::from("x"), Value::Binary(b"x".to_vec())));
    // An answer's type stays what it was.
    let two = Ok(Value::Double(2.0));
    assert_eq!(reply_of_bytes(&reply_bytes(&two)), Some(two));
}

#[test]
fn depth_has_its_limit() {
    let nested = |levels: usize| {
        let start = Value::Nil;
        Ok((0..levels).fold(start, |inner, _| Value::Array(vec![inner])))
    };
    for levels in [DEPTH_CEILING - 1, DEPTH_CEILING] {
        let reply = nested(levels);
        assert_eq!(reply_of_bytes(&reply_bytes(&reply)), Some(reply));
    }
    assert_eq!(reply_of_bytes(&reply_bytes(&nested(DEPTH_CEILING + 1))), None);
    // No memory for what is only announced.
    assert_eq!(reply_of_bytes(b"+a\xff\xff\xff\xff"), None);
    assert_eq!(reply_of_bytes(b"+x\xff\xff\xff\xff."), None);
}
