use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::samples::{any_text, any_value};
use crate::{Bounds, Call, DEPTH_CEILING, DateTime, Fault, FaultCode, MethodName, Reply};

fn method(name: &str) -> MethodName {
    MethodName::parse(name).unwrap()
}

fn request(body: &str) -> Result<Request, Fault> {
    decode_request(body.as_bytes(), &Bounds::default())
}

/// The one item of a request that is no batch.
fn one(body: &str) -> Item {
    let mut request = request(body).unwrap();
    assert_eq!((request.shape, request.items.len()), (Shape::One, 1), "{body}");
    request.items.remove(0)
}

/// The call of an item whose parameters are listed.
fn listed(asked: Asked) -> Call {
    match asked {
        Asked::Listed(call) => call,
        Asked::Named(call) => panic!("{call:?}"),
    }
}

/// The call of an item for a server that knows the names of `subtract` alone.
fn in_order(asked: Asked) -> Result<Call, Fault> {
    match asked {
        Asked::Listed(call) => Ok(call),
        Asked::Named(call) if call.method.as_str() == "subtract" => {
            call.in_order(&["minuend", "subtrahend"], &[["int"; 3]])
        }
        Asked::Named(call) => call.in_order::<[&str; 0], &str>(&[] as &[&str], &[]),
    }
}

/// The parameter whose JSON is `value`.
fn param(value: &str) -> Result<Value, Fault> {
    let body = format!("{{\"method\":\"a\",\"params\":[{value}],\"id\":1}}");
    let mut request = request(&body)?;
    let call = listed(request.items.remove(0).call?);
    let value = call.params.into_iter().next();
    value.ok_or_else(|| Fault::invalid_params("no parameter"))
}

#[track_caller]
fn check(value: &str, expected: impl Into<Value>) {
    assert_eq!(param(value), Ok(expected.into()), "{value}");
}

/// What a server that calls `serve` sends back for `body`.
fn answered(body: &str, serve: impl Fn(&Call) -> Reply) -> Option<String> {
    let sent = match request(body) {
        Err(fault) => Some(encode_refusal(Version::V2, &fault)),
        Ok(request) => {
            let mut answers = Vec::new();
            for item in request.items {
                let reply = item.call.and_then(in_order).and_then(|call| serve(&call));
                answers.extend(item.receipt.map(|receipt| (receipt, reply)));
            }
            let answers = answers.iter().map(|(receipt, reply)| (receipt, reply));
            encode_answer(request.shape, answers)
        }
    };
    sent.map(|bytes| String::from_utf8(bytes).unwrap())
}

/// `subtract` of the specification's examples; everything else is unknown.
fn subtract(call: &Call) -> Reply {
    let numbers: Vec<_> = call.params.iter().filter_map(Value::as_int).collect();
    match (call.method.as_str(), numbers.as_slice()) {
        ("subtract", [a, b]) => Ok(Value::Int(a - b)),
        ("update", _) => Ok(Value::Nil),
        ("get_data", _) => Ok(Value::Array(vec!["hello".into(), Value::Int(5)])),
        ("sum", numbers) => Ok(Value::Int(numbers.iter().sum())),
        _ => Err(Fault::new(FaultCode::NoSuchMethod, "no such method")),
    }
}

#[test]
fn the_examples_of_the_specification_are_answered() {
    let mut table = String::new();
    for body in [
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}"#,
        r#"{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}"#,
        r#"{"jsonrpc": "2.0", "method": "foobar"}"#,
        r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
        r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
        r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
        r#"[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method""#,
        "[]",
        "[1]",
        "[1,2,3]",
        r#"[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
             {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
             {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
             {"foo": "boo"},
             {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
             {"jsonrpc": "2.0", "method": "get_data", "id": "9"} ]"#,
        r#"[ {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
             {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]} ]"#,
        // And of the shape of 1.0, as the clients of Clarens send it.
        r#"{"method": "subtract", "params": [42, 23], "id": 1}"#,
        r#"{"method": "subtract", "params": [42, 23], "id": "jsonrpc"}"#,
        r#"{"method": "subtract", "params": [42, 23]}"#,
        r#"{"method": "subtract", "params": [42, 23], "id": null}"#,
        r#"{"method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 1}"#,
        r#"{"method": "foobar", "params": [], "id": 1}"#,
        r#"{"jsonrpc": "1.0", "method": "update", "params": [], "id": 1}"#,
        // Names that do not fit.
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "by": 23}, "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23}, "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": {}, "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "update", "params": {}, "id": 1}"#,
        // Ids of every kind, and things that are no call.
        r#"{"jsonrpc": "2.0", "method": "update", "id": null}"#,
        r#"{"jsonrpc": "2.0", "method": "update", "id": -1.5}"#,
        r#"{"jsonrpc": "2.0", "method": "update", "id": []}"#,
        r#"{"jsonrpc": "2.0", "method": "update", "id": true}"#,
        r#"{"jsonrpc": "2.0", "method": "a b", "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "a b"}"#,
        r#"{"jsonrpc": "2.0", "method": "update", "params": null, "id": 1}"#,
        r#"{"jsonrpc": "3.0", "method": "update", "id": 1}"#,
        r#"{"jsonrpc": 2.0, "method": "update", "id": 1}"#,
        r#"{"jsonrpc": "2.0", "id": 1}"#,
        r#"[{"method": "update", "params": [], "id": 1}]"#,
        "{}",
        "7",
        "null",
    ] {
        let answer = answered(body, subtract).unwrap_or_else(|| "(nothing)\n".to_owned());
        write!(table, "{body}\n    {answer}").unwrap();
    }
    insta::assert_snapshot!("examples", table);
}

#[test]
fn parameters_by_name_of_real_clients_are_read() {
    macro_rules! sent {
        ($($name:literal),*) => {
            [$(include_bytes!(concat!("../../testdata/jsonrpc/", $name, ".json")).as_slice()),*]
        };
    }
    for body in
        sent!("node-jayson-by-name", "python-jsonrpcclient-by-name", "python-jsonrpclib-by-name")
    {
        let mut request = decode_request(body, &Bounds::default()).unwrap();
        let Ok(Asked::Named(call)) = request.items.remove(0).call else { panic!("not by name") };
        let call = call.in_order(&["whole", "part"], &[["int"; 3]]).unwrap();
        assert_eq!(call.params[..2], [Value::Int(5), Value::Int(2)]);
    }
}

#[test]
fn every_type_is_read() {
    check("null", Value::Nil);
    check(" true\n", true);
    check("false", false);
    check("0", 0);
    check("-0", 0);
    check("9223372036854775807", i64::MAX);
    check("-9223372036854775808", i64::MIN);
    check("1.0", 1.0);
    check("-0.0", -0.0);
    check("1e3", 1000.0);
    check("1E+2", 100.0);
    check("12.5e-1", 1.25);
    check("\"\"", "");
    check("\"a b\u{e9}\u{1F600}\u{7f}\"", "a b\u{e9}\u{1F600}\u{7f}");
    check(r#""\"\\\/\n\r\t""#, "\"\\/\n\r\t");
    check(r#""\u0041\u00e9\uD83D\uDE00\uFFFD""#, "A\u{e9}\u{1F600}\u{FFFD}");
    check("[]", vec![]);
    check("[ ]", vec![]);
    check("[1,[2 , []]]", vec![Value::Int(1), vec![Value::Int(2), vec![].into()].into()]);
    check("{}", Value::record([]));
    check(
        "{ \"b\" : 1 , \"\\u0061\":{\"\":null}}",
        Value::record([("a", Value::record([("", Value::Nil)])), ("b", Value::Int(1))]),
    );
}

#[test]
fn tagged_objects_stand_for_what_json_lacks() {
    check(r#"{"$nesssi":"binary","base64":"AP8="}"#, Value::Binary(vec![0, 255]));
    check(r#"{"base64":"","$nesssi":"binary"}"#, Value::Binary(vec![]));
    let when = DateTime::parse("20061122T12:00:00").unwrap();
    check(r#"{"$nesssi":"datetime","iso":"20061122T12:00:00"}"#, Value::DateTime(when));
    check(r#"{"$nesssi":"datetime","iso":"2006-11-22T13:00:00+01:00"}"#, Value::DateTime(when));
    let wrapped = |members: &str| format!("{{\"$nesssi\":\"struct\",\"members\":{members}}}");
    check(&wrapped("{}"), Value::record([]));
    check(
        &wrapped(r#"{"$nesssi":"binary","base64":"","a":{"$nesssi":"binary","base64":""}}"#),
        Value::record([
            ("$nesssi", "binary".into()),
            ("base64", "".into()),
            ("a", Value::Binary(vec![])),
        ]),
    );
    // A struct that looks like a wrapped one is wrapped itself.
    check(
        &wrapped(&wrapped("{\"a\":1}")),
        Value::record([
            ("$nesssi", "struct".into()),
            ("members", Value::record([("a", Value::Int(1))])),
        ]),
    );
    check(
        r#"{"members":{"$nesssi":"binary","base64":""}}"#,
        Value::record([("members", Value::Binary(vec![]))]),
    );
}

/// Texts that make no value, as the parameter of a call.
const REFUSED: &[&str] = &[
    "",
    "nul",
    "nulll",
    "True",
    "NaN",
    "Infinity",
    "-Infinity",
    "-",
    "+1",
    "01",
    "-01",
    ".5",
    "1.",
    "1.e5",
    "1e",
    "1e+",
    "0x10",
    "1_000",
    "1 2",
    "1e400",
    "-1e400",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999999999999999999999999999999999999999999",
    "'a'",
    "\"a",
    "\"a\nb\"",
    "\"a\tb\"",
    "\"\\",
    "\"\\a\"",
    "\"\\u00g0\"",
    "\"\\u12\"",
    "\"\\u+123\"",
    "\"\\u0000\"",
    "\"\\b\"",
    "\"\\uFFFF\"",
    "\"\\uD83D\"",
    "\"\\uD83Dx\"",
    "\"\\uD83D\\n\"",
    "\"\\uD83D\\u0041\"",
    "\"\\uD83D\\u0000\"",
    "\"\\uDE00\\uD83D\"",
    "[",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1}",
    "[1 2]",
    "{",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{\"a\" 1}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1]",
    "{\"a\":1,\"a\":2}",
    "{\"a\":1,\"\\u0061\":2}",
    "// a\n1",
    "/* a */ 1",
    "{\"$nesssi\":1}",
    "{\"$nesssi\":\"binary\"}",
    "{\"$nesssi\":\"binary\",\"base64\":1}",
    "{\"$nesssi\":\"binary\",\"base64\":\"!\"}",
    "{\"$nesssi\":\"binary\",\"base64\":\"\",\"more\":1}",
    "{\"$nesssi\":\"datetime\",\"iso\":\"now\"}",
    "{\"$nesssi\":\"struct\",\"members\":[]}",
    "{\"members\":{},\"$nesssi\":\"struct\"}",
    "{\"members\":{\"$nesssi\":1},\"$nesssi\":\"struct\"}",
    "{\"$nesssi\":\"other\",\"a\":1}",
    "\u{1}",
    "\"\u{FFFE}\"",
];

#[test]
fn what_makes_no_value_is_refused_with_these_words() {
    let mut table = String::new();
    for value in REFUSED {
        let answer = match param(value) {
            Ok(value) => format!("ACCEPTED {value:?}"),
            Err(fault) => fault.to_string(),
        };
        writeln!(table, "{}\n    {answer}", value.escape_debug()).unwrap();
    }
    for body in ["{} x", "{}{}", "\u{FEFF}\u{FEFF}{}"] {
        writeln!(table, "{body}\n    {}", request(body).unwrap_err()).unwrap();
    }
    insta::assert_snapshot!("refused", table);
}

#[test]
fn only_utf_8_is_read() {
    assert!(one("\u{FEFF}{\"method\":\"a\",\"id\":1}").call.is_ok());
    let utf16: Vec<u8> = "\u{FEFF}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let surrogates = b"{\"method\":\"\xED\xA0\xBD\xED\xB8\x80\"}".to_vec();
    for (body, column) in [(utf16, 1), (b"{\"\xE9".to_vec(), 3), (surrogates, 12)] {
        let fault = decode_request(&body, &Bounds::default()).unwrap_err();
        let text = format!("line 1, column {column}: not UTF-8, which JSON is sent in");
        assert_eq!(fault, Fault::new(FaultCode::Parse, text));
    }
}

#[test]
fn a_call_is_what_it_says() {
    let item = one(r#"{"id":7,"params":[[]],"method":"a.b","jsonrpc":"2.0","more":{}}"#);
    assert_eq!(item.version.dialect(), Dialect::JsonRpc2);
    assert_eq!(item.receipt, Some(Receipt { version: Version::V2, id: Id::Int(7) }));
    assert_eq!(
        item.call.map(listed),
        Ok(Call { method: method("a.b"), params: vec![vec![].into()] })
    );
    let item = one(r#"{"method":"a.b","params":[],"id":"x"}"#);
    assert_eq!(item.version.dialect(), Dialect::JsonRpc1);
    assert_eq!(item.receipt.unwrap().id, Id::String("x".into()));
}

#[track_caller]
fn assert_bound(body: &str, bounds: &Bounds, within: bool) {
    match decode_request(body.as_bytes(), bounds) {
        Ok(_) => assert!(within, "over the bound and accepted"),
        Err(fault) => {
            assert_eq!(fault.code, FaultCode::OverLimit, "{fault}");
            assert!(!within, "{fault}");
        }
    }
}

fn with_param(value: &str) -> String {
    format!("{{\"method\":\"a\",\"params\":[{value}],\"id\":1}}")
}

#[test]
fn depth_is_bounded() {
    let arrays = |depth: usize| with_param(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    // A request has one level less around its parameters than a batch has: what is left over may
    // hold one more.
    let bounds = Bounds { depth_max: 8, ..Bounds::default() };
    let batch = |depth| format!("[{}]", arrays(depth).replace('{', "{\"jsonrpc\":\"2.0\","));
    assert_bound(&batch(7), &bounds, true);
    assert_bound(&batch(8), &bounds, true);
    assert_bound(&batch(9), &bounds, false);
    assert_bound(&arrays(9), &bounds, true);
    assert_bound(&arrays(10), &bounds, false);
    let boundless = Bounds { depth_max: usize::MAX, ..Bounds::default() };
    assert_bound(&batch(DEPTH_CEILING), &boundless, true);
    assert_bound(&batch(DEPTH_CEILING + 1), &boundless, false);
}

#[test]
fn wrapped_structs_are_as_deep_as_they_are() {
    let deep = |depth| {
        (0..depth).fold(Value::Nil, |inner, _| Value::record([(TAG, inner), ("a", Value::Nil)]))
    };
    let bounds = Bounds { depth_max: 8, ..Bounds::default() };
    for (depth, within) in [(7, true), (8, true), (9, true), (10, false)] {
        let call = Call { method: method("a"), params: vec![deep(depth)] };
        let body = encode_call(Version::V2, Some(&Id::Int(1)), &call).unwrap();
        assert_bound(std::str::from_utf8(&body).unwrap(), &bounds, within);
    }
    let body = with_param(&"{\"$nesssi\":\"struct\",\"members\":{\"a\":".repeat(100_000));
    assert_bound(&body, &Bounds::default(), false);
}

#[test]
fn elements_names_and_texts_are_bounded() {
    // The request, `method`, "a", `params`, their array, 1, `id`, 1.
    for (elements_max, within) in [(7, false), (8, true), (9, true)] {
        assert_bound(&with_param("1"), &Bounds { elements_max, ..Bounds::default() }, within);
    }
    let bounds = Bounds { name_bytes_max: 20, text_bytes_max: 30, ..Bounds::default() };
    for (length, within) in [(19, true), (20, true), (21, false)] {
        assert_bound(&with_param(&format!("{{\"{}\":1}}", "n".repeat(length))), &bounds, within);
        assert_bound(
            &with_param(&format!("{{\"{}\":1}}", "\\u006e".repeat(length))),
            &bounds,
            within,
        );
    }
    for (length, within) in [(29, true), (30, true), (31, false)] {
        assert_bound(&with_param(&format!("\"{}\"", "n".repeat(length))), &bounds, within);
        assert_bound(&with_param(&format!("\"{}\"", "\\n".repeat(length))), &bounds, within);
    }
}

#[test]
fn calls_are_bounded_with_those_inside_of_multicalls() {
    let bounds = Bounds { calls_max: 6, ..Bounds::default() };
    let plain = r#"{"jsonrpc":"2.0","method":"a","id":1}"#;
    let batch = |count: usize| format!("[{}]", vec![plain; count].join(","));
    assert_bound(&batch(5), &bounds, true);
    assert_bound(&batch(6), &bounds, true);
    assert_bound(&batch(7), &bounds, false);
    let multicall = r#"{"jsonrpc":"2.0","method":"system.multicall","params":[[1,2,3]],"id":1}"#;
    let batch = |count: usize| format!("[{}]", vec![multicall; count].join(","));
    assert_bound(&batch(2), &bounds, true);
    assert_bound(&batch(3), &bounds, false);
    assert_bound(multicall, &Bounds { calls_max: 3, ..bounds }, true);
    assert_bound(multicall, &Bounds { calls_max: 2, ..bounds }, false);
}

/// Long enough for a slow machine's debug build, far too short for anything quadratic.
const HOSTILE_TIME_MAX: Duration = Duration::from_secs(30);

#[test]
fn hostile_bodies_are_refused_soon_and_without_harm() {
    let million = 1_000_000;
    let hostile = [
        "[".repeat(million),
        "[".repeat(100_000) + &"]".repeat(100_000),
        "{\"a\":".repeat(million),
        "{\"$nesssi\":".repeat(million),
        format!("[{}", "[],".repeat(million)),
        format!("[{}", "{},".repeat(million)),
        with_param(&"1,".repeat(million)),
        with_param(&"\"\\\"".repeat(million)),
        with_param(&"1".repeat(million)),
        with_param(&format!("0.{}x", "1".repeat(million))),
        with_param(&format!("1e{}", "1".repeat(million))),
        format!("{{\"{}\":", "a".repeat(million)),
        format!("\"{}", "\\u0041".repeat(million)),
        format!("\"{}", "\\".repeat(million + 1)),
        " ".repeat(million * 4),
        "\n".repeat(million) + "x",
        format!("[{}1]", "1,".repeat(600)),
        format!("{{{}", (0..300_000).map(|n| format!("\"{n}\":1,")).collect::<String>()),
    ];
    for body in &hostile {
        let started = Instant::now();
        let head = body.get(..20).unwrap();
        let fault = match request(body) {
            Err(fault) => fault,
            Ok(mut request) => request.items.remove(0).call.expect_err(head),
        };
        assert!(started.elapsed() < HOSTILE_TIME_MAX, "{head}: {:?}", started.elapsed());
        assert!(fault.text.len() < 1000, "{head}: an answer of {} bytes", fault.text.len());
    }
}

#[test]
fn what_cannot_be_carried_becomes_a_fault() {
    let receipt = Receipt { version: Version::V2, id: Id::Int(1) };
    for (value, what) in [
        (
            Value::from("a\0"),
            "a string holds the character U+0000, which no text may hold (send it as binary)",
        ),
        (
            Value::record([("\u{FFFF}", Value::Nil)]),
            "a member's name holds the character U+FFFF, which no text may hold (send it as binary)",
        ),
        (Value::Double(f64::NAN), "the double NaN is not finite"),
        (Value::Array(vec![Value::Double(f64::INFINITY)]), "the double inf is not finite"),
    ] {
        let reply = Ok(value.clone());
        let body = encode_answer(Shape::One, [(&receipt, &reply)]).unwrap();
        let read = decode_reply(&body, &Bounds::default()).unwrap();
        let text = format!("the result cannot be sent as JSON: {what}");
        assert_eq!(read.reply, Err(Fault::new(FaultCode::Internal, text)));
        let call = Call { method: method("a"), params: vec![Value::Nil, value] };
        let refused = encode_call(Version::V1, None, &call).unwrap_err();
        assert_eq!(refused.text, format!("parameter 2 cannot be sent as JSON: {what}"));
    }
    let fault = Err(Fault::new(FaultCode::Service(-7), "bell \u{7} \"\u{FFFE}"));
    let body = encode_answer(Shape::One, [(&receipt, &fault)]).unwrap();
    let read = decode_reply(&body, &Bounds::default()).unwrap();
    assert_eq!(read.reply, Err(Fault::new(FaultCode::Service(-7), "bell \u{FFFD} \"\u{FFFD}")));
    let call = Call { method: method("a"), params: vec![] };
    for id in [Id::Double(f64::NAN), Id::String("\u{1}".into())] {
        assert!(encode_call(Version::V2, Some(&id), &call).is_err());
        let answer = (&Receipt { version: Version::V2, id }, &Ok(Value::Nil));
        let body = encode_answer(Shape::One, [answer]).unwrap();
        assert_eq!(decode_reply(&body, &Bounds::default()).unwrap().id, Id::Null);
    }
}

#[test]
fn no_answer_is_told_from_an_answer() {
    for body in [
        "[]",
        "1",
        "{}",
        r#"{"result":1}"#,
        r#"{"id":1}"#,
        r#"{"id":[],"result":1}"#,
        r#"{"id":1,"error":null}"#,
        r#"{"id":1,"error":"no"}"#,
        r#"{"id":1,"error":{"code":"1","message":"a"}}"#,
        r#"{"id":1,"error":{"code":1}}"#,
        r#"{"id":1,"result":1,"error":{"code":1,"message":"a"}}"#,
        r#"{"jsonrpc":"3","id":1,"result":1}"#,
    ] {
        let fault = decode_reply(body.as_bytes(), &Bounds::default()).unwrap_err();
        assert_eq!(fault.code, FaultCode::InvalidRequest, "{body}");
    }
    let refused = encode_refusal(Version::V1, &Fault::new(FaultCode::Parse, "no"));
    assert_eq!(
        String::from_utf8(refused.clone()).unwrap(),
        "{\"result\":null,\"error\":{\"code\":-32700,\"message\":\"no\"},\"id\":null}\n"
    );
    let all = decode_replies(&refused, &Bounds::default()).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].id, Id::Null);
}

fn any_id() -> impl Strategy<Value = Id> {
    prop_oneof![
        Just(Id::Null),
        any::<i64>().prop_map(Id::Int),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Id::Double),
        any_text().prop_map(Id::String),
    ]
}

fn any_version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1), Just(Version::V2)]
}

fn any_call() -> impl Strategy<Value = Call> {
    ("[a-z_]{1,8}(\\.[a-zA-Z0-9_-]{1,8}){0,3}", prop::collection::vec(any_value(), 0..4))
        .prop_map(|(name, params)| Call { method: method(&name), params })
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
    fn a_call_comes_back_as_it_was_sent(version in any_version(), id in any_id(), call in any_call()) {
        let body = encode_call(version, Some(&id), &call).unwrap();
        let mut request = decode_request(&body, &Bounds::default()).unwrap();
        let item = request.items.remove(0);
        prop_assert_eq!(request.shape, Shape::One);
        prop_assert_eq!(item.version, version);
        prop_assert_eq!(item.call.map(listed), Ok(call));
        // In 1.0 the id null is how a notification is written.
        let is_notification = version == Version::V1 && id == Id::Null;
        prop_assert_eq!(item.receipt, (!is_notification).then_some(Receipt { version, id }));
    }

    #[test]
    fn a_notification_comes_back_as_one(version in any_version(), call in any_call()) {
        let body = encode_call(version, None, &call).unwrap();
        let item = decode_request(&body, &Bounds::default()).unwrap().items.remove(0);
        prop_assert_eq!(item.receipt, None);
        prop_assert_eq!(item.call.map(listed), Ok(call));
    }

    #[test]
    fn a_batch_comes_back_as_it_was_sent(
        calls in prop::collection::vec((prop::option::of(any_id()), any_call()), 1..5)
    ) {
        let body = encode_batch(calls.iter().map(|(id, call)| (id.as_ref(), call))).unwrap();
        let request = decode_request(&body, &Bounds::default()).unwrap();
        prop_assert_eq!(request.shape, Shape::Batch);
        let read: Vec<_> = request
            .items
            .into_iter()
            .map(|item| (item.receipt.map(|receipt| receipt.id), listed(item.call.unwrap())))
            .collect();
        prop_assert_eq!(read, calls);
    }

    #[test]
    fn an_answer_comes_back_as_it_was_sent(
        version in any_version(), id in any_id(), reply in any_reply(),
    ) {
        let receipt = Receipt { version, id: id.clone() };
        let body = encode_answer(Shape::One, [(&receipt, &reply)]).unwrap();
        prop_assert_eq!(decode_reply(&body, &Bounds::default()), Ok(Response { id, reply }));
    }

    #[test]
    fn the_answers_to_a_batch_come_back_as_they_were_sent(
        answers in prop::collection::vec((any_id(), any_reply()), 0..5)
    ) {
        let answers: Vec<_> = answers
            .into_iter()
            .map(|(id, reply)| (Receipt { version: Version::V2, id }, reply))
            .collect();
        let body = encode_answer(Shape::Batch, answers.iter().map(|(r, reply)| (r, reply)));
        let Some(body) = body else {
            prop_assert!(answers.is_empty());
            return Ok(());
        };
        let read = decode_replies(&body, &Bounds::default()).unwrap();
        let sent: Vec<_> = answers
            .into_iter()
            .map(|(receipt, reply)| Response { id: receipt.id, reply })
            .collect();
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn noise_is_refused_in_one_printable_line(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(fault) = decode_request(&body, &Bounds::default()) {
            prop_assert!(!fault.text.contains(char::is_control), "{}", fault.text);
        }
    }

    /// Pieces of JSON in any order: whatever comes of it, the reader stands.
    #[test]
    fn pieces_of_json_do_no_harm(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let body = pieces.concat();
        if let Err(fault) = decode_request(body.as_bytes(), &Bounds::default()) {
            prop_assert!(!fault.text.contains(char::is_control), "{}", fault.text);
        }
    }

    /// A good call with one byte changed, or cut short.
    #[test]
    fn a_damaged_call_does_no_harm(
        call in any_call(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let good = encode_call(Version::V2, Some(&Id::Int(1)), &call).unwrap();
        let at = at.index(good.len() - 1); // only the last line feed may be left out
        prop_assert!(decode_request(&good[..at], &Bounds::default()).is_err());
        let mut changed = good;
        changed[at] = byte;
        if let Err(fault) = decode_request(&changed, &Bounds::default()) {
            prop_assert!(!fault.text.contains(char::is_control), "{}", fault.text);
        }
    }
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u",
    "D83D",
    "\\uDE00",
    "0",
    "1",
    "-",
    ".",
    "e",
    "null",
    "true",
    "false",
    " ",
    "\n",
    "\t",
    "a",
    "\u{e9}",
    "\u{1}",
    "\"jsonrpc\":\"2.0\"",
    "\"method\":\"a\"",
    "\"params\":[",
    "\"id\":1",
    "\"$nesssi\":\"binary\"",
    "\"base64\":\"\"",
    "\"$nesssi\":\"struct\"",
    "\"members\":{",
    "{\"a\":",
    "[[",
    "]]",
];
