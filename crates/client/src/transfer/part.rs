//! A file that is not whole yet.
//!
//! `NAME.nesssi-part` holds what has come, `NAME.nesssi-part-version` the entity tag of what it is of. Without a
//! version nothing is resumed.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

/// Bytes of an entity tag that are kept.
const VERSION_BYTES_MAX: u64 = 256;

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
        let mut file = own_file(&path, fs::OpenOptions::new().write(true).create(true)).await?;
        let version = read_version(&version_path).await;
        let length = if version.is_some() { file.metadata().await?.len() } else { 0 };
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
            Some(text) => {
                let mut options = fs::OpenOptions::new();
                let mut file =
                    own_file(&self.version_path, options.write(true).create(true)).await?;
                file.set_len(0).await?;
                file.write_all(text.as_bytes()).await?;
                file.flush().await?;
            }
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

/// Opens a plain file of one's own that has no other name. In a directory where others write they may have
/// laid anything there: nothing is followed, waited for, or cut short.
async fn own_file(path: &Path, options: &mut fs::OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = options.truncate(false).custom_flags(flags).open(path).await?;
    let is_own = |metadata: &Metadata| {
        metadata.is_file()
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.nlink() == 1
    };
    if is_own(&file.metadata().await?) {
        return Ok(file);
    }
    let text = format!("{} is there, and is no plain file of yours alone", path.display());
    Err(io::Error::other(text))
}

/// The version that an earlier attempt has left, if it is one.
async fn read_version(path: &Path) -> Option<String> {
    let file = own_file(path, fs::OpenOptions::new().read(true)).await.ok()?;
    let mut text = String::new();
    file.take(VERSION_BYTES_MAX + 1).read_to_string(&mut text).await.ok()?;
    let fits = u64::try_from(text.len()).is_ok_and(|length| length <= VERSION_BYTES_MAX);
    (fits && text.starts_with('"')).then_some(text)
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
