use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nesssi_policy::Access;

use super::{converted, replace};

const OLD: &str = "\
#!/usr/bin/python
# Who may use the sky survey.
#   ask Ann before changing this

access = [
    ('', [0, ['/O=Grid/CN=#1 fan'], None, ['/O=Grid/CN=Eve'], None]),  # Eve was asked to leave
    # the big one
    ('burn', [0, ['/O=Grid/CN=Ann'], None, None, None]),
]
";

#[test]
fn rules_are_the_same_and_the_comments_at_the_head_are_kept() {
    let access = Access::parse(OLD).unwrap();
    let (toml, lost) = converted(OLD, &access);
    assert!(
        toml.starts_with("# Who may use the sky survey.\n#   ask Ann before changing this\n\n"),
        "{toml}"
    );
    assert_eq!(lost, [6, 7], "a # in a string is no comment");
    let again = Access::parse(&toml).unwrap();
    assert!(!again.is_old_form());
    assert_eq!(again.to_toml(), access.to_toml());
    assert_eq!(again.in_words(), access.in_words());
}

#[test]
fn a_file_is_replaced_with_its_mode_and_what_it_was_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".clarens_access");
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let old = replace(&file, "new").unwrap();
    assert!(old.ends_with(".clarens_access.old"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let refused = replace(&file, "newer").unwrap_err().to_string();
    assert!(refused.contains("there already"), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    let names = folder.path().read_dir().unwrap().count();
    assert_eq!(names, 2, "nothing is left behind");
}
