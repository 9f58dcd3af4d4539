//! The end of a growing file, over its being moved away and emptied.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::cli::safe;

/// Bytes read at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// How far back lines are looked for.
const BACK_BYTES_MAX: u64 = 64 << 20;
/// A line longer than this is shown in parts.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Files followed at once: the newest, and those that were moved away last.
const FILES_MAX: usize = 3;

/// Why a log cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum TailError {
    #[error("it is no regular file")]
    Kind,
    #[error(transparent)]
    Read(#[from] io::Error),
    /// Of the output.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl TailError {
    pub(super) fn is_permission(&self) -> bool {
        matches!(self, Self::Read(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Nothing is wrong where the reader of the output has gone: `| head`.
    pub(super) fn unless_nobody_reads(self) -> Result<(), Self> {
        match self {
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Err(other),
        }
    }
}

/// A log from some line on.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    /// The newest last.
    files: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Device and inode.
    who: (u64, u64),
    offset: u64,
    /// A line that has no end yet.
    begun: Vec<u8>,
}

impl Tail {
    /// The log from its last `lines` lines on.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn open(path: &Path, lines: u32) -> Result<Self, TailError> {
        let mut open = Open::new(path)?;
        open.offset = beginning(&open.file, lines)?;
        Ok(Self { path: path.to_owned(), files: vec![open] })
    }

    /// Shows what is there and was not shown.
    ///
    /// # Errors
    /// Of reading and of writing.
    pub(super) fn show(&mut self, screen: &mut impl Write) -> Result<(), TailError> {
        self.files.iter_mut().try_for_each(|file| file.show(screen))
    }

    /// Shows what has no end of line: nothing more comes.
    ///
    /// # Errors
    /// Of writing.
    pub(super) fn finish(&mut self, screen: &mut impl Write) -> Result<(), TailError> {
        for file in &mut self.files {
            file.flush(screen)?;
        }
        Ok(())
    }

    /// Takes up the file that stands at the path now, if it is another.
    pub(super) fn look_for_successor(&mut self) {
        let here = self.path.symlink_metadata().map(|facts| (facts.dev(), facts.ino()));
        let is_known = |who: &(u64, u64)| self.files.iter().any(|file| file.who == *who);
        if here.is_ok_and(|who| !is_known(&who))
            && let Ok(open) = Open::new(&self.path)
        {
            if self.files.len() == FILES_MAX {
                self.files.remove(0);
            }
            self.files.push(open);
        }
    }
}

impl Open {
    fn new(path: &Path) -> Result<Self, TailError> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(TailError::Kind);
        }
        Ok(Self { file, who: (facts.dev(), facts.ino()), offset: 0, begun: Vec::new() })
    }

    fn show(&mut self, screen: &mut impl Write) -> Result<(), TailError> {
        if self.file.metadata()?.len() < self.offset {
            self.offset = 0;
            self.flush(screen)?;
        }
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let count = self.file.read_at(&mut block, self.offset)?;
            let Some(read) = block.get(..count).filter(|read| !read.is_empty()) else {
                return Ok(());
            };
            self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            for part in read.split_inclusive(|byte| *byte == b'\n') {
                self.begun.extend_from_slice(part);
                if self.begun.last() == Some(&b'\n') {
                    self.begun.pop();
                    line(&self.begun, screen)?;
                    self.begun.clear();
                } else if self.begun.len() >= LINE_BYTES_MAX {
                    self.flush(screen)?;
                }
            }
        }
    }

    fn flush(&mut self, screen: &mut impl Write) -> Result<(), TailError> {
        if self.begun.is_empty() {
            return Ok(());
        }
        line(&std::mem::take(&mut self.begun), screen)
    }
}

fn line(bytes: &[u8], screen: &mut impl Write) -> Result<(), TailError> {
    writeln!(screen, "{}", safe(&String::from_utf8_lossy(bytes))).map_err(TailError::Output)
}

/// Where the last `lines` lines begin; a line without an end counts as one.
fn beginning(file: &File, lines: u32) -> io::Result<u64> {
    let end = file.metadata()?.len();
    if lines == 0 {
        return Ok(end);
    }
    let first = end.saturating_sub(BACK_BYTES_MAX);
    let (mut at, mut left) = (end, lines);
    let mut block = vec![0; BLOCK_BYTES];
    while at > first {
        let length = (at - first).min(u64::try_from(BLOCK_BYTES).unwrap_or(u64::MAX));
        at -= length;
        let Some(part) = block.get_mut(..usize::try_from(length).unwrap_or(0)) else { break };
        file.read_exact_at(part, at)?;
        for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = at + u64::try_from(index).unwrap_or(0) + 1;
            // What ends the last line begins none.
            if after < end {
                left -= 1;
            }
            if left == 0 {
                return Ok(after);
            }
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests;
