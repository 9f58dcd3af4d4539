use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use md5::Md5;
use sha2::Sha256;

use super::{Stop, ThreadCpu, hash};

fn file(content: &[u8]) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.into()
}

const PLENTY: Duration = Duration::from_secs(60);

#[test]
fn known_digests() {
    let (clock, left) = (ThreadCpu::begin(), AtomicBool::new(false));
    let md5 = |content: &[u8]| hash::<Md5>(&file(content), &left, &clock, PLENTY).ok();
    let sha256 = |content: &[u8]| hash::<Sha256>(&file(content), &left, &clock, PLENTY).ok();
    assert_eq!(md5(b"").as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e"));
    assert_eq!(md5(b"abc").as_deref(), Some("900150983cd24fb0d6963f7d28e17f72"));
    assert_eq!(
        sha256(b"abc").as_deref(),
        Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    );
    // A million times "a", which is several chunks.
    assert_eq!(
        sha256(&[b'a'; 1_000_000]).as_deref(),
        Some("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
    );
}

#[test]
fn a_thread_stops_when_nobody_waits_and_when_it_has_used_its_cpu() {
    let (clock, file) = (ThreadCpu::begin(), file(&[b'a'; 1_000_000]));
    let gone = hash::<Md5>(&file, &AtomicBool::new(true), &clock, PLENTY);
    assert!(matches!(gone, Err(Stop::Left)));
    let used = hash::<Md5>(&file, &AtomicBool::new(false), &clock, Duration::ZERO);
    assert!(matches!(used, Err(Stop::Cpu)));
}
