//! CRLs made by `openssl ca -gencrl`.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use nesssi_identity::{Crl, Missing, TrustDirectory, TrustOptions, judge_chain};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

use crate::{has, now, openssl};

const CONFIGURATION: &str = "\
[ca]\ndefault_ca = this\n[this]\ndatabase = index.txt\ncertificate = ca.pem\nprivate_key = ca.key\n\
default_md = sha256\ndefault_crl_days = 1\n\
[v2]\nauthorityKeyIdentifier = keyid\n\
[indirect]\nissuingDistributionPoint = critical,@idp_indirect\n[idp_indirect]\nindirectCRL = TRUE\n\
[partial]\nissuingDistributionPoint = critical,@idp_partial\n[idp_partial]\nonlyuser = TRUE\n\
[delta]\n2.5.29.27 = critical,ASN1:INTEGER:1\n\
[unknown]\n1.2.3.4 = critical,ASN1:NULL\n";

/// A CA that revokes the certificate 4711 of its Alice.
struct Ca(TempDir);

impl Ca {
    fn new() -> Self {
        let ca = Self(TempDir::new().unwrap());
        fs::write(ca.0.path().join("openssl.cnf"), CONFIGURATION).unwrap();
        fs::write(ca.0.path().join("index.txt"), "").unwrap();
        ca.run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /O=Grid/CN=CA");
        ca.run("req -new -newkey rsa:2048 -nodes -keyout user.key -out user.csr -subj /O=Grid/CN=Alice");
        ca.run("x509 -req -in user.csr -CA ca.pem -CAkey ca.key -set_serial 4711 -days 1 -out user.pem");
        ca
    }

    fn run(&self, words: &str) -> String {
        openssl(self.0.path(), &words.split(' ').collect::<Vec<_>>())
    }

    fn revoke(&self, serials: impl Iterator<Item = u32>) {
        let mut index = String::new();
        for serial in serials {
            let (begin, end) = ("260101000000Z", "360101000000Z");
            writeln!(index, "R\t{end}\t{begin}\t{serial:06X}\tunknown\t/CN={serial}").unwrap();
        }
        fs::write(self.0.path().join("index.txt"), index).unwrap();
    }

    fn crl(&self, options: &str) -> Vec<u8> {
        self.run(format!("ca -config openssl.cnf -gencrl -out crl.pem {options}").trim());
        fs::read(self.0.path().join("crl.pem")).unwrap()
    }

    fn der(&self) -> Vec<u8> {
        self.run("crl -in crl.pem -outform DER -out crl.der");
        fs::read(self.0.path().join("crl.der")).unwrap()
    }

    fn trust(&self, crl: Vec<u8>) -> TrustDirectory {
        let files = vec![
            ("ca.pem".to_owned(), fs::read(self.0.path().join("ca.pem")).unwrap()),
            ("ca.r0".to_owned(), crl),
        ];
        let any =
            TrustOptions { missing_crl: Missing::Refuse, missing_signing_policy: Missing::Accept };
        TrustDirectory::from_files(files, any).0
    }

    /// The rule that refuses Alice, or `""`.
    fn verdict(&self, crl: Vec<u8>) -> String {
        let user = CertificateDer::from_pem_file(self.0.path().join("user.pem")).unwrap();
        let judged = judge_chain(&[user], &self.trust(crl), now());
        judged.err().map_or_else(String::new, |refusal| refusal.rule)
    }

    #[track_caller]
    fn check(&self, crl: Vec<u8>, expected: &str) {
        assert_eq!(self.verdict(crl), format!("ca.r0 of its issuer /O=Grid/CN=CA {expected}"));
    }
}

const REVOKED: &str = "says that it is revoked";

#[test]
fn of_both_versions_in_both_forms() {
    if !has(&["/usr/bin/openssl"]) {
        return;
    }
    let ca = Ca::new();
    for (options, version) in [("", "Version 1 "), ("-crlexts v2", "Version 2 ")] {
        ca.revoke([4_710, 4_712].into_iter());
        let pem = ca.crl(options);
        assert!(ca.run("crl -in crl.pem -noout -text").contains(version));
        assert_eq!(ca.verdict(pem), "");
        assert_eq!(ca.verdict(ca.der()), "");
        ca.revoke([4_710, 4_711].into_iter());
        ca.check(ca.crl(options), REVOKED);
        ca.check(ca.der(), REVOKED);
    }
}

#[test]
fn wrong_ones() {
    if !has(&["/usr/bin/openssl"]) {
        return;
    }
    let ca = Ca::new();
    let stale = ca.crl("-crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z");
    ca.check(stale, "is out of date since 2020-02-01T00:00:00Z");
    let early = ca.crl("-crl_lastupdate 20900101000000Z -crl_nextupdate 20900201000000Z");
    ca.check(early, "is not in force before 2090-01-01T00:00:00Z");
    ca.check(Ca::new().crl(""), "cannot be used: none of the keys of its CA has signed it");
    ca.check(ca.crl("-md sha1"), "cannot be used: it is signed over SHA-1, which can be forged");
    let good = ca.crl("");
    ca.check(good[..good.len() / 2].to_vec(), "cannot be used: it holds no CRL");
    ca.check(good.repeat(2), "cannot be used: it holds more than one CRL");
    for (section, why) in [
        ("indirect", "it is an indirect CRL"),
        ("partial", "it covers only some of its CA's certificates (issuingDistributionPoint)"),
        ("delta", "it is a delta CRL"),
        ("unknown", "it has the critical extension 1.2.3.4, which this server does not know"),
    ] {
        let list = ca.crl(&format!("-crlexts {section}"));
        ca.check(list, &format!("cannot be used: {why}"));
    }
}

#[test]
fn a_hundred_thousand_entries() {
    if !has(&["/usr/bin/openssl"]) {
        return;
    }
    const ENTRIES: u32 = 100_000;
    let ca = Ca::new();
    ca.revoke((0..ENTRIES).map(|number| 10_000 + number));
    let list = ca.crl("");
    let began = Instant::now();
    let crl = Crl::parse(&list).unwrap();
    let loaded = began.elapsed();
    assert_eq!(crl.len(), 100_000);
    // By far above what either takes, and below what a scan for each call would.
    assert!(loaded < Duration::from_secs(5), "{loaded:?}");
    let began = Instant::now();
    for serial in 10_000..10_000 + ENTRIES {
        assert!(crl.lists(&serial.to_be_bytes()));
    }
    let searched = began.elapsed();
    assert!(searched < Duration::from_secs(2), "{searched:?} for {ENTRIES}");
    assert!(!crl.lists(&9_999_u32.to_be_bytes()));
    assert_eq!(ca.verdict(list), "");
    ca.revoke((0..ENTRIES).map(|number| 4_000 + number));
    ca.check(ca.crl(""), REVOKED);
}
