use proptest::prelude::*;

use super::*;

fn check(pattern: &[u8], yes: &[&[u8]], no: &[&[u8]]) {
    let glob = Glob::parse(pattern).unwrap();
    for name in yes {
        assert!(glob.matches(name), "{pattern:?} {name:?}");
    }
    for name in no {
        assert!(!glob.matches(name), "{pattern:?} {name:?}");
    }
}

#[test]
fn patterns_are_those_of_a_shell() {
    check(b"a", &[b"a"], &[b"", b"b", b"aa", b"A"]);
    check(b"*", &[b"a", b"\xff", b"a\nb", b""], &[]);
    check(b"*.fits", &[b"x.fits", b".fits", b"a.b.fits"], &[b"x.fit", b"x.fits2"]);
    check(b"a*b*c", &[b"abc", b"aXbXbc", b"abcbc"], &[b"ab", b"acb", b"abcd"]);
    check(b"a**c", &[b"ac", b"abc"], &[b"a"]);
    check(b"?", &[b"a", "é".as_bytes(), "漢".as_bytes(), b"\xff"], &[b"", b"ab", b"\xff\xfe"]);
    check(b"*?", &["é".as_bytes(), "aé".as_bytes()], &[b""]);
    check(b"*??", &["aé".as_bytes()], &["é".as_bytes()]);
    check(b"[abc]x", &[b"ax", b"cx"], &[b"dx", b"x", b"abx"]);
    check(b"[a-cX-Z]", &[b"a", b"b", b"Y"], &[b"d", b"-", b"W"]);
    check(b"[!a-c]", &[b"d", "é".as_bytes(), b"\xff"], &[b"a", b"", b"dd"]);
    check(b"[^a]", &[b"b"], &[b"a"]);
    check(b"[]a]", &[b"]", b"a"], &[b"b"]);
    check(b"[!]a]", &[b"b"], &[b"]", b"a"]);
    check(b"[a-]", &[b"a", b"-"], &[b"b"]);
    check("[à-ü]".as_bytes(), &["é".as_bytes()], &[b"e", b"\xc3"]);
    check(b"[z-a]", &[], &[b"a", b"m", b"z"]);
    check(b"[\\]]", &[b"]"], &[b"\\"]);
    check(b"\\*", &[b"*"], &[b"a", b"\\*"]);
    check(b"a\\", &[b"a\\"], &[b"a"]);
    // Not closed: text.
    check(b"[ab", &[b"[ab"], &[b"a", b"b"]);
    check(b"[", &[b"["], &[b""]);
    check(b"[]", &[b"[]"], &[b"]"]);
    check(b"x[!", &[b"x[!"], &[b"xa"]);
    check(b"\xff*", &[b"\xff", b"\xffa"], &[b"\xfe"]);
}

#[test]
fn what_is_no_pattern_is_refused() {
    assert_eq!(Glob::parse(b""), Err(GlobError::Empty));
    for slash in [&b"a/b"[..], b"/", b"[/]", b"a\0"] {
        assert_eq!(Glob::parse(slash), Err(GlobError::Separator));
    }
    assert!(Glob::parse(vec![b'a'; PATTERN_BYTES_MAX - 1]).is_ok());
    assert!(Glob::parse(vec![b'a'; PATTERN_BYTES_MAX]).is_ok());
    assert_eq!(Glob::parse(vec![b'a'; PATTERN_BYTES_MAX + 1]), Err(GlobError::TooLong));
}

/// The pattern that takes a matcher that tries everything longer than the world lasts.
#[test]
fn many_stars_are_soon_done() {
    let glob = Glob::parse("*a".repeat(127)).unwrap();
    let began = std::time::Instant::now();
    for _ in 0..100 {
        assert!(!glob.matches(&[b'a'; 126]));
        assert!(!glob.matches(&[&[b'a'; 254][..], b"b"].concat()));
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
}

/// What the matcher must answer, by trying everything.
fn by_hand(parts: &[Part], name: &[u8]) -> bool {
    match parts.split_first() {
        None => name.is_empty(),
        Some((Part::Any, after)) => {
            by_hand(after, name) || (!name.is_empty() && by_hand(parts, character(name).1))
        }
        Some((part, after)) => part.take(name).is_some_and(|left| by_hand(after, left)),
    }
}

proptest! {
    #[test]
    fn no_pattern_and_no_name_makes_it_fall(
        pattern in proptest::collection::vec(any::<u8>(), 0..40),
        name in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        if let Ok(glob) = Glob::parse(&pattern) {
            prop_assert_eq!(glob.matches(&name), glob.matches(&name));
        }
    }

    #[test]
    fn it_answers_what_trying_everything_does(pattern in "[ab*?\\[\\]!é-]{1,8}", name in "[abé\\]]{0,8}") {
        let glob = Glob::parse(&pattern).unwrap();
        prop_assert_eq!(glob.matches(name.as_bytes()), by_hand(&glob.0, name.as_bytes()), "{}", pattern);
    }

    #[test]
    fn a_name_with_everything_escaped_matches_itself_alone(name in proptest::collection::vec(1_u8.., 1..100)) {
        prop_assume!(!name.contains(&b'/'));
        let escaped: Vec<u8> = name.iter().flat_map(|byte| [b'\\', *byte]).collect();
        let glob = Glob::parse(&escaped).unwrap();
        prop_assert!(glob.matches(&name));
        prop_assert!(!glob.matches(&name[1..]));
    }
}
