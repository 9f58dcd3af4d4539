use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use nesssi_container::Change;
use tokio::sync::mpsc;

use super::{CHUNK_BYTES, FOLLOWERS_PER_ACCOUNT, Readers};
use crate::body::Source;
use crate::house::Growth;

struct Told(mpsc::Receiver<Change>);

impl Growth for Told {
    async fn changed(&mut self) -> Change {
        self.0.recv().await.unwrap_or(Change::Closed)
    }
}

fn file(length: usize) -> (File, Vec<u8>) {
    let mut file = tempfile::tempfile().unwrap();
    let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
    file.write_all(&bytes).unwrap();
    (file, bytes)
}

fn descriptor(file: &File) -> OwnedFd {
    file.try_clone().unwrap().into()
}

async fn next(source: &mut Source) -> Option<std::io::Result<bytes::Bytes>> {
    match source {
        Source::Stream { chunks, .. } => chunks.recv().await,
        Source::Full(_) => panic!("no stream"),
    }
}

async fn collect(source: &mut Source) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = next(source).await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

#[tokio::test]
async fn every_length_around_a_chunk_arrives_whole() {
    let readers = Readers::default();
    for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7] {
        let (file, bytes) = file(length);
        let mut source =
            readers.send("ann", descriptor(&file).into(), 0, u64::try_from(length).unwrap());
        assert!(collect(&mut source).await.unwrap() == bytes, "{length}");
    }
}

#[tokio::test]
async fn a_part_is_that_part() {
    let (file, bytes) = file(CHUNK_BYTES * 2);
    let mut source = Readers::default().send("ann", descriptor(&file).into(), 100, 300_000);
    assert!(collect(&mut source).await.unwrap() == bytes[100..300_100]);
}

#[tokio::test]
async fn a_file_cut_short_ends_in_an_error() {
    let (file, _) = file(CHUNK_BYTES * 8);
    let length = u64::try_from(CHUNK_BYTES * 8).unwrap();
    let mut source = Readers::default().send("ann", descriptor(&file).into(), 0, length);
    next(&mut source).await.unwrap().unwrap();
    file.set_len(10).unwrap();
    assert!(collect(&mut source).await.is_err());
}

#[tokio::test]
async fn following_ends_with_the_job_and_its_last_bytes() {
    let (mut file, _) = file(5);
    let (tell, told) = mpsc::channel(4);
    let mut source = Readers::default().follow("ann", descriptor(&file), 0, Told(told)).unwrap();
    assert_eq!(next(&mut source).await.unwrap().unwrap(), &[0, 1, 2, 3, 4][..]);
    file.write_all(b"more").unwrap();
    tell.send(Change::Grew).await.unwrap();
    assert_eq!(next(&mut source).await.unwrap().unwrap(), &b"more"[..]);
    file.write_all(b"last").unwrap();
    tell.send(Change::JobEnded).await.unwrap();
    assert_eq!(next(&mut source).await.unwrap().unwrap(), &b"last"[..]);
    assert!(next(&mut source).await.is_none());
}

#[tokio::test]
async fn following_goes_on_where_it_was_cut_off() {
    let (file, _) = file(5);
    let (tell, told) = mpsc::channel(4);
    let mut source = Readers::default().follow("ann", descriptor(&file), 3, Told(told)).unwrap();
    assert_eq!(next(&mut source).await.unwrap().unwrap(), &[3, 4][..]);
    tell.send(Change::JobEnded).await.unwrap();
    assert!(next(&mut source).await.is_none());
    let (_tell, told) = mpsc::channel(4);
    let mut beyond = Readers::default().follow("ann", descriptor(&file), 6, Told(told)).unwrap();
    assert!(next(&mut beyond).await.unwrap().is_err(), "the file has become shorter");
}

#[tokio::test]
async fn following_ends_in_an_error_when_cut_short_or_abandoned() {
    for change in [Change::Grew, Change::Closed] {
        let (file, _) = file(100);
        let (tell, told) = mpsc::channel(4);
        let mut source =
            Readers::default().follow("ann", descriptor(&file), 0, Told(told)).unwrap();
        next(&mut source).await.unwrap().unwrap();
        if matches!(change, Change::Grew) {
            file.set_len(10).unwrap();
        }
        tell.send(change).await.unwrap();
        assert!(next(&mut source).await.unwrap().is_err());
        assert!(next(&mut source).await.is_none());
    }
}

#[tokio::test]
async fn followers_of_an_account_are_bounded() {
    let readers = Readers::default();
    let (file, _) = file(1);
    let mut held = Vec::new();
    let mut follow = |account: &str| {
        let (tell, told) = mpsc::channel(1);
        let source = readers.follow(account, descriptor(&file), 0, Told(told));
        held.push(tell);
        source
    };
    let sources: Vec<Option<Source>> = (0..FOLLOWERS_PER_ACCOUNT).map(|_| follow("ann")).collect();
    assert!(sources.iter().all(Option::is_some));
    assert!(follow("ann").is_none());
    assert!(follow("bob").is_some());
}
