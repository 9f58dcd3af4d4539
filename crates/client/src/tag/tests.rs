use super::{Tag, only_reads, takes_tag};

#[test]
fn random_tags_are_long_enough_for_guests_and_differ() {
    let (one, two) = (Tag::random().unwrap(), Tag::random().unwrap());
    assert_ne!(one, two);
    assert!(one.as_str().len() == 32 && one.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(!format!("{one:?}").contains(one.as_str()));
}

#[test]
fn tags_are_of_printable_characters_and_bounded() {
    for good in ["a", "run-7/M31", &"x".repeat(128)] {
        assert_eq!(Tag::parse(good).unwrap().as_str(), good);
    }
    for bad in ["", "a b", "a\n", "\u{e9}", &"x".repeat(129)] {
        assert!(Tag::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn what_may_change_something_is_tagged() {
    for read in ["system.whoami", "echo.echo", "job.wait", "file.read", "sleepy.monitor"] {
        assert!(only_reads(read) && !takes_tag(read), "{read}");
    }
    for change in ["job.submit", "job.cancel", "file.remove", "sleepy.run", "a.b.c", "vo.create"] {
        assert!(takes_tag(change), "{change}");
    }
    assert!(!only_reads("system.multicall") && !takes_tag("system.multicall"));
    assert!(!only_reads("system.auth2") && !only_reads("monitor"));
}
