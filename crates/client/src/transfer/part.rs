//! A file that is not whole yet.
//!
//! `NAME.nesssi-part` holds what has come, `NAME.nesssi-part-version` the entity tag of what it is of. Without a
//! version nothing is resumed.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokio::fs::{self, File};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

/// Bytes of an entity tag that are kept.
const VERSION_BYTES_MAX: usize = 256;

/// What has come of a file.
#[derive(Debug)]
pub(crate) struct PartFile {
    path: PathBuf,
    version_path: PathBuf,
    file: File,
    length: u64,
    /// Bytes of an earlier attempt that are still good.
    kept: u64,
    version: Option<String>,
}

impl PartFile {
    /// The part of the file that is to be `to`, new or from an earlier attempt.
    ///
    /// A link is not followed, and another's file not taken.
    pub(crate) async fn open(to: &Path) -> io::Result<Self> {
        if to.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (path, version_path) = (beside(to, ".nesssi-part"), beside(to, ".nesssi-part-version"));
        let flags = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).custom_flags(flags);
        let mut file = options.open(&path).await?;
        let metadata = file.metadata().await?;
        if !metadata.is_file() || metadata.uid() != rustix::process::geteuid().as_raw() {
            let text = format!("{} is there, and is no plain file of yours", path.display());
            return Err(io::Error::other(text));
        }
        let version = fs::read_to_string(&version_path).await.ok();
        let version =
            version.filter(|text| text.len() <= VERSION_BYTES_MAX && text.starts_with('"'));
        let length = if version.is_some() { metadata.len() } else { 0 };
        file.seek(io::SeekFrom::Start(length)).await?;
        Ok(Self { path, version_path, file, length, kept: length, version })
    }

    /// Bytes that have come.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// How many of them an earlier attempt has left.
    pub(crate) fn kept(&self) -> u64 {
        self.kept
    }

    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Begins anew, with a file of this version.
    pub(crate) async fn begin(&mut self, version: Option<String>) -> io::Result<()> {
        self.file.set_len(0).await?;
        self.file.seek(io::SeekFrom::Start(0)).await?;
        (self.length, self.kept) = (0, 0);
        match &version {
            Some(text) => fs::write(&self.version_path, text).await?,
            None => remove(&self.version_path).await?,
        }
        self.version = version;
        Ok(())
    }

    pub(crate) async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece).await?;
        self.length = self.length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// As if the program had ended here.
    #[cfg(test)]
    pub(crate) async fn finish_for_now(mut self) {
        self.file.flush().await.unwrap();
    }

    /// It is whole: it takes its place.
    pub(crate) async fn finish(mut self, to: &Path) -> io::Result<()> {
        self.file.flush().await?;
        self.file.set_len(self.length).await?;
        self.file.sync_data().await?;
        fs::rename(&self.path, to).await?;
        remove(&self.version_path).await
    }
}

/// The path with `ending` behind its name.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

async fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
