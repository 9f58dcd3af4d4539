use std::sync::Arc;

use nesssi_rpc::MethodName;

use super::{BrokenReason, Registry, Service};
use crate::{Description, Manifest, ServiceName};

fn sound(name: &str, manifest: &str, description: &str) -> Service<()> {
    Service::sound(
        ServiceName::parse(name).unwrap(),
        format!("/srv/{name}"),
        1,
        Manifest::parse(manifest).unwrap(),
        Description::parse(description).unwrap(),
        (),
    )
}

#[test]
fn the_manifest_s_word_holds_over_the_code_s() {
    let service = sound(
        "a.b",
        "contact = \"x\"\nbatch = \"slurm\"\n[[method]]\nname = \"m\"\nhelp = \"theirs\"",
        r#"{"methods":[{"name":"m","help":"own"},{"name":"n"}],"contact":"y","purpose":"z","batch":"pbs"}"#,
    );
    assert_eq!(service.methods["m"].help, "theirs");
    assert_eq!(service.methods.len(), 2);
    assert_eq!((service.contact.as_deref(), service.purpose.as_deref()), (Some("x"), Some("z")));
    assert_eq!(service.batch.as_deref(), Some("slurm"));
    assert_eq!(sound("a", "", r#"{"batch":"pbs"}"#).batch.as_deref(), Some("pbs"));
}

#[test]
fn a_method_is_found_in_the_service_of_its_whole_prefix() {
    let mut registry = Registry::default();
    registry.insert(Arc::new(sound("apple", "", "{}")));
    registry.insert(Arc::new(sound("apple.xray", "", "{}")));
    let found = |name: &str| {
        let method = MethodName::parse(name).unwrap();
        registry.find(&method).map(|(s, m)| format!("{} {m}", s.name))
    };
    assert_eq!(found("apple.init").as_deref(), Some("apple init"));
    assert_eq!(found("apple.xray.init").as_deref(), Some("apple.xray init"));
    assert_eq!(found("apple.juliet.init"), None);
    assert_eq!(found("init"), None);
}

#[test]
fn levels_left_out_are_all_levels() {
    assert!(sound("a", "", "{}").serves_level("anonymous"));
    let strong = sound("a", "levels = [\"strong\"]", "{}");
    assert!(strong.serves_level("strong") && !strong.serves_level("anonymous"));
}

#[test]
fn strangers_read_the_kind_of_an_error_and_no_path() {
    let check = |detail: &str, kind: &str| {
        assert_eq!(BrokenReason::in_code(detail).kind, kind, "{detail}");
    };
    check("SyntaxError: invalid syntax (/home/joe/x.py, line 3)", "SyntaxError in its code");
    check("ModuleNotFoundError: No module named 'x'", "ModuleNotFoundError in its code");
    check("/home/joe/secret: no such file", "its code does not load");
    check("", "its code does not load");
}

#[test]
fn names_of_services() {
    for good in ["sleepy", "apple.xray.juliet", "_x1", "echoes"] {
        assert!(ServiceName::parse(good).is_ok(), "{good}");
    }
    let long = "a".repeat(121);
    for bad in ["", ".", "a..b", "1a", "a-b", "a/b", "ä", "echo", "system", "a b", &long] {
        assert!(ServiceName::parse(bad).is_err(), "{bad}");
    }
}
