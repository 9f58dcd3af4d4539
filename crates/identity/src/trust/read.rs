//! From files to CAs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nesssi_dn::SubjectDn;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{
    CA_FILE_BYTES_MAX, Ca, Missing, Namesakes, Problem, Rule, TrustDirectory, TrustOptions,
};
use crate::certificate::{Broken, Certificate};
use crate::hash;
use crate::signature::{Key, SignatureError};
use crate::signing_policy::SigningPolicy;

/// How many certificates one file may hold.
const CERTIFICATES_PER_FILE_MAX: usize = 1_000;
const DER_SEQUENCE: u8 = 0x30;

/// What a file holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ca,
    SigningPolicy,
}

impl Kind {
    pub(super) fn of(name: &str) -> Option<Self> {
        let (stem, end) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
        let number = !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit());
        match end {
            "pem" | "crt" => Some(Self::Ca),
            "signing_policy" => Some(Self::SigningPolicy),
            _ => (number && is_hash(stem)).then_some(Self::Ca),
        }
    }
}

fn is_hash(stem: &str) -> bool {
    stem.len() == 8 && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What names of files that belong together begin with. Hashes are in lower case.
fn stem_of(name: &str) -> String {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    if is_hash(stem) { stem.to_ascii_lowercase() } else { stem.to_owned() }
}

/// The hash that a CA file's name promises.
fn promised_hash(name: &str) -> Option<String> {
    let (stem, end) = name.rsplit_once('.')?;
    (is_hash(stem) && end.bytes().all(|byte| byte.is_ascii_digit())).then(|| stem_of(name))
}

type Files = Vec<(String, Vec<u8>)>;

pub(super) fn read(mut files: Files, options: TrustOptions) -> (TrustDirectory, Vec<Problem>) {
    files.sort();
    let of = |kind| files.iter().filter(move |(name, _)| Kind::of(name) == Some(kind));
    let mut problems = Vec::new();
    let mut ders: BTreeMap<Vec<u8>, Vec<String>> = BTreeMap::new(); // whatever its files
    for (file, content) in of(Kind::Ca) {
        for der in certificates_in(file, content, &mut problems) {
            ders.entry(der).or_default().push(file.clone());
        }
    }
    let mut read = Vec::new();
    for (der, files) in &ders {
        read.extend(read_ca(der, files, &mut problems));
    }
    let mut trust = linked(read, options);
    let policies = by_stem(of(Kind::SigningPolicy));
    let TrustDirectory { cas, by_subject, .. } = &mut trust;
    for (subject, named) in by_subject {
        let cas: Vec<_> = named.cas.iter().filter_map(|&index| cas.get(index)).collect();
        let stems: BTreeSet<_> = cas.iter().flat_map(|ca| ca.stems()).collect();
        named.rules = rules_of(&stems, &policies, &mut problems);
        if named.rules.is_empty() && options.missing_signing_policy == Missing::Refuse {
            let text = format!("{subject}: no signing policy, so that it may sign nobody");
            problems
                .push(Problem { file: cas.first().map_or_else(String::new, |ca| ca.file()), text });
        }
    }
    problems.sort();
    problems.dedup();
    (trust, problems)
}

fn by_stem<'a>(
    files: impl Iterator<Item = &'a (String, Vec<u8>)>,
) -> HashMap<String, Vec<(&'a str, &'a [u8])>> {
    let mut map: HashMap<_, Vec<_>> = HashMap::new();
    for (name, content) in files {
        map.entry(stem_of(name)).or_default().push((name.as_str(), content.as_slice()));
    }
    map
}

/// The policies with these stems, each text once: Debian's anchors have every file under three names.
fn rules_of(
    stems: &BTreeSet<String>,
    policies: &HashMap<String, Vec<(&str, &[u8])>>,
    problems: &mut Vec<Problem>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut seen = BTreeSet::new();
    let mine = stems.iter().filter_map(|stem| policies.get(stem)).flatten();
    for (file, content) in mine.filter(|(_, content)| seen.insert(*content)) {
        let content = SigningPolicy::parse(content).map_err(|error| error.to_string());
        if let Err(why) = &content {
            problems.push(Problem { file: (*file).to_owned(), text: why.clone() });
        }
        rules.push(Rule { file: (*file).to_owned(), content });
    }
    rules
}

impl Ca {
    /// What the names of this CA's files may begin with.
    fn stems(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| stem_of(file)).chain(self.hashes.clone())
    }
}

/// Finds out who signed whom, once, so that no caller has to wait for it.
fn linked(read: Vec<(Ca, Certificate<'_>)>, options: TrustOptions) -> TrustDirectory {
    let (mut cas, certificates): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    let mut by_subject: HashMap<SubjectDn, Namesakes> = HashMap::new();
    for (index, ca) in cas.iter().enumerate() {
        by_subject.entry(ca.subject.clone()).or_default().cas.push(index);
    }
    let mut all_issuers = Vec::new();
    for (index, certificate) in certificates.iter().enumerate() {
        let named = by_subject.get(&certificate.issuer).map_or(&[][..], |named| &named.cas);
        let signed = |&other: &usize| {
            other != index
                && cas.get(other).is_some_and(|ca| ca.key.verify(&certificate.x509).is_ok())
        };
        all_issuers.push(named.iter().copied().filter(signed).collect());
    }
    cas.iter_mut().zip(all_issuers).for_each(|(ca, issuers)| ca.issuers = issuers);
    TrustDirectory { options, cas, by_subject }
}

fn certificates_in(file: &str, content: &[u8], problems: &mut Vec<Problem>) -> Vec<Vec<u8>> {
    let mut problem = |text: String| problems.push(Problem { file: file.to_owned(), text });
    if content.len() > CA_FILE_BYTES_MAX {
        problem(format!("larger than {CA_FILE_BYTES_MAX} bytes"));
        return Vec::new();
    }
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

/// A CA, if its certificate can be used, with those of its files that are named as they must be.
fn read_ca<'a>(
    der: &'a [u8],
    files: &[String],
    problems: &mut Vec<Problem>,
) -> Option<(Ca, Certificate<'a>)> {
    let (mut ca, certificate) = match understand(der) {
        Ok(pair) => pair,
        Err(broken) => {
            let text = format!("{}: {broken}", crate::certificate::label(der));
            problems.push(Problem { file: files.first().cloned().unwrap_or_default(), text });
            return None;
        }
    };
    for file in files {
        match promised_hash(file).filter(|hash| !ca.hashes.contains(hash)) {
            None => ca.files.push(file.clone()),
            Some(_) => {
                let [new, old] = &ca.hashes;
                let text =
                    format!("{}: its name has the hash {new} (or {old}, the old form)", ca.subject);
                problems.push(Problem { file: file.clone(), text });
            }
        }
    }
    (!ca.files.is_empty()).then_some((ca, certificate))
}

fn understand(der: &[u8]) -> Result<(Ca, Certificate<'_>), Broken> {
    let certificate = Certificate::read(der)?;
    certificate.check_ca()?;
    let key = Key::of(certificate.x509.public_key())?;
    let self_issued = certificate.is_self_issued();
    let ca = Ca {
        files: Vec::new(),
        hashes: hash::both(certificate.x509.subject()),
        subject: certificate.subject.clone(),
        serial: certificate.x509.raw_serial().to_vec(),
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
