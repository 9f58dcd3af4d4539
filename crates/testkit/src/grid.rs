//! A throwaway grid: one CA, a host certificate, and credentials for people.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

/// A certificate and key as files, and the DN in the one-line form.
#[derive(Debug, Clone)]
pub struct Credential {
    /// `/O=NESSSI Test/CN=<name>`.
    pub dn: String,
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, 0600.
    pub key: PathBuf,
}

/// A CA and the folder it writes to.
pub struct Grid {
    folder: PathBuf,
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Grid {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Grid").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Grid {
    /// A new CA named `/O=NESSSI Test/CN=<name>`, its certificate and the policy that it may sign
    /// `/O=NESSSI Test/*` in `<folder>/certificates`.
    #[must_use]
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let grid = Self { folder: folder.to_owned(), name: name.to_owned(), issuer };
        fs::create_dir_all(grid.trust_directory()).unwrap();
        fs::write(grid.ca_file(), grid.issuer.pem()).unwrap();
        let policy = format!(
            "access_id_CA X509 '/O=NESSSI Test/CN={name}'\npos_rights globus CA:sign\n\
             cond_subjects globus '\"/O=NESSSI Test/*\"'\n"
        );
        fs::write(grid.ca_file().with_extension("signing_policy"), policy).unwrap();
        grid
    }

    /// Where the CA's certificate lies.
    #[must_use]
    pub fn trust_directory(&self) -> PathBuf {
        self.folder.join("certificates")
    }

    /// The CA's certificate alone, for clients.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.trust_directory().join(format!("{}.pem", self.name.replace(' ', "-")))
    }

    /// The server's certificate, good for `localhost` and both loopback addresses.
    #[must_use]
    pub fn host(&self) -> Credential {
        let mut params = params("localhost");
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress("127.0.0.1".parse().unwrap()),
            SanType::IpAddress("::1".parse().unwrap()),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign("localhost", "host", &params)
    }

    /// A person's certificate, good for two days around now.
    #[must_use]
    pub fn person(&self, name: &str) -> Credential {
        self.sign(name, name, &person(name))
    }

    /// A person's certificate that expired years ago.
    #[must_use]
    pub fn expired(&self, name: &str) -> Credential {
        let mut params = person(name);
        params.not_before = rcgen::date_time_ymd(2006, 1, 1);
        params.not_after = rcgen::date_time_ymd(2007, 1, 1);
        self.sign(name, &format!("{name}-expired"), &params)
    }

    fn sign(&self, name: &str, file: &str, params: &CertificateParams) -> Credential {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let stem = self.folder.join(file.replace(' ', "-"));
        let credential = Credential {
            dn: format!("/O=NESSSI Test/CN={name}"),
            certificate: stem.with_extension("cert.pem"),
            key: stem.with_extension("key.pem"),
        };
        fs::write(&credential.certificate, certificate.pem()).unwrap();
        write_private(&credential.key, &key.serialize_pem());
        credential
    }
}

fn person(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "NESSSI Test");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn write_private(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
