//! The caller's certificate and key, found where grid tools leave them.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nesssi_identity::Described;
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::SetupError;

mod key;
#[cfg(test)]
mod tests;

pub use key::AskPassphrase;
use key::Closed;

/// Bytes of one file that are read: a chain of a few certificates and a key are some kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where to look for a credential, and what was said about it.
///
/// The order is: the files that were named; `X509_USER_PROXY`; `X509_USER_CERT` with `X509_USER_KEY`;
/// the proxy `/tmp/x509up_u<uid>`; `~/.globus/usercert.pem` with `userkey.pem`; `~/.globus/usercred.p12`. What is named, here or
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
        self.find_with(&AskPassphrase::default())
    }

    /// As [`Self::find`], with somebody to ask for the passphrase of an encrypted key.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_with(&self, ask: &AskPassphrase) -> Result<Credential, SetupError> {
        if let Some(certificate) = &self.certificate {
            return Credential::read_with(certificate, self.key.as_deref(), ask);
        }
        if let Some(proxy) = &self.user_proxy {
            return Credential::read_private(proxy, None, ask);
        }
        if let Some(certificate) = &self.user_certificate {
            return Credential::read_private(certificate, self.user_key.as_deref(), ask);
        }
        let proxy = self.proxies.join(format!("x509up_u{}", self.uid));
        if is_own(&proxy, self.uid) {
            return Credential::read_private(&proxy, None, ask);
        }
        let globus = self.home.as_deref().map(|home| home.join(".globus"));
        if let Some(globus) = &globus {
            let (certificate, key) = (globus.join("usercert.pem"), globus.join("userkey.pem"));
            if certificate.exists() {
                return Credential::read_private(&certificate, Some(&key), ask);
            }
            let pkcs12 = globus.join("usercred.p12");
            if pkcs12.exists() {
                return Credential::read_private(&pkcs12, None, ask);
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
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Credential {
    /// Reads a certificate chain from `certificate`, and the key from `key` or the same file. A file
    /// in PKCS#12 (`.p12`, `.pfx`) holds both.
    ///
    /// # Errors
    /// [`SetupError`] with the file's name where one of them is not there or not good.
    pub fn read(certificate: &Path, key: Option<&Path>) -> Result<Self, SetupError> {
        Self::read_with(certificate, key, &AskPassphrase::default())
    }

    /// As [`Self::read`], with somebody to ask for the passphrase of an encrypted key.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with(
        certificate: &Path,
        key: Option<&Path>,
        ask: &AskPassphrase,
    ) -> Result<Self, SetupError> {
        let chain_pem = read_bounded(certificate)?;
        let wrong = |path: &Path, why: &str| SetupError::Credential {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        if is_der(&chain_pem) {
            return Self::read_pkcs12(certificate, &chain_pem, ask)
                .map_err(|why| wrong(certificate, &why));
        }
        let key_path = key.unwrap_or(certificate);
        let key_pem = if key.is_some() { read_bounded(key_path)? } else { chain_pem.clone() };
        let chain = CertificateDer::pem_slice_iter(only_certificates(&chain_pem).as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| wrong(certificate, "not well-formed PEM"))?;
        if chain.is_empty() {
            return Err(wrong(certificate, "no certificate in it (PEM is wanted)"));
        }
        let key_text = String::from_utf8_lossy(&key_pem);
        let key = if key::is_encrypted(&key_text) {
            ask.until(key_path, |passphrase| key::decrypt(&key_text, passphrase))
                .map_err(|why| wrong(key_path, &why))?
        } else {
            PrivateKeyDer::from_pem_slice(&key_pem)
                .map_err(|_| wrong(key_path, "no private key in it"))?
        };
        Ok(Self { path: certificate.to_owned(), chain, key })
    }

    /// The certificate with a key, its chain without the CA at the end, and the key.
    fn read_pkcs12(path: &Path, bytes: &[u8], ask: &AskPassphrase) -> Result<Self, String> {
        let read = |passphrase: &str| {
            KeyStore::from_pkcs12(bytes, passphrase, Pkcs12ImportPolicy::Relaxed)
        };
        let store = match read("") {
            Ok(store) => store,
            Err(_) => {
                ask.until(path, |passphrase| read(passphrase).map_err(|error| closed(&error)))?
            }
        };
        let (_, held) = store.private_key_chain().ok_or("no certificate with its key in it")?;
        let ends = |der: &&[u8]| Described::of(der).is_ok_and(|d| d.subject != d.issuer);
        let chain = held.certs().iter().map(|certificate| certificate.as_der());
        let chain: Vec<_> =
            chain.filter(ends).map(|der| CertificateDer::from(der.to_vec())).collect();
        if chain.is_empty() {
            return Err("no certificate with its key in it".to_owned());
        }
        let key = PrivateKeyDer::try_from(held.key().as_der().to_vec());
        let key = key.map_err(|_| "its private key is of a kind that is not known".to_owned())?;
        Ok(Self { path: path.to_owned(), chain, key })
    }

    /// As [`Self::read`], for a credential that no argument named: its key must be readable by its owner alone.
    fn read_private(
        certificate: &Path,
        key: Option<&Path>,
        ask: &AskPassphrase,
    ) -> Result<Self, SetupError> {
        let path = key.unwrap_or(certificate);
        let mode = fs::metadata(path).map(|metadata| metadata.mode());
        let mode = mode.map_err(|source| SetupError::File { path: path.to_owned(), source })?;
        if mode & 0o077 != 0 {
            let why = format!("others may read this private key (chmod 600 {})", path.display());
            return Err(SetupError::Credential { path: path.to_owned(), why });
        }
        Self::read_with(certificate, key, ask)
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

/// Why PKCS#12 was not opened. A wrong passphrase shows in the digest, or in what comes out of the cipher.
fn closed(error: &p12_keystore::error::Error) -> Closed {
    use p12_keystore::error::Error::{MacError, Pkcs5Error, UnpadError};
    let why = format!("no PKCS#12 that this passphrase opens, and no PEM either ({error})");
    match error {
        MacError(_) | Pkcs5Error(_) | UnpadError => Closed::Passphrase(why),
        _ => Closed::Other(why),
    }
}

/// The certificates in a file of PEM, without the keys between them, which may be encrypted.
fn only_certificates(pem: &[u8]) -> String {
    let text = String::from_utf8_lossy(pem);
    let (mut certificates, mut inside) = (String::new(), false);
    for line in text.lines() {
        inside |= line.starts_with("-----BEGIN CERTIFICATE-----");
        if inside {
            certificates.push_str(line);
            certificates.push('\n');
        }
        inside &= !line.starts_with("-----END ");
    }
    certificates
}

/// PEM is text; what begins with a SEQUENCE is not.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, second, ..] if *second >= 0x80)
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
