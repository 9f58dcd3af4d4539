use super::*;
use crate::{VoChange, VoTree};

const ALICE: &str = "/O=Grid/OU=People/CN=Alice";

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_any(text).unwrap()
}

fn edit(number: u64, service: &str, allow: bool, whom: &str) -> AccessEdit {
    AccessEdit {
        number,
        service: service.to_owned(),
        method: None,
        allow,
        whom: Whom::parse(whom).unwrap(),
        start_unix: None,
        end_unix: None,
        by: dn("/O=Grid/CN=Boss"),
        at_ms: 0,
    }
}

fn of(all: impl IntoIterator<Item = AccessEdit>) -> AccessEdits {
    let mut edits = AccessEdits::default();
    for edit in all {
        edits.check(&edit).unwrap();
        edits.add(edit);
    }
    edits
}

/// The denial that Alice, or whoever `subject` is, gets for a method at a time.
fn denial(edits: &AccessEdits, service: &str, method: &str, now_unix: i64) -> String {
    let (alice, mut tree) = (dn(ALICE), VoTree::new(Vec::new()));
    tree.apply(&VoChange::Create { group: "atlas".into() }).unwrap();
    tree.apply(&VoChange::AddMember { group: "atlas".into(), subject: alice.clone() }).unwrap();
    let ask = Ask { method, subject: Some(&alice), level: None, groups: &tree, now_unix };
    edits.denial(service, &ask).map_or_else(String::new, ToString::to_string)
}

#[test]
fn words_for_people() {
    for (text, shown) in [
        ("/", "/"),
        (ALICE, ALICE),
        ("CN=Alice,OU=People,O=Grid", ALICE),
        ("group:atlas.calo", "group:atlas.calo"),
    ] {
        assert_eq!(Whom::parse(text).unwrap().to_string(), shown);
    }
    let wrong = |text: &str| Whom::parse(text).unwrap_err().to_string();
    assert!(wrong("Alice").starts_with("neither a DN nor group:NAME: "), "{}", wrong("Alice"));
    assert!(wrong("group:").starts_with("a group's name is "), "{}", wrong("group:"));
    assert!(Whom::parse("").is_err() && Whom::parse("group:a b").is_err());
}

#[test]
fn an_edit_stands_at_a_service_or_around_it_and_names_by_rdn() {
    let check = |at: &str, whom: &str, service: &str, named: bool| {
        let told = denial(&of([edit(7, at, false, whom)]), service, "m", 0);
        let expected = if named { format!("edit 7 at {at}: deny {whom}") } else { String::new() };
        assert_eq!(told, expected, "{service}");
    };
    check("sleepy", ALICE, "sleepy", true);
    check("sleepy", "/", "sleepy", true);
    check("sleepy", "/O=Grid/OU=People", "sleepy", true);
    check("sleepy", "group:atlas", "sleepy", true);
    check("sleepy", "group:none", "sleepy", false);
    check("sleepy", "/O=Grid/OU=People/CN=Al", "sleepy", false);
    check("sleepy", "/O=Grid/CN=Bob", "sleepy", false);
    check("apple", "/", "apple.xray.juliet", true);
    check("apple.xray", "/", "apple.xray.juliet", true);
    check("apple.xray.juliet", "/", "apple.xray", false);
    check("app", "/", "apple", false);
    check("apple", "/", "app", false);
}

#[test]
fn a_method_and_times_narrow_it() {
    let one = AccessEdit {
        method: Some("burn".into()),
        start_unix: Some(10),
        end_unix: Some(20),
        ..edit(1, "s", false, "/")
    };
    let edits = of([one]);
    for (method, now, named) in [
        ("burn", 9, false),
        ("burn", 10, true),
        ("burn", 19, true),
        ("burn", 20, false),
        ("m", 15, false),
    ] {
        let told = denial(&edits, "s", method, now);
        assert_eq!(told, if named { "edit 1 at s, method burn: deny /" } else { "" }, "{now}");
    }
}

#[test]
fn nobody_without_a_certificate_is_named() {
    let edits = of([edit(1, "s", false, "/"), edit(2, "s", true, "/")]);
    let ask = Ask { method: "m", subject: None, level: None, groups: &(), now_unix: 0 };
    assert!(edits.denial("s", &ask).is_none() && edits.allowance("s", &ask).is_none());
}

#[test]
fn what_does_not_fit_is_refused_and_what_is_removed_is_gone() {
    let mut edits = of([edit(1, "s", false, ALICE), edit(2, "s", true, ALICE)]);
    let lower = edit(3, "s", false, "/o=grid/ou=people/cn=alice");
    assert_eq!(edits.check(&lower), Err(EditError::Exists { number: 1 }));
    let backwards = |start, end| AccessEdit { start_unix: start, end_unix: end, ..lower.clone() };
    assert_eq!(edits.check(&backwards(Some(5), Some(5))), Err(EditError::Never));
    assert_eq!(edits.check(&backwards(Some(5), Some(6))), Ok(()));
    assert_eq!(edits.check(&backwards(None, Some(6))), Ok(()));
    assert_eq!(edits.remove(9), Err(EditError::NoSuchEdit { number: 9 }));
    assert_eq!(edits.remove(1).unwrap().number, 1);
    assert_eq!(denial(&edits, "s", "m", 0), "");
    assert_eq!(edits.check(&lower), Ok(()));
    assert_eq!(edits.iter().map(|edit| edit.number).collect::<Vec<_>>(), [2]);
}

#[test]
fn so_many_edits_and_no_more() {
    let mut edits = AccessEdits::default();
    let of_number = |number: u64| edit(number, &format!("s{number}"), true, "/");
    let most = u64::try_from(ACCESS_EDITS_MAX).unwrap();
    for number in 0..most {
        assert_eq!(edits.check(&of_number(number)), Ok(()), "{number}");
        edits.add(of_number(number));
    }
    assert_eq!(edits.check(&of_number(most)), Err(EditError::TooMany));
    edits.remove(5).unwrap();
    assert_eq!(edits.check(&of_number(most)), Ok(()));
}
