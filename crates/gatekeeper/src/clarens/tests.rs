use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::Full;
use hyper::body::{Body, Frame};

use super::{BodyError, collect, is_xml, origin_of};

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
    assert_eq!(is_xml(&headers), taken, "{value}");
}

#[test]
fn only_xml_is_taken() {
    content_type("text/xml", true);
    content_type("Text/XML; charset=utf-8", true);
    content_type("application/xml;charset=utf-8", true);
    content_type("", false);
    content_type("text/plain", false);
    content_type("application/x-www-form-urlencoded", false);
    content_type("multipart/form-data; boundary=text/xml", false);
    content_type("text/xmlx", false);
    content_type("text/xml, text/plain", false);
    assert!(!is_xml(&HeaderMap::new()));
    let mut twice = HeaderMap::new();
    twice.append(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    twice.append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    assert!(!is_xml(&twice));
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    assert_eq!(origin_of("https://Grid.example:8443"), "https://grid.example:8443");
    assert_eq!(origin_of("https://grid.example:8443/nesssi"), "https://grid.example:8443");
    assert_eq!(origin_of("https://grid.example:443"), "https://grid.example");
    assert_eq!(origin_of("https://grid.example"), "https://grid.example");
}
