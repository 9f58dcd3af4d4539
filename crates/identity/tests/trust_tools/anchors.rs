//! The IGTF's trust anchors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use nesssi_dn::SubjectDn;
use nesssi_identity::{
    Missing, Namespaces, Problem, SigningPolicy, TrustDirectory, TrustOptions, Verdict,
};

use crate::{has, now, openssl};

const IGTF: &str = "/usr/share/igtf-policy";
const OPENSSL: &str = "/usr/bin/openssl";

/// Every file with one of these ends.
fn files(ends: &[&str]) -> Vec<PathBuf> {
    let folders = fs::read_dir(IGTF).unwrap().map(|entry| entry.unwrap().path());
    let files = folders
        .filter(|path| path.is_dir())
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path());
    let has_end =
        |path: &PathBuf| path.extension().is_some_and(|end| ends.contains(&end.to_str().unwrap()));
    files.filter(has_end).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn hashes_are_openssls() {
    if !has(&[IGTF, OPENSSL]) {
        return;
    }
    let any =
        TrustOptions { missing_crl: Missing::Accept, missing_signing_policy: Missing::Accept };
    let mut compared = 0;
    for anchor in files(&["pem"]) {
        let anchor_path = anchor.to_str().unwrap();
        let printed = openssl(
            Path::new("/"),
            &["x509", "-in", anchor_path, "-noout", "-subject_hash", "-subject_hash_old"],
        );
        let content = fs::read(&anchor).unwrap();
        for hash in printed.lines() {
            let load = |hash: &str| {
                let files = vec![(format!("{hash}.0"), content.clone())];
                TrustDirectory::from_files(files, any)
            };
            let (trust, problems) = load(hash);
            let told = problems.iter().map(Problem::to_string).collect::<String>();
            assert!(!told.contains("its name has the hash"), "{anchor_path}: {told}");
            if trust.len() == 1 {
                compared += 1;
                let wrong = format!("{:08x}", u32::from_str_radix(hash, 16).unwrap() ^ 1);
                let (trust, problems) = load(&wrong);
                assert!(trust.is_empty() && problems[0].text.contains(hash), "{problems:?}");
            }
        }
    }
    assert!(compared >= 120, "only {compared}");
}

#[test]
fn all_load_or_say_why() {
    if !has(&[IGTF]) {
        return;
    }
    let all: BTreeMap<_, _> = files(&["pem", "0", "signing_policy", "namespaces", "info"])
        .iter()
        .map(|path| (name(path), fs::read(path).unwrap()))
        .collect();
    let count = all.keys().filter(|file| file.ends_with(".pem")).count();
    let (trust, problems) =
        TrustDirectory::from_files(all.into_iter().collect(), TrustOptions::default());
    assert!(count >= 80 && trust.len() >= 60, "{} of {count}", trust.len());
    let out_of_date = trust.out_of_date(now());
    assert!(out_of_date.len() < trust.len() / 4, "{out_of_date:?}");
    // Each that is missing is told once; and no policy is, of any CA.
    assert_eq!(trust.len() + problems.len(), count, "{problems:#?}");
    let told: BTreeSet<_> = problems.iter().map(|problem| &problem.file).collect();
    assert_eq!(told.len(), problems.len());
    assert!(problems.iter().all(|problem| !problem.text.contains("policy")), "{problems:#?}");
}

#[test]
fn all_policies_are_read_and_permit_the_cas_below() {
    if !has(&[IGTF, OPENSSL]) {
        return;
    }
    let mut policies: BTreeMap<SubjectDn, Vec<SigningPolicy>> = BTreeMap::new();
    let mut pairs = Vec::new();
    for anchor in files(&["pem"]) {
        let printed = openssl(
            Path::new("/"),
            &["x509", "-in", anchor.to_str().unwrap(), "-noout", "-subject", "-issuer"]
                .into_iter()
                .chain(["-nameopt", "compat"])
                .collect::<Vec<_>>(),
        );
        let mut lines = printed.lines().map(|line| line.split_once('=').unwrap().1.trim());
        let mut dn = || SubjectDn::parse_oneline(lines.next().unwrap()).unwrap();
        let (subject, issuer) = (dn(), dn());
        let policy = fs::read(anchor.with_extension("signing_policy")).unwrap();
        let policy = SigningPolicy::parse(&policy).unwrap();
        assert_ne!(policy.judge(&subject, &subject), Verdict::NotNamed, "{subject}");
        policies.entry(subject.clone()).or_default().push(policy);
        if subject != issuer {
            pairs.push((issuer, subject));
        }
    }
    let mut permitted = 0;
    for (issuer, subject) in &pairs {
        for policy in policies.get(issuer).into_iter().flatten() {
            assert_eq!(policy.judge(issuer, subject), Verdict::Permitted, "{issuer} {subject}");
            permitted += 1;
        }
    }
    assert!(permitted >= 20, "only {permitted} of {}", pairs.len());
    let namespaces = files(&["namespaces"]);
    assert!(namespaces.len() >= 60);
    for file in namespaces {
        let read = Namespaces::parse(&fs::read(&file).unwrap());
        assert!(read.is_ok(), "{}: {read:?}", file.display());
    }
}
