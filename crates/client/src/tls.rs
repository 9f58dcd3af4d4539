//! The two TLS configurations: with the caller's certificate for calls, without it for files.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};

use crate::credential::Credential;
use crate::error::SetupError;

/// How to speak TLS with the host of calls and with the host of files.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) calls: Arc<ClientConfig>,
    pub(crate) files: Arc<ClientConfig>,
}

impl Tls {
    pub(crate) fn new(
        roots: RootCertStore,
        credential: Option<Credential>,
    ) -> Result<Self, SetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let resolver = credential.map(|found| found.resolver(&provider)).transpose()?;
        let resolver = resolver.map(|resolver| Arc::new(resolver) as Arc<dyn ResolvesClientCert>);
        Ok(Self {
            calls: Arc::new(config(&provider, &roots, resolver)?),
            files: Arc::new(config(&provider, &roots, None)?),
        })
    }
}

fn config(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    resolver: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, SetupError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(Arc::clone(roots));
    let mut config = match resolver {
        Some(resolver) => builder.with_client_cert_resolver(resolver),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
