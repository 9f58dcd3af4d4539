//! Whom an explanation is about.

use std::path::Path;

use nesssi_identity::{Identity, Presented, judge_chain, rfc3339};
use nesssi_policy::{ProxyKind, SubjectDn};

use super::{Stop, Words, dn};
use crate::cli::tell;
use crate::files;
use crate::site::{self, Site};

/// Largest file with a chain.
const PEM_BYTES_MAX: usize = 1024 * 1024;
/// The words of `--proxy`.
pub(super) const PROXIES: [&str; 3] = ["full", "limited", "independent"];

/// A caller, given by name or by his certificate.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) subject: Option<SubjectDn>,
    pub(super) issuer: Option<SubjectDn>,
    pub(super) proxy: Option<ProxyKind>,
    not_after: Option<i64>,
}

impl Caller {
    /// The caller that the words name.
    ///
    /// # Errors
    /// [`Stop::Refused`] for a certificate that the trust directory refuses.
    pub(super) fn of(words: &Words, site: &Site, now_unix: i64) -> Result<Self, Stop> {
        if let Some(file) = &words.cert {
            return judged(file, site, now_unix);
        }
        let subject = words.dn.as_deref().map(|text| dn("--dn", text)).transpose()?;
        let issuer = words.issuer.as_deref().map(|text| dn("--issuer", text)).transpose()?;
        let proxy = words.proxy.as_deref().and_then(|word| match word {
            "full" => Some(ProxyKind::Full),
            "limited" => Some(ProxyKind::Limited),
            "independent" => Some(ProxyKind::Independent),
            _ => None,
        });
        Ok(Self { subject, issuer, proxy, not_after: None })
    }

    /// Says who he is, a line a fact.
    pub(super) fn describe(&self, line: impl Fn(&str, &str)) {
        let text = |name: &SubjectDn| name.to_string();
        line("caller", &self.subject.as_ref().map_or("without a certificate".to_owned(), text));
        if let Some(issuer) = &self.issuer {
            line("issuer", &issuer.to_string());
        }
        if let Some(proxy) = self.proxy {
            line("proxy", word(proxy));
        }
        if let Some(not_after) = self.not_after {
            line("good until", &rfc3339(not_after));
        }
    }
}

fn judged(file: &Path, site: &Site, now_unix: i64) -> Result<Caller, Stop> {
    let told = |why: String| Stop::Files(vec![format!("{}: {why}", file.display())]);
    let pem = files::read(file, PEM_BYTES_MAX).map_err(told)?;
    let presented = Presented::from_pem(&pem).map_err(|error| told(error.to_string()))?;
    let (trust, problems) =
        site::trust(&site.config, now_unix).map_err(|why| Stop::Files(vec![why]))?;
    for problem in problems {
        tell(&format!("warning: trust directory: {problem}"));
    }
    let Identity { subject, issuer, not_after, proxy } =
        judge_chain(presented.chain(), &trust, now_unix)
            .map_err(|refusal| Stop::Refused(format!("fault 403, {refusal}")))?;
    let proxy = proxy.map(|kind| match kind {
        nesssi_identity::ProxyKind::Full => ProxyKind::Full,
        nesssi_identity::ProxyKind::Limited => ProxyKind::Limited,
        nesssi_identity::ProxyKind::Independent => ProxyKind::Independent,
    });
    Ok(Caller { subject: Some(subject), issuer: Some(issuer), proxy, not_after: Some(not_after) })
}

fn word(proxy: ProxyKind) -> &'static str {
    match proxy {
        ProxyKind::Full => "full",
        ProxyKind::Limited => "limited",
        ProxyKind::Independent => "independent",
    }
}
