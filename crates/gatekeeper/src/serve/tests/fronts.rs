use std::fs;
use std::io::{BufReader, Read};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nesssi_rpc::Value;
use rustls::version::TLS13;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::world::{Credential, Response, World, ask, call, post, rest};

const HEADER: &str = "[front]\ncertificate_header = \"rfc9440\"\npeers = [\"127.0.0.1/32\"]\n\
                      subjects = [\"/O=NESSSI Test/CN=host/front\"]\naddress_header = \"X-Forwarded-For\"\n";

fn certificate(of: &Credential) -> String {
    format!("Client-Cert: :{}:\r\n", STANDARD.encode(&of.0))
}

async fn connected(world: &World, as_: Option<&Credential>) -> TlsStream<TcpStream> {
    world.connect(&world.client(as_, &TLS13, b"http/1.1")).await
}

async fn who(stream: &mut TlsStream<TcpStream>, headers: &str) -> Response {
    ask(stream, &post(headers, &call("who.am_i", vec![]))).await
}

async fn asks(stream: &mut TlsStream<TcpStream>, headers: &str) -> Value {
    ask(stream, &post(headers, &call("who.asks", vec![]))).await.reply().unwrap()
}

#[tokio::test]
async fn a_front_speaks_for_each_of_its_callers() {
    let world = World::with(HEADER);
    let (front, ann, ben) =
        (world.person("host/front", 3_600), world.person("Ann", 3_600), world.person("Ben", 3_600));
    let late = world.person("Late", -60);
    let mut stream = connected(&world, Some(&front)).await;
    let from = "X-Forwarded-For: 10.0.0.1, 192.0.2.9\r\n";
    for (credential, name) in [(&ann, "Ann"), (&ben, "Ben"), (&ann, "Ann")] {
        let named = who(&mut stream, &(certificate(credential) + from)).await;
        assert_eq!(named.reply(), Ok(Value::from(format!("/O=NESSSI Test/CN={name}"))));
    }
    assert_eq!(who(&mut stream, from).await.reply(), Ok(Value::from("anonymous")));
    let (code, text) = who(&mut stream, &(certificate(&late) + from)).await.fault();
    assert_eq!((code, text.contains("CN=Late")), (403, true), "{text}");
    let seen = asks(&mut stream, &(certificate(&ann) + from)).await;
    assert_eq!(seen, Value::from("192.0.2.9 None None 1"));
    let log = world.access_log();
    assert!(log.contains("192.0.2.9 - /O=NESSSI%20Test/CN=Ann ["), "{log}");
    assert!(log.contains("192.0.2.9 - /O=NESSSI%20Test/CN=Ben ["), "{log}");
    assert!(!log.contains("host/front"), "{log}");
}

#[tokio::test]
async fn what_a_front_garbles_is_refused_and_named() {
    let world = World::with(HEADER);
    let (front, ann) = (world.person("host/front", 3_600), world.person("Ann", 3_600));
    let ann = certificate(&ann);
    let from = "X-Forwarded-For: 192.0.2.9\r\n";
    let mut stream = connected(&world, Some(&front)).await;
    for (headers, rule) in [
        (format!("{ann}{ann}{from}"), "client-cert refused: it stands there more than once"),
        (format!("Client-Cert: Ann\r\n{from}"), "client-cert refused: it is no byte sequence"),
        (format!("Client-Cert: :AAAA:\r\n{from}"), "refused"),
        (ann.clone(), "x-forwarded-for refused: it does not end with an address"),
        (format!("{ann}X-Forwarded-For: x\r\n"), "x-forwarded-for refused"),
        (certificate(&front) + from, "it is a front's, and no caller's"),
    ] {
        let (code, text) = who(&mut stream, &headers).await.fault();
        assert_eq!((code, text.contains(rule)), (403, true), "{headers}: {text}");
    }
    // A twin is what a caller sent past a front that does not know it: it counts for nothing.
    let twin = ann.replace("Client-Cert", "Client_Cert");
    assert_eq!(who(&mut stream, &(twin + from)).await.reply(), Ok(Value::from("anonymous")));
}

#[tokio::test]
async fn nobody_else_is_a_front() {
    let world = World::with(HEADER);
    let (ann, ben) = (world.person("Ann", 3_600), world.person("Ben", 3_600));
    let headers = certificate(&ann) + "X-Forwarded-For: 192.0.2.9\r\n";
    let mut stream = connected(&world, None).await;
    assert_eq!(who(&mut stream, &headers).await.reply(), Ok(Value::from("anonymous")));
    assert_eq!(asks(&mut stream, &headers).await, Value::from("127.0.0.1 None None 0"));
    let mut stream = connected(&world, Some(&ben)).await;
    let named = who(&mut stream, &headers).await.reply();
    assert_eq!(named, Ok(Value::from("/O=NESSSI Test/CN=Ben")));
    // The front's certificate in somebody's hands who is elsewhere.
    let world = World::with(&HEADER.replace("127.0.0.1/32", "192.0.2.0/24"));
    let (front, ann) = (world.person("host/front", 3_600), world.person("Ann", 3_600));
    let mut stream = connected(&world, Some(&front)).await;
    let (code, text) = who(&mut stream, &certificate(&ann)).await.fault();
    assert_eq!((code, text.contains("it is a front's, and no caller's")), (403, true), "{text}");
    // The front's name from another CA.
    let stranger = World::new().person("host/front", 3_600);
    let world = World::with(HEADER);
    let ann = world.person("Ann", 3_600);
    let mut stream = connected(&world, Some(&stranger)).await;
    assert_eq!(who(&mut stream, &certificate(&ann)).await.fault().0, 403);
}

#[tokio::test]
async fn a_front_of_many_connections_is_not_one_address() {
    let world = World::with(&format!("connections_per_address_max = 2\n{HEADER}"));
    let front = world.person("host/front", 3_600);
    let mut fronts = Vec::new();
    for _ in 0..5 {
        let mut stream = connected(&world, Some(&front)).await;
        assert_eq!(who(&mut stream, "X-Forwarded-For: 192.0.2.9\r\n").await.status, 200);
        fronts.push(stream);
    }
}

/// A PROXY header of version 2 from `caller`, then TLS as the holder of `credential`.
async fn passed_on(
    world: &World,
    caller: [u8; 4],
    credential: &Credential,
) -> TlsStream<TcpStream> {
    let mut stream = TcpStream::connect(world.https).await.unwrap();
    let start = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
    let ends = [127, 0, 0, 1, 0x9c, 0x40, 0x20, 0xfb];
    stream.write_all(&[&start[..], &caller, &ends].concat()).await.unwrap();
    let config = world.client(Some(credential), &TLS13, b"http/1.1");
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(config).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn tls_that_is_passed_on_is_the_callers_own() {
    let passing = "connections_per_address_max = 1\nhandshake_seconds_max = 1\n[front]\n\
                   peers = [\"127.0.0.1\"]\nproxy_protocol = true\n";
    let world = World::with(passing);
    let ann = world.person("Ann", 3_600);
    let mut stream = passed_on(&world, [192, 0, 2, 9], &ann).await;
    let forged = certificate(&world.person("Ben", 3_600));
    let named = who(&mut stream, &forged).await.reply();
    assert_eq!(named, Ok(Value::from("/O=NESSSI Test/CN=Ann")));
    assert_eq!(asks(&mut stream, "").await, Value::from("192.0.2.9 None None 1"));
    let mut other = passed_on(&world, [192, 0, 2, 10], &ann).await;
    assert_eq!(asks(&mut other, "").await, Value::from("192.0.2.10 None None 1"));
    // Without the header, or with another version's, there is no handshake.
    let hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03aaaaaaaaaaaaaaaaaaaaa";
    for start in [&hello[..], b"PROXY TCP4 192.0.2.9 127.0.0.1 40000 8443\r\n", b"\r\n\r\n"] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(world.https).await.unwrap();
        stream.write_all(start).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "{start:?}");
        assert!(began.elapsed() < Duration::from_secs(8));
    }
}

#[tokio::test]
async fn a_caller_says_which_account_he_wants_and_who_he_was() {
    let world = World::new();
    let mut stream = connected(&world, Some(&world.person("Ann", 3_600))).await;
    let seen = asks(&mut stream, "NESSSI-Account: grid01\r\nAuthorization: Basic YTpi\r\n").await;
    assert_eq!(seen, Value::from("127.0.0.1 Some(\"grid01\") Some((\"a\", \"b\")) 1"));
    assert_eq!(asks(&mut stream, "").await, Value::from("127.0.0.1 None None 1"));
    let wrong = who(&mut stream, "Authorization: Basic x\r\n").await;
    assert_eq!((wrong.status, wrong.fault().0), (200, 401));
    let mut stream = connected(&world, None).await;
    let two = who(&mut stream, "NESSSI-Account: a\r\nNESSSI-Account: b\r\n").await;
    assert_eq!(two.status, 400);
    let mut log = String::new();
    let file = fs::File::open(world.folder.path().join("access.log")).unwrap();
    world.access_log();
    BufReader::new(file).read_to_string(&mut log).unwrap();
    assert!(!log.contains("grid01") && !log.contains("YTpi") && log.lines().count() == 4, "{log}");
}
