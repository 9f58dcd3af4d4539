use std::io::Write as _;
use std::sync::Arc;

use nesssi_rpc::{FaultCode, Value};

use super::{RawFile, VALUE_BYTES_MAX, in_value};
use crate::Answer;
use crate::reading::Pool;

fn answer(content: &[u8], length_of_file: Option<u64>, offset: u64, length: u64) -> Answer {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    if let Some(length) = length_of_file {
        file.set_len(length).unwrap();
    }
    let raw = RawFile {
        file: Arc::new(file.into()),
        offset,
        length,
        account: "ann".to_owned(),
        name: b"data.txt".to_vec(),
    };
    Answer::raw(raw)
}

#[tokio::test]
async fn a_part_of_a_file_becomes_a_value() {
    let pool = Pool::default();
    let check = async |offset, length, expected: &[u8]| {
        let got = in_value(&pool, answer(b"0123456789", None, offset, length)).await;
        assert_eq!((got.reply, got.raw), (Ok(Value::Binary(expected.to_vec())), None));
    };
    check(0, 10, b"0123456789").await;
    check(3, 4, b"3456").await;
    check(10, 0, b"").await;
}

#[tokio::test]
async fn a_value_below_at_and_above_the_limit() {
    let pool = Pool::default();
    let read = async |length| {
        let answer = answer(b"", Some(VALUE_BYTES_MAX + 1), 0, length);
        in_value(&pool, answer).await.reply.map(|value| value.bytes_held())
    };
    let held =
        |length: u64| Value::Binary(Vec::new()).bytes_held() + usize::try_from(length).unwrap();
    assert_eq!(read(VALUE_BYTES_MAX - 1).await, Ok(held(VALUE_BYTES_MAX - 1)));
    assert_eq!(read(VALUE_BYTES_MAX).await, Ok(held(VALUE_BYTES_MAX)));
    let over = read(VALUE_BYTES_MAX + 1).await.unwrap_err();
    assert_eq!(over.code, FaultCode::OverLimit);
    assert!(over.text.contains("8388609") && over.text.contains("8388608"), "{over}");
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_a_conflict() {
    let got = in_value(&Pool::default(), answer(b"short", None, 0, 6)).await;
    assert_eq!(got.reply.unwrap_err().code, FaultCode::Conflict);
}
