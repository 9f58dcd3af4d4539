//! The trust directory: the CA certificates that a site has chosen, one or more a file.
//!
//! Files are named as Globus names them, `<8 hex digits>.<number>`, or end in `.pem` or `.crt`; the
//! hash in a name is not looked at, since two algorithms for it are in use and names inside the
//! certificates decide. The same certificate under several names counts once. A file or certificate
//! that cannot be used is a [`Problem`], and never keeps the others from being used.

use std::collections::{BTreeMap, HashMap};

use nesssi_dn::SubjectDn;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::certificate::{Broken, Certificate};
use crate::signature::{Key, SignatureError};

/// How large a file of the trust directory may be, in bytes.
pub const CA_FILE_BYTES_MAX: usize = 1024 * 1024;
/// How many certificates one file may hold.
const CERTIFICATES_PER_FILE_MAX: usize = 1_000;

/// The CA certificates that a site has chosen to trust.
#[derive(Debug, Clone, Default)]
pub struct TrustDirectory {
    cas: Vec<Ca>,
    by_subject: HashMap<SubjectDn, Vec<usize>>,
}

/// A CA of the directory: what of its certificate is needed to judge others.
#[derive(Debug, Clone)]
pub(crate) struct Ca {
    file: String,
    pub(crate) subject: SubjectDn,
    pub(crate) key: Key,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) path_length: Option<u32>,
    pub(crate) self_issued: bool,
    /// A root: it has signed itself.
    pub(crate) self_signed: bool,
    /// Which others of the directory have signed it.
    issuers: Vec<usize>,
}

/// A file, or a certificate in it, that is not used. The others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// What is wrong with it.
    pub text: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.file, self.text)
    }
}

impl TrustDirectory {
    /// Whether a file of this name holds CA certificates: `<8 hex digits>.<digits>`, `*.pem`, `*.crt`.
    #[must_use]
    pub fn is_ca_file(name: &str) -> bool {
        let Some((stem, end)) = name.rsplit_once('.') else { return false };
        let hashed = stem.len() == 8
            && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !end.is_empty()
            && end.bytes().all(|byte| byte.is_ascii_digit());
        hashed || (!stem.is_empty() && matches!(end, "pem" | "crt"))
    }

    /// Takes the CA certificates out of files (name and content) in PEM or DER. Files of other
    /// names are left alone.
    #[must_use]
    pub fn from_files(mut files: Vec<(String, Vec<u8>)>) -> (Self, Vec<Problem>) {
        files.sort();
        let mut problems = Vec::new();
        let mut ders = BTreeMap::new(); // one entry for a certificate, whatever its files
        for (file, content) in files.iter().filter(|(name, _)| Self::is_ca_file(name)) {
            for der in certificates_in(file, content, &mut problems) {
                ders.entry(der).or_insert_with(|| file.clone());
            }
        }
        let mut read = Vec::new();
        for (der, file) in &ders {
            match read_ca(der, file) {
                Ok(pair) => read.push(pair),
                Err(broken) => {
                    let text = format!("{}: {broken}", crate::certificate::label(der));
                    problems.push(Problem { file: file.clone(), text });
                }
            }
        }
        problems.sort_by(|a, b| (&a.file, &a.text).cmp(&(&b.file, &b.text)));
        (Self::linked(read), problems)
    }

    /// Finds out who signed whom, once, so that no caller has to wait for it.
    fn linked(read: Vec<(Ca, Certificate<'_>)>) -> Self {
        let (mut cas, certificates): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        let mut by_subject: HashMap<SubjectDn, Vec<usize>> = HashMap::new();
        for (index, ca) in cas.iter().enumerate() {
            by_subject.entry(ca.subject.clone()).or_default().push(index);
        }
        let mut all_issuers = Vec::new();
        for (index, certificate) in certificates.iter().enumerate() {
            let named = by_subject.get(&certificate.issuer).cloned().unwrap_or_default();
            let signed = |&other: &usize| {
                other != index
                    && cas.get(other).is_some_and(|ca| ca.key.verify(&certificate.x509).is_ok())
            };
            all_issuers.push(named.into_iter().filter(signed).collect());
        }
        cas.iter_mut().zip(all_issuers).for_each(|(ca, issuers)| ca.issuers = issuers);
        Self { cas, by_subject }
    }

    /// How many CA certificates it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cas.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cas.is_empty()
    }

    /// The CAs that are not valid at this time: they are held, and no caller of theirs is accepted.
    #[must_use]
    pub fn out_of_date(&self, now_unix: i64) -> Vec<Problem> {
        let check = |ca: &Ca| {
            let broken =
                crate::certificate::check_time(ca.not_before, ca.not_after, now_unix).err()?;
            Some(Problem { file: ca.file.clone(), text: format!("{}: {broken}", ca.subject) })
        };
        self.cas.iter().filter_map(check).collect()
    }

    /// All CAs with this name; there may be several with one, each with a key of its own.
    pub(crate) fn named(&self, subject: &SubjectDn) -> impl Iterator<Item = &Ca> {
        let indices = self.by_subject.get(subject).map(Vec::as_slice).unwrap_or_default();
        indices.iter().filter_map(|&index| self.cas.get(index))
    }

    /// The CAs that have signed `ca`.
    pub(crate) fn issuers_of(&self, ca: &Ca) -> impl Iterator<Item = &Ca> {
        ca.issuers.iter().filter_map(|&index| self.cas.get(index))
    }
}

fn certificates_in(file: &str, content: &[u8], problems: &mut Vec<Problem>) -> Vec<Vec<u8>> {
    let mut problem = |text: String| problems.push(Problem { file: file.to_owned(), text });
    if content.len() > CA_FILE_BYTES_MAX {
        problem(format!("larger than {CA_FILE_BYTES_MAX} bytes"));
        return Vec::new();
    }
    const DER_SEQUENCE: u8 = 0x30;
    if content.first() == Some(&DER_SEQUENCE) {
        return vec![content.to_vec()];
    }
    let mut ders = Vec::new();
    for section in CertificateDer::pem_slice_iter(content).take(CERTIFICATES_PER_FILE_MAX) {
        match section {
            Ok(der) => ders.push(der.to_vec()),
            Err(_) => {
                problem("a PEM section cannot be read".to_owned());
                return ders;
            }
        }
    }
    if ders.is_empty() {
        problem("it holds no certificate".to_owned());
    }
    ders
}

fn read_ca<'a>(der: &'a [u8], file: &str) -> Result<(Ca, Certificate<'a>), Broken> {
    let certificate = Certificate::read(der)?;
    certificate.check_ca()?;
    let key = Key::of(certificate.x509.public_key())?;
    let self_issued = certificate.is_self_issued();
    let ca = Ca {
        file: file.to_owned(),
        subject: certificate.subject.clone(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        path_length: certificate.path_length(),
        self_issued,
        self_signed: self_issued && signs_itself(&key, &certificate),
        key,
        issuers: Vec::new(),
    };
    Ok((ca, certificate))
}

/// A signature over a digest that no longer counts is taken for what it says: what makes a root
/// trusted is where its certificate lies.
fn signs_itself(key: &Key, certificate: &Certificate<'_>) -> bool {
    match key.verify(&certificate.x509) {
        Ok(()) | Err(SignatureError::WeakDigest(_) | SignatureError::Unsupported) => true,
        Err(SignatureError::Wrong | SignatureError::WeakKey(_) | SignatureError::Unreadable) => {
            false
        }
    }
}

#[cfg(test)]
mod tests;
