use rcgen::{DnType, KeyPair, KeyUsagePurpose, PublicKeyData as _, SigningKey as _};
use rustls_pki_types::CertificateDer;

use super::*;
use crate::judge_chain;
use crate::testing::{Ca, NOW, root, trust, unchanged};

/// A certificate and its key.
struct Held {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn alice(ca: &Ca) -> Held {
    let key = KeyPair::generate().unwrap();
    Held { chain: vec![ca.user_with_key("Alice", unchanged, &key)], key }
}

impl Held {
    fn proxy(&self, edit: fn(&mut ProxyDraft<'_>)) -> Result<Held, IssueError> {
        let key = KeyPair::generate().unwrap();
        let public_key = key.subject_public_key_info();
        let mut draft = ProxyDraft {
            above: &self.chain[0],
            public_key: &public_key,
            serial: 0x8000_0000_0000_0001,
            not_before: NOW - 300,
            not_after: NOW + 3600,
            kind: ProxyKind::Full,
            path_length: None,
            signature: SignatureKind::EcdsaSha256,
        };
        edit(&mut draft);
        let to_be_signed = draft.to_be_signed()?;
        let signature = self.key.sign(&to_be_signed).unwrap();
        let proxy = signed(&to_be_signed, SignatureKind::EcdsaSha256, &signature);
        let chain = [CertificateDer::from(proxy)].into_iter().chain(self.chain.clone()).collect();
        Ok(Held { chain, key })
    }
}

#[test]
fn what_is_made_here_is_taken_here() {
    let ca = root("Root", unchanged);
    let (trust, alice) = (trust(&[&ca]), alice(&ca));
    let judged = |held: &Held| {
        let identity = judge_chain(&held.chain, &trust, NOW).unwrap();
        (identity.subject.to_oneline(), identity.proxy, identity.not_after)
    };
    let name = || "/O=Grid/CN=Alice".to_owned();
    let full = alice.proxy(|_| ()).unwrap();
    assert_eq!(judged(&full), (name(), Some(ProxyKind::Full), NOW + 3600));
    let limited = full.proxy(|draft| draft.kind = ProxyKind::Limited).unwrap();
    assert_eq!(judged(&limited).1, Some(ProxyKind::Limited));
    let independent = alice.proxy(|draft| draft.kind = ProxyKind::Independent).unwrap();
    assert_eq!(judged(&independent).0, "/O=Grid/CN=Alice/CN=9223372036854775809");
    let last = alice.proxy(|draft| draft.path_length = Some(0)).unwrap();
    assert_eq!(judged(&last).1, Some(ProxyKind::Full));
    assert_eq!(last.proxy(|_| ()).err(), Some(IssueError::PathLength));
    assert_eq!(limited.proxy(|_| ()).err(), Some(IssueError::Limited));
}

#[test]
fn a_proxy_says_what_it_is() {
    let ca = root("Root", unchanged);
    let proxy = alice(&ca).proxy(|draft| draft.path_length = Some(300)).unwrap();
    let described = Described::of(&proxy.chain[0]).unwrap();
    let expected = Described {
        subject: "/O=Grid/CN=Alice/CN=9223372036854775809".to_owned(),
        issuer: "/O=Grid/CN=Alice".to_owned(),
        proxy: Some(ProxyKind::Full),
        rfc: true,
        path_length: Some(300),
        not_before: NOW - 300,
        not_after: NOW + 3600,
        key: "EC".to_owned(),
        bits: Some(256),
    };
    assert_eq!(described, expected);
    assert_eq!(Described::of(&proxy.chain[1]).unwrap().proxy, None);
    assert!(Described::of(b"no certificate").is_err());
}

#[test]
fn a_proxy_is_never_valid_beyond_what_is_above_it() {
    let ca = root("Root", unchanged);
    let proxy = alice(&ca).proxy(|draft| {
        (draft.not_before, draft.not_after) = (0, 7_258_118_400);
    });
    let described = Described::of(&proxy.unwrap().chain[0]).unwrap();
    let above = Described::of(&alice(&ca).chain[0]).unwrap();
    assert_eq!((described.not_before, described.not_after), (above.not_before, above.not_after));
    let late = alice(&ca).proxy(|draft| draft.not_before = 7_258_118_400);
    assert_eq!(late.err(), Some(IssueError::Expired));
}

#[test]
fn under_what_may_sign_no_proxy_none_is_made() {
    let ca = root("Root", unchanged);
    let under_ca = Held { chain: vec![ca.der.clone()], key: KeyPair::generate().unwrap() };
    assert!(under_ca.proxy(|_| ()).err().unwrap().to_string().contains("no CA issues proxies"));
    let mute = ca.user("Mute", |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    let mute = Held { chain: vec![mute], key: KeyPair::generate().unwrap() };
    assert!(mute.proxy(|_| ()).err().unwrap().to_string().contains("digitalSignature"));
    let legacy = ca.user("Alice", |p| {
        p.distinguished_name.push(DnType::CommonName, "proxy");
    });
    let legacy = Held { chain: vec![legacy], key: KeyPair::generate().unwrap() };
    assert!(legacy.proxy(|_| ()).err().unwrap().to_string().contains("before RFC 3820"));
}

#[test]
fn der_is_as_short_as_it_must_be() {
    assert_eq!(integer(0), [2, 1, 0]);
    assert_eq!(integer(0x7f), [2, 1, 0x7f]);
    assert_eq!(integer(0x80), [2, 2, 0, 0x80]);
    for (length, head) in [(0x7f, 2), (0x80, 3), (0xff, 3), (0x100, 4), (0x1_0000, 5)] {
        let der = value(OCTETS, &vec![7; length]);
        assert_eq!(der.len(), length + head);
        assert_eq!(content_of(&der).unwrap().len(), length);
    }
    assert_eq!(time(2_524_607_999), [&[UTC_TIME, 13], &b"491231235959Z"[..]].concat());
    assert_eq!(time(2_524_608_000), [&[GENERALIZED_TIME, 15], &b"20500101000000Z"[..]].concat());
}
