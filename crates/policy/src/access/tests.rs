use super::*;

const ALICE: &str = "/O=Grid/OU=People/CN=Alice";
const BOB: &str = "/O=Grid/OU=People/CN=Bob";
const EVE: &str = "/O=Elsewhere/CN=Eve";

fn permits(
    access: &Access,
    method: &str,
    subject: Option<&SubjectDn>,
) -> Result<Permitted, Denied> {
    let ask = Ask { method, subject, level: None, groups: &(), now_unix: 0 };
    Access::permits(&[access], &ask)
}

/// Who of Alice, Bob, Eve and a caller without certificate (`-`) may call `method`.
fn check(text: &str, method: &str, admitted: &str) {
    let access = Access::parse(text).unwrap();
    let people = [("Alice", Some(ALICE)), ("Bob", Some(BOB)), ("Eve", Some(EVE)), ("-", None)];
    let found: Vec<_> = people
        .into_iter()
        .filter(|(_, dn)| {
            let subject = dn.map(|dn| SubjectDn::parse_oneline(dn).unwrap());
            permits(&access, method, subject.as_ref()).is_ok()
        })
        .map(|(who, _)| who)
        .collect();
    assert_eq!(found.join(" "), admitted, "{method} of {text}");
}

fn check_errors(text: &str, expected: &[&str]) {
    let errors = Access::parse(text).unwrap_err();
    let errors: Vec<_> = errors.iter().map(AccessError::to_string).collect();
    assert_eq!(errors, expected);
}

#[test]
fn an_empty_list_admits_nobody() {
    check("", "m", "");
    check("# words\n", "m", "");
    check("allow = []", "m", "");
}

#[test]
fn allow_and_deny() {
    check("allow = [\"/\"]", "m", "Alice Bob Eve");
    check("allow = [\"/O=Grid\"]", "m", "Alice Bob");
    check("allow = [\"/o=grid/ou=people/cn=ALICE\"]", "m", "Alice");
    check("allow = [\"/O=Grid/OU=People/CN=Al\"]", "m", "");
    check("allow = [\"/\"]\ndeny = [\"/O=Grid/OU=People/CN=Bob\"]", "m", "Alice Eve");
    check("allow = [\"/O=Grid/OU=People/CN=Bob\"]\ndeny = [\"/\"]", "m", "");
    check("anonymous = true", "m", "Alice Bob Eve -");
    check("anonymous = true\ndeny = [\"/O=Grid\"]", "m", "Eve -");
    check("anonymous = true\nallow = [\"/O=Grid\"]", "m", "Alice Bob Eve -");
}

#[test]
fn deny_and_allow() {
    let order = "order = \"deny,allow\"\n";
    check(order, "m", "Alice Bob Eve");
    check(&format!("{order}deny = [\"/O=Grid\"]"), "m", "Eve");
    let but = "deny = [\"/O=Grid\"]\nallow = [\"/O=Grid/OU=People/CN=Bob\"]";
    check(&format!("{order}{but}"), "m", "Bob Eve");
    check(&format!("{order}{but}\nanonymous = true"), "m", "Bob Eve -");
}

#[test]
fn a_methods_own_keys() {
    // deny wins over the service's allow, in either order.
    let deny = "[method.m]\ndeny = [\"/O=Grid/OU=People/CN=Bob\"]";
    check(&format!("allow = [\"/\"]\n{deny}"), "m", "Alice Eve");
    check(&format!("allow = [\"/\"]\n{deny}"), "other", "Alice Bob Eve");
    check(&format!("order = \"deny,allow\"\nallow = [\"/O=Grid\"]\n{deny}"), "m", "Alice Eve");
    // allow names who may, and nobody else.
    let alice = "[method.m]\nallow = [\"/O=Grid/OU=People/CN=Alice\"]";
    check(&format!("allow = [\"/\"]\n{alice}"), "m", "Alice");
    check(alice, "m", "Alice");
    check(alice, "other", "");
    check(&format!("anonymous = true\n{alice}"), "m", "Alice -");
    // anonymous is the method's own, if it says.
    check("anonymous = true\n[method.m]\nanonymous = false", "m", "Alice Bob Eve");
    check("allow = [\"/O=Grid\"]\n[method.m]\nanonymous = true", "m", "Alice Bob Eve -");
}

#[test]
fn whom_the_service_denies_a_method_admits_only_in_the_other_order() {
    let service = "allow = [\"/\"]\ndeny = [\"/O=Grid/OU=People/CN=Bob\"]\n[method.m]\n";
    check(&format!("{service}allow = [\"/\"]"), "m", "Alice Eve");
    check(&format!("{service}anonymous = true"), "m", "Alice Eve -");
    check(&format!("{service}order = \"deny,allow\"\nallow = [\"/O=Grid\"]"), "m", "Alice Bob Eve");
}

#[test]
fn what_a_caller_reads() {
    let access = Access::parse("allow = [\"/O=Grid\"]").unwrap();
    let eve = SubjectDn::parse_oneline(EVE).unwrap();
    let refused = permits(&access, "m", Some(&eve)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the access list of this service does not admit /O=Elsewhere/CN=Eve"
    );
    let none = permits(&access, "m", None).unwrap_err();
    assert_eq!(none.to_string(), "this method needs a certificate");
    let alice = SubjectDn::parse_oneline(ALICE).unwrap();
    assert_eq!(permits(&access, "m", Some(&alice)).unwrap().rule(), "service: allow /O=Grid (line 1)");
}

#[test]
fn mistakes_have_lines() {
    check_errors(
        "order = \"first\"\nalow = [\"/\"]\ndeny = \"/\"\n\n[method.m]\nallow = [\n  \"/O=Grid\",\n  \
         \"Grid\",\n]\nanonymous = 1\ncolour = \"red\"\n[other]\n",
        &[
            "line 1: `order` is \"allow,deny\" or \"deny,allow\", not \"first\"",
            "line 2: unknown key `alow`: did you mean `allow`?",
            "line 3: `deny` is a list of texts, not a text",
            "line 8: \"Grid\" is no beginning of DNs: expected TYPE= at byte 0",
            "line 10: `anonymous` is true or false, not a whole number",
            "line 11: unknown key `colour` in [method.m]",
            "line 12: unknown key `other`",
        ],
    );
    check_errors("method = 3", &["line 1: `method` is a table, not a whole number"]);
    let prefixes = |count: usize| format!("allow = [{}]", "\"/O=G\",".repeat(count));
    assert!(Access::parse(&prefixes(super::lists::ITEMS_MAX)).is_ok());
    assert!(Access::parse(&prefixes(super::lists::ITEMS_MAX + 1)).is_err());
    let comment = "#".repeat(ACCESS_BYTES_MAX);
    assert!(Access::parse(&comment).is_ok());
    check_errors(&(comment + "#"), &["line 1: larger than 1048576 bytes"]);
}

#[test]
fn the_methods_it_names() {
    let access = Access::parse("[method.b]\n[method.\"a\"]\nallow = [\"/\"]").unwrap();
    assert_eq!(access.methods().collect::<Vec<_>>(), ["a", "b"]);
}
