use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{PIECES_MAX, Sink};

/// Frames of HTTP/2 may hold one byte, or none at all.
#[tokio::test]
async fn pieces_of_next_to_nothing_gather_no_memory() {
    let mut written = tempfile::tempfile().unwrap();
    let mut sink = Sink {
        file: Arc::new(written.try_clone().unwrap().into()),
        writes: Arc::new(Semaphore::new(1)),
        offset: 0,
        waiting: Vec::new(),
        waiting_bytes: 0,
    };
    for _ in 0..10 * PIECES_MAX {
        sink.take(Bytes::new()).await.unwrap();
    }
    assert_eq!(sink.waiting.capacity(), 0, "what is nothing is not kept");
    for byte in 1..=3 * PIECES_MAX {
        sink.take(Bytes::from_static(b"x")).await.unwrap();
        assert!(sink.waiting.len() < PIECES_MAX, "{byte} bytes");
    }
    sink.take(Bytes::from_static(b"end")).await.unwrap();
    sink.write().await.unwrap();
    let mut text = String::new();
    std::io::Seek::rewind(&mut written).unwrap();
    written.read_to_string(&mut text).unwrap();
    assert_eq!(text, "x".repeat(3 * PIECES_MAX) + "end");
}
