use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::samples::in_each_encoding;
use crate::{Bounds, Call, DateTime, Encoding, Fault, FaultCode, MethodName, Reply, Value};

fn signature(words: &[&str]) -> Signature {
    Signature::from_words(words)
}

/// The call that `body` makes at the address of all services.
fn read(body: &[u8], signatures: &[Signature]) -> Result<(Call, ReplyForm), Refusal> {
    Request::read(body, &Bounds::default(), &Endpoint::default())?.into_call(signatures)
}

/// An envelope of `version` around `body`, with the prefixes that the tests use.
fn envelope(version: Version, body: &str) -> String {
    let (soap, enc) = (version.envelope(), version.encoding());
    format!(
        "<s:Envelope xmlns:s=\"{soap}\" xmlns:e=\"{enc}\" xmlns:xsd=\"{SCHEMA}\" \
         xmlns:xsi=\"{INSTANCE}\" xmlns:map=\"{APACHE}\" xmlns:m=\"urn:nesssi:a\">\
         {body}</s:Envelope>"
    )
}

/// The parameter that `element` is read as, in a call of `style` whose signature asks for `word`.
fn param_in(style: Style, element: &str, word: &str) -> Result<Value, Fault> {
    let style = match style {
        Style::Literal => String::new(),
        Style::Encoded => format!(" s:encodingStyle=\"{ENCODING_11}\""),
    };
    let body = format!("<s:Body{style}><m:b>{element}</m:b></s:Body>");
    let body = envelope(Version::Soap11, &body);
    let read = read(body.as_bytes(), &[signature(&["nil", word])]);
    read.map(|(mut call, _)| call.params.remove(0)).map_err(|refusal| refusal.fault)
}

fn check(word: &str, element: &str, expected: impl Into<Value>) {
    let expected = expected.into();
    assert_eq!(param_in(Style::Literal, element, word), Ok(expected), "{element}");
}

fn check_encoded(element: &str, expected: impl Into<Value>) {
    let expected = expected.into();
    assert_eq!(param_in(Style::Encoded, element, "any"), Ok(expected), "{element}");
}

fn check_refused(element: &str, word: &str, what: &str) {
    for style in [Style::Literal, Style::Encoded] {
        let fault = param_in(style, element, word).unwrap_err();
        assert!(fault.text.contains(what), "{element}: {fault}");
    }
}

fn date(text: &str) -> Value {
    Value::DateTime(DateTime::parse(text).unwrap())
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::Array(items.into())
}

#[test]
fn a_signature_says_how_text_is_read() {
    check("int", "<arg0> 5\n</arg0>", 5);
    check("int", "<m:arg0>-9223372036854775808</m:arg0>", i64::MIN);
    check("double", "<x>2</x>", 2.0);
    check("boolean", "<x>1</x>", true);
    check("boolean", "<x>false</x>", false);
    check("string", "<x> a&lt;b<![CDATA[<c>]]>&#13;</x>", " a<b<c>\r");
    check("string", "<x/>", "");
    check("base64", "<x>eW91\n IGNh bg==</x>", Value::Binary(b"you can".to_vec()));
    check("dateTime.iso8601", "<x>2006-11-22T12:00:59</x>", date("20061122T12:00:59"));
    check("array", "<x><item>1</item></x>", list(["1".into()]));
    check("array", "<x/>", list([]));
    check("struct", "<x/>", Value::Struct(BTreeMap::new()));
    check("struct", "<x><item>1</item></x>", Value::record([("item", "1".into())]));
    check("any", "<x>5</x>", "5");
    check("nil", "<x/>", Value::Nil);
    for word in ["int", "string", "array", "struct", "any"] {
        check(word, "<x xsi:nil=\"true\"/>", Value::Nil);
        check(word, "<x xsi:nil='1'></x>", Value::Nil);
    }
}

#[test]
fn a_guessed_type_gives_way_to_the_signature() {
    check("string", "<x xsi:type='xsd:int'>007</x>", "007");
    check("string", "<x xsi:type='xsd:base64Binary'>w6k=</x>", "\u{e9}");
    check("string", "<x xsi:type='xsd:base64Binary'>/w==</x>", Value::Binary(vec![255]));
    check("double", "<x xsi:type='xsd:int'>2</x>", 2.0);
    check("boolean", "<x xsi:type='xsd:int'>1</x>", true);
    check(
        "dateTime",
        "<x xsi:type='xsd:string'>2006-11-22T12:00:59Z</x>",
        date("20061122T12:00:59"),
    );
    // Nothing is made up: what is no integer stays what it says it is.
    check("int", "<x xsi:type='xsd:string'>5</x>", "5");
    check("any", "<x xsi:type='xsd:int'>5</x>", 5);
    check("any", "<x xsi:type='own:enum' xmlns:own='urn:o'>red</x>", "red");
}

#[test]
fn dates_with_zones_are_brought_to_utc() {
    for (written, read) in [
        ("2006-11-22T12:00:59.999Z", "20061122T12:00:59"),
        ("2006-11-22T00:30:00+02:00", "20061121T22:30:00"),
        ("2000-02-28T23:30:00-01:00", "20000229T00:30:00"),
        ("0000-03-01T00:00:00+00:01", "00000229T23:59:00"),
    ] {
        check("dateTime", &format!("<x>{written}</x>"), date(read));
    }
    for wrong in ["", "2006-11-22", "2006-02-30T00:00:00", "2006-11-22T12:00:59+15:00", "x"] {
        check_refused(&format!("<x>{wrong}</x>"), "dateTime", "is no dateTime");
    }
    check_refused("<x>0000-01-01T00:00:00+00:01</x>", "dateTime", "is no dateTime");
}

#[test]
fn what_has_no_type_is_what_it_looks_like() {
    let pair = || Value::record([("k", "v".into())]);
    check("any", "<x><item>1</item></x>", list(["1".into()]));
    check("any", "<x><a>1</a><a>2</a></x>", list(["1".into(), "2".into()]));
    check("any", "<x><k>v</k></x>", pair());
    check("any", "<x><item><key>k</key><value>v</value></item></x>", pair());
    check("struct", "<x><k>v</k></x>", pair());
    check_encoded("<x><item>1</item></x>", Value::record([("item", "1".into())]));
}

#[test]
fn arrays_of_the_encodings_are_read() {
    let numbers = || list([Value::Int(1), Value::Int(2)]);
    for array in [
        "<x xsi:type='e:Array' e:arrayType='xsd:int[2]'><i>1</i><i>2</i></x>",
        "<x e:arrayType='xsd:int[]'><i>1</i><i>2</i></x>",
        "<e:Array e:arrayType='xsd:anyType[2]'><i xsi:type='xsd:int'>1</i><e:int>2</e:int></e:Array>",
        "<x xsi:type='e:Array' e:arrayType='xsd:int[4294967295]'><i>1</i><i>2</i></x>",
    ] {
        check_encoded(array, numbers());
    }
    let body = "<s:Body><m:b s:encodingStyle='http://www.w3.org/2003/05/soap-encoding'>\
                <x e:itemType='xsd:int' e:arraySize='*'><i>1</i><i>2</i></x>\
                <x e:nodeType='array'><i xsi:type='xsd:int'>1</i></x>\
                <x e:nodeType='struct'><i xsi:type='xsd:int'>1</i></x></m:b></s:Body>";
    let (call, form) = read(envelope(Version::Soap12, body).as_bytes(), &[]).unwrap();
    let expected = [numbers(), list([Value::Int(1)]), Value::record([("i", Value::Int(1))])];
    assert_eq!((call.params.as_slice(), form.style), (expected.as_slice(), Style::Encoded));
    check_encoded(
        "<x xsi:type='e:Array' e:arrayType='xsd:int[][1]'><i e:arrayType='xsd:int[2]'><n>1</n><n>2</n></i></x>",
        list([numbers()]),
    );
    check_refused("<x e:arrayType='xsd:int[2,2]'/>", "any", "more than one dimension");
    check_refused("<x e:arrayType='xsd:int[2]' e:offset='[1]'/>", "any", "arrays in parts");
    check_refused("<x e:arrayType='xsd:int'/>", "any", "is no arrayType");
}

/// Tags and types that were met before are remembered, and mean what they mean where they stand.
#[test]
fn what_is_remembered_of_a_tag_ends_with_its_prefixes() {
    let schema = "http://www.w3.org/2001/XMLSchema";
    let item = "<i xsi:type=\"x:int\">7</i>";
    let own = format!("<o xmlns:x=\"urn:own\">{item}{item}</o>");
    let element =
        format!("<arg0 xmlns:x=\"{schema}\"><n>{item}{item}</n>{own}<m>{item}</m></arg0>");
    let ints = || list([Value::Int(7), Value::Int(7)]);
    // Of a type of the caller's own it is not known how to be read, but as text.
    let texts = list(["7".into(), "7".into()]);
    let expected =
        Value::record([("n", ints()), ("o", texts), ("m", Value::record([("i", 7.into())]))]);
    check("struct", &element, expected);
    // Alike in their tags, and yet not in what they hold.
    let maybe = "<i xsi:type=\"own:T\">x</i><i xsi:type=\"own:T\"><a>1</a></i>";
    let element = format!("<arg0 xmlns:own=\"urn:own\">{maybe}</arg0>");
    check("array", &element, list(["x".into(), Value::record([("a", "1".into())])]));
}

#[test]
fn references_stay_in_the_message_and_never_in_a_circle() {
    let call = |params: &str, rest: &str| {
        let body =
            format!("<s:Body s:encodingStyle='{ENCODING_11}'><m:b>{params}</m:b>{rest}</s:Body>");
        let read = read(envelope(Version::Soap11, &body).as_bytes(), &[]);
        read.map(|(call, _)| call.params).map_err(|refusal| refusal.fault.text)
    };
    let shared = "<x id='r' xsi:type='xsd:int'>7</x>";
    let sevens = vec![Value::Int(7), Value::Int(7)];
    assert_eq!(call("<a href='#r'/><b href='#r'/>", shared), Ok(sevens));
    for (params, rest, what) in [
        ("<a href='http://169.254.169.254/'/>", "", "nothing is fetched"),
        ("<a href='cid:1@example.org'/>", "", "nothing is fetched"),
        ("<a href='file:///etc/passwd'/>", "", "nothing is fetched"),
        ("<a href='#no'/>", "", "no element has the id"),
        ("<a href='#r'/>", "<x id='r'/><y id='r'/>", "two elements have the id"),
        ("<a href='#r'/>", "<x id='r' href='#r'/>", "lead to no value"),
        ("<a href='#r'/>", "<x id='r'><y href='#r'/></x>", "one that it is in"),
        (
            "<a href='#r'/>",
            "<x id='r'><y href='#q'/></x><x id='q'><y href='#r'/></x>",
            "that it is in",
        ),
        (
            "<a xsi:type='xsd:base64Binary'><i:Include xmlns:i='http://www.w3.org/2004/08/xop/include' href='http://x/'/></a>",
            "",
            "XOP",
        ),
    ] {
        let text = call(params, rest).unwrap_err();
        assert!(text.contains(what), "{params}{rest}: {text}");
    }
}

/// References as entities of the billion laughs: a few lines that would mean gigabytes.
#[test]
fn references_cannot_make_a_message_much_larger() {
    let mut rest = format!("<x id='r0'>{}</x>", "ha".repeat(500));
    for level in 1..12 {
        let below = format!("<i href='#r{}'/>", level - 1).repeat(10);
        rest.push_str(&format!("<x id='r{level}' xsi:type='e:Array'>{below}</x>"));
    }
    let body = format!("<s:Body><m:b><a href='#r11'/></m:b>{rest}</s:Body>");
    let started = Instant::now();
    let refusal = read(envelope(Version::Soap11, &body).as_bytes(), &[]).unwrap_err();
    assert_eq!(refusal.fault.code, FaultCode::OverLimit, "{refusal:?}");
    // The same without text, where values are what is counted.
    let empty = body.replace(&"ha".repeat(500), "");
    let refusal = read(envelope(Version::Soap11, &empty).as_bytes(), &[]).unwrap_err();
    assert_eq!(refusal.fault.code, FaultCode::OverLimit, "{refusal:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn hostile_xml_is_refused_in_a_line() {
    let body = |inner: &str| envelope(Version::Soap11, &format!("<s:Body>{inner}</s:Body>"));
    let deep = |tag: &str| body(&format!("<m:b>{}", format!("<{tag}>").repeat(100_000)));
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=''")).collect();
    let prefixes: String = (0..60).map(|n| format!(" xmlns:p{n}='urn:{n}'")).collect();
    for (message, code, what) in [
        ("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>".to_owned(), FaultCode::Parse, "DOCTYPE"),
        (format!("<!doctype a>{}", body("<m:b/>")), FaultCode::Parse, "DOCTYPE"),
        (body("<m:b>&lol;</m:b>"), FaultCode::Parse, "entity `lol`"),
        (body("<?php x?><m:b/>"), FaultCode::InvalidRequest, "processing instruction"),
        (deep("x"), FaultCode::OverLimit, "nested deeper"),
        (deep("item"), FaultCode::OverLimit, "nested deeper"),
        (body(&format!("<m:b{attributes}/>")), FaultCode::OverLimit, "attributes"),
        (body(&format!("<m:b><x{prefixes}>").repeat(6)), FaultCode::OverLimit, "declarations"),
        (body(&format!("<{}/>", "x".repeat(300))), FaultCode::OverLimit, "name is longer"),
        (body("<q:b/>"), FaultCode::Parse, "prefix `q` is not declared"),
        (body("<m:b a='1' a='2'/>"), FaultCode::Parse, "not well formed"),
        (body("<m:b xmlns:q='' q:a=''/>"), FaultCode::Parse, "cannot be declared"),
        (body("<m:b>\u{0}</m:b>"), FaultCode::Parse, ""),
        (body("<m:b>&#0;</m:b>"), FaultCode::Parse, "no character of XML"),
        (body("<m:b><x>1<y/></x></m:b>"), FaultCode::InvalidParams, "text between"),
        (body("<m:b><x><a/><b/><a/></x></m:b>"), FaultCode::InvalidParams, "two members"),
        (body("<m:b/><m:b/>"), FaultCode::InvalidRequest, "second call"),
        (body(""), FaultCode::InvalidRequest, "no call"),
        (body("<m:b/>").replace("</s:Envelope>", ""), FaultCode::Parse, "ends inside"),
        (format!("{}<x/>", body("<m:b/>")), FaultCode::Parse, "second root"),
        (String::new(), FaultCode::Parse, "no element"),
        (envelope(Version::Soap11, ""), FaultCode::InvalidRequest, "no Body"),
        (envelope(Version::Soap11, "<s:Header/><m:b/>"), FaultCode::InvalidRequest, "Body should"),
        (
            envelope(Version::Soap12, "<s:Body><m:b/></s:Body><x/>"),
            FaultCode::InvalidRequest,
            "after",
        ),
    ] {
        let told: String = message.chars().take(200).collect();
        let fault = read(message.as_bytes(), &[]).unwrap_err().fault;
        assert_eq!(fault.code, code, "{told}: {fault}");
        assert!(fault.text.contains(what), "{told}: {fault}");
        assert!(!fault.text.contains(char::is_control) && fault.text.len() < 400, "{fault}");
    }
}

#[test]
fn the_depth_is_as_the_bounds_say() {
    for (style, version) in [(Style::Literal, Version::Soap11), (Style::Encoded, Version::Soap12)] {
        let bounds = Bounds::default();
        let nested = |depth: usize| {
            (0..depth).fold(Value::Nil, |inner, level| match level % 2 {
                0 => Value::Array(vec![inner]),
                _ => Value::record([("a", inner)]),
            })
        };
        let method = MethodName::parse("a.b").unwrap();
        let trip = |depth| {
            let call = Call { method: method.clone(), params: vec![nested(depth)] };
            let body = encode_call(&call, version, style).unwrap();
            read(&body, &[]).map(|(read, _)| assert_eq!(read, call))
        };
        assert_eq!(trip(bounds.depth_max), Ok(()));
        assert_eq!(trip(bounds.depth_max + 1).unwrap_err().fault.code, FaultCode::OverLimit);
    }
}

#[test]
fn values_that_are_none_are_refused() {
    for (element, word, what) in [
        ("<x>5.5</x>", "int", "is no long"),
        ("<x xsi:type='xsd:int'>2147483648</x>", "any", "is no int"),
        ("<x xsi:type='xsd:unsignedLong'>9223372036854775808</x>", "any", "is no unsignedLong"),
        ("<x xsi:type='xsd:byte'>128</x>", "any", "is no byte"),
        ("<x>NaN</x>", "double", "is no finite double"),
        ("<x>INF</x>", "double", "is no finite double"),
        ("<x>1e999</x>", "double", "is no finite double"),
        ("<x>yes</x>", "boolean", "neither true nor false"),
        ("<x>***</x>", "base64", "not base64"),
        ("<x xsi:type='xsd:hexBinary'>abc</x>", "any", "not hexadecimal"),
        ("<x xsi:type='xsd:nonsense'>1</x>", "any", "is not known"),
        ("<x xsi:nil='true'>1</x>", "any", "nil, and yet"),
        ("<x>text</x>", "array", "should have elements"),
        ("<x><y/></x>", "string", "should have text"),
        ("<x xsi:type='map:Map'><item><key>a</key></item></x>", "any", "one <key>"),
        ("<x xsi:type='map:Map'><item><key><a/></key><value/></item></x>", "any", "is text"),
    ] {
        check_refused(element, word, what);
    }
}

#[test]
fn the_body_decides_which_method_is_called() {
    let named = |element: &str, service: Option<&str>, action: Option<&str>| {
        let body = envelope(Version::Soap11, &format!("<s:Body>{element}</s:Body>"));
        let endpoint = Endpoint { service, action, ..Endpoint::default() };
        Request::read(body.as_bytes(), &Bounds::default(), &endpoint)
            .map(|request| request.method().to_string())
            .map_err(|refusal| refusal.fault.text)
    };
    let ok = |name: &str| Ok(name.to_owned());
    assert_eq!(named("<m:b/>", None, None), ok("a.b"));
    assert_eq!(named("<m:a.b/>", None, None), ok("a.b"));
    assert_eq!(named("<m:b/>", Some("a"), Some("\"\"")), ok("a.b"));
    assert_eq!(named("<a.b/>", None, None), ok("a.b"));
    assert_eq!(named("<x:a.b xmlns:x='http://old/'/>", None, None), ok("a.b"));
    assert_eq!(named("<b/>", Some("a"), None), ok("a.b"));
    assert_eq!(named("<x:b xmlns:x='urn:nesssi:a.c'/>", Some("a.c"), None), ok("a.c.b"));
    assert_eq!(named("<m:_x0032_-odd_name/>", None, None), ok("a.2-odd_name"));
    for action in
        ["\"urn:nesssi:a#b\"", "urn:nesssi:a#b", "urn:nesssi:a/b", "b", "a.b", "urn:nesssi:a"]
    {
        assert_eq!(named("<m:b/>", None, Some(action)), ok("a.b"), "{action}");
    }
    for (element, service, action, what) in [
        ("<b/>", None, None, "names no service"),
        ("<m:b/>", Some("c"), None, "no method of the service at this address"),
        ("<m:b/>", None, Some("\"urn:nesssi:a#c\""), "SOAPAction"),
        ("<m:b/>", None, Some("urn:nesssi:c#b"), "SOAPAction"),
        ("<m:b/>", None, Some("http://example.org/"), "SOAPAction"),
        ("<m:b..c/>", None, None, "no method name"),
    ] {
        let text = named(element, service, action).unwrap_err();
        assert!(text.contains(what), "{element}: {text}");
    }
}

#[test]
fn headers_that_must_be_understood_are_refused() {
    let refused = |version, header: &str| {
        let body =
            envelope(version, &format!("<s:Header>{header}</s:Header><s:Body><m:b/></s:Body>"));
        read(body.as_bytes(), &[]).map(|_| ()).map_err(|refusal| refusal.reason)
    };
    let next_11 = "http://schemas.xmlsoap.org/soap/actor/next";
    let role_12 = "http://www.w3.org/2003/05/soap-envelope/role";
    let h = "xmlns:h='urn:h'";
    let must = || Err(Reason::MustUnderstand(vec![("urn:h".to_owned(), "t".to_owned())]));
    let (v11, v12) = (Version::Soap11, Version::Soap12);
    assert_eq!(refused(v11, &format!("<h:t {h}>mixed<x/></h:t>")), Ok(()));
    assert_eq!(refused(v11, &format!("<h:t {h} s:mustUnderstand='0'/>")), Ok(()));
    assert_eq!(
        refused(v11, &format!("<h:t {h} s:mustUnderstand='1' s:actor='urn:else'/>")),
        Ok(())
    );
    assert_eq!(
        refused(v12, &format!("<h:t {h} s:mustUnderstand='true' s:role='{role_12}/none'/>")),
        Ok(())
    );
    assert_eq!(refused(v11, &format!("<h:t {h} s:mustUnderstand='1'/>")), must());
    assert_eq!(
        refused(v11, &format!("<h:t {h} s:mustUnderstand='1' s:actor='{next_11}'/>")),
        must()
    );
    assert_eq!(
        refused(v12, &format!("<h:t {h} s:mustUnderstand='true' s:role='{role_12}/next'/>")),
        must()
    );
    assert_eq!(refused(v12, &format!("<h:t {h} s:mustUnderstand='maybe'/>")), Err(Reason::Other));
}

#[test]
fn faults_are_of_the_callers_version() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let method = MethodName::parse("a.b").unwrap();
    let fault: Reply = Err(Fault::new(FaultCode::NotFound, "no <such>\u{7}"));
    let of = |version| {
        let form = ReplyForm::of(&method, version, Style::Literal);
        text(encode_reply(&fault, &form, &[]))
    };
    let detail = "<n:fault><code>404</code><text>no &lt;such&gt;\u{FFFD}</text></n:fault>";
    let expected = format!(
        "<soap:Fault><faultcode>soap:Client</faultcode>\
         <faultstring>no &lt;such&gt;\u{FFFD}</faultstring><detail>{detail}</detail></soap:Fault>"
    );
    assert!(of(Version::Soap11).contains(&expected), "{}", of(Version::Soap11));
    let expected = format!(
        "<soap:Fault><soap:Code><soap:Value>soap:Sender</soap:Value></soap:Code><soap:Reason>\
         <soap:Text xml:lang=\"en\">no &lt;such&gt;\u{FFFD}</soap:Text></soap:Reason>\
         <soap:Detail>{detail}</soap:Detail></soap:Fault>"
    );
    assert!(of(Version::Soap12).contains(&expected), "{}", of(Version::Soap12));
    assert_eq!(Version::Soap11.fault_status(FaultCode::NotFound), 500);
    assert_eq!(Version::Soap12.fault_status(FaultCode::NotFound), 400);
    assert_eq!(Version::Soap12.fault_status(FaultCode::Internal), 500);

    let refusal = |body: &str, version| {
        let endpoint = Endpoint { version: Some(version), ..Endpoint::default() };
        let refusal =
            Request::read(body.as_bytes(), &Bounds::default(), &endpoint).map(|_| ()).unwrap_err();
        (refusal.status(), text(refusal.encode()))
    };
    let (status, body) = refusal("<Envelope xmlns='urn:soap-2000'/>", Version::Soap12);
    assert!(status == 500 && body.contains("soap:VersionMismatch"), "{body}");
    assert!(body.contains("<soap:SupportedEnvelope qname=\"a:Envelope\""), "{body}");
    let header =
        "<s:Header><h:t xmlns:h='urn:h' s:mustUnderstand='1'/></s:Header><s:Body><m:b/></s:Body>";
    let (status, body) = refusal(&envelope(Version::Soap11, header), Version::Soap12);
    assert!(status == 500 && body.contains("soap:MustUnderstand"), "{body}");
    assert!(!body.contains("<detail>"), "{body}");
    let (_, body) = refusal(&envelope(Version::Soap12, header), Version::Soap11);
    assert!(body.contains("<soap:NotUnderstood qname=\"h:t\" xmlns:h=\"urn:h\"/>"), "{body}");
    let style = "<s:Body><m:b s:encodingStyle='urn:other'/></s:Body>";
    let (status, body) = refusal(&envelope(Version::Soap12, style), Version::Soap12);
    assert!(status == 500 && body.contains("soap:DataEncodingUnknown"), "{body}");
}

#[test]
fn what_soap_cannot_carry_becomes_a_fault() {
    let method = MethodName::parse("a.b").unwrap();
    let leap = DateTime { second: 60, ..DateTime::parse("20161231T23:59:00").unwrap() };
    for (value, what) in [
        (Value::from("a\0"), "a string holds the character U+0000"),
        (Value::record([("\u{1b}", Value::Nil)]), "a member's name holds the character U+001B"),
        (Value::Double(f64::NAN), "the double NaN is not finite"),
        (Value::DateTime(leap), "leap seconds"),
    ] {
        for (version, style) in forms() {
            let form = ReplyForm::of(&method, version, style);
            let reply = encode_reply(&Ok(list([value.clone()])), &form, &[]);
            let fault = decode_reply(&reply, &Bounds::default(), &[]).unwrap().unwrap_err();
            assert_eq!(fault.code, FaultCode::Internal);
            assert!(fault.text.contains(what), "{fault}");
            let call = Call { method: method.clone(), params: vec![Value::Nil, value.clone()] };
            let fault = encode_call(&call, version, style).unwrap_err();
            assert!(fault.text.contains("parameter 2") && fault.text.contains(what), "{fault}");
        }
    }
}

#[test]
fn parameters_are_found_by_name_or_by_order() {
    let named = |names: [&str; 2]| Signature {
        returns: Type::Any,
        params: names.map(|name| Param { name: Some(name.to_owned()), kind: Type::Int }).into(),
    };
    let signatures = [named(["first", "2nd"]), signature(&["any", "int"])];
    let params = |inner: &str| {
        let body = envelope(Version::Soap11, &format!("<s:Body><m:b>{inner}</m:b></s:Body>"));
        let read = read(body.as_bytes(), &signatures);
        read.map(|(call, _)| call.params).map_err(|refusal| refusal.fault.text)
    };
    let both = || Ok(vec![Value::Int(1), Value::Int(2)]);
    assert_eq!(params("<first>1</first><_x0032_nd>2</_x0032_nd>"), both());
    assert_eq!(params("<_x0032_nd>2</_x0032_nd><first>1</first>"), both());
    assert_eq!(params("<arg1>2</arg1><arg0>1</arg0>"), both());
    assert_eq!(params("<c-gensym3>1</c-gensym3><c-gensym5>2</c-gensym5>"), both());
    assert_eq!(params("<arg1>2</arg1>"), Ok(vec![Value::Nil, Value::Int(2)]));
    assert_eq!(params("<arg>1</arg>"), Ok(vec![Value::Int(1)]));
    assert_eq!(params(""), Ok(vec![]));
    assert!(params("<first>1</first><first>2</first>").unwrap_err().contains("two parameters"));
    assert!(params("text").unwrap_err().contains("text beside"));
    assert_eq!(params(&"<x>1</x>".repeat(256)).unwrap().len(), 256);
    assert!(params(&"<x/>".repeat(257)).unwrap_err().contains("more than 256 parameters"));
}

/// What real clients sent for the same parameters, and to the methods beside them.
#[test]
fn calls_of_real_clients_are_read() {
    let all = [
        "string",
        "boolean",
        "int",
        "double",
        "string",
        "dateTime.iso8601",
        "base64",
        "array",
        "struct",
    ];
    let all = [signature(&all)];
    macro_rules! bodies {
        ($($name:literal),* $(,)?) => {
            [$(($name, include_bytes!(concat!("../../testdata/soap/", $name, ".xml")).as_slice())),*]
        };
    }
    let mut said = String::new();
    for (name, body) in bodies![
        "gsoap-11-all-types",
        "gsoap-12-all-types",
        "node-soap-11-all-types",
        "node-soap-12-all-types",
        "soap-lite-11-all-types",
        "soap-lite-12-all-types",
        "suds-11-all-types",
        "zeep-11-all-types",
        "zeep-12-all-types",
    ] {
        let (call, form) = read(body, &all).unwrap();
        assert_eq!(call.method.as_str(), "demo.allTypes", "{name}");
        assert_eq!(form.version == Version::Soap12, name.contains("-12-"), "{name}");
        assert_eq!(form.style == Style::Encoded, name.contains("soap-lite"), "{name}");
        said.push_str(&format!("{name}\n"));
        for param in call.params {
            said.push_str(&format!("    {param:?}\n"));
        }
    }
    let one = |word: &str| vec![signature(&["any", word])];
    for ((name, body), signatures) in bodies![
        "gsoap-11-optional-left-out",
        "node-soap-11-plain-struct",
        "node-soap-11-undeclared-prefix",
        "soap-lite-11-digits-as-int",
        "soap-lite-11-dotted-name",
        "soap-lite-11-no-parameters",
        "soap-lite-11-shared-array",
        "soap-lite-11-text-as-base64",
        "soap-lite-11-name-as-base64",
        "soap-lite-11-circle",
    ]
    .into_iter()
    .zip([
        vec![signature(&["int", "int"]), signature(&["int", "int", "int"])],
        one("struct"),
        one("array"),
        one("string"),
        one("int"),
        vec![],
        vec![],
        one("string"),
        one("struct"),
        vec![],
    ]) {
        let read = read(body, &signatures).map_err(|refusal| refusal.fault.to_string());
        let told = match read {
            Ok((call, _)) => format!("{} {:?}", call.method, call.params),
            Err(text) => text,
        };
        said.push_str(&format!("{name}\n    {told}\n"));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn what_is_written_is_this() {
    let call = Call { method: MethodName::parse("a.2b").unwrap(), params: vec![sample()] };
    let mut said = String::new();
    for (version, style) in forms() {
        let form = ReplyForm::of(&call.method, version, style);
        said.push_str(&String::from_utf8(encode_call(&call, version, style).unwrap()).unwrap());
        let returned = [signature(&["struct"])];
        said.push_str(&String::from_utf8(encode_reply(&Ok(sample()), &form, &returned)).unwrap());
    }
    insta::assert_snapshot!(said);
}

fn sample() -> Value {
    Value::record([
        ("a <b>", Value::Bool(true)),
        ("bytes", Value::Binary(vec![0, 255])),
        ("double", Value::Double(1e300)),
        ("int", Value::Int(5)),
        ("list", list([Value::Int(-1), list([]), "x\r".into()])),
        ("nil", Value::Nil),
        ("when", date("20061122T12:00:59")),
    ])
}

fn forms() -> [(Version, Style); 4] {
    [
        (Version::Soap11, Style::Literal),
        (Version::Soap11, Style::Encoded),
        (Version::Soap12, Style::Literal),
        (Version::Soap12, Style::Encoded),
    ]
}

#[test]
fn other_encodings_are_read() {
    let body = envelope(Version::Soap11, "<s:Body><m:b><x>\u{e9}</x></m:b></s:Body>");
    let declared = format!("<?xml version='1.0' encoding='ISO-8859-1'?>{body}");
    let latin: Vec<u8> = declared.chars().map(|c| u8::try_from(c).unwrap()).collect();
    let utf16: Vec<u8> =
        "\u{FEFF}".encode_utf16().chain(body.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    for bytes in [body.into_bytes(), latin, utf16] {
        assert_eq!(read(&bytes, &[]).unwrap().0.params, [Value::from("\u{e9}")]);
    }
}

/// Text of characters that XML carries, the awkward ones often.
fn any_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        prop::sample::select(vec![
            '\r', '\n', '\t', ' ', '<', '>', '&', ']', '"', '\'', ';', '#', '\u{85}', '\u{FFFD}'
        ]),
        any::<char>().prop_filter("XML forbids it", |c| crate::chars::is_allowed(*c)),
    ];
    prop::collection::vec(character, 0..24).prop_map(String::from_iter)
}

fn any_value() -> impl Strategy<Value = Value> {
    let when = (0u16..10_000, 1u8..13, 1u8..29, 0u8..24, 0u8..60, 0u8..60);
    let when = when.prop_map(|(year, month, day, hour, minute, second)| {
        Value::DateTime(DateTime { year, month, day, hour, minute, second })
    });
    let scalar = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Double),
        any_text().prop_map(Value::String),
        when,
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Binary),
    ];
    scalar.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(any_text(), inner, 0..6).prop_map(Value::Struct),
        ]
    })
}

fn word_of(value: &Value) -> &'static str {
    value.type_name()
}

const PIECES: &[&str] = &[
    "<",
    ">",
    "/>",
    "<!",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml version=\"1.0\"?>",
    "<?x?>",
    "<!DOCTYPE",
    "&amp;",
    "&#65;",
    "&",
    ";",
    " ",
    "\r\n",
    "a",
    "\u{e9}",
    "\"",
    "=",
    "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'>",
    "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'>",
    "</s:Envelope>",
    "<s:Header>",
    "</s:Header>",
    "<s:Body>",
    "</s:Body>",
    "<a.b>",
    "</a.b>",
    "<x>",
    "</x>",
    "<x/>",
    "<item>",
    "</item>",
    "<key>",
    "</key>",
    "<value>",
    "</value>",
    " href='#a'",
    " id='a'",
    " xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'",
    " xsi:nil='1'",
    " xsi:type='xsd:int'",
    "<x id='a'>",
    "<x href='#a'>",
    "<x href='#a'/>",
    "1",
    "</",
];

proptest! {
    #[test]
    fn a_name_comes_back_from_its_escape(name in "[a-zA-Z0-9_x0-9F-]{1,16}|.{0,8}|(_x[0-9A-F]{4}_){0,3}_x005F_?") {
        let escaped = escape_name(&name);
        prop_assert_eq!(unescape_name(&escaped), name.clone());
        prop_assert!(name.is_empty() || text::is_ncname(&escaped), "{}", escaped);
    }

    #[test]
    fn a_call_comes_back_as_it_was_sent(
        name in "[a-z_]{1,8}(\\.[a-zA-Z0-9_-]{1,8}){1,3}",
        params in prop::collection::vec(any_value(), 0..4),
    ) {
        let call = Call { method: MethodName::parse(&name).unwrap(), params };
        let mut words = vec!["nil"];
        words.extend(call.params.iter().map(word_of));
        for (version, style) in forms() {
            let body = encode_call(&call, version, style).unwrap();
            for signatures in [vec![], vec![signature(&words)]] {
                let (read, form) = read(&body, &signatures).unwrap();
                prop_assert_eq!(&read, &call);
                prop_assert_eq!(form, ReplyForm::of(&call.method, version, style));
            }
        }
    }

    #[test]
    fn a_message_is_the_same_in_every_encoding(value in any_value()) {
        let call = Call { method: MethodName::parse("a.b").unwrap(), params: vec![value.clone()] };
        let own = [signature(&[word_of(&value), word_of(&value)])];
        let reply = Ok(value);
        for (version, style) in forms() {
            for (body, charset) in in_each_encoding(&encode_call(&call, version, style).unwrap()) {
                let endpoint = Endpoint { charset, ..Endpoint::default() };
                for signatures in [&[][..], &own] {
                    let request = Request::read(&body, &Bounds::default(), &endpoint).unwrap();
                    prop_assert_eq!(&request.into_call(signatures).unwrap().0, &call);
                }
            }
            let form = ReplyForm::of(&call.method, version, style);
            for (body, charset) in in_each_encoding(&encode_reply(&reply, &form, &own)) {
                // A client reads no charset.
                if charset != Some(Encoding::Latin1) {
                    let read = decode_reply(&body, &Bounds::default(), &own);
                    prop_assert_eq!(read.as_ref(), Ok(&reply));
                }
            }
        }
    }

    /// Elements that are read at one go mean what they mean in pieces: with comments in their text, blanks
    /// around them and in their tags.
    #[test]
    fn comments_and_blanks_change_nothing(
        numbers in prop::collection::vec(any::<i64>(), 0..6), value in any_value(),
    ) {
        let numbers = numbers.into_iter().map(Value::Int).collect();
        let params = vec![Value::Array(numbers), value.clone(), value];
        let call = Call { method: MethodName::parse("a.b").unwrap(), params };
        for (version, style) in forms() {
            let body = String::from_utf8(encode_call(&call, version, style).unwrap()).unwrap();
            for (old, new) in
                [("</", "<!----></"), ("<item", "\n <item"), ("</item>", "</item\t>\r\n"), ("\">", "\" >")]
            {
                let read = read(body.replace(old, new).as_bytes(), &[]).unwrap();
                prop_assert_eq!(&read.0, &call, "{}", old);
            }
        }
    }

    #[test]
    fn a_reply_comes_back_as_it_was_sent(value in any_value(), code in any::<i32>(), text in any_text()) {
        let method = MethodName::parse("a.b").unwrap();
        let fault = Fault::new(FaultCode::from_number(i64::from(code)), text);
        let own = vec![signature(&[word_of(&value)])];
        let any = vec![signature(&["int"]), signature(&["string"])];
        for reply in [Ok(value), Err(fault)] {
            for (version, style) in forms() {
                let form = ReplyForm::of(&method, version, style);
                for signatures in [&vec![], &own, &any] {
                    let body = encode_reply(&reply, &form, signatures);
                    let read = decode_reply(&body, &Bounds::default(), signatures);
                    prop_assert_eq!(read.as_ref(), Ok(&reply));
                }
            }
        }
    }

    #[test]
    fn noise_is_refused_in_one_printable_line(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let refusal = read(&body, &[]).unwrap_err();
        prop_assert!(!refusal.fault.text.contains(char::is_control), "{}", refusal.fault.text);
        prop_assert!(decode_reply(&body, &Bounds::default(), &[]).is_err());
    }

    /// Pieces of XML in any order: whatever comes of it, the reader stands.
    #[test]
    fn pieces_of_xml_do_no_harm(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let inner = pieces.concat();
        for body in [
            inner.clone(),
            envelope(Version::Soap11, &format!("<s:Body>{inner}</s:Body>")),
            envelope(Version::Soap12, &format!("<s:Body><a.b>{inner}</a.b></s:Body>")),
        ] {
            if let Err(refusal) = read(body.as_bytes(), &[]) {
                prop_assert!(!refusal.fault.text.contains(char::is_control), "{}", refusal.fault.text);
                let answer = decode_reply(&refusal.encode(), &Bounds::default(), &[]).unwrap();
                if refusal.reason == Reason::Other {
                    prop_assert_eq!(answer, Err(refusal.fault));
                }
            }
        }
    }

    /// A good call with one byte changed, or cut short.
    #[test]
    fn a_damaged_call_does_no_harm(value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let method = MethodName::parse("a.b").unwrap();
        let call = Call { method, params: vec![value] };
        let good = encode_call(&call, Version::Soap12, Style::Encoded).unwrap();
        let at = at.index(good.len() - 1); // only the last line feed may be left out
        prop_assert!(read(&good[..at], &[]).is_err());
        let mut changed = good;
        changed[at] = byte;
        if let Err(refusal) = read(&changed, &[]) {
            prop_assert!(!refusal.fault.text.contains(char::is_control), "{}", refusal.fault.text);
        }
    }
}

#[test]
fn what_is_said_of_a_declaration_is_one_printable_line() {
    let body = format!("<?xml vers\u{90}on=\"1.0\"?>{}", envelope(Version::Soap11, ""));
    let refusal = Request::read(body.as_bytes(), &Bounds::default(), &Endpoint::default());
    let fault = refusal.unwrap_err().fault;
    assert_eq!(fault.code, FaultCode::Parse);
    assert!(!fault.text.chars().any(char::is_control), "{}", fault.text);
}
