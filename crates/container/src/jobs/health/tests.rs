use std::collections::BTreeMap;

use nesssi_job::batch::Words;
use nesssi_rpc::Value;

use super::{Answering, BatchHealth, line, value};
use crate::clock::date_time;

#[test]
fn each_batch_system_is_shown_as_it_was_known_last() {
    let slow = BatchHealth {
        dialect: "slurm".to_owned(),
        answering: Answering::Slow,
        as_of_ms: Some(1_164_196_800_999),
        words: Words::of(b"squeue: error: \x1b[2Jretrying\n"),
        waiting: 3,
        running: 2,
        interval_seconds: 40,
    };
    let never = BatchHealth { answering: Answering::Down, ..BatchHealth::default() };
    let all = BTreeMap::from([("slurm".to_owned(), slow), ("pbs".to_owned(), never)]);
    let Value::Array(shown) = value(&all) else { panic!() };
    let expected = [
        Value::record([
            ("name", "pbs".into()),
            ("dialect", "".into()),
            ("state", "down".into()),
            ("words", "".into()),
            ("waiting", 0.into()),
            ("running", 0.into()),
            ("interval_seconds", 0.into()),
        ]),
        Value::record([
            ("name", "slurm".into()),
            ("dialect", "slurm".into()),
            ("state", "slow".into()),
            ("words", "squeue: error: [2Jretrying".into()),
            ("waiting", 3.into()),
            ("running", 2.into()),
            ("interval_seconds", 40.into()),
            ("as_of", Value::DateTime(date_time(1_164_196_800_000))),
        ]),
    ];
    assert_eq!(shown, expected);
    assert_eq!(
        line(&all),
        "; pbs down, 0 running, 0 waiting, as of not asked yet; slurm slow, 2 running, 3 waiting, \
         as of 2006-11-22T12:00:00Z: squeue: error: [2Jretrying"
    );
    assert_eq!(
        (line(&BTreeMap::new()), value(&BTreeMap::new())),
        (String::new(), Value::Array(vec![]))
    );
}
