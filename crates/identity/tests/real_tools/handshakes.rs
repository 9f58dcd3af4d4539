//! Other people's TLS stacks offer proxies to the verifier: the identity comes out.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nesssi_identity::tls::ClientVerifier;
use nesssi_identity::{Peer, TrustDirectory, judge_peer};
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::grid::{Grid, has, now, text};

/// How long a client may take.
const CLIENT_SECONDS_MAX: u64 = 20;

/// A server on loopback that tells one caller after another who he is.
fn serve(trust: TrustDirectory) -> u16 {
    let host = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ClientVerifier::new(&provider);
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![host.cert.der().clone()],
            rustls_pki_types::PrivatePkcs8KeyDer::from(host.signing_key.serialize_der()).into(),
        )
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that gives up is that client's failure, which its test sees.
            drop(answer(stream.unwrap(), &config, &trust));
        }
    });
    port
}

fn answer(
    stream: TcpStream,
    config: &Arc<ServerConfig>,
    trust: &TrustDirectory,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(CLIENT_SECONDS_MAX)))?;
    let connection = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let mut tls = StreamOwned::new(connection, stream);
    tls.conn.complete_io(&mut tls.sock)?;
    let said = match judge_peer(tls.conn.peer_certificates(), trust, now()) {
        Peer::Anonymous(_) => "anonymous".to_owned(),
        Peer::Certified(identity) => text(Ok(identity)),
        Peer::Refused(refusal) => text(Err(refusal)),
    };
    let version = tls.conn.protocol_version();
    writeln!(tls, "you are {said} by {version:?}.")?;
    tls.conn.send_close_notify();
    tls.conn.complete_io(&mut tls.sock)?;
    // Until the client has read it and closes.
    tls.sock.read(&mut [0; 1024]).map(drop)
}

const PYTHON: &str = r#"
import socket, ssl, sys
port, file, version, ciphers = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.set_ciphers(ciphers)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
context.load_cert_chain(file)
with socket.create_connection(("127.0.0.1", int(port)), 20) as plain:
    with context.wrap_socket(plain) as tls:
        print(tls.makefile().read())
"#;

#[derive(Clone, Copy, Debug)]
enum Client {
    OpenSsl,
    Python,
    GnuTls,
}

impl Client {
    fn tool(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::Python => "python3",
            Self::GnuTls => "gnutls-cli",
        }
    }

    fn start(self, grid: &Grid, port: u16, file: &str, tls13: bool) -> Child {
        let mut command = match self {
            Self::OpenSsl => grid.command(&[&format!(
                "openssl s_client -quiet -connect 127.0.0.1:{port} -cert {file} -key {file} \
                 -cert_chain {file} -cipher DEFAULT@SECLEVEL=0 {}",
                if tls13 { "-tls1_3" } else { "-tls1_2" }
            )]),
            Self::Python => grid.command(&[
                "python3 -c",
                PYTHON,
                &format!(
                    "{port} {file} {} DEFAULT@SECLEVEL=0",
                    if tls13 { "TLSv1_3" } else { "TLSv1_2" }
                ),
            ]),
            Self::GnuTls => grid.command(&[&format!(
                "gnutls-cli --insecure --x509certfile {file} --x509keyfile {file} \
                 --priority NORMAL:-VERS-ALL:+VERS-TLS{} -p {port} 127.0.0.1",
                if tls13 { "1.3" } else { "1.2" }
            )]),
        };
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        pipes.spawn().unwrap()
    }
}

/// What the server says to `client` that offers the credential in `file`.
#[track_caller]
fn check(grid: &Grid, port: u16, client: Client, file: &str, expected: &str) {
    for tls13 in [false, true] {
        let mut child = client.start(grid, port, file, tls13);
        let input = child.stdin.take(); // open, or a client takes its end for the conversation's
        let output = child.wait_with_output().unwrap();
        drop(input);
        let said = String::from_utf8_lossy(&output.stdout);
        let version = if tls13 { "Some(TLSv1_3)" } else { "Some(TLSv1_2)" };
        assert!(
            said.contains(&format!("you are {expected} by {version}.")),
            "{client:?} with {file}: {said} {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn proxies_in_the_handshakes_of_others() {
    if !has(&["openssl", "grid-proxy-init"]) {
        return;
    }
    let grid = Grid::new();
    let proxy = |options: &str, issuer: &str, out: &str| {
        let key = if issuer == "user" { "user.key".to_owned() } else { format!("{issuer}.pem") };
        grid.run(&[&format!(
            "grid-proxy-init -q -bits 2048 {options} -cert {issuer}.pem -key {key} -out {out}.pem"
        )]);
    };
    proxy("-rfc", "user", "rfc");
    proxy("-rfc -limited", "rfc", "two");
    proxy("-draft", "user", "draft");
    proxy("-old", "user", "old");
    proxy("-old -limited", "old", "old-two");
    let port = serve(grid.trust.clone());
    for client in [Client::OpenSsl, Client::Python, Client::GnuTls] {
        if !has(&[client.tool()]) {
            continue;
        }
        let check = |file: &str, kind: &str| {
            let expected = format!("/O=Grid/OU=People/CN=Alice, Some({kind})");
            check(&grid, port, client, file, &expected);
        };
        check("rfc.pem", "Full");
        check("two.pem", "Limited");
        check("draft.pem", "Full");
        check("old.pem", "Full");
        check("old-two.pem", "Limited");
    }
}

#[test]
fn every_kind_of_key_and_one_that_is_too_short() {
    if !has(&["openssl", "python3"]) {
        return;
    }
    let grid = Grid::new();
    let port = serve(grid.trust.clone());
    let person = |key: &str| {
        grid.person("one", key, "/O=Grid/OU=People/CN=Eve");
        let full = "proxyCertInfo=critical,language:id-ppl-inheritAll";
        grid.openssl_proxy("proxy", "one", "/O=Grid/OU=People/CN=Eve/CN=1", full);
        grid.run(&["sh -c", "cat one.pem one.key > both.pem"]);
    };
    for key in ["rsa:4096", "ec:P-256", "ec:P-384", "ed25519"] {
        person(key);
        for client in [Client::OpenSsl, Client::Python] {
            check(&grid, port, client, "both.pem", "/O=Grid/OU=People/CN=Eve, None");
        }
        let full = "/O=Grid/OU=People/CN=Eve, Some(Full)";
        check(&grid, port, Client::OpenSsl, "proxy.pem", full);
    }
    person("rsa:1024");
    for client in [Client::OpenSsl, Client::Python] {
        let short = "its RSA key has 1024 bits, and 2048 are needed";
        check(&grid, port, client, "both.pem", short);
        check(
            &grid,
            port,
            client,
            "proxy.pem",
            &format!("behind it, /O=Grid/OU=People/CN=Eve: {short}"),
        );
    }
}
