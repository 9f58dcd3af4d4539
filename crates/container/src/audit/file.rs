//! The audit's file, its chain, and what becomes of both when the file is moved away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nesssi_journal::chain::{self, Head};
use rustix::fs::{FlockOperation, flock};

/// Bytes that one write takes to the file.
const WRITE_BYTES: usize = 64 * 1024;

/// How far from the end the last line is looked for.
const TAIL_BYTES_MAX: u64 = chain::LINE_BYTES_MAX as u64;

/// Where the chain stands on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OnDisk {
    pub(crate) head: Head,
    /// The length of the file that holds the last line, up to and with its newline.
    pub(crate) bytes: u64,
}

/// The file, and where its chain stands.
#[derive(Debug)]
pub(super) struct ChainFile {
    path: PathBuf,
    file: File,
    head: Head,
    /// The file's length at `head`; `None` is not known.
    length: Option<u64>,
}

impl ChainFile {
    /// Opens the file, or makes it, and finds where its chain stands: at its own last line, or at
    /// that of the file that was moved away before.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut this =
            Self { path: path.to_owned(), file: open(path)?, head: Head::default(), length: None };
        this.locked(|this| {
            if !this.begins_whole()? {
                this.head = last_of_older(path);
            }
            this.catch_up()
        })?;
        Ok(this)
    }

    /// Where the chain stands on the disk.
    pub(super) fn on_disk(&self) -> OnDisk {
        OnDisk { head: self.head, bytes: self.length.unwrap_or_default() }
    }

    /// What is not known to stand as it was left: the next appending looks.
    pub(super) fn distrust(&mut self) {
        self.length = None;
    }

    /// Appends lines that lack their beginning, and brings them to the disk.
    pub(super) fn append(&mut self, beginnings_missing: &[u8]) -> io::Result<()> {
        self.follow()?;
        self.locked(|this| {
            let appended = this.append_locked(beginnings_missing);
            if let (Err(_), Some(length)) = (&appended, this.length) {
                // What was written of it would be written again. If this fails too, it stays torn.
                if let Err(error) = this.file.set_len(length) {
                    tracing::error!(%error, "the audit log keeps a part of a batch");
                }
            }
            appended
        })
    }

    /// Goes on in a new file, if the old one was moved away. What another gatekeeper may still have
    /// written into the old one is chained on to.
    fn follow(&mut self) -> io::Result<()> {
        if !self.was_moved() {
            return Ok(());
        }
        self.locked(Self::catch_up)?;
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.length = None;
            }
            // Better in the old file than nowhere.
            Err(error) => tracing::error!(%error, "the audit log cannot be opened anew"),
        }
        Ok(())
    }

    fn was_moved(&self) -> bool {
        let (Ok(there), Ok(ours)) = (fs::symlink_metadata(&self.path), self.file.metadata()) else {
            return true;
        };
        (there.dev(), there.ino()) != (ours.dev(), ours.ino())
    }

    fn locked<T>(&mut self, act: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        flock(&self.file, FlockOperation::LockExclusive)?;
        let done = act(self);
        flock(&self.file, FlockOperation::Unlock)?;
        done
    }

    /// Whether there is a first line that says its number.
    fn begins_whole(&mut self) -> io::Result<bool> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(first_number(&self.file)?.is_some())
    }

    /// Takes the head from the file, if somebody else has appended since.
    fn catch_up(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        if self.length == Some(length) {
            return Ok(());
        }
        let mut tail = tail(&mut self.file, length)?;
        self.length = Some(length);
        if tail.is_empty() {
            return Ok(());
        }
        if tail.pop_if(|last| *last == b'\n').is_none() {
            self.file.write_all(b"\n")?;
            self.length = Some(length + 1);
        }
        self.head = Head::of_tail(&tail, self.head);
        Ok(())
    }

    fn append_locked(&mut self, beginnings_missing: &[u8]) -> io::Result<()> {
        self.catch_up()?;
        let mut out = Vec::with_capacity(2 * WRITE_BYTES);
        let mut head = self.head;
        let mut length = self.length.unwrap_or_default();
        for rest in beginnings_missing.split_inclusive(|byte| *byte == b'\n') {
            head.push(&mut out, rest);
            if out.len() >= WRITE_BYTES {
                length += self.write_out(&mut out)?;
            }
        }
        length += self.write_out(&mut out)?;
        self.file.sync_data()?;
        self.head = head;
        self.length = Some(length);
        Ok(())
    }

    /// Writes what is gathered and empties it; says how much it was.
    fn write_out(&mut self, out: &mut Vec<u8>) -> io::Result<u64> {
        self.file.write_all(out)?;
        let count = u64::try_from(out.len()).unwrap_or_default();
        out.clear();
        Ok(count)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
    options.custom_flags(i32::try_from(no_follow).unwrap_or_default());
    options.open(path)
}

/// The head at the end of the newest of the files that this one's forerunners were moved to: those
/// beside it whose names begin with its own. An empty chain if there is none.
fn last_of_older(path: &Path) -> Head {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes().to_owned();
    let listed = path.parent().map(fs::read_dir).transpose().unwrap_or_else(|error| {
        tracing::warn!(%error, "the audit log's older files are not found");
        None
    });
    let is_older = |entry: &fs::DirEntry| {
        let other = entry.file_name();
        let rest = other.as_encoded_bytes().strip_prefix(name.as_slice());
        rest.is_some_and(|rest| rest.starts_with(b".") || rest.starts_with(b"-"))
    };
    let heads = listed.into_iter().flatten().flatten().filter(is_older);
    let heads = heads.filter_map(|entry| last_of(&entry.path()).ok().flatten());
    heads.max_by_key(|head| head.lines).unwrap_or_default()
}

/// The head at the end of a file; `None` for what is no file of the chain, such as a compressed one.
fn last_of(path: &Path) -> io::Result<Option<Head>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    if first_number(&file)?.is_none() {
        return Ok(None);
    }
    let length = file.metadata()?.len();
    let tail = tail(&mut file, length)?;
    let tail = tail.strip_suffix(b"\n").unwrap_or(&tail);
    Ok(Some(Head::of_tail(tail, Head::default())))
}

fn first_number(file: &File) -> io::Result<Option<u64>> {
    let mut start = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut start)?;
    Ok(start.split(|byte| *byte == b'\n').next().and_then(chain::number_of))
}

fn tail(file: &mut File, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
    let mut tail = Vec::new();
    (&*file).take(TAIL_BYTES_MAX).read_to_end(&mut tail)?;
    Ok(tail)
}
