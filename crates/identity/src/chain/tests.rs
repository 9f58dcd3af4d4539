mod proxies;

use rcgen::{
    BasicConstraints, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    date_time_ymd,
};
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::TrustOptions;
use crate::testing::{Ca, Edit, NOW, params, policy, root, trust, unchanged};

fn verdict(chain: &[CertificateDer<'_>], trust: &TrustDirectory) -> String {
    verdict_at(chain, trust, NOW)
}

fn verdict_at(chain: &[CertificateDer<'_>], trust: &TrustDirectory, now: i64) -> String {
    match judge_chain(chain, trust, now) {
        Ok(identity) => format!("{} of {}", identity.subject, identity.issuer),
        Err(refusal) => refusal.rule,
    }
}

/// A user of one root, with one thing changed.
fn check_user(edit: Edit, expected: &str) {
    let ca = root("Root", unchanged);
    assert_eq!(verdict(&[ca.user("Alice", edit)], &trust(&[&ca])), expected);
}

fn sample(name: &str) -> CertificateDer<'static> {
    let path = format!("{}/testdata/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    CertificateDer::from_pem_file(path).unwrap()
}

/// The samples are valid for a hundred years from the day after [`NOW`].
const SAMPLES_NOW: i64 = NOW + 2 * 86_400;

fn old_root() -> TrustDirectory {
    let root = sample("root-signed-over-sha1");
    let policy = policy(&certificate::label(&root), &["/*"]).into_bytes();
    let files =
        vec![("old.crt".to_owned(), root.to_vec()), ("old.signing_policy".to_owned(), policy)];
    let (trust, problems) = TrustDirectory::from_files(files, TrustOptions::default());
    assert_eq!(problems, []);
    trust
}

fn check_sample(name: &str, expected: &str) {
    assert_eq!(verdict_at(&[sample(name)], &old_root(), SAMPLES_NOW), expected, "{name}");
}

const GOOD: &str = "/O=Grid/CN=Alice of /O=Grid/CN=Root";

#[test]
fn a_refusal_names_the_certificate_the_rule_and_the_time() {
    let ca = root("Root", unchanged);
    let user = ca.user("Alice", |p| p.not_after = date_time_ymd(2026, 11, 1));
    let refusal = judge_chain(&[user], &trust(&[&ca]), NOW).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "certificate /O=Grid/CN=Alice refused: it expired at 2026-11-01T00:00:00Z \
         (at 2026-11-22T03:15:00Z)"
    );
}

#[test]
fn no_certificate_is_anonymous_and_a_bad_one_never_is() {
    let none = TrustDirectory::default();
    let anonymous = Peer::Anonymous(NoCertificate::NotOffered);
    assert_eq!(judge_peer(None, &none, NOW), anonymous);
    assert_eq!(judge_peer(Some(&[]), &none, NOW), anonymous);
    let junk = [CertificateDer::from(b"junk".as_slice())];
    let Peer::Refused(refusal) = judge_peer(Some(&junk), &none, NOW) else { panic!("not refused") };
    assert_eq!(refusal.certificate, "(unreadable)");
    assert_eq!(refusal.rule, "it is no certificate that can be read");
}

#[test]
fn the_users_own_certificate() {
    check_user(unchanged, GOOD);
    check_user(|p| p.key_usages = vec![], GOOD);
    check_user(|p| p.is_ca = IsCa::ExplicitNoCa, GOOD);
    check_user(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], GOOD);
    check_user(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any], GOOD);
    check_user(
        |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        "it is not meant for clients (extKeyUsage without clientAuth)",
    );
    check_user(
        |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
        "its key may not sign (keyUsage without digitalSignature)",
    );
    check_user(
        |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        "it is a CA's, and a CA is no caller",
    );
    check_user(
        |p| p.not_before = date_time_ymd(2026, 12, 1),
        "it is valid from 2026-12-01T00:00:00Z",
    );
}

#[test]
fn valid_to_the_second() {
    let ca = root("Root", |p| p.not_after = date_time_ymd(2030, 1, 1));
    let (user, trust) = (ca.user("Alice", unchanged), trust(&[&ca]));
    let (first, last) = (1_767_225_600, 1_798_761_600); // 2026-01-01, 2027-01-01
    let at = |now: i64| judge_chain(std::slice::from_ref(&user), &trust, now);
    // The root begins at the same second as the user.
    assert!(at(first - 1).is_err());
    assert!(at(first).is_ok());
    assert_eq!(at(last).unwrap().not_after, last);
    assert_eq!(at(last + 1).unwrap_err().rule, "it expired at 2027-01-01T00:00:00Z");
}

#[test]
fn extensions() {
    fn add(p: &mut rcgen::CertificateParams, oid: &[u64], content: &[u8], critical: bool) {
        let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
        extension.set_criticality(critical);
        p.custom_extensions.push(extension);
    }
    check_user(|p| add(p, &[1, 2, 3, 4], &[5, 0], false), GOOD);
    check_user(
        |p| add(p, &[1, 2, 3, 4], &[5, 0], true),
        "it has the critical extension 1.2.3.4, which this server does not know",
    );
    let twice: Edit = |p| {
        add(p, &[1, 2, 3, 4], &[5, 0], false);
        add(p, &[1, 2, 3, 4], &[5, 0], false);
    };
    check_user(twice, "it has the extension 1.2.3.4 twice or in a form that cannot be read");
    // A second keyUsage, which allows what the first does not.
    let twice: Edit = |p| {
        p.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        add(p, &[2, 5, 29, 15], &[3, 2, 7, 0x80], false);
    };
    check_user(twice, "it has the extension 2.5.29.15 twice or in a form that cannot be read");
    check_user(
        |p| add(p, &[2, 5, 29, 19], &[0x30, 5], false),
        "it has the extension 2.5.29.19 twice or in a form that cannot be read",
    );
    // SSL server alone.
    check_user(
        |p| add(p, &[2, 16, 840, 1, 113730, 1, 1], &[3, 2, 6, 0x40], false),
        "it is not meant for clients (nsCertType without SSL client)",
    );
}

#[test]
fn a_person_is_no_ca() {
    let ca = root("Root", unchanged);
    // Digits are somebody's name here: the CA says so.
    let digits = verdict(&[ca.user("4711", unchanged)], &trust(&[&ca]));
    assert_eq!(digits, "/O=Grid/CN=4711 of /O=Grid/CN=Root");
    let key = rcgen::KeyPair::generate().unwrap();
    let user = ca.user_with_key("Alice", unchanged, &key);
    let as_ca = Ca { issuer: rcgen::Issuer::new(params("Alice"), key), der: user.clone() };
    let signed = as_ca.user("Mallory", unchanged);
    assert_eq!(
        verdict(&[signed, user], &trust(&[&ca])),
        "its issuer /O=Grid/CN=Alice was sent with it, and is not in the trust directory"
    );
}

#[test]
fn who_signed_it() {
    let (ca, stranger) = (root("Root", unchanged), root("Stranger", unchanged));
    let trust = trust(&[&ca]);
    assert_eq!(
        verdict(&[stranger.user("Alice", unchanged)], &trust),
        "its issuer /O=Grid/CN=Stranger is not in the trust directory"
    );
    let namesake = root("Root", unchanged);
    assert_eq!(
        verdict(&[namesake.user("Alice", unchanged)], &trust),
        "its signature does not verify with the key of its issuer"
    );
    let key = rcgen::KeyPair::generate().unwrap();
    let own = params("Alice").self_signed(&key).unwrap().der().clone();
    assert_eq!(
        verdict(&[own], &trust),
        "it is self-signed, and not by a CA of the trust directory"
    );
    let mut changed = ca.user("Alice", unchanged).to_vec();
    let place = changed.windows(5).position(|bytes| bytes == b"Alice").unwrap();
    changed[place] = b'B';
    assert_eq!(
        verdict(&[changed.into()], &trust),
        "its signature does not verify with the key of its issuer"
    );
    assert_eq!(verdict(&[], &trust), "no certificate was sent");
    let many = vec![ca.user("Alice", unchanged); CHAIN_LENGTH_MAX + 1];
    assert_eq!(verdict(&many, &trust), "more than 16 certificates were sent");
    assert_eq!(verdict(&many[1..], &trust), GOOD);
}

#[test]
fn two_cas_of_one_name_are_both_tried() {
    let (one, other) = (root("Root", unchanged), root("Root", unchanged));
    let trust = trust(&[&one, &other]);
    assert_eq!(verdict(&[one.user("Alice", unchanged)], &trust), GOOD);
    assert_eq!(verdict(&[other.user("Alice", unchanged)], &trust), GOOD);
}

#[test]
fn subordinate_cas_must_be_in_the_trust_directory() {
    let top = root("Root", unchanged);
    let sub = top.sub("Sub", unchanged);
    let chain = [sub.user("Alice", unchanged), sub.der.clone()];
    assert_eq!(verdict(&chain, &trust(&[&top, &sub])), "/O=Grid/CN=Alice of /O=Grid/CN=Sub");
    assert_eq!(verdict(&chain[..1], &trust(&[&top, &sub])), "/O=Grid/CN=Alice of /O=Grid/CN=Sub");
    assert_eq!(
        verdict(&chain, &trust(&[&top])),
        "its issuer /O=Grid/CN=Sub was sent with it, and is not in the trust directory"
    );
    assert_eq!(
        verdict(&chain, &trust(&[&sub])),
        "its CA /O=Grid/CN=Sub is no root, and none of the trust directory has signed it"
    );
    let namesake = root("Root", unchanged);
    assert_eq!(
        verdict(&chain, &trust(&[&sub, &namesake])),
        "its CA /O=Grid/CN=Sub is no root, and none of the trust directory has signed it"
    );
}

#[test]
fn every_ca_above_is_judged_too() {
    let top = root("Root", unchanged);
    let old = top.sub("Sub", |p| p.not_after = date_time_ymd(2026, 2, 1));
    assert_eq!(
        verdict(&[old.user("Alice", unchanged)], &trust(&[&top, &old])),
        "its CA /O=Grid/CN=Sub: it expired at 2026-02-01T00:00:00Z"
    );
    let soon = top.sub("Sub", |p| p.not_after = date_time_ymd(2026, 12, 1));
    let both = trust(&[&top, &old, &soon]);
    let identity = judge_chain(&[soon.user("Alice", unchanged)], &both, NOW).unwrap();
    assert_eq!(identity.not_after, 1_796_083_200, "the first certificate to end counts");
    let top = root("Root", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let sub = top.sub("Sub", unchanged);
    assert_eq!(
        verdict(&[sub.user("Alice", unchanged)], &trust(&[&top, &sub])),
        "its CA /O=Grid/CN=Root allows fewer CAs below it (path length)"
    );
    assert_eq!(verdict(&[top.user("Alice", unchanged)], &trust(&[&top, &sub])), GOOD);
}

#[test]
fn old_and_odd_certificates() {
    check_sample("user-of-sha1-root", "/O=Grid/CN=Alice of /O=Grid/CN=Old Root");
    check_sample("user-with-rsa-8192", "/O=Grid/CN=Alice of /O=Grid/CN=Old Root");
    check_sample("user-with-signature-in-pss", "/O=Grid/CN=Alice of /O=Grid/CN=Old Root");
    check_sample("user-signed-over-sha1", "it is signed over SHA-1, which can be forged");
    check_sample("user-with-rsa-1024", "its RSA key has 1024 bits, and 2048 are needed");
    check_sample(
        "user-with-two-attributes-in-one-rdn",
        "/O=Grid/CN=Alice+UID=alice of /O=Grid/CN=Old Root",
    );
    check_sample("user-whose-cn-holds-slash-o", "/O=Grid/CN=Alice\\/O=Evil of /O=Grid/CN=Old Root");
}

#[test]
fn a_root_of_version_1_is_a_ca_and_no_caller() {
    // It has no basicConstraints to say so, and its own signature to vouch for it.
    let root = sample("root-of-version-1");
    let policy = policy(&certificate::label(&root), &["/*"]).into_bytes();
    let files =
        vec![("v1.crt".to_owned(), root.to_vec()), ("v1.signing_policy".to_owned(), policy)];
    let (trust, problems) = TrustDirectory::from_files(files, TrustOptions::default());
    assert_eq!((trust.len(), problems.as_slice()), (1, [].as_slice()));
    assert_eq!(verdict_at(&[root], &trust, SAMPLES_NOW), "it is a CA's, and a CA is no caller");
}

/// Layers of four CAs of one name, without a root: each is cross-signed by all of the layer above, and
/// those at the top by those at the bottom.
fn maze(layers: usize) -> (Vec<Ca>, TrustDirectory) {
    let keys: Vec<[rcgen::KeyPair; 4]> =
        (0..layers).map(|_| [(); 4].map(|()| rcgen::KeyPair::generate().unwrap())).collect();
    let ca = |layer: usize| {
        let mut name = params(&format!("Layer {layer}"));
        name.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        name.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        name
    };
    let key = |layer: usize, which: usize| {
        rcgen::KeyPair::try_from(keys[layer][which].serialize_der()).unwrap()
    };
    let mut cas = Vec::new();
    for layer in 0..layers {
        let above = (layer + 1) % layers;
        for (own, by) in (0..16).map(|pair| (pair / 4, pair % 4)) {
            let signer = rcgen::Issuer::new(ca(above), key(above, by));
            let der = ca(layer).signed_by(&key(layer, own), &signer).unwrap().der().clone();
            cas.push(Ca { issuer: rcgen::Issuer::new(ca(layer), key(layer, own)), der });
        }
    }
    let all: Vec<_> = cas.iter().collect();
    let trust = trust(&all);
    (cas, trust)
}

#[test]
fn a_maze_of_cas_without_a_root_is_soon_left() {
    let (cas, trust) = maze(3);
    let user = cas[0].user("Alice", unchanged);
    // 4 to the power of 15 ways lead through it: who tries each does not come to this answer.
    assert_eq!(verdict(&[user], &trust), "more than 16 CAs stand above it");
}

#[test]
fn other_curves_and_kinds_of_key() {
    for algorithm in
        [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P521_SHA512]
    {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let mut name = params("Root");
        name.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        name.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let der = name.self_signed(&key).unwrap().der().clone();
        let ca = Ca { issuer: rcgen::Issuer::new(name, key), der };
        assert_eq!(verdict(&[ca.user("Alice", unchanged)], &trust(&[&ca])), GOOD);
    }
}

#[test]
fn one_text_in_any_encoding_is_one_name() {
    check_user(
        |p| {
            let bytes = "René".encode_utf16().flat_map(u16::to_be_bytes).collect();
            let value = rcgen::string::BmpString::from_utf16be(bytes).unwrap();
            p.distinguished_name.push(DnType::CommonName, rcgen::DnValue::BmpString(value));
        },
        "/O=Grid/CN=Ren\\xC3\\xA9 of /O=Grid/CN=Root",
    );
    check_user(
        |p| {
            let bytes = "René".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
            let value = rcgen::string::UniversalString::from_utf32be(bytes).unwrap();
            p.distinguished_name.push(DnType::CommonName, rcgen::DnValue::UniversalString(value));
        },
        "/O=Grid/CN=Ren\\xC3\\xA9 of /O=Grid/CN=Root",
    );
    check_user(
        |p| {
            let value = rcgen::string::PrintableString::try_from("Bob").unwrap();
            p.distinguished_name.push(DnType::CommonName, rcgen::DnValue::PrintableString(value));
        },
        "/O=Grid/CN=Bob of /O=Grid/CN=Root",
    );
    check_user(
        |p| p.distinguished_name.push(DnType::CommonName, "a\0b\r\n"),
        "/O=Grid/CN=a\\x00b\\x0D\\x0A of /O=Grid/CN=Root",
    );
}

#[test]
fn a_certificate_without_a_name() {
    check_user(
        |p| p.distinguished_name = rcgen::DistinguishedName::new(),
        "its subject name cannot be used: the name is empty",
    );
}

proptest::proptest! {
    #[test]
    fn no_other_byte_is_accepted_or_makes_it_fall(place: usize, byte: u8, cut in 0_usize..2) {
        let whole = sample("user-of-sha1-root").to_vec();
        let mut der = whole.clone();
        der[place % whole.len()] = byte;
        der.truncate(whole.len() - cut);
        let verdict = judge_chain(&[der.clone().into()], &old_root(), SAMPLES_NOW);
        proptest::prop_assert_eq!(verdict.is_ok(), der == whole);
    }
}
