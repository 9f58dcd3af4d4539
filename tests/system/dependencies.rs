//! What we depend on: the rules of deny.toml, held here too so that they hold where cargo-deny is not.

use std::collections::BTreeSet;

use cargo_metadata::MetadataCommand;

/// Whether a licence expression (SPDX: names, AND, OR, parentheses, WITH) can be met by `allowed`.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // Older crates write MIT/Apache-2.0 for OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = either(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "cannot read the licence expression {expression:?}");
    met
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at, allowed);
    }
    met
}

fn all(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    if words[*at] == "(" {
        *at += 1;
        let met = either(words, at, allowed);
        assert_eq!(words.get(*at), Some(&")"));
        *at += 1;
        return met;
    }
    let mut name = words[*at].to_owned();
    *at += 1;
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words[*at + 1]);
        *at += 2;
    }
    allowed.contains(&name)
}

fn strings(table: &toml::Table, section: &str, key: &str) -> BTreeSet<String> {
    let items = table[section][key].as_array().unwrap();
    let name = |item: &toml::Value| {
        item.as_str().or_else(|| item["name"].as_str()).map(str::to_owned).unwrap()
    };
    items.iter().map(name).collect()
}

/// Names of the packages that are really built. (`cargo metadata` names optional ones that are not.)
fn built(root: &str) -> BTreeSet<String> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--edges", "all", "--prefix", "none"])
        .args(["--format", "{p}", "--manifest-path"])
        .arg(format!("{root}/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn licences_are_allowed_sources_are_the_registry_and_nothing_banned_is_there() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let rules = std::fs::read_to_string(format!("{root}/deny.toml")).unwrap();
    let rules: toml::Table = rules.parse().unwrap();
    let allowed = strings(&rules, "licenses", "allow");
    let banned = strings(&rules, "bans", "deny");
    let metadata =
        MetadataCommand::new().manifest_path(format!("{root}/Cargo.toml")).exec().unwrap();
    let built = built(root);
    let mut wrong = Vec::new();
    for package in metadata.packages.iter().filter(|package| built.contains(package.name.as_str()))
    {
        let name = package.name.to_string();
        match &package.source {
            Some(source) if !source.is_crates_io() => {
                wrong.push(format!("{name} is from {source}"))
            }
            _ => {}
        }
        match &package.license {
            Some(licence) if is_met(licence, &allowed) => {}
            other => wrong.push(format!("{name} has the licence {other:?}")),
        }
        if banned.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
    }
    assert!(built.len() > 100, "the walk of the graph is broken");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn licence_expressions_are_read_as_written() {
    let allowed: BTreeSet<String> =
        ["MIT", "Apache-2.0 WITH LLVM-exception"].map(String::from).into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("(GPL-3.0 OR MIT) AND Apache-2.0 WITH LLVM-exception", true),
        ("GPL-3.0 OR (MIT AND Zlib)", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

/// Versions below which a public advisory stands, in code that reads what strangers send.
const ADVISED: [(&str, [u64; 3], &str); 1] = [(
    "rustls-webpki",
    [0, 103, 13],
    "RUSTSEC-2026-0098 and -0099 (name constraints), GHSA-82j2-j2ch-gfr8 (a CRL that panics)",
)];

#[test]
fn no_version_with_a_known_hole_in_reading_certificates_is_built() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).exec().unwrap();
    for (name, least, advisory) in ADVISED {
        let mut found = metadata.packages.iter().filter(|package| package.name.as_str() == name);
        let version = &found.next().expect(name).version;
        assert!(found.next().is_none(), "{name} is there twice");
        let version = [version.major, version.minor, version.patch];
        assert!(version >= least, "{name} {version:?}: {advisory}");
    }
}
