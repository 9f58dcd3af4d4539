use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nesssi_rpc::Value;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;

use super::world::{Response, World, ask, call, post, rest};

async fn who(
    world: &World,
    stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin),
) -> Response {
    let _ = world;
    ask(stream, &post("", &call("who.am_i", vec![]))).await
}

#[tokio::test]
async fn a_call_is_answered_and_the_connection_kept() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let text = Value::from("<grüße> & more");
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        let response = ask(&mut stream, &post("", &call("echo.echo", vec![text.clone()]))).await;
        assert_eq!((response.status, response.reply()), (200, Ok(text.clone())));
        assert_eq!(response.header("content-type"), Some("text/xml; charset=utf-8"));
        assert_eq!(response.header("nesssi-session-url"), None);
        ids.insert(response.header("nesssi-request-id").unwrap().to_owned());
    }
    assert_eq!(ids.len(), 3);
    let log = world.access_log();
    assert_eq!(log.matches("\"POST /clarens/ HTTP/1.1\" 200 ").count(), 3, "{log}");
    assert!(ids.iter().all(|id| log.contains(id.as_str())));
}

#[tokio::test]
async fn a_session_is_named_in_a_header_and_cut_in_the_log() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let response = ask(&mut stream, &post("", &call("session.make", vec![]))).await;
    let url = response.header("nesssi-session-url").unwrap();
    assert!(url.starts_with("http://files.example:8080/sandboxes/0123"));
    assert!(!world.access_log().contains("0123456789"));
}

#[tokio::test]
async fn callers_are_who_their_certificates_say_in_both_versions_of_tls() {
    let world = World::new();
    let ann = world.person("Ann", 3_600);
    let late = world.person("Late", -60);
    for version in [&TLS12, &TLS13] {
        let mut stream = world.connect(&world.client(Some(&ann), version, b"http/1.1")).await;
        let named = who(&world, &mut stream).await;
        assert_eq!(named.reply(), Ok(Value::from("/O=NESSSI Test/CN=Ann")));

        let mut stream = world.connect(&world.client(None, version, b"http/1.1")).await;
        assert_eq!(who(&world, &mut stream).await.reply(), Ok(Value::from("anonymous")));

        let mut stream = world.connect(&world.client(Some(&late), version, b"http/1.1")).await;
        let (code, text) = who(&world, &mut stream).await.fault();
        assert_eq!(code, 403);
        assert!(text.contains("/O=NESSSI Test/CN=Late"), "{text}");
    }
    let stranger = World::new().person("Ann", 3_600);
    let mut stream = world.connect(&world.client(Some(&stranger), &TLS13, b"http/1.1")).await;
    assert_eq!(who(&world, &mut stream).await.fault().0, 403);
    assert!(world.access_log().contains(" - /O=NESSSI%20Test/CN=Ann ["));
}

#[tokio::test]
async fn a_resumed_session_is_judged_again() {
    let world = World::new();
    let brief = world.person("Brief", 3);
    for version in [&TLS12, &TLS13] {
        let ann = world.person("Ann", 3_600);
        let client = world.client(Some(&ann), version, b"http/1.1");
        let mut first = world.connect(&client).await;
        who(&world, &mut first).await;
        let mut second = world.connect(&client).await;
        let named = who(&world, &mut second).await;
        assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(named.reply(), Ok(Value::from("/O=NESSSI Test/CN=Ann")));
    }
    let client = world.client(Some(&brief), &TLS13, b"http/1.1");
    let mut first = world.connect(&client).await;
    assert_eq!(who(&world, &mut first).await.reply(), Ok(Value::from("/O=NESSSI Test/CN=Brief")));
    // The connection ends with the credential; the session that it could be resumed from does not.
    rest(&mut first).await;
    let mut late = world.connect(&client).await;
    let response = who(&world, &mut late).await;
    assert_eq!(late.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(response.fault().0, 403);
}

#[tokio::test]
async fn http2_answers_many_calls_at_once() {
    let world = World::new();
    let stream = world.connect(&world.client(None, &TLS13, b"h2")).await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let calls: Vec<_> = (0..20)
        .map(|number: i64| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let body = Full::<bytes::Bytes>::from(call("echo.echo", vec![Value::from(number)]));
                let request = hyper::Request::post("https://localhost/clarens/")
                    .header("content-type", "text/xml")
                    .body(body)
                    .unwrap();
                let response = sender.send_request(request).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                String::from_utf8(body.to_vec()).unwrap().contains(&format!(">{number}<"))
            })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(world.access_log().matches("HTTP/2.0\" 200").count(), 20);
}

#[tokio::test]
async fn http10_is_kept_alive_if_it_asks() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let old = |headers: &str| {
        post(headers, &call("echo.echo", vec![])).replacen("HTTP/1.1", "HTTP/1.0", 1)
    };
    let response = ask(&mut stream, &old("Connection: keep-alive\r\n")).await;
    assert_eq!(response.header("connection"), Some("keep-alive"));
    let response = ask(&mut stream, &old("")).await;
    assert_eq!(response.status, 200);
    assert!(rest(&mut stream).await.is_empty());
}

/// What a request that is refused is answered with.
async fn refused(world: &World, request: &str) -> Response {
    let mut stream = world.anonymous().await;
    let response = ask(&mut stream, request).await;
    assert!(response.header("nesssi-request-id").is_some());
    response
}

#[tokio::test]
async fn what_is_no_call_is_refused_as_what_it_is() {
    let world = World::new();
    let body = call("echo.echo", vec![]);
    let good = post("", &body);
    let status = |request: String| {
        let world = &world;
        async move { refused(world, &request).await.status }
    };
    assert_eq!(status(good.replace("text/xml", "text/plain")).await, 415);
    assert_eq!(status(good.replace("Content-Type: text/xml\r\n", "")).await, 415);
    assert_eq!(status(good.replace("text/xml", "application/x-www-form-urlencoded")).await, 415);
    assert_eq!(status(post("Content-Encoding: gzip\r\n", &body)).await, 415);
    assert_eq!(status(post("Content-Encoding: identity\r\n", &body)).await, 200);
    assert_eq!(status(good.replace("/clarens/ ", "/clarens ")).await, 200);
    assert_eq!(status(good.replace("/clarens/ ", "/ ")).await, 404);
    assert_eq!(status(good.replace("/clarens/ ", "/clarens/x ")).await, 404);
    assert_eq!(
        status(good.replace("/clarens/ ", &format!("/sandboxes/{}/ ", super::world::SESSION)))
            .await,
        404
    );
    assert_eq!(status(good.replacen("POST", "PUT", 1)).await, 405);

    let wrong = refused(&world, &post("", "<methodCall><methodName>x")).await;
    assert_eq!((wrong.status, wrong.fault().0), (200, -32700));
}

#[tokio::test]
async fn pages_of_other_origins_cannot_call() {
    let world = World::new();
    let body = call("echo.echo", vec![]);
    for origin in
        ["https://evil.example", "null", "https://grid.example", "http://grid.example:8443"]
    {
        let response = refused(&world, &post(&format!("Origin: {origin}\r\n"), &body)).await;
        assert_eq!((response.status, response.fault().0), (403, 403), "{origin}");
    }
    let own = refused(&world, &post("Origin: https://grid.example:8443\r\n", &body)).await;
    assert_eq!(own.status, 200);
}

#[tokio::test]
async fn a_body_is_bounded_before_and_while_it_is_read() {
    let world = World::with("body_bytes_max = 2000");
    let of = |length: usize| {
        let empty = call("echo.echo", vec![Value::from("")]).len();
        call("echo.echo", vec![Value::from("x".repeat(length - empty))])
    };
    assert_eq!(of(1999).len(), 1999);
    for length in [1999, 2000] {
        let response = refused(&world, &post("", &of(length))).await;
        assert!(response.reply().is_ok(), "{length}");
    }
    // Refused by its announced length: nothing of the body was sent.
    let head = post("", &of(2001)).split_inclusive("\r\n\r\n").next().unwrap().to_owned();
    let response = refused(&world, &head).await;
    assert_eq!(response.status, 200);
    let (code, text) = response.fault();
    assert_eq!((code, text.contains("2001") && text.contains("2000")), (413, true), "{text}");
    assert_eq!(response.header("connection"), Some("close"));

    // A caller who sends it all the same still reads the answer.
    let large = "x".repeat(3_000_000);
    let response = refused(&world, &post("", &large)).await;
    assert_eq!(response.fault().0, 413);

    // In chunks, whose end nobody announces.
    for (length, code) in [(1999, 0), (2000, 0), (2001, 413)] {
        let body = of(length);
        let (one, two) = body.split_at(700);
        let chunked = format!(
            "POST /clarens/ HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml\r\nTransfer-Encoding: \
             chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
            one.len(),
            two.len()
        );
        let response = refused(&world, &chunked).await;
        assert_eq!(response.reply().err().map_or(0, |fault| fault.code.number()), code, "{length}");
    }
}

#[tokio::test]
async fn a_request_hidden_in_another_is_not_answered() {
    let world = World::new();
    let hidden = post("X-Hidden: 1\r\n", &call("who.am_i", vec![]));
    let start = "POST /clarens/ HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml\r\n";
    let body = call("echo.echo", vec![]);
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let forms = [
        format!("{start}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{hidden}"),
        format!("{start}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}{hidden}"),
        format!("{start}Transfer-Encoding: chunked, identity\r\n\r\n{chunk}{hidden}"),
        format!("{start}Transfer-Encoding: xchunked\r\n\r\n{chunk}{hidden}"),
        format!("{start}Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n{chunk}{hidden}"),
        format!("{start}Content-Length: 0\r\nContent-Length: 9\r\n\r\n{hidden}"),
        format!("{start}Content-Length: 0, 9\r\n\r\n{hidden}"),
        format!("{start}Content-Length: +0\r\n\r\n{hidden}"),
        format!("{start}Content-Length: -1\r\n\r\n{hidden}"),
        format!("{start}Content-Length: 99999999999999999999999\r\n\r\n{hidden}"),
        format!("{start}X-Folded: a\r\n Content-Length: 0\r\n\r\n{hidden}"),
        format!("{start}Content-Length: 0\nTransfer-Encoding: chunked\r\r\n\r\n{hidden}"),
        format!("{start}Transfer-Encoding: chunked\r\n\r\n0x4\r\nabcd\r\n0\r\n\r\n{hidden}"),
        format!("{start}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{hidden}"),
        format!(
            "POST /clarens/ HTTP/1.0\r\nContent-Type: text/xml\r\nConnection: keep-alive\r\n\
                 Transfer-Encoding: chunked\r\n\r\n{chunk}{hidden}"
        ),
        format!("GET /clarens/\0 HTTP/1.1\r\nHost: h\r\n\r\n{hidden}"),
    ];
    for form in forms {
        let mut stream = world.anonymous().await;
        stream.write_all(form.as_bytes()).await.unwrap();
        let answer = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
        assert!(answer.matches("HTTP/1.").count() <= 1, "{form:?}\n{answer}");
        assert!(!answer.contains("anonymous"), "{form:?}\n{answer}");
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let world = World::new();
    let long = format!("X-Long: {}\r\n", "x".repeat(64 * 1024));
    let many = "X-Many: 1\r\n".repeat(101);
    for headers in [long, many] {
        let mut stream = world.anonymous().await;
        // The server may close before all is written.
        let _written = stream.write_all(post(&headers, "").as_bytes()).await;
        let answer = String::from_utf8_lossy(&rest(&mut stream).await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[tokio::test]
async fn a_browser_sees_what_there_is() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let page = ask(&mut stream, "GET /clarens/ HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("3 services with 3 methods"), "{}", page.text());
    let listed = "<a href=\"./a.&lt;b&gt;?wsdl\">a.&lt;b&gt;</a></td><td>c</td>";
    assert!(page.text().contains(listed), "{}", page.text());
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let head = ask(&mut stream, "HEAD /clarens/ HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(head.header("content-length"), page.header("content-length"));

    let late = world.person("Late", -60);
    let mut stream = world.connect(&world.client(Some(&late), &TLS13, b"http/1.1")).await;
    let page = ask(&mut stream, "GET /clarens/ HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(page.status, 403);
    assert!(page.text().contains("CN=Late"));
}

#[tokio::test]
async fn a_file_is_answered_as_it_is() {
    let world = World::new();
    let bytes: Vec<u8> = (0..=255).cycle().take(700_000).collect();
    std::fs::write(world.sandbox("data.tar"), &bytes).unwrap();
    std::fs::write(world.sandbox("page.html"), "<script>").unwrap();
    let read = |name: &str, offset: i64, length: i64| {
        post("", &call("file.read", vec![name.into(), offset.into(), length.into()]))
    };
    let mut stream = world.anonymous().await;
    let whole = ask(&mut stream, &read("data.tar", 0, 700_000)).await;
    assert_eq!((whole.status, whole.header("content-length")), (200, Some("700000")));
    assert_eq!(whole.header("content-type"), Some("application/x-tar"));
    assert_eq!(whole.header("cache-control"), Some("no-store"));
    assert!(whole.body == bytes);
    let part = ask(&mut stream, &read("data.tar", 300_001, 3)).await;
    assert_eq!(part.body, bytes[300_001..300_004]);
    let none = ask(&mut stream, &read("data.tar", 700_000, 0)).await;
    assert_eq!((none.status, none.header("content-length"), none.body.len()), (200, Some("0"), 0));
    // It runs nowhere, whoever wrote it.
    let page = ask(&mut stream, &read("page.html", 0, 8)).await;
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.header("content-security-policy").unwrap().starts_with("sandbox"));
    // Only a fault is text/xml.
    std::fs::write(world.sandbox("answer.xml"), "<a/>").unwrap();
    let xml = ask(&mut stream, &read("answer.xml", 0, 4)).await;
    assert_eq!((xml.header("content-type"), xml.text()), (Some("application/xml"), "<a/>"));
    let absent = ask(&mut stream, &read("absent", 0, 1)).await;
    assert_eq!((absent.status, absent.fault().0), (200, 404));
    assert_eq!(absent.header("content-type"), Some("text/xml; charset=utf-8"));
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_not_padded() {
    let world = World::new();
    std::fs::write(world.sandbox("data"), "0123456789").unwrap();
    let read = call("file.read", vec!["data".into(), 0_i64.into(), 11_i64.into()]);
    let mut stream = world.anonymous().await;
    stream.write_all(post("", &read).as_bytes()).await.unwrap();
    let all = rest(&mut stream).await;
    assert!(all.ends_with(b"\r\n\r\n0123456789"), "{}", String::from_utf8_lossy(&all));
}
