use nesssi_rpc::Value;
use proptest::prelude::*;

use super::{
    Ask, AskError, AtWorker, CallerFacts, Command, FromWorker, Outcome, ProtocolError, Request,
    ToWorker,
};
use crate::Token;
use crate::json::JsonError;
use crate::json::tests::any_value;

fn token() -> Token {
    Token::from_random([7; 16])
}

fn facts() -> CallerFacts<'static> {
    CallerFacts {
        clarens_dn: "/O=Grid/CN=J\u{f6}e \"Q\"".into(),
        account: "alice".into(),
        level: "strong".into(),
        cpu_limit: 216_000,
        protocol: "xmlrpc".into(),
        request_id: "r1".into(),
    }
}

fn line_of(message: &ToWorker<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    message.write_line(&mut line).unwrap();
    assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1, "one line");
    line
}

fn there_and_back(message: &FromWorker) -> FromWorker {
    let mut line = Vec::new();
    message.write_line(&mut line).unwrap();
    assert_eq!(line.pop(), Some(b'\n'));
    assert!(!line.contains(&b'\n'), "one line");
    FromWorker::parse(&line).unwrap()
}

fn any_request() -> impl Strategy<Value = Request> {
    let session = "[0-9a-f]{32}";
    let seconds = 0.0_f64..1e9;
    let command = prop_oneof![
        prop::collection::vec(prop::collection::vec(1_u8.., 0..8), 1..4).prop_map(Command::Argv),
        "[ -~]{0,20}".prop_map(Command::Shell),
    ];
    let run = (
        "[a-z.]{1,9}",
        seconds.clone(),
        prop::option::of(session),
        command,
        prop::option::of("[a-z]{1,5}"),
    );
    prop_oneof![
        seconds.clone().prop_map(|seconds| Request::SystemUser { seconds }),
        ("[a-z.]{1,9}", seconds)
            .prop_map(|(method, seconds)| Request::SessionInfo { method, seconds }),
        session.prop_map(|session| Request::Sandbox { session }),
        session.prop_map(|session| Request::Status { session }),
        session.prop_map(|session| Request::StatusValue { session }),
        session.prop_map(|session| Request::Monitor { session }),
        session.prop_map(|session| Request::Url { session }),
        run.prop_map(|(method, seconds, session, command, batch)| Request::RunJob {
            method,
            seconds,
            session,
            command,
            batch
        }),
    ]
}

fn any_from_worker() -> impl Strategy<Value = FromWorker> {
    let outcome = prop_oneof![
        any_value().prop_map(Outcome::Value),
        (any::<i64>(), "[ -~\u{e9}\n]{0,30}")
            .prop_map(|(code, text)| Outcome::Fault { code, text }),
        "([0-9a-f]{8})?".prop_map(|incident| Outcome::Exception { incident }),
    ];
    prop_oneof![
        prop::collection::vec("[a-z]{1,5}", 0..4).prop_map(|methods| FromWorker::Ready { methods }),
        "[ -~]{0,30}".prop_map(|error| FromWorker::Broken { error }),
        (any::<u64>(), outcome).prop_map(|(id, outcome)| FromWorker::Answer { id, outcome }),
        ("w[0-9]{1,5}", any::<[u8; 16]>(), any_request()).prop_map(|(id, bytes, request)| {
            let ask = Ok(Ask { token: Token::from_random(bytes), request });
            FromWorker::Ask { id, ask }
        }),
    ]
}

proptest! {
    #[test]
    fn what_a_worker_says_is_read_as_meant(message in any_from_worker()) {
        prop_assert_eq!(there_and_back(&message), message);
    }

    #[test]
    fn a_call_is_read_as_meant(id in any::<u64>(), args in prop::collection::vec(any_value(), 0..4)) {
        let caller = facts();
        let (method, name, token) = ("a.b", "b", token());
        let line = line_of(&ToWorker::Call { id, token, method, name, args: &args, caller: &caller });
        let (method, name) = (method.to_owned(), name.to_owned());
        let expected = AtWorker::Call { id, token, method, name, args, caller };
        prop_assert_eq!(AtWorker::parse(&line).unwrap(), expected);
    }

    #[test]
    fn an_answer_is_read_as_meant(value in any_value(), code in 1_i64..999, text in "[ -~]{0,20}") {
        let line = line_of(&ToWorker::Answer { id: "w1", outcome: Ok(&value) });
        let expected = AtWorker::Answer { id: "w1".into(), outcome: Ok(value) };
        prop_assert_eq!(AtWorker::parse(&line).unwrap(), expected);
        let line = line_of(&ToWorker::Answer { id: "w2", outcome: Err((code, &text)) });
        let expected = AtWorker::Answer { id: "w2".into(), outcome: Err((code, text)) };
        prop_assert_eq!(AtWorker::parse(&line).unwrap(), expected);
    }

    #[test]
    fn no_line_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..80)) {
        let _either = FromWorker::parse(&line);
    }
}

#[test]
fn a_call_as_docs_show_it() {
    let args = [Value::Int(20), Value::Int(3)];
    let line = line_of(&ToWorker::Call {
        id: 7,
        token: token(),
        method: "sleepy.sleepyAdd",
        name: "sleepyAdd",
        args: &args,
        caller: &CallerFacts { clarens_dn: "".into(), ..facts() },
    });
    insta::assert_snapshot!(String::from_utf8(line).unwrap().trim_end(), @r#"{"jsonrpc":"2.0","id":7,"method":"call","params":{"token":"07070707070707070707070707070707","method":"sleepy.sleepyAdd","name":"sleepyAdd","args":[20,3],"req":{"clarens_dn":"","account":"alice","level":"strong","cpu_limit":216000,"protocol":"xmlrpc","request_id":"r1"}}}"#);
    assert_eq!(line_of(&ToWorker::Shutdown), b"{\"jsonrpc\":\"2.0\",\"method\":\"shutdown\"}\n");
}

#[test]
fn answers_as_workers_write_them() {
    let check = |line: &str, outcome: Outcome| {
        let read = FromWorker::parse(line.as_bytes());
        assert_eq!(read, Ok(FromWorker::Answer { id: 7, outcome }), "{line}");
    };
    let fault = |code, text: &str| Outcome::Fault { code, text: text.into() };
    let exception = |incident: &str| Outcome::Exception { incident: incident.into() };
    check(r#"{"jsonrpc":"2.0","id":7,"result":null}"#, Outcome::Value(Value::Nil));
    check(r#" {"result":[1],"id":7} "#, Outcome::Value(Value::Array(vec![Value::Int(1)])));
    check(
        r#"{"id":7,"error":{"code":413,"message":"t","data":{"kind":"fault"}}}"#,
        fault(413, "t"),
    );
    check(r#"{"id":7,"error":{"code":5,"message":"\u0000"}}"#, fault(5, "\u{FFFD}"));
    check(
        r#"{"id":7,"result":null,"error":{"code":-32000,"message":"x","data":{"kind":"exception","incident":"0badcafe"}}}"#,
        exception("0badcafe"),
    );
    check(
        r#"{"id":7,"error":{"code":-32000,"data":{"kind":"exception","incident":"/etc/passwd"}}}"#,
        exception(""),
    );
    check(r#"{"id":7,"result":"\u0000"}"#, Outcome::BadValue(JsonError::Text));
    let deep = format!(r#"{{"id":7,"result":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    check(&deep, Outcome::BadValue(JsonError::Depth));
}

#[test]
fn lines_that_keep_to_no_protocol() {
    for line in [
        "",
        "hello",
        "7",
        "{}",
        "[]",
        r#"{"id":7}"#,
        r#"{"id":-7,"result":1}"#,
        r#"{"id":7.5,"result":1}"#,
        r#"{"id":7,"result":1,"error":{"code":1}}"#,
        r#"{"id":7,"method":"call"}"#,
        r#"{"method":"ready"}"#,
        r#"{"method":"other"}"#,
        r#"{"id":7,"id":8,"result":1}"#,
        r#"{"id":7,"result":1} extra"#,
    ] {
        let read = FromWorker::parse(line.as_bytes());
        assert!(matches!(read, Err(ProtocolError::Malformed(_))), "{line}: {read:?}");
    }
    assert!(FromWorker::parse(b"{\"id\":7,\"result\":\"\xff\"}").is_err());
}

#[test]
fn asks_that_are_wrong_are_told_so_and_spoil_nothing_else() {
    let check =
        |line: &str, expected: fn(&AskError) -> bool| match FromWorker::parse(line.as_bytes()) {
            Ok(FromWorker::Ask { id, ask: Err(error) }) => {
                assert!(id == "w1" && expected(&error), "{line}: {error:?}");
            }
            other => panic!("{line}: {other:?}"),
        };
    let params: fn(&AskError) -> bool = |error| matches!(error, AskError::Params(_));
    check(r#"{"id":"w1","method":"root_shell","params":{}}"#, |e| *e == AskError::Unknown);
    check(r#"{"id":"w1","method":"sandbox"}"#, params);
    check(r#"{"id":"w1","method":"sandbox","params":{"token":"x","session":"y"}}"#, params);
    let token = token().reveal();
    for rest in [
        "\"seconds\":\"many\"",
        "\"seconds\":1e999",
        "\"method\":\"m\"",
        "\"method\":\"m\",\"seconds\":1,\"command\":{}",
        "\"method\":\"m\",\"seconds\":1,\"command\":{\"argv\":[]}",
        "\"method\":\"m\",\"seconds\":1,\"command\":{\"argv\":[7]}",
        "\"method\":\"m\",\"seconds\":1,\"command\":{\"argv\":[{\"$nesssi\":\"binary\",\"base64\":\"AA==\"}]}",
        "\"method\":\"m\",\"seconds\":1,\"command\":{\"argv\":[\"a\"],\"shell\":\"b\"}",
    ] {
        let line =
            format!(r#"{{"id":"w1","method":"run_job","params":{{"token":"{token}",{rest}}}}}"#);
        check(&line, params);
    }
}

#[test]
fn a_value_that_is_too_deep_leaves_the_line_unwritten() {
    let deep = (0..70).fold(Value::Nil, |inner, _| Value::Array(vec![inner]));
    let mut out = b"before".to_vec();
    let written = ToWorker::Answer { id: "w1", outcome: Ok(&deep) }.write_line(&mut out);
    assert_eq!(written, Err(ProtocolError::Value(JsonError::Depth)));
    assert_eq!(out, b"before");
}

#[test]
fn tokens_are_read_strictly_and_never_shown() {
    let token = Token::from_random(std::array::from_fn(|i| u8::try_from(i * 17).unwrap()));
    assert_eq!(Token::parse(&token.reveal()), Ok(token));
    assert_ne!(token, Token::from_random([0; 16]));
    assert_eq!(format!("{token:?}"), "Token(..)");
    for bad in ["", "00", &"0".repeat(31), &"0".repeat(33), &"F".repeat(32), &"g".repeat(32)] {
        assert!(Token::parse(bad).is_err(), "{bad}");
    }
}
