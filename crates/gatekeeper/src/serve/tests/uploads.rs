use std::fs;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nesssi_rpc::Value;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{Response, SESSION, UPLOAD_BYTES_MAX, World, ask, head, rest};

fn put(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "PUT /clarens/{SESSION}{path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

fn in_chunks(path: &str, chunks: &[&str]) -> String {
    let mut text = format!(
        "PUT /clarens/{SESSION}{path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for chunk in chunks {
        text.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    }
    text + "0\r\n\r\n"
}

async fn said(world: &World, request: &str) -> Response {
    ask(&mut world.anonymous().await, request).await
}

/// What is in the sandbox.
fn names(world: &World) -> Vec<String> {
    let names = fs::read_dir(world.sandbox("")).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn until_nothing_is_left(world: &World) {
    for _ in 0..500 {
        if names(world).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("something is left: {:?}", names(world));
}

#[tokio::test]
async fn a_file_is_written_and_replaced_and_read_again() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let new = ask(&mut stream, &put("/data.txt", "", "0123456789")).await;
    assert_eq!((new.status, new.reply()), (201, Ok(Value::Int(10))));
    assert_eq!(new.header("content-type"), Some("text/xml; charset=utf-8"));
    let again = ask(&mut stream, &put("/data.txt", "", "abc")).await;
    assert_eq!((again.status, again.reply()), (200, Ok(Value::Int(3))));
    let empty = ask(&mut stream, &put("/a%20b", "", "")).await;
    assert_eq!((empty.status, empty.reply()), (201, Ok(Value::Int(0))));
    assert_eq!(names(&world), ["a b", "data.txt"]);

    let get = |headers: &str| {
        format!("GET /clarens/{SESSION}/data.txt HTTP/1.1\r\nHost: h\r\n{headers}\r\n")
    };
    let whole = ask(&mut stream, &get("")).await;
    assert_eq!((whole.status, whole.text()), (200, "abc"));
    assert!(whole.header("content-security-policy").unwrap().starts_with("sandbox"));
    assert!(whole.header("etag").is_some());
    let part = ask(&mut stream, &get("Range: bytes=1-\r\n")).await;
    assert_eq!((part.status, part.text()), (206, "bc"));
    let head = get("").replacen("GET", "HEAD", 1);
    assert_eq!(ask(&mut stream, &head).await.header("content-length"), Some("3"));
    let page = get("").replacen("/data.txt", "/", 1);
    assert!(ask(&mut stream, &page).await.text().contains("data.txt"));

    let log = world.access_log();
    assert!(log.contains("\"PUT /clarens/01234567/data.txt HTTP/1.1\" 201 "), "{log}");
    assert!(!log.contains(SESSION));
}

#[tokio::test]
async fn a_file_below_at_and_above_the_limit() {
    let world = World::new();
    let limit = usize::try_from(UPLOAD_BYTES_MAX).unwrap();
    for (bytes, announced, in_pieces) in
        [(limit - 1, 201, 201), (limit, 200, 200), (limit + 1, 413, 413)]
    {
        let body = "x".repeat(bytes);
        let whole = said(&world, &put("/a", "", &body)).await;
        assert_eq!(whole.status, announced, "{bytes}");
        let (first, second) = body.split_at(300_000);
        let pieces = said(&world, &in_chunks("/b", &[first, second])).await;
        assert_eq!(pieces.status, in_pieces, "{bytes}");
        if announced == 413 {
            assert_eq!((whole.fault().0, pieces.fault().0), (413, 413));
        } else {
            assert_eq!(fs::read(world.sandbox("b")).unwrap(), body.as_bytes());
        }
    }
    assert_eq!(names(&world), ["a", "b"]);
}

#[tokio::test]
async fn what_is_refused_by_its_head() {
    let world = World::new();
    let check = async |request: String, status: u16, code: i64| {
        let answer = said(&world, &request).await;
        assert_eq!((answer.status, answer.fault().0), (status, code), "{request}");
        assert_eq!(answer.header("connection"), Some("close"), "{request}");
    };
    check(put("/a", "Origin: https://evil.example\r\n", "x"), 403, 403).await;
    check(put("/a", "Origin: null\r\n", "x"), 403, 403).await;
    check(put("/a", "Content-Encoding: gzip\r\n", "x"), 415, -32_600).await;
    check(put("/a", "Content-Range: bytes 0-0/1\r\n", "x"), 400, -32_600).await;
    for condition in ["If-Match: \"x\"", "If-Match: *", "If-None-Match: \"x\"", "If-Range: \"x\""] {
        check(put("/a", &format!("{condition}\r\n"), "x"), 400, -32_600).await;
    }
    for path in
        ["", "/", "/a/", "/.hidden", "/a/../b", "/%2e%2e/b", "/a%2fb", "/a%00", "//a", "/%zz"]
    {
        check(put(path, "", "x"), 404, 404).await;
    }
    let other = put("/a", "", "x").replacen('0', "f", 1);
    check(other, 404, 404).await;
    let post = put("/a", "", "").replacen("PUT", "POST", 1);
    let refused = said(&world, &post).await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, PUT")));
    for allowed in ["Origin: https://grid.example:8443\r\n", "Content-Encoding: identity\r\n"] {
        assert!(said(&world, &put("/a", allowed, "x")).await.status < 300, "{allowed}");
    }
    assert_eq!(names(&world), ["a"]);
}

#[tokio::test]
async fn a_credential_that_fails_neither_writes_nor_reads() {
    let world = World::new();
    fs::write(world.sandbox("a"), "secret").unwrap();
    let late = world.person("Late", -60);
    let client = world.client(Some(&late), &TLS13, b"http/1.1");
    let answer = ask(&mut world.connect(&client).await, &put("/b", "", "x")).await;
    assert_eq!((answer.status, answer.fault().0), (403, 403));
    let get = format!("GET /clarens/{SESSION}/a HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = ask(&mut world.connect(&client).await, &get).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.text().contains("secret"));
    assert_eq!(names(&world), ["a"]);
}

#[tokio::test]
async fn what_is_there_is_kept_where_that_is_asked() {
    let world = World::new();
    fs::write(world.sandbox("a"), "old").unwrap();
    let only_new = "If-None-Match: *\r\n";
    let there = said(&world, &put("/a", only_new, "new")).await;
    assert_eq!((there.status, there.fault().0), (412, 409));
    assert_eq!(fs::read_to_string(world.sandbox("a")).unwrap(), "old");
    assert_eq!(said(&world, &put("/b", only_new, "new")).await.status, 201);
    // What comes meanwhile is kept, too.
    let mut stream = world.anonymous().await;
    let request = put("/c", only_new, "new");
    let (first, last) = request.split_at(request.len() - 1);
    stream.write_all(first.as_bytes()).await.unwrap();
    while names(&world).len() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    fs::write(world.sandbox("c"), "other").unwrap();
    assert_eq!(ask(&mut stream, last).await.status, 412);
    assert_eq!(fs::read_to_string(world.sandbox("c")).unwrap(), "other");
    assert_eq!(names(&world), ["a", "b", "c"]);
}

#[tokio::test]
async fn who_waits_for_a_word_hears_it() {
    let world = World::new();
    let mut stream = world.anonymous().await;
    let request = put("/a", "Expect: 100-continue\r\n", "abc");
    let (first, body) = request.split_at(request.len() - 3);
    stream.write_all(first.as_bytes()).await.unwrap();
    assert_eq!(head(&mut stream).await.status, 100);
    assert_eq!(ask(&mut stream, body).await.status, 201);
    // Refused before he sends anything.
    let mut stream = world.anonymous().await;
    let request = put("/a", "Expect: 100-continue\r\nOrigin: https://evil.example\r\n", "abc");
    let first = &request[..request.len() - 3];
    assert_eq!(ask(&mut stream, first).await.status, 403);
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn of_an_upload_that_breaks_nothing_is_left() {
    let world = World::new();
    let request = put("/a", "", &"x".repeat(600_000));
    let mut stream = world.anonymous().await;
    stream.write_all(&request.as_bytes()[..400_000]).await.unwrap();
    stream.flush().await.unwrap();
    while names(&world).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    until_nothing_is_left(&world).await;
    // The same once more is whole.
    assert_eq!(said(&world, &request).await.status, 201);
    assert_eq!(fs::metadata(world.sandbox("a")).unwrap().len(), 600_000);
}

#[tokio::test]
async fn a_body_is_given_up_by_its_progress_and_not_by_its_time() {
    let world = World::with("body_seconds_max = 1");
    // 64 KiB in each of four times 600 ms: slow, and going on.
    let piece = "x".repeat(65_536);
    let request = put("/a", "", &piece.repeat(4));
    let start = request.len() - 4 * piece.len();
    let mut stream = world.anonymous().await;
    stream.write_all(&request.as_bytes()[..start]).await.unwrap();
    for _ in 0..3 {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    assert_eq!(ask(&mut stream, &piece).await.status, 201);
    // A byte now and then is not.
    let request = put("/b", "", &piece);
    let mut stream = world.anonymous().await;
    let start = request.len() - piece.len();
    stream.write_all(&request.as_bytes()[..start]).await.unwrap();
    let (mut from, mut to) = tokio::io::split(stream);
    let drip = tokio::spawn(async move {
        while to.write_all(b"x").await.is_ok() && to.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut answer = head(&mut from).await;
    let length = answer.header("content-length").unwrap().parse().unwrap();
    answer.body = vec![0; length];
    from.read_exact(&mut answer.body).await.unwrap();
    assert_eq!((answer.status, answer.fault().0), (408, -32_600));
    drip.abort();
    assert_eq!(names(&world), ["a"]);
}

#[tokio::test]
async fn over_http2_too() {
    let world = World::new();
    let stream = world.connect(&world.client(None, &TLS13, b"h2")).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let body = Full::<bytes::Bytes>::from(vec![b'x'; 700_000]);
    let address = format!("https://localhost/clarens/{SESSION}/a");
    let request = hyper::Request::put(address).body(body).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 201);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains(">700000<"));
    assert_eq!(fs::metadata(world.sandbox("a")).unwrap().len(), 700_000);
}
