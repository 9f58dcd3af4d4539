//! Proxy certificates of the caller's own: made, looked at, written where grid tools leave them.
//!
//! A proxy is a certificate with a key pair of its own, signed by the caller's key, for some hours. It stands
//! for him to programs that could not ask for his passphrase.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::encoding::{Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nesssi_identity::{Described, ProxyDraft, ProxyKind, SignatureKind, signed};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::clock::now_unix;
use crate::credential::Credential;
use crate::error::SetupError;
use crate::tag::random;

#[cfg(test)]
mod tests;

/// A proxy is valid from a little before now: clocks differ.
const SKEW_SECONDS: i64 = 300;
/// The longest that one may ask for; it never outlives what it stands for.
const SECONDS_MAX: u64 = 1_000_000 * 3600;
/// Bytes of a proxy file that are read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The key pair that a proxy gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKey {
    /// RSA with 2048 bits, what every program of the grid reads.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// The elliptic curve P-256: small and quick.
    P256,
}

/// What proxy is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyOptions {
    /// How long it is valid.
    pub seconds: u64,
    /// Whether it is limited: with such a one a server starts nothing.
    pub limited: bool,
    /// Its key pair.
    pub key: ProxyKey,
    /// How many proxies may be made below it; `None` is any number.
    pub path_length: Option<u32>,
}

impl Default for ProxyOptions {
    /// 12 hours, full, RSA with 2048 bits: what grid tools make.
    fn default() -> Self {
        Self { seconds: 12 * 3600, limited: false, key: ProxyKey::Rsa2048, path_length: None }
    }
}

/// A proxy as its file holds it: certificate, key, and the certificates above.
#[derive(Clone)]
pub struct Proxy {
    pem: String,
    /// What it says of itself.
    pub info: ProxyInfo,
}

impl fmt::Debug for Proxy {
    /// It holds a key.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Proxy").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What the certificates of a credential say. Nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyInfo {
    /// The first certificate's subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// The end entity's subject: who he is to a server.
    pub identity: String,
    /// `RFC 3820 proxy`, `RFC 3820 limited proxy`, `end-entity certificate` and so on.
    pub kind: String,
    /// Whether the first certificate is a proxy at all.
    pub is_proxy: bool,
    /// Such as `RSA 2048 bits`.
    pub strength: String,
    /// How many proxies may stand below it, if it says so.
    pub path_length: Option<u32>,
    /// When the first certificate of the chain ends, in Unix seconds.
    pub not_after: i64,
    /// When it begins.
    pub not_before: i64,
}

impl ProxyInfo {
    /// Of a chain, the first certificate first.
    ///
    /// # Errors
    /// In words, what cannot be read.
    fn of(chain: &[CertificateDer<'_>]) -> Result<Self, String> {
        let described = chain.iter().map(|certificate| Described::of(certificate));
        let described = described.collect::<Result<Vec<_>, _>>()?;
        let first = described.first().ok_or("no certificate in it")?;
        // An independent proxy is a subject of its own; all others stand for the one they end at.
        let own = |d: &&Described| !matches!(d.proxy, Some(ProxyKind::Full | ProxyKind::Limited));
        let identity = described.iter().find(own).map_or_else(
            || described.last().map(|last| last.issuer.clone()),
            |found| Some(found.subject.clone()),
        );
        let earliest = described.iter().map(|d| d.not_after).min();
        Ok(Self {
            subject: first.subject.clone(),
            issuer: first.issuer.clone(),
            identity: identity.unwrap_or_default(),
            kind: kind(first),
            is_proxy: first.proxy.is_some(),
            strength: match first.bits {
                Some(bits) => format!("{} {bits} bits", first.key),
                None => first.key.clone(),
            },
            path_length: first.path_length,
            not_after: earliest.unwrap_or_default(),
            not_before: first.not_before,
        })
    }

    /// Reads the certificates in a PEM file; its key is not looked at.
    ///
    /// # Errors
    /// [`SetupError`] with the file's name.
    pub fn read(path: &Path) -> Result<Self, SetupError> {
        let wrong = |why: String| SetupError::Credential { path: path.to_owned(), why };
        let file = |source| SetupError::File { path: path.to_owned(), source };
        let mut pem = Vec::new();
        let opened = fs::File::open(path).map_err(file)?;
        io::Read::read_to_end(&mut io::Read::take(opened, FILE_BYTES_MAX), &mut pem)
            .map_err(file)?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| wrong("not well-formed PEM".to_owned()))?;
        Self::of(&chain).map_err(wrong)
    }

    /// Seconds until it ends; negative when it has.
    #[must_use]
    pub fn seconds_left(&self) -> i64 {
        self.not_after.saturating_sub(now_unix())
    }
}

fn kind(described: &Described) -> String {
    let family = if described.rfc { "RFC 3820" } else { "legacy" };
    match described.proxy {
        None => "end-entity certificate".to_owned(),
        Some(ProxyKind::Full) => format!("{family} proxy"),
        Some(ProxyKind::Limited) => format!("{family} limited proxy"),
        Some(ProxyKind::Independent) => format!("{family} independent proxy"),
    }
}

impl Credential {
    /// What its certificates say.
    ///
    /// # Errors
    /// [`SetupError::Credential`] where they cannot be read.
    pub fn info(&self) -> Result<ProxyInfo, SetupError> {
        ProxyInfo::of(&self.chain)
            .map_err(|why| SetupError::Credential { path: self.path().to_owned(), why })
    }

    /// Makes a proxy of it, with a new key pair.
    ///
    /// # Errors
    /// [`SetupError::Credential`] where none would be valid: it has expired, is a limited proxy and a
    /// full one is wanted, or its key may not sign.
    pub fn make_proxy(&self, options: &ProxyOptions) -> Result<Proxy, SetupError> {
        let wrong = |why: String| SetupError::Credential { path: self.path().to_owned(), why };
        let unknown = |_| wrong("its private key is of a kind that is not known".to_owned());
        let provider = default_provider();
        let key = provider.key_provider.load_private_key(self.key.clone_key()).map_err(unknown)?;
        let (signer, signature) = SCHEMES
            .iter()
            .find_map(|(scheme, kind)| Some((key.choose_scheme(&[*scheme])?, *kind)))
            .ok_or_else(|| wrong("its private key signs in no way that proxies have".to_owned()))?;
        let pair = KeyPair::generate(options.key).map_err(|_| {
            SetupError::Tls(rustls::Error::General("no key pair could be made".to_owned()))
        })?;
        let now = now_unix();
        let seconds = i64::try_from(options.seconds.min(SECONDS_MAX)).unwrap_or(i64::MAX);
        let above = self.chain.first().ok_or_else(|| wrong("no certificate in it".to_owned()))?;
        let draft = ProxyDraft {
            above,
            public_key: &pair.public,
            // 63 bits: a serial number that is not negative to anybody.
            serial: u64::from_be_bytes(random()?) >> 1,
            not_before: now - SKEW_SECONDS,
            not_after: now.saturating_add(seconds),
            kind: if options.limited { ProxyKind::Limited } else { ProxyKind::Full },
            path_length: options.path_length,
            signature,
        };
        let to_be_signed = draft.to_be_signed().map_err(|error| wrong(error.to_string()))?;
        let bytes = signer.sign(&to_be_signed).map_err(SetupError::Tls)?;
        let proxy = CertificateDer::from(signed(&to_be_signed, signature, &bytes));
        if Described::of(&proxy).is_ok_and(|made| made.not_after <= now) {
            return Err(wrong("it has expired".to_owned()));
        }
        let mut pem = armour("CERTIFICATE", &proxy);
        pem.push_str(&armour("PRIVATE KEY", &pair.private));
        self.chain.iter().for_each(|above| pem.push_str(&armour("CERTIFICATE", above)));
        let chain: Vec<_> = [proxy].into_iter().chain(self.chain.iter().cloned()).collect();
        let info = ProxyInfo::of(&chain).map_err(wrong)?;
        Ok(Proxy { pem, info })
    }
}

/// What keys sign proxies with, the first that fits.
const SCHEMES: [(SignatureScheme, SignatureKind); 4] = [
    (SignatureScheme::RSA_PKCS1_SHA256, SignatureKind::RsaSha256),
    (SignatureScheme::ECDSA_NISTP256_SHA256, SignatureKind::EcdsaSha256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, SignatureKind::EcdsaSha384),
    (SignatureScheme::ED25519, SignatureKind::Ed25519),
];

impl Proxy {
    /// Certificate, key, and the certificates above, in PEM. Whoever reads it acts for the caller.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes it for its owner's eyes alone, all or nothing, in the place of what was there.
    ///
    /// # Errors
    /// [`SetupError::File`] where it cannot be written there, or another's file is there.
    pub fn write(&self, path: &Path) -> Result<(), SetupError> {
        self.write_at(path).map_err(|source| SetupError::File { path: path.to_owned(), source })
    }

    fn write_at(&self, path: &Path) -> io::Result<()> {
        own_or_absent(path)?;
        let by_chance: [u8; 8] = random().map_err(io::Error::other)?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}", u64::from_be_bytes(by_chance)));
        let beside = PathBuf::from(name);
        let write = || {
            let mut file =
                fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(self.pem.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, path)
        };
        write().inspect_err(|_| fs::remove_file(&beside).unwrap_or_default())
    }
}

/// Removes a proxy, its bytes overwritten first. Where a file system writes changes elsewhere (copies on
/// write, journals, flash), the old bytes may be there still; that it ends soon is what protects it.
///
/// # Errors
/// The system's; of another kind than a plain file of the caller's, nothing is removed.
pub fn destroy_proxy(path: &Path) -> io::Result<()> {
    fs::symlink_metadata(path)?;
    own_or_absent(path)?;
    let mut file = fs::File::options()
        .write(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default())
        .open(path)?;
    let zeros = vec![0; usize::try_from(file.metadata()?.len().min(FILE_BYTES_MAX)).unwrap_or(0)];
    file.write_all(&zeros)?;
    file.sync_all()?;
    fs::remove_file(path)
}

fn own_or_absent(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.is_file() => Err(io::Error::other("it is there, and is no plain file")),
        Ok(found) if found.uid() != rustix::process::geteuid().as_raw() => {
            Err(io::Error::other("it is there, and is another user's"))
        }
        Ok(_) => Ok(()),
    }
}

/// A new key pair.
struct KeyPair {
    /// SubjectPublicKeyInfo.
    public: Vec<u8>,
    /// PKCS#8.
    private: Vec<u8>,
}

impl KeyPair {
    fn generate(kind: ProxyKey) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let size = match kind {
            ProxyKey::Rsa2048 => KeySize::Rsa2048,
            ProxyKey::Rsa3072 => KeySize::Rsa3072,
            ProxyKey::Rsa4096 => KeySize::Rsa4096,
            ProxyKey::P256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
                let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
                let private = pair.to_pkcs8v1()?;
                return Ok(Self {
                    public: public.as_ref().to_vec(),
                    private: private.as_ref().to_vec(),
                });
            }
        };
        let pair = aws_lc_rs::rsa::KeyPair::generate(size)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der()?;
        let private: Pkcs8V1Der<'_> = pair.as_der()?;
        Ok(Self { public: public.as_ref().to_vec(), private: private.as_ref().to_vec() })
    }
}

/// PEM, RFC 7468.
fn armour(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}
