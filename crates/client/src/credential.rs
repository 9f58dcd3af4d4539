//! The caller's certificate and key, found where grid tools leave them.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::SetupError;

#[cfg(test)]
mod tests;

/// Bytes of one file that are read: a chain of a few certificates and a key are some kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where to look for a credential, and what was said about it.
///
/// The order is: the files that were named; `X509_USER_PROXY`; `X509_USER_CERT` with `X509_USER_KEY`;
/// the proxy `/tmp/x509up_u<uid>`; `~/.globus/usercert.pem` with `userkey.pem`. What is named, here or
/// in the environment, must be there and be good; the last two are passed over if they are not there.
#[derive(Debug, Clone, Default)]
pub struct CredentialSearch {
    /// The certificate file that was named.
    pub certificate: Option<PathBuf>,
    /// The key file that was named; without it the key is in the certificate's file.
    pub key: Option<PathBuf>,
    /// `X509_USER_PROXY`.
    pub user_proxy: Option<PathBuf>,
    /// `X509_USER_CERT`.
    pub user_certificate: Option<PathBuf>,
    /// `X509_USER_KEY`.
    pub user_key: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// The directory of proxies, `/tmp`.
    pub proxies: PathBuf,
    /// The caller's uid: whose proxy to take.
    pub uid: u32,
}

impl CredentialSearch {
    /// The search with what this process's environment says.
    #[must_use]
    pub fn of_process() -> Self {
        let path =
            |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            certificate: None,
            key: None,
            user_proxy: path("X509_USER_PROXY"),
            user_certificate: path("X509_USER_CERT"),
            user_key: path("X509_USER_KEY"),
            home: path("HOME"),
            proxies: PathBuf::from("/tmp"),
            uid: rustix::process::getuid().as_raw(),
        }
    }

    /// Finds and reads the credential.
    ///
    /// # Errors
    /// [`SetupError::NoCredential`] where there is none, another [`SetupError`] where the first one
    /// found cannot be used.
    pub fn find(&self) -> Result<Credential, SetupError> {
        if let Some(certificate) = &self.certificate {
            return Credential::read(certificate, self.key.as_deref());
        }
        if let Some(proxy) = &self.user_proxy {
            return Credential::read(proxy, None);
        }
        if let Some(certificate) = &self.user_certificate {
            return Credential::read(certificate, self.user_key.as_deref());
        }
        let proxy = self.proxies.join(format!("x509up_u{}", self.uid));
        if is_own(&proxy, self.uid) {
            return Credential::read_private(&proxy, None);
        }
        let globus = self.home.as_deref().map(|home| home.join(".globus"));
        if let Some(globus) = &globus {
            let (certificate, key) = (globus.join("usercert.pem"), globus.join("userkey.pem"));
            if certificate.exists() {
                return Credential::read_private(&certificate, Some(&key));
            }
        }
        let globus = globus.map(|globus| format!(", {}", globus.join("usercert.pem").display()));
        Err(SetupError::NoCredential {
            searched: format!("{}{}", proxy.display(), globus.unwrap_or_default()),
        })
    }
}

/// A certificate chain and its private key.
#[derive(Debug)]
pub struct Credential {
    path: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credential {
    /// Reads a certificate chain from `certificate`, and the key from `key` or the same file.
    ///
    /// # Errors
    /// [`SetupError`] with the file's name where one of them is not there or not good.
    pub fn read(certificate: &Path, key: Option<&Path>) -> Result<Self, SetupError> {
        let chain_pem = read_bounded(certificate)?;
        let key_path = key.unwrap_or(certificate);
        let key_pem = if key.is_some() { read_bounded(key_path)? } else { chain_pem.clone() };
        let wrong = |path: &Path, why: &str| SetupError::Credential {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        if is_encrypted(&key_pem) {
            return Err(wrong(key_path, ENCRYPTED));
        }
        let chain = CertificateDer::pem_slice_iter(&chain_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| wrong(certificate, "not well-formed PEM"))?;
        if chain.is_empty() {
            return Err(wrong(certificate, "no certificate in it (PEM is wanted)"));
        }
        let key = PrivateKeyDer::from_pem_slice(&key_pem)
            .map_err(|_| wrong(key_path, "no private key in it"))?;
        Ok(Self { path: certificate.to_owned(), chain, key })
    }

    /// As [`Self::read`], for a credential that was found: its key must be readable by its owner alone.
    fn read_private(certificate: &Path, key: Option<&Path>) -> Result<Self, SetupError> {
        let path = key.unwrap_or(certificate);
        let mode = fs::metadata(path).map(|metadata| metadata.mode());
        let mode = mode.map_err(|source| SetupError::File { path: path.to_owned(), source })?;
        if mode & 0o077 != 0 {
            let why = format!("others may read this private key (chmod 600 {})", path.display());
            return Err(SetupError::Credential { path: path.to_owned(), why });
        }
        Self::read(certificate, key)
    }

    /// The file that the certificate came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What rustls presents to the server.
    ///
    /// A proxy certificate's own extension is unknown to rustls's check of certificate and key, so only
    /// a plain mismatch is refused here; the server judges the rest.
    pub(crate) fn resolver(
        self,
        provider: &CryptoProvider,
    ) -> Result<SingleCertAndKey, SetupError> {
        let wrong =
            |why: &str| SetupError::Credential { path: self.path.clone(), why: why.to_owned() };
        let key = provider
            .key_provider
            .load_private_key(self.key)
            .map_err(|_| wrong("its private key is of a kind that is not known"))?;
        let pair = CertifiedKey::new(self.chain, key);
        match pair.keys_match() {
            Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
                Err(wrong("the private key is another certificate's"))
            }
            _ => Ok(SingleCertAndKey::from(Arc::new(pair))),
        }
    }
}

const ENCRYPTED: &str =
    "the private key is encrypted: make a proxy, or decrypt it with `openssl pkey`";

fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// Whether `path` is a file of `uid`: in a directory that all may write, another's is not taken.
fn is_own(path: &Path, uid: u32) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.uid() == uid)
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, SetupError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| SetupError::File { path: path.to_owned(), source })
}
