//! XML-RPC.

use std::path::Path;
use std::process::Command;

use super::table::{
    ARRAYS, BOOLEANS, BYTES, Client, Column, DOUBLES, FAULT_NONE, FAULT_OWN, Family, HELP, INTS,
    LARGE, STRUCTS, Short, TIMES,
};
use super::{Site, have, installed, source};

pub(super) const FAMILY: Family =
    Family { name: "XML-RPC clients", columns: COLUMNS, clients: CLIENTS };

const STRINGS: &str = "[s,s%20a%20,s%3C%26%3E%22%27%5D%5D%3E,sgr%C3%BC%C3%9Fe%20%E2%82%AC,\
    s%F0%9F%98%80%F0%9D%84%9E,sa%09b%0Ac]";

const COLUMNS: &[Column] = &[
    Column { name: "int", results: &[("int.seen", INTS), ("int.back", INTS)] },
    Column { name: "i8", results: &[("i8.seen", LARGE), ("i8.back", LARGE)] },
    Column { name: "double", results: &[("double.seen", DOUBLES), ("double.back", DOUBLES)] },
    Column { name: "boolean", results: &[("boolean.seen", BOOLEANS), ("boolean.back", BOOLEANS)] },
    Column { name: "string", results: &[("string.seen", STRINGS), ("string.back", STRINGS)] },
    Column { name: "CR", results: &[("cr.seen", "[sa%0Db%0D%0Ac]"), ("cr.back", "sa%0Db%0D%0Ac")] },
    Column { name: "dateTime", results: &[("dateTime.seen", TIMES), ("dateTime.back", TIMES)] },
    Column { name: "base64", results: &[("base64.seen", BYTES), ("base64.back", BYTES)] },
    Column { name: "array", results: &[("array.seen", ARRAYS), ("array.back", ARRAYS)] },
    Column { name: "struct", results: &[("struct.seen", STRUCTS), ("struct.back", STRUCTS)] },
    Column {
        name: "nil",
        results: &[("nil.seen", "[n,[n,{a:n}]]"), ("nil.back", "[n,[n,{a:n}]]")],
    },
    Column { name: "fault", results: &[("fault.none", FAULT_NONE), ("fault.own", FAULT_OWN)] },
    Column {
        name: "introspection",
        results: &[
            ("introspection.list", "b1"),
            ("introspection.help", HELP),
            ("introspection.signature", "[[sint,sint,sint]]"),
        ],
    },
    Column {
        name: "multicall",
        results: &[("multicall", "i3 f1234:gr%C3%B6%C3%9Fer%20%3C%26%3E%20%E2%82%AC [slast]")],
    },
    Column {
        name: "ISO-8859-1",
        results: &[
            ("encoding.seen", "[sgr%C3%BC%C3%9Fe]"),
            ("encoding.back", "[sgr%C3%BC%C3%9Fe]"),
        ],
    },
    Column {
        name: "keep-alive",
        results: &[("keep-alive", "[i3,i7]"), ("keep-alive.connections", "1")],
    },
    Column {
        name: "validator1",
        results: &[
            ("validator1.arrayOfStructsTest", "i-24"),
            (
                "validator1.countTheEntities",
                "{ctAmpersands:i4,ctApostrophes:i1,ctLeftAngleBrackets:i3,ctQuotes:i5,\
                 ctRightAngleBrackets:i2}",
            ),
            ("validator1.easyStructTest", "i6"),
            (
                "validator1.echoStructTest",
                "{one:{curly:i3,larry:i2,moe:i1},two:{curly:i3,larry:i2,moe:i9}}",
            ),
            (
                "validator1.manyTypesTest",
                "[i7,b1,s%C3%A4,d4004000000000000,t20261122T08:00:01,x00ff10]",
            ),
            ("validator1.moderateSizeArrayCheck", "sno%200no%20149"),
            ("validator1.nestedStructTest", "i6"),
            ("validator1.simpleStructReturnTest", "{times10:i420,times100:i4200,times1000:i42000}"),
        ],
    },
];

const PYTHON: &str = "Python `xmlrpc.client`";
const RPC_XML: &str = "Perl `RPC::XML`";
const XMLRPC_LITE: &str = "Perl `XMLRPC::Lite`";
const XMLRPC_C: &str = "xmlrpc-c (C)";
const NODE: &str = "Node `xmlrpc`";
const RUBY: &str = "Ruby `xmlrpc`";
const PHP: &str = "PHP `xmlrpc`";

/// What a text with CRs is when their writer left them bare: XML reads them as line ends.
const BARE_CR: Short = Short::Partly(
    "Reads a CR, and writes it bare; XML makes an LF of it.",
    &[("cr.seen", Some("[sa%0Ab%0Ac]"))],
);
const UTF_8_ALONE: Short = Short::Cannot("Writes UTF-8 and nothing else.");
/// Doubles of a client that writes so many places and no exponent.
const NO_SMALLEST: &str = "[d3fe0000000000000,dbff8000000000000,d3fb999999999999a,d7e37e43c8800759c,\
    d0000000000000000,d7fefffffffffffff,d4008000000000000,d8000000000000000]";
const PLACES: &[(&str, Option<&str>)] =
    &[("double.seen", Some(NO_SMALLEST)), ("double.back", Some(NO_SMALLEST))];
/// All 256 bytes, and not the empty base64.
const NOT_EMPTY: &str = "[x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
    404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f\
    808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f\
    a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
    c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
    e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff]";
/// Without characters beyond U+FFFF.
const BASIC_PLANE: &str =
    "[s,s%20a%20,s%3C%26%3E%22%27%5D%5D%3E,sgr%C3%BC%C3%9Fe%20%E2%82%AC,sa%09b%0Ac]";
const BASIC_NAMES: &str = "[{},{:i1,%3C%26%3E:[],%C3%A9:{deep:{er:[{}]}},a%20b:sx}]";
const FULL_STRUCTS: &str = "[{%3C%26%3E:[],%C3%A9%F0%9F%98%80:{deep:{er:{a:i1}}},a%20b:sx}]";
const DOUBLES_OF_NODE: &str =
    "[d3fe0000000000000,dbff8000000000000,d3fb999999999999a,d0000000000000001]";
const DATE_AS_TEXT: &str = "[t20261122T08:00:01,s19691231T23%3A59%3A59]";

const CLIENTS: &[Client] = &[
    Client {
        name: PYTHON,
        short_of: &[
            ("i8", Short::Partly("Reads `i8`, and refuses to write it.", &[("i8.seen", None)])),
            ("CR", BARE_CR),
        ],
    },
    Client {
        name: RPC_XML,
        short_of: &[
            (
                "double",
                Short::Partly(
                    "Writes 20 places behind the point: what is smaller becomes 0.",
                    PLACES,
                ),
            ),
            (
                "base64",
                Short::Partly(
                    "Has no empty base64.",
                    &[("base64.seen", Some(NOT_EMPTY)), ("base64.back", Some(NOT_EMPTY))],
                ),
            ),
            ("ISO-8859-1", UTF_8_ALONE),
        ],
    },
    Client {
        name: XMLRPC_LITE,
        short_of: &[
            ("i8", Short::Cannot("Knows no `i8`, and dies where one comes.")),
            (
                "nil",
                Short::Partly("Reads `nil`, and sends an empty string.", &[("nil.seen", None)]),
            ),
        ],
    },
    Client {
        name: XMLRPC_C,
        short_of: &[
            (
                "double",
                Short::Partly(
                    "Its own conversions: the last places of large and the smallest doubles are lost, and -0 is 0.",
                    &[
                        (
                            "double.seen",
                            Some(
                                "[d3fe0000000000000,dbff8000000000000,d3fb999999999999a,\
                                 d7e37e43c8800759c,d0000000000000001,d7fefffffffffffe2,\
                                 d4008000000000000,d0000000000000000]",
                            ),
                        ),
                        (
                            "double.back",
                            Some(
                                "[d3fe0000000000000,dbff8000000000000,d3fb999999999999a,\
                                 d7e37e43c8800759d,d0000000000000000,d7fefffffffffffe0,\
                                 d4008000000000000,d0000000000000000]",
                            ),
                        ),
                    ],
                ),
            ),
            (
                "string",
                Short::Partly(
                    "Refuses characters beyond U+FFFF.",
                    &[("string.seen", Some(BASIC_PLANE)), ("string.back", Some(BASIC_PLANE))],
                ),
            ),
            (
                "CR",
                Short::Partly(
                    "Writes a CR, and reads every line end as LF.",
                    &[("cr.back", Some("sa%0Ab%0Ac"))],
                ),
            ),
            (
                "dateTime",
                Short::Partly(
                    "Reads no time before 1970.",
                    &[("dateTime.back", Some("[t20261122T08:00:01]"))],
                ),
            ),
            (
                "struct",
                Short::Partly(
                    "Refuses characters beyond U+FFFF.",
                    &[("struct.seen", Some(BASIC_NAMES)), ("struct.back", Some(BASIC_NAMES))],
                ),
            ),
            ("ISO-8859-1", UTF_8_ALONE),
        ],
    },
    Client {
        name: NODE,
        short_of: &[
            (
                "i8",
                Short::Partly(
                    "Writes whole numbers of up to 2^53 as `int`, which is read; reads `i8` as text.",
                    &[
                        ("i8.seen", Some("[i2147483648,i-2147483649,i9007199254740991]")),
                        (
                            "i8.back",
                            Some(
                                "[s2147483648,s-2147483649,s9007199254740991,\
                                 s9223372036854775807,s-9223372036854775808]",
                            ),
                        ),
                    ],
                ),
            ),
            (
                "double",
                Short::Partly(
                    "A whole number is an `int`, even 3.0; 1e300 is refused as no integer.",
                    &[
                        ("double.seen", Some(DOUBLES_OF_NODE)),
                        ("double.back", Some(DOUBLES_OF_NODE)),
                    ],
                ),
            ),
            ("ISO-8859-1", UTF_8_ALONE),
        ],
    },
    Client { name: RUBY, short_of: &[("CR", BARE_CR), ("ISO-8859-1", UTF_8_ALONE)] },
    Client {
        name: PHP,
        short_of: &[
            ("i8", Short::Cannot("Knows no `i8`, and reads null where one comes.")),
            (
                "double",
                Short::Partly(
                    "Writes places behind the point and no exponent: what is smallest becomes 0.",
                    PLACES,
                ),
            ),
            ("CR", BARE_CR),
            (
                "dateTime",
                Short::Partly(
                    "Sends a time before 1970 as a string.",
                    &[("dateTime.seen", Some(DATE_AS_TEXT)), ("dateTime.back", Some(DATE_AS_TEXT))],
                ),
            ),
            (
                "struct",
                Short::Partly(
                    "An empty array is an empty `array`, never a `struct`.",
                    &[("struct.seen", Some(FULL_STRUCTS)), ("struct.back", Some(FULL_STRUCTS))],
                ),
            ),
            (
                "nil",
                Short::Partly(
                    "Reads `nil`, and sends an empty string.",
                    &[("nil.seen", Some("[s,[s,{a:s}]]"))],
                ),
            ),
            ("keep-alive", Short::Cannot("PHP's streams make a connection for each call.")),
        ],
    },
];

/// Runs a program of an interpreter's, if all that it needs is there.
fn run(client: &str, interpreter: &str, program: &str, needs: &[&Path]) {
    let interpreter = Path::new(interpreter);
    if !have(&[interpreter]) || !have(needs) {
        return;
    }
    let site = Site::start();
    let mut command = site.command(interpreter);
    command.arg(source(program));
    site.check(&FAMILY, FAMILY.client(client), command);
}

#[test]
fn python_xmlrpc_client() {
    run(PYTHON, "/usr/bin/python3", "py/xmlrpc_client.py", &[]);
}

#[test]
fn perl_rpc_xml() {
    run(RPC_XML, "/usr/bin/perl", "perl/rpc_xml.pl", &[Path::new("/usr/share/perl5/RPC/XML.pm")]);
}

#[test]
fn perl_xmlrpc_lite() {
    let module = Path::new("/usr/share/perl5/XMLRPC/Lite.pm");
    run(XMLRPC_LITE, "/usr/bin/perl", "perl/xmlrpc_lite.pl", &[module]);
}

#[test]
fn node_xmlrpc() {
    let module = installed().join("node_modules/xmlrpc");
    run(NODE, "/usr/bin/node", "js/xmlrpc.js", &[&module]);
}

#[test]
fn ruby_xmlrpc() {
    let library = Path::new("/usr/lib/ruby/vendor_ruby/xmlrpc/client.rb");
    run(RUBY, "/usr/bin/ruby", "rb/xmlrpc.rb", &[library]);
}

#[test]
fn php_xmlrpc() {
    let settings = Path::new("/etc/php");
    run(PHP, "/usr/bin/php", "php/xmlrpc.php", &[settings]);
}

#[test]
fn xmlrpc_c() {
    let (cc, header) = (Path::new("/usr/bin/cc"), Path::new("/usr/include/xmlrpc-c/client.h"));
    if !have(&[cc, header]) {
        return;
    }
    let site = Site::start();
    let program = site.scratch.join("xmlrpc_c");
    let libraries = ["-lxmlrpc_client", "-lxmlrpc", "-lxmlrpc_util"];
    let mut compiler = Command::new(cc);
    compiler.args(["-Wall", "-o"]).args([&program, &source("c/xmlrpc_c.c")]).args(libraries);
    super::done(&mut compiler);
    site.check(&FAMILY, FAMILY.client(XMLRPC_C), site.command(&program));
}
