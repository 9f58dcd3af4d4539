//! The files of a chain: found, put into their order, and read line by line.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use nesssi_journal::chain::{LINE_BYTES_MAX, number_of};

use super::Finding;

const NAME: &str = "audit.jsonl";

/// One file of a chain.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// The number of its first line; the last in order if that says none.
    first: u64,
    pub(super) path: PathBuf,
}

impl Part {
    fn read(path: PathBuf) -> io::Result<Option<Self>> {
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        let mut lines = Lines::open(&path)?;
        let Some((line, _)) = lines.next()? else { return Ok(None) };
        // What is torn in the first line can only be the file that was begun last.
        let first = number_of(line);
        if first.is_none() && path.file_name() != Some(OsStr::new(NAME)) {
            return Err(io::Error::other(
                "its first line is none of the audit log: unpack it first, if it is compressed",
            ));
        }
        Ok(Some(Self { first: first.unwrap_or(u64::MAX), path }))
    }
}

/// The files of the chain in a directory, in their order.
///
/// # Errors
/// The system's, if the directory cannot be read.
pub(super) fn listed(directory: &Path, findings: &mut Vec<Finding>) -> io::Result<Vec<Part>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let rest = name.strip_prefix(NAME.as_bytes());
        if rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'.' | b'-'))) {
            paths.push(path);
        }
    }
    Ok(given(&paths, findings))
}

/// Files that were named, in their order.
pub(super) fn given(paths: &[PathBuf], findings: &mut Vec<Finding>) -> Vec<Part> {
    let mut parts = Vec::new();
    for path in paths {
        match Part::read(path.clone()) {
            Ok(part) => parts.extend(part),
            Err(error) => findings.push(Finding::wrong(path.display(), error)),
        }
    }
    parts.sort();
    parts
}

/// The lines of a file, one after another.
pub(super) struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = BufReader::new(File::open(path)?);
        Ok(Self { file, line: Vec::new(), number: 0, bytes: 0 })
    }

    /// The next line without its newline, and whether it had one.
    ///
    /// # Errors
    /// The system's, or that it is longer than any line of the log.
    #[allow(clippy::should_implement_trait, reason = "it lends its line")]
    pub(super) fn next(&mut self) -> io::Result<Option<(&[u8], bool)>> {
        self.line.clear();
        let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = self.file.by_ref().take(most).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += u64::try_from(read).unwrap_or_default();
        if read >= LINE_BYTES_MAX {
            let text = format!("line {} is longer than any line of the audit log", self.number);
            return Err(io::Error::other(text));
        }
        let ended = self.line.pop_if(|last| *last == b'\n').is_some();
        Ok(Some((&self.line, ended)))
    }

    /// How many lines were read.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes they have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
