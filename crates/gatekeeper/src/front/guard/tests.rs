use http::header::{HeaderMap, HeaderName, HeaderValue};
use nesssi_config::{CertificateForm, FrontHeader};

use super::Guard;

/// Whether a header of this name is taken out, and another left where it is.
#[track_caller]
fn check(guard: &Guard, name: &str, taken: bool) {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/xml"));
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    headers.append(&name, HeaderValue::from_static("1"));
    headers.append(&name, HeaderValue::from_static("2"));
    guard.strip(&mut headers);
    assert_eq!(!headers.contains_key(&name), taken, "{name}");
    assert!(headers.contains_key("content-type"));
}

#[test]
fn what_fronts_usually_send_is_taken_from_everybody() {
    let guard = Guard::new(None);
    for name in [
        "Client-Cert",
        "client_cert",
        "CLIENT_cert-Chain",
        "client-cert_chain",
        "SSL_CLIENT_S_DN",
        "ssl-client-cert",
        "SSL_CLIENT_CERT_CHAIN_0",
        "X-SSL-Client-Cert",
        "x_ssl_client_verify",
    ] {
        check(&guard, name, true);
    }
    for name in [
        "client",
        "client-certs",
        "x-client-cert",
        "ssl-client",
        "x-forwarded-for",
        "user-agent",
        "cookie",
    ] {
        check(&guard, name, false);
    }
}

#[test]
fn what_is_configured_is_taken_too_with_its_twins() {
    let header = FrontHeader {
        form: CertificateForm::Apache,
        name: "x-cert".to_owned(),
        subjects: Vec::new(),
        address: Some("x-forwarded-for".to_owned()),
    };
    let guard = Guard::new(Some(&header));
    for name in
        ["X-Cert", "x_cert", "X-Cert-Chain-0", "x_cert_chain_15", "X_Forwarded-For", "client_cert"]
    {
        check(&guard, name, true);
    }
    for name in ["x-cert-info", "x-certs", "x-forwarded-proto"] {
        check(&guard, name, false);
    }
}
