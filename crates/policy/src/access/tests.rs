use proptest::prelude::*;

use super::*;
use crate::{VoChange, VoTree, Warning};

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
    assert_eq!(
        permits(&access, "m", Some(&alice)).unwrap().rule(),
        "service: allow /O=Grid (line 1)"
    );
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
fn only_the_first_mistakes_are_told() {
    let errors = |count: usize| Access::parse(&"(\n".repeat(count)).unwrap_err().len();
    assert_eq!(errors(ERRORS_MAX), ERRORS_MAX);
    assert_eq!(errors(ERRORS_MAX + 1), ERRORS_MAX);
}

#[test]
fn the_methods_it_names() {
    let access = Access::parse("[method.b]\n[method.\"a\"]\nallow = [\"/\"]").unwrap();
    assert_eq!(access.methods().collect::<Vec<_>>(), ["a", "b"]);
}

/// The rule that decides about `dn` at level `level` and second `now`, `+` before it where he is
/// admitted.
fn rule(path: &[&str], method: &str, dn: Option<&str>, level: &str, now: i64) -> String {
    let files: Vec<_> = path.iter().map(|text| Access::parse(text).unwrap()).collect();
    let subject = dn.map(|dn| SubjectDn::parse_oneline(dn).unwrap());
    let level = LevelName::parse(level).ok();
    let ask = Ask {
        method,
        subject: subject.as_ref(),
        level: level.as_ref(),
        groups: &calorimetry(),
        now_unix: now,
    };
    match Access::permits(&files.iter().collect::<Vec<_>>(), &ask) {
        Ok(permitted) => format!("+{}", permitted.rule()),
        Err(denied) => format!("-{}", denied.rule()),
    }
}

/// Alice is in `atlas`, and so in `atlas.calo`; Bob in `atlas.calo` alone.
fn calorimetry() -> VoTree {
    let mut tree = VoTree::new(Vec::new());
    for group in ["atlas", "atlas.calo"] {
        tree.apply(&VoChange::Create { group: group.to_owned() }).unwrap();
    }
    for (group, dn) in [("atlas", ALICE), ("atlas.calo", BOB)] {
        let (group, subject) = (group.to_owned(), SubjectDn::parse_oneline(dn).unwrap());
        tree.apply(&VoChange::AddMember { group, subject }).unwrap();
    }
    tree
}

#[track_caller]
fn check_rule(text: &str, dn: &str, expected: &str) {
    assert_eq!(rule(&[text], "m", Some(dn), "strong", 0), expected, "{text}");
}

#[test]
fn the_rule_has_scope_key_and_line() {
    let text = "\nallow = [\n  \"/O=Grid/OU=Other\",\n  \"/O=Grid\",\n]\n";
    check_rule(text, ALICE, "+service: allow /O=Grid (line 4)");
    check_rule(text, EVE, "-service: not in allow (line 2)");
    check_rule("", EVE, "-service: not in allow");
    check_rule(
        "order = \"deny,allow\"",
        EVE,
        "+service: not in deny, and the order admits (line 1)",
    );
    check_rule("anonymous = true", EVE, "+service: anonymous = true (line 1)");
    check_rule("allow = [\"/\"]\n[method.m]\ndeny = [\"/\"]", EVE, "-method m: deny / (line 3)");
    check_rule("allow = [\"/\"]\n[method.m]\nallow = []", EVE, "-method m: not in allow (line 3)");
    let none = |text| rule(&[text], "m", None, "anonymous", 0);
    assert_eq!(none("\nanonymous = true"), "+service: anonymous = true (line 2)");
    assert_eq!(none("[method.m]\nanonymous = false"), "-method m: anonymous = false (line 2)");
    assert_eq!(none("allow = [\"/\"]"), "-anonymous is not set");
    // The first item of a list that names him, though a later one is shorter.
    check_rule(
        &format!("allow = [\"{ALICE}\", \"/\"]"),
        ALICE,
        &format!("+service: allow {ALICE} (line 1)"),
    );
    check_rule(&format!("allow = [\"/\", \"{ALICE}\"]"), ALICE, "+service: allow / (line 1)");
}

#[test]
fn names_in_the_form_of_rfc_4514() {
    check("allow = [\"OU=People,O=Grid\"]", "m", "Alice Bob");
    check("allow = [\"CN=Alice, OU=People, O=Grid\"]", "m", "Alice");
}

#[test]
fn groups_of_the_vo() {
    check_rule("allow_groups = [\"atlas\"]", ALICE, "+service: allow_groups atlas (line 1)");
    check_rule("allow_groups = [\"atlas\"]", BOB, "-service: not in allow (line 1)");
    check_rule(
        "allow_groups = [\"atlas.calo\"]",
        BOB,
        "+service: allow_groups atlas.calo (line 1)",
    );
    check_rule(
        "allow_groups = [\"atlas.calo\"]",
        ALICE,
        "+service: allow_groups atlas.calo (line 1)",
    );
    check_rule("allow_groups = [\"atlas.none\"]", ALICE, "-service: not in allow (line 1)");
    check_rule(
        "allow = [\"/\"]\ndeny_groups = [\"atlas\"]",
        ALICE,
        "-service: deny_groups atlas (line 2)",
    );
    check_rule("allow = [\"/\"]\ndeny_groups = [\"atlas\"]", BOB, "+service: allow / (line 1)");
    // A method's own groups are its list of the admitted.
    let method = "allow = [\"/\"]\n[method.m]\nallow_groups = [\"atlas\"]";
    check_rule(method, BOB, "-method m: not in allow (line 3)");
    check_errors(
        "allow_groups = [\"a..b\"]",
        &[
            "line 1: \"a..b\" is no VO group: a group's name is parts of letters, digits, '_' and '-' \
           joined by dots: at most 8 of at most 64",
        ],
    );
    let access =
        Access::parse("allow_groups = [\"b\"]\n[method.m]\ndeny_groups = [\"a\"]").unwrap();
    assert_eq!(access.groups().collect::<Vec<_>>(), [("b", 1), ("a", 3)]);
}

#[test]
fn levels_are_doors() {
    let text = "allow = [\"/\"]\nlevels = [\"strong\"]\n[method.m]\nlevels = [\"strong\", \"weak\"]\n\
                [method.open]\nallow = [\"/\"]\norder = \"deny,allow\"\nlevels = [\"weak\"]";
    let at = |method: &str, level: &str| rule(&[text], method, Some(ALICE), level, 0);
    assert_eq!(at("m", "strong"), "+service: allow / (line 1)");
    assert_eq!(at("m", "weak"), "-service: weak is not in levels (line 2)");
    assert_eq!(at("m", "-"), "-service: no level is not in levels (line 2)");
    assert_eq!(at("open", "weak"), "-service: weak is not in levels (line 2)");
    assert_eq!(at("open", "strong"), "-method open: strong is not in levels (line 8)");
    let none = |text, level| rule(&[text], "m", None, level, 0);
    let both = "anonymous = true\nlevels = [\"anonymous\"]";
    assert_eq!(none(both, "anonymous"), "+service: anonymous = true (line 1)");
    assert_eq!(none(both, "other"), "-service: other is not in levels (line 2)");
    check_errors(
        "levels = [\"Strong\"]",
        &["line 1: \"Strong\" is no level: 'S' may not stand here in a name"],
    );
}

#[test]
fn times_are_doors() {
    let text = "allow = [\"/\"]\nanonymous = true\nstart = 1970-01-01T01:00:10+01:00\nend = 1970-01-01T00:00:20Z\n\
                [method.m]\norder = \"deny,allow\"\nallow = [\"/\"]\nend = 1970-01-01T00:00:15Z";
    let at = |method: &str, now: i64| rule(&[text], method, Some(ALICE), "strong", now);
    assert_eq!(at("x", 9), "-service: before start (line 3)");
    assert_eq!(at("x", 10), "+service: allow / (line 1)");
    assert_eq!(at("x", 19), "+service: allow / (line 1)");
    assert_eq!(at("x", 20), "-service: after end (line 4)");
    assert_eq!(at("m", 14), "+method m: allow / (line 7)");
    assert_eq!(at("m", 15), "-method m: after end (line 8)");
    assert_eq!(at("m", 9), "-service: before start (line 3)");
    let none = |now: i64| rule(&[text], "m", None, "anonymous", now);
    assert_eq!(none(14), "+service: anonymous = true (line 2)");
    assert_eq!(none(15), "-method m: after end (line 8)");
    let access = Access::parse(text).unwrap();
    let ask = Ask { method: "m", subject: None, level: None, groups: &(), now_unix: 15 };
    let denied = Access::permits(&[&access], &ask).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "the access list of this service does not admit callers without a certificate"
    );
}

#[test]
fn times_are_instants_in_order() {
    let offset = |key: &str, text: &str| {
        format!(
            "line 1: `{key}` is a date and time with its offset, such as 2026-03-01T00:00:00Z or \
             2026-03-01T00:00:00+01:00, not {text}"
        )
    };
    for text in ["2026-03-01T00:00:00", "2026-03-01", "12:00:00"] {
        check_errors(&format!("start = {text}"), &[&offset("start", text)]);
    }
    check_errors(
        "end = 1",
        &["line 1: `end` is a date and time such as 2026-03-01T00:00:00Z, not a whole number"],
    );
    let order = |start: &str, end: &str| format!("start = 2026-{start}\nend = 2026-{end}");
    assert!(Access::parse(&order("03-01T00:00:00Z", "03-01T00:00:01Z")).is_ok());
    let wrong = "line 2: the end is not after the start on line 1";
    check_errors(&order("03-01T00:00:00Z", "03-01T00:00:00Z"), &[wrong]);
    check_errors(&order("03-01T00:00:00Z", "03-01T00:30:00+01:00"), &[wrong]);
}

#[test]
fn lowering() {
    let text = "allow = [\"/\"]\n[[lower]]\nsubjects = [\"/O=Grid/*\"]\nlevel = \"weak\"\n\
                [[lower]]\nsubjects = [\"/O=Grid/OU=People/CN=B*\"]\nlevel = \"weaker\"\n\
                [[method.m.lower]]\nsubjects = [\"/O=Nobody/*\",\n\"/O=Grid/OU=People/CN=B*\"]\nlevel = \"weakest\"\n";
    let access = Access::parse(text).unwrap();
    let check = |method: &str, dn: &str, level: Option<&str>, expected: &str| {
        let subject = SubjectDn::parse_oneline(dn).unwrap();
        let permitted = permits(&access, method, Some(&subject)).unwrap();
        assert_eq!(permitted.lowered().map(LevelName::as_str), level);
        assert_eq!(permitted.rule(), expected);
    };
    let by_service = "service: allow / (line 1); service: lowered to weak by /O=Grid/* (line 3)";
    check("m", ALICE, Some("weak"), by_service);
    check("x", BOB, Some("weak"), by_service);
    let by_method = "service: allow / (line 1); method m: lowered to weakest by \
                     /O=Grid/OU=People/CN=B* (line 10)";
    check("m", BOB, Some("weakest"), by_method);
    check("m", EVE, None, "service: allow / (line 1)");
    let levels: Vec<_> = access.levels().map(|(level, line)| (level.as_str(), line)).collect();
    assert_eq!(levels, [("weak", 2), ("weaker", 5), ("weakest", 8)]);

    let needs = "line 2: a [[lower]] needs `subjects`, DN patterns, and a `level`";
    check_errors("\n[[lower]]\nlevel = \"weak\"", &[needs]);
    check_errors("\n[[lower]]\nlevel = \"weak\"\nsubjects = []", &[needs]);
    check_errors("\n[[lower]]\nsubjects = [\"/O=Grid\"]", &[needs]);
    check_errors(
        "[[lower]]\nsubjects = [\"/O=Grid\"]\nlevel = \"Weak\"\nlevl = 1",
        &[
            "line 3: \"Weak\" is no level: 'W' may not stand here in a name",
            "line 4: unknown key `levl` in [lower]: did you mean `level`?",
        ],
    );
    let patterns = |count: usize| {
        let list = "\"/O=G\",".repeat(count);
        format!("[[lower]]\nlevel = \"weak\"\nsubjects = [{list}]")
    };
    assert!(Access::parse(&patterns(1000)).is_ok());
    check_errors(&patterns(1001), &["line 1: there are more than 1000 patterns in [[lower]]"]);
}

#[test]
fn folders_around_a_service() {
    let path = |folder: &str, service: &str, dn: &str| {
        let files =
            [Access::parse(folder).unwrap().of_folder("physics"), Access::parse(service).unwrap()];
        let subject = SubjectDn::parse_oneline(dn).unwrap();
        let ask =
            Ask { method: "m", subject: Some(&subject), level: None, groups: &(), now_unix: 0 };
        match Access::permits(&[&files[0], &files[1]], &ask) {
            Ok(permitted) => format!("+{}", permitted.rule()),
            Err(denied) => format!("-{}", denied.rule()),
        }
    };
    // What is granted further out holds further in,
    let grid = "allow = [\"/O=Grid\"]";
    assert_eq!(path(grid, "", ALICE), "+folder physics: allow /O=Grid (line 1)");
    assert_eq!(path(grid, "", EVE), "-folder physics: not in allow (line 1)");
    // unless it is denied there, or a list there does not name him;
    let deny = format!("deny = [\"{ALICE}\"]");
    assert_eq!(path(grid, &deny, ALICE), format!("-service: deny {ALICE} (line 1)"));
    let bob = format!("allow = [\"{BOB}\"]");
    assert_eq!(path(grid, &bob, ALICE), "-service: not in allow (line 1)");
    // what is not granted there may be here,
    assert_eq!(path("", "allow = [\"/\"]", EVE), "+service: allow / (line 1)");
    // but for those who are denied by name.
    assert_eq!(
        path(&deny, "allow = [\"/\"]", ALICE),
        format!("-folder physics: deny {ALICE} (line 1)")
    );
    let opened = "order = \"deny,allow\"\nallow = [\"/\"]";
    assert_eq!(path(&deny, opened, ALICE), "+service: allow / (line 2)");
    // The order is that of the scope around.
    assert_eq!(
        path("order = \"deny,allow\"", &deny, BOB),
        "+folder physics: not in deny, and the order admits (line 1)"
    );
    // A folder's methods are those of no service.
    let methods = "allow = [\"/\"]\n[method.m]\ndeny = [\"/\"]";
    assert_eq!(path(methods, "", BOB), "+folder physics: allow / (line 1)");
    assert_eq!(rule(&[], "m", Some(ALICE), "strong", 0), "-no access list");
    assert_eq!(rule(&[], "m", None, "strong", 0), "-anonymous is not set");
}

const OLD: &str = "# the original's\nORDER_ALLOW_DENY = 0\nORDER_DENY_ALLOW = 1\n\naccess = [\n\
    # name, order, allowed, denied\n('', [ORDER_ALLOW_DENY,\n  ['/O=Grid'], # all of us\n  ['atlas'],\n  \
    [], # default all\n  [], [None, None, None]]),\n('burn', [ORDER_DENY_ALLOW, [], [], \
    ['/O=Grid/OU=People/CN=Bob'], None, (1100000000, None, 100.5)]),\n]\n";

#[test]
fn the_form_of_the_original() {
    check(OLD, "m", "Alice Bob");
    check(OLD, "burn", "Alice");
    check_rule(OLD, ALICE, "+service: allow /O=Grid (line 8)");
    let at = |now| rule(&[OLD], "burn", Some(ALICE), "strong", now);
    assert_eq!(at(100), "+service: allow /O=Grid (line 8)");
    assert_eq!(at(101), "-method burn: after end (line 12)");
    let access = Access::parse(OLD).unwrap();
    assert_eq!(access.methods().collect::<Vec<_>>(), ["burn"]);
    assert_eq!(
        access.to_toml(),
        "order = \"allow,deny\"\nallow = [\"/O=Grid\"]\nallow_groups = [\"atlas\"]\n\n[method.\"burn\"]\n\
         order = \"deny,allow\"\ndeny = [\"/O=Grid/OU=People/CN=Bob\"]\nend = 1970-01-01T00:01:41Z\n"
    );
    // Five things, tuples, and bytes that are no UTF-8.
    check("access = (('m', (0, ('/',), (), (), ())),)", "m", "Alice Bob Eve");
    check("access = [('m', [0, ['/O=Gr\\xfcn'], [], [], []])]", "m", "");
}

#[test]
fn mistakes_in_the_form_of_the_original() {
    check_errors(
        "access = [\n('', 1),\n('a.b', [0, [], [], [], []]),\n(1, [0, [], [], [], []]),\n\
         ('c', [2, ['Grid'],\n['a b'], '/', [7], [None, 'x', -1]]),\n('c', [0, [], [], [], [], [None]]),\n1]",
        &[
            "line 2: a specification is a list of six: order, allowed DNs, allowed groups, denied DNs, \
             denied groups, times",
            "line 3: \"a.b\" is no method: it is named as inside its service, without dots",
            "line 4: a text is expected, not a number",
            "line 5: the order is ORDER_ALLOW_DENY or ORDER_DENY_ALLOW",
            "line 5: \"Grid\" is no beginning of DNs: a name begins with '/'",
            "line 6: a time is None or a number of seconds since 1970",
            "line 6: a time is None or a number of seconds since 1970",
            "line 6: each of the four is a list, not a text",
            "line 6: \"a b\" is no VO group: a group's name is parts of letters, digits, '_' and '-' \
             joined by dots: at most 8 of at most 64",
            "line 6: a text is expected, not a number",
            "line 7: the times are three: of the last change, start, end",
            "line 7: \"c\" stands on line 5 already",
            "line 8: an entry is a pair of a name and a specification",
        ],
    );
    check_errors(
        "access = 'x'\n",
        &["line 1: the file is TOML and the old Python form at once: write one of them"],
    );
    check_errors(
        "access = 1,",
        &["line 1: ',' may not stand here: the file is read as literals, never run"],
    );
    check_errors(
        "access = (('', (0, (), (), (), (), (None, 5, 5))),)",
        &["line 1: the end is not after the start on line 1"],
    );
}

#[test]
fn a_file_is_one_of_two_forms() {
    let both = "line 2: the file is TOML and the old Python form at once: write one of them";
    check_errors("\naccess = [[\"\", [0, [\"/\"], [], [], []]]]", &[both]);
    check_errors("# words\naccess = []", &[both]);
    // TOML, however wrong.
    check_errors("ORDER_ALLOW_DENY = 0", &["line 1: unknown key `ORDER_ALLOW_DENY`"]);
    check_errors("acess = [[\"\", 0]]", &["line 1: unknown key `acess`"]);
    // Neither, and meant to be Python.
    let told = "may not stand here: the file is read as literals, never run, and has `access = [...]` alone";
    check_errors("import os\naccess = []", &[&format!("line 1: `import` {told}")]);
    check_errors(
        "allow = [\"/\"]\nimport os",
        &["line 1: `allow` may not be assigned: only `access` and the two constants of order"],
    );
    // Neither, and meant to be TOML.
    let errors = Access::parse("allow = [\"/\"\ndeny == 2\n").unwrap_err();
    assert!(errors.iter().all(|error| !error.text.contains("literal")), "{errors:?}");
    // Only comments are TOML.
    check("# access = [('', [0, ['/'], [], [], []])]", "m", "");
}

#[test]
fn remarks() {
    let check = |text: &str, expected: &[&str]| {
        let remarks = Access::parse(text).unwrap().remarks();
        let remarks: Vec<_> = remarks.iter().map(Warning::to_string).collect();
        assert_eq!(remarks, expected, "{text}");
    };
    check("allow = [\"/\"]", &[]);
    check(
        "",
        &["line 1: nobody is admitted to anything, unless by the list of a folder around it"],
    );
    check("order = \"deny,allow\"", &[]);
    check("[method.m]\nallow = [\"/\"]", &[]);
    check(
        "allow = [\n\"/O=Grid/CN=a\",\n\"/o=grid\",\n\"/O=Grid\"]",
        &[
            "line 2: /O=Grid/CN=a is needless: line 3 has /O=grid",
            "line 4: /O=Grid is needless: line 3 has /O=grid",
        ],
    );
    check(
        "allow = [\"/O=Grid/CN=a\", \"/O=Else\"]\ndeny = [\"/O=Grid\"]",
        &["line 1: /O=Grid/CN=a is never reached: `deny` has /O=Grid on line 2, which wins"],
    );
    check(
        "order = \"deny,allow\"\nallow = [\"/\"]\n[method.m]\ndeny = [\"/O=G\"]\nallow = [\"/\"]",
        &["line 4: /O=G is never reached: `allow` has / on line 5, which wins"],
    );
    check("allow_groups = [\"a\", \"b\",\n\"a\"]", &["line 2: a is needless: line 1 has it"]);
    check("anonymous = true\nlevels = []", &["line 2: `levels` is empty: nobody is admitted"]);
    check(
        "anonymous = true\n[method.m]\norder = \"allow,deny\"",
        &["line 2: the keys of m decide nothing"],
    );
    check(
        "anonymous = true\n[[lower]]\nlevel = \"weak\"\nsubjects = [\"/O=a\"]\n[[lower]]\nlevel = \"other\"\nsubjects = [\"/O=A\", \"/O=a\"]",
        &["line 7: /O=a is never reached: line 4 has it"],
    );
    check(
        "access = [('', [0, ['/'], [], [], []])]",
        &["line 1: the old Python form: `nesssi access convert` writes it in TOML"],
    );
}

/// Texts of access lists and who asks, made of few words so that they meet.
mod made {
    use super::*;

    pub(super) const DNS: [&str; 6] = ["/", "/O=A", "/O=A/CN=x", "/O=A/CN=y", "/O=B", "/O=B/CN=x"];
    pub(super) const PEOPLE: [&str; 4] = ["/O=A/CN=x", "/O=A/CN=y", "/O=B/CN=x", "/O=C/CN=x"];

    /// What one scope says, without doors.
    #[derive(Debug, Clone, Default)]
    pub(super) struct Keys {
        pub(super) order: Option<bool>,
        pub(super) allow: Option<Vec<usize>>,
        pub(super) deny: Option<Vec<usize>>,
        pub(super) anonymous: Option<bool>,
    }

    impl Keys {
        pub(super) fn to_toml(&self) -> String {
            let list = |key: &str, list: &Option<Vec<usize>>| {
                let names = list.as_ref()?.iter().map(|&index| DNS[index]);
                Some(format!("{key} = {:?}\n", names.collect::<Vec<_>>()))
            };
            let order = self.order.map(|deny_first| {
                format!("order = \"{}\"\n", if deny_first { "deny,allow" } else { "allow,deny" })
            });
            let anonymous = self.anonymous.map(|truth| format!("anonymous = {truth}\n"));
            [order, list("allow", &self.allow), list("deny", &self.deny), anonymous]
                .into_iter()
                .flatten()
                .collect()
        }

        fn lists(list: Option<&Vec<usize>>, dn: &str) -> bool {
            let begins = |prefix: &str| {
                prefix == "/" || dn == prefix || dn.starts_with(&format!("{prefix}/"))
            };
            list.is_some_and(|list| list.iter().any(|&index| begins(DNS[index])))
        }

        fn finds(&self, dn: &str, deny_first: bool) -> Option<bool> {
            let deny = Self::lists(self.deny.as_ref(), dn).then_some(false);
            let allow = Self::lists(self.allow.as_ref(), dn).then_some(true);
            let everyone = (self.anonymous == Some(true)).then_some(true);
            if deny_first { allow.or(deny).or(everyone) } else { deny.or(allow).or(everyone) }
        }

        pub(super) fn denies(&self, dn: &str) -> bool {
            Self::lists(self.deny.as_ref(), dn)
        }

        pub(super) fn names(&self, dn: &str) -> bool {
            self.finds(dn, false).is_some()
        }
    }

    /// The rules as they were written for one service and one method, word for word.
    pub(super) fn one_file(service: &Keys, method: Option<&Keys>, dn: Option<&str>) -> bool {
        let Some(dn) = dn else {
            let own = method.and_then(|method| method.anonymous);
            return own.or(service.anonymous).unwrap_or(false);
        };
        let outer_order = service.order.unwrap_or(false);
        let outer = service.finds(dn, outer_order);
        let outer_verdict = outer.unwrap_or(outer_order);
        let Some(method) = method else { return outer_verdict };
        let order = method.order.unwrap_or(outer_order);
        match (method.finds(dn, order), outer) {
            (Some(true), Some(false)) if !order => false,
            (Some(verdict), _) => verdict,
            (None, _) if method.allow.is_some() && !order => false,
            (None, _) => outer_verdict,
        }
    }

    pub(super) fn keys() -> impl Strategy<Value = Keys> {
        let list = || prop::option::of(prop::collection::vec(0..DNS.len(), 0..3));
        let truth = || prop::option::of(any::<bool>());
        (truth(), list(), list(), truth()).prop_map(|(order, allow, deny, anonymous)| Keys {
            order,
            allow,
            deny,
            anonymous,
        })
    }

    pub(super) fn admits(path: &[String], dn: Option<&str>) -> bool {
        let files: Vec<_> = path.iter().map(|text| Access::parse(text).unwrap()).collect();
        let subject = dn.map(|dn| SubjectDn::parse_oneline(dn).unwrap());
        let subject = subject.as_ref();
        let ask = Ask { method: "m", subject, level: None, groups: &(), now_unix: 0 };
        Access::permits(&files.iter().collect::<Vec<_>>(), &ask).is_ok()
    }
}

proptest! {
    #[test]
    fn one_file_decides_as_the_rules_for_one_file(
        service in made::keys(), method in prop::option::of(made::keys()),
    ) {
        let text = match &method {
            Some(method) => format!("{}[method.m]\n{}", service.to_toml(), method.to_toml()),
            None => service.to_toml(),
        };
        for dn in made::PEOPLE.iter().map(|dn| Some(*dn)).chain([None]) {
            let expected = made::one_file(&service, method.as_ref(), dn);
            prop_assert_eq!(made::admits(std::slice::from_ref(&text), dn), expected, "{:?} {}", dn, text);
        }
    }

    #[test]
    fn a_service_and_its_method_are_as_a_folder_and_its_service(
        outer in made::keys(), inner in made::keys(),
    ) {
        let one = [format!("{}[method.m]\n{}", outer.to_toml(), inner.to_toml())];
        let two = [outer.to_toml(), inner.to_toml()];
        for dn in made::PEOPLE.iter().map(|dn| Some(*dn)).chain([None]) {
            prop_assert_eq!(made::admits(&one, dn), made::admits(&two, dn));
        }
    }

    /// With allow,deny throughout: one denial on the way is enough; what the outermost grants holds
    /// where nobody further in has a list.
    #[test]
    fn denials_win_on_every_path(scopes in prop::collection::vec(made::keys(), 1..5)) {
        let scopes: Vec<_> =
            scopes.into_iter().map(|keys| made::Keys { order: None, ..keys }).collect();
        let path: Vec<_> = scopes.iter().map(made::Keys::to_toml).collect();
        for dn in made::PEOPLE {
            let admitted = made::admits(&path, Some(dn));
            if scopes.iter().any(|keys| keys.denies(dn)) {
                prop_assert!(!admitted, "{dn} {path:?}");
            }
            if !scopes.iter().any(|keys| keys.names(dn)) {
                prop_assert!(!admitted, "{dn} {path:?}");
            }
            let silent = made::Keys::default().to_toml();
            let longer: Vec<_> = path.iter().cloned().chain([silent]).collect();
            prop_assert_eq!(admitted, made::admits(&longer, Some(dn)));
        }
    }

    #[test]
    fn toml_written_anew_decides_the_same(service in made::keys(), method in made::keys()) {
        let lower = "[[method.m.lower]]\nsubjects = [\"/O=A/CN=*\"]\nlevel = \"weak\"\n";
        let text = format!(
            "start = 1969-12-31T23:00:00-01:00\nlevels = [\"a\"]\nallow_groups = [\"x.y\"]\n[method.m]\n{}{lower}",
            method.to_toml(),
        );
        let text = format!("{}{text}", made::Keys { anonymous: service.anonymous, deny: service.deny, ..Default::default() }.to_toml());
        let first = Access::parse(&text).unwrap();
        let again = Access::parse(&first.to_toml()).unwrap();
        prop_assert_eq!(first.to_toml(), again.to_toml());
        let level = LevelName::parse("a").unwrap();
        for dn in made::PEOPLE {
            let subject = SubjectDn::parse_oneline(dn).unwrap();
            let ask = Ask { method: "m", subject: Some(&subject), level: Some(&level), groups: &(), now_unix: 0 };
            let (one, other) = (Access::permits(&[&first], &ask), Access::permits(&[&again], &ask));
            prop_assert_eq!(one.is_ok(), other.is_ok());
            prop_assert_eq!(
                one.ok().and_then(|it| it.lowered().cloned()),
                other.ok().and_then(|it| it.lowered().cloned())
            );
        }
    }

    #[test]
    fn the_original_form_and_its_toml_decide_the_same(
        order in 0..2_u8, lists in prop::collection::vec(prop::collection::vec(0..made::DNS.len(), 0..3), 4),
    ) {
        let list = |index: usize| {
            let names: Vec<_> = lists[index].iter().map(|&name| made::DNS[name]).collect();
            format!("{names:?}")
        };
        let text = format!(
            "access = [('', [{order}, {}, [], {}, []]), ('m', [0, {}, [], {}, []])]",
            list(0), list(1), list(2), list(3),
        );
        let toml = Access::parse(&text).unwrap().to_toml();
        for dn in made::PEOPLE {
            let one = made::admits(std::slice::from_ref(&text), Some(dn));
            prop_assert_eq!(one, made::admits(std::slice::from_ref(&toml), Some(dn)), "{}", toml);
        }
    }

    #[test]
    fn reading_ends_whatever_is_read(text in "\\PC*") {
        drop(Access::parse(&text));
    }
}

#[test]
fn keys_within_a_table_of_another_file() {
    use crate::written::Document;
    let read = |text: &str| {
        let document = Document::new(text);
        let mut table = document.root().table("tree").unwrap();
        assert!(table.text("name").is_some());
        let access = Access::within(&mut table);
        table.finish(|_| None);
        let mistakes = document.mistakes();
        (access, mistakes.into_iter().map(|mistake| mistake.text).collect::<Vec<_>>())
    };
    let alice = SubjectDn::parse_oneline(ALICE).unwrap();
    let (nobody, mistakes) = read("[tree]\nname = \"data\"\n");
    assert!(mistakes.is_empty() && permits(&nobody, "read", Some(&alice)).is_err());
    let (grid, mistakes) = read("[tree]\nname = \"data\"\nallow = [\"/O=Grid\"]\n");
    assert!(mistakes.is_empty());
    let permitted = permits(&grid, "read", Some(&alice)).unwrap();
    assert_eq!(permitted.rule(), "service: allow /O=Grid (line 3)");
    assert!(permits(&grid, "read", Some(&SubjectDn::parse_oneline(EVE).unwrap())).is_err());
    // Nobody is lowered by it, and there are no methods.
    let (_, mistakes) = read(
        "[tree]\nname = \"data\"\nalow = []\n[[tree.lower]]\nlevel = \"weak\"\n[tree.method.m]\n",
    );
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
}
