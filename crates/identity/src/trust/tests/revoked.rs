//! CRLs, through a whole chain.

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use super::*;
use crate::judge_chain;
use crate::testing::{Ca, params, unchanged};

const NUMBER: u64 = 4711;

/// A CRL of `ca`, made in this month of 2026 and due a month later, that lists these.
fn crl(ca: &Ca, month: u8, serials: &[u64]) -> Vec<u8> {
    let first_of = |month: u8| match month {
        13 => date_time_ymd(2027, 1, 1),
        month => date_time_ymd(2026, month, 1),
    };
    let revoked = |&serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2026, 1, 2),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: first_of(month),
        next_update: first_of(month + 1),
        crl_number: SerialNumber::from(u64::from(month)),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().der().to_vec()
}

const REFUSE: TrustOptions = TrustOptions { missing_crl: Missing::Refuse, ..ANY };

/// The rule that refuses certificate 4711 of `ca`, or `""`; and the problems.
fn verdict(ca: &Ca, files: &[(&str, &[u8])], options: TrustOptions) -> (String, String) {
    let mut all = vec![("root.crt".to_owned(), ca.der.to_vec())];
    all.extend(files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())));
    let (trust, mut problems) = TrustDirectory::from_files(all, options);
    problems.extend(trust.out_of_date(NOW));
    let user = ca.user("Alice", |p| p.serial_number = Some(SerialNumber::from(NUMBER)));
    let judged = judge_chain(&[user], &trust, NOW);
    let rule = judged.err().map_or_else(String::new, |refusal| refusal.rule);
    (rule, problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
}

#[track_caller]
fn check(ca: &Ca, files: &[(&str, &[u8])], rule: &str, problems: &[&str]) {
    assert_eq!(verdict(ca, files, ANY), (rule.to_owned(), problems.join("\n")));
}

#[test]
fn what_is_listed_is_refused() {
    let ca = root("Root", unchanged);
    check(&ca, &[("root.r0", &crl(&ca, 11, &[1, 2]))], "", &[]);
    for name in ["root.r0", "7e81520a.r0", "d75cacd5.r1", "7E81520A.r0", "of-no-ca.r0"] {
        let rule = format!("{name} of its issuer /O=Grid/CN=Root says that it is revoked");
        check(&ca, &[(name, &crl(&ca, 11, &[1, NUMBER]))], &rule, &[]);
    }
}

#[test]
fn a_missing_crl_as_the_options_say() {
    let ca = root("Root", unchanged);
    check(&ca, &[], "", &[]);
    let (rule, problems) = verdict(&ca, &[], REFUSE);
    assert_eq!(rule, "its issuer /O=Grid/CN=Root has no CRL in the trust directory");
    assert_eq!(problems, "root.crt: /O=Grid/CN=Root: no CRL, so that its certificates are refused");
    let there = verdict(&ca, &[("root.r0", &crl(&ca, 11, &[]))], REFUSE);
    assert_eq!(there, (String::new(), String::new()));
}

#[test]
fn only_while_it_is_in_force() {
    let ca = root("Root", unchanged);
    check(
        &ca,
        &[("root.r0", &crl(&ca, 10, &[]))],
        "root.r0 of its issuer /O=Grid/CN=Root is out of date since 2026-11-01T00:00:00Z",
        &["root.r0: /O=Grid/CN=Root: this CRL is out of date since 2026-11-01T00:00:00Z"],
    );
    check(
        &ca,
        &[("root.r0", &crl(&ca, 12, &[]))],
        "root.r0 of its issuer /O=Grid/CN=Root is not in force before 2026-12-01T00:00:00Z",
        &["root.r0: /O=Grid/CN=Root: this CRL is not in force before 2026-12-01T00:00:00Z"],
    );
}

#[test]
fn to_the_second() {
    let ca = root("Root", unchanged);
    let files =
        vec![("root.crt".to_owned(), ca.der.to_vec()), ("root.r0".to_owned(), crl(&ca, 11, &[]))];
    let (trust, _) = TrustDirectory::from_files(files, ANY);
    let user = [ca.user("Alice", unchanged)];
    let (first, last) = (1_793_491_200, 1_796_083_200); // the firsts of November and December
    for (now, good) in [(first - 1, false), (first, true), (last, true), (last + 1, false)] {
        assert_eq!(judge_chain(&user, &trust, now).is_ok(), good, "{now}");
    }
}

#[test]
fn of_several_the_newest_is_in_force_and_each_revokes() {
    let ca = root("Root", unchanged);
    let (old, new, coming) = (crl(&ca, 10, &[NUMBER]), crl(&ca, 11, &[]), crl(&ca, 12, &[]));
    let clean = crl(&ca, 10, &[]);
    let stale = "root.r0: /O=Grid/CN=Root: this CRL is out of date since 2026-11-01T00:00:00Z";
    let early = "root.r2: /O=Grid/CN=Root: this CRL is not in force before 2026-12-01T00:00:00Z";
    check(&ca, &[("root.r0", &clean), ("root.r1", &new)], "", &[stale]);
    check(&ca, &[("root.r1", &new), ("root.r2", &coming)], "", &[early]);
    check(
        &ca,
        &[("root.r0", &clean), ("root.r2", &coming)],
        "root.r0 of its issuer /O=Grid/CN=Root is out of date since 2026-11-01T00:00:00Z",
        &[stale, early],
    );
    check(
        &ca,
        &[("root.r0", &old), ("root.r1", &new)],
        "root.r0 of its issuer /O=Grid/CN=Root says that it is revoked",
        &[stale],
    );
}

/// The text of a refusal for a file `root.r0`, and of the problem.
fn check_useless(ca: &Ca, files: &[(&str, &[u8])], why: &str) {
    let rule = format!("root.r0 of its issuer /O=Grid/CN=Root cannot be used: {why}");
    check(ca, files, &rule, &[&format!("root.r0: {why}")]);
}

#[test]
fn what_is_forged_or_unreadable_refuses_all_of_its_ca() {
    let (ca, namesake) = (root("Root", unchanged), root("Root", unchanged));
    let (whole, forged) = (crl(&ca, 11, &[]), crl(&namesake, 11, &[]));
    let not_signed = "none of the keys of its CA has signed it";
    check_useless(&ca, &[("root.r0", &forged)], not_signed);
    // A good one beside it does not help.
    check_useless(&ca, &[("root.r0", &forged), ("root.r1", &whole)], not_signed);
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    check_useless(&ca, &[("root.r0", &changed)], not_signed);
    check_useless(&ca, &[("root.r0", b"")], "it holds no CRL");
    let cut = &whole[..whole.len() - 1];
    check_useless(&ca, &[("root.r0", cut)], "it cannot be read (CertificateList)");
    let large = vec![0; CRL_BYTES_MAX + 1];
    check_useless(&ca, &[("root.r0", &large)], "larger than 16777216 bytes");
}

#[test]
fn the_name_of_a_file_says_whose_it_is_to_be() {
    let (ca, other) = (root("Root", unchanged), root("Else", unchanged));
    let of_other = crl(&other, 11, &[]);
    check_useless(&ca, &[("root.r0", &of_other)], "it is of another CA, /O=Grid/CN=Else");
    // What is for nobody here touches nobody.
    check(&ca, &[("else.r0", &of_other)], "", &[]);
    check(&ca, &[("else.r0", b"?")], "", &["else.r0: it holds no CRL"]);
}

#[test]
fn the_key_must_be_one_for_crls() {
    let mut ca = root("Root", unchanged);
    let list = crl(&ca, 11, &[]);
    let mut again = |key_usages: Vec<KeyUsagePurpose>| {
        let mut params = params("Root");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = key_usages;
        ca.der = params.self_signed(ca.issuer.key()).unwrap().der().clone();
        verdict(&ca, &[("root.r0", &list)], ANY)
    };
    let why = "its CA's key may not sign CRLs (keyUsage)";
    let rule = format!("root.r0 of its issuer /O=Grid/CN=Root cannot be used: {why}");
    assert_eq!(again(vec![KeyUsagePurpose::KeyCertSign]), (rule, format!("root.r0: {why}")));
    // Without a keyUsage a key may sign anything.
    assert_eq!(again(vec![]), (String::new(), String::new()));
}

#[test]
fn cas_of_one_name_share_what_is_revoked() {
    let (old, new) = (root("Root", unchanged), root("Root", unchanged));
    let verdict = |by: &Ca, old_crl: Vec<u8>, new_crl: Option<Vec<u8>>| {
        let mut files = vec![
            ("7e81520a.0".to_owned(), old.der.to_vec()),
            ("7e81520a.1".to_owned(), new.der.to_vec()),
            ("7e81520a.r0".to_owned(), old_crl),
        ];
        files.extend(new_crl.map(|crl| ("7e81520a.r1".to_owned(), crl)));
        let (trust, problems) = TrustDirectory::from_files(files, ANY);
        assert_eq!(problems, []);
        let user = by.user("Alice", |p| p.serial_number = Some(SerialNumber::from(NUMBER)));
        judge_chain(&[user], &trust, NOW).err().map_or_else(String::new, |refusal| refusal.rule)
    };
    let revoked = "7e81520a.r0 of its issuer /O=Grid/CN=Root says that it is revoked";
    let stale = "7e81520a.r0 of its issuer /O=Grid/CN=Root is out of date since \
                 2026-11-01T00:00:00Z";
    assert_eq!(verdict(&new, crl(&old, 11, &[NUMBER]), None), revoked);
    assert_eq!(verdict(&new, crl(&old, 11, &[]), None), "");
    // Each key's own list says whether the state of its certificates is known.
    assert_eq!(verdict(&new, crl(&old, 10, &[]), Some(crl(&new, 11, &[]))), "");
    assert_eq!(verdict(&old, crl(&old, 10, &[]), Some(crl(&new, 11, &[]))), stale);
}

#[test]
fn a_ca_can_be_revoked_and_other_cas_are_not_touched() {
    let (top, other) = (root("Top", unchanged), root("Other", unchanged));
    let sub = top.sub("Sub", |p| p.serial_number = Some(SerialNumber::from(NUMBER)));
    let files = [
        ("top.crt", top.der.to_vec()),
        ("top.r0", crl(&top, 11, &[NUMBER])),
        ("sub.crt", sub.der.to_vec()),
        ("other.crt", other.der.to_vec()),
        ("other.r0", b"?".to_vec()),
    ];
    let files = files.map(|(name, content)| (name.to_owned(), content));
    let (trust, _) = TrustDirectory::from_files(files.into(), ANY);
    let rule = |by: &Ca| {
        let judged = judge_chain(&[by.user("Alice", unchanged)], &trust, NOW);
        judged.err().map_or_else(String::new, |refusal| refusal.rule)
    };
    assert_eq!(
        rule(&sub),
        "its CA /O=Grid/CN=Sub: top.r0 of its issuer /O=Grid/CN=Top says that it is revoked"
    );
    assert_eq!(rule(&top), "");
    assert_eq!(
        rule(&other),
        "other.r0 of its issuer /O=Grid/CN=Other cannot be used: it holds no CRL"
    );
}
