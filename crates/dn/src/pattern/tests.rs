use super::*;

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

/// Whether a pattern takes each of these names, and only those.
fn check(pattern: &str, takes: &[&str], leaves: &[&str]) {
    let pattern = DnPattern::parse(pattern).unwrap();
    for name in takes {
        assert!(pattern.matches(&dn(name)), "{pattern} takes {name}");
    }
    for name in leaves {
        assert!(!pattern.matches(&dn(name)), "{pattern} leaves {name}");
    }
    assert_eq!(DnPattern::parse(&pattern.to_string()).unwrap(), pattern, "{pattern}");
}

fn check_error(text: &str, error: &str) {
    assert_eq!(DnPattern::parse(text).unwrap_err().to_string(), error);
}

#[test]
fn without_a_star_it_is_that_name() {
    check("/O=Grid/CN=Joe", &["/O=Grid/CN=Joe", "/o=GRID/cn=joe"], &["/O=Grid", "/O=Grid/CN=Joe2"]);
    check("/O=Grid/CN=Joe", &[], &["/O=Grid/CN=Joe/CN=proxy", "/CN=Joe/O=Grid", "/O=Grid/OU=Joe"]);
    check("/E=a@b", &["/emailAddress=A@B", "/Email=a@b"], &["/CN=a@b"]);
}

#[test]
fn a_star_is_any_run_of_bytes_of_one_value() {
    check("/CN=*", &["/CN=", "/CN=a", "/CN=a\\/OU=b", "/CN=\\xff\\x00"], &["/OU=a", "/CN=a/CN=b"]);
    check("/CN=Robot: *", &["/CN=robot: ", "/CN=Robot: x"], &["/CN=Robot:", "/CN=a Robot: x"]);
    check("/CN=*@cern.ch", &["/CN=@cern.ch", "/CN=a@CERN.CH"], &["/CN=a@cern.ch.evil.org"]);
    check("/CN=a*a", &["/CN=aa", "/CN=aba"], &["/CN=a"]);
    check("/CN=a*bc*cd", &["/CN=abccd", "/CN=axbcbccd"], &["/CN=abcd", "/CN=acdbc"]);
    check("/CN=**x**", &["/CN=x", "/CN=axb"], &["/CN=", "/CN=ab"]);
    check("/CN=host/*.example.org", &["/CN=host/a.example.org"], &["/CN=host/example.org"]);
    check("/CN=Ren*", &["/CN=Ren\\xC3\\xA9"], &["/CN=Re"]);
}

#[test]
fn an_escaped_star_is_a_star() {
    check("/CN=a\\*", &["/CN=a*"], &["/CN=ab", "/CN=a"]);
    check("/CN=\\**", &["/CN=*", "/CN=*a"], &["/CN=a"]);
    check("/CN=a\\x2a", &["/CN=a*"], &["/CN=ab"]);
}

#[test]
fn an_rdn_that_is_a_star_ends_the_pattern() {
    check("/O=Grid/*", &["/O=Grid", "/o=grid/CN=a", "/O=Grid/CN=a/CN=b"], &["/O=Grid2", "/CN=a"]);
    check("/*", &["/O=Grid", "/CN=a/CN=b"], &[]);
    check("/O=*/*", &["/O=Grid", "/O=a/CN=b"], &["/CN=a"]);
    check("/CN=host\\/*", &["/CN=host/", "/CN=host/a"], &["/CN=host", "/CN=host/CN=a"]);
    check("/CN=a\\\\/*", &["/CN=a\\\\", "/CN=a\\\\/CN=b"], &["/CN=a\\\\/b"]);
    check("/CN=a\\\\\\/*", &["/CN=a\\\\/b"], &["/CN=a\\\\"]);
}

#[test]
fn sets_are_matched_as_sets() {
    check("/CN=a+UID=*", &["/UID=1+CN=A"], &["/CN=a", "/CN=a+UID=1+UID=2", "/CN=a/UID=1"]);
    // The first star may take what only the first star can leave.
    check("/CN=*+CN=a*+CN=ab", &["/CN=ab+CN=ac+CN=x", "/CN=ab+CN=ab+CN=ab"], &["/CN=ab+CN=x+CN=y"]);
    let many = "/CN=*".to_owned() + &"+CN=*a".repeat(15);
    check(&many, &[&("/CN=b".to_owned() + &"+CN=a".repeat(15))], &[]);
    check(&many, &[], &[&("/CN=b+CN=b".to_owned() + &"+CN=a".repeat(14))]);
}

#[test]
fn mistakes_say_where() {
    check_error("", "the name is empty");
    check_error("/", "the name is empty");
    check_error("O=Grid/*", "a name begins with '/'");
    check_error(
        "/O=Grid/X=*",
        "unknown attribute type \"X\" at byte 8 (if it belongs to the value before it, write '\\/' for '/')",
    );
    let inside = |at| {
        format!(
            "a '/*' that stands for any further RDNs ends the pattern, at byte {at} (if it belongs to the value before it, write '\\/*')"
        )
    };
    check_error("/O=Grid/*/CN=a", &inside(7));
    check_error("/O=Grid/*/*", &inside(7));
    check_error("/*/CN=a", "expected TYPE= at byte 1");
    check_error(&("/CN=a".repeat(65) + "/*"), "the name is over a limit: RDNS_MAX");
    check_error(
        &("/CN=a".to_owned() + &"+CN=a".repeat(16)),
        "the name is over a limit: ATTRIBUTES_MAX",
    );
}
