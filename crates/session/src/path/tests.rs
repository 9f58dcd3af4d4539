use proptest::prelude::*;

use super::*;

#[test]
fn plain_names_are_taken() {
    assert_eq!(SandboxPath::parse(b"a/\xff").map(|path| path.0), Ok(b"a/\xff".to_vec()));
    for text in ["", "a", "a/b/c", "a b", "%2e%2e", "a..b", "a.", "\\..", "\u{2215}etc"] {
        assert_eq!(SandboxPath::parse(text).map(|path| path.0), Ok(text.as_bytes().to_vec()));
    }
    assert!(SandboxPath::parse("").unwrap().is_root());
}

#[test]
fn ways_out_and_hidden_names_are_refused() {
    use SandboxPathError::{Empty, Hidden, Nul};
    for (text, error) in [
        ("..", Hidden),
        (".", Hidden),
        ("a/..", Hidden),
        ("a/../b", Hidden),
        (".nesssi/record", Hidden),
        ("a/.hidden", Hidden),
        ("/etc/passwd", Empty),
        ("a//b", Empty),
        ("a/", Empty),
        ("/", Empty),
        ("a\0b", Nul),
    ] {
        assert_eq!(SandboxPath::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn length_is_bounded() {
    let part = |bytes| "x".repeat(bytes);
    assert!(SandboxPath::parse(part(255)).is_ok());
    assert_eq!(SandboxPath::parse(part(256)), Err(SandboxPathError::TooLong));
    let deep = |parts| vec!["x"; parts].join("/");
    assert!(SandboxPath::parse(deep(PATH_PARTS_MAX)).is_ok());
    assert_eq!(SandboxPath::parse(deep(PATH_PARTS_MAX + 1)), Err(SandboxPathError::TooLong));
    let long = vec![part(200); 20].join("/");
    assert_eq!(SandboxPath::parse(&long), Err(SandboxPathError::TooLong));
}

proptest! {
    #[test]
    fn what_is_taken_has_no_way_out(
        bytes in proptest::collection::vec(prop::sample::select(b"a./\0-\xff\xae"), 0..24),
    ) {
        if let Ok(path) = SandboxPath::parse(&bytes) {
            prop_assert!(!path.as_bytes().starts_with(b"/"));
            for part in path.as_bytes().split(|byte| *byte == b'/').filter(|_| !path.is_root()) {
                prop_assert!(!part.is_empty() && !part.starts_with(b".") && !part.contains(&0));
            }
        }
    }
}
