use clap::Parser as _;

use super::super::{Verb as Words, Words as Line};
use super::*;

fn parsed(words: &str) -> Result<Verb, clap::Error> {
    let words = ["nesssi", "access"].into_iter().chain(words.split(' '));
    Line::try_parse_from(words).map(|line| match line.verb {
        Words::Access(verb) => verb,
        other => panic!("{other:?}"),
    })
}

#[test]
fn an_edit_has_times_only_where_one_is_said() {
    let params = |words: &str| match parsed(words).unwrap() {
        Verb::Allow(edit) | Verb::Deny(edit) => edit.params(),
        other => panic!("{other:?}"),
    };
    let place = ["sleepy", "burn", "group:atlas"].map(Value::from).to_vec();
    assert_eq!(params("deny sleepy group:atlas --method burn"), place);
    let date = Value::DateTime(DateTime::parse("20260301T00:00:00").unwrap());
    let timed = params("allow sleepy / --end 2026-03-01T01:00:00+01:00");
    assert_eq!(timed, ["sleepy".into(), "".into(), "/".into(), Value::Nil, date]);
    assert!(parsed("allow sleepy / --start tomorrow").is_err());
    assert!(parsed("remove seven").is_err());
}

#[test]
fn a_rule_is_a_line() {
    let date = Value::DateTime(DateTime::parse("20260301T00:00:00").unwrap());
    let edit = |method: &str, start: Value| {
        row(&Value::record([
            ("number", Value::Int(7)),
            ("service", "sleepy".into()),
            ("method", method.into()),
            ("allow", false.into()),
            ("who", "/O=Grid".into()),
            ("start", start),
            ("end", Value::Nil),
            ("by", "/O=Grid/CN=Boss".into()),
        ]))
    };
    let line = |text: &str| ("7".to_owned(), text.to_owned());
    assert_eq!(edit("", Value::Nil), line("deny /O=Grid at sleepy (by /O=Grid/CN=Boss)"));
    let timed = "deny /O=Grid at sleepy.burn, from 20260301T00:00:00 (by /O=Grid/CN=Boss)";
    assert_eq!(edit("burn", date), line(timed));
}
