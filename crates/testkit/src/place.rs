//! Where a World lies: a folder that every account of the World can reach.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::is_root;

/// The repository this test was built from (or that `NESSSI_REPOSITORY` names, for staged tests).
#[must_use]
pub fn repository() -> PathBuf {
    if let Some(named) = std::env::var_os("NESSSI_REPOSITORY") {
        return PathBuf::from(named);
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folder with `nesssid` and the others: `NESSSI_BINARIES`, or the build folder of this test.
#[must_use]
pub fn binaries() -> PathBuf {
    if let Some(named) = std::env::var_os("NESSSI_BINARIES") {
        return PathBuf::from(named);
    }
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().to_owned();
    assert!(
        folder.join("nesssid").exists(),
        "no nesssid in {}: build the workspace first (cargo build --workspace)",
        folder.display()
    );
    folder
}

/// A folder of a World, removed with it.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// A new empty folder: under `/var/lib` for root (every account may pass), else under the
    /// system's folder for temporary files.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = if is_root() { PathBuf::from("/var/lib") } else { std::env::temp_dir() };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = base.join(format!("nesssi-test-world-{}-{number}", std::process::id()));
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        Self { root }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A folder in it, 0755.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::env::var_os("NESSSI_KEEP").is_some() {
            eprintln!("kept: {}", self.root.display());
        } else if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{} could not be removed: {error}", self.root.display());
        }
    }
}

/// Copies a tree of plain files and folders, readable by everyone.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if entry.file_name() != "__pycache__" {
                copy_tree(&entry.path(), &target);
            }
        } else if kind.is_file() {
            fs::copy(entry.path(), &target).unwrap();
            let mode = if kind.is_file()
                && fs::metadata(&target).unwrap().permissions().mode() & 0o100 != 0
            {
                0o755
            } else {
                0o644
            };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// Copies the five programs to where every account may run them.
pub(crate) fn stage_binaries(to: &Path) {
    for name in ["nesssid", "nesssi-gatekeeper", "nesssi-jobmanager", "nesssi", "nesssi-admin"] {
        let from = binaries().join(name);
        let target = to.join(name);
        // A hard link is as good where it can be made, and costs nothing.
        if fs::hard_link(&from, &target).is_err() {
            fs::copy(&from, &target).unwrap();
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
    }
}
