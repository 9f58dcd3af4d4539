use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

use super::*;

fn place() -> (tempfile::TempDir, Versions) {
    let place = tempfile::tempdir().unwrap();
    let versions = Versions { folder: place.path().join("services") };
    (place, versions)
}

fn in_memory(text: &[u8], sealed: bool) -> Arc<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"test", flags).unwrap());
    file.write_all(text).unwrap();
    if sealed {
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK).unwrap();
    }
    Arc::new(file)
}

fn found(modules: Option<Arc<File>>) -> ScanFound {
    ScanFound {
        name: "adder".into(),
        folder: "/srv/adder".into(),
        access: None,
        manifest: Some("concurrency = 3".into()),
        description: Some("{}".into()),
        problem: None,
        digest: vec![0xab; 32],
        modules,
        in_place: None,
    }
}

fn name() -> ServiceName {
    ServiceName::parse("adder").unwrap()
}

#[test]
fn the_newest_is_kept_and_what_is_damaged_or_of_another_folder_is_not_used() {
    let (_place, versions) = place();
    assert!(versions.kept(&name(), "/srv/adder").is_none());
    for text in [&b"{\"files\":[]}\nold"[..], b"{\"files\":[]}\nnew"] {
        let file = versions.keep(&name(), &found(Some(in_memory(text, true)))).unwrap();
        assert!(read(&file).unwrap().ends_with(text));
    }
    let kept = versions.kept(&name(), "/srv/adder").unwrap();
    assert_eq!(kept.facts.digest, "ab".repeat(32));
    assert_eq!(kept.facts.manifest.as_deref(), Some("concurrency = 3"));
    assert!(read(&kept.modules.unwrap()).unwrap().ends_with(b"new"));
    assert!(versions.kept(&name(), "/srv/other").is_none());
    let path = versions.path("adder");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(versions.kept(&name(), "/srv/adder").is_none(), "it is damaged");
}

#[test]
fn nothing_is_kept_that_its_sender_could_still_change() {
    let (_place, versions) = place();
    assert!(versions.keep(&name(), &found(Some(in_memory(b"{}\n", false)))).is_none());
    assert!(versions.keep(&name(), &found(None)).is_none());
    assert!(versions.kept(&name(), "/srv/adder").is_none());
}

#[test]
fn where_it_cannot_be_written_the_one_in_memory_serves() {
    let (place, versions) = place();
    fs::write(place.path().join("services"), "a file in the way").unwrap();
    let memory = in_memory(b"{\"files\":[]}\n", true);
    let serves = versions.keep(&name(), &found(Some(Arc::clone(&memory)))).unwrap();
    assert!(Arc::ptr_eq(&serves, &memory));
}

#[test]
fn services_that_are_gone_are_forgotten() {
    let (_place, versions) = place();
    versions.keep(&name(), &found(Some(in_memory(b"{}\n", true)))).unwrap();
    versions.keep_only(&HashSet::from(["adder".to_owned()]));
    assert!(versions.path("adder").exists());
    versions.keep_only(&HashSet::new());
    assert!(!versions.path("adder").exists());
    versions.forget("adder");
}
