use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::samples::{any_text, any_value, in_each_encoding};
use crate::{Call, DateTime, Encoding, Fault, FaultCode, MethodName, Value};

/// The parameter whose XML-RPC form is `value`.
fn param(value: &str) -> Result<Value, Fault> {
    let body = format!(
        "<methodCall><methodName>a.b</methodName><params><param>{value}</param></params></methodCall>"
    );
    decode_call(body.as_bytes(), &Bounds::default()).map(|mut call| call.params.remove(0))
}

fn check(value: &str, expected: impl Into<Value>) {
    assert_eq!(param(value), Ok(expected.into()), "{value}");
}

fn text(text: &str) -> Value {
    Value::from(text)
}

#[test]
fn every_type_is_read() {
    check("<value><int>-2147483648</int></value>", -2_147_483_648);
    check("<value><i4> +7\n</i4></value>", 7);
    check("<value><i8>9223372036854775807</i8></value>", i64::MAX);
    check("<value><ex:i8>-9223372036854775808</ex:i8></value>", i64::MIN);
    check("<value><nil/></value>", Value::Nil);
    check("<value><ex:nil></ex:nil></value>", Value::Nil);
    check("<value><boolean>1</boolean></value>", true);
    check("<value><boolean>0</boolean></value>", false);
    check("<value><double>-12.53</double></value>", -12.53);
    check("<value><double>1e+16</double></value>", 1e16);
    check("<value><string> a b </string></value>", " a b ");
    check("<value> a b </value>", " a b ");
    check("<value></value>", "");
    check("<value/>", "");
    check("<value><string/></value>", "");
    check("<value>  <string>x</string>\n</value>", "x");
    check(
        "<value><dateTime.iso8601>20061122T12:00:59</dateTime.iso8601></value>",
        Value::DateTime(DateTime::parse("20061122T12:00:59").unwrap()),
    );
    check(
        "<value><base64>\n  eW91\r\n\tIGNh bg==\n</base64></value>",
        Value::Binary(b"you can".to_vec()),
    );
    check("<value><base64>eW91IGNhbg</base64></value>", Value::Binary(b"you can".to_vec()));
    check(
        "<value><base64>e W9\t1\nIGNh\rbg==</base64></value>",
        Value::Binary(b"you can".to_vec()),
    );
    check("<value><base64>e<!-- c -->W91</base64></value>", Value::Binary(b"you".to_vec()));
    check("<value><base64/></value>", Value::Binary(Vec::new()));
    check(
        "<value><array><data> <value>1</value>\n<value><int>2</int></value> </data></array></value>",
        vec![text("1"), Value::Int(2)],
    );
    check("<value><array><data/></array></value>", Vec::new());
    check("<value><struct/></value>", Value::Struct(BTreeMap::new()));
    check(
        "<value><struct><member><name>a b</name><value>1</value></member>\
         <member><name/><value><nil/></value></member></struct></value>",
        Value::record([("", Value::Nil), ("a b", text("1"))]),
    );
}

#[test]
fn large_numbers_that_clients_call_int_are_read() {
    let node = include_bytes!("../../testdata/node-xmlrpc-large-int.xml");
    let ruby = include_bytes!("../../testdata/ruby-xmlrpc-large-i4.xml");
    let params = |body: &[u8]| decode_call(body, &Bounds::default()).unwrap().params;
    assert_eq!(
        params(node),
        [2_147_483_648, -2_147_483_649, 9_007_199_254_740_991].map(Value::Int)
    );
    assert_eq!(params(ruby), [2_147_483_648, i64::MIN].map(Value::Int));
}

#[test]
fn a_call_of_pythons_own_client_is_read() {
    let body = include_bytes!("../../testdata/python-xmlrpc-client-call.xml");
    let call = decode_call(body, &Bounds::default()).unwrap();
    assert_eq!(call.method.as_str(), "sleepyServices.sleepyAdd");
    let expected = vec![
        Value::Int(3),
        Value::Double(-2.5),
        Value::Bool(true),
        text("a<b>&"),
        Value::Binary([0, 255].repeat(40)),
        Value::DateTime(DateTime::parse("20061122T12:00:00").unwrap()),
        Value::Array(vec![Value::Int(1), Value::Array(vec![Value::Nil])]),
        Value::record([("a", Value::record([("b", Value::Array(vec![]))]))]),
        Value::Double(1e16),
    ];
    assert_eq!(call.params, expected);
}

#[test]
fn text_is_what_xml_says_it_is() {
    check("<value>a&lt;b&amp;&gt;&quot;&apos;</value>", "a<b&>\"'");
    check("<value>&#65;&#x42;&#x1F600;&#13;&#10;</value>", "AB\u{1F600}\r\n");
    check("<value>a\r\nb\rc\nd</value>", "a\nb\nc\nd");
    check(
        "<value><string>a<![CDATA[<b>&amp;]]>]]&gt;<!-- no --><?x y?>c</string></value>",
        "a<b>&amp;]]>c",
    );
    check("<value><!-- c --><int>4<!-- d -->2</int><?php echo?></value>", 42);
    check("<value><![CDATA[  ]]></value>", "  ");
    check("<value>\u{85}\u{2028}\u{FFFD}\u{FEFF}</value>", "\u{85}\u{2028}\u{FFFD}\u{FEFF}");
    check("<value xsi:type=\"xsd:string\" a='b>&lt;c'>x</value >", "x");
}

#[test]
fn what_stands_around_a_call_is_tolerated() {
    let call = |body: &str| decode_call(body.as_bytes(), &Bounds::default());
    let expected = Call { method: MethodName::parse("a.b").unwrap(), params: vec![] };
    for body in [
        "<methodCall><methodName>a.b</methodName></methodCall>",
        "\u{FEFF}<?xml version=\"1.0\"?>\n<methodCall><methodName> a.b\n</methodName><params/></methodCall>\n",
        "<?xml version='1.0' encoding='utf-8' standalone='yes'?><!-- a --><?pi?>\
         <methodCall xmlns:ex=\"http://ws.apache.org/xmlrpc/namespaces/extensions\">\n\
         <methodName>a.<![CDATA[b]]></methodName> <params> </params></methodCall><!-- b --> <?pi b?>",
        "<?xml version=\"1.1\" encoding=\"US-ASCII\"?><methodCall><methodName>a.b</methodName></methodCall>",
    ] {
        assert_eq!(call(body), Ok(expected.clone()), "{body}");
    }
}

/// A call of UserLand's validation suite (<http://www.xmlrpc.com/validator1Docs>), laid out as its
/// Frontier sent them.
fn validator1(method: &str, value: &str) -> Vec<Value> {
    let body = format!(
        "<?xml version=\"1.0\"?>\r\n<methodCall>\r\n\t<methodName>validator1.{method}</methodName>\r\n\
         \t<params>\r\n\t\t<param>\r\n\t\t\t{value}\r\n\t\t\t</param>\r\n\t\t</params>\r\n\t</methodCall>\r\n"
    );
    decode_call(body.as_bytes(), &Bounds::default()).unwrap().params
}

/// `<value><struct>` of these members, laid out.
fn laid_out(members: &[(&str, String)]) -> String {
    let member = |(name, value): &(&str, String)| {
        format!("\r\n\t<member>\r\n\t\t<name>{name}</name>\r\n\t\t{value}\r\n\t\t</member>")
    };
    let members: String = members.iter().map(member).collect();
    format!("<value>\r\n<struct>{members}\r\n\t</struct>\r\n</value>")
}

fn i4(number: i64) -> String {
    format!("<value><i4>{number}</i4></value>")
}

#[test]
fn the_shapes_of_the_validation_suite_are_read() {
    let stooges = |base: i64| {
        laid_out(&[("moe", i4(base)), ("larry", i4(base + 1)), ("curly", i4(-base - 2))])
    };
    let read_stooges = |base: i64| {
        let (larry, curly) = (Value::Int(base + 1), Value::Int(-base - 2));
        Value::record([("moe", Value::Int(base)), ("larry", larry), ("curly", curly)])
    };
    assert_eq!(validator1("easyStructTest", &stooges(1)), [read_stooges(1)]);
    let array = |values: String| {
        format!("<value>\n<array>\n <data>\n {values} </data>\n </array>\n</value>")
    };
    let structs = array(stooges(1) + "\n" + &stooges(50));
    let read = Value::Array(vec![read_stooges(1), read_stooges(50)]);
    assert_eq!(validator1("arrayOfStructsTest", &structs), [read]);
    let entities =
        "<value><string>&lt;&amp;&gt;'\"&#60;<![CDATA[<&>]]>&quot;&apos;</string></value>";
    assert_eq!(validator1("countTheEntities", entities), [text("<&>'\"<<&>\"'")]);
    let calendar = laid_out(&[(
        "2000",
        laid_out(&[("04", laid_out(&[("01", stooges(7)), ("02", laid_out(&[]))]))]),
    )]);
    let april = Value::record([("01", read_stooges(7)), ("02", Value::Struct(BTreeMap::new()))]);
    let year = Value::record([("2000", Value::record([("04", april)]))]);
    assert_eq!(validator1("nestedStructTest", &calendar), [year]);
    let words: Vec<String> = (0..200).map(|n| format!("word {n}")).collect();
    let strings = words.iter().map(|w| format!("<value>{w}</value>\n")).collect();
    let read = words.iter().map(|word| text(word)).collect();
    assert_eq!(validator1("moderateSizeArrayCheck", &array(strings)), [Value::Array(read)]);
    let many = "<value><i4>23</i4></value></param>\n<param><value><boolean>1</boolean></value>\
        </param><param><value>untyped</value></param><param><value><double>-12.214</double></value>\
        </param><param><value><dateTime.iso8601>19980717T14:08:55</dateTime.iso8601></value></param>\
        <param><value><base64>eW91IGNhbid0IHJlYWQgdGhpcyE=</base64></value>";
    let read = [
        Value::Int(23),
        Value::Bool(true),
        text("untyped"),
        Value::Double(-12.214),
        Value::DateTime(DateTime::parse("19980717T14:08:55").unwrap()),
        Value::Binary(b"you can't read this!".to_vec()),
    ];
    assert_eq!(validator1("manyTypesTest", many), read);
}

/// Bodies that are refused, each with what is answered. The answers are reviewed in the snapshot.
const MALFORMED: &[(&str, &str)] = &[
    ("empty", ""),
    ("only white space", " \n"),
    ("only a comment", "<!-- a -->"),
    ("not XML", "{\"jsonrpc\": \"2.0\"}"),
    ("text before the root", "x<methodCall/>"),
    ("text after the root", "<methodCall><methodName>a</methodName></methodCall>x"),
    ("reference after the root", "<methodCall><methodName>a</methodName></methodCall>&#32;"),
    ("CDATA after the root", "<methodCall><methodName>a</methodName></methodCall><![CDATA[ ]]>"),
    ("two roots", "<methodCall><methodName>a</methodName></methodCall><methodCall/>"),
    ("cut in a tag", "<methodCall><methodNa"),
    ("cut in an attribute", "<methodCall a=\"b><methodName>a</methodName></methodCall>"),
    ("cut in an element", "<methodCall>\n<methodName>a"),
    ("cut in a comment", "<methodCall><!-- a"),
    ("cut in CDATA", "<methodCall><![CDATA[ a"),
    ("cut in an instruction", "<methodCall><?a "),
    ("cut in a declaration", "<?xml version=\"1.0\""),
    ("lone <", "<"),
    ("lone <!", "<!"),
    ("crossed tags", "<methodCall><methodName>a</methodCall></methodName>"),
    ("end without start", "</methodCall>"),
    ("attribute in an end tag", "<methodCall></methodCall a=\"b\">"),
    ("empty tag name", "<>"),
    ("blank before a tag name", "< methodCall/>"),
    ("bad tag name", "<1a/>"),
    ("attribute without value", "<methodCall a/>"),
    ("attribute without quotes", "<methodCall a=b/>"),
    ("attribute twice", "<methodCall a=\"1\" a=\"2\"/>"),
    ("< in an attribute", "<methodCall a=\"<\"/>"),
    ("entity in an attribute", "<methodCall a=\"&x;\"/>"),
    ("& in an attribute", "<methodCall a=\"a & b\"/>"),
    ("bad attribute name", "<methodCall 1=\"a\"/>"),
    ("DOCTYPE", "<?xml version=\"1.0\"?>\n<!DOCTYPE methodCall [<!ENTITY a \"b\">]><methodCall/>"),
    ("DOCTYPE, small, never closed", "<!doctype methodCall ["),
    ("<!ELEMENT", "<!ELEMENT a ANY>"),
    ("comment of nothing", "<!-->"),
    ("comment of a hyphen", "<!--->"),
    ("two hyphens in a comment", "<!-- a -- b -->"),
    ("late declaration", "\n<?xml version=\"1.0\"?><methodCall/>"),
    ("declaration twice", "<?xml version=\"1.0\"?><?xml version=\"1.0\"?><methodCall/>"),
    ("declaration without version", "<?xml encoding=\"UTF-8\"?><methodCall/>"),
    ("declaration of a control", "<?xml vers\u{90}on=\"1.0\"?><methodCall/>"),
    ("XML 2", "<?xml version=\"2.0\"?><methodCall/>"),
    ("declared Latin-1", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><methodCall/>"),
    ("declared UTF-7", "<?xml version=\"1.0\" encoding=\"utf-7\"?><methodCall/>"),
    ("instruction called XML", "<?XML a?><methodCall/>"),
    ("unknown entity", "<methodCall><methodName>&nbsp;</methodName></methodCall>"),
    ("reference without ;", "<methodCall><methodName>a & b</methodName></methodCall>"),
    ("reference to NUL", "<methodCall><methodName>&#0;</methodName></methodCall>"),
    ("reference to a control", "<methodCall><methodName>&#x1B;</methodName></methodCall>"),
    (
        "reference to a surrogate",
        "<methodCall><methodName>&#xD83D;&#xDE00;</methodName></methodCall>",
    ),
    ("reference to U+FFFF", "<methodCall><methodName>&#xFFFF;</methodName></methodCall>"),
    ("reference beyond Unicode", "<methodCall><methodName>&#x110000;</methodName></methodCall>"),
    ("reference with a sign", "<methodCall><methodName>&#+65;</methodName></methodCall>"),
    ("reference without digits", "<methodCall><methodName>&#x;</methodName></methodCall>"),
    ("a control", "<methodCall>\n <methodName>a\u{1}</methodName></methodCall>"),
    ("a NUL", "<methodCall><methodName>a\0</methodName></methodCall>"),
    ("U+FFFE", "<methodCall><methodName>\u{e9}\u{FFFE}</methodName></methodCall>"),
    ("]]> in text", "<methodCall><methodName>a]]></methodName></methodCall>"),
    ("another root", "<html><body>hi</body></html>"),
    ("a reply", "<methodResponse/>"),
    ("no method name", "<methodCall></methodCall>"),
    ("empty method name", "<methodCall><methodName/></methodCall>"),
    ("bad method name", "<methodCall><methodName>a b\u{85}</methodName></methodCall>"),
    (
        "two method names",
        "<methodCall><methodName>a</methodName><methodName>a</methodName></methodCall>",
    ),
    ("params first", "<methodCall><params/><methodName>a</methodName></methodCall>"),
    ("two params", "<methodCall><methodName>a</methodName><params/><params/></methodCall>"),
    ("text in params", "<methodCall><methodName>a</methodName><params>x</params></methodCall>"),
    (
        "long unknown element",
        "<methodCall><an.element.with.a.name.that.is.longer.than.is.repeated/></methodCall>",
    ),
];

/// Values that are refused, as the only parameter of a call.
const MALFORMED_VALUES: &[&str] = &[
    "",
    "<value>a</value><value>b</value>",
    "<int>1</int>",
    "<value>a<int>1</int></value>",
    "<value><int>1</int>a</value>",
    "<value><int>1</int><int>2</int></value>",
    "<value><int><int>1</int></int></value>",
    "<value><int/></value>",
    "<value><int>1.0</int></value>",
    "<value><int>0x10</int></value>",
    "<value><int>1 000</int></value>",
    "<value><int>\u{663}</int></value>",
    "<value><int>9223372036854775808</int></value>",
    "<value><i4>-9223372036854775809</i4></value>",
    "<value><i8>9223372036854775808</i8></value>",
    "<value><i8>99999999999999999999999999999999999999999999999999999999</i8></value>",
    "<value><boolean>true</boolean></value>",
    "<value><boolean>2</boolean></value>",
    "<value><double/></value>",
    "<value><double>nan</double></value>",
    "<value><double>inf</double></value>",
    "<value><double>-Infinity</double></value>",
    "<value><double>1e999</double></value>",
    "<value><double>1,5</double></value>",
    "<value><double>0x1p3</double></value>",
    "<value><dateTime.iso8601>2006</dateTime.iso8601></value>",
    "<value><dateTime.iso8601>20060230T00:00:00</dateTime.iso8601></value>",
    "<value><base64>a</base64></value>",
    "<value><base64>!!!!</base64></value>",
    "<value><base64>YQ==YQ==</base64></value>",
    "<value><nil>a</nil></value>",
    "<value><I4>1</I4></value>",
    "<value><ex:serializable/></value>",
    "<value><ex:dom/></value>",
    "<value><ex:i1>128</ex:i1></value>",
    "<value><ex:i2>-32769</ex:i2></value>",
    "<value><ex:i4>1</ex:i4></value>",
    "<value><ex:biginteger>9223372036854775808</ex:biginteger></value>",
    "<value><ex:float>NaN</ex:float></value>",
    "<value><ex:bigdecimal>1e400</ex:bigdecimal></value>",
    "<value><ex:dateTime>now</ex:dateTime></value>",
    "<value><array/></value>",
    "<value><array><value/></array></value>",
    "<value><array><data/><data/></array></value>",
    "<value><array><data>a</data></array></value>",
    "<value><struct><member/></struct></value>",
    "<value><struct><member><name>a</name></member></struct></value>",
    "<value><struct><member><value/><name>a</name></member></struct></value>",
    "<value><struct><member><name>a</name><value/><value/></member></struct></value>",
    "<value><struct><name>a</name></struct></value>",
    "<value><struct><member><name>a</name><value/></member><member><name>a</name><value/></member></struct></value>",
];

/// The table of refusals as text that a person can read.
fn refusals<'a>(bodies: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut table = String::new();
    for (name, body) in bodies {
        let answer = match decode_call(body.as_bytes(), &Bounds::default()) {
            Ok(call) => format!("ACCEPTED {call:?}"),
            Err(fault) => fault.to_string(),
        };
        writeln!(table, "{name}\n    {answer}").unwrap();
    }
    table
}

#[test]
fn malformed_bodies_are_refused_with_these_words() {
    let bodies = MALFORMED.iter().map(|(name, body)| (*name, (*body).to_owned()));
    insta::assert_snapshot!("malformed_bodies", refusals(bodies));
}

#[test]
fn malformed_values_are_refused_with_these_words() {
    let bodies = MALFORMED_VALUES.iter().map(|value| {
        let head = "<methodCall><methodName>a</methodName><params>\n<param>";
        (*value, format!("{head}{value}</param></params></methodCall>"))
    });
    insta::assert_snapshot!("malformed_values", refusals(bodies));
}

#[test]
fn malformed_replies_are_refused_with_these_words() {
    let mut table = String::new();
    for body in [
        "<methodCall/>",
        "<methodResponse/>",
        "<methodResponse><params/></methodResponse>",
        "<methodResponse><params><param><value/></param><param><value/></param></params></methodResponse>",
        "<methodResponse><fault/></methodResponse>",
        "<methodResponse><fault><value/></fault></methodResponse>",
        "<methodResponse><fault><value><struct/></value></fault></methodResponse>",
        "<methodResponse><params><param><value/></param></params><fault/></methodResponse>",
        "<html>502 Bad Gateway</html>",
    ] {
        let fault = decode_reply(body.as_bytes(), &Bounds::default()).unwrap_err();
        writeln!(table, "{body}\n    {fault}").unwrap();
    }
    insta::assert_snapshot!("malformed_replies", table);
}

/// `text` in UTF-16 behind its byte-order mark.
fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    format!("\u{FEFF}{text}").encode_utf16().flat_map(bytes).collect()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

#[test]
fn calls_are_read_in_the_encodings_that_clients_send() {
    let call = |name: &str| {
        format!(
            "<?xml version='1.0'{name}?><methodCall><methodName>a</methodName><params><param>\
             <value>caf\u{e9}</value></param></params></methodCall>"
        )
    };
    let bodies = [
        call("").into_bytes(),
        format!("\u{FEFF}{}", call(" encoding='UTF-8'")).into_bytes(),
        utf16(&call(""), u16::to_le_bytes),
        utf16(&call(""), u16::to_be_bytes),
        utf16(&call(" encoding='UTF-16'"), u16::to_le_bytes),
        utf16(&call(" encoding='utf-16be' standalone='yes'"), u16::to_be_bytes),
        latin1(&call(" encoding='ISO-8859-1'")),
        call(" encoding='US-ASCII'").replace('\u{e9}', "&#233;").into_bytes(),
    ];
    for body in bodies {
        let read = decode_call(&body, &Bounds::default()).unwrap();
        assert_eq!(read.params, [text("caf\u{e9}")], "{}", String::from_utf8_lossy(&body));
    }
    let latin1 = latin1(&call(""));
    let read = decode_request(&latin1, Some(Encoding::Latin1), &Bounds::default()).unwrap();
    assert_eq!(read.call.params, [text("caf\u{e9}")]);
}

#[test]
fn a_body_that_is_not_what_it_says_is_refused() {
    let declared = |name: &str| format!("<?xml version='1.0' encoding='{name}'?><methodCall/>");
    // A declaration too long for the first look is seen by the second.
    let hidden = declared("ISO-8859-1").replace(" enc", &format!("{} enc", " ".repeat(600)));
    for (body, charset, what) in [
        (
            declared("ISO-8859-1").into_bytes(),
            Some(Encoding::Utf8),
            "line 1, column 1: the XML declaration says ISO-8859-1, and the document is UTF-8",
        ),
        (
            declared("UTF-8").into_bytes(),
            Some(Encoding::Latin1),
            "line 1, column 1: the XML declaration says UTF-8, and the document is ISO-8859-1",
        ),
        (
            utf16(&declared("UTF-8"), u16::to_le_bytes),
            None,
            "line 1, column 1: the XML declaration says UTF-8, and the document is UTF-16LE",
        ),
        (
            utf16(&declared("UTF-16LE"), u16::to_be_bytes),
            None,
            "line 1, column 1: the XML declaration says UTF-16LE, and the document is UTF-16BE",
        ),
        (
            hidden.into_bytes(),
            None,
            "line 1, column 1: the XML declaration says ISO-8859-1, and the document is UTF-8",
        ),
        (
            b"<methodCall>\n<methodName>\xE9".to_vec(),
            None,
            "line 2, column 13: not UTF-8, and nothing declares another encoding",
        ),
        (
            b"<methodCall>\xC0\xBC".to_vec(),
            None,
            "line 1, column 13: not UTF-8, and nothing declares another encoding",
        ),
        (
            b"<methodCall>\xED\xA0\xBD\xED\xB8\x80".to_vec(),
            None,
            "line 1, column 13: not UTF-8, and nothing declares another encoding",
        ),
    ] {
        let fault = decode_request(&body, charset, &Bounds::default()).unwrap_err();
        assert_eq!(fault, Fault::new(FaultCode::Parse, what));
    }
}

#[test]
fn apaches_types_are_read_and_answered_in_kind() {
    check("<value><ex:nil/></value>", Value::Nil);
    check("<value><ex:i1>-128</ex:i1></value>", -128);
    check("<value><ex:i2>32767</ex:i2></value>", 32_767);
    check("<value><ex:i8>-9223372036854775808</ex:i8></value>", i64::MIN);
    check("<value><ex:biginteger>9223372036854775807</ex:biginteger></value>", i64::MAX);
    check("<value><ex:float>1.5E2</ex:float></value>", 150.0);
    check("<value><ex:bigdecimal>0.1</ex:bigdecimal></value>", 0.1);
    check(
        "<value><ex:dateTime>2006-11-22T13:00:00.123+01:00</ex:dateTime></value>",
        Value::DateTime(DateTime::parse("20061122T12:00:00").unwrap()),
    );
    let forms = |value: &str| {
        let body = format!(
            "<methodCall xmlns:ex='http://ws.apache.org/xmlrpc/namespaces/extensions'>\
             <methodName>a</methodName><params><param><value>{value}</value></param></params>\
             </methodCall>"
        );
        decode_request(body.as_bytes(), None, &Bounds::default()).unwrap().forms
    };
    assert_eq!(forms("<i8>1</i8>"), Forms::Plain);
    assert_eq!(forms("<nil/>"), Forms::Plain);
    assert_eq!(forms("<array><data><value><ex:i8>1</ex:i8></value></data></array>"), Forms::Apache);
    let value = Value::Array(vec![Value::Nil, Value::Int(1), Value::Int(1 << 40)]);
    let written = encode_reply_in(&Ok(value.clone()), Forms::Apache);
    let written = String::from_utf8(written).unwrap();
    assert!(written.contains(
        "<methodResponse xmlns:ex=\"http://ws.apache.org/xmlrpc/namespaces/extensions\">"
    ));
    assert!(written.contains(
        "<value><ex:nil/></value><value><int>1</int></value><value><ex:i8>1099511627776</ex:i8></value>"
    ));
    assert_eq!(decode_reply(written.as_bytes(), &Bounds::default()), Ok(Ok(value)));
}

/// A call with one parameter: `depth` arrays in each other.
fn nested_arrays(depth: usize) -> String {
    format!(
        "<methodCall><methodName>a</methodName><params><param>{}<value/>{}</param></params></methodCall>",
        "<value><array><data>".repeat(depth),
        "</data></array></value>".repeat(depth)
    )
}

#[track_caller]
fn assert_bound(body: &str, bounds: &Bounds, within: bool) {
    match decode_call(body.as_bytes(), bounds) {
        Ok(_) => assert!(within, "over the bound and accepted"),
        Err(fault) => {
            assert_eq!(fault.code, FaultCode::OverLimit, "{fault}");
            assert!(!within, "{fault}");
        }
    }
}

#[test]
fn depth_is_bounded() {
    let bounds = Bounds { depth_max: 8, ..Bounds::default() };
    assert_bound(&nested_arrays(7), &bounds, true);
    assert_bound(&nested_arrays(8), &bounds, true);
    assert_bound(&nested_arrays(9), &bounds, false);
    let boundless = Bounds { depth_max: usize::MAX, ..Bounds::default() };
    assert_bound(&nested_arrays(DEPTH_CEILING), &boundless, true);
    assert_bound(&nested_arrays(DEPTH_CEILING + 1), &boundless, false);
    // Beside each other is not in each other.
    let beside = "<value><array><data/></array></value>".repeat(20);
    assert!(param(&format!("<value><array><data>{beside}</data></array></value>")).is_ok());
}

#[test]
fn elements_are_bounded() {
    let body = "<methodCall><methodName>a</methodName><params><param><value/></param></params></methodCall>";
    for (elements_max, within) in [(4, false), (5, true), (6, true)] {
        assert_bound(body, &Bounds { elements_max, ..Bounds::default() }, within);
    }
}

#[test]
fn names_are_bounded() {
    let bounds = Bounds { name_bytes_max: 20, ..Bounds::default() };
    for (length, within) in [(19, true), (20, true), (21, false)] {
        let body = format!(
            "<methodCall><methodName>a</methodName><params><param><value><struct><member><name>{}</name>\
             <value/></member></struct></value></param></params></methodCall>",
            "n".repeat(length)
        );
        assert_bound(&body, &bounds, within);
    }
    let element = |length| format!("<{}/>", "n".repeat(length));
    let code = |length| decode_call(element(length).as_bytes(), &bounds).unwrap_err().code;
    assert_eq!(code(20), FaultCode::InvalidRequest);
    assert_eq!(code(21), FaultCode::OverLimit);
}

#[test]
fn texts_are_bounded() {
    let bounds = Bounds { text_bytes_max: 20, ..Bounds::default() };
    for (length, within) in [(19, true), (20, true), (21, false)] {
        for value in ["n".repeat(length), format!("<string>{}</string>", "&amp;".repeat(length))] {
            let body = format!(
                "<methodCall><methodName>a</methodName><params><param><value>{value}</value></param>\
                 </params></methodCall>"
            );
            assert_bound(&body, &bounds, within);
        }
    }
}

#[test]
fn attributes_are_bounded() {
    for (count, within) in
        [(ATTRIBUTES_MAX - 1, true), (ATTRIBUTES_MAX, true), (ATTRIBUTES_MAX + 1, false)]
    {
        let attributes: String = (0..count).map(|n| format!(" a{n}=\"\"")).collect();
        let body = format!("<methodCall{attributes}><methodName>a</methodName></methodCall>");
        assert_bound(&body, &Bounds::default(), within);
    }
}

/// Long enough for a slow machine's debug build, far too short for anything quadratic.
const HOSTILE_TIME_MAX: Duration = Duration::from_secs(30);

/// A call that is cut off in its parameter.
fn param_of(text: &str) -> String {
    format!("<methodCall><methodName>a</methodName><params><param><value>{text}")
}

#[test]
fn hostile_bodies_are_refused_soon_and_without_harm() {
    let million = 1_000_000;
    let attributes: String = (0..million).map(|n| format!(" a{n}=\"\"")).collect();
    let hostile = [
        nested_arrays(100_000),
        format!(
            "<methodCall><methodName>a</methodName><params><param>{}",
            "<value><struct><member><name>a</name>".repeat(100_000)
        ),
        "<a>".repeat(million),
        param_of(&"a<!---->".repeat(million)) + "<",
        param_of(&"<![CDATA[a]]>".repeat(million)) + "<",
        param_of(&"&#65;".repeat(million)) + "<",
        param_of(&format!("<base64>{}!", "a \n\r\n".repeat(million))) + "</base64>",
        param_of(&format!("<double>{}x", "1".repeat(million))) + "</double>",
        param_of(&format!("<dateTime.iso8601>{}", "1".repeat(million))) + "</dateTime.iso8601>",
        format!("<methodCall a=\"{}\">", "x".repeat(million)) + "</a>",
        "<methodCall>".repeat(million),
        format!("<methodCall{attributes}/>"),
        format!("<methodCall a=\"{}\"/>", "&".repeat(million)),
        format!("<methodCall{}", " a".repeat(million)),
        format!("<{}/>", "a".repeat(million)),
        format!("<methodCall></{}>", "a".repeat(million)),
        format!("<methodCall><methodName>{}", "&".repeat(million)),
        format!("<methodCall><methodName>{}", "&amp;".repeat(million)),
        format!("<methodCall>{}", "<!".repeat(million)),
        format!("<methodCall>{}", "<!---->".repeat(million)),
        format!("<methodCall>{}", "<??>".repeat(million)),
        format!("<methodCall>{}", "]]".repeat(million)),
        format!("<!DOCTYPE a [{}", "<!ENTITY a \"&b;&b;&b;\">".repeat(million)),
        format!(
            "<methodCall><methodName>a</methodName><params>{}",
            "<param><value/></param>".repeat(million)
        ),
    ];
    for body in &hostile {
        let started = Instant::now();
        let fault = decode_call(body.as_bytes(), &Bounds::default()).unwrap_err();
        let head = body.get(..40).unwrap();
        assert!(started.elapsed() < HOSTILE_TIME_MAX, "{head}: {:?}", started.elapsed());
        assert!(fault.text.len() < 1000, "{head}: an answer of {} bytes", fault.text.len());
    }
}

#[test]
fn a_large_body_is_read_whole() {
    let count = 90_000;
    let member =
        |n| Value::record([("x", Value::Double(f64::from(n))), ("name", text("M 31 & more"))]);
    let call = Call {
        method: MethodName::parse("catalog.load").unwrap(),
        params: vec![Value::Array((0..count).map(member).collect())],
    };
    let body = encode_call(&call).unwrap();
    assert_eq!(decode_call(&body, &Bounds::default()).unwrap(), call);
}

#[test]
fn integers_are_written_in_the_smallest_type_that_any_client_knows() {
    let written = |number: i64| {
        let body = String::from_utf8(encode_reply(&Ok(Value::Int(number)))).unwrap();
        let from = body.find("<value>").unwrap() + 7;
        body[from..body.find("</value>").unwrap()].to_owned()
    };
    assert_eq!(written(2_147_483_647), "<int>2147483647</int>");
    assert_eq!(written(2_147_483_648), "<i8>2147483648</i8>");
    assert_eq!(written(-2_147_483_648), "<int>-2147483648</int>");
    assert_eq!(written(-2_147_483_649), "<i8>-2147483649</i8>");
}

#[test]
fn a_reply_and_a_call_are_written_like_this() {
    let value = Value::record([
        (
            "a<b",
            Value::Array(vec![
                Value::Nil,
                Value::Bool(true),
                Value::Double(1e21),
                Value::Double(-0.0),
            ]),
        ),
        ("when", Value::DateTime(DateTime::parse("20061122T12:00:00").unwrap())),
        ("bytes", Value::Binary(vec![0, 255])),
        ("text", text("a<b>&c\r\n\u{1F600}")),
        ("none", Value::Struct(BTreeMap::new())),
    ]);
    let call = Call {
        method: MethodName::parse("a.b").unwrap(),
        params: vec![value.clone(), Value::Int(1)],
    };
    let fault = Fault::new(FaultCode::OverLimit, "asked for 2 <\u{1b}[31m");
    let all = [encode_reply(&Ok(value)), encode_call(&call).unwrap(), encode_reply(&Err(fault))];
    insta::assert_snapshot!("written", String::from_utf8(all.concat()).unwrap());
}

#[test]
fn what_xml_cannot_carry_becomes_a_fault() {
    let nested = |value| Value::Array(vec![Value::record([("a", value)])]);
    for (value, what) in [
        (text("a\0"), "a string holds the character U+0000, which XML forbids (send it as base64)"),
        (
            text("\u{FFFF}"),
            "a string holds the character U+FFFF, which XML forbids (send it as base64)",
        ),
        (
            Value::record([("\u{1b}", Value::Nil)]),
            "a member's name holds the character U+001B, which XML forbids (send it as base64)",
        ),
        (Value::Double(f64::NAN), "the double NaN is not finite"),
        (Value::Double(f64::INFINITY), "the double inf is not finite"),
    ] {
        for value in [value.clone(), nested(value)] {
            let reply =
                decode_reply(&encode_reply(&Ok(value.clone())), &Bounds::default()).unwrap();
            let text = format!("the result cannot be sent as XML-RPC: {what}");
            assert_eq!(reply, Err(Fault::new(FaultCode::Internal, text)));
            let method = MethodName::parse("a").unwrap();
            let refused =
                encode_call(&Call { method, params: vec![Value::Nil, value] }).unwrap_err();
            assert_eq!(refused.text, format!("parameter 2 cannot be sent as XML-RPC: {what}"));
        }
    }
    let fault = Fault::new(FaultCode::Service(-7), "bell \u{7} & \u{FFFE}");
    let reply = decode_reply(&encode_reply(&Err(fault)), &Bounds::default()).unwrap();
    assert_eq!(reply, Err(Fault::new(FaultCode::Service(-7), "bell \u{FFFD} & \u{FFFD}")));
}

proptest! {
    #[test]
    fn a_call_comes_back_as_it_was_sent(
        name in "[a-z_]{1,8}(\\.[a-zA-Z0-9_-]{1,8}){0,3}",
        params in prop::collection::vec(any_value(), 0..4),
    ) {
        let call = Call { method: MethodName::parse(&name).unwrap(), params };
        prop_assert_eq!(decode_call(&encode_call(&call).unwrap(), &Bounds::default()), Ok(call));
    }

    #[test]
    fn a_call_is_the_same_in_every_encoding(params in prop::collection::vec(any_value(), 0..3)) {
        let call = Call { method: MethodName::parse("a").unwrap(), params };
        for (body, charset) in in_each_encoding(&encode_call(&call).unwrap()) {
            let read = decode_request(&body, charset, &Bounds::default());
            prop_assert_eq!(read.as_ref().map(|request| &request.call), Ok(&call));
        }
    }

    #[test]
    fn a_reply_comes_back_as_it_was_sent(value in any_value(), code in any::<i32>(), text in any_text()) {
        for reply in [Ok(value), Err(Fault::new(FaultCode::from_number(i64::from(code)), text))] {
            for forms in [Forms::Plain, Forms::Apache] {
                for (body, charset) in in_each_encoding(&encode_reply_in(&reply, forms)) {
                    // A client reads no charset.
                    if charset != Some(Encoding::Latin1) {
                        let read = decode_reply(&body, &Bounds::default());
                        prop_assert_eq!(read.as_ref(), Ok(&reply));
                    }
                }
            }
        }
    }

    #[test]
    fn noise_is_refused_in_one_printable_line(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let fault = decode_call(&body, &Bounds::default()).unwrap_err();
        prop_assert!(!fault.text.contains(char::is_control), "{}", fault.text);
    }

    /// Pieces of XML in any order: whatever comes of it, the reader stands.
    #[test]
    fn pieces_of_xml_do_no_harm(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let body = pieces.concat();
        if let Err(fault) = decode_call(body.as_bytes(), &Bounds::default()) {
            prop_assert!(!fault.text.contains(char::is_control), "{}", fault.text);
        }
    }

    /// A good call with one byte changed, or cut short.
    #[test]
    fn a_damaged_call_does_no_harm(value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let method = MethodName::parse("a.b").unwrap();
        let good = encode_call(&Call { method, params: vec![value] }).unwrap();
        let at = at.index(good.len() - 1); // only the last line feed may be left out
        prop_assert!(decode_call(&good[..at], &Bounds::default()).is_err());
        let mut changed = good;
        changed[at] = byte;
        if let Err(fault) = decode_call(&changed, &Bounds::default()) {
            prop_assert!(!fault.text.contains(char::is_control), "{}", fault.text);
        }
    }
}

const PIECES: &[&str] = &[
    "<",
    ">",
    "/",
    "<!",
    "<!-",
    "<!--",
    "-->",
    "--",
    "<!-->",
    "<!--->",
    "<![",
    "<![CDATA[",
    "]]>",
    "<?",
    "?>",
    "<??>",
    "<?xml",
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE",
    "&",
    ";",
    "&#",
    "&#x",
    "&amp;",
    "&#65;",
    "\"",
    "'",
    "=",
    " ",
    "\n",
    "\r",
    "a",
    "\u{e9}",
    "<methodCall>",
    "</methodCall>",
    "<methodName>",
    "</methodName>",
    "<params>",
    "</params>",
    "<param>",
    "</param>",
    "<value>",
    "</value>",
    "<value/>",
    "<array>",
    "</array>",
    "<data>",
    "</data>",
    "<struct>",
    "</struct>",
    "<member>",
    "</member>",
    "<name>",
    "</name>",
    "<int>",
    "</int>",
    "<nil/>",
    "1",
    "< ",
    "</",
    "</>",
    "<>",
    "<a b=\"c\"",
    "<a b",
];
