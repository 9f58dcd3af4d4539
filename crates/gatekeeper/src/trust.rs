//! The trust directory in force: taken up again when its files change, without a restart.
//!
//! It is looked at in a thread that may wait for the file system, and swapped as a whole: whoever judges sees the old one or
//! the new one. While it cannot be read at all, the last good one stays in force; a broken file in it concerns itself alone.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use nesssi_config::Server;
use nesssi_identity::{Peer, Presented, Problem, TrustDirectory, judge_peer};
use tokio::task::spawn_blocking;

use crate::clock::now_unix;
use crate::live::Live;
use crate::tls::{self, TlsError};

/// How often the files are looked at: a large grid's 4,000 take some milliseconds, and a CRL that has come is in
/// force sooner than anybody could tell the administrator so.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often open connections are judged again though no file has changed: CRLs and CAs run out by the clock.
const JUDGE_EVERY: Duration = Duration::from_secs(60);

/// The trust directory in force.
#[derive(Debug)]
pub(crate) struct Trust {
    directory: ArcSwap<TrustDirectory>,
    generation: AtomicU64,
}

impl Trust {
    pub(crate) fn new(directory: TrustDirectory) -> Arc<Self> {
        Arc::new(Self {
            directory: ArcSwap::from_pointee(directory),
            generation: AtomicU64::new(0),
        })
    }

    /// Another directory is in force from now on.
    pub(crate) fn replace(&self, directory: TrustDirectory) {
        self.directory.store(Arc::new(directory));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// A number that changes with the directory. Asked for before judging, it is never newer than the judgement.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Who sent this chain; `None` is no certificate.
    pub(crate) fn judge(&self, presented: Option<&Presented>) -> Peer {
        judge_peer(presented.map(Presented::chain), &self.directory.load(), now_unix())
    }
}

/// The files that a [`Trust`] comes from, as they were when it was read.
pub(crate) struct Files {
    server: Server,
    seen: Footprint,
    /// What was last said of a directory that cannot be read.
    told: Option<String>,
}

/// What tells that files have changed: name, inode, size, and when content and inode last changed, of each
/// file that may belong to the directory, links followed. In the order of names.
#[derive(Debug, PartialEq, Eq)]
struct Footprint(Vec<(OsString, Option<[i128; 6]>)>);

/// Reads the trust directory for the first time.
///
/// # Errors
/// As [`tls::trust_directory`].
pub(crate) fn open(server: &Server) -> Result<(Arc<Trust>, Files), TlsError> {
    // Before the files are read: what changes meanwhile is seen as a change.
    let seen = Footprint::of(&server.trust_directory)?;
    let (directory, problems) = tls::trust_directory(server, now_unix())?;
    tell(&problems);
    Ok((Trust::new(directory), Files { server: server.clone(), seen, told: None }))
}

/// Keeps `trust` as its files are, and ends connections that it no longer bears; for ever.
pub(crate) async fn keep(trust: Arc<Trust>, mut files: Files, live: Arc<Live>) {
    let mut judged = Instant::now();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let (trust, live) = (Arc::clone(&trust), Arc::clone(&live));
        let due = judged.elapsed() >= JUDGE_EVERY;
        let work = move || {
            let changed = files.look(&trust);
            if changed || due {
                live.judge_again(&trust);
            }
            (files, changed || due)
        };
        match spawn_blocking(work).await {
            Ok((back, done)) => {
                files = back;
                if done {
                    judged = Instant::now();
                }
            }
            Err(error) => return tracing::error!(%error, "the trust directory is kept no longer"),
        }
    }
}

impl Files {
    /// Takes up what has changed. Whether anything has.
    fn look(&mut self, trust: &Trust) -> bool {
        let folder = &self.server.trust_directory;
        let seen = match Footprint::of(folder) {
            Ok(seen) if seen == self.seen && self.told.is_none() => return false,
            Ok(seen) => seen,
            Err(error) => return self.keep_last(&error.to_string()),
        };
        let (directory, problems) = match tls::trust_directory(&self.server, now_unix()) {
            Ok(read) => read,
            Err(error) => return self.keep_last(&error.to_string()),
        };
        self.seen = seen;
        self.told = None;
        tell(&problems);
        tracing::info!(cas = directory.len(), "the trust directory has changed and was taken up");
        trust.replace(directory);
        true
    }

    fn keep_last(&mut self, why: &str) -> bool {
        if self.told.as_deref() != Some(why) {
            tracing::error!(
                why,
                "the trust directory cannot be read: the last good one stays in force"
            );
            self.told = Some(why.to_owned());
        }
        false
    }
}

impl Footprint {
    fn of(folder: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)?.take(tls::TRUST_FILES_MAX + 1) {
            let name = entry?.file_name();
            if name.to_str().is_some_and(TrustDirectory::is_trust_file) {
                let facts = fs::metadata(folder.join(&name)).ok().map(|file| facts(&file));
                files.push((name, facts));
            }
        }
        files.sort();
        Ok(Self(files))
    }
}

fn facts(file: &fs::Metadata) -> [i128; 6] {
    let changed =
        |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    [
        file.dev().into(),
        file.ino().into(),
        file.size().into(),
        changed(file.mtime(), file.mtime_nsec()),
        changed(file.ctime(), file.ctime_nsec()),
        file.mode().into(),
    ]
}

fn tell(problems: &[Problem]) {
    for problem in problems {
        tracing::warn!(%problem, "trust directory");
    }
}
