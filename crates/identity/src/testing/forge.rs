//! Certificates byte by byte, since no library makes wrong ones, nor names with several CNs.

use rcgen::{KeyPair, PublicKeyData, SigningKey};
use rustls_pki_types::CertificateDer;

pub(crate) const RFC_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 14];
pub(crate) const DRAFT_INFO: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 0x81, 0x5e];
pub(crate) const FULL: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 1];
pub(crate) const INDEPENDENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 2];
pub(crate) const LIMITED: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 1, 1, 9];
pub(crate) const KEY_USAGE: &[u8] = &[0x55, 29, 15];
pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 29, 17];
pub(crate) const ISSUER_ALT_NAME: &[u8] = &[0x55, 29, 18];
pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 29, 19];
pub(crate) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 29, 37];

const ECDSA_WITH_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ECDSA_WITH_SHA1: &[u8] = &[0x30, 9, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];

/// A DER value.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = match u16::try_from(content.len()).unwrap().to_be_bytes() {
        [0, short @ ..0x80] => vec![short],
        [high, low] => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), content].concat()
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// A certificate to be: a good one of its kind, of which a test spoils one thing.
#[derive(Clone)]
pub(crate) struct Draft {
    /// The RDN added to the issuer's subject, or a whole subject if it begins with `/`.
    pub(crate) name: String,
    /// If the issuer is said to be another than the one who signs.
    pub(crate) issuer: Option<&'static str>,
    /// As `YYMMDDhhmmssZ`.
    pub(crate) validity: [&'static str; 2],
    pub(crate) extensions: Vec<Vec<u8>>,
    /// Signed by a key that nobody knows.
    pub(crate) forged: bool,
    pub(crate) over_sha1: bool,
    /// Another public key than the one it is made for.
    pub(crate) key_info: Option<Vec<u8>>,
}

impl Draft {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            issuer: None,
            validity: ["260101000000Z", "270101000000Z"],
            extensions: Vec::new(),
            forged: false,
            over_sha1: false,
            key_info: None,
        }
    }

    pub(crate) fn with(mut self, oid: &[u8], critical: bool, value: &[u8]) -> Self {
        let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
        self.extensions.push(sequence(&[&tlv(6, oid), critical, &tlv(4, value)]));
        self
    }

    pub(crate) fn subject(&self, issuer: &str) -> String {
        if self.name.starts_with('/') {
            self.name.clone()
        } else {
            format!("{issuer}/{}", self.name)
        }
    }

    /// Signs it by `signer`, whose subject is `issuer`.
    pub(crate) fn sign(
        &self,
        key: &KeyPair,
        issuer: &str,
        signer: &KeyPair,
    ) -> CertificateDer<'static> {
        let algorithm = if self.over_sha1 { ECDSA_WITH_SHA1 } else { ECDSA_WITH_SHA256 };
        let validity = self.validity.map(|time| tlv(0x17, time.as_bytes()));
        let extensions: Vec<_> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = match extensions.as_slice() {
            [] => Vec::new(),
            some => tlv(0xa3, &sequence(some)),
        };
        let signed = sequence(&[
            &[0xa0, 3, 2, 1, 2], // version 3
            &[2, 1, 5],          // serial number
            algorithm,
            &name(self.issuer.unwrap_or(issuer)),
            &sequence(&[&validity[0], &validity[1]]),
            &name(&self.subject(issuer)),
            &self.key_info.clone().unwrap_or_else(|| key.subject_public_key_info()),
            &extensions,
        ]);
        let stranger = KeyPair::generate().unwrap();
        let signature = if self.forged { &stranger } else { signer }.sign(&signed).unwrap();
        let signature = tlv(3, &[&[0], signature.as_slice()].concat());
        sequence(&[&signed, algorithm, &signature]).into()
    }
}

/// A public key as long as that, which nobody has.
pub(crate) fn rsa_key_info(bits: usize) -> Vec<u8> {
    let number = [&[0], vec![0xff; bits / 8].as_slice()].concat();
    let key = sequence(&[&tlv(2, &number), &[2, 3, 1, 0, 1]]);
    let rsa = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    sequence(&[&rsa, &tlv(3, &[&[0], key.as_slice()].concat())])
}

/// The content of a ProxyCertInfo of RFC 3820.
pub(crate) fn info(path_length: Option<u8>, language: &[u8]) -> Vec<u8> {
    let length = path_length.map_or_else(Vec::new, |length| tlv(2, &[length]));
    sequence(&[&length, &sequence(&[&tlv(6, language)])])
}

/// That of the drafts.
pub(crate) fn draft_info(path_length: Option<u8>, language: &[u8]) -> Vec<u8> {
    let length = path_length.map_or_else(Vec::new, |length| tlv(0xa1, &tlv(2, &[length])));
    sequence(&[&sequence(&[&tlv(6, language)]), &length])
}

pub(crate) fn rfc(cn: &str, language: &[u8]) -> Draft {
    Draft::new(&format!("CN={cn}")).with(RFC_INFO, true, &info(None, language))
}

pub(crate) fn pre_rfc(cn: &str, language: &[u8]) -> Draft {
    Draft::new(&format!("CN={cn}")).with(DRAFT_INFO, true, &draft_info(None, language))
}

pub(crate) fn legacy(cn: &str) -> Draft {
    Draft::new(&format!("CN={cn}"))
}

/// `/O=Grid/CN=Alice` in DER; a `+` joins two attributes of one RDN.
fn name(text: &str) -> Vec<u8> {
    let rdns = text.split('/').skip(1).map(|rdn| {
        let attributes = rdn.split('+').map(|attribute| {
            let (kind, value) = attribute.split_once('=').unwrap();
            let oid: &[u8] = match kind {
                "CN" => &[0x55, 4, 3],
                "O" => &[0x55, 4, 10],
                "OU" => &[0x55, 4, 11],
                other => panic!("no OID for {other}"),
            };
            sequence(&[&tlv(6, oid), &tlv(0x0c, value.as_bytes())])
        });
        tlv(0x31, &attributes.collect::<Vec<_>>().concat())
    });
    tlv(0x30, &rdns.collect::<Vec<_>>().concat())
}
