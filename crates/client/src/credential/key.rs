//! Private keys that a passphrase protects.
//!
//! Two forms are read: PKCS#8 (`ENCRYPTED PRIVATE KEY`, PBES2), which OpenSSL has written since 1.0, and the
//! traditional one of OpenSSL (`Proc-Type: 4,ENCRYPTED`), which `grid-cert-request` and older programs left in
//! `~/.globus/userkey.pem`.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use aes::{Aes128, Aes192, Aes256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use des::TdesEde3;
use md5::{Digest as _, Md5};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls_pki_types::PrivateKeyDer;

type Asker = dyn Fn(&Path) -> io::Result<String> + Send + Sync;

/// Who is asked for the passphrase of a file; by default nobody.
#[derive(Clone, Default)]
pub struct AskPassphrase(Option<Arc<Asker>>);

impl AskPassphrase {
    /// Asks by calling this function with the file that is protected.
    #[must_use]
    pub fn by(ask: impl Fn(&Path) -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// The passphrase, or in words why there is none.
    pub(crate) fn ask(&self, path: &Path) -> Result<String, String> {
        let Some(ask) = &self.0 else { return Err(NOBODY.to_owned()) };
        ask(path).map_err(|error| format!("no passphrase: {error}"))
    }
}

impl fmt::Debug for AskPassphrase {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_some() { "AskPassphrase(..)" } else { "AskPassphrase(nobody)" })
    }
}

const NOBODY: &str = "the private key is encrypted, and there is nobody to ask for the passphrase: make a \
    proxy (nesssi proxy init), or decrypt it with `openssl pkey`";
const WRONG: &str =
    "the private key cannot be decrypted: the passphrase is wrong, or the file is damaged";

/// Whether the private key in this PEM is encrypted.
pub(super) fn is_encrypted(pem: &str) -> bool {
    pem.contains("BEGIN ENCRYPTED PRIVATE KEY") || pem.contains("Proc-Type: 4,ENCRYPTED")
}

/// The private key in `pem`, which `is_encrypted`.
pub(super) fn decrypt(pem: &str, passphrase: &str) -> Result<PrivateKeyDer<'static>, String> {
    let section = Section::find(pem).ok_or("not well-formed PEM")?;
    let der = match section.label {
        "ENCRYPTED PRIVATE KEY" => pkcs8(&section.bytes, passphrase)?,
        _ => traditional(&section, passphrase)?,
    };
    PrivateKeyDer::try_from(der).map_err(|_| WRONG.to_owned())
}

fn pkcs8(der: &[u8], passphrase: &str) -> Result<Vec<u8>, String> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|_| "its private key is encrypted in a way that is not known".to_owned())?;
    let key = info.decrypt(passphrase).map_err(|_| WRONG.to_owned())?;
    Ok(key.as_bytes().to_vec())
}

/// A private key between its lines of PEM.
struct Section<'a> {
    label: &'a str,
    /// The value of DEK-Info.
    method: Option<&'a str>,
    bytes: Vec<u8>,
}

impl<'a> Section<'a> {
    fn find(pem: &'a str) -> Option<Self> {
        let mut lines = pem.lines().map(str::trim);
        let label = lines.find_map(|line| {
            let label = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
            label.ends_with("PRIVATE KEY").then_some(label)
        })?;
        let (mut method, mut text) = (None, String::new());
        for line in lines.take_while(|line| !line.starts_with("-----END ")) {
            match line.split_once(':') {
                Some(("DEK-Info", value)) => method = Some(value.trim()),
                Some(_) => {}
                None => text.push_str(line),
            }
        }
        let bytes = STANDARD.decode(text).ok()?;
        Some(Self { label, method, bytes })
    }
}

/// `DEK-Info: CIPHER,IV`: the cipher's key is MD5 over the passphrase and the first eight bytes of the IV, again
/// and again until it is long enough (OpenSSL's EVP_BytesToKey with one round).
fn traditional(section: &Section<'_>, passphrase: &str) -> Result<Vec<u8>, String> {
    let unknown = || "its private key is encrypted in a way that is not known".to_owned();
    let (cipher, iv) = section.method.and_then(|m| m.split_once(',')).ok_or_else(unknown)?;
    let iv = hex(iv).ok_or_else(unknown)?;
    let salt = iv.get(..8).ok_or_else(unknown)?;
    let key = |bytes: usize| {
        let (mut key, mut last) = (Vec::new(), Vec::new());
        while key.len() < bytes {
            let mut digest = Md5::new();
            digest.update(&last);
            digest.update(passphrase.as_bytes());
            digest.update(salt);
            last = digest.finalize().to_vec();
            key.extend_from_slice(&last);
        }
        key.truncate(bytes);
        key
    };
    let mut buffer = section.bytes.clone();
    macro_rules! decrypt {
        ($cipher:ty, $key_bytes:literal) => {
            cbc::Decryptor::<$cipher>::new_from_slices(&key($key_bytes), &iv)
                .map_err(|_| unknown())?
                .decrypt_padded::<Pkcs7>(&mut buffer)
                .map_err(|_| WRONG.to_owned())?
                .to_vec()
        };
    }
    Ok(match cipher {
        "DES-EDE3-CBC" => decrypt!(TdesEde3, 24),
        "AES-128-CBC" => decrypt!(Aes128, 16),
        "AES-192-CBC" => decrypt!(Aes192, 24),
        "AES-256-CBC" => decrypt!(Aes256, 32),
        _ => return Err(unknown()),
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (text.len().is_multiple_of(2) && text.is_ascii()).then_some(())?;
    (0..text.len()).step_by(2).map(pair).collect()
}
