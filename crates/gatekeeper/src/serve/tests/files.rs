use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::time::{Duration, SystemTime};

use nesssi_container::Change;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::world::{Response, SESSION, World, ask, head, rest};

/// A world with a file `data.txt` of a hundred bytes that nobody has touched for long.
fn world() -> World {
    let world = World::new();
    let bytes: Vec<u8> = (0..100).collect();
    fs::write(world.sandbox("data.txt"), bytes).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let file = File::options().write(true).open(world.sandbox("data.txt")).unwrap();
    file.set_times(FileTimes::new().set_modified(old)).unwrap();
    world
}

async fn get(world: &World, path: &str, headers: &str) -> Response {
    request(world, "GET", path, headers).await
}

async fn request(world: &World, method: &str, path: &str, headers: &str) -> Response {
    let text = format!("{method} /sandboxes/{SESSION}{path} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    ask(&mut world.plain().await, &text).await
}

#[tokio::test]
async fn a_file_with_all_that_guards_it() {
    let world = world();
    let file = get(&world, "/data.txt", "").await;
    assert_eq!((file.status, file.body), (200, (0..100).collect()));
    let expected = [
        ("content-type", "text/plain; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "private, no-cache"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("accept-ranges", "bytes"),
    ];
    let file = get(&world, "/data.txt", "").await;
    for (name, value) in expected {
        assert_eq!(file.header(name), Some(value));
    }
    let policy = file.header("content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox") && policy.contains("default-src 'none'"));
    assert_eq!(file.header("set-cookie"), None);

    let head = request(&world, "HEAD", "/data.txt", "").await;
    for name in ["content-length", "etag", "content-type", "content-security-policy"] {
        assert_eq!(head.header(name), file.header(name), "{name}");
    }
    let log = world.access_log();
    assert!(log.contains("\"GET /sandboxes/01234567/data.txt HTTP/1.1\" 200 100 "), "{log}");
    assert!(log.contains("\"HEAD /sandboxes/01234567/data.txt HTTP/1.1\" 200 0 "), "{log}");
}

#[tokio::test]
async fn what_is_sent_of_a_file_is_told() {
    let world = world();
    get(&world, "/data.txt", "").await;
    get(&world, "/data.txt", "Range: bytes=10-19\r\n").await;
    request(&world, "HEAD", "/data.txt", "").await;
    for nothing in ["/absent", "/", "/data.txt/"] {
        get(&world, nothing, "").await;
    }
    let told = fs::read_to_string(world.folder.path().join("served")).unwrap();
    let due = ["200 Some(100)", "206 Some(10)", "200 Some(0)"];
    let due = due.map(|end| format!("{SESSION} data.txt 127.0.0.1 {end}\n"));
    assert_eq!(told, due.concat());
}

#[tokio::test]
async fn parts_and_versions() {
    let world = world();
    let etag = get(&world, "/data.txt", "").await.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"'));

    let part = get(&world, "/data.txt", "Range: bytes=10-19\r\n").await;
    assert_eq!((part.status, part.header("content-range")), (206, Some("bytes 10-19/100")));
    assert_eq!(part.body, (10..20).collect::<Vec<u8>>());

    let outside = get(&world, "/data.txt", "Range: bytes=100-\r\n").await;
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */100")));

    let several = get(&world, "/data.txt", "Range: bytes=0-1,3-4\r\n").await;
    assert_eq!((several.status, several.body.len()), (200, 100));

    let same = get(&world, "/data.txt", &format!("Range: bytes=0-1\r\nIf-Range: {etag}\r\n")).await;
    assert_eq!(same.status, 206);
    let other = get(&world, "/data.txt", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n").await;
    assert_eq!(other.status, 200);

    let had = get(&world, "/data.txt", &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((had.status, had.body.len(), had.header("etag")), (304, 0, Some(etag.as_str())));

    fs::write(world.sandbox("data.txt"), "fresh").unwrap();
    let fresh = get(&world, "/data.txt", &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((fresh.status, fresh.text()), (200, "fresh"));
    assert!(fresh.header("etag").unwrap().starts_with("W/"));
}

#[tokio::test]
async fn a_name_that_is_no_text_is_served() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = world();
    let folder = world.sandbox("").join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"\xfe.txt")), "odd").unwrap();
    let moved = get(&world, "/%ff", "").await;
    assert_eq!((moved.status, moved.header("location")), (301, Some("./%FF/")));
    assert!(get(&world, "/%ff/", "").await.text().contains("href=\"./%FE.txt\""));
    assert_eq!(get(&world, "/%ff/%FE.txt", "").await.text(), "odd");
}

#[tokio::test]
async fn what_is_absent_malformed_and_forbidden_is_answered_alike() {
    let world = world();
    fs::create_dir(world.sandbox(".nesssi")).unwrap();
    fs::write(world.sandbox(".nesssi/record"), "secret").unwrap();
    let other = SESSION.replace('0', "1");
    let targets = [
        format!("/sandboxes/{SESSION}/absent"),
        format!("/sandboxes/{SESSION}/.nesssi/record"),
        format!("/sandboxes/{SESSION}/../{SESSION}/data.txt"),
        format!("/sandboxes/{SESSION}/%2e%2e/x"),
        format!("/sandboxes/{SESSION}/data.txt/"),
        format!("/sandboxes/{SESSION}//data.txt"),
        format!("/sandboxes/{SESSION}/%ff"),
        format!("/sandboxes/{other}/data.txt"),
        "/sandboxes/short/data.txt".to_owned(),
        "/sandboxes/".to_owned(),
        "/clarens/".to_owned(),
        "/".to_owned(),
    ];
    for method in ["GET", "HEAD"] {
        let mut seen = std::collections::HashSet::new();
        for target in &targets {
            let text = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let response = ask(&mut world.plain().await, &text).await;
            assert_eq!(response.status, 404, "{target}");
            let varying = ["nesssi-request-id: ", "date: "];
            let alike = |line: &&str| !varying.iter().any(|name| line.starts_with(name));
            let head: Vec<&str> = response.head.lines().filter(alike).collect();
            seen.insert((head.join("\n"), response.body.clone()));
        }
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
}

#[tokio::test]
async fn only_reading_is_done_here() {
    let world = world();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let response = request(&world, method, "/data.txt", "Content-Length: 0\r\n").await;
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")));
    }
}

#[tokio::test]
async fn a_directory_for_people_and_for_programs() {
    let world = world();
    fs::create_dir(world.sandbox("a: b")).unwrap();
    fs::write(world.sandbox("<b>.txt"), "x").unwrap();
    let page = get(&world, "/", "Accept: text/html\r\n").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains("<a href=\"./%3Cb%3E.txt\"><bdi>&lt;b&gt;.txt</bdi></a>"));
    assert!(page.text().contains("<a href=\"./a%3A%20b/\">"));

    let json = get(&world, "/", "Accept: application/json\r\n").await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    let listing: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(listing["cut"], false);
    assert_eq!(listing["entries"][2]["name"], "data.txt");
    assert_eq!(listing["entries"][2]["size"], 100);
    assert_eq!(listing["entries"][2]["modified"], 784_111_777);

    let hosts = "Host: evil.example\r\n";
    assert_eq!(get(&world, "/", hosts).await.status, 400, "one Host and no other");
    let hosts = "X-Forwarded-Host: evil.example\r\n";
    for (path, location) in [("", format!("./{SESSION}/")), ("/a%3a%20b", "./a%3A%20b/".to_owned())]
    {
        let moved = get(&world, path, hosts).await;
        assert_eq!((moved.status, moved.header("location")), (301, Some(location.as_str())));
    }
    let moved = get(&world, "/a%3A%20b?x=1", "").await;
    assert_eq!(moved.header("location"), Some("./a%3A%20b/?x=1"));
}

#[tokio::test]
async fn a_large_file_arrives_whole_and_a_short_one_ends_uncleanly() {
    let world = world();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| u8::try_from(n % 253).unwrap()).collect();
    fs::write(world.sandbox("large.bin"), &bytes).unwrap();
    let whole = get(&world, "/large.bin", "").await;
    assert!(whole.body == bytes);
    assert_eq!(whole.header("content-type"), Some("application/octet-stream"));

    // More than the buffers between us hold, so that it is cut short while it is being sent.
    let huge = File::create(world.sandbox("huge.bin")).unwrap();
    huge.set_len(256 << 20).unwrap();
    let mut stream = world.plain().await;
    let text = format!("GET /sandboxes/{SESSION}/huge.bin HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(head(&mut stream).await.header("content-length"), Some("268435456"));
    huge.set_len(10).unwrap();
    assert!(rest(&mut stream).await.len() < 256 << 20);
}

#[tokio::test]
async fn a_followed_file_comes_as_it_grows_until_its_job_has_ended() {
    let world = world();
    let mut file = File::create(world.sandbox("stdout")).unwrap();
    file.write_all(b"one\n").unwrap();
    let tell = world.growth();
    let mut stream = world.plain().await;
    let text = format!("GET /sandboxes/{SESSION}/stdout?follow HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let response = head(&mut stream).await;
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!((response.header("content-length"), response.header("etag")), (None, None));

    let mut chunk = [0; 9];
    stream.read_exact(&mut chunk).await.unwrap();
    assert_eq!(&chunk, b"4\r\none\n\r\n");
    file.write_all(b"two\n").unwrap();
    tell.send(Change::Grew).await.unwrap();
    stream.read_exact(&mut chunk).await.unwrap();
    assert_eq!(&chunk, b"4\r\ntwo\n\r\n");
    file.write_all(b"end\n").unwrap();
    tell.send(Change::JobEnded).await.unwrap();
    let mut last = [0; 14];
    stream.read_exact(&mut last).await.unwrap();
    assert_eq!(&last, b"4\r\nend\n\r\n0\r\n\r\n");

    // Nobody watches the next one: it is refused, and the connection goes on.
    let busy = ask(&mut stream, &text).await;
    assert_eq!(busy.status, 503);
}

#[tokio::test]
async fn a_followed_file_that_is_cut_short_ends_uncleanly() {
    let world = world();
    let file = File::create(world.sandbox("stdout")).unwrap();
    file.set_len(1_000).unwrap();
    let tell = world.growth();
    let mut stream = world.plain().await;
    let text = format!("GET /sandboxes/{SESSION}/stdout?follow HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    head(&mut stream).await;
    let mut first = vec![0; 1_005];
    stream.read_exact(&mut first).await.unwrap();
    file.set_len(10).unwrap();
    tell.send(Change::Grew).await.unwrap();
    let end = rest(&mut stream).await;
    assert!(!end.ends_with(b"0\r\n\r\n"), "{end:?}");
}
