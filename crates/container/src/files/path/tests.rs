use nesssi_rpc::FaultCode;

use super::{ApiPath, Place};

const SESSION: &str = "0123456789abcdef0123456789abcdef";

#[track_caller]
fn check(path: &str, place: &Place, names: &str) {
    let ApiPath::In(found, inside) = ApiPath::parse(path.as_bytes()).unwrap() else {
        panic!("{path} is the top");
    };
    assert_eq!((&found, inside.as_bytes()), (place, names.as_bytes()), "{path}");
}

#[test]
fn sessions_and_trees() {
    let session = Place::Session(SESSION.to_owned());
    for root in ["/S", "S", "/S/", "S/"] {
        check(&root.replace('S', SESSION), &session, "");
    }
    for file in ["/S/a/b", "S/a/b", "/S/a/b/"] {
        check(&file.replace('S', SESSION), &session, "a/b");
    }
    let tree = |name: &str| Place::Tree(name.to_owned());
    check("/data/a", &tree("data"), "a");
    check("data", &tree("data"), "");
    // What is nearly a session is a tree, of which there is none.
    for near in [&SESSION[1..], &SESSION.to_uppercase(), &format!("{SESSION}0")] {
        check(near, &tree(near), "");
    }
    for top in ["", "/"] {
        assert_eq!(ApiPath::parse(top.as_bytes()).unwrap(), ApiPath::Top);
    }
}

#[test]
fn what_no_path_can_be_is_absent() {
    let hostile = [
        "//",
        "//a",
        "/S//",
        "/S//a",
        "/S/a//b",
        "/S/..",
        "/S/../x",
        "/S/.hidden",
        "/S/a/./b",
        "/S/a\0b",
        "/data/../etc",
        "/data//etc/passwd",
        "/S/a//",
    ];
    for path in hostile {
        let path = path.replace('S', SESSION);
        let fault = ApiPath::parse(path.as_bytes()).unwrap_err();
        assert_eq!(fault.code, FaultCode::NotFound, "{path:?}");
    }
    assert!(ApiPath::parse(b"\xff\xfe").is_err());
    assert!(ApiPath::parse(format!("/{SESSION}/{}", "a/".repeat(65)).as_bytes()).is_err());
    assert!(ApiPath::parse(format!("/{SESSION}/{}", "a".repeat(256)).as_bytes()).is_err());
    // Bytes that are no text are a name like any other.
    let path = [format!("/{SESSION}/").as_bytes(), b"\xff"].concat();
    assert!(ApiPath::parse(&path).is_ok());
}

#[test]
fn whole_paths() {
    let tree = Place::Tree("data".to_owned());
    assert_eq!(tree.join(b""), b"/data");
    assert_eq!(tree.join(b"a/b"), b"/data/a/b");
}
