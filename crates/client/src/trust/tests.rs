use std::fs;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

use super::*;

fn ca(name: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

#[test]
fn a_trust_directory_is_read_and_what_is_bad_in_it_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let (one, two, three) = (ca("one"), ca("two"), ca("three"));
    put("0a1b2c3d.0", &one);
    put("9f8e7d6c.0", &one); // the same under the other hash
    put("two.pem", &format!("a comment\n{two}\n{three}"));
    put("0a1b2c3d.r0", "no CRL");
    put("0a1b2c3d.signing_policy", "access_id_CA");
    put("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(load(directory.path()).unwrap().len(), 3);
    assert_eq!(load(&directory.path().join("two.pem")).unwrap().len(), 2);
}

#[test]
fn nothing_to_trust_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(load(directory.path()), Err(SetupError::Trust { .. })));
    let absent = directory.path().join("absent");
    assert!(matches!(load(&absent), Err(SetupError::File { .. })));
    let error = find(&[absent.clone(), directory.path().to_owned()]).unwrap_err();
    assert!(error.to_string().contains("absent, "), "{error}");
}

#[test]
fn grid_tools_places_come_in_their_order() {
    let home = Path::new("/home/roy");
    let places = places(Some("/ca".into()), Some(home));
    let shown: Vec<_> = places.iter().map(|place| place.to_str().unwrap()).collect();
    assert_eq!(shown, ["/ca", "/home/roy/.globus/certificates", "/etc/grid-security/certificates"]);
}
