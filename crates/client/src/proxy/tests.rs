use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, DnType, KeyPair, KeyUsagePurpose};

use super::*;

/// A certificate with its key, in a folder of its own.
fn credential(folder: &Path) -> Credential {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Alice");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2090, 1, 1);
    let path = folder.join("alice.pem");
    let pem = params.self_signed(&key).unwrap().pem() + &KeyPair::serialize_pem(&key);
    fs::write(&path, pem).unwrap();
    Credential::read(&path, None).unwrap()
}

#[test]
fn a_proxy_is_written_for_its_owner_alone_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let credential = credential(folder.path());
    let path = folder.path().join("x509up");
    for (key, strength) in [(ProxyKey::P256, "EC 256 bits"), (ProxyKey::Rsa2048, "RSA 2048 bits")] {
        let options = ProxyOptions { key, seconds: 3600, ..ProxyOptions::default() };
        let proxy = credential.make_proxy(&options).unwrap();
        proxy.write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let info = ProxyInfo::read(&path).unwrap();
        assert_eq!(info, proxy.info);
        assert_eq!((info.strength.as_str(), info.kind.as_str()), (strength, "RFC 3820 proxy"));
        assert!(info.identity.ends_with("/CN=Alice") && info.issuer == info.identity);
        assert!((3590..=3600).contains(&info.seconds_left()), "{}", info.seconds_left());
        // It is a credential like any other, and can have a proxy of its own.
        let second = Credential::read(&path, None).unwrap();
        let limited = ProxyOptions { limited: true, key: ProxyKey::P256, ..options };
        let below = second.make_proxy(&limited).unwrap();
        assert_eq!(below.info.kind, "RFC 3820 limited proxy");
        assert_eq!(below.info.identity, info.identity);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
}

#[test]
fn what_is_there_and_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let credential = credential(folder.path());
    let options = ProxyOptions { key: ProxyKey::P256, ..ProxyOptions::default() };
    let proxy = credential.make_proxy(&options).unwrap();
    let (link, victim) = (folder.path().join("link"), folder.path().join("victim"));
    fs::write(&victim, "untouched").unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    assert!(proxy.write(&link).is_err());
    assert!(destroy_proxy(&link).is_err());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(destroy_proxy(&folder.path().join("absent")).is_err());
    let path = folder.path().join("x509up");
    proxy.write(&path).unwrap();
    let held = fs::File::open(&path).unwrap();
    destroy_proxy(&path).unwrap();
    assert!(!path.exists());
    let left = io::read_to_string(held).unwrap();
    assert!(left.bytes().all(|byte| byte == 0), "its bytes were overwritten");
}

#[test]
fn a_limited_proxy_makes_no_full_one() {
    let folder = tempfile::tempdir().unwrap();
    let options = ProxyOptions { limited: true, key: ProxyKey::P256, ..ProxyOptions::default() };
    let path = folder.path().join("x509up");
    credential(folder.path()).make_proxy(&options).unwrap().write(&path).unwrap();
    let limited = Credential::read(&path, None).unwrap();
    let error = limited.make_proxy(&ProxyOptions { limited: false, ..options }).unwrap_err();
    assert!(error.to_string().contains("limited proxy"), "{error}");
}
