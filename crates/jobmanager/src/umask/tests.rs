use super::*;

#[test]
fn gecos_names_it_among_other_parts() {
    let of = |text: &str| from_gecos(OsStr::new(text));
    assert_eq!(of("Alice,Room 1,,umask=077"), Some(0o077));
    assert_eq!(of("umask=27"), Some(0o027));
    assert_eq!(of("Alice umask=077"), None);
    assert_eq!(of("umask=1777"), None);
    assert_eq!(of("umask=9"), None);
    assert_eq!(of(""), None);
}

#[test]
fn login_defs_names_it_on_a_line() {
    assert_eq!(from_login_defs("# UMASK 077\nMAIL_DIR x\nUMASK\t\t022\n"), Some(0o022));
    assert_eq!(from_login_defs("#UMASK 077\nUMASKS 011\n"), None);
    assert_eq!(from_login_defs("UMASK\n"), None);
}
