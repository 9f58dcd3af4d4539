use super::{CertificateForm, Front, FrontWay};
use crate::{Mistake, parse};

const SUBJECTS: &str = "subjects = [\"/O=Grid/CN=host/front.example.org\"]\n";
const PEERS: &str = "peers = [\"127.0.0.1/32\", \"192.0.2.7\"]\n";

fn good(text: &str) -> Option<Front> {
    parse(text, "n.toml").unwrap().front
}

fn header(text: &str) -> (CertificateForm, String, Option<String>) {
    match good(&format!("[front]\n{PEERS}{SUBJECTS}{text}")).unwrap().way {
        FrontWay::Header(header) => (header.form, header.name, header.address),
        FrontWay::ProxyProtocol => panic!("{text}"),
    }
}

#[track_caller]
fn wrong(text: &str, expected: &[&str]) {
    let mistakes = parse(text, "n.toml").unwrap_err();
    assert_eq!(mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>(), expected, "{text}");
}

#[test]
fn each_form_has_its_usual_header() {
    use CertificateForm::{Apache, Nginx, Rfc9440};
    let form = |word: &str| header(&format!("certificate_header = \"{word}\"\n"));
    assert_eq!(form("rfc9440"), (Rfc9440, "client-cert".to_owned(), None));
    assert_eq!(form("nginx"), (Nginx, "x-ssl-client-cert".to_owned(), None));
    assert_eq!(form("apache"), (Apache, "x-ssl-client-cert".to_owned(), None));
    let named = "certificate_header = \"nginx\"\nheader = \"X-Cert\"\naddress_header = \"X-Forwarded-For\"\n";
    assert_eq!(header(named), (Nginx, "x-cert".to_owned(), Some("x-forwarded-for".to_owned())));
}

#[test]
fn passed_through() {
    assert_eq!(good(""), None);
    let front = good(&format!("[front]\n{PEERS}proxy_protocol = true\n")).unwrap();
    assert_eq!(front.way, FrontWay::ProxyProtocol);
    let peers: Vec<_> = front.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["127.0.0.1/32", "192.0.2.7/32"]);
}

#[test]
fn a_front_proves_that_it_is_one() {
    let nginx = "certificate_header = \"nginx\"\n";
    wrong(
        &format!("[front]\n{PEERS}{nginx}"),
        &[
            "n.toml:1: [front] with `certificate_header` needs `subjects`, the names of the front's own \
           certificate: an address alone proves nothing",
        ],
    );
    wrong(
        &format!("[front]\n{SUBJECTS}{nginx}"),
        &["n.toml:1: [front] needs `peers`: the networks that the front calls from"],
    );
    wrong(
        &format!("[front]\n{PEERS}subjects = []\n{nginx}"),
        &["n.toml:3: `subjects` is empty: without a certificate nobody is a front"],
    );
    wrong(
        &format!("[front]\n{PEERS}subjects = [\"/O=Grid/*\"]\n{nginx}"),
        &["n.toml:3: `subjects` \"/O=Grid/*\": a front is named in full"],
    );
    wrong(
        "[front]\npeers = [\"10.0.0.1/8\"]\nproxy_protocol = true\n",
        &[
            "n.toml:1: [front] needs `peers`: the networks that the front calls from",
            "n.toml:2: `peers` \"10.0.0.1/8\": the network is 10.0.0.0/8",
        ],
    );
}

#[test]
fn what_has_no_meaning_is_said() {
    wrong(
        &format!("[front]\n{PEERS}"),
        &["n.toml:1: [front] needs `certificate_header`, or `proxy_protocol = true`"],
    );
    wrong(
        &format!("[front]\n{PEERS}certificate_header = \"rfc9440\"\nproxy_protocol = true\n"),
        &[
            "n.toml:4: `proxy_protocol` and `certificate_header` exclude each other: either the front ends \
           the callers' TLS, or NESSSI does",
        ],
    );
    wrong(
        &format!("[front]\n{PEERS}{SUBJECTS}proxy_protocol = true\n"),
        &["n.toml:3: `subjects` has no meaning with `proxy_protocol`"],
    );
    wrong(
        &format!("[front]\n{PEERS}{SUBJECTS}certificate_header = \"envoy\"\n"),
        &["n.toml:4: `certificate_header` is \"rfc9440\", \"nginx\", \"apache\", not \"envoy\""],
    );
    for name in ["X_Cert", "Authorization", "a b"] {
        wrong(
            &format!(
                "[front]\n{PEERS}{SUBJECTS}certificate_header = \"nginx\"\nheader = \"{name}\"\n"
            ),
            &[&format!(
                "n.toml:5: `header` is a header's name of letters, digits and `-`, with no other meaning, \
                 not {name:?}"
            )],
        );
    }
    wrong(
        &format!(
            "[front]\n{PEERS}{SUBJECTS}certificate_header = \"rfc9440\"\naddress_header = \"Client-Cert\"\n"
        ),
        &["n.toml:5: `address_header` is the certificate's header"],
    );
}
