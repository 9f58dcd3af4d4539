use std::fs;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::version::TLS13;
use tokio::io::AsyncReadExt;

use super::world::{World, ask, call, head, post, rest};
use crate::tls;

/// Five seconds until the files are looked at, and what a busy machine takes.
const TAKEN_UP: Duration = Duration::from_secs(12);

#[tokio::test]
async fn connections_end_when_their_ca_goes_and_no_sooner() {
    let world = World::new();
    let ann = world.person("Ann", 3_600);
    let over = |alpn: &[u8]| world.client(Some(&ann), &TLS13, alpn);
    let mut anonymous = world.anonymous().await;
    let mut idle = world.connect(&over(b"http/1.1")).await;
    assert_eq!(ask(&mut idle, &post("", &call("who.am_i", vec![]))).await.status, 200);
    let second = world.connect(&over(b"h2")).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(second))
            .await
            .unwrap();
    let second = tokio::spawn(connection);
    // A file that says nothing new ends nothing, though it is taken up.
    fs::write(world.folder.path().join("certificates/other.pem"), "").unwrap();
    let waiting = tokio::time::timeout(Duration::from_secs(7), idle.read_u8());
    assert!(waiting.await.is_err(), "the connection ended early");
    let request = |method: &str| {
        hyper::Request::post("https://localhost/clarens/")
            .header("content-type", "text/xml")
            .body(Full::<bytes::Bytes>::from(call(method, vec![])))
            .unwrap()
    };
    assert_eq!(sender.send_request(request("who.am_i")).await.unwrap().status(), 200);

    fs::remove_file(world.folder.path().join("certificates/ca.pem")).unwrap();
    let began = Instant::now();
    assert_eq!(rest(&mut idle).await, b"");
    assert!(began.elapsed() < TAKEN_UP, "{:?}", began.elapsed());
    // GOAWAY ends the other without an error.
    let ended = tokio::time::timeout(TAKEN_UP, second).await.expect("HTTP/2 stays open");
    assert!(ended.unwrap().is_ok());
    let mut late = world.connect(&over(b"http/1.1")).await;
    let (code, text) = ask(&mut late, &post("", &call("who.am_i", vec![]))).await.fault();
    assert_eq!((code, text.contains("CN=Ann")), (403, true), "{text}");
    assert_eq!(ask(&mut anonymous, &post("", &call("echo.echo", vec![]))).await.status, 200);
}

#[tokio::test]
async fn what_is_under_way_is_answered_before_the_end() {
    let world = World::new();
    let ann = world.person("Ann", 3_600);
    let mut stream = world.connect(&world.client(Some(&ann), &TLS13, b"http/1.1")).await;
    fs::remove_file(world.folder.path().join("certificates/ca.pem")).unwrap();
    let began = Instant::now();
    // One call after the other, each of a second and a half: the one that the change meets is answered.
    let mut answered = 0;
    loop {
        use tokio::io::AsyncWriteExt;
        let slow = post("", &call("slow.wait", vec![]));
        if stream.write_all(slow.as_bytes()).await.is_err() {
            break;
        }
        let mut first = [0];
        match stream.read(&mut first).await {
            Ok(1) => {}
            Ok(_) | Err(_) => break,
        }
        let response = head(&mut stream).await;
        let length = response.header("content-length").unwrap().parse().unwrap();
        stream.read_exact(&mut vec![0; length]).await.unwrap();
        answered += 1;
        if response.header("connection") == Some("close") {
            break;
        }
        assert!(began.elapsed() < TAKEN_UP, "the connection goes on");
    }
    assert!(answered >= 3, "{answered}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_changes_nothing() {
    let world = World::new();
    let ann = world.person("Ann", 3_600);
    let client = world.client(Some(&ann), &TLS13, b"http/1.1");
    let folder = world.folder.path().join("certificates");
    fs::rename(&folder, world.folder.path().join("elsewhere")).unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    let mut stream = world.connect(&client).await;
    let named = ask(&mut stream, &post("", &call("who.am_i", vec![]))).await;
    assert!(named.reply().is_ok());
}

#[tokio::test]
async fn the_servers_certificate_is_swapped_and_old_sessions_with_it() {
    let world = World::new();
    let client = world.client(None, &TLS13, b"http/1.1");
    let mut first = world.connect(&client).await;
    ask(&mut first, &post("", &call("echo.echo", vec![]))).await;
    let old = first.get_ref().1.peer_certificates().unwrap().to_vec();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "renewed");
    let renewed = world.sign(&params, &key);
    let tls = tls::server_config(renewed.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    world.server.show(tls);
    let second = world.connect(&client).await;
    assert_eq!(second.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    let new = second.get_ref().1.peer_certificates().unwrap().to_vec();
    assert!(new != old && new.first() == Some(renewed.der()));
    // Who is connected already stays so.
    assert_eq!(ask(&mut first, &post("", &call("echo.echo", vec![]))).await.status, 200);
    // A key of another certificate is no server's.
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert!(tls::server_config(renewed.pem().as_bytes(), other.as_bytes()).is_err());
}
