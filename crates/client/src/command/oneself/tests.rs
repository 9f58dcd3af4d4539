use nesssi_client::Value;

use super::{rows, steps};

fn members(value: Value) -> std::collections::BTreeMap<String, Value> {
    match value {
        Value::Struct(members) => members,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_one_is_stands_before_what_one_has_used() {
    let facts = members(Value::record([
        ("account", "alice".into()),
        ("dn", "/O=Grid/CN=Alice".into()),
        ("limits", Value::record([("cpu_seconds", Value::Int(60))])),
        ("new", Value::Int(1)),
        ("refused", "".into()),
    ]));
    let rows = rows(&facts);
    let rows: Vec<(&str, &str)> = rows.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        rows,
        [
            ("dn", "/O=Grid/CN=Alice"),
            ("account", "alice"),
            ("limits: cpu_seconds", "60"),
            ("new", "1")
        ]
    );
}

#[test]
fn steps_are_numbered_and_the_end_says_account_level_and_size() {
    let step = |rule: &str, place: &str, verdict: &str| {
        Value::record([("rule", rule.into()), ("place", place.into()), ("verdict", verdict.into())])
    };
    let explained = |account: &str, seconds| {
        members(Value::record([
            ("outcome", "granted".into()),
            ("account", account.into()),
            ("level", "weak".into()),
            ("cpu_seconds", Value::Int(seconds)),
            ("steps", Value::Array(vec![step("judged", "level weak", "account nobody")])),
        ]))
    };
    let first = "1. judged (level weak): account nobody";
    assert_eq!(
        steps(&explained("nobody", 60)),
        [first, "granted: account nobody, level weak, 60 CPU seconds"]
    );
    assert_eq!(steps(&explained("nobody", 0)), [first, "granted: account nobody, level weak"]);
    assert_eq!(steps(&explained("", 0)), [first, "granted"]);
    let mut refused = explained("nobody", 60);
    refused.insert("outcome".to_owned(), "refused".into());
    assert_eq!(steps(&refused), [first]);
}
