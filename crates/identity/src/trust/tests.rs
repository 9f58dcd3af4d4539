mod policies;
mod revoked;

use super::*;
use crate::testing::{NOW, root};

/// For tests that are not about policies.
const ANY: TrustOptions =
    TrustOptions { missing_crl: Missing::Accept, missing_signing_policy: Missing::Accept };

fn load(files: &[(&str, &[u8])]) -> (usize, Vec<String>) {
    let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec()));
    let (trust, problems) = TrustDirectory::from_files(files.collect(), ANY);
    (trust.len(), problems.iter().map(Problem::to_string).collect())
}

const OLD_ROOT: &[u8] = include_bytes!("../../testdata/root-signed-over-sha1.pem");
const FIRST_ROOT: &[u8] = include_bytes!("../../testdata/root-of-version-1.pem");
const SMALL_ROOT: &[u8] = include_bytes!("../../testdata/root-with-rsa-1024.pem");
const OLD_SUB: &[u8] = include_bytes!("../../testdata/subca-signed-over-sha1.pem");
const USER: &[u8] = include_bytes!("../../testdata/user-of-sha1-root.pem");

#[test]
fn names_of_files() {
    let check =
        |name: &str, is: bool| assert_eq!(TrustDirectory::is_trust_file(name), is, "{name}");
    check("0123abcd.0", true);
    check("0123ABCD.12", true);
    check("0123abcd.r0", true);
    check("grid.r12", true);
    check("grid.r", false);
    check(".r0", false);
    check("grid.rx", false);
    check("grid.namespaces", true);
    check("grid.crl_url", false);
    check("grid.0", false);
    check("0123abcd.signing_policy", true);
    check("grid.signing_policy", true);
    check(".signing_policy", false);
    check("signing_policy", false);
    check("0123abc.0", false);
    check("0123abcg.0", false);
    check("0123abcd.", false);
    check("grid.pem", true);
    check("grid.crt", true);
    check("grid.info", false);
    check(".pem", false);
    check("pem", false);
}

#[test]
fn pem_and_der_and_several_in_one_file() {
    let der = root("A", crate::testing::unchanged).der;
    let two = [OLD_ROOT, b"\nsome words between\n", FIRST_ROOT].concat();
    assert_eq!(load(&[("a.crt", &der), ("two.pem", &two)]), (3, vec![]));
}

#[test]
fn one_certificate_under_several_names_counts_once() {
    assert_eq!(
        load(&[("a.crt", OLD_ROOT), ("b.pem", OLD_ROOT), ("old.pem", OLD_ROOT)]),
        (1, vec![])
    );
}

#[test]
fn a_broken_file_is_told_and_keeps_no_other_out() {
    let cut = &OLD_ROOT[..OLD_ROOT.len() / 2];
    let der = root("A", crate::testing::unchanged).der;
    let mut longer = der.to_vec();
    longer.push(0);
    let large = vec![b'#'; CA_FILE_BYTES_MAX + 1];
    let (count, problems) = load(&[
        ("a.pem", cut),
        ("b.crt", &der[..der.len() - 1]),
        ("c.crt", &longer),
        ("d.pem", b"hello"),
        ("e.pem", b""),
        ("f.pem", &large),
        ("g.pem", OLD_ROOT),
        ("h.txt", b"left alone"),
    ]);
    assert_eq!(count, 1);
    assert_eq!(
        problems,
        [
            "a.pem: a PEM section cannot be read",
            "b.crt: (unreadable): it is no certificate that can be read",
            "c.crt: (unreadable): it is no certificate that can be read",
            "d.pem: it holds no certificate",
            "e.pem: it holds no certificate",
            "f.pem: larger than 1048576 bytes",
        ]
    );
}

#[test]
fn what_may_not_be_trusted() {
    let no_sign = root("No Sign", |p| p.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign]);
    let constrained = root("Narrow", |p| {
        p.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("example.org".to_owned())],
            excluded_subtrees: vec![],
        });
    });
    let (count, problems) = load(&[
        ("1.pem", SMALL_ROOT),
        ("2.pem", OLD_SUB),
        ("3.pem", USER),
        ("4.crt", &no_sign.der),
        ("5.crt", &constrained.der),
        ("6.pem", FIRST_ROOT),
    ]);
    assert_eq!(count, 1);
    assert_eq!(
        problems,
        [
            "1.pem: /O=Grid/CN=Small Root: its RSA key has 1024 bits, and 2048 are needed",
            "2.pem: /O=Grid/CN=Old Sub: it is signed over SHA-1, which can be forged",
            "3.pem: /O=Grid/CN=Alice: it is no CA's (basicConstraints)",
            "4.crt: /O=Grid/CN=No Sign: its key may not sign certificates (keyUsage)",
            "5.crt: /O=Grid/CN=Narrow: it has name constraints, which this server cannot check",
        ]
    );
}

#[test]
fn cas_out_of_date_are_told() {
    let old = root("Old", |p| p.not_after = rcgen::date_time_ymd(2026, 11, 1));
    let files = vec![("old.crt".to_owned(), old.der.to_vec())];
    let (trust, problems) = TrustDirectory::from_files(files, ANY);
    assert_eq!((trust.len(), problems.len()), (1, 0));
    let told: Vec<_> = trust.out_of_date(NOW).iter().map(Problem::to_string).collect();
    assert_eq!(told, ["old.crt: /O=Grid/CN=Old: it expired at 2026-11-01T00:00:00Z"]);
    assert_eq!(trust.out_of_date(NOW - 31 * 86_400), []);
}

#[test]
fn files_are_named_by_the_hash_of_the_name_in_either_form() {
    let der = root("Root", crate::testing::unchanged).der;
    assert_eq!(load(&[("7e81520a.0", &der)]), (1, vec![]));
    assert_eq!(load(&[("7E81520A.7", &der)]), (1, vec![]));
    assert_eq!(load(&[("d75cacd5.0", &der)]), (1, vec![]));
    let told = "/O=Grid/CN=Root: its name has the hash 7e81520a (or d75cacd5, the old form)";
    assert_eq!(load(&[("0123abcd.0", &der)]), (0, vec![format!("0123abcd.0: {told}")]));
    // What is wrong under one name is right under another.
    assert_eq!(
        load(&[("0123abcd.0", &der), ("root.crt", &der)]),
        (1, vec![format!("0123abcd.0: {told}")])
    );
}

#[test]
fn how_large_a_file_may_be() {
    let check = |name: &str, bytes: usize| assert_eq!(TrustDirectory::file_bytes_max(name), bytes);
    check("a.pem", CA_FILE_BYTES_MAX);
    check("a.signing_policy", POLICY_BYTES_MAX);
    check("a.namespaces", POLICY_BYTES_MAX);
    check("a.r0", CRL_BYTES_MAX);
}
