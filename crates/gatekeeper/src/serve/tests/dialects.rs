//! Every dialect over HTTP: how it is told from the others, answered and refused.

use nesssi_rpc::soap::{self, Style, Version, decode_reply};
use nesssi_rpc::{Bounds, Call, MethodName, Value};
use rustls::version::TLS13;

use super::world::{Response, World, ask, call, post, post_to};

const SOAP_12: &str = "application/soap+xml";

async fn json(world: &World, kind: &str, body: &str) -> Response {
    ask(&mut world.anonymous().await, &post_to("/clarens/", kind, "", body)).await
}

#[track_caller]
fn told(response: &Response, status: u16, kind: &str, body: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), Some(kind));
    assert_eq!(response.text().trim_end(), body);
}

#[tokio::test]
async fn json_rpc_2_is_answered_with_batches_and_notifications() {
    let world = World::new();
    let calls = r#"{"jsonrpc":"2.0","method":"echo.echo","params":["a"],"id":7}"#;
    for kind in ["application/json", "application/json; charset=utf-8", "application/json-rpc"] {
        let answer = json(&world, kind, calls).await;
        told(&answer, 200, "application/json", r#"{"jsonrpc":"2.0","result":"a","id":7}"#);
    }
    let batch = r#"[{"jsonrpc":"2.0","method":"echo.echo","params":[1],"id":"x"},
        {"jsonrpc":"2.0","method":"echo.echo","params":[2]}, 3,
        {"jsonrpc":"2.0","method":"no.such","id":null}, {"jsonrpc":"2.0","method":"session.make","id":4}]"#;
    let answer = json(&world, "application/json", batch).await;
    let expected = concat!(
        r#"[{"jsonrpc":"2.0","result":1,"id":"x"},"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"counted: a call is an object"},"id":null},"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"no such method"},"id":null},"#,
        r#"{"jsonrpc":"2.0","result":"0123456789abcdef0123456789abcdef","id":4}]"#
    );
    told(&answer, 200, "application/json", expected);
    assert_eq!(answer.header("nesssi-session-url"), None);
    let one = r#"{"jsonrpc":"2.0","method":"session.make","id":4}"#;
    let answer = json(&world, "application/json", one).await;
    assert!(answer.header("nesssi-session-url").is_some());

    // A notification is carried out, and the connection serves on.
    let mut stream = world.anonymous().await;
    for quiet in
        [r#"{"jsonrpc":"2.0","method":"no.such"}"#, r#"[{"jsonrpc":"2.0","method":"echo.echo"}]"#]
    {
        let request = post_to("/clarens/", "application/json", "", quiet);
        let answer = ask(&mut stream, &request).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert_eq!(answer.header("content-type"), None);
    }
    let answer = ask(&mut stream, &post("", &call("who.speaks", vec![]))).await;
    assert_eq!(answer.reply(), Ok(Value::from("xmlrpc")));
}

#[tokio::test]
async fn parameters_of_json_rpc_2_are_taken_by_name() {
    let world = World::new();
    let named = r#"{"jsonrpc":"2.0","method":"typed.say","params":{"number":3,"text":"a"},"id":1}"#;
    let said = r#"{"jsonrpc":"2.0","result":"[String(\"a\"), Int(3)]","id":1}"#;
    told(&json(&world, "application/json", named).await, 200, "application/json", said);
    let batch =
        format!(r#"[{named},{{"jsonrpc":"2.0","method":"a.b","params":{{"x":1}},"id":2}}]"#);
    let refused = r#"{"jsonrpc":"2.0","error":{"code":-32602,"message":"a.b has no parameter called `x`, but text, number"},"id":2}"#;
    let both = format!("[{said},{refused}]");
    told(&json(&world, "application/json", &batch).await, 200, "application/json", &both);
}

#[tokio::test]
async fn json_rpc_1_is_answered_in_its_own_shape() {
    let world = World::new();
    let asked = r#"{"method":"who.speaks","params":[],"id":1}"#;
    let answer = json(&world, "text/json", asked).await;
    let expected = r#"{"result":"jsonrpc1","error":null,"id":1}"#;
    told(&answer, 200, "text/json; charset=utf-8", expected);
    told(&json(&world, "application/json", asked).await, 200, "application/json", expected);
    let answer = json(&world, "text/json", "{").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with(r#"{"result":null,"error":{"code":-32700,"#));
    let answer = json(&world, "application/json", "{").await;
    assert!(answer.text().starts_with(r#"{"jsonrpc":"2.0","error":{"code":-32700,"#));
}

fn envelope(method: &str, params: &[Value], version: Version, style: Style) -> String {
    let call = Call { method: MethodName::parse(method).unwrap(), params: params.to_vec() };
    String::from_utf8(soap::encode_call(&call, version, style).unwrap()).unwrap()
}

#[tokio::test]
async fn both_versions_of_soap_are_answered_in_their_own_form() {
    let world = World::new();
    for (version, kind, answered, faults) in [
        (Version::Soap11, "text/xml", "text/xml; charset=utf-8", (500, 500)),
        (Version::Soap11, "application/xml", "text/xml; charset=utf-8", (500, 500)),
        (Version::Soap12, SOAP_12, "application/soap+xml; charset=utf-8", (400, 400)),
    ] {
        for style in [Style::Literal, Style::Encoded] {
            let mut stream = world.anonymous().await;
            let mut soap = async |method: &str, params: &[Value]| {
                let body = envelope(method, params, version, style);
                ask(&mut stream, &post_to("/clarens/", kind, "SOAPAction: \"\"\r\n", &body)).await
            };
            let answer = soap("echo.echo", &[Value::from("<grüße>")]).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(answered)));
            let reply = decode_reply(&answer.body, &Bounds::default(), &[]).unwrap();
            assert_eq!(reply, Ok(Value::from("<grüße>")));
            let answer = soap("no.such", &[]).await;
            assert_eq!(answer.status, faults.0);
            let fault = decode_reply(&answer.body, &Bounds::default(), &[]).unwrap().unwrap_err();
            assert_eq!(fault.code.number(), -32601);
        }
        let mut stream = world.anonymous().await;
        let broken = post_to("/clarens/", kind, "", "<e:Envelope xmlns:e='urn:x'>");
        let answer = ask(&mut stream, &broken).await;
        assert_eq!(answer.status, faults.1, "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some(answered));
    }
}

#[tokio::test]
async fn parameters_of_soap_are_read_as_the_method_declares_them() {
    let world = World::new();
    let body = |text: &str| {
        format!(
            "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><m:say \
             xmlns:m='urn:nesssi:typed'><m:arg1>{text}</m:arg1><m:arg0>05</m:arg0></m:say></s:Body>\
             </s:Envelope>"
        )
    };
    let large = format!("<!-- {} -->{}", "x".repeat(100_000), 8);
    for (text, path) in [("7", "/clarens/"), ("7", "/clarens/typed"), (&large, "/clarens/typed")] {
        let mut stream = world.anonymous().await;
        let answer = ask(&mut stream, &post_to(path, "text/xml", "", &body(text))).await;
        let signatures = [soap::Signature::from_words(&["string"])];
        let reply = decode_reply(&answer.body, &Bounds::default(), &signatures).unwrap().unwrap();
        let number = if text == "7" { 7 } else { 8 };
        assert_eq!(reply, Value::from(format!("[String(\"05\"), Int({number})]").as_str()));
    }
    let mut stream = world.anonymous().await;
    let answer = ask(&mut stream, &post_to("/clarens/typed", "text/xml", "", &body("x"))).await;
    assert_eq!(answer.status, 500);
    let fault = decode_reply(&answer.body, &Bounds::default(), &[]).unwrap().unwrap_err();
    assert_eq!(fault.code.number(), -32602);
    let other = "SOAPAction: \"urn:nesssi:typed#other\"\r\n";
    let answer = ask(&mut stream, &post_to("/clarens/typed", "text/xml", other, &body("1"))).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("SOAPAction"), "{}", answer.text());
}

#[tokio::test]
async fn a_services_address_takes_soap_alone() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let xml = post_to("/clarens/echo", "text/xml", "", &call("echo.echo", vec![]));
    let answer = ask(&mut stream, &xml).await;
    assert_eq!((answer.status, answer.fault().0), (404, -32600));
    let json = post_to("/clarens/echo", "application/json", "", r#"{"method":"echo.echo"}"#);
    let answer = ask(&mut stream, &json).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("calls go to /clarens/"), "{}", answer.text());
}

/// The code of the fault in an answer of any dialect.
fn code(response: &Response) -> i64 {
    let text = response.text();
    let at = ["<int>", "\"code\":", "<code>"].iter().find_map(|before| {
        let (_, behind) = text.split_once(before)?;
        let end = behind.find(|c: char| !(c.is_ascii_digit() || c == '-'))?;
        behind[..end].parse().ok()
    });
    at.unwrap_or_else(|| panic!("{text}"))
}

#[tokio::test]
async fn what_is_refused_unread_is_refused_in_the_callers_dialect() {
    let world = World::with("body_bytes_max = 2000");
    let kinds = [
        ("text/xml", "", 200, "text/xml; charset=utf-8"),
        ("text/xml", "SOAPAction: \"\"\r\n", 500, "text/xml; charset=utf-8"),
        (SOAP_12, "", 400, "application/soap+xml; charset=utf-8"),
        ("application/json", "", 200, "application/json"),
        ("text/json", "", 200, "text/json; charset=utf-8"),
    ];
    for (kind, headers, status, answered) in kinds {
        let mut stream = world.anonymous().await;
        let long = post_to("/clarens/", kind, headers, &"x".repeat(2001));
        let answer = ask(&mut stream, &long).await;
        assert_eq!((answer.status, code(&answer)), (status, 413), "{kind}");
        assert_eq!(answer.header("content-type"), Some(answered));

        let mut stream = world.anonymous().await;
        let headers = format!("{headers}Origin: https://evil.example\r\n");
        let answer = ask(&mut stream, &post_to("/clarens/", kind, &headers, "x")).await;
        assert_eq!((answer.status, code(&answer)), (403, 403), "{kind}");
        assert_eq!(answer.header("content-type"), Some(answered));

        let mut stream = world.anonymous().await;
        let headers = format!("{headers}Authorization: Basic =\r\n");
        let answer = ask(&mut stream, &post_to("/clarens/", kind, &headers, "x")).await;
        assert_eq!(code(&answer), 401, "{kind}");
    }
    for form in ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"] {
        let mut stream = world.anonymous().await;
        let body = r#"{"method":"echo.echo","params":["x="],"id":1}"#;
        let answer = ask(&mut stream, &post_to("/clarens/", form, "", body)).await;
        assert_eq!(answer.status, 415, "{form}");
    }
}

#[tokio::test]
async fn a_body_of_another_dialect_than_its_content_type_is_refused() {
    let world = World::new();
    let xml = call("echo.echo", vec![]);
    let answer = json(&world, "application/json", &xml).await;
    assert_eq!((answer.status, code(&answer)), (200, -32600));
    let answer = json(&world, "text/xml", r#"{"method":"echo.echo"}"#).await;
    assert_eq!((answer.status, answer.fault().0), (200, -32600));
    let answer = json(&world, SOAP_12, &xml).await;
    assert_eq!((answer.status, code(&answer)), (400, -32600));
}

#[tokio::test]
async fn xml_rpc_is_read_in_every_encoding_and_answered_in_kind() {
    let world = World::new();
    let declared = |parameter: &str| {
        format!(
            "<?xml version='1.0'?><methodCall xmlns:ex='http://ws.apache.org/xmlrpc/namespaces/\
             extensions'><methodName>echo.echo</methodName><params><param><value>{parameter}</value>\
             </param></params></methodCall>"
        )
    };
    let answer = json(&world, "text/xml", &declared("<ex:nil/>")).await;
    assert!(answer.text().contains("<ex:nil"), "{}", answer.text());
    let answer = json(&world, "text/xml", &declared("<nil/>")).await;
    assert!(answer.text().contains("<nil/>"), "{}", answer.text());
    let answer = json(&world, "text/xml; charset=utf-16", &declared("x")).await;
    assert_eq!(answer.fault().0, -32700);
    let answer = json(&world, "text/xml; charset=iso-8859-1", &declared("é")).await;
    assert_eq!(answer.reply(), Ok(Value::from("Ã©")));
}

#[tokio::test]
async fn a_wsdl_is_there_for_all_services_and_for_each() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let mut get = async |target: &str| {
        ask(&mut stream, &format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")).await
    };
    let all = get("/clarens/?wsdl").await;
    assert_eq!((all.status, all.header("content-type")), (200, Some("text/xml; charset=utf-8")));
    for location in
        ["https://grid.example:8443/clarens/echo", "https://grid.example:8443/clarens/typed"]
    {
        assert!(all.text().contains(&format!("location=\"{location}\"")), "{}", all.text());
    }
    let one = get("/clarens/typed?WSDL").await;
    assert!(one.text().contains("targetNamespace=\"urn:nesssi:typed\""), "{}", one.text());
    assert!(!one.text().contains("clarens/echo"));
    assert_eq!(get("/clarens/none?wsdl").await.status, 404);
    assert_eq!(get("/clarens/typed").await.status, 404);
    assert!(get("/clarens/").await.text().contains("?wsdl"));
    let head = "HEAD /clarens/typed?wsdl HTTP/1.1\r\nHost: h\r\n\r\n";
    let head = ask(&mut world.anonymous().await, head).await;
    assert_eq!(head.header("content-length"), one.header("content-length"));

    let late = world.person("Late", -60);
    let mut stream = world.connect(&world.client(Some(&late), &TLS13, b"http/1.1")).await;
    let page = ask(&mut stream, "GET /clarens/?wsdl HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(page.status, 403);
    assert!(page.text().contains("CN=Late"));
}

#[tokio::test]
async fn a_tag_in_the_head_reaches_the_call_and_a_kept_answer_says_so() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let xml = call("session.make", vec![]);
    let envelope = envelope("session.make", &[], Version::Soap12, Style::Literal);
    let json = r#"{"jsonrpc":"2.0","method":"session.make","id":4}"#;
    let forms = [("text/xml", &*xml), (SOAP_12, &*envelope), ("application/json", json)];
    for (kind, body) in forms {
        for (tag, told) in [("", None), ("other", None), ("known", Some("again"))] {
            let headers = if tag.is_empty() {
                String::new()
            } else {
                format!("NESSSI-Client-Tag: {tag}\r\n")
            };
            let answer = ask(&mut stream, &post_to("/clarens/", kind, &headers, body)).await;
            assert_eq!(answer.header("nesssi-answer"), told, "{kind} {tag}");
            assert!(answer.header("nesssi-session-url").is_some());
        }
        for headers in
            ["NESSSI-Client-Tag: a b\r\n", "NESSSI-Client-Tag: a\r\nNESSSI-Client-Tag: a\r\n"]
        {
            let mut stream = world.anonymous().await;
            let answer = ask(&mut stream, &post_to("/clarens/", kind, headers, body)).await;
            assert_eq!(code(&answer), -32600, "{kind}");
        }
    }
    let batch = format!("[{json}]");
    let tagged = "NESSSI-Client-Tag: known\r\n";
    let answer = ask(&mut stream, &post_to("/clarens/", "application/json", tagged, &batch)).await;
    assert!(answer.text().contains(r#""code":-32600"#), "{}", answer.text());
    let answer = ask(&mut stream, &post_to("/clarens/", "application/json", "", &batch)).await;
    assert!(answer.text().contains(r#""result":"0123"#), "{}", answer.text());
}
