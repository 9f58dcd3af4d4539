//! The trust directory: the CA certificates that a site has chosen, and beside each CA what it may
//! sign.
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
//! A file that cannot be used is a [`Problem`], and never keeps the others from being used. A policy that cannot
//! be used permits nothing: it refuses the certificates of its CA, and of no other.

mod read;

use std::collections::HashMap;

use nesssi_dn::SubjectDn;

use crate::signature::Key;
use crate::signing_policy::{POLICY_BYTES_MAX, SigningPolicy, Verdict};

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
    /// Which others of the directory have signed it.
    issuers: Vec<usize>,
}

/// A signing policy file of a CA, or why it cannot be used.
#[derive(Debug, Clone)]
struct Rule {
    file: String,
    content: Result<SigningPolicy, String>,
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
    /// and `*.crt` with CA certificates, `*.signing_policy`.
    #[must_use]
    pub fn is_trust_file(name: &str) -> bool {
        read::Kind::of(name).is_some()
    }

    /// How large a file of this name may be, in bytes; a larger one cannot be used.
    #[must_use]
    pub fn file_bytes_max(name: &str) -> usize {
        match read::Kind::of(name) {
            Some(read::Kind::SigningPolicy) => POLICY_BYTES_MAX,
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

    /// The CAs that are not valid at this time: they are held, and no caller of theirs is accepted.
    #[must_use]
    pub fn out_of_date(&self, now_unix: i64) -> Vec<Problem> {
        let check = |ca: &Ca| {
            let broken =
                crate::certificate::check_time(ca.not_before, ca.not_after, now_unix).err()?;
            Some(Problem { file: ca.file(), text: format!("{}: {broken}", ca.subject) })
        };
        self.cas.iter().filter_map(check).collect()
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
    /// [`Denied`] if there is no CRL and one is needed.
    pub(crate) fn check_revoked(
        &self,
        ca: &Ca,
        _serial: &[u8],
        _now_unix: i64,
    ) -> Result<(), Denied> {
        match self.options.missing_crl {
            Missing::Accept => Ok(()),
            Missing::Refuse => Err(Denied::NoCrl(ca.subject.to_oneline())),
        }
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

impl Ca {
    /// The first of its files, for texts.
    fn file(&self) -> String {
        self.files.first().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
