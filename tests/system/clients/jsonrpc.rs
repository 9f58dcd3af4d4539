//! JSON-RPC.

use std::path::Path;

use super::table::{
    ARRAYS, BOOLEANS, BYTES, Client, Column, DOUBLES, FAULT_NONE, FAULT_OWN, Family, HELP, INTS,
    LARGE, STRUCTS, Short, TIMES,
};
use super::{Site, have, installed, source};

pub(super) const FAMILY: Family =
    Family { name: "JSON-RPC clients", columns: COLUMNS, clients: CLIENTS };

/// What JSON carries, CRs as they are.
const STRINGS: &str = "[s,s%20a%20,s%3C%26%3E%22%27%5D%5D%3E,sgr%C3%BC%C3%9Fe%20%E2%82%AC,\
    s%F0%9F%98%80%F0%9D%84%9E,sa%09b%0Ac,sa%0Db%0D%0Ac,s%7F]";
const NULLS: &str = "[n,[n,{a:n}]]";

/// A parameter that is missing.
const NAMED_WRONG: &str = "f-32602:parameter%201%20%28whole%29%20of%20kinds.minus%20is%20missing";

const COLUMNS: &[Column] = &[
    Column { name: "int", results: &[("int.seen", INTS), ("int.back", INTS)] },
    Column { name: "64 bits", results: &[("large.seen", LARGE), ("large.back", LARGE)] },
    Column { name: "double", results: &[("double.seen", DOUBLES), ("double.back", DOUBLES)] },
    Column { name: "boolean", results: &[("boolean.seen", BOOLEANS), ("boolean.back", BOOLEANS)] },
    Column { name: "string", results: &[("string.seen", STRINGS), ("string.back", STRINGS)] },
    Column { name: "dateTime", results: &[("dateTime.seen", TIMES), ("dateTime.back", TIMES)] },
    Column { name: "base64", results: &[("base64.seen", BYTES), ("base64.back", BYTES)] },
    Column { name: "array", results: &[("array.seen", ARRAYS), ("array.back", ARRAYS)] },
    Column { name: "struct", results: &[("struct.seen", STRUCTS), ("struct.back", STRUCTS)] },
    Column { name: "null", results: &[("null.seen", NULLS), ("null.back", NULLS)] },
    Column { name: "fault", results: &[("fault.none", FAULT_NONE), ("fault.own", FAULT_OWN)] },
    Column {
        name: "introspection",
        results: &[
            ("introspection.list", "b1"),
            ("introspection.help", HELP),
            ("introspection.signature", "[[sint,sint,sint]]"),
        ],
    },
    Column { name: "by name", results: &[("named", "i3"), ("named.wrong", NAMED_WRONG)] },
    Column {
        name: "batch",
        results: &[("batch", "i3 f1234:gr%C3%B6%C3%9Fer%20%3C%26%3E%20%E2%82%AC [slast]")],
    },
    Column { name: "notification", results: &[("notification", "[squietly]")] },
    Column { name: "1.0 as text/json", results: &[("1.0.call", "i3"), ("1.0.fault", FAULT_NONE)] },
    Column {
        name: "keep-alive",
        results: &[("keep-alive", "[i3,i7]"), ("keep-alive.connections", "1")],
    },
];

const PELIX: &str = "Python `jsonrpclib-pelix`";
const JSONRPCCLIENT: &str = "Python `jsonrpcclient`";
const JAYSON: &str = "Node `jayson`";
const CURL: &str = "`curl`";

const UP_TO_53: &str = "[i2147483648,i-2147483649,i9007199254740991]";

const CLIENTS: &[Client] = &[
    Client {
        name: PELIX,
        short_of: &[(
            "notification",
            Short::Partly(
                "The notification is carried out, and status 204, which answers it, raises `TransportError`.",
                &[("notification", Some("204 [squietly]"))],
            ),
        )],
    },
    Client {
        name: JSONRPCCLIENT,
        short_of: &[("1.0 as text/json", Short::Cannot("Writes 2.0 and nothing else."))],
    },
    Client {
        name: JAYSON,
        short_of: &[
            (
                "64 bits",
                Short::Partly(
                    "JavaScript has whole numbers of up to 2^53.",
                    &[("large.seen", Some(UP_TO_53)), ("large.back", Some(UP_TO_53))],
                ),
            ),
            (
                "double",
                Short::Partly(
                    "A whole number is written as an int, 3.0 as 3, and -0 as 0.",
                    &[
                        (
                            "double.seen",
                            Some(
                                "[d3fe0000000000000,dbff8000000000000,d3fb999999999999a,\
                                 d7e37e43c8800759c,d0000000000000001,d7fefffffffffffff,i3,i0]",
                            ),
                        ),
                        (
                            "double.back",
                            Some(
                                "[d3fe0000000000000,dbff8000000000000,d3fb999999999999a,\
                                 d7e37e43c8800759c,d0000000000000001,d7fefffffffffffff,\
                                 d4008000000000000,d0000000000000000]",
                            ),
                        ),
                    ],
                ),
            ),
        ],
    },
    Client { name: CURL, short_of: &[] },
];

fn run(client: &str, interpreter: &Path, program: &str, needs: &[&Path]) {
    if !have(&[interpreter]) || !have(needs) {
        return;
    }
    let site = Site::start();
    let mut command = site.command(interpreter);
    command.arg(source(program));
    site.check(&FAMILY, FAMILY.client(client), command);
}

#[test]
fn python_jsonrpclib_pelix() {
    run(PELIX, &installed().join("venv/bin/python"), "py/jsonrpclib_pelix.py", &[]);
}

#[test]
fn python_jsonrpcclient() {
    let python = installed().join("venv/bin/python");
    run(JSONRPCCLIENT, &python, "py/jsonrpcclient_requests.py", &[]);
}

#[test]
fn node_jayson() {
    let module = installed().join("node_modules/jayson");
    run(JAYSON, Path::new("/usr/bin/node"), "js/jayson.js", &[&module]);
}

#[test]
fn curl() {
    run(CURL, Path::new("/usr/bin/python3"), "py/curl.py", &[Path::new("/usr/bin/curl")]);
}
