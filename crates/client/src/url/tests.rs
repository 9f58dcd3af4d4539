use super::Url;

#[test]
fn addresses_are_taken_apart() {
    let url = Url::parse("https://Host.example:8443/clarens/").unwrap();
    assert!(url.origin.secure);
    assert_eq!(url.origin.authority(), "Host.example:8443");
    assert_eq!(url.path, "/clarens/");
    let plain = Url::parse("http://[::1]").unwrap();
    assert_eq!((plain.origin.host(), plain.origin.port(), plain.path.as_str()), ("::1", 80, "/"));
    assert_eq!(plain.origin.authority(), "[::1]:80");
}

#[test]
fn other_addresses_are_refused() {
    for text in [
        "",
        "localhost",
        "localhost:8443",
        "ftp://host/",
        "file:///etc/passwd",
        "https://",
        "https:///a",
        "https://user@host/",
        "https://host/?a=b",
        "https://host/#a",
        "https://host:99999/",
    ] {
        assert!(Url::parse(text).is_err(), "{text}");
    }
}

#[test]
fn sandbox_paths_are_encoded_component_by_component() {
    let base = Url::parse("http://host:8080/sandboxes/0123/").unwrap();
    let below = |path, directory| base.below(path, directory).unwrap().path;
    assert_eq!(below("", true), "/sandboxes/0123/");
    assert_eq!(below("", false), "/sandboxes/0123/");
    assert_eq!(below("./a//b c", false), "/sandboxes/0123/a/b%20c");
    assert_eq!(below("sub/", true), "/sandboxes/0123/sub/");
    assert_eq!(below("a?b#c%2f\u{e9}\r\n", false), "/sandboxes/0123/a%3Fb%23c%252f%C3%A9%0D%0A");
    assert!(base.below("../other", false).is_err());
    assert!(base.below("a/..", false).is_err());
}
