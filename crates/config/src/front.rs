//! `[front]`: a site's own proxy before NESSSI.

use nesssi_policy::written::Lined;
use nesssi_policy::{DnPattern, IpNet};

use crate::levels::read_network;
use crate::sections::Section;

/// A *front* is a proxy of the site's own that alone faces the network, such as its httpd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// The networks that its connections come from.
    pub peers: Vec<IpNet>,
    /// What it hands on of its callers.
    pub way: FrontWay,
}

/// How a front hands on who its callers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrontWay {
    /// It ends the callers' TLS, and names them in headers, over TLS of its own.
    Header(FrontHeader),
    /// It passes the callers' TLS on as it is, behind a header of the PROXY protocol, version 2.
    ProxyProtocol,
}

/// The headers of a front, and how it proves that it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontHeader {
    /// How certificates are written.
    pub form: CertificateForm,
    /// The header with the certificate, in lower case; with [`CertificateForm::Apache`] those with the chain
    /// are this name, `-chain-` and a number, with [`CertificateForm::Rfc9440`] this name and `-chain`.
    pub name: String,
    /// The subject DNs of the front's own client certificate: each names one subject.
    pub subjects: Vec<DnPattern>,
    /// The header to whose end the front adds its caller's address, in lower case.
    pub address: Option<String>,
}

/// How a front writes a certificate into a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateForm {
    /// `Client-Cert` and `Client-Cert-Chain` of RFC 9440.
    Rfc9440,
    /// nginx's `$ssl_client_escaped_cert`: PEM, escaped as in a URL; the first certificate only.
    Nginx,
    /// Apache's `%{SSL_CLIENT_CERT}s`: PEM with blanks for line ends, and `(null)` for none.
    Apache,
}

const FORMS: [(&str, CertificateForm, &str); 3] = [
    ("rfc9440", CertificateForm::Rfc9440, "client-cert"),
    ("nginx", CertificateForm::Nginx, "x-ssl-client-cert"),
    ("apache", CertificateForm::Apache, "x-ssl-client-cert"),
];

/// Headers that have a meaning of their own, and cannot be a front's.
const TAKEN: [&str; 12] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "nesssi-account",
    "origin",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// The section; `None` where it is not there.
pub(crate) fn read(section: &mut Section<'_, '_>) -> Option<Front> {
    let form = read_form(section);
    let name = read_header(section, "header");
    let address = read_header(section, "address_header");
    let subjects = read_subjects(section);
    let peers = read_peers(section);
    let passed = section.truth("proxy_protocol").filter(|lined| lined.value);
    section.table.as_ref()?;
    let line = section.line();
    if peers.as_ref().is_none_or(|peers| peers.value.is_empty()) {
        section.mistake(line, "[front] needs `peers`: the networks that the front calls from");
    }
    let peers = peers.map(|lined| lined.value).unwrap_or_default();
    let way = match (form, passed) {
        (Some((form, default)), None) => {
            if subjects.is_none() {
                let text = "[front] with `certificate_header` needs `subjects`, the names of the front's own \
                     certificate: an address alone proves nothing";
                section.mistake(line, text);
            }
            let name = name.map_or_else(|| default.to_owned(), |lined| lined.value);
            if let Some(address) = address.as_ref().filter(|lined| lined.value == name) {
                section.mistake(address.line, "`address_header` is the certificate's header");
            }
            let subjects = subjects.map(|lined| lined.value).unwrap_or_default();
            let address = address.map(|lined| lined.value);
            FrontWay::Header(FrontHeader { form, name, subjects, address })
        }
        (None, Some(_)) => {
            let needless = [
                ("header", name.map(|lined| lined.line)),
                ("address_header", address.map(|lined| lined.line)),
                ("subjects", subjects.map(|lined| lined.line)),
            ];
            for (key, line) in needless {
                if let Some(line) = line {
                    let text = format!("`{key}` has no meaning with `proxy_protocol`");
                    section.mistake(line, text);
                }
            }
            FrontWay::ProxyProtocol
        }
        (Some(_), Some(passed)) => {
            let text = "`proxy_protocol` and `certificate_header` exclude each other: either the front ends \
                 the callers' TLS, or NESSSI does";
            section.mistake(passed.line, text);
            return None;
        }
        (None, None) => {
            let text = "[front] needs `certificate_header`, or `proxy_protocol = true`";
            section.mistake(line, text);
            return None;
        }
    };
    Some(Front { peers, way })
}

/// The form, and its usual header.
fn read_form(section: &mut Section<'_, '_>) -> Option<(CertificateForm, &'static str)> {
    let text = section.text("certificate_header")?;
    let found = FORMS.iter().find(|(word, _, _)| *word == text.value);
    if found.is_none() {
        let known = FORMS.map(|(word, _, _)| word).join("\", \"");
        let told = format!("`certificate_header` is \"{known}\", not {:?}", text.value);
        section.mistake(text.line, told);
        // Nothing more is said of a section whose way is not known.
        return Some((CertificateForm::Rfc9440, "client-cert"));
    }
    found.map(|(_, form, header)| (*form, *header))
}

/// A header's name, in lower case.
fn read_header(section: &mut Section<'_, '_>, key: &str) -> Option<Lined<String>> {
    let text = section.text(key)?;
    let value = text.value.to_ascii_lowercase();
    let is_name = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_name || TAKEN.contains(&value.as_str()) {
        let told = format!(
            "`{key}` is a header's name of letters, digits and `-`, with no other meaning, not {:?}",
            text.value
        );
        section.mistake(text.line, told);
    }
    Some(Lined { line: text.line, value })
}

fn read_subjects(section: &mut Section<'_, '_>) -> Option<Lined<Vec<DnPattern>>> {
    let list = section.table.as_mut()?.texts("subjects")?;
    if list.value.is_empty() {
        section.mistake(list.line, "`subjects` is empty: without a certificate nobody is a front");
    }
    let mut subjects = Vec::new();
    for item in &list.value {
        if item.value.contains('*') {
            let text = format!("`subjects` {:?}: a front is named in full", item.value);
            section.mistake(item.line, text);
            continue;
        }
        match DnPattern::parse(&item.value) {
            Ok(subject) => subjects.push(subject),
            Err(error) => {
                section.mistake(item.line, format!("`subjects` {:?}: {error}", item.value));
            }
        }
    }
    Some(Lined { line: list.line, value: subjects })
}

fn read_peers(section: &mut Section<'_, '_>) -> Option<Lined<Vec<IpNet>>> {
    let table = section.table.as_mut()?;
    let list = table.texts("peers")?;
    let read = |item| read_network(table, "peers", item);
    Some(Lined { line: list.line, value: list.value.iter().filter_map(read).collect() })
}

#[cfg(test)]
mod tests;
