//! The digest of a service's code: [`CodeDigest`] over the files of its folder.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use nesssi_service::CodeDigest;

use super::walk::{Visited, open_regular};

/// Most files of one service.
const FILES_MAX: usize = 10_000;

/// Most bytes of all files of one service.
const BYTES_MAX: u64 = 256 << 20;

/// Deepest folder inside a service.
const DEPTH_MAX: usize = 32;

/// The digest of all that lies in a folder, links followed.
pub(super) fn digest(folder: &Path) -> Result<Vec<u8>, String> {
    let mut files = Vec::new();
    collect(folder, "", 0, &mut Visited::default(), &mut files)?;
    files.sort();
    let mut digest = CodeDigest::default();
    let mut left = BYTES_MAX;
    for (name, path) in files {
        let Some((file, length)) = open_regular(&path).map_err(|why| format!("{name}: {why}"))?
        else {
            continue;
        };
        left = left.checked_sub(length).ok_or("the folder holds too many bytes")?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        digest.add(&name, &bytes);
    }
    Ok(digest.finish().to_vec())
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    visited: &mut Visited,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), String> {
    if depth > DEPTH_MAX || !visited.enter(folder) {
        return Ok(());
    }
    let entries = folder.read_dir().map_err(|error| error.to_string())?;
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !CodeDigest::is_code(&name) {
            continue;
        }
        let path = entry.path();
        let name = format!("{prefix}{name}");
        // What is neither, or has vanished, is no code.
        match path.metadata() {
            Ok(facts) if facts.is_dir() => {
                collect(&path, &format!("{name}/"), depth + 1, visited, files)?;
            }
            Ok(facts) if facts.is_file() => files.push((name, path)),
            Ok(_) | Err(_) => {}
        }
        if files.len() > FILES_MAX {
            return Err("the folder holds too many files".to_owned());
        }
    }
    Ok(())
}
