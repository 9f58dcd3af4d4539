//! A throwaway grid: one CA, a host certificate, and credentials for people.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
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
    /// The certificates that were signed: a serial is a place in it, from 1.
    signed: Mutex<Vec<PathBuf>>,
}

/// What a proxy certificate may do: its policy language (RFC 3820 section 3.8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyPolicy {
    /// Everything that its issuer may.
    InheritAll,
    /// Globus's limited proxy.
    Limited,
    /// Nothing of its issuer's: a subject of its own.
    Independent,
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
        let (folder, name_, signed) = (folder.to_owned(), name.to_owned(), Mutex::default());
        let grid = Self { folder, name: name_, issuer, signed };
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

    /// A proxy of `of`, or of another proxy (RFC 3820), as OpenSSL makes it.
    #[must_use]
    pub fn proxy(&self, of: &Credential, policy: ProxyPolicy) -> Credential {
        let number = {
            let mut signed = self.signed.lock().unwrap();
            signed.push(PathBuf::new()); // a number of its own, and nothing that a CRL names
            signed.len()
        };
        let stem = self.folder.join(format!("proxy-{number}"));
        let file = |end: &str| stem.with_extension(end);
        let language = match policy {
            ProxyPolicy::InheritAll => "id-ppl-inheritAll",
            ProxyPolicy::Limited => "1.3.6.1.4.1.3536.1.1.1.9",
            ProxyPolicy::Independent => "id-ppl-independent",
        };
        let text = format!(
            "[proxy]\nproxyCertInfo=critical,language:{language}\n\
             keyUsage=critical,digitalSignature\n"
        );
        fs::write(file("cnf"), text).unwrap();
        let dn = format!("{}/CN={number}", of.dn);
        let mut request = Command::new("openssl");
        request.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        request.args(["-nodes", "-subj", &dn, "-keyout"]).arg(file("key.pem"));
        run(request.arg("-out").arg(file("csr")));
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-sha256", "-days", "1", "-extensions", "proxy", "-extfile"]);
        sign.arg(file("cnf")).arg("-in").arg(file("csr")).arg("-CA").arg(&of.certificate);
        sign.arg("-CAkey").arg(&of.key).args(["-set_serial", &number.to_string(), "-out"]);
        run(sign.arg(file("cert.pem")));
        let chain = [fs::read(file("cert.pem")).unwrap(), fs::read(&of.certificate).unwrap()];
        fs::write(file("cert.pem"), chain.concat()).unwrap();
        let key = fs::read_to_string(file("key.pem")).unwrap();
        fs::remove_file(file("key.pem")).unwrap();
        write_private(&file("key.pem"), &key);
        Credential { dn, certificate: file("cert.pem"), key: file("key.pem") }
    }

    /// Puts the CA's CRL into the trust directory: all certificates of these people are revoked.
    pub fn revoke(&self, revoked: &[&Credential]) {
        let signed = self.signed.lock().unwrap();
        let numbers = signed
            .iter()
            .enumerate()
            .filter(|(_, path)| revoked.iter().any(|credential| credential.certificate == **path));
        let revoked_certs = numbers.map(|(index, _)| RevokedCertParams {
            serial_number: SerialNumber::from(u64::try_from(index).unwrap() + 1),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 2),
            next_update: rcgen::date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let crl = params.signed_by(&self.issuer).unwrap();
        replace(&self.ca_file().with_extension("r0"), crl.pem().unwrap().as_bytes());
    }

    fn sign(&self, name: &str, file: &str, params: &CertificateParams) -> Credential {
        let key = KeyPair::generate().unwrap();
        let stem = self.folder.join(file.replace(' ', "-"));
        let mut params = params.clone();
        {
            let mut signed = self.signed.lock().unwrap();
            signed.push(stem.with_extension("cert.pem"));
            params.serial_number = Some(SerialNumber::from(u64::try_from(signed.len()).unwrap()));
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
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

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Writes a file as an administrator should: nobody ever sees half of it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, path).unwrap();
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
