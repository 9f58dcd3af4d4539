use super::{METHOD, capabilities, read, read_answer, result, weight};
use crate::{Call, Fault, FaultCode, MethodName, Value};

fn inner(name: &str, params: Value) -> Value {
    Value::record([("methodName", name.into()), ("params", params)])
}

fn none() -> Value {
    Value::Array(vec![])
}

#[test]
fn what_is_wrong_with_one_call_is_its_own_answer() {
    let calls = vec![
        inner("a.b", Value::Array(vec![Value::Int(1)])),
        Value::Int(1),
        Value::record([("params", none())]),
        inner("a b", none()),
        inner("a.b", Value::Nil),
        inner(METHOD, Value::Array(vec![none()])),
        Value::record([("methodName", "c".into()), ("unknown", Value::Nil)]),
    ];
    let read = read(vec![Value::Array(calls)], 7).unwrap();
    let codes: Vec<_> = read.iter().map(|call| call.as_ref().err().map(|f| f.code)).collect();
    let params = Some(FaultCode::InvalidParams);
    let (name, nested) = (Some(FaultCode::NoSuchMethod), Some(FaultCode::InvalidRequest));
    assert_eq!(codes, [None, params, params, name, params, nested, None]);
    let method = |text| MethodName::parse(text).unwrap();
    assert_eq!(read[0], Ok(Call { method: method("a.b"), params: vec![Value::Int(1)] }));
    assert_eq!(read[6], Ok(Call { method: method("c"), params: vec![] }));
}

#[test]
fn a_multicall_takes_one_array() {
    for params in [vec![], vec![Value::Nil], vec![none(), none()]] {
        assert_eq!(read(params, 9).unwrap_err().code, FaultCode::InvalidParams);
    }
    assert_eq!(read(vec![none()], 0), Ok(vec![]));
}

#[test]
fn calls_are_bounded_and_counted() {
    let of = |count| vec![Value::Array(vec![inner("a", none()); count])];
    assert!(read(of(2), 3).is_ok());
    assert!(read(of(3), 3).is_ok());
    let fault = read(of(4), 3).unwrap_err();
    assert_eq!(fault.to_string(), "fault 413: 4 calls in one request, the limit is 3");
    let call = |name, params| Call { method: MethodName::parse(name).unwrap(), params };
    assert_eq!(weight(&call(METHOD, of(5))), 5);
    assert_eq!(weight(&call(METHOD, of(0))), 1);
    assert_eq!(weight(&call(METHOD, vec![])), 1);
    assert_eq!(weight(&call("a.b", of(5))), 1);
}

#[test]
fn answers_come_back_as_they_were_given() {
    let replies = [
        Ok(Value::Nil),
        Err(Fault::new(FaultCode::OverLimit, "too much")),
        Ok(Value::Array(vec![])),
        Ok(Value::record([("faultCode", Value::Int(1))])),
    ];
    let Value::Array(places) = result(replies.clone()) else { panic!("no array") };
    assert_eq!(places[0], Value::Array(vec![Value::Nil]));
    assert_eq!(places[1].member("faultCode"), Some(&Value::Int(413)));
    let read: Vec<_> = places.into_iter().map(|place| read_answer(place).unwrap()).collect();
    assert_eq!(read, replies);
    for wrong in [Value::Nil, none(), Value::record([("faultCode", Value::Int(1))])] {
        assert_eq!(read_answer(wrong).unwrap_err().code, FaultCode::InvalidRequest);
    }
}

#[test]
fn each_capability_says_where_it_is_described() {
    let Value::Struct(all) = capabilities() else { panic!("no struct") };
    let dialects = ["xmlrpc", "json-rpc", "json-rpc-1", "soap11", "soap12", "wsdl"];
    let extensions = ["faults_interop", "introspection", "system.multicall", "nil"];
    for name in dialects.into_iter().chain(extensions) {
        let about = &all[name];
        assert!(about.member("specUrl").and_then(Value::as_str).unwrap().starts_with("http"));
        assert!(about.member("specVersion").and_then(Value::as_int).unwrap() > 0);
    }
}
