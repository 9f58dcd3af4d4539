//! The TLS side: the server's own certificate and key, and the trust directory that callers'
//! certificates are judged against.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use nesssi_identity::tls::ClientVerifier;
use nesssi_identity::{Missing, Problem, TrustDirectory, TrustOptions};
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
pub(crate) const TRUST_FILES_MAX: usize = 50_000;

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
    /// It has too many files: to read some and not others could leave out a CRL.
    #[error("trust directory: more than {TRUST_FILES_MAX} files")]
    TrustFiles,
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
/// A file that is there and cannot be read counts as broken: a CRL that is passed over would revoke nothing.
///
/// # Errors
/// [`TlsError::Trust`] if the directory itself cannot be read, [`TlsError::TrustFiles`] if it has too many
/// files to read all.
pub(crate) fn trust_directory(
    server: &nesssi_config::Server,
    now_unix: i64,
) -> Result<(TrustDirectory, Vec<Problem>), TlsError> {
    let mut files = Vec::new();
    let mut unreadable = Vec::new();
    for (number, entry) in fs::read_dir(&server.trust_directory)?.enumerate() {
        if number == TRUST_FILES_MAX {
            return Err(TlsError::TrustFiles);
        }
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if TrustDirectory::is_trust_file(&name) {
            let content = read_bounded(&entry.path(), TrustDirectory::file_bytes_max(&name));
            let content = content.unwrap_or_else(|error| {
                unreadable.push(Problem { file: name.clone(), text: error.to_string() });
                Vec::new()
            });
            files.push((name, content));
        }
    }
    let options = TrustOptions {
        missing_crl: missing(server.missing_crl),
        missing_signing_policy: missing(server.missing_signing_policy),
    };
    let (trust, mut problems) = TrustDirectory::from_files(files, options);
    problems.extend(unreadable);
    problems.extend(trust.out_of_date(now_unix));
    Ok((trust, problems))
}

fn missing(meant: nesssi_config::Missing) -> Missing {
    match meant {
        nesssi_config::Missing::Accept => Missing::Accept,
        nesssi_config::Missing::Refuse => Missing::Refuse,
    }
}

/// One byte more than is allowed is read of a file that is too long, for its reader to see it.
fn read_bounded(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
