//! A service by its files: the access lists on the way to it, its manifest, its code's digest.

use std::path::{Path, PathBuf};

use nesssi_policy::{Access, AccessEdits, From, LevelName, Offer};
use nesssi_service::folder::{self, ACCESS_FILE, MANIFEST_FILE, code_digest};
use nesssi_service::{Manifest, ServiceName, ServiceNameError};

use super::Stop;
use crate::files;
use crate::site::Site;

/// Longest access file or manifest, as the server takes it.
pub(crate) const TEXT_BYTES_MAX: usize = 24 * 1024;

/// A service whose files have no mistake.
#[derive(Debug)]
pub(super) struct Found {
    name: String,
    /// Those of the folders around it, the outermost first, and its own last.
    lists: Vec<List>,
    levels: Vec<String>,
    approved_for: Option<Vec<LevelName>>,
}

#[derive(Debug)]
struct List {
    of: String,
    path: PathBuf,
    access: Access,
}

/// The service of this name; nothing for what the server answers itself.
///
/// # Errors
/// [`Stop::Refused`] where there is no such service, [`Stop::Files`] where it is broken.
pub(super) fn find(site: &Site, name: &str) -> Result<Option<Found>, Stop> {
    match ServiceName::parse(name) {
        Ok(_) => {}
        Err(ServiceNameError::Reserved) => return Ok(None),
        Err(error) => return Err(Stop::Usage(format!("--service {name:?}: {error}"))),
    }
    let root = &site.config.services.directory;
    let mut reading = Reading::default();
    let parts: Vec<&str> = name.split('.').collect();
    let (mut folder, mut in_service, mut is_service) = (root.clone(), false, false);
    for (at, part) in parts.iter().enumerate() {
        folder.push(part);
        is_service = folder::is_service(&folder, in_service);
        in_service |= is_service;
        if at + 1 < parts.len() {
            reading.folder(&parts.get(..=at).unwrap_or_default().join("."), &folder);
        }
    }
    if !is_service {
        let shown = root.display();
        let text = format!("fault -32601, no such method: there is no service {name} in {shown}");
        return Err(Stop::Refused(text));
    }
    let manifest = reading.manifest(&folder);
    reading.own(name, &folder);
    let approved_for = manifest.approved.as_ref().and_then(|approved| {
        let digest = digest(&folder).map_err(|why| reading.mistake(&folder, &why)).ok()?;
        (*approved != digest).then(|| community(site))
    });
    let Reading { lists, mistakes } = reading;
    if mistakes.is_empty() {
        Ok(Some(Found { name: name.to_owned(), lists, levels: manifest.levels, approved_for }))
    } else {
        Err(Stop::Files(mistakes))
    }
}

impl Found {
    /// Its access lists, to be borrowed by [`Found::offer`].
    pub(super) fn access(&self) -> Vec<&Access> {
        self.lists.iter().map(|list| &list.access).collect()
    }

    /// What decides whom it serves.
    pub(super) fn offer<'a>(
        &'a self,
        access: &'a [&'a Access],
        edits: &'a AccessEdits,
    ) -> Offer<'a> {
        Offer {
            service: &self.name,
            access,
            edits,
            levels: &self.levels,
            approved_for: self.approved_for.as_deref(),
        }
    }

    /// The files of its access lists, each with what it is of.
    pub(super) fn access_files(&self) -> Vec<(&str, &Path)> {
        self.lists.iter().map(|list| (list.of.as_str(), list.path.as_path())).collect()
    }

    /// Whether one of them names VO groups.
    pub(super) fn names_groups(&self) -> bool {
        self.lists.iter().any(|list| list.access.groups().next().is_some())
    }
}

/// What has been read, and every mistake so far.
#[derive(Debug, Default)]
struct Reading {
    lists: Vec<List>,
    mistakes: Vec<String>,
}

impl Reading {
    fn mistake(&mut self, path: &Path, why: &str) {
        self.mistakes.push(format!("{}: {why}", path.display()));
    }

    /// The access list of a folder around the service, if it has one.
    fn folder(&mut self, name: &str, folder: &Path) {
        let path = folder.join(ACCESS_FILE);
        if path.exists()
            && let Some(access) = self.access(&path)
        {
            let of = format!("folder {name}");
            self.lists.push(List { of, path, access: access.of_folder(name) });
        }
    }

    fn own(&mut self, name: &str, folder: &Path) {
        let path = folder.join(ACCESS_FILE);
        if let Some(access) = self.access(&path) {
            self.lists.push(List { of: format!("service {name}"), path, access });
        }
    }

    fn access(&mut self, path: &Path) -> Option<Access> {
        let text =
            files::read_text(path, TEXT_BYTES_MAX).map_err(|why| self.mistake(path, &why)).ok()?;
        let mistakes = match Access::parse(&text) {
            Ok(access) => return Some(access),
            Err(mistakes) => mistakes,
        };
        let told = mistakes.iter().map(|m| format!("{}:{}: {}", path.display(), m.line, m.text));
        self.mistakes.extend(told);
        None
    }

    fn manifest(&mut self, folder: &Path) -> Manifest {
        let path = folder.join(MANIFEST_FILE);
        if !path.exists() {
            return Manifest::default();
        }
        let text = match files::read_text(&path, TEXT_BYTES_MAX) {
            Ok(text) => text,
            Err(why) => {
                self.mistake(&path, &why);
                return Manifest::default();
            }
        };
        Manifest::parse(&text).unwrap_or_else(|mistakes| {
            let shown = path.display();
            let told = mistakes.iter().map(|m| format!("{shown}:{}: {}", m.line, m.text));
            self.mistakes.extend(told);
            Manifest::default()
        })
    }
}

/// The levels whose callers have no account of their own: what nobody has approved may serve them.
fn community(site: &Site) -> Vec<LevelName> {
    let levels = site.rules.levels.iter().filter(|level| level.from != From::Gridmap);
    levels.map(|level| level.name.clone()).collect()
}

/// The digest of a service's code in hexadecimal digits.
pub(super) fn digest(folder: &Path) -> Result<String, String> {
    Ok(code_digest(folder)?.iter().map(|byte| format!("{byte:02x}")).collect())
}
