use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Events of one file are told as one while none of another comes between.
#[test]
fn files_that_are_written_without_pause_do_not_keep_the_reader() {
    let place = tempfile::tempdir().unwrap();
    let mut files: Vec<std::fs::File> =
        ["one", "other"].map(|name| std::fs::File::create(place.path().join(name)).unwrap()).into();
    let mut follows = Follows::default();
    // Many watches make it slower than those who write.
    for number in 0..WATCHES_MAX {
        let file = &files[number % 2];
        follows.add(1, &file.try_clone().unwrap().into()).unwrap();
    }
    let enough = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&enough);
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let mut files: Vec<_> = files.iter().map(|file| file.try_clone().unwrap()).collect();
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                let begun = Instant::now();
                // The test ends if the reader never does.
                while !seen.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(20) {
                    files.iter_mut().for_each(|file| file.write_all(b".").unwrap());
                }
            })
        })
        .collect();
    let begun = Instant::now();
    for _ in 0..3 {
        files.iter_mut().for_each(|file| file.write_all(b".").unwrap());
        follows.read();
    }
    let took = begun.elapsed();
    enough.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(follows.due().len(), WATCHES_MAX);
}
