//! Chains with proxies: one row a rule, with the identity or the refusal's text.

use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;

use crate::testing::forge::{
    BASIC_CONSTRAINTS, DRAFT_INFO, Draft, EXTENDED_KEY_USAGE, FULL, INDEPENDENT, ISSUER_ALT_NAME,
    KEY_USAGE, LIMITED, RFC_INFO, SUBJECT_ALT_NAME, draft_info, info, legacy, pre_rfc, rfc,
    rsa_key_info, sequence, tlv,
};
use crate::testing::{Ca, NOW, root, trust, unchanged};
use crate::{Identity, Refusal, judge_chain};

const ROOT: &str = "/O=Grid/CN=Root";
/// What keyUsage says, in DER.
const SIGN: &[u8] = &[3, 2, 7, 0x80];
const ENCIPHER: &[u8] = &[3, 2, 5, 0x20];
const SIGN_AND_CERT_SIGN: &[u8] = &[3, 2, 2, 0x84];
const CA_TRUE: &[u8] = &[0x30, 3, 1, 1, 0xff];
const CA_FALSE: &[u8] = &[0x30, 0];
/// `DNS:x`
const ALT_NAME: &[u8] = &[0x30, 3, 0x82, 1, b'x'];

fn alice() -> Draft {
    Draft::new("/O=Grid/CN=Alice").with(KEY_USAGE, true, SIGN)
}

/// What the caller sends if each draft signs the next, and the root the first: the last one first.
fn chain(ca: &Ca, drafts: &[Draft]) -> Vec<CertificateDer<'static>> {
    let mut chain: Vec<CertificateDer<'static>> = Vec::new();
    let mut issuer = ROOT.to_owned();
    let mut signer: Option<KeyPair> = None;
    for draft in drafts {
        let key = KeyPair::generate().unwrap();
        chain.insert(0, draft.sign(&key, &issuer, signer.as_ref().unwrap_or(ca.issuer.key())));
        issuer = draft.subject(&issuer);
        signer = Some(key);
    }
    chain
}

fn text(verdict: Result<Identity, Refusal>) -> String {
    match verdict {
        Ok(Identity { subject, issuer, proxy, .. }) => format!("{subject}, {proxy:?} of {issuer}"),
        Err(refusal) => refusal.rule,
    }
}

/// Alice and these below her.
#[track_caller]
fn check(proxies: &[Draft], expected: &str) {
    let drafts: Vec<_> = [alice()].iter().chain(proxies).cloned().collect();
    check_all(&drafts, expected);
}

/// The end entity and those below it.
#[track_caller]
fn check_all(drafts: &[Draft], expected: &str) {
    let ca = root("Root", unchanged);
    let verdict = judge_chain(&chain(&ca, drafts), &trust(&[&ca]), NOW);
    assert_eq!(text(verdict), expected);
}

/// One proxy of Alice with this change.
#[track_caller]
fn check_one(edit: impl FnOnce(Draft) -> Draft, expected: &str) {
    check(&[edit(rfc("1", FULL))], expected);
}

/// One proxy of Alice with this ProxyCertInfo.
#[track_caller]
fn check_info(oid: &[u8], value: &[u8], expected: &str) {
    check(&[Draft::new("CN=1").with(oid, true, value)], expected);
}

const AS_FULL: &str = "/O=Grid/CN=Alice, Some(Full) of /O=Grid/CN=Root";
const AS_LIMITED: &str = "/O=Grid/CN=Alice, Some(Limited) of /O=Grid/CN=Root";

#[test]
fn every_family_and_kind() {
    check(&[], "/O=Grid/CN=Alice, None of /O=Grid/CN=Root");
    check(&[rfc("1", FULL)], AS_FULL);
    check(&[rfc("1", LIMITED)], AS_LIMITED);
    let own = "/O=Grid/CN=Alice/CN=1, Some(Independent) of /O=Grid/CN=Root";
    check(&[rfc("1", INDEPENDENT)], own);
    check(&[pre_rfc("1", FULL)], AS_FULL);
    check(&[pre_rfc("1", LIMITED)], AS_LIMITED);
    check(&[pre_rfc("1", INDEPENDENT)], own);
    check(&[legacy("proxy")], AS_FULL);
    check(&[legacy("limited proxy")], AS_LIMITED);
    // The extension makes the family, not the name.
    check(&[rfc("proxy", LIMITED)], AS_LIMITED);
    check(&[rfc("Robot: certificate 7", FULL)], AS_FULL);
}

#[test]
fn nested() {
    check(&[rfc("1", FULL), rfc("2", FULL), rfc("3", FULL)], AS_FULL);
    check(&[rfc("1", FULL), rfc("2", LIMITED)], AS_LIMITED);
    check(&[rfc("1", LIMITED), rfc("2", LIMITED)], AS_LIMITED);
    check(&[pre_rfc("1", FULL), pre_rfc("2", LIMITED)], AS_LIMITED);
    check(&[legacy("proxy"), legacy("proxy"), legacy("limited proxy")], AS_LIMITED);
    let below_limited = "behind it, /O=Grid/CN=Alice/CN=1: it is a limited proxy, and a full one \
                         stands below it";
    check(&[rfc("1", LIMITED), rfc("2", FULL)], below_limited);
    check(&[pre_rfc("1", LIMITED), pre_rfc("2", FULL)], below_limited);
    check(
        &[legacy("limited proxy"), legacy("proxy")],
        "behind it, /O=Grid/CN=Alice/CN=limited proxy: it is a limited proxy, and a full one stands \
         below it",
    );
    check(&[rfc("1", LIMITED), rfc("2", FULL), rfc("3", LIMITED)], below_limited);
}

#[test]
fn independent_ones_are_callers_of_their_own() {
    let first = "/O=Grid/CN=Alice/CN=1, Some(Independent) of /O=Grid/CN=Root";
    check(&[rfc("1", INDEPENDENT), rfc("2", FULL)], first);
    check(&[rfc("1", INDEPENDENT), rfc("2", FULL), rfc("3", FULL)], first);
    let second = "/O=Grid/CN=Alice/CN=1/CN=2, Some(Independent) of /O=Grid/CN=Root";
    check(&[rfc("1", FULL), rfc("2", INDEPENDENT)], second);
    check(&[rfc("1", INDEPENDENT), rfc("2", INDEPENDENT), rfc("3", FULL)], second);
    // A level could not tell such a caller from the one or the other.
    let both = "behind it, /O=Grid/CN=Alice/CN=1: a limited and an independent proxy stand in one \
                chain, and their rights do not add up";
    check(&[rfc("1", INDEPENDENT), rfc("2", LIMITED)], both);
    check(&[rfc("1", LIMITED), rfc("2", INDEPENDENT), rfc("3", FULL)], both);
}

/// Nobody has proved in the handshake that he holds such a key (`tls`).
#[test]
fn a_first_certificate_with_a_key_of_a_refused_size_is_refused_whatever_is_behind_it() {
    for bits in [512, 1024, 2040, 8200, 16_384] {
        let weak = |draft: Draft| Draft { key_info: Some(rsa_key_info(bits)), ..draft };
        let firsts = [
            vec![weak(alice())],
            vec![alice(), weak(rfc("1", FULL))],
            vec![alice(), weak(rfc("1", INDEPENDENT))],
            vec![alice(), weak(pre_rfc("1", LIMITED))],
            vec![alice(), rfc("1", FULL), weak(rfc("2", FULL))],
            vec![alice(), weak(legacy("proxy"))],
        ];
        let ca = root("Root", unchanged);
        for drafts in firsts {
            let mut sent = chain(&ca, &drafts);
            sent.push(ca.der.clone());
            let rule = text(judge_chain(&sent, &trust(&[&ca]), NOW));
            assert!(rule.starts_with(&format!("its RSA key has {bits} bits")), "{rule}");
            let peer = crate::judge_peer(Some(&sent), &trust(&[&ca]), NOW);
            assert!(matches!(peer, crate::Peer::Refused(_)), "{peer:?}");
        }
    }
}

#[test]
fn kinds_do_not_mix() {
    let makers: [fn() -> Draft; 3] =
        [|| rfc("proxy", FULL), || pre_rfc("proxy", FULL), || legacy("proxy")];
    for (upper, make_upper) in makers.iter().enumerate() {
        for (lower, make_lower) in makers.iter().enumerate() {
            let expected = if upper == lower {
                AS_FULL
            } else {
                "behind it, /O=Grid/CN=Alice/CN=proxy: a proxy of another kind stands below it \
                 (legacy, pre-RFC and RFC 3820 do not mix)"
            };
            check(&[make_upper(), make_lower()], expected);
        }
    }
}

#[test]
fn path_lengths() {
    type Info = fn(Option<u8>, &[u8]) -> Vec<u8>;
    let families: [(&[u8], Info); 2] = [(RFC_INFO, info), (DRAFT_INFO, draft_info)];
    for (oid, make) in families {
        let proxy = |cn: &str, length: Option<u8>| {
            Draft::new(&format!("CN={cn}")).with(oid, true, &make(length, FULL))
        };
        check(&[proxy("1", Some(0))], AS_FULL);
        check(&[proxy("1", Some(1)), proxy("2", Some(0))], AS_FULL);
        check(&[proxy("1", Some(2)), proxy("2", None), proxy("3", None)], AS_FULL);
        check(
            &[proxy("1", Some(1)), proxy("2", None), proxy("3", None)],
            "behind it, /O=Grid/CN=Alice/CN=1: it allows 1 proxies below it (path length), and \
             there are 2",
        );
        // A longer one further down gives nothing back.
        check(
            &[proxy("1", Some(0)), proxy("2", Some(9))],
            "behind it, /O=Grid/CN=Alice/CN=1: it allows 0 proxies below it (path length), and \
             there are 1",
        );
    }
}

#[test]
fn the_form_of_proxy_cert_info() {
    const BAD: &str = "its ProxyCertInfo cannot be read";
    const TEXT: &str =
        "it is a proxy with a policy text, which none of the known policy languages has";
    let language = |oid: &[u8], more: &[u8]| sequence(&[&tlv(6, oid), more]);
    let with_length = |bytes: &[u8]| sequence(&[&tlv(2, bytes), &language(FULL, &[])]);
    check_info(RFC_INFO, &with_length(&[0, 0x80]), AS_FULL);
    check_info(RFC_INFO, &with_length(&[0x7f; 9]), AS_FULL);
    check_info(RFC_INFO, &with_length(&[]), BAD);
    check_info(RFC_INFO, &with_length(&[0xff]), BAD);
    check_info(RFC_INFO, &with_length(&[0, 1]), BAD);
    check_info(RFC_INFO, &[], BAD);
    check_info(RFC_INFO, &[0x30, 0], BAD);
    check_info(RFC_INFO, &[&info(None, FULL)[..], &[5, 0]].concat(), BAD);
    check_info(RFC_INFO, &sequence(&[&language(FULL, &[]), &[5, 0]]), BAD);
    check_info(RFC_INFO, &sequence(&[&language(FULL, &[5, 0])]), BAD);
    check_info(RFC_INFO, &sequence(&[&tlv(0x30, &[])]), BAD);
    // Each family has its own order.
    check_info(RFC_INFO, &draft_info(Some(1), FULL), BAD);
    check_info(DRAFT_INFO, &info(Some(1), FULL), BAD);
    check_info(DRAFT_INFO, &sequence(&[&language(FULL, &[]), &tlv(0xa1, &[2, 1, 1, 5, 0])]), BAD);
    for oid in [FULL, LIMITED, INDEPENDENT] {
        check_info(RFC_INFO, &sequence(&[&language(oid, &tlv(4, b"read only"))]), TEXT);
        check_info(RFC_INFO, &sequence(&[&language(oid, &tlv(4, b""))]), TEXT);
        check_info(DRAFT_INFO, &sequence(&[&language(oid, &tlv(4, b"read only"))]), TEXT);
    }
    // 1.3.6.1.5.5.7.21.0 is anyLanguage.
    let any: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 0];
    let unknown = |oid| {
        format!("it is a proxy with the policy language {oid}, which this server does not know")
    };
    check_info(RFC_INFO, &info(None, any), &unknown("1.3.6.1.5.5.7.21.0"));
    check_info(RFC_INFO, &info(None, &[0x2a, 3]), &unknown("1.2.3"));
    check_info(DRAFT_INFO, &draft_info(None, &[0x2a, 3]), &unknown("1.2.3"));
    check_info(RFC_INFO, &sequence(&[&language(&[0x2a, 3], &tlv(4, b"x"))]), &unknown("1.2.3"));
}

#[test]
fn one_info_and_a_critical_one() {
    let two = "it has more than one ProxyCertInfo";
    check_one(|p| p.with(RFC_INFO, true, &info(None, LIMITED)), two);
    check_one(|p| p.with(DRAFT_INFO, true, &draft_info(None, LIMITED)), two);
    for (oid, value) in [(RFC_INFO, info(None, FULL)), (DRAFT_INFO, draft_info(None, FULL))] {
        check(
            &[Draft::new("CN=1").with(oid, false, &value)],
            "its ProxyCertInfo is not critical, and must be (RFC 3820 section 3.8)",
        );
    }
    check(
        &[Draft::new("CN=1")],
        "it has no ProxyCertInfo and so is no proxy, and its issuer /O=Grid/CN=Alice is no CA",
    );
    check(
        &[Draft::new("CN=1"), rfc("2", FULL)],
        "behind it, /O=Grid/CN=Alice/CN=1: it has no ProxyCertInfo and so is no proxy, and its \
         issuer /O=Grid/CN=Alice is no CA",
    );
}

#[test]
fn the_subject_is_the_issuers_and_one_cn() {
    const NAME: &str = "it is a proxy, and its subject is not its issuer's with one CN added";
    let named = |name: &'static str| Draft { name: name.to_owned(), ..rfc("1", FULL) };
    for name in [
        "/O=Grid/CN=Mallory/CN=1",
        "/O=Grid/CN=Alice",
        "/O=Grid/CN=1",
        "/O=Grid/CN=Alice/CN=1/CN=2",
        "/O=Grid/CN=Alice/OU=1",
        "/O=Grid/CN=Alice/CN=1+OU=2",
        "/O=Grid/CN=Alice/CN=1+CN=2",
        "/O=Grid/CN=alice/CN=1",
    ] {
        check(&[named(name)], NAME);
    }
    check(&[Draft { name: "/O=Grid/CN=Bob/CN=proxy".to_owned(), ..legacy("proxy") }], NAME);
    // A proxy that names another issuer than the one who signed it.
    let of_bob = Draft { issuer: Some("/O=Grid/CN=Bob"), ..named("/O=Grid/CN=Bob/CN=1") };
    check(
        &[of_bob],
        "it is a proxy, and the certificate of its issuer /O=Grid/CN=Bob was not sent with it",
    );
}

#[test]
fn a_proxy_is_no_ca_and_no_host() {
    check_one(|p| p.with(BASIC_CONSTRAINTS, true, CA_FALSE), AS_FULL);
    check_one(
        |p| p.with(BASIC_CONSTRAINTS, true, CA_TRUE),
        "it is a proxy, and claims to be a CA (basicConstraints)",
    );
    check_one(|p| p.with(KEY_USAGE, true, SIGN), AS_FULL);
    check_one(
        |p| p.with(KEY_USAGE, true, ENCIPHER),
        "its key may not sign (keyUsage without digitalSignature)",
    );
    check_one(
        |p| p.with(KEY_USAGE, false, SIGN_AND_CERT_SIGN),
        "it is a proxy, and may sign certificates as a CA (keyUsage with keyCertSign)",
    );
    let no_name = |which| {
        format!("it is a proxy, and has a {which}, which no proxy may have (RFC 3820 section 3.5)")
    };
    check_one(|p| p.with(SUBJECT_ALT_NAME, false, ALT_NAME), &no_name("subjectAltName"));
    check_one(|p| p.with(ISSUER_ALT_NAME, false, ALT_NAME), &no_name("issuerAltName"));
    let legacy_name = legacy("proxy").with(SUBJECT_ALT_NAME, false, ALT_NAME);
    check(&[legacy_name], &no_name("subjectAltName"));
    // The end entity may have one.
    check_all(&[alice().with(SUBJECT_ALT_NAME, false, ALT_NAME), rfc("1", FULL)], AS_FULL);
    // serverAuth alone.
    let server: &[u8] = &[0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1];
    let no_client = "it is not meant for clients (extKeyUsage without clientAuth)";
    check_one(|p| p.with(EXTENDED_KEY_USAGE, false, server), no_client);
    check_one(
        |p| p.with(&[0x2a, 3, 4], true, &[5, 0]),
        "it has the critical extension 1.2.3.4, which this server does not know",
    );
    check_one(|p| p.with(&[0x2a, 3, 4], false, &[5, 0]), AS_FULL);
    check_one(
        |p| p.with(&[0x2a, 3, 4], false, &[5, 0]).with(&[0x2a, 3, 4], false, &[5, 0]),
        "it has the extension 1.2.3.4 twice or in a form that cannot be read",
    );
    check_one(|p| Draft { over_sha1: true, ..p }, "it is signed over SHA-1, which can be forged");
}

#[test]
fn as_many_extensions_as_there_may_be() {
    // A proxy has one already.
    let many =
        |count: u8| (1..count).fold(rfc("1", FULL), |p, n| p.with(&[0x2a, n], false, &[5, 0]));
    check(&[many(64)], AS_FULL);
    check(&[many(65)], "it has more than 64 extensions");
}

#[test]
fn who_may_issue_proxies() {
    for proxy in [rfc("1", FULL), pre_rfc("1", FULL), legacy("proxy")] {
        check_all(&[Draft::new("/O=Grid/CN=Alice"), proxy.clone()], AS_FULL);
        check_all(
            &[Draft::new("/O=Grid/CN=Alice").with(KEY_USAGE, true, ENCIPHER), proxy.clone()],
            "behind it, /O=Grid/CN=Alice: its key may not sign (keyUsage without digitalSignature)",
        );
        check_all(
            &[alice().with(BASIC_CONSTRAINTS, true, CA_TRUE), proxy.clone()],
            "behind it, /O=Grid/CN=Alice: it is a CA's, and a CA is no caller",
        );
        let forged = Draft { forged: true, ..proxy };
        check(&[forged], "its signature does not verify with the key of its issuer");
    }
    check_all(
        &[Draft { forged: true, ..alice() }, rfc("1", FULL)],
        "behind it, /O=Grid/CN=Alice: its signature does not verify with the key of its issuer",
    );
    // A person's certificate signs another's.
    check(
        &[Draft::new("/O=Grid/CN=Mallory"), rfc("1", FULL)],
        "behind it, /O=Grid/CN=Mallory: its issuer /O=Grid/CN=Alice was sent with it, and is not in \
         the trust directory",
    );
    check(
        &[rfc("1", FULL), Draft::new("/O=Grid/CN=Mallory")],
        "its issuer /O=Grid/CN=Alice/CN=1 was sent with it, and is not in the trust directory",
    );
}

#[test]
fn sizes_of_rsa_keys() {
    let with = |draft: Draft, bits| Draft { key_info: Some(rsa_key_info(bits)), ..draft };
    for bits in [2048, 8192] {
        check(&[with(rfc("1", FULL), bits)], AS_FULL);
    }
    let short = "its RSA key has 2040 bits, and 2048 are needed";
    let long = "its RSA key has 8200 bits, and at most 8192 are taken";
    for (bits, rule) in [(2040, short), (8200, long)] {
        check(&[with(rfc("1", FULL), bits)], rule);
        check(&[with(legacy("proxy"), bits)], rule);
        check_all(&[with(alice(), bits)], rule);
        // Said of the key, not of the signature that it did not make.
        check_all(
            &[with(alice(), bits), rfc("1", FULL)],
            &format!("behind it, /O=Grid/CN=Alice: {rule}"),
        );
        check(
            &[with(rfc("1", FULL), bits), rfc("2", FULL)],
            &format!("behind it, /O=Grid/CN=Alice/CN=1: {rule}"),
        );
    }
}

#[test]
fn a_forged_ca_with_the_name_of_a_trusted_one() {
    let (ca, forger) = (root("Root", unchanged), root("Root", unchanged));
    let mut sent = chain(&forger, &[alice(), rfc("1", FULL)]);
    sent.push(forger.der.clone());
    assert_eq!(
        text(judge_chain(&sent, &trust(&[&ca]), NOW)),
        "behind it, /O=Grid/CN=Alice: its signature does not verify with the key of its issuer"
    );
}

#[test]
fn a_name_that_a_ca_gave() {
    // The CA /O=Grid itself names somebody as a proxy would be named.
    let ca = root("any", |p| {
        p.distinguished_name = rcgen::DistinguishedName::new();
        p.distinguished_name.push(rcgen::DnType::OrganizationName, "Grid");
    });
    let verdict = |draft: Draft| {
        let der = draft.sign(&KeyPair::generate().unwrap(), "/O=Grid", ca.issuer.key());
        [
            text(judge_chain(std::slice::from_ref(&der), &trust(&[&ca]), NOW)),
            text(judge_chain(&[der, ca.der.clone()], &trust(&[&ca]), NOW)),
        ]
    };
    let of_ca = "it is a proxy, and its issuer /O=Grid is a CA, which issues none";
    let caller = "behind it, /O=Grid: it is a CA's, and a CA is no caller";
    assert_eq!(verdict(legacy("proxy")), [of_ca, caller]);
    assert_eq!(verdict(legacy("limited proxy")), [of_ca, caller]);
    assert_eq!(verdict(rfc("1", FULL)), [of_ca, caller]);
    let digits = "/O=Grid/CN=4711, None of /O=Grid";
    assert_eq!(verdict(Draft::new("CN=4711")), [digits, digits]);
    check_all(
        &[Draft::new("/O=Grid/CN=proxy")],
        "it is a proxy, and its subject is not its issuer's with one CN added",
    );
    // Below digits that a CA gave, proxies are that caller's.
    check_all(
        &[Draft::new("/O=Grid/CN=4711"), rfc("1", FULL)],
        "/O=Grid/CN=4711, Some(Full) of /O=Grid/CN=Root",
    );
}

#[test]
fn each_of_the_chain_is_valid_now_and_the_first_to_end_counts() {
    let ca = root("Root", unchanged);
    let until = |draft: Draft, end| Draft { validity: ["260101000000Z", end], ..draft };
    let ends = |drafts: &[Draft]| {
        let verdict = judge_chain(&chain(&ca, drafts), &trust(&[&ca]), NOW);
        verdict.map(|identity| crate::rfc3339(identity.not_after))
    };
    let end = |drafts: &[Draft]| ends(drafts).unwrap();
    let (dec, jan) = ("261201000000Z", "270101000000Z");
    assert_eq!(end(&[until(alice(), jan), until(rfc("1", FULL), dec)]), "2026-12-01T00:00:00Z");
    assert_eq!(end(&[until(alice(), dec), until(rfc("1", FULL), jan)]), "2026-12-01T00:00:00Z");
    let middle = [alice(), until(rfc("1", FULL), dec), rfc("2", FULL)];
    assert_eq!(end(&middle), "2026-12-01T00:00:00Z");
    let past = "261101000000Z";
    check(&[until(rfc("1", FULL), past)], "it expired at 2026-11-01T00:00:00Z");
    check(
        &[until(rfc("1", FULL), past), rfc("2", FULL)],
        "behind it, /O=Grid/CN=Alice/CN=1: it expired at 2026-11-01T00:00:00Z",
    );
    check_all(
        &[until(alice(), past), rfc("1", FULL)],
        "behind it, /O=Grid/CN=Alice: it expired at 2026-11-01T00:00:00Z",
    );
    let later = Draft { validity: [dec, jan], ..rfc("1", FULL) };
    check(&[later], "it is valid from 2026-12-01T00:00:00Z");
}

#[test]
fn any_order_behind_the_first_and_what_is_not_needed() {
    let ca = root("Root", unchanged);
    let trust = trust(&[&ca]);
    let sent = chain(&ca, &[alice(), rfc("1", FULL), rfc("2", LIMITED)]);
    let [second, first, user] = sent.as_slice() else { panic!("not three") };
    let verdict = |chain: &[&CertificateDer<'static>]| {
        let chain: Vec<_> = chain.iter().map(|der| (*der).clone()).collect();
        text(judge_chain(&chain, &trust, NOW))
    };
    let (junk, other) = (CertificateDer::from(b"junk".as_slice()), root("Other", unchanged).der);
    // Another certificate of Alice's, for another key.
    let twin = &chain(&ca, &[alice()])[0];
    assert_eq!(verdict(&[second, user, first]), AS_LIMITED);
    assert_eq!(verdict(&[second, &ca.der, user, &other, first]), AS_LIMITED);
    assert_eq!(verdict(&[second, &junk, twin, first, user, user]), AS_LIMITED);
    // What is not needed changes nothing of what is missing.
    assert_eq!(
        verdict(&[second, user]),
        "it is a proxy, and the certificate of its issuer /O=Grid/CN=Alice/CN=1 was not sent with it"
    );
    assert_eq!(
        verdict(&[second, first, &ca.der]),
        "behind it, /O=Grid/CN=Alice/CN=1: it is a proxy, and the certificate of its issuer \
         /O=Grid/CN=Alice was not sent with it"
    );
    assert_eq!(verdict(&[first, twin]), "its signature does not verify with the key of its issuer");
    assert_eq!(verdict(&[user, first, second]), "/O=Grid/CN=Alice, None of /O=Grid/CN=Root");
}

#[test]
fn as_long_as_a_chain_may_be() {
    let proxies = |count| (0..count).map(|n| rfc(&n.to_string(), FULL)).collect::<Vec<_>>();
    check(&proxies(crate::CHAIN_LENGTH_MAX - 1), AS_FULL);
    check(&proxies(crate::CHAIN_LENGTH_MAX), "more than 16 certificates were sent");
}

#[test]
fn a_subordinate_ca_that_is_only_sent() {
    let top = root("Top", unchanged);
    let sub = top.sub("Root", unchanged);
    let mut sent = chain(&sub, &[alice(), rfc("1", FULL)]);
    sent.push(sub.der.clone());
    assert_eq!(text(judge_chain(&sent, &trust(&[&top, &sub]), NOW)), AS_FULL);
    assert_eq!(
        text(judge_chain(&sent, &trust(&[&top]), NOW)),
        "behind it, /O=Grid/CN=Alice: its issuer /O=Grid/CN=Root was sent with it, and is not in \
         the trust directory"
    );
}

proptest::proptest! {
    /// One byte of one certificate, and the ends: nothing falls, and nobody else is let in.
    #[test]
    fn no_byte_makes_it_fall_or_makes_another_caller(
        which in 0_usize..3, place: usize, byte: u8, cut in 0_usize..3,
    ) {
        let mut sent = GOOD.1.clone();
        let mut der = sent[which].to_vec();
        let place = place % der.len();
        der[place] = byte;
        der.truncate(der.len() - cut);
        let same = der == *sent[which];
        sent[which] = der.into();
        let verdict = judge_chain(&sent, &GOOD.0, NOW);
        proptest::prop_assert_eq!(verdict.is_ok(), same);
    }
}

static GOOD: std::sync::LazyLock<(crate::TrustDirectory, Vec<CertificateDer<'static>>)> =
    std::sync::LazyLock::new(|| {
        let ca = root("Root", unchanged);
        (trust(&[&ca]), chain(&ca, &[alice(), rfc("1", FULL), rfc("2", LIMITED)]))
    });
