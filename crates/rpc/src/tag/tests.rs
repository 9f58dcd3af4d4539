use crate::{CLIENT_TAG_MEMBER, ClientTag, Value};

fn tag(text: &str) -> ClientTag {
    ClientTag::parse(text).unwrap()
}

#[test]
fn what_is_a_tag() {
    let longest = "x".repeat(128);
    for good in ["a", "!~", "2006-11-22/3", &longest] {
        assert_eq!(tag(good).as_str(), good);
    }
    let too_long = "x".repeat(129);
    for bad in ["", " ", "a b", "a\t", "a\n", "é", "\u{7f}", &too_long] {
        assert!(ClientTag::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn what_an_anonymous_caller_may_use() {
    let check = |text: &str, may: bool| assert_eq!(tag(text).may_be_unguessable(), may, "{text}");
    check(&"0f".repeat(16), true);
    check(&"0f".repeat(16)[1..], false);
    check("123e4567-e89b-12d3-a456-426614174000", true);
    check("123e4567-e89b-12d3-a456-42661417400", false);
    check("dGhpcyBpcyBub3QgcmFuZG", true);
    check("dGhpcyBpcyBub3QgcmFuZ", false);
    check("x.dGhpcyBpcyBub3Qgcm..", false);
    check(&".".repeat(128), false);
}

#[test]
fn the_member_is_taken_out_of_the_last_struct_alone() {
    let name = (CLIENT_TAG_MEMBER, Value::from("t-1"));
    let check = |mut params: Vec<Value>, found: Option<&str>, left: Vec<Value>| {
        let taken = ClientTag::take(&mut params).unwrap();
        assert_eq!(taken.as_ref().map(ClientTag::as_str), found);
        assert_eq!(params, left);
    };
    let one = || Value::Int(1);
    let other = || Value::record([("n", Value::Int(2))]);
    check(vec![], None, vec![]);
    check(vec![one()], None, vec![one()]);
    check(vec![one(), other()], None, vec![one(), other()]);
    check(vec![one(), Value::record([])], None, vec![one(), Value::record([])]);
    check(vec![one(), Value::record([name.clone()])], Some("t-1"), vec![one()]);
    let both = Value::record([name.clone(), ("n", Value::Int(2))]);
    check(vec![both], Some("t-1"), vec![other()]);
    let first = vec![Value::record([name.clone()]), one()];
    check(first.clone(), None, first);
    let inside = vec![Value::record([("s", Value::record([name]))])];
    check(inside.clone(), None, inside);
}

#[test]
fn a_member_that_is_no_tag_is_a_fault() {
    for value in [Value::Int(1), Value::from(""), Value::from("a b"), Value::Nil] {
        let mut params = vec![Value::record([(CLIENT_TAG_MEMBER, value)])];
        let fault = ClientTag::take(&mut params).unwrap_err();
        assert_eq!(fault.code.number(), -32602);
        assert_eq!(
            fault.text,
            "nesssi_client_tag: a client tag is 1 to 128 printable characters of ASCII without blanks"
        );
    }
}

#[test]
fn a_tag_shows_in_no_log() {
    assert_eq!(format!("{:?}", tag("secret")), "ClientTag");
}
