//! Whom we see in what each tool makes.

use crate::grid::{Grid, has};

const FULL: &str = "/O=Grid/OU=People/CN=Alice, Some(Full)";
const LIMITED: &str = "/O=Grid/OU=People/CN=Alice, Some(Limited)";

/// What `first` makes of Alice's credential, or `second` of what `first` made.
fn check(grid: &Grid, first: &str, second: Option<&str>, expected: &str) {
    grid.run(&[&format!("{first} -cert user.pem -key user.key -out a.pem")]);
    if let Some(second) = second {
        grid.run(&[&format!("{second} -cert a.pem -key a.pem -out b.pem")]);
    }
    let made = grid.judge(if second.is_some() { "b.pem" } else { "a.pem" });
    // The numbers that tools draw as names are not the same twice.
    let digits = |word: &str| word.len() > 5 && word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<_> = made
        .split_inclusive(['=', ',', '/', ':'])
        .map(|word| {
            let name = word.trim_end_matches([',', '/', ':']);
            if digits(name) { word.replace(name, "N") } else { word.to_owned() }
        })
        .collect();
    assert_eq!(words.concat(), expected, "{first}, {second:?}");
}

#[test]
fn the_end_entity_itself() {
    if !has(&["openssl"]) {
        return;
    }
    let grid = Grid::new();
    assert_eq!(grid.judge("user.pem"), "/O=Grid/OU=People/CN=Alice, None");
    grid.person("host", "rsa:2048", "/O=Grid/OU=Hosts/CN=host\\/grid.example.org");
    let refused = grid.judge("host.pem");
    assert!(refused.contains(".signing_policy does not permit"), "{refused}");
}

#[test]
fn grid_proxy_init() {
    if !has(&["openssl", "grid-proxy-init"]) {
        return;
    }
    let grid = Grid::new();
    grid.write("policy", "read only");
    let of_globus = |options: &str| format!("grid-proxy-init -q -bits 2048 {options}");
    let one = |options: &str, expected: &str| check(&grid, &of_globus(options), None, expected);
    one("", FULL);
    let own = "/O=Grid/OU=People/CN=Alice/CN=N, Some(Independent)";
    for family in ["-rfc", "-draft"] {
        one(family, FULL);
        one(&format!("{family} -limited"), LIMITED);
        one(&format!("{family} -independent"), own);
        one(&format!("{family} -path-length 3"), FULL);
        one(
            &format!("{family} -policy policy -pl 1.2.3.4"),
            "it is a proxy with the policy language 1.2.3.4, which this server does not know",
        );
    }
    one("-old", FULL);
    one("-old -limited", LIMITED);
    one("-rfc -bits 1024", "its RSA key has 1024 bits, and 2048 are needed");

    let two = |first: &str, second: &str, expected: &str| {
        check(&grid, &of_globus(first), Some(&of_globus(second)), expected);
    };
    two("-rfc", "-rfc", FULL);
    two("-rfc", "-rfc -limited", LIMITED);
    two("-rfc -limited", "-rfc -limited", LIMITED);
    let own_below = "/O=Grid/OU=People/CN=Alice/CN=N/CN=N, Some(Independent)";
    two("-rfc", "-rfc -independent", own_below);
    // Globus passes a kind on: what it makes below is of that kind too.
    two("-rfc -independent", "-rfc", own_below);
    two("-rfc -limited", "-rfc", LIMITED);
    two("-draft", "-draft -limited", LIMITED);
    two("-old", "-old -limited", LIMITED);
    two("-rfc -path-length 1", "-rfc", FULL);
    grid.run(&["grid-proxy-init -q -bits 2048 -rfc -cert b.pem -key b.pem -out c.pem"]);
    let third = grid.judge("c.pem");
    let expected = ": it allows 1 proxies below it (path length), and there are 2";
    assert!(third.ends_with(expected), "{third}");
}

#[test]
fn voms_proxy_init() {
    if !has(&["openssl", "voms-proxy-init", "grid-proxy-init"]) {
        return;
    }
    let grid = Grid::new();
    let one = |options: &str, expected: &str| {
        let tool = format!("voms-proxy-init -q -bits 2048 {options}");
        check(&grid, &tool, None, expected);
    };
    one("", FULL);
    one("-limited", LIMITED);
    one("-rfc", FULL);
    one("-old", FULL);
    one("-old -limited", LIMITED);
    one("-proxyver 3", FULL);
    one("-proxyver 3 -limited", LIMITED);
    one("--noregen", FULL);
    one("--noregen -rfc", FULL);
    one("--noregen -rfc -limited", LIMITED);
    let voms = "voms-proxy-init -q -rfc -bits 2048";
    check(&grid, voms, Some("grid-proxy-init -q -rfc -limited"), LIMITED);
}

#[test]
fn arcproxy() {
    if !has(&["openssl", "arcproxy"]) {
        return;
    }
    let grid = Grid::new();
    grid.run(&["arcproxy -C user.pem -K user.key -P a.pem -T trust"]);
    assert_eq!(grid.judge("a.pem"), FULL);
    grid.run(&["arcproxy -C a.pem -K a.pem -P b.pem -T trust -c", "validityPeriod=3600"]);
    assert_eq!(grid.judge("b.pem"), FULL);
}

#[test]
fn openssl_x509() {
    if !has(&["openssl"]) {
        return;
    }
    let grid = Grid::new();
    let (one, two) = ("/O=Grid/OU=People/CN=Alice/CN=1", "/O=Grid/OU=People/CN=Alice/CN=1/CN=2");
    let check = |issuer: &str, subject: &str, extensions: &str, expected: &str| {
        grid.openssl_proxy("made", issuer, subject, extensions);
        assert_eq!(grid.judge("made.pem"), expected, "{subject}, {extensions}");
    };
    let full = "proxyCertInfo=critical,language:id-ppl-inheritAll";
    let policy = "it is a proxy with a policy text, which none of the known policy languages has";
    check("user", one, full, FULL);
    check("user", one, &format!("{full},pathlen:0"), FULL);
    check("user", one, "proxyCertInfo=critical,language:1.3.6.1.4.1.3536.1.1.1.9", LIMITED);
    let own = "/O=Grid/OU=People/CN=Alice/CN=1, Some(Independent)";
    check("user", one, "proxyCertInfo=critical,language:id-ppl-independent", own);
    check(
        "user",
        one,
        "proxyCertInfo=critical,language:id-ppl-anyLanguage,policy:text:read",
        "it is a proxy with the policy language 1.3.6.1.5.5.7.21.0, which this server does not know",
    );
    let limited_text = "proxyCertInfo=critical,language:1.3.6.1.4.1.3536.1.1.1.9,policy:text:read";
    check("user", one, limited_text, policy);
    check(
        "user",
        one,
        "keyUsage=digitalSignature",
        "it has no ProxyCertInfo and so is no proxy, and its issuer /O=Grid/OU=People/CN=Alice is \
         no CA",
    );
    grid.openssl_proxy("upper", "user", one, &format!("{full},pathlen:1"));
    check("upper", two, full, FULL);
    grid.openssl_proxy("upper", "user", one, &format!("{full},pathlen:0"));
    check(
        "upper",
        two,
        full,
        "behind it, /O=Grid/OU=People/CN=Alice/CN=1: it allows 0 proxies below it (path length), \
         and there are 1",
    );

    for (name, key) in [("p256", "ec:P-256"), ("p384", "ec:P-384"), ("ed", "ed25519")] {
        grid.person(name, key, "/O=Grid/OU=People/CN=Eve");
        check(name, "/O=Grid/OU=People/CN=Eve/CN=1", full, "/O=Grid/OU=People/CN=Eve, Some(Full)");
    }
}
