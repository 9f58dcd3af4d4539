use proptest::prelude::*;

use super::*;

fn dn(text: &str) -> SubjectDn {
    SubjectDn::parse_oneline(text).unwrap()
}

const CA: &str = "/C=CH/O=Grid/CN=Grid CA";

fn judge(policy: &str, subject: &str) -> Verdict {
    SigningPolicy::parse(policy.as_bytes()).unwrap().judge(&dn(CA), &dn(subject))
}

fn with_patterns(patterns: &str) -> String {
    format!(
        "access_id_CA X509 '{CA}'\npos_rights globus CA:sign\ncond_subjects globus {patterns}\n"
    )
}

#[track_caller]
fn check(patterns: &str, subject: &str, permitted: bool) {
    let expected = if permitted { Verdict::Permitted } else { Verdict::NotPermitted };
    assert_eq!(judge(&with_patterns(patterns), subject), expected, "{patterns} {subject}");
}

#[test]
fn patterns() {
    check(r#"'"/O=Grid/*"'"#, "/O=Grid/CN=Alice", true);
    check(r#"'"/O=Grid/*"'"#, "/O=grid/cn=alice", true);
    check(r#"'"/O=Grid/*"'"#, "/O=Other/CN=Alice", false);
    check(r#"'"/O=Grid/*"'"#, "/O=Grid", false);
    check(r#"'"/O=Else/*" "/O=Grid/*"'"#, "/O=Grid/CN=Alice", true);
    check(r#"'  "/O=Else/*"	"/O=Grid/*" '"#, "/O=Grid/CN=Alice", true);
    check(r#"'/O=Grid Two/*'"#, "/O=Grid Two/CN=Alice", true);
    check(r#""/O=Grid Two/*""#, "/O=Grid Two/CN=Alice", true);
    check("/O=Grid/*", "/O=Grid/CN=Alice", true);
    check(r#"'"/O=Grid/Email=*"'"#, "/O=Grid/emailAddress=a@b.org", true);
    check(r#"'"/O=Grid/USERID=*"'"#, "/O=Grid/UID=a", true);
    check(r#"'"/O=Grid/OU=*/CN=*"'"#, "/O=Grid/OU=a/CN=b", false);
    check("'\"/O=Gr\u{e9}/*\"'", r"/O=Gr\xC3\xA9/CN=b", true);
    check(r#"'"/O=Gr\xc3\xa9/*"'"#, r"/O=Gr\xC3\xA9/CN=b", true);
    check(r#"'"/O=L\'Ecole/*"'"#, "/O=L'Ecole/CN=b", true);
}

#[test]
fn a_value_that_reads_as_an_rdn_is_none() {
    check(r#"'"/O=Grid/OU=Good/*"'"#, r"/O=Grid\/OU=Good/CN=x", false);
    check(r#"'"/O=Grid/CN=x/CN=*"'"#, r"/O=Grid/CN=x\/CN=y", false);
    check(r#"'"/O=Grid/*"'"#, r"/O=Grid/CN=x\/CN=y", true);
    check(r#"'"/O=Grid/*/CN=y"'"#, r"/O=Grid/CN=x\/CN=y", false); // nor behind a star
    check(r#"'"/O=Grid/*/CN=y"'"#, "/O=Grid/CN=x/CN=y", true);
}

#[test]
fn blocks_for_several_cas_and_several_blocks_for_one() {
    let policy = format!(
        "# a comment with 'quotes\n\
         access_id_CA X509 '/O=Other'\npos_rights globus CA:sign\ncond_subjects globus '\"*\"'\n\
         access_id_CA X509 '/c=ch/o=GRID/cn=grid ca' # the same name\n\
         pos_rights globus CA:sign cond_subjects globus '\"/O=A/*\"'\n\
         \taccess_id_CA\tX509\t\"{CA}\"\r\n\tpos_rights globus CA:sign\r\n\
         cond_subjects globus '\"/O=B/*\"'\n\
         pos_rights globus CA:sign\ncond_subjects globus '\"/O=C/*\"'\n\
         cond_subjects globus '\"/O=C/CN=a*\"'"
    );
    assert_eq!(judge(&policy, "/O=A/CN=x"), Verdict::Permitted);
    assert_eq!(judge(&policy, "/O=B/CN=x"), Verdict::Permitted);
    assert_eq!(judge(&policy, "/O=C/CN=alice"), Verdict::Permitted);
    assert_eq!(judge(&policy, "/O=C/CN=x"), Verdict::NotPermitted);
    assert_eq!(judge(&policy, "/O=D/CN=x"), Verdict::NotPermitted);
    let others = "access_id_CA X509 '/O=Other'\naccess_id_CA X509 'no name'\n\
                  pos_rights globus CA:sign\ncond_subjects globus '\"*\"'\n";
    assert_eq!(judge(others, "/O=A/CN=x"), Verdict::NotNamed);
}

#[test]
fn mistakes_with_their_lines() {
    let check = |policy: &str, expected: &str| {
        let error = SigningPolicy::parse(policy.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{policy}");
    };
    let ca = "access_id_CA X509 '/O=a'\n";
    let right = "pos_rights globus CA:sign\n";
    let with = |text: &str| format!("{ca}{right}{text}");
    check("", "line 1: there is no access_id_CA in it");
    check("# nothing\n\n", "line 3: there is no access_id_CA in it");
    check("access_id_CA", "line 1: expected X509, and the file ends");
    check("access_id_ANYBODY", "line 1: expected access_id_CA, not \"access_id_ANYBODY\"");
    check("access_id_CA X500 '/O=a'", "line 1: expected X509, not \"X500\"");
    check(ca, "line 2: expected pos_rights, and the file ends");
    check(
        &format!("{ca}neg_rights globus CA:sign"),
        "line 2: expected pos_rights, not \"neg_rights\"",
    );
    check(&format!("{ca}pos_rights globus CA:read"), "line 2: expected CA:sign, not \"CA:read\"");
    check(&with(""), "line 3: expected cond_subjects, and the file ends");
    check(&with("cond_banned globus 'x'"), "line 3: expected cond_subjects, not \"cond_banned\"");
    check(&with("cond_subjects globus"), "line 3: expected a value, and the file ends");
    check(&with("cond_subjects globus '\"/O=a/*\"\n'"), "line 3: ' is not closed");
    check(&with("cond_subjects globus '\"/O=a/*'"), "line 3: a pattern is not closed by '\"'");
    check(
        &with("cond_subjects globus '\"/O=a/*\" /O=b'"),
        "line 3: a pattern is not closed by '\"', or text stands between two patterns",
    );
    check(&with("cond_subjects globus '\"\"'"), "line 3: an empty pattern");
    check(&with("cond_subjects globus ''"), "line 3: an empty pattern");
    check(&with("cond_subjects globus '\"\\x\"'"), "line 3: unfinished escape");
    check(&with("cond_subjects globus 'a'b"), "line 3: a blank must follow the closing '");
    check(
        &with("cond_subjects globus a\nneg_rights globus CA:sign\n"),
        "line 4: expected access_id_CA, not \"neg_rights\"",
    );
}

#[test]
fn size() {
    let full = with_patterns(r#"'"/O=Grid/*"'"#);
    let padded = |bytes: usize| format!("{full}{}", " ".repeat(bytes - full.len()));
    assert!(SigningPolicy::parse(padded(POLICY_BYTES_MAX).as_bytes()).is_ok());
    let error = SigningPolicy::parse(padded(POLICY_BYTES_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "line 1: larger than 1048576 bytes");
}

/// Writes a policy as people do.
fn render(policy: &SigningPolicy) -> String {
    let escaped = |pattern: &[u8]| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/=.* ".contains(&byte);
        let one = |&byte: &u8| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        };
        pattern.iter().map(one).collect()
    };
    let mut text = String::new();
    for block in &policy.blocks {
        for ca in &block.cas {
            let ca = ca.as_ref().map_or("nobody".to_owned(), |_| CA.to_owned());
            text += &format!("access_id_CA X509 '{ca}'\n");
        }
        for right in &block.rights {
            text += "pos_rights globus CA:sign\n";
            for patterns in right {
                let quoted: Vec<_> =
                    patterns.iter().map(|p| format!("\"{}\"", escaped(p))).collect();
                text += &format!("cond_subjects globus '{}'\n", quoted.join(" "));
            }
        }
    }
    text
}

fn policies() -> impl Strategy<Value = SigningPolicy> {
    let pattern = prop::collection::vec(any::<u8>(), 1..20).prop_map(|mut bytes| {
        bytes.make_ascii_lowercase();
        matching::one_spelling(&bytes)
    });
    let patterns = prop::collection::vec(pattern, 1..4);
    let rights = prop::collection::vec(prop::collection::vec(patterns, 1..3), 1..3);
    let key = Just(Some(dn(CA).matching_key()));
    let cas = prop::collection::vec(prop_oneof![key, Just(None)], 1..3);
    let block = (cas, rights).prop_map(|(cas, rights)| Block { cas, rights });
    prop::collection::vec(block, 1..4).prop_map(|blocks| SigningPolicy { blocks })
}

proptest! {
    #[test]
    fn what_is_written_is_read(policy in policies()) {
        prop_assert_eq!(SigningPolicy::parse(render(&policy).as_bytes()), Ok(policy));
    }

    #[test]
    fn no_bytes_make_it_fall(words in prop::collection::vec(
        prop_oneof![
            Just(b"access_id_CA X509 ".to_vec()), Just(b"pos_rights globus CA:sign ".to_vec()),
            Just(b"cond_subjects globus ".to_vec()), Just(b"'\"/O=a/*\"' ".to_vec()),
            prop::collection::vec(any::<u8>(), 0..12),
        ], 0..12))
    {
        if let Ok(policy) = SigningPolicy::parse(&words.concat()) {
            // Of a name that is written nowhere.
            let verdict = policy.judge(&dn("/O=Nowhere"), &dn("/O=Grid/CN=Alice"));
            prop_assert_ne!(verdict, Verdict::Permitted);
        }
    }
}
