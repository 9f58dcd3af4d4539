//! The library `nesssi_client`.

use nesssi_client::{
    Builder, Client, CredentialSearch, Error, Fault, FaultCode, SetupError, TransportError, Value,
};

use crate::server::{BIG, SESSION, Server};

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
async fn a_call_that_may_have_run_is_not_sent_again() {
    let server = Server::start();
    let client = guest(&server);
    client.call("echo.echo", vec![]).await.unwrap();
    let error = client.call("test.break", vec![]).await.unwrap_err();
    assert!(matches!(error, Error::Transport(TransportError::Http { .. })), "{error}");
    assert_eq!(server.calls(), ["echo.echo", "test.break"]);
    client.call("echo.echo", vec![]).await.unwrap();
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
