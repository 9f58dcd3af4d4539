//! Makes a throwaway grid: a CA, a host certificate and a caller's, for RSA-2048 and for P-256.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType,
};

#[derive(Parser)]
struct Arguments {
    folder: PathBuf,
}

fn main() {
    let folder = Arguments::parse().folder;
    for kind in ["rsa", "p256"] {
        make(&folder.join(kind), kind);
    }
}

fn make(folder: &Path, kind: &str) {
    let trust = folder.join("certificates");
    fs::create_dir_all(&trust).unwrap();
    let mut params = named("Bench CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(params, key(kind)).unwrap();
    fs::write(trust.join("ca.pem"), issuer.pem()).unwrap();
    let policy = "access_id_CA X509 '/O=NESSSI Bench/CN=Bench CA'\npos_rights globus CA:sign\n\
                  cond_subjects globus '\"/O=NESSSI Bench/*\"'\n";
    fs::write(trust.join("ca.signing_policy"), policy).unwrap();

    let mut host = named("localhost");
    host.subject_alt_names = vec![
        SanType::DnsName("localhost".try_into().unwrap()),
        SanType::IpAddress("127.0.0.1".parse().unwrap()),
    ];
    let mut caller = named("Ann Bench");
    caller.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    for (name, params) in [("host", host), ("caller", caller)] {
        let key = key(kind);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn key(kind: &str) -> KeyPair {
    match kind {
        "rsa" => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
        _ => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "NESSSI Bench");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
