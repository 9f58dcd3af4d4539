use std::collections::BTreeMap;

use nesssi_client::{Status, Value, typed};

use super::summary;

fn status(members: &[(&str, Value)]) -> Status {
    let members = members.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    typed::from_value(Value::Struct(members.collect::<BTreeMap<_, _>>())).unwrap()
}

#[test]
fn a_job_elsewhere_says_where_and_why_it_waits() {
    let queued = ("state", Value::from("queued"));
    let of = |batch: &str| ("batch", Value::from(batch));
    assert_eq!(summary(&status(std::slice::from_ref(&queued))), "queued");
    assert_eq!(summary(&status(&[queued.clone(), of("local")])), "queued");
    assert_eq!(summary(&status(&[queued.clone(), of("pbs")])), "queued  pbs");
    let held = ("comment", Value::from("Job held by root"));
    assert_eq!(summary(&status(&[queued, of("pbs"), held])), "queued  pbs: Job held by root");
}
