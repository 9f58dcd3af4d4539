use nesssi_service::ServiceState;

use super::{ScanFound, read_by};
use crate::registry::Service;

const ACCESS: &str = "allow = [\"/\"]";
const DESCRIBED: &str = r#"{"methods":[{"name":"add"}]}"#;

fn found() -> ScanFound {
    ScanFound {
        name: "sleepy".into(),
        folder: "/srv/sleepy".into(),
        access: Some(ACCESS.into()),
        manifest: None,
        description: Some(DESCRIBED.into()),
        problem: None,
        digest: vec![0xab; 32],
        modules: None,
        in_place: None,
    }
}

fn of(found: &ScanFound) -> Service {
    let config = nesssi_config::parse("", "/etc/nesssi.toml").unwrap();
    read_by(&config, &|_| true, found, 1).unwrap()
}

/// What strangers and what developers read of a broken service.
fn reason(found: &ScanFound) -> (String, String) {
    match of(found).state {
        ServiceState::Broken(why) => (why.kind, why.detail),
        ServiceState::Ok => panic!("it is not broken"),
    }
}

#[test]
fn a_sound_folder_is_a_service() {
    let service = of(&found());
    assert!(service.is_ok() && service.methods.contains_key("add"));
    assert_eq!(service.digest, "ab".repeat(32));
}

#[test]
fn a_manifest_may_describe_the_methods_itself() {
    let manifest = Some("command = [\"./worker\"]\n[[method]]\nname = \"m\"".to_owned());
    let service = of(&ScanFound { manifest, description: None, ..found() });
    assert!(service.is_ok() && service.methods.contains_key("m"));
}

#[test]
fn every_way_to_be_broken_has_its_reason() {
    let check = |found: &ScanFound, kind: &str, detail: &str| {
        let (told, whole) = reason(found);
        assert_eq!(told, kind);
        assert!(whole.contains(detail), "{detail} in {whole}");
    };
    check(
        &ScanFound { access: None, ..found() },
        "it has no .clarens_access",
        "no .clarens_access",
    );
    check(
        &ScanFound { access: Some("allow = 7".into()), ..found() },
        "mistakes in its .clarens_access",
        ".clarens_access, line 1",
    );
    check(
        &ScanFound { manifest: Some("\ncolour = 7".into()), ..found() },
        "mistakes in its service.toml",
        "service.toml:2: unknown key 'colour'",
    );
    let error = r#"{"error":"SyntaxError: invalid syntax (__init__.py, line 3)"}"#;
    check(
        &ScanFound { description: Some(error.into()), ..found() },
        "SyntaxError in its code",
        "line 3",
    );
    check(
        &ScanFound { description: None, problem: Some("took longer than 10 s".into()), ..found() },
        "its code does not load",
        "took longer",
    );
    let problem = "its folder cannot be read: Permission denied (os error 13)";
    check(
        &ScanFound { access: None, description: None, problem: Some(problem.into()), ..found() },
        "its folder cannot be read",
        "Permission denied",
    );
    check(&ScanFound { description: None, ..found() }, "it describes no methods", "");
    check(
        &ScanFound { description: Some("{".into()), ..found() },
        "its description is malformed",
        "malformed",
    );
}

#[test]
fn all_reasons_are_told_and_the_first_names_the_kind() {
    let (kind, detail) =
        reason(&ScanFound { access: None, manifest: Some("x = 1".into()), ..found() });
    assert_eq!(kind, "mistakes in its service.toml");
    assert!(detail.contains("unknown key 'x'") && detail.contains("no .clarens_access"));
}

#[test]
fn a_reserved_name_is_no_service() {
    let config = nesssi_config::parse("", "/etc/nesssi.toml").unwrap();
    let found = ScanFound { name: "system".into(), ..found() };
    assert!(read_by(&config, &|_| true, &found, 1).is_err());
}

#[test]
fn a_mistake_that_the_scan_has_found_too_is_told_once() {
    let manifest = Some("contact = 7".to_owned());
    let (_, once) = reason(&ScanFound { manifest: manifest.clone(), ..found() });
    assert!(once.starts_with("service.toml:1: "), "{once}");
    let problem = Some(once.clone());
    let (_, twice) = reason(&ScanFound { manifest, problem, description: None, ..found() });
    assert_eq!(twice, once);
}
