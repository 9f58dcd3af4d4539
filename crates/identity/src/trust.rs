//! The trust directory: the CA certificates that a site has chosen, and beside each CA what it may
//! sign and what it has revoked.
//!
//! CA certificates lie, one or more a file, in `<8 hex digits>.<number>` as Globus and OpenSSL name
//! them, `*.pem` or `*.crt`. Names inside the certificates decide who is who; but a certificate whose name has another
//! hash than its file is not used, since no other grid tool would find it. The same certificate under several
//! names counts once.
//!
//! Beside a CA's file lies its `<stem>.signing_policy`, or where there is none its `<stem>.namespaces`. They
//! belong to the CAs with which they share a stem, or whose hash is their stem; a CA may sign what all
//! of its files permit.
//!
//! CRLs lie in `<hash>.r<number>` or `<stem>.r<number>` and belong to the CAs of their issuer's name, one of
//! whose keys must have signed them. Any of several revokes; the newest says whether they are up to date.
//!
//! A file that cannot be used is a [`Problem`], and never keeps the others from being used. A policy or
//! CRL that cannot be used refuses the certificates of its CA, and of no other.

mod read;

use std::collections::HashMap;

use nesssi_dn::SubjectDn;

use crate::crl::{CRL_BYTES_MAX, Crl};
use crate::namespaces::Namespaces;
use crate::signature::Key;
use crate::signing_policy::{POLICY_BYTES_MAX, SigningPolicy, Verdict};
use crate::time::rfc3339;

/// How large a file of CA certificates may be, in bytes.
pub const CA_FILE_BYTES_MAX: usize = 1024 * 1024;

/// The CA certificates that a site has chosen to trust.
#[derive(Debug, Clone, Default)]
pub struct TrustDirectory {
    options: TrustOptions,
    cas: Vec<Ca>,
    by_subject: HashMap<SubjectDn, Namesakes>,
}

/// The CAs of one name, mostly one, and what their files say: a signing policy or a CRL is about a
/// name.
#[derive(Debug, Clone, Default)]
struct Namesakes {
    cas: Vec<usize>,
    /// What they may sign; each rule must permit. Without any, the options decide.
    rules: Vec<Rule>,
    /// Without any, the options decide.
    crls: Vec<CrlFile>,
}

/// What counts where a CA has no file of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustOptions {
    /// No CRL.
    pub missing_crl: Missing,
    /// Neither a signing policy nor namespaces.
    pub missing_signing_policy: Missing,
}

/// As Globus does: a CA without CRL revokes nothing, one without signing policy may sign nothing.
impl Default for TrustOptions {
    fn default() -> Self {
        Self { missing_crl: Missing::Accept, missing_signing_policy: Missing::Refuse }
    }
}

/// What becomes of a CA's certificates when a file beside it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They are accepted.
    Accept,
    /// They are refused.
    Refuse,
}

/// A CA of the directory: what of its certificate is needed to judge others, and its files.
#[derive(Debug, Clone)]
pub(crate) struct Ca {
    /// Its place in the directory.
    pub(crate) index: usize,
    /// Every file that holds its certificate.
    files: Vec<String>,
    /// The hashes that files of this CA may have as names.
    hashes: [String; 2],
    pub(crate) subject: SubjectDn,
    /// The number its issuer gave it: the DER INTEGER's bytes.
    pub(crate) serial: Vec<u8>,
    pub(crate) key: Key,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) path_length: Option<u32>,
    pub(crate) self_issued: bool,
    /// A root: it has signed itself.
    pub(crate) self_signed: bool,
    /// Its keyUsage, if there is one, lets it sign CRLs.
    signs_crls: bool,
    /// Which others of the directory have signed it.
    issuers: Vec<usize>,
}

/// What a CA may sign, in either format.
#[derive(Debug, Clone)]
enum Namespace {
    Policy(SigningPolicy),
    Namespaces(Namespaces),
}

impl Namespace {
    fn judge(&self, ca: &SubjectDn, subject: &SubjectDn) -> Verdict {
        match self {
            Self::Policy(policy) => policy.judge(ca, subject),
            Self::Namespaces(namespaces) => namespaces.judge(ca, subject),
        }
    }
}

/// A signing policy or namespaces file of a CA, or why it cannot be used.
#[derive(Debug, Clone)]
struct Rule {
    file: String,
    content: Result<Namespace, String>,
}

/// A CRL of a CA, or why it cannot be used.
#[derive(Debug, Clone)]
struct CrlFile {
    file: String,
    content: Result<SignedCrl, String>,
}

/// A CRL, and the CAs (all of its issuer's name) whose key has signed it: at least one.
#[derive(Debug, Clone)]
struct SignedCrl {
    crl: Crl,
    signers: Vec<usize>,
}

impl SignedCrl {
    fn check_time(&self, now_unix: i64) -> Result<(), Untimely> {
        if now_unix < self.crl.this_update {
            return Err(Untimely::NotYet(self.crl.this_update));
        }
        if now_unix > self.crl.next_update {
            return Err(Untimely::Stale(self.crl.next_update));
        }
        Ok(())
    }
}

/// A CRL that is not in force. The texts go on from its file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untimely {
    #[error("is not in force before {}", rfc3339(*.0))]
    NotYet(i64),
    #[error("is out of date since {}", rfc3339(*.0))]
    Stale(i64),
}

/// Why a CA's word for a certificate does not count. The texts go on from "certificate ... refused: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("its issuer {0} has no signing policy in the trust directory")]
    NoPolicy(String),
    #[error("{file} does not permit its issuer {ca} to sign this name")]
    NotPermitted { file: String, ca: String },
    #[error("{file} has nothing to say of its issuer {ca}")]
    NotNamed { file: String, ca: String },
    #[error("{file} of its issuer {ca} cannot be used: {why}")]
    BrokenPolicy { file: String, ca: String, why: String },
    #[error("its issuer {0} has no CRL in the trust directory")]
    NoCrl(String),
    #[error("{file} of its issuer {ca} says that it is revoked")]
    Revoked { file: String, ca: String },
    #[error("{file} of its issuer {ca} cannot be used: {why}")]
    BrokenCrl { file: String, ca: String, why: String },
    #[error("{file} of its issuer {ca} {untimely}")]
    UntimelyCrl { file: String, ca: String, untimely: Untimely },
}

/// A file, or a certificate in it, that is not used. The others are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Whether a file of this name belongs into a trust directory: `<8 hex digits>.<digits>`, `*.pem`
    /// and `*.crt` with CA certificates, `*.r<digits>` with CRLs, `*.signing_policy`,
    /// `*.namespaces`.
    #[must_use]
    pub fn is_trust_file(name: &str) -> bool {
        read::Kind::of(name).is_some()
    }

    /// How large a file of this name may be, in bytes; a larger one cannot be used.
    #[must_use]
    pub fn file_bytes_max(name: &str) -> usize {
        match read::Kind::of(name) {
            Some(read::Kind::Crl) => CRL_BYTES_MAX,
            Some(read::Kind::SigningPolicy | read::Kind::Namespaces) => POLICY_BYTES_MAX,
            Some(read::Kind::Ca) | None => CA_FILE_BYTES_MAX,
        }
    }

    /// Reads files (name and content). Those of other names are left alone. A file that is there and
    /// cannot be read is to be given without content: it then counts as broken, not as missing.
    #[must_use]
    pub fn from_files(
        files: Vec<(String, Vec<u8>)>,
        options: TrustOptions,
    ) -> (Self, Vec<Problem>) {
        read::read(files, options)
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

    /// The CAs and CRLs that are not valid at this time: they are held, and no caller of theirs is
    /// accepted.
    #[must_use]
    pub fn out_of_date(&self, now_unix: i64) -> Vec<Problem> {
        let check = |ca: &Ca| {
            let broken =
                crate::certificate::check_time(ca.not_before, ca.not_after, now_unix).err()?;
            Some(Problem { file: ca.file(), text: format!("{}: {broken}", ca.subject) })
        };
        let crls = self.by_subject.iter().flat_map(|(ca, named)| {
            let untimely = named.untimely(now_unix);
            untimely.map(move |(file, untimely)| Problem {
                file: file.to_owned(),
                text: format!("{ca}: this CRL {untimely}"),
            })
        });
        let mut problems: Vec<_> = self.cas.iter().filter_map(check).chain(crls).collect();
        problems.sort();
        problems
    }

    /// Whether `ca` may sign for `subject`: asked for end entities and CAs, never for proxies, which are no
    /// CA's to sign.
    ///
    /// # Errors
    /// [`Denied`] if one of its policies does not permit it or cannot be used, or if a policy is missing
    /// and needed.
    pub(crate) fn may_issue(&self, ca: &Ca, subject: &SubjectDn) -> Result<(), Denied> {
        let name = || ca.subject.to_oneline();
        let rules = self.by_subject.get(&ca.subject).map_or(&[][..], |named| &named.rules);
        if rules.is_empty() {
            return match self.options.missing_signing_policy {
                Missing::Accept => Ok(()),
                Missing::Refuse => Err(Denied::NoPolicy(name())),
            };
        }
        rules.iter().try_for_each(|rule| {
            let file = || rule.file.clone();
            match rule.content.as_ref().map(|policy| policy.judge(&ca.subject, subject)) {
                Ok(Verdict::Permitted) => Ok(()),
                Ok(Verdict::NotPermitted) => Err(Denied::NotPermitted { file: file(), ca: name() }),
                Ok(Verdict::NotNamed) => Err(Denied::NotNamed { file: file(), ca: name() }),
                Err(why) => {
                    Err(Denied::BrokenPolicy { file: file(), ca: name(), why: why.clone() })
                }
            }
        })
    }

    /// Whether the certificate that `ca` has given this serial number still counts, as its CRLs say: asked for
    /// end entities and CAs. `serial` is the content of the DER INTEGER, `now_unix` in seconds.
    ///
    /// # Errors
    /// [`Denied`] if a CRL lists it or cannot be used, if the newest is not in force, or if there is none
    /// and one is needed.
    pub(crate) fn check_revoked(
        &self,
        ca: &Ca,
        serial: &[u8],
        now_unix: i64,
    ) -> Result<(), Denied> {
        let name = || ca.subject.to_oneline();
        let files = self.by_subject.get(&ca.subject).map_or(&[][..], |named| &named.crls);
        if files.is_empty() {
            return match self.options.missing_crl {
                Missing::Accept => Ok(()),
                Missing::Refuse => Err(Denied::NoCrl(name())),
            };
        }
        let mut in_use = Vec::new();
        let mut broken = Ok(());
        for CrlFile { file, content } in files {
            match content {
                Ok(signed) if signed.crl.lists(serial) => {
                    return Err(Denied::Revoked { file: file.clone(), ca: name() });
                }
                Ok(signed) => in_use.push((file, signed)),
                Err(why) => {
                    let (file, why) = (file.clone(), why.clone());
                    broken = Err(Denied::BrokenCrl { file, ca: name(), why });
                }
            }
        }
        broken?;
        check_newest(ca, &in_use, now_unix).map_err(|(file, untimely)| Denied::UntimelyCrl {
            file,
            ca: name(),
            untimely,
        })
    }

    /// All CAs with this name; there may be several with one, each with a key of its own.
    pub(crate) fn named(&self, subject: &SubjectDn) -> impl Iterator<Item = &Ca> {
        let indices = self.by_subject.get(subject).map_or(&[][..], |named| &named.cas);
        indices.iter().filter_map(|&index| self.cas.get(index))
    }

    /// The CAs that have signed `ca`.
    pub(crate) fn issuers_of(&self, ca: &Ca) -> impl Iterator<Item = &Ca> {
        ca.issuers.iter().filter_map(|&index| self.cas.get(index))
    }
}

/// The newest CRL that has begun must be in force. Where CAs of one name have a key each, a list by the key of
/// `ca` says more of its certificates than one by another's.
fn check_newest(
    ca: &Ca,
    crls: &[(&String, &SignedCrl)],
    now_unix: i64,
) -> Result<(), (String, Untimely)> {
    let by_its_key = |signed: &SignedCrl| signed.signers.contains(&ca.index);
    let any_own = crls.iter().any(|(_, signed)| by_its_key(signed));
    let newest = crls
        .iter()
        .filter(|(_, signed)| !any_own || by_its_key(signed))
        .max_by_key(|(_, signed)| (signed.crl.this_update <= now_unix, signed.crl.this_update));
    newest.map_or(Ok(()), |(file, signed)| {
        signed.check_time(now_unix).map_err(|untimely| ((*file).clone(), untimely))
    })
}

impl Namesakes {
    /// CRLs that are not in force, with their files' names.
    fn untimely(&self, now_unix: i64) -> impl Iterator<Item = (&str, Untimely)> {
        self.crls.iter().filter_map(move |CrlFile { file, content }| {
            let untimely = content.as_ref().ok()?.check_time(now_unix).err()?;
            Some((file.as_str(), untimely))
        })
    }
}

impl Ca {
    /// The first of its files, for texts.
    fn file(&self) -> String {
        self.files.first().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
