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

/// How often somebody is asked for one passphrase.
const TRIES_MAX: u32 = 3;

/// Who is asked for the passphrase of a file; by default nobody.
#[derive(Clone, Default)]
pub struct AskPassphrase(Option<(Arc<Asker>, u32)>);

impl AskPassphrase {
    /// Asks by calling this function with the file that is protected; again where what it answered is
    /// wrong, three times in all.
    #[must_use]
    pub fn by(ask: impl Fn(&Path) -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self(Some((Arc::new(ask), TRIES_MAX)))
    }

    /// As [`Self::by`], of somebody who would answer the same again: asked once.
    #[must_use]
    pub fn once(ask: impl Fn(&Path) -> io::Result<String> + Send + Sync + 'static) -> Self {
        Self(Some((Arc::new(ask), 1)))
    }

    /// What `open` makes of the passphrase; in words, why there is nothing.
    pub(crate) fn until<T>(
        &self,
        path: &Path,
        open: impl Fn(&str) -> Result<T, Closed>,
    ) -> Result<T, String> {
        let Some((ask, tries)) = &self.0 else { return Err(NOBODY.to_owned()) };
        let mut left = *tries;
        loop {
            let passphrase = ask(path).map_err(|error| format!("no passphrase: {error}"))?;
            left = left.saturating_sub(1);
            match open(&passphrase) {
                Ok(opened) => return Ok(opened),
                Err(Closed::Passphrase(_)) if left > 0 => {}
                Err(Closed::Passphrase(why) | Closed::Other(why)) => return Err(why),
            }
        }
    }
}

/// Why something protected was not opened, in words.
#[derive(Debug)]
pub(crate) enum Closed {
    /// Another passphrase might.
    Passphrase(String),
    /// None would.
    Other(String),
}

impl Closed {
    fn wrong() -> Self {
        Self::Passphrase(WRONG.to_owned())
    }

    fn unknown() -> Self {
        Self::Other("its private key is encrypted in a way that is not known".to_owned())
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
pub(super) fn decrypt(pem: &str, passphrase: &str) -> Result<PrivateKeyDer<'static>, Closed> {
    let damaged = || Closed::Other("not well-formed PEM".to_owned());
    let section = Section::find(pem).ok_or_else(damaged)?;
    let der = match section.label {
        "ENCRYPTED PRIVATE KEY" => pkcs8(&section.bytes, passphrase)?,
        _ => traditional(&section, passphrase)?,
    };
    PrivateKeyDer::try_from(der).map_err(|_| Closed::wrong())
}

fn pkcs8(der: &[u8], passphrase: &str) -> Result<Vec<u8>, Closed> {
    let info = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| Closed::unknown())?;
    let key = info.decrypt(passphrase).map_err(|_| Closed::wrong())?;
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
fn traditional(section: &Section<'_>, passphrase: &str) -> Result<Vec<u8>, Closed> {
    let unknown = Closed::unknown;
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
                .map_err(|_| Closed::wrong())?
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
