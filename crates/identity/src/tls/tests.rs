use std::io::{Read, Write};

use rcgen::{CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use rustls_pki_types::{PrivatePkcs8KeyDer, ServerName};

use super::*;
use crate::testing::{Ca, Edit, NOW, root, trust, unchanged};
use crate::{Peer, judge_peer};

/// Offers one credential, or none.
#[derive(Debug)]
struct Offer(Option<Arc<rustls::sign::CertifiedKey>>);

impl Offer {
    /// With a key that need not be the certificate's.
    fn new(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
        Self(Some(Arc::new(rustls::sign::CertifiedKey::new(chain, key))))
    }

    fn of(ca: &Ca, key: &KeyPair, edit: Edit) -> Self {
        Self::new(vec![ca.user_with_key("Alice", edit, key)], key)
    }
}

impl rustls::client::ResolvesClientCert for Offer {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.clone()
    }
    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// A handshake in memory; the chain that the server saw, or why it ended.
fn handshake(
    version: &'static SupportedProtocolVersion,
    offer: Offer,
) -> Result<Option<Vec<CertificateDer<'static>>>, Error> {
    let host = root("Host", unchanged);
    let host_key = KeyPair::generate().unwrap();
    let host_certificate = host.user_with_key(
        "localhost",
        |p| {
            let name = "localhost".try_into().unwrap();
            p.subject_alt_names = vec![rcgen::SanType::DnsName(name)];
            p.not_after = rcgen::date_time_ymd(2100, 1, 1);
        },
        &host_key,
    );
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(ClientVerifier::new(&provider))
        .with_single_cert(
            vec![host_certificate],
            PrivatePkcs8KeyDer::from(host_key.serialize_der()).into(),
        )
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(aws_lc_rs::default_provider())))
        .with_client_cert_resolver(Arc::new(offer));
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        carry(&mut client, &mut server)?;
    }
    // Both can talk: the client has taken the server's last word too.
    server.writer().write_all(b"hello").unwrap();
    carry(&mut client, &mut server)?;
    let mut heard = [0; 5];
    client.reader().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    Ok(server
        .peer_certificates()
        .map(|chain| chain.iter().map(|c| c.clone().into_owned()).collect()))
}

fn carry(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), Error> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    let mut left = bytes.as_slice();
    while !left.is_empty() {
        server.read_tls(&mut left).unwrap();
        server.process_new_packets()?;
    }
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    let mut left = bytes.as_slice();
    while !left.is_empty() {
        client.read_tls(&mut left).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

/// The tests are about the server's side.
#[derive(Debug)]
struct AnyServer(CryptoProvider);

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

#[test]
fn a_certificate_is_optional() {
    for version in BOTH {
        assert_eq!(handshake(version, Offer(None)).unwrap(), None);
    }
}

#[test]
fn every_kind_of_key_completes_and_is_judged() {
    let ca = root("Root", unchanged);
    for version in BOTH {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ECDSA_P521_SHA512,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let chain = handshake(version, Offer::of(&ca, &key, unchanged)).unwrap();
            let peer = judge_peer(chain.as_deref(), &trust(&[&ca]), NOW);
            let Peer::Certified(identity) = peer else { panic!("{algorithm:?}: {peer:?}") };
            assert_eq!(identity.subject.to_oneline(), "/O=Grid/CN=Alice");
        }
    }
}

#[test]
fn a_bad_chain_completes_to_carry_the_reason() {
    let ca = root("Root", unchanged);
    let edits: [(Edit, &str); 3] = [
        (|p| p.not_after = rcgen::date_time_ymd(2026, 2, 1), "it expired at 2026-02-01T00:00:00Z"),
        // Critical, and so unknown to webpki that it would not even read the certificate.
        (
            |p| {
                let oid = [1, 3, 6, 1, 5, 5, 7, 1, 14];
                let mut info = CustomExtension::from_oid_content(&oid, vec![0x30, 0]);
                info.set_criticality(true);
                p.custom_extensions.push(info);
            },
            "its ProxyCertInfo cannot be read",
        ),
        (
            |p| p.distinguished_name = rcgen::DistinguishedName::new(),
            "its subject name cannot be used: the name is empty",
        ),
    ];
    for version in BOTH {
        for (edit, rule) in edits {
            let key = KeyPair::generate().unwrap();
            let chain = handshake(version, Offer::of(&ca, &key, edit)).unwrap();
            let peer = judge_peer(chain.as_deref(), &trust(&[&ca]), NOW);
            let Peer::Refused(refusal) = peer else { panic!("{peer:?}") };
            assert_eq!(refusal.rule, rule);
        }
    }
}

#[test]
fn a_certificate_without_its_key_ends_the_handshake() {
    let ca = root("Root", unchanged);
    let (own, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let chain = vec![ca.user_with_key("Alice", unchanged, &own)];
    for version in BOTH {
        let error = handshake(version, Offer::new(chain.clone(), &other));
        assert_eq!(error.unwrap_err(), CertificateError::BadSignature.into(), "{version:?}");
    }
}

#[test]
fn a_key_that_is_too_short_hears_so() {
    use rustls_pki_types::pem::PemObject;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/user-with-rsa-1024.pem");
    let chain = vec![CertificateDer::from_pem_file(path).unwrap()];
    let any_key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    for version in BOTH {
        let sent = handshake(version, Offer::new(chain.clone(), &any_key)).unwrap();
        let when = NOW + 2 * 86_400; // the sample is valid from the day after NOW
        let Peer::Refused(refusal) = judge_peer(sent.as_deref(), &trust(&[]), when) else {
            panic!("not refused")
        };
        assert_eq!(refusal.rule, "its RSA key has 1024 bits, and 2048 are needed");
    }
}
