//! Tests of seals and their key.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

const SESSION: &str = "0123456789abcdef0123456789abcdef";

fn directory(place: &tempfile::TempDir) -> OwnedFd {
    rustix::fs::open(place.path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn sample(key: &SealKey) -> Seal {
    key.seal(SESSION, "alice", 1001, "strong", &[7; 48])
}

#[test]
fn a_seal_holds_for_its_session() {
    let key = SealKey::from_bytes([1; KEY_BYTES]);
    assert!(key.holds(SESSION, &sample(&key)));
}

#[test]
fn a_changed_seal_does_not_hold() {
    let key = SealKey::from_bytes([1; KEY_BYTES]);
    let other_session = "1123456789abcdef0123456789abcdef";
    assert!(!key.holds(other_session, &sample(&key)));
    let changes: [fn(&mut Seal); 9] = [
        |seal| seal.account = "alicf".into(),
        |seal| seal.account = "alic".into(),
        |seal| seal.uid = 0,
        |seal| seal.uid += 1,
        |seal| seal.level = "weak".into(),
        |seal| seal.limits.0[0] ^= 1,
        |seal| seal.limits.0.push(0),
        |seal| seal.mac.0[31] ^= 1,
        |seal| seal.mac.0.truncate(16),
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut seal = sample(&key);
        change(&mut seal);
        assert!(!key.holds(SESSION, &seal), "change {index}");
    }
}

#[test]
fn letters_moved_between_fields_do_not_hold() {
    let key = SealKey::from_bytes([1; KEY_BYTES]);
    let mut seal = key.seal(SESSION, "ab", 5, "c", &[]);
    seal.account = "a".into();
    seal.level = "bc".into();
    assert!(!key.holds(SESSION, &seal));
}

#[test]
fn another_key_does_not_hold() {
    let key = SealKey::from_bytes([1; KEY_BYTES]);
    assert!(!SealKey::from_bytes([2; KEY_BYTES]).holds(SESSION, &sample(&key)));
    let mut empty = sample(&key);
    empty.mac.0.clear();
    assert!(!key.holds(SESSION, &empty));
}

#[test]
fn a_key_is_made_once_and_is_ours_alone() {
    let place = tempfile::tempdir().unwrap();
    let (first, origin) = SealKey::load_or_make(&directory(&place)).unwrap();
    assert_eq!(origin, KeyOrigin::Made);
    let facts = fs::metadata(place.path().join(FILE)).unwrap();
    assert_eq!((facts.mode() & 0o7777, facts.len()), (0o600, 32));
    let (second, origin) = SealKey::load_or_make(&directory(&place)).unwrap();
    assert_eq!(origin, KeyOrigin::Read);
    assert!(second.holds(SESSION, &sample(&first)));
    let other = tempfile::tempdir().unwrap();
    let (third, _) = SealKey::load_or_make(&directory(&other)).unwrap();
    assert!(!third.holds(SESSION, &sample(&first)));
}

#[test]
fn a_doubtful_key_is_refused_and_stays() {
    let refuse = |prepare: &dyn Fn(&std::path::Path)| {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join(FILE);
        prepare(&file);
        let error = SealKey::load_or_make(&directory(&place)).unwrap_err();
        assert!(fs::symlink_metadata(&file).is_ok());
        error.to_string()
    };
    let write = |file: &std::path::Path, bytes: &[u8], mode: u32| {
        fs::write(file, bytes).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
    };
    assert!(refuse(&|file| write(file, &[1; 32], 0o640)).contains("0600"));
    assert!(refuse(&|file| write(file, &[1; 31], 0o600)).contains("32 bytes"));
    assert!(refuse(&|file| write(file, &[1; 33], 0o600)).contains("32 bytes"));
    assert!(refuse(&|file| fs::create_dir(file).unwrap()).contains("regular"));
    assert!(refuse(&|file| symlink("/etc/hostname", file).unwrap()).contains("symbolic link"));
}
