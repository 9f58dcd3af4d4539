//! The bare reference server: axum and rustls over the same mutual TLS, one fixed XML-RPC reply.
//!
//! What a server of this kind costs if it does nothing: no parsing, no log, no judgement but the
//! plain webpki check of the caller's certificate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use bytes::Bytes;
use clap::Parser;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const REPLY: &str = "<?xml version=\"1.0\"?><methodResponse><params><param><value><string>hello</string>\
                     </value></param></params></methodResponse>";

/// From this length on a body is a large one.
const LARGE_BYTES: usize = 64 * 1024;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
    /// CA certificates of callers.
    #[arg(long)]
    ca: PathBuf,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let acceptor = TlsAcceptor::from(Arc::new(tls(&arguments)));
    let listener = TcpListener::bind(arguments.listen).await.unwrap();
    // A large body is sent back as it is: what it costs to take it in and to give it out.
    let answer = |body: Bytes| async move {
        let reply = if body.len() < LARGE_BYTES { Bytes::from_static(REPLY.as_bytes()) } else { body };
        ([(CONTENT_TYPE, "text/xml")], reply)
    };
    let router =
        Router::new().route("/clarens/", post(answer)).layer(DefaultBodyLimit::disable());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = TowerToHyperService::new(router);
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The gatekeeper's TLS, but for the verifier.
fn tls(arguments: &Arguments) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_file_iter(&arguments.ca).unwrap() {
        roots.add(ca.unwrap()).unwrap();
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let chain = CertificateDer::pem_file_iter(&arguments.certificate).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&arguments.key).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(4096);
    config
}
