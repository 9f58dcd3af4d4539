use super::*;

fn found(name: &str, access: Option<&str>) -> AccessFound {
    AccessFound { name: name.into(), access: access.map(Into::into), problem: None }
}

fn unreadable(name: &str) -> AccessFound {
    AccessFound { problem: Some("Permission denied".into()), ..found(name, None) }
}

/// What holds for a service after one look each at these: how many lists, or why none.
fn check(looks: &[&[AccessFound]], service: &str, expected: Result<usize, &str>) {
    let lists = Lists::default();
    for found in looks {
        lists.take_all(&lists.current.load_full(), found);
    }
    let path = lists.path(&ServiceName::parse(service).unwrap());
    assert_eq!(path.map(|path| path.len()), expected);
}

const GOOD: Option<&str> = Some("allow = [\"/\"]");
const BAD: Option<&str> = Some("allow = 7");

#[test]
fn the_folders_around_a_service_come_first() {
    let both = [found("a", GOOD), found("a.b", GOOD), found("a.b.c", GOOD), found("ab", GOOD)];
    check(&[&both], "a", Ok(1));
    check(&[&both], "a.b.c", Ok(3));
    check(&[&both], "ab", Ok(1));
    // A folder without a list of its own adds nothing.
    check(&[&[found("a", None), found("a.b", GOOD)]], "a.b", Ok(1));
    check(&[&[found("a.b", GOOD)]], "a.b", Ok(1));
    check(&[&both], "a.x", Err(NO_ACCESS));
}

#[test]
fn a_mistake_leaves_the_last_good_one_in_force() {
    check(&[&[found("a", GOOD)], &[found("a", BAD)]], "a", Ok(1));
    check(&[&[found("a", GOOD)], &[unreadable("a")]], "a", Ok(1));
    check(&[&[found("a", BAD)]], "a", Err(BAD_ACCESS));
    check(&[&[unreadable("a")]], "a", Err(UNREADABLE));
    check(&[&[unreadable("a")], &[found("a", GOOD)]], "a", Ok(1));
}

#[test]
fn a_folder_around_that_was_never_readable_closes_what_is_in_it() {
    let closed = Err("the access list of a folder around it cannot be used");
    for outer in [found("a", BAD), unreadable("a")] {
        check(&[&[outer, found("a.b", GOOD)]], "a.b", closed);
    }
}

#[test]
fn what_is_gone_is_gone_and_what_is_hidden_is_not() {
    check(&[&[found("a", GOOD)], &[found("a", None)]], "a", Err(NO_ACCESS));
    check(&[&[found("a", GOOD)], &[found("b", GOOD)]], "a", Err(NO_ACCESS));
    check(&[&[found("a", GOOD)], &[found("a", None)], &[found("a", GOOD)]], "a", Ok(1));
    check(
        &[&[found("a.b", GOOD)], &[unreadable("a")]],
        "a.b",
        Err("the access list of a folder around it cannot be used"),
    );
}

#[test]
fn a_look_does_not_undo_what_a_restart_has_read_since() {
    let lists = Lists::default();
    lists.take(&found("a", GOOD));
    let before = lists.current.load_full();
    lists.take(&found("a", Some("anonymous = true")));
    lists.take_all(&before, &[found("a", GOOD)]);
    let text = lists.current.load().get("a").and_then(|listed| listed.text.clone());
    assert_eq!(text.as_deref(), Some("anonymous = true"));
    lists.take_all(&before, &[]);
    assert!(lists.current.load().contains_key("a"));
}
