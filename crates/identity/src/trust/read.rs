//! From files to CAs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nesssi_dn::SubjectDn;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{
    CA_FILE_BYTES_MAX, Ca, CrlFile, Missing, Namesakes, Namespace, Problem, Rule, SignedCrl,
    TrustDirectory, TrustOptions,
};
use crate::certificate::{Broken, Certificate};
use crate::crl::Unverified;
use crate::hash;
use crate::namespaces::Namespaces;
use crate::signature::{Key, SignatureError};
use crate::signing_policy::{PolicyError, SigningPolicy};

/// How many certificates one file may hold.
const CERTIFICATES_PER_FILE_MAX: usize = 1_000;
const DER_SEQUENCE: u8 = 0x30;

/// What a file holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ca,
    Crl,
    SigningPolicy,
    Namespaces,
}

impl Kind {
    pub(super) fn of(name: &str) -> Option<Self> {
        let (stem, end) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
        match end {
            "pem" | "crt" => Some(Self::Ca),
            "signing_policy" => Some(Self::SigningPolicy),
            "namespaces" => Some(Self::Namespaces),
            _ if is_number(end) => is_hash(stem).then_some(Self::Ca),
            _ => end.strip_prefix('r').filter(|number| is_number(number)).map(|_| Self::Crl),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
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
    (is_hash(stem) && is_number(end)).then(|| stem_of(name))
}

/// The CAs that files with a stem are for.
type Names = HashMap<String, Vec<SubjectDn>>;
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
    let namespaces = by_stem(of(Kind::Namespaces));
    let mut names: Names = HashMap::new();
    let TrustDirectory { cas, by_subject, .. } = &mut trust;
    for (subject, named) in by_subject.iter_mut() {
        let cas = named.cas.iter().filter_map(|&index| cas.get(index));
        let stems: BTreeSet<_> = cas.flat_map(Ca::stems).collect();
        let policy = |content: &[u8]| SigningPolicy::parse(content).map(Namespace::Policy);
        named.rules = rules_of(&stems, &policies, policy, &mut problems);
        if named.rules.is_empty() {
            let parse = |content: &[u8]| Namespaces::parse(content).map(Namespace::Namespaces);
            named.rules = rules_of(&stems, &namespaces, parse, &mut problems);
        }
        for stem in stems {
            names.entry(stem).or_default().push(subject.clone());
        }
    }
    for (file, content) in of(Kind::Crl) {
        let problem = |text: &String| Problem { file: file.clone(), text: text.clone() };
        let by_stem = names.get(&stem_of(file)).map_or(&[][..], Vec::as_slice);
        match read_crl(file, content, by_stem, &trust) {
            Err(useless) => problems.push(problem(&useless)),
            Ok(crls) => {
                for (ca, crl) in crls {
                    problems.extend(crl.content.as_ref().err().map(problem));
                    trust.by_subject.entry(ca).or_default().crls.push(crl);
                }
            }
        }
    }
    report_missing(&trust, &mut problems);
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

/// The CAs that a CRL is for, and for each whether it can be used: those of its issuer's name, and those
/// that its file's name says it is for. One of a CA that is not here is nobody's.
///
/// # Errors
/// Why it is useless, if it is for nobody.
fn read_crl(
    file: &str,
    content: &[u8],
    by_stem: &[SubjectDn],
    trust: &TrustDirectory,
) -> Result<Vec<(SubjectDn, CrlFile)>, String> {
    let crl = |content| CrlFile { file: file.to_owned(), content };
    let broken = |text: String| by_stem.iter().map(move |ca| (ca.clone(), crl(Err(text.clone()))));
    let unverified = match Unverified::read(content) {
        Err(error) if by_stem.is_empty() => return Err(error.to_string()),
        Err(error) => return Ok(broken(error.to_string()).collect()),
        Ok(unverified) => unverified,
    };
    let issuer = unverified.crl.issuer.clone();
    let mut crls = Vec::new();
    if !by_stem.contains(&issuer) {
        crls.extend(broken(format!("it is of another CA, {issuer}")));
    }
    if trust.by_subject.contains_key(&issuer) {
        crls.push((issuer, crl(signed(unverified, trust))));
    }
    Ok(crls)
}

/// A CRL with the CAs that have signed it.
fn signed(unverified: Unverified, trust: &TrustDirectory) -> Result<SignedCrl, String> {
    let mut signers = Vec::new();
    let mut failure = "none of the keys of its CA has signed it".to_owned();
    for ca in trust.named(&unverified.crl.issuer) {
        match unverified.verify(&ca.key) {
            Ok(()) if ca.signs_crls => signers.push(ca.index),
            Ok(()) => failure = "its CA's key may not sign CRLs (keyUsage)".to_owned(),
            Err(SignatureError::Wrong) => {}
            Err(other) => failure = other.to_string(),
        }
    }
    if signers.is_empty() { Err(failure) } else { Ok(SignedCrl { crl: unverified.crl, signers }) }
}

/// Tells of the CAs that nobody's certificate counts of, for want of a file.
fn report_missing(trust: &TrustDirectory, problems: &mut Vec<Problem>) {
    for (subject, named) in &trust.by_subject {
        let file = named.cas.first().and_then(|&index| trust.cas.get(index)).map(Ca::file);
        let mut report = |missing: Missing, is_missing: bool, what: &str| {
            if missing == Missing::Refuse && is_missing {
                let text = format!("{subject}: {what}, so that its certificates are refused");
                problems.push(Problem { file: file.clone().unwrap_or_default(), text });
            }
        };
        let TrustOptions { missing_crl, missing_signing_policy } = trust.options;
        report(missing_signing_policy, named.rules.is_empty(), "no signing policy");
        report(missing_crl, named.crls.is_empty(), "no CRL");
    }
}

/// The policies with these stems, each text once: Debian's anchors have every file under three names.
fn rules_of(
    stems: &BTreeSet<String>,
    policies: &HashMap<String, Vec<(&str, &[u8])>>,
    parse: impl Fn(&[u8]) -> Result<Namespace, PolicyError>,
    problems: &mut Vec<Problem>,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut seen = BTreeSet::new();
    let mine = stems.iter().filter_map(|stem| policies.get(stem)).flatten();
    for (file, content) in mine.filter(|(_, content)| seen.insert(*content)) {
        let content = parse(content).map_err(|error| error.to_string());
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
    for ((index, ca), issuers) in cas.iter_mut().enumerate().zip(all_issuers) {
        ca.index = index;
        ca.issuers = issuers;
    }
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
        index: 0,
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
        signs_crls: signs_crls(&certificate),
        issuers: Vec::new(),
    };
    Ok((ca, certificate))
}

fn signs_crls(certificate: &Certificate<'_>) -> bool {
    match certificate.x509.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.crl_sign()),
        Err(_) => false,
    }
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
