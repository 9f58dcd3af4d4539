use nesssi_rpc::{DateTime, FaultCode, Value};

use super::{TAIL_BYTES_MAX, limit, submission, tail_bytes, wanted, words};
use crate::jobs::SESSIONS_MAX;

fn array(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| Value::from(*text)).collect())
}

#[test]
fn a_filter_is_read_whole_or_refused() {
    let at = DateTime::parse("20061122T12:00:00").unwrap();
    let filter = Value::record([
        ("state", array(&["running", "prepared"])),
        ("service", "job".into()),
        ("since", Value::DateTime(at)),
        ("limit", Value::Int(2)),
    ]);
    let read = wanted(filter).unwrap();
    assert_eq!(read.states, ["running", "prepared"]);
    assert_eq!((read.service.as_deref(), read.count_max), (Some("job"), 2));
    assert_eq!(read.since_ms, 1_164_196_800_000);
    assert_eq!(wanted(Value::record([("state", "done".into())])).unwrap().states, ["done"]);
    let text = Value::record([("since", "2006-11-22T12:00:00Z".into())]);
    assert_eq!(wanted(text).unwrap().since_ms, 1_164_196_800_000);
    for wrong in [
        Value::Int(1),
        Value::record([("state", "Done".into())]),
        Value::record([("state", Value::Array(vec![]))]),
        Value::record([("state", Value::Int(1))]),
        Value::record([("since", "yesterday".into())]),
        Value::record([("since", Value::Int(1))]),
        Value::record([("service", Value::Int(1))]),
        Value::record([("stat", "done".into())]),
    ] {
        assert_eq!(wanted(wrong.clone()).unwrap_err().code, FaultCode::InvalidParams, "{wrong:?}");
    }
    let most = i64::try_from(SESSIONS_MAX).unwrap();
    for (count, fits) in [(0, false), (1, true), (most, true), (most + 1, false), (-1, false)] {
        assert_eq!(limit(&Value::Int(count)).is_ok(), fits, "{count}");
    }
    assert!(limit(&Value::Double(1.0)).is_err());
}

#[test]
fn a_command_is_an_array_of_strings_and_nothing_else() {
    assert_eq!(words(array(&["a", "b c; d"])).unwrap(), [b"a".to_vec(), b"b c; d".to_vec()]);
    for wrong in [Value::from("a b"), Value::Array(vec![Value::Int(1)]), Value::Nil] {
        assert_eq!(words(wrong).unwrap_err().code, FaultCode::InvalidParams);
    }
    let one = |params: Vec<Value>| submission(params).map(|one| (one.seconds, one.session));
    assert_eq!(one(vec![array(&["a"]), Value::Int(2)]), Ok((2.0, None)));
    let with = vec![array(&["a"]), Value::Double(0.5), "s".into()];
    assert_eq!(one(with), Ok((0.5, Some("s".to_owned()))));
    for wrong in [
        vec![array(&["a"])],
        vec![array(&["a"]), Value::Int(-1)],
        vec![array(&["a"]), "1".into()],
        vec![array(&["a"]), Value::Int(1), Value::Int(1)],
        vec![array(&["a"]), Value::Int(1), "s".into(), Value::Nil],
    ] {
        assert_eq!(one(wrong).unwrap_err().code, FaultCode::InvalidParams);
    }
}

#[test]
fn so_many_bytes_of_a_files_end_and_no_more() {
    assert_eq!(tail_bytes(None), Ok(4096));
    assert_eq!(tail_bytes(Some(&Value::Int(0))), Ok(0));
    for bytes in [TAIL_BYTES_MAX - 1, TAIL_BYTES_MAX] {
        assert_eq!(tail_bytes(Some(&Value::Int(bytes))), Ok(u64::try_from(bytes).unwrap()));
    }
    let over = tail_bytes(Some(&Value::Int(TAIL_BYTES_MAX + 1))).unwrap_err();
    assert_eq!(over.code, FaultCode::OverLimit);
    for wrong in [Value::Int(-1), Value::from("1"), Value::Double(1.0)] {
        assert_eq!(tail_bytes(Some(&wrong)).unwrap_err().code, FaultCode::InvalidParams);
    }
}
