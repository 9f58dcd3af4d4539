//! Files over the API, against a whole server: `file.*` in every dialect, uploads, trees.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nesssi_testkit::{Credential, Fault, ProxyPolicy, Value, World, is_root, skipped, wait_until};

use crate::dialects::{JSON, SOAP_12, post, soap_11, soap_12};
use crate::services::restart;
use crate::survival::{GATEKEEPER, below};

const MIB: u64 = 1024 * 1024;

/// One request with Python's own HTTP client. The body is what comes in, sent with its length or (for
/// "chunks") without; status and headers go out, a line each, then an empty line and the body.
const ASK: &str = r#"
import http.client, os, shutil, ssl, sys
port, ca, certificate, key, method, target, chunks = sys.argv[1:8]
context = ssl.create_default_context(cafile=ca)
if certificate:
    context.load_cert_chain(certificate, key)
connection = http.client.HTTPSConnection("localhost", int(port), context=context, timeout=120)
connection.putrequest(method, target, skip_accept_encoding=True)
for line in sys.argv[8:]:
    connection.putheader(*line.split(": ", 1))
size = os.fstat(0).st_size
if chunks:
    connection.putheader("Transfer-Encoding", "chunked")
elif method in ("PUT", "POST"):
    connection.putheader("Content-Length", str(size))
connection.endheaders()
try:
    while piece := sys.stdin.buffer.read(1 << 16):
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunks else piece)
    if chunks:
        connection.send(b"0\r\n\r\n")
except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
    pass  # refused before the end: the answer says why
answer = connection.getresponse()
print(answer.status, flush=True)
for name, value in answer.getheaders():
    print(name.lower() + ": " + value)
print(flush=True)
shutil.copyfileobj(answer, sys.stdout.buffer)
"#;

/// The same, that breaks off after so many bytes of a longer body.
const BREAK: &str = r#"
import socket, ssl, sys
port, ca, certificate, key, target, sent = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
stream = context.wrap_socket(socket.create_connection(("localhost", int(port))), server_hostname="localhost")
stream.sendall(f"PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n".encode())
stream.sendall(b"x" * int(sent))
sys.stdin.read(1)
"#;

/// The same, that sends its last byte when it is told to, and prints the status.
const PAUSE: &str = r#"
import socket, ssl, sys
port, ca, certificate, key, target = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
stream = context.wrap_socket(socket.create_connection(("localhost", int(port))), server_hostname="localhost")
stream.sendall(f"PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n".encode())
stream.sendall(b"x" * 999999)
sys.stdin.read(1)
stream.sendall(b"x")
print(stream.recv(65536).decode())
"#;

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

struct Request<'a> {
    who: Option<&'a Credential>,
    method: &'a str,
    target: &'a str,
    headers: &'a [&'a str],
    body: &'a [u8],
    chunks: bool,
}

fn python(world: &World, code: &str, who: Option<&Credential>) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", code]).arg(world.https.port().to_string()).arg(world.grid.ca_file());
    let none = PathBuf::new();
    let (certificate, key) = who.map_or((&none, &none), |who| (&who.certificate, &who.key));
    command.arg(certificate).arg(key);
    command
}

fn ask(world: &World, request: &Request<'_>) -> Answer {
    let mut body = tempfile_of(world, request.body);
    let mut command = python(world, ASK, request.who);
    command.args([request.method, request.target, if request.chunks { "yes" } else { "" }]);
    let output = command.args(request.headers).stdin(body.take().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let at = output.stdout.windows(2).position(|two| two == b"\n\n").unwrap();
    let head = String::from_utf8(output.stdout[..at].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().parse().unwrap();
    let pair = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_owned(), v.to_owned()));
    Answer {
        status,
        headers: lines.filter_map(pair).collect(),
        body: output.stdout[at + 2..].to_vec(),
    }
}

/// An open file with these bytes, from its beginning.
fn tempfile_of(world: &World, bytes: &[u8]) -> Option<Stdio> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let path = world.path().join(format!("body-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::write(&path, bytes).unwrap();
    let file = fs::File::open(&path).unwrap();
    fs::remove_file(path).unwrap();
    Some(file.into())
}

fn put(world: &World, who: Option<&Credential>, target: &str, body: &[u8]) -> Answer {
    let target = &format!("/clarens/{target}");
    ask(world, &Request { who, method: "PUT", target, headers: &[], body, chunks: false })
}

/// `file.read` as one XML-RPC call, without any client of XML-RPC.
fn read(world: &World, who: Option<&Credential>, path: &str, offset: i64, length: i64) -> Answer {
    let call = format!(
        "<methodCall><methodName>file.read</methodName><params><param><value>{path}</value></param>\
         <param><value><i8>{offset}</i8></value></param><param><value><i8>{length}</i8></value>\
         </param></params></methodCall>"
    );
    let headers = &["Content-Type: text/xml"];
    let (method, target) = ("POST", "/clarens/");
    ask(world, &Request { who, method, target, headers, body: call.as_bytes(), chunks: false })
}

fn file(
    world: &World,
    who: Option<&Credential>,
    method: &str,
    params: &[&str],
) -> Result<Value, String> {
    let params = params.iter().map(|text| Value::from(*text)).collect();
    world.call(who, &format!("file.{method}"), params).map_err(told)
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn told(fault: Fault) -> String {
    format!("{}: {}", fault.code.number(), fault.text)
}

fn names(value: &Value, member: &str) -> Vec<String> {
    let Value::Array(items) = value else { panic!("{value:?}") };
    let text = |item: &Value| item.member(member).unwrap().as_str().unwrap_or("?").to_owned();
    items.iter().map(text).collect()
}

/// A world in which everybody may submit words of his own.
fn world() -> World {
    World::builder().key("job", "submit_levels = [\"strong\", \"weak\", \"anonymous\"]").start()
}

/// A session of which a shell has written what the script says.
fn ran(world: &World, who: Option<&Credential>, script: &str) -> String {
    let words = ["/bin/sh", "-c", script].map(Value::from).to_vec();
    let session = world.session(who, "job.submit", vec![Value::Array(words), Value::Int(20)]);
    let status = world.ended(who, &session);
    assert_eq!(status["state"].as_str(), Some("done"), "{status:?}");
    session
}

#[test]
fn every_method_of_files_in_every_dialect() {
    let world = world();
    let alice = Some(&world.alice);
    let session = ran(&world, alice, "printf 0123456789 > a.dat; mkdir d; echo x > d/b.dat");
    let at = |path: &str| format!("/{session}{path}");
    let md5 = "781e5e245d69b566979b86e28d23f2c7";
    let sha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    let calls: [(&str, Vec<String>, &str); 7] = [
        ("ls", vec![at("/")], "a.dat"),
        ("stat", vec![at("/a.dat")], "modified"),
        ("size", vec![at("/a.dat")], "10"),
        ("find", vec![at("/"), "b.*".to_owned()], "/d/b.dat"),
        ("md5", vec![at("/a.dat")], md5),
        ("sha256", vec![at("/a.dat")], sha256),
        // Base64 of "234" is MjM0.
        ("read", vec![at("/a.dat"), "2".to_owned(), "3".to_owned()], "MjM0"),
    ];
    for (method, params, expected) in calls {
        let is_int = |index: usize| method == "read" && index > 0;
        let xml: String = params
            .iter()
            .enumerate()
            .map(|(index, text)| {
                let kind = if is_int(index) { "int" } else { "string" };
                format!("<param><value><{kind}>{text}</{kind}></value></param>")
            })
            .collect();
        let xml = format!(
            "<methodCall><methodName>file.{method}</methodName><params>{xml}</params></methodCall>"
        );
        let json: Vec<String> = params
            .iter()
            .enumerate()
            .map(|(index, text)| if is_int(index) { text.clone() } else { format!("{text:?}") })
            .collect();
        let json = format!(
            r#"{{"jsonrpc":"2.0","method":"file.{method}","params":[{}],"id":1}}"#,
            json.join(",")
        );
        let names = match method {
            "find" => vec!["path", "pattern"],
            "read" => vec!["path", "offset", "length"],
            _ => vec!["path"],
        };
        let arguments: String = names
            .iter()
            .zip(&params)
            .map(|(name, text)| format!("<f:{name}>{text}</f:{name}>"))
            .collect();
        let soap = format!("<f:{method} xmlns:f=\"urn:nesssi:file\">{arguments}</f:{method}>");
        let raw = if method == "read" { "234" } else { expected };
        for (kind, body, expected) in [
            ("text/xml", &xml, raw),
            (JSON, &json, expected),
            ("text/xml", &soap_11(&soap), expected),
            (SOAP_12, &soap_12(&soap), expected),
        ] {
            let answer = post(&world, alice, kind, body);
            assert_eq!(answer.status, 200, "{method} {kind}: {}", answer.text);
            assert!(answer.text.contains(expected), "{method} {kind}: {}", answer.text);
        }
    }
    let yes = Ok(Value::Bool(true));
    assert_eq!(file(&world, alice, "mkdir", &[&at("/new")]), yes);
    assert_eq!(file(&world, alice, "rename", &[&at("/a.dat"), &at("/new/c.dat")]), yes);
    assert!(file(&world, alice, "mkdir", &[&at("/new")]).unwrap_err().starts_with("409: "));
    let taken = file(&world, alice, "rename", &[&at("/d/b.dat"), &at("/new/c.dat")]);
    assert!(taken.unwrap_err().starts_with("409: "));
    let full = file(&world, alice, "remove", &[&at("/new")]);
    assert_eq!(full, Err("409: the directory is not empty".to_owned()));
    let recursive = vec![Value::from(at("/new")), Value::Bool(true)];
    assert_eq!(world.call(alice, "file.remove", recursive).map_err(told), yes);
    assert_eq!(file(&world, alice, "remove", &[&at("/d/b.dat")]), yes);
    let left = names(&file(&world, alice, "ls", &[&at("")]).unwrap(), "name");
    assert_eq!(left, ["d", "stderr", "stdout"]);
    let top = names(&file(&world, alice, "ls", &["/"]).unwrap(), "name");
    assert_eq!(top, [session]);
}

#[test]
fn a_read_in_xml_rpc_is_the_bytes_as_they_are() {
    let world = world();
    let session = ran(&world, None, "seq 1 200000 > numbers.txt; printf '<a/>' > answer.xml");
    let whole: String = (1..=200_000).fold(String::new(), |text, n| text + &format!("{n}\n"));
    let path = format!("{session}/numbers.txt");
    let answer = read(&world, None, &path, 0, -1);
    assert_eq!((answer.status, answer.body.len()), (200, whole.len()));
    assert!(answer.body == whole.as_bytes());
    assert_eq!(answer.headers["content-length"], whole.len().to_string());
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    let end = i64::try_from(whole.len()).unwrap();
    for (offset, length, expected) in
        [(0, 4, "1\n2\n"), (end - 7, -1, "200000\n"), (end - 7, 100, "200000\n"), (end + 1, 5, "")]
    {
        let answer = read(&world, None, &path, offset, length);
        assert_eq!(answer.text(), expected, "{offset} {length}");
    }
    assert_eq!(
        read(&world, None, &format!("{session}/answer.xml"), 0, -1).headers["content-type"],
        "application/xml"
    );
    for absent in ["absent", ".nesssi/record", "../x", "numbers.txt/x"] {
        let answer = read(&world, None, &format!("{session}/{absent}"), 0, -1);
        assert_eq!(answer.headers["content-type"], "text/xml; charset=utf-8");
        assert!(answer.text().contains("<int>404</int>"), "{absent}: {}", answer.text());
    }
}

#[test]
fn a_hundred_mebibytes_go_up_and_down_with_flat_memory() {
    let mut world = world();
    let session = ran(&world, Some(&world.alice), "true");
    let small = put(&world, Some(&world.alice), &format!("{session}/small"), b"warm");
    assert_eq!(small.status, 201, "{}", small.text());
    let monitor = world.server().pid();
    let gatekeeper = below(monitor, GATEKEEPER)[0];
    let peak = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{gatekeeper}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = peak();
    let length = usize::try_from(100 * MIB).unwrap();
    let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
    let target = format!("/clarens/{session}/large.bin");
    let alice = Some(&world.alice);
    for (chunks, status) in [(false, 201), (true, 200)] {
        let request = Request {
            who: alice,
            method: "PUT",
            target: &target,
            headers: &[],
            body: &bytes,
            chunks,
        };
        let answer = ask(&world, &request);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(&format!("<int>{length}</int>")), "{}", answer.text());
    }
    let path = format!("/{session}/large.bin");
    assert!(read(&world, alice, &path, 0, -1).body == bytes);
    let get = Request {
        who: None,
        method: "GET",
        target: &target,
        headers: &[],
        body: b"",
        chunks: false,
    };
    assert!(ask(&world, &get).body == bytes);
    let mut sum = Command::new("/usr/bin/sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sum.stdin.take().unwrap().write_all(&bytes).unwrap();
    let mut expected = String::new();
    sum.stdout.take().unwrap().read_to_string(&mut expected).unwrap();
    sum.wait().unwrap();
    let sha256 = file(&world, alice, "sha256", &[&path]).unwrap();
    assert_eq!(sha256.as_str(), expected.split_whitespace().next());
    let grown = peak().saturating_sub(before);
    assert!(grown < 24 * 1024, "the gatekeeper has grown by {grown} KiB");
    // Nobody else's, with a mode that says so.
    if is_root() {
        let account = world.path().join("sandboxes").join(&world.accounts.strong);
        let facts = fs::metadata(account.join(&session).join("large.bin")).unwrap();
        assert_eq!(facts.permissions().mode() & 0o022, 0);
    }
}

#[test]
fn an_upload_that_breaks_leaves_nothing_and_can_be_sent_again() {
    let world = world();
    let alice = Some(&world.alice);
    let session = ran(&world, alice, "true");
    let target = format!("/clarens/{session}/data");
    let mut broken = python(&world, BREAK, alice);
    let mut broken = broken.args([&target, "3000000"]).stdin(Stdio::piped()).spawn().unwrap();
    let account = world.path().join("sandboxes").join(&world.accounts.strong);
    let bytes_under = || bytes_in(&account);
    wait_until("some of it is written", 30, || (bytes_under() > 1_000_000).then_some(()));
    let listed = names(&file(&world, alice, "ls", &[&session]).unwrap(), "name");
    assert_eq!(listed, ["stderr", "stdout"], "half a file is seen");
    broken.kill().unwrap();
    broken.wait().unwrap();
    wait_until("nothing of it is left", 30, || (bytes_under() < 1_000_000).then_some(()));
    let whole = put(&world, alice, &format!("{session}/data"), &[b'y'; 3_000_000]);
    assert_eq!(whole.status, 201, "{}", whole.text());
    let kept = Request {
        who: alice,
        method: "PUT",
        target: &target,
        headers: &["If-None-Match: *"],
        body: b"new",
        chunks: false,
    };
    assert_eq!(ask(&world, &kept).status, 412);
    assert_eq!(
        file(&world, alice, "size", &[&format!("{session}/data")]),
        Ok(Value::Int(3_000_000))
    );
}

#[test]
fn an_upload_outlives_the_gatekeeper_that_has_begun_it() {
    let mut world = world();
    let session = ran(&world, Some(&world.alice), "true");
    let monitor = world.server().pid();
    let old = below(monitor, GATEKEEPER)[0];
    let target = format!("/clarens/{session}/data");
    let mut upload = python(&world, PAUSE, Some(&world.alice));
    upload.arg(&target).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut upload = upload.spawn().unwrap();
    let account = world.path().join("sandboxes").join(&world.accounts.strong);
    wait_until("some of it is written", 30, || (bytes_in(&account) > 500_000).then_some(()));
    let (good, text) = restart(&world, &["restart"]);
    assert!(good, "{text}");
    wait_until("another gatekeeper serves", 60, || {
        below(monitor, GATEKEEPER).iter().any(|pid| *pid != old).then_some(())
    });
    assert!(file(&world, Some(&world.alice), "ls", &[&session]).is_ok());
    upload.stdin.take().unwrap().write_all(b"x").unwrap();
    let mut answer = String::new();
    upload.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    upload.wait().unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let size = file(&world, Some(&world.alice), "size", &[&format!("{session}/data")]);
    assert_eq!(size, Ok(Value::Int(1_000_000)));
    let verify = Command::new(world.program("nesssi-admin"))
        .args(["audit", "verify", "--config"])
        .arg(&world.config)
        .output()
        .unwrap();
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stderr));
}

/// All bytes of files below a folder, hidden ones too.
fn bytes_in(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(facts) if facts.is_dir() => bytes_in(&entry.path()),
        Ok(facts) => facts.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

#[test]
fn uploads_are_bounded_by_what_the_level_allows_a_sandbox() {
    let world = World::builder()
        .key("job", "submit_levels = [\"strong\"]")
        .level("strong", "sandbox_bytes = 1000000")
        .start();
    let alice = Some(&world.alice);
    let session = ran(&world, alice, "true");
    let target = format!("/clarens/{session}/a");
    let send = |target: &str, bytes: usize, chunks| {
        let body = vec![b'x'; bytes];
        let headers: &[&str] = &[];
        ask(&world, &Request { who: alice, method: "PUT", target, headers, body: &body, chunks })
    };
    for chunks in [false, true] {
        let over = send(&target, 1_000_001, chunks);
        assert_eq!(over.status, 413, "{}", over.text());
        assert!(over.text().contains("level strong allows 1000000"), "{}", over.text());
    }
    assert_eq!(send(&target, 600_000, false).status, 201);
    // The sandbox as a whole has no room for another one.
    let second = send(&format!("/clarens/{session}/b"), 600_000, true);
    assert_eq!(second.status, 413, "{}", second.text());
    assert!(file(&world, alice, "size", &[&format!("{session}/b")]).is_err());
    assert_eq!(send(&format!("/clarens/{session}/c"), 100_000, true).status, 201);
}

#[test]
fn only_the_owner_writes_and_not_with_a_limited_proxy_nor_after_the_end() {
    let world = World::builder()
        .key("job", "submit_levels = [\"strong\", \"anonymous\"]")
        .level("anonymous", "retention_seconds = 3")
        .start();
    let alice = Some(&world.alice);
    let session = ran(&world, alice, "echo x > mine");
    let path = &*format!("{session}/mine");
    let limited = world.grid.proxy(&world.alice, ProxyPolicy::Limited);
    for (who, status) in
        [(Some(&world.bob), 404), (Some(&world.wendy), 404), (None, 404), (Some(&limited), 403)]
    {
        let refused = put(&world, who, path, b"changed");
        assert_eq!(refused.status, status, "{}", refused.text());
        assert!(refused.text().contains(&format!("<int>{status}</int>")), "{}", refused.text());
        for (method, params) in
            [("mkdir", vec![path]), ("remove", vec![path]), ("rename", vec![path, path])]
        {
            let told = file(&world, who, method, &params).unwrap_err();
            assert!(told.starts_with(&format!("{status}: ")), "{method}: {told}");
        }
        // All of them hold the id, and read.
        assert_eq!(read(&world, who, path, 0, -1).text(), "x\n");
    }
    let full = world.grid.proxy(&world.alice, ProxyPolicy::InheritAll);
    assert_eq!(put(&world, Some(&full), path, b"changed").status, 200);
    let expired = world.grid.expired("Alice");
    assert_eq!(put(&world, Some(&expired), path, b"again").status, 403);
    let hostile = Request {
        who: alice,
        method: "PUT",
        target: &format!("/clarens/{path}"),
        headers: &["Origin: https://evil.example"],
        body: b"again",
        chunks: false,
    };
    assert_eq!(ask(&world, &hostile).status, 403);
    assert_eq!(read(&world, None, path, 0, -1).text(), "changed");

    let passing = ran(&world, None, "true");
    assert_eq!(put(&world, None, &format!("{passing}/a"), b"x").status, 201);
    wait_until("its time is over", 60, || {
        (put(&world, None, &format!("{passing}/a"), b"x").status == 404).then_some(())
    });
    let audit = fs::read_to_string(world.path().join("state/gatekeeper/audit.jsonl")).unwrap();
    assert!(
        audit.contains("\"act\":\"write\",\"path\":\"mine\",\"code\":0,\"bytes\":7"),
        "{audit}"
    );
    for log in ["log/access.log", "nesssid.log", "state/gatekeeper/audit.jsonl"] {
        let text = fs::read_to_string(world.path().join(log)).unwrap();
        assert!(!text.contains(&session) && !text.contains(&passing), "{log} holds a whole id");
    }
}

#[test]
fn trees_are_read_as_the_caller_may_and_his_account_can() {
    let world = World::builder()
        .tree("data", "allow = [\"/O=NESSSI Test/CN=Alice\", \"/O=NESSSI Test/CN=Bob\"]\nlevels = [\"strong\"]")
        .tree("open", "anonymous = true")
        .tree("closed", "")
        .start();
    let data = world.path().join("trees/data");
    fs::create_dir(data.join("2026")).unwrap();
    fs::write(data.join("2026/run1.root"), "0123456789").unwrap();
    fs::write(data.join(".hidden"), "secret").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", data.join("passwd")).unwrap();
    std::os::unix::fs::symlink("2026", data.join("link")).unwrap();
    fs::write(world.path().join("trees/open/readme"), "hello").unwrap();
    let (alice, bob) = (Some(&world.alice), Some(&world.bob));
    let list = file(&world, alice, "ls", &["/data"]).unwrap();
    assert_eq!(names(&list, "name"), ["2026"]);
    let found = file(&world, alice, "find", &["/data", "*.root"]).unwrap();
    assert_eq!(names(&found, "path"), ["/data/2026/run1.root"]);
    assert_eq!(read(&world, alice, "/data/2026/run1.root", 3, 4).text(), "3456");
    assert_eq!(file(&world, alice, "size", &["data/2026/run1.root"]), Ok(Value::Int(10)));
    for gone in [
        "/data/.hidden",
        "/data/passwd",
        "/data/link/run1.root",
        "/data/../open/readme",
        "/data//2026",
        "/none/x",
    ] {
        let told = file(&world, alice, "stat", &[gone]).unwrap_err();
        assert!(told.starts_with("404: "), "{gone}: {told}");
    }
    let told = file(&world, Some(&world.wendy), "ls", &["/data"]).unwrap_err();
    assert!(told.starts_with("403: the access list of this tree does not admit"), "{told}");
    let told = file(&world, None, "ls", &["/data"]).unwrap_err();
    assert_eq!(told, "401: this tree needs a certificate");
    assert!(file(&world, alice, "ls", &["/closed"]).unwrap_err().starts_with("403: "));
    assert_eq!(read(&world, None, "/open/readme", 0, -1).text(), "hello");
    assert_eq!(names(&file(&world, None, "ls", &["/"]).unwrap(), "name"), ["open"]);
    assert_eq!(names(&file(&world, alice, "ls", &["/"]).unwrap(), "name"), ["data", "open"]);
    // Nothing in it is changed, by whatever way.
    for (method, params) in [
        ("mkdir", vec!["/data/x"]),
        ("remove", vec!["/data/2026/run1.root"]),
        ("rename", vec!["/open/readme", "/open/other"]),
    ] {
        assert!(file(&world, alice, method, &params).unwrap_err().starts_with("403: "), "{method}");
    }
    assert_eq!(put(&world, alice, "data/x", b"x").status, 404);
    if !is_root() {
        return skipped("needs two accounts");
    }
    fs::write(data.join("bobs"), "his").unwrap();
    fs::set_permissions(data.join("bobs"), fs::Permissions::from_mode(0o400)).unwrap();
    let chown = Command::new("/usr/bin/chown")
        .arg(&world.accounts.other)
        .arg(data.join("bobs"))
        .status()
        .unwrap();
    assert!(chown.success());
    assert_eq!(read(&world, bob, "/data/bobs", 0, -1).text(), "his");
    let refused = read(&world, alice, "/data/bobs", 0, -1).text();
    assert!(refused.contains("<int>403</int>"), "{refused}");
}

#[test]
fn a_tree_opens_and_closes_with_the_configuration() {
    let world = World::builder().tree("data", "allow = [\"/O=NESSSI Test/CN=Alice\"]").start();
    let bob = Some(&world.bob);
    assert!(file(&world, bob, "ls", &["/data"]).is_err());
    let text = fs::read_to_string(&world.config).unwrap();
    world.replace("nesssi.toml", &text.replace("CN=Alice\"]", "CN=Bob\"]"));
    wait_until("the new list is in force", 30, || file(&world, bob, "ls", &["/data"]).ok());
    assert!(file(&world, Some(&world.alice), "ls", &["/data"]).is_err());
}

#[test]
fn names_of_any_bytes_are_listed_read_and_written() {
    let world = world();
    let alice = Some(&world.alice);
    let script = r#"printf 1 > '<b>&"'"'"; printf 2 > "$(printf 'new\nline')"; printf 3 > "$(printf '\377')"; printf 4 > -rf; printf 5 > 'a%2fb'; printf 6 > 'ü *?[x]'"#;
    let session = ran(&world, alice, script);
    let Value::Array(entries) = file(&world, alice, "ls", &[&session]).unwrap() else { panic!() };
    let mut seen = Vec::new();
    for entry in entries {
        let name = match entry.member("name").unwrap() {
            Value::String(text) => text.clone().into_bytes(),
            Value::Binary(bytes) => bytes.clone(),
            other => panic!("{other:?}"),
        };
        let path = [format!("/{session}/").as_bytes(), &name].concat();
        let params = vec![Value::Binary(path)];
        let md5 = world.call(alice, "file.md5", params).unwrap();
        assert_eq!(md5.as_str().unwrap().len(), 32);
        seen.push(name);
    }
    for name in [&b"<b>&\"'"[..], b"new\nline", b"\xff", b"-rf", b"a%2fb", "ü *?[x]".as_bytes()] {
        assert!(seen.iter().any(|one| one == name), "{}", String::from_utf8_lossy(name));
    }
    for (target, name) in [
        ("%ff%fe", &b"\xff\xfe"[..]),
        ("%3Cscript%3E", b"<script>"),
        ("a%25b", b"a%b"),
        ("a%0Ab", b"a\nb"),
    ] {
        let answer = put(&world, alice, &format!("{session}/{target}"), b"x");
        assert_eq!(answer.status, 201, "{target}: {}", answer.text());
        if is_root() {
            let account = world.path().join("sandboxes").join(&world.accounts.strong);
            let path = account.join(&session).join(std::ffi::OsStr::from_bytes(name));
            assert_eq!(fs::read(path).unwrap(), b"x", "{target}");
        }
    }
    for target in [
        "",
        "/",
        "/.x",
        "/..",
        "/../x",
        "/%2e%2e/x",
        "/a%2fb",
        "/a%00b",
        "//x",
        "/absent/x",
        "/x/",
        "/stdout/x",
    ] {
        let answer = put(&world, alice, &format!("{session}{target}"), b"x");
        assert_eq!(answer.status, 404, "{target}: {}", answer.text());
    }
}
