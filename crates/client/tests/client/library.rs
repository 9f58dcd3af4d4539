//! The library `nesssi_client`.

use nesssi_client::{
    Builder, CallOptions, Client, CredentialSearch, Downloaded, Error, Fault, FaultCode, JobFilter,
    Progress, SetupError, State, Tag, TransportError, Value,
};

use crate::server::{BIG, FAILING, RESUMED, RUNNING, SESSION, Server};

/// A client that finds nothing but what it is told.
fn builder(server: &Server) -> Builder {
    let search =
        CredentialSearch { proxies: server.folder().to_owned(), ..CredentialSearch::default() };
    Client::builder(&server.url).search(search).ca(server.file("ca.pem"))
}

fn guest(server: &Server) -> Client {
    builder(server).guest(true).build().unwrap()
}

#[tokio::test]
async fn a_call_carries_its_parameters_and_its_result() {
    let server = Server::start();
    let params = vec![
        Value::Int(-3),
        Value::from("a<b>&\u{1F600}\r\n"),
        Value::Binary(vec![0, 255]),
        Value::Nil,
    ];
    let value = guest(&server).call("echo.echo", params.clone()).await.unwrap();
    assert_eq!(value, Value::Array(params));
}

#[tokio::test]
async fn the_certificate_is_shown_unless_the_caller_is_a_guest() {
    let server = Server::start();
    let certified = async |client: Client| client.call("test.certified", vec![]).await.unwrap();
    assert_eq!(certified(guest(&server)).await, Value::Bool(false));
    let with_key =
        builder(&server).certificate(server.file("user.pem")).key(server.file("user.key"));
    assert_eq!(certified(with_key.clone().build().unwrap()).await, Value::Bool(true));
    assert_eq!(certified(with_key.guest(true).build().unwrap()).await, Value::Bool(false));
    let proxy = builder(&server).certificate(server.file("proxy.pem"));
    assert_eq!(certified(proxy.build().unwrap()).await, Value::Bool(true));
}

#[tokio::test]
async fn without_a_credential_nobody_becomes_a_guest_by_accident() {
    let server = Server::start();
    let error = builder(&server).build().unwrap_err();
    assert!(matches!(error, SetupError::NoCredential { .. }), "{error}");
}

#[tokio::test]
async fn faults_are_told_apart_from_what_happens_on_the_way() {
    let server = Server::start();
    let client = guest(&server);
    let fault = async |method: &str| match client.call(method, vec![]).await.unwrap_err() {
        Error::Fault(fault) => fault,
        other => panic!("{method}: {other}"),
    };
    let over = fault("test.limit").await;
    assert_eq!(over.code, FaultCode::OverLimit);
    assert!(over.text.starts_with("asked for 999999"), "{over}");
    assert_eq!(fault("nobody.answers").await.code, FaultCode::NoSuchMethod);
    // A fault is a fault whatever the status says.
    assert_eq!(fault("test.fault_as_403").await, Fault::refused("certificate /CN=x expired"));

    let transport = async |method: &str| match client.call(method, vec![]).await.unwrap_err() {
        Error::Transport(error) => error,
        other => panic!("{method}: {other}"),
    };
    let html = transport("test.html").await;
    assert!(
        matches!(html, TransportError::Status { status: http::StatusCode::BAD_GATEWAY, .. }),
        "{html}"
    );
    let garbage = transport("test.garbage").await;
    assert!(matches!(garbage, TransportError::Answer { .. }), "{garbage}");
}

#[tokio::test]
async fn connections_are_kept_and_replaced() {
    let server = Server::start();
    let client = guest(&server);
    for _ in 0..3 {
        assert_eq!(client.clone().call("test.connection", vec![]).await.unwrap(), Value::Int(1));
    }
    // A fault is an answer like any other: the connection stays.
    client.call("test.limit", vec![]).await.unwrap_err();
    assert_eq!(server.connections(), 1);
    for expected in [2, 3] {
        server.close_connections().await;
        let value = client.call("test.connection", vec![]).await.unwrap();
        assert_eq!(value, Value::Int(expected));
    }
}

#[tokio::test]
async fn without_tags_a_call_that_may_have_run_is_not_sent_again() {
    let server = Server::start();
    let client = builder(&server).guest(true).tags(false).build().unwrap();
    client.call("echo.echo", vec![]).await.unwrap();
    let error = client.call("test.break", vec![]).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Http { .. })), "{error}");
    assert_eq!(server.calls(), ["echo.echo", "test.break"]);
    assert_eq!(server.tags(), [None, None]);
    client.call("echo.echo", vec![]).await.unwrap();
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_sent_again_with_its_tag() {
    let server = Server::start();
    let client = guest(&server);
    let answer = client.ask("test.break_twice", vec![]).await.unwrap();
    assert_eq!((answer.value, answer.again), (Value::Int(7), true));
    let tag = answer.tag.unwrap();
    assert_eq!(server.tags(), vec![Some(tag.as_str().to_owned()); 3]);
    // A call of its own has a tag of its own; what only reads has none.
    let other = client.ask("test.session", vec![]).await.unwrap();
    assert!(!other.again && other.tag != Some(tag));
    assert_eq!(client.ask("echo.echo", vec![]).await.unwrap().tag, None);
    let named = CallOptions { tag: Some(Tag::parse("run-7").unwrap()), ..CallOptions::default() };
    client.ask_with("test.session", vec![], named).await.unwrap();
    assert_eq!(server.tags().last().unwrap().as_deref(), Some("run-7"));
}

#[tokio::test]
async fn what_is_read_of_a_file_is_told_from_an_answer_by_its_type() {
    let server = Server::start();
    let client = guest(&server);
    let read = async |path: &str| {
        let params = vec![Value::from(path), Value::Int(0), Value::Int(-1)];
        client.call("file.read", params).await
    };
    for (path, bytes) in
        [("/x.xml", &b"<methodResponse/>"[..]), ("/text", b"seven\n"), ("/bytes", b"\xff\x00")]
    {
        assert_eq!(read(path).await.unwrap(), Value::Binary(bytes.to_vec()), "{path}");
    }
    let absent = read("/absent").await.unwrap_err();
    assert!(matches!(absent, Error::Fault(fault) if fault.code == FaultCode::NotFound));
}

#[tokio::test]
async fn a_tag_among_the_parameters_is_the_only_one() {
    let server = Server::start();
    let client = guest(&server);
    let own = |tag: Value| vec![Value::Int(1), Value::record([("nesssi_client_tag", tag)])];
    let answer = client.ask("test.break_twice", own("run-7".into())).await.unwrap();
    assert_eq!(answer.tag, Some(Tag::parse("run-7").unwrap()));
    // It makes the call as safe to send again as the header does, and no header goes beside it.
    assert_eq!(server.tags(), [None, None, None]);
    let two = CallOptions { tag: Some(Tag::parse("run-8").unwrap()), ..CallOptions::default() };
    let wrong = client.ask_with("test.session", own("run-7".into()), two.clone()).await;
    assert!(wrong.unwrap_err().to_string().contains("two tags"));
    for bad in [Value::Int(7), "".into(), "a b".into()] {
        let wrong = client.ask("test.session", own(bad)).await.unwrap_err();
        assert!(matches!(wrong, Error::Setup(SetupError::Parameters(_))), "{wrong}");
    }
    let calls = || vec![Value::Array(Vec::new())];
    let wrong = client.ask_with("system.multicall", calls(), two).await.unwrap_err();
    assert!(matches!(wrong, Error::Setup(SetupError::Parameters(_))), "{wrong}");
    client.call("system.multicall", calls()).await.unwrap_err();
    assert_eq!(server.tags().len(), 4, "what is wrong is not sent");
    assert_eq!(server.tags().last(), Some(&None));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_and_not_for_ever() {
    let server = Server::start();
    let client = guest(&server);
    assert_eq!(client.call("test.busy_once", vec![]).await.unwrap(), Value::Bool(true));
    client.call("test.break", vec![]).await.unwrap_err();
    assert_eq!(server.calls().iter().filter(|method| *method == "test.break").count(), 5);
}

#[tokio::test]
async fn parameters_and_results_are_types_of_the_callers() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Star {
        name: String,
        magnitude: Option<f64>,
    }
    let server = Server::start();
    let client = guest(&server);
    let star = Star { name: "M31".to_owned(), magnitude: Some(3.4) };
    let (back, number): (Star, i64) = client.call_as("echo.echo", &(&star, 5)).await.unwrap();
    assert_eq!((back, number), (star, 5));
    let wrong = client.call_as::<Vec<Star>>("echo.echo", &(1,)).await.unwrap_err();
    assert!(wrong.to_string().contains("echo.echo: [0]: invalid type"), "{wrong}");
}

#[tokio::test]
async fn a_job_is_waited_for_while_its_server_is_replaced() {
    let server = Server::start();
    let session = guest(&server).session(SESSION);
    let mut seen = Vec::new();
    let status = session.wait(None, |status| seen.push(status.state)).await.unwrap();
    assert_eq!(status.state, State::Done);
    assert_eq!(status.cpu_seconds, Some(1.5));
    assert_eq!(seen, [State::Running, State::Running, State::Done]);
    let running = guest(&server).session(RUNNING);
    let status = running.wait(Some(0), |_| ()).await.unwrap();
    assert!(!status.state.has_ended());
    let unknown = guest(&server).session("ffffffffffffffffffffffffffffffff");
    assert!(matches!(unknown.wait(None, |_| ()).await, Err(Error::Fault(_))));
}

#[tokio::test]
async fn sessions_are_made_listed_kept_and_removed() {
    let server = Server::start();
    let client = guest(&server);
    let session = client.submit(&["/bin/false".to_owned()], 2.0).await.unwrap();
    assert_eq!(session.id(), FAILING);
    assert_eq!(session.wait(None, |_| ()).await.unwrap().exit_code, Some(7));
    let session = client.prepare(None).await.unwrap();
    session.submit(&["/bin/true".to_owned()], 1.0).await.unwrap();
    assert_eq!(session.cancel().await.unwrap(), "cancelled");
    assert_eq!(session.extend(60).await.unwrap().year, 2030);
    session.destroy().await.unwrap();
    assert_eq!(client.start("test.session", vec![]).await.unwrap().id(), SESSION);
    let none = client.start("echo.echo", vec![]).await.unwrap_err();
    assert!(none.to_string().contains("no session"), "{none}");
    let filter = JobFilter { state: vec![State::Done], limit: Some(3), ..JobFilter::default() };
    let jobs = client.jobs(&filter).await.unwrap();
    assert_eq!(jobs[0].session.as_deref(), Some(SESSION));
    let asked = Value::record([
        ("state", Value::Array(vec![Value::from("done")])),
        ("limit", Value::Int(3)),
    ]);
    assert_eq!(jobs[0].other["filter"], Value::Array(vec![asked]));
    let all = client.jobs(&JobFilter::default()).await.unwrap();
    assert_eq!(all[0].other["filter"], Value::Array(vec![]));
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let server = Server::start();
    let session = guest(&server).session(SESSION);
    let to = server.folder().join("fetched");
    let mut seen = Vec::new();
    let mut progress = |progress: &Progress| seen.push((progress.bytes, progress.of));
    let done = session.download("resumed", &to, &mut progress).await.unwrap();
    assert_eq!(std::fs::read_to_string(&to).unwrap(), RESUMED);
    assert_eq!(done, Downloaded { bytes: 10, resumed_from: 0 });
    assert!(seen.is_sorted() && seen.contains(&(5, Some(10))), "{seen:?}");
    // An attempt of another day.
    std::fs::write(server.folder().join("later.nesssi-part"), "012").unwrap();
    std::fs::write(server.folder().join("later.nesssi-part-version"), "\"v1\"").unwrap();
    let later = server.folder().join("later");
    let done = session.download("resumed", &later, &mut |_| ()).await.unwrap();
    assert_eq!(done, Downloaded { bytes: 10, resumed_from: 3 });
    assert_eq!(std::fs::read_to_string(&later).unwrap(), RESUMED);
    // Of another version: all of it anew.
    std::fs::write(server.folder().join("stale.nesssi-part"), "abcdefghijkl").unwrap();
    std::fs::write(server.folder().join("stale.nesssi-part-version"), "\"v0\"").unwrap();
    let stale = server.folder().join("stale");
    let done = session.download("resumed", &stale, &mut |_| ()).await.unwrap();
    assert_eq!(done.resumed_from, 0);
    assert_eq!(std::fs::read_to_string(&stale).unwrap(), RESUMED);
    let absent = session.download("absent", &server.folder().join("x"), &mut |_| ()).await;
    assert!(matches!(absent, Err(Error::Fault(_))));
}

#[tokio::test]
async fn of_a_whole_sandbox_no_name_leads_out_of_the_directory() {
    let server = Server::start();
    let session = guest(&server).session(SESSION);
    let to = server.folder().join("inner/to");
    std::fs::create_dir(server.folder().join("inner")).unwrap();
    let fetched = session.download_all("evil", &to, &mut |_| ()).await.unwrap();
    assert_eq!((fetched.files, fetched.refused.len()), (2, 5), "{fetched:?}");
    let names = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&to), ["deep", "good"]);
    assert_eq!(names(&to.join("deep")), ["x"]);
    assert_eq!(names(&server.folder().join("inner")), ["to"]);
    // What is there with its size and time is not fetched again.
    assert_eq!(session.download_all("evil", &to, &mut |_| ()).await.unwrap().kept, 1);
    // A link where a directory should be leads elsewhere.
    std::fs::remove_dir_all(to.join("deep")).unwrap();
    std::os::unix::fs::symlink(server.folder(), to.join("deep")).unwrap();
    assert!(session.download_all("evil", &to, &mut |_| ()).await.is_err());
    assert!(!server.folder().join("x").exists());
}

#[tokio::test]
async fn files_are_put() {
    let server = Server::start();
    let session = guest(&server).session(SESSION);
    let from = server.folder().join("data");
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(&from, &bytes).unwrap();
    let mut last = None;
    let mut progress = |progress: &Progress| last = Some(progress.clone());
    assert_eq!(session.upload(&from, "in/a b", &mut progress).await.unwrap(), 200_000);
    assert_eq!(server.put(), [(format!("{SESSION}/in/a%20b"), bytes)]);
    assert_eq!(last.unwrap().bytes, 200_000);
    for wrong in ["", "/", "../x"] {
        let error = session.upload(&from, wrong, &mut |_| ()).await.unwrap_err();
        assert!(matches!(error, Error::Setup(SetupError::SandboxPath(_))), "{error}");
    }
    let other = guest(&server).session(RUNNING).upload(&from, "x", &mut |_| ()).await;
    assert!(matches!(other, Err(Error::Fault(fault)) if fault.code == FaultCode::NotFound));
}

#[tokio::test]
async fn a_followed_file_goes_on_over_a_lost_connection() {
    let server = Server::start();
    let mut tail = guest(&server).session(SESSION).tail("growing", None, true).await.unwrap();
    let mut text = Vec::new();
    while text.len() < 8 {
        text.extend_from_slice(&tail.chunk().await.unwrap().unwrap());
    }
    assert_eq!((text.as_slice(), tail.offset()), (&b"one\ntwo\n"[..], 8));
}

#[tokio::test]
async fn a_call_has_a_deadline() {
    let server = Server::start();
    let client = builder(&server).guest(true).call_seconds_max(1).build().unwrap();
    let error = client.call("test.never", vec![]).await.unwrap_err();
    assert!(
        matches!(error, Error::Transport(TransportError::Deadline { seconds: 1, .. })),
        "{error}"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_not() {
    let server = Server::start();
    let client = guest(&server);
    for (method, value) in [
        ("a b", Value::Nil),
        ("echo.echo", Value::from("\0")),
        ("echo.echo", Value::Double(f64::NAN)),
    ] {
        let error = client.call(method, vec![value]).await.unwrap_err();
        assert!(matches!(error, Error::Setup(_)), "{error}");
    }
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_nothing() {
    let (server, other) = (Server::start(), Server::start());
    let strangers_ca = builder(&server).ca(other.file("ca.pem")).guest(true).build().unwrap();
    let error = strangers_ca.call("echo.echo", vec![]).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Handshake { .. })), "{error}");

    let wrong_name = Client::builder(server.url.replace("localhost", "127.0.0.1"));
    let wrong_name = wrong_name.ca(server.file("ca.pem")).guest(true).build().unwrap();
    let error = wrong_name.call("echo.echo", vec![]).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Handshake { .. })), "{error}");
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn nobody_at_the_address_is_told_so() {
    let server = Server::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::builder(format!("https://localhost:{}/", free.port()));
    let client = client.ca(server.file("ca.pem")).guest(true).build().unwrap();
    let error = client.call("echo.echo", vec![]).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Connect { .. })), "{error}");
}

#[tokio::test]
async fn an_answer_says_which_session_it_made() {
    let server = Server::start();
    let client = guest(&server);
    let answer = client.ask("test.session", vec![]).await.unwrap();
    assert_eq!(answer.value, Value::from(SESSION));
    assert_eq!(answer.session_url, Some(format!("{}/sandboxes/{SESSION}/", server.files_url)));
    assert_eq!(client.ask("echo.echo", vec![]).await.unwrap().session_url, None);
}

#[tokio::test]
async fn directories_are_listed() {
    let server = Server::start();
    let client = guest(&server);
    let listing = client.list(SESSION, "").await.unwrap();
    let shown: Vec<_> =
        listing.entries.iter().map(|e| (e.name.as_str(), e.directory, e.size)).collect();
    assert_eq!(shown, [("sub", true, 0), ("stdout", false, 10)]);
    assert!(listing.cut);
    assert!(client.list(SESSION, "sub").await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn files_are_streamed() {
    let server = Server::start();
    let client = guest(&server);
    let mut big = client.open(SESSION, "big", false).await.unwrap();
    assert_eq!(big.length, Some(u64::try_from(BIG).unwrap()));
    let (mut bytes, mut pieces) = (0, 0);
    while let Some(piece) = big.chunk().await.unwrap() {
        bytes += piece.len();
        pieces += 1;
    }
    assert_eq!(bytes, BIG);
    assert!(pieces > 1, "read in one piece of {bytes} bytes");
}

#[tokio::test]
async fn what_is_not_there_is_a_fault_404() {
    let server = Server::start();
    let client = guest(&server);
    let not_found = |error: Error| match error {
        Error::Fault(fault) => assert_eq!(fault.code, FaultCode::NotFound),
        other => panic!("{other}"),
    };
    not_found(client.open(SESSION, "absent", false).await.unwrap_err());
    not_found(client.open("ffffffffffffffffffffffffffffffff", "stdout", false).await.unwrap_err());
    not_found(client.list(SESSION, "stdout").await.unwrap_err());
    let climbing = client.open(SESSION, "../x", false).await.unwrap_err();
    assert!(matches!(climbing, Error::Setup(SetupError::SandboxPath(_))), "{climbing}");
}

#[tokio::test]
async fn addresses_that_lead_elsewhere_are_not_followed() {
    let server = Server::start();
    let client = guest(&server);
    let moved = client.open("moved", "stdout", false).await.unwrap_err();
    assert!(matches!(moved, Error::Transport(TransportError::Status { .. })), "{moved}");
    let odd = client.open("odd", "passwd", false).await.unwrap_err();
    assert!(matches!(odd, Error::Setup(SetupError::Url { .. })), "{odd}");
}
