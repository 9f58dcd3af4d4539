//! The CAs that a server's certificate must come from, as grid tools keep them.

use std::fs;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::error::SetupError;

#[cfg(test)]
mod tests;

/// Bytes of one file of certificates that are read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads the CAs in `path`, a PEM file or a trust directory.
///
/// Of a directory the files `*.pem`, `*.crt` and `<hash>.<digits>` are read, and what is no good
/// certificate is passed over: in real trust directories some always are.
pub(crate) fn load(path: &Path) -> Result<RootCertStore, SetupError> {
    let wrong = |why| SetupError::Trust { path: path.to_owned(), why };
    let file_error = |source| SetupError::File { path: path.to_owned(), source };
    let mut store = RootCertStore::empty();
    if fs::metadata(path).map_err(file_error)?.is_dir() {
        let mut files: Vec<PathBuf> = fs::read_dir(path)
            .map_err(file_error)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|file| holds_certificates(file))
            .collect();
        files.sort();
        for file in files {
            if let Ok(pem) = read_bounded(&file) {
                add(&mut store, &pem);
            }
        }
    } else {
        add(&mut store, &read_bounded(path).map_err(file_error)?);
    }
    if store.is_empty() {
        return Err(wrong("no CA certificate in it that can be used"));
    }
    Ok(store)
}

/// The places where grid tools keep CAs, in the order in which they look.
pub(crate) fn places(directory: Option<PathBuf>, home: Option<&Path>) -> Vec<PathBuf> {
    let of_user = home.map(|home| home.join(".globus/certificates"));
    let of_machine = PathBuf::from("/etc/grid-security/certificates");
    directory.into_iter().chain(of_user).chain([of_machine]).collect()
}

/// The CAs of the first of `places` that has any.
pub(crate) fn find(places: &[PathBuf]) -> Result<RootCertStore, SetupError> {
    places.iter().find_map(|place| load(place).ok()).ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        SetupError::NoTrust { searched: places.join(", ") }
    })
}

fn holds_certificates(file: &Path) -> bool {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("pem" | "crt") => true,
        Some(extension) => extension.bytes().all(|byte| byte.is_ascii_digit()),
        None => false,
    }
}

/// Adds the good certificates of `pem`, each once.
fn add(store: &mut RootCertStore, pem: &[u8]) {
    for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
        let before = store.len();
        // One that cannot be an anchor is passed over, as the caller's doc says.
        store.add(certificate).unwrap_or_default();
        if let Some((last, earlier)) = store.roots.split_last()
            && store.len() > before
            && earlier.contains(last)
        {
            store.roots.pop();
        }
    }
}

fn read_bounded(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
