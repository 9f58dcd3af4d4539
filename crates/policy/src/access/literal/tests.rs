use proptest::prelude::*;

use super::*;

/// What `access = VALUE` reads as, lines left out: lists in `[]`, texts in `""`.
fn check(value: &str, expected: &str) {
    let found = parse(&format!("access = {value}\n")).unwrap();
    assert_eq!(show(&found.access.value), expected, "{value}");
}

fn show(value: &Literal) -> String {
    match value {
        Literal::None => "None".to_owned(),
        Literal::Truth(truth) => truth.to_string(),
        Literal::Integer(number) => number.to_string(),
        Literal::Float(number) => format!("{number:?}"),
        Literal::Text(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Literal::List(items) => {
            let items: Vec<_> = items.iter().map(|item| show(&item.value)).collect();
            format!("[{}]", items.join(" "))
        }
    }
}

fn check_refused(text: &str, expected: &str) {
    assert_eq!(parse(text).unwrap_err().to_string(), expected, "{text}");
}

#[test]
fn literals() {
    check("None", "None");
    check("[True, False]", "[true false]");
    check("[0, -7, 1234567890123L, 1.5, 1e3, -.5, 2.]", "[0 -7 1234567890123 1.5 1000.0 -0.5 2.0]");
    check("[ORDER_ALLOW_DENY, ORDER_DENY_ALLOW]", "[0 1]");
    check("[]", "[]");
    check("()", "[]");
    check("(1)", "1");
    check("(1,)", "[1]");
    check("[1,]", "[1]");
    check("((1, 2), [3, (4,)])", "[[1 2] [3 [4]]]");
    check("[ # words ] here\n  1,\n\n  2 # more\n]  # and here", "[1 2]");
    check("[1,\r\n2]", "[1 2]");
    check("[1, \\\n 2]", "[1 2]");
    check("\\\n1", "1");
}

#[test]
fn texts() {
    check("'a'", "\"a\"");
    check("\"a'b\"", "\"a\\'b\"");
    check("''", "\"\"");
    check("'''a\n'b''c'''", "\"a\\n\\'b\\'\\'c\"");
    check("\"\"\"\"\"\"", "\"\"");
    check("'a' \"b\" 'c'", "\"abc\"");
    check("['a'\n 'b', 'c']", "[\"ab\" \"c\"]");
    check("r'a\\n\\'b'", "\"a\\\\n\\\\\\'b\"");
    check("'\\\\ \\' \\\" \\n\\t\\r\\q\\\nx'", "\"\\\\ \\' \\\" \\n\\t\\r\\\\qx\"");
    check("'\\x41\\101\\60'", "\"AA0\"");
    // Bytes without a prefix, characters with one.
    check("'\\xe9'", "\"\\xe9\"");
    check("u'\\xe9\\u00e9\\U000000e9'", "\"\\xc3\\xa9\\xc3\\xa9\\xc3\\xa9\"");
    check("'é'", "\"\\xc3\\xa9\"");
    check("'# no comment'", "\"# no comment\"");
}

#[test]
fn whole_files() {
    let text = "#!/usr/bin/env python\n\"\"\"Words\nfor people.\"\"\"\n\nORDER_ALLOW_DENY = 0\r\n\
                ORDER_DENY_ALLOW=1 # so\n\naccess = [\n 1]\n# end";
    let found = parse(text).unwrap();
    assert_eq!((found.access.line, show(&found.access.value)), (8, "[1]".to_owned()));
    assert_eq!(show(&parse("\u{feff}access=1").unwrap().access.value), "1");
}

#[test]
fn whatever_is_no_literal_is_refused_with_its_line() {
    let no_literal = |name: &str, line: usize| {
        format!("line {line}: `{name}` is no literal: the file is never run")
    };
    let not_here = |what: &str, line: usize| {
        format!("line {line}: {what} may not stand here: the file is read as literals, never run")
    };
    let only = ", and has `access = [...]` alone";
    check_refused("import os\naccess = []", &(not_here("`import`", 1) + only));
    check_refused("access = []\nfrom os import path", &(not_here("`from`", 2) + only));
    check_refused("access = []\naccess += [1]", &(not_here("`access`", 2) + only));
    check_refused("access == []", &(not_here("`access`", 1) + only));
    check_refused("print('x')", &(not_here("`print`", 1) + only));
    check_refused("access = [\n\n__import__('os')]", &no_literal("__import__", 3));
    check_refused("access = open('/etc/passwd').read()", &no_literal("open", 1));
    check_refused("access = [1].pop()", &not_here("'.'", 1));
    check_refused("access = 'a'.upper()", &not_here("'.'", 1));
    check_refused("access = 1 + 1", &not_here("'+'", 1));
    check_refused("access = [1 + 1]", &not_here("'+'", 1));
    check_refused("access = 'a' % 1", &not_here("'%'", 1));
    check_refused("access = [x for x in y]", &no_literal("x", 1));
    check_refused("access = [1 for x in y]", &not_here("'f'", 1));
    check_refused("access = [lambda: 1]", &no_literal("lambda", 1));
    check_refused("access = {'a': 1}", &not_here("'{'", 1));
    check_refused("access = f'{x}'", "line 1: a text with `f` before it is not read here");
    check_refused("access = b'x'", "line 1: a text with `b` before it is not read here");
    check_refused("access = `1`", &not_here("'`'", 1));
    check_refused("access = 1; import os", &not_here("';'", 1));
    check_refused("access = 1 if 1 else 2", &not_here("'i'", 1));
    check_refused("access =\n[]", &not_here("the end of the line", 1));
    check_refused("access =", &not_here("the end of the file", 1));
    check_refused("  access = []", "line 1: the line is indented");
    check_refused("access = 1\n  # words\n  2", "line 3: the line is indented");
}

#[test]
fn what_is_no_access_list_is_refused() {
    check_refused("", "line 1: there is no `access = [...]`");
    check_refused("ORDER_ALLOW_DENY = 0", "line 1: there is no `access = [...]`");
    check_refused("access = 1\naccess = 2", "line 2: `access` is assigned a second time");
    check_refused("ORDER_ALLOW_DENY = 1", "line 1: `ORDER_ALLOW_DENY` is 0");
    check_refused(
        "\nx = 1",
        "line 2: `x` may not be assigned: only `access` and the two constants of order",
    );
    check_refused("access = 'a", "line 1: the text is never closed");
    check_refused("access = 'a\n'", "line 1: the text is not closed on its line");
    check_refused("access = '''a\n", "line 1: the text is never closed");
    check_refused("access = [\n(\n1", "line 2: the bracket is never closed");
    check_refused(
        "access = [1)",
        "line 1: ')' may not stand here: the file is read as literals, never run",
    );
    check_refused("access = 0777", "line 1: `0777` is no number that is read here");
    check_refused("access = 0x10", "line 1: `0x10` is no number that is read here");
    check_refused("access = 1e999", "line 1: `1e999` is no number that is read here");
    check_refused(
        "access = 99999999999999999999",
        "line 1: `99999999999999999999` is no number that is read here",
    );
    check_refused("access = '\\x4'", "line 1: the escape has not 2 hexadecimal digits");
    check_refused("access = u'\\ud800'", "line 1: there is no character 0xd800");
    check_refused("access = '\\777'", "line 1: there is no character 0x1ff");
    check_refused("access = '\\N{DASH}'", "line 1: `\\N` is not read here: write the character");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("access = {}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX - 1)).is_ok());
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    let deep = "line 1: lists lie more than 16 deep";
    check_refused(&nested(DEPTH_MAX + 1), deep);
    check_refused(&format!("access = {}", "(".repeat(1_000_000)), deep);
}

proptest! {
    #[test]
    fn reading_ends_whatever_is_read(text in "\\PC*") {
        drop(parse(&text));
        drop(parse(&format!("access = {text}")));
    }

    #[test]
    fn reading_what_looks_like_python_ends(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "(", ")", ",", "'", "\"", "'''", "\\", "\n", " ", "#", "1", "-", ".", "e", "x",
            "None", "ORDER_ALLOW_DENY", "access", "=", "u", "r", "\\x4", "/O=Grid", "\r\n", "é",
        ]), 0..40),
    ) {
        let text = pieces.concat();
        drop(parse(&text));
        drop(parse(&format!("access = [{text}]")));
    }
}
