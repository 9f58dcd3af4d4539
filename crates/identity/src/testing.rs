//! A small grid for tests: CAs and their certificates.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::CertificateDer;

use crate::{TrustDirectory, TrustOptions};

pub(crate) mod forge;

/// 2026-11-22T03:15:00Z; what [`params`] makes is valid in all of 2026.
pub(crate) const NOW: i64 = 1_795_317_300;

pub(crate) struct Ca {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) der: CertificateDer<'static>,
}

/// What `make` may change before a certificate is signed.
pub(crate) type Edit = fn(&mut CertificateParams);

pub(crate) fn unchanged(_: &mut CertificateParams) {}

pub(crate) fn params(cn: &str) -> CertificateParams {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Grid");
    name.push(DnType::CommonName, cn);
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn ca_params(cn: &str, edit: Edit) -> CertificateParams {
    let mut params = params(cn);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    edit(&mut params);
    params
}

pub(crate) fn root(cn: &str, edit: Edit) -> Ca {
    let (params, key) = (ca_params(cn, edit), KeyPair::generate().unwrap());
    let der = params.self_signed(&key).unwrap().der().clone();
    Ca { issuer: Issuer::new(params, key), der }
}

impl Ca {
    pub(crate) fn sub(&self, cn: &str, edit: Edit) -> Ca {
        let (params, key) = (ca_params(cn, edit), KeyPair::generate().unwrap());
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Ca { issuer: Issuer::new(params, key), der }
    }

    /// In the one-line form.
    pub(crate) fn name(&self) -> String {
        crate::certificate::label(&self.der)
    }

    pub(crate) fn user(&self, cn: &str, edit: Edit) -> CertificateDer<'static> {
        self.user_with_key(cn, edit, &KeyPair::generate().unwrap())
    }

    pub(crate) fn user_with_key(
        &self,
        cn: &str,
        edit: Edit,
        key: &KeyPair,
    ) -> CertificateDer<'static> {
        let mut params = params(cn);
        edit(&mut params);
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }
}

/// A trust directory of these, which may sign whom they like, without a problem.
pub(crate) fn trust(cas: &[&Ca]) -> TrustDirectory {
    let mut files: Vec<_> =
        cas.iter().enumerate().map(|(n, ca)| (format!("{n}.crt"), ca.der.to_vec())).collect();
    files.extend(cas.iter().enumerate().map(|(n, ca)| {
        let policy = policy(&ca.name(), &["/*"]);
        (format!("{n}.signing_policy"), policy.into_bytes())
    }));
    let (trust, problems) = TrustDirectory::from_files(files, TrustOptions::default());
    assert_eq!(problems, []);
    assert_eq!(trust.len(), cas.len());
    trust
}

/// A signing policy of a CA with these patterns.
pub(crate) fn policy(ca: &str, patterns: &[&str]) -> String {
    let patterns: Vec<_> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
    format!(
        "access_id_CA X509 '{ca}'\npos_rights globus CA:sign\ncond_subjects globus '{}'\n",
        patterns.join(" ")
    )
}
