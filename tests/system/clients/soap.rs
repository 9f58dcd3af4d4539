//! SOAP.

use std::path::Path;
use std::process::Command;

use super::table::{Client, Column, FAULT_OWN, Family, Short};
use super::{Site, done, have, installed, source};

pub(super) const FAMILY: Family =
    Family { name: "SOAP clients", columns: COLUMNS, clients: CLIENTS };

/// 0, 1, -1, 42, and the edges of 32, 53 and 64 bits.
const INTS_SEEN: &str = "[i0] [i1] [i-1] [i42] [i2147483647] [i-2147483648] \
    [i9007199254740991] [i9223372036854775807] [i-9223372036854775808]";
const INTS_BACK: &str = "i0 i1 i-1 i42 i2147483647 i-2147483648 i9007199254740991 \
    i9223372036854775807 i-9223372036854775808";
/// 0.5, -1.5, 0.1, 1e300, the smallest, the largest, 3, and minus nothing.
const DOUBLES_SEEN: &str = "[d3fe0000000000000] [dbff8000000000000] [d3fb999999999999a] \
    [d7e37e43c8800759c] [d0000000000000001] [d7fefffffffffffff] [d4008000000000000] \
    [d8000000000000000]";
const DOUBLES_BACK: &str = "d3fe0000000000000 dbff8000000000000 d3fb999999999999a \
    d7e37e43c8800759c d0000000000000001 d7fefffffffffffff d4008000000000000 d8000000000000000";
const STRINGS_SEEN: &str = "[s] [s%20a%20] [s%3C%26%3E%22%27%5D%5D%3E] \
    [sgr%C3%BC%C3%9Fe%20%E2%82%AC] [s%F0%9F%98%80%F0%9D%84%9E] [sa%09b%0Ac]";
const STRINGS_BACK: &str = "s s%20a%20 s%3C%26%3E%22%27%5D%5D%3E \
    sgr%C3%BC%C3%9Fe%20%E2%82%AC s%F0%9F%98%80%F0%9D%84%9E sa%09b%0Ac";
/// All 256 bytes; and none.
const BYTES_SEEN: &str = "[x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
    404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f\
    808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f\
    a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
    c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
    e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff] [x]";
const BYTES_BACK: &str = "x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
    404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f\
    808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f\
    a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
    c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
    e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff x";
const BYTES_BACK_BUT_NONE: &str = "x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
    404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f\
    808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f\
    a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
    c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
    e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff n";
const ARRAYS_SEEN: &str = "[[]] [[[]]] [[i1,sx,[d4004000000000000,[b1,[]]]]]";
const ARRAYS_BACK: &str = "[] [[]] [i1,sx,[d4004000000000000,[b1,[]]]]";
const STRUCTS_SEEN: &str = "[{}] [{:i1,%3C%26%3E:[],%C3%A9%F0%9F%98%80:{deep:{er:[{}]}},a%20b:sx}]";
const STRUCTS_BACK: &str = "{} {:i1,%3C%26%3E:[],%C3%A9%F0%9F%98%80:{deep:{er:[{}]}},a%20b:sx}";
const ANY: &str = "[i1,sx,d4004000000000000,b1,t20261122T08:00:01,x00ff10]";
const NILS: &str = "[n,[n,{a:n}]]";

const COLUMNS: &[Column] = &[
    Column { name: "its version", results: &[("version", "True")] },
    Column { name: "int", results: &[("int.seen", INTS_SEEN), ("int.back", INTS_BACK)] },
    Column {
        name: "double",
        results: &[("double.seen", DOUBLES_SEEN), ("double.back", DOUBLES_BACK)],
    },
    Column {
        name: "boolean",
        results: &[("boolean.seen", "[b1] [b0]"), ("boolean.back", "b1 b0")],
    },
    Column {
        name: "string",
        results: &[("string.seen", STRINGS_SEEN), ("string.back", STRINGS_BACK)],
    },
    Column { name: "CR", results: &[("cr.seen", "[sa%0Db%0D%0Ac]"), ("cr.back", "sa%0Db%0D%0Ac")] },
    Column {
        name: "dateTime",
        results: &[
            ("dateTime.seen", "[t20261122T08:00:01] [t19691231T23:59:59]"),
            ("dateTime.back", "t20261122T08:00:01 t19691231T23:59:59"),
        ],
    },
    Column { name: "base64", results: &[("base64.seen", BYTES_SEEN), ("base64.back", BYTES_BACK)] },
    Column { name: "array", results: &[("array.seen", ARRAYS_SEEN), ("array.back", ARRAYS_BACK)] },
    Column {
        name: "struct",
        results: &[("struct.seen", STRUCTS_SEEN), ("struct.back", STRUCTS_BACK)],
    },
    Column { name: "anyType", results: &[("any.seen", ANY), ("any.back", ANY)] },
    Column { name: "nil", results: &[("nil.seen", NILS), ("nil.back", NILS)] },
    Column { name: "fault", results: &[("fault.own", FAULT_OWN)] },
    Column {
        name: "keep-alive",
        results: &[("keep-alive", "[i3,i7]"), ("keep-alive.connections", "1")],
    },
];

const ZEEP_11: &str = "zeep, SOAP 1.1";
const ZEEP_12: &str = "zeep, SOAP 1.2";
const LITE_11: &str = "SOAP::Lite, SOAP 1.1, encoded";
const LITE_12: &str = "SOAP::Lite, SOAP 1.2, encoded";
const NODE_11: &str = "Node `soap`, SOAP 1.1";
const NODE_12: &str = "Node `soap`, SOAP 1.2";
const PHP_11: &str = "PHP `SoapClient`, SOAP 1.1";
const PHP_12: &str = "PHP `SoapClient`, SOAP 1.2";
const GSOAP_11: &str = "gSOAP (C++), SOAP 1.1";
const GSOAP_12: &str = "gSOAP (C++), SOAP 1.2";
const SUDS: &str = "suds-community, SOAP 1.1";

const EMPTY_IS_NONE: &str = "Reads an empty result as null.";
const EMPTY_STRING: Short =
    Short::Partly(EMPTY_IS_NONE, &[("string.back", Some(STRINGS_BACK_BUT_EMPTY))]);
const EMPTY_BYTES: Short =
    Short::Partly(EMPTY_IS_NONE, &[("base64.back", Some(BYTES_BACK_BUT_NONE))]);
const BARE_CR: Short = Short::Partly(
    "Reads a CR, and writes it bare; XML makes an LF of it.",
    &[("cr.seen", Some("[sa%0Ab%0Ac]"))],
);
const STRINGS_BACK_BUT_EMPTY: &str = "n s%20a%20 s%3C%26%3E%22%27%5D%5D%3E \
    sgr%C3%BC%C3%9Fe%20%E2%82%AC s%F0%9F%98%80%F0%9D%84%9E sa%09b%0Ac";
/// Why what stands where nothing is declared is not what suds was given.
const UNTYPED: &str = "Writes no type where the WSDL declares none: what stands there arrives as text. \
    Its empty arrays and structs there become empty texts.";

const CLIENTS: &[Client] = &[
    Client { name: ZEEP_11, short_of: ZEEP },
    Client { name: ZEEP_12, short_of: ZEEP },
    Client {
        name: SUDS,
        short_of: &[
            ("string", EMPTY_STRING),
            ("CR", BARE_CR),
            ("base64", EMPTY_BYTES),
            (
                "array",
                Short::Partly(
                    UNTYPED,
                    &[
                        ("array.seen", Some("[[]] [[s]] [[s1,sx,[s2.5,[sTrue,s]]]]")),
                        ("array.back", Some("s [] [s1,sx,[s2.5,[sTrue,n]]]")),
                    ],
                ),
            ),
            (
                "struct",
                Short::Partly(
                    UNTYPED,
                    &[
                        (
                            "struct.seen",
                            Some(
                                "[{}] [{:s1,%3C%26%3E:s,%C3%A9%F0%9F%98%80:{deep:{er:[s]}},\
                                 a%20b:sx}]",
                            ),
                        ),
                        (
                            "struct.back",
                            Some("s {:s1,%3C%26%3E:n,%C3%A9%F0%9F%98%80:{deep:{er:[]}},a%20b:sx}"),
                        ),
                    ],
                ),
            ),
            (
                "anyType",
                Short::Partly(
                    UNTYPED,
                    &[
                        ("any.seen", Some("[s1,sx,s2.5,sTrue,s2026-11-22%2008%3A00%3A01,sAP8Q]")),
                        ("any.back", Some("[i1,sx,d4004000000000000,b1,t20261122T08:00:01,sAP8Q]")),
                    ],
                ),
            ),
            (
                "nil",
                Short::Partly(
                    "Sends no nil, and leaves nil out of the arrays that it reads.",
                    &[("nil.seen", None), ("nil.back", Some("[[{a:n}]]"))],
                ),
            ),
            ("keep-alive", Short::Cannot("Makes a connection for each call.")),
        ],
    },
    Client { name: GSOAP_11, short_of: GSOAP },
    Client { name: GSOAP_12, short_of: GSOAP },
    Client { name: LITE_11, short_of: &[] },
    Client {
        name: LITE_12,
        short_of: &[(
            "fault",
            Short::Cannot(
                "Of a fault of SOAP 1.2 it knows that there is one, and reads neither its code nor its text.",
            ),
        )],
    },
    Client { name: NODE_11, short_of: NODE },
    Client { name: NODE_12, short_of: NODE },
    Client { name: PHP_11, short_of: PHP },
    Client { name: PHP_12, short_of: PHP },
];

const ARRAYS_BACK_BUT_EMPTY: &str = "n [[]] [i1,sx,[d4004000000000000,[b1,[]]]]";
const STRUCTS_BACK_BUT_EMPTY: &str =
    "n {:i1,%3C%26%3E:[],%C3%A9%F0%9F%98%80:{deep:{er:[{}]}},a%20b:sx}";
const EMPTY_ARRAY: Short =
    Short::Partly(EMPTY_IS_NONE, &[("array.back", Some(ARRAYS_BACK_BUT_EMPTY))]);
const EMPTY_STRUCT: Short =
    Short::Partly(EMPTY_IS_NONE, &[("struct.back", Some(STRUCTS_BACK_BUT_EMPTY))]);
const ZEEP: &[(&str, Short)] = &[
    ("string", EMPTY_STRING),
    ("base64", EMPTY_BYTES),
    ("array", EMPTY_ARRAY),
    ("struct", EMPTY_STRUCT),
];
const NODE: &[(&str, Short)] = &[
    (
        "int",
        Short::Partly(
            "JavaScript has whole numbers of up to 2^53.",
            &[
                (
                    "int.seen",
                    Some("[i0] [i1] [i-1] [i42] [i2147483647] [i-2147483648] [i9007199254740991]"),
                ),
                ("int.back", Some("i0 i1 i-1 i42 i2147483647 i-2147483648 i9007199254740991")),
            ],
        ),
    ),
    (
        "double",
        Short::Partly(
            "Writes -0 as 0.",
            &[
                (
                    "double.seen",
                    Some(
                        "[d3fe0000000000000] [dbff8000000000000] [d3fb999999999999a] \
                         [d7e37e43c8800759c] [d0000000000000001] [d7fefffffffffffff] \
                         [d4008000000000000] [d0000000000000000]",
                    ),
                ),
                (
                    "double.back",
                    Some(
                        "d3fe0000000000000 dbff8000000000000 d3fb999999999999a \
                         d7e37e43c8800759c d0000000000000001 d7fefffffffffffff \
                         d4008000000000000 d0000000000000000",
                    ),
                ),
            ],
        ),
    ),
    ("CR", BARE_CR),
    ("base64", EMPTY_BYTES),
    ("array", EMPTY_ARRAY),
    ("struct", EMPTY_STRUCT),
    (
        "nil",
        Short::Partly(
            "Leaves nil out of the arrays that it reads.",
            &[("nil.back", Some("[[{a:n}]]"))],
        ),
    ),
];
const GSOAP: &[(&str, Short)] = &[(
    "nil",
    Short::Partly(
        "Leaves nil out of the arrays that it sends.",
        &[("nil.seen", Some("[[{a:n}]]"))],
    ),
)];
const PHP: &[(&str, Short)] = &[
    (
        "struct",
        Short::Partly(
            "Loses a member's name that holds `&`, and reads an empty struct as nothing.",
            &[
                (
                    "struct.seen",
                    Some("[{}] [{:i1,%3C%3E:[],%C3%A9%F0%9F%98%80:{deep:{er:[{}]}},a%20b:sx}]"),
                ),
                (
                    "struct.back",
                    Some("n {:i1,%3C%3E:[],%C3%A9%F0%9F%98%80:{deep:{er:[]}},a%20b:sx}"),
                ),
            ],
        ),
    ),
    (
        "anyType",
        Short::Partly(
            "Times and bytes are strings to it.",
            &[(
                "any.back",
                Some("[i1,sx,d4004000000000000,b1,s2026-11-22T08%3A00%3A01,s%00%FF%10]"),
            )],
        ),
    ),
    (
        "nil",
        Short::Partly(
            "Sends a nil in a struct as an empty text.",
            &[("nil.seen", Some("[n,[n,{a:s}]]"))],
        ),
    ),
];

fn run(clients: &[(&str, &str)], interpreter: &Path, program: &str, needs: &[&Path]) {
    if !have(&[interpreter]) || !have(needs) {
        return;
    }
    let site = Site::start();
    for (client, version) in clients {
        let mut command = site.command(interpreter);
        command.arg(source(program)).env("VERSION", version);
        site.check(&FAMILY, FAMILY.client(client), command);
    }
}

#[test]
fn zeep() {
    let python = installed().join("venv/bin/python");
    run(&[(ZEEP_11, "1.1"), (ZEEP_12, "1.2")], &python, "py/zeep_client.py", &[]);
}

#[test]
fn suds() {
    run(&[(SUDS, "1.1")], &installed().join("venv/bin/python"), "py/suds_client.py", &[]);
}

#[test]
fn perl_soap_lite() {
    let module = Path::new("/usr/share/perl5/SOAP/Lite.pm");
    let rows = [(LITE_11, "1.1"), (LITE_12, "1.2")];
    run(&rows, Path::new("/usr/bin/perl"), "perl/soap_lite.pl", &[module]);
}

#[test]
fn node_soap() {
    let module = installed().join("node_modules/soap");
    let rows = [(NODE_11, "1.1"), (NODE_12, "1.2")];
    run(&rows, Path::new("/usr/bin/node"), "js/soap.js", &[&module]);
}

#[test]
fn php_soap() {
    let rows = [(PHP_11, "1.1"), (PHP_12, "1.2")];
    run(&rows, Path::new("/usr/bin/php"), "php/soap.php", &[]);
}

/// Fetches the WSDL with the certificate, makes classes from it, compiles them, and calls with them.
#[test]
fn gsoap() {
    let needs = [
        "/usr/bin/c++",
        "/usr/bin/curl",
        "/usr/bin/wsdl2h",
        "/usr/bin/soapcpp2",
        "/usr/include/stdsoap2.h",
        "/usr/include/openssl/ssl.h",
    ];
    if !have(&needs.map(Path::new)) {
        return;
    }
    let site = Site::start();
    let step = |program: &str, words: &[&str]| {
        let mut command: Command = site.command(Path::new(program));
        done(command.args(words));
    };
    let wsdl = format!("{}kinds?wsdl", site.world.url);
    let (ca, both) = (site.world.grid.ca_file(), site.scratch.join("both.pem"));
    let [ca, both] = [&ca, &both].map(|path| path.to_str().unwrap());
    step("/usr/bin/curl", &["-sSf", "--cacert", ca, "--cert", both, "-o", "kinds.wsdl", &wsdl]);
    // -p: a base class for anyType; -j, -C: client classes; -x: no samples.
    step("/usr/bin/wsdl2h", &["-p", "-o", "kinds.h", "kinds.wsdl"]);
    step("/usr/bin/soapcpp2", &["-j", "-C", "-x", "-L", "kinds.h"]);
    let program = source("cpp/gsoap.cpp");
    let generated = ["soapC.cpp", "soapkinds_x002esoap11Proxy.cpp"];
    let libraries = ["-lgsoapssl++", "-lssl", "-lcrypto"];
    let mut compiler = site.command(Path::new("/usr/bin/c++"));
    compiler.args(["-std=c++17", "-w", "-DWITH_OPENSSL", "-I.", "-o", "gsoap"]).arg(program);
    done(compiler.args(generated).args(libraries));
    for (client, version) in [(GSOAP_11, "1.1"), (GSOAP_12, "1.2")] {
        let mut command = site.command(&site.scratch.join("gsoap"));
        command.env("VERSION", version);
        site.check(&FAMILY, FAMILY.client(client), command);
    }
}
