//! What a CA may sign, through a whole chain.

use super::*;
use crate::judge_chain;
use crate::testing::{policy, unchanged};

/// The rule that refuses Alice of a root, or `""`; and the problems.
fn verdict(files: &[(&str, &str)], options: TrustOptions) -> (String, Vec<String>) {
    let ca = root("Root", unchanged);
    let mut all = vec![("root.crt".to_owned(), ca.der.to_vec())];
    all.extend(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())));
    let (trust, problems) = TrustDirectory::from_files(all, options);
    let judged = judge_chain(&[ca.user("Alice", unchanged)], &trust, NOW);
    let rule = judged.err().map_or_else(String::new, |refusal| refusal.rule);
    (rule, problems.iter().map(Problem::to_string).collect())
}

#[track_caller]
fn check(files: &[(&str, &str)], rule: &str, problems: &[&str]) {
    let (told, found) = verdict(files, TrustOptions::default());
    assert_eq!((told.as_str(), found.join("\n")), (rule, problems.join("\n")));
}

fn good() -> String {
    policy("/O=Grid/CN=Root", &["/O=Grid/*"])
}

fn narrow() -> String {
    policy("/O=Grid/CN=Root", &["/O=Grid/OU=a/*"])
}

#[test]
fn a_policy_belongs_to_the_ca_whose_stem_or_hash_it_has() {
    for name in ["root", "7e81520a", "d75cacd5", "7E81520A"] {
        check(&[(&format!("{name}.signing_policy"), &good())], "", &[]);
    }
    check(
        &[("other.signing_policy", &good())],
        "its issuer /O=Grid/CN=Root has no signing policy in the trust directory",
        &["root.crt: /O=Grid/CN=Root: no signing policy, so that its certificates are refused"],
    );
}

#[test]
fn a_missing_policy_as_the_options_say() {
    let refuse = TrustOptions { missing_signing_policy: Missing::Refuse, ..ANY };
    assert_ne!(verdict(&[], refuse).0, "");
    assert_eq!(verdict(&[], ANY), (String::new(), vec![]));
    // One that is there counts, whatever the options.
    assert_ne!(verdict(&[("root.signing_policy", &narrow())], ANY).0, "");
    assert_ne!(verdict(&[("root.signing_policy", "")], ANY).0, "");
}

#[test]
fn what_is_not_permitted_or_not_spoken_of_is_refused() {
    check(
        &[("root.signing_policy", &narrow())],
        "root.signing_policy does not permit its issuer /O=Grid/CN=Root to sign this name",
        &[],
    );
    check(
        &[("root.signing_policy", &policy("/O=Grid/CN=Other", &["/*"]))],
        "root.signing_policy has nothing to say of its issuer /O=Grid/CN=Root",
        &[],
    );
}

#[test]
fn a_broken_policy_permits_nothing() {
    check(
        &[("root.signing_policy", "access_id_CA\nX501")],
        "root.signing_policy of its issuer /O=Grid/CN=Root cannot be used: \
         line 2: expected X509, not \"X501\"",
        &["root.signing_policy: line 2: expected X509, not \"X501\""],
    );
}

#[test]
fn all_policies_of_a_ca_must_permit() {
    let (good, narrow) = (good(), narrow());
    check(&[("root.signing_policy", &good), ("7e81520a.signing_policy", &good)], "", &[]);
    check(
        &[("root.signing_policy", &good), ("7e81520a.signing_policy", &narrow)],
        "7e81520a.signing_policy does not permit its issuer /O=Grid/CN=Root to sign this name",
        &[],
    );
}

#[test]
fn namespaces_count_where_there_is_no_signing_policy() {
    let permit = "TO Issuer SELF PERMIT Subject \"/O=Grid/.*\"";
    let deny = "TO Issuer SELF DENY Subject \"/O=Grid/.*\"";
    check(&[("root.namespaces", permit)], "", &[]);
    check(&[("root.namespaces", deny), ("root.signing_policy", &good())], "", &[]);
    check(
        &[("root.namespaces", deny)],
        "root.namespaces does not permit its issuer /O=Grid/CN=Root to sign this name",
        &[],
    );
    check(
        &[("root.namespaces", "TO Issuer")],
        "root.namespaces of its issuer /O=Grid/CN=Root cannot be used: \
         line 1: expected SELF, not \"\"",
        &["root.namespaces: line 1: expected SELF, not \"\""],
    );
    check(
        &[("root.namespaces", permit), ("root.signing_policy", "")],
        "root.signing_policy of its issuer /O=Grid/CN=Root cannot be used: \
         line 1: there is no access_id_CA in it",
        &["root.signing_policy: line 1: there is no access_id_CA in it"],
    );
}

#[test]
fn a_ca_must_be_permitted_too_and_a_broken_file_touches_no_other_ca() {
    let (top, other) = (root("Top", unchanged), root("Other", unchanged));
    let sub = top.sub("Sub", unchanged);
    let judge = |top_policy: &str| {
        let files = [
            ("top.crt", top.der.to_vec()),
            ("top.signing_policy", top_policy.as_bytes().to_vec()),
            ("sub.crt", sub.der.to_vec()),
            ("sub.signing_policy", policy("/O=Grid/CN=Sub", &["/*"]).into_bytes()),
            ("other.crt", other.der.to_vec()),
            ("other.signing_policy", policy("/O=Grid/CN=Other", &["/*"]).into_bytes()),
        ];
        let files = files.map(|(name, content)| (name.to_owned(), content));
        let (trust, _) = TrustDirectory::from_files(files.into(), TrustOptions::default());
        let rule = |user| judge_chain(&[user], &trust, NOW).err().map(|refusal| refusal.rule);
        (rule(sub.user("Alice", unchanged)), rule(other.user("Alice", unchanged)))
    };
    assert_eq!(judge(&policy("/O=Grid/CN=Top", &["/O=Grid/CN=Sub"])), (None, None));
    let refused = "its CA /O=Grid/CN=Sub: top.signing_policy does not permit its issuer \
                   /O=Grid/CN=Top to sign this name";
    assert_eq!(
        judge(&policy("/O=Grid/CN=Top", &["/O=Grid/CN=Alice"])),
        (Some(refused.to_owned()), None)
    );
    let (broken, others) = judge("?");
    assert!(broken.unwrap().contains("cannot be used: line 1"));
    assert_eq!(others, None);
}
