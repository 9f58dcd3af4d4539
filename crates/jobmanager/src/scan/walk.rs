//! The walk over the tree: which folders are services, and what they are called.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nesssi_service::ServiceName;
use nesssi_service::folder::{self, open_regular};

/// Deepest folder.
const DEPTH_MAX: usize = 16;

/// Most folders.
const FOLDERS_MAX: usize = 4096;

/// Most names of one folder.
const NAMES_MAX: usize = 10_000;

/// A folder that is a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folder {
    /// Dotted name.
    pub(super) name: String,
    /// Absolute path as walked, links and all.
    pub(super) path: PathBuf,
    /// Why it could not be looked into.
    pub(super) problem: Option<String>,
}

/// What the walk has found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) folders: Vec<Folder>,
    /// The services, and whatever other folders have an access list: it holds for what lies in them.
    pub(super) listed: Vec<Folder>,
    pub(super) problems: Vec<String>,
    looked_at: usize,
}

/// Walks the tree below `root`, in the order of names.
pub(super) fn walk(root: &str) -> Walk {
    let mut walk = Walk::default();
    let mut above = Vec::new();
    walk.enter(Path::new(root), "", false, &mut above);
    walk
}

impl Walk {
    /// `above` are the folders on the way here: a link back to one of them is a cycle.
    fn enter(&mut self, path: &Path, name: &str, in_service: bool, above: &mut Vec<(u64, u64)>) {
        if self.looked_at >= FOLDERS_MAX {
            return;
        }
        self.looked_at += 1;
        if self.looked_at == FOLDERS_MAX {
            self.problem(path, "there are too many folders: what follows is left out");
        }
        let here = match path.metadata() {
            Ok(facts) => (facts.dev(), facts.ino()),
            Err(error) => return self.problem(path, &error.to_string()),
        };
        if above.contains(&here) {
            return self.problem(path, "a link leads back to a folder above it");
        }
        if above.len() >= DEPTH_MAX {
            return self.problem(path, "lies too deep");
        }
        let names = match folders_in(path) {
            Ok(names) => names,
            Err(error) => return self.problem(path, &error.to_string()),
        };
        above.push(here);
        for part in names {
            let below = path.join(&part);
            let dotted = if name.is_empty() { part } else { format!("{name}.{part}") };
            if let Err(error) = below.read_dir()
                && !in_service
            {
                self.unreadable(below, dotted, &error);
                continue;
            }
            let is_service = self.judge(&below, &dotted, in_service);
            self.enter(&below, &dotted, in_service || is_service, above);
        }
        above.pop();
    }

    /// Takes note of a folder if it is a service.
    fn judge(&mut self, path: &Path, name: &str, in_service: bool) -> bool {
        let is_service = folder::is_service(path, in_service);
        if !is_service && !folder::has_access_file(path) {
            return false;
        }
        match ServiceName::parse(name) {
            Ok(_) => {
                let folder = Folder { name: name.to_owned(), path: path.to_owned(), problem: None };
                if is_service {
                    self.folders.push(folder.clone());
                }
                self.listed.push(folder);
            }
            Err(error) => self.problem(path, &error.to_string()),
        }
        is_service
    }

    /// A folder that cannot be looked into is told as a service: somebody has put it here.
    fn unreadable(&mut self, path: PathBuf, name: String, error: &std::io::Error) {
        if ServiceName::parse(&name).is_err() {
            return self.problem(&path, &error.to_string());
        }
        let hint = if error.kind() == std::io::ErrorKind::PermissionDenied {
            "; every folder on the way to it must let the services' account through"
        } else {
            ""
        };
        let problem = Some(format!("its folder cannot be read: {error}{hint}"));
        let folder = Folder { name, path, problem };
        self.folders.push(folder.clone());
        self.listed.push(folder);
    }

    fn problem(&mut self, path: &Path, text: &str) {
        self.problems.push(format!("{}: {text}", path.display()));
    }
}

/// The folders in a folder, sorted, and with them links to folders and links that cannot be followed;
/// hidden ones are left out.
fn folders_in(path: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in path.read_dir()?.take(NAMES_MAX) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_folder = entry.path().metadata().map_or(true, |facts| facts.is_dir());
        if !name.starts_with('.') && name != "__pycache__" && is_folder {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The text of a small file, or nothing if there is none.
pub(super) fn read_text(path: &Path, bytes_max: usize) -> Result<Option<String>, String> {
    let Some((file, _)) = open_regular(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > bytes_max {
        return Err(format!("is longer than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "is not UTF-8".to_owned())
}
