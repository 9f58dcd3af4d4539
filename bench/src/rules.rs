//! Loads and lookups of what callers are judged by: gridmap, access lists, trust directory.

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use clap::Parser;
use nesssi_dn::SubjectDn;
use nesssi_identity::{TrustDirectory, TrustOptions};
use nesssi_policy::{Access, Ask, Gridmap};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Lookups that a figure is the mean of.
const LOOKUPS: usize = 200_000;
/// DNs of the access list.
const LISTED: usize = 1_000;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    lines: usize,
    #[arg(long)]
    cas: usize,
}

fn main() {
    let Arguments { lines, cas } = Arguments::parse();
    let (load, lookup) = gridmap(lines);
    let figures = serde_json::json!({
        "gridmap_load_ms": load.as_secs_f64() * 1e3,
        "gridmap_lookup_us": lookup.as_secs_f64() * 1e6 / LOOKUPS as f64,
        "access_us": access().as_secs_f64() * 1e6 / LOOKUPS as f64,
        "trust_load_ms": trust(cas).as_secs_f64() * 1e3,
    });
    let _ = writeln!(std::io::stdout(), "{figures}");
}

fn name(number: usize) -> String {
    format!("/DC=org/DC=example-grid/OU=People/O=Institute {}/CN=Person {number}", number % 97)
}

fn parsed(number: usize) -> SubjectDn {
    SubjectDn::parse_oneline(&name(number)).unwrap()
}

/// How long the load takes, and all the lookups.
fn gridmap(lines: usize) -> (Duration, Duration) {
    let mut text = String::new();
    for number in 0..lines {
        let _ = writeln!(text, "\"{}\" user{number},group{}", name(number), number % 50);
    }
    let began = Instant::now();
    let (gridmap, warnings) = Gridmap::parse(&text).unwrap();
    let load = began.elapsed();
    assert!(warnings.is_empty() && gridmap.entries().len() == lines);
    // As many again that are in no line; strided, so that no cache helps.
    let asked: Vec<_> = (0..2 * lines).map(|n| parsed(n * 7919 % (2 * lines))).collect();
    let began = Instant::now();
    let mut found = 0;
    for subject in asked.iter().cycle().take(LOOKUPS) {
        found += usize::from(black_box(gridmap.lookup(black_box(subject))).is_some());
    }
    let lookup = began.elapsed();
    assert!(found > LOOKUPS / 3 && found < LOOKUPS);
    (load, lookup)
}

fn access() -> Duration {
    let listed: Vec<_> = (0..LISTED).map(|number| format!("{:?}", name(number))).collect();
    let text = format!("allow = [{}]\n[method.burn]\ndeny = [{}]\n", listed.join(","), listed[3]);
    let access = Access::parse(&text).unwrap();
    let asked: Vec<_> = (0..2 * LISTED).map(|n| parsed(n * 7919 % (2 * LISTED))).collect();
    let began = Instant::now();
    let mut admitted = 0;
    for subject in asked.iter().cycle().take(LOOKUPS) {
        let ask =
            Ask { method: "burn", subject: Some(subject), level: None, groups: &(), now_unix: 0 };
        admitted += usize::from(Access::permits(&[&access], black_box(&ask)).is_ok());
    }
    let took = began.elapsed();
    assert!(admitted > LOOKUPS / 3 && admitted < LOOKUPS * 2 / 3);
    took
}

fn trust(cas: usize) -> Duration {
    let mut files = Vec::new();
    for number in 0..cas {
        let common = format!("CA {number}");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "NESSSI Bench");
        params.distinguished_name.push(DnType::CommonName, &common);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let policy = format!(
            "access_id_CA X509 '/O=NESSSI Bench/CN={common}'\npos_rights globus CA:sign\n\
             cond_subjects globus '\"/O=NESSSI Bench/*\"'\n"
        );
        files.push((format!("ca{number}.pem"), ca.pem().into_bytes()));
        files.push((format!("ca{number}.signing_policy"), policy.into_bytes()));
    }
    let began = Instant::now();
    let (trust, problems) = TrustDirectory::from_files(files, TrustOptions::default());
    let took = began.elapsed();
    assert!(problems.is_empty() && trust.len() == cas);
    took
}
