//! Every dialect against a whole server: raw bodies, and clients that we did not write.

use std::process::Command;

use nesssi_testkit::{Credential, World};

pub(crate) const JSON: &str = "application/json";
pub(crate) const SOAP_12: &str = "application/soap+xml";

/// Sends one request with Python's own HTTP client; prints status, content type and body.
const SEND: &str = r#"
import http.client, ssl, sys
port, ca, certificate, key, method, target, headers, body = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if certificate:
    context.load_cert_chain(certificate, key)
connection = http.client.HTTPSConnection("localhost", int(port), context=context, timeout=60)
pairs = dict(line.split(": ", 1) for line in headers.splitlines())
connection.request(method, target, body.encode() if method == "POST" else None, pairs)
answer = connection.getresponse()
print(answer.status, answer.getheader("content-type"))
sys.stdout.write(answer.read().decode())
"#;

pub(crate) struct Answer {
    pub(crate) status: u16,
    kind: String,
    pub(crate) text: String,
}

fn python(code: &str, words: &[&str]) -> String {
    let output = Command::new("/usr/bin/python3").args(["-c", code]).args(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn send(
    world: &World,
    who: Option<&Credential>,
    (method, target): (&str, &str),
    headers: &str,
    body: &str,
) -> Answer {
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let port = world.https.port().to_string();
    let ca = path(&world.grid.ca_file());
    let (certificate, key) =
        who.map(|who| (path(&who.certificate), path(&who.key))).unwrap_or_default();
    let out = python(SEND, &[&port, &ca, &certificate, &key, method, target, headers, body]);
    let (head, text) = out.split_once('\n').unwrap();
    let (status, kind) = head.split_once(' ').unwrap();
    Answer { status: status.parse().unwrap(), kind: kind.to_owned(), text: text.to_owned() }
}

pub(crate) fn post(world: &World, who: Option<&Credential>, kind: &str, body: &str) -> Answer {
    send(world, who, ("POST", "/clarens/"), &format!("Content-Type: {kind}"), body)
}

fn envelope(namespace: &str, call: &str) -> String {
    format!("<s:Envelope xmlns:s=\"{namespace}\"><s:Body>{call}</s:Body></s:Envelope>")
}

pub(crate) fn soap_11(call: &str) -> String {
    envelope("http://schemas.xmlsoap.org/soap/envelope/", call)
}

pub(crate) fn soap_12(call: &str) -> String {
    envelope("http://www.w3.org/2003/05/soap-envelope", call)
}

const WHO: &str = "def who(req, method_name, args):\n    \
    return [req.protocol, req.clarens_dn, args]\n\
    def add(req, method_name, args: tuple[int, int]) -> int:\n    return args[0] + args[1]\n\
    methods_list = {'who': who, 'add': add}\n";

#[test]
fn a_service_is_reached_in_every_dialect_and_told_which() {
    let mut world = World::builder().build();
    world.service("s", WHO, None);
    world.start_server();
    let who = "<w:who xmlns:w=\"urn:nesssi:s\"><w:arg0>é</w:arg0></w:who>";
    let xml = "<methodCall><methodName>s.who</methodName><params><param><value>é</value></param>\
               </params></methodCall>";
    let alice = Some(&world.alice);
    for (kind, body, answered, protocol) in [
        ("text/xml", xml.to_owned(), "text/xml; charset=utf-8", "xmlrpc"),
        ("application/xml", xml.to_owned(), "text/xml; charset=utf-8", "xmlrpc"),
        ("text/xml", soap_11(who), "text/xml; charset=utf-8", "soap11"),
        (SOAP_12, soap_12(who), "application/soap+xml; charset=utf-8", "soap12"),
        (
            JSON,
            r#"{"jsonrpc":"2.0","method":"s.who","params":["é"],"id":1}"#.to_owned(),
            JSON,
            "jsonrpc2",
        ),
        (
            "text/json",
            r#"{"method":"s.who","params":["é"],"id":1}"#.to_owned(),
            "text/json; charset=utf-8",
            "jsonrpc1",
        ),
    ] {
        let answer = post(&world, alice, kind, &body);
        assert_eq!((answer.status, answer.kind.as_str()), (200, answered), "{}", answer.text);
        for word in [protocol, &world.alice.dn, "é"] {
            assert!(answer.text.contains(word), "{word}: {}", answer.text);
        }
    }
    let add = "<add xmlns=\"urn:nesssi:s\"><arg1>5</arg1><arg0>3</arg0></add>";
    for target in ["/clarens/", "/clarens/s"] {
        let headers = "Content-Type: text/xml\nSOAPAction: \"urn:nesssi:s#add\"";
        let answer = send(&world, alice, ("POST", target), headers, &soap_11(add));
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.contains(">8</"), "{}", answer.text);
    }
    let batch = r#"[{"jsonrpc":"2.0","method":"s.add","params":[3,5],"id":1},
        {"jsonrpc":"2.0","method":"s.add","params":[3,5]},
        {"jsonrpc":"2.0","method":"s.add","params":[3],"id":2}]"#;
    let answer = post(&world, alice, JSON, batch);
    assert!(answer.text.contains(r#""result":8,"id":1"#), "{}", answer.text);
    assert!(answer.text.contains(r#""code":-32602"#), "{}", answer.text);
    let quiet = post(&world, alice, JSON, r#"{"jsonrpc":"2.0","method":"s.add"}"#);
    assert_eq!((quiet.status, quiet.text.as_str()), (204, ""));
}

/// Python's own XML-RPC client, as everybody has it.
const XMLRPC_CLIENT: &str = r#"
import datetime, ssl, sys, xmlrpc.client as x
url, ca, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
server = x.ServerProxy(url, context=context, allow_none=True, use_builtin_types=True)
values = [0, -2**31, 2**31 - 1, True, False, 1.5, -0.0, 1e300, "", "<&>\u00e9\u20ac\U0001f600", "a\nb",
    b"\x00\xff" * 100, datetime.datetime(2026, 11, 22, 8, 0, 1), None, [], {}, [[1], {"a": [None]}],
    {"": 1, "k \u00e9": {"deep": [b"x"]}}]
answer = server.echo.echo(*values)
assert answer == values, answer
assert [type(value) for value in answer] == [type(value) for value in values], answer
many = x.MultiCall(server)
many.echo.echo("one")
many.no.such()
many.echo.echo("two")
results = many()
assert results[0] == ["one"] and results[2] == ["two"]
try:
    print(results[1])
except x.Fault as fault:
    print("fault", fault.faultCode)
try:
    server.no.such()
except x.Fault as fault:
    print("fault", fault.faultCode)
assert "echo.echo" in server.system.listMethods() == server.system.list_methods()
assert "Answers its parameters" in server.system.methodHelp("echo.echo")
assert server.system.methodSignature("system.methodHelp") == [["string", "string"]]
assert server.system.getCapabilities()["faults_interop"]["specVersion"] == 20010516
latin = x.ServerProxy(url, context=context, encoding="iso-8859-1")
assert latin.echo.echo("gr\u00fc\u00dfe") == ["gr\u00fc\u00dfe"]
print(server.system.whoami()["dn"])
"#;

#[test]
fn pythons_own_client_calls_with_a_certificate() {
    let world = World::builder().start();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (ca, alice) = (path(&world.grid.ca_file()), &world.alice);
    let words = [&world.url, &ca, &path(&alice.certificate), &path(&alice.key)];
    let out = python(XMLRPC_CLIENT, &words.map(String::as_str));
    assert_eq!(out, format!("fault -32601\nfault -32601\n{}\n", alice.dn));
}

#[test]
fn a_wsdl_describes_what_its_reader_may_call() {
    let mut world = World::builder().build();
    world.service("open", WHO, None);
    let alice_alone = format!("allow = [\"{}\"]\n", world.alice.dn);
    world.service("closed", WHO, Some(&alice_alone));
    world.start_server();
    let get = |who, target: &str| send(&world, who, ("GET", target), "", "");
    let address = |service: &str| format!("location=\"{}{service}\"", world.url);
    let hers = get(Some(&world.alice), "/clarens/?wsdl");
    assert_eq!((hers.status, hers.kind.as_str()), (200, "text/xml; charset=utf-8"));
    let all = get(None, "/clarens/?wsdl");
    for service in ["open", "system", "echo", "closed"] {
        assert!(hers.text.contains(&address(service)), "{service}: {}", hers.text);
        let seen = all.text.contains(&address(service));
        assert_eq!(seen, service != "closed", "{service}: {}", all.text);
    }
    assert!(!all.text.contains("closed"));
    let own = get(Some(&world.alice), "/clarens/closed?wsdl");
    assert!(own.text.contains("targetNamespace=\"urn:nesssi:closed\""), "{}", own.text);
    for (who, service) in [(None, "closed"), (None, "none"), (Some(&world.alice), "none")] {
        let answer = get(who, &format!("/clarens/{service}?wsdl"));
        assert_eq!((answer.status, answer.text.as_str()), (404, "no such service\n"));
    }
    // Whoever may not call cannot tell a method's types from its faults.
    let wrong = "<closed.add><arg0>x</arg0></closed.add>";
    let none = "<closed.none><arg0>x</arg0></closed.none>";
    let faults = [wrong, none].map(|call| post(&world, None, "text/xml", &soap_11(call)).text);
    assert_eq!(faults[0].replace("add", "none"), faults[1]);
}

/// Tells its log when it is imported and when it is called.
const TYPED: &str = "print('imported')\n\
    def put(req, method_name, args: tuple[str, int, float]) -> float:\n    \
    'put(name, count, size): adds.'\n    print('called')\n    return args[1] + args[2]\n\
    methods_list = {'put': put}\n";

#[test]
fn parameters_of_another_type_than_the_declared_are_refused_before_a_worker_runs() {
    let mut world = World::builder().build();
    world.service("typed", TYPED, None);
    world.start_server();
    let log =
        || std::fs::read_to_string(world.path().join("log/services/typed.log")).unwrap_or_default();
    let get = send(&world, None, ("GET", "/clarens/typed?wsdl"), "", "");
    for name in ["name=\"name\" type=\"xsd:string\"", "name=\"size\" type=\"xsd:double\""] {
        assert!(get.text.contains(name), "{name}: {}", get.text);
    }
    let param = |value: &str| format!("<param><value>{value}</value></param>");
    let xml = |values: &[&str]| {
        let params: String = values.iter().map(|value| param(value)).collect();
        format!(
            "<methodCall><methodName>typed.put</methodName><params>{params}</params></methodCall>"
        )
    };
    let soap = "<t:put xmlns:t=\"urn:nesssi:typed\"><t:name>a</t:name><t:count>7</t:count></t:put>";
    let json = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","method":"typed.put","params":{params},"id":1}}"#)
    };
    let inner = r#"{"methodName":"typed.put","params":["a",1.5,1]}"#;
    let many = json(&format!("[[{inner}]]"))
        .replace("typed.put\",\"params\":[[", "system.multicall\",\"params\":[[");
    let second =
        |given: &str| format!("parameter 2 (count) of typed.put must be int; {given} was given");
    let three = "typed.put takes 3 parameters (name, count, size), 2 were given".to_owned();
    for (kind, body, expected) in [
        ("text/xml", xml(&["a", "<int>7</int>"]), three.clone()),
        ("text/xml", xml(&["a", "7", "<double>1</double>"]), second("string")),
        ("text/xml", xml(&["a", "<boolean>1</boolean>", "<int>1</int>"]), second("boolean")),
        ("text/xml", xml(&["a", "<nil/>", "<int>1</int>"]), second("nil")),
        ("text/xml", soap_11(soap), three.clone()),
        (SOAP_12, soap_12(soap), three),
        (JSON, json(r#"["a",[7],1]"#), second("array")),
        (JSON, json(r#"["a",{"a":7},1]"#), second("struct")),
        (JSON, many, second("double")),
    ] {
        let answer = post(&world, None, kind, &body);
        assert!(answer.text.contains("-32602"), "{body}: {}", answer.text);
        assert!(answer.text.contains(&expected), "{body}: {}", answer.text);
    }
    assert_eq!(log(), "", "no worker was started");
    let answer = post(&world, None, JSON, &json(r#"["a",7,1]"#));
    assert!(answer.text.contains("\"result\":8"), "{}", answer.text);
    assert_eq!(log(), "imported\ncalled\n");
}

#[test]
fn calls_in_one_request_are_counted_one_by_one() {
    let world = World::builder().level("anonymous", "calls_per_minute = 5").start();
    let call = r#"{"jsonrpc":"2.0","method":"echo.echo","id":1}"#;
    let multicall = r#"{"jsonrpc":"2.0","method":"system.multicall","id":2,"params":[[
        {"methodName":"echo.echo","params":[]},{"methodName":"echo.echo","params":[]},
        {"methodName":"echo.echo","params":[]},{"methodName":"echo.echo","params":[]}]]}"#;
    let batch = format!("[{call},{call},{call},{multicall},{call}]");
    let answer = post(&world, None, JSON, &batch);
    assert_eq!(answer.text.matches(r#""result":[],"#).count(), 3, "{}", answer.text);
    assert_eq!(answer.text.matches("[[]]").count(), 2, "{}", answer.text);
    assert_eq!(answer.text.matches(r#""faultCode":429"#).count(), 2, "{}", answer.text);
    assert_eq!(answer.text.matches(r#""code":429"#).count(), 1, "{}", answer.text);
    let many = vec![call; 513].join(",");
    let answer = post(&world, None, JSON, &format!("[{many}]"));
    assert!(answer.text.contains(r#""code":413"#), "{}", answer.text);
}

#[test]
fn hostile_bodies_are_faults_of_their_own_dialect_and_the_server_goes_on() {
    let world = World::builder().start();
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>";
    let echo = "<echo.echo>&b;</echo.echo>";
    let deep = format!(
        r#"{{"jsonrpc":"2.0","method":"echo.echo","params":{}{},"id":1}}"#,
        "[".repeat(60_000),
        "]".repeat(60_000)
    );
    let twice = r#"{"jsonrpc":"2.0","method":"echo.echo","method":"system.logout","id":1}"#;
    for (kind, body, status, code) in [
        ("text/xml", format!("{bomb}{}", soap_11(echo)), 200, "-32700"),
        ("application/soap+xml", format!("{bomb}{}", soap_12(echo)), 400, "-32700"),
        ("text/xml", soap_11(&"<a>".repeat(30_000)), 500, "413"),
        (JSON, deep, 200, "413"),
        (JSON, twice.to_owned(), 200, "-32600"),
        (JSON, "\u{FEFF}{\"method\":".to_owned(), 200, "-32700"),
    ] {
        let answer = post(&world, None, kind, &body);
        assert_eq!(answer.status, status, "{kind} {:.60}: {}", body, answer.text);
        assert!(answer.text.contains(code), "{kind} {:.60}: {}", body, answer.text);
    }
    let call = r#"{"method":"echo.echo","params":["x="],"id":1}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        assert_eq!(post(&world, None, kind, call).status, 415, "{kind}");
    }
    let headers = format!("Content-Type: {JSON}\nOrigin: https://evil.example");
    let answer = send(&world, None, ("POST", "/clarens/"), &headers, call);
    assert_eq!((answer.status, answer.kind.as_str()), (403, JSON));
    assert_eq!(
        post(&world, None, JSON, call).text.trim(),
        r#"{"result":["x="],"error":null,"id":1}"#
    );
}
