use super::{Asked, TARGET_BYTES_MAX, encode_name};

const ID: &str = "0123456789abcdef0123456789abcdef";

#[track_caller]
fn check(rest: &str, path: &str, slash: bool) {
    check_bytes(rest, path.as_bytes(), slash);
}

#[track_caller]
fn check_bytes(rest: &str, path: &[u8], slash: bool) {
    let asked = Asked::parse(&format!("/sandboxes/{ID}{rest}"));
    let expected = Asked { session: ID.to_owned(), path: path.to_owned(), slash };
    assert_eq!(asked, Some(expected), "{rest}");
}

#[track_caller]
fn refused(target: &str) {
    assert_eq!(Asked::parse(target), None, "{target}");
}

#[test]
fn good_paths() {
    check("", "", false);
    check("/", "", true);
    check("/out.txt", "out.txt", false);
    check("/a/b/c", "a/b/c", false);
    check("/a/b/", "a/b", true);
    check("/with%20blank%2Bplus+%c3%a4", "with blank+plus+ä", false);
    check("/once%2525", "once%25", false);
    check_bytes("/%ff/%c3.x", b"\xff/\xc3.x", false);
    // What looks like dots to some is a name like any other to the system.
    check_bytes("/%c0%ae%c0%ae/x", b"\xc0\xae\xc0\xae/x", false);
    check("/back\\slash", "back\\slash", false);
}

#[test]
fn what_no_sandbox_can_hold() {
    let bad = [
        "//",
        "//x",
        "/a//b",
        "/a//",
        "/.",
        "/..",
        "/a/../b",
        "/a/..",
        "/./a",
        "/.nesssi/record",
        "/.hidden",
        "/a/.hidden/b",
        "/%2e%2e/x",
        "/%2E",
        "/...%41",
        "/%2ehidden",
        "/a%2fb",
        "/a%2Fb",
        "/a%00b",
        "/%",
        "/%4",
        "/%zz",
        "/%+1",
        "/a/%2e%2e%2fb",
    ];
    for rest in bad {
        refused(&format!("/sandboxes/{ID}{rest}"));
    }
    refused("/");
    refused("/sandboxes");
    refused("/sandboxes/");
    refused(&format!("/Sandboxes/{ID}/x"));
    refused(&format!("//sandboxes/{ID}/x"));
    refused(&format!("/sandboxes/{}/x", ID.to_uppercase()));
    refused(&format!("/sandboxes/{}/x", &ID[1..]));
    refused(&format!("/sandboxes/{ID}0/x"));
    refused(&format!("/sandboxes/%30{}/x", &ID[1..]));
}

#[test]
fn the_length_is_bounded() {
    let head = format!("/sandboxes/{ID}/");
    let of = |length: usize| format!("{head}{}", "x".repeat(length - head.len()));
    assert!(Asked::parse(&of(TARGET_BYTES_MAX - 1)).is_some());
    assert!(Asked::parse(&of(TARGET_BYTES_MAX)).is_some());
    refused(&of(TARGET_BYTES_MAX + 1));
}

#[test]
fn an_encoded_name_comes_back() {
    for name in
        ["a b", "50%", "ä/ö", "javascript:alert(1)", "<img>", "a\"b'c", "\u{202e}gpj.exe", "x?y#z"]
    {
        let encoded = encode_name(name.as_bytes());
        assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        let back = super::name(&encoded);
        assert_eq!(back.as_deref(), (!name.contains('/')).then_some(name.as_bytes()));
    }
    assert_eq!(super::name(&encode_name(b"\xff \x80")).as_deref(), Some(&b"\xff \x80"[..]));
}

#[test]
fn on_the_apis_host() {
    let session = "0123456789abcdef0123456789abcdef";
    let asked = |target: &str| Asked::parse_api(&target.replace('S', session));
    let file = asked("/clarens/S/a/b%20c").unwrap().unwrap();
    assert_eq!((file.session.as_str(), &*file.path, file.slash), (session, &b"a/b c"[..], false));
    assert_eq!(asked("/clarens/S").unwrap().unwrap().path, b"");
    assert!(asked("/clarens/S/").unwrap().unwrap().slash);
    // A session's, and no path.
    for path in
        ["/clarens/S/..", "/clarens/S/.x", "/clarens/S//", "/clarens/S/a%00", "/clarens/S/a%2fb"]
    {
        assert_eq!(asked(path), Some(None), "{path}");
    }
    // Others.
    for path in ["/clarens/", "/clarens/echo", "/sandboxes/S/a", "/clarens/S0/a", "/S/a"] {
        assert_eq!(asked(path), None, "{path}");
    }
}
