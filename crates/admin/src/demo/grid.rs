//! The throwaway grid: a CA, the host's certificate, and two people.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

use super::ground::{Ground, make_folder, write_private};
use crate::cli::Failure;

/// What the CA is called, in the part of its certificates' names that they share.
const ORGANISATION: &str = "NESSSI demo";

/// Files of the grid.
#[derive(Debug)]
pub(super) struct Grid {
    pub(super) trust_directory: PathBuf,
    pub(super) alice: Credential,
    pub(super) wendy: Credential,
}

/// A person's files.
#[derive(Debug)]
pub(super) struct Credential {
    pub(super) dn: String,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// Makes the CA and everybody's credentials.
///
/// # Errors
/// If a key cannot be made or a file not written.
pub(super) fn make(ground: &Ground) -> Result<Grid, Failure> {
    let folder = ground.folder.join("grid");
    let trust_directory = folder.join("certificates");
    make_folder(&trust_directory, 0o755)?;
    let mut ca = params("CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    fs::write(trust_directory.join("nesssi-demo-ca.pem"), issuer.pem())?;
    let policy = format!(
        "access_id_CA X509 '/O={ORGANISATION}/CN=CA'\npos_rights globus CA:sign\n\
         cond_subjects globus '\"/O={ORGANISATION}/*\"'\n"
    );
    fs::write(trust_directory.join("nesssi-demo-ca.signing_policy"), policy)?;
    host(&issuer, &folder)?;
    let people = ground.people();
    let alice = person(&issuer, &people, "Alice Astronomer", "alice")?;
    let wendy = person(&issuer, &people, "Wendy Weak", "wendy")?;
    Ok(Grid { trust_directory, alice, wendy })
}

fn host(issuer: &Issuer, folder: &Path) -> Result<(), Failure> {
    let mut params = params("localhost");
    params.subject_alt_names =
        vec![SanType::DnsName("localhost".try_into()?), SanType::IpAddress("127.0.0.1".parse()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    sign(issuer, &params, &folder.join("hostcert.pem"), &folder.join("hostkey.pem"))
}

fn person(issuer: &Issuer, folder: &Path, name: &str, file: &str) -> Result<Credential, Failure> {
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = folder.join(format!("{file}.cert.pem"));
    let key = folder.join(format!("{file}.key.pem"));
    sign(issuer, &params, &certificate, &key)?;
    Ok(Credential { dn: format!("/O={ORGANISATION}/CN={name}"), certificate, key })
}

fn sign(
    issuer: &Issuer,
    params: &CertificateParams,
    certificate: &Path,
    key: &Path,
) -> Result<(), Failure> {
    let pair = KeyPair::generate()?;
    fs::write(certificate, params.signed_by(&pair, issuer)?.pem())?;
    write_private(key, &pair.serialize_pem())
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, ORGANISATION);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
