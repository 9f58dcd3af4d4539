//! The TLS side: the server's own certificate and key, and the trust directory that callers'
//! certificates are judged against.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use nesssi_identity::tls::ClientVerifier;
use nesssi_identity::{CA_FILE_BYTES_MAX, Problem, TrustDirectory};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The names of HTTP/2 and HTTP/1.1 in the handshake (RFC 7301).
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";
/// Sessions that callers may resume.
const SESSIONS_MAX: usize = 4_096;
/// Most files in a trust directory.
const TRUST_FILES_MAX: usize = 20_000;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate is no PEM certificate.
    #[error("the server's certificate: {0}")]
    Certificate(String),
    /// The key is no PEM private key.
    #[error("the server's private key: {0}")]
    Key(String),
    /// Certificate and key do not go together, or no algorithm fits them.
    #[error("the server's certificate and key: {0}")]
    Rustls(#[from] rustls::Error),
    /// The trust directory cannot be read.
    #[error("trust directory: {0}")]
    Trust(#[from] io::Error),
}

/// What rustls needs to know of this server.
///
/// # Errors
/// [`TlsError`] where certificate and key are none, or not of each other.
pub(crate) fn server_config(certificate: &[u8], key: &[u8]) -> Result<ServerConfig, TlsError> {
    let chain = certificates(certificate)?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Key(error.to_string()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = ClientVerifier::new(&provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(config)
}

/// The certificates of a PEM text, at least one.
///
/// # Errors
/// [`TlsError::Certificate`].
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| TlsError::Certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::Certificate("no certificate in it".to_owned()));
    }
    Ok(chain)
}

/// Reads the trust directory, and says what in it is of no use.
///
/// # Errors
/// [`TlsError::Trust`] if the directory itself cannot be read.
pub(crate) fn trust_directory(
    folder: &Path,
    now_unix: i64,
) -> Result<(TrustDirectory, Vec<Problem>), TlsError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(TRUST_FILES_MAX) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if TrustDirectory::is_ca_file(&name) {
            files.push((name, read_bounded(&entry.path())?));
        }
    }
    let (trust, mut problems) = TrustDirectory::from_files(files);
    problems.extend(trust.out_of_date(now_unix));
    Ok((trust, problems))
}

/// One byte more than is allowed is read of a file that is too long, for its reader to see it.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(CA_FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
