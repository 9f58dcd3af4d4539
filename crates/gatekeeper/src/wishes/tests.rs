use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::{ACCOUNT, Basic, CLIENT_TAG, Unclear, Wishes};

fn take(headers: &[(HeaderName, &str)]) -> Result<Wishes, Unclear> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    let taken = Wishes::take(&mut map);
    assert!(!map.contains_key(AUTHORIZATION), "what is secret stays in no head");
    taken
}

fn basic(plain: &str) -> Result<Option<(String, String)>, Unclear> {
    let value = format!("Basic {}", STANDARD.encode(plain));
    let wishes = take(&[(AUTHORIZATION, &value)])?;
    Ok(wishes.basic.map(|basic| (basic.user, basic.password)))
}

#[test]
fn one_account() {
    assert_eq!(take(&[]), Ok(Wishes::default()));
    assert_eq!(take(&[(ACCOUNT, "grid01")]).unwrap().account.as_deref(), Some("grid01"));
    assert_eq!(take(&[(ACCOUNT, "")]), Err(Unclear::Account));
    assert_eq!(take(&[(ACCOUNT, "a"), (ACCOUNT, "a")]), Err(Unclear::Account));
}

#[test]
fn one_tag() {
    let longest = "x".repeat(128);
    for good in ["t", "a/b:c", longest.as_str()] {
        let tag = take(&[(CLIENT_TAG, good)]).unwrap().tag.unwrap();
        assert_eq!(tag.as_str(), good);
    }
    for bad in ["", " ", "a b", "é", &"x".repeat(129)] {
        assert_eq!(take(&[(CLIENT_TAG, bad)]), Err(Unclear::ClientTag), "{bad:?}");
    }
    assert_eq!(take(&[(CLIENT_TAG, "t"), (CLIENT_TAG, "t")]), Err(Unclear::ClientTag));
}

#[test]
fn user_and_password() {
    let pair = |user: &str, password: &str| Ok(Some((user.to_owned(), password.to_owned())));
    // The example of RFC 7617, section 2.
    let wishes = take(&[(AUTHORIZATION, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")]).unwrap();
    let (user, password) = ("Aladdin".to_owned(), "open sesame".to_owned());
    assert_eq!(wishes.basic, Some(Basic { user, password }));
    assert_eq!(basic("a:b:c"), pair("a", "b:c"));
    assert_eq!(basic(":"), pair("", ""));
    assert_eq!(basic("ü:ß"), pair("ü", "ß"));
}

#[test]
fn what_is_no_basic() {
    for plain in ["none", "a:b\n", "a\0:b"] {
        assert_eq!(basic(plain), Err(Unclear::Basic), "{plain:?}");
    }
    for value in ["Basic", "Basic ", "basic !!!", "Basic QQ", "BASIC /w=="] {
        assert_eq!(take(&[(AUTHORIZATION, value)]), Err(Unclear::Basic), "{value}");
    }
    let twice = [(AUTHORIZATION, "Basic YTpi"), (AUTHORIZATION, "Basic YTpi")];
    assert_eq!(take(&twice), Err(Unclear::Basic));
    for other in ["Bearer x", "Basically YTpi", "x"] {
        assert_eq!(take(&[(AUTHORIZATION, other)]), Ok(Wishes::default()), "{other}");
    }
}
