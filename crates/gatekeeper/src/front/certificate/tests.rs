use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use nesssi_config::CertificateForm::{self, Apache, Nginx, Rfc9440};
use nesssi_config::FrontHeader;
use nesssi_identity::CHAIN_LENGTH_MAX;

use super::{address, read};

/// Bytes that stand for certificates: what is in them is not read here.
const LEAF: &[u8] = b"the first certificate, long enough that its PEM would have a second line";
const NEXT: &[u8] = b"the second";

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    map
}

/// The chain that is read, or the rule that is broken.
fn chain(form: CertificateForm, lines: &[(&str, &str)]) -> Result<Vec<Vec<u8>>, String> {
    let header =
        FrontHeader { form, name: "x-cert".to_owned(), subjects: Vec::new(), address: None };
    let headers = headers(lines);
    match read(&header, &headers).map_err(|wrong| wrong.rule)? {
        None => Ok(Vec::new()),
        Some(written) => {
            let presented = written.decode().map_err(|wrong| wrong.rule)?;
            Ok(presented.chain().iter().map(|der| der.to_vec()).collect())
        }
    }
}

fn sequence(bytes: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(bytes))
}

/// PEM in one line, `end` where its lines end.
fn pem(bytes: &[u8], end: &str) -> String {
    let text = STANDARD.encode(bytes);
    let lines: Vec<_> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!(
        "-----BEGIN CERTIFICATE-----{end}{}{end}-----END CERTIFICATE-----{end}",
        lines.join(end)
    )
}

/// As nginx writes it: everything but letters, digits and `-._~` escaped.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[test]
fn rfc_9440() {
    let (leaf, next) = (sequence(LEAF), sequence(NEXT));
    assert_eq!(chain(Rfc9440, &[("x-cert", &leaf)]), Ok(vec![LEAF.to_vec()]));
    let list = format!("{next}, {leaf}");
    let whole = Ok(vec![LEAF.to_vec(), NEXT.to_vec(), LEAF.to_vec()]);
    assert_eq!(chain(Rfc9440, &[("x-cert", &leaf), ("x-cert-chain", &list)]), whole);
    let no = Err("it is no byte sequence (RFC 9440)".to_owned());
    for wrong in ["x", "::", ":!:", &leaf[1..], &format!("{leaf};a=1"), &list, "(null)"] {
        assert_eq!(chain(Rfc9440, &[("x-cert", wrong)]), no, "{wrong}");
    }
    for wrong in [format!("{next},"), format!("{next} {next}"), ":".to_owned()] {
        assert_eq!(chain(Rfc9440, &[("x-cert", &leaf), ("x-cert-chain", &wrong)]), no, "{wrong}");
    }
    let orphan = Err("there is a chain and no certificate".to_owned());
    assert_eq!(chain(Rfc9440, &[("x-cert-chain", &next)]), orphan);
    for (above, fits) in [(CHAIN_LENGTH_MAX - 1, true), (CHAIN_LENGTH_MAX, false)] {
        let list = vec![next.as_str(); above].join(",");
        let found = chain(Rfc9440, &[("x-cert", &leaf), ("x-cert-chain", &list)]);
        assert_eq!(found.is_ok(), fits, "{above}");
    }
}

#[test]
fn nginx() {
    let value = escaped(&pem(LEAF, "\n"));
    assert_eq!(chain(Nginx, &[("x-cert", &value)]), Ok(vec![LEAF.to_vec()]));
    let two = escaped(&format!("{}{}", pem(LEAF, "\n"), pem(NEXT, "\n")));
    let no = Err("it is not one certificate in PEM".to_owned());
    for wrong in [two.as_str(), "%", "%4", "%zz", "%ff", "x", "(null)", &value[..80]] {
        assert_eq!(chain(Nginx, &[("x-cert", wrong)]), no, "{wrong}");
    }
}

#[test]
fn apache() {
    // mod_headers makes a blank of each line end, and writes "(null)" for what is not set.
    let (leaf, next) = (pem(LEAF, " "), pem(NEXT, " "));
    let set = [("x-cert", leaf.as_str()), ("x-cert-chain-0", &next), ("x-cert-chain-1", "(null)")];
    assert_eq!(chain(Apache, &set), Ok(vec![LEAF.to_vec(), NEXT.to_vec()]));
    let unset = [("x-cert", "(null)"), ("x-cert-chain-0", "(null)")];
    assert_eq!(chain(Apache, &unset), Ok(Vec::new()));
    let orphan = Err("there is a chain and no certificate".to_owned());
    assert_eq!(chain(Apache, &[("x-cert", "(null)"), ("x-cert-chain-0", &next)]), orphan);
    let no = Err("it is not one certificate in PEM".to_owned());
    for wrong in
        ["null", &leaf[1..], &leaf.replace("CERTIFICATE", "PRIVATE KEY"), &format!("{leaf}{next}")]
    {
        assert_eq!(chain(Apache, &[("x-cert", wrong)]), no, "{wrong}");
    }
}

#[test]
fn none_is_none_and_two_are_refused() {
    for form in [Rfc9440, Nginx, Apache] {
        assert_eq!(chain(form, &[]), Ok(Vec::new()));
        assert_eq!(chain(form, &[("x-cert", "")]), Ok(Vec::new()));
        let twice = Err("it stands there more than once".to_owned());
        assert_eq!(chain(form, &[("x-cert", ""), ("x-cert", "")]), twice);
    }
    let leaf = sequence(LEAF);
    let chains =
        [("x-cert", leaf.as_str()), ("x-cert-chain", ":AA==:"), ("x-cert-chain", ":AA==:")];
    assert_eq!(chain(Rfc9440, &chains), Err("it stands there more than once".to_owned()));
}

#[test]
fn the_address_is_the_last() {
    let of = |lines: &[(&str, &str)]| address(&headers(lines), "x-for").map(|a| a.to_string()).ok();
    let one = |value: &str| of(&[("x-for", value)]);
    assert_eq!(one("192.0.2.9").as_deref(), Some("192.0.2.9"));
    assert_eq!(one("10.0.0.1, evil, 192.0.2.9").as_deref(), Some("192.0.2.9"));
    assert_eq!(one("::ffff:192.0.2.9").as_deref(), Some("192.0.2.9"));
    assert_eq!(one("[2001:db8::7]").as_deref(), Some("2001:db8::7"));
    for wrong in ["", "192.0.2.9,", "unknown", "192.0.2.9:80"] {
        assert_eq!(one(wrong), None, "{wrong}");
    }
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[("x-for", "192.0.2.9"), ("x-for", "192.0.2.9")]), None);
}
