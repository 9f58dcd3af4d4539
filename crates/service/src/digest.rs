//! The digest of a service's code: what an administrator approves.

use sha2::{Digest as _, Sha256};

/// SHA-256 over names and contents of a folder's files, in the order of names; `/` joins the parts
/// of a name.
///
/// Left out are compiled Python, hidden files (an access file is no code) and the manifest's line
/// `approved`, which is where the digest is written down.
#[derive(Debug, Clone, Default)]
pub struct CodeDigest(Sha256);

impl CodeDigest {
    /// Whether a file or folder of this name, the last part of it, counts.
    #[must_use]
    pub fn is_code(name: &str) -> bool {
        !name.starts_with('.') && name != "__pycache__" && !name.ends_with(".pyc")
    }

    /// Adds the next file.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let approved_left_out;
        let bytes = if name == "service.toml" {
            approved_left_out = without_approval(bytes);
            &approved_left_out
        } else {
            bytes
        };
        for part in [name.as_bytes(), bytes] {
            self.0.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            self.0.update(part);
        }
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
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
