use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nesssi_rpc::Value;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::world::{SESSION, World, ask, call, head, post, rest};
use crate::serve::Drained;

const SLOW: &str = "handshake_seconds_max = 1\nheader_seconds_max = 1\nbody_seconds_max = 1\n\
                    idle_seconds_max = 60";

/// Asserts that what ended since `began` ended by the one-second deadline and not by luck.
#[track_caller]
fn in_time(began: Instant) {
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let world = World::with(SLOW);
    let began = Instant::now();
    let mut stream = TcpStream::connect(world.https).await.unwrap();
    stream.write_all(b"\x16\x03\x01").await.unwrap();
    rest(&mut stream).await;
    in_time(began);
}

#[tokio::test]
async fn a_head_that_drips_is_cut_off() {
    let world = World::with(SLOW);
    for first in [true, false] {
        let mut stream = world.anonymous().await;
        if !first {
            ask(&mut stream, &post("", &call("echo.echo", vec![]))).await;
        }
        let began = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let dripping = tokio::spawn(async move {
            for byte in b"POST /clarens/ HTTP/1.1\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaa".iter() {
                if writer.write_all(&[*byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert!(rest(&mut reader).await.is_empty());
        in_time(began);
        dripping.abort();
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_and_cut_off() {
    let world = World::with(SLOW);
    let mut stream = world.anonymous().await;
    let began = Instant::now();
    let request = post("", &"x".repeat(5_000));
    let response = ask(&mut stream, &request[..request.len() - 10]).await;
    in_time(began);
    assert_eq!((response.status, response.header("connection")), (408, Some("close")));
}

#[tokio::test]
async fn a_caller_who_does_not_read_is_cut_off() {
    let world = World::with(SLOW);
    std::fs::write(world.sandbox("large"), vec![7; 64 << 20]).unwrap();
    let mut stream = world.plain().await;
    let target =
        format!("GET /sandboxes/{}/large HTTP/1.1\r\nHost: h\r\n\r\n", super::world::SESSION);
    stream.write_all(target.as_bytes()).await.unwrap();
    let response = head(&mut stream).await;
    assert_eq!(response.status, 200);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(rest(&mut stream).await.len() < 64 << 20);
}

/// With HTTP/2 the caller says how much of an answer may come: none at all leaves it here.
#[tokio::test]
async fn a_caller_who_takes_no_answer_over_http2_is_cut_off() {
    let world = World::with(SLOW);
    std::fs::write(world.sandbox("large"), vec![7; 1 << 20]).unwrap();
    for window in [0, 1] {
        for target in [format!("/clarens/{SESSION}/large"), "/clarens/".to_owned()] {
            let stream = world.connect(&world.client(None, &TLS13, b"h2")).await;
            let (mut sender, connection) =
                hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(window)
                    .handshake(TokioIo::new(stream))
                    .await
                    .unwrap();
            let connection = tokio::spawn(connection);
            let text = call("echo.echo", vec![Value::String("x".repeat(1 << 20))]);
            let is_call = target.ends_with("clarens/");
            let request = hyper::Request::builder()
                .method(if is_call { "POST" } else { "GET" })
                .uri(format!("https://grid.example:8443{target}"))
                .header("content-type", "text/xml")
                .body(if is_call { text } else { String::new() })
                .unwrap();
            let began = Instant::now();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let end = tokio::time::timeout(Duration::from_secs(8), connection).await;
            assert!(end.is_ok(), "{target} with a window of {window} is held for ever");
            in_time(began);
        }
    }
}

/// Small requests may have large answers, and who asks need not take them.
#[tokio::test]
async fn large_answers_that_nobody_takes_have_a_bound() {
    let world = World::new();
    let ask_for =
        async |client: &std::sync::Arc<rustls::ClientConfig>, bytes: usize, window: u32| {
            let stream = world.connect(client).await;
            let (mut sender, connection) =
                hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(window)
                    .handshake(TokioIo::new(stream))
                    .await
                    .unwrap();
            let connection = tokio::spawn(connection);
            let request = hyper::Request::post("https://localhost/clarens/")
                .header("content-type", "text/xml")
                .body(call("echo.echo", vec![Value::String("x".repeat(bytes))]))
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            (response.into_body(), connection)
        };
    let text = async |mut body: hyper::body::Incoming| {
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            text.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        String::from_utf8(text).unwrap()
    };
    let stranger = world.client(None, &TLS13, b"h2");
    // In tests 3 MiB may be held.
    let (first, one) = ask_for(&stranger, 1 << 20, 0).await;
    let _second = ask_for(&stranger, 1 << 20, 0).await;
    let refused = text(ask_for(&stranger, 1 << 20, 1 << 20).await.0).await;
    assert!(refused.contains("<int>503</int>"), "{:.300}", refused);
    let small = text(ask_for(&stranger, 60_000, 1 << 20).await.0).await;
    assert!(small.len() > 60_000, "what is small needs no place");
    let person = world.client(Some(&world.person("Ann", 3600)), &TLS13, b"h2");
    let other = text(ask_for(&person, 1 << 20, 1 << 20).await.0).await;
    assert!(other.len() > 1 << 20, "who has a certificate has another bound");
    drop(first);
    one.abort();
    let began = Instant::now();
    while text(ask_for(&stranger, 1 << 20, 1 << 20).await.0).await.len() < 1 << 20 {
        assert!(began.elapsed() < Duration::from_secs(10), "its place is not free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_ended_cleanly() {
    let world = World::with("idle_seconds_max = 1");
    let mut stream = world.anonymous().await;
    ask(&mut stream, &post("", &call("echo.echo", vec![]))).await;
    let began = Instant::now();
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).await.unwrap(), 0);
    in_time(began);
}

#[tokio::test]
async fn a_call_may_take_longer_than_idleness() {
    let world = World::with("idle_seconds_max = 1\nheader_seconds_max = 1");
    let mut stream = world.anonymous().await;
    let response = ask(&mut stream, &post("", &call("slow.wait", vec![]))).await;
    assert!(response.reply().is_ok());
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_credential() {
    let world = World::new();
    let brief = world.person("Brief", 2);
    let mut stream = world.connect(&world.client(Some(&brief), &TLS13, b"http/1.1")).await;
    let began = Instant::now();
    ask(&mut stream, &post("", &call("echo.echo", vec![]))).await;
    rest(&mut stream).await;
    in_time(began);
}

#[tokio::test]
async fn connections_of_an_address_are_bounded() {
    let world = World::with("connections_per_address_max = 2");
    let one = world.anonymous().await;
    let _two = world.anonymous().await;
    let mut three = TcpStream::connect(world.https).await.unwrap();
    assert!(rest(&mut three).await.is_empty());
    drop(one);
    // The place is free as soon as the server has seen the end of the first.
    for _ in 0..200 {
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        if rest(&mut stream).await.starts_with(b"HTTP/1.0 404") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no place became free");
}

#[tokio::test]
async fn a_drain_loses_no_request() {
    let world = World::new();
    let mut busy = world.anonymous().await;
    let mut kept = world.anonymous().await;
    let mut idle = world.anonymous().await;
    for stream in [&mut kept, &mut idle] {
        ask(stream, &post("", &call("echo.echo", vec![]))).await;
    }
    busy.write_all(post("", &call("slow.wait", vec![])).as_bytes()).await.unwrap();
    let answering = async {
        let slow = head(&mut busy).await;
        (slow.status, slow.header("connection").map(str::to_owned))
    };
    let asking = async {
        // Begun, and not yet over: a connection that is still open is answered and told to go.
        while !world.server.shared.drain.has_begun() {
            tokio::task::yield_now().await;
        }
        let again = ask(&mut kept, &post("", &call("echo.echo", vec![]))).await;
        assert_eq!((again.status, again.header("connection")), (200, Some("close")));
        let mut late = TcpStream::connect(world.https).await;
        if let Ok(late) = &mut late {
            assert!(rest(late).await.is_empty());
        }
        assert!(rest(&mut idle).await.is_empty());
    };
    let (drained, slow, ()) =
        tokio::join!(world.server.drain(Duration::from_secs(20)), answering, asking);
    assert_eq!(slow, (200, Some("close".to_owned())));
    assert_eq!(drained, Drained::Gone);
}
