//! The digest of a service's code: SHA-256 over names and contents, in the order of names.
//!
//! Left out are compiled Python, hidden files (an access file is no code) and the manifest's line
//! `approved`, which is where the digest is written down.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

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
    let mut sum = Sha256::new();
    let mut left = BYTES_MAX;
    for (name, path) in files {
        let Some((file, length)) = open_regular(&path).map_err(|why| format!("{name}: {why}"))?
        else {
            continue;
        };
        left = left.checked_sub(length).ok_or("the folder holds too many bytes")?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        if name == "service.toml" {
            bytes = without_approval(&bytes);
        }
        sum.update(u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes());
        sum.update(name.as_bytes());
        sum.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        sum.update(&bytes);
    }
    Ok(sum.finalize().to_vec())
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
        if name.starts_with('.') || name == "__pycache__" || name.ends_with(".pyc") {
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

/// The manifest without the line that holds its own digest.
fn without_approval(manifest: &[u8]) -> Vec<u8> {
    let is_approval = |line: &[u8]| {
        let line = line.trim_ascii_start();
        line.strip_prefix(b"approved").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"="))
    };
    let lines = manifest.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !is_approval(line)).flatten().copied().collect()
}
