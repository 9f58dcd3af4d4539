use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::Full;
use hyper::body::{Body, Frame};

use super::dialect::Manner;
use super::{BodyError, Place, collect, origin_of};

const LIMIT: usize = 100;

/// A body that comes in pieces of these lengths.
struct Pieces(Vec<usize>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop().map(|length| Ok(Frame::data(Bytes::from(vec![7; length])))))
    }
}

async fn read(pieces: &[usize]) -> Result<usize, BodyError> {
    let mut body = Pieces(pieces.iter().rev().copied().collect());
    collect(&mut body, LIMIT).await.map(|bytes| bytes.len())
}

#[tokio::test]
async fn a_body_below_at_and_above_the_limit() {
    assert_eq!(read(&[]).await, Ok(0));
    assert_eq!(read(&[LIMIT - 1]).await, Ok(LIMIT - 1));
    assert_eq!(read(&[LIMIT]).await, Ok(LIMIT));
    assert_eq!(read(&[LIMIT + 1]).await, Err(BodyError::TooLong(None)));
    assert_eq!(read(&[50, 49]).await, Ok(99));
    assert_eq!(read(&[50, 0, 50]).await, Ok(100));
    assert_eq!(read(&[50, 50, 1]).await, Err(BodyError::TooLong(None)));
    let mut whole = Full::new(Bytes::from(vec![7; LIMIT]));
    assert_eq!(collect(&mut whole, LIMIT).await.unwrap().len(), LIMIT);
}

#[track_caller]
fn content_type(value: &'static str, taken: bool) {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
    assert_eq!(Manner::of(&headers, None).is_ok(), taken, "{value}");
}

#[test]
fn only_what_no_form_can_send_is_taken() {
    content_type("text/xml", true);
    content_type("Text/XML; charset=utf-8", true);
    content_type("application/xml;charset=utf-8", true);
    content_type("application/soap+xml; action=\"urn:a\"", true);
    content_type("application/json", true);
    content_type("text/json", true);
    content_type("application/json-rpc", true);
    content_type("", false);
    content_type("text/plain", false);
    content_type("application/x-www-form-urlencoded", false);
    content_type("multipart/form-data; boundary=text/xml", false);
    content_type("text/xmlx", false);
    content_type("text/xml, text/plain", false);
    content_type("application/json; charset=utf-16", false);
    assert!(Manner::of(&HeaderMap::new(), None).is_err());
    for (name, one, other) in [
        ("content-type", "text/xml", "text/plain"),
        ("content-type", "text/xml", "text/xml"),
        ("soapaction", "\"a\"", "\"b\""),
    ] {
        let mut twice = HeaderMap::new();
        twice.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
        twice.insert(name, HeaderValue::from_static(one));
        assert!(Manner::of(&twice, None).is_ok());
        twice.append(name, HeaderValue::from_static(other));
        assert!(Manner::of(&twice, None).is_err(), "{name}");
    }
}

#[test]
fn a_path_names_the_container_or_a_service() {
    for path in ["/clarens/", "/clarens"] {
        assert_eq!(Place::of(path), Some(Place::Container));
    }
    assert_eq!(Place::of("/clarens/a.b-c_1"), Some(Place::Service("a.b-c_1")));
    for path in ["/", "/clarensx", "/clarens/a/b", "/clarens//", "/clarens/.", "/clarens/a%2eb"] {
        assert_eq!(Place::of(path), None, "{path}");
    }
    assert_eq!(Place::of(&format!("/clarens/{}", "a".repeat(256))), None);
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    assert_eq!(origin_of("https://Grid.example:8443"), "https://grid.example:8443");
    assert_eq!(origin_of("https://grid.example:8443/nesssi"), "https://grid.example:8443");
    assert_eq!(origin_of("https://grid.example:443"), "https://grid.example");
    assert_eq!(origin_of("https://grid.example"), "https://grid.example");
}
