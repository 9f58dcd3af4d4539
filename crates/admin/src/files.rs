//! Files of a site: read within bounds, and held against the hands that could change them.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// The bytes of a regular file.
///
/// # Errors
/// Why not, in words that go on from the file's name.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.by_ref().take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    Ok(bytes)
}

/// The text of a regular file.
///
/// # Errors
/// As [`read`], and where it is not UTF-8.
pub(crate) fn read_text(path: &Path, bytes_max: usize) -> Result<String, String> {
    String::from_utf8(read(path, bytes_max)?).map_err(|_| "it is not UTF-8".to_owned())
}

/// The text of a file that decides who may do what.
///
/// # Errors
/// As [`read`], and as the server would refuse it: where others than its owner could change it.
pub(crate) fn read_trusted(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let facts = fs::metadata(path).map_err(|error| error.to_string())?;
    check_hands(&facts)?;
    read(path, bytes_max)
}

/// Whether others than root and who starts the server could change a file or folder: `facts` are its
/// own. Whoever asks is taken for the one who starts it.
///
/// # Errors
/// Who could.
pub(crate) fn check_hands(facts: &fs::Metadata) -> Result<(), String> {
    let root = rustix::process::geteuid().is_root();
    if root && facts.uid() != 0 {
        return Err(format!("it belongs to uid {}, who could change it", facts.uid()));
    }
    let too_open = if root { OTHERS_WRITE | GROUP_WRITE } else { OTHERS_WRITE };
    if facts.mode() & too_open != 0 {
        return Err("others than its owner may write in it".to_owned());
    }
    Ok(())
}

/// Opens a regular file, and waits for no FIFO.
fn open(path: &Path) -> Result<File, String> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| error.to_string())?;
    let facts = file.metadata().map_err(|error| error.to_string())?;
    if facts.is_file() { Ok(file) } else { Err("it is no regular file".to_owned()) }
}
